//! Rigs for faults on PostgreSQL: a server of its own for each, asked through `psql`.
//!
//! A cluster is made once in a process and kept in memory; each rig unpacks it. Nothing in it is worth an `fsync`.
//! Start reading at [`Case`]: one row is one fault.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::service::{self, Server, answer};
use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("sql-role-login-revoked", |folder| rig(folder, &LOGIN_REVOKED)),
    ("sql-role-expired", |folder| rig(folder, &ROLE_EXPIRED)),
    ("sql-privileges-revoked", |folder| rig(folder, &PRIVILEGES_REVOKED)),
    ("sql-role-widened", |folder| rig(folder, &ROLE_WIDENED)),
    ("tenant-row-security-off", |folder| rig(folder, &ROW_SECURITY_OFF)),
    ("sql-read-only", |folder| rig(folder, &READ_ONLY)),
    ("sql-connections-exhausted", |folder| {
        rig(folder, &CONNECTIONS_EXHAUSTED)
    }),
    ("sql-lock-held", |folder| rig(folder, &LOCK_HELD)),
    ("sql-sessions-terminated", |folder| rig(folder, &SESSIONS_TERMINATED)),
    ("sql-password-half-rotated", |folder| rig(folder, &HALF_ROTATED)),
    ("stolen-token-reused", |folder| rig(folder, &STOLEN_TOKEN)),
];

/// One fault, and how it shows.
struct Case {
    /// Its `[[fault]]`.
    fault: &'static str,
    shows: fn(&mut Sql) -> Result<bool, String>,
    /// What somebody else does meanwhile, and a question that is answered `t` as long as that was kept.
    meddle: Option<(&'static str, &'static str)>,
}

const LOGIN_REVOKED: Case = Case {
    fault: "id = \"sql-role-login-revoked\"\ntarget = \"db\"\nclient = \"db-app\"\n",
    // Who is in stays in.
    shows: |sql| {
        let refused = sql.refused("is not permitted to log in")?;
        let stays = sql.live("SELECT count(*) FROM orders") == Some("1".to_owned());
        if stays {
            Ok(refused)
        } else {
            Err("the open session broke".to_owned())
        }
    },
    // Whoever replaces the role means its new state.
    meddle: Some((
        "ALTER ROLE shop_app RENAME TO shop_app_old; CREATE ROLE shop_app NOLOGIN",
        "SELECT NOT rolcanlogin FROM pg_roles WHERE rolname = 'shop_app'",
    )),
};

const ROLE_EXPIRED: Case = Case {
    fault: "id = \"sql-role-expired\"\ntarget = \"db\"\nclient = \"db-app\"\n",
    shows: |sql| {
        let refused = sql.refused("password authentication failed")?;
        let stays = sql.live("SELECT count(*) FROM orders") == Some("1".to_owned());
        if stays {
            Ok(refused)
        } else {
            Err("the open session broke".to_owned())
        }
    },
    meddle: Some((
        "ALTER ROLE shop_app VALID UNTIL '2001-02-03 04:05:06+00'",
        "SELECT rolvaliduntil = '2001-02-03 04:05:06+00' FROM pg_roles WHERE rolname = 'shop_app'",
    )),
};

const PRIVILEGES_REVOKED: Case = Case {
    fault: "id = \"sql-privileges-revoked\"\ntarget = \"db\"\nclient = \"db-app\"\ntable = \"public.orders\"\n",
    // The open session is refused at its next statement.
    shows: |sql| Ok(sql.live("SELECT count(*) FROM orders").is_none()),
    meddle: Some((
        "GRANT INSERT ON orders TO shop_app",
        "SELECT has_table_privilege('shop_app', 'orders', 'INSERT') \
         AND NOT has_table_privilege('shop_app', 'orders', 'SELECT')",
    )),
};

const ROLE_WIDENED: Case = Case {
    fault: "id = \"sql-role-widened\"\ntarget = \"db\"\nclient = \"db-app\"\n\
            table = \"orders\"\ncolumn = \"tenant\"\nvalue = \"other_shop\"\n",
    shows: sees_other_tenant,
    meddle: Some((
        "ALTER ROLE shop_app RENAME TO shop_app_old; CREATE ROLE shop_app BYPASSRLS",
        "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'shop_app'",
    )),
};

