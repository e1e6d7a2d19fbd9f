//! Lists a check was made with, held against lists a control asks for.

use evidence::Outcome;

use crate::catalogue::{Asked, Judged};
use crate::history::Seen;
use crate::observed::observed;
use crate::words::names;

/// The check's fact `name` must hold everything the parameter of that name does.
pub(crate) fn at_least(asked: &Asked, seen: &Seen, name: &str) -> Judged {
    let (Some(asks), had) = (asked.texts(name), fact(seen, name)) else {
        return Judged::pass();
    };
    let Some(had) = had else {
        return unsaid(asked, seen, name);
    };
    let missing: Vec<&str> = asks
        .into_iter()
        .filter(|text| !had.iter().any(|had| had == text))
        .collect();
    if missing.is_empty() {
        return Judged::pass();
    }
    Judged::because(asked.reason_at(
        seen,
        Outcome::Fail,
        format!("the check was made without {} in `{name}`", names(missing)),
        &format!("a check made with them in `{name}`"),
        format!("put them into `{name}` in `proofmark.toml`"),
    ))
}

/// The check's fact `name` must hold nothing the parameter of that name doesn't, and something at all: an empty list
/// of what is allowed allows everything.
pub(crate) fn at_most(asked: &Asked, seen: &Seen, name: &str) -> Judged {
    let (Some(asks), had) = (asked.texts(name), fact(seen, name)) else {
        return Judged::pass();
    };
    let Some(had) = had.filter(|had| !had.is_empty()) else {
        return unsaid(asked, seen, name);
    };
    let beyond: Vec<&str> = had
        .iter()
        .map(String::as_str)
        .filter(|text| !asks.contains(text))
        .collect();
    if beyond.is_empty() {
        return Judged::pass();
    }
    Judged::because(asked.reason_at(
        seen,
        Outcome::Fail,
        format!("the check allowed {} in `{name}`", names(beyond)),
        &format!("nothing in `{name}` beyond {}", names(asks)),
        format!("take them out of `{name}` in `proofmark.toml`"),
    ))
}

fn unsaid(asked: &Asked, seen: &Seen, name: &str) -> Judged {
    Judged::because(asked.reason_at(
        seen,
        Outcome::Indeterminate,
        format!("the check doesn't say which `{name}` it was made with"),
        &format!("the fact `{name}` in the statement"),
        format!("set `{name}` in `proofmark.toml`, and make the statement with this version of Proofmark"),
    ))
}

fn fact(seen: &Seen, name: &str) -> Option<Vec<String>> {
    let observed = observed(seen.statement, &seen.statement.predicate_type)?;
    let texts = observed.facts.get(name)?.as_array()?;
    texts.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}
