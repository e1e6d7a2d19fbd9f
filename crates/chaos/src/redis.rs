//! Redis, as faults talk to it: RESP2 over one short connection with time limits.
//!
//! By hand, because the `redis` crate brings an URL parser and its Unicode tables for an address that is declared as
//! `host:port`, and can't connect from a chosen address. It speaks no TLS. Password hashes that the server lists are
//! dropped as they are read.
//! Start reading at [`Session`]. Spec: <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::dial::dial;
use crate::read::Section;
use crate::strike::Site;
use crate::target::Target;

/// An answer has at most so many bytes in one string, items in one list, and lists within lists.
const STRING_BYTES_MAX: usize = 1 << 20;
const ITEMS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 8;
/// A line that says what follows has at most so many bytes.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// A server that has no slot left says so within so many milliseconds, before it is asked.
const GREETING_MS: u64 = 100;

/// What a server without a free slot says.
pub(crate) const NO_SLOT: &str = "max number of clients reached";

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server answered with an error: its first word (`NOPERM`, `WRONGPASS`, …), and what it says.
    Refused { code: String, message: String },
    /// It took the command, and does not answer.
    Silent,
    /// No connection, or an answer that can't be read.
    Unreachable(String),
}

impl Failure {
    pub(crate) fn has(&self, expected: &str) -> bool {
        matches!(self, Failure::Refused { code, .. } if code == expected)
    }

    pub(crate) fn is_no_slot(&self) -> bool {
        matches!(self, Failure::Refused { message, .. } if message.contains(NO_SLOT))
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> String {
        match failure {
            Failure::Refused { message, .. } => format!("Redis answers: {message}"),
            Failure::Silent => "Redis does not answer".to_owned(),
            Failure::Unreachable(reason) => reason,
        }
    }
}

/// Who logs in where; nobody where there is no password.
pub(crate) struct Login {
    pub address: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// The address of this host that the server sees; any when `None`.
    pub from: Option<IpAddr>,
}

impl Login {
    pub(crate) fn of(target: &Target) -> Result<Login, String> {
        Ok(Login {
            address: target.text("address")?.to_owned(),
            user: target.optional("user").map(str::to_owned),
            password: target.password()?,
            from: None,
        })
    }

