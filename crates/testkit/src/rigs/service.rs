//! Starting and stopping the server of a rig: on a free port, not as root, in a folder of its own.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// A server is up within so many milliseconds, and gone after as many.
const START_MS_MAX: u64 = 20_000;
/// Between two looks.
const LOOK_MS: u64 = 5;
/// What the name of an original begins with that a fault keeps beside its file.
const KEPT_PREFIX: &str = ".proofmark-kept-";
/// Who has nothing but what is given to it: `nobody` of Debian.
const UNPRIVILEGED: u32 = 65_534;

/// A server that runs. Dropping it stops it.
pub(super) struct Server {
    child: Child,
    stop: Signal,
}

impl Server {
    /// `stop` is the signal that ends it at once. What it says goes to `log`.
    pub(super) fn start(mut command: Command, stop: Signal, log: &Path) -> Result<Server, String> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.map_err(|error| format!("{}: {error}", log.display()))?;
        let err = file.try_clone().map_err(|error| error.to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(err)
            .spawn()
            .map_err(|error| format!("the server can't be started: {error}"))?;
        Ok(Server { child, stop })
    }

    /// Stops it in another way than it is stopped in.
    pub(super) fn stop_with(mut self, signal: Signal) {
        self.stop = signal;
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(self.stop);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(START_MS_MAX) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that runs as somebody unprivileged where we are root, and ends with us.
pub(super) fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if geteuid().is_root() {
        command.arg(format!("--reuid={UNPRIVILEGED}"));
        command.arg(format!("--regid={UNPRIVILEGED}"));
        command.arg("--clear-groups");
    }
    command.arg("--").arg(program).env("LC_ALL", "C");
    command
}

/// Lets whoever the server runs as work in a rig's folder.
pub(super) fn open_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    give(folder)
}

/// Gives a file to whoever the server runs as.
pub(super) fn give(path: &Path) -> Result<(), String> {
    if geteuid().is_root() {
        chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Writes a file that only its owner may read.
pub(super) fn secret(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, format!("{text}\n"))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Removes what an undo has left to its owner beside files of the folder.
pub(super) fn remove_kept(folder: &Path) -> Result<(), String> {
    let removed = || {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(KEPT_PREFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    removed().map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))
}

/// A port of loopback that nobody listens on.
pub(super) fn free_port() -> Result<u16, String> {
    free_ports().map(|[port]| port)
}

/// The same, each another.
pub(super) fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let bound = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string());
    // All are held until all are known.
    let listeners: Vec<TcpListener> = (0..N).map(|_| bound()).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().map_err(|error| error.to_string())?.port();
    }
    Ok(ports)
}

/// Waits until something is so.
pub(super) fn wait(what: &str, mut so: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !so() {
        if begun.elapsed() > Duration::from_millis(START_MS_MAX) {
            return Err(format!("not so within {START_MS_MAX} ms: {what}"));
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
    Ok(())
}

/// Waits until somebody listens.
pub(super) fn wait_for_port(port: u16) -> Result<(), String> {
    wait("it listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
}

/// What a program printed, or what it complained of.
pub(super) fn answer(command: &mut Command) -> Result<String, String> {
    let out = command.env("LC_ALL", "C").output().map_err(|error| error.to_string())?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() {
        Ok(said(&out.stdout))
    } else {
        Err(format!("{}{}", said(&out.stdout), said(&out.stderr)))
    }
}

/// A server, where Debian and whoever builds one put it.
pub(super) fn find(program: &str) -> Result<PathBuf, String> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
        .map(|folder| Path::new(folder).join(program))
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| format!("`{program}` is not installed"))
}
