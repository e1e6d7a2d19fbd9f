//! # secret/azure-storage-key
//!
//! An Azure storage account key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Storage, Service Bus, IoT Hub and Event Hub keys. The storage emulator's published key is left alone.
//!
//! ## Why it matters
//!
//! It reads and writes everything in the account. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! AccountKey=…==
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the Azure portal, Access keys first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://learn.microsoft.com/azure/storage/common/storage-account-keys-manage>

use evidence::Severity;

use crate::checks;
use crate::matcher::machine_made;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/azure-storage-key",
    what: "Azure storage account key",
    severity: Severity::Critical,
    fix: "revoke it at the Azure portal, Access keys, then read a new one from a secret store at run time",
    keywords: &[
        "AccountKey",
        "accountKey",
        "StorageKey",
        "storageKey",
        "storage_key",
        "SharedAccessKey",
        "account_key",
        "azure",
    ],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9+/])(?P<value>[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=)(?:[^A-Za-z0-9+/=]|$)",
        before: 0,
        after: 140,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    // A 32-byte key is as long as any SHA-256; only a name that says so makes it a key.
    let before = &candidate.text.bytes[candidate.value.start.saturating_sub(24)..candidate.value.start];
    let named = checks::contains(&before.to_ascii_lowercase(), b"key");
    let well_known = value.starts_with(b"Eby8vdM02xNO");
    let real = checks::entropy(value) > 4.0
        && !well_known
        && !checks::plain_placeholder(value)
        && !machine_made(&candidate.text);
    (real && (named || value.len() == 88)).then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE64, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}==", noise(BASE64, 86));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("AccountKey={value};"),
            Some(&value),
        );
        let value = format!("{}=", noise(BASE64, 43));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("SharedAccessKey={value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("AccountKey={}==", "A".repeat(86)),
            None,
        );
    }
}
