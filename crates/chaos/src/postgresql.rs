//! PostgreSQL, as faults talk to it: short sessions with time limits, and what is changed in its catalogs named by
//! object id, so that an object of the same name that somebody else has made is never mistaken for ours.
//!
//! It speaks no TLS, and keeps no session between two calls of a strike.
//! Start reading at [`Session`], then [`RoleSetting`].

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls};

use crate::compare::Change;
use crate::dial::dial;
use crate::fault::{Entry, Fault};
use crate::permit::Permit;
use crate::read::Section;
use crate::record::text;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::Target;

/// A login, and each statement, ends within so many milliseconds.
const STATEMENT_MS_MAX: u64 = 1_000;
/// The name by which our sessions are known to the server.
const APPLICATION: &str = "proofmark";
/// What each session asks of the server: times in one form whatever its configuration says, and an end.
const OPTIONS: &str = "-c statement_timeout=900 -c lock_timeout=900 -c TimeZone=UTC -c DateStyle=ISO \
                       -c standard_conforming_strings=on -c client_min_messages=error";

/// Codes of the standard and of PostgreSQL, appendix A: "PostgreSQL Error Codes".
pub(crate) const NO_LOGIN: &str = "28000";
pub(crate) const WRONG_PASSWORD: &str = "28P01";
pub(crate) const NO_PRIVILEGE: &str = "42501";
pub(crate) const TOO_MANY_CONNECTIONS: &str = "53300";
pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";
pub(crate) const READ_ONLY: &str = "25006";

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server answered with an error: its SQLSTATE, and what it says.
    Refused { code: String, message: String },
    /// No answer, or none that can be read.
    Unreachable(String),
}

impl Failure {
    pub(crate) fn has(&self, expected: &str) -> bool {
        matches!(self, Failure::Refused { code, .. } if code == expected)
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> String {
        match failure {
            Failure::Refused { code, message } => format!("PostgreSQL answers: {message} ({code})"),
            Failure::Unreachable(reason) => reason,
        }
    }
}

/// Who logs in where.
pub(crate) struct Login {
    pub address: String,
    pub database: String,
    pub user: String,
    pub password: Option<String>,
    /// The name by which the server lists the session.
    pub application: String,
    /// The address of this host that the server sees; any when `None`.
    pub from: Option<IpAddr>,
}

impl Login {
    pub(crate) fn of(target: &Target) -> Result<Login, String> {
        let user = target.text("user")?.to_owned();
        Ok(Login {
            address: target.text("address")?.to_owned(),
            database: target.optional("database").unwrap_or(&user).to_owned(),
            password: target.password()?,
            user,
            application: APPLICATION.to_owned(),
            from: None,
        })
    }
}

/// One session. It ends with the value.
pub(crate) struct Session {
    runtime: Runtime,
    client: Client,
}

impl Session {
    pub(crate) fn open(target: &Target) -> Result<Session, Failure> {
        Session::login(&Login::of(target).map_err(Failure::Unreachable)?)
    }

    pub(crate) fn login(login: &Login) -> Result<Session, Failure> {
        let unreachable = |error: std::io::Error| Failure::Unreachable(error.to_string());
        let mut config = Config::new();
        config.user(&login.user).dbname(&login.database).options(OPTIONS);
        config.application_name(&login.application);
        if let Some(password) = &login.password {
            config.password(password);
        }
        let stream = dial(&login.address, login.from).map_err(Failure::Unreachable)?;
        stream.set_nonblocking(true).map_err(unreachable)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(unreachable)?;
        let client = bounded(&runtime, async {
            let stream = tokio::net::TcpStream::from_std(stream).map_err(unreachable)?;
            let (client, connection) = config.connect_raw(stream, NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        })?;
        Ok(Session { runtime, client })
    }

    /// The answer, each column of it as the statement casts it to text.
    pub(crate) fn rows(&self, sql: &str, parameters: &[&str]) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        let rows = bounded(&self.runtime, async { Ok(self.client.query(sql, &parameters).await?) })?;
        let row = |row: &tokio_postgres::Row| (0..row.len()).map(|at| row.try_get(at)).collect::<Result<_, _>>();
        Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
    }

    /// The first column of the first row; `None` where there is no row, or it is null.
    pub(crate) fn value(&self, sql: &str, parameters: &[&str]) -> Result<Option<String>, Failure> {
        let row = self.rows(sql, parameters)?.into_iter().next();
        Ok(row.and_then(|row| row.into_iter().next()).flatten())
    }

    /// Statements without parameters.
    pub(crate) fn run(&self, sql: &str) -> Result<(), Failure> {
        bounded(&self.runtime, async { Ok(self.client.batch_execute(sql).await?) })
    }

