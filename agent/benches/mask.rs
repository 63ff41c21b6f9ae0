//! What masking costs: the scan of text without a secret, records with one, texts that are made to cost, and the set of patterns.
//!
//! ```text
//! cargo bench -p pillion --bench mask
//! ```
//!
//! The share is that of encoding and hashing in the same run, which is about two thirds of a record's whole way: of that it is
//! less.
//!
//! Promises: CPU time of this thread, the median of three rounds; all sets and texts are made from fixed seeds.
//! Never: touches the network.

mod records;

use std::{io::Write as _, sync::Arc, time::Instant};

use aws_lc_rs::digest;
use pillion::{
    logs::{
        forward::frame::Finder,
        mask::{Mask, Masker, Masks, Plain, Secret},
    },
    tell::counters::Counters,
};

use records::{RECORDS, chunk, chunk_of, line, median, per_record, route, router};

const ROUNDS: usize = 3;
/// What is read at once.
const READ: usize = 64 * 1_024;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let ordinary = chunk();
    let router = router();
    let record_bytes = ordinary.len() as f64 / RECORDS as f64;
    let mut path = Vec::new();
    for _ in 0..ROUNDS {
        // 650 bytes are what CloudWatch gets of such a record.
        let body = vec![b'x'; 650 * RECORDS];
        path.push(per_record(|| {
            route(&router, &ordinary);
            std::hint::black_box(digest::digest(&digest::SHA256, &body));
        }));
    }
    let path = median(&mut path);
    writeln!(out, "a record of {record_bytes:.0} bytes, parsed, filtered, encoded, hashed: {path:.0} ns")?;
    for count in [5, 50, 500] {
        let values = if count == 5 {
            (0..5).map(|n| strong(&mut fastrand::Rng::with_seed(n), 32)).collect()
        } else {
            mixed(count)
        };
        let masks = Masks::new(&Counters::new());
        let secrets = secrets(&values);
        let mut builds = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            masks.replace(&secrets);
            builds.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let plain = scanned(&masks, &ordinary);
        let share = 100.0 * plain / (plain + path);
        writeln!(
            out,
            "{count} secrets: {} KiB, built in {:.1} ms; nothing found {plain:.1} ns a record, {:.1} GB/s, {share:.1} %",
            masks.bytes() / 1_024,
            median(&mut builds),
            record_bytes / plain,
        )?;
        for (what, chunk) in texts(&values) {
            let (bytes, cost) = (chunk.len() as f64 / RECORDS as f64, scanned(&masks, &chunk));
            let ratio = cost / bytes * record_bytes / plain;
            writeln!(out, "  {what}: {cost:.0} ns a record of {bytes:.0} bytes, {ratio:.1} x a byte")?;
        }
    }
    Ok(())
}

/// Nanoseconds a record for masking `chunk`, which comes in reads; to put back what was masked is not counted.
fn scanned(masks: &Masks, chunk: &[u8]) -> f64 {
    let mut figures = Vec::new();
    let (mut copy, ends) = (chunk.to_vec(), ends(chunk));
    let changes = {
        let mut masker = masks.masker();
        read(&mut masker, &mut copy, &ends);
        copy != chunk
    };
    for _ in 0..ROUNDS {
        let mut masker = masks.masker();
        let both = per_record(|| {
            if changes {
                copy.copy_from_slice(chunk);
            }
            read(&mut masker, &mut copy, &ends);
        });
        let copying = if changes { per_record(|| std::hint::black_box(&mut copy).copy_from_slice(chunk)) } else { 0.0 };
        figures.push(both - copying);
    }
    median(&mut figures)
}

/// As a connection does it: reads of whole messages, which end at `ends`.
fn read(masker: &mut Masker, chunk: &mut [u8], ends: &[usize]) {
    let (mut finder, mut start) = (Finder::default(), 0);
    for &end in ends {
        masker.messages(&mut chunk[start..end], &mut finder, usize::MAX, |_, _| {});
        masker.taken(end - start);
        start = end;
    }
}

/// Where reads of about [`READ`] bytes end if they end with a message. Found beforehand: the session finds them anyway.
fn ends(chunk: &[u8]) -> Vec<usize> {
    let (mut finder, mut ends, mut at, mut start) = (Finder::default(), Vec::new(), 0, 0);
    while let Ok(Some(length)) = finder.find(&chunk[at..], usize::MAX) {
        at += length;
        if at - start >= READ || at == chunk.len() {
            ends.push(at);
            start = at;
        }
    }
    ends
}

/// Texts in which something is found, or nearly.
fn texts(values: &[String]) -> Vec<(&'static str, Vec<u8>)> {
    let of = |n: usize| &values[n % values.len()];
    let cut = |text: &str, bytes: usize| text.chars().take(bytes).collect::<String>();
    let near = |n: usize| {
        let mut letters: Vec<char> = of(n).chars().collect();
        let place = n % letters.len();
        letters[place] = if letters[place] == '#' { '+' } else { '#' };
        cut(&letters.into_iter().collect::<String>(), 200)
    };
    let half = |n: usize| cut(of(n), of(n).chars().count() / 2);
    let joined = |piece: &dyn Fn(usize) -> String, n: usize| {
        let mut text = String::new();
        let mut place = n;
        while text.len() < 210 {
            text += &piece(place);
            place += 1;
        }
        cut(&text, 250)
    };
    vec![
        (
            "a secret in every record",
            chunk_of(|random, n| format!("{} {}", cut(&line(random, n), 170), cut(of(n), 64))),
        ),
        ("near misses", chunk_of(|_, n| joined(&near, n))),
        ("glued halves", chunk_of(|_, n| joined(&half, n))),
        ("what URLs share", chunk_of(|_, n| joined(&|_| "postgres://shop:@db.prod.internal:5432/shop".to_owned(), n))),
    ]
}

fn secrets(values: &[String]) -> Vec<Secret> {
    let secret = |(number, value): (usize, &String)| Secret {
        name: format!("secret-{number}").into(),
        called: "password".to_owned(),
        version: "1".to_owned(),
        value: Arc::new(Plain::new(value.clone().into_bytes())),
        mask: Mask::Auto,
    };
    values.iter().enumerate().map(secret).collect()
}

/// Secrets of the kinds that accounts have.
fn mixed(count: usize) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(count as u64);
    let random = &mut random;
    let word =
        |random: &mut fastrand::Rng, length: usize| (0..length).map(|_| random.alphanumeric()).collect::<String>();
    let secret = |n: usize| match n % 20 {
        0..13 => strong(random, 32),
        13 | 14 => format!("{}+/{}=", word(random, 18), word(random, 19)),
        15 => (0..64).map(|_| char::from_digit(random.u32(..16), 16).unwrap_or('0')).collect(),
        16 => word(random, 12 + n % 5),
        17 => word(random, 8 + n % 4),
        18 => format!(
            "postgres://shop:{}@db.prod.internal:5432/shop",
            strong(random, 16).replace(['@', '/', '?', '#'], "x")
        ),
        _ => {
            let lines: Vec<String> = (0..26).map(|_| word(random, 64)).collect();
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
        }
    };
    (0..count).map(secret).collect()
}

/// A password as Secrets Manager generates it.
fn strong(random: &mut fastrand::Rng, length: usize) -> String {
    (0..length).map(|_| char::from(random.u8(b'!'..=b'~'))).collect()
}
