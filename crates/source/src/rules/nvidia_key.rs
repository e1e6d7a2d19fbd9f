//! # secret/nvidia-key
//!
//! A NVIDIA API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It spends the owner's quota. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! nvapi-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at build.nvidia.com first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.api.nvidia.com/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/nvidia-key",
    what: "NVIDIA API key",
    severity: Severity::High,
    fix: "revoke it at build.nvidia.com, then read a new one from a secret store at run time",
    keywords: &["nvapi-"],
    find: Find::Token(r"nvapi-[A-Za-z0-9_-]{60,70}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["nva", "pi-"].concat(), noise(WORD, 64));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["nva", "pi-"].concat(), "x".repeat(64)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["nva", "pi-"].concat(), noise(WORD, 5)),
            None,
        );
    }
}
