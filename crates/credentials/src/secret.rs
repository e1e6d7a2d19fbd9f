//! A secret value: immutable, printed as `[secret]`, zeroed when the last holder lets go.
//!
//! There is no `Serialize`, no `Deref` and no comparison: whoever needs the value says [`Secret::expose`], and a
//! search for that word finds every place where a value leaves.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evidence::Digest;
use zeroize::Zeroizing;

/// What every token of ours begins with, so that scanners and log filters know one.
pub(crate) const TOKEN_PREFIX: &str = "pmt.";

/// A secret text. Cloning shares the one copy.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes over `value`; no copy is left behind by this call.
    pub fn new(value: String) -> Self {
        Secret(Arc::new(Zeroizing::new(value)))
    }

    /// `pmt.` and 32 bytes as base64url without padding (RFC 4648, section 5).
    pub(crate) fn token(mut random: [u8; 32]) -> Self {
        // The exact capacity, because a buffer that grows leaves its old copy in freed memory.
        let mut value = String::with_capacity(TOKEN_PREFIX.len() + 43);
        value.push_str(TOKEN_PREFIX);
        URL_SAFE_NO_PAD.encode_string(random, &mut value);
        zeroize::Zeroize::zeroize(&mut random);
        Secret::new(value)
    }

    /// The value itself. It must not reach a log line, an error, an environment variable or a file anyone else reads.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the value: enough to recognise it, of no use to present it.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_prefix_and_base64url() {
        let token = Secret::token([0xff; 32]);
        assert_eq!(token.expose(), format!("pmt.{}8", "_".repeat(42)));
        assert_eq!(token.expose().len(), 47);
    }

    #[test]
    fn a_secret_prints_as_secret() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?} {:>20?}", Some(&secret)),
            "[secret] [secret] [secret] Some([secret])"
        );
    }
}
