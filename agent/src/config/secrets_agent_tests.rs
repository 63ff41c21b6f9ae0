//! What files of AWS's agent become, and what is said of those that it would refuse.
//!
//! Promises: a file of every key is compared with ours as a whole.
//! Never: asks the original; its keys are those of its documentation.

use proptest::prelude::*;

use super::*;

/// The settings that are put, one a line, and what is said, without hints.
fn read_text(text: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let environment: Environment = variables.iter().copied().collect();
    let mut problems = Problems::default();
    let reading = read("a.toml", text.as_bytes(), &environment, &mut problems);
    let mut tree = reading.tree;
    let document = tree.document(&mut problems);
    let api = document.secrets.api.expect("there is always one");
    let span = |span: Option<crate::units::Span>| span.map_or("-".to_owned(), |span| span.0.as_secs().to_string());
    let prefetch: Vec<String> = api
        .prefetch
        .iter()
        .map(|one| [&one.id, &one.tag, &one.role_arn].map(|text| text.as_deref().unwrap_or("-")).join(","))
        .collect();
    let said = format!(
        "{} ttl {} cache {} prefix {} conn {} roles {} region {} headers {} prefetch {} within {} at most {} level {} token {}",
        api.listen.map_or("-".to_owned(), |address| address.to_string()),
        span(api.ttl),
        api.cache_size.map_or(0, |size| size.get()),
        api.path_prefix.as_deref().unwrap_or("-"),
        api.connections_max.map_or(0, |most| most.get()),
        api.roles_max.map_or(0, |most| most.get()),
        api.region.as_deref().unwrap_or("-"),
        api.token_headers.unwrap_or_default().join(","),
        prefetch.join(" "),
        span(api.prefetch_splay),
        api.prefetch_max.map_or(0, |most| most.get()),
        document.log.level.map_or("-", crate::config::Level::as_str),
        match reading.token {
            Some(Given::File(path)) => format!("in {path}"),
            Some(Given::Text(_)) => "given".to_owned(),
            None => "-".to_owned(),
        },
    );
    let problems = problems.into_sorted().into_iter().map(|problem| format!("{} | {}", problem.place, problem.what));
    (said, problems.collect())
}

const TOKEN: (&str, &str) = ("AWS_TOKEN", "file:///run/token");

