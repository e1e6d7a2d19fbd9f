//! Rigs for faults on the network: a server in a network namespace of its own, so that no packet of the host is met.
//!
//! Needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("bandwidth-limited", |_| {
        let keys = "kbytes_per_second = 200\npath = \"/export\"\n";
        network("bandwidth-limited", Service::Bulk, keys, |rig| {
            Ok(rig.fetched(Duration::from_secs(1))? < BULK_BYTES / 8)
        })
    }),
    ("connection-killed", |_| {
        network("connection-killed", Service::Echo, "", |rig| Ok(!rig.echoed()?))
    }),
    ("dns-poisoned", |_| {
        let keys = "name = \"ledger.test\"\nanswer = \"127.0.0.2\"\n";
        network("dns-poisoned", Service::Names, keys, |rig| {
            Ok(rig.names()? == [Some(POISON), Some(ADDRESS)])
        })
    }),
    ("dns-unavailable", |_| {
        network("dns-unavailable", Service::Names, "", |rig| {
            Ok(rig.names()? == [None, None])
        })
    }),
    ("network-partition", |_| {
        network("network-partition", Service::Greeting, "", |rig| {
            Ok(rig.greeted(1)? == Greeted::Silence)
        })
    }),
    ("network-partition-one-way", |_| {
        network(
            "network-partition-one-way",
            Service::Greeting,
            "direction = \"from\"\n",
            |rig| Ok(rig.greeted(1)? == Greeted::Silence),
        )
    }),
    ("network-reject", |_| {
        network("network-reject", Service::Greeting, "", |rig| {
            Ok(rig.greeted(1)? == Greeted::Refused)
        })
    }),
    ("packet-loss", |_| {
        network("packet-loss", Service::Greeting, "percent = 40\n", |rig| {
            Ok(rig.greeted(40)? == Greeted::Silence)
        })
    }),
];

/// What the name server says of every name, and what it is made to say.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 3);
const POISON: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GREETING: &[u8] = b"hello\n";
/// A first packet that was lost is sent again after a second: what is there by now lost none.
const WAIT: Duration = Duration::from_millis(900);
/// How long the long answer is, about.
const BULK_BYTES: usize = 8 << 20;
/// A client that takes nothing for so long has gone.
const CLIENT_WAIT: Duration = Duration::from_millis(1_200);
/// Servers look so often whether they are to stop.
const LOOK: Duration = Duration::from_millis(5);

/// A network namespace, a server in it, and rules or none.
struct Network {
    namespace: String,
    service: Service,
    id: &'static str,
    keys: &'static str,
    shows: fn(&Network) -> Result<bool, String>,
    running: Option<Server>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Service {
    /// TCP: says hello and closes.
    Greeting,
    /// HTTP: a long answer to everything.
    Bulk,
    /// TCP: says again whatever it is told, for as long as it is told.
    Echo,
    /// DNS over UDP.
    Names,
}

#[derive(Debug, PartialEq)]
enum Greeted {
    All,
    Refused,
    /// At least one connection did not come up in time.
    Silence,
}

struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn network(
    id: &'static str,
    service: Service,
    keys: &'static str,
    shows: fn(&Network) -> Result<bool, String>,
) -> Result<Box<dyn Rig>, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let namespace = format!("pmrig-{}-{count}", std::process::id());
    ip(&["netns", "add", &namespace])?;
    let mut rig = Network {
        namespace,
        service,
        id,
        keys,
        shows,
        running: None,
    };
    ip(&["-n", &rig.namespace, "link", "set", "lo", "up"])?;
    rig.revive()?;
    Ok(Box::new(rig))
}

