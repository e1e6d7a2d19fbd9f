//! A credential presented where its owner would not present it: from another address, or to another service. Nothing is
//! changed; the attempt is made by a process of ours, and goes on until that ends.
//!
//! Whether it succeeds is asked of the service, which lists who is in, and not of the attempt.
//! Start reading at [`Intrusion::hold`]; [`read_presented`] makes a fault of one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Entry, Fault};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::{Target, TargetKind};
use crate::{postgresql, redis};

/// An attempt that was refused is made again after so many milliseconds; one that succeeded is looked at as often.
const AGAIN_MS: u64 = 250;
/// The service notices within so many milliseconds that we are gone.
const GONE_MS_MAX: u64 = 1_500;
/// Between two looks.
const LOOK_MS: u64 = 20;

/// Keys of a `[[fault]]` that presents a credential.
pub(crate) const PRESENTED_KEYS: &[&str] = &["target", "client", "from", "hold_ms"];

/// Where a credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    ItsOwn,
    Another,
}

/// A fault of the catalogue made of an intrusion.
pub(crate) fn read_presented(entry: &'static Entry, server: Server, section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let from = read_address(section, "from");
    let strike = Presented {
        server,
        target: target?,
        client: client?,
        from: from?,
    };
    boxed(entry, strike, read_hold(section))
}

/// Who intrudes where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intrusion<'t> {
    /// The service, with a credential that may list its sessions.
    pub target: &'t Target,
    /// Whose credential is presented.
    pub client: &'t Target,
    /// The address of this host that it is presented from: nobody else's, so that the session can be told.
    pub from: IpAddr,
}

/// A session that was let in.
enum Inside {
    Postgresql(postgresql::Session),
    Redis(redis::Session),
}

impl Intrusion<'_> {
    /// Makes the attempt again and again. `ready` is called after the first, whatever its answer.
    pub(crate) fn hold(self, ready: &mut dyn FnMut()) -> Result<(), String> {
        loop {
            let inside = self.attempt();
            ready();
            if let Ok(inside) = inside {
                while inside.is_served() {
                    std::thread::sleep(Duration::from_millis(AGAIN_MS));
                }
            }
            std::thread::sleep(Duration::from_millis(AGAIN_MS));
        }
    }

    /// True when the service lists the session: it has let it in.
    pub(crate) fn is_inside(self) -> Result<bool, String> {
        let (user, from) = (self.client.text("user")?, self.from.to_string());
        match self.target.kind {
            TargetKind::Postgresql => {
                let session = postgresql::Session::open(self.target)?;
                let sql = "SELECT pid::text FROM pg_stat_activity \
                           WHERE usename = $1 AND host(client_addr) = $2 AND state IS NOT NULL";
                Ok(session.value(sql, &[user, &from])?.is_some())
            }
            _ => {
                let session = redis::Session::open(self.target)?;
                let list = session.ask(&["CLIENT", "LIST"])?;
                let (user, from) = (format!("user={user}"), format!("addr={from}:"));
                let is_ours = |line: &str| {
                    let mut fields = line.split(' ');
                    fields.any(|field| field == user) && line.split(' ').any(|field| field.starts_with(&from))
                };
                Ok(list.text().unwrap_or_default().lines().any(is_ours))
            }
        }
    }

    /// Waits until the service lists it no longer.
    pub(crate) fn gone(self) -> Result<Undone, String> {
        let begun = Instant::now();
        while self.is_inside()? {
            if begun.elapsed() > Duration::from_millis(GONE_MS_MAX) {
                return Err(format!("`{}` still lists the session", self.target.name));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(Undone::Restored)
    }

    fn attempt(self) -> Result<Inside, String> {
        let user = self.client.text("user")?;
        let address = self.target.text("address")?.to_owned();
        let password = self.client.password()?;
        match self.target.kind {
            TargetKind::Postgresql => {
                let login = postgresql::Login {
                    address,
                    user: user.to_owned(),
                    password,
                    from: Some(self.from),
                    ..postgresql::Login::of(self.target)?
                };
                Ok(Inside::Postgresql(postgresql::Session::login(&login)?))
            }
            _ => {
                let login = redis::Login {
                    address,
                    user: Some(user.to_owned()),
                    password,
                    from: Some(self.from),
                };
                let session = redis::Session::login(&login)?;
                session.ask(&["PING"])?;
                Ok(Inside::Redis(session))
            }
        }
    }
}

impl Inside {
    fn is_served(&self) -> bool {
        match self {
            Inside::Postgresql(session) => session.value("SELECT 1::text", &[]).is_ok(),
            Inside::Redis(session) => session.ask(&["PING"]).is_ok(),
        }
    }
}

#[derive(Debug)]
struct Presented {
    server: Server,
    target: String,
    client: String,
    from: IpAddr,
}

impl Presented {
    fn intrusion<'s>(&self, site: &'s Site) -> Result<Intrusion<'s>, String> {
        Ok(Intrusion {
            target: site.target(&self.target)?,
            client: site.target(&self.client)?,
            from: self.from,
        })
    }
}

impl Strike for Presented {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("from".to_owned(), self.from.to_string().into()),
        ])
    }

    fn action(&self) -> String {
        let verb = match self.server {
            Server::ItsOwn => "use",
            Server::Another => "try",
        };
        format!(
            "{verb} the credential of `{}` at `{}` from {}",
            self.client, self.target, self.from
        )
    }

    fn undo_action(&self) -> String {
        "close the session".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let intrusion = self.intrusion(site)?;
        let (here, there) = (intrusion.target.text("address")?, intrusion.client.text("address")?);
        match self.server {
            Server::ItsOwn if here != there => {
                return Err(format!(
                    "`{}` is at `{there}`, another server: `neighbour-reached` is for that",
                    self.client
                ));
            }
            Server::Another if here == there => {
                return Err(format!(
                    "`{}` is at the same server: `stolen-token-reused` is for that",
                    self.client
                ));
            }
            Server::ItsOwn | Server::Another => {}
        }
        intrusion.client.text("user")?;
        if intrusion.is_inside()? {
            return Err(format!("somebody uses this credential from {} already", self.from));
        }
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        self.intrusion(site)?.hold(ready)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.intrusion(site)?.is_inside()
    }

    fn undo(&self, site: &Site, _: &Record) -> Result<Undone, String> {
        self.intrusion(site)?.gone()
    }
}

/// An address of this host.
fn read_address(section: &Section<'_>, key: &str) -> Option<IpAddr> {
    let text = section.text(key)?;
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!("`{text}` is no address");
        section.problem(key, "chaos/bad-address", message, "write it as `127.0.0.66`");
    }
    address
}
