//! Putting in and taking out, on task definitions as people write them.
//!
//! Promises: every document of `agent/testdata/taskdef` comes back to the byte; what is put in is a configuration that pillion
//! starts with, and a definition that the linter has no error for.
//! Never: asks ECS; `tests/` runs what comes out.

use proptest::prelude::*;

use super::*;
use crate::taskdef::{
    iam::{self, Account},
    lint, read,
    tree::{self, json},
};

const DOCUMENTS: [(&str, &str); 7] = [
    ("seed-orders", include_str!("../../../testdata/taskdef/seed-orders.json")),
    ("web-awslogs", include_str!("../../../testdata/taskdef/web-awslogs.json")),
    ("four-sidecars", include_str!("../../../testdata/taskdef/four-sidecars.json")),
    ("bridge-links", include_str!("../../../testdata/taskdef/bridge-links.json")),
    ("template", include_str!("../../../testdata/taskdef/template.json")),
    ("list", include_str!("../../../testdata/taskdef/list.json")),
    ("described", include_str!("../../../testdata/taskdef/described.json")),
];

pub(super) fn options() -> Options {
    Options { image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/pillion:0.1.0".to_owned(), ..Options::default() }
}

pub(super) fn document(name: &str) -> &'static str {
    DOCUMENTS.iter().find(|(known, _)| *known == name).expect("a document of the table").1
}

pub(super) fn injected(text: &str, options: &Options) -> String {
    inject(text.as_bytes(), options).expect("a task definition").text
}

pub(super) fn removed(text: &str) -> String {
    remove(text.as_bytes()).expect("a task definition").text
}

/// A value at a path such as `containerDefinitions/web/logConfiguration/options`; containers by their names.
pub(super) fn at(text: &str, path: &str) -> String {
    let document = json::parse(text.as_bytes()).expect("JSON");
    let mut node = &document.root;
    for step in path.split('/') {
        node = match node {
            tree::Node::Array(array) => array
                .values()
                .find(|value| {
                    ["name", "Name"].iter().any(|key| {
                        value.object().and_then(|it| it.get(key)).and_then(tree::Node::text).as_deref() == Some(step)
                    })
                })
                .unwrap_or_else(|| panic!("no {step} in {path}")),
            _ => node.object().and_then(|object| object.get(step)).unwrap_or_else(|| panic!("no {step} in {path}")),
        };
    }
    node.compact()
}

#[test]
fn what_was_put_in_is_taken_out_to_the_byte() {
    let files = Options { secrets: SecretsAs::Files, ..options() };
    let both = Options { secrets: SecretsAs::Both, wait: Wait::Start, records: Records::Whole, ..options() };
    let kept =
        Options { logs: Logs::Keep, replace: vec!["collector".to_owned()], keep: vec!["xray".to_owned()], ..options() };
    for (name, text) in DOCUMENTS {
        for options in [&options(), &files, &both, &kept] {
            // As it is, in one line, and with the line ends of Windows.
            let compact = json::parse(text.as_bytes()).expect("JSON").root.compact();
            for text in [text.to_owned(), compact, text.replace('\n', "\r\n")] {
                let with = injected(&text, options);
                assert_ne!(with, text, "{name}");
                assert_eq!(removed(&with), text, "{name}");
                assert_eq!(injected(&with, options), with, "{name}: again");
                assert_eq!(injected(&injected(&text, &files), options), with, "{name}: after other options");
            }
        }
    }
}

/// `jq`, `aws ecs describe-task-definition` and editors lay a file out anew. What it says comes back all the same.
#[test]
fn a_file_that_was_laid_out_anew_is_undone_too() {
    for (name, text) in DOCUMENTS {
        let with = injected(text, &Options { secrets: SecretsAs::Files, ..options() });
        let anew = json::parse(with.as_bytes()).expect("JSON").root.compact();
        let compact = |text: &str| json::parse(text.as_bytes()).expect("JSON").root.compact();
        assert_eq!(compact(&removed(&anew)), compact(text), "{name}");
    }
}

