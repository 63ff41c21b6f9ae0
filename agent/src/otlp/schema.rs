//! The messages of OTLP: which fields they have, with which numbers and values.
//!
//! One table for whoever must know a field by its name; who knows it by its number needs no table.
//!
//! Promises: the fields of OTLP 1.x (`opentelemetry-proto` 1.7), traces, logs and metrics.
//! Never: knows how a value is written in JSON.

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    /// Its fields.
    pub(super) fields: &'static [Field],
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name with underscores, as in the definition.
    pub(super) name: &'static str,
    /// Its number.
    pub(super) number: u32,
    /// What values it has.
    pub(super) kind: Kind,
    /// Whether there may be many, or whether 0 says something else than none.
    pub(super) times: Times,
}

/// How often a field may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// Once; a value that is 0 or empty is as good as none.
    One,
    /// Once, and 0 is a value.
    Present,
    /// Any number of times.
    Many,
}

/// The values of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// An id of so many bytes.
    Id(usize),
    /// A truth, as a varint.
    Truth,
    /// A number without sign of 32 bits, as a varint.
    Uint32,
    /// A number without sign of 64 bits, as a varint.
    Uint64,
    /// A number with a sign of 64 bits, as a varint.
    Int64,
    /// A number with a sign of 32 bits, as a varint that is short for small negative ones.
    Zigzag32,
    /// One of a list of names, as a varint.
    Name(&'static [&'static str]),
    /// A number without sign of four bytes.
    Fixed32,
    /// A number without sign of eight bytes.
    Fixed64,
    /// A number with a sign of eight bytes.
    Signed64,
    /// A floating point number of eight bytes.
    Double,
    /// A message.
    Message(&'static Message),
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { name, number, kind, times: Times::One }
}

const fn present(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { name, number, kind, times: Times::Present }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { name, number, kind, times: Times::Many }
}

const fn attributes(number: u32) -> Field {
    many(number, "attributes", Kind::Message(&KEY_VALUE))
}

const fn dropped(number: u32, name: &'static str) -> Field {
    one(number, name, Kind::Uint32)
}

const fn time(number: u32, name: &'static str) -> Field {
    one(number, name, Kind::Fixed64)
}

const fn text(number: u32, name: &'static str) -> Field {
    one(number, name, Kind::Text)
}

/// A value of an attribute, of which there is one of several kinds.
static ANY_VALUE: Message = Message {
    fields: &[
        present(1, "string_value", Kind::Text),
        present(2, "bool_value", Kind::Truth),
        present(3, "int_value", Kind::Int64),
        present(4, "double_value", Kind::Double),
        present(5, "array_value", Kind::Message(&ARRAY_VALUE)),
        present(6, "kvlist_value", Kind::Message(&KEY_VALUE_LIST)),
        present(7, "bytes_value", Kind::Bytes),
    ],
};
static ARRAY_VALUE: Message = Message { fields: &[many(1, "values", Kind::Message(&ANY_VALUE))] };
static KEY_VALUE_LIST: Message = Message { fields: &[many(1, "values", Kind::Message(&KEY_VALUE))] };
static KEY_VALUE: Message = Message { fields: &[text(1, "key"), one(2, "value", Kind::Message(&ANY_VALUE))] };
static SCOPE: Message =
    Message { fields: &[text(1, "name"), text(2, "version"), attributes(3), dropped(4, "dropped_attributes_count")] };
static ENTITY: Message = Message {
    fields: &[
        text(1, "schema_url"),
        text(2, "type"),
        many(3, "id_keys", Kind::Text),
        many(4, "description_keys", Kind::Text),
    ],
};
static RESOURCE: Message = Message {
    fields: &[attributes(1), dropped(2, "dropped_attributes_count"), many(3, "entity_refs", Kind::Message(&ENTITY))],
};

