//! # secret/telegram-bot-token
//!
//! A Telegram bot token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it is the bot. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! TELEGRAM_TOKEN=123456789:AA…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at @BotFather first: it is known. Then keep the new one in a secret store, hand it over as a file at run
//! time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://core.telegram.org/bots/features#botfather>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/telegram-bot-token",
    what: "Telegram bot token",
    severity: Severity::High,
    fix: "revoke it at @BotFather, then read a new one from a secret store at run time",
    keywords: &[":AA", "telegram"],
    find: Find::Near {
        pattern: r"(?:^|[^0-9A-Za-z])(?:bot)?(?P<value>[0-9]{8,10}:[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|$)",
        before: 16,
        after: 100,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{DIGITS, WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}:A{}{}", noise(DIGITS, 9), "A", noise(WORD, 33));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("t={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "12345678:AAshort", None);
    }
}
