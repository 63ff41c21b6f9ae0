//! The rules of X-Ray: what `PutTraceSegments` takes, what it leaves unprocessed, what it says then; and what it says of sampling.
//!
//! Promises: limits to the document and the byte; a request that the service would refuse for its shape is both refused and
//! remembered as a violation.
//! Never: speaks HTTP or knows of faults.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{answer::Answer, logs::Refusal, script::Operation};
use crate::otlp::{Span, spans};

/// Documents of a request.
const DOCUMENTS_MAX: usize = 50;
/// Bytes of a document.
const DOCUMENT_BYTES_MAX: usize = 65_536;
/// Bytes of a request with spans.
const SPANS_BYTES_MAX: usize = 5_000_000;
/// Spans of a request.
const SPANS_MAX: usize = 10_000;
/// The members that every segment has.
const REQUIRED: [&str; 4] = ["name", "id", "trace_id", "start_time"];

/// One account and region.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// What was processed.
    pub(super) processed: Vec<String>,
    /// The bodies of what was asked about sampling.
    pub(super) sampling: Vec<(Operation, Vec<u8>)>,
    /// Transaction Search is on.
    pub(super) takes_spans: bool,
    /// The spans that were taken.
    pub(super) spans: Vec<Span>,
}

/// Statistics of a request for targets.
const STATISTICS_MAX: usize = 25;
/// What it says of rules, in bytes that no library would write: everything below `/checkout` is traced, and nothing of `/health`.
pub const SAMPLING_RULES: &str = concat!(
    "{\"NextToken\":null ,\"SamplingRuleRecords\":[",
    "{\"CreatedAt\":0.0,\"ModifiedAt\":1.6E9,\"SamplingRule\":{\"RuleName\":\"checkout\",\"RuleARN\":\"arn:aws:xray:us-east-1:123456789012:",
    "sampling-rule/checkout\",\"ResourceARN\":\"*\",\"Priority\":1,\"FixedRate\":1.00,\"ReservoirSize\":0,\"ServiceName\":\"*\",",
    "\"ServiceType\":\"*\",\"Host\":\"*\",\"HTTPMethod\":\"*\",\"URLPath\":\"/checkout*\",\"Version\":1,\"Attributes\":{}}},\n",
    "{\"CreatedAt\":0.0,\"ModifiedAt\":1600000000.000,\"SamplingRule\":{\"RuleName\":\"health\",\"RuleARN\":\"arn:aws:xray:us-east-1:",
    "123456789012:sampling-rule/health\",\"ResourceARN\":\"*\",\"Priority\":2,\"FixedRate\":0.0,\"ReservoirSize\":0,\"ServiceName\":\"*\",",
    "\"ServiceType\":\"*\",\"Host\":\"*\",\"HTTPMethod\":\"*\",\"URLPath\":\"/health\",\"Version\":1,\"Attributes\":{}}},",
    "{\"CreatedAt\":0.0,\"ModifiedAt\":0,\"SamplingRule\":{\"RuleName\":\"Default\",\"RuleARN\":\"arn:aws:xray:us-east-1:123456789012:",
    "sampling-rule/Default\",\"ResourceARN\":\"*\",\"Priority\":10000,\"FixedRate\":5e-2,\"ReservoirSize\":1,\"ServiceName\":\"*\",",
    "\"ServiceType\":\"*\",\"Host\":\"*\",\"HTTPMethod\":\"*\",\"URLPath\":\"*\",\"Version\":1,\"Attributes\":{}}}]}"
);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Put {
    trace_segment_documents: Vec<String>,
}

impl Segments {
    /// Takes spans as the endpoint for OTLP does: all, or none while they go to X-Ray's own store.
    pub(super) fn put_spans(&mut self, body: &[u8]) -> Answer {
        let found = spans(body);
        if !self.takes_spans || body.len() > SPANS_BYTES_MAX || found.len() > SPANS_MAX {
            return Answer::error(
                400,
                "",
                "The OTLP API is supported with CloudWatch Logs as a Trace Segment Destination.",
            );
        }
        self.spans.extend(found);
        Answer::json(200, String::new())
    }