impl Network {
    fn port(&self) -> u16 {
        match self.service {
            Service::Greeting => 7070,
            Service::Bulk => 8080,
            Service::Echo => 7007,
            Service::Names => 53,
        }
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// Does `work` in the namespace, on a thread that ends with it.
    fn within<T: Send>(&self, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                enter(&self.namespace)?;
                work()
            });
            inside.join().unwrap_or_else(|_| Err("it broke".to_owned()))
        })
    }

    /// So many connections at once.
    fn greeted(&self, count: usize) -> Result<Greeted, String> {
        let address = self.address();
        let one = move || {
            let mut stream = match TcpStream::connect_timeout(&address, WAIT) {
                Ok(stream) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Greeted::Refused,
                Err(_) => return Greeted::Silence,
            };
            let mut greeting = Vec::new();
            let read = stream
                .set_read_timeout(Some(WAIT))
                .and_then(|()| stream.read_to_end(&mut greeting));
            if read.is_ok() && greeting == GREETING {
                Greeted::All
            } else {
                Greeted::Silence
            }
        };
        self.within(|| {
            let all: Vec<Greeted> = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
                tries
                    .into_iter()
                    .map(|one| one.join().unwrap_or(Greeted::Silence))
                    .collect()
            });
            let worst = [Greeted::Silence, Greeted::Refused]
                .into_iter()
                .find(|worst| all.contains(worst));
            Ok(worst.unwrap_or(Greeted::All))
        })
    }

    /// Bytes of the long answer that come in time.
    fn fetched(&self, time: Duration) -> Result<usize, String> {
        use std::io::Write;
        let address = self.address();
        self.within(|| {
            let failed = |error: std::io::Error| error.to_string();
            let mut stream = TcpStream::connect_timeout(&address, WAIT).map_err(failed)?;
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(failed)?;
            let (end, mut count, mut buffer) = (std::time::Instant::now() + time, 0, vec![0; 64 << 10]);
            loop {
                let left = end.saturating_duration_since(std::time::Instant::now());
                if left.is_zero() {
                    return Ok(count);
                }
                stream.set_read_timeout(Some(left)).map_err(failed)?;
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return Ok(count),
                    Ok(more) => count += more,
                }
            }
        })
    }

    /// Whether a connection that says nothing for a while is there still.
    fn echoed(&self) -> Result<bool, String> {
        use std::io::Write;
        let address = self.address();
        self.within(|| {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, WAIT) else {
                return Err("the server is gone".to_owned());
            };
            std::thread::sleep(Duration::from_millis(100));
            let mut answer = [0; 5];
            let told = stream
                .set_read_timeout(Some(WAIT))
                .and_then(|()| stream.write_all(b"hello"))
                .and_then(|()| stream.read_exact(&mut answer));
            Ok(told.is_ok() && &answer == b"hello")
        })
    }

    /// What is said of `ledger.test` and of another name.
    fn names(&self) -> Result<[Option<Ipv4Addr>; 2], String> {
        let address = self.address();
        let ask = move |question: &[u8]| -> Result<Option<Ipv4Addr>, String> {
            let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
            socket.set_read_timeout(Some(WAIT)).map_err(|error| error.to_string())?;
            // Rules that drop it say so to the sender.
            let sent = socket.send_to(question, address);
            let mut answer = [0; 512];
            let Ok(length) = sent.and_then(|_| socket.recv(&mut answer)) else {
                return Ok(None);
            };
            let last: [u8; 4] = answer[length - 4..length].try_into().map_err(|_| "a short answer")?;
            Ok(Some(last.into()))
        };
        let header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let question = |name: &[u8]| [header, name, b"\x04test\x00\x00\x01\x00\x01"].concat();
        let (ledger, other) = (question(b"\x06ledger"), question(b"\x05other"));
        self.within(|| Ok([ask(&ledger)?, ask(&other)?]))
    }

    fn rules(&self) -> Result<String, String> {
        nft(&self.namespace, &["list", "ruleset"])
    }
}

impl Rig for Network {
    fn targets(&self) -> String {
        format!(
            "[chaos.target.link]\nkind = \"network\"\nopted_in = true\nrung = \"isolated\"\n\
             address = \"{}\"\nnamespace = \"{}\"\n",
            self.address(),
            self.namespace
        )
    }

    fn fault(&self) -> String {
        format!("id = \"{}\"\ntarget = \"link\"\n{}", self.id, self.keys)
    }

