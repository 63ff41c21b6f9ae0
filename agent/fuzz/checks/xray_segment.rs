//! What must hold of any request of OTLP as segments, and of any text as a stack trace.
//!
//! Promises: one function for each that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    otlp::{
        walk::{GROUPS, MEMBERS},
        wire::each,
    },
    traces::segment::{DOCUMENT_BYTES_MAX, Mapper, Resource, Settings, stack},
};

/// Checks that each span becomes documents of JSON that X-Ray would take, or has no id.
pub(crate) fn check(bytes: &[u8]) {
    let settings = |all| {
        std::sync::Arc::new(Settings {
            index_all_attributes: all,
            indexed_attributes: vec!["http.method".to_owned()],
            log_groups: vec!["group".to_owned()],
            ..Settings::default()
        })
    };
    for mut mapper in [Mapper::new(settings(true)), Mapper::new(settings(false))] {
        for group in each(bytes, GROUPS).map_while(Result::ok) {
            let resource = Resource::read(group);
            let scopes = each(group, MEMBERS).map_while(Result::ok);
            for span in scopes.flat_map(|scope| each(scope, MEMBERS).map_while(Result::ok)) {
                let mut documents = 0;
                let mapped = mapper.map(&resource, span, |document, _| {
                    assert!(document.len() <= DOCUMENT_BYTES_MAX);
                    let document: serde_json::Value = serde_json::from_slice(document).expect("JSON");
                    assert!(document["name"].as_str().is_some_and(|name| !name.is_empty() && name.len() <= 200));
                    assert!(document["id"].as_str().is_some_and(|id| id.len() == 16));
                    assert!(document["trace_id"].as_str().is_some_and(|id| id.len() == 35));
                    assert!(document["start_time"].as_f64() <= document["end_time"].as_f64());
                    documents += 1;
                });
                assert_eq!(documents > 0, mapped.is_ok());
            }
        }
    }
}

/// Checks that the frames of a text are pieces of it, and bounded, whatever language it is said to be.
pub(crate) fn stack_trace(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for language in ["java", "python", "nodejs", "dotnet", "go", "other"] {
        let parsed = stack::parse(language, &text);
        assert!(!parsed.is_empty() && parsed.len() <= 16, "{language}");
        for exception in parsed {
            assert!(exception.frames.len() <= 256, "{language}");
            assert!(text.contains(exception.message) && text.contains(exception.kind), "{language}");
            for frame in exception.frames {
                assert!(text.contains(frame.path) && text.contains(frame.label), "{language}");
            }
        }
    }
}
