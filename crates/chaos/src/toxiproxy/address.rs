//! Addresses to listen on as Go's `net` reads them, errors included: Toxiproxy passes both on to its clients.
//!
//! It deliberately looks no port up by its name.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use super::Names;

/// The address in one spelling, so that two can be compared: `localhost:80` is `127.0.0.1:80`; without a host it
/// stays without one.
///
/// # Errors
/// It is not an address, or its name is unknown.
pub(super) fn resolved(text: &str, names: Names) -> Result<String, String> {
    if text.is_empty() {
        return Ok(":0".to_owned());
    }
    let (host, port) = parts(text)?;
    Ok(if host.is_empty() {
        format!(":{port}")
    } else {
        SocketAddr::new(lookup(host, names)?, port).to_string()
    })
}

/// A listener at an address: a port of 0 is any free one; without a host, or with an unspecified one, it listens on
/// every address of either family.
///
/// # Errors
/// It is not an address, its name is unknown, or the system refuses it.
pub(super) fn listen(text: &str, names: Names) -> Result<TcpListener, String> {
    let unusable = |problem| format!("listen tcp: {problem}");
    let (host, port) = if text.is_empty() {
        ("", 0)
    } else {
        parts(text).map_err(unusable)?
    };
    let ip = if host.is_empty() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        lookup(host, names).map_err(unusable)?
    };
    let bound = if ip.is_unspecified() {
        // Where there is no IPv6, the other family is every address.
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|error| match error.kind() {
            ErrorKind::Unsupported | ErrorKind::AddrNotAvailable => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
            _ => Err(error),
        })
    } else {
        TcpListener::bind((ip, port))
    };
    bound.map_err(|error| {
        let shown = if host.is_empty() {
            format!(":{port}")
        } else {
            SocketAddr::new(ip, port).to_string()
        };
        format!("listen tcp {shown}: bind: {}", reason(&error))
    })
}

/// True when a connection to `upstream` (`host:port`, `:port`) comes back to who listens on `local`. Its name is looked up
/// only where the port is the same.
pub(super) fn leads_to(upstream: &str, local: SocketAddr, names: Names) -> bool {
    let Ok((host, port)) = parts(upstream) else {
        return false;
    };
    if port != local.port() {
        return false;
    }
    let host = if host.is_empty() { "localhost" } else { host };
    let Ok(ip) = lookup(host, names).map(|ip| ip.to_canonical()) else {
        return false;
    };
    // Only an address of this machine can be bound; an unspecified one leads to this machine.
    let is_here = || ip.is_unspecified() || TcpListener::bind((ip, 0)).is_ok();
    ip == local.ip().to_canonical()
        || (local.ip().is_unspecified() && is_here())
        || (ip.is_unspecified() && local.ip().is_loopback())
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "address already in use".to_owned(),
        ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn parts(text: &str) -> Result<(&str, u16), String> {
    let (host, port) = split(text).map_err(|problem| format!("address {text}: {problem}"))?;
    if port.is_empty() {
        return Ok((host, 0));
    }
    match port.parse::<i64>() {
        Ok(number) => match u16::try_from(number) {
            Ok(number) => Ok((host, number)),
            Err(_) => Err(format!("address {port}: invalid port")),
        },
        Err(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => Err(format!("address {port}: invalid port")),
        Err(_) => Err(format!("lookup tcp/{port}: unknown port")),
    }
}

/// `host:port`, `[host]:port`.
fn split(text: &str) -> Result<(&str, &str), &'static str> {
    const NO_PORT: &str = "missing port in address";
    const COLONS: &str = "too many colons in address";
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("missing ']' in address")?;
        let port = match after.strip_prefix(':') {
            Some(port) if port.contains(':') => return Err(COLONS),
            Some(port) => port,
            None => return Err(NO_PORT),
        };
        if host.contains('[') {
            return Err("unexpected '[' in address");
        }
        (host, port)
    } else {
        let (host, port) = text.rsplit_once(':').ok_or(NO_PORT)?;
        if host.contains(':') {
            return Err(COLONS);
        }
        if host.contains('[') {
            return Err("unexpected '[' in address");
        }
        if host.contains(']') {
            return Err("unexpected ']' in address");
        }
        (host, port)
    };
    if port.contains('[') {
        return Err("unexpected '[' in address");
    }
    if port.contains(']') {
        return Err("unexpected ']' in address");
    }
    Ok((host, port))
}

/// An address of the older family first, as Go prefers it.
fn lookup(host: &str, names: Names) -> Result<IpAddr, String> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    let unknown = || format!("lookup {host}: no such host");
    // What can't be a name isn't asked for.
    let label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if host.len() > 253 || !host.bytes().all(label) {
        return Err(unknown());
    }
    let found = names(host).map_err(|_| unknown())?;
    let older = found.iter().find(|ip| ip.is_ipv4());
    older.or(found.first()).copied().ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toxiproxy::system_names;

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        let rows = [
            ("", Ok(":0")),
            (":0", Ok(":0")),
            ("127.0.0.1:", Ok("127.0.0.1:0")),
            ("[]:7", Ok(":7")),
            ("[::1]:80", Ok("[::1]:80")),
            ("localhost:80", Ok("127.0.0.1:80")),
            ("foo", Err("address foo: missing port in address")),
            ("::1:80", Err("address ::1:80: too many colons in address")),
            ("[::1", Err("address [::1: missing ']' in address")),
            ("[::1]", Err("address [::1]: missing port in address")),
            ("a]:1", Err("address a]:1: unexpected ']' in address")),
            ("127.0.0.1:99999", Err("address 99999: invalid port")),
            ("127.0.0.1:-1", Err("address -1: invalid port")),
            (
                "127.0.0.1:99999999999999999999",
                Err("address 99999999999999999999: invalid port"),
            ),
            ("127.0.0.1:x", Err("lookup tcp/x: unknown port")),
            ("a b:1", Err("lookup a b: no such host")),
        ];
        for (text, expected) in rows {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(resolved(text, system_names), expected, "`{text}`");
        }
    }

    #[test]
    fn what_leads_back_is_seen() {
        let local = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (upstream, listens, expect) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("localhost:80", "127.0.0.1:80", true),
            (":80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "[::]:80", true),
            ("127.0.0.2:80", "127.0.0.1:80", false),
            ("127.0.0.1:81", "127.0.0.1:80", false),
            ("192.0.2.1:80", "[::]:80", false),
            ("nonsense", "127.0.0.1:80", false),
        ] {
            assert_eq!(
                leads_to(upstream, local(listens), system_names),
                expect,
                "{upstream} {listens}"
            );
        }
    }

    #[test]
    fn a_taken_port_is_said_as_go_says_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let refused = listen(&address, system_names).unwrap_err();
        assert_eq!(refused, format!("listen tcp {address}: bind: address already in use"));
    }
}
