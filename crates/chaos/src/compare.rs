//! Compare and undo: a value is put back only where it still is what we made it. What somebody else has set since is
//! left alone, and said.
//!
//! Start reading at [`Change::undo`].

use serde_json::Value;

use crate::record;
use crate::strike::{Record, Undone};

/// Keys of a record.
const BEFORE: &str = "before";
const AFTER: &str = "after";

/// One value that a fault changes: what was there, and what it makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub before: Value,
    pub after: Value,
}

impl Change {
    pub(crate) fn new(before: impl Into<Value>, after: impl Into<Value>) -> Result<Change, String> {
        let change = Change {
            before: before.into(),
            after: after.into(),
        };
        if change.before == change.after {
            return Err("what it would bring about is so already".to_owned());
        }
        Ok(change)
    }

    /// The record of it, with what else the undo needs.
    pub(crate) fn record<const N: usize>(self, more: [(&str, Value); N]) -> Record {
        let mut record = Record::from(more.map(|(key, value)| (key.to_owned(), value)));
        record.insert(BEFORE.to_owned(), self.before);
        record.insert(AFTER.to_owned(), self.after);
        record
    }

    pub(crate) fn of(record: &Record) -> Result<Change, String> {
        Ok(Change {
            before: record::value(record, BEFORE)?.clone(),
            after: record::value(record, AFTER)?.clone(),
        })
    }

    /// `read` says what is there now, `put` makes it what it was. What was put back is read again.
    pub(crate) fn undo(
        &self,
        read: impl Fn() -> Result<Value, String>,
        put: impl FnOnce() -> Result<(), String>,
    ) -> Result<Undone, String> {
        let found = read()?;
        if found == self.before {
            return Ok(Undone::Restored);
        }
        if found != self.after {
            return Ok(Undone::Foreign(format!(
                "somebody has made it `{}` since",
                plain(&found)
            )));
        }
        put()?;
        let again = read()?;
        if again == self.before {
            return Ok(Undone::Restored);
        }
        Err(format!("it was put back, and is `{}` all the same", plain(&again)))
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn only_what_is_still_ours_is_put_back() {
        let change = Change::new("on", "off").unwrap();
        assert_eq!(Change::of(&change.clone().record([])), Ok(change.clone()));
        assert!(Change::new(1, 1).is_err());
        let foreign = Undone::Foreign("somebody has made it `half` since".to_owned());
        for (found, undone, left) in [
            ("off", Undone::Restored, "on"),
            ("on", Undone::Restored, "on"),
            ("half", foreign, "half"),
        ] {
            let now = RefCell::new(found);
            let put = || {
                *now.borrow_mut() = "on";
                Ok(())
            };
            assert_eq!(change.undo(|| Ok((*now.borrow()).into()), put), Ok(undone));
            assert_eq!(*now.borrow(), left);
        }
        assert!(change.undo(|| Ok("off".into()), || Ok(())).is_err());
    }
}
