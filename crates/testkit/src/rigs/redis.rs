//! Rigs for faults on Redis: a server of its own for each, asked through `redis-cli`.
//!
//! Nothing is stored, so a server that is started again is as it was at first.
//! Start reading at [`Case`]: one row is one fault.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::service::{self, Server, answer};
use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("redis-acl-revoked", |folder| rig(folder, &ACL_REVOKED)),
    ("redis-user-off", |folder| rig(folder, &USER_OFF)),
    ("redis-read-only", |folder| rig(folder, &READ_ONLY)),
    ("redis-memory-full", |folder| rig(folder, &MEMORY_FULL)),
    ("redis-protection-off", |folder| rig(folder, &PROTECTION_OFF)),
    ("redis-clients-exhausted", |folder| rig(folder, &CLIENTS_EXHAUSTED)),
    ("redis-paused", |folder| rig(folder, &PAUSED)),
    ("neighbour-reached", |folder| rig(folder, &NEIGHBOUR)),
];

/// One fault, and how it shows.
struct Case {
    /// Its `[[fault]]`.
    fault: &'static str,
    shows: fn(&Redis) -> Result<bool, String>,
    /// What somebody else does meanwhile, and a question with what it is answered as long as that was kept.
    meddle: Option<(&'static [&'static str], &'static [&'static str], &'static str)>,
}

const ACL_REVOKED: Case = Case {
    fault: "id = \"redis-acl-revoked\"\ntarget = \"cache\"\nclient = \"cache-app\"\ncommand = \"get\"\nkey = \"cart:1\"\n",
    shows: |redis| redis.app_is_refused(&["GET", "cart:1"], "NOPERM"),
    meddle: Some((
        &["ACL", "SETUSER", APP, "-set"],
        &["ACL", "DRYRUN", APP, "SET", "cart:1", "x"],
        "This user has no permissions to run the 'set' command",
    )),
};

const USER_OFF: Case = Case {
    fault: "id = \"redis-user-off\"\ntarget = \"cache\"\nclient = \"cache-app\"\n",
    shows: |redis| redis.app_is_refused(&["PING"], "WRONGPASS"),
    // A user that was deleted must not come back.
    meddle: Some((&["ACL", "DELUSER", APP], &["ACL", "GETUSER", APP], "")),
};

const READ_ONLY: Case = Case {
    fault: "id = \"redis-read-only\"\ntarget = \"cache\"\nclient = \"cache-app\"\nkey = \"cart:1\"\n",
    shows: |redis| redis.app_is_refused(&["SET", "cart:1", "mug"], "NOREPLICAS"),
    meddle: Some((
        &["CONFIG", "SET", "min-replicas-to-write", "2"],
        &["CONFIG", "GET", "min-replicas-to-write"],
        "min-replicas-to-write\n2",
    )),
};

const MEMORY_FULL: Case = Case {
    fault: "id = \"redis-memory-full\"\ntarget = \"cache\"\nclient = \"cache-app\"\nkey = \"cart:1\"\n",
    shows: |redis| redis.app_is_refused(&["SET", "cart:1", "mug"], "OOM"),
    meddle: Some((
        &["CONFIG", "SET", "maxmemory", "123456789"],
        &["CONFIG", "GET", "maxmemory"],
        "maxmemory\n123456789",
    )),
};

const PROTECTION_OFF: Case = Case {
    fault: "id = \"redis-protection-off\"\ntarget = \"cache\"\nkey = \"cart:1\"\n",
    shows: |redis| match answer(redis.cli(None).args(["GET", "cart:1"])) {
        Ok(said) => Ok(said == "mug"),
        Err(said) if said.contains("NOAUTH") || said.contains("NOPERM") => Ok(false),
        Err(said) => Err(said),
    },
    meddle: Some((
        &["ACL", "SETUSER", "default", "resetkeys", "~public:*"],
        &["ACL", "DRYRUN", "default", "GET", "public:1"],
        "OK",
    )),
};

const CLIENTS_EXHAUSTED: Case = Case {
    fault: "id = \"redis-clients-exhausted\"\ntarget = \"cache\"\n",
    shows: |redis| match answer(redis.cli(Some((APP, APP_PASSWORD))).arg("PING")) {
        Ok(_) => Ok(false),
        Err(said) if said.contains("max number of clients") || said.contains("reset by peer") => Ok(true),
        Err(said) => Err(said),
    },
    meddle: None,
};

