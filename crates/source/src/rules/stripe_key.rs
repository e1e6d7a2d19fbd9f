//! # secret/stripe-key
//!
//! A Stripe secret key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! A live key moves money. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! STRIPE_KEY=sk_live_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at dashboard.stripe.com/apikeys first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.stripe.com/keys>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/stripe-key",
    what: "Stripe secret key",
    severity: Severity::Critical,
    fix: "revoke it at dashboard.stripe.com/apikeys, then read a new one from a secret store at run time",
    keywords: &["sk_live_", "rk_live_", "sk_test_", "rk_test_"],
    find: Find::Token(r"[sr]k_(?:live|test)_[A-Za-z0-9]{20,250}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("sk_{}_{}", "live", noise(ALNUM, 24));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = format!("rk_{}_{}", "live", noise(ALNUM, 99));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "sk_live_xxxxxxxxxxxxxxxxxxxxxxxx",
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "pk_live_123", None);
    }
}
