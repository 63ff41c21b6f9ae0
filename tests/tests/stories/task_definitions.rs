//! `pillion inject`, `uninject`, `lint` and `iam`, as people and pipelines call them.
//!
//! Promises: the document is on standard output and nothing else is; exit codes tell a finding from a document that cannot be read.
//! Never: looks at what is put in; the module's own tests do.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tests::agent::binary;

const IMAGE: [&str; 2] = ["--image", "pillion:0.1.0"];

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/testdata/taskdef").join(name)
}

/// Exit code, standard output and standard error of a call that gets `input`.
fn pillion(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = Command::new(binary().unwrap())
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who is called wrongly ends without reading.
    drop(child.stdin.take().unwrap().write_all(input));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn inject_and_uninject_stand_in_a_pipe() {
    for name in ["web-awslogs.json", "template.json", "described.json", "list.json"] {
        let given = fs::read(document(name)).unwrap();
        let (code, with, told) = pillion(&["inject", IMAGE[0], IMAGE[1]], &given);
        assert_eq!(code, Some(0), "{told}");
        assert!(with.contains("pillion:0.1.0") && told.contains("logs go through pillion"), "{with}{told}");
        let (code, back, _) = pillion(&["uninject"], with.as_bytes());
        assert_eq!((code, back.as_bytes()), (Some(0), &*given), "{name}");
    }
}

#[test]
fn a_file_is_changed_in_its_place_and_ci_sees_whether_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("task.json");
    fs::copy(document("four-sidecars.json"), &file).unwrap();
    let name = file.to_str().unwrap();
    let inject = |more: &[&str]| pillion(&[&["inject", name, IMAGE[0], IMAGE[1], "--quiet"], more].concat(), b"");
    assert_eq!(inject(&["--check"]).0, Some(1));
    let (code, shown, _) = inject(&["--diff"]);
    assert_eq!(code, Some(0));
    assert!(shown.contains("-      \"image\": \"public.ecr.aws/xray/aws-xray-daemon:3.x\",\n"), "{shown}");
    assert!(shown.contains("+      \"image\": \"pillion:0.1.0\",\n"), "{shown}");
    assert_eq!(inject(&["--in-place"]), (Some(0), String::new(), String::new()));
    assert_eq!(inject(&["--check"]), (Some(0), String::new(), String::new()));
    assert_eq!(inject(&["--check", "--memory", "96"]).0, Some(1));
    let (code, ..) = pillion(&["uninject", name, "-i"], b"");
    assert_eq!((code, fs::read(&file).unwrap()), (Some(0), fs::read(document("four-sidecars.json")).unwrap()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "something was left beside the file");
}

#[test]
fn lint_ends_with_1_for_what_ecs_refuses_and_78_for_what_it_cannot_read() {
    let seed = document("seed-orders.json");
    let (code, found, _) = pillion(&["lint", seed.to_str().unwrap()], b"");
    assert_eq!(code, Some(0));
    assert!(found.contains("warning[image-latest]: orders-api.image"), "{found}");
    assert_eq!(pillion(&["lint", "--strict"], &fs::read(&seed).unwrap()).0, Some(1));

    let refused = fs::read_to_string(&seed).unwrap().replace("\"cpu\": \"512\"", "\"cpu\": \"300\"");
    let (code, found, _) = pillion(&["lint", "--json"], refused.as_bytes());
    let first: serde_json::Value = serde_json::from_str(found.lines().next().unwrap()).unwrap();
    assert_eq!((code, &first["id"], &first["severity"]), (Some(1), &"fargate-size".into(), &"error".into()));
    assert_eq!(pillion(&["lint", "--allow", "fargate-size"], refused.as_bytes()).0, Some(0));

    for (input, said) in [
        ("family: web\n", "the document: has no task definition"),
        ("Resources:\n  Task: &x\n    Type: a\n", "line 2: column 9: anchors and aliases are not followed"),
        ("{\"family\": \"web\",\n}", "line 2: column 1: a comma before the end is one too many"),
        ("{}", "the document: has no task definition"),
    ] {
        let (code, out, told) = pillion(&["lint"], input.as_bytes());
        assert_eq!((code, out.as_str()), (Some(78), ""), "{told}");
        assert!(told.contains(said), "{told}");
    }
    assert_eq!(pillion(&["lint", "/no/such/file"], b"").0, Some(78));
    assert_eq!(pillion(&["lint", "--allow", "nonsense"], b"").0, Some(64));
    assert_eq!(pillion(&["inject"], b"").0, Some(64));
}

/// A template in YAML through all four commands, and back to the byte.
#[test]
fn a_template_in_yaml_goes_through_all_commands() {
    let given = fs::read(document("template.yaml")).unwrap();
    let (code, with, told) = pillion(&["inject", "--image", "pillion:0.1.0"], &given);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("took out `xray`, the X-Ray daemon: 32 CPU units, 256 MiB"), "{told}");
    // Comments and short tags around it are as they were.
    for line in [
        "          Image: !Sub ${AWS::AccountId}.dkr.ecr.${AWS::Region}.amazonaws.com/orders:${ImageTag}\n",
        "            # where orders come from\n",
    ] {
        assert!(with.contains(line), "{with}");
    }
    assert_eq!(pillion(&["inject", "--image", "pillion:0.1.0", "--check"], with.as_bytes()).0, Some(0));
    assert_eq!(pillion(&["lint"], with.as_bytes()).0, Some(0));
    let (code, policy, _) = pillion(&["iam", "--region", "eu-west-1"], with.as_bytes());
    assert!(code == Some(0) && policy.contains("xray:PutTraceSegments"), "{policy}");
    let (code, back, _) = pillion(&["uninject"], with.as_bytes());
    assert_eq!((code, back.as_bytes()), (Some(0), given.as_slice()));
}

#[test]
fn iam_prints_a_policy() {
    let given = fs::read(document("web-awslogs.json")).unwrap();
    let (_, with, _) = pillion(&["inject", IMAGE[0], IMAGE[1]], &given);
    let (code, policy, told) = pillion(&["iam"], with.as_bytes());
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(policy["Statement"][0]["Resource"][0], "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/web:*");
    let (code, policy, _) = pillion(&["iam", "--execution-role", "--region", "x"], &given);
    assert_eq!(code, Some(0));
    assert!(policy.contains("arn:aws:ssm:x:123456789012:parameter/web/flag"), "{policy}");
    assert_eq!(pillion(&["iam"], &given).0, Some(78), "nothing in it runs pillion");
}
