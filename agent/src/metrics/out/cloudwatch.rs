//! Puts metrics into Amazon CloudWatch (`PutMetricData`, JSON 1.0).
//!
//! ```text
//! {"Namespace":"Shop","MetricData":[{"MetricName":"hits","Dimensions":[..],"Unit":"Count","Timestamp":1764321600,"Value":3},..]}
//! ```
//!
//! The service adds up what it gets for a minute and has no token by which it knows a request again: one whose answer did not come
//! may count twice. `pillion_deliver_requests_total{answer="ambiguous"}` says how many there were.
//!
//! Promises: a request keeps the service's limits (1 MB before compression, 1,000 data, 150 values each); what a value cannot be is
//! refused here, so that it costs no other; one datum that the service does not take is found and refused alone.
//! Never: sends a value twice on purpose; looks at what it means.

use std::{fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::CONTENT_ENCODING};
use serde::Deserialize;

use crate::{
    aws::{Client, Fault, Operation, sha256_hex},
    deliver::{
        Answer, Destination, Doing, Key, Limits, Rules,
        batch::{Batch, Frame},
        books::{Account, Refused},
        lane::{Appending, Lane, Output},
    },
    metrics::store::{Datum, Window},
    net::deflate,
};

/// The operation, with the API's version.
const PUT: &str = "GraniteServiceVersion20100801.PutMetricData";
/// Data of a request (API reference).
const DATA_MAX: usize = 1_000;
/// Bytes of a request: 1 MB (API reference), less what stands around the data. The CloudWatch agent cuts at 999,000.
const BYTES_MAX: usize = 998_000;
/// Bodies from here on are compressed, as AWS's SDKs do (`request_min_compression_size_bytes`).
const COMPRESSED_FROM: usize = 10_240;
/// What a value can be: 2 to the power of 360, either side of zero (API reference).
const AMOUNT_MAX: f64 = 2.348_542_582_773_833_3e108;
/// The same, towards zero: what is nearer to it is refused.
const AMOUNT_MIN: f64 = 8.515_920e-109;

/// Settings of the `cloudwatch` output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Default: that of the task.
    pub region: Option<String>,
    /// A role to send as. Default: the task's own. It needs `cloudwatch:PutMetricData`.
    pub role_arn: Option<String>,
    /// Another address of the service, for tests and private endpoints.
    pub endpoint: Option<String>,
}

/// The service, as one output speaks to it.
pub struct CloudWatch {
    client: Client,
}

/// Where data are appended.
pub struct Sink {
    output: Arc<Output>,
    account: Arc<Account>,
    lanes: Vec<(Arc<str>, Arc<Lane>)>,
    text: String,
}

/// The shortest time that data wait for others: they are gathered in pieces.
const LINGER_MIN: Duration = Duration::from_millis(100);
/// The longest time that a request is put off.
const SPREAD_MAX: Duration = Duration::from_secs(10);

/// How data are delivered: they come at the end of each window of this length, all at once, and have no order. All tasks gather at full minutes; each
/// sends at a time of its own after that, a sixth of the window later at most, so that a fleet does not ask the service in the same instant.
pub fn rules(every: Duration) -> Rules {
    let spread = (every / 6).min(SPREAD_MAX).mul_f64(fastrand::f64());
    Rules { linger: LINGER_MIN.max(spread), workers_per_key: 4, ..Rules::default() }
}

impl CloudWatch {
    /// Speaks through `client`.
    pub fn new(client: Client) -> Self {
        Self { client: client.with_json_1_0() }
    }

    async fn put(&self, batch: &Batch) -> Result<Answer, Fault> {
        let gzip: (HeaderName, HeaderValue) = (CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let (body, headers) = if batch.body.len() < COMPRESSED_FROM {
            (batch.body.clone(), Vec::new())
        } else {
            (Bytes::from(deflate::gzip(&batch.body).await), vec![gzip])
        };
        let hash = sha256_hex(&body).await;
        self.client.call_hashed(Operation::Target(PUT), body, &hash, &headers).await?;
        Ok(Answer::Delivered)
    }
}

impl Destination for CloudWatch {
    fn limits(&self) -> Limits {
        Limits { bytes: BYTES_MAX, records: DATA_MAX, span_milliseconds: u64::MAX }
    }

    fn frame(&self, namespace: &Key) -> Frame {
        let namespace = serde_json::to_string(namespace.as_str()).unwrap_or_default();
        let head = format!("{{\"Namespace\":{namespace},\"MetricData\":[").into_bytes().into();
        Frame { head, separator: b",", tail: b"]}" }
    }

    fn knows(&self, namespace: &Key) -> bool {
        !namespace.as_str().is_empty()
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async { self.put(batch).await.unwrap_or_else(Answer::from) })
    }
}

