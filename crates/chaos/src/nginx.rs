//! What faults on configurations need of nginx's language: where directives and blocks are, and whose they are.
//!
//! It knows words, quotes, comments, `;`, `{` and `}`, no directive's meaning but `server` and `listen`. Included files
//! are not followed: a target's `config` is the file that has the `server` block.
//! Start reading at [`Config`].

use std::ops::Range;

/// Blocks stand in each other no deeper.
const DEPTH_MAX: usize = 32;

/// A configuration, and where its directives are.
pub(crate) struct Config<'t> {
    text: &'t str,
    directives: Vec<Directive>,
}

/// `words… ;` or `words… { … }`.
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) words: Vec<String>,
    /// With its end: `;` or `}`.
    pub(crate) span: Range<usize>,
    /// Behind the `{`, where it has a block.
    opened: Option<usize>,
    inner: Vec<Directive>,
}

/// One change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) at: Range<usize>,
    pub(crate) text: String,
}

impl<'t> Config<'t> {
    pub(crate) fn parse(text: &'t str) -> Result<Config<'t>, String> {
        let mut reader = Reader { text, at: 0 };
        let directives = reader.directives(0)?;
        Ok(Config { text, directives })
    }

    /// The `server` blocks that listen on a port.
    pub(crate) fn servers(&self, port: u16) -> Result<Vec<&Directive>, String> {
        let mut found = Vec::new();
        collect(&self.directives, &mut |directive| {
            if directive.is("server") && directive.opened.is_some() && directive.listens(port) {
                found.push(directive);
            }
        });
        if found.is_empty() {
            return Err(format!("no `server` block of its `config` listens on port {port}"));
        }
        Ok(found)
    }

    /// The text with every change made. They don't overlap.
    pub(crate) fn with(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|edit| edit.at.start);
        let mut text = self.text.to_owned();
        for edit in edits.iter().rev() {
            text.replace_range(edit.at.clone(), &edit.text);
        }
        text
    }
}

impl Directive {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.words.first().is_some_and(|word| word == name)
    }

    /// The directives of its block with this name, those in blocks within among them.
    pub(crate) fn all(&self, name: &str) -> Vec<&Directive> {
        let mut found = Vec::new();
        collect(&self.inner, &mut |directive| {
            if directive.is(name) {
                found.push(directive);
            }
        });
        found
    }

    /// `text` as the first line of its block.
    pub(crate) fn first_line(&self, text: &str) -> Option<Edit> {
        let at = self.opened?;
        Some(Edit {
            at: at..at,
            text: format!("\n    {text}"),
        })
    }

    /// `text` as a line behind it.
    pub(crate) fn line_behind(&self, text: &str) -> Edit {
        Edit {
            at: self.span.end..self.span.end,
            text: format!("\n{text}"),
        }
    }

    /// `text` in its place.
    pub(crate) fn instead(&self, text: String) -> Edit {
        Edit {
            at: self.span.clone(),
            text,
        }
    }

    fn listens(&self, port: u16) -> bool {
        let mut listens = self.inner.iter().filter(|inner| inner.is("listen")).peekable();
        // A server that names no port has nginx's default.
        if listens.peek().is_none() {
            return port == 80;
        }
        let number = port.to_string();
        listens.any(|listen| listens_on(listen).is_some_and(|found| found == number))
    }
}

/// The port of a `listen` directive; `None` for a socket of the file system.
pub(crate) fn listens_on(listen: &Directive) -> Option<&str> {
    let address = listen.words.get(1)?;
    if address.starts_with("unix:") {
        return None;
    }
    let port = address.rsplit(':').next()?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    Some(if is_port { port } else { "80" })
}

