//! JSON paths in the dialect of the library that the original uses for its tolerances.
//!
//! It differs from RFC 9535: a filter keeps or drops the value it stands behind (`$[*][?(@.a = 1)]`), equality is one
//! `=`, `and` binds less than `or`, and names end in calls like `.length()`. Start reading at [`JsonPath::parse`].

use super::json;
use super::raise::Raise;
use super::value::Value;

const DEPTH_MAX: usize = 60;
/// Values that one path may look at.
const STEPS_MAX: usize = 2_000_000;

/// A path from the root.
#[derive(Debug, Clone)]
pub struct JsonPath(Vec<Segment>);

#[derive(Debug, Clone)]
struct Segment {
    descends: bool,
    subscripts: Vec<Subscript>,
}

#[derive(Debug, Clone)]
enum Subscript {
    Name(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, Option<i64>),
    All,
    Filter(Expression),
    Path(Path),
    Call(Function, Vec<Operand>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    CharAt,
    Entries,
    Keys,
    Length,
    Substring,
    Values,
}

/// A path inside of another one: from the root, or from where it stands.
#[derive(Debug, Clone)]
struct Path {
    from_root: bool,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Operand {
    Path(Path),
    Value(Value),
}

#[derive(Debug, Clone)]
enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Some(Operand),
    Compare(Operator, Operand, Operand),
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// What is expected, and where.
    pub fn parse(text: &str) -> Result<JsonPath, String> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
        };
        parser.expect(&Token::Root)?;
        let segments = parser.segments()?;
        match parser.peek() {
            None => Ok(JsonPath(segments)),
            Some(token) => Err(format!("unexpected {token:?}")),
        }
    }

    /// All values that the path leads to, in order.
    ///
    /// # Errors
    /// For a slice without a step, and a path that looks at too much.
    pub fn find(&self, root: &Value) -> Result<Vec<Value>, Raise> {
        let mut walk = Walk { root, steps: 0 };
        walk.segments(&self.0, root.clone())
    }
}

struct Walk<'a> {
    root: &'a Value,
    steps: usize,
}

