//! Tiles and entry bundles: their paths and their bytes (C2SP tlog-tiles, <https://c2sp.org/tlog-tiles>).

use crate::format::ENTRY_BYTES_MAX;
use crate::tree::Tree;

/// Hashes of a full tile, entries of a full bundle.
pub(crate) const WIDTH: u64 = 256;

/// Levels of the tree that one level of tiles spans.
const HEIGHT: u32 = 8;

/// Names one tile or entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tile {
    pub kind: Kind,
    pub index: u64,
    /// 1 to 256; below 256 it is a partial one.
    pub width: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Entries,
    /// Hashes of a tile level, from 0.
    Hashes(u32),
}

impl Tile {
    pub fn path(self) -> String {
        let full = self.full_path();
        if self.width == WIDTH {
            full
        } else {
            format!("{full}.p/{}", self.width)
        }
    }

    /// Where the partial ones lie that this full tile supersedes.
    pub fn partials(self) -> String {
        format!("{}.p", self.full_path())
    }

    pub fn is_full(self) -> bool {
        self.width == WIDTH
    }

    fn full_path(self) -> String {
        let level = match self.kind {
            Kind::Entries => "entries".to_owned(),
            Kind::Hashes(level) => level.to_string(),
        };
        format!("tile/{level}/{}", index_path(self.index))
    }

    /// The tile at `path`, `None` for what is no path of one.
    pub fn parse(path: &str) -> Option<Tile> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = if level == "entries" {
            Kind::Entries
        } else {
            Kind::Hashes(level.parse().ok()?)
        };
        let (index, width) = rest.split_once(".p/").unwrap_or((rest, "256"));
        let index = index.split('/').try_fold(0_u64, |index, part| {
            let digits = part.strip_prefix('x').unwrap_or(part);
            index.checked_mul(1000)?.checked_add(digits.parse().ok()?)
        })?;
        let tile = Tile {
            kind,
            index,
            width: width.parse().ok()?,
        };
        // Writing it again settles every question of leading zeros, signs and missing `x`.
        (tile.path() == path).then_some(tile)
    }

    /// Entries of the log before the first one of this bundle.
    pub fn first_entry(self) -> u64 {
        self.index.saturating_mul(WIDTH)
    }

    /// The bytes of a tile of hashes; `None` when the tree is too small for it, and for entry bundles.
    pub fn hashes(self, tree: &Tree) -> Option<Vec<u8>> {
        let Kind::Hashes(level) = self.kind else { return None };
        let start = self.first_entry();
        let row = tree.row(level.checked_mul(HEIGHT)?, start, start.checked_add(self.width)?)?;
        Some(row.iter().flat_map(|hash| hash.0).collect())
    }
}

/// The tiles and bundles, partial ones included, that the log of `new` entries has and that of `old` had not.
pub(crate) fn added(old: u64, new: u64) -> Vec<Tile> {
    let mut tiles = row(Kind::Entries, old, new);
    let (mut level, mut old, mut new) = (0, old, new);
    while new > 0 {
        tiles.extend(row(Kind::Hashes(level), old, new));
        (level, old, new) = (level + 1, old / WIDTH, new / WIDTH);
    }
    tiles
}

fn row(kind: Kind, old: u64, new: u64) -> Vec<Tile> {
    if old == new {
        return Vec::new();
    }
    let full = (old / WIDTH..new / WIDTH).map(|index| Tile {
        kind,
        index,
        width: WIDTH,
    });
    let partial = Tile {
        kind,
        index: new / WIDTH,
        width: new % WIDTH,
    };
    full.chain((partial.width > 0).then_some(partial)).collect()
}

/// The bytes of an entry bundle.
pub(crate) fn bundle<'a>(leaves: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        debug_assert!(leaf.len() <= ENTRY_BYTES_MAX, "leaves are checked when they come in");
        let length = u16::try_from(leaf.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(leaf);
    }
    bytes
}

/// 1234067 is `x001/x234/067`.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let rows = [
            (Kind::Hashes(0), 0, 256, "tile/0/000"),
            (Kind::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067"),
            (Kind::Hashes(1), 1000, 17, "tile/1/x001/000.p/17"),
            (Kind::Hashes(63), 999, 1, "tile/63/999.p/1"),
            (Kind::Entries, 273, 112, "tile/entries/273.p/112"),
            (
                Kind::Entries,
                u64::MAX,
                256,
                "tile/entries/x018/x446/x744/x073/x709/x551/615",
            ),
        ];
        for (kind, index, width, path) in rows {
            let tile = Tile { kind, index, width };
            assert_eq!(tile.path(), path);
            assert_eq!(Tile::parse(path), Some(tile));
        }
        for path in [
            "tile/0/00",
            "tile/0/0",
            "tile/00/000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/+01",
            "tile/data/000",
            "tile/0",
            "checkpoint",
            "",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            let parsed = Tile::parse(path);
            assert!(parsed.is_none_or(|tile| tile.width == 0), "{path:?} is {parsed:?}");
        }
    }

    #[test]
    fn the_tree_of_70000_is_that_of_the_specification() {
        let tiles = added(0, 70_000);
        let count = |kind, full| {
            tiles
                .iter()
                .filter(|tile| tile.kind == kind && tile.is_full() == full)
                .count()
        };
        let widths = |kind| {
            tiles
                .iter()
                .filter(|tile| tile.kind == kind)
                .map(|tile| tile.width)
                .max()
        };
        assert_eq!((count(Kind::Hashes(0), true), count(Kind::Hashes(0), false)), (273, 1));
        assert_eq!((count(Kind::Entries, true), count(Kind::Entries, false)), (273, 1));
        assert_eq!((count(Kind::Hashes(1), true), count(Kind::Hashes(1), false)), (1, 1));
        assert_eq!(
            (
                count(Kind::Hashes(2), true),
                widths(Kind::Hashes(2)),
                count(Kind::Hashes(3), true)
            ),
            (0, Some(1), 0)
        );
        assert!(tiles.contains(&Tile {
            kind: Kind::Hashes(0),
            index: 273,
            width: 112
        }));
        assert!(tiles.contains(&Tile {
            kind: Kind::Hashes(1),
            index: 1,
            width: 17
        }));
    }

    #[test]
    fn growth_adds_only_what_changed() {
        let paths = |old, new| added(old, new).into_iter().map(Tile::path).collect::<Vec<_>>();
        assert_eq!(paths(0, 0), [""; 0]);
        assert_eq!(paths(5, 5), [""; 0]);
        assert_eq!(paths(4, 6), ["tile/entries/000.p/6", "tile/0/000.p/6"]);
        assert_eq!(paths(255, 256), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(paths(256, 257), ["tile/entries/001.p/1", "tile/0/001.p/1"]);
    }

    #[test]
    fn bundles_have_lengths_of_16_bits() {
        assert_eq!(bundle([&b""[..], b"ab"].into_iter()), b"\0\0\0\x02ab");
    }
}
