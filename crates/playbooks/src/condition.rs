//! Conditions: the part of STIX 2.1 patterning that CACAO's examples use, over variables.
//!
//! `__severity__:value = 'high' AND NOT __hosts__:value > 3`, with `=`, `!=`, `<`, `<=`, `>`, `>=`, `IN`, `LIKE`,
//! `AND`, `OR`, `NOT`, parentheses and one pair of brackets around it all. What else STIX has (`MATCHES`, `EXISTS`,
//! subsets, sequences of observations, qualifiers) is refused by name.
//!
//! Start reading at [`Condition::parse`] and [`Condition::holds`].

/// How deep parentheses may be.
const DEPTH_MAX: u32 = 64;
/// Longest condition, in bytes.
const CONDITION_BYTES_MAX: usize = 16 * 1024;

/// A condition that can be decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Operator, Operand),
    In(Operand, Vec<Operand>),
    /// `%` stands for any text, `_` for one character.
    Like(Operand, String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Variable(String),
    Text(String),
    Number(f64),
    Truth(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// # Errors
    /// A sentence that says what is not understood.
    pub fn parse(text: &str) -> Result<Condition, String> {
        if text.len() > CONDITION_BYTES_MAX {
            return Err(format!("the condition is longer than {CONDITION_BYTES_MAX} bytes"));
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let bracketed = parser.take_sign("[");
        let condition = parser.any(0)?;
        if bracketed && !parser.take_sign("]") {
            return Err("`]` is missing".to_owned());
        }
        match parser.tokens.get(parser.at) {
            None => Ok(condition),
            Some(Token::Word(word)) if OTHERS.contains(&word.to_uppercase().as_str()) => Err(not_understood(word)),
            Some(token) => Err(format!("{} is not expected after the condition", token.shown())),
        }
    }

    /// Whether it holds. A comparison with a variable that has no value doesn't.
    ///
    /// # Errors
    /// A sentence, when a variable is not declared or a text is to be compared with a number.
    pub fn holds(&self, value: &dyn Fn(&str) -> Result<Option<String>, String>) -> Result<bool, String> {
        Ok(match self {
            Condition::Any(parts) => {
                for part in parts {
                    if part.holds(value)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::All(parts) => {
                for part in parts {
                    if !part.holds(value)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Not(part) => !part.holds(value)?,
            Condition::Compare(left, operator, right) => compare(left, *operator, right, value)?,
            Condition::In(left, list) => {
                for right in list {
                    if compare(left, Operator::Equal, right, value)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Like(left, pattern) => resolved(left, value)?.is_some_and(|text| {
                let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
                like(&pattern, &text)
            }),
        })
    }

    /// The variables it reads.
    pub fn variables(&self) -> Vec<&str> {
        match self {
            Condition::Any(parts) | Condition::All(parts) => parts.iter().flat_map(Condition::variables).collect(),
            Condition::Not(part) => part.variables(),
            Condition::Compare(left, _, right) => [left, right].into_iter().filter_map(Operand::variable).collect(),
            Condition::In(left, _) | Condition::Like(left, _) => left.variable().into_iter().collect(),
        }
    }
}

impl Operand {
    fn variable(&self) -> Option<&str> {
        match self {
            Operand::Variable(name) => Some(name),
            _ => None,
        }
    }
}

/// What STIX patterning has besides.
const OTHERS: [&str; 10] = [
    "MATCHES",
    "EXISTS",
    "ISSUBSET",
    "ISSUPERSET",
    "FOLLOWEDBY",
    "WITHIN",
    "REPEATS",
    "START",
    "STOP",
    "TIMES",
];

fn not_understood(word: &str) -> String {
    format!("`{word}` is not understood here: a condition compares variables with =, !=, <, <=, >, >=, IN and LIKE")
}

fn resolved(
    operand: &Operand,
    value: &dyn Fn(&str) -> Result<Option<String>, String>,
) -> Result<Option<String>, String> {
    Ok(match operand {
        Operand::Variable(name) => value(name)?,
        Operand::Text(text) => Some(text.clone()),
        Operand::Number(number) => Some(number.to_string()),
        Operand::Truth(truth) => Some(truth.to_string()),
    })
}

fn compare(
    left: &Operand,
    operator: Operator,
    right: &Operand,
    value: &dyn Fn(&str) -> Result<Option<String>, String>,
) -> Result<bool, String> {
    let (Some(left_text), Some(right_text)) = (resolved(left, value)?, resolved(right, value)?) else {
        return Ok(false);
    };
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let wants_number = [left, right].into_iter().any(|side| matches!(side, Operand::Number(_)));
    let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
    let of_variables = [left, right]
        .into_iter()
        .all(|side| matches!(side, Operand::Variable(_)));
    let order = match (number(&left_text), number(&right_text)) {
        (Some(left), Some(right)) if wants_number || (of_variables && ordered) => left.partial_cmp(&right),
        _ if wants_number => {
            let wrong = if number(&left_text).is_none() { left } else { right };
            return Err(match wrong {
                Operand::Variable(name) => format!("`{name}` is not a number"),
                _ => "a text is compared with a number".to_owned(),
            });
        }
        _ => Some(left_text.as_str().cmp(right_text.as_str())),
    };
    let Some(order) = order else { return Ok(false) };
    Ok(match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
    })
}

/// Matching in time linear in the product of both lengths, whatever the pattern.
fn like(pattern: &[char], text: &[char]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in pattern {
        if *part == '%' {
            for at in 1..reached.len() {
                reached[at] |= reached[at - 1];
            }
        } else {
            for at in (1..reached.len()).rev() {
                reached[at] = reached[at - 1] && (*part == '_' || text[at - 1] == *part);
            }
            reached[0] = false;
        }
    }
    reached[text.len()]
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Variable(String),
    Text(String),
    Number(f64),
    Word(String),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Variable(name) => format!("`{name}:value`"),
            Token::Text(text) => format!("`'{}'`", text.escape_debug()),
            Token::Number(number) => format!("`{number}`"),
            Token::Word(word) => format!("`{}`", word.escape_debug()),
            Token::Sign(sign) => format!("`{sign}`"),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    const SIGNS: [&str; 13] = ["<=", ">=", "!=", "==", "<>", "=", "<", ">", "(", ")", "[", "]", ","];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (string, behind) = string(rest)?;
            tokens.push(Token::Text(string));
            rest = behind;
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '+' | '$');
            let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(format!("`{}` is not understood in a condition", first.escape_debug()));
            }
            let (word, behind) = rest.split_at(end);
            tokens.push(word_token(word)?);
            rest = behind;
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn string(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\'' => return Ok((value, &text[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err("a text in single quotes doesn't end".to_owned())
}

fn word_token(word: &str) -> Result<Token, String> {
    if word.trim_start_matches('$').starts_with("__") {
        let name = word.trim_start_matches('$');
        return match name.strip_suffix(":value").or_else(|| name.strip_suffix(".value")) {
            Some(name) if is_variable(name) => Ok(Token::Variable(name.to_owned())),
            _ => Err(format!("`{word}` is no variable: `__name__:value` is the form")),
        };
    }
    if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return match word.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Number(number)),
            _ => Err(format!("`{word}` is not a number; a text stands in single quotes")),
        };
    }
    Ok(Token::Word(word.to_owned()))
}

/// `__name__` (CACAO 2.0 section 10.18).
pub(crate) fn is_variable(name: &str) -> bool {
    const NAME_CHARS_MAX: usize = 200;
    let inner = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    inner.is_some_and(|inner| {
        inner.len() <= NAME_CHARS_MAX
            && inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && inner.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    })
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn any(&mut self, depth: u32) -> Result<Condition, String> {
        let mut parts = vec![self.all(depth)?];
        while self.take_word("OR") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self, depth: u32) -> Result<Condition, String> {
        let mut parts = vec![self.one(depth)?];
        while self.take_word("AND") {
            parts.push(self.one(depth)?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn one(&mut self, depth: u32) -> Result<Condition, String> {
        if depth > DEPTH_MAX {
            return Err(format!("parentheses are deeper than {DEPTH_MAX}"));
        }
        if self.take_word("NOT") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take_sign("(") {
            let inner = self.any(depth + 1)?;
            return if self.take_sign(")") {
                Ok(inner)
            } else {
                Err("`)` is missing".to_owned())
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        let left = self.operand()?;
        let negated = self.take_word("NOT");
        let condition = match self.next() {
            Some(Token::Sign(sign)) => {
                let operator = match *sign {
                    "=" | "==" => Operator::Equal,
                    "!=" | "<>" => Operator::NotEqual,
                    "<" => Operator::Less,
                    "<=" => Operator::LessOrEqual,
                    ">" => Operator::Greater,
                    ">=" => Operator::GreaterOrEqual,
                    other => return Err(format!("`{other}` is not a comparison")),
                };
                Condition::Compare(left, operator, self.operand()?)
            }
            Some(Token::Word(word)) if word == "IN" => Condition::In(left, self.list()?),
            Some(Token::Word(word)) if word == "LIKE" => match self.operand()? {
                Operand::Text(pattern) => Condition::Like(left, pattern),
                _ => return Err("`LIKE` wants a text in single quotes".to_owned()),
            },
            Some(Token::Word(word)) => return Err(not_understood(word)),
            Some(token) => return Err(format!("{} is not a comparison", token.shown())),
            None => return Err("a comparison is missing at the end of the condition".to_owned()),
        };
        Ok(if negated {
            Condition::Not(Box::new(condition))
        } else {
            condition
        })
    }

    fn list(&mut self) -> Result<Vec<Operand>, String> {
        if !self.take_sign("(") {
            return Err("`IN` wants a list in parentheses".to_owned());
        }
        let mut list = vec![self.operand()?];
        while self.take_sign(",") {
            list.push(self.operand()?);
        }
        if self.take_sign(")") {
            Ok(list)
        } else {
            Err("`)` is missing".to_owned())
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next() {
            Some(Token::Variable(name)) => Ok(Operand::Variable(name.clone())),
            Some(Token::Text(text)) => Ok(Operand::Text(text.clone())),
            Some(Token::Number(number)) => Ok(Operand::Number(*number)),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Ok(Operand::Truth(true)),
                "false" => Ok(Operand::Truth(false)),
                word if OTHERS.contains(&word) => Err(not_understood(word)),
                word => Err(format!(
                    "`{}` is neither a variable (`__name__:value`) nor a text in single quotes",
                    word.escape_debug()
                )),
            },
            Some(token) => Err(format!("{} stands where a value is expected", token.shown())),
            None => Err("a value is missing at the end of the condition".to_owned()),
        }
    }

    fn next(&mut self) -> Option<&Token> {
        let token = self.tokens.get(self.at);
        self.at += usize::from(token.is_some());
        token
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let taken = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word == wanted);
        self.at += usize::from(taken);
        taken
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let taken = matches!(self.tokens.get(self.at), Some(Token::Sign(sign)) if *sign == wanted);
        self.at += usize::from(taken);
        taken
    }
}

fn one_or(mut parts: Vec<Condition>, several: fn(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            several(parts)
        }
        None => several(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> Result<Option<String>, String> {
        match name {
            "__severity__" => Ok(Some("high".to_owned())),
            "__hosts__" => Ok(Some("12".to_owned())),
            "__more__" => Ok(Some("9".to_owned())),
            "__safe__" => Ok(Some("true".to_owned())),
            "__unknown__" => Ok(None),
            _ => Err(format!("`{name}` is not declared")),
        }
    }

    #[test]
    fn conditions_hold_as_stix_says() {
        for (text, expect) in [
            ("__severity__:value = 'high'", true),
            ("[__severity__:value = 'high']", true),
            ("$$__severity__$$:value = 'high'", false),
            ("__severity__:value != 'high'", false),
            ("__severity__:value NOT = 'high'", false),
            ("__hosts__:value > 9", true),
            ("__hosts__:value > __more__:value", true),
            ("__hosts__:value = 12.0", true),
            ("__hosts__:value = '12'", true),
            ("__hosts__:value < '9'", true),
            ("__safe__:value = true", true),
            ("NOT __safe__:value = true", false),
            ("__severity__:value IN ('low', 'high')", true),
            ("__severity__:value NOT IN ('low','high')", false),
            ("__severity__:value LIKE 'h_g%'", true),
            ("__severity__:value LIKE 'g%'", false),
            ("__unknown__:value = ''", false),
            ("__unknown__:value != ''", false),
            (
                "__severity__:value = 'low' OR __hosts__:value >= 12 AND __safe__:value = true",
                true,
            ),
            (
                "(__severity__:value = 'low' OR __hosts__:value <= 12) AND __safe__:value = false",
                false,
            ),
            ("'it\\'s' = 'it\\'s'", true),
        ] {
            let condition = Condition::parse(text);
            if text.starts_with('$') {
                assert!(condition.is_err(), "{text}");
                continue;
            }
            assert_eq!(condition.unwrap().holds(&value), Ok(expect), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, expect) in [
            ("__severity__:value MATCHES 'h.*'", "`MATCHES` is not understood"),
            ("EXISTS __severity__:value", "`EXISTS` is not understood"),
            (
                "[__a__:value = 1] FOLLOWEDBY [__b__:value = 2]",
                "`FOLLOWEDBY` is not understood",
            ),
            ("__severity__ = 'high'", "`__name__:value` is the form"),
            ("__severity__:value = high", "neither a variable"),
            ("__severity__:value =", "a value is missing"),
            ("__severity__:value", "a comparison is missing"),
            ("(__severity__:value = 'a'", "`)` is missing"),
            ("__severity__:value = 'a", "doesn't end"),
            ("__severity__:value = 'a' 'b'", "not expected after"),
            ("", "a value is missing"),
        ] {
            let refused = Condition::parse(text).unwrap_err();
            assert!(refused.contains(expect), "{text}: {refused}");
        }
        assert!(Condition::parse(&"(".repeat(10_000)).unwrap_err().contains("deeper"));
    }

    #[test]
    fn a_text_is_never_silently_a_number() {
        let refused = Condition::parse("__severity__:value > 3").unwrap().holds(&value);
        assert_eq!(refused, Err("`__severity__` is not a number".to_owned()));
        let undeclared = Condition::parse("__x__:value = 3").unwrap().holds(&value);
        assert_eq!(undeclared, Err("`__x__` is not declared".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,60}") {
            if let Ok(condition) = Condition::parse(&text) {
                let _ = condition.holds(&value);
            }
        }

        #[test]
        fn never_panics_on_what_looks_right(words in proptest::collection::vec("(__a__:value|AND|OR|NOT|IN|LIKE|=|<=|\\(|\\)|'x'|3|,|\\[|\\])", 0..20)) {
            if let Ok(condition) = Condition::parse(&words.join(" ")) {
                let _ = condition.holds(&value);
            }
        }
    }
}