impl Walk<'_> {
    fn segments(&mut self, segments: &[Segment], current: Value) -> Result<Vec<Value>, Raise> {
        let mut values = vec![current];
        for segment in segments {
            let mut next = Vec::new();
            for value in values {
                self.segment(segment, &value, &mut next, 0)?;
            }
            values = next;
        }
        Ok(values)
    }

    fn segment(&mut self, segment: &Segment, value: &Value, out: &mut Vec<Value>, depth: usize) -> Result<(), Raise> {
        self.steps += 1;
        if self.steps > STEPS_MAX || depth > 1_000 {
            return Err(Raise::error("RecursionError", "the JSON path looks at too much"));
        }
        for subscript in &segment.subscripts {
            self.subscript(subscript, value, out)?;
        }
        if segment.descends {
            for child in children(value) {
                self.segment(segment, child, out, depth + 1)?;
            }
        }
        Ok(())
    }

    fn subscript(&mut self, subscript: &Subscript, value: &Value, out: &mut Vec<Value>) -> Result<(), Raise> {
        match subscript {
            Subscript::Name(name) => out.extend(value.find(name).cloned()),
            Subscript::Index(index) => out.extend(indexed(value, *index)),
            Subscript::All => out.extend(children(value).cloned()),
            Subscript::Slice(start, end, step) => {
                if let Some(items) = items(value) {
                    for index in slice(items.len(), *start, *end, *step)? {
                        out.extend(indexed(value, index));
                    }
                }
            }
            Subscript::Filter(expression) => {
                if self.holds(expression, value)? {
                    out.push(value.clone());
                }
            }
            Subscript::Path(path) => {
                for found in self.path(path, value)? {
                    match found {
                        Value::Int(index) => out.extend(indexed(value, index)),
                        Value::Bool(index) => out.extend(indexed(value, i64::from(index))),
                        Value::Str(name) => out.extend(value.find(&name).cloned()),
                        _ => {}
                    }
                }
            }
            Subscript::Call(function, operands) => {
                let mut arguments = vec![Vec::new()];
                for operand in operands {
                    let values = self.operand(operand, value)?;
                    arguments = arguments
                        .iter()
                        .flat_map(|before: &Vec<Value>| {
                            values.iter().map(|value| {
                                let mut with = before.clone();
                                with.push(value.clone());
                                with
                            })
                        })
                        .collect();
                }
                out.extend(
                    arguments
                        .iter()
                        .filter_map(|arguments| called(*function, value, arguments)),
                );
            }
        }
        Ok(())
    }

    fn path(&mut self, path: &Path, current: &Value) -> Result<Vec<Value>, Raise> {
        let start = if path.from_root { self.root } else { current };
        self.segments(&path.segments, start.clone())
    }

    fn operand(&mut self, operand: &Operand, current: &Value) -> Result<Vec<Value>, Raise> {
        match operand {
            Operand::Path(path) => self.path(path, current),
            Operand::Value(value) => Ok(vec![value.clone()]),
        }
    }

    fn holds(&mut self, expression: &Expression, current: &Value) -> Result<bool, Raise> {
        match expression {
            Expression::And(parts) => {
                for part in parts {
                    if !self.holds(part, current)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Expression::Or(parts) => {
                for part in parts {
                    if self.holds(part, current)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Expression::Not(inner) => Ok(!self.holds(inner, current)?),
            Expression::Some(Operand::Value(value)) => Ok(value.truthy()),
            Expression::Some(operand) => Ok(!self.operand(operand, current)?.is_empty()),
            Expression::Compare(operator, left, right) => {
                let left = self.operand(left, current)?;
                let right = self.operand(right, current)?;
                Ok(left
                    .iter()
                    .any(|left| right.iter().any(|right| compared(*operator, left, right))))
            }
        }
    }
}

fn compared(operator: Operator, left: &Value, right: &Value) -> bool {
    let numbers = left.is_number() && right.is_number();
    let at_most = |left: &Value, right: &Value| numbers && left.at_most(right).unwrap_or(false);
    match operator {
        Operator::Equal => left.equals(right),
        Operator::NotEqual => !left.equals(right),
        Operator::AtMost => at_most(left, right),
        Operator::AtLeast => at_most(right, left),
        Operator::Less => at_most(left, right) && !left.equals(right),
        Operator::Greater => at_most(right, left) && !left.equals(right),
    }
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::List(items) | Value::Tuple(items) => Some(items),
        _ => None,
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Dict(dict) => Box::new(dict.0.iter().map(|(_, value)| value)),
        other => Box::new(items(other).unwrap_or_default().iter()),
    }
}

fn indexed(value: &Value, index: i64) -> Option<Value> {
    let items = items(value)?;
    let length = i64::try_from(items.len()).ok()?;
    let index = if index < 0 { index + length } else { index };
    items.get(usize::try_from(index).ok()?).cloned()
}

/// The indexes of a slice, in the arithmetic of the original's library.
fn slice(length: usize, start: Option<i64>, end: Option<i64>, step: Option<i64>) -> Result<Vec<i64>, Raise> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Raise::error("ValueError", "range() arg 3 must not be zero"));
    }
    let start = start.map_or(0, |start| match start {
        start if start >= 0 => start,
        start if start.saturating_abs() < length => start + length,
        _ => 0,
    });
    let end = end.map_or(length, |end| if end < 0 { end + length } else { end });
    let (mut out, mut index) = (Vec::new(), start);
    // Beyond the list there is nothing to find.
    while (step > 0 && index < end.min(length)) || (step < 0 && index > end.max(-length - 1)) {
        out.push(index);
        index = index.saturating_add(step);
    }
    Ok(out)
}

