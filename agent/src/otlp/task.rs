//! What the task knows of itself and a resource may not say: attributes that fill gaps.
//!
//! A request that goes on is not decoded for it. Its resources, which are a few dozen bytes each, are looked at, and a group whose resource lacks
//! something is copied with a longer resource; its spans, points or records are bytes that nobody looks at.
//!
//! Promises: an attribute that is there stays as it is; nothing is filled for what says that it ran elsewhere; a request grows to twice its
//! bytes at most, or by [`GROWTH_BYTES_MIN`].
//! Never: says which container a span came from, because a sidecar cannot know.

use std::borrow::Cow;

use super::{
    value::{Any, entry, fields},
    walk::{GROUPS, HEAD},
    wire::{Reader, begin, end, header_len, put_bytes, put_header},
};
use crate::ecs::Metadata;

/// Bytes that any request may grow by: what a hundred resources lack.
const GROWTH_BYTES_MIN: usize = 64 * 1024;
/// Where a resource says on whose machines it ran.
const PROVIDER: &[u8] = b"cloud.provider";
/// The attributes of a resource.
const ATTRIBUTES: u32 = 1;

/// Attributes of the task, each as a name and a value in protobuf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task(Vec<Vec<u8>>);

/// Which of a task's attributes a resource lacks: a bit for each, the first one the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Missing(u32);

impl Task {
    /// What is known of the task `of`.
    pub fn new(of: &Metadata) -> Self {
        let Some(arn) = of.task_arn.as_deref() else { return Self::default() };
        let account = arn.split(':').nth(4);
        // The partition, the region and the account of a cluster are those of its tasks. The ARNs of old tasks name no cluster.
        let cluster =
            of.cluster.as_ref().and_then(|name| Some(format!("{}:cluster/{name}", arn.rsplit_once(":task/")?.0)));
        let launch = of.launch_type.as_deref().map(str::to_ascii_lowercase);
        let attributes = [
            ("cloud.provider", Some("aws")),
            ("cloud.platform", Some("aws_ecs")),
            ("cloud.account.id", account),
            ("cloud.region", of.region.as_deref()),
            ("cloud.availability_zone", of.availability_zone.as_deref()),
            ("aws.ecs.cluster.arn", cluster.as_deref()),
            ("aws.ecs.task.arn", Some(arn)),
            ("aws.ecs.task.id", of.task_id.as_deref()),
            ("aws.ecs.task.family", of.family.as_deref()),
            ("aws.ecs.task.revision", of.revision.as_deref()),
            ("aws.ecs.launchtype", launch.as_deref()),
        ];
        Self(attributes.into_iter().filter_map(|(name, value)| Some(encoded(name, value?))).collect())
    }

    /// The attributes, each a message with a name and a value.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// `request` with what its resources lack.
    pub fn filled<'r>(&self, request: &'r [u8]) -> Cow<'r, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(request);
        }
        let (mut out, mut copied, mut place) = (Vec::new(), 0, 0);
        // A hostile request has millions of groups with nothing in them.
        let mut growth = request.len().max(GROWTH_BYTES_MIN);
        for field in Reader::new(request).map_while(Result::ok) {
            let begins = place;
            place += field.raw.len();
            let Some(group) = field.bytes().ok().filter(|_| field.number == GROUPS) else { continue };
            let missing = self.missing(group);
            let bytes = self.len(missing);
            if bytes == 0 || bytes > growth {
                continue;
            }
            growth -= bytes;
            if out.is_empty() {
                out.reserve(request.len() + bytes);
            }
            out.extend_from_slice(&request[copied..begins]);
            self.put_group(group, missing, &mut out);
            copied = place;
        }
        if copied == 0 {
            return Cow::Borrowed(request);
        }
        out.extend_from_slice(&request[copied..]);
        Cow::Owned(out)
    }

    /// What the resource of `group` lacks. Of a resource that cannot be read nobody knows.
    fn missing(&self, group: &[u8]) -> Missing {
        let nothing = Missing(0);
        let mut missing = Missing((1 << self.0.len()) - 1);
        for resource in fields(group, HEAD) {
            for field in Reader::new(resource) {
                let Ok(field) = field else { return nothing };
                let Some(attribute) = field.bytes().ok().filter(|_| field.number == ATTRIBUTES) else { continue };
                let (name, value) = entry(attribute);
                if value == Any::Empty {
                    continue;
                }
                if name == PROVIDER && value.text() != b"aws" {
                    return nothing;
                }
                if let Some(known) = self.messages().position(|message| entry(message).0 == name) {
                    missing.0 &= !(1 << known);
                }
            }
        }
        missing
    }

    fn chosen(&self, Missing(bits): Missing) -> impl Iterator<Item = &[u8]> {
        self.messages().enumerate().filter(move |(number, _)| bits & (1 << number) != 0).map(|(_, message)| message)
    }

    /// Bytes that what is `missing` takes in a resource.
    fn len(&self, missing: Missing) -> usize {
        self.chosen(missing).map(|message| header_len(ATTRIBUTES, message.len()) + message.len()).sum()
    }

    /// Appends `group` with one resource: all parts that it came in, and what is `missing`. Two parts would be one resource by the rules
    /// of protobuf, but there are backends that take the last part for all of it.
    fn put_group(&self, group: &[u8], missing: Missing, out: &mut Vec<u8>) {
        let resource = fields(group, HEAD).map(<[u8]>::len).sum::<usize>() + self.len(missing);
        let others = || Reader::new(group).map_while(Result::ok).filter(|field| field.number != HEAD);
        let length = header_len(HEAD, resource) + resource + others().map(|field| field.raw.len()).sum::<usize>();
        put_header(out, GROUPS, length);
        put_header(out, HEAD, resource);
        fields(group, HEAD).for_each(|part| out.extend_from_slice(part));
        self.chosen(missing).for_each(|message| put_bytes(out, ATTRIBUTES, message));
        others().for_each(|field| out.extend_from_slice(field.raw));
    }
}

