//! One event against all rules at once.
//!
//! Each field that any rule names is read once and searched once for all rules; what is found opens the gates of few
//! rules, and only their trees are walked. The answer is that of `rsigma_eval::Engine::evaluate`, rule by rule: the
//! tests compare the two.
//!
//! Not here: files, names and levels. Start reading at [`Engine::matching`].

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use rsigma_eval::event::{Event, EventValue, JsonEvent};
use rsigma_eval::{CompiledRule, evaluate_rule};
use serde_json::Value;

use super::gate::{Gate, On};
use super::program::{Atom, Field, Lowering, Node, Sought, What};
use super::search::{Folded, Needle, Place, Search};

/// How deep texts are sought, as rsigma does: <https://docs.rs/rsigma-eval/0.23.0/rsigma_eval/event/struct.JsonEvent.html>.
const NESTING_MAX: usize = 64;
/// Room for the values of an ordinary event.
const VALUES: usize = 32;

/// How many rules are answered without rsigma, and how many ask it for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Natively {
    pub whole: usize,
    /// An expression, an address range, a comparison or the like is left to rsigma's matcher.
    pub in_part: usize,
}

pub struct Engine {
    rules: Vec<Node>,
    fields: Vec<Read>,
    /// Fields by the key of the event that they can be found under.
    by_key: HashMap<String, Vec<Field>, BuildHasherDefault<Quick>>,
    /// Fields that are read whatever the event's keys.
    always_read: Vec<Field>,
    texts: Search,
    /// Rules by what opens their gate.
    by_atom: Lists,
    by_field: Lists,
    ungated: Vec<u32>,
    atoms: usize,
}

/// One field, and what is sought in it.
struct Read {
    name: String,
    /// It may lead into nested objects.
    path: bool,
    search: Search,
}

impl Engine {
    pub fn new(rules: &[CompiledRule]) -> Engine {
        let mut lowering = Lowering::default();
        let nodes: Vec<Node> = rules.iter().map(|rule| lowering.rule(rule)).collect();
        let Lowering { fields, atoms, .. } = lowering;
        let (mut by_atom, mut by_field) = (vec![Vec::new(); atoms.len()], vec![Vec::new(); fields.len()]);
        let mut ungated = Vec::new();
        for (rule, node) in (0..).zip(&nodes) {
            let Some(gate) = Gate::of(node, &atoms) else {
                ungated.push(rule);
                continue;
            };
            for on in gate.on {
                match on {
                    On::Atom(atom) => by_atom[atom as usize].push(rule),
                    On::Present(field) => by_field[field as usize].push(rule),
                }
            }
        }
        let mut searches = searches(&atoms, fields.len());
        let texts = searches.pop().unwrap_or_default();
        let mut engine = Engine {
            rules: nodes,
            fields: Vec::new(),
            by_key: HashMap::default(),
            always_read: Vec::new(),
            texts,
            by_atom: Lists::of(by_atom),
            by_field: Lists::of(by_field),
            ungated,
            atoms: atoms.len(),
        };
        for (field, (name, search)) in (0..).zip(fields.into_iter().zip(searches)) {
            engine.read_under(field, &name);
            let path = name.contains(['.', '[', '\\']);
            engine.fields.push(Read { name, path, search });
        }
        engine
    }

    /// The rules, by their place in what [`Engine::new`] was given, that match the event; ascending.
    pub fn matching(&self, fields: &Value) -> Vec<usize> {
        let event = JsonEvent::borrow(fields);
        let mut look = Look {
            engine: self,
            event: &event,
            folded: Folded::default(),
            atoms: vec![0; self.atoms.div_ceil(64)],
            slots: vec![0; self.fields.len()],
            values: Vec::with_capacity(VALUES),
            rules: vec![0; self.rules.len().div_ceil(64)],
        };
        look.read(fields);
        look.answer()
    }

    pub fn natively(&self) -> Natively {
        let in_part = self.rules.iter().filter(|rule| rule.asks()).count();
        Natively {
            whole: self.rules.len() - in_part,
            in_part,
        }
    }

