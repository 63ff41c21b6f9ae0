//! The rules of Secrets Manager and the Parameter Store, as far as secrets are read.
//!
//! Promises: a stage is on one version; what moves with `AWSCURRENT` moves here; an answer can be from before the last change, as
//! the service's nodes answer for moments.
//! Never: rotates by itself, speaks HTTP or knows of faults.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::logs::Refusal;

/// The account of every ARN.
const ACCOUNT: &str = "123456789012";
/// Names that GetParameters takes.
const NAMES_MAX: usize = 10;
/// Secrets of a page of ListSecrets. The service gives up to 100, and fewer when it likes.
const LIST_PAGE: usize = 2;
/// When versions are made: the first in this second, each later one a second later.
const FIRST_MADE: f64 = 1_700_000_000.046;

/// A secret.
#[derive(Clone, Debug, Default)]
pub struct Secret {
    /// Version ids and what they hold; `None` is a version without a value.
    pub versions: BTreeMap<String, Option<Content>>,
    /// Stages and the version each is on.
    pub stages: BTreeMap<String, String>,
    /// When it will rotate, in seconds since 1970.
    pub next_rotation: Option<i64>,
    /// How long that may take: `3h`.
    pub window: Option<String>,
    /// True if it is marked for deletion.
    pub is_deleted: bool,
    /// True if nobody may read its value.
    pub is_denied: bool,
    /// True if nobody may describe it.
    pub is_describe_denied: bool,
    /// The role that alone may read it.
    pub role: Option<String>,
    /// Keys of its tags.
    pub tags: Vec<String>,
    /// When each version was made, in order.
    made: BTreeMap<String, f64>,
}

/// What a version holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `SecretString`.
    Text(String),
    /// `SecretBinary`, already in base64.
    Base64(String),
}

/// A parameter: versions from 1, and labels on them.
#[derive(Clone, Debug, Default)]
pub struct Parameter {
    /// The values, oldest first.
    pub values: Vec<String>,
    /// Labels and the version each is on.
    pub labels: BTreeMap<String, u64>,
}

