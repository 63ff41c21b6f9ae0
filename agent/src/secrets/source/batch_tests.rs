//! Proves which names are asked for together, and that each has its own answer.
//!
//! Promises: each test counts the requests and reads the names in them.
//! Never: needs a network.

use std::task::Poll;

use aws_credential_types::Credentials as Keys;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    aws::{Client, Clock, Credentials, Endpoint},
    net::{
        http::HttpClient,
        stub::{Stub, answer},
        tls::Tls,
    },
    tell::counters::Counters,
};

const ID: &str = "x-amzn-RequestId: 7f6d\r\n";

fn store(stub: &Stub) -> Store {
    let endpoint = Endpoint::parse(&stub.url(), None, "eu-central-1").expect("an endpoint");
    let keys = Credentials::from_provider(Keys::new("AKID", "SECRET", None, None, "test"), Clock::system());
    Store::with(Client::new("ssm", endpoint, keys, HttpClient::new(&Tls::new(None), &Counters::new())))
}

fn key() -> Key {
    Key { region: "eu-central-1".to_owned(), role_arn: None, endpoint: None, is_fixed: false }
}

/// One batch of these names.
fn batch(names: &[&str], stub: &Stub) -> Arc<Batch> {
    let batch = Arc::new(Batch::of_one(names[0], store(stub)));
    for name in &names[1..] {
        batch.join(name).expect("room");
    }
    batch
}

/// An answer that has these parameters, whose values are their names, in the reverse order.
fn ok(names: &[&str]) -> String {
    let one = |name: &&str| json!({"Name": base(name), "Value": format!("value of {}", base(name)), "Version": 3});
    answer("200 OK", ID, &json!({"Parameters": names.iter().rev().map(one).collect::<Vec<_>>()}).to_string())
}

fn refused(code: &str) -> String {
    answer("400 Bad Request", ID, &json!({"__type": code, "message": "no"}).to_string())
}

