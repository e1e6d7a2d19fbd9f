//! A rule as a tree of yes and no over atoms, which many rules share.
//!
//! An atom is one string or number sought in one field, or in all texts of the event; [`super::search`] finds all that
//! are true in one pass. What can't be an atom (expressions, address ranges, comparisons, references to other fields,
//! members of arrays) is asked of rsigma's own matcher when nothing cheaper has already decided. The meaning of
//! modifiers is rsigma's too: it compiles the rule, this reads what it compiled.
//!
//! Not here: which rules are worth a look ([`super::gate`]). Start reading at [`Lowering::rule`].

use std::collections::HashMap;

use rsigma_eval::matcher::GroupMode;
use rsigma_eval::{CompiledDetection, CompiledDetectionItem, CompiledMatcher, CompiledRule};
use rsigma_parser::{ArrayQuantifier, ConditionExpr, Quantifier};

use super::hint::{self, Hint};
use super::search::Place;

/// Index of an atom, over all rules.
pub type Atom = u32;
/// Index of a field's name, over all rules.
pub type Field = u32;

/// What decides whether a rule matches.
pub enum Node {
    Is(Atom),
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    AtLeast(u64, Vec<Node>),
    /// The field is there, be it null.
    Present(Field),
    /// The field is there and not null.
    Filled(Field),
    /// The field is there and null.
    Null(Field),
    /// rsigma's matcher says yes to the field's value; no where there is none.
    Ask(Field, Box<CompiledMatcher>),
    /// rsigma's matcher says yes to a text anywhere in the event.
    AskTexts(Box<CompiledMatcher>),
    /// rsigma says yes to a rule made of a part of this one.
    AskRule(Box<CompiledRule>),
}

impl Node {
    pub const ALWAYS: Node = Node::All(Vec::new());
    pub const NEVER: Node = Node::Any(Vec::new());

    /// True when an absent field makes this false, whatever else the event holds.
    fn wants_field(&self) -> bool {
        match self {
            Node::Is(_) | Node::Present(_) | Node::Filled(_) | Node::Null(_) | Node::Ask(..) => true,
            Node::All(nodes) => nodes.iter().any(Node::wants_field),
            Node::Any(nodes) => nodes.iter().all(Node::wants_field),
            Node::Not(_) | Node::AtLeast(..) | Node::AskTexts(_) | Node::AskRule(_) => false,
        }
    }

    /// True when a part of it is asked of rsigma.
    pub fn asks(&self) -> bool {
        match self {
            Node::Ask(..) | Node::AskTexts(_) | Node::AskRule(_) => true,
            Node::Not(node) => node.asks(),
            Node::All(nodes) | Node::Any(nodes) | Node::AtLeast(_, nodes) => nodes.iter().any(Node::asks),
            Node::Is(_) | Node::Present(_) | Node::Filled(_) | Node::Null(_) => false,
        }
    }

    /// Cheap parts first: what they decide needn't be asked.
    fn sort(&mut self) {
        match self {
            Node::Not(node) => node.sort(),
            Node::All(nodes) | Node::Any(nodes) | Node::AtLeast(_, nodes) => {
                nodes.iter_mut().for_each(Node::sort);
                nodes.sort_by_cached_key(Node::price);
            }
            _ => {}
        }
    }

    fn price(&self) -> u32 {
        match self {
            Node::Is(_) | Node::Present(_) | Node::Filled(_) | Node::Null(_) => 1,
            Node::Ask(..) => 100,
            Node::AskTexts(_) => 1_000,
            Node::AskRule(_) => 10_000,
            Node::Not(node) => node.price(),
            Node::All(nodes) | Node::Any(nodes) | Node::AtLeast(_, nodes) => {
                nodes.iter().fold(1, |sum, node| sum.saturating_add(node.price()))
            }
        }
    }
}

/// What an atom seeks, any of which will do, and how many rules do.
pub struct Sought {
    /// `None`: in all texts of the event.
    pub field: Option<Field>,
    pub any: Vec<What>,
    pub uses: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    Text(Place, String),
    /// The bits of a number.
    Number(u64),
}

/// Rules on their way into trees; atoms and fields are gathered over all of them.
#[derive(Default)]
pub struct Lowering {
    pub fields: Vec<String>,
    pub atoms: Vec<Sought>,
    fields_by_name: HashMap<String, Field>,
    atoms_by_what: HashMap<(Option<Field>, Vec<What>), Atom>,
}

impl Lowering {
    /// The tree that says what `rsigma_eval::evaluate_rule` says of this rule.
    pub fn rule(&mut self, rule: &CompiledRule) -> Node {
        let conditions = rule.conditions.iter();
        let mut node = Node::Any(
            conditions
                .map(|condition| self.condition(condition, rule, &rule.detections))
                .collect(),
        );
        node.sort();
        node
    }

