//! # observer/auditd
//! The kernel's audit trail, as auditd writes it to `audit.log`.
//!
//! ## What it does
//! Reads `type=… msg=audit(SECONDS:SERIAL): key=value …`, with what the ENRICHED format adds behind byte 0x1D. Every
//! record is one event with the names that Sigma's auditd rules use: `type`, `SYSCALL`, `exe`, `key`, `a0`, `name`, …
//! Values that auditd wrote in hexadecimal (`proctitle`, names and arguments with blanks) are decoded. Where the log is
//! not enriched, `SYSCALL` is named from `arch` and `syscall` (x86_64, i386, aarch64).
//!
//! Records of one event belong together: they are handed on at its end (`EOE` or `PROCTITLE`, or `merge_ms` after its
//! first record), and each then has what it lacks of the others' `exe`, `comm`, `key`, `pid`, `ppid`, `uid`, `euid`,
//! `auid`, `ses`, `tty`, `SYSCALL`, `syscall`, `success`, `exit`, `cwd` and `proctitle`. What is measured is when the
//! record's last byte was read, not when it was handed on.
//!
//! Root on the observed host can write this file and stop auditd.
//!
//! ## Why it matters
//! It is the log that the observed program can't hold back, and the one whose rules are most often not loaded.
//!
//! ## Example
//! ```toml
//! [chaos.observer.audit]
//! kind = "auditd"
//! file = "/var/log/audit/audit.log"
//! fresh_seconds = 3600
//! ```
//!
//! ## What to do instead
//! Where the records go to the journal as well, `journald` has them too, one by one and not decoded.
//!
//! ## References
//! - <https://github.com/linux-audit/audit-documentation/wiki/SPEC-Audit-Event-Enrichment>
//! - <https://github.com/linux-audit/audit-documentation/wiki/SPEC-Writing-Good-Events>
//! - <https://github.com/SigmaHQ/sigma/tree/master/rules/linux/auditd>

use std::time::Duration;

use serde_json::{Map, Value};

use crate::Event;
use crate::lines::Lines;
use crate::reader::{Delivery, Entry, Options, Reader, plain_answer};
use crate::reading::Reading;
use crate::syscalls;

/// A longer record is a gap; the kernel's are at most 8 KiB, enriched ones a few times that.
const RECORD_BYTES_MAX: usize = 256 * 1024;
/// Events whose end is waited for; with one more the oldest is handed on as it stands.
const OPEN_EVENTS_MAX: usize = 32;
/// Records of one event; with more it is handed on in parts.
const RECORDS_MAX: usize = 256;
/// Bytes of records whose event goes on; with more the oldest event is handed on.
const OPEN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A longer value is not lent: it would stand in every record of its event.
const LENT_BYTES_MAX: usize = 8 * 1024;
/// Fields of one record; further ones are not read.
const FIELDS_MAX: usize = 512;
/// What divides a record from what enrichment adds.
const ENRICHED: u8 = 0x1d;

/// Fields that records of one event lend each other, by the record that has them.
const LENT: [(&str, &[&str]); 3] = [
    (
        "SYSCALL",
        &[
            "SYSCALL", "arch", "auid", "comm", "euid", "exe", "exit", "key", "pid", "ppid", "ses", "success",
            "syscall", "tty", "uid",
        ],
    ),
    ("CWD", &["cwd"]),
    ("PROCTITLE", &["proctitle"]),
];

/// Records that are for others only: they are lent nothing.
const NOT_LENT: [&str; 2] = ["CWD", "PROCTITLE"];

