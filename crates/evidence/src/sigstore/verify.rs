//! The order of the checks, and what each says when it fails. Start reading at [`verify`], then [`Checks::run`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::bundle::{Content, Entry as WireEntry, FormError, Material, SigstoreBundle, Version};
use super::keys::{Hash, VerifyingKey};
use super::rekor::{self, ProofFault, Signed};
use super::root::{Authority, Log, TrustedRoot};
use super::tsp::TimeStamp;
use super::x509::{CODE_SIGNING, Certificate, Chain, ChainError, TIME_STAMPING};
use super::{ct, json};
use crate::digest::hex;
use crate::{Digest, Outcome, PAYLOAD_TYPE_IN_TOTO, STATEMENT_TYPE, Statement, Subject, Timestamp, pae};

const STATEMENT_TYPE_V01: &str = "https://in-toto.io/Statement/v0.1";
const SUBJECTS_MAX: usize = 65_536;

/// What the bundle is held against.
#[derive(Debug, Clone, Copy)]
pub enum Artifact<'a> {
    /// The artifact itself.
    Bytes(&'a [u8]),
    /// Its digest. Ed25519 signatures over artifacts can't be checked with it.
    Digest(Hash, &'a [u8]),
    /// No artifact: what a statement says about whatever subject is read as evidence, and compared by others.
    AnySubject,
}

impl Artifact<'_> {
    fn digest(&self, hash: Hash) -> Option<Vec<u8>> {
        match self {
            Artifact::Bytes(bytes) => Some(hash.of(bytes)),
            Artifact::Digest(given, digest) if *given == hash => Some(digest.to_vec()),
            Artifact::Digest(..) | Artifact::AnySubject => None,
        }
    }
}

/// Who may have signed, what is asked, and how many witnesses of each kind it takes.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    pub who: Who<'a>,
    /// Type of the predicate, if only one will do.
    pub predicate_type: Option<&'a str>,
    /// Logs that must hold it; 1 unless stated.
    pub log_entries_min: usize,
    /// Proven times of a certificate's signature; at least 1, whatever stands here.
    pub times_min: usize,
    /// CT logs that must have seen the certificate; 1 unless stated.
    pub scts_min: usize,
}

impl<'a> Policy<'a> {
    pub fn new(who: Who<'a>) -> Self {
        Policy {
            who,
            predicate_type: None,
            log_entries_min: 1,
            times_min: 1,
            scts_min: 1,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// Whoever holds a certificate for this identity.
    Identity(Identity<'a>),
    /// This key and no other.
    Key(&'a VerifyingKey),
    /// Anybody the trusted root vouches for: the caller judges the [`Signer`] it is told.
    Anyone,
}

/// The one name in a certificate, and who vouched for it.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub name: &'a dyn Fn(&str) -> bool,
    /// The name or the pattern in words, for messages.
    pub name_text: &'a str,
    pub issuer: &'a dyn Fn(&str) -> bool,
    pub issuer_text: &'a str,
}

impl std::fmt::Debug for Identity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({} by {})", self.name_text, self.issuer_text)
    }
}

/// The checks, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    Size,
    Form,
    Key,
    Signature,
    Payload,
    Predicate,
    Subject,
    Identity,
    Time,
    Promise,
    Certificate,
    Sct,
    LogEntry,
    Inclusion,
    Checkpoint,
    Complete,
}

impl Check {
    /// As messages and documents name it.
    pub fn name(self) -> &'static str {
        match self {
            Check::Size => "size",
            Check::Form => "form",
            Check::Key => "key",
            Check::Signature => "signature",
            Check::Payload => "payload",
            Check::Predicate => "predicate",
            Check::Subject => "subject",
            Check::Identity => "identity",
            Check::Time => "time",
            Check::Promise => "promise",
            Check::Certificate => "certificate",
            Check::Sct => "sct",
            Check::LogEntry => "log-entry",
            Check::Inclusion => "inclusion",
            Check::Checkpoint => "checkpoint",
            Check::Complete => "complete",
        }
    }
}

/// A check that held, and what it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    pub check: Check,
    pub what: String,
}

/// The first check that failed, or that can't be made; and the trace up to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", check.name())]
pub struct Refusal {
    /// `Fail` when something is wrong, `Indeterminate` when something is lacking.
    pub outcome: Outcome,
    pub check: Check,
    pub what: String,
    /// SHA-256 of the key or certificate it was about.
    pub key: Option<String>,
    /// What to do.
    pub fix: &'static str,
    pub passed: Vec<Passed>,
}

