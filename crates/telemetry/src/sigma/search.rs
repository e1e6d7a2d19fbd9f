//! All strings that rules look for in one place of an event, sought in one pass over a value.
//!
//! Prefixes and whole values hang on one tree of bytes, suffixes on another that is walked from the end: a value is
//! left at its first byte that no rule goes on with. A substring stands in a table under the four (or two) of its bytes
//! that fewest others have; each place of a value asks a bitmap, which fits into the processor's caches as an automaton
//! over ten thousand strings doesn't, whether any stands under the bytes there. Case is folded as Sigma wants it: ASCII
//! on the fly, anything else by Unicode beforehand.
//!
//! Not here: what a hit means. Start reading at [`Search::look`].

use std::collections::HashMap;

use super::program::Atom;

/// The one letter outside of ASCII that an expression takes for an ASCII one (`s`) and that no lower case turns into it.
pub const LONG_S: char = '\u{17f}';

/// How a needle lies in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Whole,
    Start,
    End,
    Within,
    /// Within, as a hint: something has to occur before a costlier look is worth it. The needle is ASCII, and a value
    /// with a [`LONG_S`] counts as one that holds it.
    Hint,
}

/// A text in lower case, and the atoms that it makes true.
pub struct Needle {
    pub place: Place,
    pub text: String,
    pub atoms: Vec<Atom>,
}

/// A text in lower case, as it is sought in; the buffer serves one text after another.
#[derive(Default)]
pub struct Folded {
    bytes: Vec<u8>,
    long_s: bool,
}

impl Folded {
    pub fn put(&mut self, text: &str) {
        self.bytes.clear();
        if text.is_ascii() {
            self.bytes.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
            self.long_s = false;
        } else {
            let folded = text.to_lowercase();
            self.bytes.extend_from_slice(folded.as_bytes());
            self.long_s = folded.contains(LONG_S);
        }
    }
}

/// Where one set of needles is sought.
#[derive(Default)]
pub struct Search {
    forward: Tree,
    backward: Tree,
    long: Grams<4>,
    short: Grams<2>,
    single: Vec<(u8, Vec<Atom>)>,
    hints: Vec<Atom>,
    numbers: Vec<(f64, Atom)>,
    texts: bool,
}

impl Search {
    /// Numbers are equal within the machine's epsilon.
    pub fn new(needles: &[Needle], mut numbers: Vec<(f64, Atom)>) -> Search {
        let mut search = Search {
            texts: !needles.is_empty(),
            ..Search::default()
        };
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for needle in needles {
            let bytes = needle.text.as_bytes();
            match needle.place {
                Place::Whole => search.forward.insert(bytes.iter(), &needle.atoms, true),
                Place::Start => search.forward.insert(bytes.iter(), &needle.atoms, false),
                Place::End => search.backward.insert(bytes.iter().rev(), &needle.atoms, false),
                Place::Within | Place::Hint => match bytes {
                    [] => {}
                    [byte] => search.single.push((*byte, needle.atoms.clone())),
                    [_, _] | [_, _, _] => short.push(needle),
                    _ => long.push(needle),
                },
            }
            if needle.place == Place::Hint {
                search.hints.extend(&needle.atoms);
            }
        }
        search.forward.flatten();
        search.backward.flatten();
        search.long = Grams::new(&long);
        search.short = Grams::new(&short);
        numbers.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        search.numbers = numbers;
        search
    }

    /// True when any text is sought.
    pub fn texts(&self) -> bool {
        self.texts
    }

    /// True when any number is sought.
    pub fn numbers(&self) -> bool {
        !self.numbers.is_empty()
    }

    /// Tells `hit` each atom that `text` makes true, some of them more than once.
    pub fn look(&self, text: &Folded, hit: &mut impl FnMut(Atom)) {
        if text.long_s {
            self.hints.iter().for_each(|atom| hit(*atom));
        }
        let bytes = text.bytes.as_slice();
        self.forward.walk(bytes.iter(), hit);
        self.backward.walk(bytes.iter().rev(), hit);
        self.long.look(bytes, hit);
        self.short.look(bytes, hit);
        for (byte, atoms) in &self.single {
            if bytes.contains(byte) {
                atoms.iter().for_each(|atom| hit(*atom));
            }
        }
    }

    /// Tells `hit` each atom that `number` makes true.
    pub fn look_number(&self, number: f64, hit: &mut impl FnMut(Atom)) {
        let from = self.numbers.partition_point(|(sought, _)| *sought < number - 1.0);
        for (sought, atom) in &self.numbers[from..] {
            if *sought > number + 1.0 {
                break;
            }
            if (number - sought).abs() < f64::EPSILON {
                hit(*atom);
            }
        }
    }
}

/// A tree of bytes. Needles that are inserted are flattened once before the first walk.
#[derive(Default)]
struct Tree {
    growing: Vec<Growing>,
    nodes: Vec<Node>,
    edges: Vec<(u8, u32)>,
    atoms: Vec<Atom>,
    /// The root's edges, by byte; zero where there is none.
    first: Vec<u32>,
}

