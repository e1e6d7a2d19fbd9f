//! Finding what a holder does to the machine, from any other process: by the name of its threads, which follows from
//! the record and from nothing else.
//!
//! The kernel's word is asked for, not the holder's: a thread that sleeps burns nothing, whatever it is called.

use std::thread::{Builder, JoinHandle};

use evidence::Digest;

use crate::processes_linux::{Stat, status_bytes};
use crate::strike::Record;

/// Name of a holder's threads: the kernel keeps 15 bytes.
pub(crate) fn name(record: &Record) -> String {
    let text = serde_json::to_string(record).unwrap_or_default();
    format!("chaos-{}", &Digest::of(text.as_bytes()).hex()[..9])
}

/// A thread of a holder.
pub(crate) fn thread(
    record: &Record,
    work: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<JoinHandle<Result<(), String>>, String> {
    Builder::new()
        .name(name(record))
        .spawn(work)
        .map_err(|error| error.to_string())
}

/// Whether the holder of a record is there.
pub(crate) fn is_held(record: &Record) -> bool {
    !threads(&name(record)).is_empty()
}

/// How many threads of the holder of a record run, or wait for a core.
pub(crate) fn running_threads(record: &Record) -> usize {
    let is_running =
        |(pid, task): &(i32, i32)| Stat::read(&format!("/proc/{pid}/task/{task}/stat")).is_some_and(Stat::is_running);
    threads(&name(record))
        .iter()
        .filter(|thread| is_running(thread))
        .count()
}

/// Bytes in memory of the holder of a record.
pub(crate) fn resident_bytes(record: &Record) -> u64 {
    let found = threads(&name(record));
    found
        .first()
        .and_then(|(pid, _)| status_bytes(*pid, "VmRSS:"))
        .unwrap_or(0)
}

/// Process and number of each thread of that name.
fn threads(name: &str) -> Vec<(i32, i32)> {
    let mut found = Vec::new();
    for pid in numbers("/proc") {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if !command.split(|byte| *byte == 0).any(|word| word == b"__holder") {
            continue;
        }
        for task in numbers(&format!("/proc/{pid}/task")) {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/task/{task}/comm")).unwrap_or_default();
            if comm.trim_end() == name {
                found.push((pid, task));
            }
        }
    }
    found
}

fn numbers(folder: &str) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}
