//! A fault on a declared target: what its undo needs stands in a record that is durable before anything is changed,
//! so that anybody can take it back from the journal alone: the run itself, the warden, the next start.
//!
//! Every method blocks, and has to end within [`STRIKE_MS_MAX`]: its connections have time limits of their own.
//! Start reading at [`Strike`]; [`boxed`] makes a [`Fault`] of one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::environment::{BoxFuture, Environment};
use crate::experiment::DEADLINE_SECONDS_MAX;
use crate::fault::{Entry, Fault, Injected, Met, Probe, UndoClass};
use crate::permit::Permit;
use crate::read::{Document, Section};
use crate::record;
use crate::target::{Target, Targets};
use crate::turns::{Turns, blocking};

/// Each call of a strike ends within so many milliseconds.
pub const STRIKE_MS_MAX: u64 = 4_000;
/// A service may need a moment to notice that a fault is gone: it is asked so often, with so many milliseconds between.
const RESIDUE_LOOKS_MAX: u32 = 60;
const RESIDUE_LOOK_MS: u64 = 25;
/// Key of a record under which the declarations of the targets stand.
const TARGETS_KEY: &str = "targets";
/// Key of a fault: how long it holds.
const HOLD_KEY: &str = "hold_ms";

/// What is known before injection, by names of the fault's own. It is written to the undo journal: no secret value
/// may be in it, only paths, digests and names.
pub type Record = BTreeMap<String, Value>;

/// A fault on a declared target, with its parameters. It keeps no state.
pub trait Strike: Send + Sync + fmt::Debug {
    /// Its parameters, by the keys of `[[fault]]`. Reading them again gives the same strike.
    fn parameters(&self) -> BTreeMap<String, Value>;

    /// What injection does, in one line.
    fn action(&self) -> String;

    /// What takes it back, or the way forward, in one line.
    fn undo_action(&self) -> String;

    /// Names of the targets it touches; the attacked one first.
    fn targets(&self) -> Vec<String>;

    /// Reads what is there now, changing nothing. `Err` says why it can't bite here. What it returns is durable
    /// before `inject` is called, and has to be enough for `undo`.
    fn survey(&self, site: &Site) -> Result<Record, String>;

    /// Changes the target. It may be killed at any point within: `undo` has to cope with each.
    fn inject(&self, permit: &Permit, site: &Site, record: &Record) -> Result<(), String>;

    /// For [`UndoClass::ProcessBounded`] and [`UndoClass::SandboxDiscard`]: does it in a process of its own, calls
    /// `ready` once it is in force, and goes on until it is killed. It ends with its process, whatever happens.
    fn hold(&self, _site: &Site, _record: &Record, _ready: &mut dyn FnMut()) -> Result<(), String> {
        Err("this fault is not held by a process".to_owned())
    }

    /// Asks the real service whether the fault is in force. `Err` when that can't be told.
    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String>;

    /// Takes it back and reads that back. May be called twice, without an injection, and after one that was cut
    /// short. A change that somebody else has made since is never overwritten: that is [`Undone::Foreign`].
    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String>;
}

/// Where a strike happens.
#[derive(Debug, Clone)]
pub struct Site {
    pub targets: Targets,
    /// From now to the time by which the fault must be over: what the kernel bounds is given no longer.
    pub time_left: Duration,
    /// Random: what digests in the records of this place are sealed with, so that they give nothing away.
    pub salt: [u8; 32],
}

impl Site {
    pub fn target(&self, name: &str) -> Result<&Target, String> {
        self.targets.named(name)
    }
}

/// How an undo ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// What was there before is there again, or nothing of ours was left.
    Restored,
    /// Somebody else changed it since, which is left as it is; in words.
    Foreign(String),
}

/// Makes a fault of the catalogue of a strike. `hold` ends it before the run does.
pub(crate) fn boxed(
    entry: &'static Entry,
    strike: impl Strike + 'static,
    hold: Option<Duration>,
) -> Option<Box<dyn Fault>> {
    Some(Box::new(OnTarget {
        entry,
        strike: Arc::new(strike),
        hold,
        turns: Turns::default(),
    }))
}

/// `hold_ms`, where a fault on a target has one: it is taken back after so long, and recovery measured from there.
pub(crate) fn read_hold(section: &Section<'_>) -> Option<Duration> {
    let hold_ms = section.optional_number(HOLD_KEY, 1..=DEADLINE_SECONDS_MAX * 1000);
    hold_ms.map(Duration::from_millis)
}

/// A strike, and where it happens.
pub(crate) type Placed = (Arc<dyn Strike>, Site);

/// The strike of a fault as the journal knows it, and where it happens.
pub(crate) fn from_journal(
    fault: &str,
    parameters: &BTreeMap<String, Value>,
    record: &Record,
) -> Result<Option<Placed>, String> {
    // A fault of the environment's own services records no target, and ended with them.
    let Some(declared) = record.get(TARGETS_KEY) else {
        return Ok(None);
    };
    let Some(entry) = crate::faults().iter().find(|entry| entry.id == fault) else {
        return Err(format!("no fault is called `{fault}`"));
    };
    let text = toml::to_string(parameters).map_err(|error| error.to_string())?;
    let document = Document::new("undo.journal", &text);
    let made = {
        let table = document.parse();
        (entry.read)(&document.top(&table))
    };
    let strike = made
        .as_ref()
        .and_then(|fault| fault.strike())
        .ok_or("its parameters can't be read")?;
    let targets = Targets::from_json(declared)?;
    let site = Site {
        targets,
        time_left: Duration::ZERO,
        salt: [0; 32],
    };
    Ok(Some((strike, site)))
}

