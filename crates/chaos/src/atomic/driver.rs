//! The script that runs a test's commands one after the other, in one copy, and tells of it.
//!
//! It speaks on its standard output, one line a message; whatever the test writes goes to its standard error. Only the shell's own
//! commands are used, so that it goes on when a test has deleted every file.

use super::plan::{Plan, payloads};
use super::read::Dependency;

/// What the script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// A step begins.
    Begin(Step),
    /// A step ended with this exit code.
    End(Step, i32),
    /// How many packets have found no way out by now.
    Network(u64),
    /// How many processes have been started by now, up to what the kernel counts to before it starts over.
    Processes(u64),
    /// A file is not there.
    Missing(String),
    /// A shell is not there.
    NoShell(String),
}

/// A command of a test; the number is that of the prerequisite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Check(usize),
    Get(usize),
    CheckAgain(usize),
    Command,
}

impl Step {
    fn name(self) -> String {
        match self {
            Self::Check(index) => format!("check {index}"),
            Self::Get(index) => format!("get {index}"),
            Self::CheckAgain(index) => format!("check-again {index}"),
            Self::Command => "command 0".to_owned(),
        }
    }

    fn of(kind: &str, index: &str) -> Option<Self> {
        let index = index.parse().ok()?;
        Some(match kind {
            "check" => Self::Check(index),
            "get" => Self::Get(index),
            "check-again" => Self::CheckAgain(index),
            "command" => Self::Command,
            _ => return None,
        })
    }
}

/// A file whose change times tell what came before the test's command.
pub(super) const MARK: &str = "/run/proofmark/begun";

/// Programs that the copy brings, sought last.
pub(super) const PROGRAMS: &str = "/run/proofmark/bin";

const PROLOGUE: &str = r#"
exec 3>&1 1>&2
step() {
    printf 'begin %s\n' "$1" >&3
    $limit "$2" -c "$3" 3>&- </dev/null
    code=$?
    printf 'end %s %s\n' "$1" "$code" >&3
}
network() {
    while read -r line; do printf 'network %s\n' "$line" >&3; done </proc/net/snmp
    [ ! -r /proc/net/snmp6 ] ||
        while read -r line; do printf 'network %s\n' "$line" >&3; done </proc/net/snmp6
    echo 'network end' >&3
}
processes() { read -r line </proc/loadavg && printf 'processes %s\n' "${line##* }" >&3; }
mkdir -p /run/proofmark/bin
"#;

/// Root of the copy needs no leave, so that where the host has no `sudo` this one just does what it is told.
const SUDO: &str = r#"
command -v sudo >/dev/null || printf '%s\n' '#!/bin/sh' 'user=root' 'while :; do' '  case "$1" in' \
    '    -u) user=$2; shift 2 ;;' '    -[gpChrtUD]) shift 2 ;;' '    --) shift; break ;;' '    -*) shift ;;' \
    '    *=*) export "$1"; shift ;;' '    *) break ;;' '  esac' 'done' '[ $# -gt 0 ] || exit 0' \
    '[ "$user" = root ] && exec "$@"' 'exec runuser -u "$user" -- "$@"' >/run/proofmark/bin/sudo
[ -f /run/proofmark/bin/sudo ] && chmod 755 /run/proofmark/bin/sudo
"#;

/// The whole script, for `sh -c`. What meets a prerequisite is ended after `seconds`, unless that is 0, so that what it looked for can
/// be told.
pub(super) fn script(plan: &Plan, seconds: u64) -> String {
    let mut script = format!("{PROLOGUE}{SUDO}limit=\n");
    let needed = [
        plan.shell.program(),
        plan.dependency_shell
            .program()
            .filter(|_| !plan.prerequisites.is_empty()),
    ];
    for shell in needed.into_iter().flatten() {
        script.push_str(&format!(
            "command -v {shell} >/dev/null || {{ echo 'no-shell {shell}' >&3; exit 0; }}\n"
        ));
    }
    let shell = plan.dependency_shell.program().unwrap_or("sh");
    let step = |step: Step, shell: &str, command: &str| format!("step '{}' {shell} {}\n", step.name(), quoted(command));
    for (index, Dependency { check, get, .. }) in plan.prerequisites.iter().enumerate() {
        script.push_str(&step(Step::Check(index), shell, check));
        script.push_str("if [ $code -ne 0 ]; then\n");
        if !get.trim().is_empty() {
            script.push_str("network\n");
            if seconds > 0 {
                script.push_str(&format!(
                    "command -v timeout >/dev/null && limit='timeout -k 1 {seconds}'\n"
                ));
            }
            script.push_str(&step(Step::Get(index), shell, get));
            script.push_str("limit=\nnetwork\n");
            script.push_str(&step(Step::CheckAgain(index), shell, check));
        }
        script.push_str("if [ $code -ne 0 ]; then\n");
        script.push_str(&look_for(&payloads(get)));
        script.push_str("exit 0\nfi\nfi\n");
    }
    script.push_str("absent=\n");
    script.push_str(&look_for(&payloads(&plan.command)));
    script.push_str("[ -z \"$absent\" ] || exit 0\n");
    script.push_str(&format!("network\n: >{MARK}\nprocesses\n"));
    script.push_str(&step(
        Step::Command,
        plan.shell.program().unwrap_or("sh"),
        &plan.command,
    ));
    script.push_str("processes\nnetwork\n");
    script
}

