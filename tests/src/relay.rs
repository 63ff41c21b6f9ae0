//! Lets containers reach what listens on this machine's loopback address only.
//!
//! Promises: bytes go both ways, each way until its end.
//! Never: ends before the process does.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, ensure};

/// Listens at an address of this machine that containers reach, and passes on to `to`, each connection after `wait`. Gives where.
pub fn start(to: SocketAddr, at: &str, wait: impl Fn() + Send + 'static) -> Result<SocketAddr> {
    let listener = TcpListener::bind((at, 0)).context("the engine must be on this machine")?;
    let address = listener.local_addr()?;
    ensure!(!address.ip().is_loopback(), "{address} cannot be reached from a container");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            wait();
            if let Ok(server) = TcpStream::connect(to) {
                // A connection that cannot be cloned is dropped, which its client sees.
                drop(join(client, server));
            }
        }
    });
    Ok(address)
}

/// Copies both ways between two connections, each way until its end.
fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        thread::spawn(move || {
            let copied = io::copy(&mut from, &mut to);
            let closed = to.shutdown(Shutdown::Write);
            drop((copied, closed));
        });
    }
    Ok(())
}
