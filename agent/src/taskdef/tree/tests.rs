//! The tree against arbitrary documents.
//!
//! Promises: what was read is printed to the byte; what was added is taken out again without a trace.
//! Never: looks at task definitions; `inject::tests` does.

use proptest::prelude::*;

use super::{json::parse, *};

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    for (text, line, column, what) in [
        ("", 1, 1, "ends too early"),
        ("{", 1, 2, "ends too early"),
        ("{\"a\": 1,}", 1, 9, "a comma before the end is one too many"),
        ("[1,\n 2,\n]", 3, 1, "a comma before the end is one too many"),
        ("{\"a\" 1}", 1, 6, "a colon is expected"),
        ("{\"a\": 1 \"b\": 2}", 1, 9, "a comma or `}` is expected"),
        ("[1 2]", 1, 4, "a comma or `]` is expected"),
        ("{a: 1}", 1, 2, "a name in double quotes is expected"),
        ("{'a': 1}", 1, 2, "a name in double quotes is expected"),
        ("{\"é\": 'x'}", 1, 7, "text stands in double quotes"),
        ("{\"a\": 1, \"a\": 2}", 1, 10, "this name is given twice"),
        ("{\"a\": 1, \"\\u0061\": 2}", 1, 10, "this name is given twice"),
        ("{} {}", 1, 4, "something follows the value"),
        ("// x\n{}", 1, 1, "JSON has no comments"),
        ("[\"a\nb\"]", 1, 4, "a line break or another control character in a text; write it as \\n or \\u00.."),
        ("[\"a]", 1, 2, "this text does not end"),
        ("[\"\\x\"]", 1, 2, "an escape in this text does not exist"),
        ("[\"\\ud800\"]", 1, 2, "an escape in this text does not exist"),
        ("[\"\\é\"]", 1, 2, "an escape in this text does not exist"),
        ("[\"a\\", 1, 2, "this text does not end"),
        ("[01]", 1, 2, "this number is not written as JSON writes numbers"),
        ("[1.]", 1, 2, "this number is not written as JSON writes numbers"),
        ("[-]", 1, 2, "this number is not written as JSON writes numbers"),
        ("[1e]", 1, 2, "this number is not written as JSON writes numbers"),
        ("[True]", 1, 2, "a value is expected"),
        ("[nulL]", 1, 2, "a value is expected, and this word is none; text stands in double quotes"),
        ("\u{feff}{}", 1, 1, "begins with a byte order mark; save the file without it"),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(Mistake { line, column, what }), "{text}");
    }
    assert_eq!(parse(b"{\"a\": \xff}"), Err(Mistake { line: 1, column: 7, what: "is not UTF-8" }));
}

