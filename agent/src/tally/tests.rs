//! What is counted of records, and what is heard of it.
//!
//! Promises: each rule is asked of records made up here, by itself and beside others.
//! Never: reads a record as it comes; `logs::counted` does.

use std::sync::{Mutex, PoisonError};

use super::*;

/// A record of these fields and this line.
#[derive(Default)]
struct Plain {
    fields: Vec<(&'static str, Field<'static>)>,
    line: Option<String>,
}

impl Record for Plain {
    fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        self.fields.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, field)| field.clone())
    }

    fn said(&self) -> Said<'_> {
        let level = self.fields.iter().find(|(own, _)| *own == "level").and_then(|(_, field)| match field {
            Field::Text(text) => Level::named(text),
            _ => None,
        });
        Said { line: self.line.as_deref().unwrap_or_default().as_bytes(), level }
    }
}

/// Remembers what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Taker for Heard {
    fn levels(&self, container: &str, counts: &[u64; LEVELS]) {
        let counts: Vec<String> = Level::ALL
            .iter()
            .zip(counts)
            .filter(|(_, count)| **count > 0)
            .map(|(level, count)| format!("{}={count}", level.name()))
            .collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{container} {}", counts.join(" ")));
    }

    fn found(&self, container: &str, found: &[Found]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(
            found.iter().map(|one| format!("{container} {} {:?} {}", one.rule, one.amount, one.labels.join("|"))),
        );
    }
}

fn line(text: &str) -> Plain {
    Plain { line: Some(text.to_owned()), ..Plain::default() }
}

