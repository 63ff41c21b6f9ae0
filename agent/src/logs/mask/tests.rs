//! Whole: secrets in every encoding, in every mode of the protocol, wherever a read cuts it.
//!
//! Promises: what a session would hand on is compared to the byte, and its framing is walked anew.
//! Never: opens a socket; the stories do.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use rmpv::Value as Tree;

use super::*;
use crate::logs::{
    forward::{
        frame::{EntryReader, Frame},
        usual::usual,
    },
    record::Record,
};

pub(super) const SECRET: &str = "4fT$k9\"\\/é <&'~*+zQ7";
const MAX: usize = 1 << 22;

pub(super) fn masks(values: &[(&str, &str)]) -> (Masks, Counters) {
    let counters = Counters::new();
    let masks = Masks::new(&counters);
    masks.replace(&secrets(values));
    (masks, counters)
}

fn secrets(values: &[(&str, &str)]) -> Vec<Secret> {
    let secret = |&(name, value): &(&str, &str)| Secret {
        name: name.into(),
        called: name.to_owned(),
        version: "1".to_owned(),
        value: Arc::new(Plain::new(value.as_bytes().to_vec())),
        mask: Mask::Auto,
    };
    values.iter().map(secret).collect()
}

fn packed(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, tree).expect("a Vec takes all");
    bytes
}

fn record(log: &str) -> Tree {
    Tree::Map(vec![
        ("container_id".into(), "0123456789abcdef".into()),
        ("log".into(), log.into()),
        ("nested".into(), Tree::Array(vec![1.into(), Tree::Map(vec![("in".into(), Tree::Binary(log.into()))])])),
    ])
}

