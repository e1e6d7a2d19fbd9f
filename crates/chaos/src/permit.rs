//! Leave to inject. Nothing is injected without one.

use std::fmt;

use evidence::Digest;

use crate::experiment::{DEADLINE_SECONDS_MAX, Experiment};

/// Leave to inject the faults of one experiment once. [`Permit::obtain`] is its only constructor.
#[derive(Debug, Clone)]
pub struct Permit {
    experiment: Digest,
}

/// What stands when a permit is asked for, as measured just before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Whoever owns the environment lets it be attacked.
    pub opted_in: bool,
    /// Why the steady state didn't hold when we measured it; `None` when it held.
    pub unsteady: Option<String>,
    /// Detectors that fire before anything was injected.
    pub firing: Vec<String>,
    /// Detectors that failed their self-test, each with the reason.
    pub broken: Vec<String>,
    /// Faults that can't bite, each with the reason.
    pub unfit: Vec<String>,
    /// Another experiment runs on this journal, or left something to undo.
    pub other_running: bool,
    /// What the owner's settings have against it.
    pub objections: Vec<String>,
    /// The user wants to stop.
    pub cancelled: bool,
}

/// Why nothing may be injected: everything that stands against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Lower case, no full stop.
    pub reasons: Vec<String>,
}

impl Permit {
    /// Leave for `experiment`, when nothing stands against it.
    pub fn obtain(experiment: &Experiment, conditions: &Conditions) -> Result<Permit, Refused> {
        let mut reasons = Vec::new();
        let mut refuse = |against: bool, reason: &str| {
            if against {
                reasons.push(reason.to_owned());
            }
        };
        refuse(conditions.cancelled, "stopped before anything was injected");
        refuse(!conditions.opted_in, "the environment has not opted in to experiments");
        refuse(
            conditions.other_running,
            "another experiment runs, or left something to undo",
        );
        refuse(
            experiment.deadline.as_secs() > DEADLINE_SECONDS_MAX,
            "the deadline is longer than 300 s",
        );
        if let Some(reason) = &conditions.unsteady {
            reasons.push(format!("no steady state to begin with: {reason}"));
        }
        for reason in &conditions.broken {
            reasons.push(format!("a detector failed its self-test: {reason}"));
        }
        for detector in &conditions.firing {
            reasons.push(format!("detector `{detector}` fires although nothing is wrong"));
        }
        for reason in &conditions.unfit {
            reasons.push(format!("a fault can't bite: {reason}"));
        }
        reasons.extend(conditions.objections.iter().cloned());
        if reasons.is_empty() {
            Ok(Permit {
                experiment: experiment.digest,
            })
        } else {
            Err(Refused { reasons })
        }
    }

    /// Leave to rehearse one fault on targets that are isolated and opted in, as [`crate::Rehearsal`] has checked.
    pub(crate) fn rehearsal() -> Permit {
        Permit {
            experiment: Digest::of(b"rehearsal"),
        }
    }

    /// The experiment it was given for.
    pub fn experiment(&self) -> Digest {
        self.experiment
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not injected: {}", self.reasons.join("; "))
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_alone_refuses() {
        let experiment = Experiment::parse("x.toml", include_str!("../tests/revoke-ledger.toml")).unwrap();
        let good = Conditions {
            opted_in: true,
            ..Conditions::default()
        };
        assert_eq!(
            Permit::obtain(&experiment, &good).unwrap().experiment(),
            experiment.digest
        );
        let words = || vec!["x".to_owned()];
        for bad in [
            Conditions {
                opted_in: false,
                ..good.clone()
            },
            Conditions {
                unsteady: Some("x".to_owned()),
                ..good.clone()
            },
            Conditions {
                firing: words(),
                ..good.clone()
            },
            Conditions {
                broken: words(),
                ..good.clone()
            },
            Conditions {
                unfit: words(),
                ..good.clone()
            },
            Conditions {
                other_running: true,
                ..good.clone()
            },
            Conditions {
                cancelled: true,
                ..good.clone()
            },
        ] {
            assert_eq!(
                Permit::obtain(&experiment, &bad).unwrap_err().reasons.len(),
                1,
                "{bad:?}"
            );
        }
        let long = Experiment {
            deadline: std::time::Duration::from_secs(301),
            ..experiment
        };
        assert!(Permit::obtain(&long, &good).is_err());
    }
}