fn called(function: Function, value: &Value, arguments: &[Value]) -> Option<Value> {
    let count = |length: usize| Value::Int(i64::try_from(length).unwrap_or(i64::MAX));
    let number = |index: usize| match arguments.get(index) {
        Some(Value::Int(number)) => Some(*number),
        Some(Value::Bool(number)) => Some(i64::from(*number)),
        _ => None,
    };
    match (function, value, arguments.len()) {
        (Function::Length, Value::Str(text), 0) => Some(count(text.chars().count())),
        (Function::Length, value, 0) => items(value).map(|items| count(items.len())),
        (Function::Keys, Value::Dict(_), 0) => value.iterate().ok().map(Value::List),
        (Function::Keys, value, 0) => items(value).map(|items| Value::List((0..items.len()).map(count).collect())),
        (Function::Values, Value::Dict(_), 0) => Some(Value::List(children(value).cloned().collect())),
        (Function::Values, value, 0) => items(value).map(|_| value.clone()),
        (Function::Entries, Value::Dict(dict), 0) => {
            let pairs = dict
                .0
                .iter()
                .map(|(key, value)| Value::List(vec![key.clone(), value.clone()]));
            Some(Value::List(pairs.collect()))
        }
        (Function::Entries, value, 0) => {
            let pairs = items(value)?.iter().enumerate();
            let pairs = pairs.map(|(index, value)| Value::List(vec![count(index), value.clone()]));
            Some(Value::List(pairs.collect()))
        }
        (Function::CharAt, Value::Str(text), 1) => {
            let letters: Vec<Value> = text.chars().map(|letter| Value::Str(letter.into())).collect();
            indexed(&Value::List(letters), number(0)?)
        }
        (Function::Substring, Value::Str(text), 1 | 2) => {
            let letters: Vec<char> = text.chars().collect();
            let bound = |index: i64| {
                let length = i64::try_from(letters.len()).unwrap_or(i64::MAX);
                let index = if index < 0 { index + length } else { index };
                usize::try_from(index.clamp(0, length)).unwrap_or(0)
            };
            let start = bound(number(0)?);
            let end = if arguments.len() == 2 {
                bound(number(1)?)
            } else {
                letters.len()
            };
            Some(Value::Str(letters.get(start..end).unwrap_or_default().iter().collect()))
        }
        _ => None,
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Root,
    Current,
    Descend,
    Dot,
    Star,
    Word(String),
    /// Between its quotes, as it is written.
    Text(String),
    Number(String),
    /// `[ ] ( ) { } , : ?`
    Mark(char),
    Operator(&'static str),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            ' ' | '\t' | '\n' | '\r' => {
                rest = &rest[1..];
                continue;
            }
            '$' => (Token::Root, 1),
            '@' => (Token::Current, 1),
            '*' => (Token::Star, 1),
            '.' if rest.starts_with("..") => (Token::Descend, 2),
            '.' => (Token::Dot, 1),
            '[' | ']' | '(' | ')' | '{' | '}' | ',' | ':' | '?' => (Token::Mark(first), 1),
            '=' => (Token::Operator("="), 1),
            '>' if rest.starts_with(">=") => (Token::Operator(">="), 2),
            '>' => (Token::Operator(">"), 1),
            '<' if rest.starts_with("<=") => (Token::Operator("<="), 2),
            '<' => (Token::Operator("<"), 1),
            '!' if rest.starts_with("!=") => (Token::Operator("!="), 2),
            '"' => {
                let length = quoted(rest).ok_or("a string that is not closed")?;
                (Token::Text(rest[1..length - 1].to_owned()), length)
            }
            '_' | 'a'..='z' | 'A'..='Z' => {
                let length = rest
                    .bytes()
                    .take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric());
                let length = length.count();
                (Token::Word(rest[..length].to_owned()), length)
            }
            '-' | '0'..='9' => {
                let length = number(rest).ok_or_else(|| format!("no number at `{rest}`"))?;
                (Token::Number(rest[..length].to_owned()), length)
            }
            other => return Err(format!("unexpected `{other}`")),
        };
        out.push(token);
        rest = &rest[length..];
    }
    Ok(out)
}

/// Bytes of a JSON string, with its quotes.
fn quoted(text: &str) -> Option<usize> {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                let length = at + 1;
                return json::parse(&text[..length]).is_ok().then_some(length);
            }
            '\\' => {
                letters.next()?;
            }
            _ => {}
        }
    }
    None
}

