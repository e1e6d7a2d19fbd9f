//! The five stages of a release.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where in its way to production a release is. The order is the order of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Commit,
    Build,
    Integration,
    Staging,
    Production,
}

impl Stage {
    pub const ALL: [Stage; 5] = [
        Stage::Commit,
        Stage::Build,
        Stage::Integration,
        Stage::Staging,
        Stage::Production,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stage::Commit => "commit",
            Stage::Build => "build",
            Stage::Integration => "integration",
            Stage::Staging => "staging",
            Stage::Production => "production",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Stage::ALL
            .into_iter()
            .find(|stage| stage.name() == text)
            .ok_or_else(|| format!("`{text}` is not a stage (commit, build, integration, staging, production)"))
    }
}
