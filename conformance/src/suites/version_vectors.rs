//! `version-vectors`: lines `a OP b` by ecosystem, from osv-scalibr, against [`intel::version::compare`].
//!
//! The ecosystem is the file name up to `-versions`. Cases are named `ECOSYSTEM/FILE:LINE`.

use std::cmp::Ordering;

use super::{Data, unplaced};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    for path in data.files()? {
        let Some((ecosystem, _)) = path.split_once("-versions").filter(|_| path.ends_with(".txt")) else {
            unplaced(tally, &path);
            continue;
        };
        for (at, line) in data
            .text(&path)?
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let case = format!("{ecosystem}/{path}:{}", at + 1);
            let words: Vec<&str> = line.split_whitespace().collect();
            let [a, op @ ("<" | "=" | ">"), b] = words[..] else {
                tally.case(&case, "`a OP b`", line);
                continue;
            };
            let orders = names(ecosystem).iter().map(|name| (name, order(name, a, b)));
            let differing = orders
                .filter(|(_, got)| *got != op)
                .map(|(name, got)| format!("{a} {got} {b} ({name})"));
            let got = differing.collect::<Vec<_>>().join(", ");
            let expected = format!("{a} {op} {b}");
            tally.case(&case, &expected, if got.is_empty() { &expected } else { &got });
        }
    }
    Ok(())
}

/// What OSV calls the ecosystems that order this way; a file of an ecosystem we don't know asks under its own name.
fn names(file: &str) -> &[&str] {
    match file {
        "alpine" => &["Alpine"],
        "cran" => &["CRAN"],
        "debian" => &["Debian"],
        "hackage" => &["Hackage"],
        "maven" => &["Maven"],
        "nuget" => &["NuGet"],
        "packagist" => &["Packagist"],
        "pub" => &["Pub"],
        "pypi" => &["PyPI"],
        "redhat" => &["Red Hat"],
        "rubygems" => &["RubyGems"],
        "semver" => &["crates.io", "npm", "Go"],
        _ => &["unknown"],
    }
}

fn order(ecosystem: &str, a: &str, b: &str) -> &'static str {
    match intel::version::compare(ecosystem, a, b) {
        Some(Ordering::Less) => "<",
        Some(Ordering::Equal) => "=",
        Some(Ordering::Greater) => ">",
        None => "has no order to",
    }
}