    fn condition(
        &mut self,
        condition: &ConditionExpr,
        rule: &CompiledRule,
        named: &HashMap<String, CompiledDetection>,
    ) -> Node {
        match condition {
            ConditionExpr::And(parts) => {
                Node::All(parts.iter().map(|part| self.condition(part, rule, named)).collect())
            }
            ConditionExpr::Or(parts) => Node::Any(parts.iter().map(|part| self.condition(part, rule, named)).collect()),
            ConditionExpr::Not(part) => Node::Not(Box::new(self.condition(part, rule, named))),
            ConditionExpr::Identifier(name) => named
                .get(name)
                .map_or(Node::NEVER, |detection| self.detection(detection, rule)),
            ConditionExpr::Selector { quantifier, pattern } => {
                let mut selected: Vec<_> = named
                    .iter()
                    .filter(|(name, _)| pattern.matches_detection_name(name))
                    .collect();
                // The map has no order of its own; the tree is to be the same each time.
                selected.sort_by_key(|(name, _)| *name);
                let nodes = selected
                    .into_iter()
                    .map(|(_, detection)| self.detection(detection, rule))
                    .collect();
                match quantifier {
                    Quantifier::Any => Node::Any(nodes),
                    Quantifier::All => Node::All(nodes),
                    Quantifier::Count(0) => Node::ALWAYS,
                    Quantifier::Count(1) => Node::Any(nodes),
                    Quantifier::Count(least) => Node::AtLeast(*least, nodes),
                }
            }
        }
    }

    fn detection(&mut self, detection: &CompiledDetection, rule: &CompiledRule) -> Node {
        match detection {
            CompiledDetection::AllOf(items) => Node::All(items.iter().map(|item| self.item(item)).collect()),
            CompiledDetection::AnyOf(parts) => Node::Any(parts.iter().map(|part| self.detection(part, rule)).collect()),
            CompiledDetection::And(parts) => Node::All(parts.iter().map(|part| self.detection(part, rule)).collect()),
            CompiledDetection::Keywords(matcher) => self.texts(matcher),
            CompiledDetection::Conditional { named, condition } => self.condition(condition, rule, named),
            CompiledDetection::ArrayMatch { field, quantifier, .. } => {
                let ask = Node::AskRule(Box::new(alone(rule, detection)));
                match quantifier {
                    ArrayQuantifier::Any | ArrayQuantifier::All => {
                        Node::All(vec![Node::Present(self.field(field)), ask])
                    }
                    ArrayQuantifier::AllOrEmpty | ArrayQuantifier::None => ask,
                }
            }
        }
    }

    fn item(&mut self, item: &CompiledDetectionItem) -> Node {
        let Some(name) = &item.field else {
            return match item.exists {
                Some(true) => Node::NEVER,
                Some(false) => Node::ALWAYS,
                None => self.texts(&item.matcher),
            };
        };
        let field = self.field(name);
        match (item.exists, &item.matcher) {
            (Some(true), _) => Node::Filled(field),
            // An absent field counts as null.
            (Some(false), _) | (None, CompiledMatcher::Null) => Node::Not(Box::new(Node::Filled(field))),
            (None, matcher) => match self.value(matcher, field) {
                node if node.wants_field() => node,
                node => Node::All(vec![Node::Present(field), node]),
            },
        }
    }

    /// A matcher over the value of a field that is present. Of an array's elements each atom takes any, as rsigma's
    /// leaves do; where rsigma wants several things of one and the same element, it is asked.
    fn value(&mut self, matcher: &CompiledMatcher, field: Field) -> Node {
        match matcher {
            CompiledMatcher::AllOf(parts) => Node::All(parts.iter().map(|part| self.value(part, field)).collect()),
            CompiledMatcher::Not(part) => Node::Not(Box::new(self.value(part, field))),
            CompiledMatcher::Null => Node::Null(field),
            CompiledMatcher::NumericEq(number) if number.is_nan() => Node::NEVER,
            CompiledMatcher::AnyOf(parts) => self.any(parts, Some(field), |own, part| own.value(part, field)),
            CompiledMatcher::CaseInsensitiveGroup {
                children,
                mode: GroupMode::Any,
            } => self.any(children, Some(field), |own, part| {
                own.asked(&group(part), part, Some(field))
            }),
            leaf => self.any(std::slice::from_ref(leaf), Some(field), |own, leaf| {
                own.asked(leaf, leaf, Some(field))
            }),
        }
    }

    /// A matcher over any text of the event.
    fn texts(&mut self, matcher: &CompiledMatcher) -> Node {
        match matcher {
            // All of one and the same text, which each of some text is necessary for.
            CompiledMatcher::AllOf(parts) => {
                let mut nodes: Vec<Node> = parts.iter().map(|part| self.texts(part)).collect();
                nodes.push(Node::AskTexts(Box::new(matcher.clone())));
                Node::All(nodes)
            }
            CompiledMatcher::AnyOf(parts) => self.any(parts, None, Lowering::texts),
            CompiledMatcher::CaseInsensitiveGroup {
                children,
                mode: GroupMode::Any,
            } => self.any(children, None, |own, part| own.asked(&group(part), part, None)),
            CompiledMatcher::Exact { .. }
            | CompiledMatcher::Contains { .. }
            | CompiledMatcher::StartsWith { .. }
            | CompiledMatcher::EndsWith { .. }
            | CompiledMatcher::Regex(_)
            | CompiledMatcher::AhoCorasickSet { .. }
            | CompiledMatcher::RegexSetMatch { .. }
            | CompiledMatcher::CaseInsensitiveGroup { .. }
            | CompiledMatcher::Not(_) => self.any(std::slice::from_ref(matcher), None, |own, leaf| {
                own.asked(leaf, leaf, None)
            }),
            // The others say no to any text.
            _ => Node::NEVER,
        }
    }

