//! Whether a declared target is well, asked in its own protocol as far as that is cheap.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use crate::target::{Target, TargetKind};

/// A target that takes longer to answer is not well, in milliseconds.
const ANSWER_MS_MAX: u64 = 2_000;

/// `Ok` when the target is well, otherwise why not, in words. It blocks.
pub fn of(target: &Target) -> Result<(), String> {
    match target.kind {
        TargetKind::Postgresql | TargetKind::Redis | TargetKind::Nats | TargetKind::Tls | TargetKind::Http => {
            connect(target).map(drop)
        }
        TargetKind::Network if target.optional("address").is_none() => Ok(()),
        TargetKind::Network => connect(target).map(drop),
        TargetKind::Files => folder(target, Path::new(target.text("root")?)),
        TargetKind::Proofmark => folder(target, &Path::new(target.text("root")?).join(".proofmark")),
        TargetKind::Process => process(target),
    }
}

fn connect(target: &Target) -> Result<TcpStream, String> {
    let text = target.text("address")?;
    let failed = |reason: String| format!("`{}` at {text} does not answer: {reason}", target.name);
    let address = text
        .to_socket_addrs()
        .map_err(|error| failed(error.to_string()))?
        .next()
        .ok_or_else(|| failed("its name has no address".to_owned()))?;
    TcpStream::connect_timeout(&address, Duration::from_millis(ANSWER_MS_MAX))
        .map_err(|error| failed(error.to_string()))
}

fn folder(target: &Target, path: &Path) -> Result<(), String> {
    match std::fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "`{}`, `{}`, can't be read: {error}",
            target.name,
            path.display()
        )),
    }
}

fn process(target: &Target) -> Result<(), String> {
    let path = target.text("pid_file")?;
    let text = std::fs::read_to_string(path).map_err(|error| format!("`{path}` can't be read: {error}"))?;
    let pid: u32 = text
        .trim()
        .parse()
        .map_err(|_| format!("`{path}` holds no process number"))?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|_| format!("process {pid} of `{}` is gone", target.name))?;
    // The state is the first letter behind the name, which stands in brackets and may hold any others.
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('T' | 't') => Err(format!("process {pid} of `{}` is stopped", target.name)),
        Some('Z' | 'X') | None => Err(format!("process {pid} of `{}` is dead", target.name)),
        Some(_) => Ok(()),
    }
}
