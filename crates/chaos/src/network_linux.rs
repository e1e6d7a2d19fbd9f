//! Packet rules of the kernel that end by themselves: what faults on the network share.
//!
//! A fault is one nftables table of its own. Its rules ask a set for the address that they are about, and the entry
//! of the set has a timeout, which the kernel keeps: from then on no rule applies to anything, whether or not any
//! process of ours is alive. What is left then is an empty shell, which the undo removes. `nft` is given its commands on standard
//! input; where the target has a `namespace`, everything happens in that network namespace.
//!
//! Start reading at [`Rules`]; [`cut`] makes a fault of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use evidence::Digest;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::fault::{Entry, Fault};
use crate::permit::Permit;
use crate::record;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::Target;

/// Where programs of the system stand: `PATH` is not asked for what runs as root.
const PROGRAM_FOLDERS: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Where `ip netns` keeps the names of network namespaces.
const NAMESPACES: &str = "/run/netns";
/// A connection that is not there after so many milliseconds was cut off. A first packet that is lost is sent again
/// after 1,000, so that it can't be there by then.
const CONNECT_MS_MAX: u64 = 400;
/// The set that every rule of a fault asks.
const SET: &str = "targets";
/// The record's key of the table's name.
const TABLE_KEY: &str = "table";

/// Which packets a rule is about, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    /// Those that go to the address.
    To,
    /// Those that come from it.
    From,
    Both,
}

impl Towards {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Towards::To => "to",
            Towards::From => "from",
            Towards::Both => "both",
        }
    }

    fn sides(self) -> &'static [&'static str] {
        match self {
            Towards::To => &["d"],
            Towards::From => &["s"],
            Towards::Both => &["d", "s"],
        }
    }
}

/// What a network fault is, beside its table.
pub(crate) trait Rules: Send + Sync + fmt::Debug {
    fn target(&self) -> &str;

    /// Its parameters, beside `target`.
    fn parameters(&self) -> BTreeMap<String, Value>;

    /// In one line.
    fn action(&self) -> String;

    fn towards(&self) -> Towards;

    /// What becomes of a packet, in the language of nftables.
    fn verdict(&self) -> String;

    /// The address that the rules are about.
    fn peer(&self, target: &Target) -> Result<Peer, String> {
        Peer::parse(target.text("address")?)
    }

    /// Asks the service whether it shows, within the target's namespace. The rules are there, and apply.
    fn shows(&self, peer: &Peer) -> Result<bool, String>;
}

/// A fault of the catalogue made of rules.
pub(crate) fn cut(entry: &'static Entry, rules: impl Rules + 'static) -> Option<Box<dyn Fault>> {
    boxed(entry, Cut { id: entry.id, rules }, None)
}

/// An address, and a port where only that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl Peer {
    pub(crate) fn parse(text: &str) -> Result<Peer, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Peer {
                ip: address.ip(),
                port: Some(address.port()),
            });
        }
        let ip = text.trim_matches(['[', ']']).parse();
        ip.map(|ip| Peer { ip, port: None })
            .map_err(|_| format!("`address`, `{text}`, is no IP address, with or without a port"))
    }

    pub(crate) fn with_port(self) -> Result<SocketAddr, String> {
        let port = self
            .port
            .ok_or("`address` has no port, which the probe needs to connect to")?;
        Ok(SocketAddr::new(self.ip, port))
    }

    fn family(self) -> &'static str {
        if self.ip.is_ipv4() { "ip" } else { "ip6" }
    }

    /// The type of a set's entries, and the entry.
    fn entry(self) -> (String, String) {
        let kind = if self.ip.is_ipv4() { "ipv4_addr" } else { "ipv6_addr" };
        match self.port {
            Some(port) => (format!("{kind} . inet_service"), format!("{} . {port}", self.ip)),
            None => (kind.to_owned(), self.ip.to_string()),
        }
    }

    /// The packets whose source (`s`) or destination (`d`) it is.
    fn matching(self, side: &str) -> String {
        let family = self.family();
        match self.port {
            Some(_) => format!("meta l4proto {{ tcp, udp }} {family} {side}addr . th {side}port @{SET}"),
            None => format!("{family} {side}addr @{SET}"),
        }
    }
}

