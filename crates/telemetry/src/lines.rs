//! Splitting a stream into lines.

/// Gives complete lines, without their ends and the blanks around them.
///
/// What ends within the bytes given is lent from there; only a line that came in parts is copied.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes_max: usize,
    /// The line that has not ended yet; empty while `skipping`.
    partial: Vec<u8>,
    /// Within a line that is too long: nothing is kept until it ends.
    skipping: bool,
}

impl Lines {
    /// A line longer than `bytes_max` is not given.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Lines {
            bytes_max,
            ..Lines::default()
        }
    }

    /// Calls `each` for every line that ends within `bytes`; `None` stands for one that is too long.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() && !self.skipping && line.len() <= self.bytes_max {
                each(Some(line.trim_ascii()));
            } else {
                self.keep(line, &mut each);
                self.end(&mut each);
            }
            bytes = rest;
        }
        self.keep(bytes, &mut each);
    }

    /// The line that has not ended will not go on.
    pub(crate) fn end(&mut self, mut each: impl FnMut(Option<&[u8]>)) {
        if !std::mem::take(&mut self.skipping) && !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            each(Some(line.trim_ascii()));
        }
    }

    /// The line that has not ended is dropped.
    pub(crate) fn cut(&mut self) {
        self.partial.clear();
        self.skipping = false;
    }

    fn keep(&mut self, bytes: &[u8], each: &mut impl FnMut(Option<&[u8]>)) {
        if self.skipping {
            return;
        }
        if self.partial.len() + bytes.len() > self.bytes_max {
            self.skipping = true;
            self.partial = Vec::new();
            each(None);
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same lines come out wherever the stream is cut; `!` is one that is too long.
    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        for size in 1..=text.len().max(1) {
            let mut lines = Lines::new(5);
            let mut got = Vec::new();
            let mut take = |line: Option<&[u8]>| {
                got.push(line.map_or("!".to_owned(), |line| String::from_utf8_lossy(line).into_owned()));
            };
            for part in text.as_bytes().chunks(size) {
                lines.push(part, &mut take);
            }
            lines.end(&mut take);
            assert_eq!(got, expect, "{text:?} in parts of {size}");
        }
    }

    #[test]
    fn lines_wherever_the_stream_is_cut() {
        check("", &[]);
        check("a\nb", &["a", "b"]);
        check(" a \r\n\n12345\n", &["a", "", "12345"]);
        check("123456\nb\n", &["!", "b"]);
        check("b\n123456789", &["b", "!"]);
    }
}
