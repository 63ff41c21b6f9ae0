//! The bare reader: a process that does nothing but accept and read at once.
//!
//! Promises: the least that any reader of the socket can make a sender wait, on this machine, in this run.
//! Never: gathers, parses or answers.

use std::{io::Read, os::unix::net::UnixListener, path::Path, thread};

/// Bytes read at once; enough to empty the socket.
const READ_BYTES: usize = 128 * 1024;

/// Reads whatever comes to `socket`, for ever.
pub fn read_for_ever(socket: &Path) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        thread::spawn(move || {
            let mut buffer = vec![0; READ_BYTES];
            while matches!(stream.read(&mut buffer), Ok(1..)) {}
        });
    }
    Ok(())
}