/// One account and region.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) secrets: BTreeMap<String, Secret>,
    pub(super) parameters: BTreeMap<String, Parameter>,
    /// A request that says no version gets the current one. Clients of others do that.
    pub(super) takes_unversioned: bool,
    /// As all was before the last change, and for how many answers.
    before: BTreeMap<String, Secret>,
    stale_answers: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Describe {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    #[serde(default)]
    filters: Vec<Filter>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetParameters {
    names: Vec<String>,
    #[serde(default)]
    with_decryption: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetParametersByPath {
    path: String,
    #[serde(default)]
    recursive: bool,
    #[serde(default)]
    with_decryption: bool,
    max_results: Option<usize>,
    next_token: Option<String>,
    #[serde(default)]
    parameter_filters: Vec<Filter>,
}

impl Secret {
    /// A secret with this version, which is current.
    pub fn new(version: &str, value: &str) -> Self {
        let mut secret = Self::default();
        secret.put(version, Content::Text(value.to_owned()), "AWSCURRENT");
        secret
    }

    /// Puts a version, or gives one that has no value its value, and moves `stage` to it.
    pub fn put(&mut self, version: &str, content: Content, stage: &str) {
        self.add(version, Some(content), stage);
    }

    /// Makes a version without a value, as a rotation does that fails early.
    pub fn put_empty(&mut self, version: &str, stage: &str) {
        self.add(version, None, stage);
    }

    /// Moves a stage. `AWSPREVIOUS` follows `AWSCURRENT`, and `AWSPENDING` leaves the version that becomes current.
    pub fn move_stage(&mut self, stage: &str, version: &str) {
        assert!(self.versions.contains_key(version), "there is no version `{version}`");
        let before = self.stages.insert(stage.to_owned(), version.to_owned());
        if stage != "AWSCURRENT" {
            return;
        }
        if let Some(before) = before.filter(|before| before != version) {
            self.stages.insert("AWSPREVIOUS".to_owned(), before);
        }
        if self.stages.get("AWSPENDING").is_some_and(|pending| pending == version) {
            self.stages.remove("AWSPENDING");
        }
    }

    fn add(&mut self, version: &str, content: Option<Content>, stage: &str) {
        let made = FIRST_MADE + self.made.len() as f64;
        self.made.entry(version.to_owned()).or_insert(made);
        self.versions.insert(version.to_owned(), content);
        self.move_stage(stage, version);
    }

    fn stages_of(&self, version: &str) -> Vec<&str> {
        self.stages.iter().filter(|(_, on)| *on == version).map(|(stage, _)| stage.as_str()).collect()
    }
}

impl Secrets {
    /// Changes a secret, or makes one.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Secret)) {
        self.before = self.secrets.clone();
        change(self.secrets.entry(name.to_owned()).or_default());
    }

    /// The next `count` answers are from before the last change.
    pub(super) fn answer_stale(&mut self, count: u32) {
        self.stale_answers = count;
    }

    /// DescribeSecret.
    pub(super) fn describe(&mut self, body: &[u8], region: &str, role: Option<&str>) -> Result<Value, Refusal> {
        let ask: Describe = super::logs::parse(body)?;
        let (name, secret) = self.find(&ask.secret_id, region)?;
        if secret.is_describe_denied || secret.role.as_deref().is_some_and(|wanted| role != Some(wanted)) {
            return Err(denied("secretsmanager:DescribeSecret", &name));
        }
        let mut versions = serde_json::Map::new();
        for version in secret.versions.keys() {
            let stages = secret.stages_of(version);
            // A version without a stage is not told of, unless someone asks for those.
            if !stages.is_empty() {
                versions.insert(version.clone(), json!(stages));
            }
        }
        let mut said = json!({
            "ARN": arn(&name, region), "Name": name, "VersionIdsToStages": versions, "CreatedDate": FIRST_MADE,
        });
        if let Some(date) = secret.next_rotation {
            said["RotationEnabled"] = json!(true);
            said["NextRotationDate"] = json!(date);
        }
        if let Some(window) = &secret.window {
            said["RotationRules"] = json!({"Duration": window, "ScheduleExpression": "rate(4 hours)"});
        }
        if secret.is_deleted {
            said["DeletedDate"] = json!(FIRST_MADE);
        }
        Ok(said)
    }

    /// GetSecretValue. A client of ours always says which version.
    pub(super) fn get(&mut self, body: &[u8], region: &str, role: Option<&str>) -> Result<Value, Refusal> {
        let ask: Get = super::logs::parse(body)?;
        let (name, secret) = self.find(&ask.secret_id, region)?;
        if secret.is_denied || secret.role.as_deref().is_some_and(|wanted| role != Some(wanted)) {
            return Err(denied("secretsmanager:GetSecretValue", &name));
        }
        if secret.is_deleted {
            let message = "You can't perform this operation on the secret because it was marked for deletion.";
            return Err(refusal("InvalidRequestException", message));
        }
        let version = match (&ask.version_id, &ask.version_stage) {
            (None, None) if self.takes_unversioned => secret.stages.get("AWSCURRENT").cloned().unwrap_or_default(),
            (None, None) => {
                let message = "neither VersionId nor VersionStage: what comes is what someone put last".to_owned();
                return Err(Refusal { code: "InvalidParameterException", message, violation: true });
            }
            (Some(id), _) => id.clone(),
            (None, Some(stage)) => secret.stages.get(stage).cloned().unwrap_or_default(),
        };
        if ask.version_stage.as_ref().is_some_and(|stage| !secret.stages_of(&version).contains(&stage.as_str()))
            && ask.version_id.is_some()
        {
            let message = "You provided a VersionStage that is not associated to the provided VersionId.";
            return Err(refusal("InvalidRequestException", message));
        }
        let Some(Some(content)) = secret.versions.get(&version) else {
            return Err(refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret value."));
        };
        let mut said = json!({
            "ARN": arn(&name, region), "Name": name, "VersionId": version, "VersionStages": secret.stages_of(&version),
            "CreatedDate": secret.made.get(&version),
        });
        match content {
            Content::Text(text) => said["SecretString"] = json!(text),
            Content::Base64(text) => said["SecretBinary"] = json!(text),
        }
        Ok(said)
    }

    /// ListSecrets by the beginning of a tag's key, two to a page. The token is the number of secrets before the page.
    pub(super) fn list(&self, body: &[u8], region: &str) -> Result<Value, Refusal> {
        let ask: List = super::logs::parse(body)?;
        let [Filter { key, values }] = &ask.filters[..] else {
            return Err(refusal("InvalidParameterException", "one filter"));
        };
        if key != "tag-key" || values.len() != 1 {
            return Err(refusal("InvalidParameterException", "a filter by tag-key"));
        }
        let from: usize = ask.next_token.map_or(Ok(0), |token| token.parse()).unwrap_or(usize::MAX);
        let has = |secret: &Secret| secret.tags.iter().any(|tag| tag.starts_with(values[0].as_str()));
        let found: Vec<_> = self.secrets.iter().filter(|(_, secret)| has(secret)).collect();
        let page = found.iter().skip(from).take(LIST_PAGE).map(|(name, secret)| {
            let tags: Vec<_> = secret.tags.iter().map(|key| json!({"Key": key, "Value": "any"})).collect();
            json!({"ARN": arn(name, region), "Name": name, "Tags": tags})
        });
        let mut said = json!({"SecretList": page.collect::<Vec<_>>()});
        if from.saturating_add(LIST_PAGE) < found.len() {
            said["NextToken"] = json!((from + LIST_PAGE).to_string());
        }
        Ok(said)
    }

    /// GetParameters.
    pub(super) fn get_parameters(&self, body: &[u8], region: &str) -> Result<Value, Refusal> {
        let ask: GetParameters = super::logs::parse(body)?;
        if !(1..=NAMES_MAX).contains(&ask.names.len()) {
            let message = format!("{} names, decrypted: {}", ask.names.len(), ask.with_decryption);
            return Err(Refusal { code: "ValidationException", message, violation: true });
        }
        let (mut found, mut invalid) = (Vec::new(), Vec::new());
        // The service keeps no order either.
        for asked in ask.names.iter().rev() {
            match self.parameter(asked, region) {
                Some(said) => found.push(said),
                None => invalid.push(asked),
            }
        }
        Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
    }

    /// GetParametersByPath, in pages of at most ten. The token is the number of parameters before the page.
    pub(super) fn get_parameters_by_path(&self, body: &[u8], region: &str) -> Result<Value, Refusal> {
        let ask: GetParametersByPath = super::logs::parse(body)?;
        let most = ask.max_results.unwrap_or(NAMES_MAX);
        if !(1..=NAMES_MAX).contains(&most)
            || !ask.path.starts_with('/')
            || !ask.with_decryption && ask.parameter_filters.is_empty()
        {
            let message = format!("{most} results below `{}`, decrypted: {}", ask.path, ask.with_decryption);
            return Err(Refusal { code: "ValidationException", message, violation: true });
        }
        let has_label = |name: &&String| {
            let labels = &self.parameters[*name].labels;
            ask.parameter_filters
                .iter()
                .all(|filter| filter.key == "Label" && filter.values.iter().any(|label| labels.contains_key(label)))
        };
        let is_below = |name: &&String| {
            let rest = name.strip_prefix(ask.path.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| ask.recursive || !rest.contains('/'))
        };
        let from: usize = match ask.next_token.map(|token| token.parse()) {
            None => 0,
            Some(Ok(from)) => from,
            Some(Err(_)) => return Err(refusal("InvalidNextToken", "The specified token is not valid.")),
        };
        let names: Vec<&String> = self.parameters.keys().filter(is_below).filter(has_label).collect();
        let page = names.iter().skip(from).take(most).filter_map(|name| self.parameter(name, region));
        let mut said = json!({"Parameters": page.collect::<Vec<_>>()});
        if from + most < names.len() {
            said["NextToken"] = json!((from + most).to_string());
        }
        Ok(said)
    }

    fn parameter(&self, asked: &str, region: &str) -> Option<Value> {
        let root = format!("arn:aws:ssm:{region}:{ACCOUNT}:parameter");
        let plain = asked.strip_prefix(&root).unwrap_or(asked);
        let (name, selector) = plain.split_once(':').map_or((plain, None), |(name, selector)| (name, Some(selector)));
        let parameter = self.parameters.get(name)?;
        let version = match selector {
            None => parameter.values.len() as u64,
            Some(selector) => selector.parse().ok().or_else(|| parameter.labels.get(selector).copied())?,
        };
        let value = parameter.values.get(usize::try_from(version).ok()?.checked_sub(1)?)?;
        let mut said = json!({
            "Name": name, "Type": "SecureString", "Value": value, "Version": version, "ARN": format!("{root}{name}"),
            "LastModifiedDate": FIRST_MADE + version as f64, "DataType": "text",
        });
        if let Some(selector) = selector {
            said["Selector"] = json!(format!(":{selector}"));
        }
        Some(said)
    }

    /// The secret with this name, ARN, or ARN without its last characters; as it is, or as it was.
    fn find(&mut self, id: &str, region: &str) -> Result<(String, Secret), Refusal> {
        let is_stale = self.stale_answers > 0;
        self.stale_answers = self.stale_answers.saturating_sub(1);
        let secrets = if is_stale { &self.before } else { &self.secrets };
        let is_it = |name: &str| {
            let arn = arn(name, region);
            id == name
                || id == arn
                || arn.strip_prefix(id).is_some_and(|rest| rest.len() == 7 && id.starts_with("arn:"))
        };
        let found = secrets.iter().find(|(name, _)| is_it(name));
        let missing = || refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
        found.map(|(name, secret)| (name.clone(), secret.clone())).ok_or_else(missing)
    }
}

/// The ARN of a secret.
pub(super) fn arn(name: &str, region: &str) -> String {
    format!("arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}-a1b2c3")
}

fn refusal(code: &'static str, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned(), violation: false }
}

fn denied(action: &str, name: &str) -> Refusal {
    let message =
        format!("User: arn:aws:sts::{ACCOUNT}:assumed-role/task/1 is not authorized to perform: {action} on {name}");
    Refusal { code: "AccessDeniedException", message, violation: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: &str = "us-east-1";

    fn get(secrets: &mut Secrets, extra: Value) -> Result<Value, &'static str> {
        let mut ask = json!({"SecretId": "db"});
        ask.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        secrets.get(ask.to_string().as_bytes(), REGION, None).map_err(|refusal| refusal.code)
    }

    fn stages(secrets: &mut Secrets) -> Value {
        secrets.describe(br#"{"SecretId":"db"}"#, REGION, None).unwrap()["VersionIdsToStages"].clone()
    }

    #[test]
    fn stages_move_as_a_rotation_moves_them() {
        let mut secrets = Secrets::default();
        secrets.change("db", |secret| *secret = Secret::new("v1", "one"));
        secrets.change("db", |secret| secret.put_empty("v2", "AWSPENDING"));
        assert_eq!(stages(&mut secrets), json!({"v1": ["AWSCURRENT"], "v2": ["AWSPENDING"]}));
        assert_eq!(get(&mut secrets, json!({"VersionStage": "AWSPENDING"})), Err("ResourceNotFoundException"));
        secrets.change("db", |secret| secret.put("v2", Content::Text("two".to_owned()), "AWSPENDING"));
        secrets.change("db", |secret| secret.move_stage("AWSCURRENT", "v2"));
        assert_eq!(stages(&mut secrets), json!({"v1": ["AWSPREVIOUS"], "v2": ["AWSCURRENT"]}));
        for (ask, value) in [
            (json!({"VersionStage": "AWSCURRENT"}), "two"),
            (json!({"VersionStage": "AWSPREVIOUS"}), "one"),
            (json!({"VersionId": "v1"}), "one"),
        ] {
            assert_eq!(get(&mut secrets, ask).unwrap()["SecretString"], value);
        }
        let mismatch = json!({"VersionId": "v1", "VersionStage": "AWSCURRENT"});
        assert_eq!(get(&mut secrets, mismatch), Err("InvalidRequestException"));
        assert_eq!(get(&mut secrets, json!({"VersionId": "v9"})), Err("ResourceNotFoundException"));
    }

    #[test]
    fn answers_can_be_old_and_secrets_gone_or_shut() {
        let mut secrets = Secrets::default();
        secrets.change("db", |secret| *secret = Secret::new("v1", "one"));
        secrets.change("db", |secret| secret.put("v2", Content::Base64("AAE=".to_owned()), "AWSCURRENT"));
        secrets.answer_stale(2);
        assert_eq!(stages(&mut secrets), json!({"v1": ["AWSCURRENT"]}));
        assert_eq!(get(&mut secrets, json!({"VersionId": "v2"})), Err("ResourceNotFoundException"));
        assert_eq!(get(&mut secrets, json!({"VersionId": "v2"})).unwrap()["SecretBinary"], "AAE=");
        secrets.change("db", |secret| secret.is_denied = true);
        assert_eq!(get(&mut secrets, json!({"VersionId": "v2"})), Err("AccessDeniedException"));
        secrets.change("db", |secret| (secret.is_denied, secret.is_deleted) = (false, true));
        assert_eq!(get(&mut secrets, json!({"VersionId": "v2"})), Err("InvalidRequestException"));
        for id in [arn("db", REGION), arn("db", REGION).trim_end_matches("-a1b2c3").to_owned()] {
            let body = json!({"SecretId": id}).to_string();
            assert_eq!(secrets.describe(body.as_bytes(), REGION, None).unwrap()["Name"], "db");
        }
        assert_eq!(
            secrets.describe(br#"{"SecretId":"d"}"#, REGION, None).unwrap_err().code,
            "ResourceNotFoundException"
        );
    }

    /// The doubles and the service differ in what they give then.
    #[test]
    fn a_fetch_that_does_not_say_which_version_is_a_violation() {
        let mut secrets = Secrets::default();
        secrets.change("db", |secret| *secret = Secret::new("v1", "one"));
        assert!(secrets.get(br#"{"SecretId":"db"}"#, REGION, None).unwrap_err().violation);
    }

    #[test]
    fn parameters_are_found_by_name_arn_version_and_label() {
        let parameter = Parameter {
            values: vec!["one".to_owned(), "two".to_owned()],
            labels: BTreeMap::from([("prod".to_owned(), 1)]),
        };
        let secrets = Secrets { parameters: BTreeMap::from([("/a/b".to_owned(), parameter)]), ..Secrets::default() };
        let arn = format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/a/b");
        for (name, value) in [
            ("/a/b", Some("two")),
            ("/a/b:1", Some("one")),
            ("/a/b:prod", Some("one")),
            (arn.as_str(), Some("two")),
            ("/a/b:3", None),
            ("/a/b:0", None),
            ("/a", None),
        ] {
            let body = json!({"Names": [name], "WithDecryption": true}).to_string();
            let said = secrets.get_parameters(body.as_bytes(), REGION).unwrap();
            assert_eq!(said["Parameters"][0]["Value"].as_str(), value, "{name}");
            assert_eq!(said["InvalidParameters"].as_array().unwrap().is_empty(), value.is_some(), "{name}");
        }
        let mut secrets = secrets;
        for at in 0..12 {
            let one = Parameter { values: vec!["x".to_owned()], ..Parameter::default() };
            secrets.parameters.insert(format!("/a/deep/{at}"), one);
        }
        let below = |recursive: bool, token: Option<&str>| {
            let mut body = json!({"Path": "/a", "Recursive": recursive, "WithDecryption": true});
            if let Some(token) = token {
                body["NextToken"] = json!(token);
            }
            let said = secrets.get_parameters_by_path(body.to_string().as_bytes(), REGION).unwrap();
            (said["Parameters"].as_array().unwrap().len(), said["NextToken"].as_str().map(str::to_owned))
        };
        assert_eq!(below(false, None), (1, None));
        assert_eq!(below(true, None), (10, Some("10".to_owned())));
        assert_eq!(below(true, Some("10")), (3, None));
        let too_many = json!({"Names": vec!["x"; 11], "WithDecryption": true}).to_string();
        for body in [too_many.as_str(), r#"{"Names":[],"WithDecryption":true}"#] {
            assert!(secrets.get_parameters(body.as_bytes(), REGION).unwrap_err().violation, "{body}");
        }
    }
}
