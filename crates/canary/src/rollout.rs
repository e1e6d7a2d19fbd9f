//! The order of events of a rollout, as a total state machine: every answer in every state leads somewhere, and
//! nothing is believed about the router's weight until it was read back.

use crate::Decision;

/// Takes the new version from the first weight to all of the traffic, or back to none of it.
///
/// Ask [`Rollout::next`] after every batch of requests and do what it says. Once it says
/// [`Action::ReadBack`], read the weight from the router and tell [`Rollout::read_back`].
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    weights: Vec<u32>,
    requests_min: u64,
    state: State,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Set the new version's weight, per cent, and start counting requests at this weight from 0.
    SetWeight(u32),
    /// Send more requests.
    Wait,
    /// Read the weight from the router itself and call [`Rollout::read_back`]; this one is expected.
    ReadBack(u32),
    /// It is over, and the router's weight is what the outcome says.
    Done(Outcome),
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All traffic goes to the new version.
    Promoted,
    /// The new version was worse; no traffic goes to it.
    Halted,
    /// Neither was shown; no traffic goes to the new version.
    Undecided,
    /// The router did not take the weight after [`Rollout::TRIES_MAX`] tries.
    Stuck { wanted: u32, got: u32 },
}

impl Outcome {
    /// As the canary statement spells it. A router that is stuck leaves it undecided.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Promoted => "promote",
            Outcome::Halted => "halt",
            Outcome::Undecided | Outcome::Stuck { .. } => "undecided",
        }
    }
}

/// The weights are not a rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("a rollout needs at least one weight")]
    Empty,
    #[error("weight {0} is not between 1 and 99 per cent")]
    Range(u32),
    #[error("weight {after} does not rise above {before}")]
    Order { before: u32, after: u32 },
    #[error("{0} weights are more than the limit of {max}", max = Rollout::WEIGHTS_MAX)]
    TooMany(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Start,
    /// At the weight with this index.
    At(usize),
    /// This weight was asked for; it ends so once it is read back.
    Setting {
        tries: u32,
        ending: Outcome,
    },
    /// Waiting for what the router says.
    Reading {
        tries: u32,
        ending: Outcome,
    },
    Ended(Outcome),
}

impl Rollout {
    pub const WEIGHTS_MAX: usize = 100;
    /// Times a final weight is set before the router counts as stuck.
    pub const TRIES_MAX: u32 = 5;

    /// `weights` rise, per cent, each between 1 and 99. `requests_min` is how many requests, both arms together,
    /// each weight must have seen before the next; at least 1.
    pub fn new(weights: Vec<u32>, requests_min: u64) -> Result<Self, PlanError> {
        if weights.is_empty() {
            return Err(PlanError::Empty);
        }
        if weights.len() > Self::WEIGHTS_MAX {
            return Err(PlanError::TooMany(weights.len()));
        }
        if let Some(weight) = weights.iter().find(|weight| !(1..=99).contains(*weight)) {
            return Err(PlanError::Range(*weight));
        }
        if let Some(pair) = weights.windows(2).find(|pair| pair[1] <= pair[0]) {
            return Err(PlanError::Order {
                before: pair[0],
                after: pair[1],
            });
        }
        Ok(Rollout {
            weights,
            requests_min: requests_min.max(1),
            state: State::Start,
        })
    }

    /// What to do, given what the comparator says and how many requests this weight has seen.
    ///
    /// Halting is done at any weight, at once. Promotion waits until every weight has seen its requests: evidence
    /// at ten per cent says nothing about how the new version carries half the load.
    pub fn next(&mut self, decision: &Decision, requests_at_weight: u64) -> Action {
        match self.state {
            State::Start => self.step(0),
            State::At(index) => match decision {
                Decision::Halt { .. } => self.end(Outcome::Halted, 1),
                Decision::Undecided { .. } => self.end(Outcome::Undecided, 1),
                _ if requests_at_weight < self.requests_min => Action::Wait,
                _ if index + 1 < self.weights.len() => self.step(index + 1),
                Decision::Promote { .. } => self.end(Outcome::Promoted, 1),
                Decision::Continue => Action::Wait,
            },
            State::Setting { tries, ending } | State::Reading { tries, ending } => {
                self.state = State::Reading { tries, ending };
                Action::ReadBack(final_weight(ending))
            }
            State::Ended(outcome) => Action::Done(outcome),
        }
    }

    /// What the router says its weight is. Counts only where [`Action::ReadBack`] was asked for; elsewhere the
    /// answer is to wait.
    pub fn read_back(&mut self, weight: u32) -> Action {
        match self.state {
            State::Reading { ending, .. } if weight == final_weight(ending) => {
                self.state = State::Ended(ending);
                Action::Done(ending)
            }
            State::Reading { tries, ending } if tries < Self::TRIES_MAX => self.end(ending, tries + 1),
            State::Reading { ending, .. } => {
                let stuck = Outcome::Stuck {
                    wanted: final_weight(ending),
                    got: weight,
                };
                self.state = State::Ended(stuck);
                Action::Done(stuck)
            }
            State::Ended(outcome) => Action::Done(outcome),
            State::Start | State::At(_) | State::Setting { .. } => Action::Wait,
        }
    }

    /// The weight that was last asked for, per cent.
    pub fn weight(&self) -> u32 {
        match self.state {
            State::Start => 0,
            State::At(index) => self.weights[index],
            State::Setting { ending, .. } | State::Reading { ending, .. } | State::Ended(ending) => {
                final_weight(ending)
            }
        }
    }

