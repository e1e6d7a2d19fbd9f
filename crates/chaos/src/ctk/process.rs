//! A program of an experiment: started in a process group of its own, read to the end, killed as a group.
//!
//! Not here: what its output means, and how its bytes become text. Start reading at [`run`].

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::raise::Raise;
use super::value::Value;

/// How long a wait lasts before interruption and deadline are looked at again.
const SLICE_MS: u64 = 20;
/// Between looks at a process that has closed its output and lives on.
const EXIT_POLL_US_MAX: u64 = 5_000;
/// Of each stream; more ends the activity.
const OUTPUT_BYTES_MAX: usize = 256 << 20;

/// What a program runs in.
pub struct Surroundings<'a> {
    pub env: &'a [(OsString, OsString)],
    pub cwd: &'a Path,
}

impl Surroundings<'_> {
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_os_str())
    }
}

/// What a program left: `status` is negative for a signal.
pub struct Finished {
    pub status: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs a program with these arguments.
///
/// # Errors
/// `ActivityFailed` past the timeout, whatever `stop` answers, `OSError` kinds when it can't be started.
pub fn run(
    program: &OsStr,
    arguments: &[OsString],
    around: &Surroundings<'_>,
    timeout: Option<Duration>,
    stop: &dyn Fn() -> Option<Raise>,
) -> Result<Finished, Raise> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(around.env.iter().map(|(key, value)| (key, value)))
        .current_dir(around.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn().map_err(|error| os_error(&error, program))?;
    let mut group = Group(child);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let streams = group.read(deadline, stop);
    let (stdout, stderr) = streams?;
    let status = group.wait(deadline, stop)?;
    Ok(Finished { status, stdout, stderr })
}

/// What `shutil.which` finds.
pub fn which(name: &str, around: &Surroundings<'_>) -> Option<PathBuf> {
    let executable = |path: &Path| {
        let found = std::fs::metadata(around.cwd.join(path)).ok()?;
        let may_run = found.is_file() && rustix::fs::access(around.cwd.join(path), rustix::fs::Access::EXEC_OK).is_ok();
        (may_run && found.permissions().mode() & 0o111 != 0).then(|| path.to_owned())
    };
    if name.contains('/') {
        return executable(Path::new(name));
    }
    if name.is_empty() {
        return None;
    }
    let path = around.variable("PATH").unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(path)
        .filter(|folder| !folder.as_os_str().is_empty())
        .find_map(|folder| executable(&folder.join(name)))
}

/// `~` and `~/…` in the home folder; what has no home stays.
pub fn expand_home(path: &str, around: &Surroundings<'_>) -> String {
    let rest = match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => return path.to_owned(),
    };
    match around.variable("HOME").and_then(OsStr::to_str) {
        Some(home) => format!("{}{rest}", home.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

/// Seconds as an experiment writes them.
///
/// # Errors
/// `TypeError` for what is no number.
pub fn seconds(value: Option<&Value>) -> Result<Option<Duration>, Raise> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(Duration::from_secs(u64::from(*value)))),
        Some(Value::Int(value)) => Ok(Some(Duration::from_secs(u64::try_from(*value).unwrap_or(0)))),
        Some(Value::Float(value)) => Ok(Some(
            Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX),
        )),
        Some(other) => Err(Raise::error(
            "TypeError",
            format!("a timeout is a number, not a {}", other.type_name()),
        )),
    }
}

fn os_error(error: &std::io::Error, program: &OsStr) -> Raise {
    let class = match error.kind() {
        std::io::ErrorKind::NotFound => "FileNotFoundError",
        std::io::ErrorKind::PermissionDenied => "PermissionError",
        _ => "OSError",
    };
    Raise::error(class, format!("{error}: '{}'", program.to_string_lossy()))
}

/// A child and its process group. Dropped before it has ended, the whole group is killed.
struct Group(Child);

impl Group {
    fn read(
        &mut self,
        deadline: Option<Instant>,
        stop: &dyn Fn() -> Option<Raise>,
    ) -> Result<(Vec<u8>, Vec<u8>), Raise> {
        let mut out = self.0.stdout.take();
        let mut err = self.0.stderr.take();
        let mut bytes = (Vec::new(), Vec::new());
        while out.is_some() || err.is_some() {
            let (out_ready, err_ready) = ready(out.as_ref(), err.as_ref(), slice(deadline));
            if out_ready && !take(&mut out, &mut bytes.0) {
                out = None;
            }
            if err_ready && !take(&mut err, &mut bytes.1) {
                err = None;
            }
            if bytes.0.len().max(bytes.1.len()) > OUTPUT_BYTES_MAX {
                return Err(Raise::Failed(format!(
                    "process activity wrote more than {OUTPUT_BYTES_MAX} bytes"
                )));
            }
            check(deadline, stop)?;
        }
        Ok(bytes)
    }

