//! What can be seen without a network: the running agent, its addresses, folders and memory.
//!
//! Promises: an address is bound for a moment if no agent runs, and connected to for a moment if one does; nothing is sent.
//! Never: makes a file or a folder.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{Access, access, statvfs};

use super::{Report, State};
use crate::{
    agent::Bounds, cli::healthcheck, config::Config, ecs::memory, logs::settings::Input as Logs,
    metrics::settings::Input as Metrics, otlp::input, tell::chain, traces::settings::Input as Traces, units::ByteSize,
};

/// How long the agent, or a connection within the task, is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Less than this on a disk is no room for a spool.
const ROOM: u64 = 16 << 20;

/// Where something listens.
enum Place {
    Tcp(SocketAddr),
    Udp(SocketAddr),
    Unix(PathBuf),
    /// A unix socket of datagrams, which tells nobody who listens.
    UnixDatagram(PathBuf),
}

pub(super) fn look(config: &Config, report: &mut Report) {
    let bounds = Bounds::of(config, memory::limit());
    match bounds.problem(config) {
        Some(problem) => {
            report.add("memory", State::Wrong, format_args!("{}: {}", problem.place, problem.what), problem.hint);
        }
        None => {
            let limit = memory::limit().map_or("no limit".to_owned(), |limit| ByteSize(limit).to_string());
            report.well(
                "memory",
                format_args!("records may take {} (the container has {limit})", ByteSize(bounds.records.0)),
            );
        }
    }
    let runs = agent(config, report);
    for (area, place) in places(config) {
        listening(area, &place, runs, report);
    }
    folders(config, report);
}

/// Asks the agent whether it is well. True if there is one.
fn agent(config: &Config, report: &mut Report) -> bool {
    let Some(address) = config.admin else {
        report.add("agent", State::Untried, "its admin address is off, so it cannot be asked", "");
        return false;
    };
    match healthcheck::fetch(address, "/healthz", PATIENCE) {
        Ok((200, _)) => report.well("agent", format_args!("runs and is well (http://{address}/healthz)")),
        Ok((_, body)) => {
            let advice = format!("read its log, and http://{address}/status");
            report.add("agent", State::Wrong, format_args!("runs and is not well: {}", body.trim()), advice);
        }
        Err(error) => {
            let advice = "run this where it runs: in its container, or in one that shares its network";
            report.add("agent", State::Odd, format_args!("does not run here: {}", chain(&error)), advice);
            return false;
        }
    }
    true
}

fn places(config: &Config) -> Vec<(&'static str, Place)> {
    let mut places = Vec::new();
    for input in &config.logs.inputs {
        match input {
            Logs::Forward(forward) => {
                places.extend(forward.unix.clone().map(|path| ("logs", Place::Unix(path))));
                places.extend(forward.tcp.map(|address| ("logs", Place::Tcp(address))));
            }
            Logs::Json(json) => places.push(("logs", Place::Tcp(json.tcp))),
            Logs::Emf(emf) => {
                places.extend(emf.tcp_address().map(|address| ("metrics", Place::Tcp(address))));
                places.extend(emf.udp_address().map(|address| ("metrics", Place::Udp(address))));
            }
            Logs::Otlp(_) => {}
        }
    }
    for input in &config.traces.inputs {
        if let Traces::Xray(xray) = input {
            places.push(("traces", Place::Udp(xray.address())));
            places.extend(xray.tcp_address().map(|address| ("traces", Place::Tcp(address))));
        }
    }
    for input in &config.metrics.inputs {
        if let Metrics::Statsd(statsd) = input {
            places.extend(statsd.udp_address().map(|address| ("metrics", Place::Udp(address))));
            places.extend(statsd.unix.clone().map(|path| ("metrics", Place::UnixDatagram(path))));
            places.extend(statsd.unix_stream.clone().map(|path| ("metrics", Place::Unix(path))));
        }
    }
    places.extend(input::places(config.otlp()).into_iter().map(|place| ("otlp", Place::Tcp(place.address))));
    places.extend(config.secrets.api.iter().map(|api| ("secrets", Place::Tcp(api.address()))));
    places
}

/// Whether the agent can be reached there, or could listen there if it ran.
fn listening(area: &'static str, place: &Place, runs: bool, report: &mut Report) {
    let taken = "another process has it: give one of them another address, or take the other sidecar out";
    let unheard = "the agent does not listen there: its log says why";
    let (tried, shown) = match place {
        Place::Tcp(address) if runs => (TcpStream::connect_timeout(address, PATIENCE).map(drop), format!("{address}")),
        Place::Tcp(address) => (TcpListener::bind(address).map(drop), format!("{address}")),
        Place::Unix(path) if runs => (UnixStream::connect(path).map(drop), path.display().to_string()),
        Place::Udp(address) if !runs => (UdpSocket::bind(address).map(drop), format!("{address} (UDP)")),
        Place::Unix(path) | Place::UnixDatagram(path) if !runs => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            return folder_of_socket(area, path, folder, report);
        }
        // Who sends a datagram is not told whether somebody listens.
        Place::Udp(_) | Place::Unix(_) | Place::UnixDatagram(_) => return,
    };
    match tried {
        Ok(()) if runs => report.well(area, format_args!("the agent listens on {shown}")),
        Ok(()) => report.well(area, format_args!("{shown} is free to listen on")),
        Err(error) if runs => report.add(area, State::Wrong, format_args!("{shown}: {error}"), unheard),
        Err(error) => report.add(area, State::Wrong, format_args!("{shown}: {error}"), taken),
    }
}

fn folder_of_socket(area: &'static str, path: &Path, folder: &Path, report: &mut Report) {
    match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => report.well(area, format_args!("a socket can be made at {}", path.display())),
        Err(error) => {
            let advice = "mount a volume there that this user may write to";
            report.add(
                area,
                State::Wrong,
                format_args!("no socket can be made at {}: {error}", path.display()),
                advice,
            );
        }
    }
}

fn folders(config: &Config, report: &mut Report) {
    if config.secrets.is_wanted() && !config.secrets.items.is_empty() {
        let folder = config.secrets.folder();
        let advice =
            "mount a volume there in both containers, writable in this one, for the user that the agent runs as";
        if let Some(room) = writable("secrets", &folder, advice, report) {
            report.well("secrets", format_args!("{} can be written to; {} free", folder.display(), ByteSize(room)));
        }
    }
    let Some(folder) = &config.spool.path else { return };
    let advice = "mount a volume there that the agent's user may write to";
    match writable("spool", folder, advice, report) {
        Some(room) if room < ROOM => {
            let said = format_args!("{} has {} free", folder.display(), ByteSize(room));
            report.add("spool", State::Odd, said, "make room, or name another volume: a full disk holds nothing");
        }
        Some(room) => {
            report.well("spool", format_args!("{} can be written to; {} free", folder.display(), ByteSize(room)));
        }
        None => {}
    }
}

/// The free bytes of `folder`, if it is one and can be written to.
fn writable(area: &'static str, folder: &Path, advice: &str, report: &mut Report) -> Option<u64> {
    let looked = access(folder, Access::WRITE_OK | Access::EXEC_OK).and_then(|()| statvfs(folder));
    match looked {
        Ok(disk) => Some(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => {
            report.add(area, State::Wrong, format_args!("{} cannot be written to: {error}", folder.display()), advice);
            None
        }
    }
}