    fn step(&mut self, index: usize) -> Action {
        self.state = State::At(index);
        Action::SetWeight(self.weights[index])
    }

    fn end(&mut self, ending: Outcome, tries: u32) -> Action {
        self.state = State::Setting { tries, ending };
        Action::SetWeight(final_weight(ending))
    }
}

fn final_weight(ending: Outcome) -> u32 {
    match ending {
        Outcome::Promoted => 100,
        Outcome::Halted | Outcome::Undecided => 0,
        Outcome::Stuck { wanted, .. } => wanted,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn promote() -> Decision {
        Decision::Promote {
            requests: 1,
            e_value: 20.0,
            reason: String::new(),
        }
    }

    fn halt() -> Decision {
        Decision::Halt {
            measure: "errors".to_owned(),
            e_value: 20.0,
            reason: String::new(),
        }
    }

    fn undecided() -> Decision {
        Decision::Undecided {
            requests: 1,
            reason: String::new(),
        }
    }

    #[test]
    fn plans() {
        for (weights, error) in [
            (vec![], Some(PlanError::Empty)),
            (vec![10, 50], None),
            (vec![0], Some(PlanError::Range(0))),
            (vec![100], Some(PlanError::Range(100))),
            (vec![50, 10], Some(PlanError::Order { before: 50, after: 10 })),
            (vec![10, 10], Some(PlanError::Order { before: 10, after: 10 })),
        ] {
            assert_eq!(Rollout::new(weights, 1).err(), error);
        }
    }

    #[test]
    fn promotes_through_every_weight() {
        let mut rollout = Rollout::new(vec![10, 50], 100).unwrap();
        assert_eq!(rollout.next(&promote(), 0), Action::SetWeight(10));
        assert_eq!(rollout.next(&promote(), 99), Action::Wait);
        assert_eq!(rollout.next(&promote(), 100), Action::SetWeight(50));
        assert_eq!(rollout.next(&promote(), 0), Action::Wait);
        assert_eq!(rollout.next(&Decision::Continue, 500), Action::Wait);
        assert_eq!(rollout.next(&promote(), 500), Action::SetWeight(100));
        assert_eq!(rollout.next(&halt(), 500), Action::ReadBack(100));
        assert_eq!(rollout.read_back(100), Action::Done(Outcome::Promoted));
        assert_eq!(rollout.next(&halt(), 0), Action::Done(Outcome::Promoted));
    }

    #[test]
    fn halts_at_once_and_reads_back() {
        let mut rollout = Rollout::new(vec![10, 50], 100).unwrap();
        rollout.next(&Decision::Continue, 0);
        assert_eq!(rollout.next(&halt(), 0), Action::SetWeight(0));
        assert_eq!(rollout.read_back(0), Action::Wait);
        assert_eq!(rollout.next(&promote(), 0), Action::ReadBack(0));
        assert_eq!(rollout.read_back(10), Action::SetWeight(0));
        assert_eq!(rollout.next(&promote(), 0), Action::ReadBack(0));
        assert_eq!(rollout.read_back(0), Action::Done(Outcome::Halted));
    }

    #[test]
    fn a_router_that_keeps_its_weight_is_stuck() {
        let mut rollout = Rollout::new(vec![10], 1).unwrap();
        rollout.next(&Decision::Continue, 0);
        let mut action = rollout.next(&undecided(), 0);
        let mut tries = 0;
        while let Action::SetWeight(0) = action {
            tries += 1;
            assert_eq!(rollout.next(&Decision::Continue, 0), Action::ReadBack(0));
            action = rollout.read_back(10);
        }
        assert_eq!(action, Action::Done(Outcome::Stuck { wanted: 0, got: 10 }));
        assert_eq!(tries, Rollout::TRIES_MAX);
    }

    proptest! {
        /// Whatever the comparator and the router say: weights only rise before the end, nobody is promoted past an
        /// unseen weight, and an end is never claimed without its weight read back.
        #[test]
        fn every_history_is_legal(
            weights in proptest::collection::btree_set(1u32..=99, 1..5),
            asked in proptest::collection::vec((0u8..4, 0u64..20, prop_oneof![Just(0u32), Just(100), 0u32..=100]), 0..60),
        ) {
            let weights: Vec<u32> = weights.into_iter().collect();
            let mut rollout = Rollout::new(weights.clone(), 10).unwrap();
            let mut set = Vec::new();
            let mut read = None;
            let mut reading = false;
            for (decision, requests, weight) in asked {
                let decision = match decision { 0 => Decision::Continue, 1 => promote(), 2 => halt(), _ => undecided() };
                let action = if reading { read = Some(weight); rollout.read_back(weight) } else { rollout.next(&decision, requests) };
                reading = matches!(action, Action::ReadBack(_));
                match action {
                    Action::SetWeight(weight) => set.push(weight),
                    Action::Done(Outcome::Promoted) => {
                        prop_assert_eq!(read, Some(100));
                        prop_assert_eq!(&set[..weights.len()], &weights[..]);
                    }
                    Action::Done(Outcome::Halted | Outcome::Undecided) => prop_assert_eq!(read, Some(0)),
                    Action::Done(Outcome::Stuck { wanted, got }) => prop_assert_ne!(wanted, got),
                    Action::Wait | Action::ReadBack(_) => {}
                }
            }
            let rising: Vec<u32> = set.iter().copied().take_while(|weight| (1..=99).contains(weight)).collect();
            prop_assert!(rising.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(set[rising.len()..].windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}
