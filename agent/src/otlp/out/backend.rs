//! A backend of OTLP as a configuration names it, for any signal.
//!
//! Promises: what cannot work here (no region, an address that is none) is said in one sentence.
//! Never: connects; the first batch does.

use http::HeaderMap;

use super::{Aws, Config, Otlp, Protocol, Target, Way, headers};
use crate::{
    aws::{Access, Client, Identity},
    deliver::Limits,
    limits::{OTLP_BATCH_BYTES_MAX, OTLP_BATCH_ITEMS_MAX},
    otlp::walk::Signal,
    tell::chain,
};

/// The service of X-Ray, which takes spans.
const X_RAY: &str = "xray";
/// The service of CloudWatch, which takes metrics, and its limits: 1,000 points and 1 MB before compression.
const MONITORING: &str = "monitoring";
const MONITORING_LIMITS: Limits = Limits { bytes: 1_000_000, records: 1_000, span_milliseconds: u64::MAX };
/// The limits of all others.
const LIMITS: Limits =
    Limits { bytes: OTLP_BATCH_BYTES_MAX, records: OTLP_BATCH_ITEMS_MAX, span_milliseconds: u64::MAX };

/// The service of AWS that a signal is signed for, unless the user names another.
fn service(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => X_RAY,
        Signal::Logs => "logs",
        Signal::Metrics => MONITORING,
    }
}

/// The backend that `config` names for `signal`; `region` is that of the task.
pub fn backend(config: &Config, signal: Signal, access: &Access, region: Option<&str>) -> Result<Otlp, String> {
    let said = |error: &dyn std::error::Error| chain(error).to_string();
    let target = Target::of(config, signal).map_err(|error| said(&error))?;
    let headers = headers(config).map_err(|error| said(&error))?;
    let way = match (&config.aws, target) {
        (Some(aws), target) => signed(aws, signal, (target, headers), access, region)?,
        (None, Some(target)) => match config.protocol {
            Protocol::Http => Way::Http { client: access.http().clone(), target, headers },
            Protocol::Grpc => Way::Grpc { client: access.http2(), target, headers },
        },
        (None, None) => return Err("no `endpoint`".to_owned()),
    };
    let is_ours =
        config.aws.as_ref().is_some_and(|aws| aws.service.as_deref().unwrap_or(service(signal)) == MONITORING);
    Ok(Otlp::new(signal, way, if is_ours { MONITORING_LIMITS } else { LIMITS }, config))
}

fn signed(
    aws: &Aws,
    signal: Signal,
    (target, headers): (Option<Target>, HeaderMap),
    access: &Access,
    region: Option<&str>,
) -> Result<Way, String> {
    let is_x_ray = aws.service.as_deref().unwrap_or(service(signal)) == X_RAY;
    let (client, path) = client(aws, signal, target.as_ref(), access, region)?;
    Ok(Way::Signed { client: Box::new(client), path, headers, is_x_ray })
}

/// The client for AWS's backend, and the path there.
fn client(
    aws: &Aws,
    signal: Signal,
    target: Option<&Target>,
    access: &Access,
    region: Option<&str>,
) -> Result<(Client, String), String> {
    let region = aws.region.as_deref().or(access.region()).or(region);
    let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
    let own = service(signal);
    let service = aws.service.clone().unwrap_or_else(|| own.to_owned());
    let is_own = service == own;
    let (origin, path) = match target {
        Some(target) => (Some(target.origin()), target.uri().path().to_owned()),
        None => (None, signal.http_path().to_owned()),
    };
    let identity = Identity { role_arn: aws.role_arn.clone(), ..Identity::default() };
    let client = access.client(service, region, origin.as_deref(), &identity);
    let client = client.map_err(|error| chain(&error).to_string())?;
    Ok((if is_own { client } else { client.of_anybody() }, path))
}

/// The client for AWS's backend and the path there, if `config` names one: for who wants to know whether it may be used.
pub fn of_aws(
    config: &Config,
    signal: Signal,
    access: &Access,
    region: &str,
) -> Option<Result<(Client, String), String>> {
    let aws = config.aws.as_ref()?;
    let target = Target::of(config, signal).map_err(|error| chain(&error).to_string());
    Some(target.and_then(|target| client(aws, signal, target.as_ref(), access, Some(region))))
}
