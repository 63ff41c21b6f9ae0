//! Hostile values in every format, read back by small readers that were written from the other side's documentation.
//!
//! Promises: prints the case that fails. Never: asks a real reader; `agent/tests/secret_files.rs` does.

use proptest::prelude::*;

use super::*;
use crate::secrets::settings::{Api, From, Mask, WhenGone};

/// Values that have broken somebody.
fn hostile() -> Vec<String> {
    let mut values: Vec<String> = [
        "",
        " ",
        "plain",
        "p@ss:w/rd",
        "a b",
        " leading",
        "trailing ",
        "#hash",
        "a #b",
        "a#b",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "'",
        "\"",
        "it's",
        "say \"x\"",
        "\\",
        "\\\\",
        "a\\",
        "a\\\\b",
        "\\n",
        "'\\$`\"",
        "a\nb",
        "\n",
        "a\r\nb",
        "\r",
        "\t",
        "a=b",
        "=",
        ":",
        "::",
        "!bang",
        "%41",
        "%",
        "&",
        ";",
        "a;b",
        "{x}",
        "{{x}}",
        "}}",
        "{% set a = 1 %}",
        "ä",
        "😀",
        "日本",
        "\u{7f}",
        "\u{1}",
        "\u{8}",
        "\u{c}",
        "\u{feff}x",
        "\u{2028}",
        "~",
        "*",
        "export A=1",
        "<a>&amp;",
        "null",
        "1e3",
    ]
    .map(str::to_owned)
    .into();
    values.push("x'\"\\$` #\n".repeat(6_500));
    values
}

fn text(text: impl Into<String>) -> Content {
    Content::Text(Value::new(text.into().into_bytes()))
}

fn held_as(content: Content) -> Held {
    let current = Version { id: "v2".to_owned(), stages: Vec::new(), created: None, content };
    Held { id: "arn".to_owned(), current, previous: None, pending: None }
}

fn object(members: &[(&str, &str)]) -> Content {
    let members: serde_json::Map<_, _> =
        members.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    text(serde_json::to_string(&members).unwrap())
}

fn written(format: &Format, content: &Content) -> Result<String, What> {
    write(format, content).map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
}

fn member(format: &Format, value: &str) -> Result<String, What> {
    written(format, &object(&[("username", "app"), ("password", value)]))
}

fn template(source: &str) -> Format {
    Format::Template(source.to_owned())
}

/// What bash makes of a value of ours.
fn as_shell(line: &str) -> String {
    let value = line.split_once('=').unwrap().1.strip_suffix('\n').unwrap();
    if let Some(single) = value.strip_prefix('\'') {
        let single = single.strip_suffix('\'').unwrap();
        assert!(!single.contains('\''));
        return single.to_owned();
    }
    let Some(double) = value.strip_prefix('"') else {
        assert!(
            value.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"\\$`#&|;<>(){}*?[]!~^".contains(&byte)),
            "{value}"
        );
        return value.to_owned();
    };
    let (mut plain, mut letters) = (String::new(), double.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                assert_eq!(letters.next(), None, "ends at its end");
                return plain;
            }
            '\\' => match letters.next().unwrap() {
                escaped @ ('"' | '\\' | '$' | '`') => plain.push(escaped),
                other => plain.extend(['\\', other]),
            },
            '$' | '`' => panic!("would be expanded"),
            _ => plain.push(letter),
        }
    }
    panic!("has no end")
}

/// What `Properties.load` makes of a line of ours: name and value.
fn as_properties(file: &str) -> (String, String) {
    let line = file.strip_suffix('\n').unwrap();
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "one line of printable ASCII");
    let (mut parts, mut now, mut skipping) = ([String::new(), String::new()], 0, false);
    let (mut letters, mut units) = (line.chars(), Vec::new());
    while let Some(letter) = letters.next() {
        let mut push = |part: &mut String, letter: char| {
            units.clear();
            part.push(letter);
        };
        match letter {
            '\\' => match letters.next().unwrap() {
                't' => push(&mut parts[now], '\t'),
                'n' => push(&mut parts[now], '\n'),
                'r' => push(&mut parts[now], '\r'),
                'f' => push(&mut parts[now], '\x0c'),
                'u' => {
                    let hex: String = letters.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&hex, 16).unwrap());
                    if let Ok(whole) = String::from_utf16(&units) {
                        parts[now].push_str(&whole);
                        units.clear();
                    }
                }
                other => push(&mut parts[now], other),
            },
            '=' | ':' | ' ' if now == 0 => (now, skipping) = (1, true),
            ' ' if skipping => continue,
            other => push(&mut parts[now], other),
        }
        skipping = skipping && letter == '=';
    }
    assert!(units.is_empty(), "half a character");
    let [name, value] = parts;
    (name, value)
}

