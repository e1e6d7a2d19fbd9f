//! Following log files as they grow.
//!
//! Who owns a log file owns what is read here: lines can be forged, held back or removed. A line that never
//! comes is the same as a service that is silent, which is why detectors are self-tested and runs are bounded.

use std::path::PathBuf;
use std::time::Duration;

use evidence::Gap;
use serde_json::{Value, json};

use crate::Event;
use crate::follow::{Follow, Piece};
use crate::lines::Lines;

/// A longer line is not read: it counts as one gap, and reading goes on behind it.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Reads lines as they are added to some files: one JSON object a line, other text as `{"message": …}`.
///
/// A file may not exist yet, be cut short and begin again, or be renamed away and replaced: what was written to
/// the old one is read to its end first. A file that cannot be read is a gap, not an error.
pub struct LogTail {
    followers: Vec<Follower>,
}

impl LogTail {
    /// Follows `sources`, pairs of a service's name and its log file, from the files' beginning.
    pub fn new(sources: Vec<(String, PathBuf)>) -> Self {
        LogTail {
            followers: sources.into_iter().map(Follower::new).collect(),
        }
    }

    /// The same, from the files' current ends. A file that doesn't exist yet is read from its beginning.
    #[must_use]
    pub fn skip_to_end(mut self) -> Self {
        for follower in &mut self.followers {
            follower.file.skip_to_end();
        }
        self
    }

    /// The complete lines since the last poll, file by file in the order given. `now` is the boot time of the call.
    pub fn poll(&mut self, now: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        for follower in &mut self.followers {
            follower.poll(now, &mut events);
        }
        events
    }

    /// What was not read so far: lines that were too long, files that can't be read.
    pub fn gaps(&self) -> Vec<Gap> {
        self.followers.iter().flat_map(Follower::gaps).collect()
    }
}

/// One file being followed.
struct Follower {
    source: String,
    file: Follow,
    lines: Lines,
    too_long: u64,
    /// Why the file could not be read the last time, if so.
    unreadable: Option<String>,
}

impl Follower {
    fn new((source, path): (String, PathBuf)) -> Self {
        Follower {
            source,
            file: Follow::new(path),
            lines: Lines::new(LINE_BYTES_MAX),
            too_long: 0,
            unreadable: None,
        }
    }

    fn poll(&mut self, now: Duration, events: &mut Vec<Event>) {
        let (lines, source, too_long) = (&mut self.lines, &self.source, &mut self.too_long);
        let mut take = |line: Option<&[u8]>| match line {
            None => *too_long += 1,
            Some([]) => {}
            Some(line) => events.push(Event {
                source: source.clone(),
                boottime: now,
                fields: fields(line),
            }),
        };
        let read = self.file.poll(&mut |piece| match piece {
            Piece::Bytes(bytes) => lines.push(bytes, &mut take),
            Piece::Cut => lines.cut(),
            // The last, unfinished line of a renamed file is one all the same.
            Piece::Replaced => lines.end(&mut take),
        });
        self.unreadable = read.err().map(|error| error.to_string());
    }

    fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        if self.too_long > 0 {
            gaps.push(Gap {
                id: "telemetry/line-too-long".to_owned(),
                what: self.source.clone(),
                reason: format!(
                    "{} lines of its log are longer than {LINE_BYTES_MAX} bytes",
                    self.too_long
                ),
                blocks: true,
            });
        }
        if let Some(reason) = &self.unreadable {
            gaps.push(Gap {
                id: "telemetry/log-unreadable".to_owned(),
                what: self.source.clone(),
                reason: format!("can't read its log: {reason}"),
                blocks: true,
            });
        }
        gaps
    }
}

