//! # chaos/port-open
//! A deployment leaves another port open.
//!
//! ## What it does
//! Adds a `listen` to the `server` block of the target in its nginx configuration, on another port of this host and
//! without TLS, and reloads it: everything behind the block, `path` of the target among it, can be reached around
//! whatever guards its own address. Only a loopback address is opened, to nobody but this host. The probe asks there.
//!
//! - Undo class: `journaled`. The original file is put back and the service reloaded, unless somebody else has changed
//!   the file since.
//! - Rights: write access to `config` and its folder, the right to reload.
//! - Targets: `http`, `tls`.
//! - ATT&CK: T1133 (external remote services). CWE: CWE-1327 (binding to an unrestricted IP address).
//! - Expected effect: confidentiality lost for what the guarded address protected; integrity lost where what is reached
//!   can be changed; availability kept.
//!
//! ## Why it matters
//! The firewall, the proxy and the login are in front of the port that was planned. A port that was not planned has
//! none of them, and no test of the application sees it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "port-open"
//! target = "gateway"
//! listen = "127.0.0.1:8089"
//! ```
//!
//! ## What to do instead
//! Compare the ports that listen with those that were attested, after each deployment and all the time; refuse a
//! configuration with a port that is not on the list.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1133/>
//! - <https://cwe.mitre.org/data/definitions/1327.html>

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::configured::{ConfigEdit, edit_servers, edited, is_free, read_listen};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::http::get;
use crate::read::Section;
use crate::replaced::Replacement;
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "port-open",
    undo_class: UndoClass::Journaled,
    rights: "write access to `config` and its folder, the right to reload",
    attack: &["T1133"],
    cwe: &["CWE-1327"],
    effect: Effect {
        confidentiality: "lost for what the guarded address protected",
        integrity: "lost where what is reached can be changed",
        availability: "kept",
    },
    targets: &[TargetKind::Http, TargetKind::Tls],
    keys: &["target", "listen"],
    read,
};

#[derive(Debug)]
struct PortOpen {
    target: String,
    listen: SocketAddr,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let listen = read_listen(section, "listen");
    let edit = PortOpen {
        target: target?,
        listen: listen?,
    };
    edited(const { &ENTRY }, edit)
}

impl ConfigEdit for PortOpen {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("listen".to_owned(), self.listen.to_string().into())])
    }

    fn action(&self) -> String {
        format!("let `{}` listen on `{}` too, without TLS", self.target, self.listen)
    }

    fn survey(&self, _: &Target) -> Result<(), String> {
        is_free(self.listen)
    }

    fn edit(&self, target: &Target, text: &str) -> Result<String, String> {
        let line = format!("listen {};", self.listen);
        edit_servers(target, text, "block", |server| {
            server.first_line(&line).into_iter().collect()
        })
    }

    /// Refused connections are the answer that the port is closed.
    fn bites(&self, target: &Target, _: &Replacement) -> Result<bool, String> {
        let path = target.optional("path").unwrap_or("/");
        Ok(get(target, &self.listen.to_string(), path).is_ok_and(|answer| answer.is_some()))
    }
}
