//! The corpora of the fuzz targets, replayed: what was found once stays mended.
//!
//! Promises: each file is checked as the fuzz target checks it, whole and cut at several places.
//! Never: needs a nightly compiler. The corpora of the configuration readers are replayed beside those readers.

use std::{fs, path::Path};

#[path = "../fuzz/checks/daemon_config.rs"]
mod daemon_config;
#[path = "../fuzz/checks/emf.rs"]
mod emf;
#[path = "../fuzz/checks/exposition.rs"]
mod exposition;
#[path = "../fuzz/checks/forward_frame.rs"]
mod forward_frame;
#[path = "../fuzz/checks/grpc_frame.rs"]
mod grpc_frame;
#[path = "../fuzz/checks/handshake.rs"]
mod handshake;
#[path = "../fuzz/checks/inflate.rs"]
mod inflate;
#[path = "../fuzz/checks/json_input.rs"]
mod json_input;
#[path = "../fuzz/checks/masking.rs"]
mod masking;
#[path = "../fuzz/checks/otlp_json.rs"]
mod otlp_json;
#[path = "../fuzz/checks/otlp_walk.rs"]
mod otlp_walk;
#[path = "../fuzz/checks/secret_event.rs"]
mod secret_event;
#[path = "../fuzz/checks/secret_files.rs"]
mod secret_files;
#[path = "../fuzz/checks/secret_get.rs"]
mod secret_get;
#[path = "../fuzz/checks/segment_to_span.rs"]
mod segment_to_span;
#[path = "../fuzz/checks/spool_segment.rs"]
mod spool_segment;
#[path = "../fuzz/checks/statsd.rs"]
mod statsd;
#[path = "../fuzz/checks/tally.rs"]
mod tally;
#[path = "../fuzz/checks/task_stats.rs"]
mod task_stats;
#[path = "../fuzz/checks/xray_datagram.rs"]
mod xray_datagram;
#[path = "../fuzz/checks/xray_segment.rs"]
mod xray_segment;

/// Checks all files of `folders`, of which there are at least `least`.
fn replay(folders: &[&str], least: usize, check: fn(&[u8])) {
    let mut files = 0;
    for folder in folders {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for file in fs::read_dir(&folder).expect("the folder").map(|file| file.expect("a file").path()) {
            let bytes = fs::read(&file).expect("is read");
            for part in [&bytes[..], &bytes[..bytes.len() / 2], &bytes[bytes.len() / 3..]] {
                // A panic says what does not hold; this says of which file.
                let outcome = std::panic::catch_unwind(|| check(part));
                assert!(outcome.is_ok(), "{}", file.display());
            }
            files += 1;
        }
    }
    assert!(files >= least, "only {files} files");
}

#[test]
fn the_corpus_of_forward_is_found_read_and_rendered() {
    replay(&["fuzz/corpus/forward_frame", "testdata/forward"], 200, forward_frame::check);
}

#[test]
fn the_corpus_of_forward_shows_no_secret_and_no_broken_frame() {
    replay(&["fuzz/corpus/forward_frame", "testdata/forward"], 200, masking::check);
}

#[test]
fn the_corpus_of_json_is_found_and_read() {
    replay(&["fuzz/corpus/json_input"], 8, json_input::check);
}

#[test]
fn the_corpus_of_heads_is_read_as_hyper_reads_it() {
    replay(&["fuzz/corpus/secret_get"], 20, secret_get::check);
}

#[test]
fn the_corpus_of_compressed_bytes_is_decompressed_or_refused() {
    replay(&["fuzz/corpus/inflate", "testdata/forward"], 100, inflate::check);
}

#[test]
fn the_corpus_of_pings_lets_nobody_in() {
    replay(&["fuzz/corpus/handshake", "testdata/forward"], 100, handshake::check);
}

#[test]
fn the_corpus_of_segments_is_opened_and_read_or_counted() {
    replay(&["fuzz/corpus/spool_segment"], 12, spool_segment::check);
}

#[test]
fn the_corpus_of_secrets_becomes_files_or_faults() {
    replay(&["fuzz/corpus/secret_files"], 25, secret_files::check);
}

#[test]
fn the_corpus_of_events_is_read_as_hints_or_as_nothing() {
    replay(&["fuzz/corpus/secret_event"], 11, secret_event::check);
}

#[test]
fn the_corpus_of_datagrams_is_taken_or_refused() {
    replay(&["fuzz/corpus/xray_datagram"], 6, xray_datagram::check);
}

#[test]
fn the_corpus_of_otlp_is_counted_and_cut_or_refused() {
    replay(&["fuzz/corpus/otlp_walk"], 6, otlp_walk::check);
}

#[test]
fn the_corpus_of_spans_becomes_segments() {
    replay(&["fuzz/corpus/xray_segment", "fuzz/corpus/otlp_walk"], 12, xray_segment::check);
}

#[test]
fn the_corpus_of_documents_becomes_spans_or_reasons() {
    replay(&["fuzz/corpus/segment_to_span", "fuzz/corpus/xray_datagram"], 20, segment_to_span::check);
}

#[test]
fn the_corpus_of_grpc_is_one_message_or_refused() {
    replay(&["fuzz/corpus/grpc_frame", "fuzz/corpus/otlp_walk"], 14, grpc_frame::check);
}

#[test]
fn the_corpus_of_stack_traces_is_taken_apart() {
    replay(&["fuzz/corpus/stack_trace"], 5, xray_segment::stack_trace);
}

#[test]
fn the_corpus_of_emf_is_split_into_documents_or_refused() {
    replay(&["fuzz/corpus/emf"], 8, emf::check);
}

#[test]
fn the_corpus_of_otlp_in_json_becomes_requests_or_is_refused() {
    replay(&["fuzz/corpus/otlp_json"], 5, otlp_json::check);
}

#[test]
fn the_corpus_of_statsd_becomes_series() {
    replay(&["fuzz/corpus/statsd"], 6, statsd::check);
}

#[test]
fn the_corpus_of_expositions_is_read_or_refused() {
    replay(&["fuzz/corpus/exposition"], 13, exposition::check);
}

#[test]
fn the_corpus_of_lines_is_counted() {
    replay(&["fuzz/corpus/tally"], 3, tally::check);
}

#[test]
fn the_corpus_of_task_stats_gives_figures_or_none() {
    replay(&["fuzz/corpus/task_stats"], 2, task_stats::check);
}

#[test]
fn the_corpus_of_the_daemon_s_configuration_is_read_or_refused() {
    replay(&["fuzz/corpus/daemon_config"], 8, daemon_config::check);
}