/// The names of each request.
fn asked(stub: &Stub) -> Vec<String> {
    let names = |body: &[u8]| {
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        let names = body["Names"].as_array().expect("names").iter().filter_map(|name| name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    stub.seen().iter().map(|seen| names(&seen.body)).collect()
}

fn told(brought: &Brought) -> String {
    match brought {
        Ok(said) => said.value.expose_text().expect("text").to_owned(),
        Err(fault) => format!("{:?}", fault.kind),
    }
}

/// Looks of the first `members` members, polled together as the tasks of ten secrets are.
async fn all(batch: &Batch, members: usize) -> Vec<String> {
    let mut looks: Vec<_> = (0..members).map(|member| (Box::pin(batch.look(member)), None)).collect();
    std::future::poll_fn(|cx| {
        for (look, answer) in &mut looks {
            if answer.is_none()
                && let Poll::Ready(brought) = look.as_mut().poll(cx)
            {
                *answer = Some(told(&brought));
            }
        }
        if looks.iter().all(|(_, answer)| answer.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    looks.into_iter().filter_map(|(_, answer)| answer).collect()
}

#[tokio::test]
async fn ten_who_look_together_are_one_request_and_each_has_its_own_answer() {
    let names: Vec<String> = (0..10).map(|at| format!("/app/{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stub = Stub::answering([ok(&names)]);
    let told = all(&batch(&names, &stub), 10).await;
    let expected: Vec<String> = (0..10).map(|at| format!("value of app/{at}")).collect();
    assert_eq!(told, expected);
    assert_eq!(asked(&stub), [names.join(" ")]);
}

#[tokio::test]
async fn a_batch_has_ten_places_and_none_for_what_could_be_mistaken() {
    let stub = Stub::answering([""]);
    let mut batches = Batches::default();
    let mut place = |name: &str, key: Key| batches.place(key, name, || Ok(store(&stub))).expect("a place");
    let (first, _) = place("/a", key());
    for (name, is_in_it) in [
        ("/b", true),
        ("/a", false),
        ("a:prod", false),
        ("arn:aws:ssm:eu-central-1:1:parameter/a", false),
        ("arn:aws:ssm:eu-central-1:1:parameter/c:prod", true),
        ("/aws/reference/secretsmanager/db", false),
        ("/d", true),
        ("/e", true),
        ("/f", true),
        ("/g", true),
        ("/h", true),
        ("/i", true),
        ("/j", true),
        ("/k", false),
    ] {
        assert_eq!(Arc::ptr_eq(&place(name, key()).0, &first), is_in_it, "{name}");
    }
    let (alone, _) = place("/aws/reference/secretsmanager/x", key());
    assert_eq!(alone.state().members.len(), 1);
    let others = [
        Key { region: "eu-west-1".to_owned(), ..key() },
        Key { role_arn: Some("r".to_owned()), ..key() },
        Key { endpoint: Some("e".to_owned()), ..key() },
        Key { is_fixed: true, ..key() },
    ];
    for other in others {
        assert!(!Arc::ptr_eq(&place("/z", other.clone()).0, &first), "{other:?}");
    }
}

/// Who did not look is not asked to, and yet knows as soon as the others.
#[tokio::test]
async fn who_did_not_look_hears_what_the_look_of_another_brought() {
    let stub = Stub::answering([ok(&["/a", "/b"]), ok(&["/a", "/b"])]);
    let batch = batch(&["/a", "/b"], &stub);
    let random = batch.random();
    let (own, other) = tokio::join!(batch.look(0), batch.overheard(1));
    assert_eq!((told(&own).as_str(), told(&other).as_str()), ("value of a", "value of b"));
    assert!(batch.random() != random, "the next wait is spread anew, for all alike");
    // What was heard is heard once.
    let again = batch.overheard(1);
    tokio::pin!(again);
    tokio::select! {
        biased;
        _ = &mut again => panic!("nothing new was brought"),
        () = std::future::ready(()) => {}
    }
    let (own, other) = tokio::join!(batch.look(0), again);
    assert_eq!((told(&own).as_str(), told(&other).as_str()), ("value of a", "value of b"));
}

/// An app whose password was just refused must not get what was known before it asked.
#[tokio::test]
async fn what_an_earlier_request_brought_is_not_given_to_who_asks_later() {
    let stub = Stub::answering([ok(&["/a", "/b"]), ok(&["/a", "/b"])]);
    let batch = batch(&["/a", "/b"], &stub);
    told(&batch.look(0).await);
    // It was brought something already, by a request that is older than its question.
    assert_eq!(told(&batch.look(1).await), "value of b");
    assert_eq!(asked(&stub), ["/a /b", "/a /b"]);
    let mut state = batch.state();
    state.begin(0);
    let first = state.begun + 1;
    let said = serde_json::from_value(json!({"Name": "/b", "Value": "old", "Version": 1})).expect("a parameter");
    state.answered(first - 1, &[(1, "/b".to_owned())], vec![said]);
    assert!(state.take(1, first).is_none(), "brought by a request that had begun before");
}

#[tokio::test]
async fn a_name_that_is_not_there_is_its_own_trouble_and_asked_for_alone_until_it_is() {
    let stub = Stub::answering([ok(&["/a"]), ok(&["/a"]), ok(&[]), ok(&["/b"]), ok(&["/a", "/b"])]);
    let batch = batch(&["/a", "/b"], &stub);
    assert_eq!(all(&batch, 2).await, ["value of a", "Missing"]);
    assert_eq!(told(&batch.look(0).await), "value of a");
    assert_eq!(told(&batch.look(1).await), "Missing");
    assert_eq!(told(&batch.look(1).await), "value of b");
    assert_eq!(told(&batch.look(0).await), "value of a");
    assert_eq!(asked(&stub), ["/a /b", "/a", "/b", "/b", "/a /b"]);
}

/// The service refuses all ten for one: that one is found, and the others do not wait for a person.
#[tokio::test]
async fn a_name_for_which_the_service_refuses_all_is_found_and_asked_for_alone() {
    for (code, kind) in [
        ("AccessDeniedException", "Denied"),
        ("ValidationException", "Invalid"),
        ("InvalidKeyId", "Denied"),
        ("ParameterVersionNotFound", "Missing"),
    ] {
        let no = refused(code);
        let stub = Stub::answering([
            no.clone(),
            ok(&["/a", "/b"]),
            no.clone(),
            no.clone(),
            ok(&["/d"]),
            ok(&["/a", "/b", "/d"]),
            no,
        ]);
        let batch = batch(&["/a", "/b", "/bad", "/d"], &stub);
        assert_eq!(all(&batch, 4).await, ["value of a", "value of b", kind, "value of d"], "{code}");
        assert_eq!(told(&batch.look(3).await), "value of d");
        assert_eq!(told(&batch.look(2).await), kind);
        let all = "/a /b /bad /d";
        assert_eq!(asked(&stub), [all, "/a /b", "/bad /d", "/bad", "/d", "/a /b /d", "/bad"], "{code}");
    }
}

/// Halving must not become a storm upon a service that is throttled or down.
#[tokio::test]
async fn a_service_that_is_not_well_is_not_asked_for_the_rest() {
    for (trouble, kind) in [
        (refused("ThrottlingException"), "Throttled"),
        (answer("503 Service Unavailable", ID, ""), "Transient"),
        (answer("200 OK", ID, "{"), "Invalid"),
    ] {
        let stub = Stub::answering([&trouble]);
        assert_eq!(all(&batch(&["/a", "/b", "/c"], &stub), 3).await, [kind; 3]);
        assert_eq!(asked(&stub), ["/a /b /c"], "{kind}");
        let stub = Stub::answering([&refused("AccessDeniedException"), &trouble]);
        assert_eq!(all(&batch(&["/a", "/b", "/c"], &stub), 3).await, [kind; 3]);
        assert_eq!(asked(&stub), ["/a /b /c", "/a"], "{kind}");
    }
}

/// A question that is given up, by the bound on its time for example, leaves the turn to the next.
#[tokio::test]
async fn who_goes_away_while_it_asks_holds_up_nobody() {
    let stub = Stub::answering([ok(&["/a", "/b"])]);
    let batch = batch(&["/a", "/b"], &stub);
    {
        let gone = batch.look(0);
        tokio::pin!(gone);
        tokio::select! {
            biased;
            _ = &mut gone => panic!("it gathers others first"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(told(&batch.look(1).await), "value of b");
}

proptest! {
    /// However a parameter is written, it is the same one, and no other.
    #[test]
    fn property_spellings_of_a_parameter_have_one_base(name in "[a-zA-Z0-9_.-]{1,8}(/[a-zA-Z0-9_.-]{1,8}){0,3}", selector in "(:[0-9]{1,3}|:[a-z]{1,6})?") {
        for spelling in [name.clone(), format!("/{name}"), format!("arn:aws:ssm:eu-west-1:123456789012:parameter/{name}")] {
            let full = format!("{spelling}{selector}");
            prop_assert_eq!(split(&full), (spelling.as_str(), selector.strip_prefix(':')));
            prop_assert_eq!(base(&full), name.as_str());
        }
    }

    /// No name makes it panic.
    #[test]
    fn property_any_text_has_a_base(text in ".{0,60}") {
        prop_assert!(text.contains(base(&text)));
    }
}