fn text(text: &'static str) -> Field<'static> {
    Field::Text(Cow::Borrowed(text.as_bytes()))
}

/// What is heard of these records of the container `web`.
fn heard(levels: bool, rules: &str, records: &[Plain]) -> Vec<String> {
    let rules: Vec<Rule> = serde_json::from_str(rules).expect("rules");
    let taker = Arc::new(Heard::default());
    let tally =
        Tally { levels, rules: Rules::new(&rules).expect("good rules"), taker: Arc::clone(&taker) as Arc<dyn Taker> };
    if let Some(mut counter) = Arc::new(tally).counter("web") {
        records.iter().for_each(|record| counter.count("web", record));
        counter.tell("web");
        // What was told is not told again.
        counter.tell("web");
    }
    let heard = taker.0.lock().unwrap_or_else(PoisonError::into_inner);
    heard.clone()
}

#[test]
fn records_are_counted_by_level_once_a_read() {
    let records = [
        line("INFO a"),
        line("INFO b"),
        line("{\"level\":\"error\"}"),
        line("c"),
        Plain::default(),
        Plain { fields: vec![("level", text("warn"))], line: Some("INFO what the field says counts".to_owned()) },
    ];
    assert_eq!(heard(true, "[]", &records), ["web none=2 info=2 warn=1 error=1"]);
    assert_eq!(heard(false, "[]", &records), [""; 0]);
}

#[test]
fn rules_count_what_all_their_conditions_hold_of() {
    let json = r#"{"event":"order","http":{"status":201},"route":"/a","amount":"2.5","msg":"a \"b\""}"#;
    for (rule, expected) in [
        (r#"{"name":"n"}"#, Some("web 0 Some(1.0) ")),
        (r#"{"name":"n","container":"w*"}"#, Some("web 0 Some(1.0) ")),
        (r#"{"name":"n","container":"w"}"#, None),
        (r#"{"name":"n","container":"*\u00e4"}"#, None),
        (r#"{"name":"n","when":[{"field":"event","equals":"order"}]}"#, Some("web 0 Some(1.0) ")),
        (r#"{"name":"n","when":[{"field":"event","equals":"orde"}]}"#, None),
        (r#"{"name":"n","when":[{"field":"http.status","equals":"201"}]}"#, Some("web 0 Some(1.0) ")),
        (
            r#"{"name":"n","when":[{"field":"http.status","glob":"2*"},{"field":"event","regex":"^ord"}]}"#,
            Some("web 0 Some(1.0) "),
        ),
        (r#"{"name":"n","when":[{"field":"http.status","glob":"2*"},{"field":"event","regex":"^rd"}]}"#, None),
        (r#"{"name":"n","when":[{"field":"msg","equals":"a \"b\""}]}"#, Some("web 0 Some(1.0) ")),
        (r#"{"name":"n","when":[{"field":"none","glob":"*"}]}"#, None),
        (r#"{"name":"n","when":[{"regex":"\"event\":\"order\""}]}"#, Some("web 0 Some(1.0) ")),
        (r#"{"name":"n","when":[{"glob":"*order*"}]}"#, Some("web 0 Some(1.0) ")),
        (r#"{"name":"n","when":[{"field":"@level","equals":"none"}]}"#, Some("web 0 Some(1.0) ")),
        (
            r#"{"name":"n","labels":{"r":"route","s":"http.status","x":"none","z":"@level"}}"#,
            Some("web 0 Some(1.0) /a|201||none"),
        ),
        (r#"{"name":"n","sum":"amount"}"#, Some("web 0 Some(2.5) ")),
        (r#"{"name":"n","sum":"http.status"}"#, Some("web 0 Some(201.0) ")),
        (r#"{"name":"n","sum":"route"}"#, Some("web 0 None ")),
        (r#"{"name":"n","sum":"none"}"#, Some("web 0 None ")),
    ] {
        assert_eq!(
            heard(false, &format!("[{rule}]"), &[line(json)]),
            expected.into_iter().collect::<Vec<_>>(),
            "{rule}"
        );
    }
}

#[test]
fn fields_of_the_record_go_before_those_of_its_line() {
    let record = |amount| Plain {
        fields: vec![("event", text("sale")), ("amount", amount), ("gone", Field::Nothing)],
        line: Some(r#"{"event":"order","amount":1,"gone":1,"level":"warn"}"#.to_owned()),
    };
    let rule = r#"[{"name":"n","when":[{"field":"event","equals":"sale"}],"labels":{"g":"gone","l":"@level"},"sum":"amount"}]"#;
    assert_eq!(heard(false, rule, &[record(Field::Number(3.0))]), ["web 0 Some(3.0) |warn"]);
    assert_eq!(heard(false, rule, &[record(Field::Number(-3.0))]), ["web 0 None |warn"], "a counter never falls");
    assert_eq!(heard(false, rule, &[record(text("NaN"))]), ["web 0 None |warn"]);
    // The text of the first rule is in no field that the second one looks at.
    let two = r#"[{"name":"a","when":[{"field":"event","equals":"absent"}]},{"name":"b","when":[{"field":"k","equals":"v"}]}]"#;
    assert_eq!(heard(false, two, &[line(r#"{"k":"v"}"#)]), ["web 1 Some(1.0) "]);
}

#[test]
fn a_long_value_is_cut_and_bytes_that_are_no_text_are_mended() {
    let long = format!("{{\"a\":\"{}\"}}", "\u{e4}".repeat(300));
    let found = heard(false, r#"[{"name":"n","labels":{"a":"a"}}]"#, &[line(&long)]);
    assert_eq!(found, [format!("web 0 Some(1.0) {}", "\u{e4}".repeat(rule::LABEL_BYTES_MAX / 2))]);
    let broken = Plain { fields: vec![("a", Field::Text(Cow::Borrowed(b"\xff!")))], line: None };
    assert_eq!(heard(false, r#"[{"name":"n","labels":{"a":"a"}}]"#, &[broken]), ["web 0 Some(1.0) \u{fffd}!"]);
}

#[test]
fn what_waits_to_be_told_is_bounded() {
    let records: Vec<Plain> = (0..FOUND_MAX * 2 + 1).map(|_| line("x")).collect();
    let rules: Vec<Rule> = serde_json::from_str(r#"[{"name":"n"}]"#).expect("rules");
    let taker: Arc<Heard> = Arc::default();
    let tally =
        Tally { levels: false, rules: Rules::new(&rules).expect("good"), taker: Arc::clone(&taker) as Arc<dyn Taker> };
    let mut counter = Arc::new(tally).counter("web").expect("a rule");
    for record in &records {
        counter.count("web", record);
        assert!(counter.found.len() < FOUND_MAX);
    }
    counter.tell("web");
    assert_eq!(taker.0.lock().unwrap_or_else(PoisonError::into_inner).len(), records.len(), "each is told once");
}

#[test]
fn a_rule_that_cannot_be_used_is_told_with_its_place() {
    let rules: Vec<Rule> = serde_json::from_str(
        r#"[{"name":"good"},{"name":" "},{"name":"n","when":[{"equals":"x"},{"regex":"("}]},
            {"name":"n","when":[{"field":"x"}]},{"name":"n","when":[{"equals":"x","glob":"y"}]},{"name":"n","when":[{"regex":"(a{1000}){1000}"}]}]"#,
    )
    .expect("rules");
    let wrong = Rules::new(&rules).expect_err("bad ones");
    let told: Vec<_> = wrong.iter().map(|(rule, condition, why)| (*rule, *condition, why.to_string())).collect();
    let kinds = "has not exactly one of `equals`, `glob` and `regex`".to_owned();
    let expected = [
        (1, None, "has no name".to_owned()),
        (2, Some(1), "not a regular expression".to_owned()),
        (3, Some(0), kinds.clone()),
        (4, Some(0), kinds),
        (5, Some(0), "not a regular expression".to_owned()),
    ];
    assert_eq!(told, expected);
}
