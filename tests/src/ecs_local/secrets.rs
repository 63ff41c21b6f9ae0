//! Secrets of a definition, read once before the start, as ECS does with the execution role.
//!
//! Promises: a secret that is not there refuses the start, with the words of ECS.
//! Never: asks AWS itself: only what stands in for it on this machine, without TLS.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The value that `valueFrom` names.
pub fn value(aws: &str, region: &str, value_from: &str) -> Result<String> {
    let read = || {
        let parts: Vec<&str> = value_from.split(':').collect();
        if parts.len() < 7 || parts[2] != "secretsmanager" {
            let name = value_from.split_once(":parameter").map_or(value_from, |(_, name)| name);
            let body = json!({"Names": [name], "WithDecryption": true});
            let answer = call(aws, region, "ssm", "AmazonSSM.GetParameters", &body)?;
            let value = answer["Parameters"][0]["Value"].as_str().context("invalid ssm parameters")?;
            return Ok(value.to_owned());
        }
        let part = |index: usize| parts.get(index).copied().filter(|part| !part.is_empty());
        let mut body = json!({"SecretId": parts[..7].join(":")});
        if let Some(stage) = part(8) {
            body["VersionStage"] = json!(stage);
        }
        if let Some(version) = part(9) {
            body["VersionId"] = json!(version);
        }
        let answer = call(aws, region, "secretsmanager", "secretsmanager.GetSecretValue", &body)?;
        let text = answer["SecretString"].as_str().context("the secret has no text")?;
        let Some(key) = part(7) else { return Ok(text.to_owned()) };
        let object: Value = serde_json::from_str(text).context("the secret is no JSON")?;
        match &object[key] {
            Value::Null => bail!("retrieved secret did not contain json key {key}"),
            Value::String(text) => Ok(text.clone()),
            other => Ok(other.to_string()),
        }
    };
    read()
        .with_context(|| format!("ResourceInitializationError: unable to pull secrets or registry auth: {value_from}"))
}

/// One call of an API with a target. The stand-in looks at the name of the service in the signature, not at the signature.
pub fn call(aws: &str, region: &str, service: &str, target: &str, body: &Value) -> Result<Value> {
    request(aws, region, service, "/", Some(target), body)
}

/// One request of a JSON API.
pub fn request(
    aws: &str,
    region: &str,
    service: &str,
    path: &str,
    target: Option<&str>,
    body: &Value,
) -> Result<Value> {
    let host =
        aws.strip_prefix("http://").context("what stands in for AWS is reached by http://")?.trim_end_matches('/');
    let mut stream = TcpStream::connect(host).with_context(|| format!("nothing stands in for AWS at {aws}"))?;
    let body = body.to_string();
    let target = target.map_or(String::new(), |target| format!("X-Amz-Target: {target}\r\n"));
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {service}.{region}.amazonaws.com\r\nConnection: close\r\n\
         Content-Type: application/x-amz-json-1.1\r\n{target}X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=ecs-local/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer of HTTP")?;
    ensure!(head.contains(" 200 "), "{}: {body}", head.lines().next().unwrap_or_default());
    if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(body)?) }
}