const ROW_SECURITY_OFF: Case = Case {
    fault: "id = \"tenant-row-security-off\"\ntarget = \"db\"\nclient = \"db-app\"\n\
            table = \"orders\"\ncolumn = \"tenant\"\nvalue = \"other_shop\"\n",
    shows: sees_other_tenant,
    meddle: Some((
        "ALTER TABLE orders RENAME TO orders_old; CREATE TABLE orders (tenant text, item text)",
        "SELECT NOT relrowsecurity FROM pg_class WHERE oid = 'orders'::regclass",
    )),
};

/// The role reads the row of somebody else, in its open session.
fn sees_other_tenant(sql: &mut Sql) -> Result<bool, String> {
    let seen = sql.live("SELECT string_agg(item, ',' ORDER BY item) FROM orders");
    Ok(seen.is_some_and(|items| items.contains("secret plan")))
}

const READ_ONLY: Case = Case {
    fault: "id = \"sql-read-only\"\ntarget = \"db\"\nclient = \"db-app\"\ntable = \"orders\"\n",
    shows: |sql| match sql.ask_as_app("BEGIN; INSERT INTO orders VALUES ('shop_app', 'cup'); ROLLBACK") {
        Ok(_) => Ok(false),
        Err(said) if said.contains("read-only transaction") => Ok(true),
        Err(said) => Err(said),
    },
    meddle: Some((
        "SET transaction_read_only = off; ALTER DATABASE postgres SET default_transaction_read_only = off",
        "SELECT setconfig = '{default_transaction_read_only=off}' FROM pg_db_role_setting",
    )),
};

const CONNECTIONS_EXHAUSTED: Case = Case {
    fault: "id = \"sql-connections-exhausted\"\ntarget = \"db-app\"\n",
    // Who is in stays in.
    shows: |sql| {
        let refused = sql.refused("too many connections for role")?;
        let stays = sql.live("SELECT count(*) FROM orders") == Some("1".to_owned());
        if stays {
            Ok(refused)
        } else {
            Err("the open session broke".to_owned())
        }
    },
    meddle: None,
};

const LOCK_HELD: Case = Case {
    fault: "id = \"sql-lock-held\"\ntarget = \"db\"\nclient = \"db-app\"\ntable = \"orders\"\n",
    // `lock_timeout` stands in the session's options.
    shows: |sql| Ok(sql.live("SELECT count(*) FROM orders").is_none()),
    meddle: None,
};

const SESSIONS_TERMINATED: Case = Case {
    fault: "id = \"sql-sessions-terminated\"\ntarget = \"db\"\nclient = \"db-app\"\n",
    // A client that reconnects half a second after it has found out.
    shows: |sql| {
        let lost = sql.live("SELECT 1").is_none();
        if lost {
            sql.reconnect_later();
        }
        Ok(lost)
    },
    meddle: None,
};

const HALF_ROTATED: Case = Case {
    fault: "id = \"sql-password-half-rotated\"\nclient = \"db-app\"\n",
    // A client that reads the file again is refused.
    shows: |sql| {
        let password = sql.app_secret()?;
        match answer(sql.psql(APP, &password).args(["-c", "SELECT 1"])) {
            Ok(_) => Ok(false),
            Err(said) if said.contains("password authentication failed") => Ok(true),
            Err(said) => Err(said),
        }
    },
    meddle: None,
};

const STOLEN_TOKEN: Case = Case {
    fault: "id = \"stolen-token-reused\"\ntarget = \"db\"\nclient = \"db-app\"\nfrom = \"127.0.0.66\"\n",
    // The service itself goes on unharmed meanwhile.
    shows: |sql| {
        let stays = sql.live("SELECT count(*) FROM orders") == Some("1".to_owned());
        let sessions =
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_app' AND client_addr = '127.0.0.66'";
        let count = sql.ask(sessions)?;
        if stays {
            Ok(count != "0")
        } else {
            Err("the open session broke".to_owned())
        }
    },
    meddle: None,
};

