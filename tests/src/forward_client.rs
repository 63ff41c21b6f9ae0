//! Writes Fluent Forward, byte by byte, as Docker's `fluentd` driver and the fluent-logger libraries do.
//!
//! Promises: every mode of the protocol; values may be any bytes, as the drivers send them; nothing is checked, so that
//! a story can send what is wrong.
//! Never: uses the agent's own types for the wire: this is the other side.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rmp::{decode, encode};

/// An acknowledgement that has not come by then will not come.
const ACK_MAX: Duration = Duration::from_secs(20);

/// When a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Whole seconds: an integer on the wire.
    Seconds(u64),
    /// Seconds and nanoseconds: an EventTime on the wire.
    Event(u32, u32),
}

impl Time {
    /// Now, as an EventTime.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the year is past 1970");
        Self::Event(now.as_secs() as u32, now.subsec_nanos())
    }
}

/// A record: keys and values, all of them text or bytes.
pub type Fields<'a> = [(&'a str, &'a [u8])];

/// The option map of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// Asks for an acknowledgement by this name.
    pub chunk: Option<&'a str>,
    /// What `compressed` says.
    pub compressed: Option<&'a str>,
    /// What `size` says.
    pub size: Option<u64>,
}

/// A connection to the agent.
#[derive(Debug)]
pub enum ForwardClient {
    /// Over the FireLens socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl ForwardClient {
    /// Connects to a unix socket.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(ACK_MAX))?;
        Ok(Self::Unix(stream))
    }

    /// Connects over TCP.
    pub fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ACK_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        }
    }

    /// Sends one line as Docker's driver does, written now.
    pub fn line(&mut self, tag: &str, log: &str) -> io::Result<()> {
        self.send(&docker_line(tag, Time::now(), log.as_bytes()))
    }

    /// Reads an acknowledgement and gives the chunk that it names.
    pub fn acknowledgement(&mut self) -> io::Result<String> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        if decode::read_map_len(self).map_err(|_| invalid("not a map"))? != 1 {
            return Err(invalid("not a map of one"));
        }
        let (key, chunk) = (self.string()?, self.string()?);
        if key == "ack" { Ok(chunk) } else { Err(invalid("not an ack")) }
    }

    /// Waits for the agent to close the connection; gives what it wrote before.
    pub fn until_closed(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn string(&mut self) -> io::Result<String> {
        let length = decode::read_str_len(self).map_err(|error| io::Error::other(error.to_string()))?;
        let mut text = vec![0; length as usize];
        self.read_exact(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Read for ForwardClient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

/// A message in Message mode with the four fields of Docker's driver and an empty option map.
pub fn docker_line(tag: &str, time: Time, log: &[u8]) -> Vec<u8> {
    docker_record(tag, time, log, &[])
}

/// One part of a line that Docker's driver cut at 16 KiB. `ordinal` counts from 1.
pub fn docker_part(tag: &str, time: Time, log: &[u8], id: &str, ordinal: u32, last: bool) -> Vec<u8> {
    let (ordinal, last) = (ordinal.to_string(), last.to_string());
    let more: [(&str, &[u8]); 4] = [
        ("partial_message", b"true"),
        ("partial_id", id.as_bytes()),
        ("partial_ordinal", ordinal.as_bytes()),
        ("partial_last", last.as_bytes()),
    ];
    docker_record(tag, time, log, &more)
}

fn docker_record(tag: &str, time: Time, log: &[u8], more: &Fields<'_>) -> Vec<u8> {
    let mut fields: Vec<(&str, &[u8])> = vec![
        ("container_id", b"5f1c0de5a9d84a0b8f3f3c1d2e4b6a7980c1d2e3f405162738495a6b7c8d9e0f"),
        ("container_name", b"/ecs-web-7-app-a0f3d2c1b4e5968778"),
        ("source", b"stdout"),
        ("log", log),
    ];
    fields.extend(more);
    message(tag, time, &fields, Some(&Options::default()))
}

/// `[tag, time, record, option?]`
pub fn message(tag: &str, time: Time, record: &Fields<'_>, options: Option<&Options<'_>>) -> Vec<u8> {
    let mut out = array(3 + usize::from(options.is_some()));
    text(&mut out, tag.as_bytes());
    write_time(&mut out, time);
    write_record(&mut out, record);
    write_options(&mut out, options);
    out
}

/// `[tag, [[time, record], ...], option?]`
pub fn forward(tag: &str, entries: &[(Time, &Fields<'_>)], options: Option<&Options<'_>>) -> Vec<u8> {
    let mut out = array(2 + usize::from(options.is_some()));
    text(&mut out, tag.as_bytes());
    out.extend(array(entries.len()));
    out.extend(stream(entries));
    write_options(&mut out, options);
    out
}

/// `[tag, bin, option?]`; `payload` is what [`stream`] gives, compressed or not.
pub fn packed(tag: &str, payload: &[u8], options: Option<&Options<'_>>) -> Vec<u8> {
    let mut out = array(2 + usize::from(options.is_some()));
    text(&mut out, tag.as_bytes());
    wrote(encode::write_bin(&mut out, payload));
    write_options(&mut out, options);
    out
}

/// `[tag, bin, {"compressed": "gzip", ...}]`, with each of `members` a gzip member of its own.
pub fn compressed(tag: &str, members: &[&[(Time, &Fields<'_>)]], options: &Options<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    for entries in members {
        let mut member = flate2::write::GzEncoder::new(&mut payload, flate2::Compression::fast());
        member.write_all(&stream(entries)).and_then(|()| member.finish().map(drop)).expect("a Vec takes everything");
    }
    packed(tag, &payload, Some(&Options { compressed: Some("gzip"), ..*options }))
}

/// Entries one after another: the payload of PackedForward.
pub fn stream(entries: &[(Time, &Fields<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (time, record) in entries {
        out.push(0x92);
        write_time(&mut out, *time);
        write_record(&mut out, record);
    }
    out
}

fn array(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    wrote(encode::write_array_len(&mut out, length as u32));
    out
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    // As the drivers do: a string, whatever the bytes.
    wrote(encode::write_str_len(out, bytes.len() as u32));
    out.extend_from_slice(bytes);
}

fn write_time(out: &mut Vec<u8>, time: Time) {
    match time {
        Time::Seconds(seconds) => wrote(encode::write_uint(out, seconds)),
        Time::Event(seconds, nanos) => {
            out.extend([0xd7, 0x00]);
            out.extend(seconds.to_be_bytes());
            out.extend(nanos.to_be_bytes());
        }
    }
}

fn write_record(out: &mut Vec<u8>, record: &Fields<'_>) {
    wrote(encode::write_map_len(out, record.len() as u32));
    for (key, value) in record {
        text(out, key.as_bytes());
        text(out, value);
    }
}

fn write_options(out: &mut Vec<u8>, options: Option<&Options<'_>>) {
    let Some(Options { chunk, compressed, size }) = options else { return };
    let count = u32::from(chunk.is_some()) + u32::from(compressed.is_some()) + u32::from(size.is_some());
    wrote(encode::write_map_len(out, count));
    for (key, value) in [("chunk", chunk), ("compressed", compressed)] {
        if let Some(value) = value {
            text(out, key.as_bytes());
            text(out, value.as_bytes());
        }
    }
    if let Some(size) = size {
        text(out, b"size");
        wrote(encode::write_uint(out, *size));
    }
}

fn wrote<T, E: std::fmt::Debug>(outcome: Result<T, E>) {
    outcome.expect("a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of the specification, by hand.
    #[test]
    fn the_modes_have_the_bytes_of_the_specification() {
        let record: &Fields<'_> = &[("a", b"b")];
        let map = [0x81, 0xa1, b'a', 0xa1, b'b'];
        let plain = message("t", Time::Seconds(5), record, None);
        assert_eq!(plain, [&[0x93, 0xa1, b't', 5][..], &map].concat());
        let event = message("t", Time::Event(1, 2), record, Some(&Options { chunk: Some("c"), ..Options::default() }));
        let time = [0xd7, 0, 0, 0, 0, 1, 0, 0, 0, 2];
        let option = [0x81, 0xa5, b'c', b'h', b'u', b'n', b'k', 0xa1, b'c'];
        assert_eq!(event, [&[0x94, 0xa1, b't'][..], &time, &map, &option].concat());
        let entry = [&[0x92, 5][..], &map].concat();
        let entries = [(Time::Seconds(5), record), (Time::Seconds(5), record)];
        assert_eq!(forward("t", &entries, None), [&[0x92, 0xa1, b't', 0x92][..], &entry, &entry].concat());
        let head = [0x92, 0xa1, b't', 0xc4, 14];
        assert_eq!(packed("t", &stream(&entries), None), [&head[..], &entry, &entry].concat());
    }

    #[test]
    fn a_compressed_payload_is_as_many_members_as_asked() {
        let record: &Fields<'_> = &[("a", b"b")];
        let entries = [(Time::Seconds(5), record)];
        let bytes = compressed("t", &[&entries, &entries], &Options::default());
        let start = memchr::memmem::find(&bytes, &[0x1f, 0x8b]).expect("a gzip member");
        let option = b"\x81\xaacompressed\xa4gzip";
        assert!(bytes.ends_with(option));
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[start..bytes.len() - option.len()]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, [stream(&entries), stream(&entries)].concat());
    }
}
