//! The traces job: what SDKs send to the X-Ray daemon, in AWS X-Ray; what they send by OTLP, in any backend of OTLP.
//!
//! ```text
//! UDP 2000   ─ header ─ document ─▶ out/xray: escape into the open batch ─▶ deliver ─▶ PutTraceSegments
//!                                 └▶ out/spans_of_segments: its parts as spans ─▶ deliver ─▶ a backend
//! TCP 2000   ─ proxy: sign and pass on ─▶ GetSamplingRules, SamplingTargets ─▶ the same answer
//! 4317, 4318 ─ otlp ─ request ─▶ spans ─▶ out/otlp: copy into the open batch ─▶ deliver ─▶ a backend
//!                                       └▶ out/segments: each span as a document ─▶ deliver ─▶ PutTraceSegments
//! ```
//!
//! A document that goes to X-Ray is never parsed on its way: the daemon's protocol is a header line and bytes that X-Ray judges. Cost of a segment of
//! 1.5 KB: one `recv` (the kernel's copy), one check that it is UTF-8, one pass that escapes it into the request's body, and
//! its part of the hash, the request and the system calls that send it. No allocation, no lock but the open batch's, taken once for all
//! datagrams that are there.
//!
//! Promises: whatever a datagram says harms no other; every document that is taken is on the books until its fate is known; every
//! datagram that is not is counted with its reason.
//! Never: answers a datagram; waits for a service while datagrams come.

pub mod choice;
pub mod from_segment;
pub mod header;
pub mod job;
pub mod out;
pub mod proxy;
pub mod sampling;
pub mod segment;
pub mod settings;
pub mod spans;
pub mod udp;