/// Bytes of a JSON number.
fn number(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(bytes[0] == b'-');
    let whole = match bytes.get(sign)? {
        b'0' => 1,
        b'1'..=b'9' => digits(sign),
        _ => return None,
    };
    let mut length = sign + whole;
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    Some(length)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, token: &Token) -> Result<(), String> {
        if self.takes(token) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(found) => format!("{token:?} is expected, not {found:?}"),
            None => format!("{token:?} is expected at the end"),
        })
    }

    fn segments(&mut self) -> Result<Vec<Segment>, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deep".to_owned());
        }
        let mut segments = Vec::new();
        loop {
            let descends = self.takes(&Token::Descend);
            let subscripts = if !descends && self.takes(&Token::Dot) {
                vec![self.bareword()?]
            } else if self.peek() == Some(&Token::Mark('[')) {
                self.subscripts()?
            } else if descends {
                vec![self.bareword()?]
            } else {
                break;
            };
            segments.push(Segment { descends, subscripts });
        }
        self.depth -= 1;
        Ok(segments)
    }

    fn bareword(&mut self) -> Result<Subscript, String> {
        if self.takes(&Token::Star) {
            return Ok(Subscript::All);
        }
        let name = self.word()?;
        if self.peek() == Some(&Token::Mark('(')) {
            return self.call(&name);
        }
        Ok(Subscript::Name(name))
    }

    fn word(&mut self) -> Result<String, String> {
        match self.peek() {
            Some(Token::Word(word)) if !is_reserved(word) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            other => Err(format!("a name is expected, not {other:?}")),
        }
    }

    fn call(&mut self, name: &str) -> Result<Subscript, String> {
        let function = match name {
            "charAt" => Function::CharAt,
            "entries" => Function::Entries,
            "keys" => Function::Keys,
            "length" => Function::Length,
            "substring" => Function::Substring,
            "values" => Function::Values,
            other => return Err(format!("callable subscript '{other}' not found")),
        };
        self.expect(&Token::Mark('('))?;
        let mut arguments = Vec::new();
        if !self.takes(&Token::Mark(')')) {
            loop {
                arguments.push(self.operand()?);
                if self.takes(&Token::Mark(')')) {
                    break;
                }
                self.expect(&Token::Mark(','))?;
            }
        }
        Ok(Subscript::Call(function, arguments))
    }

    fn subscripts(&mut self) -> Result<Vec<Subscript>, String> {
        self.expect(&Token::Mark('['))?;
        let mut subscripts = Vec::new();
        loop {
            subscripts.push(self.subscript()?);
            if self.takes(&Token::Mark(']')) {
                return Ok(subscripts);
            }
            self.expect(&Token::Mark(','))?;
        }
    }

    fn subscript(&mut self) -> Result<Subscript, String> {
        match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.at += 1;
                Ok(Subscript::Name(text))
            }
            Some(Token::Number(_)) => {
                let start = self.integer()?;
                if self.peek() == Some(&Token::Mark(':')) {
                    return self.slice(start);
                }
                start
                    .map(Subscript::Index)
                    .ok_or_else(|| "an integer is expected".to_owned())
            }
            Some(Token::Mark(':')) => self.slice(None),
            Some(Token::Star) => {
                self.at += 1;
                Ok(Subscript::All)
            }
            Some(Token::Mark('?')) => {
                self.at += 1;
                self.expect(&Token::Mark('('))?;
                let expression = self.expression()?;
                self.expect(&Token::Mark(')'))?;
                Ok(Subscript::Filter(expression))
            }
            Some(Token::Root | Token::Current) => Ok(Subscript::Path(self.path()?)),
            Some(Token::Word(_)) => {
                let name = self.word()?;
                self.call(&name)
            }
            other => Err(format!("a subscript is expected, not {other:?}")),
        }
    }

    fn integer(&mut self) -> Result<Option<i64>, String> {
        let Some(Token::Number(digits)) = self.peek().cloned() else {
            return Ok(None);
        };
        self.at += 1;
        let number = digits.parse().map_err(|_| format!("`{digits}` is no index"))?;
        Ok(Some(number))
    }

    fn slice(&mut self, start: Option<i64>) -> Result<Subscript, String> {
        self.expect(&Token::Mark(':'))?;
        let end = self.integer()?;
        let step = if self.takes(&Token::Mark(':')) {
            self.integer()?
        } else {
            None
        };
        Ok(Subscript::Slice(start, end, step))
    }

    fn path(&mut self) -> Result<Path, String> {
        let from_root = self.takes(&Token::Root);
        if !from_root {
            self.expect(&Token::Current)?;
        }
        Ok(Path {
            from_root,
            segments: self.segments()?,
        })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.peek() {
            Some(Token::Root | Token::Current) => Ok(Operand::Path(self.path()?)),
            _ => Ok(Operand::Value(self.value()?)),
        }
    }

    /// A JSON value.
    fn value(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deep".to_owned());
        }
        let value = match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.at += 1;
                json::parse(&format!("\"{text}\"")).map_err(|error| error.to_string())?
            }
            Some(Token::Number(digits)) => {
                self.at += 1;
                json::parse(&digits).map_err(|error| error.to_string())?
            }
            Some(Token::Word(word)) if matches!(word.as_str(), "true" | "false" | "null") => {
                self.at += 1;
                json::parse(&word).map_err(|error| error.to_string())?
            }
            Some(Token::Mark('[')) => {
                self.at += 1;
                let mut items = Vec::new();
                if !self.takes(&Token::Mark(']')) {
                    loop {
                        items.push(self.value()?);
                        if self.takes(&Token::Mark(']')) {
                            break;
                        }
                        self.expect(&Token::Mark(','))?;
                    }
                }
                Value::List(items)
            }
            Some(Token::Mark('{')) => {
                self.at += 1;
                let mut dict = super::value::Dict::default();
                if !self.takes(&Token::Mark('}')) {
                    loop {
                        let Some(Token::Text(key)) = self.peek().cloned() else {
                            return Err("a name in quotes is expected".to_owned());
                        };
                        self.at += 1;
                        self.expect(&Token::Mark(':'))?;
                        dict.set(key, self.value()?);
                        if self.takes(&Token::Mark('}')) {
                            break;
                        }
                        self.expect(&Token::Mark(','))?;
                    }
                }
                Value::Dict(dict)
            }
            other => return Err(format!("a value is expected, not {other:?}")),
        };
        self.depth -= 1;
        Ok(value)
    }

    /// `and` binds less than `or`.
    fn expression(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deep".to_owned());
        }
        let mut parts = vec![self.or()?];
        while self.takes(&Token::Word("and".to_owned())) {
            parts.push(self.or()?);
        }
        self.depth -= 1;
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Expression::And(parts)
        })
    }

    fn or(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.not()?];
        while self.takes(&Token::Word("or".to_owned())) {
            parts.push(self.not()?);
        }
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Expression::Or(parts)
        })
    }

    fn not(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deep".to_owned());
        }
        let expression = if self.takes(&Token::Word("not".to_owned())) {
            Expression::Not(Box::new(self.not()?))
        } else if self.takes(&Token::Mark('(')) {
            let expression = self.expression()?;
            self.expect(&Token::Mark(')'))?;
            expression
        } else {
            let left = self.operand()?;
            match self.peek() {
                Some(Token::Operator(sign)) => {
                    let operator = match *sign {
                        "=" => Operator::Equal,
                        "!=" => Operator::NotEqual,
                        "<" => Operator::Less,
                        "<=" => Operator::AtMost,
                        ">" => Operator::Greater,
                        _ => Operator::AtLeast,
                    };
                    self.at += 1;
                    Expression::Compare(operator, left, self.operand()?)
                }
                _ => Expression::Some(left),
            }
        };
        self.depth -= 1;
        Ok(expression)
    }
}