/// A pipeline writes a new image into what inject made, somebody adds a variable: both stay.
#[test]
fn what_others_changed_since_stays() {
    let with = injected(document("web-awslogs"), &options());
    let changed = with
        .replace("web:1.0.0", "web:1.0.1")
        .replace("{ \"name\": \"MODE\"", "{ \"name\": \"NEW\", \"value\": \"1\" },\n        { \"name\": \"MODE\"");
    let expected = document("web-awslogs")
        .replace("web:1.0.0", "web:1.0.1")
        .replace("{ \"name\": \"MODE\"", "{ \"name\": \"NEW\", \"value\": \"1\" },\n        { \"name\": \"MODE\"");
    assert_eq!(removed(&changed), expected);

    // What takes the place of what inject set is lost, and is told.
    let changed = with.replace("\"log_key\": \"log\"", "\"log_key\": \"message\"");
    let back = remove(changed.as_bytes()).expect("a task definition");
    assert_eq!(back.text, document("web-awslogs"));
    let care = &back.reports[0].care;
    assert!(care.len() == 1 && care[0].what.contains("web: logConfiguration was changed since"), "{care:?}");
    assert!(care[0].what.contains("\"log_key\":\"message\""), "{care:?}");
}

#[test]
fn a_label_that_somebody_changed_is_told_and_nothing_is_touched() {
    for broken in ["", "1.", "1.AAAA", "2.eJw", "1.é", "1.eJyLjgUAARUAuQ"] {
        let with = injected(document("list"), &options());
        let label = at(&with, "pillion/dockerLabels/pillion.undo");
        let broken_text = with.replace(&label, &format!("\"{broken}\""));
        let back = remove(broken_text.as_bytes()).expect("a task definition");
        // The last one is an empty history, which is one.
        if broken == "1.eJyLjgUAARUAuQ" {
            assert!(!back.text.contains("dockerLabels"), "{}", back.text);
        } else {
            assert_eq!(back.text, broken_text, "{broken}");
            assert!(back.reports[0].care[0].what.contains("does not say how to undo"), "{broken}");
        }
    }
}

/// What is put in starts, has no error for the linter, and neither the agent nor the linter has a word about it.
#[test]
fn what_is_put_in_is_a_configuration_that_starts() {
    for (name, text) in DOCUMENTS {
        for secrets in [SecretsAs::Variables, SecretsAs::Files] {
            let with = injected(text, &Options { secrets, ..options() });
            let (document, places) = read(with.as_bytes()).expect("a task definition");
            let task = places[0].task(&document.root).expect("a task");
            let ours = iam::ours(task).expect("our container");
            assert_eq!(ours.name().as_deref(), Some("pillion"));
            let loaded = iam::loaded(task, ours, &Account::of(task));
            let (Ok((_, problems)) | Err(problems)) = &loaded;
            // In bridge mode others must reach it, which the agent says.
            let told = problems.iter().filter(|problem| !task.shares_loopback() && !problem.what.contains("loopback"));
            let told = told.filter(|problem| !problem.what.contains("everybody who reaches the address")).count();
            let expected = if task.shares_loopback() { problems.len() } else { told };
            assert!(loaded.is_ok() && expected == 0, "{name}: {problems:?}\n{with}");
            let findings = lint::lint(with.as_bytes()).expect("a task definition");
            let before: Vec<lint::Finding> = lint::lint(text.as_bytes()).expect("a task definition");
            let new: Vec<&lint::Finding> = findings
                .iter()
                .filter(|finding| task.shares_loopback() || finding.rule.id != "pillion-warning")
                .filter(|finding| finding.place.contains("pillion") || !before.iter().any(|it| it.rule == finding.rule))
                .collect();
            assert!(new.is_empty(), "{name}: {new:#?}");
        }
    }
}

