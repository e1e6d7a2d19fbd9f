//! Order of versions, by ecosystem.
//!
//! crates.io, npm and Go order by Semantic Versioning 2.0.0 (<https://semver.org/#spec-item-11>); every other ecosystem has
//! rules of its own and is not ordered yet. Start reading at [`compare`].

use std::cmp::Ordering;

/// The order of two versions; `None` when the ecosystem's rules are not known here or a text is no version by them.
///
/// Numbers may have any length. Versions with more or fewer than three numbers are ordered by position, missing ones being 0,
/// because registries hold old ones like that. A leading `v` and build metadata (`+incompatible`) don't count.
pub fn compare(ecosystem: &str, a: &str, b: &str) -> Option<Ordering> {
    match ecosystem.split(':').next()? {
        "crates.io" | "npm" | "Go" => compare_semver(a, b),
        _ => None,
    }
}

/// The order by Semantic Versioning, whatever the ecosystem: what OSV's ranges of type `SEMVER` are made of.
pub(crate) fn compare_semver(a: &str, b: &str) -> Option<Ordering> {
    Some(Version::parse(a)?.cmp(&Version::parse(b)?))
}

/// Whether `compare` can order this text at all.
pub(crate) fn is_ordered(ecosystem: &str, version: &str) -> bool {
    compare(ecosystem, version, version).is_some()
}

struct Version<'a> {
    numbers: Vec<&'a str>,
    /// Empty for a release.
    prerelease: Vec<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        /// Longer ones exist in nobody's registry.
        const VERSION_BYTES_MAX: usize = 512;
        if text.len() > VERSION_BYTES_MAX {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text
            .split_once('+')
            .map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, prerelease) = text
            .split_once('-')
            .map_or((text, None), |(core, pre)| (core, Some(pre)));
        let identifiers = |text: &'a str| -> Option<Vec<&'a str>> {
            text.split('.')
                .map(|part| Some(part).filter(|part| is_identifier(part)))
                .collect()
        };
        if let Some(build) = build {
            identifiers(build)?;
        }
        let prerelease = prerelease.map_or(Some(Vec::new()), identifiers)?;
        let numbers: Option<Vec<&str>> = core
            .split('.')
            .map(|part| Some(part).filter(|part| is_number(part)))
            .collect();
        Some(Version {
            numbers: numbers?,
            prerelease,
        })
    }

    fn number(&self, at: usize) -> &'a str {
        self.numbers.get(at).copied().unwrap_or("0")
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let count = self.numbers.len().max(other.numbers.len());
        let core = (0..count)
            .map(|at| compare_numbers(self.number(at), other.number(at)))
            .find(|order| order.is_ne());
        core.unwrap_or_else(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Without leading zeros the longer number is the greater one; of equal length, text order is number order.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn compare_prereleases(a: &[&str], b: &[&str]) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let parts = a.iter().zip(b).map(|(a, b)| match (is_number(a), is_number(b)) {
        (true, true) => compare_numbers(a, b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    });
    parts
        .into_iter()
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_specification_s_own_order() {
        let ordered = [
            "0.0.0-20191109021931-daa7c04131f5",
            "0.0.0-20210630005230-0f9fa26af87c",
            "0.0.1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.9.0",
            "1.10.0",
            "2.0.1-0.20210630005230-0f9fa26af87c",
            "2.0.1",
        ];
        for (at, a) in ordered.iter().enumerate() {
            for (bt, b) in ordered.iter().enumerate() {
                assert_eq!(compare("Go", a, &format!("v{b}")), Some(at.cmp(&bt)), "{a} {b}");
            }
        }
        assert_eq!(compare("Go", "v2.0.0+incompatible", "2.0.0"), Some(Ordering::Equal));
    }

    #[test]
    fn what_is_no_version_is_not_ordered() {
        for text in [
            "",
            "v",
            "1.",
            ".1",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.0+",
            "latest",
            "1.x",
            "1.0.0-ü",
            "file:../x",
            "^1.0.0",
        ] {
            assert_eq!(compare("npm", text, text), None, "{text}");
        }
        assert_eq!(compare("PyPI", "1.0", "1.0"), None, "other rules");
    }

    fn version() -> impl Strategy<Value = String> {
        "v?(0|[1-9][0-9]{0,3}|18446744073709551616)(\\.[0-9]{1,2}){0,3}(-[0-9a-z-]{1,3}(\\.[0-9a-z-]{1,3}){0,2})?(\\+[a-z0-9]{1,3})?"
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(a in version(), b in version(), c in version()) {
            let order = |a: &str, b: &str| compare_semver(a, b).expect("a version");
            prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
            if order(&a, &b).is_le() && order(&b, &c).is_le() {
                prop_assert!(order(&a, &c).is_le());
            }
        }

        #[test]
        fn any_text_is_ordered_or_not(a in "\\PC*", b in "\\PC*") {
            let _ = compare("npm", &a, &b);
        }
    }
}
