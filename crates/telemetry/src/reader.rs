//! Readers of what existing tools say: each turns bytes and the time they were read into [`Reading`]s.
//!
//! A reader is a push parser: it opens nothing, waits for nothing and knows no clock. Who owns a source owns what is
//! read from it: bytes can be forged, held back or cut, so every reader is bounded, never panics, and says what it
//! could not read as a [`Reading::Gap`].
//!
//! Start reading at [`Reader`]; the catalogue is `readers/`, one file a tool.

use std::time::Duration;

use crate::reading::Reading;

/// A larger document (the body of a request, one answer, one line) is refused.
pub const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long records of one event are waited for, in milliseconds, where nothing else is said.
pub const MERGE_MS_DEFAULT: u64 = 200;

/// Reads one source.
pub trait Reader: Send {
    /// The next bytes of a stream (a file that grows, a pipe), cut anywhere. `now` is the boot time at which they were
    /// read.
    fn push(&mut self, bytes: &[u8], now: Duration, out: &mut Vec<Reading>);

    /// The stream ended, or goes on somewhere else (a file that was replaced): what is unfinished is all there is of it.
    fn end(&mut self, now: Duration, out: &mut Vec<Reading>);

    /// The stream was cut and begins again: what is unfinished will never be finished.
    fn cut(&mut self) {}

    /// Time passes without bytes: what waited for more for too long is handed on as it stands.
    fn tick(&mut self, _now: Duration, _out: &mut Vec<Reading>) {}

    /// One whole document, such as a request's body. `now` is the boot time at which its last byte was read. The whole
    /// of a stream where this is not overridden.
    ///
    /// # Errors
    /// It is not what this reader reads; nothing of it is in `out`.
    fn document(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        if document.bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(Refused(format!("it is longer than {DOCUMENT_BYTES_MAX} bytes")));
        }
        self.push(document.bytes, now, out);
        self.end(now, out);
        Ok(Taken::default())
    }
}

/// One whole document.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    pub bytes: &'a [u8],
    /// Media type without parameters, in lower case; empty where nobody said one.
    pub media_type: &'a str,
}

/// What became of a document that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Parts that were refused although the document was read.
    pub rejected: u64,
    /// Why, for the sender; empty where nothing was.
    pub reason: String,
}

/// Why a document was not read; for the sender, without any of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// What a reader is told by its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long records of one event are waited for, in milliseconds.
    pub merge_ms: u64,
    pub mapping: Mapping,
}

/// Where a JSON object of an unknown tool says what; JSON pointers (RFC 6901), as in `/rule/name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Without a value there an object is a plain event. `None`: all are.
    pub name: Option<String>,
    /// True, `firing`, `active`, `open`, `1`, … where it fires; `None`: it always does.
    pub firing: Option<String>,
    pub severity: Option<String>,
    /// A text, a list or an object in which ATT&CK ids are looked for.
    pub technique: Option<String>,
    /// When it began: RFC 3339, or seconds since 1970 (milli-, micro- and nanoseconds by their size).
    pub began: Option<String>,
}

/// A reader as the catalogue has it.
pub struct Entry {
    /// As `kind` of a configured source.
    pub id: &'static str,
    /// How its bytes can come.
    pub delivery: &'static [Delivery],
    /// What this tool would send: a self-test sends it where no other is given. A JSON document.
    pub canary: &'static str,
    /// Path at which it takes requests, when it does.
    pub path: Option<&'static str>,
    /// What a sender is answered; [`plain_answer`] where the tool has no protocol of its own.
    pub answer: fn(media_type: &str, read: &Result<Taken, Refused>) -> Answer,
    /// Makes one for the source of this name.
    pub make: fn(source: &str, options: &Options) -> Box<dyn Reader>,
}

/// What a sender of requests is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub media_type: &'static str,
    pub body: Vec<u8>,
}

/// How bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// A file that grows, or what a program prints.
    Stream,
    /// Requests that somebody sends us.
    Requests,
    /// Answers to requests that we send.
    Polls,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            merge_ms: MERGE_MS_DEFAULT,
            mapping: Mapping::default(),
        }
    }
}

/// 200 and nothing, or 400 and the reason.
pub fn plain_answer(_media_type: &str, read: &Result<Taken, Refused>) -> Answer {
    let (status, body) = match read {
        Ok(_) => (200, String::new()),
        Err(Refused(reason)) => (400, format!("{reason}\n")),
    };
    Answer {
        status,
        media_type: "text/plain; charset=utf-8",
        body: body.into_bytes(),
    }
}

/// The entry of a kind.
pub fn reader(kind: &str) -> Option<&'static Entry> {
    readers().iter().find(|entry| entry.id == kind)
}

/// All kinds, by id.
pub fn readers() -> &'static [Entry] {
    crate::readers::ALL
}

/// The page of `observer/<kind>`.
pub fn page(id: &str) -> Option<&'static str> {
    let found = crate::readers::PAGES.iter().find(|(page, _)| *page == id);
    found.map(|(_, text)| *text)
}

/// Ids of all pages.
pub fn page_ids() -> impl Iterator<Item = &'static str> {
    crate::readers::PAGES.iter().map(|(id, _)| *id)
}