    /// Finds the field whenever the event has it: under its own name, or under the first key of its path.
    fn read_under(&mut self, field: Field, name: &str) {
        if name.contains(['[', '\\']) {
            self.always_read.push(field);
            return;
        }
        // Before those whose path begins with this key.
        self.by_key.entry(name.to_owned()).or_default().insert(0, field);
        if let Some((first, _)) = name.split_once('.') {
            self.by_key.entry(first.to_owned()).or_default().push(field);
        }
    }
}

/// One for each field, and last the one over all texts.
fn searches(atoms: &[Sought], fields: usize) -> Vec<Search> {
    let mut needles: Vec<BTreeMap<(Place, &str), Vec<Atom>>> = vec![BTreeMap::new(); fields + 1];
    let mut numbers: Vec<Vec<(f64, Atom)>> = vec![Vec::new(); fields + 1];
    for (atom, sought) in (0..).zip(atoms) {
        let at = sought.field.map_or(fields, |field| field as usize);
        for what in &sought.any {
            match what {
                What::Text(place, text) => needles[at].entry((*place, text)).or_default().push(atom),
                What::Number(bits) => numbers[at].push((f64::from_bits(*bits), atom)),
            }
        }
    }
    let needle = |((place, text), atoms): ((Place, &str), Vec<Atom>)| Needle {
        place,
        text: text.to_owned(),
        atoms,
    };
    let each = needles.into_iter().zip(numbers);
    each.map(|(needles, numbers)| Search::new(&needles.into_iter().map(needle).collect::<Vec<_>>(), numbers))
        .collect()
}

/// What is known of one event.
struct Look<'a> {
    engine: &'a Engine,
    event: &'a JsonEvent<'a>,
    /// The text that is being sought in.
    folded: Folded,
    /// Bits: what was found.
    atoms: Vec<u64>,
    /// By field: where its value stands in `values`, plus one; zero when it is absent.
    slots: Vec<u32>,
    values: Vec<EventValue<'a>>,
    /// Bits: rules whose gate is open.
    rules: Vec<u64>,
}

impl<'a> Look<'a> {
    fn read(&mut self, fields: &'a Value) {
        let engine = self.engine;
        for rule in &engine.ungated {
            set(&mut self.rules, *rule);
        }
        match fields {
            Value::Object(keys) => {
                for (key, value) in keys {
                    self.read_key(key, value);
                }
                for field in &engine.always_read {
                    self.follow(*field);
                }
            }
            other => {
                self.search_texts(other, NESTING_MAX);
                (0..engine.fields.len() as Field).for_each(|field| self.follow(field));
            }
        }
    }

    fn read_key(&mut self, key: &str, value: &'a Value) {
        let engine = self.engine;
        let fields = engine.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        // A text is folded once for all that is sought in it.
        if let Value::String(text) = value {
            self.folded.put(text);
            self.search_folded(&engine.texts);
        } else {
            self.search_texts(value, NESTING_MAX - 1);
        }
        for field in fields {
            let read = &engine.fields[*field as usize];
            match value {
                _ if read.path => self.follow(*field),
                Value::String(text) => {
                    // `folded` still holds it: the one field of this very name goes before the paths.
                    self.search_folded(&read.search);
                    if read.search.numbers() {
                        self.search_number(&read.search, text.parse().ok());
                    }
                    self.keep(*field, EventValue::Str(Cow::Borrowed(text)));
                }
                other => self.put(*field, EventValue::from(other)),
            }
        }
    }

    fn follow(&mut self, field: Field) {
        let event = self.event;
        let name = &self.engine.fields[field as usize].name;
        if self.slots[field as usize] == 0
            && let Some(value) = event.get_field(name)
        {
            self.put(field, value);
        }
    }

    fn put(&mut self, field: Field, value: EventValue<'a>) {
        self.search(&self.engine.fields[field as usize].search, &value);
        self.keep(field, value);
    }

    fn keep(&mut self, field: Field, value: EventValue<'a>) {
        for rule in self.engine.by_field.of_one(field) {
            set(&mut self.rules, *rule);
        }
        self.values.push(value);
        self.slots[field as usize] = self.values.len() as u32;
    }