/// A bundle of which every check held.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedBundle {
    // INVARIANT: no field is public and none is ever changed, so that holding one is proof that it was checked.
    statement: Option<Statement>,
    signer: Signer,
    times: Vec<ProvenTime>,
    entries: Vec<Entry>,
    trusted_root: Digest,
    at: Timestamp,
    passed: Vec<Passed>,
}

impl VerifiedBundle {
    /// What was said; `None` when the artifact itself was signed.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// When it was signed, as others witnessed it; may be empty for a bare key.
    pub fn times(&self) -> &[ProvenTime] {
        &self.times
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// SHA-256 of the trusted root it was held against.
    pub fn trusted_root(&self) -> Digest {
        self.trusted_root
    }

    /// When it was checked.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    pub fn passed(&self) -> &[Passed] {
        &self.passed
    }
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    Certificate {
        /// The one subject alternative name.
        name: String,
        /// The identity provider that vouched for it.
        issuer: String,
        claims: Claims,
        /// SHA-256 of the certificate.
        fingerprint: String,
    },
    /// SHA-256 of the key.
    Key(String),
}

/// What Fulcio wrote into the certificate, by its names (<https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>).
pub type Claims = BTreeMap<&'static str, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenTime {
    pub at: Timestamp,
    pub source: TimeSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeSource {
    /// A time stamp authority, by its address.
    Authority(String),
    /// A log that promised to hold the entry, by its origin.
    Log(String),
}

/// Where in which log the signature stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub log: String,
    pub index: u64,
    /// False when the log only promised.
    pub included: bool,
}

/// Verifies the bytes of a bundle.
pub fn verify(
    bundle: &[u8],
    root: &TrustedRoot,
    policy: &Policy<'_>,
    artifact: Artifact<'_>,
    at: Timestamp,
) -> Result<VerifiedBundle, Refusal> {
    let bundle = SigstoreBundle::from_bytes(bundle).map_err(malformed)?;
    verify_parsed(&bundle, root, policy, artifact, at)
}

pub(super) fn malformed(error: FormError) -> Refusal {
    let (check, what) = match error {
        FormError::TooLarge(bytes) => (
            Check::Size,
            format!("{bytes} bytes are over the limit of {}", SigstoreBundle::BYTES_MAX),
        ),
        FormError::Form(what) => (Check::Form, what),
    };
    Trace::default().fail(check, what, None)
}

pub(super) fn verify_parsed(
    bundle: &SigstoreBundle,
    root: &TrustedRoot,
    policy: &Policy<'_>,
    artifact: Artifact<'_>,
    at: Timestamp,
) -> Result<VerifiedBundle, Refusal> {
    let checks = Checks {
        bundle,
        root,
        policy,
        artifact,
        at,
        trace: Trace::default(),
    };
    checks.run()
}

/// What held so far.
#[derive(Default)]
struct Trace(Vec<Passed>);

impl Trace {
    fn pass(&mut self, check: Check, what: impl Into<String>) {
        self.0.push(Passed {
            check,
            what: what.into(),
        });
    }

    fn fail(&self, check: Check, what: impl Into<String>, key: Option<String>) -> Refusal {
        self.refuse(Outcome::Fail, check, what.into(), key)
    }

    fn lack(&self, check: Check, what: impl Into<String>, key: Option<String>) -> Refusal {
        self.refuse(Outcome::Indeterminate, check, what.into(), key)
    }

    fn refuse(&self, outcome: Outcome, check: Check, what: String, key: Option<String>) -> Refusal {
        Refusal {
            outcome,
            check,
            what,
            key,
            fix: fix(outcome, check),
            passed: self.0.clone(),
        }
    }
}

