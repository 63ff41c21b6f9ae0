//! `[INPUT]`: `forward` and `tcp`.
//!
//! Promises: an input we have listens where the file says; one we do not have is a warning, and the start goes on.
//! Never: opens an input without the protection that the file asks for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    Numbers, Reading,
    section::{Reader, value_shown},
};
use crate::{
    deliver::ack::AckLevel,
    logs::settings::{Emf, Forward, Input, Json, Routing, Secret, User},
    units::{Listen, Permissions},
};

/// Options of all inputs that mean nothing here, or that we do anyway.
const COMMON: [&str; 10] = [
    "alias",
    "log_level",
    "log_suppress_interval",
    "routable",
    "threaded",
    "thread.",
    "workers",
    "net.",
    "buffer_chunk_size",
    "mem_buf_limit",
];

pub(super) fn read(reader: &mut Reader<'_>, numbers: &mut Numbers, reading: &mut Reading) {
    let Some(plugin) = reader.plugin() else { return };
    let instance = numbers.next(&plugin);
    match plugin.as_str() {
        "forward" => {
            reading.storage.input(reader);
            let hint = reader.size("mem_buf_limit");
            if let Some(forward) = forward(reader) {
                if forward.unix.is_some() {
                    reading.memory_hint = reading.memory_hint.or(hint);
                }
                reading.logs.inputs.push(Input::Forward(forward));
            }
        }
        "tcp" => {
            reading.storage.input(reader);
            reading.logs.inputs.extend(tcp(reader, instance));
        }
        _ => {
            let what = format!("input `{}` is not supported by this version", reader.plugin_shown());
            reader.section_warning(what, "it is not opened; `forward` and `tcp` are");
            reader.pass_over();
        }
    }
}

fn forward(reader: &mut Reader<'_>) -> Option<Forward> {
    common(reader);
    let unix = reader.text("unix_path");
    let address = address(reader, 24224);
    let permissions = reader.get("unix_perm").and_then(|property| {
        let permissions = Permissions::try_from(property.value.clone());
        if permissions.is_err() {
            let what = format!("{} is not an octal permission", value_shown(property));
            reader.error(property, what, "write for example `0660`");
        }
        permissions.ok()
    });
    let empty_key = reader.flag("empty_shared_key").unwrap_or(false).then(String::new);
    let shared_key = reader.text("shared_key").or(empty_key).map(Secret::new);
    let users = users(reader, shared_key.is_some());
    let open = unprotected(reader);
    let settings = Forward {
        tcp: address.filter(|_| unix.is_none()),
        unix: unix.map(Into::into),
        unix_permissions: permissions,
        tag: reader.text("tag"),
        tag_prefix: reader.text("tag_prefix"),
        shared_key,
        self_hostname: reader.text("self_hostname"),
        users,
        message_bytes_max: reader.size("buffer_max_size"),
        ack: AckLevel::Accepted,
    };
    (open && (settings.unix.is_some() || settings.tcp.is_some())).then_some(settings)
}

/// `security.users name password`, any number of times. Users without a key would be let in unasked: CVE-2025-12969.
fn users(reader: &mut Reader<'_>, has_key: bool) -> Vec<User> {
    let mut users = Vec::new();
    for property in reader.all(&["security.users"]) {
        match super::section::pair(&property.value) {
            Some((name, password)) => users.push(User { name, password: Secret::new(password) }),
            None => reader.error(property, "needs a name and a password", "write `security.users name password`"),
        }
        if !has_key {
            let what = "users are checked in the handshake only, and there is none without a key";
            reader.error(property, what, "give `shared_key` too");
        }
    }
    users
}

/// `format json` takes objects. `format none` takes lines: so documents of the embedded metric format come, and go where the outputs say.
fn tcp(reader: &mut Reader<'_>, instance: String) -> Option<Input> {
    common(reader);
    reader.accept(&["chunk_size", "buffer_size", "source_address_key"]);
    let address = address(reader, 5170);
    let tag = reader.text("tag").unwrap_or(instance);
    let open = unprotected(reader);
    let separator = reader.get("separator");
    let Some(format) = reader.get("format").filter(|format| !format.value.eq_ignore_ascii_case("json")) else {
        return Some(Input::Json(Json { tcp: address.filter(|_| open)?, tag }));
    };
    if !format.value.eq_ignore_ascii_case("none") {
        let what = format!("{} is not supported by this version", value_shown(format));
        reader.warning(format, what, "the input is not opened; `json` and `none` are supported");
        return None;
    }
    if let Some(separator) = separator.filter(|separator| !matches!(&*separator.value, "\\n" | "\n")) {
        reader.warning(separator, "lines end with `\\n` here", "the input is not opened");
        return None;
    }
    let tcp = Listen::At(address.filter(|_| open)?);
    Some(Input::Emf(Emf { tcp, udp: Listen::Off, tag: Some(tag), routing: Routing::Output, ..Emf::default() }))
}

fn common(reader: &mut Reader<'_>) {
    reader.accept(&COMMON);
}

/// Where the TCP listener stands. Fluent Bit's default is every address of the host.
fn address(reader: &mut Reader<'_>, port: u16) -> Option<SocketAddr> {
    let ip = match reader.get("listen") {
        None => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        Some(listen) if listen.value.eq_ignore_ascii_case("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(listen) => {
            let ip = listen.value.trim_start_matches('[').trim_end_matches(']').parse().ok();
            if ip.is_none() {
                let what = format!("{} is not an IP address", value_shown(listen));
                reader.error(listen, what, "write for example `127.0.0.1`");
            }
            ip
        }
    };
    let port = match reader.get("port") {
        None => Some(port),
        Some(port) => {
            let number = port.value.parse().ok().filter(|&number| number > 0);
            if number.is_none() {
                let what = format!("{} is not a port", value_shown(port));
                reader.error(port, what, "write a number from 1 to 65535");
            }
            number
        }
    };
    Some(SocketAddr::new(ip?, port?))
}

/// False if the file asks for TLS, which inputs do not have: an open listener in its place would be worse than none.
fn unprotected(reader: &mut Reader<'_>) -> bool {
    let tls = reader.flag("tls").unwrap_or(false);
    reader.accept(&["tls."]);
    if tls {
        reader.section_warning("TLS on inputs is not supported by this version", "the input is not opened");
    }
    !tls
}
