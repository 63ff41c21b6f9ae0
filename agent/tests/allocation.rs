//! What is allocated on the way of a record, counted by the allocator itself.
//!
//! Promises: says by numbers that nothing is allocated for a record, little for a chunk, and nothing for a length that a
//! stranger wrote.
//! Never: measures time. The counter counts each thread for itself, so tests do not disturb each other.

use std::{collections::BTreeMap, sync::Arc};

use allocation_counter::{AllocationInfo, measure};
use pillion::{
    deliver::{self, Rules, books::Books, budget::Budget},
    logs::{
        filter::Filter,
        forward::{
            frame::{EntryReader, Finder, Frame, Malformed},
            handshake::Handshake,
            types::{EventTime as Time, PackedForward},
        },
        json_input::Decoder,
        out::{
            Sink,
            cloudwatch::{self, Naming},
        },
        pattern::Pattern,
        record::{EventTime, Record},
        route::{Branch, Router},
        settings,
    },
    net::inflate::{gunzip, unzstd},
    tell::counters::Counters,
};

/// So many lines as Docker writes them: a message each.
fn docker(lines: usize) -> Vec<u8> {
    let line = format!("192.0.2.7 - - [10/Oct/2025:13:55:36 +0000] \"GET /{} HTTP/1.1\" 200 512", "x".repeat(150));
    let fields = [
        ("container_id", "8f3e".repeat(16)),
        ("container_name", "/ecs-web-1-app".to_owned()),
        ("source", "stdout".to_owned()),
        ("log", line),
    ];
    let mut message = b"\x94\xd9\x35app-firelens-0123456789abcdef0123456789abcdef01234567".to_vec();
    message.extend(b"\xd7\x00\x65\x53\xf1\x00\x07\x5b\xcd\x15");
    message.extend(rmp_serde::to_vec(&fields.into_iter().collect::<BTreeMap<_, _>>()).expect("encodes"));
    message.push(0x80);
    message.repeat(lines)
}

/// What ECS configures: `record_modifier` with three fields, and CloudWatch Logs as the one output.
fn router() -> Router {
    let (budget, counters, books) = (Budget::new(1 << 30, 1), Counters::new(), Books::default());
    let config = cloudwatch::Config {
        group: Some("/ecs/web".to_owned()),
        stream_prefix: Some("app/".to_owned()),
        ..cloudwatch::Config::default()
    };
    let access = pillion::aws::Access::new(&pillion::aws::Settings::default(), &counters);
    let identity = pillion::aws::Identity::default();
    let client = access.client("logs", "eu-west-1", None, &identity).expect("a client");
    let destination = Arc::new(cloudwatch::CloudWatch::new(client, &config));
    let (output, _engine) = deliver::deliver("cloudwatch.0", destination, Rules::default(), &budget, &counters);
    let naming = Naming::new(&config, &pillion::ecs::Metadata::default(), "").expect("names");
    let truncated = counters.logs_truncated_records.with_label_values(&["cloudwatch.0"]);
    let sink = Sink::Cloudwatch(cloudwatch::Sink::new(output, naming, cloudwatch::Message::Record, truncated));
    let fields = [("ecs_cluster", "shop"), ("ecs_task_arn", "arn:aws:ecs:x"), ("ecs_task_definition", "web:7")];
    let records = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let modifier = settings::Filter::RecordModifier(pillion::logs::filter::record_modifier::Config {
        records,
        ..Default::default()
    });
    let branch = Branch { name: "cloudwatch.0".into(), pattern: Pattern::default(), sink };
    Router::new(vec![Filter::new(&modifier).expect("valid")], vec![branch], books, counters)
}

/// Takes the messages of `bytes` as a connection does, and returns how many records they held.
fn route(router: &Router, bytes: &[u8]) -> u64 {
    let (mut finder, mut taken) = (Finder::default(), 0);
    let first = finder.find(bytes, 1 << 20).expect("good").expect("whole");
    let Ok(Frame::Message(message)) = Frame::parse(&bytes[..first]) else { panic!("a message") };
    let route = router.route(message.tag);
    let (mut record, mut pass) = (Record::default(), route.begin());
    while let Some(length) = finder.find(&bytes[taken..], 1 << 20).expect("good") {
        let found = Frame::parse_found(&bytes[taken..taken + length], finder.last_element());
        let Ok(Frame::Message(message)) = found else { panic!("a message") };
        pass.push(EntryReader::new(message.entries), &mut record, EventTime::default()).expect("good records");
        taken += length;
    }
    pass.records()
}

#[test]
fn a_chunk_costs_a_few_allocations_and_a_record_none() {
    let packed = |lines: usize| {
        let mut message = PackedForward::new("app-firelens-0123");
        let record = BTreeMap::from([("log", "a line"), ("source", "stdout"), ("container_name", "/app")]);
        for _ in 0..lines {
            message.push(Time { seconds: 1_700_000_000, nanos: 5 }, &record).expect("encodes");
        }
        message.to_msgpack().expect("encodes")
    };
    for (mode, chunk, before) in [("message", &docker as &dyn Fn(usize) -> Vec<u8>, 1_100), ("packed", &packed, 3_000)]
    {
        let router = router();
        // Until the open batch has all the room it will need: buffers double, and a request is not full.
        assert_eq!(route(&router, &chunk(before)), before as u64, "{mode}");
        let (small, large) = (chunk(100), chunk(200));
        let mut read = [0; 2];
        let hundred = measure(|| read[0] = route(&router, &small));
        let two_hundred = measure(|| read[1] = route(&router, &large));
        assert_eq!(read, [100, 200], "{mode}");
        assert_eq!(hundred.count_total, two_hundred.count_total, "{mode}: {hundred:?} {two_hundred:?}");
        assert!(hundred.count_total <= 6, "{mode}: {hundred:?}");
        assert!(hundred.bytes_total < 4_096, "{mode}: {hundred:?}");
        assert_eq!(hundred.count_current, 0, "{mode}: nothing stays but what was written to the batch");
    }
}