fn fix(outcome: Outcome, check: Check) -> &'static str {
    match (outcome, check) {
        (_, Check::Size) => "split the payload, or refer to it by digest",
        (_, Check::Form) => "take the bundle again from where it was published; it must be of version 0.1 to 0.3",
        (Outcome::Indeterminate, Check::Key) => "give the public key it was signed with: `--key FILE`",
        (_, Check::Key) => "verify with what it was signed with: a certificate's identity, or a key",
        (Outcome::Indeterminate, Check::Signature) => "give the artifact itself: `--artifact PATH`",
        (_, Check::Signature) => "don't use the artifact: it, the signature or the key is another one than was signed",
        (_, Check::Payload) => "ask whoever signs for an in-toto statement",
        (_, Check::Predicate) => "ask for the predicate type the bundle has, or take the bundle that has yours",
        (_, Check::Subject) => "take the bundle of this artifact; this one is about another",
        (_, Check::Identity) => "find out who signed before you allow them",
        (Outcome::Indeterminate, Check::Time) => {
            "take a bundle with a log entry or a time stamp of an authority in the trusted root"
        }
        (_, Check::Time) => "don't use it: the time it was signed is not proven",
        (_, Check::Promise) => "don't use it: the log did not sign this entry at this time",
        (_, Check::Certificate) => "check that the trusted root is the one of who signed; else don't use the artifact",
        (Outcome::Indeterminate, Check::Sct) => "take a trusted root that has the certificate transparency log's key",
        (_, Check::Sct) => "don't use it: no known log has seen the certificate",
        (_, Check::LogEntry) => "don't use it: the log entry belongs to another signature",
        (Outcome::Indeterminate, Check::Inclusion | Check::Checkpoint) => {
            "take the bundle again with the inclusion proof and its checkpoint"
        }
        (_, Check::Inclusion | Check::Checkpoint) => "don't use it: the log does not hold this entry",
        (_, Check::Complete) => "take a bundle with what is missing, or a trusted root that knows its log or authority",
    }
}

struct Checks<'a> {
    bundle: &'a SigstoreBundle,
    root: &'a TrustedRoot,
    policy: &'a Policy<'a>,
    artifact: Artifact<'a>,
    at: Timestamp,
    trace: Trace,
}

impl<'a> Checks<'a> {
    fn run(mut self) -> Result<VerifiedBundle, Refusal> {
        let chain = self.chain()?;
        let (leaf, others) = match chain.split_first() {
            Some((leaf, others)) => (Some(leaf), others),
            None => (None, &[][..]),
        };
        let key = self.key(leaf)?;
        let id = key.id();
        self.trace.pass(
            Check::Key,
            format!("{id}, {}", if leaf.is_some() { "of a certificate" } else { "given" }),
        );
        self.signature(&key)?;
        let statement = self.statement()?;
        self.subject(statement.as_ref())?;
        let signer = match leaf {
            Some(leaf) => self.identity(leaf)?,
            None => Signer::Key(id.clone()),
        };
        let mut times = self.timestamps()?;
        times.extend(self.promises()?);
        if let Some(leaf) = leaf {
            self.certificate(leaf, others, &times)?;
        }
        let entries = self.entries(leaf, &key, &times)?;
        self.complete(leaf.is_some(), &times)?;
        Ok(VerifiedBundle {
            statement,
            signer,
            times,
            entries,
            trusted_root: self.root.digest(),
            at: self.at,
            passed: self.trace.0,
        })
    }

