//! # chaos/dns-poisoned
//! A name server gives a wrong address for one name.
//!
//! ## What it does
//! Redirects this host's questions to the name server at `address` of the target to an impostor, in a process of its
//! own: it answers `answer` for `name`, with a time to live of zero, and passes every other question on. Over UDP;
//! questions over TCP go on to the server. The probe asks for the name.
//!
//! - Undo class: `process-bounded`. The packet rules belong to the process that is the impostor, and the kernel takes
//!   them back with it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1557 (adversary in the middle). CWE: CWE-345 (insufficient verification of data authenticity).
//! - Expected effect: confidentiality lost for what is sent to the wrong address without authentication; integrity lost
//!   for what the wrong address answers; availability kept, or lost where clients authenticate the peer.
//!
//! ## Why it matters
//! An answer of DNS is a hint and is taken for a fact. What stands between a wrong one and a stolen password is the
//! check of the peer's certificate, and whether it is on.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "dns-poisoned"
//! target = "name-server"
//! name = "ledger.test"
//! answer = "127.0.0.2"
//! ```
//!
//! ## What to do instead
//! Authenticate the peer by its certificate, never by its address; validate DNSSEC where the zone is signed; alert when
//! a name moves to an address that nobody deployed.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1557/>
//! - <https://cwe.mitre.org/data/definitions/345.html>
//! - <https://www.rfc-editor.org/rfc/rfc1035>
//! - <https://www.rfc-editor.org/rfc/rfc3833>

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evidence::Digest;
use serde_json::Value;

use crate::dns;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::network_linux::{nft, program, within};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "dns-poisoned",
    undo_class: UndoClass::ProcessBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1557"],
    cwe: &["CWE-345"],
    effect: Effect {
        confidentiality: "lost for what is sent to the wrong address without authentication",
        integrity: "lost for what the wrong address answers",
        availability: "kept, or lost where clients authenticate the peer",
    },
    targets: &[TargetKind::Network],
    keys: &["target", "name", "answer"],
    read,
};

#[derive(Debug)]
struct DnsPoisoned {
    target: String,
    name: String,
    answer: Ipv4Addr,
}

/// The rules are in force, or gone with their process, within so many milliseconds.
const RULES_MS_MAX: u64 = 1_000;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let name = section.text("name")?;
    if !dns::is_name(&name) {
        let message = format!("`{name}` is no host name");
        section.problem("name", "chaos/bad-name", message, "letters, digits, `-` and `.`");
    }
    let answer = section.text("answer")?;
    let Ok(address) = answer.parse() else {
        let message = format!("`{answer}` is no IPv4 address");
        section.problem("answer", "chaos/bad-address", message, "write it as `127.0.0.2`");
        return None;
    };
    let strike = DnsPoisoned {
        target: target?,
        name,
        answer: address,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl DnsPoisoned {
    fn answer(&self, target: &Target) -> Result<Option<Ipv4Addr>, String> {
        let server = dns::server(target)?.with_port()?;
        within(target, || Ok(dns::ask(server, &self.name)?.flatten()))
    }

    /// Answers questions until the process ends.
    fn serve(&self, server: SocketAddr, socket: &UdpSocket, onwards: &UdpSocket) -> Result<(), String> {
        let mut question = [0; dns::MESSAGE_BYTES_MAX];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut question) else {
                continue;
            };
            let question = &question[..length];
            let answer = match dns::forged(question, &self.name, self.answer) {
                Some(answer) => Some(answer),
                None => dns::pass_on(onwards, server, question),
            };
            // Where the server is silent, so is the impostor.
            if let Some(answer) = answer {
                let _ = socket.send_to(&answer, client);
            }
        }
    }
}

/// Rules that live as long as this process: `nft` owns the table, and ends when its standard input closes, which the
/// kernel does.
fn redirect(server: SocketAddr, to: u16, but: u16) -> Result<Child, String> {
    let path = program("nft").ok_or("the program `nft` is not installed: package `nftables`")?;
    let mut child = Command::new(path)
        .arg("-i")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nft: {error}"))?;
    let mark = Digest::of(server.to_string().as_bytes()).hex();
    let table = format!("proofmark_{}_{}", &mark[..8], std::process::id());
    let (family, ip, port) = (if server.is_ipv4() { "ip" } else { "ip6" }, server.ip(), server.port());
    // What the impostor passes on is sent where it was going anyway: no rules of another impostor see it then.
    let commands = format!(
        "add table inet {table} {{ flags owner; }}\n\
         add chain inet {table} output {{ type nat hook output priority -100; policy accept; }}\n\
         add rule inet {table} output {family} daddr {ip} udp dport {port} udp sport {but} dnat {family} to {server}\n\
         add rule inet {table} output {family} daddr {ip} udp dport {port} redirect to :{to}\n"
    );
    let input = child.stdin.as_mut().ok_or("nft has no standard input")?;
    input
        .write_all(commands.as_bytes())
        .and_then(|()| input.flush())
        .map_err(|error| format!("nft: {error}"))?;
    let end = Instant::now() + Duration::from_millis(RULES_MS_MAX);
    while Instant::now() < end {
        if nft(&["list", "table", "inet", &table], "").is_ok_and(|text| text.contains("redirect to")) {
            return Ok(child);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("the kernel takes no rules that redirect: root or CAP_NET_ADMIN and `nft_redir` are needed".to_owned())
}

impl Strike for DnsPoisoned {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("name".to_owned(), self.name.clone().into()),
            ("answer".to_owned(), self.answer.to_string().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "answer {} for `{}` in the place of `{}`",
            self.answer, self.name, self.target
        )
    }

    fn undo_action(&self) -> String {
        "end the impostor, and with it the rules that lead to it".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        let server = dns::server(target)?.with_port()?;
        within(target, || {
            nft(&["list", "tables"], "").map_err(|reason| {
                format!("packet rules can't be read here: {reason}; root or CAP_NET_ADMIN is needed")
            })?;
            dns::ask(server, &self.name)?.ok_or_else(|| format!("no name server answers at `{server}`"))
        })?;
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("this fault is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let server = dns::server(target)?.with_port()?;
        let failed = |error: std::io::Error| error.to_string();
        let (impostor, socket, onwards) = within(target, || {
            let local: SocketAddr = if server.is_ipv4() {
                ([127, 0, 0, 1], 0).into()
            } else {
                ([0_u16; 8], 0).into()
            };
            let any: SocketAddr = if server.is_ipv4() {
                ([0, 0, 0, 0], 0).into()
            } else {
                ([0_u16; 8], 0).into()
            };
            let socket = UdpSocket::bind(local).map_err(failed)?;
            let onwards = UdpSocket::bind(any).map_err(failed)?;
            let port = |socket: &UdpSocket| socket.local_addr().map(|address| address.port()).map_err(failed);
            Ok((redirect(server, port(&socket)?, port(&onwards)?)?, socket, onwards))
        })?;
        ready();
        let served = self.serve(server, &socket, &onwards);
        drop(impostor);
        served
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Ok(self.answer(site.target(&self.target)?)? == Some(self.answer))
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let end = Instant::now() + Duration::from_millis(RULES_MS_MAX);
        while self.bites(site, record)? {
            if Instant::now() >= end {
                return Err(format!("`{}` is still answered with {}", self.name, self.answer));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Undone::Restored)
    }
}