    /// The same server, and no credential.
    pub(crate) fn anonymous(target: &Target) -> Result<Login, String> {
        Ok(Login {
            address: target.text("address")?.to_owned(),
            user: None,
            password: None,
            from: None,
        })
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
}

impl Reply {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Reply::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self) -> &[Reply] {
        match self {
            Reply::List(items) => items,
            _ => &[],
        }
    }
}

/// `Ok` when the target's user can log in and is answered. Where the target declares no password, and where the user
/// may not ask, the server's saying so is an answer too.
pub(crate) fn ping(target: &Target) -> Result<(), String> {
    let login = Login::of(target)?;
    match Session::login(&login)?.ask(&["PING"]) {
        Ok(_) => Ok(()),
        Err(failure) if failure.has("NOPERM") || (failure.has("NOAUTH") && login.password.is_none()) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// One connection. It ends with the value.
pub(crate) struct Session {
    stream: RefCell<BufReader<TcpStream>>,
}

impl Session {
    pub(crate) fn open(target: &Target) -> Result<Session, Failure> {
        Session::login(&Login::of(target).map_err(Failure::Unreachable)?)
    }

    pub(crate) fn login(login: &Login) -> Result<Session, Failure> {
        let stream = dial(&login.address, login.from).map_err(Failure::Unreachable)?;
        let session = Session {
            stream: RefCell::new(BufReader::new(stream)),
        };
        let Some(password) = &login.password else {
            return Ok(session);
        };
        let said = match &login.user {
            Some(user) => session.ask(&["AUTH", user, password]),
            None => session.ask(&["AUTH", password]),
        };
        match said {
            Ok(_) => Ok(session),
            // An answer to a login may repeat what was sent.
            Err(Failure::Refused { code, message }) if !message.contains(NO_SLOT) => Err(Failure::Refused {
                message: format!("the login is refused ({code})"),
                code,
            }),
            Err(failure) => Err(failure),
        }
    }

    /// True when the server has no slot for one more. It says so at once and closes, and what is sent to it meanwhile
    /// may destroy what it said: so nothing is.
    pub(crate) fn is_turned_away(target: &Target) -> Result<bool, String> {
        let stream = dial(target.text("address")?, None)?;
        let limit = Some(Duration::from_millis(GREETING_MS));
        stream.set_read_timeout(limit).map_err(|error| error.to_string())?;
        match reply(&mut BufReader::new(stream), 0) {
            Err(failure) if failure.is_no_slot() => Ok(true),
            Err(Failure::Silent) => Ok(false),
            Err(failure) => Err(failure.into()),
            Ok(_) => Err("Redis speaks before it is asked".to_owned()),
        }
    }

    pub(crate) fn silence_limit(&self, limit: Duration) -> Result<(), Failure> {
        let stream = self.stream.borrow();
        stream.get_ref().set_read_timeout(Some(limit)).map_err(lost)
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Result<Reply, Failure> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        let mut stream = self.stream.borrow_mut();
        stream.get_mut().write_all(&bytes).map_err(lost)?;
        reply(&mut stream, 0)
    }

    /// What the server would say to a command, which it doesn't do: permissions, memory, replicas and pauses are asked
    /// when a command of a transaction is queued, and the transaction is given up.
    pub(crate) fn attempt(&self, words: &[&str]) -> Result<(), Failure> {
        self.ask(&["MULTI"])?;
        let said = self.ask(words);
        if !matches!(said, Err(Failure::Silent)) {
            self.ask(&["DISCARD"])?;
        }
        said.map(|_| ())
    }

    /// A setting of the server.
    pub(crate) fn config(&self, name: &str) -> Result<String, Failure> {
        let reply = self.ask(&["CONFIG", "GET", name])?;
        match reply.list() {
            [_, Reply::Text(value)] => Ok(value.clone()),
            _ => Err(Failure::Unreachable(format!("this server has no `{name}`"))),
        }
    }

    /// A user as the server lists it; `None` where there is no such user.
    pub(crate) fn user(&self, name: &str) -> Result<Option<User>, Failure> {
        let reply = self.ask(&["ACL", "GETUSER", name])?;
        if reply == Reply::Nothing {
            return Ok(None);
        }
        let field = |key: &str| {
            let mut pairs = reply.list().chunks_exact(2);
            pairs.find(|pair| pair[0].text() == Some(key)).map(|pair| &pair[1])
        };
        let texts = |key: &str| -> Vec<String> {
            let items = field(key).map_or(&[][..], Reply::list);
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        };
        let rule = |key: &str| field(key).and_then(Reply::text).map(str::to_owned);
        let (Some(commands), Some(keys), Some(channels)) = (rule("commands"), rule("keys"), rule("channels")) else {
            return Err(Failure::Unreachable(
                "Redis before 7 lists its users otherwise".to_owned(),
            ));
        };
        Ok(Some(User {
            flags: texts("flags"),
            passwords: field("passwords").map_or(0, |list| list.list().len()),
            selectors: field("selectors").map_or(0, |list| list.list().len()),
            commands,
            keys,
            channels,
        }))
    }
}

fn reply(stream: &mut BufReader<TcpStream>, depth: usize) -> Result<Reply, Failure> {
    let broken = || Failure::Unreachable("Redis answers what is not its protocol".to_owned());
    let mut line = Vec::new();
    let mut limited = stream.by_ref().take(LINE_BYTES_MAX);
    limited.read_until(b'\n', &mut line).map_err(lost)?;
    if line.is_empty() {
        return Err(Failure::Unreachable("Redis has closed the connection".to_owned()));
    }
    let line = String::from_utf8(line).map_err(|_| broken())?;
    let line = line.strip_suffix("\r\n").ok_or_else(broken)?;
    let kind = line.chars().next().ok_or_else(broken)?;
    let rest = line.get(kind.len_utf8()..).unwrap_or_default();
    let number = || rest.parse::<i64>().map_err(|_| broken());
    let size = |max: usize| match number()? {
        -1 => Ok(None),
        size => usize::try_from(size)
            .ok()
            .filter(|size| *size <= max)
            .map(Some)
            .ok_or_else(broken),
    };
    match kind {
        '+' => Ok(Reply::Text(rest.to_owned())),
        '-' => Err(Failure::Refused {
            code: rest.split(' ').next().unwrap_or_default().to_owned(),
            message: rest.to_owned(),
        }),
        ':' => number().map(Reply::Number),
        '$' => {
            let Some(size) = size(STRING_BYTES_MAX)? else {
                return Ok(Reply::Nothing);
            };
            let mut bytes = vec![0; size + 2];
            stream.read_exact(&mut bytes).map_err(lost)?;
            bytes.truncate(size);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        '*' if depth < DEPTH_MAX => {
            let Some(size) = size(ITEMS_MAX)? else {
                return Ok(Reply::Nothing);
            };
            let items = (0..size).map(|_| reply(stream, depth + 1));
            items.collect::<Result<_, _>>().map(Reply::List)
        }
        _ => Err(broken()),
    }
}

/// A user, without the hashes of its passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub flags: Vec<String>,
    /// How many it has.
    pub passwords: usize,
    pub selectors: usize,
    /// Rules as `ACL SETUSER` takes them, space between.
    pub commands: String,
    pub keys: String,
    pub channels: String,
}

impl User {
    pub(crate) fn is_on(&self) -> bool {
        self.flags.iter().any(|flag| flag == "on")
    }
}

fn lost(error: std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Failure::Silent,
        _ => Failure::Unreachable(format!("the connection to Redis broke: {error}")),
    }
}

/// What faults that keep Redis from taking writes share: the server, and a client of it that writes a key.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) target: String,
    pub(crate) client: String,
    pub(crate) key: String,
}

impl Writes {
    pub(crate) fn read(section: &Section<'_>) -> Option<Writes> {
        let (target, client, key) = (section.text("target"), section.text("client"), section.text("key"));
        Some(Writes {
            target: target?,
            client: client?,
            key: key?,
        })
    }