    fn chain(&self) -> Result<Vec<Certificate<'a>>, Refusal> {
        let Material::Certificates(list) = &self.bundle.material else {
            return Ok(Vec::new());
        };
        let malformed = |der: &[u8]| {
            let fingerprint = Some(Digest::of(der).hex());
            self.trace.fail(
                Check::Key,
                "a certificate is malformed, or has a critical extension that isn't known",
                fingerprint,
            )
        };
        let parse = |der: &'a Vec<u8>| Certificate::parse(der).map_err(|_| malformed(der));
        list.iter().map(parse).collect()
    }

    /// The key that signed: the certificate's, or the one that was given.
    fn key(&self, leaf: Option<&Certificate<'_>>) -> Result<VerifyingKey, Refusal> {
        match (self.policy.who, leaf) {
            (Who::Key(key), None) => Ok(key.clone()),
            (Who::Identity(_) | Who::Anyone, Some(leaf)) => Ok(leaf.key.clone()),
            (Who::Key(key), Some(_)) => Err(self.trace.fail(
                Check::Key,
                "it was signed with a certificate, and a key was given",
                Some(key.id()),
            )),
            (Who::Identity(_) | Who::Anyone, None) => {
                let hint = match &self.bundle.material {
                    Material::Key(hint) if !hint.is_empty() => format!(", whose hint is `{}`", shown(hint)),
                    _ => String::new(),
                };
                let what = format!("it was signed with a key that was not given{hint}");
                Err(self.trace.lack(Check::Key, what, None))
            }
        }
    }

    /// Over the exact bytes, before anything in them is read.
    fn signature(&mut self, key: &VerifyingKey) -> Result<(), Refusal> {
        let id = Some(key.id());
        let signature = self.bundle.content.signature();
        let holds = match (&self.bundle.content, self.artifact) {
            (
                Content::Envelope {
                    payload, payload_type, ..
                },
                _,
            ) => key.verifies(&pae(payload_type, payload), signature),
            (Content::Message { .. }, Artifact::Bytes(bytes)) => key.verifies(bytes, signature),
            (Content::Message { .. }, Artifact::Digest(..)) if key.needs_message() => {
                let what = "an Ed25519 signature is over the artifact itself, and only its digest is given";
                return Err(self.trace.lack(Check::Signature, what, id));
            }
            (Content::Message { digest, .. }, Artifact::Digest(hash, given)) => {
                let other = digest
                    .as_ref()
                    .and_then(|(name, _)| Hash::named(name))
                    .filter(|other| *other != hash);
                if let Some(other) = other {
                    let what = format!(
                        "it is over the artifact's {}, and its {} is given",
                        other.name(),
                        hash.name()
                    );
                    return Err(self.trace.lack(Check::Signature, what, id));
                }
                key.verifies_digest(hash, given, signature)
            }
            (Content::Message { .. }, Artifact::AnySubject) => {
                return Err(self
                    .trace
                    .lack(Check::Signature, "it is over an artifact that was not given", id));
            }
        };
        let over = match self.bundle.content {
            Content::Message { .. } => "the artifact",
            Content::Envelope { .. } => "the envelope's exact bytes",
        };
        if !holds {
            // A key of another customary hash may have signed over a digest that isn't at hand.
            if let Artifact::Digest(given, _) = self.artifact
                && let Some(customary) = key.customary_hash().filter(|hash| *hash != given)
                && matches!(self.bundle.content, Content::Message { .. })
            {
                let what = format!(
                    "it may be over the artifact's {}, and its {} is given",
                    customary.name(),
                    given.name()
                );
                return Err(self.trace.lack(Check::Signature, what, id));
            }
            return Err(self
                .trace
                .fail(Check::Signature, format!("does not hold over {over}"), id));
        }
        self.trace.pass(Check::Signature, format!("holds over {over}"));
        Ok(())
    }

    fn statement(&mut self) -> Result<Option<Statement>, Refusal> {
        let Content::Envelope {
            payload, payload_type, ..
        } = &self.bundle.content
        else {
            return Ok(None);
        };
        let refuse = |what: String| self.trace.fail(Check::Payload, what, None);
        if payload_type != PAYLOAD_TYPE_IN_TOTO {
            return Err(refuse(format!(
                "is of type `{}`, `{PAYLOAD_TYPE_IN_TOTO}` is expected",
                shown(payload_type)
            )));
        }
        let statement = statement(payload).map_err(refuse)?;
        self.trace.pass(
            Check::Payload,
            format!("an in-toto statement with {} subjects", statement.subject.len()),
        );
        if let Some(expected) = self.policy.predicate_type
            && statement.predicate_type != expected
        {
            let what = format!("is `{}`, `{expected}` is asked for", shown(&statement.predicate_type));
            return Err(self.trace.fail(Check::Predicate, what, None));
        }
        self.trace.pass(Check::Predicate, statement.predicate_type.clone());
        Ok(Some(statement))
    }

    /// The artifact is a subject of the statement, or has the digest that stands beside the signature.
    fn subject(&mut self, statement: Option<&Statement>) -> Result<(), Refusal> {
        match (&self.bundle.content, statement) {
            (
                Content::Message {
                    digest: Some((algorithm, hint)),
                    ..
                },
                _,
            ) => {
                let known = Hash::named(algorithm).and_then(|hash| self.artifact.digest(hash));
                if known.as_ref() != Some(hint) {
                    let what = "the message digest in the bundle is not the artifact's";
                    return Err(self.trace.fail(Check::Subject, what, None));
                }
                self.trace.pass(Check::Subject, "the message digest is the artifact's");
            }
            (_, Some(_)) if matches!(self.artifact, Artifact::AnySubject) => {
                self.trace.pass(Check::Subject, "not compared: no artifact was given");
            }
            (_, Some(statement)) => {
                let Some(subject) = statement.subject.iter().find(|subject| self.is_about(subject)) else {
                    let what = format!("none of {} subjects has the artifact's digest", statement.subject.len());
                    return Err(self.trace.fail(Check::Subject, what, None));
                };
                self.trace.pass(Check::Subject, format!("`{}`", shown(&subject.name)));
            }
            (_, None) => {}
        }
        Ok(())
    }

    /// At least one of the subject's digests is the artifact's, and none that can be compared is another's.
    fn is_about(&self, subject: &Subject) -> bool {
        let mut compared = [Hash::Sha256, Hash::Sha384, Hash::Sha512]
            .into_iter()
            .filter_map(|hash| {
                let stated = subject.digest.get(hash.name())?;
                Some(hex(&self.artifact.digest(hash)?) == *stated)
            });
        let Some(first) = compared.next() else { return false };
        first && compared.all(|same| same)
    }

    fn identity(&mut self, leaf: &Certificate<'_>) -> Result<Signer, Refusal> {
        let fingerprint = Digest::of(leaf.der).hex();
        let fail = |what: String| self.trace.fail(Check::Identity, what, Some(fingerprint.clone()));
        let names = leaf
            .names()
            .map_err(|_| fail("the certificate's names are malformed".to_owned()))?;
        let name = match names.as_slice() {
            [one] => one.text(),
            _ => None,
        };
        let name = name.ok_or_else(|| fail(format!("the certificate has {} names, one is expected", names.len())))?;
        let issuer = match (leaf.claim(8), leaf.claim(1)) {
            (Some(new), Some(old)) if new != old => return Err(fail("the certificate names two issuers".to_owned())),
            (new, old) => new.or(old),
        };
        let issuer = issuer.unwrap_or_default();
        if let Who::Identity(expected) = self.policy.who {
            if !(expected.name)(name) {
                return Err(fail(format!(
                    "signed by `{}`, `{}` is expected",
                    shown(name),
                    expected.name_text
                )));
            }
            if !(expected.issuer)(issuer) {
                let what = format!(
                    "`{}` vouches for it, `{}` is expected to",
                    shown(issuer),
                    expected.issuer_text
                );
                return Err(fail(what));
            }
        }
        self.trace
            .pass(Check::Identity, format!("`{}`, says `{}`", shown(name), shown(issuer)));
        Ok(Signer::Certificate {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            claims: claims(leaf),
            fingerprint,
        })
    }

    /// Time stamps of authorities that the trusted root knows; each of them must hold. Others count for nothing.
    fn timestamps(&mut self) -> Result<Vec<ProvenTime>, Refusal> {
        let mut times: Vec<ProvenTime> = Vec::new();
        for response in &self.bundle.timestamps {
            let fail = |what: &str| self.trace.fail(Check::Time, what, None);
            let stamp = TimeStamp::parse(response).map_err(|_| fail("a time stamp is malformed"))?;
            if !stamp.is_over(self.bundle.content.signature()) {
                return Err(fail("a time stamp is over another signature"));
            }
            let mut refused = None;
            let authority = self
                .root
                .timestamp_authorities
                .iter()
                .find(|authority| match stamped(&stamp, authority) {
                    Ok(holds) => holds,
                    Err(what) => {
                        refused = Some(what);
                        false
                    }
                });
            match (authority, refused) {
                (None, Some(what)) => return Err(fail(what)),
                (None, None) => self.trace.pass(
                    Check::Time,
                    "a time stamp of an unknown authority, which counts for nothing",
                ),
                (Some(_), _) if stamp.at > self.at => return Err(fail("a time stamp is of the future")),
                (Some(authority), _) => {
                    self.trace
                        .pass(Check::Time, format!("{}, says {}", stamp.at, authority.uri));
                    times.push(ProvenTime {
                        at: stamp.at,
                        source: TimeSource::Authority(authority.uri.clone()),
                    });
                }
            }
        }
        Ok(times)
    }

    /// Promises of logs that the trusted root knows; each of them must hold.
    fn promises(&mut self) -> Result<Vec<ProvenTime>, Refusal> {
        let mut times = Vec::new();
        for entry in &self.bundle.entries {
            let (Some(log), Some(_)) = (self.log(entry), &entry.promise) else {
                continue;
            };
            let fail = |what: &str| self.trace.fail(Check::Promise, what, Some(hex(&log.id)));
            if !rekor::promise_holds(entry, log) {
                return Err(fail("the signed entry timestamp does not hold"));
            }
            let at = Timestamp::from_second(entry.integrated_time.unwrap_or_default())
                .map_err(|_| fail("the integrated time is no time"))?;
            if at > self.at {
                return Err(fail("the integrated time is of the future"));
            }
            if !log.valid.contains(at) {
                return Err(fail("the log's key was not valid at the integrated time"));
            }
            self.trace.pass(Check::Promise, format!("{at}, says {}", log.name));
            times.push(ProvenTime {
                at,
                source: TimeSource::Log(log.name.clone()),
            });
        }
        Ok(times)
    }

    fn log(&self, entry: &WireEntry) -> Option<&'a Log> {
        self.root.tlogs.iter().find(|log| log.id == entry.log_id)
    }

    /// The certificate was valid whenever it is proven to have signed, and a log has seen it.
    fn certificate(
        &mut self,
        leaf: &Certificate<'_>,
        others: &[Certificate<'_>],
        times: &[ProvenTime],
    ) -> Result<(), Refusal> {
        let fingerprint = Digest::of(leaf.der).hex();
        if times.is_empty() {
            let what = if self.bundle.entries.is_empty() && self.bundle.timestamps.is_empty() {
                "there is no log entry and no time stamp: nobody witnessed when the certificate signed"
            } else {
                "neither a log nor a time stamp authority of the trusted root witnessed when the certificate signed"
            };
            return Err(self.trace.lack(Check::Time, what, Some(fingerprint)));
        }
        let mut worst = ChainError::Unknown.what();
        for authority in &self.root.authorities {
            let known = authority.parsed();
            let Some((anchor, between)) = known.split_last() else {
                continue;
            };
            let between: Vec<Certificate<'_>> = between.iter().chain(others).cloned().collect();
            let chain = Chain {
                between: &between,
                anchor,
                purpose: CODE_SIGNING,
            };
            let paths: Result<Vec<_>, ChainError> = times.iter().map(|time| chain.verify(leaf, time.at)).collect();
            match paths {
                Err(ChainError::Unknown) => {}
                Err(error) => worst = error.what(),
                Ok(_) if !times.iter().all(|time| authority.valid.contains(time.at)) => {
                    worst = "the trusted root does not vouch for its authority at the time it signed";
                }
                Ok(paths) => {
                    let path = paths.into_iter().next().unwrap_or_default();
                    let foreign = |one: &&Certificate<'_>| {
                        !path.iter().any(|used| used.der == one.der) && !self.is_of_trusted_root(one.der)
                    };
                    if others.iter().any(|one| foreign(&one)) {
                        let what = "the bundle carries a certificate that is not of the trusted root";
                        return Err(self.trace.fail(Check::Certificate, what, Some(fingerprint)));
                    }
                    self.trace.pass(
                        Check::Certificate,
                        format!("of {}, valid when it signed", authority.uri),
                    );
                    let issuer = path.first().copied().unwrap_or(anchor);
                    return self.scts(leaf, issuer, &fingerprint);
                }
            }
        }
        Err(self.trace.fail(Check::Certificate, worst, Some(fingerprint)))
    }

    fn is_of_trusted_root(&self, der: &[u8]) -> bool {
        let mut all = self
            .root
            .authorities
            .iter()
            .flat_map(|authority| &authority.certificates);
        all.any(|one| one == der)
    }

    fn scts(&mut self, leaf: &Certificate<'_>, issuer: &Certificate<'_>, fingerprint: &str) -> Result<(), Refusal> {
        let fail = |trace: &Trace, what: &str, key: &str| trace.fail(Check::Sct, what, Some(key.to_owned()));
        let scts =
            ct::parse(leaf).map_err(|_| fail(&self.trace, "the list in the certificate is malformed", fingerprint))?;
        let mut logs = BTreeSet::new();
        for sct in &scts {
            let Some(log) = self.root.ctlogs.iter().find(|log| log.id == sct.log) else {
                continue;
            };
            let id = hex(sct.log);
            if !sct.holds(leaf, issuer, &log.key) {
                return Err(fail(
                    &self.trace,
                    "its signature does not hold over the certificate",
                    &id,
                ));
            }
            if !log.valid.contains(sct.at) || sct.at > self.at {
                return Err(fail(&self.trace, "the log's key was not valid at its time", &id));
            }
            self.trace.pass(Check::Sct, format!("{}, says {}", sct.at, log.name));
            logs.insert(&log.id);
        }
        let wanted = self.policy.scts_min;
        if logs.len() >= wanted {
            return Ok(());
        }
        if scts.len() > logs.len() {
            let unknown = scts.iter().find(|sct| !logs.iter().any(|log| *log == sct.log));
            let what = "a certificate transparency log has seen the certificate that the trusted root doesn't know";
            return Err(self.trace.lack(Check::Sct, what, unknown.map(|sct| hex(sct.log))));
        }
        let what = format!(
            "{} of {wanted} certificate transparency logs have seen the certificate",
            logs.len()
        );
        Err(fail(&self.trace, &what, fingerprint))
    }

    fn entries(
        &mut self,
        leaf: Option<&Certificate<'_>>,
        key: &VerifyingKey,
        times: &[ProvenTime],
    ) -> Result<Vec<Entry>, Refusal> {
        let artifact = self.artifact;
        let digest = move |hash: Hash| artifact.digest(hash);
        let signed = Signed {
            content: &self.bundle.content,
            certificate: leaf.map(|leaf| leaf.der),
            key,
            artifact: &digest,
        };
        let mut found: Vec<Entry> = Vec::new();
        let mut logs = BTreeSet::new();
        for entry in &self.bundle.entries {
            let id = Some(hex(&entry.log_id));
            rekor::binds(entry, &signed).map_err(|what| self.trace.fail(Check::LogEntry, what, id.clone()))?;
            let Some(log) = self.log(entry) else { continue };
            self.trace.pass(
                Check::LogEntry,
                format!("{} {} is about this signature", log.name, entry.index),
            );
            let included = self.included(entry, log)?;
            if !times.iter().all(|time| log.valid.contains(time.at)) {
                return Err(self
                    .trace
                    .fail(Check::LogEntry, "the log's key was not valid when it signed", id));
            }
            logs.insert(&log.id);
            found.push(Entry {
                log: log.name.clone(),
                index: entry.index,
                included,
            });
        }
        let wanted = self.policy.log_entries_min;
        if logs.len() >= wanted {
            return Ok(found);
        }
        let unknown = self.bundle.entries.iter().find(|entry| self.log(entry).is_none());
        let what = match unknown {
            Some(_) => "it stands in a log that the trusted root doesn't know".to_owned(),
            None => format!("{} log entries are missing", wanted - logs.len()),
        };
        Err(self
            .trace
            .lack(Check::LogEntry, what, unknown.map(|entry| hex(&entry.log_id))))
    }

    /// Whether the log is shown to hold the entry; false when it only promised, which version 0.1 allows.
    fn included(&mut self, entry: &WireEntry, log: &Log) -> Result<bool, Refusal> {
        let id = Some(hex(&log.id));
        // The promise was checked with the times.
        let promised = self.bundle.version == Version::V01 && entry.promise.is_some();
        if entry.proof.is_none() {
            return match promised {
                true => Ok(false),
                false => Err(self
                    .trace
                    .lack(Check::Inclusion, "the log entry has no inclusion proof", id)),
            };
        }
        match rekor::proof_holds(entry, log) {
            Ok(()) => {
                self.trace
                    .pass(Check::Inclusion, format!("in the tree of {}", log.name));
                self.trace.pass(Check::Checkpoint, format!("signed by {}", log.name));
                Ok(true)
            }
            Err(ProofFault::NoCheckpoint) if promised => Ok(false),
            Err(ProofFault::NoCheckpoint) => {
                Err(self
                    .trace
                    .lack(Check::Checkpoint, "the inclusion proof has no checkpoint", id))
            }
            Err(ProofFault::Inclusion(what)) => Err(self.trace.fail(Check::Inclusion, what, id)),
            Err(ProofFault::Checkpoint(what)) => Err(self.trace.fail(Check::Checkpoint, what, id)),
        }
    }

    fn complete(&mut self, certified: bool, times: &[ProvenTime]) -> Result<(), Refusal> {
        let sources: BTreeSet<&str> = times
            .iter()
            .map(|time| match &time.source {
                TimeSource::Authority(name) | TimeSource::Log(name) => name.as_str(),
            })
            .collect();
        if certified && sources.len() < self.policy.times_min {
            let what = format!("{} of {} witnesses of the time", sources.len(), self.policy.times_min);
            return Err(self.trace.lack(Check::Complete, what, None));
        }
        self.trace.pass(Check::Complete, "every witness that is asked for");
        Ok(())
    }
}

