//! What the local API answers, beside what boto3 gets of the same secrets and parameters.
//!
//! Promises: member by member, for each way to name a secret, a version and a stage.
//! Never: compares with AWS's own agent, which no registry has.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;
use tests::{
    agent::{Agent, Setup, free_address},
    wait::until,
};

use crate::{SOON, environment};

#[test]
fn the_local_api_says_what_boto3_says() {
    let (moto, volume, api) = (environment("MOTO_URL"), TempDir::new().unwrap(), free_address().unwrap());
    let token = volume.path().join("secrets/token");
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\nlog: {{level: trace}}\n\
         secrets:\n  folder: {}\n  api: {{listen: '{api}', endpoint: '{moto}', region: us-east-1}}\n",
        volume.path().join("secrets").display()
    )));
    let agent = agent.unwrap();
    until(SOON, || agent.log(), || fs::read_to_string(&token).is_ok_and(|token| !token.is_empty()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/compare_answers.py");
    let compared = Command::new(environment("PILLION_PYTHON"))
        .arg(script)
        .args(["--aws", &moto, "--agent", &format!("http://{api}"), "--token"])
        .arg(&token)
        .args(["--prefix", &format!("answers-{}", std::process::id())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compared.stdout).into_owned() + &String::from_utf8_lossy(&compared.stderr);
    assert!(compared.status.success() && said.contains("44 compared, 0 different"), "{said}");
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert!(!ended.log.contains("canary"), "{}", ended.log);
}
