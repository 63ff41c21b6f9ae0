//! The Docker engine, asked as the ECS agent asks it: by its API, over its unix socket.
//!
//! Promises: an answer that says no is an error with the engine's own words; every request has a connection of its own, so that one
//! that waits (a stop, an event) holds up no other.
//! Never: needs the `docker` command; speaks to an engine on another machine.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// The version of the API: that of Docker 20.10, the oldest that ECS's instances have.
const API: &str = "/v1.41";

/// An engine on this machine. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
}

impl Engine {
    /// The one that `DOCKER_HOST` names, as `docker` itself finds it.
    pub fn new(docker_host: Option<&str>) -> Result<Self> {
        let host = docker_host.unwrap_or("unix:///var/run/docker.sock");
        let socket = host.strip_prefix("unix://").context("DOCKER_HOST must be a unix socket: unix:///path")?;
        Ok(Self { socket: socket.into() })
    }

    /// One request; the answer's body as JSON (`null` if it is empty).
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let text = self.bytes(method, path, body)?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text).with_context(|| format!("{method} {path}: no JSON"))
    }

    /// One request; the answer's body.
    pub fn bytes(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("no Docker engine answers at {}", self.socket.display()))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {API}{path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let (status, body) = parsed(&answer).with_context(|| format!("{method} {path}: no answer of HTTP"))?;
        // 304: it is started, or stopped, already.
        if (200..300).contains(&status) || status == 304 {
            return Ok(body);
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said = said["message"].as_str().map_or_else(|| String::from_utf8_lossy(&body).into_owned(), str::to_owned);
        bail!("Docker: {said} ({status})")
    }

    /// Makes a container and gives its id.
    pub fn create(&self, name: &str, container: &Value) -> Result<String> {
        let made = self.ask("POST", &format!("/containers/create?name={name}"), Some(container))?;
        Ok(made["Id"].as_str().context("a container without an id")?.to_owned())
    }

    /// Starts a container.
    pub fn start(&self, id: &str) -> Result<()> {
        self.bytes("POST", &format!("/containers/{id}/start"), None).map(drop)
    }

    /// SIGTERM, and SIGKILL after so many seconds. Returns when it has ended.
    pub fn stop(&self, id: &str, seconds: u64) -> Result<()> {
        self.bytes("POST", &format!("/containers/{id}/stop?t={seconds}"), None).map(drop)
    }

    /// Takes a container away, running or not, with its own volumes.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.bytes("DELETE", &format!("/containers/{id}?force=true&v=true"), None).map(drop)
    }

    /// What the engine knows of a container.
    pub fn inspect(&self, id: &str) -> Result<Value> {
        self.ask("GET", &format!("/containers/{id}/json"), None)
    }

    /// What a container wrote, both streams together, without Docker's frames.
    pub fn logs(&self, id: &str) -> Result<String> {
        let framed = self.bytes("GET", &format!("/containers/{id}/logs?stdout=true&stderr=true"), None)?;
        let (mut out, mut rest) = (Vec::new(), framed.as_slice());
        // A frame: stream, three zeros, length in four bytes, big end first.
        while let Some((head, behind)) = rest.split_first_chunk::<8>() {
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let length = length.min(behind.len());
            out.extend_from_slice(&behind[..length]);
            rest = &behind[length..];
        }
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Runs a command in a container, as its own user if `user` is empty. Gives its exit code and what it wrote.
    pub fn exec(&self, id: &str, user: &str, command: &[&str]) -> Result<(i64, String)> {
        let call = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": command, "Tty": true, "User": user});
        let made = self.ask("POST", &format!("/containers/{id}/exec"), Some(&call))?;
        let exec = made["Id"].as_str().context("an exec without an id")?;
        let said = self.bytes("POST", &format!("/exec/{exec}/start"), Some(&json!({"Detach": false, "Tty": true})))?;
        let ended = self.ask("GET", &format!("/exec/{exec}/json"), None)?;
        let code = ended["ExitCode"].as_i64().context("a command that has not ended")?;
        Ok((code, String::from_utf8_lossy(&said).into_owned()))
    }

    /// A file of a container, of its volumes too.
    pub fn file(&self, id: &str, path: &str) -> Result<Vec<u8>> {
        let archive = self.bytes("GET", &format!("/containers/{id}/archive?path={path}"), None)?;
        file_of(&archive).with_context(|| format!("{path} is no file"))
    }

    /// Makes a bridge network. Gives its id and the address of this machine in it.
    pub fn network(&self, name: &str) -> Result<(String, String)> {
        let made = self.ask("POST", "/networks/create", Some(&json!({"Name": name, "CheckDuplicate": true})))?;
        let id = made["Id"].as_str().context("a network without an id")?.to_owned();
        let known = self.ask("GET", &format!("/networks/{id}"), None)?;
        let gateway = known["IPAM"]["Config"][0]["Gateway"].as_str().context("a network without a gateway")?;
        Ok((id, gateway.to_owned()))
    }
}

/// The content of an archive's first entry. Its head is a block of 512 bytes: the length in octal digits at 124, its type at 156.
fn file_of(archive: &[u8]) -> Option<Vec<u8>> {
    let (head, behind) = archive.split_first_chunk::<512>()?;
    let digits = str::from_utf8(&head[124..136]).ok()?.trim_matches(['\0', ' ']);
    let length = usize::from_str_radix(digits, 8).ok()?;
    (head[156] == b'0').then_some(behind.get(..length)?.to_vec())
}

/// Status and body of an answer, chunks joined.
fn parsed(answer: &[u8]) -> Result<(u16, Vec<u8>)> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").context("no end of the head")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = &answer[end + 4..];
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    if !head.contains("transfer-encoding: chunked") {
        return Ok((status, body.to_vec()));
    }
    let (mut out, mut rest) = (Vec::new(), body);
    loop {
        let line = memchr::memmem::find(rest, b"\r\n").context("a chunk without a length")?;
        let length = usize::from_str_radix(String::from_utf8_lossy(&rest[..line]).trim(), 16)?;
        let data = &rest[line + 2..];
        if length == 0 {
            return Ok((status, out));
        }
        ensure!(data.len() >= length + 2, "a chunk that was cut");
        out.extend_from_slice(&data[..length]);
        rest = &data[length + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_in_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n";
        assert_eq!(parsed(plain).expect("an answer"), (200, b"{}".to_vec()));
        assert_eq!(parsed(chunked).expect("an answer"), (201, b"{\"a\":1}".to_vec()));
        for broken in
            [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab"]
        {
            assert!(parsed(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn a_file_is_taken_out_of_an_archive() {
        let mut archive = vec![0; 1_024];
        archive[124..136].copy_from_slice(b"00000000003\0");
        archive[156] = b'0';
        archive[512..515].copy_from_slice(b"abc");
        assert_eq!(file_of(&archive), Some(b"abc".to_vec()));
        let mut folder = archive.clone();
        folder[156] = b'5';
        for broken in [&folder[..], &archive[..514], &archive[..100], &[]] {
            assert_eq!(file_of(broken), None);
        }
    }
}
