//! The way to the ledger: one leased credential, taken anew when it is refused; short waits; few tries.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::broker::{Broker, BrokerError, Lease};
use common::client::Client;
use common::log::Log;
use serde_json::{Value, json};

const POLICY: &str = "ledger";
const TRIES_MAX: u32 = 3;
const PAUSE_MS: u64 = 40;
/// A call that takes longer is reported.
const SLOW_MS: u128 = 200;

/// Books an order in the ledger; tests have their own.
pub trait Bookkeeper: Send + Sync {
    /// Booking the same id again changes nothing.
    fn book(&self, id: &str, amount_cents: u64) -> Result<(), Unbooked>;
}

/// The ledger could not be reached, or said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unbooked;

/// Where credentials come from: the broker; tests have their own.
pub trait Leases: Send + Sync {
    fn lease(&self, policy: &str) -> Result<Lease, BrokerError>;
}

/// Where entries go: the ledger; tests have their own.
pub trait Entries: Send + Sync {
    fn post(&self, token: &str, entry: &Value) -> std::io::Result<Posted>;
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    pub status: u16,
    /// The connection had to be made anew, for this reason.
    pub reconnected: Option<ErrorKind>,
}

impl Leases for Broker {
    fn lease(&self, policy: &str) -> Result<Lease, BrokerError> {
        Broker::lease(self, policy)
    }
}

impl Entries for Client {
    fn post(&self, token: &str, entry: &Value) -> std::io::Result<Posted> {
        let authorization = format!("Bearer {token}");
        let body = entry.to_string();
        let answer = self.call("POST", "/entries", ("authorization", &authorization), body.as_bytes())?;
        Ok(Posted {
            status: answer.status,
            reconnected: answer.replaced,
        })
    }
}

pub struct Ledger {
    entries: Box<dyn Entries>,
    broker: Arc<dyn Leases>,
    /// Held while a new one is leased, so that one thread leases for all.
    lease: Mutex<Option<Lease>>,
    log: Log,
}

impl Ledger {
    pub fn new(entries: Box<dyn Entries>, broker: Arc<dyn Leases>, log: Log) -> Self {
        Ledger {
            entries,
            broker,
            lease: Mutex::new(None),
            log,
        }
    }

    /// The credential to use. `refused` is the accessor of one the ledger no longer takes.
    fn credential(&self, refused: Option<&str>) -> Result<Lease, Unbooked> {
        let mut held = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = held.as_ref()
            && refused != Some(lease.accessor.as_str())
            && Instant::now() < lease.renew_at
        {
            return Ok(lease.clone());
        }
        *held = None;
        let lease = self.broker.lease(POLICY).map_err(|_| {
            self.log.warn("lease-failed", &[("policy", POLICY.into())]);
            Unbooked
        })?;
        self.log.info(
            "leased",
            &[("policy", POLICY.into()), ("accessor", lease.accessor.as_str().into())],
        );
        *held = Some(lease.clone());
        Ok(lease)
    }

    /// One call; `Err` holds why, for the log.
    fn call(&self, lease: &Lease, entry: &Value) -> Result<u16, String> {
        let started = Instant::now();
        let answer = self.entries.post(&lease.token, entry);
        let elapsed_ms = started.elapsed().as_millis();
        let posted = answer.map_err(|error| error.kind().to_string())?;
        if let Some(reason) = posted.reconnected {
            self.degraded(&reason.to_string(), elapsed_ms);
        } else if elapsed_ms > SLOW_MS {
            self.degraded("slow", elapsed_ms);
        }
        Ok(posted.status)
    }

    fn degraded(&self, reason: &str, elapsed_ms: u128) {
        let elapsed_ms = u64::try_from(elapsed_ms).unwrap_or(u64::MAX);
        let fields = [
            ("upstream", "ledger".into()),
            ("reason", reason.into()),
            ("elapsed_ms", elapsed_ms.into()),
        ];
        self.log.warn("upstream-degraded", &fields);
    }
}

