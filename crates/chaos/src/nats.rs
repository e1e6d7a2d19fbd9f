//! NATS, as faults talk to it: enough of its text protocol to see who is let in and what they may subscribe to, and its
//! configuration file, which is edited and read again on `SIGHUP`.
//!
//! By hand: a client crate brings TLS, key handling, reconnection and an async runtime for a probe of four words, and
//! hides the refusal that is looked for behind its reconnecting. It speaks no TLS.
//! Start reading at [`Reconfigured`]. Spec: <https://docs.nats.io/reference/reference-protocols/nats-protocol>

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::dial::dial;
use crate::files::Location;
use crate::replaced::Replacement;
use crate::strike::{Record, Undone};
use crate::target::Target;

/// A line of the server has at most so many bytes; so has a message that comes between.
const LINE_BYTES_MAX: u64 = 64 << 10;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// So many lines are read for one answer.
const LINES_MAX: usize = 100;
/// The server has read its configuration again after so many milliseconds.
const RELOAD_MS_MAX: u64 = 1_000;
/// A login that was refused is tried again after so many milliseconds.
const AGAIN_MS: u64 = 30;
/// Between two looks.
const LOOK_MS: u64 = 10;

/// A fault that is an edit of the server's configuration file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reconfigured<'t> {
    pub target: &'t Target,
}

impl Reconfigured<'_> {
    /// `edit` makes the new text of the old one.
    pub(crate) fn survey(self, edit: impl Fn(&str) -> Result<String, String>) -> Result<Record, String> {
        if self.process()?.is_none() {
            return Err(format!(
                "the process that `pid_file` of `{}` names is no NATS server",
                self.target.name
            ));
        }
        let file = Location::declared(self.target, "config")?;
        let after = edit(&file.text(self.target)?)?;
        Ok(Replacement::to(self.target, &file, after.as_bytes())?.record())
    }

    /// Replaces the file, has it read, and waits until it is `in_force`.
    pub(crate) fn apply(
        self,
        record: &Record,
        edit: impl Fn(&str) -> Result<String, String>,
        in_force: impl Fn() -> Result<bool, String>,
    ) -> Result<(), String> {
        let replacement = Replacement::of(record)?;
        let make = |old| edit(&replacement.location().utf8(old)?).map(String::into_bytes);
        replacement.apply(self.target, make)?;
        // Reading it again cuts who is logging in just then, so that it is not done for nothing.
        if in_force() == Ok(true) {
            return Ok(());
        }
        self.reload()?;
        // Whether it came to it is the probe's to say.
        wait_until(in_force);
        Ok(())
    }

    /// Puts the file back, has it read, and waits until the fault is no longer `in_force`. A server that doesn't run
    /// reads it when it starts.
    pub(crate) fn take_back(
        self,
        record: &Record,
        in_force: impl Fn() -> Result<bool, String>,
    ) -> Result<Undone, String> {
        let undone = Replacement::of(record)?.take_back(self.target)?;
        // Where the server still heeds the original, or doesn't run, there is nothing to read again.
        let heeded = undone != Undone::Restored || self.process()?.is_none() || !in_force()?;
        if heeded || !self.reload()? || wait_until(|| Ok(!in_force()?)) {
            return Ok(undone);
        }
        Err("the configuration is back, and the server does not heed it".to_owned())
    }

    /// False where there is no server to read it.
    fn reload(self) -> Result<bool, String> {
        let Some(process) = self.process()? else {
            return Ok(false);
        };
        kill_process(process, Signal::HUP).map_err(|error| format!("the server can't be signalled: {error}"))?;
        Ok(true)
    }

    /// The server's process. Its number may be somebody else's by now, so that its name is asked.
    fn process(self) -> Result<Option<Pid>, String> {
        let path = self.target.text("pid_file")?;
        let Ok(text) = fs::read_to_string(path) else {
            return Ok(None);
        };
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| format!("`{path}` holds no process number"))?;
        let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
        Ok(name.is_ok_and(|name| name.contains("nats")).then_some(pid))
    }
}

