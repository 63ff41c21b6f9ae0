//! Puts segments into AWS X-Ray (`PutTraceSegments`).
//!
//! ```text
//! {"TraceSegmentDocuments":["<document, escaped>","..."]}
//! ```
//!
//! X-Ray keeps the last complete version of a segment, so that one that is sent twice is no duplicate.
//!
//! Promises: a request has at most 50 documents (the service's limit); bytes that are no UTF-8 become U+FFFD, since one such document
//! would have the whole request refused; a document that the service does not process is booked or sent again alone, the
//! others are not sent again.
//! Never: parses a document, unless the service left one unprocessed.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    aws::{Client, Fault, Operation, sha256_hex},
    deliver::{
        Answer, Destination, Doing, Fate, Key, Limits, Rules, Verdict,
        batch::{Batch, Frame},
        books::{Account, Refused},
        escape,
        lane::{Appending, Lane, Output},
    },
    ecs::Metadata,
    otlp::{self, task::Task},
    tell::RateLimited,
    traces::segment,
};

/// Documents of a request (error text of the service: "Exceeding maximum segment count: 50").
const DOCUMENTS_MAX: usize = 50;
/// Bytes of a document (API reference: 64 kB). A datagram can have no more.
const DOCUMENT_BYTES_MAX: usize = 65_536;
/// How documents begin that are spans of OpenTelemetry in base64, sampled and unsampled. They have no id that could be told.
const PACKED: [&str; 2] = ["T1S", "T1U"];
/// How long a segment waits for others, as with the X-Ray daemon: nobody looks at a trace sooner, and requests are a quota that the
/// account shares.
const LINGER: Duration = Duration::from_secs(1);
/// A warning about documents that are not processed, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Settings of the `xray` output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Default: that of the task.
    pub region: Option<String>,
    /// A role to send as. Default: the task's own. It needs `xray:PutTraceSegments`.
    pub role_arn: Option<String>,
    /// Another address of the service, for tests and private endpoints.
    pub endpoint: Option<String>,
    /// Whether each request that X-Ray took is told in the agent's log, in the words of the X-Ray daemon: `Successfully sent batch of
    /// 50 segments (0.023 seconds)`. Default `false`; called as the daemon, the agent does.
    pub log_batches: bool,
    /// Attributes of spans that become annotations, by which X-Ray searches: their names, and those of a resource with
    /// `otel.resource.` before it. A span names more in `aws.xray.annotations`. All others become metadata. Default: none.
    pub indexed_attributes: Vec<String>,
    /// Whether all attributes of spans that are text, a number or a truth become annotations. X-Ray indexes 50 of a trace.
    /// Default: false.
    pub index_all_attributes: bool,
    /// Groups of CloudWatch Logs that segments of spans point to, so that X-Ray shows the logs beside the trace. What a span's
    /// resource says goes before it (`aws.log.group.names`, `aws.log.group.arns`). Default: the groups of `logs.outputs` whose names are
    /// the same for every record.
    pub log_groups: Vec<String>,
    /// How spans that come by OTLP go to X-Ray. Segments of the X-Ray daemon's port go as they came in any case.
    pub spans: Spans,
    /// Whether what a span's resource does not say of its task (account, cluster, task, zone) is filled in from the task's metadata.
    /// What it says stays. Turn it off if spans of other tasks come in, too. Default: true.
    pub fill_from_task: Option<bool>,
}

/// How spans go to X-Ray.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Spans {
    /// As segments, which every account takes.
    #[default]
    Segments,
    /// As they are, to X-Ray's own OTLP endpoint, which takes them while Transaction Search is on. It needs `xray:PutSpans` and
    /// `xray:PutSpansForIndexing`.
    Otlp,
    /// As they are while X-Ray says that Transaction Search is on, else as segments. It is asked at the start and once an hour
    /// (`xray:GetTraceSegmentDestination`); until it has answered, and if it may not be asked, they are segments.
    Auto,
}

