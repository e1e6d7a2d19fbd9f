//! # chaos/process-cpu-starved
//! A process comes last, on one core.
//!
//! ## What it does
//! Moves every thread of the process that `pid_file` of the target names to one core and to the lowest priority
//! (nice 19). Beside anything else that computes on that core it gets a seventieth of it: `cpu-busy` on the same
//! target makes sure that something does. The probe reads core and priority of each thread from the kernel.
//!
//! - Undo class: `journaled`. Cores and priorities are put back thread by thread, each unless somebody else has
//!   changed it since. Threads that it began meanwhile get what its first thread had.
//! - Rights: root (`CAP_SYS_NICE`), to give the priority back.
//! - Targets: `process`.
//! - ATT&CK: T1496 (resource hijacking), T1499 (endpoint denial of service). CWE: CWE-400 (uncontrolled resource
//!   consumption), CWE-1088 (synchronous access of remote resource without timeout).
//! - Expected effect: confidentiality kept; integrity kept; availability degraded: answers come late, time limits
//!   end, leases are lost.
//!
//! ## Why it matters
//! A miner beside the service takes its cores. Time limits that hold on an idle machine don't on that one: tokens
//! end while they are checked, leaders lose their lease.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "process-cpu-starved"
//! target = "ledger"
//! ```
//!
//! ## What to do instead
//! Give services cores of their own (a cgroup), and measure how late a timer wakes up.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1496/>
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://cwe.mitre.org/data/definitions/400.html>
//! - <https://cwe.mitre.org/data/definitions/1088.html>

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::told;
use crate::processes_linux::{OnProcess, Process, ProcessChange, Stat, number};
use crate::read::Section;
use crate::record;
use crate::strike::{Record, Undone};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "process-cpu-starved",
    undo_class: UndoClass::Journaled,
    rights: "root (`CAP_SYS_NICE`), to give the priority back",
    attack: &["T1496", "T1499"],
    cwe: &["CWE-400", "CWE-1088"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "degraded: answers come late, time limits end, leases are lost",
    },
    targets: &[TargetKind::Process],
    keys: &["target"],
    read,
};

/// The lowest priority.
const NICE: i32 = 19;
/// Highest priority of a thread that isn't real-time.
const NICE_MIN: i64 = -20;

#[derive(Debug)]
struct Starved;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    ProcessChange::read(
        section,
        Starved,
        "starve the process of",
        "put its cores and priority back",
    )?
    .boxed(const { &ENTRY })
}

impl OnProcess for Starved {
    fn look(&self, process: Process) -> Result<Record, String> {
        let capabilities = rustix::thread::capabilities(None).map_err(told)?;
        if !capabilities.effective.contains(rustix::thread::CapabilitySet::SYS_NICE) {
            return Err("without `CAP_SYS_NICE` the priority could not be given back".to_owned());
        }
        let mut tasks = Vec::new();
        for task in process.tasks()? {
            let Some(state) = State::of(process, task) else {
                continue;
            };
            tasks.push(json!({"task": number(task), "nice": state.nice, "cores": state.cores}));
        }
        let first = State::of(process, process.pid).ok_or("it has ended")?;
        let core = first.cores.first().copied().ok_or("it may run on no core")?;
        Ok(Record::from([
            ("tasks".to_owned(), tasks.into()),
            ("core".to_owned(), core.into()),
        ]))
    }

    fn apply(&self, process: Process, record: &Record) -> Result<(), String> {
        let starved = State::starved(record)?;
        for task in process.tasks()? {
            starved.set(process, task)?;
        }
        Ok(())
    }

    fn is_applied(&self, process: Process, record: &Record) -> Result<bool, String> {
        let starved = State::starved(record)?;
        let states: Vec<State> = process
            .tasks()?
            .into_iter()
            .filter_map(|task| State::of(process, task))
            .collect();
        Ok(!states.is_empty() && states.iter().all(|state| *state == starved))
    }

    fn take_back(&self, process: Process, record: &Record) -> Result<Undone, String> {
        let starved = State::starved(record)?;
        let mut foreign = 0;
        for task in process.tasks()? {
            let (Some(before), Some(found)) = (State::before(record, task)?, State::of(process, task)) else {
                continue;
            };
            // Each of the two is put back where it is still ours.
            let wanted = State {
                nice: if found.nice == starved.nice {
                    before.nice
                } else {
                    found.nice
                },
                cores: if found.cores == starved.cores {
                    before.cores.clone()
                } else {
                    found.cores.clone()
                },
            };
            if wanted != found {
                wanted.set(process, task)?;
            }
            foreign += usize::from(wanted != before);
        }
        Ok(match foreign {
            0 => Undone::Restored,
            _ => Undone::Foreign("somebody else has changed its priority or its cores".to_owned()),
        })
    }
}

/// Priority and cores of one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    nice: i32,
    cores: Vec<usize>,
}

impl State {
    /// `None` once it has ended.
    fn of(process: Process, task: Pid) -> Option<State> {
        let stat = Stat::read(&format!("/proc/{}/task/{}/stat", number(process.pid), number(task)))?;
        let set = sched_getaffinity(Some(task)).ok()?;
        Some(State {
            nice: stat.nice,
            cores: (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        })
    }

    fn starved(record: &Record) -> Result<State, String> {
        let core = usize::try_from(record::number(record, "core")?).ok();
        Ok(State {
            nice: NICE,
            cores: vec![
                core.filter(|core| *core < CpuSet::MAX_CPU)
                    .ok_or("`core` of the record is none")?,
            ],
        })
    }

    /// What a thread had, or the first one where it is new.
    fn before(record: &Record, task: Pid) -> Result<Option<State>, String> {
        let tasks = record::list(record, "tasks")?;
        let its = |state: &&Value| state["task"].as_i64() == Some(i64::from(number(task)));
        let Some(state) = tasks.iter().find(its).or(tasks.first()) else {
            return Ok(None);
        };
        let nice = state["nice"]
            .as_i64()
            .filter(|nice| (NICE_MIN..=i64::from(NICE)).contains(nice));
        let cores = state["cores"].as_array().ok_or("the record has no `cores`")?;
        let core = |core: &Value| {
            usize::try_from(core.as_u64()?)
                .ok()
                .filter(|core| *core < CpuSet::MAX_CPU)
        };
        Ok(Some(State {
            nice: nice
                .and_then(|nice| i32::try_from(nice).ok())
                .ok_or("`nice` of the record is none")?,
            cores: cores.iter().filter_map(core).collect(),
        }))
    }

    /// A thread that has ended meanwhile needs nothing.
    fn set(&self, process: Process, task: Pid) -> Result<(), String> {
        let mut set = CpuSet::new();
        for core in &self.cores {
            set.set(*core);
        }
        let done = sched_setaffinity(Some(task), &set)
            .and_then(|()| rustix::process::setpriority_process(Some(task), self.nice));
        match done {
            Err(error) if State::of(process, task).is_some() => Err(told(error)),
            _ => Ok(()),
        }
    }
}
