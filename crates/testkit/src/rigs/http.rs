//! Rigs with nginx and HAProxy, and the running of both.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Make;

pub(super) const RIGS: &[(&str, Make)] = &[];

/// A service answers within so many milliseconds of its start.
const START_MS_MAX: u64 = 5_000;

/// An nginx with its configuration, and everything that it writes, in a folder of its own.
pub(super) struct Nginx {
    folder: PathBuf,
    /// Its `http` block's contents.
    http: String,
    running: Option<Group>,
}

impl Nginx {
    /// Starts it. `port` is one that it will listen on.
    pub(super) fn start(folder: &Path, port: u16, http: String) -> Result<Nginx, String> {
        let mut nginx = Nginx {
            folder: folder.to_owned(),
            http,
            running: None,
        };
        nginx.revive(port)?;
        Ok(nginx)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("nginx.conf")
    }

    /// Its configuration as it was at first, and it runs, with that.
    pub(super) fn revive(&mut self, port: u16) -> Result<(), String> {
        let folder = self.folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
            .collect();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
             events {{ worker_connections 64; }}\nhttp {{\n  access_log off;\n{temporary}{}}}\n",
            self.http
        );
        write(&self.config(), &config)?;
        if self.running.as_mut().is_some_and(Group::runs) {
            return succeed(&self.reload());
        }
        let _ = fs::remove_file(self.folder.join("nginx.pid"));
        let mut command = self.command();
        self.running = Some(Group::start(&mut command)?);
        answering(port)
    }

    /// Kills every process of it at once.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    /// The command line that makes it read its configuration again.
    pub(super) fn reload(&self) -> Vec<String> {
        let command = self.command();
        let words = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned());
        words.chain(["-s".to_owned(), "reload".to_owned()]).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(&self.folder);
        command.arg("-e").arg(self.folder.join("error.log"));
        command.arg("-c").arg(self.config());
        command
    }
}

/// A process and those it starts, killed together when this is dropped.
pub(super) struct Group(Child);

impl Group {
    pub(super) fn start(command: &mut Command) -> Result<Group, String> {
        let program = command.get_program().to_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map(Group)
            .map_err(|error| format!("{}: {error}", program.display()))
    }

    pub(super) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is not reaped yet, so the number of its group is still its own.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// A port of 127.0.0.1 on which nobody listens.
pub(super) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

/// Waits until something listens.
pub(super) fn answering(port: u16) -> Result<(), String> {
    until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
        .map_err(|()| format!("nothing listens on port {port} after {START_MS_MAX} ms"))
}

/// Asks until it is so.
pub(super) fn until(mut so: impl FnMut() -> bool) -> Result<(), ()> {
    let end = Instant::now() + Duration::from_millis(START_MS_MAX);
    while Instant::now() < end {
        if so() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    Err(())
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a program prints, which ends within five seconds.
pub(super) fn output(words: &[&str]) -> Result<String, String> {
    let done = Command::new("timeout")
        .arg("5")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{words:?}: {error}"))?;
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    ))
}

/// Runs a command that has to succeed.
pub(super) fn succeed(words: &[String]) -> Result<(), String> {
    let done = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{words:?}: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{words:?}: {}", String::from_utf8_lossy(&done.stderr)))
}