    /// Where segments are kept.
    pub(super) fn destination(&self) -> Value {
        json!({ "Destination": if self.takes_spans { "CloudWatchLogs" } else { "XRay" }, "Status": "ACTIVE" })
    }

    pub(super) fn put(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let refused = |message: String| Refusal { code: "InvalidRequestException", message, violation: true };
        let put: Put = serde_json::from_slice(body).map_err(|error| refused(error.to_string()))?;
        let documents = put.trace_segment_documents;
        if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
            return Err(refused(format!("Exceeding maximum segment count: {DOCUMENTS_MAX}: {}", documents.len())));
        }
        if let Some(document) = documents.iter().find(|document| document.len() > DOCUMENT_BYTES_MAX) {
            return Err(refused(format!("a document of {} bytes", document.len())));
        }
        let mut unprocessed = Vec::new();
        for document in documents {
            match fault(&document) {
                Some(fault) => unprocessed.push(fault),
                None => self.processed.push(document),
            }
        }
        Ok(json!({ "UnprocessedTraceSegments": unprocessed }))
    }
}

/// The statistics that a request for targets has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistics {
    sampling_statistics_documents: Vec<Statistic>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistic {
    rule_name: String,
    #[serde(rename = "ClientID")]
    client_id: String,
    request_count: u64,
    sampled_count: u64,
}

impl Segments {
    /// The text of an answer about sampling.
    pub(super) fn sampling(&mut self, operation: Operation, body: &[u8], now_ms: i64) -> Result<String, Refusal> {
        self.sampling.push((operation, body.to_vec()));
        match operation {
            Operation::GetSamplingRules => Ok(SAMPLING_RULES.to_owned()),
            Operation::GetSamplingTargets => targets(body, now_ms),
            _ => Ok("{ }".to_owned()),
        }
    }
}

fn targets(body: &[u8], now_ms: i64) -> Result<String, Refusal> {
    let refused = |message: String| Refusal { code: "InvalidRequestException", message, violation: true };
    let statistics: Statistics = serde_json::from_slice(body).map_err(|error| refused(error.to_string()))?;
    let statistics = statistics.sampling_statistics_documents;
    if statistics.is_empty() || statistics.len() > STATISTICS_MAX {
        return Err(refused(format!("{} statistics", statistics.len())));
    }
    let is_good = |one: &&Statistic| {
        one.client_id.len() == 24
            && one.client_id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && one.sampled_count <= one.request_count
    };
    if let Some(bad) = statistics.iter().find(|one| !is_good(one)) {
        return Err(refused(format!("the statistic of {} is none", bad.rule_name)));
    }
    let until = now_ms / 1_000 + 600;
    let target = |one: &Statistic| {
        let rate = if one.rule_name == "health" { "0.0" } else { "1.0" };
        let name = &one.rule_name;
        format!(
            "{{\"RuleName\":\"{name}\",\"FixedRate\":{rate},\"ReservoirQuota\":0,\"ReservoirQuotaTTL\":{until}.0,\"Interval\":10}}"
        )
    };
    let targets: Vec<_> = statistics.iter().map(target).collect();
    Ok(format!(
        "{{\"LastRuleModification\":1.6E9,\"SamplingTargetDocuments\":[{}],\"UnprocessedStatistics\":[]}}",
        targets.join(",")
    ))
}

/// Why a document is not processed.
fn fault(document: &str) -> Option<Value> {
    if document.starts_with("T1S") {
        return None;
    }
    let Ok(Value::Object(segment)) = serde_json::from_str(document) else {
        return Some(json!({ "ErrorCode": "JSONFormatError" }));
    };
    let missing = REQUIRED.iter().find(|&&name| !segment.contains_key(name))?;
    Some(json!({ "Id": segment.get("id"), "ErrorCode": "MissingParam", "Message": format!("no {missing}") }))
}
