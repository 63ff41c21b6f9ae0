//! Tests of flags, exceptions and their stacks in a document.
//!
//! Promises: see the page above.
//! Never: repeats what the tests of the stack traces say.

use super::*;

#[test]
fn the_answer_says_whose_fault_it_was() {
    let flags = |fault, error, throttle| json!([fault, error, throttle]);
    for (attributes, failed, expected) in [
        (json!({"http.status_code": 200}), None, flags(false, false, false)),
        (json!({"http.status_code": 404}), Some(""), flags(false, true, false)),
        (json!({"http.response.status_code": 429}), None, flags(false, true, true)),
        (json!({"http.response.status_code": 503}), None, flags(true, false, false)),
        (json!({"http.status_code": 200}), Some(""), flags(true, false, false)),
        (json!({}), Some(""), flags(true, false, false)),
        (json!({"http.status_code": 600}), None, flags(false, false, false)),
    ] {
        let seen = document(&json!({}), &json!({"attributes": attributes, "failed": failed}));
        assert_eq!(json!([seen["fault"], seen["error"], seen["throttle"]]), expected, "{attributes} {failed:?}");
    }
}

#[test]
fn exceptions_are_shown_with_their_stacks_and_causes() {
    let java = "a.B: c\n\tat d.E(F.java:1)\nCaused by: g.H: i\n\tat j.K(L.java:2)\n";
    let members = json!({
        "kind": "client",
        "events": [
            {"name": "exception", "attributes": {"exception.type": "a.B", "exception.message": "c", "exception.stacktrace": java}},
            {"name": "other"},
            {"name": "exception", "attributes": {"exception.message": "second"}},
        ],
    });
    let seen = document(&json!({"telemetry.sdk.language": "java"}), &members);
    let exceptions = seen["cause"]["exceptions"].as_array().expect("a list");
    let ids: Vec<&str> = exceptions.iter().map(|exception| exception["id"].as_str().expect("an id")).collect();
    assert!(ids.iter().all(|id| id.len() == 16) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    assert_eq!(
        seen["cause"],
        json!({"exceptions": [
            {
                "id": ids[0], "message": "c", "type": "a.B", "remote": true, "cause": ids[1],
                "stack": [{"path": "F.java", "line": 1, "label": "d.E"}],
            },
            {"id": ids[1], "message": "i", "type": "g.H", "remote": true, "stack": [{"path": "L.java", "line": 2, "label": "j.K"}]},
            {"id": ids[2], "message": "second", "type": "", "remote": true},
        ]})
    );
    assert_eq!(seen["fault"], false, "an exception that was caught is no fault");
    assert_eq!(document(&json!({"telemetry.sdk.language": "java"}), &members), seen, "the same each time");
}

#[test]
fn a_failure_without_an_exception_is_shown_with_its_message() {
    for (members, message) in [
        (json!({"failed": "timed out"}), Some("timed out")),
        (json!({"failed": "", "attributes": {"http.status_text": "Bad Gateway"}}), Some("Bad Gateway")),
        (json!({"failed": ""}), None),
        (json!({"attributes": {"http.status_text": "OK"}}), None),
    ] {
        let seen = document(&json!({}), &members);
        assert_eq!(seen["cause"]["exceptions"][0]["message"].as_str(), message, "{members}");
        assert_eq!(seen["cause"].is_null(), message.is_none(), "{members}");
    }
}

#[test]
fn tries_of_an_aws_sdk_that_failed_are_shown() {
    let event = json!({
        "name": "HTTP request failure",
        "attributes": {"http.response.status_code": 503, "aws.http.error_message": "slow down"},
    });
    let members = |system: &str| json!({"kind": "client", "attributes": {"rpc.system": system}, "events": [event]});
    let seen = document(&json!({}), &members("aws-api"));
    let exception = &seen["cause"]["exceptions"][0];
    assert_eq!(exception["message"], "503@1700000000.500000@slow down");
    assert_eq!((&exception["type"], &exception["remote"]), (&json!("aws.http.error.event"), &json!(true)));
    assert_eq!(document(&json!({}), &members("grpc"))["cause"], json!(null));
}
