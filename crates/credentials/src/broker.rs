//! The broker: identities in, leases out, and the way to take them back.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::{Digest, Now, Storage, StorageError, Timestamp};

use crate::format::{self, Record, Why};
use crate::lease::{Accessor, Lease};
use crate::secret::Secret;

/// Where the lease journal stands in the storage.
pub const JOURNAL_PATH: &str = "broker/leases.journal";
/// Longest life of a lease, whatever a role says.
pub const TTL_SECONDS_MAX: u64 = 24 * 3600;
pub const ROLES_MAX: usize = 256;
/// Policies of one role, and of one lease.
pub const POLICIES_MAX: usize = 32;
/// Live leases of one role.
pub const LEASES_MAX: usize = 1024;
/// Ended leases whose values are kept for [`Broker::value_of`]; the oldest is forgotten first.
pub const REMEMBERED_MAX: usize = 4096;
/// The journal is written anew with live leases only when it grows over this (or over twice what those need).
pub const JOURNAL_BYTES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: usize = 64;

/// A role, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSpec {
    /// Lower-case letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// Policies it may lease tokens for; may be none.
    pub policies: Vec<String>,
    /// Longest life of its leases, 1 to 86,400 s; not looked at for a role without policies.
    pub ttl_seconds_max: u64,
    /// Whether it may ask about tokens that are presented to it.
    pub lookup: bool,
}

/// Leases that an earlier process left open when it died, those whose time is up included. Their tokens died with it;
/// the journal now says so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub closed: Vec<Lease>,
    /// Bytes of the journal that were no complete record: what a crash tore, or damage.
    pub ignored_bytes: u64,
}

/// An identity token on its way to a service. Whoever has files writes it: below a folder of mode 0700 that only the
/// service reads, and never into an environment variable or an argument.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub file_name: String,
    /// Permission bits: 0400.
    pub mode: u32,
    pub content: Secret,
}

/// What can't be done. No variant can hold a secret value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    #[error("broker role `{role}`: {reason}")]
    Role { role: String, reason: &'static str },
    #[error("the broker has no role `{role}`")]
    UnknownRole { role: String },
    #[error("role `{role}` may not lease policy `{policy}`")]
    Denied { role: String, policy: String },
    #[error("a lease needs between 1 and {POLICIES_MAX} policies")]
    Policies { count: usize },
    #[error("a lease must live for at least 1 s")]
    Ttl,
    #[error("role `{role}` already holds {LEASES_MAX} leases")]
    TooManyLeases { role: String },
    #[error("the random source repeats itself")]
    Random,
    #[error("the broker is sealed: its lease journal could not be written")]
    Sealed,
    #[error(
        "`{JOURNAL_PATH}` has version {version}, this program reads version {}",
        format::VERSION
    )]
    Version { version: u32 },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Gives out leases and answers questions about them. Shared between threads by reference.
///
/// Sealed once its journal can't be written: it then leases nothing more, but goes on answering and revoking.
pub struct Broker {
    storage: Arc<dyn Storage>,
    /// Held while the journal is written, so that the journal's order is the order of what happened.
    state: Mutex<State>,
}

struct State {
    roles: BTreeMap<String, Role>,
    identities: HashMap<Digest, String>,
    /// Live leases and remembered ones.
    leases: BTreeMap<Accessor, Entry>,
    by_token: HashMap<Digest, Accessor>,
    /// Ended leases, oldest first.
    ended: VecDeque<Accessor>,
    random: Box<dyn FnMut() -> [u8; 32] + Send>,
    /// The latest boot time ever passed in: an expired lease stays expired.
    latest: Duration,
    sealed: bool,
    journal_bytes: u64,
    journal_bytes_max: u64,
}

struct Role {
    spec: RoleSpec,
    identity: Secret,
}

struct Entry {
    lease: Arc<Lease>,
    value: Secret,
    ended: bool,
}

impl Broker {
    /// Starts a broker: closes what an earlier process left open, and makes an identity for every role.
    pub fn open(
        storage: Arc<dyn Storage>,
        roles: Vec<RoleSpec>,
        now: Now,
        mut random: Box<dyn FnMut() -> [u8; 32] + Send>,
    ) -> Result<(Broker, Recovered), BrokerError> {
        check_roles(&roles)?;
        let recovered = read_journal(&*storage)?;
        let mut identities = HashMap::new();
        let mut by_name = BTreeMap::new();
        for spec in roles {
            let identity = Secret::token(random());
            if identities.insert(identity.fingerprint(), spec.name.clone()).is_some() {
                return Err(BrokerError::Random);
            }
            by_name.insert(spec.name.clone(), Role { spec, identity });
        }
        // The tokens are gone already. A crash before this line leaves the old journal, and the next start says the
        // same again; after it, they are closed.
        let header = format::line(&Record::Header {
            version: format::VERSION,
        });
        storage.replace(JOURNAL_PATH, &header)?;
        let state = State {
            roles: by_name,
            identities,
            leases: BTreeMap::new(),
            by_token: HashMap::new(),
            ended: VecDeque::new(),
            random,
            latest: now.boottime,
            sealed: false,
            journal_bytes: header.len() as u64,
            journal_bytes_max: JOURNAL_BYTES_MAX,
        };
        Ok((
            Broker {
                storage,
                state: Mutex::new(state),
            },
            recovered,
        ))
    }

