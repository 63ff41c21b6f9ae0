//! The way to a service: its name, the route, TLS, and what its clock says.
//!
//! Promises: one request without a signature for each address; any answer at all means that the way is there.
//! Never: believes a clock that is only said to be off by a delay: answers take less than [`PATIENCE`].

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Uri};

use super::{Report, State};
use crate::{
    aws::ahead_of,
    config::Config,
    metrics::settings::Destination as Metrics,
    net::{
        connect::Reason,
        http::{HttpClient, HttpError},
    },
    tell::chain,
    traces::settings::Destination as Traces,
};

/// The time for one question.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// AWS refuses what was signed more than five minutes off.
const REFUSED_SECONDS: u64 = 5 * 60;
/// So much is worth a word.
const ODD_SECONDS: u64 = 30;

/// The scheme, name and port that a connection is made to.
pub(super) fn place(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority().map_or("", |authority| authority.as_str()))
}

/// Backends that are not AWS's, and addresses that the user gave.
pub(super) fn of_backends(config: &Config) -> Vec<Uri> {
    let traces = config.traces.running().into_iter().filter_map(|output| match output.to {
        Traces::Otlp(otlp) => otlp.traces_endpoint.or(otlp.endpoint),
        Traces::Xray(_) => None,
    });
    let metrics = config.metrics.running().iter().filter_map(|output| match &output.to {
        Metrics::Otlp(otlp) => otlp.metrics_endpoint.clone().or(otlp.endpoint.clone()),
        Metrics::Cloudwatch(_) | Metrics::Emf(_) => None,
    });
    traces.chain(metrics).filter_map(|text| text.to_string().parse().ok()).collect()
}

/// True if the way is there.
pub(super) async fn look(uri: &Uri, http: &HttpClient, knows_time: &mut bool, report: &mut Report) -> bool {
    let place = place(uri);
    let Ok(asked) = format!("{place}/").parse::<Uri>() else { return false };
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = asked;
    match http.send(request, PATIENCE).await {
        Ok(answer) => {
            report.well("network", format_args!("{place} answers"));
            if let Some(seconds) = ahead_of(answer.headers(), SystemTime::now()).filter(|_| !*knows_time) {
                *knows_time = true;
                time(seconds, report);
            }
            true
        }
        // It is another protocol's port, or it closed: somebody is there.
        Err(error) if error.unconnected().is_none() && !matches!(error, HttpError::Timeout { .. }) => {
            report.well("network", format_args!("{place} can be reached"));
            true
        }
        Err(error) => {
            let said = format!("{place} is not reached: {}", chain(&error));
            report.add("network", State::Wrong, said, advice(error.unconnected()));
            false
        }
    }
}

fn time(seconds: i64, report: &mut Report) {
    let off = seconds.unsigned_abs();
    let said = format!("{off} s {} the service's", if seconds < 0 { "behind" } else { "ahead of" });
    if off > REFUSED_SECONDS {
        let advice = "set the host's clock (chrony, 169.254.169.123). Requests are signed by the service's time meanwhile, but records \
                      keep the time that they came with";
        report.add("clock", State::Wrong, said, advice);
    } else if off > ODD_SECONDS {
        report.add("clock", State::Odd, said, "set the host's clock: times of records are off by as much");
    } else {
        report.well("clock", "agrees with the service's");
    }
}

fn advice(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::Name) => {
            "the name is not resolved: is the region right, and do the VPC's DNS settings (enableDnsSupport, enableDnsHostnames, private \
             DNS of a VPC endpoint) give it an address?"
        }
        Some(Reason::TimedOut | Reason::Unreachable | Reason::TlsTimedOut) | None => {
            "there is no way: a private subnet needs a NAT gateway or a VPC endpoint of this service, the task's security group must let \
             443 out, and the endpoint's must let it in"
        }
        Some(Reason::Refused) => "nobody listens there: is the address right?",
        Some(Reason::CertificateAuthority | Reason::CertificateName) => {
            "somebody else answers, or a proxy that opens TLS: give its authority with AWS_CA_BUNDLE if it may"
        }
        Some(Reason::CertificateTime) => "look at the clock first",
        Some(Reason::Own) => "mend the file that AWS_CA_BUNDLE or SSL_CERT_FILE names",
        Some(Reason::Certificate | Reason::TlsVersion | Reason::Tls) => {
            "what answers there does not speak TLS as AWS does"
        }
    }
}
