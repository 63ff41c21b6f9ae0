//! Any lines are counted like any others, and rules find what a parser of JSON finds.
//!
//! Promises: panics if a level depends on the lines before, or a record that is JSON is taken for another one.
//! Never: does I/O.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use pillion::tally::{Field, Found, LEVELS, Record, Rule, Rules, Said, Taker, Tally, level::Memory};

struct Line<'a>(&'a [u8]);

impl Record for Line<'_> {
    fn field(&self, _: &[u8]) -> Option<Field<'_>> {
        None
    }

    fn said(&self) -> Said<'_> {
        Said { line: self.0, level: None }
    }
}

#[derive(Default)]
struct Heard(Mutex<(u64, Vec<Found>)>);

impl Taker for Heard {
    fn levels(&self, _: &str, counts: &[u64; LEVELS]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 += counts.iter().sum::<u64>();
    }

    fn found(&self, _: &str, found: &[Found]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.extend_from_slice(found);
    }
}

/// Lines of `bytes`, one after the other.
pub(crate) fn check(bytes: &[u8]) {
    let rules: Vec<Rule> = serde_json::from_str(
        r#"[{"name":"a","when":[{"field":"a","equals":"b"}],"labels":{"l":"c","d":"d.e"},"sum":"n"},
            {"name":"b","when":[{"regex":"x+y"},{"field":"@level","glob":"e*"}]},{"name":"c","labels":{"l":"a"}}]"#,
    )
    .expect("rules");
    let heard = Arc::new(Heard::default());
    let rules = Rules::new(&rules).expect("good rules");
    let tally = Arc::new(Tally { levels: true, rules, taker: Arc::clone(&heard) as Arc<dyn Taker> });
    let mut counter = tally.counter("web").expect("levels are counted");
    let mut memory = Memory::default();
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        assert_eq!(memory.level(line), Memory::default().level(line), "{}", line.escape_ascii());
        counter.count("web", &Line(line));
        lines += 1;
    }
    counter.tell("web");
    let (counted, found) = &*heard.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*counted, lines, "each line has one level");
    assert_eq!(
        found.iter().filter(|found| found.rule == 2).count() as u64,
        lines,
        "a rule without conditions is for all"
    );
    assert!(found.iter().all(|found| found.amount.is_none_or(|amount| amount >= 0.0)));
    let of_json = bytes.split(|byte| *byte == b'\n').zip(found.iter().filter(|found| found.rule == 2));
    for (line, found) in of_json {
        // A parser takes the last of a name that is there twice.
        let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(line) else { continue };
        let text = std::str::from_utf8(line).map_or(Cow::Borrowed(""), Cow::Borrowed);
        if let Some(serde_json::Value::String(value)) = members.get("a")
            && text.matches("\"a\"").count() == 1
            && !text.contains('\\')
            && value.len() < 256
        {
            assert_eq!(found.labels.join("|"), *value, "{text}");
        }
    }
}