    /// The identity token of a role.
    pub fn identity(&self, role: &str) -> Result<Secret, BrokerError> {
        let state = self.state();
        let role = state
            .roles
            .get(role)
            .ok_or_else(|| BrokerError::UnknownRole { role: quotable(role) })?;
        Ok(role.identity.clone())
    }

    /// The identity token of a role as a file to be written: `<role>.identity`.
    pub fn delivery(&self, role: &str) -> Result<Delivery, BrokerError> {
        let content = self.identity(role)?;
        Ok(Delivery {
            file_name: format!("{role}.identity"),
            mode: 0o400,
            content,
        })
    }

    /// Leases one policy for as long as the role may: for identities that tests act as.
    pub fn lease(&self, role: &str, policy: &str, now: Now) -> Result<(Secret, Accessor), BrokerError> {
        let (value, lease) = self.create(role, &[policy.to_owned()], None, now)?;
        Ok((value, lease.accessor.clone()))
    }

    /// Takes away every live lease of `role` that carries `policy`. From the moment this returns a lookup refuses
    /// them, even when the journal could not be told.
    pub fn revoke(&self, role: &str, policy: &str, now: Now) -> Vec<Accessor> {
        self.revoke_where(now, |lease| {
            lease.role == role && lease.policies.iter().any(|held| held == policy)
        })
    }

    /// Takes away every live lease.
    pub fn revoke_all(&self, now: Now) -> Vec<Accessor> {
        self.revoke_where(now, |_| true)
    }

    /// The live leases of `role` that carry `policy`, in order of accessor.
    pub fn active(&self, role: &str, policy: &str, now: Now) -> Vec<Accessor> {
        let mut state = self.state();
        state.expire(now);
        let live = state.leases.values().filter(|entry| !entry.ended);
        live.filter(|entry| entry.lease.role == role && entry.lease.policies.iter().any(|held| held == policy))
            .map(|entry| entry.lease.accessor.clone())
            .collect()
    }

    /// The token of a lease of this process, also of one that has ended: needed to present a revoked credential.
    pub fn value_of(&self, accessor: &Accessor) -> Option<Secret> {
        self.state().leases.get(accessor).map(|entry| entry.value.clone())
    }

    /// What is known of a lease of this process.
    pub fn lease_of(&self, accessor: &Accessor) -> Option<Lease> {
        self.state()
            .leases
            .get(accessor)
            .map(|entry| Lease::clone(&entry.lease))
    }

    /// Every value this process knows, identities included, for a log filter. See [`crate::spellings`] for how else
    /// they may look. The copies are the caller's to guard.
    pub fn known_values(&self) -> Vec<Vec<u8>> {
        let state = self.state();
        let identities = state.roles.values().map(|role| &role.identity);
        let leases = state.leases.values().map(|entry| &entry.value);
        identities
            .chain(leases)
            .map(|secret| secret.expose().as_bytes().to_vec())
            .collect()
    }

    /// Whether the journal failed, so that nothing more is leased.
    pub fn is_sealed(&self) -> bool {
        self.state().sealed
    }

    /// Makes a lease. It is durable before its token is returned; without `ttl_seconds`, or with more than the role
    /// may have, it lives as long as the role's leases may.
    pub(crate) fn create(
        &self,
        role: &str,
        policies: &[String],
        ttl_seconds: Option<u64>,
        now: Now,
    ) -> Result<(Secret, Arc<Lease>), BrokerError> {
        let mut state = self.state();
        state.expire(now);
        let ttl_seconds = state.admit(role, policies, ttl_seconds)?;
        let (value, lease) = state.draw(role, policies, ttl_seconds, now)?;
        state.journal(&*self.storage, &[Record::Leased { lease: (&lease).into() }])?;
        let lease = Arc::new(lease);
        state.by_token.insert(lease.token, lease.accessor.clone());
        let entry = Entry {
            lease: lease.clone(),
            value: value.clone(),
            ended: false,
        };
        state.leases.insert(lease.accessor.clone(), entry);
        Ok((value, lease))
    }

    /// The role whose identity token this is. Only the token's SHA-256 is compared, so that how long it takes says
    /// nothing about the value.
    pub(crate) fn role_of(&self, token: &str) -> Option<String> {
        self.state().identities.get(&Digest::of(token.as_bytes())).cloned()
    }

