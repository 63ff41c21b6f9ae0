//! Loading as a whole, from files and environments made up here.
//!
//! Promises: every mistake of a file is in its report; sources win over each other as the documentation says.
//! Never: touches the real environment.

use std::{path::Path, time::Instant};

use proptest::prelude::*;

use super::{choose::is_fluent_bit, *};
use crate::{
    fluentbit::InMemory,
    logs::{
        filter::grep::Rule,
        out::{RetryLimit, cloudwatch::Config as Cloudwatch},
        settings::{Destination, Filter},
    },
};

type Loading = Result<(Config, Vec<Problem>), Vec<Problem>>;

fn load_with(variables: &[(&str, &str)], file: Option<&str>, files: &InMemory) -> Loading {
    load(&Sources { file: file.map(PathBuf::from), environment: variables.iter().copied().collect(), files })
}

fn load_yaml(text: impl Into<Vec<u8>>) -> Loading {
    load_with(&[], Some("p.yaml"), &InMemory::one("p.yaml", text))
}

fn report(loading: &Loading) -> String {
    let (Ok((_, problems)) | Err(problems)) = loading;
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn config(loading: Loading) -> Config {
    match loading {
        Ok((config, _)) => config,
        Err(_) => panic!("{}", report(&loading)),
    }
}

fn cloudwatch(config: &Config, index: usize) -> &Cloudwatch {
    match &config.logs.outputs[index].to {
        Destination::Cloudwatch(settings) => settings,
        other => panic!("output {index} is {other:?}"),
    }
}

const WHOLE: &str = include_str!("../../testdata/config/everything.yaml");

#[test]
fn a_file_with_everything_is_read() {
    let loading = load_yaml(WHOLE);
    assert_eq!(report(&loading), "");
    let config = config(loading);
    assert_eq!((config.logs.inputs.len(), config.logs.filters.len(), config.logs.outputs.len()), (3, 2, 3));
    let Input::Forward(forward) = &config.logs.inputs[1] else { panic!("{:?}", config.logs.inputs) };
    assert_eq!(forward.users[0].password.expose(), "hunter2");
    assert_eq!(forward.message_bytes_max, Some(ByteSize::mebibytes(8)));
    let Filter::Grep(grep) = &config.logs.filters[0] else { panic!("{:?}", config.logs.filters) };
    assert!(matches!(&grep.rules[1], Rule::Exclude { key, .. } if key == "$a['b']"));
    assert_eq!(cloudwatch(&config, 1).retry_limit, RetryLimit::AtLeast(3));
    assert_eq!(config.admin, Some(SocketAddr::from(([127, 0, 0, 1], 9000))));
    assert_eq!(config.memory, Some(ByteSize::mebibytes(64)));
    assert_eq!(config.stop_budget, Duration::from_secs(119));
    assert_eq!(config.stuck_after, Duration::from_secs(300));
    assert_eq!((config.log_level, config.log_format), (Level::Debug, Some(Format::Human)));
    assert_eq!(config.aws.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.described, "p.yaml");
    assert!(!format!("{config:?}").contains("hunter2") && !format!("{config:?}").contains("s3cret"));
}

#[test]
fn no_configuration_at_all_listens_where_firelens_sends() {
    let loading = load_with(&[], None, &InMemory::default());
    insta::assert_snapshot!(report(&loading), @r#"warning: the environment: there is no output: records are taken and counted, but go nowhere; name one under `logs.outputs`"#);
    let config = config(loading);
    let [Input::Forward(socket), Input::Forward(tcp)] = &config.logs.inputs[..] else {
        panic!("{:?}", config.logs.inputs)
    };
    assert_eq!(socket.unix.as_deref(), Some(Path::new("/var/run/fluent.sock")));
    assert_eq!(tcp.tcp, Some(SocketAddr::from(([127, 0, 0, 1], 24224))));
    assert_eq!(config.admin, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
    assert_eq!(config.stop_budget, Duration::from_secs(29));
    assert_eq!(config.stuck_after, Duration::from_secs(900));
    assert_eq!(config.log_level, Level::Info);
}

#[test]
fn inputs_that_are_taken_away_on_purpose_stay_away() {
    let loading = load_yaml("logs: {inputs: [], outputs: [to: discard]}");
    insta::assert_snapshot!(report(&loading), @"warning: p.yaml: there is no input: no record ever comes in; name one, for example `forward`");
    assert!(config(loading).logs.inputs.is_empty());
    assert_eq!(config(load_yaml("logs: {outputs: [to: discard]}")).logs.inputs.len(), 2);
}

#[test]
fn every_mistake_of_a_file_is_in_one_report() {
    let loading = load_yaml(include_str!("../../testdata/config/many-mistakes.yaml"));
    insta::assert_snapshot!(report(&loading), @r#"
    error: p.yaml:42 admin.listen: the key is given twice; remove one
    error: p.yaml:4 logs.inputs[0].forward.unxi: there is no such key; did you mean `unix`?
    error: p.yaml:5 logs.inputs[1].forward.tcp: not an IP address with a port; write for example `127.0.0.1:24224`
    error: p.yaml:11 logs.inputs[5].syslog: `syslog` is not known here; known are: forward, json, emf, otlp
    error: p.yaml:14 logs.inputs[6].forward.unix_permissions: expected text, found a number; put it in quotes
    error: p.yaml:15 logs.inputs[6].forward.shared_key: expected text, found a number; put it in quotes
    error: p.yaml:17 logs.filters[0].grep.rules[0].regex: `regex` is missing
    error: p.yaml:17 logs.filters[0].grep.rules[1].exlude: `exlude` is not known here; did you mean `exclude`?
    error: p.yaml:18 logs.filters[1].record_modifier.records[0]: expected a list of two texts, found 1 items
    error: p.yaml:20 logs.outputs[0].to.kinesiss: `kinesiss` is not known here; known are: cloudwatch, file, discard
    error: p.yaml:30 logs.outputs[1].to.cloudwatch.workers: 900 is more than 32; set it between 1 and 32
    error: p.yaml:31 logs.outputs[1].to.cloudwatch.linger: `5` has no unit; write for example `5s` or `5ms`
    error: p.yaml:32 logs.outputs[1].to.cloudwatch.retry_limit: `sometimes` is not known here; known are: unlimited, none, at_least
    error: p.yaml:34 logs.outputs[2].to.cloudwatch.straem: there is no such key; did you mean `stream`?
    error: p.yaml:37 logs.outputs[3].color: there is no such key; known are: match, name, spool_bytes_max, to
    error: p.yaml:38 logs.outputs[4]: `to` is missing
    error: p.yaml:39 logs.outputs[5].to.file.folder: expected text, found a number; put it in quotes
    error: p.yaml:41 admin.listen: `everywhere` is neither an address nor `off`; write for example `127.0.0.1:9464`
    error: p.yaml:43 memory: `1e9GB` is not a size; write for example `64 MiB` or `25MB`
    error: p.yaml:44 stop_timeout: `30` has no unit; write for example `30s` or `30ms`
    error: p.yaml:45 log.level: `loud` is not known here; known are: off, error, warn, info, debug, trace
    error: p.yaml:46 colour: there is no such key; known are: logs, traces, metrics, secrets, admin, memory, spool, stop_timeout, stop_record, log, aws, telemetry
    error: p.yaml:6 logs.inputs[2].forward: listens nowhere; give `unix`, `tcp` or both
    error: p.yaml:9 logs.inputs[3].forward.users: users are checked in the handshake only, and there is none without a key; give `shared_key` too
    error: p.yaml:10 logs.inputs[4].json.tcp: `127.0.0.1:9464` is the address of `admin.listen` too; give each listener an address of its own
    error: p.yaml:10 logs.inputs[4].json.tag: is empty
    error: p.yaml:18 logs.filters[1].record_modifier.allowlist_keys: cannot stand beside `remove_keys`; use one of the two
    error: p.yaml:26 logs.outputs[1].to.cloudwatch.stream_prefix: cannot stand beside `stream`; give one of the two
    error: p.yaml:24 logs.outputs[1].to.cloudwatch.group: not a name of a log group; use 1 to 512 of the letters a-z, A-Z, 0-9, `.`, `-`, `_`, `/`, `#`
    error: p.yaml:27 logs.outputs[1].to.cloudwatch.retention_days: not a retention that CloudWatch Logs knows; use one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
    error: p.yaml:28 logs.outputs[1].to.cloudwatch.endpoint: cannot hold a template; a record must not choose where it is sent
    error: p.yaml:35 logs.outputs[3].name: is the name of `logs.outputs[2].name` too; give each output its own
    warning: p.yaml:8 logs.inputs[3].forward.tcp: `0.0.0.0:24224` is not a loopback address; whoever reaches it can use it; write `127.0.0.1` unless something outside of the task needs it
    warning: p.yaml:27 logs.outputs[1].to.cloudwatch.retention_days: has no effect without `auto_create_group: true`
    "#);
    assert!(loading.is_err());
}

#[test]
fn a_mistake_in_one_item_does_not_shift_the_places_of_the_others() {
    let loading = load_yaml(
        "logs:\n  outputs:\n    - to: {nowhere: {}}\n    - to:\n        cloudwatch: {group: g, stream: s, retention_days: 8, auto_create_group: true}\n",
    );
    let text = report(&loading);
    assert!(text.contains("p.yaml:5 logs.outputs[1].to.cloudwatch.retention_days: not a retention"), "{text}");
}

#[test]
fn sources_win_over_each_other_as_documented() {
    let named = |region: &str| format!("aws: {{region: {region}}}\n");
    let files = InMemory::one("/argv.yaml", named("argv"))
        .and("/variable.yml", named("variable"))
        .and(OWN_FILE, named("own"))
        .and(FIRELENS_FILE, "[OUTPUT]\nName null\nMatch *\n");
    let firelens_only = InMemory::one(FIRELENS_FILE, "[OUTPUT]\nName null\nMatch *\n");
    for (file, variables, files, described, region) in [
        (Some("/argv.yaml"), vec![("PILLION_CONFIG", "/variable.yml")], &files, "/argv.yaml", "argv"),
        (None, vec![("PILLION_CONFIG", "/variable.yml")], &files, "/variable.yml", "variable"),
        (None, vec![("PILLION_CONFIG", "")], &files, OWN_FILE, "own"),
        (None, vec![("AWS_REGION", "env")], &files, OWN_FILE, "own"),
        (None, vec![("AWS_REGION", "env")], &firelens_only, FIRELENS_FILE, "env"),
        (None, vec![("AWS_DEFAULT_REGION", "env")], &firelens_only, FIRELENS_FILE, "env"),
        (None, vec![("PILLION_CONFIG_CONTENT", "aws: {region: content}")], &files, "PILLION_CONFIG_CONTENT", "content"),
        (None, vec![("PILLION__AWS__REGION", "override")], &files, OWN_FILE, "override"),
        (None, vec![("PILLION__AWS__REGION", "override")], &firelens_only, FIRELENS_FILE, "override"),
    ] {
        let config = config(load_with(&variables, file, files));
        assert_eq!(
            (config.described.as_str(), config.aws.region.as_deref()),
            (described, Some(region)),
            "{variables:?}"
        );
    }
    let both = load_with(&[("PILLION_CONFIG_CONTENT", "logs: {outputs: [to: discard]}")], Some("/argv.yaml"), &files);
    insta::assert_snapshot!(report(&both), @r#"warning: PILLION_CONFIG_CONTENT: `/argv.yaml` is not read; the variable takes the file's place"#);
    let missing = load_with(&[], Some("/gone.yaml"), &files);
    insta::assert_snapshot!(report(&missing), @r#"error: /gone.yaml: cannot be read: there is no such file; give the path of a configuration file"#);
}

#[test]
fn variables_change_single_values() {
    let files = InMemory::one("/p.yaml", WHOLE);
    let config = config(load_with(
        &[
            ("PILLION__ADMIN__LISTEN", "off"),
            ("PILLION__LOGS__OUTPUTS__1__TO__CLOUDWATCH__GROUP", "123"),
            ("PILLION__LOGS__OUTPUTS__1__TO__CLOUDWATCH__RETENTION_DAYS", "7"),
            ("PILLION__LOGS__OUTPUTS__1__TO__CLOUDWATCH__AUTO_CREATE_GROUP", "true"),
            ("PILLION__LOGS__OUTPUTS__3__TO__FILE__FOLDER", "/more"),
            ("PILLION__LOGS__OUTPUTS__4__TO", "discard"),
            ("PILLION__MEMORY", "128 MiB"),
            ("PILLION__LOG__FORMAT", "json"),
        ],
        Some("/p.yaml"),
        &files,
    ));
    assert_eq!(config.admin, None);
    assert_eq!(cloudwatch(&config, 1).group.as_deref(), Some("123"));
    assert_eq!(cloudwatch(&config, 1).retention_days, Some(7));
    assert_eq!(config.logs.outputs.len(), 5);
    assert_eq!(config.memory, Some(ByteSize::mebibytes(128)));
    assert_eq!(config.log_format, Some(Format::Json));
}

/// Ten items and more are put in the order of their numbers, not of their letters.
#[test]
fn a_list_can_be_made_of_variables_alone() {
    let names: Vec<String> = (0..12).map(|n| format!("PILLION__LOGS__OUTPUTS__{n}__NAME")).collect();
    let kinds: Vec<String> = (0..12).map(|n| format!("PILLION__LOGS__OUTPUTS__{n}__TO")).collect();
    let values: Vec<String> = (0..12).map(|n| format!("out{n}")).collect();
    let mut variables: Vec<(&str, &str)> = kinds.iter().map(|name| (name.as_str(), "discard")).collect();
    variables.extend(names.iter().zip(&values).map(|(name, value)| (name.as_str(), value.as_str())));
    let config = config(load_with(&variables, None, &InMemory::default()));
    let names: Vec<_> = config.logs.outputs.iter().filter_map(|output| output.name.clone()).collect();
    assert_eq!(names, values);
}

#[test]
fn variables_that_cannot_be_placed_say_why() {
    let loading = load_with(
        &[
            ("PILLION__", "x"),
            ("PILLION__LOGS____X", "x"),
            ("PILLION__LOGS", "x"),
            ("PILLION__LOGS__OUTPUTS__9__TO", "discard"),
            ("PILLION__LOGS__OUTPUTS__FIRST__TO", "discard"),
            ("PILLION__MEMORY__BYTES", "1"),
            ("PILLION__ADMIN__LISTEN", "hunter2"),
            ("PILLION__COLOR", "red"),
            ("PILLION__LOGS__OUTPUTS__1__TO__CLOUDWATCH__WORKERS", "many"),
            ("PILLION_STOP_TIMOUT", "30"),
            ("PILLION_STOP_TIMEOUT", "soon"),
            ("PILLION_LOG_LEVEL", "loud"),
            ("AWS_REGION", "x.evil.example/"),
        ],
        Some("/p.yaml"),
        &InMemory::one("/p.yaml", WHOLE.replace("aws: {region: eu-west-1}", "")),
    );
    insta::assert_snapshot!(report(&loading), @r#"
    error: PILLION__: does not name a setting; write for example `PILLION__ADMIN__LISTEN`
    error: PILLION__LOGS: is a section or a list; set the single values in it
    error: PILLION__LOGS____X: does not name a setting; write for example `PILLION__ADMIN__LISTEN`
    error: PILLION__LOGS__OUTPUTS__FIRST__TO: leads into a list; give the number of an item, from 0
    error: PILLION__LOGS__OUTPUTS__9__TO: leaves a gap in the list; items are counted from 0
    error: PILLION__MEMORY__BYTES: leads through a value; only sections and lists have something in them
    error: PILLION__LOGS__OUTPUTS__1__TO__CLOUDWATCH__WORKERS: expected a whole number, found text
    error: PILLION__ADMIN__LISTEN: `hunter2` is neither an address nor `off`; write for example `127.0.0.1:9464`
    error: PILLION__COLOR: there is no such key; known are: logs, traces, metrics, secrets, admin, memory, spool, stop_timeout, stop_record, log, aws, telemetry
    error: PILLION_STOP_TIMEOUT: not a time between 1s and 24h; write for example `30` or `30s`
    error: AWS_REGION: not a region; write for example `eu-west-1`
    warning: PILLION_STOP_TIMOUT: there is no such variable; did you mean `PILLION_STOP_TIMEOUT`?
    warning: PILLION_LOG_LEVEL: not a level; write `error`, `warn`, `info`, `debug` or `trace`; it counts as not set
    "#);
}

/// Once such a filter was left out at run time, with a line in the log, and `check` said that all was well.
#[test]
fn what_a_job_could_not_be_built_of_is_a_mistake_of_the_configuration() {
    let loading = load_yaml(
        r#"
logs:
  filters:
    - grep: {rules: [{exclude: {key: log, regex: '(open'}}, {regex: {key: "$a['b", regex: x}}]}
    - grep: {logical_op: AND, rules: [{exclude: {key: log, regex: a}}, {regex: {key: log, regex: b}}]}
    - record_modifier: {uuid_key: id}
  outputs:
    - to: {cloudwatch: {group: /ecs/web, stream: s, group_template: "$a['b"}}
    - to: {cloudwatch: {group: "/ecs/$(ecs_cluster", stream: s, templates: go_plugin}}
admin: {stuck_after: 500ms}
"#,
    );
    insta::assert_snapshot!(report(&loading), @r#"
    error: p.yaml:10 admin.stuck_after: not between 1s and 24h; write for example `15m`, or `0s` to switch it off
    error: p.yaml:4 logs.filters[0].grep.rules[0]: a `(` has no `)`
    error: p.yaml:4 logs.filters[0].grep.rules[1]: `$a['b` does not name a field; write `name`, `$name['key']['key']` or `$name['key'][0]`
    error: p.yaml:5 logs.filters[1].grep.logical_op: with the logical_op AND or OR all rules must be `regex`, or all `exclude`; use two filters
    error: p.yaml:8 logs.outputs[0].to.cloudwatch: `$a['b` does not name a field; write `name`, `$name['key']['key']` or `$name['key'][0]`
    error: p.yaml:9 logs.outputs[1].to.cloudwatch: `/ecs/$(ecs_cluster` has a `$(` without `)`; close it
    "#);
    let switched_off = load_yaml("logs: {inputs: [], outputs: [{to: discard}]}\nadmin: {stuck_after: 0s}");
    assert_eq!(config(switched_off).stuck_after, Duration::ZERO);
}

#[test]
fn the_stop_timeout_is_read_as_people_write_it() {
    for (text, budget) in [
        ("30", Some(Duration::from_secs(29))),
        ("30s", Some(Duration::from_secs(29))),
        (" 2m ", Some(Duration::from_secs(119))),
        ("1", Some(Duration::from_millis(500))),
        ("1500ms", Some(Duration::from_millis(750))),
        ("0", None),
        ("-1", None),
        ("2d", None),
        ("1e999s", None),
        ("٣٠", None),
        ("soon", None),
    ] {
        let files = InMemory::one("/p.yaml", "stop_timeout: 10s");
        let loading = load_with(&[("PILLION_STOP_TIMEOUT", text)], Some("/p.yaml"), &files);
        assert_eq!(loading.ok().map(|(config, _)| config.stop_budget), budget, "{text}");
    }
}

#[test]
fn a_fluent_bit_file_takes_the_rest_from_variables() {
    let text = "[SERVICE]\nlog_level debug\n[INPUT]\nName forward\nunix_path /s\nMem_Buf_Limit 25MB\n[OUTPUT]\nName null\nMatch ${M}\n";
    let files = InMemory::one("/f.conf", text);
    let variables = [("PILLION__ADMIN__LISTEN", "127.0.0.1:1"), ("PILLION_STOP_TIMEOUT", "120"), ("M", "a*")];
    let loading = load_with(&variables, Some("/f.conf"), &files);
    assert_eq!(report(&loading), "");
    let loaded = config(loading);
    assert_eq!(loaded.memory_hint, Some(ByteSize(25_000_000)));
    assert_eq!(loaded.admin, Some(SocketAddr::from(([127, 0, 0, 1], 1))));
    assert_eq!(loaded.stop_budget, Duration::from_secs(119));
    assert_eq!(loaded.log_level, Level::Debug);
    assert!(loaded.logs.outputs[0].pattern.fits("abc"));
    let quiet = load_with(&[("FLB_LOG_LEVEL", "error"), ("M", "*")], Some("/f.conf"), &files);
    assert_eq!(config(quiet).log_level, Level::Error);
}

/// What the file says stays, and stands first: names such as `cloudwatch.0` on pages are those that it had before.
#[test]
fn variables_add_inputs_and_outputs_behind_those_of_a_fluent_bit_file() {
    let text = "[INPUT]\nName forward\nunix_path /s\n[OUTPUT]\nName null\nMatch app-*\n";
    let files = InMemory::one("/f.conf", text);
    let variables = [
        ("PILLION__LOGS__INPUTS__0__EMF__TCP", "127.0.0.1:25888"),
        ("PILLION__LOGS__OUTPUTS__0__MATCH", "emf"),
        ("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__GROUP", "/ecs/web"),
        ("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__STREAM", "emf"),
    ];
    let loading = load_with(&variables, Some("/f.conf"), &files);
    assert_eq!(report(&loading), "");
    let Logs { inputs, filters, outputs } = config(loading).logs;
    assert!(matches!(&inputs[..], [Input::Forward(_), Input::Emf(_)]), "{inputs:?}");
    assert!(filters.is_empty());
    let kinds: Vec<&str> = outputs.iter().map(|output| output.to.kind()).collect();
    assert_eq!(kinds, ["discard", "cloudwatch"]);
    assert!(outputs[0].pattern.fits("app-firelens-1") && !outputs[1].pattern.fits("app-firelens-1"));

    // What is added is checked like everything else, and the file's own cannot be reached.
    for (name, value, expected) in [
        ("PILLION__LOGS__OUTPUTS__0__NAME", "x", "error: PILLION__LOGS__OUTPUTS__0__NAME: `to` is missing"),
        ("PILLION__LOGS__INPUTS__0__EMF__TAG", "", "error: PILLION__LOGS__INPUTS__0__EMF__TAG: is empty"),
        (
            "PILLION__LOGS__FILTERS__0__GREP__EXCLUDE__0",
            "log x",
            "error: PILLION__LOGS__FILTERS__0__GREP__EXCLUDE__0: cannot change what a Fluent Bit file says about logs",
        ),
    ] {
        let said = report(&load_with(&[(name, value)], Some("/f.conf"), &files));
        assert!(said.contains(expected), "{name}: {said}");
    }
}

/// The file of a task whose Fluent Bit kept chunks on disk.
const STORAGE: &str = "[SERVICE]\nstorage.path /data\n[INPUT]\nName forward\nstorage.type filesystem\n[OUTPUT]\nName null\n\
                       Match x\n[OUTPUT]\nName cloudwatch_logs\nMatch *\nlog_group_name g\nlog_stream_name s\n\
                       storage.total_limit_size 50M\n";

#[test]
fn the_environment_goes_before_what_a_fluent_bit_file_says_about_the_disk() {
    let files = InMemory::one("/f.conf", STORAGE).and("/off.conf", STORAGE.replace("storage.path", "flush"));
    let load = |file, variables: &[(&str, &str)]| load_with(variables, Some(file), &files);
    let spool = |loading: &Loading| {
        let Ok((config, _)) = loading else { panic!("{}", report(loading)) };
        let parts: Vec<_> = config.logs.outputs.iter().map(|output| output.spool_bytes_max).collect();
        (config.spool.path.clone(), config.spool.bytes_max, config.spool_place.clone(), parts[1])
    };
    let plain = load("/f.conf", &[]);
    let asked = Some(ByteSize(50_000_000));
    assert_eq!(report(&plain), "");
    assert_eq!(spool(&plain), (Some("/data/pillion".into()), None, "/f.conf:2 [SERVICE] storage.path".into(), asked));
    let other = load("/f.conf", &[("PILLION__SPOOL__PATH", "/own"), ("PILLION__SPOOL__BYTES_MAX", "64MiB")]);
    assert_eq!(report(&other), "");
    let bytes = Some(ByteSize::mebibytes(64));
    assert_eq!(spool(&other), (Some("/own".into()), bytes, "PILLION__SPOOL__PATH".into(), asked));
    let small = load("/f.conf", &[("PILLION__SPOOL__BYTES_MAX", "20MiB")]);
    insta::assert_snapshot!(report(&small), @"warning: PILLION__SPOOL__BYTES_MAX: does not hold what outputs ask for with `storage.total_limit_size`; it counts, and each output gets an equal part of it");
    assert_eq!(spool(&small).3, None);

    let config = config(load("/f.conf", &[("PILLION__SPOOL__REQUIRED", "true")]));
    assert!(config.spool.required);
    insta::assert_snapshot!(report(&load("/off.conf", &[("PILLION__SPOOL__REQUIRED", "true")])), @"
    error: PILLION__SPOOL__REQUIRED: there is no spool without a `path`; give `spool.path` too
    warning: /off.conf:5 [INPUT] forward storage.type: has no effect without `storage.path` in [SERVICE]; records are kept in memory only; name a folder there, or set `PILLION__SPOOL__PATH`
    ");
    assert_eq!(report(&load("/off.conf", &[("PILLION__SPOOL__PATH", "/own")])), "");
}

#[test]
fn parts_of_the_disk_must_fit_into_the_whole() {
    let text = |spool: &str, parts: [&str; 2]| {
        let output = |part: &str| format!("    - to: {{file: {{folder: /x}}}}\n{part}");
        format!(
            "spool: {{path: /s{spool}}}\nlogs:\n  outputs:\n    - to: discard\n{}{}",
            output(parts[0]),
            output(parts[1])
        )
    };
    let part = "      spool_bytes_max: 40 MiB\n";
    assert_eq!(report(&load_yaml(text(", bytes_max: 56 MiB", [part, ""]))), "");
    assert_eq!(report(&load_yaml(text("", [part, part]))), "");
    insta::assert_snapshot!(report(&load_yaml(text(", bytes_max: 55 MiB", [part, ""]))), @"error: p.yaml:1 spool.bytes_max: less than 56 MiB, which is what outputs ask for, and 16 MiB for each of the others; give more, or leave it out");
    let metrics = "metrics: {inputs: [{statsd: {}}], outputs: [{to: {cloudwatch: {}}}, {to: {emf: {}}}]}\n";
    let with_metrics = report(&load_yaml(text(", bytes_max: 56 MiB", [part, ""]) + metrics));
    assert!(with_metrics.contains("p.yaml:1 spool.bytes_max: less than 72 MiB"), "{with_metrics}");
    insta::assert_snapshot!(report(&load_yaml(text("", ["      spool_bytes_max: 1 MiB\n", ""]))), @"error: p.yaml:6 logs.outputs[1].spool_bytes_max: less than 16 MiB; give more, or leave it out");
    insta::assert_snapshot!(report(&load_yaml("spool: {required: true}\nlogs: {outputs: [to: discard]}\n")), @"error: p.yaml:1 spool.required: there is no spool without a `path`; give `spool.path` too");
}

#[test]
fn the_kind_of_a_file_without_a_known_ending_shows_in_its_first_line() {
    for (path, text, classic) in [
        ("/a.conf", "memory: 64 MiB", true),
        ("/a.yaml", "[SERVICE]", false),
        ("/a", "# x\n\n[SERVICE]\n", true),
        ("/a", "\r\n@INCLUDE x\n", true),
        ("/a", "# x\nmemory: 64 MiB", false),
        ("/a", "", false),
    ] {
        assert_eq!(is_fluent_bit(Path::new(path), text.as_bytes()), classic, "{path} {text}");
    }
}

/// What a hostile or broken file comes to: one report, quickly.
#[test]
fn hostile_files_are_answered_quickly() {
    let laughs = (1..10).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let list = vec![format!("*a{}", n - 1); 10].join(",");
        text + &format!("a{n}: &a{n} [{list}]\n")
    });
    let started = Instant::now();
    let mut answers = String::new();
    for (name, text) in [
        ("laughs", laughs),
        ("deep lists", "[".repeat(100_000)),
        ("deep sections", (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("tabs", "logs:\n\toutputs: []\n".to_owned()),
        ("NUL", "memory: \0\n".to_owned()),
        ("open quote", "log: {level: \"debug\n".to_owned()),
        ("two documents", "memory: 64 MiB\n---\nmemory: 64 MiB\n".to_owned()),
        ("list", "- a\n- b\n".to_owned()),
        ("text", "hello".to_owned()),
        ("number key", "1: 2\n".to_owned()),
        ("long key", format!("{}: 1\n", "k".repeat(1_000))),
        ("long value", format!("memory: {}\n", "9".repeat(100_000))),
        ("too long", " ".repeat(2 << 20)),
        ("many mistakes", (0..10_000).map(|n| format!("k{n}: 1\n")).collect()),
        ("negative size", "memory: -1MB\n".to_owned()),
        ("negative number", "memory: -1\n".to_owned()),
        ("huge size", "memory: 1e9GB\n".to_owned()),
        ("huge number", "memory: 1e99\n".to_owned()),
        ("foreign digits", "memory: ٣MB\n".to_owned()),
        ("tag", "memory: !!python/object x\n".to_owned()),
        ("merge", "x: &x {level: debug}\nlog: {<<: *x}\n".to_owned()),
        ("pipeline", "pipeline: {inputs: []}\n".to_owned()),
        ("secret of a wrong type", "logs: {inputs: [forward: {unix: /a, shared_key: [hunter2]}]}\n".to_owned()),
    ] {
        let loading = load_yaml(text);
        let report = report(&loading);
        let kept = report.lines().count();
        answers.push_str(&format!("{name}: {kept}: {}\n", report.lines().next().unwrap_or_default()));
    }
    insta::assert_snapshot!(answers, @r#"
    laughs: 1: error: p.yaml:6: with its aliases filled in, the text is too large or nested too deeply; the rest of the text could not be looked at
    deep lists: 1: error: p.yaml:1: recursion limit exceeded; the rest of the text could not be looked at
    deep sections: 1: error: p.yaml: larger than 1 MiB; the rest of the text could not be looked at
    tabs: 1: error: p.yaml:2: tabs disallowed within this context (block indentation); the rest of the text could not be looked at
    NUL: 1: error: p.yaml:1: unexpected character: `\u{0}'; the rest of the text could not be looked at
    open quote: 1: error: p.yaml:1: unclosed quote; the rest of the text could not be looked at
    two documents: 1: error: p.yaml:3: there is more than one YAML document; the rest of the text could not be looked at
    list: 1: error: p.yaml: expected a section, found a list
    text: 1: error: p.yaml: expected a section, found text
    number key: 1: error: p.yaml:1 1: there is no such key; known are: logs, traces, metrics, secrets, admin, memory, spool, stop_timeout, stop_record, log, aws, telemetry
    long key: 1: error: p.yaml:1 kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…: there is no such key; known are: logs, traces, metrics, secrets, admin, memory, spool, stop_timeout, stop_record, log, aws, telemetry
    long value: 1: error: p.yaml:1 memory: `.inf` is not a size; write for example `64 MiB` or `25MB`
    too long: 1: error: p.yaml: larger than 1 MiB; the rest of the text could not be looked at
    many mistakes: 100: error: p.yaml:1 k0: there is no such key; known are: logs, traces, metrics, secrets, admin, memory, spool, stop_timeout, stop_record, log, aws, telemetry
    negative size: 1: error: p.yaml:1 memory: `-1MB` is not a size; write for example `64 MiB` or `25MB`
    negative number: 1: error: p.yaml:1 memory: expected text or a whole number
    huge size: 1: error: p.yaml:1 memory: `1e9GB` is not a size; write for example `64 MiB` or `25MB`
    huge number: 1: error: p.yaml:1 memory: expected text or a whole number
    foreign digits: 1: error: p.yaml:1 memory: `٣MB` is not a size; write for example `64 MiB` or `25MB`
    tag: 1: error: p.yaml:1 memory: `x` is not a size; write for example `64 MiB` or `25MB`
    merge: 1: error: p.yaml:1 x: there is no such key; known are: logs, traces, metrics, secrets, admin, memory, spool, stop_timeout, stop_record, log, aws, telemetry
    pipeline: 1: error: p.yaml: Fluent Bit's YAML is not supported by this version; write it as a classic `.conf` file, or in our own form
    secret of a wrong type: 1: error: p.yaml:1 logs.inputs[0].forward.shared_key: expected text, found a list
    "#);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// All files of the corpus, and every prefix of them, as the fuzz target reads them.
#[test]
fn the_corpus_is_answered_without_a_panic() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/config");
    let mut read_files = 0;
    for entry in std::fs::read_dir(folder).expect("the folder exists") {
        let bytes = std::fs::read(entry.expect("the folder can be read").path()).expect("the file can be read");
        for end in 0..=bytes.len() {
            let loading = load_yaml(&bytes[..end]);
            assert!(!matches!(&loading, Err(problems) if problems.is_empty()));
        }
        read_files += 1;
    }
    assert!(read_files >= 2, "only {read_files} files");
}

proptest! {
    /// A real file with some bytes changed gets deeper than bytes by chance.
    #[test]
    fn property_a_damaged_file_is_answered_without_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = WHOLE.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(report(&load_yaml(bytes)).lines().count() <= 202);
    }

    #[test]
    fn property_any_bytes_are_answered_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(report(&load_yaml(bytes)).lines().count() <= 202);
    }

    /// Words of the schema in any arrangement, and some that are none.
    #[test]
    fn property_any_arrangement_of_words_is_answered_without_a_panic(
        lines in prop::collection::vec(
            "[ ]{0,8}(- )?(logs|inputs|outputs|filters|forward|to|cloudwatch|grep|rules|match|memory|admin|listen|x): ?(\\[\\]|\\{\\}|5|-1|off|true|a b|&a|\\*a|!t|~)?",
            0..20,
        )
    ) {
        let loading = load_yaml(lines.join("\n"));
        let is_report = matches!(&loading, Err(problems) if problems.is_empty());
        prop_assert!(!is_report, "refused without a reason");
    }

    #[test]
    fn property_any_override_is_answered_without_a_panic(
        name in "PILLION__(LOGS|OUTPUTS|TO|CLOUDWATCH|0|1|99999999999999999999|__|[A-Z]){0,3}(__(OUTPUTS|INPUTS|0|1|TO)){0,4}",
        value in "\\PC{0,20}",
    ) {
        let loading = load_with(&[(&name, &value)], Some("/p.yaml"), &InMemory::one("/p.yaml", WHOLE));
        let is_report = matches!(&loading, Err(problems) if problems.is_empty());
        prop_assert!(!is_report, "refused without a reason");
    }
}

/// The agent starts with an output that it does not have; what that costs is not a mere warning.
#[test]
fn an_output_we_do_not_have_is_a_loss() {
    let text = "[INPUT]\n Name forward\n[OUTPUT]\n Name splunk\n Match *\n";
    let (config, problems) =
        load_with(&[], Some("f.conf"), &InMemory::one("f.conf", text)).expect("a task that ran before must run");
    assert!(matches!(config.logs.outputs[0].to, Destination::Unsupported { .. }));
    assert_eq!(problems.iter().map(|problem| problem.severity).collect::<Vec<_>>(), [crate::problem::Severity::Loss]);
}

/// X-Ray shows the logs beside a trace without the app's help.
#[test]
fn segments_point_to_the_groups_that_logs_go_to() {
    let text = |traces: &str| {
        format!(
            "logs:\n  inputs: [{{forward: {{tcp: '127.0.0.1:1'}}}}]\n  outputs:\n    - to: {{cloudwatch: {{group: /ecs/shop, stream: a}}}}\n\
             \x20   - to: {{cloudwatch: {{group: /ecs/shop, stream: b}}}}\n    - to: {{cloudwatch: {{group: /ecs/audit, stream: c}}}}\n\
             \x20   - to: {{cloudwatch: {{group: '/ecs/$(name)', stream: d, templates: go_plugin}}}}\n\
             \x20   - to: {{cloudwatch: {{group: other, group_template: '/ecs/$name', stream: e}}}}\n\
             traces:\n  inputs: [{{otlp: {{}}}}]\n{traces}"
        )
    };
    let groups = |traces: &str| -> Vec<Vec<String>> {
        let config = config(load_yaml(text(traces)));
        let outputs = config.traces.outputs.into_iter();
        let groups = outputs.filter_map(|output| match output.to {
            crate::traces::settings::Destination::Xray(config) => Some(config.log_groups),
            crate::traces::settings::Destination::Otlp(_) => None,
        });
        groups.collect()
    };
    let of_logs = vec!["/ecs/shop".to_owned(), "/ecs/audit".to_owned()];
    assert_eq!(groups(""), std::slice::from_ref(&of_logs));
    assert_eq!(
        groups(
            "  outputs: [{to: {xray: {}}}, {to: {xray: {log_groups: [mine]}}}, {to: {otlp: {endpoint: 'http://x'}}}]\n"
        ),
        [of_logs, vec!["mine".to_owned()]]
    );
}

/// Who takes segments, and whether anybody does, is known before a start.
#[test]
fn segments_go_where_they_are_taken() {
    let traces =
        |inputs: &str, outputs: &str| load_yaml(format!("traces:\n  inputs: [{inputs}]\n  outputs: [{outputs}]\n"));
    let (xray, otlp) = ("to: {xray: {}}", "to: {otlp: {endpoint: 'http://x'}}");
    for (outputs, expected) in [
        (format!("{{{otlp}}}"), vec![true]),
        (format!("{{{xray}}}, {{{otlp}}}"), vec![true, false]),
        (format!("{{{xray}}}, {{{otlp}, segments: true}}"), vec![true, true]),
        (format!("{{{xray}, segments: false}}, {{{otlp}, segments: true}}"), vec![false, true]),
    ] {
        let outputs = config(traces("xray: {}", &outputs)).traces.outputs;
        let takes: Vec<_> = outputs.iter().map(|output| output.takes_segments(&outputs)).collect();
        assert_eq!(takes, expected);
    }
    let told = report(&traces("xray: {}", &format!("{{{xray}, segments: false}}, {{{otlp}}}")));
    assert!(told.starts_with("error: ") && told.contains(".xray: no output takes segments; leave out"), "{told}");
    let told = report(&traces("otlp: {}", &format!("{{{otlp}, segments: true}}")));
    assert!(told.starts_with("warning: ") && told.contains(".segments: no input takes segments; add"), "{told}");
    let needs_task = |inputs, outputs: &str| config(traces(inputs, outputs)).traces.needs_task();
    assert!(needs_task("xray: {}", &format!("{{{otlp}}}")));
    assert!(!needs_task("xray: {}", &format!("{{{xray}}}, {{{otlp}}}")), "nobody makes spans");
}

/// `spans` of an output to X-Ray puts another one behind the last, which takes spans and nothing else.
#[test]
fn spans_can_go_to_x_ray_two_ways() {
    let traces =
        |inputs: &str, outputs: &str| load_yaml(format!("traces:\n  inputs: [{inputs}]\n  outputs: [{outputs}]\n"));
    let outputs = "{to: {xray: {}}}, {to: {xray: {spans: auto, region: eu-west-3, role_arn: 'arn:aws:iam::1:role/x'}}}, \
                   {to: {otlp: {endpoint: 'http://x'}}}, {name: own, spool_bytes_max: 1GiB, to: {xray: {spans: otlp, endpoint: 'http://y'}}}";
    let traces_of = config(traces("xray: {}, otlp: {}", outputs)).traces;
    let running = traces_of.running();
    let names = crate::traces::settings::names(&running);
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["xray.0", "xray.1", "otlp.0", "own", "xray.1.otlp", "own.otlp"]);
    let beside: Vec<_> = running.iter().map(|output| output.beside).collect();
    assert_eq!(beside, [None, None, None, None, Some(1), Some(3)]);
    let takes: Vec<_> = running.iter().map(|output| output.takes_segments(&running)).collect();
    assert_eq!(takes, [true, true, false, true, false, false]);
    let to = |number: usize| match &running[number].to {
        crate::traces::settings::Destination::Otlp(config) => {
            let aws = config.aws.clone().expect("it is AWS's");
            (config.endpoint.clone(), aws.region, aws.role_arn)
        }
        crate::traces::settings::Destination::Xray(_) => panic!("{number}"),
    };
    assert_eq!(to(4), (None, Some("eu-west-3".into()), Some("arn:aws:iam::1:role/x".into())));
    assert_eq!(to(5), (Some("http://y".into()), None, None));
    assert_eq!(running[5].spool_bytes_max, Some(ByteSize(1 << 30)));

    assert_eq!(config(traces("xray: {}", outputs)).traces.running().len(), 4, "no spans, no way for them");
    let told = report(&traces("xray: {}", "{to: {xray: {spans: auto}}}"));
    assert!(told.starts_with("warning: ") && told.contains("xray.spans: no spans can come in; add an input"), "{told}");
    let told =
        report(&traces("otlp: {}", "{name: a, to: {xray: {spans: auto}}}, {name: a.otlp, to: {otlp: {aws: {}}}}"));
    assert!(told.starts_with("error: ") && told.contains("is the name of"), "{told}");
}

#[test]
fn what_is_prefetched_has_a_name_or_a_tag() {
    let api = |entries: &str| load_yaml(format!("secrets: {{api: {{prefetch: [{entries}]}}}}\n"));
    for entries in ["{}", "{id: a, tag: b}", "{id: a}, {role_arn: c}"] {
        assert!(report(&api(entries)).contains("needs an `id` or a `tag`, and not both"), "{entries}");
    }
    assert!(!report(&api("{id: a}, {tag: b, role_arn: c}")).contains("needs an `id`"));
}

/// Everything that can be wrong with metrics, each with its place.
#[test]
fn mistakes_of_metrics_are_told_with_their_places() {
    let text = "\
metrics:
  flush_every: 0s
  forget_after: 1s
  inputs:
    - statsd: {udp: 'off', receive_bytes: 1k}
    - statsd:
        udp: 0.0.0.0:8125
        unix: dsd.socket
        publish:
          namespace: AWS/EC2
          dimensions: ['']
          buckets: [1, 1]
        mappings: [{match: 'a.*'}, {match: '(', match_type: regex}]
    - statsd:
        unix: /run/a
        unix_stream: /run/a
        publish: {namespace: ':x', series_max: 0}
    - otlp:
        publish:
          dimensions: [a]
          declarations: [{names: [a]}, {names: ['(']}]
  outputs:
    - to: {cloudwatch: {region: Frankfurt}}
";
    let problems = report(&load_yaml(text));
    insta::assert_snapshot!(problems, @"
    error: p.yaml:17 metrics.inputs[2].statsd.publish.series_max: 0 is less than 1; set it between 1 and 1000000
    error: p.yaml:2 metrics.flush_every: 0ns is not in range; give 1s to 1h
    error: p.yaml:3 metrics.forget_after: 1s is not in range; give 1m to 7d
    error: p.yaml:5 metrics.inputs[0].statsd.receive_bytes: `1000 B` is not in range; give 64.0 KiB to 64 MiB
    error: p.yaml:5 metrics.inputs[0].statsd: listens nowhere; leave out `udp`, or give `unix` or `unix_stream`
    error: p.yaml:8 metrics.inputs[1].statsd.unix: is not an absolute path; write for example `/var/run/pillion/statsd.sock`
    error: p.yaml:13 metrics.inputs[1].statsd.mappings[1].match: not a regular expression; write for example `shop.*.orders`, or a regular expression
    error: p.yaml:10 metrics.inputs[1].statsd.publish.namespace: begins with `AWS/`, which is AWS's own; choose another one
    error: p.yaml:11 metrics.inputs[1].statsd.publish.dimensions: a name is empty; write the name of a label
    error: p.yaml:12 metrics.inputs[1].statsd.publish.buckets: not at most 64 rising numbers; write for example `[0.1, 1, 10]`
    error: p.yaml:16 metrics.inputs[2].statsd.unix_stream: `/run/a` is the socket of `metrics.inputs[2].statsd.unix` too; give each listener a path of its own
    error: p.yaml:17 metrics.inputs[2].statsd.publish.namespace: not a namespace of CloudWatch; use 1 to 255 characters of ASCII, not beginning with a colon
    error: p.yaml:21 metrics.inputs[3].otlp.publish.declarations[1]: regex parse error:
        (
        ^
    error: unclosed group; write expressions of RE2's kind
    error: p.yaml:20 metrics.inputs[3].otlp.publish.dimensions: stands beside `declarations`; write the one or the other
    error: p.yaml:23 metrics.outputs[0].to.cloudwatch.region: not a region; write for example `eu-west-1`
    warning: p.yaml:7 metrics.inputs[1].statsd.udp: `0.0.0.0:8125` is not a loopback address; whoever reaches it can use it; write `127.0.0.1` unless something outside of the task needs it
    ");
}

/// Documents and what comes by OTLP: addresses that sections share, and what leads nowhere.
#[test]
fn mistakes_of_documents_and_otlp_are_told_with_their_places() {
    let text = "\
logs:
  inputs:
    - emf: {tcp: 'off', udp: 'off', log_group: ''}
    - emf: {tcp: '127.0.0.1:25888', tag: ''}
    - json: {tcp: '127.0.0.1:25888', tag: a}
    - otlp: {ack: spooled}
    - otlp: {}
  outputs: [{to: discard}]
traces: {inputs: [{otlp: {}}]}
metrics:
  inputs:
    - emf: {deliver: metrics, buckets: [2, 1]}
    - otlp: {publish: {namespace: ''}}
";
    let problems = report(&load_yaml(text));
    for expected in [
        "logs.inputs[0].emf: listens nowhere; give `tcp` or `udp` an address, or remove the input",
        "logs.inputs[0].emf.log_group: is empty",
        "logs.inputs[1].emf.tag: is empty",
        "logs.inputs[2].json.tcp: `127.0.0.1:25888` is the address of `logs.inputs[1].emf.tcp` too",
        "logs.inputs[3].otlp.ack: there is no spool; set `spool.path`, or take `accepted` or `delivered`",
        "logs.inputs[4].otlp.grpc: `127.0.0.1:4317` is the address of `logs.inputs[3].otlp.grpc` too",
        "metrics.inputs[0].emf.deliver: there is no output for metrics",
        "metrics.inputs[0].emf.buckets: not at most 64 rising numbers",
        "metrics.inputs[1].otlp.publish.namespace: not a namespace of CloudWatch",
    ] {
        assert!(problems.contains(expected), "{expected}\n{problems}");
    }
    assert!(!problems.contains("traces.inputs"), "sections share the addresses of OTLP\n{problems}");
    let nowhere = report(&load_yaml("metrics: {inputs: [{emf: {}}]}\n"));
    assert!(
        nowhere.contains("metrics.inputs[0].emf: no document can come; add `- emf: {}` to `logs.inputs`"),
        "{nowhere}"
    );
    let shared = "logs: {inputs: [{emf: {}}, {otlp: {}}], outputs: [{to: discard}]}\ntraces: {inputs: [{otlp: {}}]}\n\
         metrics: {inputs: [{emf: {}}, {otlp: {}}]}\n";
    let config = config(load_yaml(shared));
    assert_eq!(config.otlp().count(), 3);
}

/// The same of the inputs that ask.
#[test]
fn mistakes_of_inputs_that_ask_are_told_with_their_places() {
    let text = "\
metrics:
  inputs:
    - scrape:
        targets: [app, '169.254.169.254:80', auto]
        every: 0s
        timeout: 2h
        bytes_max: 1k
        relabel: [{action: drop}, {regex: '(', action: keep}, {action: hashmod, target_label: x}]
        publish: {namespace: AWS/X}
    - task: {every: 1s, namespace: ''}
    - queue: {sqs: 'arn:aws:sqs:eu-west-1:1:q', processing_time: 1s}
    - queue: {service: x}
";
    let problems = report(&load_yaml(text));
    for expected in [
        "p.yaml:4 metrics.inputs[0].scrape.targets[0]: `app` has no port",
        "p.yaml:4 metrics.inputs[0].scrape.targets[1]: `169.254.169.254:80` is an address at which AWS offers credentials",
        "p.yaml:5 metrics.inputs[0].scrape.every: 0ns is not in range; give 1s to 1h",
        "p.yaml:6 metrics.inputs[0].scrape.timeout: 7200s is not in range",
        "p.yaml:7 metrics.inputs[0].scrape.bytes_max: `1000 B` is not in range; give 64.0 KiB to 64 MiB",
        "p.yaml:8 metrics.inputs[0].scrape.relabel[1]: `regex` is no expression",
        "p.yaml:8 metrics.inputs[0].scrape.relabel[2]: `hashmod` needs `modulus`",
        "p.yaml:9 metrics.inputs[0].scrape.publish.namespace: begins with `AWS/`",
        "p.yaml:10 metrics.inputs[1].task.every: 1s is not in range; give 5s to 5m",
        "p.yaml:10 metrics.inputs[1].task.namespace: not a namespace of CloudWatch",
        "p.yaml:11 metrics.inputs[2].queue.sqs: cannot be asked",
        "metrics.inputs[2].queue.acceptable_latency: is missing",
        "p.yaml:12 metrics.inputs[3].queue",
    ] {
        assert!(problems.contains(expected), "{expected}\n{problems}");
    }
    let events = report(&load_yaml(
        "logs: {outputs: [{match: 'app*', to: {cloudwatch: {group: g, stream: s}}}]}\n\
         metrics: {inputs: [{task: {performance_events: {tag: '', group: 'a:b', stream: ''}}}, {task: {performance_events: {}}}]}\n",
    ));
    for expected in [
        "metrics.inputs[0].task.performance_events.tag: is empty",
        "metrics.inputs[0].task.performance_events.group: not a name that CloudWatch Logs takes",
        "metrics.inputs[0].task.performance_events.stream: not a name that CloudWatch Logs takes",
        "metrics.inputs[1].task.performance_events: no output of the logs takes its documents to CloudWatch; add `- {match: performance,",
    ] {
        assert!(events.contains(expected), "{expected}\n{events}");
    }
    let good = "metrics: {inputs: [scrape: {}, task: {}, queue: {sqs: 'https://sqs.eu-west-1.amazonaws.com/1/q'}]}\n";
    assert!(!report(&load_yaml(good)).contains("metrics"), "{}", report(&load_yaml(good)));
}

/// A name with `$(ecs_task_id)` in it, in a place where nobody fills it in, is what the stream is called then.
#[test]
fn names_that_nobody_fills_in_are_told() {
    let yaml = "
logs:
  inputs: [{emf: {log_group: $(ecs_cluster)}}]
  outputs:
    - to: {cloudwatch: {group: g, stream: app/$(ecs_task_id)}}
    - to: {cloudwatch: {group: g, stream_prefix: $(ecs_task_id)-}}
    - to: {cloudwatch: {group: g, stream: app/$(ecs_task_id), templates: go_plugin}}
metrics:
  inputs: [statsd: {}]
  outputs: [to: {emf: {group: /m/$(ecs_cluster), stream: $(ecs_task_id)}}]
";
    insta::assert_snapshot!(report(&load_yaml(yaml)), @r"
    warning: p.yaml:3 logs.inputs[0].emf.log_group: is taken as it is written: `$(...)` is not filled in here; leave it out, and write it in the logs' output, with `templates: go_plugin`
    warning: p.yaml:5 logs.outputs[0].to.cloudwatch.stream: is taken as it is written; set `templates: go_plugin` to fill in `$(...)`
    warning: p.yaml:6 logs.outputs[1].to.cloudwatch.stream_prefix: is taken as it is written; set `templates: go_plugin` to fill in `$(...)`
    warning: p.yaml:10 metrics.outputs[0].to.emf.group: is taken as it is written: `$(...)` is not filled in here; leave it out, and write it in the logs' output, with `templates: go_plugin`
    warning: p.yaml:10 metrics.outputs[0].to.emf.stream: is taken as it is written: `$(...)` is not filled in here; leave it out, and write it in the logs' output, with `templates: go_plugin`
    ");
}

/// An output that has nothing to be set can be added by a variable.
#[test]
fn a_section_without_settings_is_written_as_two_braces() {
    let empty = ("PILLION__METRICS__OUTPUTS__0__TO__CLOUDWATCH", "{}");
    let files = InMemory::one("/elsewhere", "");
    let statsd = ("PILLION__METRICS__INPUTS__0__STATSD__UDP", "127.0.0.1:8125");
    assert_eq!(config(load_with(&[statsd, empty], None, &files)).metrics.outputs.len(), 1);
    // It changes nothing in one that has settings.
    let more = ("PILLION__METRICS__OUTPUTS__0__TO__CLOUDWATCH__REGION", "eu-west-1");
    let outputs = config(load_with(&[statsd, more, empty], None, &files)).metrics.outputs;
    assert!(format!("{outputs:?}").contains("eu-west-1"));
}
