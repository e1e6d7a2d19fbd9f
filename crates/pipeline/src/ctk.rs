//! Chaos Toolkit experiments in compatibility mode: the clock, the signals and the name of this host for [`chaos::ctk`].
//!
//! Nothing is judged here: no permit, no undo journal. Start reading at [`run_compatible`].

use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use chaos::ctk::{
    Cancel, Dict, Dry, Journal, Level, Options, Raise, Value, Variables, json, parse_yaml, variable, variables_of_file,
};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::Error;

/// Loads the experiment at a path or URL and runs it as the original does; `line` takes what it says meanwhile.
///
/// # Errors
/// When signals can't be watched. What ends the original without a journal is the inner error.
pub fn run_compatible(
    source: &str,
    mut options: Options,
    line: &(dyn Fn(Level, &str) + Sync),
) -> Result<Result<Journal, Raise>, Error> {
    let host = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    options.node = text(host.nodename());
    options.platform = format!(
        "{}-{}-{}",
        text(host.sysname()),
        text(host.release()),
        text(host.machine())
    );
    let hooks = Hooks {
        signals: Mutex::new(signals()?),
        line,
    };
    Ok(chaos::ctk::run_source(source, &options, &hooks).map(|(_, journal)| journal))
}

struct Hooks<'a> {
    signals: Mutex<Receiver<Cancel>>,
    line: &'a (dyn Fn(Level, &str) + Sync),
}

impl chaos::ctk::Hooks for Hooks<'_> {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn cancelled(&self) -> Option<Cancel> {
        self.signals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_recv()
            .ok()
    }

    fn line(&self, level: Level, text: &str) {
        (self.line)(level, text);
    }
}

/// Every signal of those the original knows, once.
fn signals() -> Result<Receiver<Cancel>, Error> {
    let (send, receive) = mpsc::channel();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGUSR2])
        .map_err(|error| Error::failed("watch for signals", error))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let cancel = match signal {
                SIGINT => Cancel::Keyboard,
                SIGUSR1 => Cancel::Leave,
                SIGUSR2 => Cancel::LeaveAtOnce,
                _ => Cancel::Terminate,
            };
            if send.send(cancel).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}
