//! The query that a span is about.
//!
//! OpenTelemetry has called its parts by two names; both are taken.
//!
//! Promises: a block for the databases that X-Ray shows as SQL, and no other.
//! Never: looks into a query. What is secret in it the instrumentation has taken out, or nobody has.

use super::{
    json::Json,
    keys::{Key, Keys},
    span::Span,
};

/// Names of systems, old and new, that speak SQL.
const SYSTEMS: [&[u8]; 20] = [
    b"db2",
    b"derby",
    b"hive",
    b"mariadb",
    b"mssql",
    b"mysql",
    b"oracle",
    b"postgresql",
    b"sqlite",
    b"teradata",
    b"other_sql",
    b"ibm.db2",
    b"microsoft.sql_server",
    b"oracle.db",
    b"aws.redshift",
    b"redshift",
    b"cockroachdb",
    b"trino",
    b"clickhouse",
    b"gcp.spanner",
];

pub(super) fn write(json: &mut Json<'_>, span: &Span<'_>, used: &mut Keys) {
    let attributes = &span.attributes;
    let system = attributes.first_text([Key::DbSystem, Key::DbSystemName]);
    if !SYSTEMS.contains(&system) {
        return;
    }
    used.add([
        Key::DbSystem,
        Key::DbSystemName,
        Key::DbConnectionString,
        Key::DbName,
        Key::DbNamespace,
        Key::DbStatement,
        Key::DbQueryText,
        Key::DbUser,
    ]);
    json.begin("sql");
    // Not an address, against X-Ray's documents: its console shows this as the name of the query.
    json.text_member("url", span.name);
    let host = match attributes.first_text([Key::DbConnectionString, Key::ServerAddress]) {
        b"" => b"localhost",
        host => host,
    };
    let name = attributes.first_text([Key::DbName, Key::DbNamespace]);
    json.text_member("connection_string", &[host, b"/", name].concat());
    json.text_member("database_type", system);
    json.text_member("user", attributes.text(Key::DbUser));
    json.text_member("sanitized_query", attributes.first_text([Key::DbStatement, Key::DbQueryText]));
    json.close(b'}');
}
