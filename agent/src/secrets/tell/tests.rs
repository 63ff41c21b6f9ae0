//! Who is told of what, with the clock paused and a listener on loopback.
//!
//! Promises: what was heard is compared with every generation that came.
//! Never: waits for real time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{net::tls::Tls, tell::counters::Counters, units::Span};

/// A program that is told, and answers as it is scripted.
struct App {
    url: String,
    told: Arc<Mutex<Vec<serde_json::Value>>>,
    answers: Arc<Mutex<Vec<&'static str>>>,
}

impl App {
    #[expect(clippy::disallowed_methods, reason = "a test has no Life")]
    async fn new(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/reload", listener.local_addr().expect("an address"));
        let told: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let app = Self { url, told: Arc::clone(&told), answers: Arc::clone(&answers) };
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let (told, answers) = (Arc::clone(&told), Arc::clone(&answers));
                tokio::spawn(async move {
                    let mut bytes = vec![0; 16 * 1024];
                    let mut have = 0;
                    loop {
                        let read = stream.read(&mut bytes[have..]).await.unwrap_or(0);
                        if read == 0 {
                            return;
                        }
                        have += read;
                        let Some(head) = bytes[..have].windows(4).position(|four| four == b"\r\n\r\n") else {
                            continue;
                        };
                        let Ok(body) = serde_json::from_slice(&bytes[head + 4..have]) else { continue };
                        told.lock().expect("nobody panics").push(body);
                        let next = {
                            let mut answers = answers.lock().expect("nobody panics");
                            if answers.len() > 1 { answers.remove(0) } else { answers[0] }
                        };
                        let answer = format!("HTTP/1.1 {next}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                        let _ = stream.write_all(answer.as_bytes()).await;
                        return;
                    }
                });
            }
        });
        app
    }

    fn told(&self) -> Vec<u64> {
        let told = self.told.lock().expect("nobody panics");
        told.iter().map(|body| body["generation"].as_u64().expect("a number")).collect()
    }
}

struct Rig {
    send: watch::Sender<Arc<Generation>>,
    heard: Arc<Heard>,
    noted: Arc<AtomicUsize>,
}

impl Rig {
    #[expect(clippy::disallowed_methods, reason = "a test has no Life")]
    fn new(app: &App, told: u64) -> Self {
        let webhook =
            settings::Webhook { url: app.url.clone(), timeout: None, splay: Some(Span(Duration::from_secs(3))) };
        let counters = Counters::new();
        let http = HttpClient::new(&Tls::new(None), &counters);
        let teller = tellers(&[settings::Tell::Webhook(webhook)], &http).pop().expect("one");
        let (send, receive) = watch::channel(Arc::new(generation(told)));
        let (heard, noted) = (Arc::new(Heard::new(1, told)), Arc::new(AtomicUsize::new(0)));
        let note = Arc::clone(&noted);
        let tells = counters.secrets.tells.clone();
        tokio::spawn(teller.run(0, receive, Arc::clone(&heard), tells, move |_| {
            note.fetch_add(1, Ordering::Relaxed);
        }));
        Self { send, heard, noted }
    }

    async fn until_heard(&self, number: u64) {
        while self.heard.by_all() != Some(number) {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn generation(number: u64) -> Generation {
    Generation { number, versions: [("db".to_owned(), format!("v{number}"))].into() }
}

/// Not heard until it is answered with 2xx; and nothing is told but names and versions.
#[tokio::test]
async fn who_is_told_hears_in_the_end() {
    let app = App::new(&["503 No", "302 Elsewhere\r\nlocation: http://127.0.0.1:1/", "204 Yes"]).await;
    let rig = Rig::new(&app, 0);
    tokio::time::pause();
    rig.send.send_replace(Arc::new(generation(1)));
    rig.until_heard(1).await;
    assert_eq!(app.told(), [1, 1, 1]);
    let body = app.told.lock().expect("nobody panics")[0].clone();
    assert_eq!(body, serde_json::json!({"generation": 1, "versions": {"db": "v1"}}));
    rig.send.send_replace(Arc::new(generation(2)));
    rig.until_heard(2).await;
    assert_eq!((app.told(), rig.noted.load(Ordering::Relaxed)), (vec![1, 1, 1, 2], 2));
}

/// After a restart, what was heard before is not told again, and what was not heard is.
#[tokio::test]
async fn after_a_restart_only_what_was_not_heard_is_told() {
    let app = App::new(&["200 Yes"]).await;
    let rig = Rig::new(&app, 7);
    tokio::time::pause();
    sleep(Duration::from_secs(60)).await;
    assert!(app.told().is_empty());
    rig.send.send_replace(Arc::new(generation(8)));
    rig.until_heard(8).await;
    assert_eq!(app.told(), [8]);
}

/// While one is told in vain, newer ones come: only the newest is told from then on.
#[tokio::test]
async fn what_is_replaced_is_not_told_any_more() {
    let app = App::new(&["500 No"]).await;
    let rig = Rig::new(&app, 0);
    tokio::time::pause();
    rig.send.send_replace(Arc::new(generation(1)));
    while app.told().len() < 3 {
        sleep(Duration::from_millis(20)).await;
    }
    for number in 2..=9 {
        rig.send.send_replace(Arc::new(generation(number)));
    }
    *app.answers.lock().expect("nobody panics") = vec!["200 Yes"];
    rig.until_heard(9).await;
    let told = app.told();
    assert!(told.is_sorted() && told.iter().all(|number| [1, 9].contains(number)), "{told:?}");
    assert_eq!(told.last(), Some(&9));
}
