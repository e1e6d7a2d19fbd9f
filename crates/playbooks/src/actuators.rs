//! How a playbook reaches the world, as a trait; and this machine behind it.
//!
//! Not here: what is run when. Start reading at [`Actuators`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evidence::{Digest, Now};
use host::process::{self, Cancel, Sink, Wanted};
use net::http;

use crate::journal::{Waiting, WaitingFor};
use crate::playbook::Playbook;

/// Of what a command prints, so much is kept.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// A secret's file is no longer.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// What a run does to the world. Branches of a parallel step call it at the same time.
pub trait Actuators: Sync {
    fn now(&self) -> Now;

    /// Lets time go by.
    fn wait(&self, time: Duration);

    /// Runs a command for bash.
    ///
    /// # Errors
    /// A sentence, when it could not be run at all.
    fn shell(&self, shell: &Shell<'_>) -> Result<Output, String>;

    /// Sends a request.
    ///
    /// # Errors
    /// A sentence, when no answer came.
    fn http(&self, call: &HttpCall) -> Result<http::Response, String>;

    /// The text of the secret that a file holds.
    fn secret(&self, file: &Path) -> Result<String, String>;

    /// Does what a command `proofmark WORDS…` asks for within this process (`rollout rollback`, `broker revoke`); its
    /// answer is the command's output. `None`: this is not for it, and a shell runs the command.
    fn action(&self, words: &[String]) -> Option<Result<String, String>> {
        let _ = words;
        None
    }

    /// The playbook that another one calls; the newest where no version (its `modified`) is wanted.
    fn playbook(&self, id: &str, version: Option<&str>) -> Option<Playbook> {
        let _ = (id, version);
        None
    }

    /// Whether a word that the journal has of a person is really theirs: the journal alone proves nothing. Where it
    /// is not, the run goes on waiting.
    fn vouched(&self, word: &Word) -> bool {
        let _ = word;
        true
    }

    /// A person is asked for something. The run goes on when they have answered, by another call of [`crate::run`].
    fn asked(&self, waiting: &Waiting) {
        let _ = waiting;
    }
}

/// What a person says at one place of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub run: String,
    /// SHA-256 of the playbook that was run, in hexadecimal.
    pub playbook: String,
    /// Names the place in full.
    pub unit: String,
    pub kind: WaitingFor,
    pub by: String,
    /// Done, approved, or happened.
    pub done: bool,
    pub values: BTreeMap<String, String>,
}

impl Word {
    /// Names exactly this answer of this person at this place: what an approver signs.
    pub fn digest(&self) -> Digest {
        Digest::of(&evidence::to_canonical(&serde_json::json!({
            "run": self.run, "playbook": self.playbook, "step": self.unit, "by": self.by, "done": self.done,
            "settles": self.kind == WaitingFor::Settlement, "values": self.values,
        })))
    }
}

/// A command for bash. Values of variables are parameters, none is part of its text.
#[derive(Clone)]
pub struct Shell<'a> {
    pub command: &'a str,
    /// Environment variables that the command refers to. For a secret this is its file.
    pub parameters: BTreeMap<String, String>,
    pub timeout: Duration,
}

// A parameter may be somebody's text: names are enough.
impl fmt::Debug for Shell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell")
            .field("command", &self.command)
            .field("parameters", &self.parameters.keys())
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    pub ok: bool,
    /// Why it isn't: `exit code 3`.
    pub reason: String,
    /// Up to [`OUTPUT_BYTES_MAX`] bytes.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A request to one target.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// A name or an address, as the playbook says.
    pub host: String,
    pub port: u16,
    pub request: http::Request,
    pub timeout: Duration,
}

/// This machine: bash as a process tree of its own, HTTP to loopback and to hosts that were named.
///
/// What an attacker who owns a playbook can do: what its user can do. Nobody runs a playbook they would not run as a
/// script.
pub struct HostActuators {
    /// Where commands run.
    pub folder: PathBuf,
    /// Their environment, `PATH` included. Nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Folders that commands must not see: keys, stores.
    pub hide: Vec<PathBuf>,
    /// Folders that commands may write to; `None`: wherever their user may.
    pub writable: Option<Vec<PathBuf>>,
    /// How far commands are kept apart from this machine. Remediation often has to reach it: [`Wanted::None`].
    pub isolation: Wanted,
    /// Hosts beside loopback that may be sent requests, as the playbook names them.
    pub hosts: BTreeSet<String>,
    /// Playbooks that others may call.
    pub library: Vec<Playbook>,
    /// Runs the requests. Not one whose thread calls [`crate::run`].
    pub runtime: tokio::runtime::Handle,
    pub clock: Arc<dyn Fn() -> Now + Send + Sync>,
    /// Ends the command that is under way.
    pub cancel: Cancel,
}