impl Sink {
    /// Books what is appended to `output` on `account`.
    pub fn new(output: Arc<Output>, account: Arc<Account>) -> Self {
        Self { output, account, lanes: Vec::new(), text: String::new() }
    }

    /// Appends what was gathered in the window that began so many seconds after 1970, or when it says itself.
    pub fn append(&mut self, namespace: &str, datum: &Datum<'_>, began: u64) {
        let seconds = time(datum, began);
        let place = self.lanes.iter().position(|(known, _)| **known == *namespace).unwrap_or_else(|| {
            let name: Arc<str> = namespace.into();
            let lane = self.output.lane(&Key::new(Arc::clone(&name)));
            self.lanes.push((name, lane));
            self.lanes.len() - 1
        });
        let is_good = write(&mut self.text, datum, seconds);
        let mut appending: Appending<'_> = self.output.append(&self.lanes[place].1, &self.account);
        appending.begin().put(self.text.as_bytes());
        if is_good {
            // One byte for the comma.
            let time = i64::try_from(seconds).unwrap_or_default().saturating_mul(1_000);
            appending.commit(time, self.text.len() + 1);
        } else {
            appending.refuse(Refused::Invalid);
        }
    }
}

/// When it was: what it says itself, else the window that began so many seconds after 1970.
pub(super) fn time(datum: &Datum<'_>, began: u64) -> u64 {
    datum.at.map_or(began, u64::from)
}

/// Writes the datum. False if the service would not take it.
fn write(text: &mut String, datum: &Datum<'_>, seconds: u64) -> bool {
    text.clear();
    // Writing to a String cannot fail.
    let _ = write!(text, "{{{},\"Timestamp\":{seconds}", datum.head);
    let is_good = match &datum.window {
        Window::Empty => false,
        Window::Sum(sum) => {
            let _ = write!(text, ",\"Value\":{}", Json(*sum));
            is_in_range(*sum)
        }
        Window::Set(seen) => {
            let _ = write!(text, ",\"Value\":{}", seen.len());
            true
        }
        Window::Values(values) => {
            let (mut counts, mut is_good) = (String::new(), true);
            text.push_str(",\"Values\":[");
            values.each(|value, weight| {
                let comma = if counts.is_empty() { "" } else { "," };
                let _ = write!(text, "{comma}{}", Json(value));
                let _ = write!(counts, "{comma}{}", Json(weight));
                is_good &= is_in_range(value) && is_in_range(weight);
            });
            let [count, sum, least, greatest] =
                [values.count(), values.sum(), values.least(), values.greatest()].map(Json);
            let _ = write!(
                text,
                "],\"Counts\":[{counts}],\"StatisticValues\":{{\"SampleCount\":{count},\"Sum\":{sum},\"Minimum\":{least},\"Maximum\":{greatest}}}"
            );
            is_good && is_in_range(values.sum()) && is_in_range(values.count())
        }
    };
    text.push('}');
    is_good
}

pub(super) fn is_in_range(value: f64) -> bool {
    value == 0.0 || (AMOUNT_MIN..=AMOUNT_MAX).contains(&value.abs())
}

