//! # chaos/tls-off
//! A deployment switches TLS off: the port speaks plain text.
//!
//! ## What it does
//! Takes `ssl` (and `http2`) from every `listen` of the target's port in its nginx configuration, as a deployment with
//! the wrong template does, and reloads it. The probe gets an answer to a plain request, and none to a handshake.
//!
//! - Undo class: `journaled`. The original file is put back and the service reloaded, unless somebody else has changed
//!   the file since.
//! - Rights: write access to `config` and its folder, the right to reload.
//! - Targets: `tls`.
//! - ATT&CK: T1040 (network sniffing). CWE: CWE-319 (cleartext transmission of sensitive information).
//! - Expected effect: confidentiality lost for whatever is sent before somebody notices; integrity lost against
//!   somebody on the path; availability lost for every client that insists on TLS.
//!
//! ## Why it matters
//! Nothing breaks on the server, and a client that falls back goes on as if nothing were. Only a check from outside, or
//! a client that insists, tells.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "tls-off"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Let clients insist (HSTS, `https` only, no fallback); compare what listens with what was attested after each
//! deployment.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1040/>
//! - <https://cwe.mitre.org/data/definitions/319.html>
//! - <https://nginx.org/en/docs/http/configuring_https_servers.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::configured::{ConfigEdit, edit_servers, edited};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::http::get;
use crate::nginx::{Directive, listens_on};
use crate::read::Section;
use crate::replaced::Replacement;
use crate::target::{Target, TargetKind};
use crate::tls::{Met, meet};

pub(super) const ENTRY: Entry = Entry {
    id: "tls-off",
    undo_class: UndoClass::Journaled,
    rights: "write access to `config` and its folder, the right to reload",
    attack: &["T1040"],
    cwe: &["CWE-319"],
    effect: Effect {
        confidentiality: "lost for whatever is sent before somebody notices",
        integrity: "lost against somebody on the path",
        availability: "lost for every client that insists on TLS",
    },
    targets: &[TargetKind::Tls],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct TlsOff {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    edited(const { &ENTRY }, TlsOff { target })
}

/// Words of `listen` that need TLS.
const TLS_WORDS: &[&str] = &["ssl", "http2", "quic"];

impl ConfigEdit for TlsOff {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    fn action(&self) -> String {
        format!("switch TLS off in the configuration of `{}`", self.target)
    }

    fn survey(&self, target: &Target) -> Result<(), String> {
        match meet(target)? {
            Met::Broken(_) | Met::Closed(_) => Err(format!("`{}` speaks no TLS as it is", target.name)),
            Met::Trusted(_) | Met::Refused(_) => Ok(()),
        }
    }

    fn edit(&self, target: &Target, text: &str) -> Result<String, String> {
        let address = target.text("address")?;
        let port = address.rsplit(':').next();
        edit_servers(target, text, "`listen … ssl`", |server| {
            let on_port = |listen: &&Directive| listens_on(listen) == port;
            let listens = server.all("listen").into_iter().filter(on_port);
            let with_tls = listens.filter(|listen| listen.words.iter().any(|word| word == "ssl"));
            let without = |listen: &Directive| {
                let words = listen.words.iter().filter(|word| !TLS_WORDS.contains(&word.as_str()));
                let words: Vec<&str> = words.map(String::as_str).collect();
                listen.instead(format!("{};", words.join(" ")))
            };
            with_tls.map(without).collect()
        })
    }

    fn bites(&self, target: &Target, _: &Replacement) -> Result<bool, String> {
        if !matches!(meet(target)?, Met::Broken(_) | Met::Closed(_)) {
            return Ok(false);
        }
        Ok(get(target, target.text("address")?, "/")?.is_some())
    }
}
