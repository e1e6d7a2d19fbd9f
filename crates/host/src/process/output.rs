//! What becomes of a stream's bytes: captured up to a bound, or cut into lines.

use super::{LINE_BYTES_MAX, OnLine, Sink};

/// The receiving end of a piped stream. Made from [`Sink::Capture`] and [`Sink::Lines`]; other sinks need no pipe.
pub(super) enum Receiver {
    Capture {
        bytes_max: usize,
        kept: Vec<u8>,
        truncated: bool,
    },
    Lines {
        begun: Vec<u8>,
        deliver: OnLine,
    },
}

impl Receiver {
    /// The receiver for a sink that needs a pipe.
    pub(super) fn of(sink: Sink) -> Option<Self> {
        match sink {
            Sink::Null | Sink::File(_) => None,
            Sink::Capture { bytes_max } => Some(Self::Capture {
                bytes_max,
                kept: Vec::new(),
                truncated: false,
            }),
            Sink::Lines(deliver) => Some(Self::Lines {
                begun: Vec::new(),
                deliver,
            }),
        }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        match self {
            Self::Capture {
                bytes_max,
                kept,
                truncated,
            } => {
                let room = *bytes_max - kept.len();
                if bytes.len() > room {
                    *truncated = true;
                    bytes = &bytes[..room];
                }
                kept.extend_from_slice(bytes);
            }
            Self::Lines { begun, deliver } => {
                while !bytes.is_empty() {
                    let room = LINE_BYTES_MAX - begun.len();
                    // One byte more than fits: a line feed there ends a line of exactly the bound.
                    let piece = &bytes[..bytes.len().min(room + 1)];
                    let (taken, left) = match piece.iter().position(|&byte| byte == b'\n') {
                        Some(end) => (end, end + 1),
                        None if piece.len() > room => (room, room),
                        None => {
                            begun.extend_from_slice(piece);
                            return;
                        }
                    };
                    begun.extend_from_slice(&bytes[..taken]);
                    bytes = &bytes[left..];
                    deliver(begun);
                    begun.clear();
                }
            }
        }
    }

    /// Delivers a last line without a line feed; returns what was captured and whether some was thrown away.
    pub(super) fn finish(self) -> (Vec<u8>, bool) {
        match self {
            Self::Capture { kept, truncated, .. } => (kept, truncated),
            Self::Lines { begun, mut deliver } => {
                if !begun.is_empty() {
                    deliver(&begun);
                }
                (Vec::new(), false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let got = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink::Lines(Box::new({
            let got = got.clone();
            move |line| got.lock().unwrap().push(line.to_vec())
        }));
        let mut receiver = Receiver::of(sink).unwrap();
        for piece in pieces {
            receiver.push(piece);
        }
        receiver.finish();
        let got = got.lock().unwrap();
        got.clone()
    }

    #[test]
    fn lines_are_cut_at_line_feeds_wherever_the_pieces_end() {
        let check = |pieces: &[&[u8]], expect: &[&[u8]]| assert_eq!(lines(pieces), expect);
        check(&[], &[]);
        check(&[b"one\ntwo\n"], &[b"one", b"two"]);
        check(&[b"o", b"ne", b"\n", b"two"], &[b"one", b"two"]);
        check(&[b"\n\n"], &[b"", b""]);
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        check(&[&long, b"\n"], &[&long[1..], b"x"]);
        check(&[&long[1..], b"\nafter"], &[&long[1..], b"after"]);
        let whole = [&long[1..], b"\nafter"].concat();
        check(&[&whole], &[&long[1..], b"after"]);
    }

    #[test]
    fn capture_keeps_the_first_bytes_and_says_that_it_cut() {
        let check = |pieces: &[&[u8]], expect: (&[u8], bool)| {
            let mut receiver = Receiver::of(Sink::Capture { bytes_max: 4 }).unwrap();
            for piece in pieces {
                receiver.push(piece);
            }
            let (kept, truncated) = receiver.finish();
            assert_eq!((kept.as_slice(), truncated), expect);
        };
        check(&[b"abcd"], (b"abcd", false));
        check(&[b"abcde"], (b"abcd", true));
        check(&[b"abcd", b""], (b"abcd", false));
        check(&[b"ab", b"cde", b"f"], (b"abcd", true));
    }
}
