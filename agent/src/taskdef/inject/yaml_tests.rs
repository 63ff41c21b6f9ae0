//! The same on templates in YAML.
//!
//! Promises: every document comes back to the byte; what is put in says what it says in JSON; what stands around keeps its bytes.
//! Never: looks into how YAML is read; `tree::yaml_tests` does.

use proptest::prelude::*;

use super::{
    tests::{options, removed},
    *,
};
use crate::taskdef::{lint, tree};

const DOCUMENTS: [(&str, &str); 3] = [
    ("template", include_str!("../../../testdata/taskdef/template.yaml")),
    ("two-tasks", include_str!("../../../testdata/taskdef/two-tasks.yaml")),
    ("cli-input", include_str!("../../../testdata/taskdef/cli-input.yaml")),
];

fn ways() -> [Options; 4] {
    let files = Options { secrets: SecretsAs::Files, ..options() };
    let both = Options { secrets: SecretsAs::Both, wait: Wait::Start, records: Records::Whole, ..options() };
    let kept = Options { logs: Logs::Keep, keep: vec!["xray".to_owned(), "daemon".to_owned()], ..options() };
    [options(), files, both, kept]
}

fn injected(text: &str, options: &Options) -> String {
    inject(text.as_bytes(), options).unwrap_or_else(|problem| panic!("{problem}\n{text}")).text
}

/// The same document as JSON.
fn as_json(text: &str) -> String {
    tree::yaml::parse(text.as_bytes()).expect("YAML").root.compact()
}

#[test]
fn what_was_put_into_yaml_is_taken_out_to_the_byte() {
    for (name, text) in DOCUMENTS {
        for options in ways() {
            for text in [text.to_owned(), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
                let with = injected(&text, &options);
                assert_ne!(with, text, "{name}");
                assert_eq!(removed(&with), text, "{name}");
                assert_eq!(injected(&with, &options), with, "{name}: again");
                assert_eq!(injected(&injected(&text, &ways()[1]), &options), with, "{name}: after other options");
            }
        }
    }
}

/// The one reader and the other: what inject makes of YAML says what it makes of the same document as JSON.
#[test]
fn it_says_the_same_as_in_json() {
    // The history is written in the way of the document.
    let without_history = |json: &str| {
        let mut value: serde_json::Value = serde_json::from_str(json).expect("JSON");
        let mut said = String::new();
        for pointer in ["/Resources/Task/Properties", "/Resources/Web/Properties", "/Resources/Batch/Properties", ""] {
            let Some(task) = value.pointer_mut(pointer) else { continue };
            let containers =
                ["ContainerDefinitions", "containerDefinitions"].into_iter().find(|key| task.get(key).is_some());
            let Some(containers) = containers.and_then(|key| task.get_mut(key)?.as_array_mut()) else { continue };
            for labels in containers.iter_mut().filter_map(|container| {
                let key = ["DockerLabels", "dockerLabels"].into_iter().find(|key| container.get(key).is_some())?;
                container.get_mut(key)
            }) {
                assert!(labels[LABEL].as_str().is_some_and(|label| label.len() > 10));
                labels[LABEL] = "".into();
                said.push('x');
            }
        }
        assert!(!said.is_empty());
        value
    };
    for (name, text) in DOCUMENTS {
        for options in ways() {
            let (yaml, json) = (injected(text, &options), injected(&as_json(text), &options));
            assert_eq!(without_history(&as_json(&yaml)), without_history(&json), "{name}");
            let findings = |text: &str| lint::lint(text.as_bytes()).expect("a task definition");
            assert_eq!(findings(&yaml), findings(&json), "{name}");
            assert_eq!(findings(text), findings(&as_json(text)), "{name}");
        }
    }
}

