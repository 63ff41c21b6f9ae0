//! The records that the load generator writes: what Docker's `fluentd` driver sends for realistic log lines.
//!
//! Promises: Message mode with EventTime, four fields in an order that changes from record to record (Docker encodes a
//! Go map), lines of 210 bytes on average: 60 % plain (115 to 250), 38 % JSON, 2 % stack traces (600 to 1,213). Every
//! line carries a [`Mark`], in characters that no JSON encoder escapes. Everything is encoded beforehand; per record
//! only time and mark are patched.
//! Never: two runs with different records: the seed is fixed.

use std::io::Write;

use fastrand::Rng;

/// Records in the pool. With about 424 bytes each they fit a core's second cache, so that reading them costs little.
const POOL_RECORDS: usize = 2_048;
/// What a mark begins with. No line holds an `@` elsewhere.
pub const MARK_START: &[u8] = b"@@";
/// Bytes of a mark: the start, ten digits, a dot, twelve digits.
const MARK_BYTES: usize = 25;
/// The tag, as ECS makes it: container, `-firelens-`, task id.
pub const TAG: &str = "web-firelens-0123456789abcdef0123456789abcdef";

/// What each line says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Number of the record, from 0.
    pub sequence: u64,
    /// When it was to be written, in microseconds of the bench's own clock.
    pub sent_us: u64,
}

impl Mark {
    fn write(self, at: &mut [u8]) {
        at[..2].copy_from_slice(MARK_START);
        hex(self.sequence, &mut at[2..12]);
        at[12] = b'.';
        hex(self.sent_us, &mut at[13..25]);
    }

    /// Reads the mark that starts at the beginning of `text`.
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = text.get(..MARK_BYTES)?;
        if !text.starts_with(MARK_START) || text[12] != b'.' {
            return None;
        }
        Some(Self { sequence: unhex(&text[2..12])?, sent_us: unhex(&text[13..25])? })
    }
}

fn hex(mut number: u64, at: &mut [u8]) {
    for digit in at.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn unhex(text: &[u8]) -> Option<u64> {
    let mut number = 0;
    for &digit in text {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u64::from(value);
    }
    Some(number)
}

/// Where one record lies in the pool.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    end: usize,
    time: usize,
    mark: usize,
}

/// The encoded records, written round and round.
#[derive(Debug)]
pub struct Pool {
    bytes: Vec<u8>,
    places: Vec<Place>,
    next: usize,
}

impl Default for Pool {
    fn default() -> Self {
        let mut rng = Rng::with_seed(20_261_120);
        let mut pool = Self { bytes: Vec::new(), places: Vec::new(), next: 0 };
        for _ in 0..POOL_RECORDS {
            let line = line(&mut rng);
            pool.push(&mut rng, &line);
        }
        pool
    }
}

impl Pool {
    /// Patches the next `count` records and gives their bytes, which lie together. `count` divides the pool's size.
    /// `unix_nanos` is the time of day that the records bear.
    pub fn next(&mut self, count: usize, mark: Mark, unix_nanos: u128) -> &[u8] {
        debug_assert!(POOL_RECORDS.is_multiple_of(count), "blocks must not wrap");
        let places = &self.places[self.next..self.next + count];
        let seconds = (unix_nanos / 1_000_000_000) as u32;
        let nanos = (unix_nanos % 1_000_000_000) as u32;
        for (number, place) in places.iter().enumerate() {
            self.bytes[place.time..place.time + 4].copy_from_slice(&seconds.to_be_bytes());
            self.bytes[place.time + 4..place.time + 8].copy_from_slice(&nanos.to_be_bytes());
            let mark = Mark { sequence: mark.sequence + number as u64, sent_us: mark.sent_us };
            mark.write(&mut self.bytes[place.mark..place.mark + MARK_BYTES]);
        }
        self.next = (self.next + count) % POOL_RECORDS;
        &self.bytes[places[0].start..places[count - 1].end]
    }

    /// Of the block of `count` records that [`Pool::next`] gave last: how many end within its first `bytes` bytes, and
    /// where the last of those ends.
    pub fn whole(&self, count: usize, bytes: usize) -> (usize, usize) {
        let first = (self.next + POOL_RECORDS - count) % POOL_RECORDS;
        let places = &self.places[first..first + count];
        let start = places[0].start;
        let whole = places.iter().take_while(|place| place.end - start <= bytes).count();
        (whole, if whole == 0 { 0 } else { places[whole - 1].end - start })
    }

    /// The bytes of the block that [`Pool::next`] gave last.
    pub fn last(&self, count: usize) -> &[u8] {
        let first = (self.next + POOL_RECORDS - count) % POOL_RECORDS;
        &self.bytes[self.places[first].start..self.places[first + count - 1].end]
    }