/// What `read` costs, which must not panic.
fn cost(mut read: impl FnMut()) -> AllocationInfo {
    // Tables that are made once, at the first use, are not the stranger's.
    read();
    measure(read)
}

/// Finds and parses `bytes` as one message, and says how long it and its tag are.
fn find_and_parse(bytes: &[u8]) -> Result<usize, Malformed> {
    let found = Finder::default().find(bytes, 1 << 20)?;
    match Frame::parse(bytes)? {
        Frame::Heartbeat => Ok(1),
        Frame::Message(message) => Ok(found.unwrap_or_default() + message.tag.len()),
    }
}

/// A length is compared with what is there before anything is done with it.
#[test]
fn a_length_that_a_stranger_wrote_allocates_nothing() {
    for bytes in [
        &b"\x93\xdb\xff\xff\xff\xffapp"[..],
        b"\x92\xa1t\xc6\xff\xff\xff\xff",
        b"\x92\xa1t\xdd\xff\xff\xff\xff\x92\x01\x80",
        b"\x93\xa1t\x01\xdf\xff\xff\xff\xff\xa1k",
        b"\x94\xa1t\x01\x80\xdf\xff\xff\xff\xff\xa5chunk",
        b"\xdd\xff\xff\xff\xff\xa1t",
    ] {
        let info = cost(|| assert!(find_and_parse(bytes).is_err()));
        assert_eq!(info.count_total, 0, "{bytes:x?}: {info:?}");
    }
    let good = docker(1);
    let info = cost(|| assert_eq!(find_and_parse(&good), Ok(good.len() + 53)));
    assert_eq!(info.count_total, 0, "a good message is read in place: {info:?}");
}

#[test]
fn what_a_stranger_says_about_sizes_allocates_little() {
    type Case<'a> = (&'a str, &'a dyn Fn(&[u8]), &'a [u8]);
    let entries = |bytes: &[u8]| {
        let mut reader = EntryReader::new(pillion::logs::forward::frame::Entries::Packed(bytes));
        let mut record = Record::default();
        while let Ok(true) = reader.next_into(&mut record) {}
    };
    let ping = |bytes: &[u8]| {
        let key = Some(settings::Secret::new("key".to_owned()));
        let settings = settings::Forward { shared_key: key, ..settings::Forward::default() };
        assert!(Handshake::new(&settings, [1; 16], [2; 16]).0.ping(bytes).1.is_err());
    };
    let json = |bytes: &[u8]| Decoder::new(1 << 20, 64).feed(bytes, |_| {});
    let gzip = |bytes: &[u8]| drop(gunzip(bytes, 6 << 20));
    let zstd = |bytes: &[u8]| drop(unzstd(bytes, 6 << 20));
    let single_segment = [&b"\x28\xb5\x2f\xfd\xa0"[..], &(6_000_000u32).to_le_bytes(), b"\x01\x00\x00"].concat();
    let window = [&b"\x28\xb5\x2f\xfd\x00\x68"[..], b"\x01\x00\x00"].concat();
    let read: &[Case<'_>] = &[
        ("a record of 4 G fields", &entries, b"\x92\x01\xdf\xff\xff\xff\xff\xa1k"),
        ("a text of 4 GiB", &entries, b"\x92\x01\x81\xa1k\xdb\xff\xff\xff\xff"),
        ("a PING of 4 G elements", &ping, b"\xdd\xff\xff\xff\xff\xa4PING"),
        ("a name of 4 GiB", &ping, b"\x96\xa4PING\xdb\xff\xff\xff\xffhost"),
        ("a salt of 4 GiB", &ping, b"\x96\xa4PING\xa1h\xc6\xff\xff\xff\xff"),
        ("open brackets", &json, b"[[[[[[[[[[[[[[[[[[[[[[[["),
    ];
    for (what, read, bytes) in read {
        let info = cost(|| read(bytes));
        assert!(info.bytes_max < 64 * 1024, "{what}: {info:?}");
    }
    // What a decoder needs for itself is more, and its window, which zstd names, must not be taken before it is filled.
    let announced = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\xff\xff\xff\xff";
    for (what, read, bytes) in [
        ("gzip that announces 4 GiB", &gzip as &dyn Fn(&[u8]), &announced[..]),
        ("gzip with a long name", &gzip, b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03name without an end"),
        ("zstd with 6 MB of content", &zstd, &single_segment),
        ("zstd with a window of 8 MiB", &zstd, &window),
    ] {
        let info = cost(|| read(bytes));
        assert!(info.bytes_max < 256 * 1024, "{what}: {info:?}");
    }
}
