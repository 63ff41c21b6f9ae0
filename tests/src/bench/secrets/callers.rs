//! Those who ask: keep-alive connections that send the next request when they have the answer.
//!
//! Promises: each answer is 200, whole, and holds what is expected.
//! Never: sends requests ahead: no client of these agents does.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime, task,
};

/// Bytes of an answer: a secret of 64 KiB, as JSON.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// An answer that has not come by then never will.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What came of asking.
#[derive(Debug)]
pub(super) struct Asked {
    /// From the first request to the last answer.
    pub(super) took: Duration,
    /// Nanoseconds from each request to its answer, in order of length.
    latencies: Vec<u32>,
}

impl Asked {
    /// How many were answered.
    pub(super) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// The time in which so many of a hundred were answered.
    pub(super) fn percentile_us(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |nanos| f64::from(*nanos) / 1e3)
    }
}

/// Sends `request` for `time` on so many connections, all of them from one thread.
#[expect(clippy::disallowed_methods, reason = "the bench has no Life, and waits for all of them")]
pub(super) fn ask(
    api: SocketAddr,
    request: &str,
    expected: &str,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Asked> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let tasks: Vec<task::JoinHandle<anyhow::Result<Vec<u32>>>> = (0..connections)
            .map(|_| {
                let (request, expected) = (request.to_owned(), expected.to_owned());
                task::spawn(async move {
                    let mut caller = Caller::connect(api).await?;
                    let mut latencies = Vec::with_capacity(1 << 16);
                    while begun.elapsed() < time {
                        let sent = Instant::now();
                        caller.ask(&request, &expected).await?;
                        latencies.push(u32::try_from(sent.elapsed().as_nanos()).unwrap_or(u32::MAX));
                    }
                    Ok(latencies)
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.append(&mut task.await??);
        }
        let took = begun.elapsed();
        latencies.sort_unstable();
        Ok(Asked { took, latencies })
    })
}

/// Asks once.
pub(super) fn ask_once(api: SocketAddr, request: &str, expected: &str) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let asking = async { Caller::connect(api).await?.ask(request, expected).await };
    runtime.block_on(async { tokio::time::timeout(ANSWER_MAX, asking).await })?
}

struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    async fn connect(api: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(api).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ANSWER_BYTES_MAX] })
    }

    async fn ask(&mut self, request: &str, expected: &str) -> anyhow::Result<()> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut have = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[have..]).await?;
            if read == 0 {
                bail!(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            have += read;
            let Some(length) = length(&self.buffer[..have])? else { continue };
            if have >= length {
                ensure!(have == length, "more came than was asked for");
                let answer = &self.buffer[..have];
                ensure!(answer.starts_with(b"HTTP/1.1 200 "), "not answered: {}", first_line(answer));
                ensure!(memmem::find(answer, expected.as_bytes()).is_some(), "the answer is not the one expected");
                return Ok(());
            }
        }
    }
}

/// Bytes of the whole answer, once its head is there.
fn length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(head) = memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let line = answer[..head]
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..LENGTH.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(LENGTH)));
    let line = line.context("an answer without a length")?;
    let body: usize = std::str::from_utf8(&line[LENGTH.len()..])?.trim().parse()?;
    Ok(Some(head + 4 + body))
}

fn first_line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        assert_eq!(length(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").expect("has one"), Some(41));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("has one"), Some(38));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n").expect("not yet"), None);
        for wrong in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
            assert!(length(wrong).is_err());
        }
    }

    #[test]
    fn percentiles_are_of_all_that_was_asked() {
        let asked = Asked { took: Duration::ZERO, latencies: (1..=1_000).map(|number| number * 1_000).collect() };
        assert_eq!((asked.requests(), asked.percentile_us(50), asked.percentile_us(99)), (1_000, 501.0, 991.0));
        assert_eq!(
            Asked { took: Duration::ZERO, latencies: Vec::new() }.percentile_us(99).to_bits(),
            0.0_f64.to_bits()
        );
    }
}
