//! in-toto Statement v1 (<https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Stage, Timestamp};

/// The `_type` of every in-toto Statement v1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Name of the subject that carries the release attempt and the [`Context`].
const ATTEMPT_SUBJECT: &str = "proofmark:attempt";

/// What somebody claims about some subjects: the payload of an [`Envelope`](crate::Envelope).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    pub kind: String,
    pub subject: Vec<Subject>,
    pub predicate_type: String,
    pub predicate: Value,
}

/// in-toto ResourceDescriptor, as far as a subject needs it: a name and its digests by algorithm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    pub name: String,
    pub digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

impl Subject {
    pub fn new(name: impl Into<String>, digest: Digest) -> Self {
        Subject {
            name: name.into(),
            digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]),
            annotations: BTreeMap::new(),
        }
    }

    /// The subject's SHA-256, if it names one.
    pub fn sha256(&self) -> Option<Digest> {
        self.digest.get("sha256")?.parse().ok()
    }
}

/// What every statement of ours says beside its predicate: which attempt, stage and check it belongs to.
/// It travels as annotations of one more subject, so that standard predicates stay exactly as specified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Digest that identifies the release attempt.
    pub attempt: Digest,
    pub stage: Stage,
    /// Name of the check within the stage: `secrets`, `step:unit-tests`, `experiment:revoke-ledger`.
    pub check: String,
    /// Digest of everything that configures this check: two statements compare only under the same one.
    pub config: Digest,
    /// When it was observed.
    pub at: Timestamp,
}

impl Statement {
    /// A statement about `examined` (what was looked at, by digest), bound to `context`.
    pub fn new<P: Serialize>(predicate_type: &str, examined: Vec<Subject>, predicate: &P, context: &Context) -> Self {
        let mut subject = examined;
        let mut attempt = Subject::new(ATTEMPT_SUBJECT, context.attempt);
        attempt.annotations = BTreeMap::from([
            ("stage".to_owned(), context.stage.name().into()),
            ("check".to_owned(), context.check.clone().into()),
            ("config".to_owned(), context.config.hex().into()),
            ("at".to_owned(), context.at.to_string().into()),
        ]);
        subject.push(attempt);
        Statement {
            kind: STATEMENT_TYPE.to_owned(),
            subject,
            predicate_type: predicate_type.to_owned(),
            predicate: serde_json::to_value(predicate).expect("a predicate has a JSON form"),
        }
    }

    /// What attempt, stage and check this belongs to; `None` for statements of other tools.
    pub fn context(&self) -> Option<Context> {
        let subject = self.subject.iter().find(|subject| subject.name == ATTEMPT_SUBJECT)?;
        let text = |key: &str| subject.annotations.get(key)?.as_str();
        Some(Context {
            attempt: subject.sha256()?,
            stage: text("stage")?.parse().ok()?,
            check: text("check")?.to_owned(),
            config: text("config")?.parse().ok()?,
            at: text("at")?.parse().ok()?,
        })
    }

    /// What was looked at: every subject but the attempt.
    pub fn examined(&self) -> impl Iterator<Item = &Subject> {
        self.subject.iter().filter(|subject| subject.name != ATTEMPT_SUBJECT)
    }

    /// True when one of the examined subjects has this digest.
    pub fn examines(&self, digest: Digest) -> bool {
        self.examined().any(|subject| subject.sha256() == Some(digest))
    }

    /// The predicate, typed; `None` when the type or the shape is another one.
    pub fn predicate_as<P: DeserializeOwned>(&self, predicate_type: &str) -> Option<P> {
        if self.predicate_type != predicate_type {
            return None;
        }
        P::deserialize(&self.predicate).ok()
    }
}
