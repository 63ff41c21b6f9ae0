//! The bare reader: a process that does nothing but accept and read at once.
//!
//! Promises: the least that any reader of the socket can make a sender wait, on this machine, in this run.
//! Never: gathers, parses or answers.

use std::{io::Read, os::unix::net::UnixListener, path::Path};

/// Bytes read at once; enough to empty the socket.
const READ_BYTES: usize = 128 * 1024;

/// Reads whatever comes to `socket`, one connection after another, for ever. One thread, so that what it used stays
/// readable when a connection ends.
pub fn read_for_ever(socket: &Path) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let (mut stream, _) = listener.accept()?;
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    }
}
