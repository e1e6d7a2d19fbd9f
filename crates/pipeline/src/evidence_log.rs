//! What was seen, signed and logged: the one way from a statement to something a gate may read.
//!
//! Order, so that nothing is promised that a crash can take back: the envelope is durable, then its leaf is durable
//! in the log's journal, then a checkpoint that commits to it is signed and in place, and only then its index is
//! answered.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use evidence::{
    Checkpoint, Digest, Envelope, Leaf, Logged, LoggedEnvelope, Now, Role, SigningPair, Statement, Storage, Timestamp,
    TrustRoot, Verified, leaf_hash,
};
use tlog::Log;

use crate::Error;
use crate::home::Home;
use crate::store::Store;

/// A log that somebody else writes is read so often until it is whole, with so many milliseconds between.
const READ_TRIES_MAX: u32 = 4;
const READ_PAUSE_MS: u64 = 50;

/// The log of a store with the keys to add to it.
pub struct EvidenceLog {
    log: Log,
    envelopes: Arc<dyn Storage>,
    pub root: TrustRoot,
    step: SigningPair,
    pub gate: SigningPair,
    /// Every statement in the log, by index, verified once.
    statements: Vec<Verified<Statement>>,
    remembered: std::path::PathBuf,
    /// What had to be repaired when the log was opened, in words for people.
    pub recovered: Vec<String>,
}

