//! What the tests of process trees share: commands, this test program as a helper, a look at what runs.
#![allow(dead_code)]

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use host::process::{Cancel, Command, Finished, Sink, Wanted, run};

/// `sh -c script` in `cwd` with a `PATH`, output captured.
pub fn shell(script: &str, cwd: &Path, isolation: Wanted) -> Command {
    program("/bin/sh", &["-c", script], cwd, isolation)
}

pub fn program(program: &str, args: &[&str], cwd: &Path, isolation: Wanted) -> Command {
    let mut command = Command::new(program, cwd);
    command.args = args.iter().map(OsString::from).collect();
    command.env.insert(
        "PATH".into(),
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
    );
    command.stdout = Sink::Capture { bytes_max: 1 << 20 };
    command.stderr = Sink::Capture { bytes_max: 1 << 20 };
    command.isolation = isolation;
    command.timeout = Some(Duration::from_secs(120));
    command
}

/// One test of this same program, as a process of its own: how helpers are made without a second binary.
pub fn this_test(name: &str, cwd: &Path, isolation: Wanted) -> Command {
    let own = std::env::current_exe().unwrap();
    let args = ["--exact", name, "--nocapture", "--test-threads", "1"];
    program(own.to_str().unwrap(), &args, cwd, isolation)
}

pub fn run_it(command: Command) -> Finished {
    run(command, &Cancel::new()).unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How many processes have `marker` in their command line, as seen from here.
pub fn running(marker: &str) -> usize {
    let folders = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    folders
        .filter(|folder| {
            let own = std::process::id().to_string();
            let name = folder.file_name();
            name.as_encoded_bytes()[0].is_ascii_digit() && name != own.as_str()
        })
        .filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok())
        .filter(|line| text(line).contains(marker))
        .count()
}

/// Waits until `holds`, up to `within`; whether it did.
pub fn becomes(within: Duration, holds: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while started.elapsed() < within {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    holds()
}
