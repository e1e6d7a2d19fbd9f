//! Established TCP connections as the kernel lists them, and their end by its hand: sock_diag(7).
//!
//! Everything is about the network namespace of the calling thread. Listing is anybody's; ending one needs
//! CAP_NET_ADMIN there, and a kernel with `CONFIG_INET_DIAG_DESTROY`. It sees no UDP and nothing that is not
//! established. Start reading at [`established`].

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// The kernel answers within so many milliseconds.
const ANSWER_MS_MAX: u64 = 1_000;
/// More connections than that of one port are not listed.
const CONNECTIONS_MAX: usize = 100_000;
/// A connection that is ended shows so at its other end within so many milliseconds.
const TRIAL_MS_MAX: u64 = 500;

// linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_sockid`.
const ID_BYTES: usize = 48;
const INET: u8 = 2;
const INET6: u8 = 10;
const TCP: u8 = 6;
const ESTABLISHED: u32 = 1 << 1;
const ANY_STATE: u32 = u32::MAX;

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    family: u8,
    /// With the kernel's cookie, so that a later connection of the same addresses is another one.
    id: [u8; ID_BYTES],
}

/// The ends on this host of every established connection from or to `port`.
pub(crate) fn established(port: u16) -> Result<Vec<Connection>, String> {
    let socket = open()?;
    let mut found = Vec::new();
    for family in [INET, INET6] {
        for side in [0, 2] {
            // The kernel picks by the ports that are not 0: source first, then destination, in network order.
            let mut id = [0; ID_BYTES];
            id[side..side + 2].copy_from_slice(&port.to_be_bytes());
            ask(&socket, BY_FAMILY, REQUEST | DUMP, family, ESTABLISHED, &id)?;
            list(&socket, &mut found)?;
        }
    }
    Ok(found)
}

/// Ends it as if its network had broken: the other end is sent a reset. `false` when it had ended already.
pub(crate) fn destroy(connection: &Connection) -> Result<bool, String> {
    let socket = open()?;
    ask(
        &socket,
        DESTROY,
        REQUEST | ACK,
        connection.family,
        ANY_STATE,
        &connection.id,
    )?;
    let mut buffer = vec![0; 8 << 10];
    let length = receive(&socket, &mut buffer)?;
    match messages(&buffer[..length]).next() {
        Some((ERROR, body)) => match errno(body) {
            0 => Ok(true),
            code if code == rustix::io::Errno::NOENT.raw_os_error() => Ok(false),
            code if code == rustix::io::Errno::OPNOTSUPP.raw_os_error() => {
                Err("this kernel ends no connections: it was built without `CONFIG_INET_DIAG_DESTROY`".to_owned())
            }
            code if code == rustix::io::Errno::PERM.raw_os_error() => Err("needs root or CAP_NET_ADMIN".to_owned()),
            code => Err(std::io::Error::from_raw_os_error(code).to_string()),
        },
        _ => Err("the kernel's answer can't be read".to_owned()),
    }
}

/// Ends a connection of our own to ourselves, and looks whether that shows: nobody else meets it.
pub(crate) fn trial() -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let client = TcpStream::connect(address).map_err(failed)?;
    let _server = listener.accept().map_err(failed)?;
    let ends = established(address.port())?;
    let server = ends.iter().find(|end| end.local == address);
    destroy(server.ok_or("the kernel does not list a connection that is there")?)?;
    if is_cut(client, Duration::from_millis(TRIAL_MS_MAX))? {
        Ok(())
    } else {
        Err("the kernel says that it ended a connection, and it goes on".to_owned())
    }
}

/// True when it ends by a reset within `wait`; an orderly end is none.
pub(crate) fn is_cut(mut stream: TcpStream, wait: Duration) -> Result<bool, String> {
    use std::io::Read;
    let until = std::time::Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => return Ok(true),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return Ok(false),
                ErrorKind::Interrupted => {}
                _ => return Err(error.to_string()),
            },
        }
    }
}

