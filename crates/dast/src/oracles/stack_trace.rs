//! # dast/stack-trace
//! An error tells about the inside of the service: a stack trace, a source file, a database's own message.
//!
//! ## What it does
//! Looks for the forms that run-time systems and databases give their errors in answers of 400 and above. The finding
//! names the form, never the text.
//!
//! ## Why it matters
//! Names of files, libraries and versions, queries and paths tell an attacker where to go on, and sometimes hold data
//! of others.
//!
//! ## Example
//! `GET /orders/%00` answers 500 with `Traceback (most recent call last): File "/app/orders.py", line 7`.
//!
//! ## What to do instead
//! Write details to the log with an id of the request, and answer with that id alone. Turn debug mode off.
//!
//! ## References
//! - CWE-209, error message containing sensitive information, <https://cwe.mitre.org/data/definitions/209.html>
//! - OWASP error handling, <https://cheatsheetseries.owasp.org/cheatsheets/Error_Handling_Cheat_Sheet.html>

use std::sync::OnceLock;

use evidence::Severity;
use regex::RegexSet;

use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/stack-trace",
    fix: "log the details and answer with the id of the request alone",
    judge,
};

/// What gives it away, and the pattern.
const FORMS: [(&str, &str); 15] = [
    ("a Python traceback", r"Traceback \(most recent call last\)"),
    ("a Python source file", r#"File "[^"\n]{1,200}\.py", line \d+"#),
    (
        "a Java stack trace",
        r"(?m)^\s*at [\w$.]+\([\w$]+\.(java|kt|scala):\d+\)",
    ),
    (
        "a Java exception",
        r"\b(java|javax|jakarta|org|com)\.[a-z][\w.]*\.[A-Z]\w*(Exception|Error)\b",
    ),
    (
        "a .NET stack trace",
        r"(?m)^\s*at [\w.`<>]+\(.{0,200}\) in .{1,200}:line \d+",
    ),
    ("a .NET exception", r"\bSystem\.[\w.]*Exception\b"),
    (
        "a Node.js stack trace",
        r"(?m)\bat .{0,120}\(?(/|file:|node:)[^\s():]{1,200}(\.[cm]?[jt]s|node:[\w/]+):\d+:\d+",
    ),
    (
        "a Go panic",
        r"goroutine \d+ \[[a-z ]+\]:|runtime error: (invalid memory|index out of range|slice bounds)",
    ),
    (
        "a Rust panic",
        r"thread '[^'\n]{0,80}' (\(\d+\) )?panicked at |called `(Result|Option)::unwrap\(\)` on",
    ),
    ("a Rust source file", r"[\w/.-]+/src/[\w/]+\.rs:\d+:\d+"),
    ("a Ruby stack trace", r"[\w/.-]+\.rb:\d+:in [`']"),
    (
        "a PHP error",
        r"(Fatal error|Warning|Notice|Parse error)(</b>)?: .{1,300} in (<b>)?/.{1,200}\.php",
    ),
    (
        "an SQL error",
        r"SQLSTATE\[|You have an error in your SQL syntax|\bORA-\d{5}\b|PG::\w+Error|unterminated quoted string at or near|SQLITE_ERROR|near \x22.{0,40}\x22: syntax error",
    ),
    (
        "a database error",
        r"\b(psycopg2?|sqlite3|pymysql|mysql\.connector)\.(errors\.)?\w*Error\b|MongoServerError|\bER_PARSE_ERROR\b",
    ),
    (
        "a debugger page",
        r"Werkzeug Debugger|DEBUG = True|Whoops, looks like something went wrong|<title>Action Controller: Exception",
    ),
];

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let Some(response) = exchange.response().filter(|response| response.status >= 400) else {
        return Vec::new();
    };
    let body = String::from_utf8_lossy(&response.body);
    let found = patterns().matches(&body);
    found
        .iter()
        .map(|index| {
            Hit::new(
                Severity::Medium,
                FORMS[index].0,
                format!("shows {} in an error", FORMS[index].0),
            )
        })
        .collect()
}

fn patterns() -> &'static RegexSet {
    static PATTERNS: OnceLock<RegexSet> = OnceLock::new();
    PATTERNS.get_or_init(|| {
        RegexSet::new(FORMS.map(|(_, pattern)| pattern)).expect("the patterns are valid: a test compiles them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_known_and_prose_is_not() {
        let rows = [
            (
                "Traceback (most recent call last):\n  File \"/app/a.py\", line 7, in f",
                vec![0, 1],
            ),
            ("\tat com.example.Shop.order(Shop.java:42)", vec![2]),
            ("java.lang.NullPointerException", vec![3]),
            ("   at Shop.Orders.Get(Int32 id) in /src/Orders.cs:line 3", vec![4]),
            ("System.NullReferenceException: Object reference not set", vec![5]),
            ("Error: x\n    at Object.<anonymous> (/app/index.js:3:9)", vec![6]),
            ("panic: x\n\ngoroutine 1 [running]:", vec![7]),
            ("thread 'main' panicked at src/main.rs:2:5:", vec![8]),
            ("failed at crates/shop/src/orders.rs:10:3", vec![9]),
            ("app/orders.rb:3:in `show'", vec![10]),
            (
                "<b>Warning</b>: Undefined variable $x in <b>/srv/a.php</b> on line 3",
                vec![11],
            ),
            ("SQLSTATE[42000]: syntax", vec![12]),
            ("near \"OR\": syntax error", vec![12]),
            ("sqlite3.OperationalError", vec![13]),
            (
                "{\"error\": \"the product at that place is not known\", \"line\": 7}",
                vec![],
            ),
            ("not found: see org.example.com for help", vec![]),
        ];
        for (text, expect) in rows {
            let found: Vec<usize> = patterns().matches(text).iter().collect();
            assert_eq!(found, expect, "{text}");
        }
    }
}
