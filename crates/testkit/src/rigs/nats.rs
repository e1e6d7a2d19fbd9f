//! Rigs for faults on NATS: a server of its own for each, asked in its text protocol.
//!
//! Start reading at [`Case`]: one row is one fault.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::service::{self, Server};
use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("nats-permissions-revoked", |folder| rig(folder, &PERMISSIONS_REVOKED)),
    ("nats-user-removed", |folder| rig(folder, &USER_REMOVED)),
    ("nats-open", |folder| rig(folder, &OPEN)),
];

/// One fault, and how it shows.
struct Case {
    /// Its `[[fault]]`.
    fault: &'static str,
    shows: fn(&Nats) -> Result<bool, String>,
}

const PERMISSIONS_REVOKED: Case = Case {
    fault: "id = \"nats-permissions-revoked\"\ntarget = \"bus\"\nclient = \"bus-app\"\nsubject = \"orders.created\"\n",
    shows: |nats| {
        let said = nats.publish(Some(APP_PASSWORD))?;
        Ok(said.contains("-ERR 'Permissions Violation for Publish to \"orders.created\"'"))
    },
};

const USER_REMOVED: Case = Case {
    fault: "id = \"nats-user-removed\"\ntarget = \"bus\"\nclient = \"bus-app\"\n",
    shows: |nats| {
        Ok(nats
            .publish(Some(APP_PASSWORD))?
            .contains("-ERR 'Authorization Violation'"))
    },
};

const OPEN: Case = Case {
    fault: "id = \"nats-open\"\ntarget = \"bus\"\n",
    shows: |nats| Ok(nats.publish(None)?.ends_with("PONG\r\n")),
};

const APP: &str = "shop_app";
const APP_PASSWORD: &str = "app-of-a-rig";

/// A server with two users.
struct Nats {
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
    case: &'static Case,
}

fn rig(folder: &Path, case: &'static Case) -> Result<Box<dyn Rig>, String> {
    service::open_folder(folder)?;
    service::secret(&folder.join("admin-password"), "operator-of-a-rig")?;
    service::secret(&folder.join("app-password"), APP_PASSWORD)?;
    let mut rig = Nats {
        folder: folder.to_owned(),
        port: service::free_port()?,
        server: None,
        case,
    };
    rig.configure()?;
    rig.start()?;
    Ok(Box::new(rig))
}

impl Nats {
    fn config(&self) -> PathBuf {
        self.folder.join("nats.conf")
    }

    fn configure(&self) -> Result<(), String> {
        let text = format!(
            "listen: 127.0.0.1:{}\npid_file: \"{}\"\nauthorization {{\n  users = [\n    \
             {{user: operator, password: \"operator-of-a-rig\"}},\n    {{user: {APP}, password: \"{APP_PASSWORD}\", \
             permissions: {{publish: \"orders.>\", subscribe: \"orders.>\"}}}}\n  ]\n}}\n",
            self.port,
            self.folder.join("nats.pid").display()
        );
        // A file of its own each time, as whoever deploys writes it.
        let new = self.folder.join("nats.conf.new");
        service::secret(&new, &text)?;
        service::give(&new)?;
        fs::rename(&new, self.config()).map_err(|error| error.to_string())?;
        service::remove_kept(&self.folder)
    }

    fn start(&mut self) -> Result<(), String> {
        let mut command = service::as_user(&service::find("nats-server")?);
        command.arg("-c").arg(self.config());
        self.server = Some(Server::start(command, Signal::KILL, &self.folder.join("nats.log"))?);
        service::wait_for_port(self.port)
    }

    /// What the server says to a publication, by the service's user or by nobody.
    fn publish(&self, password: Option<&str>) -> Result<String, String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).map_err(failed)?;
        let who = password.map_or_else(String::new, |password| {
            format!(",\"user\":\"{APP}\",\"pass\":\"{password}\"")
        });
        let connect = format!("CONNECT {{\"verbose\":true{who}}}\r\n");
        stream.write_all(connect.as_bytes()).map_err(failed)?;
        let mut reader = BufReader::new(stream);
        let mut said = String::new();
        let mut published = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).map_err(failed)? == 0 {
                return Ok(said);
            }
            said.push_str(&line);
            if line.starts_with("PONG") || line.contains("Authorization Violation") {
                return Ok(said);
            }
            if line.starts_with("+OK") && !published {
                published = true;
                let words = b"PUB orders.created 2\r\nhi\r\nPING\r\n";
                reader.get_mut().write_all(words).map_err(failed)?;
            }
        }
    }
}

impl Rig for Nats {
    fn targets(&self) -> String {
        let target = |name: &str, user: &str, password: &str| {
            format!(
                "[chaos.target.{name}]\nkind = \"nats\"\nopted_in = true\nrung = \"isolated\"\n\
                 address = \"127.0.0.1:{}\"\nuser = \"{user}\"\npassword_file = \"{}\"\nconfig = \"{}\"\n\
                 pid_file = \"{}\"\n",
                self.port,
                self.folder.join(password).display(),
                self.config().display(),
                self.folder.join("nats.pid").display()
            )
        };
        target("bus", "operator", "admin-password") + &target("bus-app", APP, "app-password")
    }

    fn fault(&self) -> String {
        self.case.fault.to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        let config = fs::read_to_string(self.config()).map_err(|error| error.to_string())?;
        let entries = fs::read_dir(&self.folder).map_err(|error| error.to_string())?;
        let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        names.sort();
        let app = self.publish(Some(APP_PASSWORD))?.ends_with("PONG\r\n");
        let nobody = self.publish(None)?.ends_with("PONG\r\n");
        Ok(format!("{config}{names:?} app {app} nobody {nobody}"))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.case.shows)(self)
    }

    /// Somebody else edits the file in place.
    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let path = self.config();
        let edited = fs::read_to_string(&path)
            .map(|text| format!("{text}\nmax_payload: 4096\n"))
            .and_then(|text| fs::write(&path, &text).map(|()| text));
        Some(match edited {
            Ok(text) => Ok(Box::new(move || {
                Ok(fs::read_to_string(&path).is_ok_and(|now| now == text))
            })),
            Err(error) => Err(error.to_string()),
        })
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.server = None;
        Some(Ok(()))
    }

    /// A server that died is started with the file that there is; one that runs begins anew.
    fn revive(&mut self) -> Result<(), String> {
        if self.server.take().is_some() {
            self.configure()?;
        }
        self.start()
    }
}
