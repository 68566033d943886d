//! Waiting for a server's first good answer.

use super::{Error, Process};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// All peers start within a second; a loaded machine may take longer.
const WITHIN: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Asks `path` until it is answered with 200.
pub fn wait(process: &mut Process, address: SocketAddr, path: &str) -> Result<(), Error> {
    let started = Instant::now();
    while !answers(address, path).unwrap_or(false) {
        if let Some(status) = process.ended() {
            return Err(Error::Ended { status, log: process.log() });
        }
        if started.elapsed() > WITHIN {
            return Err(Error::NotReady { within: WITHIN, log: process.log() });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

fn answers(address: SocketAddr, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.ends_with(b" 200"))
}