    /// Bytes of a record on the socket, on average.
    pub fn record_bytes(&self) -> f64 {
        self.bytes.len() as f64 / POOL_RECORDS as f64
    }

    /// Every record of the pool by itself.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| &self.bytes[place.start..place.end])
    }

    fn push(&mut self, rng: &mut Rng, line: &str) {
        let start = self.bytes.len();
        let out = &mut self.bytes;
        out.push(0x94);
        string(out, TAG);
        out.extend([0xd7, 0x00]);
        let time = out.len();
        out.extend([0; 8]);
        out.push(0x84);
        let mut fields = [
            ("container_id", "5f1c0de5a9d84a0b8f3f3c1d2e4b6a7980c1d2e3f405162738495a6b7c8d9e0f"),
            ("container_name", "/ecs-web-7-app-a0f3d2c1b4e5968778"),
            ("source", "stdout"),
            ("log", line),
        ];
        rng.shuffle(&mut fields);
        let mut mark = 0;
        for (key, value) in fields {
            string(out, key);
            string(out, value);
            if key == "log" {
                let at = value.find("@@").expect("every line has a mark");
                mark = out.len() - value.len() + at;
            }
        }
        out.push(0x80);
        self.places.push(Place { start, end: self.bytes.len(), time, mark });
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(out, text).expect("a Vec takes everything");
}

const WORDS: [&str; 24] = [
    "request",
    "finished",
    "user",
    "order",
    "cache",
    "miss",
    "for",
    "key",
    "took",
    "ms",
    "retrying",
    "upstream",
    "connection",
    "pool",
    "size",
    "status",
    "payment",
    "accepted",
    "shipment",
    "queue",
    "depth",
    "worker",
    "started",
    "session",
];

fn line(rng: &mut Rng) -> String {
    let blank = "@@0000000000.000000000000";
    let mut text = Vec::new();
    let kind = rng.u8(0..100);
    let made = if kind < 60 {
        let length = rng.usize(115..=250);
        write!(text, "2026-11-20T13:41:13.123Z INFO [main-{}] {blank} ", rng.u8(1..16))
            .map(|()| words(rng, &mut text, length))
    } else if kind < 98 {
        let length = rng.usize(160..=276);
        write!(
            text,
            r#"{{"level":"info","ts":"2026-11-20T13:41:13.123Z","mark":"{blank}","status":{},"path":"/v1/orders/{}","msg":""#,
            rng.u16(200..504),
            rng.u32(1000..99999)
        )
        .map(|()| {
            words(rng, &mut text, length - 2);
            text.extend(b"\"}");
        })
    } else {
        let length = rng.usize(600..=1_213);
        write!(text, "java.lang.IllegalStateException: {blank} cannot ship \"order\"").map(|()| {
            while text.len() < length {
                text.extend(b"\n\tat com.example.shop.Orders$Worker.ship(Orders.java:");
                text.extend(rng.u16(10..999).to_string().into_bytes());
                text.push(b')');
            }
            text.truncate(length);
        })
    };
    made.expect("a Vec takes everything");
    String::from_utf8(text).expect("only ASCII was written")
}

fn words(rng: &mut Rng, text: &mut Vec<u8>, length: usize) {
    while text.len() < length {
        text.extend(WORDS[rng.usize(..WORDS.len())].as_bytes());
        text.push(if rng.u8(0..6) == 0 { b'=' } else { b' ' });
    }
    text.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of other machines were taken with such records; others could not be compared.
    #[test]
    fn the_records_have_the_sizes_that_the_figures_are_about() {
        let pool = Pool::default();
        let mean = pool.bytes.len() as f64 / POOL_RECORDS as f64;
        assert!((415.0..435.0).contains(&mean), "{mean} bytes a record");
        let orders: std::collections::BTreeSet<_> = pool.each().map(|record| record[59]).collect();
        assert!(orders.len() > 1, "the order of fields changes");
    }

    #[test]
    fn a_mark_survives_the_pool() {
        let mut pool = Pool::default();
        for block in 0..200_u64 {
            let bytes = pool.next(32, Mark { sequence: block * 32, sent_us: 77 }, 5_000_000_042).to_vec();
            let marks: Vec<_> = memchr::memmem::find_iter(&bytes, MARK_START)
                .map(|at| Mark::read(&bytes[at..]).expect("a mark"))
                .collect();
            assert_eq!(marks.len(), 32);
            assert_eq!(marks[31], Mark { sequence: block * 32 + 31, sent_us: 77 });
            assert_eq!(bytes[50..58], [0, 0, 0, 5, 0, 0, 0, 42], "the time lies behind the tag");
            assert_eq!(pool.last(32), bytes);
            assert_eq!(pool.whole(32, bytes.len()), (32, bytes.len()));
            assert_eq!(pool.whole(32, bytes.len() - 1).0, 31);
            assert_eq!(pool.whole(32, 10), (0, 0));
        }
    }
}