/// Records that never come alone: their event goes on.
const GOES_ON: [&str; 40] = [
    "SYSCALL",
    "PATH",
    "IPC",
    "SOCKETCALL",
    "CONFIG_CHANGE",
    "SOCKADDR",
    "CWD",
    "EXECVE",
    "IPC_SET_PERM",
    "MQ_OPEN",
    "MQ_SENDRECV",
    "MQ_NOTIFY",
    "MQ_GETSETATTR",
    "KERNEL_OTHER",
    "FD_PAIR",
    "OBJ_PID",
    "TTY",
    "BPRM_FCAPS",
    "CAPSET",
    "MMAP",
    "NETFILTER_PKT",
    "NETFILTER_CFG",
    "SECCOMP",
    "FEATURE_CHANGE",
    "KERN_MODULE",
    "FANOTIFY",
    "TIME_INJOFFSET",
    "TIME_ADJNTPVAL",
    "BPF",
    "EVENT_LISTENER",
    "URINGOP",
    "OPENAT2",
    "DM_CTRL",
    "DM_EVENT",
    "AVC",
    "SELINUX_ERR",
    "AVC_PATH",
    "MAC_POLICY_LOAD",
    "MAC_STATUS",
    "ANOM_PROMISCUOUS",
];

/// Fields that may be written in hexadecimal (`untrusted strings`); others that look alike are numbers.
const ENCODED: [&str; 27] = [
    "proctitle",
    "name",
    "comm",
    "exe",
    "cwd",
    "cmd",
    "data",
    "path",
    "key",
    "acct",
    "dir",
    "file",
    "watch",
    "ocomm",
    "vm",
    "op",
    "new-disk",
    "old-disk",
    "new-fs",
    "old-fs",
    "device",
    "cgroup",
    "filetype",
    "unit",
    "hostname",
    "invalid_context",
    "grp",
];

pub(super) const ENTRY: Entry = Entry {
    id: "auditd",
    delivery: &[Delivery::Stream],
    canary: "type=USER msg=audit(1795521601.000:1): pid=1 uid=0 auid=4294967295 ses=4294967295 \
             msg='text=proofmark-self-test exe=\"/usr/sbin/auditctl\" res=success'\n",
    path: None,
    answer: plain_answer,
    make: |source, options| Box::new(Auditd::new(source, options)),
};

struct Auditd {
    source: String,
    lines: Lines,
    merge: Duration,
    /// Oldest first.
    open: Vec<OpenEvent>,
}

/// An event of which more may come.
struct OpenEvent {
    /// `SECONDS:SERIAL`.
    id: Box<[u8]>,
    /// Host that it is of, where several write one log.
    node: Box<[u8]>,
    records: Vec<Record>,
    /// Boot time of its first record.
    since: Duration,
    bytes: usize,
}

struct Record {
    boottime: Duration,
    fields: Map<String, Value>,
}

/// A record's head: what its event is, and what follows.
struct Head<'a> {
    node: &'a [u8],
    kind: &'a [u8],
    id: &'a [u8],
    body: &'a [u8],
}

impl Auditd {
    fn new(source: &str, options: &Options) -> Self {
        Auditd {
            source: source.to_owned(),
            lines: Lines::new(RECORD_BYTES_MAX),
            merge: Duration::from_millis(options.merge_ms),
            open: Vec::new(),
        }
    }

    fn take(&mut self, line: Option<&[u8]>, now: Duration, out: &mut Vec<Reading>) {
        let gap = |reason: String| Reading::Gap {
            source: self.source.clone(),
            reason,
        };
        let Some(line) = line else {
            out.push(gap(format!("a record is longer than {RECORD_BYTES_MAX} bytes")));
            return;
        };
        if line.is_empty() {
            return;
        }
        let Some(head) = head(line) else {
            out.push(gap("a line is no audit record".to_owned()));
            return;
        };
        let place = self
            .open
            .iter()
            .rposition(|event| *event.id == *head.id && *event.node == *head.node);
        if head.kind == b"EOE" {
            if let Some(place) = place {
                self.close(place, out);
            }
            return;
        }
        let record = Record {
            boottime: now,
            fields: fields(&head),
        };
        let place = match place {
            Some(place) => place,
            None if head.kind != b"PROCTITLE" && !goes_on(head.kind) => {
                out.push(self.event(record));
                return;
            }
            None => {
                if self.open.len() == OPEN_EVENTS_MAX {
                    self.close(0, out);
                }
                self.open.push(OpenEvent {
                    id: head.id.into(),
                    node: head.node.into(),
                    records: Vec::new(),
                    since: now,
                    bytes: 0,
                });
                self.open.len() - 1
            }
        };
        let event = &mut self.open[place];
        event.records.push(record);
        event.bytes += line.len();
        if head.kind == b"PROCTITLE" || event.records.len() == RECORDS_MAX {
            self.close(place, out);
        }
        while self.open.iter().map(|event| event.bytes).sum::<usize>() > OPEN_BYTES_MAX {
            self.close(0, out);
        }
    }