fn fields(line: &[u8]) -> Value {
    match serde_json::from_slice(line) {
        Ok(value @ Value::Object(_)) => value,
        _ => json!({ "message": String::from_utf8_lossy(line) }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;
    use crate::follow::POLL_BYTES_MAX;

    struct Log {
        folder: tempfile::TempDir,
        tail: LogTail,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let tail = LogTail::new(vec![("ledger".to_owned(), folder.path().join("log"))]);
            Log { folder, tail }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("log")
        }

        fn add(&self, text: impl AsRef<[u8]>) {
            let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
            file.write_all(text.as_ref()).unwrap();
        }

        #[track_caller]
        fn expect(&mut self, lines: &[&str]) {
            let events = self.tail.poll(Duration::from_millis(7));
            let got: Vec<String> = events
                .iter()
                .map(|event| match &event.fields["message"] {
                    Value::String(message) => message.clone(),
                    _ => event.fields.to_string(),
                })
                .collect();
            assert_eq!(got, lines);
            assert!(events.iter().all(|event| event.source == "ledger"));
            assert!(events.iter().all(|event| event.boottime == Duration::from_millis(7)));
        }
    }

    #[test]
    fn only_complete_lines() {
        let mut log = Log::new();
        log.expect(&[]);
        log.add("{\"event\":\"den");
        log.expect(&[]);
        log.add("ied\"}\nwords\n[1]\n\n \nhal");
        log.expect(&["{\"event\":\"denied\"}", "words", "[1]"]);
        log.add("f\n");
        log.expect(&["half"]);
        assert_eq!(log.tail.gaps(), []);
    }

    #[test]
    fn from_the_current_end() {
        let log = Log::new();
        log.add("old\n");
        let tail = LogTail::new(vec![("ledger".to_owned(), log.path())]).skip_to_end();
        let mut log = Log { tail, ..log };
        log.expect(&[]);
        log.add("new\n");
        log.expect(&["new"]);
    }

    #[test]
    fn a_file_cut_short_begins_again() {
        let mut log = Log::new();
        log.add("one\ntwo\nthr");
        log.expect(&["one", "two"]);
        std::fs::write(log.path(), "four\n").unwrap();
        log.expect(&["four"]);
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end() {
        let mut log = Log::new();
        log.add("one\n");
        log.expect(&["one"]);
        log.add("two\nthree");
        std::fs::rename(log.path(), log.folder.path().join("log.1")).unwrap();
        log.expect(&["two"]);
        log.add("four\n");
        log.expect(&["three", "four"]);
        log.add("five\n");
        log.expect(&["five"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_a_gap() {
        let mut log = Log::new();
        log.add("x".repeat(LINE_BYTES_MAX));
        log.expect(&[]);
        log.add("y");
        log.expect(&[]);
        log.add("y".repeat(LINE_BYTES_MAX * 2));
        log.expect(&[]);
        log.add("\nnext\n");
        log.expect(&["next"]);
        let gaps = log.tail.gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].id, "telemetry/line-too-long");
        assert!(gaps[0].reason.starts_with("1 lines"), "{}", gaps[0].reason);
        log.add("x".repeat(LINE_BYTES_MAX));
        log.add("\n");
        assert_eq!(log.tail.poll(Duration::ZERO).len(), 1);
    }

    #[test]
    fn a_poll_is_bounded() {
        let mut log = Log::new();
        let line = format!("{}\n", "z".repeat(1023));
        log.add(line.repeat(POLL_BYTES_MAX / 1024 + 10));
        assert_eq!(log.tail.poll(Duration::ZERO).len(), POLL_BYTES_MAX / 1024);
        assert_eq!(log.tail.poll(Duration::ZERO).len(), 10);
    }

    #[test]
    fn a_folder_in_place_of_a_log_is_a_gap() {
        let mut log = Log::new();
        std::fs::create_dir(log.path()).unwrap();
        log.expect(&[]);
        assert_eq!(log.tail.gaps()[0].id, "telemetry/log-unreadable");
    }

    #[test]
    fn other_bytes_than_utf8() {
        let mut log = Log::new();
        log.add(b"a\xffb\n");
        log.expect(&["a\u{fffd}b"]);
    }

    proptest::proptest! {
        /// However the bytes of a log arrive, the lines are the same.
        #[test]
        fn pieces_make_the_same_lines(
            lines in proptest::collection::vec("[a-z]{1,20}", 0..20),
            cuts in proptest::collection::vec(0usize..400, 0..10),
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut log = Log::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.push(text.len());
            cuts.sort_unstable();
            let mut got = Vec::new();
            let mut from = 0;
            for cut in cuts {
                log.add(&text[from..cut]);
                from = cut;
                for event in log.tail.poll(Duration::ZERO) {
                    got.push(event.fields["message"].as_str().unwrap().to_owned());
                }
            }
            proptest::prop_assert_eq!(got, lines);
        }
    }
}