const PAUSED: Case = Case {
    fault: "id = \"redis-paused\"\ntarget = \"cache\"\nclient = \"cache-app\"\nkey = \"cart:1\"\n",
    shows: |redis| {
        let cli = redis.cli(Some((APP, APP_PASSWORD)));
        let mut limited = Command::new("timeout");
        limited.arg("0.3").arg(cli.get_program()).args(cli.get_args());
        limited.envs(cli.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let status = limited
            .args(["SET", "cart:1", "mug"])
            .output()
            .map_err(|error| error.to_string())?;
        Ok(status.status.code() == Some(124))
    },
    meddle: None,
};

const NEIGHBOUR: Case = Case {
    fault: "id = \"neighbour-reached\"\ntarget = \"cache\"\nclient = \"db-app\"\nfrom = \"127.0.0.67\"\n",
    shows: |redis| Ok(redis.ask(&["CLIENT", "LIST"])?.contains(" addr=127.0.0.67:")),
    meddle: None,
};

const ADMIN: &str = "operator";
const ADMIN_PASSWORD: &str = "operator-of-a-rig";
const APP: &str = "shop_app";
const APP_PASSWORD: &str = "app-of-a-rig";

/// A server with two users and one key.
struct Redis {
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
    case: &'static Case,
}

fn rig(folder: &Path, case: &'static Case) -> Result<Box<dyn Rig>, String> {
    service::open_folder(folder)?;
    service::secret(&folder.join("admin-password"), ADMIN_PASSWORD)?;
    service::secret(&folder.join("app-password"), APP_PASSWORD)?;
    let mut rig = Redis {
        folder: folder.to_owned(),
        port: service::free_port()?,
        server: None,
        case,
    };
    rig.start()?;
    Ok(Box::new(rig))
}

impl Redis {
    fn start(&mut self) -> Result<(), String> {
        self.server = Some(serve(&self.folder, self.port)?);
        self.ask(&["SET", "cart:1", "mug"])?;
        Ok(())
    }

    fn cli(&self, credential: Option<(&str, &str)>) -> Command {
        cli(self.port, credential)
    }

    /// Asked by the administrator.
    fn ask(&self, words: &[&str]) -> Result<String, String> {
        answer(self.cli(Some((ADMIN, ADMIN_PASSWORD))).args(words))
    }

    /// True when the service's user is refused in such words.
    fn app_is_refused(&self, words: &[&str], code: &str) -> Result<bool, String> {
        match answer(self.cli(Some((APP, APP_PASSWORD))).args(words)) {
            Ok(_) => Ok(false),
            Err(said) if said.contains(code) => Ok(true),
            Err(said) => Err(said),
        }
    }
}

/// Starts a server in a folder, and waits until it listens.
pub(super) fn serve(folder: &Path, port: u16) -> Result<Server, String> {
    let config = folder.join("redis.conf");
    let text = format!(
        "bind 127.0.0.1\nport {port}\ndir {}\nsave \"\"\nappendonly no\nmaxclients 16\nuser default off\n\
         user {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all\n\
         user {APP} on >{APP_PASSWORD} ~cart:* -@all +@read +@write +@connection +multi +discard\n",
        folder.display()
    );
    service::secret(&config, &text)?;
    service::give(&config)?;
    let program = service::find("redis-server")?;
    let mut command = service::as_user(&program);
    command.arg(&config);
    let server = Server::start(command, Signal::KILL, &folder.join("redis.log"))?;
    service::wait_for_port(port)?;
    Ok(server)
}

/// `redis-cli`, as somebody or nobody. What is refused is an error.
pub(super) fn cli(port: u16, credential: Option<(&str, &str)>) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-e", "--no-auth-warning", "-h", "127.0.0.1", "-p", &port.to_string()]);
    if let Some((user, password)) = credential {
        command.args(["--user", user]).env("REDISCLI_AUTH", password);
    }
    command
}

impl Rig for Redis {
    fn targets(&self) -> String {
        target("cache", &self.folder, self.port, ADMIN, "admin-password")
            + &target("cache-app", &self.folder, self.port, APP, "app-password")
            // The database's user has the same name and password here: that is the weakness.
            + &target("db-app", &self.folder, 1, APP, "app-password")
    }

    fn fault(&self) -> String {
        self.case.fault.to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        let users = self.ask(&["ACL", "LIST"])?;
        let settings = self.ask(&["CONFIG", "GET", "m*"])?;
        let key = self.ask(&["GET", "cart:1"])?;
        Ok(format!("{users}\n{settings}\n{key}"))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.case.shows)(self)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let (change, question, kept) = self.case.meddle?;
        if let Err(problem) = self.ask(change) {
            return Some(Err(problem));
        }
        let mut cli = self.cli(Some((ADMIN, ADMIN_PASSWORD)));
        cli.args(question);
        Some(Ok(Box::new(move || match answer(&mut cli) {
            Ok(said) | Err(said) => Ok(said == kept),
        })))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.server = None;
        Some(Ok(()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.server = None;
        self.start()
    }
}

/// `[chaos.target.NAME]` of a server.
pub(super) fn target(name: &str, folder: &Path, port: u16, user: &str, password: &str) -> String {
    let file = folder.join(password);
    format!(
        "[chaos.target.{name}]\nkind = \"redis\"\nopted_in = true\nrung = \"isolated\"\n\
         address = \"127.0.0.1:{port}\"\nuser = \"{user}\"\npassword_file = \"{}\"\n",
        file.display()
    )
}
