//! # chaos/credential-revoked
//! A credential is revoked while a service holds it.
//!
//! ## What it does
//! Revokes every live lease that one role holds for one policy, at the broker, and from then on presents the
//! revoked credential itself to the service that should refuse it. The experiment measures how long it goes on
//! being accepted (contained), until somebody notices (detected), and until its holder works again with a new
//! lease (recovered).
//!
//! - Undo class: `irreversible`. A revoked credential stays revoked; the way forward is that its holder leases
//!   again, which is read back at the broker.
//! - Rights: revoke leases at the broker of the environment.
//! - ATT&CK: T1078 (valid accounts), T1550.001 (use of an application access token). CWE: CWE-613 (insufficient
//!   session expiration), CWE-672 (use after expiration or release).
//! - Expected effect: confidentiality and integrity are kept, because nothing is served to the revoked credential;
//!   availability suffers until the holder has leased again.
//!
//! ## Why it matters
//! Revocation is what is left once a credential has leaked. A service that caches the answer "this token is good"
//! turns it into a wish: the thief stays in for as long as the cache lives, and nobody is told.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "credential-revoked"
//! role = "storefront"
//! policy = "ledger"
//! [fault.probe]
//! service = "ledger"
//! method = "GET"
//! path = "/balance"
//! refused = [401, 403]
//! ```
//!
//! ## What to do instead
//! Ask the issuer on every request, or cache its answer for no longer than you can bear a thief; log each refusal;
//! on a refusal lease again at once, once, and only then fail.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1550/001/>
//! - <https://cwe.mitre.org/data/definitions/613.html>
//! - <https://cwe.mitre.org/data/definitions/672.html>

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::{BoxFuture, Environment};
use crate::fault::{Effect, Entry, Fault, Injected, Met, Probe, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Undone};

pub(super) const ENTRY: Entry = Entry {
    id: "credential-revoked",
    undo_class: UndoClass::Irreversible,
    rights: "revoke leases at the broker of the environment",
    attack: &["T1078", "T1550.001"],
    cwe: &["CWE-613", "CWE-672"],
    effect: Effect {
        confidentiality: "kept: the credential is refused from then on",
        integrity: "kept",
        availability: "degraded until the holder leases again",
    },
    targets: &[],
    keys: &["role", "policy", "probe"],
    read,
};

#[derive(Debug)]
struct CredentialRevoked {
    role: String,
    policy: String,
    probe: Probe,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let role = section.text("role");
    let policy = section.text("policy");
    let probe = section.section("probe").and_then(|probe| Probe::read(&probe));
    Some(Box::new(CredentialRevoked {
        role: role?,
        policy: policy?,
        probe: probe?,
    }))
}

impl Fault for CredentialRevoked {
    fn entry(&self) -> &'static Entry {
        const { &ENTRY }
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        let probe = json!({
            "service": self.probe.request.service,
            "method": self.probe.request.method,
            "path": self.probe.request.path,
            "refused": self.probe.refused,
        });
        BTreeMap::from([
            ("role".to_owned(), self.role.clone().into()),
            ("policy".to_owned(), self.policy.clone().into()),
            ("probe".to_owned(), probe),
        ])
    }

    fn action(&self) -> String {
        format!(
            "revoke the live leases that `{}` holds for `{}`",
            self.role, self.policy
        )
    }

    fn undo_action(&self) -> String {
        format!("way forward: `{}` leases for `{}` again", self.role, self.policy)
    }

    fn hold(&self) -> Option<Duration> {
        None
    }

    fn probe(&self) -> Option<&Probe> {
        Some(&self.probe)
    }

    /// A credential that is refused before it is revoked would show nothing afterwards.
    fn prepare<'a>(&'a self, environment: &'a dyn Environment) -> BoxFuture<'a, Result<Record, String>> {
        Box::pin(async move {
            let live = environment.active(&self.role, &self.policy).await;
            let Some(lease) = live.first() else {
                return Err(format!(
                    "`{}` holds no live lease for `{}` to revoke",
                    self.role, self.policy
                ));
            };
            let request = self.probe.with(lease);
            let answer = environment.request(&request).await?;
            if self.probe.refused.contains(&answer.status) {
                return Err(format!(
                    "`{}` answers {} to {} {} even before the credential is revoked",
                    request.service, answer.status, request.method, request.path
                ));
            }
            Ok(Record::new())
        })
    }

    fn inject<'a>(
        &'a self,
        _: &'a Permit,
        environment: &'a dyn Environment,
        _: &'a Record,
    ) -> BoxFuture<'a, Result<Injected, String>> {
        Box::pin(async move {
            let revoked = environment.revoke(&self.role, &self.policy).await?;
            if revoked.is_empty() {
                return Err(format!("`{}` held no live lease for `{}`", self.role, self.policy));
            }
            Ok(Injected { revoked })
        })
    }

    fn in_force<'a>(
        &'a self,
        environment: &'a dyn Environment,
        _: &'a Record,
        injected: &'a Injected,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let live = environment.active(&self.role, &self.policy).await;
            match live.iter().find(|lease| injected.revoked.contains(lease)) {
                Some(lease) => Err(format!("lease `{}` is still live after its revocation", lease.0)),
                None => Ok(()),
            }
        })
    }

    /// The broker has said so; a holder that leases again at once is not even slow.
    fn felt(&self, _: &Met<'_>) -> bool {
        true
    }

    fn undo<'a>(
        &'a self,
        environment: &'a dyn Environment,
        _: &'a Record,
        injected: &'a Injected,
    ) -> BoxFuture<'a, Result<Undone, String>> {
        Box::pin(async move {
            let live = environment.active(&self.role, &self.policy).await;
            if live.iter().any(|lease| !injected.revoked.contains(lease)) {
                Ok(Undone::Restored)
            } else {
                Err(format!("`{}` has not leased for `{}` again", self.role, self.policy))
            }
        })
    }
}
