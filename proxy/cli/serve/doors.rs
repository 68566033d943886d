//! Opening the doors.

use crate::cli::Failure;
use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, TcpSocket};

/// A cluster that starts at once connects at once; the system may lower it (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Listens on `address`, which `key` of the configuration gave.
///
/// # Errors
/// A sentence that says what to do.
pub(super) fn open(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    listen(address).map_err(|error| Failure::failed(told(address, key, &error)))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the larder before, which are still closing, are no reason to wait.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn told(address: SocketAddr, key: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("{address} is in use by another program; stop it or set {key}"),
        io::ErrorKind::AddrNotAvailable => format!("{address} is no address of this machine; set {key}"),
        io::ErrorKind::PermissionDenied => {
            format!("{address} may not be opened by this user; set {key} to a port of 1024 or above")
        }
        _ => format!("{address} cannot be opened: {error}; set {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_is_told_with_what_to_do() {
        let first = open("127.0.0.1:0".parse().unwrap(), "server.listen").unwrap();
        let address = first.local_addr().unwrap();
        let failure = open(address, "server.listen").unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("{address} is in use by another program; stop it or set server.listen")
        );
        let failure = open("203.0.113.1:0".parse().unwrap(), "server.admin").unwrap_err();
        assert_eq!(failure.to_string(), "203.0.113.1:0 is no address of this machine; set server.admin");
    }
}
