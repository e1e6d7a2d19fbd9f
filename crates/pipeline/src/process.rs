//! This program, started again: worker and warden; and the signals of the one that people started.

use host::process::Cancel;

use crate::Error;

/// Runs worker or warden when the arguments say so; the answer is the exit code.
#[cfg(target_os = "linux")]
pub fn helper_process(mut args: impl Iterator<Item = String>) -> Option<u8> {
    let role = args.next()?;
    let rest: Vec<String> = args.collect();
    match role.as_str() {
        "__worker" => Some(chaos::process::worker_main(&rest)),
        "__holder" => Some(chaos::process::holder_main(&rest)),
        "__warden" => Some(chaos::process::warden_main(&rest)),
        _ => None,
    }
}

/// A flag that Ctrl-C, SIGTERM and SIGHUP raise: what was injected is undone first, then the program ends.
pub fn cancel_on_signals() -> Result<Cancel, Error> {
    let cancel = Cancel::new();
    let watched = [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ];
    let mut signals =
        signal_hook::iterator::Signals::new(watched).map_err(|error| Error::failed("watch for signals", error))?;
    let raised = cancel.clone();
    std::thread::spawn(move || signals.forever().for_each(|_| raised.cancel()));
    Ok(cancel)
}
