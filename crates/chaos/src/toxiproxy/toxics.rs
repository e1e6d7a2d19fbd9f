//! What a toxic may be: the types, their attributes, and the bounds of each.
//!
//! Toxiproxy takes any number and some end its process: a slicer whose size isn't positive recurses until the stack is
//! full, one that varies by more than its size slices out of bounds (its issue 541), a negative rate and one whose
//! hundredfold overflows do the same, and a jitter whose double overflows is no bound for a random number. Those are
//! refused here, and so are times that its clock can't hold. A negative time or count that it takes as none is taken as
//! none.
//!
//! Start reading at [`KINDS`].

use std::time::{Duration, Instant};

use net::proxy::{self, Applied, Direction};

use super::Refusal;
use super::body::{Json, NewToxic, ToxicChange};

/// The longest time Go's `time.Duration` holds.
const TIME_MS_MAX: i64 = i64::MAX / 1_000_000;
const TIME_US_MAX: i64 = i64::MAX / 1_000;
/// Kilobytes in a second. Toxiproxy cuts at a hundred times as many bytes.
const RATE_KB_MAX: i64 = i64::MAX / 100;
/// What is longer is for ever as far as a proxy goes: thirty days.
const PROXY_MS_MAX: i64 = 30 * 24 * 3_600 * 1_000;
/// The longest time to live: thirty days.
const TTL_MS_MAX: i64 = PROXY_MS_MAX;
/// Our own attribute, of every type.
pub(super) const TTL: &str = "ttl_ms";

/// A type of toxics.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) attributes: &'static [Attribute],
    /// What the proxy is told; values stand as in `attributes`. Nothing, for a toxic that does nothing.
    proxy: fn(&[i64]) -> Option<proxy::Toxic>,
}

/// A whole number, 0 unless it is given.
pub(super) struct Attribute {
    pub(super) name: &'static str,
    min: i64,
    max: i64,
}

/// A number that is taken as none when it is negative.
const fn up_to(name: &'static str, max: i64) -> Attribute {
    Attribute {
        name,
        min: i64::MIN,
        max,
    }
}

const fn between(name: &'static str, min: i64, max: i64) -> Attribute {
    Attribute { name, min, max }
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "bandwidth",
        attributes: &[between("rate", 0, RATE_KB_MAX)],
        proxy: |values| {
            Some(proxy::Toxic::Bandwidth {
                bytes_per_second: count(values[0]).saturating_mul(1_000),
            })
        },
    },
    Kind {
        name: "latency",
        attributes: &[up_to("latency", TIME_MS_MAX), up_to("jitter", TIME_MS_MAX)],
        proxy: |values| {
            Some(proxy::Toxic::Latency {
                delay_ms: millis(values[0]),
                jitter_ms: millis(values[1]),
            })
        },
    },
    Kind {
        name: "limit_data",
        attributes: &[up_to("bytes", i64::MAX)],
        proxy: |values| {
            Some(proxy::Toxic::Limit {
                bytes: count(values[0]),
            })
        },
    },
    Kind {
        name: "loss",
        attributes: &[between("per_mille", 0, 1_000)],
        proxy: |values| {
            Some(proxy::Toxic::Loss {
                per_mille: u16::try_from(values[0]).unwrap_or(1_000),
            })
        },
    },
    Kind {
        name: "noop",
        attributes: &[],
        proxy: |_| None,
    },
    Kind {
        name: "reset_peer",
        attributes: &[up_to("timeout", TIME_MS_MAX)],
        proxy: |values| {
            Some(proxy::Toxic::Reset {
                after_ms: millis(values[0]),
            })
        },
    },
    Kind {
        name: "slicer",
        attributes: &[
            between("average_size", 1, i64::MAX),
            between("size_variation", 0, i64::MAX),
            up_to("delay", TIME_US_MAX),
        ],
        proxy: |values| {
            Some(proxy::Toxic::Slicer {
                average_bytes: count(values[0]),
                variation_bytes: count(values[1]),
                delay_us: count(values[2].min(PROXY_MS_MAX * 1_000)),
            })
        },
    },
    Kind {
        name: "slow_close",
        attributes: &[up_to("delay", TIME_MS_MAX)],
        proxy: |values| {
            Some(proxy::Toxic::SlowClose {
                delay_ms: millis(values[0]),
            })
        },
    },
    Kind {
        name: "timeout",
        attributes: &[up_to("timeout", TIME_MS_MAX)],
        proxy: |values| {
            Some(proxy::Toxic::Timeout {
                timeout_ms: millis(values[0]),
            })
        },
    },
];

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn millis(value: i64) -> u64 {
    count(value.min(PROXY_MS_MAX))
}