impl Config {
    /// The same service, where it takes spans as they are.
    pub fn by_otlp(&self) -> otlp::out::Config {
        let Self { region, role_arn, endpoint, fill_from_task, .. } = self.clone();
        let aws = Some(otlp::out::Aws { service: None, region, role_arn });
        otlp::out::Config { endpoint, aws, fill_from_task, ..otlp::out::Config::default() }
    }

    /// How spans become segments.
    pub fn mapping(&self, task: &Metadata) -> segment::Settings {
        segment::Settings {
            indexed_attributes: self.indexed_attributes.clone(),
            index_all_attributes: self.index_all_attributes,
            log_groups: self.log_groups.clone(),
            task: if self.fill_from_task.unwrap_or(true) { Task::new(task) } else { Task::default() },
        }
    }
}

/// The service, as one output speaks to it.
pub struct XRay {
    client: Client,
    tells: bool,
    warned: RateLimited,
}

/// The only key there is: segments need no order.
const KEY: &str = "segments";

/// Where documents are appended.
pub struct Sink {
    output: Arc<Output>,
    lane: Arc<Lane>,
    account: Arc<Account>,
}

/// What `PutTraceSegments` says of documents that it took and did not process.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutReply {
    unprocessed_trace_segments: Vec<Unprocessed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Unprocessed {
    id: Option<String>,
    error_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    trace_segment_documents: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Segment {
    id: Option<String>,
}

/// How segments are delivered: in any order, so beside each other.
pub fn rules() -> Rules {
    Rules { linger: LINGER, workers_per_key: 8, ..Rules::default() }
}

impl XRay {
    /// Speaks through `client`.
    pub fn new(client: Client, config: &Config) -> Self {
        Self { client, tells: config.log_batches, warned: RateLimited::new(WARN_EVERY) }
    }

    async fn put(&self, batch: &Batch) -> Result<Answer, Fault> {
        let hash = hash(batch).await;
        let (began, headers) = (Instant::now(), [timestamp(self.client.now())]);
        let operation = Operation::Path("/TraceSegments");
        let reply = self.client.call_hashed(operation, batch.body.clone(), hash, &headers).await?;
        self.tell(batch.entries.len(), began.elapsed());
        let Ok(PutReply { unprocessed_trace_segments: unprocessed }) = serde_json::from_slice(&reply.body) else {
            // The service took the request; an answer we cannot read says nothing else.
            return Ok(Answer::Delivered);
        };
        if unprocessed.is_empty() {
            return Ok(Answer::Delivered);
        }
        self.warn(&unprocessed);
        Ok(verdicts(&batch.body, batch.entries.len(), &unprocessed))
    }

    /// The daemon's words, to the letter: people search for them, so here the message is no constant.
    fn tell(&self, segments: usize, took: Duration) {
        if self.tells {
            info!("Successfully sent batch of {segments} segments ({:.3} seconds)", took.as_secs_f64());
        } else {
            debug!(segments, took = ?took, "segments were sent");
        }
    }

    fn warn(&self, unprocessed: &[Unprocessed]) {
        if let Some(suppressed) = self.warned.allow(Instant::now()) {
            let code = unprocessed.iter().find_map(|one| one.error_code.as_deref()).unwrap_or("none");
            let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
            tracing::warn!(segments = unprocessed.len(), code, suppressed, "x-ray did not process segments");
        }
    }
}

impl Destination for XRay {
    fn limits(&self) -> Limits {
        Limits { bytes: DOCUMENTS_MAX * DOCUMENT_BYTES_MAX, records: DOCUMENTS_MAX, span_milliseconds: u64::MAX }
    }

    fn frame(&self, _: &Key) -> Frame {
        Frame { head: bytes::Bytes::from_static(b"{\"TraceSegmentDocuments\":["), separator: b",", tail: b"]}" }
    }

    fn knows(&self, key: &Key) -> bool {
        key.as_str() == KEY
    }

    fn prepare<'a>(&'a self, batch: &'a Batch) -> Doing<'a, ()> {
        Box::pin(async {
            hash(batch).await;
        })
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async { self.put(batch).await.unwrap_or_else(Answer::from) })
    }
}

