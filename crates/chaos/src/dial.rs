//! A TCP connection with a time limit, from an address of this host that may be chosen: what stolen credentials are
//! presented from.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use tokio::net::TcpSocket;

/// A connection is made within so many milliseconds, and each read and write on it ends.
pub(crate) const DIAL_MS_MAX: u64 = 1_000;

/// Connects to `address`, host:port. `from` is the address of this host that the other side sees.
pub(crate) fn dial(address: &str, from: Option<IpAddr>) -> Result<TcpStream, String> {
    dial_within(address, from, Duration::from_millis(DIAL_MS_MAX))
}

/// The same with another limit of each step.
pub(crate) fn dial_within(address: &str, from: Option<IpAddr>, limit: Duration) -> Result<TcpStream, String> {
    let failed = |error: std::io::Error| format!("`{address}` can't be reached: {error}");
    let to = address
        .to_socket_addrs()
        .map_err(failed)?
        .find(|to| from.is_none_or(|from| from.is_ipv4() == to.is_ipv4()))
        .ok_or_else(|| format!("`{address}` has no address that could be reached from there"))?;
    let stream = match from {
        None => TcpStream::connect_timeout(&to, limit).map_err(failed)?,
        Some(from) => dial_from(to, from, limit).map_err(failed)?,
    };
    stream.set_read_timeout(Some(limit)).map_err(failed)?;
    stream.set_write_timeout(Some(limit)).map_err(failed)?;
    Ok(stream)
}

fn dial_from(to: SocketAddr, from: IpAddr, limit: Duration) -> std::io::Result<TcpStream> {
    // The standard library can't choose where a connection comes from.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(from, 0))?;
        let made = tokio::time::timeout(limit, socket.connect(to)).await;
        made.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}