/// What is left of percent-encoding.
fn as_percent(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
                rest = &rest[2..];
            }
            other => {
                assert!(other.is_ascii_alphanumeric() || b"-._~".contains(other));
                bytes.push(*other);
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The fields of a line as libpq splits it.
fn as_pgpass(file: &str) -> Vec<String> {
    let line = file.strip_suffix('\n').unwrap();
    assert!(!line.starts_with('#') && !line.contains(['\n', '\r']));
    let (mut fields, mut letters) = (vec![String::new()], line.chars());
    while let Some(letter) = letters.next() {
        match letter {
            ':' => fields.push(String::new()),
            '\\' => fields.last_mut().unwrap().push(letters.next().unwrap()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

/// The value of an option as MySQL's `my_default.cc` reads it.
fn as_option(file: &str, option: &str) -> String {
    let mut lines = file.split('\n').filter_map(|line| line.strip_prefix(&format!("{option}=")));
    let quoted = lines.next().unwrap();
    assert_eq!(lines.next(), None);
    let inside = quoted.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
    let (mut plain, mut letters) = (String::new(), inside.chars());
    while let Some(letter) = letters.next() {
        assert_ne!(letter, '"', "ends before its end");
        match letter {
            '\\' => plain.push(match letters.next().unwrap() {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\x08',
                's' => ' ',
                other @ ('"' | '\'' | '\\') => other,
                other => panic!("`\\{other}` is no escape"),
            }),
            other => plain.push(other),
        }
    }
    plain
}

/// What holds of any value without NUL in every format.
fn survives(value: &str) {
    let content = object(&[("PASSWORD", value)]);
    assert_eq!(written(&Format::Raw, &text(value)).unwrap(), value);
    assert_eq!(written(&Format::Key("PASSWORD".to_owned()), &content).unwrap(), value);
    let dotenv = written(&Format::Dotenv, &content).unwrap();
    assert!(dotenv.starts_with("PASSWORD="));
    assert_eq!(as_shell(&dotenv), value);
    let properties = written(&Format::Properties, &object(&[(value, value)])).unwrap();
    assert_eq!(as_properties(&properties), (value.to_owned(), value.to_owned()));
    let url = written(&Format::Url("x://{PASSWORD}".to_owned()), &content).unwrap();
    assert_eq!(as_percent(url.strip_prefix("x://").unwrap()), value);
    match member(&Format::Pgpass, value) {
        Ok(line) => assert_eq!(as_pgpass(&line), ["*", "5432", "*", "app", value]),
        Err(what) => {
            assert!(value.contains(['\n', '\r']));
            assert_eq!(what, What::LineBreak { name: "password" });
        }
    }
    match member(&Format::MyCnf, value) {
        Ok(file) => assert_eq!(as_option(&file, "password"), value),
        Err(what) => {
            assert!(value.len() > 2_000);
            assert_eq!(what, What::LineTooLong { name: "password" });
        }
    }
    let plain = written(&template("{{ secret.PASSWORD }}"), &content).unwrap();
    assert_eq!(plain, value, "nothing is escaped or filled in");
    assert_eq!(as_percent(&written(&template("{{ secret.PASSWORD | pct }}"), &content).unwrap()), value);
    let json = written(&template("{{ secret | json }}"), &content).unwrap();
    assert_eq!(json, String::from_utf8(content.value().expose().to_vec()).unwrap());
    let props = written(&template("a={{ secret.PASSWORD | props }}\n"), &content).unwrap();
    assert_eq!(as_properties(&props), ("a".to_owned(), value.to_owned()));
    let word = written(&template("{{ secret.PASSWORD | shell }}"), &content).unwrap();
    assert_eq!(word, format!("'{}'", value.replace('\'', r"'\''")));
}

#[test]
fn hostile_values_survive_every_format() {
    for value in hostile() {
        survives(&value);
    }
}

proptest! {
    #[test]
    fn property_any_value_survives_every_format(value in "[^\0]{0,60}") {
        survives(&value);
    }

    #[test]
    fn property_quotes_and_escapes_survive_every_format(value in "['\"\\\\$`#:=! {}%\n\r\tan0é😀]{0,24}") {
        survives(&value);
    }

    #[test]
    fn property_base64_is_what_it_should_be(value in "[^\0]{0,20}") {
        let ours = written(&template("{{ secret.password | b64 }}"), &object(&[("password", &value)])).unwrap();
        prop_assert_eq!(ours.len(), value.len().div_ceil(3) * 4);
        let bits: Vec<u8> = ours.trim_end_matches('=').bytes().map(|byte| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        }).collect();
        let back = bits.chunks(4).flat_map(|four| {
            let bits = four.iter().fold(0_u32, |bits, six| bits << 6 | u32::from(*six)) << (6 * (4 - four.len()));
            bits.to_be_bytes()[1..four.len()].to_vec()
        });
        prop_assert_eq!(back.collect::<Vec<u8>>(), value.as_bytes());
    }

    /// A secret of any shape, in any format, right or wrong: no fault and no `Debug` holds what the secret does.
    #[test]
    fn property_no_fault_shows_the_secret(canary in "[a-zA-Z0-9]{16}", shape in 0..SHAPES.len(), format in 0..22_usize) {
        let secret = SHAPES[shape].replace("CANARY", &canary);
        let secrets = secrets(vec![item("db", vec![file("out", formats()[format].clone())])], vec![("both", "{{ db.x }}{{ db }}")]);
        let outcome = render(&secrets, &BTreeMap::from([("db".to_owned(), held_as(text(secret)))]));
        let mut shown = format!("{outcome:?}");
        for fault in &outcome.faults {
            shown.push_str(&fault.to_string());
        }
        prop_assert!(!shown.contains(&canary), "{}", shown);
        prop_assert_eq!(outcome.files.len() + outcome.faults.len(), 2);
    }

    #[test]
    fn property_any_template_and_any_secret_end(source in "(\\{\\{|\\}\\}|\\{%|%\\}|[a-z .|~+(),'\"\\[\\]0-9{}-]|secret|for|if|json){0,40}",
        secret in "[\\[\\]{}\":,a-z0-9\\\\]{0,40}") {
        // Whatever becomes of it, it becomes something.
        let _ = written(&template(&source), &text(secret.clone()));
        let _ = written(&Format::Url(source), &text(secret));
    }
}

const SHAPES: [&str; 14] = [
    "CANARY",
    "{\"x\":\"CANARY\"}",
    "{\"x\":{\"CANARY\":\"CANARY\"}}",
    "{\"CANARY\":1,\"canary\":2,\"username\":\"CANARY\",\"password\":\"CANARY\\n\"}",
    "{\"a.CANARY\":1,\"a_CANARY\":2}",
    "{\"username\":[\"CANARY\"],\"password\":null}",
    "{\"x\":\"CANARY\\u0000\"}",
    "{\"x\":\"CANARY\\ud800\"}",
    "{\"x\":\"CANARY\"",
    "[\"CANARY\"]",
    "\"CANARY\"",
    "{\"x\":\"CANARY\",}",
    "CANARY\0",
    "{\"host\":\"CANARY\",\"port\":{},\"username\":\"u\",\"password\":\"\\rCANARY\"}",
];

fn formats() -> Vec<Format> {
    let mut formats = vec![
        Format::Raw,
        Format::Key("x".to_owned()),
        Format::Key("missing".to_owned()),
        Format::Dotenv,
        Format::Properties,
        Format::Url("{x}".to_owned()),
        Format::Url("{".to_owned()),
        Format::Pgpass,
        Format::MyCnf,
    ];
    formats.extend(
        [
            "{{ secret.x }}",
            "{{ secret.x.y.z }}",
            "{{ secret.x + 1 }}",
            "{{ secret - 1 }}",
            "{{ secret.x() }}",
            "{{ secret.x.lower() }}",
            "{{ secret(1) }}",
            "{{ secret | pct }}",
            "{{ secret | json | nothing }}",
            "{% for a, b in secret %}{{ a }}{% endfor %}",
            "{{ secret[secret.x] }}",
            "{{ secret.x is nothing }}",
            "{{ secret.x",
        ]
        .map(template),
    );
    formats
}

fn file(path: &str, format: Format) -> File {
    File { path: path.to_owned(), of: Stage::Current, format, mode: None }
}

fn item(name: &str, files: Vec<File>) -> Item {
    let from = From::File("/dev/null".into());
    Item { name: name.to_owned(), from, required: true, when_gone: WhenGone::Keep, mask: Mask::Auto, files }
}

fn secrets(items: Vec<Item>, files: Vec<(&str, &str)>) -> Secrets {
    let combined =
        |(path, template): (&str, &str)| Combined { path: path.to_owned(), template: template.to_owned(), mode: None };
    Secrets { items, files: files.into_iter().map(combined).collect(), ..Secrets::default() }
}

#[test]
fn a_member_is_written_as_the_secret_has_it() {
    let content = text(
        r#"{"port": 5432, "e": 1e3, "big": 12345678901234567890123, "exact": 1.50, "yes": true, "no": false,
        "text": "a\u00e4\"b", "none": null, "list": [1], "object": {"a": 1}, "twice": 1, "twice": "second", "": "unnamed"}"#,
    );
    let key = |name: &str| written(&Format::Key(name.to_owned()), &content).map_err(|what| what.to_string());
    for (name, value) in [
        ("port", "5432"),
        ("e", "1e3"),
        ("big", "12345678901234567890123"),
        ("exact", "1.50"),
        ("yes", "true"),
        ("no", "false"),
        ("text", "aä\"b"),
        ("twice", "second"),
        ("", "unnamed"),
    ] {
        assert_eq!(key(name).as_deref(), Ok(value), "{name}");
        let filled = written(&template(&format!("{{{{ secret[\"{name}\"] }}}}")), &content);
        assert_eq!(filled.as_deref(), Ok(value), "{name} in a template");
    }
    for (name, fault) in [
        ("none", "member `none` is null, not text, a number, true or false"),
        ("list", "member `list` is an array, not text, a number, true or false"),
        ("object", "member `object` is an object, not text, a number, true or false"),
        ("other", "the secret has no member `other`"),
    ] {
        assert_eq!(key(name), Err(fault.to_owned()));
    }
    insta::assert_snapshot!(written(&Format::Dotenv, &content).unwrap(), @r#"
    PORT=5432
    E=1e3
    BIG=12345678901234567890123
    EXACT=1.50
    YES=true
    NO=false
    TEXT='aä"b'
    TWICE=second
    _=unnamed
    "#);
    let json = written(
        &template("{{ secret | json }}"),
        &text(r#"{"a": 1e3, "b": [1.50, -0, 7, true, null, {"c": "\u0041"}]}"#),
    );
    assert_eq!(json.unwrap(), r#"{"a":1e3,"b":[1.50,-0,7,true,null,{"c":"A"}]}"#);
}

#[test]
fn names_of_variables_are_made_safe_and_never_twice() {
    let names = |text_: &str| {
        let file = written(&Format::Dotenv, &text(text_)).map_err(|what| what.to_string())?;
        Ok(file.lines().map(|line| line.split_once('=').unwrap().0.to_owned()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        names(r#"{"db-host": 1, "9lives": 1, "a=b\nc": 1, "ä😀": 1, "$(id)": 1}"#),
        Ok("DB_HOST _9LIVES A_B_C __ __ID_".to_owned())
    );
    let twice = "members 2 and 3, as they stand in the secret, become the same name";
    assert_eq!(names(r#"{"x": 1, "a.b": 1, "A_B": 1}"#), Err::<String, _>(twice.to_owned()));
}

#[test]
fn text_formats_refuse_what_is_no_text() {
    for format in &formats()[1..] {
        for content in [Content::Binary(Value::new(b"{}".to_vec())), Content::Text(Value::new(vec![b'{', 0xff, b'}']))]
        {
            assert_eq!(written(format, &content), Err(What::Binary), "{format:?}");
        }
        assert_eq!(written(format, &text("{\"x\":\"\0\"}")), Err(What::Nul), "{format:?}");
    }
    for format in [Format::Key("x".to_owned()), Format::Dotenv, Format::Properties, template("{{ secret.x }}")] {
        assert_eq!(written(&format, &text(r#"{"x":"\u0000"}"#)), Err(What::Nul), "{format:?}");
    }
    let any = Content::Binary(Value::new((0..=255).collect()));
    assert_eq!(write(&Format::Raw, &any).unwrap().expose(), (0..=255).collect::<Vec<u8>>());
}

#[test]
fn formats_for_databases_say_what_they_miss() {
    let all = text(
        r##"{"host": "#h:1", "port": 3306, "dbname": "a\\b", "username": "u", "password": "p#\"'", "engine": "postgres"}"##,
    );
    insta::assert_snapshot!(written(&Format::Pgpass, &all).unwrap(), @r##"\#h\:1:3306:a\\b:u:p#"'"##);
    insta::assert_snapshot!(written(&Format::MyCnf, &all).unwrap(), @r##"
    [client]
    host="#h:1"
    port="3306"
    user="u"
    password="p#\"'"
    "##);
    let url = Format::Url("postgres://{username}:{password}@{host}:{port}/{dbname}?a={{}}".to_owned());
    assert_eq!(written(&url, &all).unwrap(), "postgres://u:p%23%22%27@%23h%3A1:3306/a%5Cb?a={}");
    for format in [Format::Pgpass, Format::MyCnf] {
        let missing = written(&format, &object(&[("username", "u")])).unwrap_err();
        assert_eq!(missing.to_string(), "the secret has no member `password`");
        assert_eq!(written(&format, &text("[1]")), Err(What::NotObject));
    }
    for (pattern, brace) in [("a{b", '{'), ("a}b", '}'), ("{a}}", '}'), ("{{a}", '}')] {
        assert_eq!(url::check(pattern), Err(What::Brace { brace }), "{pattern}");
    }
}

#[test]
fn a_template_says_the_line_and_nothing_else() {
    let content = text(r#"{"user": "u", "list": [1, "x"], "deep": {"a": {"b": "c"}}, "zero": 0}"#);
    let fill = |source: &str| written(&template(source), &content).map_err(|what| what.to_string());
    for (source, file) in [
        ("{{ secret.deep.a.b }}-{{ secret['user'] }}\n", "c-u\n"),
        ("{% for x in secret.list %}{{ x }};{% endfor %}", "1;x;"),
        ("{% if secret.other is defined %}a{% else %}b{% endif %}", "b"),
        ("{% if secret.user == 'u' and not secret.zero %}a{% endif %}", "a"),
        ("{{ 'a' ~ secret.user ~ \"*\" }}", "au*"),
        ("{# {{ * }} {% set %} #}x{% raw %}{{ a * b }}{% set %}{% endraw %}y", "x{{ a * b }}{% set %}y"),
        ("{{ {'a': {'b': [secret.user]}} | json }}", r#"{"a":{"b":["u"]}}"#),
        ("{{ secret.user | b64 }} {{ secret.zero | shell }}", "dQ== '0'"),
    ] {
        assert_eq!(fill(source).as_deref(), Ok(file), "{source}");
    }
    let long = format!("{{{{ '{}' }}}}", "a".repeat(1_024));
    let faults: Vec<String> = [
        "\n{{ secret.other }}",
        "\n\n{{ other }}",
        "{{ secret.other | pct }}",
        "{{ secret.deep | shell }}",
        "{{ secret.deep }}",
        "{{ secret.list }}",
        "{{ none }}",
        "{{ secret.user | upper }}",
        "{{ secret.user is odd }}",
        "{{ range(9) }}",
        "{{ secret.user",
        "{% if %}",
        "\n{{ 'a' * 99999999999 }}",
        "{{ 2 ** 9 }}",
        "{% set a = secret.user %}",
        "{%- with a = 1 %}{% endwith %}",
        "{% include '/etc/passwd' %}",
        "{% for a in secret.list recursive %}{{ loop(secret.list) }}{% endfor %}",
        &long,
    ]
    .iter()
    .map(|source| fill(source).unwrap_err())
    .collect();
    insta::assert_snapshot!(faults.join("\n"), @r"
    template, line 2: uses what is not there: a member, or a secret that is missing or binary
    template, line 3: uses what is not there: a member, or a secret that is missing or binary
    template, line 1: uses what is not there: a member, or a secret that is missing or binary
    template, line 1: does with a value what cannot be done with it
    template, line 1: does with a value what cannot be done with it
    template, line 1: does with a value what cannot be done with it
    template, line 1: does with a value what cannot be done with it
    template, line 1: has a filter that is none of `pct`, `b64`, `json`, `shell`, `props`
    template, line 1: has a test that is not `defined`
    template, line 1: calls a function, of which there are none
    template, line 1: cannot be read
    template, line 1: cannot be read
    template, line 2: multiplies, which is not possible here
    template, line 1: multiplies, which is not possible here
    template, line 1: has a statement that is none of `if`, `elif`, `else`, `for`, `raw` and their ends
    template, line 1: has a statement that is none of `if`, `elif`, `else`, `for`, `raw` and their ends
    template, line 1: has a statement that is none of `if`, `elif`, `else`, `for`, `raw` and their ends
    template, line 1: has a recursive loop, which is not possible here
    template, line 1: has more than 1 KiB within one pair of braces
    ");
}

#[test]
fn no_template_makes_more_than_a_file_or_runs_for_ever() {
    let content =
        object(&[("big", &"\"\\".repeat(16_000)), ("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "")]);
    let fill = |source: &str| written(&template(source), &content).unwrap_err().to_string();
    let loops = |inside: &str| {
        let open: String = ["u", "v", "w", "x", "y", "z"].map(|name| format!("{{% for {name} in secret %}}")).concat();
        format!("{open}{inside}{}", "{% endfor %}".repeat(6))
    };
    assert_eq!(fill(&loops("{{ secret.big }}")), "the file would be larger than 1 MiB");
    assert_eq!(fill(&loops("")), "template, line 1: takes too many steps");
    assert_eq!(
        fill(&format!("{{{{ secret.big{} }}}}", " | json".repeat(20))),
        "template, line 1: makes too large a file"
    );
    assert_eq!(
        fill(&format!("{{{{ [{}] | json }}}}", "secret.big,".repeat(90))),
        "template, line 1: makes too large a file"
    );
    assert_eq!(fill(&"x".repeat(70_000)), "template: is longer than 64 KiB");
    assert_eq!(fill(&format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500))), "template, line 1: cannot be read");
    let deep = text(format!("{{\"a\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000)));
    assert_eq!(written(&template("{{ secret.a }}"), &deep), Err(What::TooDeep));
    assert_eq!(written(&Format::Key("b".to_owned()), &deep), Err(What::NoMember { name: "b".to_owned() }));
    let large = Content::Binary(Value::new(vec![1; SECRET_FILE_BYTES_MAX + 1]));
    assert_eq!(write(&Format::Raw, &large).unwrap_err(), What::TooLarge);
}

#[test]
fn one_file_that_cannot_be_made_holds_up_no_other() {
    let secrets = secrets(
        vec![
            item("bad", vec![file("bad.env", Format::Dotenv), file("bad", Format::Raw)]),
            item("good", Vec::new()),
            item("missing", vec![file("m", Format::Raw)]),
            item(
                "my-db",
                vec![
                    file("new", Format::Raw),
                    File { of: Stage::Previous, ..file("old", Format::Raw) },
                    File { of: Stage::Pending, mode: Some(Permissions(0o400)), ..file("next", Format::Raw) },
                ],
            ),
        ],
        vec![
            ("one", "{{ good }}"),
            ("two", "{{ secrets['my-db'] }}"),
            ("three", "{{ good }}{{ missing }}"),
            ("four", "{{ my_db }} {{ goodness }} {{ bad.x }}"),
            ("five", "{{ my_db }}"),
        ],
    );
    let pending = Version { id: "v3".to_owned(), stages: Vec::new(), created: None, content: text("n") };
    let held = BTreeMap::from([
        ("bad".to_owned(), held_as(text("no json"))),
        ("good".to_owned(), held_as(text("g"))),
        ("my-db".to_owned(), Held { pending: Some(pending), ..held_as(text("d")) }),
    ]);
    let outcome = render(&secrets, &held);
    let files = outcome
        .files
        .iter()
        .map(|file| format!("{}={} of {}", file.path, file.bytes.expose_text().unwrap(), file.of.join(", ")));
    insta::assert_snapshot!(files.collect::<Vec<_>>().join("\n"), @r"
    bad=no json of bad
    good=g of good
    new=d of my-db
    next=n of my-db
    one=g of good
    two=d of bad, good, missing, my-db
    ");
    insta::assert_snapshot!(outcome.faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"), @r"
    `bad.env` of bad: the secret is not a JSON object
    `three` of good, missing: template, line 1: uses what is not there: a member, or a secret that is missing or binary
    `four` of bad: template, line 1: uses what is not there: a member, or a secret that is missing or binary
    `five`: template, line 1: uses what is not there: a member, or a secret that is missing or binary
    ");
    assert_eq!(outcome.files.iter().find(|file| file.path == "next").unwrap().mode, Some(Permissions(0o400)));
}

fn below(path: &str) -> Item {
    let parameters = crate::secrets::settings::Parameters { path: path.to_owned(), ..Default::default() };
    Item { from: From::Parameters(parameters), ..item("cfg", Vec::new()) }
}

fn shown(outcome: &Outcome) -> Vec<String> {
    let text = |file: &Rendered| file.bytes.expose_text().unwrap_or("?").to_owned();
    let files = outcome.files.iter().map(|file| format!("{}={}", file.path, text(file)));
    files.chain(outcome.faults.iter().map(Fault::to_string)).collect()
}

/// What one cannot do with a name, one says of all of them; the names of a secret's members are not told, those of parameters are.
#[test]
fn each_member_is_a_file_or_none_is() {
    let each = || item("cfg", vec![File { mode: Some(Permissions(0o400)), ..file("sub/dir", Format::Each) }]);
    let deep = vec!["x"; 16].join("/");
    for (secret, public, private) in [
        (
            r#"{"a":"1","b/c":"2","n":5.0,"t":true,"skip":null,"o":{},"l":[]}"#,
            "cfg/a=1|cfg/b/c=2|cfg/n=5.0|cfg/t=true",
            "",
        ),
        ("{}", "", ""),
        (r#"{"..data":"1",".generation":"2","a..b":"3"}"#, "cfg/..data=1|cfg/.generation=2|cfg/a..b=3", ""),
        (
            r#"{"a":"1","..":"2"}"#,
            "`cfg` of cfg: member `..` of the secret cannot be a file: it has `.` or `..` in it",
            "2",
        ),
        (
            r#"{"a/../../../b":"1"}"#,
            "`cfg` of cfg: member `a/../../../b` of the secret cannot be a file: it has `.` or `..` in it",
            "1",
        ),
        (
            r#"{"":"1"}"#,
            "`cfg` of cfg: member `` of the secret cannot be a file: it has an empty name before, between or behind its `/`",
            "1",
        ),
        (
            r#"{"/etc/passwd":"1"}"#,
            "`cfg` of cfg: member `/etc/passwd` of the secret cannot be a file: it has an empty name before, between or behind its `/`",
            "1",
        ),
        (
            r#"{"a\u0000b":"1"}"#,
            "`cfg` of cfg: member `a\\0b` of the secret cannot be a file: it has a control character in it",
            "1",
        ),
        (
            &format!(r#"{{"{deep}":"1"}}"#),
            &format!(
                "`cfg` of cfg: member `{deep}` of the secret cannot be a file: it is too long, or has too many `/`"
            ),
            "1",
        ),
        (
            r#"{"a/b":"1","x":"3","a":"2"}"#,
            "`cfg` of cfg: member `a` of the secret would have to be a folder, too, because of member `a/b`",
            "3 1",
        ),
        ("[1]", "`cfg` of cfg: the secret is not a JSON object", ""),
    ] {
        let held = BTreeMap::from([("cfg".to_owned(), held_as(text(secret)))]);
        assert_eq!(shown(&render(&secrets(vec![below("/x")], Vec::new()), &held)).join("|"), public, "{secret}");
        let outcome = render(&secrets(vec![each()], Vec::new()), &held);
        assert!(
            outcome.files.iter().all(|file| file.path.starts_with("sub/dir/") && file.mode == Some(Permissions(0o400)))
        );
        let hidden = outcome.faults.first().map(Fault::to_string).unwrap_or_default();
        for number in private.split_whitespace() {
            assert!(
                hidden.contains(&format!("member {number} ")) || hidden.ends_with(&format!("member {number}")),
                "{hidden}"
            );
            assert!(outcome.files.is_empty() && !hidden.contains("`a") && !hidden.contains("etc"), "{hidden}");
        }
    }
}

/// Nothing else may stand in the folder, for nobody knows yet what will.
#[test]
fn the_folder_of_each_member_is_nobody_elses() {
    let mut secrets = secrets(vec![below("/x")], vec![("cfg/own", "")]);
    let places: Vec<String> = mistakes(&secrets).into_iter().map(|mistake| mistake.place).collect();
    assert_eq!(places, ["secrets.files[0].path"]);
    secrets.files.clear();
    assert!(planned(&secrets).iter().all(|planned| planned.is_folder && planned.path == "cfg"));
}

proptest! {
    /// Whatever the members are called, files stay below the folder, and no two are in one place.
    #[test]
    fn property_any_names_stay_below_the_folder(names in proptest::collection::vec("[./a-c\0\n]{0,8}", 0..6)) {
        let members: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        let held = BTreeMap::from([("cfg".to_owned(), held_as(object(&members)))]);
        let outcome = render(&secrets(vec![below("/x")], Vec::new()), &held);
        prop_assert!(outcome.files.is_empty() || outcome.faults.is_empty());
        let mut paths: Vec<&str> = outcome.files.iter().map(|file| file.path.as_str()).collect();
        for path in &paths {
            prop_assert_eq!(crate::secrets::place::check_path(path), Ok(()));
            prop_assert!(path.starts_with("cfg/"));
            let below = format!("{path}/");
            prop_assert!(!paths.iter().any(|other| other.starts_with(&below)));
        }
        let count = paths.len();
        paths.dedup();
        prop_assert_eq!(paths.len(), count);
    }
}

#[test]
fn a_path_stays_below_the_folder() {
    for path in ["a", "a/b", "a/b/c.env", ".hidden", "a/..b", "a..b", "token", "ä/😀", "a b", &"x".repeat(255)] {
        assert_eq!(paths::check_path(path), Ok(()), "{path}");
    }
    use PathFault::*;
    let long = vec!["x".repeat(200); 21].join("/");
    for (path, fault) in [
        ("", Empty),
        ("/", Absolute),
        ("/etc/passwd", Absolute),
        ("a/", EmptyName),
        ("a//b", EmptyName),
        (".", Dots),
        ("..", Dots),
        ("a/..", Dots),
        ("a/../../b", Dots),
        ("./a", Dots),
        ("a\0b", Control),
        ("a\nb", Control),
        ("a\u{85}b", Control),
        (&"x".repeat(256), TooLong),
        (&long, TooLong),
        (&vec!["x"; 17].join("/"), TooDeep),
        (".told", Reserved { name: ".told".to_owned() }),
        ("..data", Reserved { name: "..data".to_owned() }),
        ("..g12/a", Reserved { name: "..g12".to_owned() }),
        ("...", Reserved { name: "...".to_owned() }),
        (".generation", Reserved { name: ".generation".to_owned() }),
        (".generation/a", Reserved { name: ".generation".to_owned() }),
    ] {
        assert_eq!(paths::check_path(path), Err(fault), "{path:?}");
    }
}

#[test]
fn each_mistake_of_the_settings_has_its_place() {
    let mut secrets = secrets(
        vec![
            item("a", vec![file("x/y", Format::Raw), file("x", Format::Raw), file("x/y", Format::Raw)]),
            item("a", Vec::new()),
            item("b/c", vec![file("d", Format::Url("{".to_owned()))]),
            item("token", Vec::new()),
        ],
        vec![("a/b", "{{ a }}"), ("../z", "{{"), ("x/y/z", "{% set %}"), ("k/t", "")],
    );
    let told = |secrets: &Secrets| {
        mistakes(secrets)
            .iter()
            .map(|mistake| format!("{}: {}", mistake.place, mistake.what))
            .collect::<Vec<_>>()
            .join("\n")
    };
    secrets.api = Some(Api::default());
    insta::assert_snapshot!(told(&secrets), @r"
    secrets.items[1].name: secrets.items[0] has the same name
    secrets.items[2].name: a name has letters, digits, `-` and `_`, at most 255 of them
    secrets.items[0].files[1].path: `x` would be both a file and a folder, because of secrets.items[0].files[0].path
    secrets.items[0].files[2].path: secrets.items[0].files[0].path has the same path
    secrets.items[3].name: the token of secrets.api has the same path
    secrets.files[0].path: `a` would be both a file and a folder, because of secrets.items[1].name
    secrets.files[1].path: the path must not have `.` or `..` in it
    secrets.files[2].path: `x/y` would be both a file and a folder, because of secrets.items[0].files[0].path
    secrets.items[2].files[0].as: the URL has a `{` without its other half; write `{{` for the character itself
    secrets.files[1].template: template, line 1: cannot be read
    secrets.files[2].template: template, line 1: has a statement that is none of `if`, `elif`, `else`, `for`, `raw` and their ends
    ");
    secrets.items.truncate(1);
    secrets.items[0].files.truncate(1);
    secrets.files.retain(|file| file.path == "k/t");
    assert_eq!(told(&secrets), "");
    secrets.api = Some(Api { token_file: Some("/run/secrets/k/t".into()), ..Api::default() });
    assert_eq!(told(&secrets), "secrets.files[0].path: the token of secrets.api has the same path");
    // The first one of two is written, the other one is not.
    let twice = self::secrets(vec![item("a", vec![file("x", Format::Raw), file("x", Format::Raw)])], Vec::new());
    let outcome = render(&twice, &BTreeMap::from([("a".to_owned(), held_as(text("v")))]));
    assert_eq!((outcome.files.len(), outcome.faults.len()), (1, 1));
    assert_eq!(outcome.faults[0].to_string(), "`x` of a: secrets.items[0].files[0].path has the same path");
}
