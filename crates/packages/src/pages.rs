//! What `explain` prints for the ids of this crate.
//!
//! Pages of ecosystems stand in their files; those of findings and gaps stand here. Start reading at [`page`].

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::ecosystems;

/// The page of an id of this crate (`ecosystem/cargo`, `licence/denied`), as Markdown.
pub fn page(id: &str) -> Option<&'static str> {
    static ALL: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
        let own = PAGES.iter().map(|(id, text)| (*id, (*text).to_owned()));
        own.chain(ecosystems::PAGES.iter().map(|(id, source)| (*id, doc_comment(source))))
            .collect()
    });
    ALL.get(id).map(String::as_str)
}

/// Every id that [`page`] knows.
pub fn ids() -> Vec<&'static str> {
    PAGES.iter().chain(ecosystems::PAGES).map(|(id, _)| *id).collect()
}

/// The `//!` lines a file opens with.
fn doc_comment(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect()
}

pub static PAGES: &[(&str, &str)] = &[
    ("dependency/bad-policy", "\
# dependency/bad-policy
An entry of `deny` is no package URL.

## What it does
Reports each entry of `deny` under `[dependencies]` that can't be read. It blocks: a denial nobody can read denies nothing.

## Why it matters
A typing error must not switch a rule off.

## Example
`deny = [\"event-stream\"]`

## What to do instead
Write a package URL: `deny = [\"pkg:npm/event-stream\"]`.

## References
- <https://github.com/package-url/purl-spec>
"),
    ("dependency/checksum-changed", "\
# dependency/checksum-changed
The same version of a package has other bytes than before, or no checksum any more.

## What it does
Compares the checksums of two lock files for equal package URLs. Another checksum is critical; a missing one is high.

## Why it matters
Registries do not change a published version. Other bytes under the same version mean that a registry, a mirror or the lock file was tampered with.

## Example
`serde 1.0.200` with checksum `ddc6f9…` yesterday and `1b2c3d…` today.

## What to do instead
Fetch the package from its registry and compare; don't merge before you know why. A deliberate fork needs a name or version of its own.

## References
- <https://slsa.dev/spec/v1.0/threats>
"),
    ("dependency/denied", "\
# dependency/denied
A package on the deny list is pulled in.

## What it does
Holds every new or changed component against `deny` under `[dependencies]`. An entry without a version denies every version.

## Why it matters
The list holds what the team decided never to ship: abandoned, hostile or replaced packages.

## Example
`deny = [\"pkg:npm/event-stream\"]` and a lock file that pulls in `event-stream 3.3.6`.

## What to do instead
Remove the package. When another one pulls it in, update or replace that one (`cargo tree -i NAME`, `npm explain NAME`, `go mod why -m NAME`).

## References
- <https://github.com/package-url/purl-spec>
"),
    ("dependency/source-not-allowed", "\
# dependency/source-not-allowed
A package comes from a registry, repository or address that is not allowed.

## What it does
Compares where each new or changed component is fetched from with `sources` under `[dependencies]`: registry names (`crates.io`, `npm`, `Go`) and addresses that hold everything below them.

## Why it matters
A lock file can point any package at any server; that is how dependency confusion and hijacked forks come in.

## Example
`source = \"git+https://github.com/someone/serde#0123abc\"` while `sources = [\"crates.io\"]`.

## What to do instead
Take the package from an allowed registry, or add the address of a repository you trust: `sources = [\"crates.io\", \"https://github.com/acme/\"]`.

## References
- <https://medium.com/@alex.birsan/dependency-confusion-4a5d60fec610>
"),
    ("dependency/version-lowered", "\
# dependency/version-lowered
A package went back to an older version.

## What it does
Compares the highest version of each package in a lock file with the one before.

## Why it matters
Going back may bring a repaired vulnerability in again, unseen in a long lock file.

## Example
`time` goes from 0.3.36 to 0.2.7.

## What to do instead
Go back up, or say in the change why the older version is needed.

## References
- <https://slsa.dev/spec/v1.0/threats>
"),
    ("licence/bad-policy", "\
# licence/bad-policy
An entry of `allow` is no SPDX licence.

## What it does
Reports each entry of `allow` under `[licences]` that is no SPDX licence id, `LicenseRef-…` or `ID WITH EXCEPTION`. It blocks.

## Why it matters
A typing error must not change what is allowed without being seen.

## Example
`allow = [\"Apache 2\"]`

## What to do instead
Use the id of the SPDX list: `Apache-2.0`.

## References
- <https://spdx.org/licenses/>
"),
    ("licence/denied", "\
# licence/denied
A package is under a licence the policy does not allow.

## What it does
Reads the SPDX expression a package declares and asks whether licences of `allow` under `[licences]` satisfy it: of `A OR B` one is enough, of `A AND B` both are needed. The project's own packages are not judged.

## Why it matters
Shipping code under a licence you can't meet is a legal risk that grows with every release.

## Example
`MIT AND GPL-2.0-only` where only `MIT` is allowed.

## What to do instead
Replace the package, or let the people who answer for licences add the id to `allow`.

## References
- <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>
"),
    ("licence/no-policy", "\
# licence/no-policy
No licence is listed as allowed, so none was judged.

## What it does
Reports that `allow` under `[licences]` is empty although there are packages to judge.

## Why it matters
A check that asked nothing is not a pass.

## Example
A `proofmark.toml` without `[licences]`.

## What to do instead
List what you accept: `[licences]` and `allow = [\"MIT\", \"Apache-2.0\"]`.

## References
- <https://spdx.org/licenses/>
"),
    ("licence/unknown", "\
# licence/unknown
No licence is known for a package, or what it declares is no SPDX expression.

## What it does
Reports packages whose manifest is not at hand or declares something like `SEE LICENSE IN LICENSE`. It blocks for what is shipped, not for what serves development only.

## Why it matters
No licence means no permission.

## Example
`\"license\": \"UNLICENSED\"` in a `package.json`.

## What to do instead
Fetch the packages first (`cargo fetch`, `npm ci`), so that their manifests can be read. Where the declaration itself is at fault, ask the authors or replace the package.

## References
- <https://spdx.org/licenses/>
"),
    ("packages/contradiction", "\
# packages/contradiction
A lock file states two checksums for one package.

## What it does
Reports a package URL that stands twice in one file with different checksums. It blocks.

## Why it matters
Nobody can say which bytes are meant.

## Example
Two `[[package]]` tables for `serde 1.0.200` with different checksums.

## What to do instead
Write the lock file again with its own tool, and find out how it came about.

## References
- <https://slsa.dev/spec/v1.0/threats>
"),
    ("packages/no-lock", "\
# packages/no-lock
A manifest names dependencies, and no lock file says which versions.

## What it does
Reports each `Cargo.toml` or `package.json` with dependencies that no lock file beside or above it covers, and each `go.mod` below `go 1.17` without `go.sum`. It blocks.

## Why it matters
Without a lock every build may pull in something else; no statement about it holds.

## Example
A `package.json` with `dependencies`, and no `package-lock.json`.

## What to do instead
Make and commit the lock: `cargo generate-lockfile`, `npm install --package-lock-only`, `go mod tidy`.

## References
- <https://slsa.dev/spec/v1.0/requirements>
"),
    ("packages/unread-manifest", "\
# packages/unread-manifest
A file that pulls packages in is of a kind Proofmark does not read yet.

## What it does
Names each such file (`pom.xml`, `requirements.txt`, `yarn.lock`, `Gemfile.lock` and many more). It blocks: what they pull in is in no bill of materials and was held against no advisory.

## Why it matters
A bill of materials that is silently incomplete is worse than none.

## Example
A Python service beside a Rust one: `requirements.txt` is named here.

## What to do instead
Keep the file out of what is released, or let an approver accept the gap for a time. Reading one more format is one file more in `ecosystems/`.

## References
- <https://github.com/google/osv-scalibr>
"),
    ("packages/unreadable", "\
# packages/unreadable
A manifest or lock file could not be read.

## What it does
Reports files that are not UTF-8, not of their format, of a format version newer than the ones known, or too large, with the reason. It blocks.

## Why it matters
What a file pulls in stays unknown, however little is wrong with it.

## Example
A `Cargo.lock` with the marks of a merge conflict.

## What to do instead
Write the file again with its own tool: `cargo generate-lockfile`, `npm install --package-lock-only`, `go mod tidy`.

## References
- <https://doc.rust-lang.org/cargo/guide/cargo-toml-vs-cargo-lock.html>
"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_the_headings_in_order() {
        let ids = PAGES.iter().chain(ecosystems::PAGES).map(|(id, _)| *id);
        for id in ids {
            let page = page(id).expect("a page");
            assert!(page.starts_with(&format!("# {id}\n")), "{id}");
            let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(
                headings,
                [
                    "## What it does",
                    "## Why it matters",
                    "## Example",
                    "## What to do instead",
                    "## References"
                ],
                "{id}"
            );
        }
        assert_eq!(page("no/such"), None);
    }

    #[test]
    fn every_ecosystem_has_its_page() {
        for entry in ecosystems::ALL {
            assert!(page(entry.id).is_some(), "{}", entry.id);
        }
    }
}