const ADMIN: &str = "postgres";
const ADMIN_PASSWORD: &str = "admin-of-a-rig";
const APP: &str = "shop_app";
const APP_PASSWORD: &str = "app-of-a-rig";

/// A client of the rig reconnects after so many milliseconds.
const RECONNECT_MS: u64 = 500;

/// What the cluster holds.
const SCHEMA: &str = "\
CREATE ROLE shop_app LOGIN PASSWORD 'app-of-a-rig' CONNECTION LIMIT 6; \
CREATE TABLE orders (tenant text NOT NULL, item text NOT NULL); \
INSERT INTO orders VALUES ('shop_app', 'mug'), ('other_shop', 'secret plan'); \
CREATE POLICY own_rows ON orders USING (tenant = current_user); \
ALTER TABLE orders ENABLE ROW LEVEL SECURITY; \
GRANT SELECT, INSERT, DELETE ON orders TO shop_app";

/// Everything that a fault here may touch.
const STATE: &str = "\
SELECT 'role', rolname, rolsuper, rolbypassrls, rolcanlogin, rolconnlimit, coalesce(rolvaliduntil, 'infinity'), \
       md5(coalesce(rolpassword, '')) FROM pg_authid WHERE rolname LIKE 'shop%' ORDER BY rolname; \
SELECT 'member', roleid::regrole, member::regrole FROM pg_auth_members WHERE member::regrole::text LIKE 'shop%' \
       ORDER BY 1, 2; \
SELECT 'table', relname, relrowsecurity, relforcerowsecurity, grantee::regrole, privilege_type, is_grantable \
       FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) WHERE relname LIKE 'orders%' \
       ORDER BY relname, 5, privilege_type; \
SELECT 'setting', setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 2, 3; \
SELECT 'rows', * FROM orders ORDER BY tenant";

/// A server with one role, one table and one open session.
struct Sql {
    folder: PathBuf,
    port: u16,
    server: Option<Server>,
    session: Option<LiveSession>,
    /// A session that is being opened by itself.
    reconnecting: Option<JoinHandle<Result<LiveSession, String>>>,
    case: &'static Case,
}

fn rig(folder: &Path, case: &'static Case) -> Result<Box<dyn Rig>, String> {
    let mut rig = Sql {
        folder: folder.to_owned(),
        port: service::free_port()?,
        server: None,
        session: None,
        reconnecting: None,
        case,
    };
    service::open_folder(folder)?;
    service::secret(&rig.folder.join("admin-password"), ADMIN_PASSWORD)?;
    rig.unpack()?;
    rig.start()?;
    Ok(Box::new(rig))
}