#[test]
fn awslogs_becomes_the_same_stream_of_the_same_group() {
    let with = injected(document("web-awslogs"), &options());
    assert_eq!(
        at(&with, "containerDefinitions/web/logConfiguration"),
        r#"{"logDriver":"awsfirelens","options":{"Name":"cloudwatch","region":"eu-west-1","log_group_name":"/ecs/web","log_stream_name":"ecs/web/$(ecs_task_id)","log_key":"log"}}"#
    );
    // Where a template computes the prefix, it computes the name.
    let with = injected(document("template"), &options());
    assert_eq!(
        at(&with, "Resources/Task/Properties/ContainerDefinitions/orders/LogConfiguration"),
        r#"{"LogDriver":"awsfirelens","Options":{"Name":"cloudwatch","region":{"Ref":"AWS::Region"},"log_group_name":{"Ref":"Logs"},"log_stream_name":{"Fn::Join":["",[{"Ref":"AWS::StackName"},"/orders/$(ecs_task_id)"]]},"log_key":"log"}}"#
    );
    let with = injected(document("described"), &Options { records: Records::Whole, ..options() });
    assert_eq!(
        at(&with, "taskDefinition/containerDefinitions/web/logConfiguration/options"),
        r#"{"Name":"cloudwatch","region":"eu-west-1","log_group_name":"/ecs/web","log_stream_name":"ecs/web/$(ecs_task_id)","auto_create_group":"true"}"#
    );
}

#[test]
fn an_option_without_a_match_is_told() {
    let text = document("list")
        .replace("\"awslogs-group\"", "\"awslogs-datetime-format\":\"%H\",\"awslogs-what\":\"1\",\"awslogs-group\"");
    let report = &inject(text.as_bytes(), &options()).expect("a task definition").reports[0];
    let places: Vec<&str> = report.care.iter().map(|problem| problem.place.as_str()).collect();
    assert_eq!(
        places,
        ["app.logConfiguration.options.awslogs-datetime-format", "app.logConfiguration.options.awslogs-what"]
    );
}

#[test]
fn our_container_is_confined_and_waits_for_nobody() {
    let with = injected(document("web-awslogs"), &options());
    let ours = at(&with, "containerDefinitions/pillion");
    for part in [
        r#""essential":true"#,
        r#""user":"65532""#,
        r#""readonlyRootFilesystem":true"#,
        r#""stopTimeout":120"#,
        r#"{"name":"PILLION_STOP_TIMEOUT","value":"120s"}"#,
        r#""restartPolicy":{"enabled":true,"restartAttemptPeriod":60}"#,
        r#""command":["CMD","/pillion","healthcheck"]"#,
        r#""firelensConfiguration":{"type":"fluentbit","options":{"enable-ecs-log-metadata":"true"}}"#,
        r#""options":{"awslogs-group":"/ecs/web","awslogs-region":"eu-west-1","awslogs-stream-prefix":"pillion","mode":"non-blocking"}"#,
    ] {
        assert!(ours.contains(part), "{part} in {ours}");
    }
    for never in ["dependsOn", "portMappings", "links"] {
        assert!(!ours.contains(never), "{never}");
    }
    assert_eq!(
        at(&with, "containerDefinitions/web/dependsOn"),
        r#"[{"containerName":"pillion","condition":"HEALTHY"}]"#
    );
}

#[test]
fn a_variable_that_is_set_is_not_set_again() {
    let with = injected(document("web-awslogs"), &options());
    assert_eq!(
        at(&with, "containerDefinitions/web/environment"),
        r#"[{"name":"MODE","value":"production"},{"name":"AWS_XRAY_DAEMON_ADDRESS","value":"127.0.0.1:2000"},{"name":"OTEL_EXPORTER_OTLP_ENDPOINT","value":"http://127.0.0.1:4318"},{"name":"DD_AGENT_HOST","value":"127.0.0.1"},{"name":"STATSD_HOST","value":"127.0.0.1"}]"#
    );
}

