//! # secret/azure-sas
//!
//! An Azure shared access signature stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! The address alone opens the resource until it expires. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! ?sv=…&se=…&sig=…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the Azure portal first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://learn.microsoft.com/azure/storage/common/storage-sas-overview>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/azure-sas",
    what: "Azure shared access signature",
    severity: Severity::High,
    fix: "revoke it at the Azure portal, then read a new one from a secret store at run time",
    keywords: &["sig="],
    find: Find::Near {
        pattern: r"sig=(?P<value>[A-Za-z0-9%/+]{43,60}(?:%3[dD]|=))",
        before: 0,
        after: 90,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let range = candidate.value.start.saturating_sub(400)..candidate.text.bytes.len().min(candidate.value.end + 400);
    let around = &candidate.text.bytes[range];
    (checks::contains(around, b"sv=") && checks::contains(around, b"se=") && checks::random(candidate.value()))
        .then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}%3D", noise(ALNUM, 43));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("https://a.blob.core.windows.net/c?sv=2022&se=2030&sig={value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("sig={}%3D", noise(ALNUM, 43)),
            None,
        );
    }
}