    /// Hands an event on.
    fn close(&mut self, place: usize, out: &mut Vec<Reading>) {
        let mut records = self.open.remove(place).records;
        for (lender, names) in LENT {
            let Some(at) = records.iter().position(|record| record.fields["type"] == lender) else {
                continue;
            };
            let lent: Vec<(&str, Value)> = names
                .iter()
                .filter_map(|name| Some((*name, records[at].fields.get(*name)?.clone())))
                .filter(|(_, value)| value.as_str().is_none_or(|text| text.len() <= LENT_BYTES_MAX))
                .collect();
            for (other, record) in records.iter_mut().enumerate() {
                if other == at || NOT_LENT.iter().any(|kind| record.fields["type"] == *kind) {
                    continue;
                }
                for (name, value) in &lent {
                    record.fields.entry(*name).or_insert_with(|| value.clone());
                }
            }
        }
        out.extend(records.into_iter().map(|record| self.event(record)));
    }

    fn event(&self, record: Record) -> Reading {
        Reading::Event(Event {
            source: self.source.clone(),
            boottime: record.boottime,
            fields: Value::Object(record.fields),
        })
    }
}

impl Reader for Auditd {
    fn push(&mut self, bytes: &[u8], now: Duration, out: &mut Vec<Reading>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.take(line, now, out));
        self.lines = lines;
        self.tick(now, out);
    }

    fn end(&mut self, now: Duration, out: &mut Vec<Reading>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.end(|line| self.take(line, now, out));
        self.lines = lines;
        while !self.open.is_empty() {
            self.close(0, out);
        }
    }

    fn cut(&mut self) {
        self.lines.cut();
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Reading>) {
        while self
            .open
            .first()
            .is_some_and(|event| now.saturating_sub(event.since) >= self.merge)
        {
            self.close(0, out);
        }
    }
}

fn goes_on(kind: &[u8]) -> bool {
    GOES_ON.iter().any(|known| known.as_bytes() == kind)
}

/// `[node=HOST ]type=KIND msg=audit(SECONDS:SERIAL): …`
fn head(line: &[u8]) -> Option<Head<'_>> {
    let (node, rest) = match line.strip_prefix(b"node=") {
        Some(rest) => rest.split_at(memchr::memchr(b' ', rest)?),
        None => (&b""[..], line),
    };
    let rest = rest.trim_ascii_start().strip_prefix(b"type=")?;
    let (kind, rest) = rest.split_at(memchr::memchr(b' ', rest)?);
    let rest = rest.trim_ascii_start().strip_prefix(b"msg=audit(")?;
    let (id, rest) = rest.split_at(memchr::memchr(b')', rest)?);
    // `ausearch --raw` has a blank before the colon of some records.
    let body = rest.strip_prefix(b")")?.trim_ascii_start().strip_prefix(b":")?;
    let is_id = id
        .iter()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'))
        && id.contains(&b':');
    let is_kind = !kind.is_empty()
        && kind
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'[' | b']'));
    (is_id && is_kind).then_some(Head { node, kind, id, body })
}

