//! # plant/policy-relaxed
//! What the project denies, allows or believes is widened.
//!
//! ## What it does
//! Changes one list or limit at a time: empties `dependencies.deny`, adds a registry to `dependencies.sources`, a licence to
//! `licences.allow`, a day to `advisories.age_days_max`. `control/controls-not-loosened` should hold the commit stage until
//! an approver signed it.
//!
//! ## Why it matters
//! These lists judge as much as a control does, and stand in the file that a change may edit.
//!
//! ## Example
//! `proofmark chaos gates --only policy-relaxed`
//!
//! ## What to do instead
//! Widen a list in a change of its own, which an approver signs.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "policy-relaxed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the list first: what is asked is compared with the release before",
    plan,
};

/// The largest that the configuration takes.
const AGE_DAYS_MAX: i64 = 36_525;

/// `None` where the configuration doesn't state it.
type Change = fn(&mut toml::Table) -> Option<()>;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let changes: [(&str, &str, Change); 4] = [
        ("dependencies.deny", "nothing is denied any more", |config| {
            let deny = config.get_mut("dependencies")?.get_mut("deny")?.as_array_mut()?;
            deny.clear();
            Some(())
        }),
        (
            "dependencies.sources",
            "packages may come from one place more",
            |config| {
                let sources = config.get_mut("dependencies")?.get_mut("sources")?.as_array_mut()?;
                // An empty list allows every source already.
                sources.first()?;
                sources.push("https://registry.planted.invalid".into());
                Some(())
            },
        ),
        ("licences.allow", "one licence more is accepted", |config| {
            let allow = config.get_mut("licences")?.get_mut("allow")?.as_array_mut()?;
            allow.push("LicenseRef-planted".into());
            Some(())
        }),
        ("advisories.age_days_max", "the database may be a day older", |config| {
            let age = config.get_mut("advisories")?.get_mut("age_days_max")?;
            let days = age.as_integer()?;
            *age = (days + 1).min(AGE_DAYS_MAX).into();
            Some(())
        }),
    ];
    changes
        .into_iter()
        .map(|(variant, what, change)| match ground.reconfigured(change) {
            Some(edit) => Plan::of(variant, what, vec![edit]),
            None => Plan::without(
                variant,
                "proofmark.toml doesn't state it, or it is as wide as it can be",
            ),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::Plan;
    use crate::gate_experiment::ground::testing::{configured, plan};

    #[test]
    fn one_list_at_a_time() {
        let config = "[dependencies]\ndeny = [\"pkg:npm/a\"]\n[licences]\nallow = [\"MIT\"]\n";
        let plans = plan(&super::ENTRY, config, &[]);
        let planted = plans.iter().filter(|plan| matches!(plan, Plan::Plant(_))).count();
        assert_eq!((plans.len(), planted), (4, 2));
        let first = configured(&plans[..1]).config;
        assert!(first.dependencies.deny.is_empty());
        assert_eq!(first.licences.unwrap().allow, ["MIT"]);
    }
}