fn encoded(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    let any = begin(&mut out, 2);
    put_bytes(&mut out, 1, value.as_bytes());
    end(&mut out, any);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::otlp::{
        by_hand::{attribute, message, text},
        walk::{Signal, count},
    };

    const ARN: &str = "arn:aws-cn:ecs:cn-north-1:123456789012:task/shop/0a1b";

    fn task() -> Task {
        let some = |text: &str| Some(text.to_owned());
        Task::new(&Metadata {
            task_arn: some(ARN),
            task_id: some("0a1b"),
            region: some("cn-north-1"),
            cluster: some("shop"),
            launch_type: some("FARGATE"),
            ..Metadata::default()
        })
    }

    /// Names and texts of each group's resource.
    fn resources(request: &[u8]) -> Vec<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let resource = |group| {
            let attributes = fields(group, HEAD).flat_map(|resource| fields(resource, ATTRIBUTES)).map(entry);
            attributes.map(|(name, value)| (text(name), text(value.text()))).collect()
        };
        fields(request, GROUPS).map(resource).collect()
    }

    fn known() -> Vec<(String, String)> {
        [
            ("cloud.provider", "aws"),
            ("cloud.platform", "aws_ecs"),
            ("cloud.account.id", "123456789012"),
            ("cloud.region", "cn-north-1"),
            ("aws.ecs.cluster.arn", "arn:aws-cn:ecs:cn-north-1:123456789012:cluster/shop"),
            ("aws.ecs.task.arn", ARN),
            ("aws.ecs.task.id", "0a1b"),
            ("aws.ecs.launchtype", "fargate"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    #[test]
    fn what_a_resource_says_stays_and_what_it_lacks_is_added() {
        let spans = message(2, &[message(2, &[text(5, "span \u{e4}")])]);
        let own = [attribute(1, "service.name", "till"), attribute(1, "cloud.region", "mars-1")].concat();
        let with = message(1, &[message(1, &[own]), spans.clone(), text(3, "schema")]);
        let filled = task().filled(&with).into_owned();
        let mut expected =
            vec![("service.name".to_owned(), "till".to_owned()), ("cloud.region".into(), "mars-1".into())];
        expected.extend(known().into_iter().filter(|(name, _)| name != "cloud.region"));
        assert_eq!(resources(&filled), [expected]);
        let group = fields(&filled, GROUPS).next().expect("a group");
        assert_eq!(fields(group, HEAD).count(), 1);
        assert!(group.ends_with(&[spans.clone(), text(3, "schema")].concat()), "the rest is as it came");
        // Nothing is known, or all is there already.
        assert!(matches!(Task::default().filled(&with), Cow::Borrowed(_)));
        assert!(matches!(task().filled(&filled), Cow::Borrowed(_)));
    }

    /// Go's collector writes the spans before the resource, and a resource may come in parts, or not at all.
    #[test]
    fn a_resource_is_found_wherever_it_stands() {
        let spans = message(2, &[message(2, &[text(5, "span")])]);
        for (group, own) in [
            (vec![spans.clone()], vec![]),
            (vec![spans.clone(), message(1, &[attribute(1, "a", "1")])], vec!["a"]),
            (vec![message(1, &[attribute(1, "a", "1")]), spans, message(1, &[attribute(1, "b", "2")])], vec!["a", "b"]),
        ] {
            let request = message(1, &group);
            let filled = task().filled(&request).into_owned();
            let names: Vec<_> = resources(&filled).concat().into_iter().map(|(name, _)| name).collect();
            let expected = own.into_iter().map(str::to_owned).chain(known().into_iter().map(|(name, _)| name));
            assert_eq!(names, expected.collect::<Vec<_>>());
            assert_eq!(count(Signal::Traces, &filled), Ok(1));
        }
    }

    #[test]
    fn what_ran_elsewhere_or_cannot_be_read_is_left_alone() {
        let elsewhere = message(1, &[attribute(1, "cloud.provider", "gcp")]);
        // An attribute that says that it is longer than its resource: what is put behind it would become a part of it.
        let torn = message(1, &[b"\x0a\x7fx"]);
        for resource in [elsewhere, torn] {
            let request = message(1, &[resource, message(2, &[message(2, &[text(5, "span")])])]);
            assert!(matches!(task().filled(&request), Cow::Borrowed(_)), "{request:x?}");
        }
    }

    /// Two bytes are a group, which would become some five hundred.
    #[test]
    fn a_request_of_empty_groups_does_not_grow_without_bound() {
        for groups in [1, 1_000, 500_000] {
            let request = b"\x0a\x00".repeat(groups);
            let filled = task().filled(&request).len();
            assert!(filled <= 2 * request.len() + GROWTH_BYTES_MIN, "{groups}: {filled}");
            assert!(filled > request.len());
        }
    }

    proptest! {
        /// Whatever the bytes are, they can be filled, and what was a request remains one with as many items.
        #[test]
        fn property_what_is_filled_has_the_same_items(
            resource in prop::collection::vec(any::<u8>(), 0..40),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let group = [message(1, &[&resource]), message(2, &[message(2, &[text(5, "span")])]), rest.clone()].concat();
            for request in [rest, message(1, &[group])] {
                let filled = task().filled(&request).into_owned();
                if let Ok(items) = count(Signal::Traces, &request) {
                    prop_assert_eq!(count(Signal::Traces, &filled), Ok(items));
                }
            }
        }
    }
}
