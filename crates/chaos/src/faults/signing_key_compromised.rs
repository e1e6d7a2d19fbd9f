//! # chaos/signing-key-compromised
//! A private key is out, and somebody uses it.
//!
//! ## What it does
//! Reads the endpoint's private key in a process of its own and answers with it, and with the endpoint's certificate,
//! on `listen`, a free loopback address: an impostor that every client takes for the endpoint. The key stays in that
//! process's memory; it is written nowhere, and nobody else can read it. The probe shakes hands there as a client that
//! verifies, and compares the certificate.
//!
//! - Undo class: `process-bounded`. The impostor and its key are gone with their process.
//! - Rights: read access to `certificate_file` and `key_file`.
//! - Targets: `tls`.
//! - ATT&CK: T1552.004 (unsecured credentials: private keys). CWE: CWE-522 (insufficiently protected credentials).
//! - Expected effect: confidentiality lost: what is sent to the impostor is read; integrity lost: the impostor answers
//!   in the endpoint's name; availability kept.
//!
//! ## Why it matters
//! A stolen key leaves no trace at the endpoint. What could notice is whoever watches reads of the key file,
//! certificates in use, or listeners that nobody deployed; and revocation is worth what `certificate-revoked` shows.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "signing-key-compromised"
//! target = "gateway"
//! listen = "127.0.0.1:8444"
//! ```
//!
//! ## What to do instead
//! Keep keys where they can't be read (a hardware module, an agent that signs); watch who opens the file; make
//! certificates short; rehearse revocation.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1552/004/>
//! - <https://cwe.mitre.org/data/definitions/522.html>

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;

use crate::configured::{is_free, read_listen};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::contents_at;
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::{Target, TargetKind};
use crate::tls::{Met, meet, meet_with};

pub(super) const ENTRY: Entry = Entry {
    id: "signing-key-compromised",
    undo_class: UndoClass::ProcessBounded,
    rights: "read access to `certificate_file` and `key_file`",
    attack: &["T1552.004"],
    cwe: &["CWE-522"],
    effect: Effect {
        confidentiality: "lost: what is sent to the impostor is read",
        integrity: "lost: the impostor answers in the endpoint's name",
        availability: "kept",
    },
    targets: &[TargetKind::Tls],
    keys: &["target", "listen"],
    read,
};

#[derive(Debug)]
struct SigningKeyCompromised {
    target: String,
    listen: SocketAddr,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let listen = read_listen(section, "listen");
    let strike = SigningKeyCompromised {
        target: target?,
        listen: listen?,
    };
    boxed(const { &ENTRY }, strike, None)
}

/// A client of the impostor is given up after so many milliseconds of silence.
const CLIENT_MS_MAX: u64 = 1_000;
/// So many clients of the impostor wait.
const QUEUE_MAX: i32 = 64;

impl SigningKeyCompromised {
    /// A second impostor may take over from the first while that one still listens.
    fn bind(&self) -> std::io::Result<TcpListener> {
        let family = match self.listen {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseaddr(&socket, true)?;
        set_socket_reuseport(&socket, true)?;
        rustix::net::bind(&socket, &self.listen)?;
        rustix::net::listen(&socket, QUEUE_MAX)?;
        Ok(TcpListener::from(socket))
    }

    fn impostor(&self, target: &Target) -> Result<Arc<ServerConfig>, String> {
        let chain = contents_at(&target.path("certificate_file")?)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).filter_map(Result::ok).collect();
        let key = contents_at(&target.path("key_file")?)?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| "`key_file` has no private key in PEM")?;
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map(Arc::new)
            .map_err(|_| "`key_file` and `certificate_file` don't belong together".to_owned())
    }
}

impl Strike for SigningKeyCompromised {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("listen".to_owned(), self.listen.to_string().into()),
        ])
    }

    fn action(&self) -> String {
        format!("answer on `{}` with the private key of `{}`", self.listen, self.target)
    }

    fn undo_action(&self) -> String {
        "end the impostor, and with it all that it knows".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        is_free(self.listen)?;
        self.impostor(target)?;
        match meet(target)? {
            Met::Trusted(_) => Ok(Record::new()),
            met => Err(format!(
                "a verifying client does not trust `{}` as it is: {met:?}",
                target.name
            )),
        }
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("this fault is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let config = self.impostor(site.target(&self.target)?)?;
        let listener = self.bind().map_err(|error| format!("`{}`: {error}", self.listen))?;
        ready();
        // One after the other: an impostor of a fault has no crowd to serve.
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let bound = Some(Duration::from_millis(CLIENT_MS_MAX));
            let bounded = stream
                .set_read_timeout(bound)
                .and_then(|()| stream.set_write_timeout(bound));
            let Ok(mut server) = ServerConnection::new(config.clone()) else {
                continue;
            };
            while bounded.is_ok() && server.is_handshaking() && server.complete_io(&mut stream).is_ok() {}
            server.send_close_notify();
            let _ = server.complete_io(&mut stream);
        }
        Ok(())
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        let target = site.target(&self.target)?;
        let own = contents_at(&target.path("certificate_file")?)?;
        let own = CertificateDer::from_pem_slice(&own).map_err(|_| "`certificate_file` has no certificate")?;
        // A refused connection is the answer that no impostor is there.
        let met = meet_with(target, &self.listen.to_string(), rustls::ALL_VERSIONS);
        Ok(met.is_ok_and(|met| met == Met::Trusted(own.to_vec())))
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        if self.bites(site, record)? {
            return Err(format!("somebody still answers on `{}` with that key", self.listen));
        }
        Ok(Undone::Restored)
    }
}