    /// Any of `parts`: one atom for all that is nothing but strings and numbers, and `other` for each that is more.
    fn any(
        &mut self,
        parts: &[CompiledMatcher],
        field: Option<Field>,
        other: impl Fn(&mut Lowering, &CompiledMatcher) -> Node,
    ) -> Node {
        let (mut simple, mut nodes) = (Vec::new(), Vec::new());
        for part in parts {
            match sought(part, field.is_some()) {
                Some(own) => simple.extend(own),
                None => nodes.push(other(self, part)),
            }
        }
        if !simple.is_empty() {
            nodes.push(self.atom(field, simple));
        }
        if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::Any(nodes)
        }
    }

    /// rsigma's matcher, and before it what has to occur in the value for it to say yes.
    fn asked(&mut self, ask: &CompiledMatcher, hinted: &CompiledMatcher, field: Option<Field>) -> Node {
        let ask = match field {
            Some(field) => Node::Ask(field, Box::new(ask.clone())),
            None => Node::AskTexts(Box::new(ask.clone())),
        };
        match hint::of(hinted) {
            Some(hint) => Node::All(vec![self.hinted(&hint, field), ask]),
            None => ask,
        }
    }

    fn hinted(&mut self, hint: &Hint, field: Option<Field>) -> Node {
        match hint {
            Hint::Texts(texts) => {
                let texts = texts.iter().map(|text| What::Text(Place::Hint, text.clone()));
                self.atom(field, texts.collect())
            }
            Hint::All(parts) => Node::All(parts.iter().map(|part| self.hinted(part, field)).collect()),
            Hint::Any(parts) => Node::Any(parts.iter().map(|part| self.hinted(part, field)).collect()),
        }
    }

    fn field(&mut self, name: &str) -> Field {
        if let Some(field) = self.fields_by_name.get(name) {
            return *field;
        }
        let field = self.fields.len() as Field;
        self.fields.push(name.to_owned());
        self.fields_by_name.insert(name.to_owned(), field);
        field
    }

    fn atom(&mut self, field: Option<Field>, mut any: Vec<What>) -> Node {
        any.sort();
        any.dedup();
        let next = self.atoms.len() as Atom;
        let atom = *self.atoms_by_what.entry((field, any.clone())).or_insert(next);
        if atom == next {
            self.atoms.push(Sought { field, any, uses: 0 });
        }
        self.atoms[atom as usize].uses += 1;
        Node::Is(atom)
    }
}

/// The rule with one detection and nothing else.
fn alone(rule: &CompiledRule, detection: &CompiledDetection) -> CompiledRule {
    let name = "detection".to_owned();
    CompiledRule {
        detections: HashMap::from([(name.clone(), detection.clone())]),
        conditions: vec![ConditionExpr::Identifier(name)],
        include_event: false,
        ..rule.clone()
    }
}

/// A part of a group, which sees the text in lower case as the group does.
fn group(part: &CompiledMatcher) -> CompiledMatcher {
    CompiledMatcher::CaseInsensitiveGroup {
        children: vec![part.clone()],
        mode: GroupMode::Any,
    }
}

/// What makes the matcher true, if that is all there is to it.
fn sought(matcher: &CompiledMatcher, numbers: bool) -> Option<Vec<What>> {
    let one = |place, text: &String| {
        (place == Place::Whole || !text.is_empty()).then(|| vec![What::Text(place, text.clone())])
    };
    match matcher {
        CompiledMatcher::Exact {
            value,
            case_insensitive: true,
        } => one(Place::Whole, value),
        CompiledMatcher::Contains {
            value,
            case_insensitive: true,
        } => one(Place::Within, value),
        CompiledMatcher::StartsWith {
            value,
            case_insensitive: true,
        } => one(Place::Start, value),
        CompiledMatcher::EndsWith {
            value,
            case_insensitive: true,
        } => one(Place::End, value),
        CompiledMatcher::AhoCorasickSet {
            needles,
            case_insensitive: true,
            ..
        } if needles.iter().all(|needle| !needle.is_empty()) => Some(
            needles
                .iter()
                .map(|needle| What::Text(Place::Within, needle.clone()))
                .collect(),
        ),
        CompiledMatcher::NumericEq(number) if numbers && !number.is_nan() => {
            Some(vec![What::Number((number + 0.0).to_bits())])
        }
        CompiledMatcher::AnyOf(parts)
        | CompiledMatcher::CaseInsensitiveGroup {
            children: parts,
            mode: GroupMode::Any,
        } if !parts.is_empty() => {
            let each: Option<Vec<Vec<What>>> = parts.iter().map(|part| sought(part, numbers)).collect();
            each.map(|each| each.concat())
        }
        _ => None,
    }
}
