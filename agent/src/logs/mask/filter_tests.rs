//! The filter against Aho-Corasick, and against texts that would make it work.
//!
//! Promises: work is counted, so that a slow machine changes nothing.
//! Never: measures time; `benches/mask.rs` does.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use aho_corasick::AhoCorasick;
use proptest::prelude::*;

use super::{super::patterns::Patterns, fill::kept, *};
use crate::limits::MASK_GRAMS_MAX;

fn filter(patterns: &[Vec<u8>]) -> Filter {
    let mut all = Patterns::default();
    patterns.iter().zip(0..).for_each(|(text, number)| all.push(text, number));
    Filter::new(&all)
}

fn found(filter: &Filter, text: &[u8]) -> BTreeSet<Found> {
    let mut found = Vec::new();
    filter.scan(text, &mut found);
    let all = found.len();
    let found: BTreeSet<Found> = found.into_iter().collect();
    assert_eq!(found.len(), all, "each is found once");
    found
}

/// The same by the automaton.
fn expected(patterns: &[Vec<u8>], text: &[u8]) -> BTreeSet<Found> {
    let automaton = AhoCorasick::new(patterns).expect("patterns");
    let matches = automaton.find_overlapping_iter(text);
    matches.map(|found| Found { start: found.start(), end: found.end(), secret: found.pattern().as_u32() }).collect()
}

/// A text made of pieces of the patterns, whole and cut, and of others.
fn glued(patterns: &[Vec<u8>], pieces: &[(prop::sample::Index, usize, usize)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (which, from, to) in pieces {
        let pattern = which.get(patterns);
        let (from, to) = (from % pattern.len(), to % (pattern.len() + 1));
        text.extend(if from < to { &pattern[from..to] } else { &pattern[..] });
    }
    text
}

proptest! {
    #[test]
    fn property_every_occurrence_is_found_as_an_automaton_finds_it(
        patterns in prop::collection::btree_set(
            prop_oneof!["[ab]{8,14}", "[a-c0]{8,40}", "[ -~]{8,70}", "pass-word-[0-9]{1,3}"],
            1..40,
        ),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..80_usize, 0..80_usize), 0..40),
        start in 0..60_usize,
    ) {
        let patterns: Vec<Vec<u8>> = patterns.into_iter().map(String::into_bytes).collect();
        let text = glued(&patterns, &pieces);
        let text = &text[start.min(text.len())..];
        prop_assert_eq!(found(&filter(&patterns), text), expected(&patterns, text));
    }

    /// Forms of a value share windows; none is lost for that.
    #[test]
    fn property_every_form_is_found_as_an_automaton_finds_it(
        values in prop::collection::vec("[ab\"/ ]{0,6}[a-c]{8,20}[ab\"/ ]{0,9}", 1..6),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 0..80_usize, 0..80_usize), 0..40),
    ) {
        let (mut all, mut patterns) = (Patterns::default(), Vec::new());
        for (value, number) in values.iter().zip(0..) {
            let forms: Vec<String> = [("", ""), ("/", "\\/"), ("\"", "\\\""), ("/", "%2F"), (" ", "+")]
                .map(|(from, to)| if from.is_empty() { value.clone() } else { value.replace(from, to) }).into();
            all.push_forms(forms.iter().map(|form| form.as_bytes()), number);
            patterns.extend(forms.into_iter().map(|form| (form.into_bytes(), number)));
        }
        let texts: Vec<Vec<u8>> = patterns.iter().map(|(text, _)| text.clone()).collect();
        let text = glued(&texts, &pieces);
        // Of those that say the same the first one counts.
        let of = |place: u32| {
            let text = &texts[place as usize];
            patterns.iter().find(|(other, _)| other == text).map_or(0, |(_, number)| *number)
        };
        let expected: BTreeSet<Found> =
            expected(&texts, &text).into_iter().map(|found| Found { secret: of(found.secret), ..found }).collect();
        prop_assert_eq!(found(&Filter::new(&all), &text), expected);
    }

    /// Where a text is cut in a pattern, the end that could be its beginning is told; no shorter one is.
    #[test]
    fn property_a_cut_pattern_is_told(
        patterns in prop::collection::vec("[a-z0-9]{8,40}", 1..20),
        which in any::<prop::sample::Index>(), cut in 0..40_usize, before in "[A-Z]{0,60}",
    ) {
        let pattern = which.get(&patterns);
        let cut = cut % pattern.len();
        let text = format!("{before}{}", &pattern[..cut]);
        let patterns: Vec<Vec<u8>> = patterns.iter().map(|pattern| pattern.clone().into_bytes()).collect();
        match filter(&patterns).cut_at(text.as_bytes()) {
            Some(start) => prop_assert!(cut >= GRAM && start <= before.len() && start + 70 > before.len()),
            None => prop_assert!(cut < GRAM),
        }
    }
}

