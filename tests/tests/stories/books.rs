//! The books at every moment: not only when all is over.
//!
//! Promises: accepted = delivered + refused + lost + spooled + in flight at each of a hundred looks, while records come and
//! the service fails in every way it can.
//! Never: asks for less than exactness.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tests::{
    agent::Setup,
    fake_aws::{Action, FakeAws, Operation},
    forward_client::Time,
    forward_client::{docker_line, message},
};

use crate::story::{FIRELENS, Story, line, output};

const PUT: Operation = Operation::PutLogEvents;

#[test]
fn the_books_balance_at_every_look_while_everything_goes_wrong() {
    let aws = FakeAws::start();
    aws.set_retention("bench", 1);
    let first = output(aws.port(), "*", "log_group_name bench\nlog_stream_prefix s-");
    let second = output(aws.port(), "a*", "log_group_name other\nlog_stream_prefix s-\nlog_key log");
    let third = "[OUTPUT]\n    Name kafka\n    Match b*\n\n";
    let story = Story::with(aws, &Setup::classic(format!("{FIRELENS}{first}{second}{third}")));
    let hundred_looks = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let writers: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|tag| {
                let mut client = story.connect();
                let done = &hundred_looks;
                scope.spawn(move || {
                    let Time::Event(now, _) = Time::now() else { panic!("the time has nanoseconds") };
                    let mut number = 0;
                    while !done.load(Ordering::Relaxed) {
                        let text = format!("{tag} {}", line(number));
                        // Some are too old for the service, and some lack the field that one output wants.
                        let time = if number % 50 == 7 { Time::Event(now - 3 * 86_400, 0) } else { Time::now() };
                        let bytes = match number % 31 {
                            3 => message(tag, Time::now(), &[("text", text.as_bytes())], None),
                            _ => docker_line(tag, time, text.as_bytes()),
                        };
                        client.send(&bytes).unwrap();
                        number += 1;
                        if number % 20 == 0 {
                            // Lets the agent have the processor: this is no test of speed.
                            thread::yield_now();
                        }
                    }
                    number as u64
                })
            })
            .collect();
        for look in 0..100 {
            match look % 10 {
                0 => story.aws.sometimes(PUT, 30, look, Action::Status(503, None)),
                2 => story.aws.sometimes(PUT, 20, look, Action::ResetBeforeAnswer),
                4 => story.aws.script(PUT, [Action::TooLarge, Action::Serve, Action::Garbage]),
                6 => story.aws.always(PUT, Action::Poisoned("line 000042")),
                8 => story.aws.heal(PUT),
                _ => {}
            }
            // Panics if an account does not balance.
            story.agent.books();
        }
        hundred_looks.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    story.aws.heal(PUT);
    let total = story.settled(sent.iter().sum::<u64>() + sent[0] + sent[1]);
    assert_eq!(total.lost["output_not_supported"], sent[1]);
    assert!(total.refused["expired"] > 0 && total.refused["key_missing"] > 0);
    let received = story.agent.metrics().sum("pillion_logs_received_records_total", &[]);
    assert_eq!(received as u64, sent.iter().sum::<u64>());
    story.end();
}