    /// A statement that may take for ever.
    pub(crate) fn run_unbounded(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }
}

fn bounded<T>(runtime: &Runtime, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let limit = Duration::from_millis(STATEMENT_MS_MAX);
    match runtime.block_on(async { tokio::time::timeout(limit, work).await }) {
        Ok(done) => done,
        Err(_) => Err(Failure::Unreachable(format!(
            "PostgreSQL does not answer within {STATEMENT_MS_MAX} ms"
        ))),
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        match error.as_db_error() {
            Some(error) => Failure::Refused {
                code: error.code().code().to_owned(),
                message: error.message().to_owned(),
            },
            None => Failure::Unreachable(format!("PostgreSQL does not answer: {error}")),
        }
    }
}

/// `Ok` when the target's user can log in and is answered.
pub(crate) fn ping(target: &Target) -> Result<(), String> {
    Session::open(target)?.value("SELECT 1::text", &[])?;
    Ok(())
}

/// True when a login is refused with a certain code, false when it works.
pub(crate) fn login_refused(target: &Target, code: &str) -> Result<bool, String> {
    match Session::open(target) {
        Ok(_) => Ok(false),
        Err(failure) if failure.has(code) => Ok(true),
        Err(failure) => Err(failure.into()),
    }
}

/// A name as SQL has it.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL has it; sessions of ours take no backslashes for anything else.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One setting of a role that a fault changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoleSetting {
    /// Its value as text, over `pg_roles`.
    pub column: &'static str,
    /// What the fault makes of it.
    pub after: &'static str,
    /// What `ALTER ROLE name` is followed by, for a value.
    pub clause: fn(&str) -> String,
}

impl RoleSetting {
    pub(crate) fn survey(&self, session: &Session, role: &str) -> Result<Record, String> {
        let role = Role::find(session, role)?;
        let before = self.read(session, &role)?;
        let change = Change::new(before.clone(), self.after).map_err(|_| {
            let value = before.as_str().unwrap_or_default();
            format!("role `{}` is so already: `{value}`", role.name)
        })?;
        Ok(change.record(role.record()))
    }

    pub(crate) fn apply(&self, session: &Session, record: &Record) -> Result<(), String> {
        self.put(session, &Role::of(record)?, self.after)
    }

    pub(crate) fn take_back(&self, session: &Session, record: &Record) -> Result<Undone, String> {
        let role = Role::of(record)?;
        if let Some(foreign) = role.replaced(session)? {
            return Ok(foreign);
        }
        let change = Change::of(record)?;
        let before = change.before.as_str().unwrap_or_default();
        change.undo(|| self.read(session, &role), || self.put(session, &role, before))
    }

    fn read(&self, session: &Session, role: &Role) -> Result<Value, String> {
        let sql = format!("SELECT ({})::text FROM pg_roles WHERE oid::text = $1", self.column);
        Ok(session.value(&sql, &[&role.oid])?.map_or(Value::Null, Value::from))
    }

    fn put(&self, session: &Session, role: &Role, value: &str) -> Result<(), String> {
        let (role, clause) = (identifier(&role.name), (self.clause)(value));
        Ok(session.run(&format!("ALTER ROLE {role} {clause}"))?)
    }
}

/// Keys of a `[[fault]]` that is a [`LoginLost`].
pub(crate) const LOGIN_LOST_KEYS: &[&str] = &["target", "client", "hold_ms"];

/// How a setting of its role takes a client's login from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoginLost {
    pub setting: RoleSetting,
    /// SQLSTATE of the refusal.
    pub code: &'static str,
    /// What injection does to a client at a server.
    pub action: fn(&str, &str) -> String,
    pub undo_action: &'static str,
}

/// A fault of the catalogue made of one.
pub(crate) fn read_login_lost(entry: &'static Entry, how: LoginLost, section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let strike = LoginLostAt {
        how,
        target: target?,
        client: client?,
    };
    boxed(entry, strike, read_hold(section))
}

#[derive(Debug)]
struct LoginLostAt {
    how: LoginLost,
    target: String,
    client: String,
}

impl LoginLostAt {
    fn session(&self, site: &Site) -> Result<Session, String> {
        Ok(Session::open(site.target(&self.target)?)?)
    }
}

impl Strike for LoginLostAt {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
        ])
    }

    fn action(&self) -> String {
        (self.how.action)(&self.client, &self.target)
    }

    fn undo_action(&self) -> String {
        self.how.undo_action.to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let role = site.target(&self.client)?.text("user")?;
        self.how.setting.survey(&self.session(site)?, role)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        self.how.setting.apply(&self.session(site)?, record)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        login_refused(site.target(&self.client)?, self.how.code)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        self.how.setting.take_back(&self.session(site)?, record)
    }
}

