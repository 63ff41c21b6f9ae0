//! The variables of AWS's Parameters and Secrets Lambda extension, for who comes from there.
//!
//! Promises: a variable stands in where `secrets.api` is silent; one that has no meaning here, or a value that cannot be, is a
//! warning and counts as not set.
//! Never: switches the API on; only the section `secrets.api` does.

use std::{net::SocketAddr, time::Duration};

use super::environment::Environment;
use crate::{
    problem::{Problem, Problems},
    secrets::settings::Api,
    units::{Count, Span},
};

const PREFIX: &str = "PARAMETERS_SECRETS_EXTENSION_";
const TTL: &str = "SECRETS_MANAGER_TTL";
/// The extension keeps answers for up to 300 s.
const TTL_MAX: u64 = 300;
/// What has no meaning here, and why.
const UNUSED: [(&str, &str); 4] = [
    ("SSM_PARAMETER_STORE_TTL", "parameters are kept as long as secrets are, see `secrets.api.ttl`"),
    ("SECRETS_MANAGER_TIMEOUT_MILLIS", "a request to AWS has 10 s; what is known is answered at once"),
    ("SSM_PARAMETER_STORE_TIMEOUT_MILLIS", "a request to AWS has 10 s; what is known is answered at once"),
    ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "write `log.level`, or PILLION_LOG_LEVEL"),
];

/// Puts the variables where `api` says nothing.
pub(super) fn apply(environment: &Environment, api: &mut Api, problems: &mut Problems) {
    let mut number = |name: &str, range: std::ops::RangeInclusive<u64>| {
        let number = environment.get(name)?.trim().parse::<u64>().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let hint = format!("write a number from {} to {}; it counts as not set", range.start(), range.end());
            problems.push(Problem::warning(name, "not a number in its range", hint));
        }
        number
    };
    let port = number(&format!("{PREFIX}HTTP_PORT"), 1..=65_535).and_then(|port| u16::try_from(port).ok());
    let size = number(&format!("{PREFIX}CACHE_SIZE"), 1..=1_000).and_then(|size| Count::new(size).ok());
    let connections = number(&format!("{PREFIX}MAX_CONNECTIONS"), 1..=1_000).and_then(|most| Count::new(most).ok());
    let seconds = number(TTL, 0..=TTL_MAX).map(|seconds| Span(Duration::from_secs(seconds)));
    let is_off =
        environment.get(&format!("{PREFIX}CACHE_ENABLED")).is_some_and(|text| text.eq_ignore_ascii_case("false"));
    api.listen = api.listen.or(port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))));
    api.cache_size = api.cache_size.or(size);
    api.connections_max = api.connections_max.or(connections);
    // Without a cache every answer is from a look that began after the question.
    api.ttl = api.ttl.or(is_off.then_some(Span(Duration::ZERO))).or(seconds);
    let is_other = environment.get("SSM_PARAMETER_STORE_TTL") != environment.get(TTL);
    for (name, hint) in UNUSED {
        if environment.get(name).is_some() && (name != "SSM_PARAMETER_STORE_TTL" || is_other) {
            problems.push(Problem::warning(name, "has no effect here", hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the API is then: address, size, connections, seconds; and the variables that are warned of.
    fn applied(variables: &[(&str, &str)], mut api: Api) -> (String, Vec<String>) {
        let environment: Environment = variables.iter().copied().collect();
        let mut problems = Problems::default();
        apply(&environment, &mut api, &mut problems);
        let told = [
            api.listen.map(|address| address.to_string()),
            api.cache_size.map(|size| size.get().to_string()),
            api.connections_max.map(|most| most.get().to_string()),
            api.ttl.map(|ttl| ttl.0.as_secs().to_string()),
        ];
        let told = told.map(|text| text.unwrap_or_else(|| "-".to_owned())).join(" ");
        (told, problems.into_sorted().into_iter().map(|problem| problem.place).collect())
    }

    #[test]
    fn the_extensions_variables_stand_in_where_the_section_is_silent() {
        let [port, size, most, on, level] =
            ["HTTP_PORT", "CACHE_SIZE", "MAX_CONNECTIONS", "CACHE_ENABLED", "LOG_LEVEL"]
                .map(|name| format!("{PREFIX}{name}"));
        let own = || Api { ttl: Some(Span(Duration::from_secs(7))), cache_size: Count::new(9).ok(), ..Api::default() };
        for (variables, api, told, warned) in [
            (vec![], Api::default(), "- - - -", vec![]),
            (
                vec![(&*port, "2774"), (&*size, "50"), (&*most, "3"), (TTL, "60"), (&*on, "TRUE")],
                Api::default(),
                "127.0.0.1:2774 50 3 60",
                vec![],
            ),
            (vec![(&*size, "50"), (TTL, "60"), (&*on, "false")], own(), "- 9 - 7", vec![]),
            (vec![(TTL, "60"), (&*on, "False")], Api::default(), "- - - 0", vec![]),
            (vec![(TTL, "0"), ("SSM_PARAMETER_STORE_TTL", "0")], Api::default(), "- - - 0", vec![]),
            (
                vec![(TTL, "5"), ("SSM_PARAMETER_STORE_TTL", "6")],
                Api::default(),
                "- - - 5",
                vec!["SSM_PARAMETER_STORE_TTL"],
            ),
            (
                vec![(TTL, "301"), (&*port, "0"), (&*size, "many"), (&*most, "-1"), (&*level, "debug")],
                Api::default(),
                "- - - -",
                vec![&*port, &*size, &*most, TTL, &*level],
            ),
            (vec![(TTL, ""), (&*port, "")], Api::default(), "- - - -", vec![]),
        ] {
            let (said, places) = applied(&variables, api);
            assert_eq!(
                (said.as_str(), places),
                (told, warned.into_iter().map(str::to_owned).collect()),
                "{variables:?}"
            );
        }
    }
}
