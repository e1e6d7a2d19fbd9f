//! Whether a declared target is well, asked in its own protocol, as whoever its declaration names.
//!
//! Where the declaration names nobody who could ask (no `user` of a PostgreSQL, no `ca_file` or `server_name` of a TLS
//! endpoint), it is well when it takes a connection. How it is asked in each protocol is the clients' business.
//! Start reading at [`of`].

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::dial::dial;
use crate::target::{Target, TargetKind};
use crate::{http, nats, postgresql, redis, tls};

/// A target that takes longer to answer is not well, in milliseconds.
const ANSWER_MS_MAX: u64 = 2_000;

/// `Ok` when the target is well, otherwise why not, in words. It blocks, for [`ANSWER_MS_MAX`] at most.
pub fn of(target: &Target) -> Result<(), String> {
    let asked = target.clone();
    let answer = match target.kind {
        TargetKind::Files => return folder(target, Path::new(target.text("root")?)),
        TargetKind::Proofmark => return folder(target, &Path::new(target.text("root")?).join(".proofmark")),
        TargetKind::Process => return process(target),
        TargetKind::Network if target.optional("address").is_none() => return Ok(()),
        _ => within(ANSWER_MS_MAX, move || ask(&asked)),
    };
    answer.map_err(|reason| {
        let address = target.optional("address").unwrap_or("no address");
        format!("`{}` at {address} is not well: {reason}", target.name)
    })
}

fn ask(target: &Target) -> Result<(), String> {
    let declares = |keys: &[&str]| keys.iter().all(|key| target.optional(key).is_some());
    match target.kind {
        TargetKind::Postgresql if declares(&["user"]) => postgresql::ping(target),
        TargetKind::Redis => redis::ping(target),
        TargetKind::Nats => nats::ping(target),
        TargetKind::Http => http::ping(target),
        TargetKind::Tls if declares(&["server_name", "ca_file"]) => tls::ping(target),
        _ => dial(target.text("address")?, None).map(drop),
    }
}

/// Each step of a client is bounded, but not how many it takes: who is late is not waited for, and its thread ends with
/// its last step.
fn within(limit_ms: u64, ask: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let (answer, answered) = channel();
    std::thread::spawn(move || answer.send(ask()));
    match answered.recv_timeout(Duration::from_millis(limit_ms)) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(format!("it does not answer within {limit_ms} ms")),
        Err(RecvTimeoutError::Disconnected) => Err("asking it broke".to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;
    use crate::target::Targets;

    /// A listener that answers what it is asked with `answer`, or says it first, once.
    fn check(kind: &str, more: &str, speaks_first: bool, answer: &'static str, expect: Result<(), &str>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if !speaks_first {
                let _ = stream.read(&mut [0; 1024]);
            }
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                // Until whoever asks gives up.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let text = format!("[chaos.target.t]\nkind = \"{kind}\"\naddress = \"{address}\"\n{more}");
        let target = Targets::parse("x", &text).unwrap().named("t").unwrap().clone();
        let begun = Instant::now();
        let found = of(&target);
        assert!(begun.elapsed() < Duration::from_millis(ANSWER_MS_MAX + 500), "{kind}");
        match expect {
            Ok(()) => assert_eq!(found, Ok(()), "{kind} {answer}"),
            Err(reason) => assert!(
                found.clone().is_err_and(|said| said.contains(reason)),
                "{kind} {found:?}"
            ),
        }
        server.join().unwrap();
    }

    #[test]
    fn it_is_asked_in_its_own_protocol() {
        check("http", "", false, "HTTP/1.1 204 No Content\r\n\r\n", Ok(()));
        check("http", "", false, "HTTP/1.1 404 Not Found\r\n\r\n", Ok(()));
        let path = "path = \"/live\"\n";
        check(
            "http",
            path,
            false,
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            Err("`/live` answers 503"),
        );
        check("http", "", false, "SSH-2.0-OpenSSH\r\n", Err("answers no HTTP"));
        check("redis", "", false, "+PONG\r\n", Ok(()));
        check("redis", "", false, "-NOAUTH Authentication required.\r\n", Ok(()));
        check(
            "redis",
            "",
            false,
            "-LOADING Redis is loading the dataset\r\n",
            Err("LOADING"),
        );
        check("nats", "", true, "INFO {\"tls_required\":true}\r\n", Ok(()));
        check("nats", "", true, "220 mail\r\n", Err("no NATS server"));
        check(
            "postgresql",
            "user = \"app\"\n",
            false,
            "HTTP/1.1 400 Bad Request\r\n",
            Err("PostgreSQL"),
        );
        check("network", "", true, "", Ok(()));
    }

    #[test]
    fn a_silent_one_is_not_well() {
        for kind in ["http", "redis", "nats"] {
            check(kind, "", true, "", Err("answer"));
        }
        check("postgresql", "user = \"app\"\n", true, "", Err("answer"));
        assert!(
            within(10, || {
                std::thread::sleep(Duration::from_millis(200));
                Ok(())
            })
            .is_err_and(|said| said.contains("10 ms"))
        );
    }
}