    fn state(&mut self) -> Result<String, String> {
        let answers = match self.service {
            Service::Greeting => format!("{:?}", self.greeted(1)?),
            Service::Bulk => format!("{}", self.fetched(Duration::from_secs(5))?),
            Service::Echo => format!("{}", self.echoed()?),
            Service::Names => format!("{:?}", self.names()?),
        };
        Ok(format!("{answers} {}", self.rules()?))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.shows)(self)
    }

    /// An entry more in the set of the rules, where there is one.
    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let namespace = self.namespace.clone();
        let rules = match self.rules() {
            Ok(rules) => rules,
            Err(problem) => return Some(Err(problem)),
        };
        // What a process holds has no table that outlives it.
        if rules.contains("flags owner") || self.service == Service::Echo {
            return None;
        }
        let table = rules
            .lines()
            .find_map(|line| line.strip_prefix("table inet ")?.strip_suffix(" {"));
        let Some(table) = table else {
            return Some(Err(format!("there is no table of a fault: {rules}")));
        };
        let element = "{ 10.9.9.9 . 9 timeout 60s }";
        let added = nft(&namespace, &["add", "element", "inet", table, "targets", element]);
        let kept = move || Ok(nft(&namespace, &["list", "ruleset"])?.contains("10.9.9.9"));
        Some(added.map(|_| Box::new(kept) as Kept))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.running = None;
        Some(Ok(()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.running = None;
        if self.rules()?.contains("10.9.9.9") {
            nft(&self.namespace, &["flush", "ruleset"])?;
        }
        let (address, service) = (self.address(), self.service);
        self.running = Some(self.within(|| Server::start(address, service))?);
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.running = None;
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

impl Server {
    /// Its sockets belong to the namespace of the thread that calls.
    fn start(address: SocketAddr, service: Service) -> Result<Server, String> {
        let failed = |error: std::io::Error| error.to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = match service {
            Service::Greeting => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                std::thread::spawn(move || serve(&listener, GREETING, &stopped))
            }
            Service::Bulk => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                let answer = [b"HTTP/1.0 200 OK\r\n\r\n".to_vec(), vec![b'x'; BULK_BYTES]].concat();
                std::thread::spawn(move || serve(&listener, &answer, &stopped))
            }
            Service::Echo => {
                let listener = TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                std::thread::spawn(move || echo(&listener, &stopped))
            }
            Service::Names => {
                let socket = UdpSocket::bind(address).map_err(failed)?;
                socket.set_read_timeout(Some(LOOK)).map_err(failed)?;
                std::thread::spawn(move || name(&socket, &stopped))
            }
        };
        Ok(Server {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Says the same to everybody, whatever they ask: one after the other.
fn serve(listener: &TcpListener, answer: &[u8], stop: &AtomicBool) {
    use std::io::Write;
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        let _ = stream.set_write_timeout(Some(CLIENT_WAIT));
        if answer != GREETING {
            let _ = stream.set_read_timeout(Some(CLIENT_WAIT));
            let _ = stream.read(&mut [0; 1024]);
        }
        let _ = stream.write_all(answer);
    }
}

/// Says again what it is told, to everybody at once.
fn echo(listener: &TcpListener, stop: &AtomicBool) {
    use std::io::Write;
    let mut clients: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            clients.push(stream);
        }
        clients.retain_mut(|stream| {
            let mut told = [0; 256];
            match stream.read(&mut told) {
                Ok(0) => false,
                Ok(length) => stream.write_all(&told[..length]).is_ok(),
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        std::thread::sleep(LOOK);
    }
}

/// Says [`ADDRESS`] to every question: the question, and one answer behind it.
fn name(socket: &UdpSocket, stop: &AtomicBool) {
    let mut question = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut question) else {
            continue;
        };
        let mut answer = question[..length].to_vec();
        answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
        answer.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04");
        answer.extend(ADDRESS.octets());
        let _ = socket.send_to(&answer, client);
    }
}

fn enter(namespace: &str) -> Result<(), String> {
    let path = Path::new("/run/netns").join(namespace);
    let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn ip(args: &[&str]) -> Result<String, String> {
    run(Command::new("/usr/sbin/ip").args(args))
}

fn nft(namespace: &str, args: &[&str]) -> Result<String, String> {
    run(Command::new("/usr/sbin/ip")
        .args(["netns", "exec", namespace, "/usr/sbin/nft"])
        .args(args))
}

fn run(command: &mut Command) -> Result<String, String> {
    let done = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)))
}