impl Actuators for HostActuators {
    fn now(&self) -> Now {
        (self.clock)()
    }

    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn shell(&self, shell: &Shell<'_>) -> Result<Output, String> {
        let mut command = process::Command::new("bash", &self.folder);
        command.args = ["--noprofile", "--norc", "-c"].map(Into::into).to_vec();
        command.args.push(shell.command.into());
        let environment = self.environment.iter().chain(&shell.parameters);
        command.env = environment.map(|(name, value)| (name.into(), value.into())).collect();
        command.stdout = Sink::Capture {
            bytes_max: OUTPUT_BYTES_MAX,
        };
        command.stderr = Sink::Capture {
            bytes_max: OUTPUT_BYTES_MAX,
        };
        command.hide.clone_from(&self.hide);
        command.writable.clone_from(&self.writable);
        command.isolation = self.isolation;
        command.timeout = Some(shell.timeout);
        let finished = process::run(command, &self.cancel).map_err(|error| error.to_string())?;
        let reason = if finished.timed_out {
            format!("it took longer than {} ms", shell.timeout.as_millis())
        } else if finished.cancelled {
            "it was cancelled".to_owned()
        } else if finished.status.success() {
            String::new()
        } else {
            finished.status.to_string()
        };
        Ok(Output {
            ok: reason.is_empty(),
            reason,
            stdout: finished.stdout,
            stderr: finished.stderr,
        })
    }

    fn http(&self, call: &HttpCall) -> Result<http::Response, String> {
        let address = self.address(call)?;
        let limits = http::Limits {
            timeout_ms: u64::try_from(call.timeout.as_millis()).unwrap_or(u64::MAX),
            body_bytes_max: OUTPUT_BYTES_MAX,
        };
        let mut request = call.request.clone();
        if request.header("host").is_none() {
            let bracketed = if call.host.contains(':') {
                format!("[{}]", call.host)
            } else {
                call.host.clone()
            };
            request
                .headers
                .push(("host".to_owned(), format!("{bracketed}:{}", call.port)));
        }
        self.runtime
            .block_on(http::send(address, request, &limits))
            .map_err(|error| error.to_string())
    }

    fn secret(&self, file: &Path) -> Result<String, String> {
        let failed = |reason: String| format!("the secret's file `{}` can't be read: {reason}", file.display());
        let size = std::fs::metadata(file)
            .map_err(|error| failed(error.to_string()))?
            .len();
        if size > SECRET_BYTES_MAX as u64 {
            return Err(failed(format!("it is longer than {SECRET_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn playbook(&self, id: &str, version: Option<&str>) -> Option<Playbook> {
        let versions = self.library.iter().filter(|playbook| playbook.id() == id);
        let wanted = versions.filter(|playbook| version.is_none_or(|version| version == playbook.modified()));
        wanted.max_by_key(|playbook| playbook.modified().to_owned()).cloned()
    }
}

impl HostActuators {
    fn address(&self, call: &HttpCall) -> Result<SocketAddr, String> {
        let named = self.hosts.contains(&call.host);
        let plain: Option<IpAddr> = match call.host.as_str() {
            "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
            host => host.parse().ok(),
        };
        match plain {
            Some(address) if named || address.is_loopback() => Ok(SocketAddr::new(address, call.port)),
            None if named => (call.host.as_str(), call.port)
                .to_socket_addrs()
                .map_err(|error| format!("`{}` has no address: {error}", call.host))?
                .next()
                .ok_or_else(|| format!("`{}` has no address", call.host)),
            _ => Err(format!(
                "requests go to this machine and to hosts that were allowed, and `{}` is neither",
                call.host
            )),
        }
    }
}