/// Tells of each file that is not there.
fn look_for(files: &[String]) -> String {
    let look = |file: &String| {
        let file = quoted(file);
        format!("[ -e {file} ] || {{ printf 'missing %s\\n' {file} >&3; absent=1; }}\n")
    };
    files.iter().map(look).collect()
}

/// One word for the shell, whatever it holds.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Reads the script's messages; lines that are none are passed over.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The names of the counters on the line before.
    names: Vec<String>,
    lost: u64,
}

impl Reader {
    pub(super) fn line(&mut self, line: &str) -> Option<Message> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["begin", kind, index] => Some(Message::Begin(Step::of(kind, index)?)),
            ["end", kind, index, code] => Some(Message::End(Step::of(kind, index)?, code.parse().ok()?)),
            ["processes", last] => Some(Message::Processes(last.parse().ok()?)),
            ["missing", ..] => Some(Message::Missing(line.strip_prefix("missing ")?.to_owned())),
            ["no-shell", shell] => Some(Message::NoShell((*shell).to_owned())),
            ["network", rest @ ..] => self.network(rest),
            _ => None,
        }
    }

    /// `/proc/net/snmp` has a line of names and one of numbers, `/proc/net/snmp6` one name and one number a line.
    fn network(&mut self, words: &[&str]) -> Option<Message> {
        /// What a program that looks for the internet counts up: no route; nobody there on the loopback.
        const LOST: [&str; 3] = ["Ip:OutNoRoutes", "Udp:NoPorts", "Tcp:AttemptFails"];
        match words {
            ["end"] => Some(Message::Network(std::mem::take(&mut self.lost))),
            ["Ip6OutNoRoutes" | "Udp6NoPorts", number] => {
                self.lost += number.parse::<u64>().unwrap_or(0);
                None
            }
            [protocol, first, ..] if first.parse::<i64>().is_err() => {
                if *protocol == "Ip:" {
                    self.lost = 0;
                }
                self.names = words.iter().map(|name| (*name).to_owned()).collect();
                None
            }
            [protocol, ..] => {
                for (name, number) in self.names.iter().zip(words).skip(1) {
                    if LOST.contains(&format!("{protocol}{name}").as_str()) {
                        self.lost += number.parse::<u64>().unwrap_or(0);
                    }
                }
                None
            }
            [] => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_noise_is_passed_over() {
        let check = |line: &str, expect: Option<Message>| assert_eq!(Reader::default().line(line), expect);
        check("begin get 3", Some(Message::Begin(Step::Get(3))));
        check("end command 0 127", Some(Message::End(Step::Command, 127)));
        check("missing /a b", Some(Message::Missing("/a b".to_owned())));
        check("processes 17", Some(Message::Processes(17)));
        check("end command 0", None);
        check("hello", None);
        check("", None);
    }

    #[test]
    fn packets_that_found_no_way_out_are_counted() {
        let mut reader = Reader::default();
        let lines = [
            "network Ip: Forwarding OutNoRoutes",
            "network Ip: 1 4",
            "network Tcp: AttemptFails ActiveOpens",
            "network Tcp: 2 9",
            "network Udp: NoPorts",
            "network Udp: 1",
            "network Ip6OutNoRoutes 5",
            "network Udp6NoPorts 1",
            "network end",
        ];
        let heard: Vec<_> = lines.iter().filter_map(|line| reader.line(line)).collect();
        assert_eq!(heard, [Message::Network(13)]);
    }

    #[test]
    fn any_text_is_one_word() {
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
    }
}
