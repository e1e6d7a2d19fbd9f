//! What `explain` prints for the ids of this crate. Start reading at [`page`].

/// The page of an id of this crate, as Markdown: `vuln` for every `vuln/…`, and the gaps of `intel/…`.
pub fn page(id: &str) -> Option<&'static str> {
    let id = if id.starts_with("vuln/") { "vuln" } else { id };
    PAGES.iter().find(|(own, _)| *own == id).map(|(_, text)| *text)
}

/// Every id that [`page`] knows.
pub fn ids() -> Vec<&'static str> {
    PAGES.iter().map(|(id, _)| *id).collect()
}

pub static PAGES: &[(&str, &str)] = &[
    ("intel/duplicate-record", "\
# intel/duplicate-record
Two files of the advisory database have the same id.

## What it does
Keeps the first by path, names the other, and holds the database to be incomplete.

## Why it matters
Nobody can say which of the two is true.

## Example
`RUSTSEC-2020-0071.json` and `copy-of-RUSTSEC-2020-0071.json`.

## What to do instead
Remove one of them, or fetch the database again.

## References
- <https://ossf.github.io/osv-schema/>
"),
    ("intel/incomplete-database", "\
# intel/incomplete-database
A part of the advisory database could not be read.

## What it does
Adds this gap to every match against a database with a malformed or duplicate record. It blocks.

## Why it matters
The record that can't be read may be the one that counts.

## Example
A download that broke off in the middle of a file.

## What to do instead
Fetch the database again and pin its new digest under `[advisories]`.

## References
- <https://ossf.github.io/osv-schema/>
"),
    ("intel/malformed-record", "\
# intel/malformed-record
A file of the advisory database is no OSV record.

## What it does
Names the file and what is wrong with it, and holds the database to be incomplete.

## Why it matters
An advisory nobody can read protects nobody.

## Example
A range without an `introduced` event.

## What to do instead
Fetch the database again; report the record to who publishes it.

## References
- <https://ossf.github.io/osv-schema/>
"),
    ("intel/no-data", "\
# intel/no-data
The advisory database holds no record at all for an ecosystem that is in use.

## What it does
Reports each ecosystem with components and without a single record. It blocks.

## Why it matters
Nothing found in nothing is not a pass.

## Example
A Go service held against a database with records for crates.io only.

## What to do instead
Add the records of that ecosystem (osv.dev publishes them by ecosystem) and pin the new digest.

## References
- <https://google.github.io/osv.dev/data/>
"),
    ("intel/unclear-record", "\
# intel/unclear-record
A record about a package in use does not say which versions it means.

## What it does
Reports records with ranges of commits only, without any version, or with versions that can't be ordered. It blocks for components of that package.

## Why it matters
The package may be affected; nobody can tell from the record.

## Example
`\"ranges\": [{ \"type\": \"GIT\", … }]` and no `versions`.

## What to do instead
Read the advisory and decide; have an approver accept the gap for a time, or replace the package.

## References
- <https://ossf.github.io/osv-schema/#evaluation>
"),
    ("intel/unordered-version", "\
# intel/unordered-version
There are advisories for a package, and its version can't be held against them.

## What it does
Reports components without a version, with one that is no version by the ecosystem's rules, or of an ecosystem whose order is not known yet. It blocks.

## Why it matters
A package from git or from a local folder may hold the flaw all the same.

## Example
`replace golang.org/x/net => ./fork/net` in `go.mod`: nobody knows what the fork repaired.

## What to do instead
Use a released version; or have an approver accept the gap after looking at the code.

## References
- <https://ossf.github.io/osv-schema/#evaluation>
"),
    ("vuln", "\
# vuln
A component has a known vulnerability: `vuln/` and the id of the advisory.

## What it does
Holds every component of the lock files against the advisory database (OSV records, pinned by digest): a version that is listed, or lies in a range, is affected. The severity is the worst that any CVSS vector or the database itself states; what nobody rated counts as high. Withdrawn records and the project's own packages don't count.

## Why it matters
Known vulnerabilities are the ones attackers try first.

## Example
`time` 0.2.7 is affected by RUSTSEC-2020-0071.

## What to do instead
Update to the version the message names: the lowest one above yours that the advisory calls fixed. Where there is none, replace the package. Where the affected part is not used, a VEX statement or waiver of a role the trust root allows clears the finding; an inline comment does not.

## References
- <https://ossf.github.io/osv-schema/>
- <https://osv.dev>
"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_the_headings_in_order() {
        for (id, text) in PAGES {
            assert!(text.starts_with(&format!("# {id}\n")), "{id}");
            let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
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
        assert_eq!(page("vuln/RUSTSEC-2020-0071"), page("vuln"));
        assert_eq!(page("intel/other"), None);
    }
}
