//! As much of DNS (RFC 1035) as a probe and an impostor need: a question for an IPv4 address, and its answer, over UDP.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::network_linux::Peer;
use crate::target::Target;

/// A longer message comes over TCP (RFC 1035, 4.2.1, and what EDNS allows in practice).
pub(crate) const MESSAGE_BYTES_MAX: usize = 4_096;
/// A name that no server has (RFC 6761): every server answers, with whatever status.
pub(crate) const PROBE_NAME: &str = "proofmark.invalid";
/// A server that says nothing for so many milliseconds does not answer.
const ANSWER_MS_MAX: u64 = 500;
const PORT: u16 = 53;
const HEADER_BYTES: usize = 12;
/// Type A, class IN.
const ADDRESS: [u8; 4] = [0, 1, 0, 1];
/// Its own questions are told apart by nothing else: each comes from a socket of its own.
const ID: [u8; 2] = [0x50, 0x4d];

/// The name server that a target is: port 53 where its `address` names none.
pub(crate) fn server(target: &Target) -> Result<Peer, String> {
    let mut peer = Peer::parse(target.text("address")?)?;
    peer.port = peer.port.or(Some(PORT));
    Ok(peer)
}

/// Asks for the IPv4 address of a name. `None` when nobody answers, `Some(None)` when there is no such address.
pub(crate) fn ask(server: SocketAddr, name: &str) -> Result<Option<Option<Ipv4Addr>>, String> {
    let failed = |error: std::io::Error| format!("no question to `{server}`: {error}");
    let local: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(local).map_err(failed)?;
    socket.connect(server).map_err(failed)?;
    match socket.send(&question(name)) {
        Ok(_) => {}
        // A rule of the kernel that drops what is sent says so to the sender.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    Ok(answer_to(&socket, ID).map(|answer| address(&answer)))
}

/// Passes a question on to the server: its answer.
pub(crate) fn pass_on(socket: &UdpSocket, server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let id = question.get(..2)?.try_into().ok()?;
    socket.send_to(question, server).ok()?;
    answer_to(socket, id)
}

/// The answer to a question for `name` that gives `address`; `None` for every other question.
pub(crate) fn forged(question: &[u8], name: &str, address: Ipv4Addr) -> Option<Vec<u8>> {
    let asked = question.get(HEADER_BYTES..)?;
    let encoded = encoded(name);
    let is_name = asked.len() >= encoded.len() + 4 && asked[..encoded.len()].eq_ignore_ascii_case(&encoded);
    if !is_name {
        return None;
    }
    let asked = &asked[..encoded.len() + 4];
    let is_address = asked.ends_with(&ADDRESS);
    let mut answer = question[..2].to_vec();
    // An answer, recursion available; one question, and one answer to the one for an address.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend_from_slice(asked);
    if is_address {
        // The question's name, A, IN, to be kept for no time, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// A host name (RFC 1123).
pub(crate) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain && (1..=63).contains(&label.len())
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn answer_to(socket: &UdpSocket, id: [u8; 2]) -> Option<Vec<u8>> {
    let end = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
    let mut answer = vec![0; MESSAGE_BYTES_MAX];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        socket.set_read_timeout(Some(left)).ok()?;
        let length = socket.recv(&mut answer).ok()?;
        if length >= HEADER_BYTES && answer[..2] == id {
            answer.truncate(length);
            return Some(answer);
        }
    }
}

fn question(name: &str) -> Vec<u8> {
    let mut question = ID.to_vec();
    // Recursion desired, one question.
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    question.extend(encoded(name));
    question.extend(ADDRESS);
    question
}

fn encoded(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.') {
        encoded.push(u8::try_from(label.len()).unwrap_or(0));
        encoded.extend_from_slice(label.as_bytes());
    }
    encoded.push(0);
    encoded
}

/// The first IPv4 address of an answer.
fn address(answer: &[u8]) -> Option<Ipv4Addr> {
    let number = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *answer.get(at)?,
            *answer.get(at + 1)?,
        ])))
    };
    let (questions, answers) = (number(4)?, number(6)?);
    let mut at = HEADER_BYTES;
    for _ in 0..questions {
        at = after_name(answer, at)? + 4;
    }
    for _ in 0..answers {
        at = after_name(answer, at)?;
        let length = number(at + 8)?;
        let data = answer.get(at + 10..at + 10 + length)?;
        if answer.get(at..at + 4)? == ADDRESS {
            let octets: [u8; 4] = data.try_into().ok()?;
            return Some(octets.into());
        }
        at += 10 + length;
    }
    None
}

/// Behind a name, which may end in a pointer.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            0xc0.. => return Some(at + 2),
            _ => at += 1 + length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_answer_is_read_as_one() {
        let asked = question("Ledger.test");
        let there = Ipv4Addr::new(127, 0, 0, 2);
        let answer = forged(&asked, "ledger.test", there).unwrap();
        assert_eq!(address(&answer), Some(there));
        assert_eq!(forged(&asked, "edger.test", there), None);
        for length in 0..answer.len() {
            assert_eq!(address(&answer[..length]), None);
        }
        let mut other = asked.clone();
        let end = other.len() - 3;
        other[end] = 28;
        assert_eq!(address(&forged(&other, "ledger.test", there).unwrap()), None);
    }

    #[test]
    fn names_of_hosts() {
        for (name, expected) in [("a.b-c", true), ("", false), ("a..b", false), ("a b", false)] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
