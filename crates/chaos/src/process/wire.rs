//! What supervisor, worker and warden say to each other: JSON frames with their length in front.
//!
//! ```text
//! length of the JSON text, 4 bytes, big endian
//! {"v":1,"id":7,"ask":{"do":"set-upstream","link":"storefront-ledger","upstream":"127.0.0.1:7000"}}
//! ```
//!
//! The supervisor asks, the other answers with the same id: `{"v":1,"id":7,"answer":{"said":"done"}}`. Another
//! version, a frame that is too long and one that can't be read end the conversation, and with it the worker.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use std::time::Duration;

use net::proxy::{Applied, Direction, Toxic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the frames. Both ends are the same program, so no other one is ever met.
pub(super) const VERSION: u32 = 1;
/// A longer frame is refused.
pub(super) const FRAME_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) v: u32,
    pub(super) id: u64,
    pub(super) ask: Ask,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) v: u32,
    pub(super) id: u64,
    pub(super) answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Ask {
    /// The heartbeat.
    Ping,
    SetToxics {
        link: String,
        toxics: Vec<WireApplied>,
    },
    GetToxics {
        link: String,
    },
    SetUpstream {
        link: String,
        upstream: SocketAddr,
    },
    /// To the warden: a process that must not outlive the supervisor. It is not reaped before the answer.
    Guard {
        pid: i32,
    },
    /// To a holder: do this fault, and go on.
    Hold {
        fault: String,
        parameters: BTreeMap<String, Value>,
        record: BTreeMap<String, Value>,
        time_left_ms: u64,
    },
    /// To the warden: until it is disarmed, everything is undone by force when the boot time comes to `deadline_ms`, or
    /// soon after the file `kill_switch` is there.
    Arm {
        deadline_ms: u64,
        kill_switch: Option<String>,
    },
    Disarm,
    /// To the warden: serve the kill switch on the socket that it was started with. `token` is the SHA-256 of what lets
    /// somebody throw it, in hex; whoever connects to `stop_socket` tells the supervisor.
    Serve {
        token: String,
        stop_socket: String,
    },
    /// To the warden: the supervisor ends in good order, there is nothing to do.
    StandDown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    Done,
    Toxics { toxics: Vec<WireApplied> },
    Refused { reason: String },
}

/// [`Applied`] as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireApplied {
    name: String,
    toxic: WireToxic,
    direction: WireDirection,
    toxicity: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time_to_live_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WireDirection {
    Up,
    Down,
}

/// [`Toxic`] as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum WireToxic {
    Latency {
        delay_ms: u64,
        jitter_ms: u64,
    },
    Bandwidth {
        bytes_per_second: u64,
    },
    SlowClose {
        delay_ms: u64,
    },
    Timeout {
        timeout_ms: u64,
    },
    Reset {
        after_ms: u64,
    },
    Slicer {
        average_bytes: u64,
        variation_bytes: u64,
        delay_us: u64,
    },
    Limit {
        bytes: u64,
    },
    Loss {
        per_mille: u16,
    },
}