    fn wait(&mut self, deadline: Option<Instant>, stop: &dyn Fn() -> Option<Raise>) -> Result<i64, Raise> {
        let mut pause_us = 20;
        // A program that has closed its output has mostly ended too: what tells its end is opened for the others.
        #[cfg(target_os = "linux")]
        let mut exit = None;
        loop {
            let ended = self.0.try_wait();
            if let Some(status) = ended.map_err(|error| Raise::error("OSError", error.to_string()))? {
                let signal = status.signal().map(|signal| -i64::from(signal));
                return Ok(signal.or(status.code().map(i64::from)).unwrap_or(-1));
            }
            check(deadline, stop)?;
            #[cfg(target_os = "linux")]
            {
                let exit = exit.get_or_insert_with(|| super::exit_linux::Exit::of(&self.0));
                if exit.as_ref().is_some_and(|exit| exit.wait(slice(deadline))) {
                    continue;
                }
            }
            std::thread::sleep(Duration::from_micros(pause_us));
            pause_us = (pause_us * 2).min(EXIT_POLL_US_MAX);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        kill_group(&self.0);
        let _ = self.0.wait();
    }
}

/// Kills a child that leads its process group, with all its children.
pub fn kill_group(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

fn slice(deadline: Option<Instant>) -> Duration {
    let slice = Duration::from_millis(SLICE_MS);
    deadline.map_or(slice, |deadline| {
        slice.min(deadline.saturating_duration_since(Instant::now()))
    })
}

fn check(deadline: Option<Instant>, stop: &dyn Fn() -> Option<Raise>) -> Result<(), Raise> {
    if let Some(raise) = stop() {
        return Err(raise);
    }
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(Raise::Failed("process activity took too long to complete".to_owned()));
    }
    Ok(())
}

/// Which of the streams has something to read, or has ended.
fn ready(out: Option<&impl AsFd>, err: Option<&impl AsFd>, wait: Duration) -> (bool, bool) {
    let mut polled = Vec::with_capacity(2);
    let events = PollFlags::IN;
    polled.extend(out.map(|fd| PollFd::new(fd, events)));
    polled.extend(err.map(|fd| PollFd::new(fd, events)));
    let wait = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(wait.subsec_nanos()),
    };
    if rustix::event::poll(&mut polled, Some(&wait)).is_err() {
        return (false, false);
    }
    let mut answers = polled.iter().map(|fd| !fd.revents().is_empty());
    let out_ready = out.is_some() && answers.next() == Some(true);
    (out_ready, err.is_some() && answers.next() == Some(true))
}

/// Reads what is there; false at the end.
fn take(stream: &mut Option<impl std::io::Read>, into: &mut Vec<u8>) -> bool {
    let Some(stream) = stream else { return false };
    let mut buffer = [0; 64 << 10];
    match stream.read(&mut buffer) {
        Ok(0) => false,
        Ok(read) => {
            into.extend_from_slice(&buffer[..read]);
            true
        }
        Err(error) => error.kind() == std::io::ErrorKind::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, timeout_ms: Option<u64>, stop: &dyn Fn() -> Option<Raise>) -> Result<Finished, Raise> {
        let env = [("PATH".into(), "/usr/bin:/bin".into())];
        let around = Surroundings {
            env: &env,
            cwd: Path::new("/"),
        };
        run(
            OsStr::new("/bin/sh"),
            &["-c".into(), line.into()],
            &around,
            timeout_ms.map(Duration::from_millis),
            stop,
        )
    }

    #[test]
    fn status_and_output_are_kept() {
        let done = shell("echo out; echo err >&2; exit 3", None, &|| None).expect("runs");
        assert_eq!(
            (done.status, done.stdout, done.stderr),
            (3, b"out\n".to_vec(), b"err\n".to_vec())
        );
        assert_eq!(shell("kill -9 $$", None, &|| None).expect("runs").status, -9);
        let large = shell("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2", None, &|| None).expect("runs");
        assert_eq!((large.stdout.len(), large.stderr.len()), (300_000, 300_000));
    }

    #[test]
    fn a_late_or_interrupted_program_goes_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("late");
        let line = format!("(sleep 0.6; touch {}) & sleep 20", file.display());
        let start = Instant::now();
        let failed = shell(&line, Some(100), &|| None).map(|_| ()).expect_err("too late");
        assert_eq!(
            failed,
            Raise::Failed("process activity took too long to complete".to_owned())
        );
        let stopped = shell(&line, None, &|| Some(Raise::Keyboard))
            .map(|_| ())
            .expect_err("stopped");
        assert_eq!(stopped, Raise::Keyboard);
        assert!(start.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(900));
        assert!(!file.exists(), "a child lived on");
    }
}
