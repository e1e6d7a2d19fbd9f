//! A weighted HTTP router in front of several arms, with one sample per request.
//!
//! It buffers whole messages, so it neither streams nor switches protocols (`upgrade` is taken away like every
//! other hop-by-hop header), and it judges nothing: it counts.
//!
//! Arms are chosen by permuted blocks: each block of requests holds every arm exactly as often as its weight says,
//! in an order shuffled by the seed. So counts are exact at the end of each block (10 requests for 10:90, 2 for
//! 50:50), and traffic that repeats itself can't fall in step with the choice, as it would with plain rotation.
//!
//! Start reading at [`Router`].

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, VIA};
use tokio::time::Instant;

use crate::Sequence;
use crate::http::{self, Client, HttpError, RawHandler, Server, ServerLimits};

/// Names the arm that answered, on every response.
pub const ARM_HEADER: &str = "x-proofmark-arm";

/// One of the servers behind the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// As samples and [`ARM_HEADER`] give it: `old`, `new`.
    pub name: String,
    pub address: SocketAddr,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// [`Arm::name`].
    pub arm: String,
    /// What the arm answered; 0 when it didn't (the client then got a 502).
    pub status: u16,
    /// From the request's last byte read to the response's last byte read, in microseconds.
    pub elapsed_us: u64,
    /// Status 500 and above, or no answer.
    pub error: bool,
}

/// What a router puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterLimits {
    /// Towards clients.
    pub server: ServerLimits,
    /// Towards arms.
    pub arm: http::Limits,
    /// Samples kept between two calls of [`Router::drain`]; further ones are only counted.
    pub samples_max: usize,
}

impl Default for RouterLimits {
    fn default() -> Self {
        RouterLimits {
            server: ServerLimits::default(),
            arm: http::Limits::default(),
            samples_max: 100_000,
        }
    }
}

/// Weights that can't be set; the old ones stay in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    #[error("there is no arm `{0}`")]
    UnknownArm(String),
    #[error("arm `{0}` is named twice")]
    Twice(String),
    #[error("weights add up to {0} per cent, not 100")]
    Sum(u64),
}

/// A running router. Dropping it closes its socket and every connection at once.
pub struct Router {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    arms: Vec<(Arm, Client)>,
    limits: RouterLimits,
    choice: Mutex<Choice>,
    samples: Mutex<Samples>,
}

#[derive(Default)]
struct Samples {
    kept: Vec<Sample>,
    dropped: u64,
}

impl Router {
    /// Routes what arrives at `listener`, on the runtime this is called in. Everything goes to the first arm until
    /// [`Router::set_weights`]; without any arm every request is answered with 503.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or when the runtime can't watch one socket more.
    pub fn start(listener: TcpListener, arms: Vec<Arm>, seed: u64, limits: RouterLimits) -> Router {
        let mut weights = vec![0; arms.len()];
        if let Some(first) = weights.first_mut() {
            *first = 100;
        }
        let shared = Arc::new(Shared {
            choice: Mutex::new(Choice::new(weights, seed)),
            samples: Mutex::default(),
            limits,
            arms: arms
                .into_iter()
                .map(|arm| {
                    let client = Client::new(arm.address);
                    (arm, client)
                })
                .collect(),
        });
        let routing = shared.clone();
        let handler: RawHandler = Arc::new(move |request, _| {
            let shared = routing.clone();
            Box::pin(async move { shared.route(request).await })
        });
        Router {
            server: Server::start_raw(listener, handler, limits.server),
            shared,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Per cent for each arm, from the next request on; arms that aren't named get none.
    ///
    /// # Errors
    /// See [`WeightsError`]; nothing changes then.
    pub fn set_weights(&self, weights: &[(String, u32)]) -> Result<(), WeightsError> {
        let mut per_cent = vec![None; self.shared.arms.len()];
        for (name, weight) in weights {
            let place = self
                .shared
                .arms
                .iter()
                .position(|(arm, _)| arm.name == *name)
                .ok_or_else(|| WeightsError::UnknownArm(name.clone()))?;
            if per_cent[place].replace(*weight).is_some() {
                return Err(WeightsError::Twice(name.clone()));
            }
        }
        let per_cent: Vec<u32> = per_cent.into_iter().map(Option::unwrap_or_default).collect();
        let sum: u64 = per_cent.iter().copied().map(u64::from).sum();
        if sum != 100 {
            return Err(WeightsError::Sum(sum));
        }
        let mut choice = self.shared.choice.lock().unwrap_or_else(PoisonError::into_inner);
        choice.set(per_cent);
        Ok(())
    }

    /// The weights in force, read back from what chooses.
    pub fn weights(&self) -> Vec<(String, u32)> {
        let choice = self.shared.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.shared.arms.iter().map(|(arm, _)| arm.name.clone());
        names.zip(choice.weights.iter().copied()).collect()
    }

    /// Takes the samples since the last call, in the order in which responses were complete.
    pub fn drain(&self) -> Vec<Sample> {
        let mut samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut samples.kept)
    }

    /// How many samples found the buffer full, since the start.
    pub fn dropped(&self) -> u64 {
        let samples = self.shared.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.dropped
    }

    /// Stops accepting, lets requests under way finish for a bounded time, and closes everything.
    pub async fn stop(&self) {
        self.server.stop().await;
    }
}

impl Shared {
    async fn route(&self, mut request: hyper::Request<Bytes>) -> hyper::Response<Bytes> {
        let chosen = self.choice.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((arm, client)) = chosen.and_then(|index| self.arms.get(index)) else {
            return http::plain(503, "there is no arm\n");
        };
        remove_hop_by_hop(request.headers_mut());
        request
            .headers_mut()
            .append(VIA, HeaderValue::from_static("1.1 proofmark"));
        // The request may have come in absolute form; an origin server wants the path alone.
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(hyper::Uri::default, hyper::Uri::from);
        *request.version_mut() = hyper::Version::HTTP_11;

        let start = Instant::now();
        let result = client.forward(request, &self.limits.arm).await;
        let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let status = result.as_ref().map_or(0, |response| response.status().as_u16());
        self.record(Sample {
            arm: arm.name.clone(),
            status,
            elapsed_us,
            error: status == 0 || status >= 500,
        });

        let mut response = result.unwrap_or_else(|error| unanswered(&error));
        remove_hop_by_hop(response.headers_mut());
        *response.version_mut() = hyper::Version::HTTP_11;
        if let Ok(name) = HeaderValue::from_bytes(arm.name.as_bytes()) {
            response.headers_mut().insert(HeaderName::from_static(ARM_HEADER), name);
        }
        response
    }

