//! YAML against tables, and against readers of JSON.
//!
//! Promises: what was read is printed to the byte, and says what the same document says as JSON; what is not known is refused.
//! Never: looks at task definitions; `inject::yaml_tests` does.

use proptest::prelude::*;

use super::{yaml::parse, *};

fn said(text: &str) -> String {
    let document = parse(text.as_bytes()).unwrap_or_else(|mistake| panic!("{mistake}: {text}"));
    assert_eq!(document.printed(), text);
    document.root.compact()
}

/// PyYAML 6.0 says the same of each, with tags as CloudFormation reads them, but for numbers in another base or with a sign, which are
/// text here.
#[test]
fn what_is_written_in_yaml_says_what_json_says() {
    for (text, json) in [
        ("a: 1\n", r#"{"a":1}"#),
        ("a: 1", r#"{"a":1}"#),
        ("---\n# first\na: b # tail\n\n# between\nc: d\n# last\n", r#"{"a":"b","c":"d"}"#),
        ("a:\n  b:\n    c: x\n  d: y\n", r#"{"a":{"b":{"c":"x"},"d":"y"}}"#),
        ("a:\n- 1\n- 2\nb: 3\n", r#"{"a":[1,2],"b":3}"#),
        ("a:\n  - b: 1\n    c: 2\n  -\n    d: 3\n  - - 4\n    - 5\n", r#"{"a":[{"b":1,"c":2},{"d":3},[4,5]]}"#),
        ("- a:\n    - b\n- c\n", r#"[{"a":["b"]},"c"]"#),
        ("-   a: 1\n    b: 2\n", r#"[{"a":1,"b":2}]"#),
        ("a:\n\nb:\n", r#"{"a":null,"b":null}"#),
        ("a: {b: 1, \"c\": [x y, 'z', 2], d: {}, e: []}\n", r#"{"a":{"b":1,"c":["x y","z",2],"d":{},"e":[]}}"#),
        ("a: [ # one\n  b, # two\n  c\n]\n", r#"{"a":["b","c"]}"#),
        ("a: !Ref B\n", r#"{"a":{"Ref":"B"}}"#),
        ("a: !Sub \"${B}-x\"\n", r#"{"a":{"Fn::Sub":"${B}-x"}}"#),
        ("a: !Join ['', [!Ref B, '/c']]\n", r#"{"a":{"Fn::Join":["",[{"Ref":"B"},"/c"]]}}"#),
        (
            "a: !If\n  - C\n  - b: 1\n  - !Ref AWS::NoValue\n",
            r#"{"a":{"Fn::If":["C",{"b":1},{"Ref":"AWS::NoValue"}]}}"#,
        ),
        ("- !Ref\n- a\n- !If # c\n  - b\n", r#"[{"Ref":null},"a",{"Fn::If":["b"]}]"#),
        ("a: !If\n- C\n- 1\n- 2\n", r#"{"a":{"Fn::If":["C",1,2]}}"#),
        (
            "- !GetAtt A.Arn\n- !Select [0, !GetAZs '']\n",
            r#"[{"Fn::GetAtt":"A.Arn"},{"Fn::Select":[0,{"Fn::GetAZs":""}]}]"#,
        ),
        ("a:\n  Fn::Sub: x\n", r#"{"a":{"Fn::Sub":"x"}}"#),
        ("Type: AWS::ECS::TaskDefinition\n", r#"{"Type":"AWS::ECS::TaskDefinition"}"#),
        ("a: one\n  two\n\n  three # four\n", r#"{"a":"one two\nthree"}"#),
        ("a: \"one\n  two\\\n  three \\x41\\u00e9\\n\"\n", r#"{"a":"one twothree Aé\n"}"#),
        ("a: 'it''s\n\n  so'\n", r#"{"a":"it's\nso"}"#),
        ("a: |\n  one\n    two\n\n  three\n\nb: 1\n", r#"{"a":"one\n  two\n\nthree\n","b":1}"#),
        ("a: |-\n  one\n  # two\n# three\nb: 1\n", r#"{"a":"one\n# two","b":1}"#),
        ("a: |+ # tail\n  one\n\n\nb: 1\n", r#"{"a":"one\n\n\n","b":1}"#),
        ("a: >\n  one\n  two\n\n  three\n    four\n  five\n", r#"{"a":"one two\nthree\n  four\nfive\n"}"#),
        ("a: >-\n\n  one\n  two\n", r#"{"a":"\none two"}"#),
        ("a: |\nb: 1\n", r#"{"a":"","b":1}"#),
        ("- |\n a\n- b\n", r#"["a\n","b"]"#),
        ("a: |\r\n  one\r\n  two\r\nb: x\r\n", r#"{"a":"one\ntwo\n","b":"x"}"#),
        ("a:\n  'long'\nb: !Sub\n  |\n  x\n", r#"{"a":"long","b":{"Fn::Sub":"x\n"}}"#),
        (
            "a: yes\nb: No\nc: ~\nd: null\ne: 1.5\nf: 010\ng: +1\nh: 0x1\n",
            r#"{"a":true,"b":false,"c":null,"d":null,"e":1.5,"f":"010","g":"+1","h":"0x1"}"#,
        ),
        ("a: http://b:80/c?d#e\nf: -x\ng: :x\nh: ?x\n", r#"{"a":"http://b:80/c?d#e","f":"-x","g":":x","h":"?x"}"#),
        ("a : 1\n\"b\" : 2\n'c': 3\n", r#"{"a":1,"b":2,"c":3}"#),
        ("just text\n", r#""just text""#),
        ("# nothing\n", "null"),
        ("a: b\n \n\t\n  # c\n", r#"{"a":"b"}"#),
        ("a: {b: !Ref , c: }\n", r#"{"a":{"b":{"Ref":null},"c":null}}"#),
    ] {
        assert_eq!(said(text), json, "{text}");
    }
}

#[test]
fn what_is_not_read_is_refused_with_its_place() {
    for (text, line, column, what) in [
        ("a: &x 1\n", 1, 4, "anchors and aliases are not followed, and CloudFormation takes none; write it out"),
        ("a: *x\n", 1, 4, "anchors and aliases are not followed, and CloudFormation takes none; write it out"),
        ("<<: x\n", 1, 1, "merges are not followed, and CloudFormation takes none; write it out"),
        ("? a\n: b\n", 1, 1, "a value is expected"),
        ("%YAML 1.2\n---\na: 1\n", 1, 1, "directives are not read"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document; give one at a time"),
        ("a: 1\n...\n", 2, 1, "a second document; give one at a time"),
        ("--- a: 1\n", 1, 5, "what follows `---` stands in a line of its own"),
        ("a:\n\tb: 1\n", 2, 1, "a tab; in YAML spaces move a line in"),
        ("-\ta: 1\n", 1, 3, "a tab stands before this; in YAML spaces move it in"),
        ("a: 1\n  b: 2\n", 2, 4, "text with `: ` in it stands in quotes"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "is moved in further than what it belongs to"),
        ("a: 'x'\n  b\n", 2, 3, "is moved in further than what it belongs to"),
        ("  a: 1\nb: 2\n", 2, 1, "does not belong to what it follows"),
        ("a: b: c\n", 1, 5, "text with `: ` in it stands in quotes"),
        ("a: 1\na: 2\n", 2, 1, "this name is given twice"),
        ("a: 1\n'a': 2\n", 2, 1, "this name is given twice"),
        ("a: {b: 1, b: 2}\n", 1, 11, "this name is given twice, or a merge, which is not followed"),
        ("a: 'b' c\n", 1, 8, "something follows the value; text like this stands in quotes"),
        ("a: 'b\n", 1, 4, "this text does not end"),
        ("a: \"\\q\"\n", 1, 4, "an escape in this text does not exist"),
        ("a: [b, ]\n", 1, 8, "a comma before the end is one too many"),
        ("a: [b\n", 2, 1, "ends too early"),
        ("a: [b c: d]\n", 1, 8, "a comma or the closing bracket is expected"),
        ("a: {b}\n", 1, 6, "a colon is expected"),
        ("a: {[b]: c}\n", 1, 5, "a name is expected"),
        ("a: !!str 1\n", 1, 4, "a tag of YAML's own; CloudFormation's are called like `!Ref`"),
        ("a: !Ref{b}\n", 1, 8, "this tag is none of CloudFormation's"),
        ("a: | x\n", 1, 6, "behind `|` and `>` the text begins in the next line"),
        ("a: @x\n", 1, 4, "no value begins so; put it in quotes if it is text"),
        ("a: - b\n", 1, 4, "a value is expected"),
        ("a:\n  - b\n  c: d\n", 3, 3, "is moved in further than what it belongs to"),
        ("a: 1\nb\n", 2, 1, "a name and a colon are expected"),
        ("a: 1\rb: 2\n", 1, 5, "a carriage return without a line feed behind it"),
        ("\u{feff}a: 1\n", 1, 1, "begins with a byte order mark; save the file without it"),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(Mistake { line, column, what }), "{text}");
    }
}

#[test]
fn hostile_sizes_are_refused() {
    let deep: String = (0..DEPTH_MAX + 2).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let dashes = "- ".repeat(1 << 20);
    let tags = format!("a: {}", "!Ref ".repeat(1 << 16));
    let brackets = format!("a: {}", "[".repeat(1 << 20));
    for text in [deep, dashes, tags, brackets] {
        assert_eq!(parse(text.as_bytes()).map_err(|mistake| mistake.what), Err("is nested deeper than 64"));
    }
    assert_eq!(parse(&vec![b' '; BYTES_MAX + 1]).map_err(|mistake| mistake.what), Err("is larger than 8 MiB"));
    // Explicit indentation is read, and what it says is not known.
    let document = parse(b"a: |2\n    x\nb: 1\n").expect("YAML");
    assert_eq!(document.root.object().and_then(|it| it.get("a")).and_then(Node::text), None);
}

#[test]
fn what_is_added_is_a_block_like_its_neighbours() {
    let new = || {
        Node::map([
            ("Name", Node::of("pillion")),
            ("User", Node::of("65532")),
            ("Command", Node::list([Node::of("CMD"), Node::of("on")])),
            ("Environment", Node::list([Node::map([("Name", Node::of("AB")), ("Value", Node::of("$(x)"))])])),
            ("Options", Node::map([])),
            ("Group", Node::map([("Fn::Join", Node::list([Node::of(""), Node::list([Node::of("a")])]))])),
        ])
    };
    for (before, after) in [
        (
            "l:\n  - Name: a # tail\n\n# end\n",
            "l:\n  - Name: a # tail\n  - Name: pillion\n    User: \"65532\"\n    Command: [\"CMD\", \"on\"]\n    Environment:\n      - Name: AB\n        Value: \"$(x)\"\n    Options: {}\n    Group:\n      Fn::Join: [\"\", [\"a\"]]\n\n# end\n",
        ),
        (
            "x:\n    y: 1\nl:\n- Name: a",
            "x:\n    y: 1\nl:\n- Name: a\n- Name: pillion\n  User: \"65532\"\n  Command: [\"CMD\", \"on\"]\n  Environment:\n  - Name: AB\n    Value: \"$(x)\"\n  Options: {}\n  Group:\n      Fn::Join: [\"\", [\"a\"]]",
        ),
        (
            "l: [{Name: a}]\n",
            "l: [{Name: a}, {\"Name\": \"pillion\", \"User\": \"65532\", \"Command\": [\"CMD\", \"on\"], \"Environment\": [{\"Name\": \"AB\", \"Value\": \"$(x)\"}], \"Options\": {}, \"Group\": {\"Fn::Join\": [\"\", [\"a\"]]}}]\n",
        ),
    ] {
        let mut document = parse(before.as_bytes()).expect("YAML");
        let style = Style::of(&document);
        let list = document.root.object_mut().and_then(|root| root.get_mut("l")).and_then(Node::array_mut);
        list.expect("a list").push(new(), &style, "");
        assert_eq!(document.printed(), after);
        assert_eq!(said(after), document.root.compact());
    }
}

/// Text that stands somewhere else than where it was written says the same there.
#[test]
fn what_is_copied_says_the_same_in_its_new_place() {
    let text = "a:\n  f: {k: [x, !Ref y]}\n  p: it's\n  b: |\n    one\n    two\n  t: !Sub\n    - ${x}\n    - x: 1\n  q: 'a: b'\n  n:\nl: []\nm:\n  z: 1\n";
    let mut document = parse(text.as_bytes()).expect("YAML");
    let style = Style::of(&document);
    let copy = document.root.object().and_then(|root| root.get("a")).cloned().expect("a");
    let root = document.root.object_mut().expect("an object");
    root.push("c", copy.clone(), &style, "");
    root.get_mut("l").and_then(Node::array_mut).expect("a list").push(copy.clone(), &style, "");
    root.get_mut("m").and_then(Node::object_mut).expect("a record").push("d", copy.clone(), &style, "");
    let read =
        parse(document.printed().as_bytes()).unwrap_or_else(|mistake| panic!("{mistake}:\n{}", document.printed()));
    assert_eq!(read.root.compact(), document.root.compact());
    assert_eq!(read.root.compact().matches(&copy.compact()).count(), 4, "{}", document.printed());
}

/// What was put in quotes or not, any reader takes for the same text.
#[test]
fn words_that_mean_something_else_are_quoted() {
    for word in [
        "yes",
        "No",
        "on",
        "null",
        "~",
        "",
        "1",
        "1e3",
        "0x1f",
        "2001-01-01",
        "1:30",
        "a: b",
        "a #b",
        "a:",
        "-",
        "@a",
        "y",
        "$(a)",
        "é",
        " a",
        "a\nb",
        "!a",
        "*",
        "[a",
    ] {
        assert!(scalar::plain(word).starts_with('"'), "{word}");
    }
    for word in ["pillion", "/run/secrets", "AWS::Region", "awsfirelens", "a.b/c:1@sha256:d", "true-ish"] {
        assert_eq!(scalar::plain(word), word);
    }
}

proptest! {
    /// JSON is YAML: in brackets, it says the same.
    #[test]
    fn property_json_is_read_as_it_is(text in tests::documents()) {
        let json = json::parse(text.as_bytes()).expect("JSON");
        // Some white space of JSON is none in YAML.
        if let Ok(document) = parse(text.as_bytes()) {
            prop_assert_eq!(document.printed(), text);
            prop_assert_eq!(document.root.compact(), json.root.compact());
        }
    }

    #[test]
    fn property_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(document) = parse(&bytes) {
            prop_assert_eq!(document.printed().into_bytes(), bytes);
        }
    }

    #[test]
    fn property_no_text_of_its_own_letters_makes_it_panic(text in "(a|b|1|: |:|- |-|\n|  | |#| #|\\||>|!Ref |'|\"|\\[|\\]|\\{|\\}|,|\\\\|\r\n|\t|&|\\*|\\?|~){0,40}") {
        if let Ok(document) = parse(text.as_bytes()) {
            prop_assert_eq!(document.printed(), text);
            // What it says is JSON.
            let compact = document.root.compact();
            prop_assert!(json::parse(compact.as_bytes()).is_ok(), "{}", compact);
        }
    }

    /// Any value, laid out in blocks, is read as that value.
    #[test]
    fn property_what_is_laid_out_is_read_as_what_it_was(text in tests::documents()) {
        let value = json::parse(text.as_bytes()).expect("JSON").root;
        let mut document = parse(b"a:\n  b: 1\n  l:\n    - x: 1\n").expect("YAML");
        let style = Style::of(&document);
        let inner = document.root.object_mut().and_then(|root| root.get_mut("a")).and_then(Node::object_mut).expect("a");
        inner.push("n", value.clone(), &style, "");
        inner.get_mut("l").and_then(Node::array_mut).expect("a list").push(value.clone(), &style, "");
        let printed = document.printed();
        let read = parse(printed.as_bytes());
        let read = read.map_err(|mistake| TestCaseError::fail(format!("{mistake}\n{printed}")))?;
        let decoded = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        prop_assert_eq!(decoded(read.root.compact()), decoded(document.root.compact()), "{}", printed);
    }

    #[test]
    fn property_what_was_taken_comes_back_to_its_place(at in 0usize..4, indentation in 0usize..5) {
        let text = "a:\n  b: 1 # tail\n  # above\n  c:\n    - x: 1\n      y: |\n        z\n\n    - 2\n    -   - 3 # t\n  d: {e: 1, # f\n    g: [h, i # j\n    ]}\n  k: >+\n    m\n\n# end\n";
        let mut document = parse(text.as_bytes()).expect("YAML");
        let a = document.root.object_mut().and_then(|root| root.get_mut("a")).and_then(Node::object_mut).expect("a");
        let name = ["b", "c", "d", "k"][at];
        let taken = a.take(name).expect("it is there");
        prop_assert!(a.put_back(taken.clone(), Syntax::Yaml));
        prop_assert!(!a.put_back(taken.clone(), Syntax::Yaml), "it is there again");
        let list = a.get_mut("c").and_then(Node::array_mut).expect("a list");
        let element = list.take(at.min(2)).expect("it is there");
        prop_assert!(list.put_back(element, Syntax::Yaml));
        let flow = a.get_mut("d").and_then(Node::object_mut).expect("an object");
        let member = flow.take(["e", "g"][at % 2]).expect("it is there");
        prop_assert!(flow.put_back(member, Syntax::Yaml));
        prop_assert_eq!(document.printed(), text);

        // In a block that was moved it is moved as well.
        let spaces = " ".repeat(indentation + 1);
        let mut other = parse(format!("a:\n{spaces}o: 1\n").as_bytes()).expect("YAML");
        let into = other.root.object_mut().and_then(|root| root.get_mut("a")).and_then(Node::object_mut).expect("a");
        prop_assert!(into.put_back(taken, Syntax::Yaml));
        let compact = |document: &Document| document.root.object().and_then(|root| root.get("a")?.object()?.get(name)).map(Node::compact);
        let read = parse(other.printed().as_bytes());
        let read = read.map_err(|mistake| TestCaseError::fail(format!("{mistake}\n{}", other.printed())))?;
        prop_assert_eq!(compact(&read), compact(&document));
    }
}