#[test]
fn what_is_no_pattern_is_left_out_and_what_comes_twice_counts_once() {
    let patterns = ["1234567", "pattern-one", "pattern-one", "pattern-two"].map(|text| text.as_bytes().to_vec());
    let filter = filter(&patterns);
    assert_eq!(filter.patterns.len(), 2);
    let text = b"1234567 pattern-one pattern-two";
    let secrets: Vec<u32> = found(&filter, text).into_iter().map(|found| found.secret).collect();
    assert_eq!(secrets, [1, 3]);
    let none = Filter::new(&Patterns::default());
    assert!(none.is_empty());
    assert_eq!(found(&none, text), BTreeSet::new());
    assert_eq!(none.cut_at(text), None);
}

/// Whatever number of places is looked at together.
#[test]
fn of_many_that_stand_together_none_is_lost() {
    let patterns: Vec<Vec<u8>> = (0..70).map(|n| format!("{n:02}-of-the-many").into_bytes()).collect();
    let filter = filter(&patterns);
    for count in 0..=patterns.len() {
        let text = patterns[..count].concat();
        let once = found(&filter, &text);
        assert_eq!(once, expected(&patterns, &text), "{count}");
        assert_eq!(once.len(), count);
    }
}

/// Of fifty thousand windows two have the same number once in four times.
#[test]
fn windows_with_the_same_number_are_all_found() {
    let patterns: Vec<Vec<u8>> = (0..3).map(|n| format!("\0\0\0\0\0\0\0\0{n}-behind").into_bytes()).collect();
    let mut all = Patterns::default();
    patterns.iter().zip(0..).for_each(|(text, number)| all.push(text, number));
    let mut filter = Filter::new(&all);
    // With these keys what begins with zeros has the number zero.
    filter.window_keys = [0; 4];
    filter.fill(&kept(&all, &RandomState::new()));
    let text = patterns.concat();
    assert_eq!(found(&filter, &text), expected(&patterns, &text));
}

/// Four bytes are compared, and then eight at a time: what is left is masked rather than shown.
#[test]
fn what_only_begins_like_a_pattern_is_told_where_few_bytes_are_left() {
    let filter = filter(&[b"postgres://shop:correct-Horse@db".to_vec()]);
    for (text, cut) in [
        ("see pos", None),
        ("see post", Some(4)),
        ("see postgre", Some(4)),
        ("see postal ", Some(4)),
        ("see postal c", None),
        ("see postgres", Some(4)),
        ("see postgres, as", Some(4)),
        ("see postgres, as it is", None),
        ("see postgres://shop:correct-H", Some(4)),
        ("see postgres://shop:wrong", Some(4)),
        ("see postgres://shop:wrong-Horse@", None),
    ] {
        assert_eq!(filter.cut_at(text.as_bytes()), cut, "{text}");
    }
}

/// The values of a fleet, each in one form.
fn values(count: usize, value: impl Fn(usize) -> String) -> Vec<Vec<u8>> {
    (0..count).map(|number| value(number).into_bytes()).collect()
}