#[expect(clippy::too_many_lines, reason = "the lines are those of the template")]
#[test]
fn a_template_reads_as_its_author_would_have_written_it() {
    let (_, text) = DOCUMENTS[0];
    let with = injected(text, &options());
    let label = with.lines().find(|line| line.trim_start().starts_with(LABEL)).expect("a label");
    let shown =
        crate::taskdef::diff::unified(text, &with.replace(label, "            pillion.undo: ..."), "template.yaml");
    insta::assert_snapshot!(shown, @r##"
    --- template.yaml
    +++ template.yaml
    @@ -35,17 +35,28 @@
                 - Name: QUEUE
                   Value: !Ref Queue
                 - { Name: GREETING, Value: "grüezi: #1" }
    +            - Name: AWS_XRAY_DAEMON_ADDRESS
    +              Value: "127.0.0.1:2000"
    +            - Name: OTEL_EXPORTER_OTLP_ENDPOINT
    +              Value: http://127.0.0.1:4318
    +            - Name: DD_AGENT_HOST
    +              Value: "127.0.0.1"
    +            - Name: STATSD_HOST
    +              Value: "127.0.0.1"
               Secrets:
                 - Name: DB_PASSWORD
                   ValueFrom: !Join ["", [!Ref Secret, ":password::"]]
                 - Name: FLAG
                   ValueFrom: /orders/flag
               LogConfiguration:
    -            LogDriver: awslogs
    +            LogDriver: awsfirelens
                 Options:
    -              awslogs-group: !Ref Logs
    -              awslogs-region: !Ref AWS::Region
    -              awslogs-stream-prefix: !Ref AWS::StackName   # as ever
    +              Name: cloudwatch
    +              region: !Ref AWS::Region
    +              log_group_name: !Ref Logs
    +              log_stream_name:
    +                Fn::Join: ["", [!Ref AWS::StackName, "/orders/$(ecs_task_id)"]]
    +              log_key: log
               HealthCheck:
                 Command:
                   - CMD-SHELL
    @@ -54,14 +65,51 @@
                     # asks itself
                     curl -f http://127.0.0.1:8080/health
                 Retries: 3
    -
    -        # The daemon, until we have something better.
    -        - Name: xray
    -          Image: public.ecr.aws/xray/aws-xray-daemon:3.x
    -          Cpu: 32
    -          MemoryReservation: 256
    -          # no one reads its log
    -          Essential: false
    +          DependsOn:
    +            - ContainerName: pillion
    +              Condition: HEALTHY
    +        - Name: pillion
    +          Image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/pillion:0.1.0"
    +          Essential: true
    +          MemoryReservation: 64
    +          User: "65532"
    +          ReadonlyRootFilesystem: true
    +          FirelensConfiguration:
    +            Type: fluentbit
    +            Options:
    +              enable-ecs-log-metadata: "true"
    +          Environment:
    +            - Name: PILLION_STOP_TIMEOUT
    +              Value: "120s"
    +            - Name: PILLION__TRACES__INPUTS__0__XRAY__UDP
    +              Value: "127.0.0.1:2000"
    +            - Name: PILLION__TRACES__INPUTS__0__XRAY__TCP
    +              Value: "127.0.0.1:2000"
    +            - Name: PILLION__TRACES__INPUTS__1__OTLP__GRPC
    +              Value: "127.0.0.1:4317"
    +            - Name: PILLION__TRACES__INPUTS__1__OTLP__HTTP
    +              Value: "127.0.0.1:4318"
    +            - Name: PILLION__METRICS__INPUTS__0__STATSD__UDP
    +              Value: "127.0.0.1:8125"
    +          StopTimeout: 120
    +          RestartPolicy:
    +            Enabled: true
    +            RestartAttemptPeriod: 60
    +          HealthCheck:
    +            Command: ["CMD", "/pillion", "healthcheck"]
    +            Interval: 5
    +            Timeout: 5
    +            Retries: 3
    +            StartPeriod: 30
    +          LogConfiguration:
    +            LogDriver: awslogs
    +            Options:
    +              awslogs-group: !Ref Logs
    +              awslogs-region: !Ref AWS::Region
    +              awslogs-stream-prefix: pillion
    +              mode: non-blocking
    +          DockerLabels:
    +            pillion.undo: ...
     
       Queue:
         Type: AWS::SQS::Queue
    "##);
}

/// Somebody moves all resources in by other steps. What inject took out comes back moved in as far.
#[test]
fn a_template_that_was_moved_in_anew_is_undone_too() {
    for (name, text) in &DOCUMENTS[..2] {
        for spaces in ["  ", "   "] {
            let moved = |text: &str| -> String {
                let line = |line: &str| if line.starts_with(' ') { spaces.to_owned() + line } else { line.to_owned() };
                text.split_inclusive('\n').map(line).collect()
            };
            let with = injected(text, &ways()[1]);
            let back = removed(&moved(&with));
            assert_eq!(as_json(&back), as_json(text), "{name}");
            // What stands in brackets over several lines is not moved: there it means nothing.
            if *name == "template" {
                assert_eq!(back, moved(text));
            }
            // Less than it was when it was put in.
            let with = injected(&moved(text), &ways()[1]);
            let back = removed(&with.replace(&format!("\n{spaces}"), "\n"));
            assert_eq!(as_json(&back), as_json(text), "{name}");
        }
    }
}

#[test]
fn what_others_changed_in_a_template_stays() {
    let (_, text) = DOCUMENTS[0];
    let change = |text: &str| {
        text.replace("orders:${ImageTag}", "orders:8")
            .replace(
                "            # where orders come from\n",
                "            # where from\n            - Name: NEW\n              Value: \"1\"\n",
            )
            .replace("  Queue:\n", "  # new\n  Queue:\n")
    };
    assert_eq!(removed(&change(&injected(text, &options()))), change(text));
}

/// What was taken out of YAML is YAML: in a file that became JSON it would be none, so nothing is touched.
#[test]
fn a_history_of_the_other_kind_is_told_and_nothing_is_touched() {
    let (_, text) = DOCUMENTS[2];
    let turned = as_json(&injected(text, &options()));
    let back = remove(turned.as_bytes()).expect("a task definition");
    assert_eq!(back.text, turned);
    let care = &back.reports[0].care;
    assert!(care.len() == 1 && care[0].what == "was written when the file was YAML", "{care:?}");
}

#[test]
fn what_yaml_cannot_be_read_is_told_with_its_line() {
    for (text, place) in [
        ("Resources:\n  Task: &x\n    Type: AWS::ECS::TaskDefinition\n", "line 2"),
        ("Resources:\n\tTask: 1\n", "line 2"),
        ("family: x\n", "the document"),
        ("nothing at all", "the document"),
    ] {
        let problem = inject(text.as_bytes(), &options()).expect_err(text);
        assert_eq!(problem.place, place, "{problem}");
    }
}

/// A template with all that inject looks at, laid out in any way.
fn templates() -> impl Strategy<Value = String> {
    let comment = || prop::sample::select(vec!["", "  # why", "\n\n    # above", "\n"]);
    let log = prop::sample::select(vec![
        "",
        "LogConfiguration:\n  LogDriver: awslogs\n  Options:\n    awslogs-group: !Ref G # g\n    awslogs-region: r\n",
        "LogConfiguration: {LogDriver: awslogs, Options: {\n  awslogs-group: g, # g\n  awslogs-region: r}}\n",
        "LogConfiguration: !If [A, {LogDriver: splunk}, !Ref AWS::NoValue]\n",
    ]);
    let more = prop::sample::subsequence(
        vec![
            "Environment: []\n",
            "Secrets:\n- Name: P\n  ValueFrom: /p\n",
            "DependsOn:\n  - {ContainerName: c1, Condition: START}\n",
            "MountPoints: [ ]\n",
            "Links:\n  - c1:xray # why\n",
            "Command: |\n  a\n   b\n\n",
            "EntryPoint:\n    - \"a\\\n      b\"\n",
            "DockerLabels: {}\n",
        ],
        0..=8,
    )
    .prop_shuffle();
    let container = (comment(), log, more, 0usize..4, any::<bool>()).prop_map(|(comment, log, more, image, first)| {
        let image = ["app:1", "aws-xray-daemon:3", "aws-otel-collector:1", "aws-for-fluent-bit:2"][image];
        let router = if image.starts_with("aws-for") { "FirelensConfiguration:\n  Type: fluentbit\n" } else { "" };
        let name = format!("Name: NAME{comment}\nImage: '{image}'\n");
        if first {
            format!("{name}{router}{log}{}", more.concat())
        } else {
            format!("{}{log}{router}{name}", more.concat())
        }
    });
    let around = prop::sample::select(vec![("", ""), ("# first\n", "# last"), ("Parameters: {}\n", "Outputs: {}\n")]);
    let steps = (1usize..4, 0usize..3);
    (around, steps, prop::collection::vec(container, 1..4)).prop_map(|((head, tail), (step, dash), containers)| {
        let moved = |text: &str, by: usize| -> String {
            text.split_inclusive('\n')
                .map(|line| if line == "\n" { line.to_owned() } else { " ".repeat(by) + line })
                .collect()
        };
        let list: String = containers
            .iter()
            .enumerate()
            .map(|(number, container)| {
                let container = moved(&container.replace("NAME", &format!("c{number}")), 2);
                format!("- {}", &container[2..])
            })
            .collect();
        let task = format!(
            "Type: AWS::ECS::TaskDefinition\nProperties:\n{}",
            moved(&format!("ContainerDefinitions:\n{}", moved(&list, dash)), step)
        );
        format!("{head}Resources:\n{}{tail}", moved(&format!("Task:\n{}", moved(&task, step)), step))
    })
}

proptest! {
    #[test]
    fn property_out_of_in_is_what_was_there_in_yaml(text in templates(), way in 0usize..4) {
        let options = &ways()[way];
        let with = injected(&text, options);
        prop_assert_eq!(removed(&with), text.clone());
        prop_assert_eq!(injected(&with, options), with);
    }

    /// A document with a few bytes changed is refused, or comes back to the byte.
    #[test]
    fn property_damaged_yaml_is_refused_or_comes_back(
        which in 0..DOCUMENTS.len(), damage in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, "[ \n:#'\"|!&a-]"), 1..4),
    ) {
        let mut bytes = DOCUMENTS[which].1.as_bytes().to_vec();
        for (at, how, byte) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte.as_bytes()[0],
                1 => bytes.insert(at, byte.as_bytes()[0]),
                _ => drop(bytes.remove(at)),
            }
        }
        drop(lint::lint(&bytes));
        let options = Options { secrets: SecretsAs::Files, ..options() };
        if let Ok(with) = inject(&bytes, &options) {
            prop_assert_eq!(injected(&with.text, &options), with.text.clone());
            prop_assert_eq!(removed(&with.text).into_bytes(), bytes);
        }
    }

    /// Whatever a label says, taking out ends, and what it gives is YAML.
    #[test]
    fn property_no_history_breaks_yaml(
        names in prop::collection::vec("[a-c]|containerDefinitions|name", 0..4), index in any::<usize>(),
        text in "( |\n|- |a|: |#|'|\\{|\\]|,){0,6}", before in "(\n|\n  |\n- |# |a)?", which in 0u8..5,
    ) {
        let owner = Some("app".to_owned());
        let changes: Vec<edit::Change> = names.into_iter().map(|name| match which {
            0 => edit::Change::Added(None, name),
            1 => edit::Change::Set(owner.clone(), name.clone(), format!("  {name}: {text}"), 0),
            2 => edit::Change::Pushed(None, name, vec![text.clone()], text.clone()),
            3 => edit::Change::Taken(owner.clone(), index, [before.clone(), name, ":".to_owned()], text.clone(), text.clone(), None),
            _ => edit::Change::Container(index, [before.clone(), String::new(), String::new()], text.clone(), String::new(), Some(text.clone())),
        }).collect();
        let label = edit::remembered(&changes, Syntax::Yaml);
        let text = format!("family: f\ncontainerDefinitions:\n- name: app\n  image: i\n- name: pillion\n  image: p\n  dockerLabels:\n    pillion.undo: \"{label}\"\n");
        match remove(text.as_bytes()) {
            Ok(back) => prop_assert!(tree::yaml::parse(back.text.as_bytes()).is_ok(), "{}", back.text),
            Err(problem) => prop_assert!(problem.what.contains("cannot be changed here"), "{}", problem),
        }
    }
}
