//! What has to be true of an event before a rule is worth a look: the rarest of its necessary parts.
//!
//! A gate may only let too much through. Of parts that all have to hold, one is enough; of parts any of which will do,
//! each is needed; a negation proves nothing. Start reading at [`Gate::of`].

use super::program::{Atom, Field, Node, Sought, What};
use super::search::Place;

/// One of these is true whenever the rule matches.
pub struct Gate {
    pub on: Vec<On>,
    /// An estimate of the share of events that pass.
    share: f64,
}

/// What opens a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Atom(Atom),
    Present(Field),
}

impl Gate {
    /// `None` when the rule has to be looked at for every event.
    pub fn of(node: &Node, atoms: &[Sought]) -> Option<Gate> {
        match node {
            Node::Is(atom) => Some(Gate {
                on: vec![On::Atom(*atom)],
                share: share(&atoms[*atom as usize]),
            }),
            Node::Present(field) | Node::Filled(field) | Node::Null(field) | Node::Ask(field, _) => Some(Gate {
                on: vec![On::Present(*field)],
                share: PRESENT_SHARE,
            }),
            Node::All(nodes) => {
                let gates = nodes.iter().filter_map(|node| Gate::of(node, atoms));
                gates.min_by(|one, other| one.share.total_cmp(&other.share))
            }
            Node::Any(nodes) | Node::AtLeast(1.., nodes) => {
                let gates: Option<Vec<Gate>> = nodes.iter().map(|node| Gate::of(node, atoms)).collect();
                let gates = gates?;
                Some(Gate {
                    share: gates.iter().map(|gate| gate.share).sum(),
                    on: gates.into_iter().flat_map(|gate| gate.on).collect(),
                })
            }
            Node::Not(_) | Node::AtLeast(0, _) | Node::AskTexts(_) | Node::AskRule(_) => None,
        }
    }
}

const PRESENT_SHARE: f64 = 0.5;
const NUMBER_SHARE: f64 = 0.05;
/// A text of no length would stand in every value; each byte more makes it rarer by this.
const SHARE_BY_BYTE: f64 = 0.75;
/// What many rules look for is common.
const SHARE_BY_USE: f64 = 0.002;

fn share(sought: &Sought) -> f64 {
    let by_itself: f64 = sought.any.iter().map(share_of_one).sum();
    let all_texts = if sought.field.is_none() { 2.0 } else { 1.0 };
    by_itself * all_texts + SHARE_BY_USE * f64::from(sought.uses.saturating_sub(1))
}

fn share_of_one(what: &What) -> f64 {
    match what {
        What::Number(_) => NUMBER_SHARE,
        What::Text(place, text) => {
            let anywhere = SHARE_BY_BYTE.powf(text.len() as f64);
            match place {
                Place::Whole => anywhere * 0.25,
                Place::Start | Place::End => anywhere * 0.5,
                Place::Within | Place::Hint => anywhere,
            }
        }
    }
}