/// A number as JSON has it, in as few characters as give it back.
pub(in crate::metrics) struct Json(pub(in crate::metrics) f64);

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(number) = self;
        if *number != 0.0 && !(1e-7..1e17).contains(&number.abs()) {
            write!(f, "{number:e}")
        } else {
            write!(f, "{number}")
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials as Keys;
    use std::time::SystemTime;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        aws::{Clock, Credentials, Endpoint},
        deliver::{self, budget::Budget},
        life::Life,
        metrics::{distribution::Distribution, store::Seen},
        net::{
            http::HttpClient,
            inflate::gunzip,
            stub::{Stub, answer},
            tls::Tls,
        },
        tell::counters::Counters,
    };

    fn values(values: &[f64]) -> Window {
        let mut distribution = Distribution::default();
        assert!(values.iter().all(|value| distribution.observe(*value, 1.0)));
        Window::Values(Box::new(distribution))
    }

    fn written(window: Window, at: Option<u32>) -> Option<String> {
        let datum = Datum { head: "\"MetricName\":\"x\"", at, window };
        let mut text = String::new();
        write(&mut text, &datum, time(&datum, 120)).then_some(text)
    }

    #[test]
    fn what_was_gathered_becomes_a_datum() {
        for (window, at, expected) in [
            (Window::Sum(2.5), None, Some(r#"{"MetricName":"x","Timestamp":120,"Value":2.5}"#)),
            (Window::Sum(-1e20), Some(427), Some(r#"{"MetricName":"x","Timestamp":427,"Value":-1e20}"#)),
            (Window::Sum(0.0), None, Some(r#"{"MetricName":"x","Timestamp":120,"Value":0}"#)),
            (Window::Set(Seen::from_iter([1, 2])), None, Some(r#"{"MetricName":"x","Timestamp":120,"Value":2}"#)),
            (
                values(&[2.0, 1.0, 2.0, 0.5]),
                None,
                Some(
                    r#"{"MetricName":"x","Timestamp":120,"Values":[0.5,1,2],"Counts":[1,1,2],"StatisticValues":{"SampleCount":4,"Sum":5.5,"Minimum":0.5,"Maximum":2}}"#,
                ),
            ),
            (Window::Empty, None, None),
            (Window::Sum(1e200), None, None),
            (Window::Sum(1e-200), None, None),
            (values(&[1.0, -1e109]), None, None),
        ] {
            assert_eq!(written(window.clone(), at).as_deref(), expected, "{window:?}");
        }
        assert!(is_in_range(2f64.powi(360)) && !is_in_range(2f64.powi(360) * 1.000_001));
    }

    /// Each for itself, so that a fleet is spread over the time; never later than a sixth of the window, nor than 10 s.
    #[test]
    fn tasks_send_at_times_of_their_own() {
        for (every, most) in [
            (Duration::from_secs(60), SPREAD_MAX),
            (Duration::from_secs(6), Duration::from_secs(1)),
            (Duration::ZERO, LINGER_MIN),
        ] {
            let times: Vec<Duration> = (0..100).map(|_| rules(every).linger).collect();
            assert!(times.iter().all(|linger| (LINGER_MIN..=most).contains(linger)), "{times:?}");
            let spread = times.iter().max().zip(times.iter().min()).map(|(most, least)| *most - *least);
            assert!(spread >= Some((most - LINGER_MIN) / 2), "{times:?}");
        }
    }

    /// A request holds at most 1,000 data of one namespace, is compressed where that pays, and what cannot be sent costs no other.
    #[tokio::test]
    async fn data_become_requests_of_a_thousand() {
        let ok = || answer("200 OK", "x-amzn-RequestId: 7f6d\r\n", "{}");
        let stub = Stub::answering([ok(), ok(), ok(), ok()]);
        let keys = Keys::new("AKID", "SECRET", None, None, "test");
        let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
        let credentials = Credentials::from_provider(keys, Clock::new(SystemTime::now));
        let http = HttpClient::new(&Tls::new(None), &Counters::new());
        let client = Client::new("monitoring", endpoint, credentials, http);
        let (budget, account) = (Budget::new(64 << 20, 1), Arc::new(Account::default()));
        let destination = Arc::new(CloudWatch::new(client));
        let (output, engine) =
            deliver::deliver("cloudwatch", destination, rules(Duration::ZERO), &budget, &Counters::new());
        let mut sink = Sink::new(Arc::clone(&output), Arc::clone(&account));
        for number in 0..1_500 {
            let head = format!("\"MetricName\":\"n{number}\"");
            let datum = Datum { head: &head, at: None, window: Window::Sum(1.0) };
            sink.append("App", &datum, 300);
        }
        for window in [Window::Sum(2.0), Window::Sum(f64::MAX)] {
            sink.append("Other \"one\"", &Datum { head: "\"MetricName\":\"o\"", at: None, window }, 300);
        }
        output.close();
        let run = engine.run(CancellationToken::new(), CancellationToken::new());
        Life::default().spawn("engine", run).await.expect("not cancelled").expect("no panic");
        let totals = account.totals();
        assert_eq!((totals.accepted, totals.delivered, totals.refused()), (1_502, 1_501, 1), "{totals:?}");
        let mut requests = Vec::new();
        for seen in stub.seen() {
            assert_eq!(seen.line, "POST / HTTP/1.1");
            assert_eq!(seen.header("x-amz-target"), Some(PUT));
            assert_eq!(seen.header("content-type"), Some("application/x-amz-json-1.0"));
            let body = match seen.header("content-encoding") {
                Some("gzip") => gunzip(&seen.body, 1 << 20).expect("gzip"),
                other => {
                    assert_eq!(other, None);
                    assert!(seen.body.len() < COMPRESSED_FROM);
                    seen.body.to_vec()
                }
            };
            let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let data = body["MetricData"].as_array().expect("data");
            assert!(data.iter().all(|datum| datum["Timestamp"] == 300));
            requests.push((body["Namespace"].as_str().expect("text").to_owned(), data.len()));
        }
        requests.sort();
        assert_eq!(requests, [("App".to_owned(), 500), ("App".to_owned(), 1_000), ("Other \"one\"".to_owned(), 1)]);
    }
}