fn fields(head: &Head<'_>) -> Map<String, Value> {
    let mut fields = Map::new();
    let is_execve = head.kind == b"EXECVE";
    let (body, enriched) = match memchr::memchr(ENRICHED, head.body) {
        Some(at) => (&head.body[..at], &head.body[at + 1..]),
        None => (head.body, &b""[..]),
    };
    read_pairs(body, is_execve, &mut fields);
    read_pairs(enriched, false, &mut fields);
    if head.kind == b"SYSCALL" && !fields.contains_key("SYSCALL") {
        let number = |name: &str| fields.get(name).and_then(Value::as_str);
        let name = number("arch")
            .zip(number("syscall"))
            .and_then(|(arch, number)| syscalls::name(arch, number.parse().ok()?));
        if let Some(name) = name {
            fields.insert("SYSCALL".to_owned(), name.into());
        }
    }
    if !head.node.is_empty() {
        fields.insert("node".to_owned(), text(head.node).into());
    }
    fields.insert("msgid".to_owned(), text(head.id).into());
    fields.insert("type".to_owned(), text(head.kind).into());
    fields
}

/// `key=value` pairs. What user space says in `msg='…'` is read as pairs of the record itself.
fn read_pairs(mut rest: &[u8], is_execve: bool, fields: &mut Map<String, Value>) {
    loop {
        rest = trim_start(rest);
        if rest.is_empty() || fields.len() >= FIELDS_MAX {
            return;
        }
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'=' | b' '))
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if rest.get(end) != Some(&b'=') {
            // A word without a value, such as `denied` or a blank within `op=a b`.
            rest = &rest[end..];
            continue;
        }
        rest = &rest[end + 1..];
        match rest.first() {
            Some(b'\'') => {
                let inside = &rest[1..];
                // The text itself may hold quotes; the last one ends it.
                let end = memchr::memrchr(b'\'', inside).unwrap_or(inside.len());
                read_pairs(&inside[..end], false, fields);
                rest = inside.get(end + 1..).unwrap_or_default();
            }
            Some(b'"') => {
                let inside = &rest[1..];
                let end = memchr::memchr(b'"', inside).unwrap_or(inside.len());
                insert(name, text(&inside[..end]), fields);
                rest = inside.get(end + 1..).unwrap_or_default();
            }
            _ => {
                let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
                let value = &rest[..end];
                rest = &rest[end..];
                let decoded = if may_be_encoded(name, is_execve) {
                    decoded(value)
                } else {
                    None
                };
                insert(name, decoded.unwrap_or_else(|| text(value)), fields);
            }
        }
    }
}

/// The first value of a name stands: of `uid` in a user message, the kernel's comes before what the program says.
fn insert(name: &[u8], value: String, fields: &mut Map<String, Value>) {
    let name = text(name);
    if !name.is_empty() {
        fields.entry(name).or_insert(Value::String(value));
    }
}

/// Arguments of EXECVE (`a0`, `a1[0]`) are texts; those of SYSCALL are numbers.
fn may_be_encoded(name: &[u8], is_execve: bool) -> bool {
    let is_argument = || name.first() == Some(&b'a') && name.get(1).is_some_and(u8::is_ascii_digit);
    (is_execve && is_argument()) || ENCODED.iter().any(|known| known.as_bytes() == name)
}

