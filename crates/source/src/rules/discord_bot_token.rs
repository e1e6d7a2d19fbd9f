//! # secret/discord-bot-token
//!
//! A Discord bot token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! Whoever has it is the bot in every server it joined. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! DISCORD_TOKEN=…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at discord.com/developers first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://discord.com/developers/docs/reference#authentication>

use base64::Engine;

use evidence::Severity;

use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/discord-bot-token",
    what: "Discord bot token",
    severity: Severity::High,
    fix: "revoke it at discord.com/developers, then read a new one from a secret store at run time",
    keywords: &["MT", "Mj", "Mz", "ND", "NT", "Nj", "Nz", "OD", "OT"],
    find: Find::Token(
        r"(?P<value>[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{25,40})(?:[^A-Za-z0-9_.-]|$)",
    ),
    check,
};

/// The first part is the bot's id, a decimal number, in base 64.
fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let first = candidate.value().split(|byte| *byte == b'.').next()?;
    let id = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(&first[..first.len() / 4 * 4])
        .ok()?;
    (id.len() >= 15 && id.iter().all(u8::is_ascii_digit)).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use crate::matcher::testing::{ALNUM, WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!(
            "{}.{}.{}",
            base64::engine::general_purpose::STANDARD_NO_PAD.encode("391823749182374918"),
            noise(WORD, 6),
            noise(ALNUM, 27)
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("DISCORD_TOKEN={value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "token: NotAToken.abcdef.abcdefghijklmnopqrstuvwxyz01",
            None,
        );
    }
}