impl Sql {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn unpack(&self) -> Result<(), String> {
        let template = template(self)?;
        if self.data().exists() {
            fs::remove_dir_all(self.data()).map_err(|error| error.to_string())?;
        }
        let secret = self.folder.join("app-password");
        service::remove_kept(&self.folder)?;
        service::secret(&secret, APP_PASSWORD)?;
        let mut tar = Command::new("tar")
            .args(["-xpf", "-", "-C"])
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("tar: {error}"))?;
        let written = tar.stdin.take().map(|mut stdin| stdin.write_all(template));
        let done = tar.wait().map_err(|error| error.to_string())?;
        match written {
            Some(Ok(())) if done.success() => Ok(()),
            _ => Err("the cluster can't be unpacked".to_owned()),
        }
    }

    fn start(&mut self) -> Result<(), String> {
        self.server = Some(serve(&self.folder, self.port)?);
        // A role that may not log in gets none.
        self.session = LiveSession::open(self.psql(APP, APP_PASSWORD)).ok();
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(reconnecting) = self.reconnecting.take() {
            let _ = reconnecting.join();
        }
        self.session = None;
        self.server = None;
    }

    fn psql(&self, user: &str, password: &str) -> Command {
        // The one on `PATH` is Debian's wrapper, which takes longer to start than the answer.
        let mut command = Command::new(program("psql").unwrap_or_else(|_| "psql".into()));
        command
            .args(["-X", "-w", "-q", "-A", "-t", "-h", "127.0.0.1", "-d", "postgres"])
            .args(["-v", "ON_ERROR_STOP=1", "-U", user, "-p", &self.port.to_string()])
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "3")
            .env("PGOPTIONS", "-c statement_timeout=3s -c lock_timeout=300ms")
            .env("PGAPPNAME", "rig");
        command
    }

    /// Asked by the administrator.
    fn ask(&self, sql: &str) -> Result<String, String> {
        answer(self.psql(ADMIN, ADMIN_PASSWORD).args(["-c", sql]))
    }

    /// Asked by the role, in a session of its own.
    fn ask_as_app(&self, sql: &str) -> Result<String, String> {
        answer(self.psql(APP, APP_PASSWORD).args(["-c", sql]))
    }

    /// True when the role is refused in such words.
    fn refused(&self, words: &str) -> Result<bool, String> {
        match self.ask_as_app("SELECT 1") {
            Ok(_) => Ok(false),
            Err(said) if said.contains(words) => Ok(true),
            Err(said) => Err(said),
        }
    }

    /// Somebody else rotates, by writing a file of their own under the name.
    fn rotate_again(&self) -> Result<Kept, String> {
        let file = self.folder.join("app-password");
        let new = self.folder.join("rotated");
        service::secret(&new, "theirs")?;
        fs::rename(&new, &file).map_err(|error| error.to_string())?;
        Ok(Box::new(move || {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
            Ok(text == "theirs\n")
        }))
    }

    fn app_secret(&self) -> Result<String, String> {
        let text = fs::read_to_string(self.folder.join("app-password")).map_err(|error| error.to_string())?;
        Ok(text.trim_end().to_owned())
    }

    fn reconnect_later(&mut self) {
        let psql = self.psql(APP, APP_PASSWORD);
        self.session = None;
        self.reconnecting = Some(std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(RECONNECT_MS));
            LiveSession::open(psql)
        }));
    }

    /// Asked by the role, in the session that has been open all the time; `None` when it is refused.
    fn live(&mut self, sql: &str) -> Option<String> {
        if let Some(done) = self.reconnecting.take() {
            self.session = done.join().ok()?.ok();
        }
        if self.session.is_none() && self.reconnecting.is_none() {
            self.session = LiveSession::open(self.psql(APP, APP_PASSWORD)).ok();
        }
        self.session.as_mut()?.ask(sql)
    }
}

impl Rig for Sql {
    fn targets(&self) -> String {
        let target = |name: &str, user: &str, password: &str| {
            let file = self.folder.join(password);
            format!(
                "[chaos.target.{name}]\nkind = \"postgresql\"\nopted_in = true\nrung = \"isolated\"\n\
                 address = \"127.0.0.1:{}\"\nuser = \"{user}\"\npassword_file = \"{}\"\ndatabase = \"postgres\"\n",
                self.port,
                file.display()
            )
        };
        target("db", ADMIN, "admin-password") + &target("db-app", APP, "app-password")
    }

    fn fault(&self) -> String {
        self.case.fault.to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        Ok(format!("{}\nsecret {}", self.ask(STATE)?, self.app_secret()?))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.case.shows)(self)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        if self.case.fault.contains("half-rotated") {
            return Some(self.rotate_again());
        }
        let (change, question) = self.case.meddle?;
        if let Err(problem) = self.ask(change) {
            return Some(Err(problem));
        }
        let mut psql = self.psql(ADMIN, ADMIN_PASSWORD);
        psql.args(["-c", question]);
        Some(Ok(Box::new(move || Ok(answer(&mut psql)? == "t"))))
    }

    /// As in a crash: nothing is written any more, and the next start recovers.
    fn kill(&mut self) -> Option<Result<(), String>> {
        self.stop();
        Some(Ok(()))
    }

    /// A server that died is started with what it had; one that runs begins anew.
    fn revive(&mut self) -> Result<(), String> {
        if self.server.is_some() {
            self.stop();
            self.unpack()?;
        }
        self.start()
    }
}