#[derive(Default)]
struct Growing {
    edges: Vec<(u8, u32)>,
    passing: Vec<Atom>,
    ending: Vec<Atom>,
}

/// Ranges in the tree's `edges` and `atoms`.
#[derive(Default, Clone, Copy)]
struct Node {
    edges: (u32, u32),
    /// True as soon as the walk comes here.
    passing: (u32, u32),
    /// True when the value ends here.
    ending: (u32, u32),
}

impl Tree {
    fn insert<'n>(&mut self, needle: impl Iterator<Item = &'n u8>, atoms: &[Atom], whole: bool) {
        if self.growing.is_empty() {
            self.growing.push(Growing::default());
        }
        let mut at = 0;
        for byte in needle {
            let edge = self.growing[at].edges.iter().find(|(own, _)| own == byte);
            at = if let Some((_, next)) = edge {
                *next as usize
            } else {
                let next = self.growing.len();
                self.growing.push(Growing::default());
                self.growing[at].edges.push((*byte, next as u32));
                next
            };
        }
        let node = &mut self.growing[at];
        if whole { &mut node.ending } else { &mut node.passing }.extend(atoms);
    }

    fn flatten(&mut self) {
        for mut grown in std::mem::take(&mut self.growing) {
            grown.edges.sort_unstable();
            let edges = range(&mut self.edges, &grown.edges);
            let passing = range(&mut self.atoms, &grown.passing);
            let ending = range(&mut self.atoms, &grown.ending);
            self.nodes.push(Node { edges, passing, ending });
        }
        if let Some(root) = self.nodes.first() {
            self.first = vec![0; 256];
            for (byte, next) in &self.edges[root.edges.0 as usize..root.edges.1 as usize] {
                self.first[usize::from(*byte)] = *next;
            }
        }
    }

    fn walk<'t>(&self, mut bytes: impl Iterator<Item = &'t u8>, hit: &mut impl FnMut(Atom)) {
        let Some(mut node) = self.nodes.first() else {
            return;
        };
        let mut root = true;
        loop {
            let passing = &self.atoms[node.passing.0 as usize..node.passing.1 as usize];
            passing.iter().for_each(|atom| hit(*atom));
            let Some(byte) = bytes.next() else {
                let ending = &self.atoms[node.ending.0 as usize..node.ending.1 as usize];
                return ending.iter().for_each(|atom| hit(*atom));
            };
            let next = if root {
                self.first[usize::from(*byte)]
            } else {
                let edges = &self.edges[node.edges.0 as usize..node.edges.1 as usize];
                edges.iter().find(|(own, _)| own == byte).map_or(0, |(_, next)| *next)
            };
            if next == 0 {
                return;
            }
            root = false;
            node = &self.nodes[next as usize];
        }
    }
}

/// Substrings by `N` of their bytes.
#[derive(Default)]
struct Grams<const N: usize> {
    /// Bits by hash: a substring may stand under these bytes.
    bitmap: Vec<u64>,
    hash_shift: u32,
    /// By the upper part of the hash, where its substrings begin in `entries`.
    starts: Vec<u32>,
    start_shift: u32,
    entries: Vec<Entry>,
    texts: Vec<u8>,
    atoms: Vec<Atom>,
}

struct Entry {
    gram: u32,
    /// How many of the substring's bytes go before the gram.
    before: u32,
    text: (u32, u32),
    atoms: (u32, u32),
}

/// So many bits of the map for one substring: one place in so many asks the table in vain.
const BITS_BY_NEEDLE: usize = 32;
/// A larger bitmap would leave the nearest cache.
const BITMAP_BITS_MAX: usize = 1 << 18;

impl<const N: usize> Grams<N> {
    /// Needles of at least `N` bytes.
    fn new(needles: &[&Needle]) -> Grams<N> {
        let mut common: HashMap<u32, u32> = HashMap::new();
        for needle in needles {
            needle
                .text
                .as_bytes()
                .windows(N)
                .for_each(|bytes| *common.entry(gram(bytes)).or_default() += 1);
        }
        let bits = (needles.len() * BITS_BY_NEEDLE)
            .next_power_of_two()
            .clamp(1 << 10, BITMAP_BITS_MAX);
        let slots = needles.len().next_power_of_two().clamp(2, bits);
        let mut grams = Grams {
            bitmap: vec![0; bits / 64],
            hash_shift: 32 - bits.ilog2(),
            start_shift: 32 - slots.ilog2(),
            ..Grams::default()
        };
        let mut by_slot: Vec<Vec<Entry>> = Vec::new();
        by_slot.resize_with(slots, Vec::new);
        for needle in needles {
            let windows = needle.text.as_bytes().windows(N).enumerate();
            let rarest = windows.min_by_key(|(_, bytes)| common[&gram(bytes)]);
            let Some((before, bytes)) = rarest else { continue };
            let gram = gram(bytes);
            let at = (hash(gram) >> grams.hash_shift) as usize;
            grams.bitmap[at / 64] |= 1 << (at % 64);
            by_slot[(hash(gram) >> grams.start_shift) as usize].push(Entry {
                gram,
                before: before as u32,
                text: range(&mut grams.texts, needle.text.as_bytes()),
                atoms: range(&mut grams.atoms, &needle.atoms),
            });
        }
        for slot in by_slot {
            grams.starts.push(grams.entries.len() as u32);
            grams.entries.extend(slot);
        }
        grams.starts.push(grams.entries.len() as u32);
        grams
    }