    pub(crate) fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("key".to_owned(), self.key.clone().into()),
        ])
    }

    pub(crate) fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    /// As whoever administers the server.
    pub(crate) fn administer(&self, site: &Site) -> Result<Session, String> {
        Ok(Session::open(site.target(&self.target)?)?)
    }

    /// Writes as the client; `expected` says which failure is the fault's.
    pub(crate) fn are_refused(
        &self,
        site: &Site,
        prepare: impl FnOnce(&Session) -> Result<(), Failure>,
        expected: impl FnOnce(&Failure) -> bool,
    ) -> Result<bool, String> {
        let session = Session::open(site.target(&self.client)?)?;
        prepare(&session)?;
        match session.attempt(&["SET", &self.key, ""]) {
            Ok(()) => Ok(false),
            Err(failure) if expected(&failure) => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What becomes of an answer.
    fn read(answer: &'static [u8]) -> Result<Reply, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap().0.write_all(answer).unwrap();
        reply(&mut BufReader::new(stream), 0).map_err(String::from)
    }

    #[test]
    fn answers_are_bounded() {
        let text = |text: &str| Reply::Text(text.to_owned());
        assert_eq!(read(b"+OK\r\n"), Ok(text("OK")));
        assert_eq!(read(b"$-1\r\n"), Ok(Reply::Nothing));
        let list = Reply::List(vec![text("a\r"), Reply::Number(-3), Reply::List(vec![])]);
        assert_eq!(read(b"*3\r\n$2\r\na\r\r\n:-3\r\n*0\r\n"), Ok(list));
        assert_eq!(read(b"-NOPERM no\r\n"), Err("Redis answers: NOPERM no".to_owned()));
        let broken = Err("Redis answers what is not its protocol".to_owned());
        let deep = "*1\r\n".repeat(20).leak().as_bytes();
        for bad in [
            &b"hello\r\n"[..],
            b"$99999999\r\n",
            b"*-2\r\n",
            b":x\r\n",
            b"+OK\n",
            b"\xff\r\n",
            deep,
        ] {
            assert_eq!(read(bad), broken);
        }
        assert!(read(b"$5\r\nab").is_err() && read(b"").is_err());
    }
}