#[test]
fn hostile_sizes_are_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(deep(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(parse(deep(DEPTH_MAX + 2).as_bytes()).map_err(|mistake| mistake.what), Err("is nested deeper than 64"));
    assert_eq!(parse("[".repeat(1 << 20).as_bytes()).map_err(|mistake| mistake.what), Err("is nested deeper than 64"));
    let large = vec![b' '; BYTES_MAX + 1];
    assert_eq!(parse(&large).map_err(|mistake| mistake.what), Err("is larger than 8 MiB"));
}

fn member(text: &str, name: &str, value: Node) -> String {
    let mut document = parse(text.as_bytes()).expect("JSON");
    let style = Style::of(&document);
    document.root.object_mut().expect("an object").push(name, value, &style, "");
    document.printed()
}

#[test]
fn what_is_added_looks_like_its_neighbours() {
    let value =
        || Node::map([("x", Node::list([Node::map([("y", Node::number(1))])])), ("w", Node::list([Node::of("a")]))]);
    for (before, after) in [
        ("{}", "{\n  \"n\": {\n    \"x\": [\n      {\n        \"y\": 1\n      }\n    ],\n    \"w\": [\"a\"]\n  }\n}"),
        ("{\"a\":1}", "{\"a\":1,\"n\":{\"x\":[{\"y\":1}],\"w\":[\"a\"]}}"),
        ("{ \"a\": 1 }", "{ \"a\": 1, \"n\": {\"x\": [{\"y\": 1}], \"w\": [\"a\"]} }"),
        (
            "{\n\t\"a\" : 1\n}\n",
            "{\n\t\"a\" : 1,\n\t\"n\" : {\n\t\t\"x\" : [\n\t\t\t{\n\t\t\t\t\"y\" : 1\n\t\t\t}\n\t\t],\n\t\t\"w\" : [\"a\"]\n\t}\n}\n",
        ),
        (
            "{\r\n \"a\": 1\r\n}",
            "{\r\n \"a\": 1,\r\n \"n\": {\r\n  \"x\": [\r\n   {\r\n    \"y\": 1\r\n   }\r\n  ],\r\n  \"w\": [\"a\"]\r\n }\r\n}",
        ),
    ] {
        assert_eq!(member(before, "n", value()), after, "{before}");
    }
}

#[test]
fn an_element_stands_in_a_line_if_its_neighbour_does() {
    let add = |text: &str| {
        let mut document = parse(text.as_bytes()).expect("JSON");
        let style = Style::of(&document);
        let new = Node::map([("name", Node::of("b")), ("value", Node::of("2"))]);
        let list = document.root.object_mut().and_then(|root| root.get_mut("e")).and_then(Node::array_mut);
        list.expect("a list").push(new, &style, "  ");
        document.printed()
    };
    assert_eq!(
        add("{\n  \"e\": [\n    { \"name\": \"a\" }\n  ]\n}"),
        "{\n  \"e\": [\n    { \"name\": \"a\" },\n    { \"name\": \"b\", \"value\": \"2\" }\n  ]\n}"
    );
    assert_eq!(
        add("{\n  \"e\": [{\"name\": \"a\"}]\n}"),
        "{\n  \"e\": [{\"name\": \"a\"}, {\"name\": \"b\", \"value\": \"2\"}]\n}"
    );
    assert_eq!(
        add("{\n  \"e\": [ ]\n}"),
        "{\n  \"e\": [\n    {\n      \"name\": \"b\",\n      \"value\": \"2\"\n    }\n  ]\n}"
    );
}

fn space() -> impl Strategy<Value = String> {
    "[ \n\t\r]{0,3}"
}

/// Documents with white space everywhere.
pub(in crate::taskdef) fn documents() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?([eE][+-]?[0-9])?",
        any::<String>().prop_map(|text| quoted(&text)),
        Just("\"\\u00e9\\/\\ud83d\\ude00\"".to_owned()),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        let element =
            (space(), inner.clone(), space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"));
        let list = (space(), prop::collection::vec(element, 0..4)).prop_map(|(inside, all)| {
            if all.is_empty() { format!("[{inside}]") } else { format!("[{}]", all.join(",")) }
        });
        let member = (space(), space(), space(), inner, space());
        let object =
            (space(), prop::collection::btree_map("[a-c]{1,2}", member, 0..4)).prop_map(|(inside, members)| {
                let all: Vec<String> = members
                    .into_iter()
                    .map(|(name, (a, b, c, value, d))| format!("{a}\"{name}\"{b}:{c}{value}{d}"))
                    .collect();
                if all.is_empty() { format!("{{{inside}}}") } else { format!("{{{}}}", all.join(",")) }
            });
        prop_oneof![list, object]
    });
    (space(), value, space()).prop_map(|(before, value, after)| format!("{before}{value}{after}"))
}

proptest! {
    #[test]
    fn property_what_is_not_changed_keeps_its_bytes(text in documents()) {
        let document = parse(text.as_bytes()).expect("JSON");
        prop_assert_eq!(document.printed(), text.clone());
        // And it says what serde_json reads.
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let compact: serde_json::Value = serde_json::from_str(&document.root.compact()).expect("JSON");
        prop_assert_eq!(read, compact);
    }

    #[test]
    fn property_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(document) = parse(&bytes) {
            prop_assert_eq!(document.printed().into_bytes(), bytes);
        }
    }

    #[test]
    fn property_what_serde_json_reads_is_read_here(text in "[\\[\\]{}:,0-9a-e\" \\\\.-]{0,20}") {
        let ours = parse(text.as_bytes());
        match serde_json::from_str::<serde_json::Value>(&text) {
            // It takes names twice, and has no room for some numbers.
            Ok(_) => prop_assert!(ours.is_ok() || ours.map_err(|mistake| mistake.what) == Err("this name is given twice")),
            Err(error) => prop_assert!(ours.is_err() || error.to_string().contains("number out of range"), "{}", error),
        }
    }

    #[test]
    fn property_what_was_taken_comes_back_to_its_place(text in documents(), at in 0usize..4) {
        let mut document = parse(text.as_bytes()).expect("JSON");
        match &mut document.root {
            Node::Object(object) => {
                let names: Vec<String> = object.members().map(|(name, _)| name.to_owned()).collect();
                if let Some(name) = names.get(at) {
                    let taken = object.take(name).expect("it is there");
                    prop_assert!(object.put_back(taken, Syntax::Json));
                }
            }
            Node::Array(array) => {
                if let Some(taken) = array.take(at) {
                    prop_assert!(array.put_back(taken, Syntax::Json));
                }
            }
            Node::Text(_) | Node::Bare(_) => {}
        }
        prop_assert_eq!(document.printed(), text);
    }
}