/// Counted, not timed: steps of verification in 64 KiB. Before windows were chosen by rarity and looked up by a hash, a beginning
/// that 500 URLs share cost 500 comparisons wherever it stood.
#[test]
fn no_text_makes_more_than_a_few_steps_a_place_of_the_grid() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut word = |length: usize| -> String { (0..length).map(|_| random.alphanumeric()).collect() };
    let random: Vec<String> = (0..500).map(|_| word(32)).collect();
    let urls = values(500, |n| format!("postgres://shop:{}@db.prod.internal:5432/shop", &random[n][..12]));
    let numbered = values(500, |n| format!("Password-for-user-{n:03}"));
    let plain = values(500, |n| random[n].clone());
    let windows = values(500, |n| format!("{}{}", "Abcdefgh12", &random[n][..20]));
    let mut near: Vec<Vec<u8>> = plain.clone();
    near.iter_mut().enumerate().for_each(|(n, text)| text[n % 32] = b'#');
    let repeated = |parts: &[Vec<u8>]| parts.concat().into_iter().cycle().take(64 * 1_024).collect::<Vec<u8>>();
    for (what, patterns, text) in [
        ("a beginning that all share", &urls, repeated(&[b"postgres://shop:".to_vec()])),
        ("an end that all share", &urls, repeated(&[b"@db.prod.internal:5432/shop".to_vec()])),
        ("numbered passwords", &numbered, repeated(&[b"Password-for-user-".to_vec()])),
        ("numbered passwords, numbered wrong", &numbered, repeated(&[b"Password-for-user-999 ".to_vec()])),
        ("near misses", &plain, repeated(&near)),
        ("all of them", &plain, repeated(&plain)),
        ("a window that all share", &windows, repeated(&[b"Abcdefgh12".to_vec()])),
        ("grams out of order", &plain, repeated(&plain.iter().map(|text| text[8..20].to_vec()).collect::<Vec<_>>())),
        ("zeros", &plain, vec![0; 64 * 1_024]),
    ] {
        let filter = filter(patterns);
        let places = text.len() / filter.stride;
        filter.looks.count.store(0, Ordering::Relaxed);
        let mut found = Vec::new();
        filter.scan(&text, &mut found);
        let steps = filter.looks.count.load(Ordering::Relaxed) as usize;
        assert!(steps <= 4 * places, "{what}: {steps} steps at {places} places");
    }
}

/// A short value decides what looking costs, not how many there are.
#[test]
fn the_stride_follows_the_shortest_value() {
    for (shortest, stride) in [(8, 5), (12, 9), (16, 13), (24, 21), (32, 29), (64, 29)] {
        assert_eq!(filter(&values(100, |n| format!("{n:0shortest$}"))).stride, stride, "{shortest}");
    }
}

#[test]
fn memory_is_bounded_by_the_number_of_patterns() {
    let random = fastrand::Rng::with_seed(3);
    let mut random = random;
    let mut word = || -> Vec<u8> { (0..200).map(|_| random.alphanumeric() as u8).collect() };
    let patterns: Vec<Vec<u8>> = (0..20_000).map(|_| word()).collect();
    let filter = filter(&patterns);
    assert!(filter.stride < 29 && filter.grams.bytes() <= MASK_GRAMS_MAX * 5, "{}", filter.stride);
    assert!(filter.bytes() < 8 << 20, "{}", filter.bytes());
}

#[test]
fn nothing_of_a_pattern_is_shown_or_lies_about() {
    let secret = b"correct-Horse-battery-Staple-7".to_vec();
    let filter = filter(std::slice::from_ref(&secret));
    assert_eq!(format!("{filter:?}"), "Filter(..)");
    let mut kept: Vec<u8> = filter.grams.from(0).iter().flat_map(|gram| gram.0.to_le_bytes()).collect();
    kept.extend(filter.patterns.iter().flat_map(|known| known.hash.to_le_bytes()));
    let grams: Vec<&[u8]> = secret.windows(GRAM).collect();
    assert!(!kept.windows(GRAM).any(|four| grams.contains(&four)));
}