    pub(crate) fn may_lookup(&self, role: &str) -> bool {
        self.state().roles.get(role).is_some_and(|role| role.spec.lookup)
    }

    /// The lease of a token that is neither expired nor revoked, and the seconds it has left.
    pub(crate) fn live(&self, token: &str, now: Now) -> Option<(Arc<Lease>, u64)> {
        let mut state = self.state();
        let latest = state.advance(now);
        let accessor = state.by_token.get(&Digest::of(token.as_bytes()))?;
        let entry = state.leases.get(accessor)?;
        if entry.ended || entry.lease.ends <= latest {
            return None;
        }
        Some((entry.lease.clone(), entry.lease.ttl_seconds(latest)))
    }

    /// Ends the lease of this token; false where there is no such live lease.
    pub(crate) fn give_back(&self, token: &str, now: Now) -> bool {
        let Some((lease, _)) = self.live(token, now) else {
            return false;
        };
        let mut state = self.state();
        if !state.end(&lease.accessor) {
            return false;
        }
        state.journal_ends(
            &*self.storage,
            std::slice::from_ref(&lease.accessor),
            now.utc,
            Why::Returned,
        );
        true
    }

    fn revoke_where(&self, now: Now, matches: impl Fn(&Lease) -> bool) -> Vec<Accessor> {
        let mut state = self.state();
        state.expire(now);
        let revoked: Vec<Accessor> = state
            .leases
            .values()
            .filter(|entry| !entry.ended && matches(&entry.lease))
            .map(|entry| entry.lease.accessor.clone())
            .collect();
        // All of them end before the first is journaled: the journal may be slow, or gone.
        for accessor in &revoked {
            state.end(accessor);
        }
        state.journal_ends(&*self.storage, &revoked, now.utc, Why::Revoked);
        revoked
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // INVARIANT: no step between two changes of the state panics, so a poisoned lock guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Broker")
            .field("roles", &state.roles.keys().collect::<Vec<_>>())
            .field("leases", &state.leases.len())
            .field("sealed", &state.sealed)
            .finish_non_exhaustive()
    }
}

/// The leases a journal leaves open, without closing them: for whoever looks for what was left behind.
pub fn unclosed(storage: &dyn Storage) -> Result<Vec<Lease>, BrokerError> {
    Ok(read_journal(storage)?.closed)
}

impl State {
    fn advance(&mut self, now: Now) -> Duration {
        self.latest = self.latest.max(now.boottime);
        self.latest
    }

    /// Ends what is over. The journal need not hear of it: it holds the time of each lease's end.
    fn expire(&mut self, now: Now) {
        let latest = self.advance(now);
        let over: Vec<Accessor> = self
            .leases
            .values()
            .filter(|entry| !entry.ended && entry.lease.ends <= latest)
            .map(|entry| entry.lease.accessor.clone())
            .collect();
        for accessor in &over {
            self.end(accessor);
        }
    }

    fn end(&mut self, accessor: &Accessor) -> bool {
        let Some(entry) = self.leases.get_mut(accessor).filter(|entry| !entry.ended) else {
            return false;
        };
        entry.ended = true;
        let token = entry.lease.token;
        self.by_token.remove(&token);
        self.ended.push_back(accessor.clone());
        while self.ended.len() > REMEMBERED_MAX {
            if let Some(forgotten) = self.ended.pop_front() {
                self.leases.remove(&forgotten);
            }
        }
        true
    }

    /// Whether `role` may have such a lease, and how many seconds it lives.
    fn admit(&self, role: &str, policies: &[String], ttl_seconds: Option<u64>) -> Result<u64, BrokerError> {
        if self.sealed {
            return Err(BrokerError::Sealed);
        }
        let spec = match self.roles.get(role) {
            Some(role) => &role.spec,
            None => return Err(BrokerError::UnknownRole { role: quotable(role) }),
        };
        if policies.is_empty() || policies.len() > POLICIES_MAX {
            return Err(BrokerError::Policies { count: policies.len() });
        }
        if let Some(policy) = policies.iter().find(|policy| !spec.policies.contains(policy)) {
            return Err(BrokerError::Denied {
                role: role.to_owned(),
                policy: quotable(policy),
            });
        }
        let held = self
            .leases
            .values()
            .filter(|entry| !entry.ended && entry.lease.role == role)
            .count();
        if held >= LEASES_MAX {
            return Err(BrokerError::TooManyLeases { role: role.to_owned() });
        }
        let ttl_seconds = ttl_seconds.unwrap_or(u64::MAX).min(spec.ttl_seconds_max);
        if ttl_seconds == 0 {
            Err(BrokerError::Ttl)
        } else {
            Ok(ttl_seconds)
        }
    }