/// When the request was made, as the daemon tells it: seconds and nine decimals.
fn timestamp(now: SystemTime) -> (HeaderName, HeaderValue) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let text = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
    (HeaderName::from_static("x-amzn-xray-timestamp"), HeaderValue::from_str(&text).expect("digits and a point"))
}

/// The hash of the body, worked out once.
async fn hash(batch: &Batch) -> &str {
    batch.memo(async { sha256_hex(&batch.body).await.into() }).await
}

impl Sink {
    /// Books what is appended to `output` on `account`.
    pub fn new(output: Arc<Output>, account: Arc<Account>) -> Self {
        let lane = output.lane(&Key::new(KEY));
        Self { output, lane, account }
    }

    /// True if `bytes` more cost nobody else's.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.output.has_room(bytes)
    }

    /// Begins to append documents.
    pub fn appending(&self) -> Appending<'_> {
        self.output.append(&self.lane, &self.account)
    }
}

/// Appends one document.
pub fn append(appending: &mut Appending<'_>, document: &[u8]) {
    let body = appending.begin();
    body.put(b"\"");
    escape::once(body, document);
    body.put(b"\"");
    // Segments have no order in time that the service asks for.
    appending.commit(0, document.len());
}

/// What became of the documents of `body`. Those that the service did not process are found by their ids, or because they have
/// none. Where that leaves a doubt, those that may be meant are sent again, alone, until halves of them leave none: to X-Ray that is the same
/// segment once more.
fn verdicts(body: &[u8], documents: usize, unprocessed: &[Unprocessed]) -> Answer {
    let in_doubt = || Answer::Divide { detail: "x-ray did not process some of these segments".to_owned() };
    if documents == 1 {
        return Answer::Partial(vec![Verdict { records: 0..1, fate: fate(&unprocessed[0]) }]);
    }
    let Ok(Request { trace_segment_documents: texts }) = serde_json::from_slice(body) else { return in_doubt() };
    let mut places: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    let mut packed = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        if PACKED.iter().any(|start| text.starts_with(start)) {
            packed.push(place);
            continue;
        }
        let id = serde_json::from_str::<Segment>(text).ok().and_then(|segment| segment.id);
        places.entry(id).or_default().push(place);
    }
    // What must have an id and has none comes first; only where more is told, the others that have none are meant.
    let unnamed = places.get(&None).map_or(0, Vec::len);
    let told = unprocessed.iter().filter(|one| one.id.is_none() || !places.contains_key(&one.id)).count();
    if told > unnamed && !packed.is_empty() {
        places.entry(None).or_default().append(&mut packed);
    }
    // Of an id that no document has, one without an id may be meant.
    let mut told: BTreeMap<Option<&String>, Vec<&Unprocessed>> = BTreeMap::new();
    for one in unprocessed {
        told.entry(one.id.as_ref().filter(|_| places.contains_key(&one.id))).or_default().push(one);
    }
    let mut fates = BTreeMap::new();
    let mut doubts = 0;
    for (id, told) in told {
        let Some(places) = places.get(&id.cloned()) else { return in_doubt() };
        // Of a segment in progress there may be several versions.
        if told.len() >= places.len() {
            fates.extend(places.iter().zip(told).map(|(&place, one)| (place, fate(one))));
        } else {
            fates.extend(places.iter().map(|&place| (place, Fate::Again)));
            doubts += places.len();
        }
    }
    if doubts == documents {
        return in_doubt();
    }
    Answer::Partial(fates.into_iter().map(|(place, fate)| Verdict { records: place..place + 1, fate }).collect())
}

