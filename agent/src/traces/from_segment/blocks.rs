//! What a span was about: the blocks `http`, `sql` and `aws`, in the names of OpenTelemetry's conventions.
//!
//! Promises: what a convention has a name for gets that; what the block has beside it stays under a name of X-Ray.
//! Never: writes what tells of the resource.

use super::{
    Level,
    attributes::Attributes,
    json::{Names, Value, text},
    part::{Namespace, Part},
};
use crate::traces::segment;

const CALLED: &Names = &[
    ("account_id", "aws.account_id"),
    ("region", "aws.region"),
    ("request_id", "aws.request_id"),
    ("queue_url", "aws.queue_url"),
    ("bucket_name", "aws.s3.bucket"),
];
/// Members of `aws` that tell of the resource, or have another place.
const ELSEWHERE: [&str; 10] = [
    "operation",
    "table_name",
    "table_names",
    "xray",
    "ec2",
    "ecs",
    "eks",
    "elastic_beanstalk",
    "cloudwatch_logs",
    "container_instance",
];
const QUERY: &Names = &[
    ("user", "db.user"),
    ("sanitized_query", "db.query.text"),
    ("database_version", "aws.xray.sql.database_version"),
    ("driver_version", "aws.xray.sql.driver_version"),
    ("preparation", "aws.xray.sql.preparation"),
];

/// Writes what was asked and answered, and gives the status of the answer.
pub(super) fn http(part: &Part<'_>, level: Level, attributes: &mut Attributes<'_>) -> Option<i64> {
    let [request, response] = part.http?.pick(["request", "response"]);
    if let Some(request) = request {
        let [method, url, agent, client] = request.texts(["method", "url", "user_agent", "client_ip"]);
        let [forwarded, traced] = request.pick(["x_forwarded_for", "traced"]);
        attributes.text("http.request.method", &method);
        write_url(&url, (part, level), attributes);
        attributes.text("user_agent.original", &agent);
        attributes.text("client.address", &client);
        if !forwarded.is_some_and(Value::is_true) {
            // Nobody stood between.
            attributes.text("network.peer.address", &client);
        }
        if let Some(traced) = traced.and_then(Value::truth) {
            attributes.truth("aws.xray.traced", traced);
        }
    }
    let [status, length] = response?.pick(["status", "content_length"]).map(|value| value.and_then(Value::whole));
    if let Some(status) = status {
        attributes.whole("http.response.status_code", status);
    }
    if let Some(length) = length {
        attributes.whole("http.response.body.size", length);
    }
    status
}

/// An address, whole and in the parts that who serves and who calls are asked for.
fn write_url(url: &str, (part, level): (&Part<'_>, Level), attributes: &mut Attributes<'_>) {
    attributes.text("url.full", url);
    let Some((scheme, rest)) = url.split_once("://") else { return };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if level == Level::Segment || part.namespace != Namespace::Own {
        host(authority, attributes);
    }
    if level == Level::Segment {
        let path = path.split('#').next().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        attributes.text("url.scheme", scheme);
        attributes.text("url.path", if path.is_empty() { "/" } else { path });
        attributes.text("url.query", query);
    }
}

/// `host:port`, perhaps with a user before it.
fn host(authority: &str, attributes: &mut Attributes<'_>) {
    let authority = authority.rsplit('@').next().unwrap_or_default();
    // An address of IPv6 stands in brackets.
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    attributes.text("server.address", host);
    if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
        attributes.whole("server.port", i64::from(port));
    }
}

pub(super) fn sql(part: &Part<'_>, attributes: &mut Attributes<'_>) {
    let Some(block) = part.sql else { return };
    let [kind, connection, url] = block.texts(["database_type", "connection_string", "url"]);
    attributes.text("db.system.name", &kind.to_ascii_lowercase());
    named(block, QUERY, attributes);
    // Agents write an address as one of the two, the database behind the last slash.
    let address = if connection.is_empty() && url.contains('/') { url } else { connection };
    let address = address.split(['?', ';']).next().unwrap_or_default();
    if let Some((scheme, rest)) = address.split_once("://") {
        let (server, database) = rest.rsplit_once('/').unwrap_or((rest, ""));
        attributes.text("db.connection_string", &format!("{scheme}://{server}"));
        host(server.split('/').next().unwrap_or_default(), attributes);
        attributes.text("db.namespace", database);
    } else if let Some((server, database)) = address.rsplit_once('/') {
        attributes.text("server.address", server);
        attributes.text("db.namespace", database);
    }
}

pub(super) fn aws(part: &Part<'_>, name: &str, level: Level, attributes: &mut Attributes<'_>) {
    if part.namespace == Namespace::Aws {
        attributes.text("rpc.system", "aws-api");
        if level == Level::Subsegment {
            attributes.text("rpc.service", name);
        }
    }
    let Some(block) = part.aws else { return };
    let [operation, tables, table, xray] = block.pick(["operation", "table_names", "table_name", "xray"]);
    let name = if part.namespace == Namespace::Aws { "rpc.method" } else { "aws.operation" };
    attributes.text(name, &text(operation));
    match (tables, table.and_then(Value::text)) {
        (Some(tables), _) => {
            attributes.texts("aws.dynamodb.table_names", tables.elements().filter_map(Value::text));
        }
        (None, table) => attributes.texts("aws.dynamodb.table_names", table),
    }
    if let Some(xray) = xray {
        attributes.text("aws.xray.sampling_rule", &text(xray.member("sampling_rule_name")));
    }
    // The account of a segment is that of its resource.
    named(block, if level == Level::Segment { &CALLED[1..] } else { CALLED }, attributes);
    for (name, value) in block.members() {
        let known = ELSEWHERE.contains(&&*name) || CALLED.iter().any(|(known, _)| *known == name);
        if !known && !value.is_object() && !segment::is_known(format!("aws.{name}").as_bytes()) {
            attributes.value("aws.", &name, value);
        }
    }
}

/// Text of `block` by the `names` that it has outside.
fn named(block: Value<'_>, names: &'static Names, attributes: &mut Attributes<'_>) {
    for (name, value) in block.named(names) {
        attributes.text(name, &text(Some(value)));
    }
}
