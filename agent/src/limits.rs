//! Every fixed limit of the agent, with its unit and where the number comes from.
//!
//! Promises: a queue, read, wait or map elsewhere that has a bound takes it from here or from the configuration.
//! Never: holds a default that a user may change; those stand beside the field in the job's settings.

use std::time::Duration;

/// Bytes read from a forward connection at once. One recv of this size empties a unix socket's default buffer of
/// 208 KiB of small messages, which holds about 160 of them (measured: each is charged about 1,280 bytes).
pub const FORWARD_READ_BYTES: usize = 128 * 1024;
/// The longest wait between two reads of a busy forward connection. Longer waits block the writer (measured).
pub const FORWARD_GATHER_MAX: Duration = Duration::from_millis(5);
/// What a sender of small messages may write at once and have it read before it is looked at: with what the last read
/// brings, and the buffer's doubling, at most 5 MB, in the room of one large message (see [`PARTIAL_MESSAGES_MAX`]). About
/// 10,000 of Docker's lines.
pub const FORWARD_BURST_BYTES: usize = 4 * 1024 * 1024;
/// The largest forward message, before and after decompression, unless the user sets another: Fluent Bit's
/// `buffer_max_size`.
pub const FORWARD_MESSAGE_BYTES_MAX: usize = 6_144_000;
/// Bytes of a message that is not whole yet which every connection may hold: the longest line of Docker's takes 17 KiB.
pub const PARTIAL_BYTES_FREE: usize = 32 * 1024;
/// Messages that are not whole yet and larger, on all connections together; with what a growing buffer has to spare, 8 MB
/// each unless the user allows larger ones. Senders on the same host hold one for milliseconds.
pub const PARTIAL_MESSAGES_MAX: usize = 4;
/// Connections that may wait for one of those to become whole. Each holds one read, so together 10 MiB.
pub const PARTIAL_WAITING_MAX: usize = 64;
/// How long they wait, and how long the sender of a large message may pause within it.
pub const PARTIAL_WAIT: Duration = Duration::from_secs(10);
/// Nesting of arrays and maps in one message. Deeper is refused.
pub const MSGPACK_DEPTH_MAX: usize = 64;
/// Fields of one record, which take 48 bytes each while it is read. Elasticsearch takes 1,000 in a whole index.
pub const RECORD_FIELDS_MAX: usize = 16_384;
/// Bytes of a tag, which is kept for each connection and route. ECS' tags are 300 at most, names of streams 512.
pub const TAG_BYTES_MAX: usize = 1_024;
/// Bytes of a message's id, which waits until the peer reads it. Senders use 24.
pub const CHUNK_ID_BYTES_MAX: usize = 1_024;
/// Distinct tags whose routes are remembered. ECS uses one tag per container.
pub const TAGS_MAX: usize = 1_024;
/// Containers that get a label of their own on `/metrics`; later ones share the label `other`.
pub const CONTAINER_LABELS_MAX: usize = 64;
/// Open connections on one listener. A task has one per container, and SDK users a few more.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Connections to one unix stream of StatsD, each of which holds a packet and a read of 80 KiB at most. A task has one for each process.
pub const STATSD_CONNECTIONS_MAX: usize = 64;
/// Bytes of a packet there. Clients send 8 KiB.
pub const STATSD_PACKET_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer from a service that are read. Answers we need are under 1 KiB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The agent's own spans that wait to be sent: the queue of OpenTelemetry's SDKs. One has some 500 bytes.
pub const OWN_SPANS_MAX: usize = 2_048;
/// Connections to one OTLP address. A task has one or two for each process with an SDK.
pub const OTLP_CONNECTIONS_MAX: usize = 128;
/// Bytes that a connection of HTTP/2 may send before they are read, by one request or by several. 512 spans have 180 KB, and need not wait.
pub const OTLP_WINDOW: u32 = 192 * 1024;
/// Bytes of a frame of HTTP/2, which is read whole. Large ones take fewer system calls. With the window, and all connections at once, 32 MiB.
pub const OTLP_FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Requests at a time on one connection of HTTP/2. SDKs send one after another.
pub const OTLP_STREAMS_MAX: u32 = 64;
/// Bytes of the headers of a request. SDKs send under 1 KiB; tokens that users add have a few.
pub const OTLP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub const OTLP_HEADERS_MAX: usize = 64;
/// Time for the first request of a connection, head and all.
pub const OTLP_FIRST_REQUEST: Duration = Duration::from_secs(30);
/// Time between requests of a connection of HTTP/1.1. The longest for which a usual client keeps one is 5 min (OkHttp); whoever
/// closes first risks a request.
pub const OTLP_IDLE: Duration = Duration::from_secs(330);
/// Time for the body of a request. SDKs give up after 10 s.
pub const OTLP_BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits, unread, for room.
pub const OTLP_ROOM_WAIT: Duration = Duration::from_secs(2);
/// While a request waits for room: how often bodies that have some are looked at, which is soon enough for who waits
/// [`OTLP_ROOM_WAIT`], and what must have come of one meanwhile. On one host it is gigabytes.
pub const OTLP_BODY_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of that.
pub const OTLP_BODY_BYTES_LEAST: usize = 16 * 1024;
/// How long an answer waits for what it promises (`ack`), at most.
pub const OTLP_ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// While the agent stops: how long a connection without a request is kept. SDKs send every 5 s.
pub const OTLP_QUIET: Duration = Duration::from_secs(6);
/// Bytes of a compressed body that is decompressed at once; larger ones beside the data path. SDKs send 20 KiB for 512 spans.
pub const OTLP_INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a request, unless the user sets another: about what the collector takes by HTTP (20 MiB; by gRPC 4 MiB).
pub const OTLP_REQUEST_BYTES_MAX: usize = 16 << 20;
/// Bytes of a request towards a backend. A collector takes 4 MiB by gRPC, AWS 5 MB; more than 1 MiB compresses no better.
pub const OTLP_BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes of a request that cannot be made smaller without cutting what came in one: below every backend's limit.
pub const OTLP_PIECE_BYTES_MAX: usize = 3 << 20;
/// Spans of a request towards a backend: what AWS takes.
pub const OTLP_BATCH_ITEMS_MAX: usize = 10_000;
/// Questions about secrets at a time. Each takes 60 KB while it lasts (measured), and a connection; two batches of parameters.
pub const SECRET_QUESTIONS_MAX: usize = 20;
/// Bytes of a secret. Secrets Manager takes no more.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer with secrets that are read. A secret has at most 64 KiB and ten parameters 80 KiB, of which JSON makes six
/// times as much at worst.
pub const SECRET_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Parameters below one path. A look at that many is 50 requests, more than an account's quota for a second.
pub const PARAMETERS_BELOW_MAX: usize = 500;
/// Pages of parameters that are read. There may be empty ones; so many full ones hold twice of what is taken.
pub const PARAMETER_PAGES_MAX: usize = 100;
/// Bytes of a message that can be a hint: the most that EventBridge sends.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an answer with messages that are read. SQS' own bound is 1 MiB for all messages of an answer, of which JSON makes
/// a little more; text of nothing but control characters would be six times that.
pub const EVENTS_ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Connections of SDKs to the X-Ray daemon's TCP port: one for each process of an app, some of which fork by the dozen.
pub const PROXY_CONNECTIONS_MAX: usize = 256;
/// Bytes of a request's head there. SDKs send 500.
pub const PROXY_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a body there. 25 statistics of sampling, X-Ray's most for a request, have 5 KB.
pub const PROXY_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a body that every connection may hold.
pub const PROXY_SMALL_BODY_BYTES: usize = 16 * 1024;
/// Larger ones at a time; the others wait.
pub const PROXY_LARGE_BODIES_MAX: usize = 4;
/// Requests there that are under way to AWS; the others wait.
pub const PROXY_UNDER_WAY_MAX: usize = 16;
/// Bytes of an answer to them. A page of sampling rules has some 50 KB.
pub const PROXY_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Answers that are kept for others who ask the same: one for each kind of SDK, and pages.
pub const PROXY_KEPT_MAX: usize = 8;
/// Time to connect, TLS included: aws-sdk's own default is 3.1 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one request from the first byte out to the last byte in.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept. CloudWatch Logs closes them after about 6 s.
pub const POOL_IDLE: Duration = Duration::from_secs(4);
/// How old a connection may be that takes a new request, besides being idle for [`POOL_IDLE`]: a service that moves to other
/// addresses is followed within 30 s. A handshake in 20 s is a thousandth of the work of a busy output.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(25);
/// The wait for an address before the next one is tried beside it (RFC 8305).
pub const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried: within [`CONNECT_TIMEOUT`] each has its turn.
pub const ADDRESSES_MAX: usize = 8;
/// Time for one name look-up.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Threads that may wait in getaddrinfo at once. A resolver that hangs holds a thread for up to 30 s.
pub const RESOLVE_THREADS_MAX: usize = 4;
/// Bytes of the head of an answer. AWS sends under 1 KiB.
pub const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Idle connections kept to one service. More than all outputs of a task send on at once.
pub const POOL_CONNECTIONS_MAX: usize = 32;
/// Bytes of a file with certificate authorities. The usual bundle of a distribution has 220 KiB.
pub const CA_BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Time to get credentials, whichever provider has them: the container endpoint answers in milliseconds, STS in under 1 s.
pub const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a task metadata document. ECS allows ten containers in a task, each takes about 2 KiB.
pub const METADATA_BYTES_MAX: usize = 1024 * 1024;
/// Time for the task metadata endpoint, which is on the same host, to answer.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of one file of the secrets job. The service keeps 64 KiB of a secret; a template may use several.
pub const SECRET_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of a secret's JSON in a template. Deeper is refused: each level reads its text again.
pub const SECRET_DEPTH_MAX: usize = 64;
/// Bytes of a template for a secret's file. A configuration file for a program is a few KiB.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Bytes within one pair of braces of a template: with [`SECRET_FILE_BYTES_MAX`] and no multiplication, this bounds what an
/// expression can build in memory. 512 names of a value of 64 KiB make 32 MiB.
pub const TEMPLATE_TAG_BYTES_MAX: usize = 1_024;
/// Steps of a template. A loop over 5,000 members takes about 10 for each.
pub const TEMPLATE_STEPS_MAX: u64 = 50_000;
/// Bytes of a line that MySQL's clients read of an option file: a buffer of 4,096 with its end and a line feed.
pub const OPTION_LINE_BYTES_MAX: usize = 4_094;
/// Bytes of one name in a path: Linux' `NAME_MAX`.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of the path of a secret's file: a quarter of Linux' `PATH_MAX`, since the folder comes before it.
pub const SECRET_PATH_BYTES_MAX: usize = 1_024;
/// Generations of secrets that are kept beside the newest, however young: one for each half second (the shortest wait between
/// changes, unless set otherwise) of the minute for which each is kept.
pub const SECRET_GENERATIONS_MAX: usize = 120;
/// Bytes of the marker of a generation, which is read at the start. A thousand secrets with three versions each take 200 KiB.
pub const SECRET_MARKER_BYTES_MAX: usize = 1024 * 1024;
/// Parts of the path of a secret's file. Each holds a descriptor while a generation is removed.
pub const SECRET_PATH_PARTS_MAX: usize = 16;
/// Patterns of secrets that are looked for in logs. A value has 8 to 60 forms: 500 secrets of mixed kinds have 13,000.
pub const MASK_PATTERNS_MAX: usize = 65_536;
/// Pieces of 4 bytes of all patterns together, which take 13 bytes each at most where there are many: 6 MiB.
pub const MASK_GRAMS_MAX: usize = 500_000;
/// Bytes of a value that are looked for as one: of a longer one each piece is a value. A line of a PEM file has as many.
pub const MASK_PIECE_BYTES: usize = 64;
/// Bytes of a pattern: a piece, of which JSON in JSON makes up to seven times as much, and more where it is not ASCII.
pub const MASK_PATTERN_BYTES_MAX: usize = 1_024;
/// Places of secrets in the messages of one read. Where there are more, all text of these messages is masked.
pub const MASK_FOUND_MAX: usize = 131_072;
/// Lines that Docker is in the middle of, on one connection: standard output and standard error.
pub const MASK_PARTS_MAX: usize = 4;
/// How long the value of a version is looked for after it was replaced. A task that old is rare, a connection rarer.
pub const MASK_OLD_FOR: Duration = Duration::from_hours(24);
/// Versions that were replaced and are looked for still.
pub const MASK_OLD_MAX: usize = 1_024;
/// Attributes of a span, an event or a resource that are looked at when a span becomes a segment, which take 48 bytes each. SDKs
/// send 128 unless told otherwise.
pub const SPAN_ATTRIBUTES_MAX: usize = 1_024;
/// Segments whose service is known to subsegments that come alone, which take 40 bytes each. Those that come behind their segment come soon.
pub const TRACES_SEGMENTS_KNOWN: usize = 1_024;
/// Sockets of SDKs whose service is known. A task has ten containers, a server in Python some processes for each core.
pub const TRACES_SOURCES_KNOWN: usize = 64;
/// Bytes of the name of a service that is known to others: X-Ray takes 200 characters.
pub const TRACES_SERVICE_BYTES_MAX: usize = 200;
/// Bytes of an exposition that is scraped, unless the user sets another. A large Java app has 2 MiB.
pub const SCRAPE_BYTES_MAX: usize = 8 << 20;
/// Samples of an exposition, unless the user sets another. An app has some hundred, a large one 10,000.
pub const SCRAPE_SAMPLES_MAX: usize = 20_000;
/// Labels of a sample that is scraped: twice what CloudWatch takes as dimensions.
pub const SCRAPE_LABELS_MAX: usize = 64;
/// Bytes of the names of a metric and a label that is scraped: four times what CloudWatch takes.
pub const SCRAPE_NAME_BYTES_MAX: usize = 1_024;
/// Bytes of the value of a label that is scraped: as many as CloudWatch takes characters, in UTF-8.
pub const SCRAPE_VALUE_BYTES_MAX: usize = 4_096;
/// Targets of one input. A task has ten containers.
pub const SCRAPE_TARGETS_MAX: usize = 64;
/// Bytes of what ECS answers about a service, which comes with its last hundred events of some 300 bytes.
pub const SERVICES_ANSWER_BYTES_MAX: usize = 1024 * 1024;