/// A toxic of a proxy. Its attributes are in their bounds.
#[derive(Clone)]
pub(super) struct Toxic {
    pub(super) name: String,
    pub(super) kind: &'static Kind,
    /// As it was spelled; upper and lower case are shown as they came.
    pub(super) stream: String,
    direction: Direction,
    /// Above 1 is always, below 0 is never.
    pub(super) toxicity: f32,
    /// As `kind.attributes` lists them.
    pub(super) values: Vec<i64>,
    pub(super) ttl_ms: Option<i64>,
    /// When it removes itself.
    pub(super) ends: Option<Instant>,
}

impl Toxic {
    /// The checks stand in Toxiproxy's order, since it decides which error is told.
    pub(super) fn new(wanted: NewToxic, now: Instant, taken: impl Fn(&str) -> bool) -> Result<Toxic, Refusal> {
        let stream = wanted.stream.unwrap_or_else(|| "downstream".to_owned());
        let direction = match stream.to_lowercase().as_str() {
            "upstream" => Direction::Up,
            "downstream" => Direction::Down,
            _ => return Err(Refusal::Stream),
        };
        let kind = wanted.kind.unwrap_or_default();
        let kind = KINDS.iter().find(|known| known.name == kind).ok_or(Refusal::Type)?;
        let name = wanted.name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("{}_{stream}", kind.name));
        if taken(&name) {
            return Err(Refusal::ToxicExists);
        }
        let toxic = Toxic {
            name,
            kind,
            stream,
            direction,
            toxicity: 1.0,
            values: vec![0; kind.attributes.len()],
            ttl_ms: None,
            ends: None,
        };
        toxic.changed(wanted.change, now)
    }

    /// This toxic with a change, or why it can't be had; this one stays as it is.
    pub(super) fn changed(&self, change: ToxicChange, now: Instant) -> Result<Toxic, Refusal> {
        let mut toxic = self.clone();
        toxic.toxicity = change.toxicity.unwrap_or(self.toxicity);
        for (name, value) in change.attributes {
            toxic.put(&name, &value, now)?;
        }
        toxic.bounded()
    }

    fn put(&mut self, name: &str, value: &Json, now: Instant) -> Result<(), Refusal> {
        let known = self.kind.attributes.iter();
        let mut known = known.zip(&mut self.values);
        let place = known.find(|(attribute, _)| attribute.name.eq_ignore_ascii_case(name));
        let ttl = name.eq_ignore_ascii_case(TTL);
        if place.is_none() && !ttl {
            return Ok(());
        }
        let number = match value {
            Json::Null => return Ok(()),
            Json::Whole(number) => *number,
            other => return Err(other.unlike(&format!("attributes.{name}"), "a whole number")),
        };
        if let Some((_, value)) = place {
            *value = number;
        } else if number == 0 {
            (self.ttl_ms, self.ends) = (None, None);
        } else {
            in_bounds(TTL, number, 0, TTL_MS_MAX)?;
            (self.ttl_ms, self.ends) = (Some(number), Some(now + Duration::from_millis(count(number))));
        }
        Ok(())
    }

    fn bounded(self) -> Result<Toxic, Refusal> {
        for (attribute, value) in self.kind.attributes.iter().zip(&self.values) {
            in_bounds(attribute.name, *value, attribute.min, attribute.max)?;
        }
        if self.kind.name == "slicer" && self.values[1] > self.values[0] {
            return Err(Refusal::Bound(format!(
                "`size_variation` is {}: it can't be more than `average_size`, which is {}",
                self.values[1], self.values[0]
            )));
        }
        Ok(self)
    }

    pub(super) fn is_up(&self) -> bool {
        self.direction == Direction::Up
    }

    /// As the proxy is told.
    pub(super) fn applied(&self, now: Instant) -> Option<Applied> {
        Some(Applied {
            name: self.name.clone(),
            toxic: (self.kind.proxy)(&self.values)?,
            direction: self.direction,
            toxicity: f64::from(self.toxicity).clamp(0.0, 1.0),
            time_to_live: self.ends.map(|end| end.saturating_duration_since(now)),
        })
    }
}

// A type is named, not shown.
impl std::fmt::Debug for Toxic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {:?}", self.name, self.kind.name, self.values)
    }
}

fn in_bounds(name: &str, value: i64, min: i64, max: i64) -> Result<(), Refusal> {
    if value < min {
        Err(Refusal::Bound(format!(
            "`{name}` is {value}: it can't be less than {min}"
        )))
    } else if value > max {
        Err(Refusal::Bound(format!(
            "`{name}` is {value}: it can't be more than {max}"
        )))
    } else {
        Ok(())
    }
}
