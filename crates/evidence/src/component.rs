//! What a release is made of.

use serde::{Deserialize, Serialize};

/// A package that is pulled in (CycloneDX component, SPDX package), named by its package URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// Canonical package URL (<https://github.com/package-url/purl-spec>): `pkg:cargo/serde@1.0.0`.
    pub purl: String,
    /// Ecosystem as OSV spells it: `crates.io`, `npm`, `Go`.
    pub ecosystem: String,
    pub name: String,
    pub version: String,
    /// SPDX licence expression, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// `sha256:…` or `sha512:…` in hexadecimal, as the lock file states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    pub scope: Scope,
    /// Manifest or lock file that names it, relative to the tree's root, `/` between parts.
    pub path: String,
    /// Line in that file, from 1; 0 when unknown.
    pub line: u32,
}

/// Whether a component ends up in what is shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The project's own package.
    Root,
    Runtime,
    /// Only for development, tests or the build.
    Development,
}

/// `from` depends on `to`, both by package URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
}
