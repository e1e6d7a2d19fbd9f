//! # secret/webhook-secret
//!
//! A webhook signing secret stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it forges events that the service believes. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! whsec_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the provider's dashboard (Stripe, Svix) first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.stripe.com/webhooks>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/webhook-secret",
    what: "webhook signing secret",
    severity: Severity::High,
    fix: "revoke it at the provider's dashboard (Stripe, Svix), then read a new one from a secret store at run time",
    keywords: &["whsec_"],
    find: Find::Token(r"whsec_[A-Za-z0-9+/]{24,80}={0,2}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("wh{}{}", "sec_", noise(ALNUM, 32));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "whsec_xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            None,
        );
    }
}
