//! A load driver that is bounded in every direction: requests, rate and concurrency.
//!
//! It measures and counts; whether the numbers are good is for others to say.
//!
//! Start reading at [`drive`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::{Client, Limits, Request, Timed};

/// Requests under way at once, whatever the plan says.
pub const CONCURRENCY_MAX: usize = 256;
/// How often `stop` is asked while nothing is due, in milliseconds.
const STOP_MS: u64 = 50;

/// What to send.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sent in turn, from the first on again after the last.
    pub requests: Vec<Request>,
    /// Requests are started at this pace, evenly, as far as `concurrency` allows; as fast as they are answered when
    /// there is none.
    pub rate_per_second: Option<u32>,
    /// Requests under way at once, from 1 to [`CONCURRENCY_MAX`].
    pub concurrency: usize,
    /// Requests in all.
    pub requests_max: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Requests that were started, each of which came to an end.
    pub requests: u64,
    /// How many of them got no answer.
    pub errors: u64,
    /// How many answers had which status.
    pub statuses: BTreeMap<u16, u64>,
    pub elapsed: Duration,
    /// Time of answered requests in microseconds, exact to one part in sixteen; `None` when none was answered.
    pub latency_us: Option<Latency>,
    /// How many started later than their pace asked, by more than one interval: the target was too slow for it.
    pub late: u64,
    /// Whether `stop` ended it.
    pub stopped: bool,
}

/// Quantiles, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

/// Sends the plan's requests until `requests_max` or until `stop` says so; `on` sees each result as it comes.
pub async fn drive(
    address: SocketAddr,
    plan: Plan,
    stop: &(dyn Fn() -> bool + Sync),
    on: &(dyn Fn(&Timed) + Sync),
) -> LoadReport {
    drive_within(address, plan, &Limits::default(), stop, on).await
}

/// [`drive`], with limits for each request.
pub async fn drive_within(
    address: SocketAddr,
    plan: Plan,
    limits: &Limits,
    stop: &(dyn Fn() -> bool + Sync),
    on: &(dyn Fn(&Timed) + Sync),
) -> LoadReport {
    let start = Instant::now();
    if plan.requests.is_empty() {
        return LoadReport::default();
    }
    let concurrency = plan.concurrency.clamp(1, CONCURRENCY_MAX);
    let run = Run {
        client: Client::new(address),
        interval: plan.rate_per_second.map(|rate| Duration::from_secs(1) / rate.max(1)),
        plan,
        limits,
        stop,
        on,
        start,
        next: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
        counts: Mutex::default(),
    };
    all((0..concurrency).map(|_| run.worker())).await;

    let counts = run.counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    LoadReport {
        requests: counts.requests,
        errors: counts.errors,
        statuses: counts.statuses,
        elapsed: start.elapsed(),
        latency_us: counts.histogram.latency(),
        late: counts.late,
        stopped: run.stopped.into_inner(),
    }
}

struct Run<'a> {
    client: Client,
    plan: Plan,
    interval: Option<Duration>,
    limits: &'a Limits,
    stop: &'a (dyn Fn() -> bool + Sync),
    on: &'a (dyn Fn(&Timed) + Sync),
    start: Instant,
    /// Number of the next request; each is taken by one worker.
    next: AtomicU64,
    stopped: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    errors: u64,
    late: u64,
    statuses: BTreeMap<u16, u64>,
    histogram: Histogram,
}

impl Run<'_> {
    async fn worker(&self) {
        while !self.should_stop() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.requests_max {
                return;
            }
            let Some(late) = self.wait_for_turn(number).await else {
                return;
            };
            let turn = (number % self.plan.requests.len() as u64) as usize;
            let timed = self.client.timed(self.plan.requests[turn].clone(), self.limits).await;
            self.count(&timed, late);
            (self.on)(&timed);
        }
    }

    fn should_stop(&self) -> bool {
        if !self.stopped.load(Ordering::Relaxed) && (self.stop)() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.stopped.load(Ordering::Relaxed)
    }

    /// Waits until request `number` is due and tells whether that was missed; `None` when it was stopped meanwhile.
    async fn wait_for_turn(&self, number: u64) -> Option<bool> {
        let Some(interval) = self.interval else {
            return Some(false);
        };
        let offset = Duration::from_secs_f64(interval.as_secs_f64() * number as f64);
        let due = self.start + offset;
        loop {
            let now = Instant::now();
            if now >= due {
                return Some(now > due + interval);
            }
            tokio::time::sleep_until(due.min(now + Duration::from_millis(STOP_MS))).await;
            if self.should_stop() {
                return None;
            }
        }
    }

    fn count(&self, timed: &Timed, late: bool) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.requests += 1;
        counts.late += u64::from(late);
        match &timed.response {
            Ok(response) => {
                *counts.statuses.entry(response.status).or_default() += 1;
                let us = u64::try_from(timed.elapsed.as_micros()).unwrap_or(u64::MAX);
                counts.histogram.add(us);
            }
            Err(_) => counts.errors += 1,
        }
    }
}

/// Counts per bucket, sixteen buckets to each power of two: the size doesn't grow with the run.
struct Histogram {
    buckets: Vec<u64>,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: vec![0; 64 * 16],
            max: 0,
        }
    }
}

impl Histogram {
    fn add(&mut self, value: u64) {
        self.buckets[bucket_of(value)] += 1;
        self.max = self.max.max(value);
    }

    fn latency(&self) -> Option<Latency> {
        let total: u64 = self.buckets.iter().sum();
        (total > 0).then(|| Latency {
            p50: self.quantile(total, 50),
            p90: self.quantile(total, 90),
            p99: self.quantile(total, 99),
            max: self.max,
        })
    }

    fn quantile(&self, total: u64, per_cent: u64) -> u64 {
        let rank = (total * per_cent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_end(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// Values below 16 have a bucket each; above, the four bits after the leading one choose.
fn bucket_of(value: u64) -> usize {
    if value < 16 {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros() as usize;
    let mantissa = (value >> (exponent - 4)) as usize & 15;
    (exponent - 3) * 16 + mantissa
}

/// The largest value of a bucket.
fn bucket_end(bucket: usize) -> u64 {
    if bucket < 16 {
        return bucket as u64;
    }
    let (exponent, mantissa) = (bucket / 16 + 3, (bucket % 16) as u64);
    let width = 1u64 << (exponent - 4);
    (16 + mantissa) * width + (width - 1)
}

/// Polls all of `futures` until each is done, in this task, so that they may borrow.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        running.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if running.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_holds_its_values(value: u64) {
            let bucket = bucket_of(value);
            let end = bucket_end(bucket);
            prop_assert!(value <= end);
            prop_assert!(end - value <= value / 16);
            prop_assert_eq!(bucket_of(end), bucket);
        }
    }
}