    fn look(&self, text: &[u8], hit: &mut impl FnMut(Atom)) {
        if self.entries.is_empty() || text.len() < N {
            return;
        }
        for (at, bytes) in text.windows(N).enumerate() {
            let gram = gram(bytes);
            let hash = hash(gram);
            let bit = (hash >> self.hash_shift) as usize;
            if self.bitmap[bit / 64] & (1 << (bit % 64)) != 0 {
                self.verify(text, at, gram, hash, hit);
            }
        }
    }

    /// Tells the substrings that stand under `gram`, which stands at `at`.
    fn verify(&self, text: &[u8], at: usize, gram: u32, hash: u32, hit: &mut impl FnMut(Atom)) {
        let slot = (hash >> self.start_shift) as usize;
        for entry in &self.entries[self.starts[slot] as usize..self.starts[slot + 1] as usize] {
            if entry.gram != gram {
                continue;
            }
            let needle = &self.texts[entry.text.0 as usize..entry.text.1 as usize];
            let there = at
                .checked_sub(entry.before as usize)
                .and_then(|from| text.get(from..from + needle.len()));
            if there == Some(needle) {
                let atoms = &self.atoms[entry.atoms.0 as usize..entry.atoms.1 as usize];
                atoms.iter().for_each(|atom| hit(*atom));
            }
        }
    }
}

/// The first byte lowest.
fn gram(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |gram, byte| (gram << 8) | u32::from(*byte))
}

/// Knuth's multiplicative hash: its upper bits are the good ones.
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9e37_79b1)
}

fn range<T: Clone>(all: &mut Vec<T>, own: &[T]) -> (u32, u32) {
    let from = all.len() as u32;
    all.extend_from_slice(own);
    (from, all.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(place: Place, needle: &str, text: &str, expected: bool) {
        let needle_of = |text: &str| Needle {
            place,
            text: text.to_owned(),
            atoms: vec![0],
        };
        let search = Search::new(&[needle_of(needle)], Vec::new());
        let mut found = false;
        let mut folded = Folded::default();
        folded.put(text);
        search.look(&folded, &mut |_| found = true);
        assert_eq!(found, expected, "{place:?} `{needle}` in `{text}`");
    }

    #[test]
    fn where_a_needle_lies() {
        for (place, expected) in [
            (Place::Whole, [true, false, false, false]),
            (Place::Start, [true, true, false, false]),
            (Place::End, [true, false, true, false]),
            (Place::Within, [true, true, true, true]),
        ] {
            for (text, expected) in ["Cmd", "CMD.exe", "a\\cMd", "xCmDx"].into_iter().zip(expected) {
                check(place, "cmd", text, expected);
            }
            check(place, "cmd", "cm", false);
            check(place, "c:\\cmd.exe", "C:\\CMD.EXE", true);
            check(place, "c:\\cmd.exe", "C:\\CMD.EX", false);
            check(place, "cmd", "", false);
        }
        check(Place::Whole, "", "", true);
        check(Place::Whole, "", "x", false);
    }

    #[test]
    fn letters_outside_ascii() {
        check(Place::Within, "größe", "DIE GRÖSSE", false);
        check(Place::Within, "größe", "Die GRößE", true);
        check(Place::End, "é", "CAFÉ", true);
        check(Place::Whole, "i\u{307}", "\u{130}", true);
        // U+212A folds to `k`.
        check(Place::Hint, "kelvin", "\u{212a}elvin", true);
        check(Place::Hint, "kelvin", "celvin", false);
        check(Place::Hint, "kelvin", "the \u{17f} may be an s", true);
    }

    #[test]
    fn numbers_within_epsilon() {
        let search = Search::new(&[], vec![(4688.0, 0), (0.5, 1), (4688.5, 2)]);
        for (number, expected) in [
            (4688.0, vec![0]),
            (0.5, vec![1]),
            (0.5 + 1e-17, vec![1]),
            (f64::NAN, vec![]),
            (4.0, vec![]),
        ] {
            let mut found = Vec::new();
            search.look_number(number, &mut |atom| found.push(atom));
            assert_eq!(found, expected, "{number}");
        }
    }
}