/// A session of the role that stays open.
struct LiveSession {
    psql: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl LiveSession {
    /// Stands behind each answer.
    const END: &str = "end-of-answer";

    fn open(mut psql: Command) -> Result<LiveSession, String> {
        let mut psql = psql
            .args(["-v", "ON_ERROR_STOP=0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("psql: {error}"))?;
        let (Some(stdin), Some(stdout)) = (psql.stdin.take(), psql.stdout.take()) else {
            return Err("psql has no pipes".to_owned());
        };
        let stdout = BufReader::new(stdout);
        let mut session = LiveSession { psql, stdin, stdout };
        match session.ask("SELECT 'open'") {
            Some(_) => Ok(session),
            None => Err("the role gets no session".to_owned()),
        }
    }

    /// What is answered; `None` for nothing.
    fn ask(&mut self, sql: &str) -> Option<String> {
        writeln!(self.stdin, "{sql};\n\\echo {}", Self::END).ok()?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end() == Self::END {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

/// A program of the server, which Debian keeps off `PATH`: of the newest version there is.
fn program(name: &str) -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").map_err(|_| "PostgreSQL is not installed".to_owned())?;
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<u32>().ok())
        .max()
        .ok_or("PostgreSQL is not installed")?;
    Ok(PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin/{name}")))
}

/// Starts the server on `data` of a folder, and waits until it lets people in.
fn serve(folder: &Path, port: u16) -> Result<Server, String> {
    let data = folder.join("data");
    let pid_file = data.join("postmaster.pid");
    // One that crashed leaves it.
    let _ = fs::remove_file(&pid_file);
    let mut command = service::as_user(&program("postgres")?);
    command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "shared_buffers=8MB",
        "max_connections=20",
        "autovacuum=off",
        "wal_level=minimal",
        "max_wal_senders=0",
    ] {
        command.args(["-c", setting]);
    }
    let server = Server::start(command, Signal::QUIT, &folder.join("postgresql.log"))?;
    // Its eighth line says how far the start has come.
    let is_ready = |text: String| text.lines().nth(7).is_some_and(|line| line.starts_with("ready"));
    service::wait("PostgreSQL is ready", || {
        fs::read_to_string(&pid_file).is_ok_and(is_ready)
    })?;
    Ok(server)
}

/// The folder `data` of a cluster that was stopped cleanly, as an archive.
fn template(sql: &Sql) -> Result<&'static [u8], String> {
    static TEMPLATE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let made = TEMPLATE.get_or_init(|| make_template(sql));
    made.as_ref().map(Vec::as_slice).map_err(Clone::clone)
}

fn make_template(sql: &Sql) -> Result<Vec<u8>, String> {
    let folder = &sql.folder;
    let data = sql.data();
    let passwords = folder.join("initdb-password");
    service::secret(&passwords, ADMIN_PASSWORD)?;
    service::give(&passwords)?;
    let mut initdb = service::as_user(&program("initdb")?);
    initdb.arg("-D").arg(&data).args(["-U", ADMIN, "--auth=scram-sha-256"]);
    initdb.args(["--no-sync", "--no-locale", "-E", "UTF8", "--wal-segsize=1", "--pwfile"]);
    answer(initdb.arg(&passwords))?;
    // Whoever has the password is let in from every address of loopback.
    let hba = data.join("pg_hba.conf");
    let mut rules = fs::read_to_string(&hba).map_err(|error| error.to_string())?;
    rules.push_str("host all all 127.0.0.0/8 scram-sha-256\n");
    fs::write(&hba, rules).map_err(|error| error.to_string())?;
    // A server makes it, not single-user mode: row level security leaves alone whatever that mode makes.
    let server = serve(folder, sql.port)?;
    let mut psql = sql.psql(ADMIN, ADMIN_PASSWORD);
    psql.args(["-c", SCHEMA]);
    // Two thirds of the files are databases that nobody is going to copy.
    psql.args(["-c", "UPDATE pg_database SET datistemplate = false"]);
    psql.args(["-c", "DROP DATABASE template0", "-c", "DROP DATABASE template1"]);
    answer(&mut psql)?;
    server.stop_with(Signal::INT);
    let tar = Command::new("tar")
        .args(["-cf", "-", "-C"])
        .arg(folder)
        .arg("data")
        .output()
        .map_err(|error| format!("tar: {error}"))?;
    Ok(tar.stdout)
}