const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const TEMPORALITIES: &[&str] =
    &["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];
const SEVERITIES: &[&str] = &[
    "SEVERITY_NUMBER_UNSPECIFIED",
    "SEVERITY_NUMBER_TRACE",
    "SEVERITY_NUMBER_TRACE2",
    "SEVERITY_NUMBER_TRACE3",
    "SEVERITY_NUMBER_TRACE4",
    "SEVERITY_NUMBER_DEBUG",
    "SEVERITY_NUMBER_DEBUG2",
    "SEVERITY_NUMBER_DEBUG3",
    "SEVERITY_NUMBER_DEBUG4",
    "SEVERITY_NUMBER_INFO",
    "SEVERITY_NUMBER_INFO2",
    "SEVERITY_NUMBER_INFO3",
    "SEVERITY_NUMBER_INFO4",
    "SEVERITY_NUMBER_WARN",
    "SEVERITY_NUMBER_WARN2",
    "SEVERITY_NUMBER_WARN3",
    "SEVERITY_NUMBER_WARN4",
    "SEVERITY_NUMBER_ERROR",
    "SEVERITY_NUMBER_ERROR2",
    "SEVERITY_NUMBER_ERROR3",
    "SEVERITY_NUMBER_ERROR4",
    "SEVERITY_NUMBER_FATAL",
    "SEVERITY_NUMBER_FATAL2",
    "SEVERITY_NUMBER_FATAL3",
    "SEVERITY_NUMBER_FATAL4",
];

static EVENT: Message = Message {
    fields: &[time(1, "time_unix_nano"), text(2, "name"), attributes(3), dropped(4, "dropped_attributes_count")],
};
static LINK: Message = Message {
    fields: &[
        one(1, "trace_id", Kind::Id(16)),
        one(2, "span_id", Kind::Id(8)),
        text(3, "trace_state"),
        attributes(4),
        dropped(5, "dropped_attributes_count"),
        one(6, "flags", Kind::Fixed32),
    ],
};
static STATUS: Message = Message { fields: &[text(2, "message"), one(3, "code", Kind::Name(STATUS_CODES))] };
static SPAN: Message = Message {
    fields: &[
        one(1, "trace_id", Kind::Id(16)),
        one(2, "span_id", Kind::Id(8)),
        text(3, "trace_state"),
        one(4, "parent_span_id", Kind::Id(8)),
        text(5, "name"),
        one(6, "kind", Kind::Name(SPAN_KINDS)),
        time(7, "start_time_unix_nano"),
        time(8, "end_time_unix_nano"),
        attributes(9),
        dropped(10, "dropped_attributes_count"),
        many(11, "events", Kind::Message(&EVENT)),
        dropped(12, "dropped_events_count"),
        many(13, "links", Kind::Message(&LINK)),
        dropped(14, "dropped_links_count"),
        one(15, "status", Kind::Message(&STATUS)),
        one(16, "flags", Kind::Fixed32),
    ],
};
static LOG_RECORD: Message = Message {
    fields: &[
        time(1, "time_unix_nano"),
        one(2, "severity_number", Kind::Name(SEVERITIES)),
        text(3, "severity_text"),
        one(5, "body", Kind::Message(&ANY_VALUE)),
        attributes(6),
        dropped(7, "dropped_attributes_count"),
        one(8, "flags", Kind::Fixed32),
        one(9, "trace_id", Kind::Id(16)),
        one(10, "span_id", Kind::Id(8)),
        time(11, "observed_time_unix_nano"),
        text(12, "event_name"),
    ],
};

static EXEMPLAR: Message = Message {
    fields: &[
        time(2, "time_unix_nano"),
        present(3, "as_double", Kind::Double),
        one(4, "span_id", Kind::Id(8)),
        one(5, "trace_id", Kind::Id(16)),
        present(6, "as_int", Kind::Signed64),
        many(7, "filtered_attributes", Kind::Message(&KEY_VALUE)),
    ],
};
static NUMBER_POINT: Message = Message {
    fields: &[
        time(2, "start_time_unix_nano"),
        time(3, "time_unix_nano"),
        present(4, "as_double", Kind::Double),
        many(5, "exemplars", Kind::Message(&EXEMPLAR)),
        present(6, "as_int", Kind::Signed64),
        attributes(7),
        one(8, "flags", Kind::Uint32),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        time(2, "start_time_unix_nano"),
        time(3, "time_unix_nano"),
        one(4, "count", Kind::Fixed64),
        present(5, "sum", Kind::Double),
        many(6, "bucket_counts", Kind::Fixed64),
        many(7, "explicit_bounds", Kind::Double),
        many(8, "exemplars", Kind::Message(&EXEMPLAR)),
        attributes(9),
        one(10, "flags", Kind::Uint32),
        present(11, "min", Kind::Double),
        present(12, "max", Kind::Double),
    ],
};
static BUCKETS: Message =
    Message { fields: &[one(1, "offset", Kind::Zigzag32), many(2, "bucket_counts", Kind::Uint64)] };
static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        attributes(1),
        time(2, "start_time_unix_nano"),
        time(3, "time_unix_nano"),
        one(4, "count", Kind::Fixed64),
        present(5, "sum", Kind::Double),
        one(6, "scale", Kind::Zigzag32),
        one(7, "zero_count", Kind::Fixed64),
        one(8, "positive", Kind::Message(&BUCKETS)),
        one(9, "negative", Kind::Message(&BUCKETS)),
        one(10, "flags", Kind::Uint32),
        many(11, "exemplars", Kind::Message(&EXEMPLAR)),
        present(12, "min", Kind::Double),
        present(13, "max", Kind::Double),
        one(14, "zero_threshold", Kind::Double),
    ],
};
static QUANTILE: Message = Message { fields: &[one(1, "quantile", Kind::Double), one(2, "value", Kind::Double)] };
static SUMMARY_POINT: Message = Message {
    fields: &[
        time(2, "start_time_unix_nano"),
        time(3, "time_unix_nano"),
        one(4, "count", Kind::Fixed64),
        one(5, "sum", Kind::Double),
        many(6, "quantile_values", Kind::Message(&QUANTILE)),
        attributes(7),
        one(8, "flags", Kind::Uint32),
    ],
};

