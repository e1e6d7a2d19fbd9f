//! `[[invariant]]`: what has to hold throughout, registered before anything is injected.
//!
//! ```toml
//! [[invariant]]
//! id = "strangers-stay-out"
//! property = "confidentiality"     # or `integrity`, `availability`
//! kind = "denied"                  # a request that is refused, whatever happens
//! service = "ledger"
//! method = "GET"
//! path = "/balance"
//! refused = [401, 403]
//! burst = 8                        # every so often so many at once: some only fail open under load (default 8)
//! revoked = false                  # present what the fault revoked: from its first refusal on it stays refused
//! [[invariant]]
//! id = "catalogue-is-there"
//! property = "availability"
//! kind = "served"                  # a request that is answered, and 99 of 100 in time
//! service = "storefront"
//! method = "GET"
//! path = "/products"
//! status = 200
//! p99_ms = 250
//! [[invariant]]
//! id = "no-order-lost"
//! property = "integrity"
//! kind = "history"                 # what was acknowledged can be read back: once, and not another value
//! model = "set"                    # or `register`: the last one written, or a later one
//! [invariant.write]                # `{value}` stands for a fresh word, in path or body
//! service = "ledger"
//! method = "POST"
//! path = "/notes"
//! body = '{"text":"{value}"}'
//! [invariant.read]                 # its answer holds the words
//! service = "ledger"
//! method = "GET"
//! path = "/notes"
//! ```

use crate::environment::ServiceRequest;
use crate::fault::read_request;
use crate::read::Section;

/// Invariants of one experiment.
const INVARIANTS_MAX: usize = 16;
/// Requests sent at once, at most and where nothing else is said.
const BURST_MAX: u64 = 64;
const BURST_DEFAULT: u64 = 8;
/// A limit of the slowest one of a hundred beyond that is none.
const P99_MS_MAX: u64 = 60_000;
/// What a written word stands for in a request.
pub(crate) const VALUE: &str = "{value}";
const REQUEST: [&str; 5] = ["service", "method", "path", "identity", "body"];

/// Something that has to hold throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    pub id: String,
    pub property: Property,
    pub kind: InvariantKind,
}

/// Which property it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    Confidentiality,
    Integrity,
    Availability,
}

impl Property {
    pub const ALL: [Property; 3] = [Property::Confidentiality, Property::Integrity, Property::Availability];

    pub fn name(self) -> &'static str {
        match self {
            Property::Confidentiality => "confidentiality",
            Property::Integrity => "integrity",
            Property::Availability => "availability",
        }
    }
}

/// How it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvariantKind {
    /// Refused stays refused: any other answer breaks it, and none at all is no answer.
    Denied {
        request: ServiceRequest,
        refused: Vec<u16>,
        /// So many at once, every so often.
        burst: u32,
        /// It presents what the fault revoked; its first refusal begins it.
        revoked: bool,
    },
    /// Served stays served, and in time.
    Served {
        request: ServiceRequest,
        status: u16,
        p99_ms: Option<u64>,
    },
    /// What was acknowledged is there.
    History {
        write: ServiceRequest,
        read: ServiceRequest,
        model: Model,
    },
}

/// What reading gives back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// Everything written.
    #[default]
    Set,
    /// The last thing written.
    Register,
}

impl Model {
    const ALL: [Model; 2] = [Model::Set, Model::Register];

    fn name(self) -> &'static str {
        match self {
            Model::Set => "set",
            Model::Register => "register",
        }
    }
}

pub(super) fn read_invariants(top: &Section<'_>) -> Vec<Invariant> {
    let sections = top.sections("invariant");
    if sections.len() > INVARIANTS_MAX {
        let message = format!("{} invariants are more than {INVARIANTS_MAX}", sections.len());
        top.problem("invariant", "chaos/invariants", message, "split the experiment");
    }
    let mut invariants: Vec<Invariant> = Vec::new();
    for section in sections.iter().take(INVARIANTS_MAX) {
        let Some(invariant) = read_invariant(section) else {
            continue;
        };
        if invariants.iter().any(|other| other.id == invariant.id) {
            let message = format!("two invariants are called `{}`", invariant.id);
            section.problem("id", "chaos/invariants", message, "give each an id of its own");
        }
        invariants.push(invariant);
    }
    invariants
}

fn read_invariant(section: &Section<'_>) -> Option<Invariant> {
    let id = section.text("id");
    section.text("property")?;
    let property = section.optional_choice("property", &Property::ALL, Property::name);
    let only = |keys: &[&str]| {
        let known: Vec<&str> = ["id", "property", "kind"].iter().chain(keys).copied().collect();
        section.only(&known);
    };
    let with_request = |keys: &[&'static str]| [&REQUEST[..], keys].concat();
    let kind = match section.text("kind")?.as_str() {
        "denied" => {
            only(&with_request(&["refused", "burst", "revoked"]));
            let request = read_request(section);
            let refused = section.numbers("refused", 100..=599);
            let burst = section.optional_number("burst", 1..=BURST_MAX).unwrap_or(BURST_DEFAULT);
            InvariantKind::Denied {
                request: request?,
                refused: refused?
                    .into_iter()
                    .filter_map(|status| u16::try_from(status).ok())
                    .collect(),
                burst: u32::try_from(burst).unwrap_or(1),
                revoked: section.optional_flag("revoked").unwrap_or(false),
            }
        }
        "served" => {
            only(&with_request(&["status", "p99_ms"]));
            let request = read_request(section);
            let status = section
                .number("status", 100..=599)
                .and_then(|status| u16::try_from(status).ok());
            InvariantKind::Served {
                request: request?,
                status: status?,
                p99_ms: section.optional_number("p99_ms", 1..=P99_MS_MAX),
            }
        }
        "history" => {
            only(&["model", "write", "read"]);
            let request = |key: &str| {
                section.section(key).and_then(|part| {
                    part.only(&REQUEST);
                    read_request(&part)
                })
            };
            let (write, read) = (request("write"), request("read"));
            let write = write?;
            if !write.path.contains(VALUE) && !String::from_utf8_lossy(&write.body).contains(VALUE) {
                let message = format!("what is written holds no `{VALUE}`");
                section.problem("write", "chaos/invariants", message, "put it into `path` or `body`");
                return None;
            }
            let model = section.optional_choice("model", &Model::ALL, Model::name);
            InvariantKind::History {
                write,
                read: read?,
                model: model.unwrap_or_default(),
            }
        }
        other => {
            let message = format!("no kind of invariant is called `{other}`");
            let help = super::suggestion(other, &["denied", "served", "history"]);
            section.problem("kind", "chaos/unknown-invariant", message, &help);
            return None;
        }
    };
    Some(Invariant {
        id: id?,
        property: property?,
        kind,
    })
}
