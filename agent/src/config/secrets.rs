//! What is wrong with the section `secrets`, beyond what its types can say.
//!
//! Promises: names and places only; a template or a URL pattern is not shown, for it may hold what it should not.
//! Never: asks for a secret.

use std::net::{IpAddr, SocketAddr};

use super::{document::Document, node::Path, source::Tree};
use crate::{
    aws::queue::place_of,
    problem::{Problem, Problems},
    secrets::{
        render,
        settings::{Format, From, Secrets, Tell, Webhook},
        tell::is_signal,
    },
};

/// Looks at the whole section.
pub(super) fn check(document: &Document, tree: &Tree, problems: &mut Problems) {
    let secrets = &document.secrets;
    let mut error = |path: &str, what: String, hint: &str| {
        problems.push(Problem::error(tree.place(&Path::of_items(path)), what, hint));
    };
    for mistake in render::mistakes(secrets) {
        error(&mistake.place, mistake.what, "");
    }
    for (number, item) in secrets.items.iter().enumerate() {
        if let From::Parameters(parameters) = &item.from
            && !parameters.path.starts_with('/')
        {
            let what = "does not begin with `/`".to_owned();
            let place = format!("secrets.items[{number}].from.parameters.path");
            error(&place, what, "write the path of a hierarchy, for example `/orders/prod`");
        }
    }
    for (number, item) in secrets.items.iter().enumerate() {
        if let From::SecretsManager(secret) = &item.from
            && secret.failover_endpoints.len() > secret.failover_regions.len()
        {
            let what = "has more addresses than there are `failover_regions`".to_owned();
            let place = format!("secrets.items[{number}].from.secrets_manager.failover_endpoints");
            error(&place, what, "name the region of each, in the same order");
        }
    }
    for (number, tell) in secrets.tell.iter().enumerate() {
        match tell {
            Tell::Webhook(webhook) if !is_near(webhook) => {
                let what = "is not an `http` URL of this host".to_owned();
                let hint = "write for example `http://127.0.0.1:8080/reload`";
                error(&format!("secrets.tell[{number}].webhook.url"), what, hint);
            }
            Tell::Signal(signal) if !is_signal(&signal.signal) => {
                let what = format!("there is no signal `{}`", signal.signal);
                error(&format!("secrets.tell[{number}].signal.signal"), what, "write for example `HUP`");
            }
            _ => {}
        }
    }
    for (number, prefetch) in secrets.api.iter().flat_map(|api| &api.prefetch).enumerate() {
        if prefetch.id.is_some() == prefetch.tag.is_some() {
            let what = "needs an `id` or a `tag`, and not both".to_owned();
            error(&format!("secrets.api.prefetch[{number}]"), what, "write one entry for each");
        }
    }
    if let Some(Err(why)) = secrets.hints.as_ref().map(|hints| place_of(&hints.sqs)) {
        error("secrets.hints.sqs", format!("cannot be asked: {why}"), "");
    }
    if let Some(address) = secrets.api.as_ref().map(crate::secrets::settings::Api::address)
        && !address.ip().is_loopback()
    {
        let what = format!("`{address}` is not a loopback address");
        error("secrets.api.listen", what, "secrets are not for other hosts; write `127.0.0.1:2773`");
    }
    passed_over(secrets, tree, problems);
}

/// Files that PostgreSQL's clients would pass over, since others than their owner may read them (libpq, `passwordFromFile`).
fn passed_over(secrets: &Secrets, tree: &Tree, problems: &mut Problems) {
    for (number, item) in secrets.items.iter().enumerate() {
        for (at, file) in item.files.iter().enumerate().filter(|(_, file)| file.format == Format::Pgpass) {
            let mode = secrets.mode_of(file);
            if mode & 0o077 != 0 {
                let place = tree.place(&Path::of_items(&format!("secrets.items[{number}].files[{at}].mode")));
                let what =
                    format!("PostgreSQL's clients ignore a password file that others may read, as with {mode:04o}");
                let hint = "write `mode: \"0400\"`, and as `secrets.user` the user that the app runs as";
                problems.push(Problem::warning(place, what, hint));
            }
        }
    }
}

/// True for `http` on a loopback address or `localhost`.
fn is_near(webhook: &Webhook) -> bool {
    let Ok(uri) = webhook.url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| SocketAddr::new(ip, 0).ip().is_loopback());
    uri.scheme_str() == Some("http") && is_loopback
}
