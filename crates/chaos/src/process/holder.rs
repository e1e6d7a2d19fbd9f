//! The holder: a process in which one fault lives, and with which it ends.
//!
//! It dies when its supervisor does (`PR_SET_PDEATHSIG`), when its socket closes, and by the warden's hand: whatever
//! it holds (memory, descriptors, sockets, namespaces, unlinked files, kernel tables that it owns) the kernel takes
//! back with it.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::ProcessError;
use super::helper::{Helper, Start, inherited};
use super::wire::{self, Answer, Ask, Request, Response, VERSION};
use crate::strike::{self, Record};

const ROLE: &str = "holder";
/// What is below a holder is gone so soon after it was killed, in milliseconds.
const BELOW_MS_MAX: i64 = 900;

/// The supervisor's handle of a holder. Dropping it ends the fault.
pub struct Holder {
    helper: Arc<Helper>,
}

impl Holder {
    /// Starts the holder of a fault and waits until it is in force. `exe` is this program. It ends by itself after
    /// `time_left` at the latest.
    pub fn spawn(
        exe: &Path,
        fault: &str,
        parameters: &BTreeMap<String, Value>,
        record: &Record,
        time_left: Duration,
    ) -> Result<Holder, String> {
        let helper = Helper::start(Start {
            role: ROLE,
            exe,
            args: Vec::new(),
            inherited: Vec::new(),
            dies_with_parent: true,
            farewell: None,
        })
        .map_err(|error| error.to_string())?;
        let ask = Ask::Hold {
            fault: fault.to_owned(),
            parameters: parameters.clone(),
            record: record.clone(),
            time_left_ms: u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX),
        };
        match helper.ask_blocking(ask).map_err(|error| error.to_string())? {
            Answer::Done => Ok(Holder {
                helper: Arc::new(helper),
            }),
            Answer::Refused { reason } => Err(reason),
            Answer::Toxics { .. } => Err("the holder answered something else".to_owned()),
        }
    }

    pub fn pid(&self) -> u32 {
        u32::try_from(self.helper.pid()).unwrap_or(0)
    }

    pub fn is_running(&self) -> bool {
        self.helper.is_running()
    }

    /// Ends the fault: kills the process and waits until it is gone, and everything below it too (a throwaway copy of
    /// the machine dies with its process, but a moment later).
    pub fn stop(&self) {
        let below = descendants(self.helper.pid());
        // It is our child, and reaped by nobody but the helper's thread, so the number is still its own.
        if let Some(pid) = Pid::from_raw(self.helper.pid())
            && self.helper.is_running()
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        self.helper.stop();
        for process in &below {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        for process in &below {
            let wait = Timespec {
                tv_sec: 0,
                tv_nsec: BELOW_MS_MAX * 1_000_000,
            };
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&wait));
        }
    }
}

/// Every process below one, each held by a descriptor so that its number, given to another one later, means nothing.
fn descendants(root: i32) -> Vec<OwnedFd> {
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The parent is the second field behind the name, which stands in brackets and may hold anything.
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
    };
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let all: Vec<(i32, i32)> = numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        found.extend(all.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        at += 1;
    }
    let below = found.into_iter().skip(1).filter_map(Pid::from_raw);
    below
        .filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .collect()
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The holders of one run, by fault.
#[derive(Default)]
pub struct Holders {
    running: Mutex<Vec<(String, Arc<Holder>)>>,
}

impl Holders {
    pub fn add(&self, key: String, holder: Holder) {
        self.lock().push((key, Arc::new(holder)));
    }

    /// Ends every holder of a fault.
    pub fn stop(&self, key: &str) {
        let chosen: Vec<_> = {
            let mut running = self.lock();
            let (chosen, kept) = std::mem::take(&mut *running)
                .into_iter()
                .partition(|(name, _)| name == key);
            *running = kept;
            chosen
        };
        for (_, holder) in chosen {
            holder.stop();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Arc<Holder>)>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The holder's process. `args` stand behind `__holder`; the answer is the exit code.
pub fn holder_main(args: &[String]) -> u8 {
    u8::from(serve(args).is_err())
}

fn serve(args: &[String]) -> Result<(), String> {
    let [key, fd] = args else {
        return Err("`--control-fd FD` is expected".to_owned());
    };
    if key != "--control-fd" {
        return Err(format!("`{key}` is not known here"));
    }
    let mut control = UnixStream::from(inherited(fd)?);
    loop {
        let request = wire::read::<Request>(&mut control).map_err(|error| error.to_string())?;
        let Some(Request { v: VERSION, id, ask }) = request else {
            return Ok(());
        };
        match ask {
            Ask::Hold {
                fault,
                parameters,
                record,
                time_left_ms,
            } => {
                let time_left = Duration::from_millis(time_left_ms);
                return hold(control, id, &fault, &parameters, &record, time_left);
            }
            _ => answer(&mut control, id, Answer::Done)?,
        }
    }
}

/// Does the fault. A thread watches the socket and the time and ends the process with either.
fn hold(
    mut control: UnixStream,
    id: u64,
    fault: &str,
    parameters: &BTreeMap<String, Value>,
    record: &Record,
    time_left: Duration,
) -> Result<(), String> {
    let refuse = |control: &mut UnixStream, reason: String| answer(control, id, Answer::Refused { reason });
    let (strike, mut site) = match strike::from_journal(fault, parameters, record) {
        Ok(Some(made)) => made,
        Ok(None) => return refuse(&mut control, "it attacks no declared target".to_owned()),
        Err(reason) => return refuse(&mut control, reason),
    };
    site.time_left = time_left;
    std::thread::spawn(move || {
        std::thread::sleep(time_left);
        std::process::exit(0)
    });
    let mut answering = control.try_clone().map_err(|error| error.to_string())?;
    let mut ready = false;
    let mut watched = Some(control);
    let held = strike.hold(&site, record, &mut || {
        let Some(watched) = watched.take() else { return };
        ready = true;
        // From here on somebody else answers the heartbeat.
        let _ = answer(&mut answering, id, Answer::Done);
        std::thread::spawn(move || beat(watched));
    });
    match held {
        Ok(()) if ready => Ok(()),
        Ok(()) => refuse(&mut answering, "it ended before it was in force".to_owned()),
        Err(reason) if !ready => refuse(&mut answering, reason),
        Err(reason) => Err(reason),
    }
}

/// Answers until the socket closes, and ends the process then.
fn beat(mut control: UnixStream) {
    while let Ok(Some(Request { v: VERSION, id, .. })) = wire::read::<Request>(&mut control) {
        if answer(&mut control, id, Answer::Done).is_err() {
            break;
        }
    }
    let _ = control.read(&mut [0]);
    std::process::exit(0)
}

fn answer(control: &mut UnixStream, id: u64, answer: Answer) -> Result<(), String> {
    wire::write(control, &Response { v: VERSION, id, answer }).map_err(|error| error.to_string())
}

impl From<ProcessError> for String {
    fn from(error: ProcessError) -> String {
        error.to_string()
    }
}
