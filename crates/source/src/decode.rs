//! What kind of file some bytes are, and its text.
//!
//! Not here: opening archives. They are named as gaps instead.

use std::borrow::Cow;

/// What was made of a file's bytes.
pub enum Content<'a> {
    /// Text, or bytes worth searching as if they were.
    Text(Cow<'a, [u8]>),
    /// Pictures, sound, fonts: nothing anybody writes a secret into.
    Media,
    /// A container whose inside was not looked at.
    Archive { encrypted: bool },
}

pub fn content<'a>(path: &str, bytes: &'a [u8]) -> Content<'a> {
    if let Some(encrypted) = archive(bytes) {
        return Content::Archive { encrypted };
    }
    if media(path) && binary(bytes) {
        return Content::Media;
    }
    match bytes {
        [0xFF, 0xFE, rest @ ..] => Content::Text(Cow::Owned(utf16(rest, u16::from_le_bytes))),
        [0xFE, 0xFF, rest @ ..] => Content::Text(Cow::Owned(utf16(rest, u16::from_be_bytes))),
        [0xEF, 0xBB, 0xBF, rest @ ..] => Content::Text(Cow::Borrowed(rest)),
        _ => Content::Text(Cow::Borrowed(bytes)),
    }
}

/// Whether the beginning holds a NUL, as git decides it.
pub fn binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(8000)].contains(&0)
}

/// A file whose name ends in a known media type's.
pub fn media(path: &str) -> bool {
    const EXTENSIONS: &[&str] = &[
        "avif", "bmp", "eot", "flac", "gif", "heic", "ico", "jpeg", "jpg", "m4a", "mkv", "mov", "mp3", "mp4", "ogg",
        "otf", "png", "psd", "tif", "tiff", "ttf", "wav", "webm", "webp", "woff", "woff2",
    ];
    let extension = path
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
        .to_ascii_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Vec<u8> {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect::<String>()
        .into_bytes()
}

/// Whether these are the first bytes of an archive, and whether its first member is encrypted.
fn archive(bytes: &[u8]) -> Option<bool> {
    const MAGIC: &[&[u8]] = &[
        b"\x1f\x8b\x08",
        b"BZh",
        b"\xfd7zXZ\x00",
        b"7z\xbc\xaf\x27\x1c",
        b"\x28\xb5\x2f\xfd",
        b"Rar!\x1a\x07",
    ];
    if let [b'P', b'K', 3, 4, _, _, flags, ..] = bytes {
        // Bit 0 of the general purpose flags (APPNOTE.TXT, 4.4.4).
        return Some(flags & 1 == 1);
    }
    let tar = bytes.get(257..262) == Some(b"ustar");
    // A tar is not compressed: its members are searched as they stand.
    (!tar && MAGIC.iter().any(|magic| bytes.starts_with(magic)) && binary(bytes)).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        let kind = |path: &str, bytes: &[u8]| match content(path, bytes) {
            Content::Text(text) => String::from_utf8_lossy(&text).into_owned(),
            Content::Media => "media".to_owned(),
            Content::Archive { encrypted } => format!("archive {encrypted}"),
        };
        for (path, bytes, expect) in [
            ("a.txt", &b"hi"[..], "hi"),
            ("a.txt", b"\xff\xfeh\0i\0", "hi"),
            ("a.txt", b"\xfe\xff\0h\0i", "hi"),
            ("a.txt", b"\xef\xbb\xbfhi", "hi"),
            ("a.png", b"\x89PNG\0", "media"),
            ("a.png", b"not really", "not really"),
            ("a.zip", b"PK\x03\x04\x14\x00\x01\x00", "archive true"),
            ("a.zip", b"PK\x03\x04\x14\x00\x00\x00", "archive false"),
            ("a.gz", b"\x1f\x8b\x08\x00", "archive false"),
            ("a.txt", b"BZhar is a name", "BZhar is a name"),
        ] {
            assert_eq!(kind(path, bytes), expect, "{path} {bytes:?}");
        }
    }
}