/// How a new connection fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    Yes,
    Refused,
    /// Nothing came back in time.
    Never,
}

/// Connects, in whatever namespace the thread is.
pub(crate) fn reach(address: SocketAddr) -> Result<Reached, String> {
    match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX)) {
        Ok(_) => Ok(Reached::Yes),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Ok(Reached::Refused),
            ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::HostUnreachable => Ok(Reached::Never),
            _ => Err(format!("no connection to `{address}`: {error}")),
        },
    }
}

/// Does `work` in the target's network namespace, on a thread of its own: a thread stays where it has gone.
pub(crate) fn within<T: Send>(target: &Target, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let Some(path) = namespace(target)? else {
        return work();
    };
    let enter = || {
        let file = File::open(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
            .map_err(|error| format!("`{}` can't be entered: {}", path.display(), std::io::Error::from(error)))?;
        work()
    };
    std::thread::scope(|scope| {
        let done = scope.spawn(enter).join();
        done.unwrap_or_else(|_| Err("it broke".to_owned()))
    })
}

fn namespace(target: &Target) -> Result<Option<PathBuf>, String> {
    let Some(name) = target.optional("namespace") else {
        return Ok(None);
    };
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("`namespace`, `{name}`, is no name that `ip netns` gives"));
    }
    Ok(Some(Path::new(NAMESPACES).join(name)))
}

/// The path of a program of the system.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let paths = PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    paths.into_iter().find(|path| path.is_file())
}

/// Runs `nft` with commands on its standard input, in the namespace of the thread: what it prints.
pub(crate) fn nft(args: &[&str], commands: &str) -> Result<String, String> {
    let path = program("nft").ok_or("the program `nft` is not installed: package `nftables`")?;
    let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
    let mut child = Command::new(&path)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(commands.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "nft: {}",
        said.lines().next().unwrap_or("it failed without a word")
    ))
}

/// A table as the kernel has it.
struct Listed {
    /// Every rule, set and chain in it is one of ours.
    only_ours: bool,
    /// Our entry is still in force.
    applies: bool,
}

#[derive(Debug)]
struct Cut<R> {
    id: &'static str,
    rules: R,
}

impl<R: Rules> Cut<R> {
    /// One table for one target and fault: injected twice it is the same.
    fn table(&self, target: &Target) -> Result<String, String> {
        let what = format!("{} {} {:?}", self.id, target.text("address")?, self.rules.parameters());
        Ok(format!("proofmark_{}", &Digest::of(what.as_bytes()).hex()[..16]))
    }

    /// Commands that replace the table by one that applies for `time`.
    fn commands(&self, table: &str, peer: Peer, time: Duration) -> String {
        let (kind, entry) = peer.entry();
        let mark = self.id;
        let mut commands = format!(
            "add table inet {table}\ndelete table inet {table}\nadd table inet {table}\n\
             add set inet {table} {SET} {{ type {kind}; flags timeout; }}\n\
             add element inet {table} {SET} {{ {entry} timeout {}ms }}\n",
            time.as_millis()
        );
        // Each packet meets one of the three: it comes in, goes out or is passed on.
        for hook in ["input", "output", "forward"] {
            commands.push_str(&format!(
                "add chain inet {table} {hook} {{ type filter hook {hook} priority -300; policy accept; }}\n"
            ));
            for side in self.rules.towards().sides() {
                // On the way in a packet of this host to itself was judged on its way out already.
                let once = if hook == "input" { "iifname != \"lo\" " } else { "" };
                let (matching, verdict) = (peer.matching(side), self.rules.verdict());
                commands.push_str(&format!(
                    "add rule inet {table} {hook} {once}{matching} {verdict} comment \"{mark}\"\n"
                ));
            }
        }
        commands
    }