impl EvidenceLog {
    pub fn open(store: &Store, home: &Home, root: TrustRoot, now: Now) -> Result<EvidenceLog, Error> {
        let signer = Arc::new(home.log_signer()?);
        let origin = format!("{}/{}", root.log.origin, store.id);
        let remembered = home.remembered_checkpoint(&store.id);
        // Looked for before anything is opened: opening begins a new log where there is none.
        if remembered.exists() && !store.path.join("log/journal").exists() {
            return Err(Error::refused(
                "the log is gone: this machine has seen one in this store",
                "restore `.proofmark/log` from a backup",
            ));
        }
        // Read before the log: whoever writes it meanwhile remembers only what stands in it already.
        let earlier = match fs::read_to_string(&remembered) {
            Ok(note) => Some(note),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &remembered, &error)),
        };
        let (log, recovery) = Log::open(store.part("log")?, &origin, signer).map_err(|error| {
            Error::refused(
                format!("the log can't be opened: {error}"),
                "restore `.proofmark/log` from a backup",
            )
        })?;
        let mut opened = EvidenceLog {
            log,
            envelopes: store.part("envelopes")?,
            root,
            step: home.pair(Role::Step)?,
            gate: home.pair(Role::Gate)?,
            statements: Vec::new(),
            remembered,
            recovered: notes(&recovery),
        };
        if let Some(note) = earlier {
            opened.refuse_rollback(&note, now.utc)?;
        }
        for index in 0..opened.log.size() {
            let verified = opened.load(index, now.utc)?;
            opened.statements.push(verified);
        }
        Ok(opened)
    }

    /// The log as it is now, to look something up beside whoever writes it.
    pub fn read(store: &Store, home: &Home, root: TrustRoot, now: Now) -> Result<EvidenceLog, Error> {
        let mut tries = 1;
        loop {
            match EvidenceLog::open(store, home, root.clone(), now) {
                // Half of an entry may be on disk, and the rest on its way.
                Err(_) if tries < READ_TRIES_MAX => std::thread::sleep(Duration::from_millis(READ_PAUSE_MS)),
                opened => return opened,
            }
            tries += 1;
        }
    }

    /// Signs as the role `step`, logs, and answers the index.
    pub fn record(&mut self, statement: &Statement, now: Now) -> Result<u64, Error> {
        let envelope = Envelope::sign_statement(statement, &self.step.signers())
            .map_err(|error| Error::failed("sign a statement", error))?;
        self.append(&envelope, now)
    }

    /// Signs as the role `gate`, logs, and answers the index.
    pub fn record_verdict(&mut self, statement: &Statement, now: Now) -> Result<u64, Error> {
        let envelope = Envelope::sign_statement(statement, &self.gate.signers())
            .map_err(|error| Error::failed("sign a verdict", error))?;
        self.append(&envelope, now)
    }

    /// Logs an envelope that someone else signed, once it verifies.
    pub fn append(&mut self, envelope: &Envelope, now: Now) -> Result<u64, Error> {
        let verified = Verified::statement(envelope, &self.root, now.utc)
            .map_err(|error| Error::refused(error.to_string(), "sign it with a key the trust root lists for this"))?;
        let leaf = Leaf::of(envelope);
        self.envelopes
            .replace(&envelope_path(&leaf.hash()), &envelope.to_bytes())?;
        let index = self
            .log
            .append(&[&leaf.0])
            .map_err(|error| Error::failed("write the log", error))?
            .first()
            .copied()
            .ok_or_else(|| Error::failed("write the log", "no index was answered"))?;
        if index == self.statements.len() as u64 {
            self.statements.push(verified);
        }
        self.remember()?;
        Ok(index)
    }

    /// Every statement of the log, each proved to stand in it.
    pub fn logged(&self, now: Now) -> Result<Vec<Logged<Verified<Statement>>>, Error> {
        let checkpoint = self.checkpoint(now.utc)?;
        self.statements
            .iter()
            .enumerate()
            .map(|(index, verified)| {
                let proof = self.prove(index as u64)?;
                Logged::prove(verified.clone(), &proof, &checkpoint).map_err(|error| refused(index as u64, &error))
            })
            .collect()
    }

    /// The statements without proofs: to look something up, not to decide.
    pub fn statements(&self) -> impl DoubleEndedIterator<Item = (u64, &Statement)> {
        self.statements
            .iter()
            .enumerate()
            .map(|(index, verified)| (index as u64, verified.value()))
    }

    /// The same with who signed each.
    pub fn signed(&self) -> impl Iterator<Item = (&Statement, &[evidence::KeyId])> {
        self.statements
            .iter()
            .map(|verified| (verified.value(), verified.signers()))
    }

    /// Envelope and proof of one entry, for the bundle.
    pub fn logged_envelope(&self, index: u64) -> Result<LoggedEnvelope, Error> {
        Ok(LoggedEnvelope {
            envelope: self.envelope(index)?,
            proof: self.prove(index)?,
        })
    }

    /// The signed checkpoint as it stands.
    pub fn checkpoint_note(&self) -> String {
        self.log.checkpoint()
    }

    pub fn size(&self) -> u64 {
        self.log.size()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    fn checkpoint(&self, at: Timestamp) -> Result<Verified<Checkpoint>, Error> {
        Verified::checkpoint(&self.log.checkpoint(), &self.root, at).map_err(|error| {
            Error::refused(
                error.to_string(),
                "this log was signed with another key than the trust root names",
            )
        })
    }

    fn prove(&self, index: u64) -> Result<evidence::InclusionProof, Error> {
        self.log
            .prove(index, self.log.size())
            .map_err(|error| Error::failed("prove a log entry", error))
    }

    fn envelope(&self, index: u64) -> Result<Envelope, Error> {
        let leaf = self
            .log
            .leaf(index)
            .map_err(|error| Error::failed("read the log", error))?;
        let path = envelope_path(&leaf_hash(&leaf));
        let bytes = self.envelopes.read(&path)?.ok_or_else(|| {
            Error::refused(
                format!("log entry {index} has lost its envelope (`.proofmark/envelopes/{path}`)"),
                "restore it from a backup or from a bundle",
            )
        })?;
        Envelope::from_bytes(&bytes).map_err(|error| {
            Error::refused(
                format!("log entry {index}: {error}"),
                "restore its envelope from a backup",
            )
        })
    }

    fn load(&self, index: u64, at: Timestamp) -> Result<Verified<Statement>, Error> {
        let envelope = self.envelope(index)?;
        let leaf = self
            .log
            .leaf(index)
            .map_err(|error| Error::failed("read the log", error))?;
        if Leaf::of(&envelope).0 != leaf {
            let what = format!("log entry {index}: its envelope isn't the one that was logged");
            return Err(Error::refused(what, "restore `.proofmark/envelopes` from a backup"));
        }
        Verified::statement(&envelope, &self.root, at).map_err(|error| refused(index, &error))
    }

    /// A log shorter than the checkpoint this machine remembers, or another one, was rolled back.
    fn refuse_rollback(&self, note: &str, at: Timestamp) -> Result<(), Error> {
        let earlier = Verified::checkpoint(note, &self.root, at).map_err(|error| {
            Error::refused(
                format!("`{}` is no checkpoint of this log: {error}", self.remembered.display()),
                "restore it from a backup; it is what shows that the log was not rolled back",
            )
        })?;
        let earlier = earlier.value();
        let size = self.log.size();
        let rolled_back = earlier.size > size || {
            let proof = self
                .log
                .consistency(earlier.size, size)
                .map_err(|e| Error::failed("read the log", e))?;
            evidence::verify_consistency(earlier.size, &earlier.root, size, &self.log.root(), &proof).is_err()
        };
        if rolled_back {
            return Err(Error::refused(
                format!(
                    "the log was rolled back: this machine has seen {} entries of it, it has {size} now",
                    earlier.size
                ),
                "restore `.proofmark/log` from a backup that is not older",
            ));
        }
        Ok(())
    }

    fn remember(&self) -> Result<(), Error> {
        if let Some(folder) = self.remembered.parent() {
            fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, &error))?;
        }
        let temporary = self.remembered.with_extension("tmp");
        fs::write(&temporary, self.log.checkpoint()).map_err(|error| Error::io("write", &temporary, &error))?;
        fs::rename(&temporary, &self.remembered).map_err(|error| Error::io("write", &self.remembered, &error))
    }
}

/// What was repaired, in words; nothing when the log was as it had been left.
fn notes(recovery: &tlog::Recovery) -> Vec<String> {
    let mut notes = Vec::new();
    if recovery.torn_bytes > 0 {
        notes.push(format!(
            "the log's journal ended in {} torn bytes that were never acknowledged: dropped",
            recovery.torn_bytes
        ));
    }
    if recovery.entries_recovered > 0 {
        notes.push(format!(
            "{} log entries were durable before their checkpoint was: kept",
            recovery.entries_recovered
        ));
    }
    if recovery.tiles_rebuilt > 0 {
        notes.push(format!(
            "{} log tiles were written again from the journal",
            recovery.tiles_rebuilt
        ));
    }
    notes
}

fn envelope_path(leaf: &Digest) -> String {
    let hex = leaf.hex();
    format!("{}/{}.json", &hex[..2], &hex[2..])
}

fn refused(index: u64, error: &evidence::VerifyError) -> Error {
    Error::refused(
        format!("log entry {index}: {error}"),
        "it was signed under another trust root, or changed since; see `proofmark explain trust-root`",
    )
}