    fn draw(
        &mut self,
        role: &str,
        policies: &[String],
        ttl_seconds: u64,
        now: Now,
    ) -> Result<(Secret, Lease), BrokerError> {
        let value = Secret::token((self.random)());
        let name = Digest::of(&(self.random)()).hex();
        let mut policies = policies.to_vec();
        policies.sort();
        policies.dedup();
        let accessor = Accessor(format!("{}/{}", policies[0], &name[..16]));
        let token = value.fingerprint();
        let taken = self.leases.contains_key(&accessor)
            || self.identities.contains_key(&token)
            || self.leases.values().any(|entry| entry.lease.token == token);
        if taken {
            return Err(BrokerError::Random);
        }
        let life = Duration::from_secs(ttl_seconds);
        let lease = Lease {
            accessor,
            role: role.to_owned(),
            policies,
            issued: now.utc,
            expires: now.utc.checked_add(life).unwrap_or(Timestamp::MAX),
            ends: self.latest.saturating_add(life),
            token,
        };
        Ok((value, lease))
    }

    fn journal_ends(&mut self, storage: &dyn Storage, ended: &[Accessor], at: Timestamp, why: Why) {
        let closed = |accessor: &Accessor| Record::Closed {
            accessor: accessor.0.clone(),
            at,
            why,
        };
        let records: Vec<Record> = ended.iter().map(closed).collect();
        // A failure seals the broker; the leases have ended all the same, and the next start closes them in any case.
        let _ = self.journal(storage, &records);
    }

    /// Makes records durable, with one sync for all. After a failure nothing more is written: what the file holds is
    /// unknown then.
    fn journal(&mut self, storage: &dyn Storage, records: &[Record]) -> Result<(), BrokerError> {
        if self.sealed {
            return Err(BrokerError::Sealed);
        }
        if records.is_empty() {
            return Ok(());
        }
        let written = self.write(storage, &records.iter().flat_map(format::line).collect::<Vec<u8>>());
        self.sealed = written.is_err();
        Ok(written?)
    }

    fn write(&mut self, storage: &dyn Storage, lines: &[u8]) -> Result<(), StorageError> {
        if self.journal_bytes + lines.len() as u64 > self.journal_bytes_max {
            self.compact(storage)?;
        }
        storage.append(JOURNAL_PATH, lines)?;
        storage.sync(JOURNAL_PATH)?;
        self.journal_bytes += lines.len() as u64;
        Ok(())
    }

    fn compact(&mut self, storage: &dyn Storage) -> Result<(), StorageError> {
        let mut journal = format::line(&Record::Header {
            version: format::VERSION,
        });
        for entry in self.leases.values().filter(|entry| !entry.ended) {
            journal.extend(format::line(&Record::Leased {
                lease: (&*entry.lease).into(),
            }));
        }
        storage.replace(JOURNAL_PATH, &journal)?;
        self.journal_bytes = journal.len() as u64;
        self.journal_bytes_max = JOURNAL_BYTES_MAX.max(2 * self.journal_bytes);
        Ok(())
    }
}

fn read_journal(storage: &dyn Storage) -> Result<Recovered, BrokerError> {
    let journal = storage.read(JOURNAL_PATH)?.unwrap_or_default();
    let replayed = format::replay(&journal).map_err(|unknown| BrokerError::Version { version: unknown.0 })?;
    Ok(Recovered {
        closed: replayed.open.into_values().collect(),
        ignored_bytes: replayed.ignored_bytes,
    })
}

fn check_roles(roles: &[RoleSpec]) -> Result<(), BrokerError> {
    for (at, role) in roles.iter().enumerate() {
        let reason = if at >= ROLES_MAX {
            "is one role too many (at most 256)"
        } else if !is_name(&role.name) {
            "a name has 1 to 64 lower-case letters, digits, `-` and `_`"
        } else if roles[..at].iter().any(|earlier| earlier.name == role.name) {
            "stands here twice"
        } else if role.policies.len() > POLICIES_MAX {
            "has too many policies (at most 32)"
        } else if !role.policies.iter().all(|policy| is_name(policy)) {
            "a policy has 1 to 64 lower-case letters, digits, `-` and `_`"
        } else if !role.policies.is_empty() && !(1..=TTL_SECONDS_MAX).contains(&role.ttl_seconds_max) {
            "leases must live for 1 to 86,400 s"
        } else {
            continue;
        };
        return Err(BrokerError::Role {
            role: role.name.chars().take(NAME_BYTES_MAX).collect(),
            reason,
        });
    }
    Ok(())
}

/// What is no name might be a token that was put in the wrong place, so it isn't repeated.
fn quotable(text: &str) -> String {
    if is_name(text) {
        text.to_owned()
    } else {
        "(not a name)".to_owned()
    }
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}
