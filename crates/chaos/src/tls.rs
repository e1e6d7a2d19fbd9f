//! What faults on TLS endpoints share: a client that verifies as any would and tells what it meets, and the
//! certificate of an endpoint replaced by one that has a single flaw.
//!
//! The client knows the authorities of the target's `ca_file` and the name `server_name`, and the time of this host.
//! Start reading at [`meet`] and [`Flawed`].

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore, SupportedProtocolVersion};
use serde_json::Value;

use crate::dial::dial_within;
use crate::fault::{Entry, Fault};
use crate::files::{Location, contents_at};
use crate::permit::Permit;
use crate::read::Section;
use crate::record;
use crate::reload;
use crate::replaced::Replacement;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::Target;
use crate::x509::{Authority, Certificate, Change, with_first};

/// Connecting, and each read and write of a handshake, ends within so many milliseconds.
const HANDSHAKE_STEP_MS_MAX: u64 = 700;
/// Name in a certificate that is for another host (RFC 2606).
const OTHER_NAME: &str = "other.invalid";

/// What a verifying client meets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Met {
    /// It goes on, and sees this certificate (DER).
    Trusted(Vec<u8>),
    /// It breaks off.
    Refused(CertificateError),
    /// The endpoint breaks off, or speaks no TLS.
    Broken(Error),
    /// The connection closed within the handshake.
    Closed(String),
}

/// Shakes hands with the endpoint at the target's `address`. `Err` when there is no connection, and so no answer.
pub(crate) fn meet(target: &Target) -> Result<Met, String> {
    meet_with(target, target.text("address")?, rustls::ALL_VERSIONS)
}

/// The same at another address, or as a client that knows only some versions of TLS.
pub(crate) fn meet_with(
    target: &Target,
    address: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Met, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let name = target.text("server_name")?;
    let name =
        ServerName::try_from(name.to_owned()).map_err(|_| format!("`server_name`, `{name}`, is no host name"))?;
    let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(target)?), provider.clone());
    if let Some(list) = target.optional("crl_file") {
        // Other certificates of a chain may have lists of their own, which nobody declared.
        verifier = verifier
            .with_crls(revocation_lists(list)?)
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status();
    }
    let verifier = verifier.build().map_err(|_| {
        format!(
            "`ca_file` or `crl_file` of target `{}` holds what a client can't verify with",
            target.name
        )
    })?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut stream = connect(address)?;
    while client.is_handshaking() {
        if let Err(error) = client.complete_io(&mut stream) {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
            return Ok(match inner {
                Some(Error::InvalidCertificate(problem)) => Met::Refused(problem.clone()),
                Some(other) => Met::Broken(other.clone()),
                None => Met::Closed(silence(&error)),
            });
        }
    }
    let seen = client.peer_certificates().and_then(|chain| chain.first());
    Ok(Met::Trusted(seen.map(|leaf| leaf.to_vec()).unwrap_or_default()))
}

/// `Ok` when a client that verifies gets through the handshake.
pub(crate) fn ping(target: &Target) -> Result<(), String> {
    match meet(target)? {
        Met::Trusted(_) => Ok(()),
        Met::Refused(problem) => Err(format!(
            "a verifying client refuses its certificate: {}",
            flaw(&problem)
        )),
        Met::Broken(problem) => Err(format!("the handshake fails: {}", breach(&problem))),
        Met::Closed(reason) => Err(format!("the handshake breaks off: {reason}")),
    }
}

/// What is wrong with a certificate, in words.
fn flaw(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name than `server_name`"
        }
        CertificateError::UnknownIssuer => "no authority of `ca_file` has issued it",
        CertificateError::Revoked => "it is revoked",
        CertificateError::BadSignature => "its signature does not hold",
        CertificateError::BadEncoding => "it can't be read",
        CertificateError::UnknownRevocationStatus => "`crl_file` does not say whether it is revoked",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of `crl_file` has expired"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not one for servers"
        }
        CertificateError::UnhandledCriticalExtension => "it has a critical extension that this client does not know",
        _ => "it is signed in a way, or for a use, that this client does not take",
    }
}

/// Why a handshake failed, in words.
fn breach(problem: &Error) -> String {
    match problem {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => "what answers does not speak TLS".to_owned(),
        Error::InappropriateHandshakeMessage { .. } => "what answers does not keep to the order of TLS".to_owned(),
        Error::PeerIncompatible(_) => "both have no version or cipher of TLS in common".to_owned(),
        Error::NoCertificatesPresented => "it shows no certificate".to_owned(),
        Error::AlertReceived(alert) => format!("it breaks off with the alert `{}`", words(&format!("{alert:?}"))),
        Error::DecryptError | Error::PeerMisbehaved(_) => "what it sends does not hold".to_owned(),
        _ => "this client can't go on".to_owned(),
    }
}

/// Why a connection ended within a handshake, in words.
fn silence(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::UnexpectedEof => "it closes the connection".to_owned(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "it resets the connection".to_owned()
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("nothing comes within {HANDSHAKE_STEP_MS_MAX} ms"),
        _ => error.to_string(),
    }
}

/// `HandshakeFailure` as the specification writes it: `handshake_failure`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// A connection on which each step ends in time for the next one.
pub(crate) fn connect(address: &str) -> Result<TcpStream, String> {
    dial_within(address, None, Duration::from_millis(HANDSHAKE_STEP_MS_MAX))
}