const TEMPORALITY: Field = one(2, "aggregation_temporality", Kind::Name(TEMPORALITIES));
static GAUGE: Message = Message { fields: &[many(1, "data_points", Kind::Message(&NUMBER_POINT))] };
static SUM: Message = Message {
    fields: &[many(1, "data_points", Kind::Message(&NUMBER_POINT)), TEMPORALITY, one(3, "is_monotonic", Kind::Truth)],
};
static HISTOGRAM: Message = Message { fields: &[many(1, "data_points", Kind::Message(&HISTOGRAM_POINT)), TEMPORALITY] };
static EXPONENTIAL: Message =
    Message { fields: &[many(1, "data_points", Kind::Message(&EXPONENTIAL_POINT)), TEMPORALITY] };
static SUMMARY: Message = Message { fields: &[many(1, "data_points", Kind::Message(&SUMMARY_POINT))] };
static METRIC: Message = Message {
    fields: &[
        text(1, "name"),
        text(2, "description"),
        text(3, "unit"),
        present(5, "gauge", Kind::Message(&GAUGE)),
        present(7, "sum", Kind::Message(&SUM)),
        present(9, "histogram", Kind::Message(&HISTOGRAM)),
        present(10, "exponential_histogram", Kind::Message(&EXPONENTIAL)),
        present(11, "summary", Kind::Message(&SUMMARY)),
        many(12, "metadata", Kind::Message(&KEY_VALUE)),
    ],
};

const RESOURCE_FIELD: Field = one(1, "resource", Kind::Message(&RESOURCE));
const SCOPE_FIELD: Field = one(1, "scope", Kind::Message(&SCOPE));
const SCHEMA_URL: Field = text(3, "schema_url");

static SCOPE_SPANS: Message = Message { fields: &[SCOPE_FIELD, many(2, "spans", Kind::Message(&SPAN)), SCHEMA_URL] };
static RESOURCE_SPANS: Message =
    Message { fields: &[RESOURCE_FIELD, many(2, "scope_spans", Kind::Message(&SCOPE_SPANS)), SCHEMA_URL] };
static SCOPE_LOGS: Message =
    Message { fields: &[SCOPE_FIELD, many(2, "log_records", Kind::Message(&LOG_RECORD)), SCHEMA_URL] };
static RESOURCE_LOGS: Message =
    Message { fields: &[RESOURCE_FIELD, many(2, "scope_logs", Kind::Message(&SCOPE_LOGS)), SCHEMA_URL] };
static SCOPE_METRICS: Message =
    Message { fields: &[SCOPE_FIELD, many(2, "metrics", Kind::Message(&METRIC)), SCHEMA_URL] };
static RESOURCE_METRICS: Message =
    Message { fields: &[RESOURCE_FIELD, many(2, "scope_metrics", Kind::Message(&SCOPE_METRICS)), SCHEMA_URL] };

/// A request with spans.
pub(super) static TRACES: Message = Message { fields: &[many(1, "resource_spans", Kind::Message(&RESOURCE_SPANS))] };
/// A request with records of logs.
pub(super) static LOGS: Message = Message { fields: &[many(1, "resource_logs", Kind::Message(&RESOURCE_LOGS))] };
/// A request with metrics.
pub(super) static METRICS: Message =
    Message { fields: &[many(1, "resource_metrics", Kind::Message(&RESOURCE_METRICS))] };