/// Waits for it, not for ever. While the server reads its file it may cut whoever asks.
fn wait_until(so: impl Fn() -> Result<bool, String>) -> bool {
    let begun = Instant::now();
    while so() != Ok(true) {
        if begun.elapsed() > Duration::from_millis(RELOAD_MS_MAX) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
    true
}

/// Where a user of a list `users = [{user: …}, …]` stands in a configuration: its braces, and what is between.
pub(crate) fn user_block(text: &str, user: &str) -> Result<Range<usize>, String> {
    let bytes = text.as_bytes();
    let mut open: Vec<(u8, usize)> = Vec::new();
    let mut found = None;
    let mut at = 0;
    while at < bytes.len() {
        let step = token(bytes, at);
        match bytes[at] {
            b'{' | b'[' => open.push((bytes[at], at)),
            b'}' | b']' => {
                let start = open.pop().map(|(_, start)| start);
                if found.is_some() && found == start {
                    return Ok(start.unwrap_or_default()..at + 1);
                }
            }
            _ if names_user(text, at..at + step, user) => {
                found = match open.as_slice() {
                    [.., (b'[', _), (b'{', start)] => Some(*start),
                    _ => found,
                };
            }
            _ => {}
        }
        at += step;
    }
    Err(format!("the configuration lists no user `{user}`"))
}

/// How many bytes the token has that begins there: a string, a comment, a word, or one other byte.
fn token(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let until = |end: fn(&u8) -> bool| rest.iter().position(end).unwrap_or(rest.len()).max(1);
    match rest[0] {
        b'#' => until(|byte| *byte == b'\n'),
        b'/' if rest.starts_with(b"//") => until(|byte| *byte == b'\n'),
        quote @ (b'"' | b'\'') => {
            let end = rest[1..].iter().enumerate().position(|(index, byte)| {
                let escaped = quote == b'"' && index > 0 && rest[index] == b'\\';
                *byte == quote && !escaped
            });
            end.map_or(rest.len(), |end| end + 2)
        }
        byte if is_word(byte) => until(|byte| !is_word(*byte)),
        _ => 1,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'@' | b'*' | b'>') || byte >= 0x80
}

/// True where a key `user` begins whose value is that name.
fn names_user(text: &str, key: Range<usize>, user: &str) -> bool {
    let bare = text[key.clone()].trim_matches(['"', '\'']);
    if !matches!(bare, "user" | "username" | "nkey") {
        return false;
    }
    let value = text[key.end..].trim_start_matches([' ', '\t', ':', '=']);
    let Some(length) = (!value.is_empty()).then(|| token(value.as_bytes(), 0)) else {
        return false;
    };
    value[..length].trim_matches(['"', '\'']) == user
}

/// What was said to a credential, or to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Welcome,
    Refused,
}

/// Logs in as the target's user, or as nobody.
pub(crate) fn login(target: &Target, anonymous: bool) -> Result<Said, String> {
    Ok(connect(target, anonymous)?.1)
}

/// Logs in as the target's user, and subscribes to a subject for a moment.
pub(crate) fn subscribe(target: &Target, subject: &str) -> Result<Said, String> {
    match connect(target, false)? {
        (mut stream, Said::Welcome) => ask(&mut stream, &format!("SUB {subject} 1\r\nPING\r\n"), "PONG"),
        (_, Said::Refused) => Err(format!("`{}` may not even log in", target.name)),
    }
}

/// `Ok` when the target's user can log in and is answered. Where the target declares no user, the server's asking for
/// one is an answer too; so is its asking for TLS.
pub(crate) fn ping(target: &Target) -> Result<(), String> {
    if asks_for_tls(&greet(target)?.1) {
        return Ok(());
    }
    let user = target.optional("user");
    match (connect(target, user.is_none())?, user) {
        ((mut stream, Said::Welcome), _) => ask(&mut stream, "PING\r\n", "PONG").map(drop),
        ((_, Said::Refused), None) => Ok(()),
        ((_, Said::Refused), Some(user)) => Err(format!("NATS refuses `{user}`")),
    }
}

/// A server that reads its configuration cuts whoever is logging in, in the words of a refusal: so one is believed the
/// second time.
fn connect(target: &Target, anonymous: bool) -> Result<(BufReader<TcpStream>, Said), String> {
    let first = connect_once(target, anonymous)?;
    if first.1 == Said::Welcome {
        return Ok(first);
    }
    std::thread::sleep(Duration::from_millis(AGAIN_MS));
    connect_once(target, anonymous)
}