/// Whether the authority made the time stamp. `Ok(false)` when it is another's, `Err` when it says to be of this one and isn't.
fn stamped(stamp: &TimeStamp<'_>, authority: &Authority) -> Result<bool, &'static str> {
    let known = authority.parsed();
    let Some((anchor, rest)) = known.split_last() else {
        return Ok(false);
    };
    // The authority's own certificate stands lowest in its chain, or came with the time stamp.
    let own = rest.iter().find(|one| !one.is_ca());
    let candidates = own
        .into_iter()
        .chain(stamp.certificates.iter().filter(|_| own.is_none()));
    let Some(leaf) = candidates.into_iter().find(|one| stamp.names(one)) else {
        return Ok(false);
    };
    let between: Vec<Certificate<'_>> = rest.iter().filter(|one| one.is_ca()).cloned().collect();
    let chain = Chain {
        between: &between,
        anchor,
        purpose: TIME_STAMPING,
    };
    match chain.verify(leaf, stamp.at) {
        Err(ChainError::Unknown) if own.is_none() => return Ok(false),
        Err(_) => {
            return Err("a time stamp authority's certificate was not valid, or not for this, at the stated time");
        }
        Ok(_) => {}
    }
    // RFC 3161 section 2.3: for time stamps, and for nothing else.
    if leaf.extended_key_usage.as_ref().is_none_or(|uses| uses.len() != 1) {
        return Err("a time stamp authority's certificate is for more than time stamps");
    }
    if !stamp.is_signed_by(leaf) {
        return Err("a time stamp's signature does not hold");
    }
    if !authority.valid.contains(stamp.at) {
        return Err("the trusted root does not vouch for the time stamp authority at the stated time");
    }
    Ok(true)
}

/// in-toto Statement v1 or v0.1. Others may add fields; no key may stand twice.
fn statement(payload: &[u8]) -> Result<Statement, String> {
    let value = json::strict(payload).map_err(|error| format!("is not JSON: {error}"))?;
    let kind = value["_type"].as_str().unwrap_or_default();
    if kind != STATEMENT_TYPE && kind != STATEMENT_TYPE_V01 {
        return Err(format!("is a `{}`, not an in-toto statement", shown(kind)));
    }
    let predicate_type = value["predicateType"].as_str().ok_or("has no predicate type")?;
    let subjects = value["subject"].as_array().ok_or("has no subjects")?;
    if subjects.is_empty() || subjects.len() > SUBJECTS_MAX {
        return Err(format!("has {} subjects, 1 to {SUBJECTS_MAX} are read", subjects.len()));
    }
    let subject = subjects.iter().map(subject).collect::<Option<_>>();
    Ok(Statement {
        kind: kind.to_owned(),
        subject: subject.ok_or("has a subject without a digest")?,
        predicate_type: predicate_type.to_owned(),
        predicate: value.get("predicate").cloned().unwrap_or(Value::Null),
    })
}

fn subject(value: &Value) -> Option<Subject> {
    let digest = value["digest"].as_object()?.iter();
    let digest: Option<BTreeMap<String, String>> = digest
        .map(|(name, hex)| Some((name.clone(), hex.as_str()?.to_owned())))
        .collect();
    let annotations = value["annotations"].as_object().into_iter().flatten();
    Some(Subject {
        name: value["name"].as_str().unwrap_or_default().to_owned(),
        digest: digest.filter(|digest| !digest.is_empty())?,
        annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
    })
}

fn claims(leaf: &Certificate<'_>) -> Claims {
    const NAMES: [(u8, &str); 20] = [
        (2, "workflowTrigger"),
        (3, "workflowSha"),
        (4, "workflowName"),
        (5, "workflowRepository"),
        (6, "workflowRef"),
        (9, "buildSignerUri"),
        (10, "buildSignerDigest"),
        (11, "runnerEnvironment"),
        (12, "sourceRepositoryUri"),
        (13, "sourceRepositoryDigest"),
        (14, "sourceRepositoryRef"),
        (15, "sourceRepositoryIdentifier"),
        (16, "sourceRepositoryOwnerUri"),
        (17, "sourceRepositoryOwnerIdentifier"),
        (18, "buildConfigUri"),
        (19, "buildConfigDigest"),
        (20, "buildTrigger"),
        (21, "runInvocationUri"),
        (22, "sourceRepositoryVisibilityAtSigning"),
        (23, "deploymentEnvironment"),
    ];
    let found = NAMES
        .into_iter()
        .filter_map(|(number, name)| Some((name, leaf.claim(number)?.to_owned())));
    found.collect()
}

/// Somebody else's text in a message of ours: short, and without what moves a terminal's cursor.
fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    text.chars().filter(|c| !c.is_control()).take(CHARACTERS_MAX).collect()
}