fn open() -> Result<OwnedFd, String> {
    let failed = |error: rustix::io::Errno| format!("the kernel's list of sockets: {error}");
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG)).map_err(failed)?;
    let wait = Some(Duration::from_millis(ANSWER_MS_MAX));
    set_socket_timeout(&socket, Timeout::Recv, wait).map_err(failed)?;
    Ok(socket)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`. Without an address it goes to the kernel.
fn ask(socket: &OwnedFd, kind: u16, flags: u16, family: u8, states: u32, id: &[u8; ID_BYTES]) -> Result<(), String> {
    let mut message = Vec::with_capacity(HEADER_BYTES + 8 + ID_BYTES);
    let length = (HEADER_BYTES + 8 + ID_BYTES) as u32;
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, TCP, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.extend(id);
    let sent = send(socket, &message, SendFlags::empty()).map_err(|error| error.to_string())?;
    if sent == message.len() {
        Ok(())
    } else {
        Err("the kernel took half a question".to_owned())
    }
}

/// Reads a dump to its end.
fn list(socket: &OwnedFd, found: &mut Vec<Connection>) -> Result<(), String> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = receive(socket, &mut buffer)?;
        for (kind, body) in messages(&buffer[..length]) {
            match kind {
                DONE => return Ok(()),
                ERROR => return Err(std::io::Error::from_raw_os_error(errno(body)).to_string()),
                BY_FAMILY => found.extend(connection(body)),
                _ => {}
            }
        }
        if found.len() > CONNECTIONS_MAX {
            return Err(format!("more than {CONNECTIONS_MAX} connections are established"));
        }
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, String> {
    let (length, _) = recv(socket, buffer, RecvFlags::empty()).map_err(|error| error.to_string())?;
    Ok(length)
}

/// The kind and body of each message. What is cut short ends them.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let body = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The positive number of an error; 0 for none.
fn errno(body: &[u8]) -> i32 {
    let code = body.get(..4).and_then(|bytes| bytes.try_into().ok());
    code.map_or(rustix::io::Errno::INVAL.raw_os_error(), |bytes| {
        i32::from_ne_bytes(bytes).saturating_neg()
    })
}

/// `struct inet_diag_msg`: family, state, timer, retransmissions, and then the id.
fn connection(body: &[u8]) -> Option<Connection> {
    let family = *body.first()?;
    let id: [u8; ID_BYTES] = body.get(4..4 + ID_BYTES)?.try_into().ok()?;
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = id.get(at..at + 16)?.try_into().ok()?;
        Some(match family {
            INET => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            // A server that listens on `::` has its IPv4 clients in IPv6's clothes.
            _ => IpAddr::from(Ipv6Addr::from(bytes)).to_canonical(),
        })
    };
    Some(Connection {
        local: SocketAddr::new(address(4)?, port(0)),
        peer: SocketAddr::new(address(20)?, port(2)),
        family,
        id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_listed() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, _) = listener.accept().unwrap();
        let (address, from) = (SocketAddr::from(([127, 0, 0, 1], port)), client.local_addr().unwrap());
        let mut ends: Vec<_> = established(port)
            .unwrap()
            .into_iter()
            .map(|end| (end.local, end.peer))
            .collect();
        ends.sort();
        let mut expect = vec![(address, from), (from, address)];
        expect.sort();
        assert_eq!(ends, expect);
        drop((client, server));
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        for bytes in [
            &[][..],
            &[20, 0, 0],
            &[20, 0, 0, 0, 2, 0, 0, 0],
            &[3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(messages(bytes).count(), 0, "{bytes:?}");
        }
        assert_eq!(connection(&[2; 51]), None);
    }

    #[test]
    fn an_orderly_end_is_no_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(is_cut(client, Duration::from_millis(200)), Ok(false));
    }
}