fn connect_once(target: &Target, anonymous: bool) -> Result<(BufReader<TcpStream>, Said), String> {
    let (mut stream, info) = greet(target)?;
    if asks_for_tls(&info) {
        return Err("this server asks for TLS, which this probe does not speak".to_owned());
    }
    let mut connect = json!({"verbose": true, "pedantic": false, "lang": "proofmark", "version": "1"});
    if !anonymous {
        connect["user"] = target.text("user")?.into();
        connect["pass"] = target.password()?.unwrap_or_default().into();
    }
    // Nothing is sent behind it before it is answered: a server that closes would destroy its answer by that.
    let said = ask(&mut stream, &format!("CONNECT {connect}\r\n"), "+OK")?;
    Ok((stream, said))
}

/// The connection, and the server's `INFO`.
fn greet(target: &Target) -> Result<(BufReader<TcpStream>, String), String> {
    let mut stream = BufReader::new(dial(target.text("address")?, None)?);
    let info = line(&mut stream)?;
    if !info.starts_with("INFO ") {
        return Err("what answers is no NATS server".to_owned());
    }
    Ok((stream, info))
}

fn asks_for_tls(info: &str) -> bool {
    info.contains("\"tls_required\":true")
}

/// Sends, and reads up to a word or a refusal.
fn ask(stream: &mut BufReader<TcpStream>, words: &str, end: &str) -> Result<Said, String> {
    stream.get_mut().write_all(words.as_bytes()).map_err(broke)?;
    for _ in 0..LINES_MAX {
        let line = line(stream)?;
        match line.split([' ', '\t']).next().unwrap_or_default() {
            word if word == end => return Ok(Said::Welcome),
            "-ERR" => return refusal(&line),
            "PING" => stream.get_mut().write_all(b"PONG\r\n").map_err(broke)?,
            "MSG" => skip_message(stream, &line)?,
            _ => {}
        }
    }
    Err("NATS says much, and does not answer".to_owned())
}

fn refusal(line: &str) -> Result<Said, String> {
    let known = ["authorization violation", "permissions violation", "authentication"];
    let lower = line.to_lowercase();
    if known.iter().any(|known| lower.contains(known)) {
        return Ok(Said::Refused);
    }
    Err(format!("NATS answers: {line}"))
}

fn line(stream: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut line = Vec::new();
    let mut limited = stream.by_ref().take(LINE_BYTES_MAX);
    limited.read_until(b'\n', &mut line).map_err(broke)?;
    if line.is_empty() {
        return Err("NATS has closed the connection".to_owned());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// `MSG <subject> <sid> [reply] <bytes>`, then so many bytes and a line end.
fn skip_message(stream: &mut BufReader<TcpStream>, line: &str) -> Result<(), String> {
    let size = line.split_whitespace().last().and_then(|size| size.parse::<u64>().ok());
    let size = size.filter(|size| *size <= MESSAGE_BYTES_MAX);
    let size = size.ok_or("NATS sends a message whose size can't be read")?;
    std::io::copy(&mut stream.by_ref().take(size + 2), &mut std::io::sink()).map_err(broke)?;
    Ok(())
}

fn broke(error: std::io::Error) -> String {
    format!("NATS does not answer: {error}")
}

#[cfg(test)]
mod tests {
    use super::user_block;

    #[test]
    fn users_are_found_where_they_stand() {
        let text = "# {user: shop}\nauthorization {\n  users = [\n    {user: admin, password: \"}\"}\n    \
                    {\"user\" = 'shop', permissions: {publish: [\"a.>\"]}}, // last\n  ]\n}\n";
        let block = user_block(text, "shop").unwrap();
        assert_eq!(&text[block], "{\"user\" = 'shop', permissions: {publish: [\"a.>\"]}}");
        assert_eq!(
            &text[user_block(text, "admin").unwrap()],
            "{user: admin, password: \"}\"}"
        );
        for (text, user) in [
            (text, "sho"),
            // The only user of a server: without it, everybody would be let in.
            ("authorization {user: shop, password: x}", "shop"),
            ("users = [{user: shop", "shop"),
            ("user", "user"),
            ("", "x"),
        ] {
            assert!(user_block(text, user).is_err(), "{text}");
        }
    }
}