    fn search(&mut self, search: &Search, value: &EventValue<'a>) {
        match value {
            EventValue::Array(values) => values.iter().for_each(|value| self.search(search, value)),
            EventValue::Null | EventValue::Map(_) => {}
            _ => {
                if search.texts()
                    && let Some(text) = value.as_str()
                {
                    self.folded.put(&text);
                    self.search_folded(search);
                }
                if search.numbers() {
                    self.search_number(search, value.as_f64());
                }
            }
        }
    }

    fn search_texts(&mut self, value: &Value, depth: usize) {
        match value {
            _ if depth == 0 => {}
            Value::String(text) => {
                self.folded.put(text);
                self.search_folded(&self.engine.texts);
            }
            Value::Array(values) => values.iter().for_each(|value| self.search_texts(value, depth - 1)),
            Value::Object(values) => values.values().for_each(|value| self.search_texts(value, depth - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn search_folded(&mut self, search: &Search) {
        let folded = std::mem::take(&mut self.folded);
        search.look(&folded, &mut |atom| self.found(atom));
        self.folded = folded;
    }

    fn search_number(&mut self, search: &Search, number: Option<f64>) {
        if let Some(number) = number {
            search.look_number(number, &mut |atom| self.found(atom));
        }
    }

    fn found(&mut self, atom: Atom) {
        let word = &mut self.atoms[atom as usize / 64];
        let bit = 1 << (atom % 64);
        if *word & bit == 0 {
            *word |= bit;
            for rule in self.engine.by_atom.of_one(atom) {
                set(&mut self.rules, *rule);
            }
        }
    }

    fn answer(&self) -> Vec<usize> {
        let mut matching = Vec::new();
        for (at, word) in self.rules.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let rule = at * 64 + word.trailing_zeros() as usize;
                word &= word - 1;
                if self.is(&self.engine.rules[rule]) {
                    matching.push(rule);
                }
            }
        }
        matching
    }

    fn is(&self, node: &Node) -> bool {
        match node {
            Node::Is(atom) => self.atoms[*atom as usize / 64] & (1 << (atom % 64)) != 0,
            Node::All(nodes) => nodes.iter().all(|node| self.is(node)),
            Node::Any(nodes) => nodes.iter().any(|node| self.is(node)),
            Node::Not(node) => !self.is(node),
            Node::AtLeast(least, nodes) => {
                let mut left = *least;
                left == 0
                    || nodes.iter().any(|node| {
                        left -= u64::from(self.is(node));
                        left == 0
                    })
            }
            Node::Present(field) => self.value(*field).is_some(),
            Node::Filled(field) => self.value(*field).is_some_and(|value| !value.is_null()),
            Node::Null(field) => self.value(*field).is_some_and(EventValue::is_null),
            Node::Ask(field, matcher) => self
                .value(*field)
                .is_some_and(|value| matcher.matches(value, self.event)),
            Node::AskTexts(matcher) => matcher.matches_keyword(self.event),
            Node::AskRule(rule) => evaluate_rule(rule, self.event).is_some(),
        }
    }

    fn value(&self, field: Field) -> Option<&EventValue<'a>> {
        let slot = self.slots[field as usize];
        (slot > 0).then(|| &self.values[slot as usize - 1])
    }
}

/// FNV-1a, eight bytes at a time. Only names that rules use are kept in the map, so an event can't fill it.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word))
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(29);
        }
    }

    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

fn set(bits: &mut [u64], at: u32) {
    bits[at as usize / 64] |= 1 << (at % 64);
}

/// Lists of rules, one behind another.
struct Lists {
    ends: Vec<u32>,
    rules: Vec<u32>,
}

impl Lists {
    fn of(lists: Vec<Vec<u32>>) -> Lists {
        let mut all = Lists {
            ends: vec![0],
            rules: Vec::new(),
        };
        for list in lists {
            all.rules.extend(list);
            all.ends.push(all.rules.len() as u32);
        }
        all
    }

    fn of_one(&self, at: u32) -> &[u32] {
        &self.rules[self.ends[at as usize] as usize..self.ends[at as usize + 1] as usize]
    }
}