#[test]
fn a_flat_file_of_every_key_is_ours_word_by_word() {
    let text = "log_level = 'DEBUG'\nlog_to_file = false\nhttp_port = '2774'\nttl_seconds = 60\ncache_size = 500\n\
                ssrf_headers = ['X-One', 'X-Two']\nssrf_env_variables = ['MY_TOKEN']\npath_prefix = '/my/'\nmax_conn = 10\n\
                max_roles = '5'\nregion = 'eu-west-1'\nignore_transient_errors = true\nvalidate_credentials = false\n\
                [prefetch]\ncache_buffer_ratio = 0.5\nmax_jitter_seconds = 3\n\
                secrets = [{ secret_id = 'db' }, { secret_id = 'x', role_arn = 'arn:r' }]\n\
                [[prefetch.filter_tags]]\nkey = 'Team'\n";
    let (said, problems) = read_text(text, &[("MY_TOKEN", "0123"), TOKEN]);
    assert_eq!(
        said,
        "127.0.0.1:2774 ttl 60 cache 500 prefix /my/ conn 10 roles 5 region eu-west-1 headers X-One,X-Two prefetch -,Team,- db,-,- \
         x,-,arn:r within 3 at most 250 level debug token given"
    );
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_nested_file_says_the_same() {
    let text = "[logging]\nlog_level = 'none'\n[capabilities.secrets_manager]\nenabled = true\nhttp_port = 2775\npath_prefix = '/p/'\n\
                [capabilities.secrets_manager.cache]\nttl_seconds = 0\ncache_size = 10\n\
                [capabilities.secrets_manager.security]\nssrf_headers = ['X-T']\n\
                [[capabilities.secrets_manager.prefetch.secrets]]\nsecret_id = 'one'\n";
    let (said, problems) = read_text(text, &[TOKEN]);
    assert_eq!(
        said,
        "127.0.0.1:2775 ttl 0 cache 10 prefix /p/ conn 0 roles 0 region - headers X-T prefetch one,-,- within - at most 8 level off \
         token in /run/token"
    );
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn without_a_file_everything_is_as_with_the_original() {
    let (said, problems) = read_text("", &[("AWS_SESSION_TOKEN", "abc")]);
    let rest = "conn 0 roles 0 region - headers  prefetch  within - at most 800 level - token given";
    assert_eq!(said, format!("- ttl - cache 0 prefix /v1/ {rest}"));
    assert_eq!(problems, Vec::<String>::new());
    let (said, problems) = read_text("", &[]);
    assert!(said.ends_with("token -"), "{said}");
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn what_cannot_be_is_said_where_it_stands() {
    for (text, expected) in [
        ("http_prot = 1\n", "a.toml:1 http_prot | there is no such key"),
        ("\nttl_seconds = true\n", "a.toml:2 ttl_seconds | neither a text nor a whole number"),
        ("cache_size = 0x10\n", "a.toml:1 cache_size | neither a text nor a whole number"),
        ("ssrf_headers = 'X'\n", "a.toml:1 ssrf_headers | not a list of texts"),
        ("[prefetch]\ncache_buffer_ratio = 2.0\n", "a.toml:2 cache_buffer_ratio | not a number from 0.1 to 1.0"),
        ("[prefetch]\nsecrets = [{ id = 'x' }]\n", "a.toml:2 secrets | an entry has no `secret_id`"),
        ("[prefetch]\nsecrets = ['x']\n", "a.toml:2 secrets | not a list of tables"),
        ("prefetch = 1\n", "a.toml:1 prefetch | not a table"),
        ("= 1\n", "a.toml:1 | not TOML"),
        ("a = 1\na = 2\n", "a.toml:2 | not TOML"),
        ("[logging]\nhttp_port = 1\n", "a.toml:2 http_port | there is no such key"),
        ("region = 'x'\n[logging]\n", "a.toml:1 region | stands outside of the tables"),
        ("[capabilities.secrets_manager]\nttl_seconds = 1\n", "a.toml:2 ttl_seconds | there is no such key"),
        ("[capabilities.secrets_manager]\nenabled = false\n", "a.toml:2 enabled | not `true`: nothing would run"),
        ("[capabilities.acm]\nenabled = true\n", "a.toml:1 acm | certificates are not written"),
        ("credentials_file_path = '/x'\n", "a.toml:1 credentials_file_path | has no effect here"),
        ("ignore_transient_errors = false\n", "a.toml:1 ignore_transient_errors | has no effect here"),
    ] {
        assert_eq!(read_text(text, &[TOKEN]).1, [expected], "{text}");
    }
    // What only we can judge is judged where ours is.
    let (_, problems) = read_text("ttl_seconds = 100000\nhttp_port = 70000\n", &[TOKEN]);
    let places: Vec<_> = problems.iter().filter_map(|problem| problem.split(" | ").next()).collect();
    assert_eq!(places, ["a.toml:2 http_port"], "{problems:?}");
}

#[test]
fn hostile_files_end_with_a_word() {
    let deep = format!("a = {}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let wide = "x = 1\n".repeat(20_000);
    for text in [deep.as_str(), wide.as_str(), "a.b.c.d = 1", "\u{feff}region = 'eu-west-1'", "region = \"\\u0000\""] {
        let (said, _) = read_text(text, &[TOKEN]);
        assert!(said.contains("prefix /v1/"), "{said}");
    }
    let environment = Environment::default();
    let mut problems = Problems::default();
    read("a.toml", b"\xff\xfe", &environment, &mut problems);
    assert!(problems.has_errors());
}

/// The token of whoever pasted it into the file is not shown.
#[test]
fn no_problem_shows_what_stands_in_the_file() {
    for text in ["token = 'canary-value'", "ssrf_headers = ['canary-value'", "http_port = 'canary-value'"] {
        let mut problems = Problems::default();
        let mut reading =
            read("a.toml", text.as_bytes(), &[("AWS_TOKEN", "canary-value")].into_iter().collect(), &mut problems);
        reading.tree.document(&mut problems);
        let shown = format!("{:?}", problems.into_sorted());
        assert!(!shown.contains("canary-value") || text.starts_with("http_port"), "{shown}");
    }
}

proptest! {
    #[test]
    fn property_any_text_is_read_or_said(text in "([a-z_]{1,12}( = |\\.)|[\\[\\]{}'\"0-9,\\n]|prefetch|secrets|capabilities|= true){0,40}") {
        let _ = read_text(&text, &[]);
    }
}