/// [`Strike`] as a [`Fault`].
struct OnTarget {
    entry: &'static Entry,
    strike: Arc<dyn Strike>,
    hold: Option<Duration>,
    /// Injections and undos take turns.
    turns: Turns,
}

impl fmt::Debug for OnTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.strike.fmt(f)
    }
}

impl OnTarget {
    fn is_held(&self) -> bool {
        matches!(
            self.entry.undo_class,
            UndoClass::ProcessBounded | UndoClass::SandboxDiscard
        )
    }
}

/// Undoes, and asks the service whether anything of it is left: what still shows is not undone.
pub(crate) fn take_back(strike: &dyn Strike, site: &Site, record: &Record) -> Result<Undone, String> {
    let undone = strike.undo(site, record)?;
    if undone != Undone::Restored {
        return Ok(undone);
    }
    let mut looks = 0;
    while strike.bites(site, record)? {
        looks += 1;
        if looks == RESIDUE_LOOKS_MAX {
            return Err("it was taken back, and its probe still shows it".to_owned());
        }
        std::thread::sleep(Duration::from_millis(RESIDUE_LOOK_MS));
    }
    Ok(undone)
}

/// Surveys, and adds the declarations of the targets to the record.
pub(crate) fn survey(strike: &dyn Strike, entry: &Entry, site: &Site) -> Result<Record, String> {
    let names = strike.targets();
    for (index, name) in names.iter().enumerate() {
        let target = site.target(name)?;
        if !target.opted_in {
            return Err(format!(
                "target `{name}` has not opted in: `opted_in = true` in its declaration does that"
            ));
        }
        if index == 0 && !entry.targets.contains(&target.kind) {
            let kinds: Vec<&str> = entry.targets.iter().map(|kind| kind.name()).collect();
            return Err(format!(
                "`{name}` is a target of kind `{}`, and this fault attacks {}",
                target.kind,
                crate::read::quoted(&kinds)
            ));
        }
    }
    let mut record = strike.survey(site)?;
    record::seal(&mut record, site.salt)?;
    record.insert(TARGETS_KEY.to_owned(), site.targets.to_json(&names));
    Ok(record)
}

impl Fault for OnTarget {
    fn entry(&self) -> &'static Entry {
        self.entry
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        let mut parameters = self.strike.parameters();
        if let Some(hold) = self.hold {
            let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
            parameters.insert(HOLD_KEY.to_owned(), hold_ms.into());
        }
        parameters
    }

    fn action(&self) -> String {
        self.strike.action()
    }

    fn undo_action(&self) -> String {
        self.strike.undo_action()
    }

    fn hold(&self) -> Option<Duration> {
        self.hold
    }

    fn hold_for(&mut self, hold: Duration) {
        self.hold = Some(hold);
    }

    fn probe(&self) -> Option<&Probe> {
        None
    }

    fn strike(&self) -> Option<Arc<dyn Strike>> {
        Some(self.strike.clone())
    }

    fn prepare<'a>(&'a self, environment: &'a dyn Environment) -> BoxFuture<'a, Result<Record, String>> {
        let (strike, entry) = (self.strike.clone(), self.entry);
        let site = environment.site();
        Box::pin(blocking(move |_| {
            let record = survey(strike.as_ref(), entry, &site)?;
            if strike.bites(&site, &record)? {
                return Err("what it would bring about is so already".to_owned());
            }
            Ok(record)
        }))
    }

    fn inject<'a>(
        &'a self,
        permit: &'a Permit,
        environment: &'a dyn Environment,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<Injected, String>> {
        if self.is_held() {
            return Box::pin(async move {
                environment.hold(permit, self, record).await?;
                Ok(Injected::default())
            });
        }
        let (strike, site, record, permit) = (self.strike.clone(), environment.site(), record.clone(), permit.clone());
        Box::pin(self.turns.take(move |given_up| {
            if given_up.load(Ordering::Acquire) {
                return Err("stopped before it was injected".to_owned());
            }
            strike.inject(&permit, &site, &record)?;
            Ok(Injected::default())
        }))
    }

    fn in_force<'a>(
        &'a self,
        environment: &'a dyn Environment,
        record: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<(), String>> {
        let (strike, site, record) = (self.strike.clone(), environment.site(), record.clone());
        Box::pin(blocking(move |_| {
            if strike.bites(&site, &record)? {
                Ok(())
            } else {
                Err("it was injected, and its probe says that it does not bite".to_owned())
            }
        }))
    }

    /// Its own probe has asked the service.
    fn felt(&self, _: &Met<'_>) -> bool {
        true
    }

    fn undo<'a>(
        &'a self,
        environment: &'a dyn Environment,
        record: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<Undone, String>> {
        let (strike, site, record) = (self.strike.clone(), environment.site(), record.clone());
        Box::pin(async move {
            if self.is_held() {
                environment.release(self).await?;
            }
            self.turns
                .take(move |_| take_back(strike.as_ref(), &site, &record))
                .await
        })
    }
}