/// A document that is wrong stays wrong; what the service could not do just then it may do later.
fn fate(unprocessed: &Unprocessed) -> Fate {
    let code = unprocessed.error_code.as_deref().unwrap_or_default();
    let passes = ["Throttl", "Internal", "Unavailable", "Timeout"].iter().any(|word| code.contains(word));
    if passes { Fate::Again } else { Fate::Refused(Refused::Invalid) }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials as Keys;
    use insta::assert_debug_snapshot;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        aws::{Clock, Credentials, Endpoint},
        deliver::{self, body::Body, budget::Budget},
        life::Life,
        net::{
            http::HttpClient,
            stub::{Stub, answer},
            tls::Tls,
        },
        tell::counters::Counters,
    };

    fn request(documents: &[&[u8]]) -> Vec<u8> {
        let texts: Vec<String> = documents
            .iter()
            .map(|document| {
                let mut body = Body::default();
                escape::once(&mut body, document);
                String::from_utf8(body.into_bytes()).expect("JSON is UTF-8")
            })
            .collect();
        format!("{{\"TraceSegmentDocuments\":[\"{}\"]}}", texts.join("\",\"")).into_bytes()
    }

    fn unprocessed(text: &str) -> Vec<Unprocessed> {
        serde_json::from_str::<PutReply>(text).expect("an answer").unprocessed_trace_segments
    }

    const DOCUMENTS: [&[u8]; 4] = [
        br#"{"id":"a","subsegments":[{"id":"b"}]}"#,
        b"not JSON",
        br#"{"subsegments":[{"id":"a"}], "id" : "b"}"#,
        br#"{"name":"without an id"}"#,
    ];

    /// Spans in base64 have no id and are right: they were sent again with what was wrong and had none either.
    #[test]
    fn what_has_no_id_by_right_is_not_sent_again() {
        let documents: [&[u8]; 4] = [b"T1SCg==", b"not JSON", b"T1UCg==", br#"{"id":"a"}"#];
        let of = |told: &str| {
            let told = unprocessed(&format!("{{\"UnprocessedTraceSegments\":{told}}}"));
            match verdicts(&request(&documents), documents.len(), &told) {
                Answer::Partial(verdicts) => {
                    verdicts.into_iter().map(|verdict| (verdict.records.start, verdict.fate)).collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            }
        };
        let refused = Fate::Refused(Refused::Invalid);
        assert_eq!(of("[{}]"), [(1, refused)]);
        assert_eq!(of(r#"[{"Id":"nobody"}]"#), [(1, refused)]);
        assert_eq!(of("[{},{}]"), [(0, Fate::Again), (1, Fate::Again), (2, Fate::Again)]);
        assert_eq!(of("[{},{},{}]"), [(0, refused), (1, refused), (2, refused)]);
    }

    #[test]
    fn what_is_not_processed_is_found_by_its_id() {
        let answer = |text: &str| verdicts(&request(&DOCUMENTS), DOCUMENTS.len(), &unprocessed(text));
        assert_debug_snapshot!(
            answer(r#"{"UnprocessedTraceSegments":[{"Id":"b","ErrorCode":"MissingParam"},{"Id":"a","ErrorCode":"ThrottledException"}]}"#),
            @r"
        Partial(
            [
                Verdict {
                    records: 0..1,
                    fate: Again,
                },
                Verdict {
                    records: 2..3,
                    fate: Refused(
                        Invalid,
                    ),
                },
            ],
        )
        "
        );
        let fates = |text: &str| match answer(text) {
            Answer::Partial(verdicts) => {
                verdicts.into_iter().map(|verdict| (verdict.records.start, verdict.fate)).collect::<Vec<_>>()
            }
            other => panic!("{text}: {other:?}"),
        };
        let refused = Fate::Refused(Refused::Invalid);
        for (told, expected) in [
            (r#"[{"ErrorCode":"JSONFormatError"},{"Id":null}]"#, vec![(1, refused), (3, refused)]),
            (r#"[{"ErrorCode":"JSONFormatError"},{"Id":"b"}]"#, vec![(1, Fate::Again), (2, refused), (3, Fate::Again)]),
            (r#"[{"Id":"nobody"}]"#, vec![(1, Fate::Again), (3, Fate::Again)]),
            (r#"[{"Id":"a"},{"Id":"a"},{"Id":"a"}]"#, vec![(0, refused)]),
        ] {
            assert_eq!(fates(&format!("{{\"UnprocessedTraceSegments\":{told}}}")), expected, "{told}");
        }
        let of = |documents: &[&[u8]], told: &str| {
            let told = unprocessed(&format!("{{\"UnprocessedTraceSegments\":{told}}}"));
            verdicts(&request(documents), documents.len(), &told)
        };
        // One of two versions of a segment; one of two without an id; an id that is nobody's.
        let versions: [&[u8]; 2] = [br#"{"id":"a","in_progress":true}"#, br#"{"id":"a"}"#];
        for (documents, told) in [
            (&versions[..], r#"[{"Id":"a"}]"#),
            (&[DOCUMENTS[1], DOCUMENTS[3]], r#"[{}]"#),
            (&versions[..], r#"[{"Id":"nobody"}]"#),
        ] {
            let answer = of(documents, told);
            assert!(matches!(answer, Answer::Divide { .. }), "{told}: {answer:?}");
        }
        let alone = verdicts(&request(&DOCUMENTS[1..2]), 1, &unprocessed(r#"{"UnprocessedTraceSegments":[{}]}"#));
        assert!(
            matches!(&alone, Answer::Partial(verdicts) if verdicts[0].fate == Fate::Refused(Refused::Invalid)),
            "{alone:?}"
        );
    }

    /// Whatever the documents are, the requests are JSON that holds them, of at most 50 each, and those that the service did not
    /// process are booked or sent again, alone.
    #[tokio::test]
    async fn documents_become_requests_of_fifty() {
        let ok = |body: &str| answer("200 OK", "x-amzn-RequestId: 7f6d\r\n", body);
        let throttled = r#"{"UnprocessedTraceSegments":[{"Id":"7","ErrorCode":"ThrottledException"},{"Id":"9"}]}"#;
        let stub = Stub::answering([ok(throttled), ok("{}"), ok("{}"), ok("{}")]);
        let keys = Keys::new("AKID", "SECRET", None, None, "test");
        let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
        let credentials = Credentials::from_provider(keys, Clock::new(SystemTime::now));
        let client = Client::new("xray", endpoint, credentials, HttpClient::new(&Tls::new(None), &Counters::new()));
        let (budget, account) = (Budget::new(64 << 20, 1), Arc::new(Account::default()));
        // One request at a time, so that answers meet the requests that they are for.
        let rules = Rules { workers_per_key: 1, ..rules() };
        let (output, engine) =
            deliver::deliver("xray", Arc::new(XRay::new(client, &Config::default())), rules, &budget, &Counters::new());
        let sink = Sink::new(Arc::clone(&output), Arc::clone(&account));
        let mut appending = sink.appending();
        for number in 0..120 {
            append(&mut appending, format!("{{\"id\":\"{number}\", \"x\":\"\\u00e4\\n\"}}").as_bytes());
        }
        append(&mut appending, b"\xff\x00 T1S");
        drop(appending);
        output.close();
        let run = engine.run(CancellationToken::new(), CancellationToken::new());
        Life::default().spawn("engine", run).await.expect("not cancelled").expect("no panic");
        let totals = account.totals();
        assert_eq!((totals.accepted, totals.delivered, totals.refused()), (121, 120, 1), "{totals:?}");
        let mut texts = Vec::new();
        for seen in stub.seen() {
            assert_eq!(seen.line, "POST /TraceSegments HTTP/1.1");
            assert_eq!(seen.header("content-type"), Some("application/json"));
            let told = seen.header("x-amzn-xray-timestamp").expect("as the daemon tells it");
            let (seconds, nanos) = told.split_once('.').expect("seconds and decimals");
            assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{told}");
            assert!(nanos.len() == 9 && nanos.parse::<u32>().is_ok(), "{told}");
            let Request { trace_segment_documents } = serde_json::from_slice(&seen.body).expect("JSON");
            assert!(trace_segment_documents.len() <= 50);
            texts.extend(trace_segment_documents);
        }
        texts.sort();
        let text = |number: u32| format!("{{\"id\":\"{number}\", \"x\":\"\\u00e4\\n\"}}");
        let mut expected: Vec<_> = (0..120).chain([7]).map(text).collect();
        expected.push("\u{fffd}\0 T1S".to_owned());
        expected.sort();
        assert_eq!(texts, expected);
    }
}
