//! Sends spans to a backend of OTLP, as they came: [`crate::otlp::out`] with what this job knows.
//!
//! Promises: what cannot work here (no region, an address that is none) is said in one sentence.
//! Never: connects; the first batch does.

use http::HeaderMap;

use crate::{
    aws::{Access, Identity},
    ecs::Metadata,
    otlp::{
        out::{Aws, Config, Otlp, Protocol, Target, Way, headers},
        walk::Signal,
    },
    tell::chain,
};

/// The service of AWS that spans are signed for, unless the user names another.
const SERVICE: &str = "xray";

/// The backend that `config` names.
pub fn backend(config: &Config, access: &Access, task: &Metadata) -> Result<Otlp, String> {
    let said = |error: &dyn std::error::Error| chain(error).to_string();
    let target = Target::of(config, Signal::Traces).map_err(|error| said(&error))?;
    let headers = headers(config).map_err(|error| said(&error))?;
    let way = match (&config.aws, target) {
        (Some(aws), target) => signed(aws, target, headers, access, task)?,
        (None, Some(target)) => match config.protocol {
            Protocol::Http => Way::Http { client: access.http().clone(), target, headers },
            Protocol::Grpc => Way::Grpc { client: access.http2(), target, headers },
        },
        (None, None) => return Err("no `endpoint`".to_owned()),
    };
    Ok(Otlp::new(Signal::Traces, way, config))
}

fn signed(
    aws: &Aws,
    target: Option<Target>,
    headers: HeaderMap,
    access: &Access,
    task: &Metadata,
) -> Result<Way, String> {
    let region = aws.region.as_deref().or(access.region()).or(task.region.as_deref());
    let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
    let service = aws.service.clone().unwrap_or_else(|| SERVICE.to_owned());
    let is_x_ray = service == SERVICE;
    let (origin, path) = match &target {
        Some(target) => (Some(target.origin()), target.uri().path().to_owned()),
        None => (None, Signal::Traces.http_path().to_owned()),
    };
    let identity = Identity { role_arn: aws.role_arn.clone(), ..Identity::default() };
    let client = access.client(service, region, origin.as_deref(), &identity);
    let client = client.map_err(|error| chain(&error).to_string())?;
    let client = Box::new(if is_x_ray { client } else { client.of_anybody() });
    Ok(Way::Signed { client, path, headers, is_x_ray })
}
