//! What every fault of a link does alike: one toxic in, read back, out again, read back.

use std::collections::BTreeMap;
use std::time::Duration;

use net::proxy::{Applied, Direction, Toxic};
use serde_json::Value;

use crate::environment::{BoxFuture, Environment};
use crate::experiment::DEADLINE_SECONDS_MAX;
use crate::fault::Injected;
use crate::read::Section;
use crate::strike::{Record, Undone};

/// A link, and how long its fault holds.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) hold_ms: u64,
}

impl Link {
    pub(crate) fn read(section: &Section<'_>) -> Option<Link> {
        let name = section.text("link");
        let hold_ms = section.number("hold_ms", 1..=DEADLINE_SECONDS_MAX * 1000);
        Some(Link {
            name: name?,
            hold_ms: hold_ms?,
        })
    }

    pub(crate) fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("link".to_owned(), self.name.clone().into()),
            ("hold_ms".to_owned(), self.hold_ms.into()),
        ])
    }

    pub(crate) fn undo_action(&self) -> String {
        format!(
            "remove what was put on link `{}` and read that back; it dies with the worker",
            self.name
        )
    }

    pub(crate) fn hold(&self) -> Duration {
        Duration::from_millis(self.hold_ms)
    }

    /// The link is there, and nothing is wrong with it yet.
    pub(crate) fn prepare<'a>(&'a self, environment: &'a dyn Environment) -> BoxFuture<'a, Result<Record, String>> {
        Box::pin(async move { self.expect(environment, &[]).await.map(|()| Record::new()) })
    }

    pub(crate) fn inject<'a>(
        &'a self,
        environment: &'a dyn Environment,
        toxic: Toxic,
    ) -> BoxFuture<'a, Result<Injected, String>> {
        Box::pin(async move {
            environment.toxics(&self.name, vec![applied(toxic)]).await?;
            Ok(Injected::default())
        })
    }

    pub(crate) fn in_force<'a>(
        &'a self,
        environment: &'a dyn Environment,
        toxic: Toxic,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.expect(environment, &[applied(toxic)]).await })
    }

    pub(crate) fn clear<'a>(&'a self, environment: &'a dyn Environment) -> BoxFuture<'a, Result<Undone, String>> {
        Box::pin(async move {
            environment.toxics(&self.name, Vec::new()).await?;
            self.expect(environment, &[]).await?;
            Ok(Undone::Restored)
        })
    }

    async fn expect(&self, environment: &dyn Environment, toxics: &[Applied]) -> Result<(), String> {
        let found = environment.read_toxics(&self.name).await?;
        if found == toxics {
            Ok(())
        } else {
            Err(format!(
                "link `{}` has {} toxics where {} are expected",
                self.name,
                found.len(),
                toxics.len()
            ))
        }
    }
}

/// How a link's fault is applied: to what the called service answers, on every connection, until it is cleared.
fn applied(toxic: Toxic) -> Applied {
    Applied::new("fault", toxic, Direction::Down)
}
