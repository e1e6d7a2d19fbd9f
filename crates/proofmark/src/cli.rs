//! The command line. What isn't built is not here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use evidence::Stage;

const EXIT_CODES: &str = "Exit codes, the strongest that applies: 2 usage or tool error, 4 evidence failed verification, \
1 blocked, 3 indeterminate (incomplete or unproven: blocked too), 0 pass.";

/// Decides whether a release may go on, from evidence anyone can verify.
#[derive(Debug, Parser)]
#[command(name = "proofmark", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Keys and trust root; default: $PROOFMARK_HOME, or else `proofmark` in the XDG data folder
    #[arg(long, global = true, value_name = "FOLDER")]
    pub home: Option<PathBuf>,

    /// Judge at this time (RFC 3339) instead of now; recorded in the evidence
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    pub as_of: Option<evidence::Timestamp>,

    /// Never use the network beyond loopback (nothing here ever does; accepted so that scripts can insist)
    #[arg(long, global = true)]
    pub offline: bool,

    /// Only the answer
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Notes and cleared findings too
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented proofmark.toml, keys and trust root (outside the tree), and the pre-commit hook
    Init {
        /// Folder of the repository
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Look at a repository and tell: secrets, vulnerabilities, licences. Stores nothing, runs none of its code
    Check(Check),
    /// What the pre-commit hook runs: secrets in the working tree, nothing else
    Hook {
        /// Folder of the repository
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Take a release through its stages; a release that was interrupted goes on where it stopped
    Release(Release),
    /// Wrap one build step: isolated, observed, its provenance signed and logged
    Run(Run),
    /// Check a bundle offline, with nothing but a trust root
    Verify(Verify),
    /// Print the SBOM of a repository (CycloneDX 1.6 JSON)
    Sbom {
        /// Folder of the repository
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// The advisory database
    #[command(subcommand)]
    Db(Db),
    /// Chaos experiments
    #[command(subcommand)]
    Chaos(Chaos),
    /// Playbooks (CACAO 2.0): runbooks and remediation
    #[command(subcommand)]
    Playbook(crate::playbook::Playbook),
    /// The append-only log of a repository
    #[command(subcommand)]
    Log(Log),
    /// Approve, with the approver's keys and until a day, what no rule may let pass
    Approve(Approve),
    /// Print the page of a rule, fault, control or stage; without an id: list them
    Explain {
        /// What stands in brackets in a message, or the last part of it
        id: Option<String>,
    },
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder
    Man {
        /// Where to; made if it isn't there
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Check {
    /// Folder of the repository
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Folder of OSV JSON records to match against; default: the one proofmark.toml names
    #[arg(long, value_name = "FOLDER")]
    pub advisories: Option<PathBuf>,
    /// Leave git history out
    #[arg(long)]
    pub no_history: bool,
    /// One JSON document on stdout
    #[arg(long, conflicts_with = "sarif")]
    pub json: bool,
    /// SARIF 2.1.0 on stdout
    #[arg(long)]
    pub sarif: bool,
}

#[derive(Debug, Args)]
pub struct Release {
    /// Folder of proofmark.toml
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The last stage to take it to
    #[arg(long, value_enum, default_value = "production")]
    pub to: To,
    /// Print what would be done, how it would be undone and how long it may take; do nothing
    #[arg(long)]
    pub plan: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum To {
    Commit,
    Build,
    Integration,
    Staging,
    Production,
}

impl From<To> for Stage {
    fn from(to: To) -> Stage {
        match to {
            To::Commit => Stage::Commit,
            To::Build => Stage::Build,
            To::Integration => Stage::Integration,
            To::Staging => Stage::Staging,
            To::Production => Stage::Production,
        }
    }
}

#[derive(Debug, Args)]
pub struct Run {
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Name of what it makes
    #[arg(long, value_parser = filled)]
    pub name: String,
    /// The file it makes, relative to the folder
    #[arg(long)]
    pub artifact: String,
    /// Killed with all its children after this long
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    pub timeout: u64,
    /// Program and arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// The bundle's folder; or a file of attestations: Sigstore bundle, npm, PyPI, GitHub, DSSE
    pub bundle: PathBuf,
    /// Trust root; default: the one in the home folder
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    #[command(flatten)]
    pub attestation: VerifyAttestation,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// What is asked of a file of attestations.
#[derive(Debug, Args)]
#[command(next_help_heading = "For a file of attestations")]
pub struct VerifyAttestation {
    /// Sigstore's trusted_root.json: which authorities and logs count
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// What was signed, or what the statement is about
    #[arg(long, value_name = "PATH", conflicts_with_all = ["digest", "any_subject"])]
    pub artifact: Option<PathBuf>,
    /// Its digest: sha256:HEX, sha384:HEX or sha512:HEX
    #[arg(long, value_name = "DIGEST", conflicts_with = "any_subject")]
    pub digest: Option<String>,
    /// Read a statement about whatever it is about
    #[arg(long)]
    pub any_subject: bool,
    /// The name in the signing certificate
    #[arg(long, value_name = "NAME", conflicts_with = "certificate_identity_regexp")]
    pub certificate_identity: Option<String>,
    /// A pattern for the whole name
    #[arg(long, value_name = "REGEXP")]
    pub certificate_identity_regexp: Option<String>,
    /// The identity provider that vouched for the name
    #[arg(long, value_name = "URL", conflicts_with = "certificate_oidc_issuer_regexp")]
    pub certificate_oidc_issuer: Option<String>,
    /// A pattern for the whole URL of the identity provider
    #[arg(long, value_name = "REGEXP")]
    pub certificate_oidc_issuer_regexp: Option<String>,
    /// Whoever the trusted root vouches for; you judge the name that is printed
    #[arg(long)]
    pub any_identity: bool,
    /// The public key it was signed with (PEM), instead of an identity
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Accept this type of predicate only; of several attestations, pass over the others
    #[arg(long, value_name = "TYPE")]
    pub predicate_type: Option<String>,
    /// Transparency logs that must hold it
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub log_entries_min: usize,
    /// Certificate transparency logs that must have seen its certificate
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub scts_min: usize,
}

#[derive(Debug, Subcommand)]
pub enum Db {
    /// Print the digest of a folder of OSV records, as `advisories.digest` pins it
    Digest {
        /// Folder of OSV JSON records
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum Chaos {
    /// List the faults: how each is undone, and how often that was seen to work here
    List {
        /// Folder of proofmark.toml
        #[arg(default_value = ".")]
        path: PathBuf,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Say what this host can do for faults, and which of them it can't
    Doctor {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Print an experiment for a fault, and the target it needs, to begin with
    New(ChaosNew),
    /// Print what an experiment would do, how that is undone, and what stands against it; do nothing
    Plan(ChaosFile),
    /// Run an experiment against declared targets; everything is undone on every way out
    #[cfg(unix)]
    Run(crate::chaos_ctk::Run),
    /// Say which experiment to run next, and why; run nothing
    Next(crate::chaos_next::ChaosNext),
    /// Rehearse a playbook with people, and write the after-action record
    Drill(crate::chaos_drill::ChaosDrill),
    /// Run two experiments many times, in an order that chance drew, and say whether they differ; goes on where it stopped
    Study(ChaosStudy),
    /// Plant known-bad commits, dependencies and artifacts in a throwaway branch, and count what the gates miss
    Gates(ChaosGates),
    /// Tell what was attacked, how often, what was noticed, and how sure that is: from the log's statements alone
    Report(crate::chaos_report::ReportArgs),
    /// Approve an experiment as it is, with the approver's keys and until a day
    Approve(ChaosApprove),
    /// Stop the experiment that runs here, and wait until everything is undone
    Stop {
        /// Folder of proofmark.toml
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Serve Toxiproxy's HTTP API: its clients work unmodified. Every fault ends with this process
    Proxy(ChaosProxy),
    /// Undo what a release or experiment that was killed left behind, and nothing more; each begins with the same
    Undo {
        /// Folder of proofmark.toml
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Close this entry of the undo journal as it is: its target is gone for good, or you have put it right by hand
        #[arg(long, value_name = "ENTRY")]
        leave: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub struct ChaosGates {
    /// Folder of proofmark.toml
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Plant only this one; may be given several times. `proofmark explain` lists them as plant/ID
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// What is planted is made from this number; default: a new one each time, which is printed
    #[arg(long)]
    pub seed: Option<u64>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ChaosFile {
    /// The experiment
    pub file: PathBuf,
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ChaosStudy {
    /// The study: `proofmark explain study` has its keys
    pub file: PathBuf,
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Print what would run, in which order, and what it can find; do nothing
    #[arg(long)]
    pub plan: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ChaosNew {
    /// Catalogue name: `chaos list`
    pub fault: String,
    /// Name of the target in proofmark.toml; default: as on the fault's page
    #[arg(long)]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct ChaosApprove {
    /// The experiment
    pub file: PathBuf,
    /// What is approved
    #[arg(long = "for", value_enum, value_name = "WHAT")]
    pub what: ChaosFor,
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Why; stands in the log for good
    #[arg(long, value_parser = filled)]
    pub reason: String,
    /// Until when (RFC 3339; a day alone means its beginning, UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires: evidence::Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChaosFor {
    /// That it is right to do it to these people's data or hosts
    Ethics,
    /// That it is lawful
    Legal,
    /// That it runs in production
    Run,
}

#[derive(Debug, Args)]
pub struct ChaosProxy {
    /// Where the API listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8474")]
    pub listen: String,
    /// As toxiproxy-server has it; default: the host of `--listen`
    #[arg(long)]
    pub host: Option<String>,
    /// As toxiproxy-server has it; default: the port of `--listen`
    #[arg(long)]
    pub port: Option<u16>,
    /// Proxies to begin with: a toxiproxy.json
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ChaosProxy {
    /// `--listen`, with what `--host` and `--port` say instead.
    pub fn address(&self) -> String {
        if self.host.is_none() && self.port.is_none() {
            return self.listen.clone();
        }
        let (host, port) = self.listen.rsplit_once(':').unwrap_or((&self.listen, ""));
        let host = match &self.host {
            Some(host) if host.contains(':') && !host.starts_with('[') => &format!("[{host}]"),
            Some(host) => host,
            None => host,
        };
        let port = self.port.map_or_else(|| port.to_owned(), |port| port.to_string());
        format!("{host}:{port}")
    }
}

#[derive(Debug, Subcommand)]
pub enum Log {
    /// One line an entry
    List {
        /// Folder of proofmark.toml
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Verify the whole log again: journal, tiles, checkpoint, envelopes, signatures
    Fsck {
        /// Folder of proofmark.toml
        #[arg(default_value = ".")]
        path: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Approve {
    #[arg(value_enum)]
    pub what: What,
    /// For `finding`: the id that a gate prints, or its first eight characters or more
    #[arg(required_if_eq("what", "finding"))]
    pub id: Option<String>,
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Why; stands in the log for good
    #[arg(long, value_parser = filled)]
    pub reason: String,
    /// Until when (RFC 3339; a day alone means its beginning, UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub expires: evidence::Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A release without an older version to compare with
    FirstRelease,
    /// A configuration that loosens or drops a control of the last promoted release
    LoosenedControls,
    /// A check that failed and then passed on the same bytes
    Rerun,
    /// One finding
    Finding,
}

/// A time, or a day alone.
pub fn time(text: &str) -> Result<evidence::Timestamp, String> {
    text.parse::<evidence::Timestamp>()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| "write it like 2027-01-31T00:00:00Z or 2027-01-31".to_owned())
}

fn filled(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it may not be empty".to_owned());
    }
    Ok(text.to_owned())
}
