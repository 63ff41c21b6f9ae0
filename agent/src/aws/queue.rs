//! Queues of SQS: where one is, and a client for it.
//!
//! Promises: a queue's URL says where it is, and in which region if AWS made it.
//! Never: asks anybody.

use super::{Access, Client, EndpointError, Identity};

/// Why a queue cannot be asked at all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// It has no host or no path.
    #[error("it is not the URL of a queue; write for example `https://sqs.eu-west-1.amazonaws.com/123456789012/jobs`")]
    Url,
    /// Nobody says in which region it is.
    #[error("nobody says in which region the queue is; write `region:` beside it")]
    Region,
    /// Its address.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// The address of the service in a queue's URL, and the region if it has one.
pub fn place_of(url: &str) -> Result<(String, Option<String>), QueueError> {
    let uri: http::Uri = url.parse().map_err(|_| QueueError::Url)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(QueueError::Url) };
    if uri.path().trim_matches('/').is_empty() || uri.query().is_some() || !matches!(scheme, "http" | "https") {
        return Err(QueueError::Url);
    }
    let mut parts = authority.host().split('.');
    let region = match (parts.next(), parts.next(), parts.next()) {
        (Some("sqs"), Some(region), Some("amazonaws" | "api")) => Some(region.to_owned()),
        // As it was before 2019.
        (Some(region), Some("queue"), Some("amazonaws")) => Some(region.to_owned()),
        _ => None,
    };
    Ok((format!("{scheme}://{authority}"), region))
}

/// A client for the queue at `url`, in `region` and as `role_arn` if they are given.
pub fn client(
    url: &str,
    (region, role_arn): (Option<&str>, Option<&str>),
    access: &Access,
) -> Result<Client, QueueError> {
    let (endpoint, of_url) = place_of(url)?;
    let region = region.or(of_url.as_deref()).or_else(|| access.region()).ok_or(QueueError::Region)?;
    let identity = Identity { role_arn: role_arn.map(str::to_owned), ..Identity::default() };
    Ok(access.client("sqs", region, Some(&endpoint), &identity)?.with_json_1_0())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_says_where_it_is() {
        let aws = "https://sqs.eu-west-1.amazonaws.com";
        for (url, place) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/123456789012/hints",
                Ok((aws.to_owned(), Some("eu-west-1".to_owned()))),
            ),
            (
                "https://eu-west-1.queue.amazonaws.com/1/q",
                Ok(("https://eu-west-1.queue.amazonaws.com".to_owned(), Some("eu-west-1".to_owned()))),
            ),
            ("http://127.0.0.1:4711/1/q", Ok(("http://127.0.0.1:4711".to_owned(), None))),
            (
                "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q",
                Ok(("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com".to_owned(), None)),
            ),
            (aws, Err(QueueError::Url)),
            ("arn:aws:sqs:eu-west-1:1:q", Err(QueueError::Url)),
            ("ftp://sqs/1/q", Err(QueueError::Url)),
            ("/1/q", Err(QueueError::Url)),
            ("", Err(QueueError::Url)),
            ("https://sqs.eu-west-1.amazonaws.com/1/q?x=y", Err(QueueError::Url)),
        ] {
            assert_eq!(place_of(url), place, "{url}");
        }
    }
}
