//! Requests with spans, written and read.
//!
//! Promises: a span is known by its id and its name; whatever else is in it is compared as bytes.
//! Never: believes a length.

/// A span, as far as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its id, which also is its number.
    pub id: u64,
    /// The name of the service of its resource.
    pub service: String,
    /// All of its bytes.
    pub bytes: Vec<u8>,
}

/// The query that a span is for: text besides its own fields, so that it is about as large as those of real services (350 B).
pub const TEXT: &str = "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer JOIN addresses a \
                    ON a.customer = c.id WHERE o.state = $1 AND a.country = $2 AND o.created > $3 ORDER BY o.created DESC";

/// A request as an SDK writes it: one resource, one scope, a span for each number.
pub fn request(service: &str, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let spans: Vec<u8> = numbers.flat_map(|number| field(2, &span(number))).collect();
    let resource = field(1, &attribute("service.name", service));
    let scope = [field(1, &field(1, b"orders")), spans].concat();
    field(1, &[field(1, &resource), field(2, &scope)].concat())
}

/// One span's message.
pub fn span(number: u64) -> Vec<u8> {
    let trace = (u128::from(number) << 64 | 0x5840_6520_a006_6491).to_be_bytes();
    let start = 1_790_000_000_000_000_000 + number * 1_000_000;
    [
        field(1, &trace),
        field(2, &number.to_be_bytes()),
        field(4, &(number / 2 + 1).to_be_bytes()),
        field(5, format!("GET /orders/{}", number % 7).as_bytes()),
        vec![6 << 3, 2],
        fixed(7, start),
        fixed(8, start + 12_345_678),
        field(9, &attribute("db.query.text", TEXT)),
        field(9, &attribute("http.route", "/orders/{id}")),
        field(9, &attribute("url.path", &format!("/orders/{number}"))),
        field(15, &[3 << 3, 1]),
    ]
    .concat()
}

/// A field of bytes.
pub fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 6);
    varint(&mut out, u64::from(number) << 3 | 2);
    varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// A field of 64 bits.
pub fn fixed(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

/// A field's value: an attribute with text.
pub fn attribute(key: &str, value: &str) -> Vec<u8> {
    [field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The spans of a request, in order. Panics if it is not one.
pub fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for (number, group) in fields(request) {
        assert_eq!(number, 1, "a request has resource groups and nothing else");
        let group = fields(group);
        let service = group.iter().filter(|(number, _)| *number == 1).flat_map(|(_, resource)| service(resource));
        let service = service.last().unwrap_or_default();
        for (_, scope) in group.iter().filter(|(number, _)| *number == 2) {
            for (_, span) in fields(scope).into_iter().filter(|(number, _)| *number == 2) {
                let id = fields(span).into_iter().find(|(number, _)| *number == 2).map_or(&[][..], |(_, id)| id);
                let id = id.try_into().map(u64::from_be_bytes).unwrap_or_default();
                found.push(Span { id, service: service.clone(), bytes: span.to_vec() });
            }
        }
    }
    found
}

/// How many spans a request has. For who measures: it makes nothing.
pub fn count(request: &[u8]) -> u64 {
    let mut spans = 0;
    each_field(request, |_, group| {
        each_field(group, |number, scope| {
            if number == 2 {
                each_field(scope, |number, _| spans += u64::from(number == 2));
            }
        });
    });
    spans
}

fn service(resource: &[u8]) -> Option<String> {
    fields(resource).into_iter().filter(|(number, _)| *number == 1).find_map(|(_, attribute)| {
        let parts = fields(attribute);
        let key = parts.iter().find(|(number, _)| *number == 1)?.1;
        let value = parts.iter().find(|(number, _)| *number == 2)?.1;
        (key == b"service.name")
            .then(|| String::from_utf8_lossy(fields(value).first().map_or(b"", |it| it.1)).into_owned())
    })
}

/// The fields of bytes of a message; others are passed over.
fn fields(message: &[u8]) -> Vec<(u32, &[u8])> {
    let mut found = Vec::new();
    each_field(message, |number, value| found.push((number, value)));
    found
}

fn each_field<'a>(message: &'a [u8], mut see: impl FnMut(u32, &'a [u8])) {
    let mut rest = message;
    while !rest.is_empty() {
        let tag = read_varint(&mut rest);
        match tag & 7 {
            0 => drop(read_varint(&mut rest)),
            1 => rest = &rest[8..],
            2 => {
                let length = usize::try_from(read_varint(&mut rest)).expect("64 bits");
                let (value, after) = rest.split_at(length);
                see((tag >> 3) as u32, value);
                rest = after;
            }
            5 => rest = &rest[4..],
            kind => panic!("a field of kind {kind}"),
        }
    }
}

fn read_varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().expect("a varint that ends");
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a varint that does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let request = [request("shop", 3..5), request("till", 9..10)].concat();
        let found: Vec<_> = spans(&request).into_iter().map(|span| (span.id, span.service, span.bytes.len())).collect();
        let length = span(3).len();
        let expected = [(3, "shop"), (4, "shop"), (9, "till")].map(|(id, service)| (id, service.to_owned(), length));
        assert_eq!(found, expected);
        assert_eq!(count(&request), 3);
        assert!((300..400).contains(&length), "{length}");
    }
}
