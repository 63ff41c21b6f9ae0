//! Requests with spans as instrumentations of a web service write them: for each request of a user a server's span and one of its query.
//!
//! Promises: each span has an id of its own, which is its number and one.
//! Never: encodes while it is sent; ids are written over those of the request before.

use crate::otlp::span::{attribute, field, fixed};

/// Where an id stands in a span, behind its tag and its length.
const TAG: [u8; 2] = [2 << 3 | 2, 8];

const RESOURCE: [(&str, &str); 8] = [
    ("service.name", "checkout"),
    ("service.version", "2026.11.3"),
    ("telemetry.sdk.language", "python"),
    ("telemetry.sdk.name", "opentelemetry"),
    ("telemetry.sdk.version", "1.38.0"),
    ("cloud.provider", "aws"),
    ("cloud.platform", "aws_ecs"),
    ("aws.ecs.container.arn", "arn:aws:ecs:eu-west-1:123456789012:container/shop/0a1b2c/4d5e6f"),
];

const SERVER: [(&str, &str); 9] = [
    ("http.request.method", "POST"),
    ("url.scheme", "https"),
    ("url.path", "/api/v2/carts/9f4c/items"),
    ("http.route", "/api/v2/carts/{cart}/items"),
    ("server.address", "checkout.shop.example"),
    ("client.address", "203.0.113.17"),
    (
        "user_agent.original",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    ),
    ("network.protocol.version", "1.1"),
    ("shop.tenant", "acme"),
];

const QUERY: [(&str, &str); 6] = [
    ("db.system.name", "postgresql"),
    ("db.namespace", "orders"),
    ("db.operation.name", "SELECT"),
    (
        "db.query.text",
        "SELECT i.sku, i.count, p.price FROM items i JOIN prices p ON p.sku = i.sku WHERE i.cart = $1 AND p.currency = $2",
    ),
    ("server.address", "orders.db.shop.example"),
    ("db.collection.name", "items"),
];

/// A request that is used again and again.
pub(super) struct Load {
    body: Vec<u8>,
    /// Where the ids of its spans are.
    places: Vec<usize>,
}

impl Load {
    /// A request of so many `spans`.
    pub(super) fn new(spans: u64) -> Self {
        let resource: Vec<u8> = RESOURCE.iter().flat_map(|(name, text)| field(1, &attribute(name, text))).collect();
        let spans: Vec<u8> = (0..spans).flat_map(|number| field(2, &span(number))).collect();
        let scope = [field(1, &field(1, b"opentelemetry.instrumentation.asgi")), spans].concat();
        let body = field(1, &[field(1, &resource), field(2, &scope)].concat());
        let mark = |number: u64| [&TAG[..], &id(number)].concat();
        let (mut places, mut from) = (Vec::new(), 0);
        while let Some(place) = memchr::memmem::find(&body[from..], &mark(places.len() as u64)) {
            from += place + TAG.len();
            places.push(from);
        }
        Self { body, places }
    }

    /// The request with spans numbered from `first` on.
    pub(super) fn numbered(&mut self, first: u64) -> &[u8] {
        for (number, place) in (first..).zip(&self.places) {
            self.body[*place..*place + 8].copy_from_slice(&id(number));
        }
        &self.body
    }
}

/// An id is never 0.
fn id(number: u64) -> [u8; 8] {
    (number + 1).to_be_bytes()
}

fn span(number: u64) -> Vec<u8> {
    let is_server = number.is_multiple_of(2);
    let (name, kind) = if is_server { ("POST /api/v2/carts/{cart}/items", 2) } else { ("SELECT orders.items", 3) };
    let attributes = if is_server { &SERVER[..] } else { &QUERY[..] };
    let trace = (u128::from(number / 2 + 1) << 64 | 0x5840_6520_a006_6491).to_be_bytes();
    let start = 1_790_000_000_000_000_000 + number * 1_000_000;
    let mut out = [field(1, &trace), field(2, &id(number))].concat();
    if !is_server {
        out.extend(field(4, &[7; 8]));
    }
    out.extend([field(5, name.as_bytes()), vec![6 << 3, kind], fixed(7, start), fixed(8, start + 12_345_678)].concat());
    out.extend(attributes.iter().flat_map(|(name, text)| field(9, &attribute(name, text))));
    if is_server {
        // 200, as a number.
        out.extend(field(9, &[field(1, b"http.response.status_code"), field(2, &[3 << 3, 0xc8, 1])].concat()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::spans;

    #[test]
    fn all_spans_of_all_requests_have_ids_of_their_own() {
        let mut load = Load::new(512);
        let mut ids: Vec<_> = spans(load.numbered(0)).iter().map(|span| span.id).collect();
        ids.extend(spans(load.numbered(512)).iter().map(|span| span.id));
        assert_eq!(ids, (1..=1_024).collect::<Vec<_>>());
    }
}