fn collect<'d>(directives: &'d [Directive], found: &mut impl FnMut(&'d Directive)) {
    for directive in directives {
        found(directive);
        collect(&directive.inner, found);
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

impl Reader<'_> {
    fn directives(&mut self, depth: usize) -> Result<Vec<Directive>, String> {
        if depth > DEPTH_MAX {
            return Err("its `config` has blocks too deep in each other".to_owned());
        }
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut start = 0;
        loop {
            let before = self.skip_space();
            let token = self.token()?;
            if words.is_empty() {
                start = before;
            }
            match token {
                Token::Word(word) => words.push(word),
                Token::Semicolon => directives.push(Directive {
                    words: std::mem::take(&mut words),
                    span: start..self.at,
                    opened: None,
                    inner: Vec::new(),
                }),
                Token::Open => {
                    let opened = self.at;
                    let inner = self.directives(depth + 1)?;
                    directives.push(Directive {
                        words: std::mem::take(&mut words),
                        span: start..self.at,
                        opened: Some(opened),
                        inner,
                    });
                }
                Token::Close if depth > 0 && words.is_empty() => return Ok(directives),
                Token::End if depth == 0 && words.is_empty() => return Ok(directives),
                Token::Close | Token::End => {
                    return Err("its `config` is not written as nginx's are: braces or `;` are missing".to_owned());
                }
            }
        }
    }

    /// To the next token; where it begins.
    fn skip_space(&mut self) -> usize {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if byte.is_ascii_whitespace() {
                self.at += 1;
            } else if *byte == b'#' {
                self.at += bytes[self.at..].iter().take_while(|byte| **byte != b'\n').count();
            } else {
                break;
            }
        }
        self.at
    }

    fn token(&mut self) -> Result<Token, String> {
        let bytes = self.text.as_bytes();
        let Some(first) = bytes.get(self.at) else {
            return Ok(Token::End);
        };
        let single = match first {
            b';' => Some(Token::Semicolon),
            b'{' => Some(Token::Open),
            b'}' => Some(Token::Close),
            _ => None,
        };
        if let Some(token) = single {
            self.at += 1;
            return Ok(token);
        }
        let start = self.at;
        if let quote @ (b'"' | b'\'') = *first {
            self.at += 1;
            while let Some(byte) = bytes.get(self.at) {
                self.at += 1 + usize::from(*byte == b'\\');
                if *byte == quote {
                    return Ok(Token::Word(self.text[start + 1..self.at - 1].to_owned()));
                }
            }
            return Err("its `config` has a quote without an end".to_owned());
        }
        while let Some(byte) = bytes.get(self.at) {
            // `${name}` is a variable and no block.
            if *byte == b'{' && bytes[self.at - 1] == b'$' {
                self.at += bytes[self.at..].iter().take_while(|byte| **byte != b'}').count();
            } else if byte.is_ascii_whitespace() || matches!(byte, b';' | b'{') {
                break;
            }
            self.at += 1 + usize::from(*byte == b'\\');
        }
        self.at = self.at.min(bytes.len());
        let word = self.text.get(start..self.at);
        word.map(|word| Token::Word(word.to_owned()))
            .ok_or_else(|| "its `config` is cut within a character".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# server { listen 1; }
http {
  upstream up { server 127.0.0.1:9; }
  server { listen 127.0.0.1:8443 ssl; return 200 "a;}{\"b"; location ~ ^/(?<x>a)$ { proxy_pass http://up${uri}; } }
  server { listen unix:/s.sock; listen [::]:81; }
  server { server_name plain; }
}
"#;

    #[test]
    fn servers_are_found_by_their_port() {
        let config = Config::parse(TEXT).unwrap();
        let tls = config.servers(8443).unwrap();
        assert_eq!(tls.len(), 1);
        assert_eq!(tls[0].all("proxy_pass")[0].words, ["proxy_pass", "http://up${uri}"]);
        assert_eq!(config.servers(81).unwrap()[0].all("listen").len(), 2);
        assert_eq!(config.servers(80).unwrap()[0].all("server_name")[0].words[1], "plain");
        assert!(config.servers(1).is_err());
    }

    #[test]
    fn edits_are_made_where_they_belong() {
        let text = "server { listen 80; }\n";
        let config = Config::parse(text).unwrap();
        let server = config.servers(80).unwrap()[0];
        let edits = vec![
            server.line_behind("b"),
            server.first_line("a;").unwrap(),
            server.all("listen")[0].instead("listen 81;".to_owned()),
        ];
        assert_eq!(config.with(edits), "server {\n    a; listen 81; }\nb\n");
    }

    #[test]
    fn what_is_no_configuration_is_said() {
        for text in ["server {", "}", "a", "\"", "\\", "a \"b", "é\\"] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        assert!(Config::parse(&"a{".repeat(1000)).is_err());
    }
}
