//! Errors of ours: the world failed, or was asked for something that can't be. Findings are never errors.

use std::fmt::Display;
use std::path::Path;

use evidence::Diagnostic;

/// Why a command could not do its work, in words for people, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Usage or tool error: exit code 2.
    #[error("{what}")]
    Failed { what: String, hint: Option<String> },
    /// The user's own files are wrong: exit code 2, every problem at once.
    #[error("{} problems in the configuration", .0.len())]
    Input(Vec<Diagnostic>),
    /// Evidence failed verification: exit code 4.
    #[error("{what}")]
    Refused { what: String, hint: Option<String> },
    /// Interrupted by the user; everything injected was undone first.
    #[error("interrupted; everything injected is undone, and the next `release` resumes this attempt")]
    Cancelled,
}

impl Error {
    pub fn usage(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Failed {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    pub fn refused(what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Refused {
            what: what.into(),
            hint: Some(hint.into()),
        }
    }

    pub fn failed(doing: &str, error: impl Display) -> Error {
        Error::Failed {
            what: format!("can't {doing}: {error}"),
            hint: None,
        }
    }

    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Error {
        Error::Failed {
            what: format!("can't {doing} `{}`: {error}", path.display()),
            hint: None,
        }
    }

    pub fn trust(path: &Path, error: &evidence::TrustRootError) -> Error {
        Error::refused(
            format!("`{}`: {error}", path.display()),
            "take the trust root again from where you first got it",
        )
    }

    /// Exit code of the design: 2 usage or tool error, 4 evidence failed verification.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Refused { .. } => 4,
            Error::Failed { .. } | Error::Input(_) | Error::Cancelled => 2,
        }
    }

    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Failed { hint, .. } | Error::Refused { hint, .. } => hint.as_deref(),
            Error::Input(_) | Error::Cancelled => None,
        }
    }
}

impl From<evidence::StorageError> for Error {
    fn from(error: evidence::StorageError) -> Self {
        Error::Failed {
            what: error.to_string(),
            hint: None,
        }
    }
}