fn time() -> Tree {
    Tree::Ext(0, vec![0x65, 0x53, 0xf1, 0x00, 0x07, 0x5b, 0xcd, 0x15])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

/// A message that is read in one pass, since all that its record holds is text, unless that is longer than Docker writes it. It has `log` twice.
fn usual_message(log: &str, option: Option<Tree>) -> Vec<u8> {
    let fields = [("container_id", "0123456789abcdef"), ("log", log), ("again", log)];
    let record = fields.map(|(key, text)| (key.into(), text.into())).to_vec();
    let message = ["app".into(), time(), Tree::Map(record)].into_iter().chain(option).collect();
    let bytes = packed(&Tree::Array(message));
    assert_eq!(usual(&bytes, &mut Record::default()).is_some(), log.len() <= usize::from(u16::MAX));
    bytes
}

/// A message with two records of which one has `log`, in each mode.
fn modes(log: &str) -> Vec<(&'static str, Vec<u8>)> {
    let option = || Tree::Map(vec![("chunk".into(), "Zm9v".into())]);
    let entry = |log: &str| Tree::Array(vec![time(), record(log)]);
    let entries = [packed(&entry("nothing")), packed(&entry(log))].concat();
    let compressed = Tree::Map(vec![("compressed".into(), "gzip".into())]);
    vec![
        ("message", packed(&Tree::Array(vec!["app".into(), time(), record(log)]))),
        ("message with an option", packed(&Tree::Array(vec!["app".into(), time(), record(log), option()]))),
        ("message with metadata", {
            let header = Tree::Array(vec![time(), Tree::Map(vec![])]);
            packed(&Tree::Array(vec!["app".into(), header, record(log)]))
        }),
        ("forward", packed(&Tree::Array(vec!["app".into(), Tree::Array(vec![entry("x"), entry(log)]), option()]))),
        ("packed", packed(&Tree::Array(vec!["app".into(), Tree::Binary(entries.clone()), option()]))),
        ("packed as text", [&b"\x92\xa3app\xdb"[..], &(entries.len() as u32).to_be_bytes(), &entries].concat()),
        ("compressed", packed(&Tree::Array(vec!["app".into(), Tree::Binary(gzip(&entries)), compressed]))),
        ("as Docker writes it", usual_message(log, None)),
        ("as Docker writes it, with an option", usual_message(log, Some(Tree::Map(vec![])))),
    ]
}

/// What a session does with a stream that comes in pieces: the text of all records, and how often each secret was masked.
fn through(masks: &Masks, pieces: &[&[u8]]) -> (Vec<Tree>, BTreeMap<u32, u64>) {
    let (mut masker, mut finder, mut own) = (masks.masker(), Finder::default(), Finder::default());
    let (mut buffer, mut trees, mut counts) = (Vec::new(), Vec::new(), BTreeMap::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        masker.messages(&mut buffer, &mut finder, MAX, |tag, masked| {
            assert_eq!(tag, b"app");
            masked.secrets.iter().for_each(|&secret| *counts.entry(secret).or_default() += 1);
        });
        let mut taken = 0;
        // The session's own finder goes on where masking left it.
        while let Some(length) = finder.find(&buffer[taken..], MAX).expect("well-formed") {
            let message = &buffer[taken..taken + length];
            assert_eq!(own.find(message, MAX), Ok(Some(length)), "framing is whole");
            let Frame::Message(read) = Frame::parse(message).expect("well-formed") else { panic!("a message") };
            let inflated = read.inflated(MAX).expect("opens").map(|mut entries| {
                masker.entries(&mut entries, "app");
                entries
            });
            let entries = inflated.as_deref().map_or(read.entries, Entries::Packed);
            let mut reader = EntryReader::new(entries);
            let mut record = Record::default();
            while reader.next_into(&mut record).expect("well-formed") {
                for pair in &record.pairs {
                    let text = pair.value.with_text(|text| Tree::Binary(text.to_vec()));
                    trees.push(text.unwrap_or_else(|| match pair.value {
                        crate::logs::record::Value::Raw(mut raw) => rmpv::decode::read_value(&mut raw).expect("whole"),
                        _ => panic!("text or raw"),
                    }));
                }
            }
            taken += length;
        }
        masker.taken(taken);
        buffer.drain(..taken);
    }
    assert!(buffer.is_empty(), "all of it is taken");
    (trees, counts)
}

fn all_text(trees: &[Tree]) -> Vec<u8> {
    fn add(tree: &Tree, text: &mut Vec<u8>) {
        match tree {
            Tree::Binary(bytes) => text.extend(bytes),
            Tree::String(string) => text.extend(string.as_bytes()),
            Tree::Array(all) => all.iter().for_each(|tree| add(tree, text)),
            Tree::Map(all) => all.iter().for_each(|(key, value)| {
                add(key, text);
                add(value, text);
            }),
            _ => {}
        }
        text.push(b'\n');
    }
    let mut text = Vec::new();
    trees.iter().for_each(|tree| add(tree, &mut text));
    text
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Every form, at each of some places, in every mode, cut anywhere: never seen, never broken, always as long.
#[test]
fn every_form_is_masked_in_every_mode_wherever_it_is_cut() {
    let (masks, _) = masks(&[("db", SECRET)]);
    for form in encode::forms(SECRET.as_bytes()) {
        let form = String::from_utf8(form.to_vec()).expect("text");
        for (before, after) in [("", ""), ("pw=", " and so on"), (&"x".repeat(200), ""), ("é", "é")] {
            let log = format!("{before}{form}{after}");
            let hidden = format!("{before}{}{after}", "*".repeat(form.len()));
            for (mode, bytes) in modes(&log) {
                let whole = through(&masks, &[&bytes]);
                let text = all_text(&whole.0);
                assert!(!holds(&text, form.as_bytes()), "{mode}: {form}");
                let seen = text.windows(hidden.len()).filter(|part| *part == hidden.as_bytes()).count();
                assert!(seen >= 2, "{mode}: {form}: in the line and in the nested value");
                // What is opened is counted by `entries`.
                assert_eq!(whole.1.get(&0).copied().unwrap_or(0) >= 2, mode != "compressed", "{mode}: {:?}", whole.1);
                // Every place of the shortest message is a cut for some form.
                let cuts = (1 + form.len() % 19..bytes.len()).step_by(19).chain([bytes.len() - 1]);
                for cut in cuts.filter(|_| before == "pw=") {
                    let two = through(&masks, &[&bytes[..cut], &bytes[cut..]]);
                    assert!(two == whole, "{mode}: {form} cut at {cut}");
                }
            }
        }
    }
}

/// Tag, id, time and lengths are not text of a record, whatever they look like.
#[test]
fn nothing_but_text_of_records_is_touched() {
    let secret = "app-Secret-1-and-more";
    let (masks, _) = masks(&[("db", secret)]);
    let option = Tree::Map(vec![("chunk".into(), secret.into())]);
    let bytes =
        packed(&Tree::Array(vec!["app".into(), 7.into(), Tree::Map(vec![(secret.into(), "x".into())]), option]));
    let (mut masker, mut masked) = (masks.masker(), bytes.clone());
    masker.messages(&mut masked, &mut Finder::default(), MAX, |_, _| {});
    let tree = rmpv::decode::read_value(&mut &masked[..]).expect("whole");
    let shown = tree.to_string();
    assert_eq!(shown.matches(secret).count(), 1, "{shown}");
    assert!(
        shown.contains(&format!("\"chunk\": \"{secret}\"")) && shown.contains(&"*".repeat(secret.len())),
        "{shown}"
    );
    // The length byte of the text is the first letter of the secret.
    let secret = "0ecret-Number-One-And-Long";
    let (masks, _) = self::masks(&[("db", secret)]);
    let text = format!("{}{}", &secret[1..], "y".repeat(49 - secret.len()));
    let mut bytes = [&b"\x93\xa3app\x07\x81\xa3log\xd90"[..], text.as_bytes()].concat();
    assert_eq!(usize::from(b'0'), text.len());
    let before = bytes.clone();
    masks.masker().messages(&mut bytes, &mut Finder::default(), MAX, |_, _| panic!("nothing is masked"));
    assert_eq!(bytes, before);
}

#[test]
fn lines_of_json_stay_json() {
    let values = [
        "nabc-Secret-1\\",
        "\\b-Secret-2\\\\x\\",
        "00e9Secret3",
        "u00e9Secret-4",
        "\"quoted\"-Secret-5",
        "t-Secret-6\n",
    ];
    let named: Vec<(&str, &str)> = values.iter().map(|value| ("db", *value)).collect();
    let (masks, _) = masks(&named);
    let mut lines = 0;
    for value in values {
        for before in ["", "\n", "\\", "é", "x\"", "\u{1f511}", "\\\\n"] {
            for after in ["", "n", "\"", "\\", "é"] {
                for dialect in [|text: &str| serde_json::to_string(text).expect("JSON"), python] {
                    let line = format!("{{\"message\":{},\"n\":1}}", dialect(&format!("{before}{value}{after}")));
                    let message = packed(&Tree::Array(vec![
                        "app".into(),
                        7.into(),
                        Tree::Map(vec![("log".into(), line.as_str().into())]),
                    ]));
                    let (trees, _) = through(&masks, &[&message]);
                    let text = all_text(&trees);
                    let masked: serde_json::Value = serde_json::from_slice(&text)
                        .unwrap_or_else(|error| panic!("{line} became {}: {error}", String::from_utf8_lossy(&text)));
                    assert!(!masked["message"].as_str().expect("a text").contains("Secret"), "{masked}");
                    lines += 1;
                }
            }
        }
    }
    assert_eq!(lines, 420);
}

/// As Python writes it: nothing but ASCII.
fn python(text: &str) -> String {
    let json = serde_json::to_string(text).expect("JSON");
    let letters = json.chars().map(|letter| match letter {
        ' '..='~' => letter.to_string(),
        _ => letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    });
    letters.collect()
}

fn part(log: &str, id: &str, last: bool) -> Vec<u8> {
    let fields = [
        ("partial_message", "true"),
        ("log", log),
        ("partial_id", id),
        ("partial_last", if last { "true" } else { "false" }),
    ];
    packed(&Tree::Array(vec![
        "app".into(),
        time(),
        Tree::Map(fields.map(|(key, value)| (key.into(), value.into())).to_vec()),
    ]))
}

/// A line of three parts, cut at every place of the secret, with a line of standard error in between.
#[test]
fn a_secret_that_docker_cut_is_masked_in_both_parts() {
    let secret = "Cut-4fT$k9!-in-two-parts";
    let (masks, counters) = masks(&[("db", secret)]);
    for cut in 0..=secret.len() {
        let (one, two) = secret.split_at(cut);
        let (first, second) = (format!("{}{one}", "x".repeat(16_384 - one.len())), format!("{two}{}", "y".repeat(100)));
        let stream = [part(&first, "a", false), part("stderr 4fT$", "b", false), part(&second, "a", true)].concat();
        let (trees, counted) = through(&masks, &[&stream]);
        let text = String::from_utf8(all_text(&trees)).expect("text");
        let shown: Vec<&str> = text.lines().filter(|line| line.len() >= 100).collect();
        let (head, tail) = (shown[0].trim_start_matches('x'), shown[1].trim_end_matches('y'));
        // Fewer than four characters could be anything.
        let one_hidden = if cut < 4 { one.to_owned() } else { "*".repeat(cut) };
        assert_eq!((head, tail), (&*one_hidden, &*"*".repeat(secret.len() - cut)), "cut at {cut}");
        assert_eq!(counted.get(&0), Some(&1), "cut at {cut}: counted once");
        assert!(text.contains("stderr 4fT$"));
    }
    let again = [part("a line Cut-4fT$", "a", false), part("x9!-in-two-parts", "a", true)].concat();
    let (trees, counted) = through(&masks, &[&again]);
    let text = String::from_utf8(all_text(&trees)).expect("text");
    assert!(text.contains("a line ********\n") && text.contains("x9!-in-two-parts") && counted.is_empty(), "{text}");
    assert_eq!(counters.masking.left_out.get(), 0);
}

/// Old and new are masked; what was searched for less is searched again when there is more to look for.
#[test]
fn what_is_looked_for_is_swapped_between_two_reads() {
    let (masks, _) = masks(&[("db", "Old-Secret-1")]);
    let log = "Old-Secret-1 and New-Secret-2";
    let (_, message) = modes(log).swap_remove(0);
    let (mut masker, mut finder) = (masks.masker(), Finder::default());
    let mut buffer = message[..message.len() - 1].to_vec();
    masker.messages(&mut buffer, &mut finder, MAX, |_, _| panic!("it is not whole"));
    masker.taken(0);
    masks.replace(&secrets(&[("db", "Old-Secret-1"), ("db", "New-Secret-2")]));
    buffer.push(message[message.len() - 1]);
    let mut counted = Vec::new();
    masker.messages(&mut buffer, &mut finder, MAX, |_, masked| counted.extend_from_slice(masked.secrets));
    assert_eq!(counted, [0; 4]);
    assert!(holds(&buffer, b"************ and ************"));
}

/// An app that prints its secret is told once, and counted for its container.
#[test]
fn what_is_masked_is_counted_for_secret_and_container() {
    let (masks, counters) = masks(&[("db", "Db-Secret-1!"), ("api-key", "Api-Secret-2!")]);
    let mut masker = masks.masker();
    let mut entries = packed(&Tree::Array(vec![7.into(), record("Db-Secret-1! Api-Secret-2! Db-Secret-1!")]));
    masker.entries(&mut entries, "web");
    let count = |secret: &str| counters.masking.spans.with_label_values(&["web", secret]).get();
    assert_eq!((count("db"), count("api-key")), (4, 2));
    assert!(!holds(&entries, b"Secret"));
    let page = counters.render();
    assert!(page.contains("pillion_logs_masked_spans_total{container=\"web\",secret=\"db\"} 4"), "{page}");
}

#[test]
fn more_values_than_there_is_room_for_are_told_and_the_first_are_masked() {
    let counters = Counters::new();
    let masks = Masks::new(&counters);
    let mut random = fastrand::Rng::with_seed(1);
    let mut long = || (0..60_000).map(|_| random.char('!'..='z')).collect::<String>();
    let many: Vec<Secret> = (0..20).flat_map(|_| secrets(&[("db", &long())])).collect();
    let mut all = secrets(&[("first", "First-Secret-1")]);
    all.extend(many);
    masks.replace(&all);
    assert!(counters.masking.left_out.get() > 0);
    assert!(masks.bytes() < 24 << 20, "{}", masks.bytes());
    let mut entries = packed(&Tree::Array(vec![7.into(), record("First-Secret-1")]));
    masks.masker().entries(&mut entries, "web");
    assert!(!holds(&entries, b"First-Secret-1"));
    masks.replace(&secrets(&[("first", "First-Secret-1")]));
    assert_eq!(counters.masking.left_out.get(), 0);
}

/// Room is for what is looked for, not for how often it was told of.
#[test]
fn what_is_told_of_twice_takes_its_room_once() {
    let counters = Counters::new();
    let masks = Masks::new(&counters);
    let value = |n: usize| format!("{n}{}", "Qx7!zP".repeat(600));
    let once: Vec<Secret> = (0..100).flat_map(|n| secrets(&[("db", &value(n))])).collect();
    masks.replace(&once);
    let bytes = masks.bytes();
    masks.replace(&[once.clone(), once].concat());
    assert_eq!((counters.masking.left_out.get(), masks.bytes()), (0, bytes));
}

/// More places than are remembered: rather too much is masked than too little, and the stream goes on.
#[test]
fn a_flood_of_secrets_is_masked_as_a_whole() {
    let (masks, _) = masks(&[("db", "Fl00d-S1")]);
    let log = "Fl00d-S1 ".repeat(MASK_FOUND_MAX / 2 + 10);
    let large = modes(&log).swap_remove(3).1;
    let many = usual_message(&"Fl00d-S1 ".repeat(600), None).repeat(MASK_FOUND_MAX / 1_200 + 2);
    for flood in [large, many] {
        let stream = [&flood[..], &modes("fine Fl00d-S1")[0].1].concat();
        for cut in [stream.len(), 70_000, stream.len() - 50] {
            let (trees, _) = through(&masks, &[&stream[..cut], &stream[cut..]]);
            let text = all_text(&trees);
            assert!(!holds(&text, b"Fl00d-S1"), "cut at {cut}");
        }
    }
    let (trees, _) = through(&masks, &[&modes("fine Fl00d-S1")[0].1]);
    assert!(holds(&all_text(&trees), b"fine ********"));
}

#[test]
fn without_secrets_nothing_is_done() {
    let masks = Masks::new(&Counters::new());
    let (_, mut message) = modes("partial_message true").swap_remove(0);
    let before = message.clone();
    masks.masker().messages(&mut message, &mut Finder::default(), MAX, |_, _| panic!("nothing is masked"));
    assert_eq!(message, before);
}

proptest! {
    /// Any text around any secrets, in any mode, in any pieces: no secret is seen in a text of a record, texts keep their lengths.
    #[test]
    fn property_no_secret_is_seen_and_no_frame_breaks(
        values in prop::collection::vec("[a-zA-Z0-9$/\"\\\\ ]{9,30}!", 1..6),
        texts in prop::collection::vec("[a-z\"\\\\ ]{0,30}", 1..6),
        mode in 0..9_usize,
        cuts in prop::collection::vec(1..200_usize, 1..5),
    ) {
        let named: Vec<(&str, &str)> = values.iter().map(|value| ("db", &**value)).collect();
        let (masks, _) = masks(&named);
        let looked_for: Vec<Plain> = values.iter().flat_map(|value| which::parts("db", value.as_bytes(), Mask::Auto)).collect();
        let log: String = texts.iter().zip(values.iter().cycle()).map(|(text, value)| format!("{text}{value}")).collect();
        let (name, bytes) = modes(&log).swap_remove(mode);
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let (trees, _) = through(&masks, &pieces);
        let text = all_text(&trees);
        let before = all_text(&through(&Masks::new(&Counters::new()), &[&bytes]).0);
        prop_assert_eq!(text.len(), before.len(), "{}", name);
        for part in looked_for {
            // The first letters of what follows a backslash stay, the last backslash too.
            prop_assert!(!holds(&text, &part) , "{}: {}", name, log);
        }
    }

    /// Any bytes at all.
    #[test]
    fn property_garbage_is_never_lengthened(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (masks, _) = masks(&[("db", "Garbage-1!")]);
        let mut masked = [&bytes[..], b"Garbage-1!"].concat();
        let length = masked.len();
        masks.masker().messages(&mut masked, &mut Finder::default(), MAX, |_, _| {});
        masks.masker().entries(&mut masked, "web");
        prop_assert_eq!(masked.len(), length);
    }
}