#[test]
fn sidecars_go_and_what_they_had_is_told() {
    let changed = inject(document("four-sidecars").as_bytes(), &options()).expect("a task definition");
    let (document, places) = read(changed.text.as_bytes()).expect("a task definition");
    let names: Vec<Option<String>> =
        places[0].task(&document.root).expect("a task").containers().iter().map(|it| it.name()).collect();
    assert_eq!(names.into_iter().flatten().collect::<Vec<_>>(), ["shop", "migrate", "pillion"]);
    // Who waited for one of them waits for pillion, and goes on waiting for the others.
    assert_eq!(
        at(&changed.text, "containerDefinitions/shop/dependsOn"),
        r#"[{"containerName":"migrate","condition":"SUCCESS"},{"containerName":"pillion","condition":"HEALTHY"}]"#
    );
    // Who used the router before is left as it is.
    assert!(at(&changed.text, "containerDefinitions/shop/logConfiguration").contains(r#""log_stream_prefix":"shop/""#));
    let told = changed.reports[0].to_string();
    let told: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(
        told,
        [
            "logs go through pillion, from awslogs: migrate",
            "where not set already: AWS_XRAY_DAEMON_ADDRESS, OTEL_EXPORTER_OTLP_ENDPOINT, DD_AGENT_HOST, STATSD_HOST",
            "took out `log_router`, the log router: 64 CPU units, 128 MiB",
            "took out `xray`, the X-Ray daemon: 32 CPU units, 256 MiB",
            "took out `collector`, the OpenTelemetry collector: 160 CPU units, 256 MiB",
            "that frees 256 CPU units and 576 MiB of memory (640 less the 64 of pillion)",
            "if the task's 512/1024 was chosen for them, 256/512 does: $9.01 a month less for each task (Fargate, us-east-1)",
        ]
    );
}

#[test]
fn a_sidecar_that_does_more_stays_and_nobody_takes_its_port() {
    for (from, to, stays, why) in [
        ("\"Name\": \"cloudwatch_logs\"", "\"Name\": \"datadog\"", "log_router", "pillion has no output `datadog`"),
        ("{ \"type\": \"fluentbit\" }", "{ \"type\": \"fluentd\" }", "log_router", "its configuration is Fluentd's"),
        ("[\"-o\"]", "[\"-o\", \"-r\", \"arn:aws:iam::1:role/x\"]", "xray", "its flag `-r` is not carried over"),
        ("/etc/ecs/ecs-xray.yaml", "/mine.yaml", "collector", "its configuration `/mine.yaml` is not carried over"),
    ] {
        let text = document("four-sidecars").replace(from, to);
        let changed = inject(text.as_bytes(), &options()).expect("a task definition");
        let told = changed.reports[0].care.iter().find(|problem| problem.place == stays);
        assert!(told.is_some_and(|told| told.what.contains(why)), "{why}: {:?}", changed.reports[0].care);
        let (document, places) = read(changed.text.as_bytes()).expect("a task definition");
        let task = places[0].task(&document.root).expect("a task");
        assert!(task.container(stays).is_some());
        let ours = task.container("pillion").expect("our container");
        let set = |part: &str| ours.environment().any(|(name, _)| name.contains("__INPUTS__") && name.contains(part));
        match stays {
            "log_router" => assert!(
                !ours.is_router() && ours.variable("PILLION_CONFIG_CONTENT").as_deref() == Some("logs: {inputs: []}")
            ),
            "xray" => assert!(!set("__XRAY__") && set("__OTLP__")),
            _ => assert!(!set("__XRAY__") && !set("__OTLP__")),
        }
        // Whoever names it decides otherwise.
        let forced = Options { replace: vec![stays.to_owned()], ..options() };
        let changed = injected(&text, &forced);
        let (document, places) = read(changed.as_bytes()).expect("a task definition");
        assert!(places[0].task(&document.root).expect("a task").container(stays).is_none());
        assert_eq!(removed(&changed), text);
    }
}

#[test]
fn in_bridge_mode_links_lead_to_pillion() {
    let with = injected(document("bridge-links"), &options());
    assert_eq!(at(&with, "containerDefinitions/app/links"), r#"["pillion:xray","cache","pillion"]"#);
    assert_eq!(at(&with, "containerDefinitions/cache/links"), r#"["pillion"]"#);
    let environment = at(&with, "containerDefinitions/app/environment");
    assert!(environment.contains("http://pillion:4318") && environment.contains("xray:2000"), "{environment}");
    assert!(at(&with, "containerDefinitions/pillion/environment").contains("0.0.0.0:4317"));
}

#[test]
fn secrets_become_files_where_they_are_written_out() {
    let files = Options { secrets: SecretsAs::Files, ..options() };
    let changed = inject(document("web-awslogs").as_bytes(), &files).expect("a task definition");
    let with = &changed.text;
    assert!(!at(with, "containerDefinitions/web").contains("\"secrets\""));
    let environment = at(with, "containerDefinitions/web/environment");
    assert!(environment.contains(r#"{"name":"DB_PASSWORD_FILE","value":"/run/secrets/DB_PASSWORD"}"#), "{environment}");
    assert!(environment.contains(r#"{"name":"FLAG_FILE","value":"/run/secrets/FLAG"}"#), "{environment}");
    assert_eq!(at(with, "volumes"), r#"[{"name":"pillion-secrets"}]"#);
    assert_eq!(
        at(with, "containerDefinitions/web/mountPoints"),
        r#"[{"sourceVolume":"pillion-secrets","containerPath":"/run/secrets","readOnly":true}]"#
    );
    assert_eq!(
        at(with, "containerDefinitions/pillion/mountPoints"),
        r#"[{"sourceVolume":"pillion-secrets","containerPath":"/run/secrets"}]"#
    );

    let (document_of, places) = read(with.as_bytes()).expect("a task definition");
    let task = places[0].task(&document_of.root).expect("a task");
    let (config, _) =
        iam::loaded(task, task.container("pillion").expect("ours"), &Account::of(task)).expect("it starts");
    let shown: Vec<String> =
        config.secrets.items.iter().map(|item| format!("{:?} {:?}", item.from, item.files)).collect();
    assert!(shown[0].contains("secret:prod/db-AbCdEf\"") && shown[0].contains("Key(\"password\")"), "{shown:?}");
    assert!(shown[1].contains("name: \"/web/flag\""), "{shown:?}");

    // What a template computes stays a variable.
    let changed = inject(document("template").as_bytes(), &files).expect("a task definition");
    assert!(at(&changed.text, "Resources/Task/Properties/ContainerDefinitions/orders").contains("\"Secrets\""));
    assert!(
        changed.reports[0].care.iter().any(|it| it.place == "Task.orders.secrets.DB_PASSWORD"),
        "{:?}",
        changed.reports[0].care
    );
}

#[test]
fn what_pillion_cannot_be_put_into_is_left_alone() {
    let windows = "{\"family\": \"w\", \"runtimePlatform\": {\"operatingSystemFamily\": \"WINDOWS_SERVER_2022_CORE\"}, \"containerDefinitions\": [{\"name\": \"a\", \"image\": \"b\"}]}";
    for (text, why) in [
        (document("list").replace("app:1", "mine/pillion:2"), "runs pillion already"),
        (document("list").replace("\"name\":\"app\"", "\"name\":\"pillion\""), "another container is called `pillion`"),
        (windows.to_owned(), "does not run on WINDOWS"),
        (document("web-awslogs").replace("\"awsvpc\"", "\"none\""), "without a network"),
    ] {
        let changed = inject(text.as_bytes(), &options()).expect("a task definition");
        assert_eq!(changed.text, text);
        assert!(changed.reports[0].done[0].contains(why), "{:?}", changed.reports[0].done);
    }
    for (text, what) in
        [("{}", "has no task definition"), ("[1]", "has no task definition"), ("[x]", "a value is expected")]
    {
        let problem = inject(text.as_bytes(), &options()).expect_err(text);
        assert!(problem.what.contains(what), "{problem}");
    }
}

#[test]
fn a_task_without_room_is_told_the_next_size() {
    let text = document("web-awslogs").replace("\"stopTimeout\": 30", "\"memory\": 1000");
    let report = &inject(text.as_bytes(), &options()).expect("a task definition").reports[0];
    let told: Vec<String> = report.care.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "warning: memory: reserves 1064 MiB for its containers, and has 1024; the next size of Fargate is 512/2048; or reserve less for the containers"
        ]
    );
}

/// A task definition with all that inject looks at, in any combination.
fn definitions() -> impl Strategy<Value = String> {
    let space = || "[ \n]{0,2}";
    let log = prop_oneof![
        Just(String::new()),
        Just(r#""logConfiguration" : {"logDriver": "awslogs", "options": { "awslogs-group": "g" , "awslogs-region":"r"}},"#.to_owned()),
        Just(r#""logConfiguration":{"logDriver":"awsfirelens", "options":{"Name":"null"}},"#.to_owned()),
        Just(r#""logConfiguration":{"logDriver":"splunk"},"#.to_owned()),
    ];
    let more = prop::sample::subsequence(
        vec![
            r#""environment": [ ]"#,
            r#""secrets": [{"name": "P", "valueFrom": "/p"}]"#,
            r#""dependsOn": [{"containerName":"x","condition":"START"}]"#,
            r#""mountPoints":[]"#,
            r#""links": [ "x" ]"#,
            r#""dockerLabels": {}"#,
        ],
        0..=6,
    );
    let container = (space(), log, more, 0usize..4).prop_map(|(space, log, more, image)| {
        let image = ["app:1", "aws-xray-daemon:3", "aws-otel-collector:1", "aws-for-fluent-bit:2"][image];
        let router =
            if image.starts_with("aws-for") { r#""firelensConfiguration": {"type": "fluentbit"},"# } else { "" };
        let more: String = more.iter().map(|it| format!("{it},{space}")).collect();
        format!("{{{space}{log}{router}{more}\"image\": \"{image}\",\"name\": \"NAME\"{space}}}")
    });
    let mode = prop::sample::select(vec!["", r#""networkMode": "awsvpc","#, r#""networkMode": "host","#]);
    let volumes = prop::sample::select(vec!["", r#""volumes":[ ],"#, r#""volumes": [{"name": "v"}],"#]);
    (space(), mode, volumes, prop::collection::vec(container, 1..5)).prop_map(|(space, mode, volumes, containers)| {
        let named: Vec<String> =
            containers.iter().enumerate().map(|(n, it)| it.replace("NAME", &format!("c{n}"))).collect();
        format!(
            "{{{space}{mode}{volumes}\"containerDefinitions\":{space}[{space}{}{space}]{space}}}{space}",
            named.join(",")
        )
    })
}

proptest! {
    #[test]
    fn property_out_of_in_is_what_was_there(text in definitions(), files in any::<bool>(), keep in any::<bool>()) {
        let secrets = if files { SecretsAs::Files } else { SecretsAs::Variables };
        let logs = if keep { Logs::Keep } else { Logs::Route };
        let options = Options { secrets, logs, ..options() };
        let with = injected(&text, &options);
        prop_assert_eq!(removed(&with), text.clone());
        prop_assert_eq!(injected(&with, &options), with);
    }

    /// Whatever a label says, taking out ends, and gives JSON.
    #[test]
    fn property_no_history_breaks_it(
        names in prop::collection::vec("[a-c]|containerDefinitions", 0..4), index in any::<usize>(), text in ".{0,8}", which in 0u8..5,
    ) {
        let changes: Vec<edit::Change> = names.into_iter().map(|name| match which {
            0 => edit::Change::Added(None, name),
            1 => edit::Change::Set(Some("app".to_owned()), name, text.clone(), 0),
            2 => edit::Change::Pushed(None, name, vec![text.clone()], text.clone()),
            3 => edit::Change::Taken(Some("app".to_owned()), index, [String::new(), format!("{name:?}"), ":".to_owned()], text.clone(), String::new(), None),
            _ => edit::Change::Container(index, [String::new(), String::new(), String::new()], text.clone(), String::new(), Some(String::new())),
        }).collect();
        let label = edit::remembered(&changes, Syntax::Json);
        prop_assert_eq!(edit::recalled(&label, Syntax::Json), Some(changes));
        let text = format!(r#"{{"containerDefinitions": [{{"name": "app", "image": "i"}}, {{"name": "pillion", "image": "p", "dockerLabels": {{"pillion.undo": "{label}"}}}}]}}"#);
        let back = remove(text.as_bytes()).expect("a task definition");
        prop_assert!(json::parse(back.text.as_bytes()).is_ok(), "{}", back.text);
    }
}

proptest! {
    /// A document with a few bytes changed is refused, or comes back to the byte: what the fuzz target does, in small.
    #[test]
    fn property_a_damaged_document_is_refused_or_comes_back(
        which in 0..DOCUMENTS.len(), damage in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, any::<u8>()), 1..4),
    ) {
        let mut bytes = DOCUMENTS[which].1.as_bytes().to_vec();
        for (at, how, byte) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        drop(lint::lint(&bytes));
        let options = Options { secrets: SecretsAs::Files, ..options() };
        if let Ok(with) = inject(&bytes, &options) {
            drop(lint::lint(with.text.as_bytes()));
            prop_assert_eq!(injected(&with.text, &options), with.text.clone());
            prop_assert_eq!(removed(&with.text).into_bytes(), bytes);
        }
    }
}