impl From<Applied> for WireApplied {
    fn from(applied: Applied) -> Self {
        WireApplied {
            name: applied.name,
            toxic: applied.toxic.into(),
            direction: match applied.direction {
                Direction::Up => WireDirection::Up,
                Direction::Down => WireDirection::Down,
            },
            toxicity: applied.toxicity,
            time_to_live_ms: applied
                .time_to_live
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<WireApplied> for Applied {
    fn from(applied: WireApplied) -> Self {
        Applied {
            name: applied.name,
            toxic: applied.toxic.into(),
            direction: match applied.direction {
                WireDirection::Up => Direction::Up,
                WireDirection::Down => Direction::Down,
            },
            toxicity: applied.toxicity,
            time_to_live: applied.time_to_live_ms.map(Duration::from_millis),
        }
    }
}

impl From<Toxic> for WireToxic {
    fn from(toxic: Toxic) -> Self {
        match toxic {
            Toxic::Latency { delay_ms, jitter_ms } => WireToxic::Latency { delay_ms, jitter_ms },
            Toxic::Bandwidth { bytes_per_second } => WireToxic::Bandwidth { bytes_per_second },
            Toxic::SlowClose { delay_ms } => WireToxic::SlowClose { delay_ms },
            Toxic::Timeout { timeout_ms } => WireToxic::Timeout { timeout_ms },
            Toxic::Reset { after_ms } => WireToxic::Reset { after_ms },
            Toxic::Slicer {
                average_bytes,
                variation_bytes,
                delay_us,
            } => WireToxic::Slicer {
                average_bytes,
                variation_bytes,
                delay_us,
            },
            Toxic::Limit { bytes } => WireToxic::Limit { bytes },
            Toxic::Loss { per_mille } => WireToxic::Loss { per_mille },
        }
    }
}

impl From<WireToxic> for Toxic {
    fn from(toxic: WireToxic) -> Self {
        match toxic {
            WireToxic::Latency { delay_ms, jitter_ms } => Toxic::Latency { delay_ms, jitter_ms },
            WireToxic::Bandwidth { bytes_per_second } => Toxic::Bandwidth { bytes_per_second },
            WireToxic::SlowClose { delay_ms } => Toxic::SlowClose { delay_ms },
            WireToxic::Timeout { timeout_ms } => Toxic::Timeout { timeout_ms },
            WireToxic::Reset { after_ms } => Toxic::Reset { after_ms },
            WireToxic::Slicer {
                average_bytes,
                variation_bytes,
                delay_us,
            } => Toxic::Slicer {
                average_bytes,
                variation_bytes,
                delay_us,
            },
            WireToxic::Limit { bytes } => Toxic::Limit { bytes },
            WireToxic::Loss { per_mille } => Toxic::Loss { per_mille },
        }
    }
}

/// Writes one frame.
pub(super) fn write<T: Serialize>(stream: &mut impl Write, frame: &T) -> io::Result<()> {
    let json = serde_json::to_vec(frame)?;
    if json.len() > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"));
    }
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    // One write, so that a reader never waits between the two parts.
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(json);
    stream.write_all(&bytes)
}

/// Reads one frame; `None` when the other end is closed. An end within a frame is an error. A time limit of the
/// stream holds for the first byte: it is an error of kind `WouldBlock`, and nothing is lost by it.
pub(super) fn read<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let first = loop {
        match stream.read(&mut length[..1]) {
            // A process that was stopped and goes on is interrupted in what it waited for.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    fill(stream, &mut length[1..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    let mut json = vec![0; length];
    fill(stream, &mut json)?;
    Ok(Some(serde_json::from_slice(&json)?))
}

/// Reads the rest of a frame that has begun. Its writer is at work, so a time limit is waited out a few times.
fn fill(stream: &mut impl Read, mut bytes: &mut [u8]) -> io::Result<()> {
    const WAITS_MAX: u32 = 10;
    let mut waits = 0;
    while !bytes.is_empty() {
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes = &mut bytes[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits < WAITS_MAX => waits += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ask: Ask, json: &str) {
        let request = Request { v: VERSION, id: 7, ask };
        let mut bytes = Vec::new();
        write(&mut bytes, &request).unwrap();
        assert_eq!(&bytes[..4], &(json.len() as u32).to_be_bytes());
        assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), json);
        assert_eq!(read::<Request>(&mut bytes.as_slice()).unwrap(), Some(request));
    }

    #[test]
    fn frames_are_what_version_1_says() {
        check(Ask::Ping, r#"{"v":1,"id":7,"ask":{"do":"ping"}}"#);
        check(
            Ask::SetToxics {
                link: "a-b".to_owned(),
                toxics: vec![
                    Applied::new(
                        "slow",
                        Toxic::Latency {
                            delay_ms: 4,
                            jitter_ms: 0,
                        },
                        Direction::Down,
                    )
                    .into(),
                    Applied {
                        toxicity: 0.5,
                        time_to_live: Some(Duration::from_millis(250)),
                        ..Applied::new("cut", Toxic::Reset { after_ms: 0 }, Direction::Up)
                    }
                    .into(),
                ],
            },
            r#"{"v":1,"id":7,"ask":{"do":"set-toxics","link":"a-b","toxics":[{"name":"slow","toxic":{"kind":"latency","delay_ms":4,"jitter_ms":0},"direction":"down","toxicity":1.0},{"name":"cut","toxic":{"kind":"reset","after_ms":0},"direction":"up","toxicity":0.5,"time_to_live_ms":250}]}}"#,
        );
        check(
            Ask::SetUpstream {
                link: "a-b".to_owned(),
                upstream: "127.0.0.1:80".parse().unwrap(),
            },
            r#"{"v":1,"id":7,"ask":{"do":"set-upstream","link":"a-b","upstream":"127.0.0.1:80"}}"#,
        );
        check(Ask::Guard { pid: 9 }, r#"{"v":1,"id":7,"ask":{"do":"guard","pid":9}}"#);
    }

    #[test]
    fn every_toxic_survives_the_way() {
        for toxic in [
            Toxic::Latency {
                delay_ms: 1,
                jitter_ms: 2,
            },
            Toxic::Bandwidth { bytes_per_second: 3 },
            Toxic::SlowClose { delay_ms: 4 },
            Toxic::Timeout { timeout_ms: 5 },
            Toxic::Reset { after_ms: 6 },
            Toxic::Slicer {
                average_bytes: 7,
                variation_bytes: 8,
                delay_us: 9,
            },
            Toxic::Limit { bytes: 10 },
            Toxic::Loss { per_mille: 11 },
        ] {
            for direction in [Direction::Up, Direction::Down] {
                let applied = Applied::new("name", toxic, direction);
                assert_eq!(Applied::from(WireApplied::from(applied.clone())), applied);
            }
        }
    }

    #[test]
    fn a_closed_end_is_no_error_and_a_torn_frame_is_one() {
        assert_eq!(read::<Request>(&mut [].as_slice()).unwrap(), None);
        assert!(read::<Request>(&mut [0, 0].as_slice()).is_err());
        assert!(read::<Request>(&mut [0, 0, 0, 9, b'{'].as_slice()).is_err());
        assert!(read::<Request>(&mut [0xff, 0, 0, 0].as_slice()).is_err());
        assert!(read::<Request>(&mut [0, 0, 0, 2, b'{', b'}'].as_slice()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = read::<Request>(&mut bytes.as_slice());
            let _ = read::<Response>(&mut bytes.as_slice());
        }
    }
}
