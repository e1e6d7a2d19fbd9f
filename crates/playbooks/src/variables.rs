//! Variables in texts: `__name__:value` (CACAO 2.0 section 10.18).
//!
//! Values never become part of a program. In a shell command they are parameters that the shell expands after it
//! has parsed the command, so that no value can bring a command of its own, and none stands on a command line.
//!
//! Start reading at [`shell`].

use std::ops::Range;

use crate::condition::is_variable;

/// Where a text refers to variables: the place of the whole reference, and the name.
pub(crate) fn references(text: &str) -> Vec<(Range<usize>, &str)> {
    const MARK: &str = "__:value";
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(MARK) {
        let end = from + at + 2;
        // The name begins at the leftmost place from which it is one.
        let begin = text[..end]
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8))
            .max(from);
        let start = text[begin..end]
            .match_indices("__")
            .map(|(at, _)| begin + at)
            .find(|start| is_variable(&text[*start..end]));
        from = end + ":value".len();
        if let Some(start) = start {
            found.push((start..from, &text[start..end]));
        }
    }
    found
}

/// The text with what `value` gives for each reference.
pub(crate) fn expand<E>(text: &str, mut value: impl FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    let mut expanded = String::with_capacity(text.len());
    let mut from = 0;
    for (place, name) in references(text) {
        expanded.push_str(&text[from..place.start]);
        expanded.push_str(&value(name)?);
        from = place.end;
    }
    expanded.push_str(&text[from..]);
    Ok(expanded)
}

/// A command for bash in which each reference is a parameter, and the parameters' names with the variables they
/// stand for. The quotes around a reference are minded: it stays one word.
pub(crate) fn shell(command: &str) -> (String, Vec<(String, &str)>) {
    let mut out = String::with_capacity(command.len());
    let mut parameters: Vec<(String, &str)> = Vec::new();
    let mut state = Quoting::None;
    let mut from = 0;
    for (place, name) in references(command) {
        let before = &command[from..place.start];
        state = state.after(before);
        out.push_str(before);
        let known = parameters.iter().find(|(_, variable)| *variable == name);
        let parameter = known.map_or_else(|| format!("PLAYBOOK_{}", parameters.len()), |(known, _)| known.clone());
        if known.is_none() {
            parameters.push((parameter.clone(), name));
        }
        match state {
            Quoting::None | Quoting::Comment => out.push_str(&format!("\"${{{parameter}}}\"")),
            Quoting::Double => out.push_str(&format!("${{{parameter}}}")),
            Quoting::Single => out.push_str(&format!("'\"${{{parameter}}}\"'")),
        }
        from = place.end;
    }
    out.push_str(&command[from..]);
    (out, parameters)
}

/// What is open in a shell command. Where it is mistaken (a here-document), a value still is no command: at worst
/// it stands between quotes that should not be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    None,
    Single,
    Double,
    Comment,
}

impl Quoting {
    fn after(self, text: &str) -> Quoting {
        let mut state = self;
        let mut characters = text.chars();
        let mut word_begins = false;
        while let Some(c) = characters.next() {
            state = match (state, c) {
                (Quoting::None | Quoting::Double, '\\') => {
                    characters.next();
                    state
                }
                (Quoting::None, '\'') => Quoting::Single,
                (Quoting::None, '"') => Quoting::Double,
                (Quoting::None, '#') if word_begins => Quoting::Comment,
                (Quoting::Single, '\'') | (Quoting::Double, '"') | (Quoting::Comment, '\n') => Quoting::None,
                _ => state,
            };
            word_begins = c.is_whitespace() || c == ';';
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_where_they_are() {
        for (text, expect) in [
            ("echo __a__:value", vec!["__a__"]),
            ("__a__:value__b__:value", vec!["__a__", "__b__"]),
            ("x__a__:value", vec!["__a__"]),
            ("__a-b_1__:value/__c__", vec!["__a-b_1__"]),
            ("é__a__:value", vec!["__a__"]),
            ("____:value", vec![]),
            ("__1__:value", vec![]),
            ("__a__", vec![]),
            ("", vec![]),
        ] {
            let names: Vec<&str> = references(text).into_iter().map(|(_, name)| name).collect();
            assert_eq!(names, expect, "{text}");
        }
    }

    #[test]
    fn a_value_stays_one_word_in_the_shell() {
        for (command, expect) in [
            ("echo __a__:value", "echo \"${PLAYBOOK_0}\""),
            ("echo \"x __a__:value\"", "echo \"x ${PLAYBOOK_0}\""),
            ("echo 'x __a__:value'", "echo 'x '\"${PLAYBOOK_0}\"''"),
            (
                "echo \\\"__a__:value __b__:value __a__:value",
                "echo \\\"\"${PLAYBOOK_0}\" \"${PLAYBOOK_1}\" \"${PLAYBOOK_0}\"",
            ),
            ("true # don't\necho __a__:value", "true # don't\necho \"${PLAYBOOK_0}\""),
        ] {
            assert_eq!(shell(command).0, expect);
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(__a__:value|_|:value|['\"\\\\#é a])*") {
            let _ = shell(&text);
            let _ = expand(&text, |name| Ok::<_, ()>(name.to_owned()));
        }
    }
}
