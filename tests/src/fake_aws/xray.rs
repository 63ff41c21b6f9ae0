//! The rules of X-Ray's `PutTraceSegments`: what it takes, what it leaves unprocessed, what it says then.
//!
//! Promises: limits to the document and the byte; a request that the service would refuse for its shape is both refused and
//! remembered as a violation.
//! Never: speaks HTTP or knows of faults.

use serde::Deserialize;
use serde_json::{Value, json};

use super::logs::Refusal;

/// Documents of a request.
const DOCUMENTS_MAX: usize = 50;
/// Bytes of a document.
const DOCUMENT_BYTES_MAX: usize = 65_536;
/// The members that every segment has.
const REQUIRED: [&str; 4] = ["name", "id", "trace_id", "start_time"];

/// One account and region.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// What was processed.
    pub(super) processed: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Put {
    trace_segment_documents: Vec<String>,
}

impl Segments {
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
