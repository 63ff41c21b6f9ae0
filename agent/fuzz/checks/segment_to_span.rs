//! What must hold of any document of X-Ray as spans.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use std::sync::Arc;

use pillion::{
    otlp::{
        walk::{GROUPS, MEMBERS, Signal, count},
        wire::each,
    },
    traces::{
        from_segment::{DOCUMENT_BYTES_MAX, Services, Unmade, request},
        segment::{Mapper, Resource, Settings},
    },
};

/// Checks that a document becomes a good request of as many spans as is said, each with its ids, or that a reason is told; and that each span
/// can become a segment again.
pub(crate) fn check(bytes: &[u8]) {
    let (mut out, mut unmade) = (Vec::new(), Vec::new());
    let spans = request(bytes, &mut Services::default(), &mut out, &mut |why| unmade.push(why));
    assert_eq!(count(Signal::Traces, &out), Ok(spans));
    if bytes.starts_with(b"T1S") {
        return;
    }
    assert!(spans > 0 || !unmade.is_empty() || bytes.trim_ascii().starts_with(b"["), "nothing is left without a word");
    assert!(out.len() <= 16 * bytes.len(), "{} bytes become {}", bytes.len(), out.len());
    assert!(bytes.len() <= DOCUMENT_BYTES_MAX || unmade == [Unmade::TooLarge] || unmade == [Unmade::Unsampled]);
    let mut mapper = Mapper::new(Arc::new(Settings::default()));
    let mut segments = 0;
    for group in each(&out, GROUPS).map_while(Result::ok) {
        let resource = Resource::read(group);
        let scopes = each(group, MEMBERS).map_while(Result::ok);
        for span in scopes.flat_map(|scope| each(scope, MEMBERS).map_while(Result::ok)) {
            mapper.map(&resource, span, |_, _| segments += 1).expect("ids");
        }
    }
    assert!(segments >= spans);
}
