//! HAProxy's run-time interface: the admin socket that its configuration declares.
//!
//! <https://docs.haproxy.org/2.6/management.html#9.3>

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files::contents_at;
use crate::target::Target;

const ANSWER_MS_MAX: u64 = 1_000;
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// `srv_admin_state` of `show servers state`: put into maintenance by an order, drained by an order.
pub(crate) const FORCED_MAINTENANCE: u32 = 0x01;
pub(crate) const FORCED_DRAIN: u32 = 0x08;

/// What came of an order.
pub(crate) enum Said {
    Answer(String),
    /// Nobody is at the socket: the process is gone, and its run-time state with it.
    Gone,
}

/// The admin socket that the target's `config` declares: `stats socket PATH … level admin`.
pub(crate) fn socket(target: &Target) -> Result<PathBuf, String> {
    let text = contents_at(&target.path("config")?)?;
    let text = String::from_utf8_lossy(&text);
    let sockets = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_socket = words.next() == Some("stats") && words.next() == Some("socket");
        let path = words.next().filter(|_| is_socket)?;
        let rest: Vec<&str> = words.collect();
        rest.windows(2)
            .any(|pair| pair == ["level", "admin"])
            .then(|| PathBuf::from(path.strip_prefix("unix@").unwrap_or(path)))
    });
    sockets.rev().find(|path| path.is_absolute()).ok_or_else(|| {
        format!(
            "`config` of target `{}` declares no `stats socket /PATH level admin`",
            target.name
        )
    })
}

/// Gives one order.
pub(crate) fn order(socket: &Path, words: &str) -> Result<Said, String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", socket.display());
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
            return Ok(Said::Gone);
        }
        Err(error) => return Err(failed(error)),
    };
    let bound = Some(Duration::from_millis(ANSWER_MS_MAX));
    stream.set_read_timeout(bound).map_err(failed)?;
    stream.set_write_timeout(bound).map_err(failed)?;
    stream.write_all(format!("{words}\n").as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .map_err(failed)?;
    Ok(Said::Answer(answer.trim().to_owned()))
}

/// The administrative state of a server: bits of `srv_admin_state`. `None` when the process is gone.
pub(crate) fn admin_state(socket: &Path, backend: &str, server: &str) -> Result<Option<u32>, String> {
    let Said::Answer(answer) = order(socket, &format!("show servers state {backend}"))? else {
        return Ok(None);
    };
    let heads: Vec<&str> = answer
        .lines()
        .find_map(|line| line.strip_prefix("# "))
        .map(|line| line.split_whitespace().collect())
        .unwrap_or_default();
    let column = |name: &str| heads.iter().position(|head| *head == name);
    let (Some(names), Some(states)) = (column("srv_name"), column("srv_admin_state")) else {
        return Err(format!("no backend is called `{backend}`"));
    };
    let row = answer.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        (cells.get(names) == Some(&server)).then(|| cells.get(states)?.parse().ok())?
    });
    row.map(Some)
        .ok_or_else(|| format!("backend `{backend}` has no server `{server}`"))
}

/// A name that can be part of an order.
pub(crate) fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    !name.is_empty() && name.len() <= 128 && name.bytes().all(known)
}