/// A text that auditd wrote as hexadecimal digits; blanks stand between the arguments of a command line.
fn decoded(value: &[u8]) -> Option<String> {
    if value.len() < 2 || value.len() % 2 == 1 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        // auditd writes capital letters only.
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(value.len() / 2);
    for pair in value.chunks_exact(2) {
        let byte = digit(pair[0])? << 4 | digit(pair[1])?;
        bytes.push(if byte == 0 { b' ' } else { byte });
    }
    Some(text(&bytes))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| !matches!(byte, b' ' | b','))
        .unwrap_or(bytes.len());
    &bytes[start..]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXECVE: &str = concat!(
        "type=SYSCALL msg=audit(1795521601.243:24287): arch=c000003e syscall=59 success=yes exit=0 a0=5581 a1=7ffc a2=0 a3=8 items=2 ppid=1 pid=77 auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=3 comm=\"chmod\" exe=\"/usr/bin/chmod\" subj=unconfined key=\"perm\"\u{1d}ARCH=x86_64 SYSCALL=execve AUID=\"jo\" UID=\"root\"\n",
        "type=EXECVE msg=audit(1795521601.243:24287): argc=3 a0=\"chmod\" a1=\"777\" a2=2F746D702F6120622F782D7275\n",
        "type=CWD msg=audit(1795521601.243:24287): cwd=\"/root\"\n",
        "type=PATH msg=audit(1795521601.243:24287): item=0 name=\"/usr/bin/chmod\" inode=5 dev=fd:00 mode=0100755 nametype=NORMAL\n",
        "type=PROCTITLE msg=audit(1795521601.243:24287): proctitle=63686D6F640037373700746D70\n",
    );

    fn now(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn events(out: &[Reading]) -> Vec<&Value> {
        fn fields(reading: &Reading) -> &Value {
            match reading {
                Reading::Event(event) => &event.fields,
                other => panic!("{other:?}"),
            }
        }
        out.iter().map(fields).collect()
    }

    #[test]
    fn records_of_one_event_lend_each_other_what_they_know() {
        let mut reader = Auditd::new("audit", &Options::default());
        let mut out = Vec::new();
        let lines: Vec<&str> = EXECVE.split_inclusive('\n').collect();
        for (at, line) in lines[..4].iter().enumerate() {
            reader.push(line.as_bytes(), now(at as u64), &mut out);
        }
        assert_eq!(out, [], "the event goes on");
        reader.push(lines[4].as_bytes(), now(4), &mut out);
        let at: Vec<Duration> = out
            .iter()
            .map(|reading| match reading {
                Reading::Event(event) => event.boottime,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(at, (0..5).map(now).collect::<Vec<_>>(), "each has the time it was read");
        let events = events(&out);
        let (syscall, execve, path) = (events[0], events[1], events[3]);
        assert_eq!(syscall["type"], "SYSCALL");
        assert_eq!(
            (&syscall["a0"], &syscall["SYSCALL"]),
            (&json!("5581"), &json!("execve"))
        );
        assert_eq!((&syscall["AUID"], &syscall["cwd"]), (&json!("jo"), &json!("/root")));
        assert_eq!(syscall["proctitle"], "chmod 777 tmp");
        assert_eq!(
            (&execve["a0"], &execve["a2"]),
            (&json!("chmod"), &json!("/tmp/a b/x-ru"))
        );
        assert_eq!(
            (&execve["exe"], &execve["key"]),
            (&json!("/usr/bin/chmod"), &json!("perm"))
        );
        assert_eq!(execve["type"], "EXECVE");
        assert_eq!(
            (&path["name"], &path["inode"], &path["pid"]),
            (&json!("/usr/bin/chmod"), &json!("5"), &json!("77"))
        );
    }

    #[test]
    fn interleaved_events_and_lost_ends() {
        let record = |kind: &str, id: u32, rest: &str| format!("type={kind} msg=audit(1.000:{id}): {rest}\n");
        let mut reader = Auditd::new("audit", &Options::default());
        let mut out = Vec::new();
        let mut push = |text: String, ms: u64, out: &mut Vec<Reading>| reader.push(text.as_bytes(), now(ms), out);
        push(
            record("SYSCALL", 1, "arch=c00000b7 syscall=221 exe=\"/a\""),
            0,
            &mut out,
        );
        push(record("SYSCALL", 2, "arch=40000003 syscall=11 exe=\"/b\""), 1, &mut out);
        push(record("EXECVE", 1, "argc=1 a0=\"a\""), 2, &mut out);
        push(record("EXECVE", 2, "argc=1 a0=\"b\""), 3, &mut out);
        push(record("EOE", 2, ""), 4, &mut out);
        assert_eq!(events(&out)[1]["exe"], "/b");
        assert_eq!(events(&out)[0]["SYSCALL"], "execve");
        out.clear();
        reader.tick(now(199), &mut out);
        assert_eq!(out, []);
        reader.tick(now(200), &mut out);
        assert_eq!(events(&out)[1]["exe"], "/a");
        assert_eq!(events(&out)[0]["SYSCALL"], "execve");
    }

    #[test]
    fn what_user_space_says() {
        let mut reader = Auditd::new("audit", &Options::default());
        let mut out = Vec::new();
        let text = "node=web1 type=ADD_USER msg=audit(1795521601.1:9): pid=5 uid=0 auid=1000 ses=1 \
                    msg='op=adding user id=1001 acct=\"eve\" exe=\"/usr/sbin/useradd\" hostname=? terminal=pts/0 res=success'\u{1d}UID=\"root\" ID=\"eve\"\n\
                    type=SERVICE_STOP msg=audit(1.1:10): pid=1 uid=0 msg='unit=auditd comm=\"systemd\" res=success'\n";
        reader.push(text.as_bytes(), now(0), &mut out);
        let events = events(&out);
        assert_eq!(
            (&events[0]["acct"], &events[0]["exe"]),
            (&json!("eve"), &json!("/usr/sbin/useradd"))
        );
        assert_eq!(
            (&events[0]["res"], &events[0]["UID"]),
            (&json!("success"), &json!("root"))
        );
        assert_eq!(
            (&events[0]["node"], &events[0]["type"]),
            (&json!("web1"), &json!("ADD_USER"))
        );
        assert_eq!(
            (&events[1]["unit"], &events[1]["type"]),
            (&json!("auditd"), &json!("SERVICE_STOP"))
        );
    }

    #[test]
    fn what_is_encoded() {
        let check = |value: &str, expect: Option<&str>| assert_eq!(decoded(value.as_bytes()).as_deref(), expect);
        check("6364", Some("cd"));
        check("2F746D70", Some("/tmp"));
        check("6C73002D6C", Some("ls -l"));
        check("2f746d70", None);
        check("(null)", None);
        check("636", None);
        check("", None);
        check("FF", Some("\u{fffd}"));
    }

    #[test]
    fn lines_that_are_no_records() {
        let mut reader = Auditd::new("audit", &Options::default());
        let mut out = Vec::new();
        for line in [
            "words",
            "type=X",
            "type= msg=audit(1:2): a=b",
            "type=X msg=audit(x): a",
            "type=X msg=audit(1:2) a",
            "node=x",
        ] {
            reader.push(format!("{line}\n").as_bytes(), now(0), &mut out);
            assert!(
                matches!(out.pop(), Some(Reading::Gap { .. })) && out.is_empty(),
                "{line}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_is_bounded(lines in proptest::collection::vec("(type=(SYSCALL|EXECVE|EOE|USER) msg=audit\\(1:[0-9]{1,2}\\): )?[a-z0-9='\" \u{1d}]{0,40}", 0..80)) {
            let mut reader = Auditd::new("audit", &Options::default());
            let mut out = Vec::new();
            for line in &lines {
                reader.push(line.as_bytes(), now(0), &mut out);
                reader.push(b"\n", now(0), &mut out);
                proptest::prop_assert!(reader.open.len() <= OPEN_EVENTS_MAX);
            }
            reader.end(now(1), &mut out);
            let records = lines.iter().filter(|line| head(line.trim().as_bytes()).is_some_and(|head| head.kind != b"EOE")).count();
            let events = out.iter().filter(|reading| matches!(reading, Reading::Event(_))).count();
            proptest::prop_assert_eq!(records, events);
        }
    }
}
