//! What is passed on: paths, and the services they are for.
//!
//! Promises: a path is on the list to the letter, without a query, or it is not passed on.
//! Never: decodes or tidies up a path.

use std::sync::Arc;

use http::Uri;
use serde::Deserialize;

use crate::traces::settings::Allowed;

/// Where rules come from. The answer is the same for everybody who asks with the same body.
const RULES: &str = "/GetSamplingRules";
/// What AWS's SDKs and OpenTelemetry's samplers ask for.
const USUAL: [&str; 3] = [RULES, "/SamplingTargets", "/SamplingStatisticSummaries"];

/// A service that requests are signed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// AWS X-Ray.
    #[default]
    Xray,
    /// Application Signals of CloudWatch, which newer SDKs of AWS Distro for OpenTelemetry ask for what to instrument.
    ApplicationSignals,
}

/// One path that is passed on.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) path: Arc<str>,
    pub(super) service: Service,
    /// Whether an answer may be given to others who ask the same.
    pub(super) is_kept: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Routes(Vec<Route>);

impl Routes {
    pub(super) fn new(more: &[Allowed]) -> Self {
        let usual =
            USUAL.iter().map(|&path| Route { path: path.into(), service: Service::Xray, is_kept: path == RULES });
        let more = more.iter().map(|allowed| Route {
            path: allowed.path.as_str().into(),
            service: allowed.service,
            is_kept: false,
        });
        Self(usual.chain(more).collect())
    }

    /// The route of a request for `uri`.
    pub(super) fn find(&self, uri: &Uri) -> Option<&Route> {
        let wanted = uri.path_and_query()?.as_str();
        self.0.iter().find(|route| *route.path == *wanted)
    }
}

/// True for a path that can be on the list.
pub fn is_path(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"/-_.~".contains(&c);
    (2..=200).contains(&text.len())
        && text.starts_with('/')
        && text.bytes().all(fits)
        && text.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_list_to_the_letter_or_not_passed_on() {
        let more =
            Allowed { path: "/list-instrumentation-configurations".into(), service: Service::ApplicationSignals };
        let routes = Routes::new(&[more]);
        let found = |path: &str| {
            let uri: Uri = path.parse().expect(path);
            routes.find(&uri).map(|route| (route.service, route.is_kept))
        };
        for (path, expected) in [
            ("/GetSamplingRules", Some((Service::Xray, true))),
            ("/SamplingTargets", Some((Service::Xray, false))),
            ("/SamplingStatisticSummaries", Some((Service::Xray, false))),
            ("/list-instrumentation-configurations", Some((Service::ApplicationSignals, false))),
            ("/getsamplingrules", None),
            ("/GetSamplingRules/", None),
            ("//GetSamplingRules", None),
            ("/x/../GetSamplingRules", None),
            ("/%47etSamplingRules", None),
            ("/GetSamplingRules?x=1", None),
            ("/GetSamplingRules?", None),
            ("/TraceSegments", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn what_can_be_on_the_list_is_a_plain_path() {
        for (text, expected) in [
            ("/TraceSegments", true),
            ("/v1/traces", true),
            ("/a_b-c.d~e", true),
            ("", false),
            ("/", false),
            ("TraceSegments", false),
            ("/a//b", false),
            ("/a/", false),
            ("/../a", false),
            ("/a/.", false),
            ("/a?b=c", false),
            ("/a%2f", false),
            ("/a b", false),
            ("/\u{e4}", false),
        ] {
            assert_eq!(is_path(text), expected, "{text}");
        }
        assert!(!is_path(&format!("/{}", "a".repeat(200))));
    }
}
