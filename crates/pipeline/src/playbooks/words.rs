//! What a playbook's commands `proofmark WORDS…` may ask of this program: one vocabulary, within a release and outside.
//!
//! It deliberately does nothing itself: see [`Acts`]. Start reading at [`parse`].

use std::fmt;
use std::net::SocketAddr;

use ::playbooks::Word;

/// One thing that a playbook may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act<'w> {
    /// `rollout freeze RELEASE`: the new version keeps the share of traffic that it has.
    Freeze { release: &'w str },
    /// `rollout rollback RELEASE`: the old version gets all of the traffic.
    RollBack { release: &'w str },
    /// `rollout resume RELEASE`.
    Resume { release: &'w str },
    /// `broker leases ROLE`: how many are alive.
    Leases { role: &'w str },
    /// `broker refused ROLE`: `true` when nothing that was revoked is alive.
    Refused { role: &'w str },
    /// `broker revoke ROLE [POLICY]`; all of its policies where none is named.
    Revoke { role: &'w str, policy: Option<&'w str> },
    /// `broker rotate ROLE [POLICY]`: revoked, and leased anew.
    Rotate { role: &'w str, policy: Option<&'w str> },
    /// `link disable LINK|SERVICE`, `service isolate SERVICE`: its links are cut.
    Cut { of: &'w str },
    /// `link enable|reset|clear LINK|SERVICE`: nothing is left on its links.
    Clear { of: &'w str },
    /// `service restart SERVICE`.
    Restart { service: &'w str },
    /// `artifact restore DIGEST PLACE`: within a release the artifact of that name, where `built` stands for the digest
    /// of what this release built; outside a file of the tree.
    Restore { digest: &'w str, place: &'w str },
    /// `chaos stop`: the experiment that runs in this tree is ended.
    Stop,
    /// `chaos undo`: what a killed run left is undone.
    Undo,
}

/// The words again, each act under its first name.
impl fmt::Display for Act<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, verb: &str, role: &str, policy: Option<&str>| match policy {
            Some(policy) => write!(f, "broker {verb} {role} {policy}"),
            None => write!(f, "broker {verb} {role}"),
        };
        match *self {
            Act::Freeze { release } => write!(f, "rollout freeze {release}"),
            Act::RollBack { release } => write!(f, "rollout rollback {release}"),
            Act::Resume { release } => write!(f, "rollout resume {release}"),
            Act::Leases { role } => with(f, "leases", role, None),
            Act::Refused { role } => with(f, "refused", role, None),
            Act::Revoke { role, policy } => with(f, "revoke", role, policy),
            Act::Rotate { role, policy } => with(f, "rotate", role, policy),
            Act::Cut { of } => write!(f, "link disable {of}"),
            Act::Clear { of } => write!(f, "link enable {of}"),
            Act::Restart { service } => write!(f, "service restart {service}"),
            Act::Restore { digest, place } => write!(f, "artifact restore {digest} {place}"),
            Act::Stop => f.write_str("chaos stop"),
            Act::Undo => f.write_str("chaos undo"),
        }
    }
}

/// Who does it, and who is believed.
pub trait Acts: Sync {
    /// What was done and read back, or why not: the command's output.
    fn act(&self, act: Act<'_>) -> Result<String, String>;

    /// Whether a person's word is an approver's.
    fn vouched(&self, word: &Word) -> bool;

    /// Where a request to `host` goes that is a name of ours.
    fn address(&self, host: &str) -> Option<SocketAddr> {
        let _ = host;
        None
    }
}

/// Reads the words behind `proofmark`. `None`: a command that no playbook needs us for; a shell runs it.
pub fn parse(words: &[String]) -> Option<Result<Act<'_>, String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(Ok(match *words.as_slice() {
        ["rollout", "freeze", release] => Act::Freeze { release },
        ["rollout", "rollback", release] => Act::RollBack { release },
        ["rollout", "resume", release] => Act::Resume { release },
        ["broker", "leases", role] => Act::Leases { role },
        ["broker", "refused", role] => Act::Refused { role },
        ["broker", "revoke", role] => Act::Revoke { role, policy: None },
        ["broker", "revoke", role, policy] => Act::Revoke {
            role,
            policy: Some(policy),
        },
        ["broker", "rotate", role] => Act::Rotate { role, policy: None },
        ["broker", "rotate", role, policy] => Act::Rotate {
            role,
            policy: Some(policy),
        },
        ["link", "disable", of] | ["service", "isolate", of] => Act::Cut { of },
        ["link", "enable" | "reset" | "clear", of] => Act::Clear { of },
        ["service", "restart", service] => Act::Restart { service },
        ["artifact", "restore", digest, place] => Act::Restore { digest, place },
        ["chaos", "stop"] => Act::Stop,
        ["chaos", "undo"] => Act::Undo,
        [noun, ..] => {
            let usage = usage(noun)?;
            return Some(Err(format!(
                "`proofmark {}` is not known here: {usage}",
                words.join(" ")
            )));
        }
        [] => return None,
    }))
}

fn usage(noun: &str) -> Option<&'static str> {
    Some(match noun {
        "rollout" => "`rollout freeze|rollback|resume RELEASE` are",
        "broker" => "`broker leases|refused ROLE` and `broker revoke|rotate ROLE [POLICY]` are",
        "link" => "`link disable|enable|reset|clear LINK` are",
        "service" => "`service restart|isolate SERVICE` are",
        "artifact" => "`artifact restore DIGEST PLACE` is",
        // Other commands of these names are the program's own.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<Result<Act<'_>, &str>>) {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        match (parse(&words), expect) {
            (None, None) => {}
            (Some(Ok(act)), Some(Ok(expect))) => assert_eq!(act, expect),
            (Some(Err(said)), Some(Err(expect))) => assert!(said.contains(expect), "{said}"),
            (got, expect) => panic!("{got:?} {expect:?}"),
        }
    }

    #[test]
    fn words_mean_one_thing_each() {
        let role = "ledger";
        check("rollout rollback r", Some(Ok(Act::RollBack { release: "r" })));
        check("broker revoke ledger", Some(Ok(Act::Revoke { role, policy: None })));
        let policy = Some("read");
        check("broker rotate ledger read", Some(Ok(Act::Rotate { role, policy })));
        check("service isolate ledger", Some(Ok(Act::Cut { of: "ledger" })));
        check("link reset a-b", Some(Ok(Act::Clear { of: "a-b" })));
        check(
            "artifact restore d p",
            Some(Ok(Act::Restore {
                digest: "d",
                place: "p",
            })),
        );
        check(
            "rollout rollback",
            Some(Err("`rollout freeze|rollback|resume RELEASE` are")),
        );
        check("broker revoke", Some(Err("[POLICY]")));
        check(
            "service restart a b",
            Some(Err("`service restart|isolate SERVICE` are")),
        );
        check("chaos undo", Some(Ok(Act::Undo)));
        check("chaos run x.toml", None);
        check("check", None);
        check("", None);
    }

    /// A shipped playbook asks for nothing that nobody does.
    #[test]
    fn the_library_speaks_this_vocabulary() {
        let mut asked = 0;
        for (name, text) in ::playbooks::library() {
            let commands = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("\"command\": \"proofmark "));
            for command in commands {
                let words: Vec<String> = command
                    .trim_end_matches("\",")
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect();
                assert!(matches!(parse(&words), Some(Ok(_))), "{name}: {command}");
                asked += 1;
            }
        }
        assert!(asked >= 10, "{asked}");
    }
}
