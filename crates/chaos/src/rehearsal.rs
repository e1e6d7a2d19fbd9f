//! One fault on declared targets without an experiment around it: injected, probed, undone, step by step. It is how an
//! undo is rehearsed, and what `soak faults` drives.
//!
//! It watches nothing and measures nothing but what its steps take: [`crate::run()`] does that.

use std::sync::Arc;
use std::time::Duration;

use evidence::Diagnostic;

use crate::declare::Rung;
use crate::experiment::read_fault;
use crate::fault::{Entry, UndoClass};
use crate::journal::{EntryId, State, UndoJournal};
use crate::permit::Permit;
use crate::read::Document;
use crate::strike::{Record, Site, Strike, Undone, survey, take_back};
use crate::target::Targets;

/// What the records of a rehearsal are sealed with: nothing in them is anybody's.
const REHEARSAL_SALT: [u8; 32] = [7; 32];

/// A rehearsal. The steps are called in order: [`Rehearsal::plan`], [`Rehearsal::inject`], [`Rehearsal::bites`], [`Rehearsal::undo`].
pub struct Rehearsal {
    entry: &'static Entry,
    strike: Arc<dyn Strike>,
    site: Site,
    permit: Permit,
    planned: Option<(EntryId, Record)>,
    #[cfg(target_os = "linux")]
    holders: Vec<crate::process::Holder>,
}

impl Rehearsal {
    /// Reads one fault, its keys as in a `[[fault]]`, and the targets, as in a configuration. `time_left` is the
    /// longest that it may hold.
    ///
    /// # Errors
    /// Everything that is wrong with the two texts, a fault that attacks no declared target, and a target that is not
    /// isolated and opted in: a rehearsal is for nothing else.
    pub fn new(fault: &str, targets: &str, time_left: Duration) -> Result<Rehearsal, Vec<Diagnostic>> {
        let targets = Targets::parse("targets", targets)?;
        let document = Document::new("fault", fault);
        let made = {
            let table = document.parse();
            read_fault(&document.top(&table))
        };
        let strike = made.as_ref().and_then(|made| made.strike());
        let (Some(made), Some(strike)) = (made, strike) else {
            document.note(
                "chaos/rehearsal",
                "this fault attacks no declared target".to_owned(),
                0..0,
                None,
            );
            return Err(document.into_diagnostics());
        };
        for name in strike.targets() {
            let problem = match targets.named(&name) {
                Ok(target) if target.opted_in && target.rung == Rung::Isolated => continue,
                Ok(_) => format!("target `{name}` is not isolated and opted in, so nothing is rehearsed on it"),
                Err(problem) => problem,
            };
            document.note("chaos/rehearsal", problem, 0..0, None);
        }
        if document.has_problems() {
            return Err(document.into_diagnostics());
        }
        Ok(Rehearsal {
            entry: made.entry(),
            strike,
            site: Site {
                targets,
                time_left,
                salt: REHEARSAL_SALT,
            },
            permit: Permit::rehearsal(),
            planned: None,
            #[cfg(target_os = "linux")]
            holders: Vec::new(),
        })
    }

    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// Looks what is there, and makes the undo durable.
    pub fn plan(&mut self, journal: &UndoJournal) -> Result<(), String> {
        let record = survey(self.strike.as_ref(), self.entry, &self.site)?;
        let entry = journal
            .plan(
                "rehearsal",
                self.entry.id,
                self.entry.undo_class,
                &self.strike.undo_action(),
                &self.strike.parameters(),
                &record,
            )
            .map_err(|error| error.to_string())?;
        self.planned = Some((entry, record));
        Ok(())
    }

    /// Injects. `program` is this program, started again for a fault that is bound to a process.
    pub fn inject(&mut self, journal: &UndoJournal, program: &std::path::Path) -> Result<(), String> {
        let (entry, record) = self.planned.as_ref().ok_or("it is not planned")?;
        // A second injection of one entry changes nothing in the journal.
        if journal
            .pending()
            .iter()
            .any(|open| open.id == *entry && open.state == State::Planned)
        {
            journal
                .advance(*entry, State::Injecting)
                .map_err(|error| error.to_string())?;
        }
        #[cfg(target_os = "linux")]
        if matches!(
            self.entry.undo_class,
            UndoClass::ProcessBounded | UndoClass::SandboxDiscard
        ) {
            // One at a time: a second injection takes the place of the first.
            self.holders.clear();
            let holder = crate::process::Holder::spawn(
                program,
                self.entry.id,
                &self.strike.parameters(),
                record,
                self.site.time_left,
            )?;
            self.holders.push(holder);
            return Ok(());
        }
        let _ = program;
        self.strike.inject(&self.permit, &self.site, record)
    }

    /// Asks the service.
    pub fn bites(&self) -> Result<bool, String> {
        let (_, record) = self.planned.as_ref().ok_or("it is not planned")?;
        self.strike.bites(&self.site, record)
    }

    /// Takes it back, and closes its entry.
    pub fn undo(&mut self, journal: &UndoJournal) -> Result<Undone, String> {
        let (entry, record) = self.planned.as_ref().ok_or("it is not planned")?;
        let entry = *entry;
        let open = |journal: &UndoJournal| journal.pending().into_iter().find(|open| open.id == entry);
        if open(journal).is_some_and(|open| open.state != State::Undoing) {
            journal
                .advance(entry, State::Undoing)
                .map_err(|error| error.to_string())?;
        }
        #[cfg(target_os = "linux")]
        for holder in self.holders.drain(..) {
            holder.stop();
        }
        let undone = take_back(self.strike.as_ref(), &self.site, record)?;
        if open(journal).is_some() {
            let last = State::last(self.entry.undo_class, &undone);
            journal.advance(entry, last).map_err(|error| error.to_string())?;
        }
        Ok(undone)
    }

    /// The process that holds the fault, where one does.
    #[cfg(target_os = "linux")]
    pub fn holder_pid(&self) -> Option<u32> {
        self.holders.last().map(crate::process::Holder::pid)
    }
}