    fn record(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.kept.len() < self.limits.samples_max {
            samples.kept.push(sample);
        } else {
            samples.dropped += 1;
        }
    }
}

fn unanswered(error: &HttpError) -> hyper::Response<Bytes> {
    let status = if matches!(error, HttpError::Timeout { .. }) {
        504
    } else {
        502
    };
    http::plain(status, &format!("{error}\n"))
}

/// Takes away what belongs to one connection only (RFC 9110 section 7.6.1), also as named by `connection`.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const NAMES: [&str; 8] = [
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
    for name in NAMES {
        headers.remove(name);
    }
}

/// Which arm comes next: permuted blocks.
struct Choice {
    /// Per cent, in the order of the arms.
    weights: Vec<u32>,
    /// What is left of the current block; taken from its end.
    block: Vec<usize>,
    sequence: Sequence,
}

impl Choice {
    fn new(weights: Vec<u32>, seed: u64) -> Self {
        Choice {
            weights,
            block: Vec::new(),
            sequence: Sequence(seed),
        }
    }

    fn set(&mut self, weights: Vec<u32>) {
        self.weights = weights;
        self.block.clear();
    }

    fn next(&mut self) -> Option<usize> {
        if self.block.is_empty() {
            self.refill();
        }
        self.block.pop()
    }

    fn refill(&mut self) {
        // INVARIANT: weights are a few numbers that add up to 100, so a block holds at most 100 requests.
        let divisor = self.weights.iter().copied().fold(0, gcd).max(1);
        for (arm, weight) in self.weights.iter().enumerate() {
            let times = usize::try_from(weight / divisor).unwrap_or_default();
            self.block.extend(std::iter::repeat_n(arm, times));
        }
        for last in (1..self.block.len()).rev() {
            let other = self.sequence.below(last as u64 + 1) as usize;
            self.block.swap(last, other);
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn weights_are_exact_after_every_block(first in 0u32..=100, seed: u64, blocks in 1usize..5) {
            let weights = vec![first, 100 - first];
            let block = (100 / gcd(first, 100 - first)) as usize;
            let mut choice = Choice::new(weights, seed);
            let chosen: Vec<usize> = (0..block * blocks).map(|_| choice.next().unwrap()).collect();
            for part in chosen.chunks(block) {
                let ones = part.iter().filter(|arm| **arm == 0).count();
                prop_assert_eq!(ones * 100, first as usize * block);
            }
        }

        #[test]
        fn hop_by_hop_headers_are_taken_away_whatever_they_hold(values in prop::collection::vec("[ -~]{0,20}", 0..5)) {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(CONNECTION, HeaderValue::from_str(value).unwrap());
            }
            headers.insert("x-named", HeaderValue::from_static("1"));
            headers.append(CONNECTION, HeaderValue::from_static("close, x-named"));
            remove_hop_by_hop(&mut headers);
            prop_assert!(!headers.contains_key(CONNECTION));
            prop_assert!(!headers.contains_key("x-named"));
        }
    }

    #[test]
    fn repeating_traffic_does_not_fall_in_step() {
        let mut choice = Choice::new(vec![50, 50], 1);
        let chosen: Vec<usize> = (0..200).map(|_| choice.next().unwrap()).collect();
        let of_even = chosen.iter().step_by(2).filter(|arm| **arm == 0).count();
        assert!((30..=70).contains(&of_even), "{of_even} of 100");
    }
}