fn is_reserved(word: &str) -> bool {
    matches!(word, "and" | "contains" | "false" | "not" | "null" | "or" | "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"a": [1, 2, {"b": 3}], "s": "text", "k": "s",
        "items": [{"n": 1, "t": "x"}, {"n": 2, "t": "y"}, {"n": 3}]}"#;

    #[test]
    fn paths_find_what_the_original_finds() {
        let document = json::parse(DOCUMENT).expect("valid");
        for (path, expect) in [
            ("$.s", r#"["text"]"#),
            ("$[\"s\"]", r#"["text"]"#),
            ("$.a[0]", "[1]"),
            ("$.a[-1].b", "[3]"),
            ("$.a[5]", "[]"),
            ("$.a[0:2]", "[1, 2]"),
            ("$.a[-2:]", r#"[2, {"b": 3}]"#),
            ("$.a[::2]", r#"[1, {"b": 3}]"#),
            ("$.a[*]", r#"[1, 2, {"b": 3}]"#),
            ("$..b", "[3]"),
            ("$..n", "[1, 2, 3]"),
            ("$.items[*].n", "[1, 2, 3]"),
            ("$.items[*][?(@.n > 1)].n", "[2, 3]"),
            ("$.items[*][?(@.n = 1 or @.t = \"y\")].n", "[1, 2]"),
            ("$.items[*][?(not @.t)].n", "[3]"),
            ("$.items[*][?(@.n >= 2 and @.t)].t", r#"["y"]"#),
            ("$.items.length()", "[3]"),
            ("$.s.charAt(1)", r#"["e"]"#),
            ("$.s.substring(1, 3)", r#"["ex"]"#),
            ("$.keys()", r#"[["a", "s", "k", "items"]]"#),
            ("$[$.k]", r#"["text"]"#),
            ("$[\"s\", \"k\"]", r#"["text", "s"]"#),
            ("$", &json::line(&Value::List(vec![document.clone()])).expect("plain")),
        ] {
            let found = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let found = Value::List(found.find(&document).expect(path));
            assert_eq!(json::line(&found).expect("plain"), expect, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let deep = format!("${}", "[?(".repeat(100_000));
        for path in [
            "",
            "s",
            "$.",
            "$[",
            "$.a[",
            "$.a[1.5]",
            "$.true",
            "$['s']",
            "$.x()",
            "$.a[?(@.b contains 1)]",
            "$ x",
            &deep,
        ] {
            assert!(JsonPath::parse(path).is_err(), "{}", &path[..path.len().min(30)]);
        }
    }
}
