//! What faults share that edit a service's configuration and have it read again: the edit is all that differs.
//!
//! Start reading at [`ConfigEdit`]; [`edited`] makes a fault of one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde_json::Value;

use crate::fault::{Entry, Fault};
use crate::files::Location;
use crate::nginx::{Config, Directive, Edit};
use crate::permit::Permit;
use crate::read::Section;
use crate::reload;
use crate::replaced::Replacement;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::Target;

/// One edit of the configuration of a service.
pub(crate) trait ConfigEdit: Send + Sync + fmt::Debug {
    fn target(&self) -> &str;

    /// Its parameters, beside `target`.
    fn parameters(&self) -> BTreeMap<String, Value>;

    /// What is done to the configuration, in one line, behind which "and reload it" stands.
    fn action(&self) -> String;

    /// The file that is edited.
    fn file(&self, target: &Target) -> Result<Location, String> {
        Location::declared(target, "config")
    }

    /// What else has to be so before.
    fn survey(&self, _: &Target) -> Result<(), String> {
        Ok(())
    }

    /// The edited text. The same text gives the same edit.
    fn edit(&self, target: &Target, text: &str) -> Result<String, String>;

    /// Asks the service whether it shows.
    fn bites(&self, target: &Target, replacement: &Replacement) -> Result<bool, String>;
}

/// A fault of the catalogue made of an edit.
pub(crate) fn edited(entry: &'static Entry, edit: impl ConfigEdit + 'static) -> Option<Box<dyn Fault>> {
    boxed(entry, Edited(edit), None)
}

/// `listen` of a fault: an address of this host that nobody else can reach.
pub(crate) fn read_listen(section: &Section<'_>, key: &str) -> Option<SocketAddr> {
    let text = section.text(key)?;
    let address = text
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.ip().is_loopback() && address.port() > 0);
    if address.is_none() {
        section.problem(
            key,
            "chaos/bad-address",
            format!("`{text}` is no loopback address with a port"),
            "a fault opens nothing to other hosts: write `127.0.0.1:PORT`",
        );
    }
    address
}

/// Nobody listens there yet.
pub(crate) fn is_free(address: SocketAddr) -> Result<(), String> {
    std::net::TcpListener::bind(address)
        .map(drop)
        .map_err(|error| format!("`{address}` is not free: {error}"))
}

/// Edits every `server` block that listens on the port of the target's `address`. None edited is an error.
pub(crate) fn edit_servers(
    target: &Target,
    text: &str,
    what: &str,
    mut edit: impl FnMut(&Directive) -> Vec<Edit>,
) -> Result<String, String> {
    let address = target.text("address")?;
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.ok_or_else(|| format!("`address`, `{address}`, has no port"))?;
    let config = Config::parse(text)?;
    let edits: Vec<Edit> = config.servers(port)?.into_iter().flat_map(&mut edit).collect();
    if edits.is_empty() {
        return Err(format!("the `server` block of `{address}` has no {what}"));
    }
    Ok(config.with(edits))
}

#[derive(Debug)]
struct Edited<E>(E);

impl<E: ConfigEdit> Strike for Edited<E> {
    fn parameters(&self) -> BTreeMap<String, Value> {
        let mut parameters = self.0.parameters();
        parameters.insert("target".to_owned(), self.0.target().into());
        parameters
    }

    fn action(&self) -> String {
        format!("{}, and reload it", self.0.action())
    }

    fn undo_action(&self) -> String {
        "put its configuration back, and reload it".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.0.target().to_owned()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(self.0.target())?;
        self.0.survey(target)?;
        let file = self.0.file(target)?;
        let after = self.0.edit(target, &file.text(target)?)?;
        Ok(Replacement::to(target, &file, after.as_bytes())?.record())
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(self.0.target())?;
        let replacement = Replacement::of(record)?;
        let make = |old| {
            let text = replacement.location().utf8(old)?;
            Ok(self.0.edit(target, &text)?.into_bytes())
        };
        reload::put_in(&replacement, target, make, || self.0.bites(target, &replacement))
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        self.0.bites(site.target(self.0.target())?, &Replacement::of(record)?)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(self.0.target())?;
        let replacement = Replacement::of(record)?;
        reload::put_back(&replacement, target, || self.0.bites(target, &replacement))
    }
}