impl Bookkeeper for Ledger {
    fn book(&self, id: &str, amount_cents: u64) -> Result<(), Unbooked> {
        let entry = json!({ "id": id, "amount_cents": amount_cents });
        let mut lease = self.credential(None)?;
        let mut leased_again = false;
        for attempt in 1..=TRIES_MAX {
            let started = Instant::now();
            match self.call(&lease, &entry) {
                Ok(200 | 201) => return Ok(()),
                // The credential was taken away: one more is worth a try, a second refusal is an answer.
                Ok(401 | 403) if !leased_again => {
                    self.log
                        .warn("credential-refused", &[("accessor", lease.accessor.as_str().into())]);
                    lease = self.credential(Some(&lease.accessor))?;
                    leased_again = true;
                }
                Ok(status) => {
                    self.degraded(&format!("status {status}"), started.elapsed().as_millis());
                    return Err(Unbooked);
                }
                Err(reason) => {
                    self.degraded(&reason, started.elapsed().as_millis());
                    std::thread::sleep(Duration::from_millis(PAUSE_MS * u64::from(attempt)));
                }
            }
        }
        Err(Unbooked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Leases `t0`, `t1`, … in turn.
    #[derive(Default)]
    struct Numbered(AtomicU32);

    impl Leases for Numbered {
        fn lease(&self, policy: &str) -> Result<Lease, BrokerError> {
            assert_eq!(policy, "ledger");
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let renew_at = Instant::now() + Duration::from_secs(60);
            Ok(Lease {
                token: format!("t{number}"),
                accessor: format!("a{number}"),
                renew_at,
            })
        }
    }

    struct Answering<F>(F);

    impl<F: Fn(&str) -> std::io::Result<u16> + Send + Sync> Entries for Answering<F> {
        fn post(&self, token: &str, _: &Value) -> std::io::Result<Posted> {
            Ok(Posted {
                status: self.0(token)?,
                reconnected: None,
            })
        }
    }

    fn ledger(answer: impl Fn(&str) -> std::io::Result<u16> + Send + Sync + 'static) -> Ledger {
        Ledger::new(
            Box::new(Answering(answer)),
            Arc::new(Numbered::default()),
            Log::silent("storefront"),
        )
    }

    fn held(ledger: &Ledger) -> String {
        ledger.lease.lock().unwrap().as_ref().unwrap().accessor.clone()
    }

    #[test]
    fn leases_once_and_keeps_it() {
        let ledger = ledger(|_| Ok(201));
        assert_eq!((ledger.book("ord-1", 1), ledger.book("ord-2", 1)), (Ok(()), Ok(())));
        assert_eq!(held(&ledger), "a0");
    }

    #[test]
    fn leases_again_when_the_credential_is_refused() {
        let ledger = ledger(|token| Ok(if token == "t0" { 401 } else { 201 }));
        assert_eq!((ledger.book("ord-1", 1), ledger.book("ord-2", 1)), (Ok(()), Ok(())));
        assert_eq!(held(&ledger), "a1");
    }

    #[test]
    fn gives_up_when_a_fresh_credential_is_refused_too() {
        let ledger = ledger(|_| Ok(403));
        assert_eq!(ledger.book("ord-1", 1), Err(Unbooked));
    }

    #[test]
    fn tries_again_when_the_connection_breaks_but_not_for_ever() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let broken = ledger(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Err(ErrorKind::ConnectionReset.into())
        });
        assert_eq!(broken.book("ord-1", 1), Err(Unbooked));
        assert_eq!(tries.load(Ordering::SeqCst), TRIES_MAX);
        let first = AtomicU32::new(0);
        let mended = ledger(move |_| match first.fetch_add(1, Ordering::SeqCst) {
            0 => Err(ErrorKind::ConnectionReset.into()),
            _ => Ok(201),
        });
        assert_eq!(mended.book("ord-1", 1), Ok(()));
    }
}