    /// The table, read back; `None` where there is none.
    fn listed(&self, table: &str, peer: Peer) -> Result<Option<Listed>, String> {
        let text = match nft(&["-j", "list", "table", "inet", table], "") {
            Ok(text) => text,
            Err(reason) if reason.contains("No such file or directory") => return Ok(None),
            Err(reason) => return Err(reason),
        };
        let json: Value = serde_json::from_str(&text).map_err(|_| "nft prints no JSON".to_owned())?;
        let objects = json.get("nftables").and_then(Value::as_array);
        let objects = objects.ok_or("nft prints no list")?;
        let mut listed = Listed {
            only_ours: true,
            applies: false,
        };
        for object in objects {
            let is_ours = if let Some(rule) = object.get("rule") {
                rule.get("comment").and_then(Value::as_str) == Some(self.id)
            } else if let Some(set) = object.get("set") {
                let entries: Vec<&Value> = set
                    .get("elem")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .collect();
                let ours = entries.iter().filter(|entry| is_entry(entry, peer)).count();
                listed.applies |= ours > 0;
                set.get("name").and_then(Value::as_str) == Some(SET) && entries.len() == ours
            } else if let Some(chain) = object.get("chain") {
                let name = chain.get("name").and_then(Value::as_str).unwrap_or_default();
                ["input", "output", "forward"].contains(&name)
            } else {
                ["table", "metainfo"].iter().any(|key| object.get(key).is_some())
            };
            listed.only_ours &= is_ours;
        }
        Ok(Some(listed))
    }

    fn place(&self, site: &Site, record: &Record) -> Result<(Target, String, Peer), String> {
        let target = site.target(self.rules.target())?.clone();
        let table = record::text(record, TABLE_KEY)?.to_owned();
        let peer = self.rules.peer(&target)?;
        Ok((target, table, peer))
    }
}

/// True for the entry that the fault has made.
fn is_entry(entry: &Value, peer: Peer) -> bool {
    let Some(value) = entry.get("elem").and_then(|entry| entry.get("val")) else {
        return false;
    };
    let ip = peer.ip.to_string();
    match (peer.port, value.get("concat").and_then(Value::as_array)) {
        (Some(port), Some(parts)) => {
            let [found, number] = parts.as_slice() else {
                return false;
            };
            found.as_str() == Some(&ip) && number.as_u64() == Some(port.into())
        }
        (None, None) => value.as_str() == Some(&ip),
        _ => false,
    }
}

impl<R: Rules> Strike for Cut<R> {
    fn parameters(&self) -> BTreeMap<String, Value> {
        let mut parameters = self.rules.parameters();
        parameters.insert("target".to_owned(), self.rules.target().into());
        parameters
    }

    fn action(&self) -> String {
        self.rules.action()
    }

    fn undo_action(&self) -> String {
        "remove its table; the kernel ends it at the deadline in any case".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.rules.target().to_owned()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(self.rules.target())?;
        let peer = self.rules.peer(target)?;
        let table = self.table(target)?;
        let listed = within(target, || self.listed(&table, peer)).map_err(|reason| {
            format!("packet rules can't be read here: {reason}; this fault needs root or CAP_NET_ADMIN, and nftables")
        })?;
        if listed.is_some_and(|listed| listed.applies) {
            return Err(format!("the same fault is in force already: table `{table}`"));
        }
        Ok(Record::from([(TABLE_KEY.to_owned(), table.into())]))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let (target, table, peer) = self.place(site, record)?;
        if site.time_left.is_zero() {
            return Err("no time is left for it".to_owned());
        }
        let commands = self.commands(&table, peer, site.time_left);
        within(&target, || nft(&["-f", "-"], &commands)).map(drop)
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let (target, table, peer) = self.place(site, record)?;
        within(&target, || {
            let listed = self.listed(&table, peer)?;
            if !listed.is_some_and(|listed| listed.applies) {
                return Ok(false);
            }
            self.rules.shows(&peer)
        })
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let (target, table, peer) = self.place(site, record)?;
        // The rules are in the namespace, and gone with it.
        if namespace(&target)?.is_some_and(|path| !path.exists()) {
            return Ok(Undone::Restored);
        }
        within(&target, || {
            let Some(listed) = self.listed(&table, peer)? else {
                return Ok(Undone::Restored);
            };
            if listed.only_ours {
                nft(&["-f", "-"], &format!("delete table inet {table}\n"))?;
                return Ok(Undone::Restored);
            }
            if listed.applies {
                let (_, entry) = peer.entry();
                nft(
                    &["-f", "-"],
                    &format!("delete element inet {table} {SET} {{ {entry} }}\n"),
                )?;
            }
            Ok(Undone::Foreign(format!(
                "somebody else has put something into table `{table}`; it is left, and nothing of ours applies any more"
            )))
        })
    }
}
