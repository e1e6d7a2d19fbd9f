//! A file of a service replaced, the service told to read its files again, and asked until it answers accordingly.
//!
//! Start reading at [`put_in`] and [`put_back`].

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::replaced::Replacement;
use crate::strike::Undone;
use crate::target::Target;

/// A reload command runs no longer.
const RELOAD_MS_MAX: u64 = 1_500;
/// A service answers as its files say within so many milliseconds of a reload.
const SETTLE_MS_MAX: u64 = 1_800;
/// Old and new workers both answer for a moment after a reload, so that only so many like answers in a row count.
const LIKE_ANSWERS_MIN: u32 = 4;
const BETWEEN_ANSWERS: Duration = Duration::from_millis(40);

/// Puts in what `make` makes of the old contents, reloads, and waits until the service shows it.
pub(crate) fn put_in(
    replacement: &Replacement,
    target: &Target,
    make: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, String>,
    bites: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    replacement.apply(target, make)?;
    reload_if_any(target)?;
    settle(true, bites).map_err(|last| match last {
        Ok(_) => format!("`{}` was reloaded, and its answers are as before", target.name),
        Err(reason) => reason,
    })
}

/// Puts the original back, reloads, and waits until the service shows that.
pub(crate) fn put_back(
    replacement: &Replacement,
    target: &Target,
    mut bites: impl FnMut() -> Result<bool, String>,
) -> Result<Undone, String> {
    let stood = replacement.is_applied(target) == Ok(true);
    let undone = replacement.take_back(target)?;
    // A run that was cut short between putting back and reloading left the service with what it had read.
    if undone != Undone::Restored || (!stood && bites() != Ok(true)) {
        return Ok(undone);
    }
    let reloaded = reload_if_any(target);
    // Where nobody answers, nobody has read the replacement: whoever starts next reads the original.
    if reloaded.is_err() && bites().is_err() {
        return Ok(Undone::Restored);
    }
    match settle(false, bites) {
        Ok(()) | Err(Err(_)) => Ok(Undone::Restored),
        Err(Ok(_)) => Err(format!(
            "`{}` is as it was, and `{}` still answers as if it weren't{}",
            replacement.location(),
            target.name,
            reloaded.err().map_or(String::new(), |reason| format!(": {reason}"))
        )),
    }
}

/// Runs the target's `reload`, where it has one. What it prints is not read: it may show a secret.
fn reload_if_any(target: &Target) -> Result<(), String> {
    target.command("reload").map_or(Ok(()), |command| run(target, command))
}

/// Asks until the answer is `expected` and stays so. `Err` is what it was last.
fn settle(expected: bool, mut ask: impl FnMut() -> Result<bool, String>) -> Result<(), Result<bool, String>> {
    let end = Instant::now() + Duration::from_millis(SETTLE_MS_MAX);
    let mut alike = 0;
    loop {
        let answer = ask();
        alike = if answer == Ok(expected) { alike + 1 } else { 0 };
        if alike == LIKE_ANSWERS_MIN {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(answer);
        }
        std::thread::sleep(BETWEEN_ANSWERS);
    }
}

fn run(target: &Target, command: &[String]) -> Result<(), String> {
    let [program, args @ ..] = command else {
        return Err(format!("`reload` of target `{}` is empty", target.name));
    };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("`{program}`, the reload of target `{}`: {error}", target.name))?;
    let end = Instant::now() + Duration::from_millis(RELOAD_MS_MAX);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("the reload of target `{}` failed: {status}", target.name)),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "the reload of target `{}` took more than {RELOAD_MS_MAX} ms",
                    target.name
                ));
            }
        }
    }
}