fn roots(target: &Target) -> Result<RootCertStore, String> {
    let path = target.path("ca_file")?;
    let mut roots = RootCertStore::empty();
    let text = contents_at(&path)?;
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).filter_map(Result::ok));
    if added == 0 {
        return Err(format!("`ca_file`, `{}`, has no certificate", path.display()));
    }
    Ok(roots)
}

fn revocation_lists(path: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let text = contents_at(path.as_ref())?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
    lists
        .ok()
        .filter(|lists| !lists.is_empty())
        .ok_or_else(|| format!("`crl_file`, `{path}`, has no revocation list"))
}

/// The authority whose key the target's `issuer_key_file` is.
pub(crate) fn issuer(target: &Target) -> Result<Authority, String> {
    let key = contents_at(&target.path("issuer_key_file")?)?;
    let mut certificates = Certificate::all(&contents_at(&target.path("ca_file")?)?);
    if let Some(chain) = target.optional("certificate_file") {
        certificates.extend(Certificate::all(&contents_at(chain.as_ref())?));
    }
    Authority::declared(&key, &certificates)
}

/// What is wrong with the certificate that an endpoint gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    Expired,
    NotYetValid,
    WrongName,
    Untrusted,
}

impl Flaw {
    fn words(self) -> &'static str {
        match self {
            Flaw::Expired => "that expired in 2000",
            Flaw::NotYetValid => "that is not valid before 2199",
            Flaw::WrongName => "for another host",
            Flaw::Untrusted => "of an authority that nobody trusts",
        }
    }

    fn change(self) -> Change<'static> {
        match self {
            Flaw::Expired => Change::Past,
            Flaw::NotYetValid => Change::Future,
            Flaw::WrongName => Change::Name(OTHER_NAME),
            Flaw::Untrusted => Change::Issuer,
        }
    }

    /// True when this very flaw is what the client breaks off for.
    fn shows(self, met: &Met) -> bool {
        use CertificateError as E;
        let Met::Refused(problem) = met else { return false };
        match self {
            Flaw::Expired => matches!(problem, E::Expired | E::ExpiredContext { .. }),
            Flaw::NotYetValid => matches!(problem, E::NotValidYet | E::NotValidYetContext { .. }),
            Flaw::WrongName => matches!(problem, E::NotValidForName | E::NotValidForNameContext { .. }),
            Flaw::Untrusted => matches!(problem, E::UnknownIssuer),
        }
    }
}

/// An endpoint's certificate replaced by one with a flaw, for the same key.
#[derive(Debug)]
pub(crate) struct Flawed {
    flaw: Flaw,
    target: String,
}

/// Keys of a `[[fault]]` that is a [`Flawed`] certificate.
pub(crate) const FLAWED_KEYS: &[&str] = &["target"];
/// Under this key a record has the certificate (DER, base64). It is as public as any.
const CERTIFICATE_KEY: &str = "certificate";

pub(crate) fn read_flawed(entry: &'static Entry, flaw: Flaw, section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    boxed(entry, Flawed { flaw, target }, None)
}

impl Flawed {
    fn bites(&self, target: &Target) -> Result<bool, String> {
        meet(target).map(|met| self.flaw.shows(&met))
    }
}

impl Strike for Flawed {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!(
            "give `{}` a certificate {}, and reload it",
            self.target,
            self.flaw.words()
        )
    }

    fn undo_action(&self) -> String {
        "put its certificate back, and reload it".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        target.command("reload")?;
        match meet(target)? {
            Met::Trusted(_) => {}
            met => {
                return Err(format!(
                    "a verifying client does not trust `{}` as it is: {met:?}",
                    target.name
                ));
            }
        }
        let file = Location::declared(target, "certificate_file")?;
        let before = file.read(target)?;
        let certificate = Certificate::all(&before)
            .into_iter()
            .next()
            .ok_or_else(|| format!("`{file}` has no certificate"))?;
        let authority = match self.flaw {
            Flaw::Untrusted => Authority::unknown()?,
            _ => issuer(target)?,
        };
        let flawed = certificate.reissued(self.flaw.change(), &authority)?;
        let after = with_first(&before, &flawed).ok_or("its certificate is not in PEM")?;
        let mut record = Replacement::to(target, &file, &after)?.record();
        record.insert(CERTIFICATE_KEY.to_owned(), record::of_bytes(&flawed));
        Ok(record)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let flawed = record::bytes(record, CERTIFICATE_KEY)?;
        let make = |old: Vec<u8>| with_first(&old, &flawed).ok_or_else(|| "its certificate is not in PEM".to_owned());
        reload::put_in(&Replacement::of(record)?, target, make, || self.bites(target))
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.bites(site.target(&self.target)?)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        reload::put_back(&Replacement::of(record)?, target, || self.bites(target))
    }
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, InvalidMessage};

    use super::*;

    #[test]
    fn what_tls_says_is_said_in_words() {
        for (problem, expect) in [
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "what answers does not speak TLS",
            ),
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "it breaks off with the alert `handshake_failure`",
            ),
            (Error::NoCertificatesPresented, "it shows no certificate"),
        ] {
            assert_eq!(breach(&problem), expect);
        }
        assert_eq!(
            flaw(&CertificateError::UnknownIssuer),
            "no authority of `ca_file` has issued it"
        );
        assert_eq!(
            silence(&std::io::ErrorKind::UnexpectedEof.into()),
            "it closes the connection"
        );
    }
}
