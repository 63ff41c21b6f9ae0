//! What a message says: which secret or parameter it is about.
//!
//! ```text
//! {"source":"aws.secretsmanager", "detail-type":"AWS Service Event via CloudTrail",
//!  "detail":{"eventName":"RotationSucceeded", "additionalEventData":{"SecretId":"arn:..."}}}
//! {"source":"aws.secretsmanager", "detail-type":"AWS API Call via CloudTrail",
//!  "detail":{"eventName":"PutSecretValue", "requestParameters":{"secretId":"name or ARN"}, "responseElements":{"arn":"arn:..."}}}
//! {"source":"aws.ssm", "detail-type":"Parameter Store Change", "detail":{"name":"/a/b", "operation":"Update"}}
//! {"Type":"Notification", "Message":"one of these, as text"}                          from SNS, unless it delivers it raw
//! ```
//!
//! Promises: anything else is read as nothing. A call that only reads is no hint: our own calls are told of, too, and each would be
//! the reason for the next.
//! Never: does I/O; looks at a body that is larger than an event can be.

use serde_json::Value;

use crate::{limits::EVENT_BYTES_MAX, secrets::settings::From};

/// How the names of calls begin that change nothing.
const READS: [&str; 5] = ["Get", "BatchGet", "Describe", "List", "Validate"];

/// One secret or parameter of which someone says that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A secret's name or ARN.
    Secret(String),
    /// A parameter's name.
    Parameter(String),
}

/// What a message's body announces; `None` if it is no event that we know. Of one event there may be several names for the same.
pub fn read(body: &str) -> Option<Vec<Hint>> {
    let event = parse(body)?;
    let wrapped = event.get("Message").and_then(Value::as_str).filter(|_| event.get("source").is_none());
    match wrapped {
        Some(message) => of_event(&parse(message)?),
        None => of_event(&event),
    }
}

fn parse(text: &str) -> Option<Value> {
    if text.len() > EVENT_BYTES_MAX {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn of_event(event: &Value) -> Option<Vec<Hint>> {
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).filter(|text| !text.is_empty());
    match event.get("source")?.as_str()? {
        "aws.secretsmanager" => {
            let call = text("/detail/eventName").unwrap_or_default();
            let reads = event.pointer("/detail/readOnly") == Some(&Value::Bool(true));
            if reads || READS.iter().any(|read| call.starts_with(read)) {
                return Some(Vec::new());
            }
            // Which member has it depends on the kind of event, and on when it was; all of them are about one secret.
            let places = [
                "/detail/additionalEventData/SecretId",
                "/detail/requestParameters/secretId",
                "/detail/requestParameters/name",
                "/detail/responseElements/arn",
                "/detail/responseElements/aRN",
            ];
            Some(places.into_iter().filter_map(text).map(|id| Hint::Secret(id.to_owned())).collect())
        }
        "aws.ssm" => Some(text("/detail/name").map(|name| Hint::Parameter(name.to_owned())).into_iter().collect()),
        _ => None,
    }
}

impl Hint {
    /// True if a secret that comes from there may be meant. Rather too often than not at all: it is only a look.
    pub fn concerns(&self, from: &From) -> bool {
        match (self, from) {
            (Self::Secret(told), From::SecretsManager(secret)) => {
                let (told, own) = (name(told), name(&secret.id));
                // The service puts six characters of its own behind a name, which only a whole ARN has.
                told == own || without_suffix(told) == Some(own) || without_suffix(own) == Some(told)
            }
            // What stands behind a colon is a version or a label, and no part of a name.
            (Self::Parameter(told), From::Parameter(parameter)) => {
                let own = parameter.name.split_once(":parameter/").map_or(parameter.name.as_str(), |(_, own)| own);
                let own = own.split_once(':').map_or(own, |(own, _)| own);
                told.trim_start_matches('/') == own.trim_start_matches('/')
            }
            (Self::Parameter(told), From::Parameters(parameters)) => {
                let path = parameters.path.trim_end_matches('/');
                told.strip_prefix(path).is_some_and(|rest| path.is_empty() || rest.starts_with('/'))
            }
            _ => false,
        }
    }
}

/// The part of an ARN that has the name; a name as it is.
fn name(id: &str) -> &str {
    if id.starts_with("arn:") { id.split_once(":secret:").map_or(id, |(_, name)| name) } else { id }
}

fn without_suffix(name: &str) -> Option<&str> {
    let (name, suffix) = name.rsplit_once('-')?;
    (suffix.len() == 6 && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
}