/// A role, found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub oid: String,
    pub name: String,
}

impl Role {
    pub(crate) fn find(session: &Session, name: &str) -> Result<Role, String> {
        let oid = session.value("SELECT oid::text FROM pg_roles WHERE rolname = $1", &[name])?;
        Ok(Role {
            oid: oid.ok_or_else(|| format!("there is no role `{name}`"))?,
            name: name.to_owned(),
        })
    }

    pub(crate) fn of(record: &Record) -> Result<Role, String> {
        Ok(Role {
            oid: text(record, "role_oid")?.to_owned(),
            name: text(record, "role")?.to_owned(),
        })
    }

    pub(crate) fn record(&self) -> [(&'static str, Value); 2] {
        [
            ("role", self.name.clone().into()),
            ("role_oid", self.oid.clone().into()),
        ]
    }

    /// Says what became of a role that is no longer what was recorded.
    pub(crate) fn replaced(&self, session: &Session) -> Result<Option<Undone>, String> {
        let sql = "SELECT rolname::text FROM pg_roles WHERE oid::text = $1";
        Ok(renamed("role", &self.name, session.value(sql, &[&self.oid])?))
    }
}

/// A table, found by the name that a fault has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub oid: String,
    /// With its schema, as SQL has it.
    pub name: String,
}

const TABLE_NAME: &str = "format('%I.%I', nspname, relname)";
const TABLES: &str = "pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace";

impl Table {
    /// `name` is `schema.table`, or a table on the search path.
    pub(crate) fn find(session: &Session, name: &str) -> Result<Table, String> {
        let sql = format!("SELECT pg_class.oid::text, {TABLE_NAME} FROM {TABLES} WHERE pg_class.oid = to_regclass($1)");
        let found = session.rows(&sql, &[name])?.into_iter().next();
        let Some([Some(oid), Some(name)]) = found.as_deref() else {
            return Err(format!("there is no table `{name}`"));
        };
        Ok(Table {
            oid: oid.clone(),
            name: name.clone(),
        })
    }

    pub(crate) fn of(record: &Record) -> Result<Table, String> {
        Ok(Table {
            oid: text(record, "table_oid")?.to_owned(),
            name: text(record, "table")?.to_owned(),
        })
    }

    pub(crate) fn record(&self) -> [(&'static str, Value); 2] {
        [
            ("table", self.name.clone().into()),
            ("table_oid", self.oid.clone().into()),
        ]
    }

    /// Says what became of a table that is no longer what was recorded.
    pub(crate) fn replaced(&self, session: &Session) -> Result<Option<Undone>, String> {
        let sql = format!("SELECT {TABLE_NAME} FROM {TABLES} WHERE pg_class.oid::text = $1");
        Ok(renamed("table", &self.name, session.value(&sql, &[&self.oid])?))
    }
}

fn renamed(what: &str, name: &str, found: Option<String>) -> Option<Undone> {
    match found {
        Some(found) if found == name => None,
        Some(found) => Some(Undone::Foreign(format!("{what} `{name}` is called `{found}` now"))),
        None => Some(Undone::Foreign(format!("{what} `{name}` was dropped"))),
    }
}

/// Rows that a role must not see: where `column` is `value`. It is how a read of another tenant is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignRows {
    pub table: String,
    pub column: String,
    pub value: String,
}

impl ForeignRows {
    pub(crate) fn read(section: &Section<'_>) -> Option<ForeignRows> {
        let (table, column, value) = (section.text("table"), section.text("column"), section.text("value"));
        Some(ForeignRows {
            table: table?,
            column: column?,
            value: value?,
        })
    }

    pub(crate) fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("table".to_owned(), self.table.clone().into()),
            ("column".to_owned(), self.column.clone().into()),
            ("value".to_owned(), self.value.clone().into()),
        ])
    }

    /// There are such rows, as the administrator sees them: a probe that finds none would prove nothing.
    pub(crate) fn exist(&self, administrator: &Session) -> Result<(), String> {
        if self.are_seen(administrator)? {
            return Ok(());
        }
        let ForeignRows { table, column, value } = self;
        Err(format!("table `{table}` has no row whose `{column}` is `{value}`"))
    }

    /// Asks for one of them.
    pub(crate) fn are_seen(&self, session: &Session) -> Result<bool, String> {
        let table = Table::find(session, &self.table)?.name;
        let column = identifier(&self.column);
        let sql = format!("SELECT 1::text FROM {table} WHERE {column}::text = $1 LIMIT 1");
        Ok(session.value(&sql, &[&self.value])?.is_some())
    }
}
