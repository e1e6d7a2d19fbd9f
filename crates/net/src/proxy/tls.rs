//! The server name that a TLS client asks for, read from its first bytes (RFC 8446, RFC 6066 section 3).
//!
//! It deliberately doesn't terminate TLS and checks nothing: whoever sends a name can send any.

/// More than this before a ClientHello is complete is not one: TLS allows for records of 16 KiB, and real ones with
/// post-quantum key shares stay below 4 KiB.
pub const HELLO_BYTES_MAX: usize = 32 << 10;

const RECORD_BYTES_MAX: usize = (16 << 10) + 256;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const NAME_BYTES_MAX: usize = 253;

/// What the first bytes of a client say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// It asks for this name, in lower case.
    Name(String),
    /// A ClientHello without a name, or with one that is none.
    NoName,
    /// It may become one.
    Incomplete,
    NotTls,
}

/// Reads the beginning of what a client sends. It may be called again with more of the same bytes.
pub fn server_name(bytes: &[u8]) -> Hello {
    match handshake(bytes) {
        Ok(Some(hello)) => name(&hello).map_or(Hello::NoName, Hello::Name),
        Ok(None) if bytes.len() < HELLO_BYTES_MAX => Hello::Incomplete,
        Ok(None) | Err(NotTls) => Hello::NotTls,
    }
}

struct NotTls;

/// The body of the ClientHello, which may lie in several records; `None` while it is not complete.
fn handshake(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, NotTls> {
    let mut message = Vec::new();
    loop {
        // What is there has to fit, so that another protocol is known by its first byte.
        let shape = [HANDSHAKE, 3];
        if bytes.iter().zip(shape).any(|(byte, expected)| *byte != expected) {
            return Err(NotTls);
        }
        let [_, _, minor, high, low, rest @ ..] = bytes else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *minor > 4 || length == 0 || length > RECORD_BYTES_MAX {
            return Err(NotTls);
        }
        message.extend_from_slice(&rest[..length.min(rest.len())]);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(NotTls);
        }
        if let [_, a, b, c, body @ ..] = message.as_slice() {
            let whole = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if body.len() >= whole {
                return Ok(Some(body[..whole].to_vec()));
            }
        }
        if rest.len() < length {
            return Ok(None);
        }
        bytes = &rest[length..];
    }
}

/// The first host name in the server name extension.
fn name(hello: &[u8]) -> Option<String> {
    // Version and random, session, cipher suites, compression methods.
    let rest = hello.get(2 + 32..)?;
    let (_, rest) = vector(rest, 1)?;
    let (_, rest) = vector(rest, 2)?;
    let (_, rest) = vector(rest, 1)?;
    let (mut extensions, _) = vector(rest, 2)?;
    while let [high, low, rest @ ..] = extensions {
        let (content, rest) = vector(rest, 2)?;
        if u16::from_be_bytes([*high, *low]) == SERVER_NAME {
            let (mut names, _) = vector(content, 2)?;
            while let [kind, rest @ ..] = names {
                let (value, rest) = vector(rest, 2)?;
                if *kind == HOST_NAME {
                    return host(value);
                }
                names = rest;
            }
            return None;
        }
        extensions = rest;
    }
    None
}

fn host(value: &[u8]) -> Option<String> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let text = std::str::from_utf8(value).ok()?.trim_end_matches('.');
    (!text.is_empty() && text.len() <= NAME_BYTES_MAX && text.as_bytes().iter().all(is_name))
        .then(|| text.to_ascii_lowercase())
}

/// A vector with its length in front, in so many bytes; and what follows.
fn vector(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_length(width: usize, bytes: &[u8]) -> Vec<u8> {
        let mut out = (bytes.len() as u32).to_be_bytes()[4 - width..].to_vec();
        out.extend(bytes);
        out
    }

    /// A ClientHello with these extensions, in records of at most `record` bytes.
    fn hello(extensions: &[(u16, Vec<u8>)], record: usize) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([9; 32]);
        body.extend(with_length(1, &[7; 32]));
        body.extend(with_length(2, &[0x13, 1]));
        body.extend(with_length(1, &[0]));
        let mut all = Vec::new();
        for (kind, content) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend(with_length(2, content));
        }
        body.extend(with_length(2, &all));
        let mut message = vec![CLIENT_HELLO];
        message.extend(with_length(3, &body));
        let mut out = Vec::new();
        for part in message.chunks(record) {
            out.extend([HANDSHAKE, 3, 1]);
            out.extend(with_length(2, part));
        }
        out
    }

    fn named(name: &str) -> (u16, Vec<u8>) {
        let mut entry = vec![HOST_NAME];
        entry.extend(with_length(2, name.as_bytes()));
        (SERVER_NAME, with_length(2, &entry))
    }

    #[test]
    fn names_are_read() {
        let check = |extensions: &[(u16, Vec<u8>)], expected: Hello| {
            for record in [5, 100, 16_384] {
                assert_eq!(server_name(&hello(extensions, record)), expected);
            }
        };
        check(&[named("Example.com")], Hello::Name("example.com".into()));
        check(&[(10, vec![1; 300]), named("a.b")], Hello::Name("a.b".into()));
        check(&[(10, vec![1; 300])], Hello::NoName);
        check(&[], Hello::NoName);
        check(&[named("a b")], Hello::NoName);
        check(&[(SERVER_NAME, vec![0, 9])], Hello::NoName);
        assert_eq!(server_name(b""), Hello::Incomplete);
        assert_eq!(server_name(b"GET / HTTP/1.1"), Hello::NotTls);
        assert_eq!(server_name(&[HANDSHAKE, 3, 1, 0, 4, 2]), Hello::NotTls);
        assert_eq!(server_name(&[HANDSHAKE, 3, 1, 0xff, 0xff]), Hello::NotTls);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_part_of_one_is_incomplete(record in 1usize..300, share in 0.0f64..1.0) {
            let bytes = hello(&[named("example.com")], record);
            let part = (bytes.len() as f64 * share) as usize;
            let read = server_name(&bytes[..part]);
            prop_assert!(matches!(read, Hello::Incomplete | Hello::Name(_)), "{:?}", read);
            prop_assert_eq!(server_name(&bytes), Hello::Name("example.com".into()));
        }

        #[test]
        fn never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..400), real in any::<bool>(), at in 0usize..150) {
            if real {
                let mut hello = hello(&[named("example.com")], 16_384);
                if let (Some(byte), Some(new)) = (hello.get_mut(at), bytes.first()) {
                    *byte = *new;
                }
                bytes = hello;
            }
            let _ = server_name(&bytes);
        }
    }
}
