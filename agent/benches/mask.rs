//! What masking costs: the scan of text without a secret, records with one, texts that are made to cost, and the set of patterns.
//!
//! ```text
//! cargo bench -p pillion --bench mask
//! ```
//!
//! The share is that of encoding and hashing in the same run, which is about two thirds of a record's whole way: of that it is
//! less.
//!
//! Promises: CPU time of this thread, the median of rounds, and of ratios within a round; all secrets and texts are made from fixed seeds.
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
/// Sets of the same secrets. Each has keys of its own, and with them other texts are taken for known.
const SETS: usize = 9;
/// What is read at once.
const READ: usize = 64 * 1_024;
/// What stands behind the password in a URL.
const REST: &str = "@db.prod.internal:5432/shop";
/// Texts in which nothing is found.
const NEAR_MISSES: &str = "near misses";
const HALVES: &str = "glued halves";

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let ordinary = chunk();
    let router = router();
    let record_bytes = bytes(&ordinary);
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
        let (secrets, texts) = (secrets(&values), texts(&values));
        let (mut builds, mut costs, mut ratios) =
            (Vec::new(), vec![Vec::new(); texts.len()], vec![Vec::new(); texts.len()]);
        let mut plain = Vec::new();
        for _ in 0..SETS {
            let begun = Instant::now();
            masks.replace(&secrets);
            builds.push(begun.elapsed().as_secs_f64() * 1e3);
            let a_byte = scanned(&masks, &ordinary) / record_bytes;
            plain.push(a_byte * record_bytes);
            for ((what, chunk), (costs, ratios)) in texts.iter().zip(costs.iter_mut().zip(&mut ratios)) {
                let is_found = changes(&masks, chunk);
                assert!(![NEAR_MISSES, HALVES].contains(what) || !is_found, "nothing is to be found in {what}");
                let cost = scanned(&masks, chunk);
                costs.push(cost);
                ratios.push(cost / bytes(chunk) / a_byte);
            }
        }
        let plain = median(&mut plain);
        let share = 100.0 * plain / (plain + path);
        writeln!(
            out,
            "{count} secrets: {} KiB, built in {:.1} ms; nothing found {plain:.1} ns a record, {:.1} GB/s, {share:.1} %",
            masks.bytes() / 1_024,
            median(&mut builds),
            record_bytes / plain,
        )?;
        for (((what, chunk), mut costs), mut ratios) in texts.iter().zip(costs).zip(ratios) {
            let (cost, ratio) = (median(&mut costs), median(&mut ratios));
            writeln!(out, "  {what}: {cost:.0} ns a record of {:.0} bytes, {ratio:.1} x a byte", bytes(chunk))?;
        }
    }
    Ok(())
}

fn bytes(chunk: &[u8]) -> f64 {
    chunk.len() as f64 / RECORDS as f64
}

/// Nanoseconds a record for masking `chunk`, which comes in reads; to put back what was masked is not counted.
fn scanned(masks: &Masks, chunk: &[u8]) -> f64 {
    let (mut copy, ends) = (chunk.to_vec(), ends(chunk));
    let changes = changes(masks, chunk);
    let mut masker = masks.masker();
    let both = per_record(|| {
        if changes {
            copy.copy_from_slice(chunk);
        }
        read(&mut masker, &mut copy, &ends);
    });
    let copying = if changes { per_record(|| std::hint::black_box(&mut copy).copy_from_slice(chunk)) } else { 0.0 };
    both - copying
}

/// True if something is masked in `chunk`.
fn changes(masks: &Masks, chunk: &[u8]) -> bool {
    let mut copy = chunk.to_vec();
    read(&mut masks.masker(), &mut copy, &ends(chunk));
    copy != chunk
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
    // What is looked for are the lines of a PEM block and the password of a URL: each of them.
    let lines = |n: usize, each: &dyn Fn(&str) -> String| {
        let lines: Vec<String> = of(n).lines().filter(|line| !line.starts_with('-')).map(each).collect();
        cut(&lines.join("\n"), 200)
    };
    let miss = |line: &str, n: usize| {
        let mut letters: Vec<char> = line.chars().collect();
        let looked_for =
            if line.contains("://") { "postgres://shop:".len()..letters.len() - REST.len() } else { 0..letters.len() };
        let place = looked_for.start + n % looked_for.len();
        letters[place] = if letters[place] == '#' { '+' } else { '#' };
        letters.into_iter().collect::<String>()
    };
    let near = |n: usize| lines(n, &|line| miss(line, n));
    let half = |n: usize| lines(n, &|line| cut(line, line.chars().count() / 2));
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
        (NEAR_MISSES, chunk_of(|_, n| joined(&near, n))),
        (HALVES, chunk_of(|_, n| joined(&half, n))),
        ("near misses, and a secret", chunk_of(|_, n| cut(&(of(n).replace('\n', " ") + " " + &joined(&near, n)), 250))),
        ("what URLs share", chunk_of(|_, n| joined(&|_| format!("postgres://shop:{REST}"), n))),
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
        17 => word(random, 8 + n / 20 % 4),
        18 => format!("postgres://shop:{}{REST}", strong(random, 16).replace(['@', '/', '?', '#'], "x")),
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
