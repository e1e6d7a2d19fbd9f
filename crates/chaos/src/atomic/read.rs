//! Reading `atomics/T*/T*.yaml` (atomic-red-team, `atomic_red_team/spec.yaml`).
//!
//! Every test of the file is read, those for other systems too; a faulty test is a diagnostic, and the others stand.

use std::collections::BTreeMap;
use std::fmt;

use evidence::{Diagnostic, Span};
use yaml_serde::{Mapping, Value};

/// The largest file that is read.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// A technique's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Technique {
    /// `T1003.008` (<https://attack.mitre.org>).
    pub id: String,
    pub name: String,
    pub tests: Vec<Test>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    pub technique: String,
    /// Its place in the file, from 1, as `T1003.008-1` has it.
    pub number: usize,
    pub name: String,
    /// `auto_generated_guid`; may be empty in files that were never published.
    pub guid: String,
    /// `linux`, `macos`, `windows`, `containers`, …
    pub platforms: Vec<String>,
    pub arguments: BTreeMap<String, Argument>,
    pub dependencies: Vec<Dependency>,
    /// What runs the commands of `dependencies`; the test's own executor where the file names none.
    pub dependency_shell: Shell,
    pub executor: Executor,
}

impl Test {
    pub fn is_for_linux(&self) -> bool {
        self.platforms.iter().any(|platform| platform == "linux")
    }

    /// `T1003.008-1`.
    pub fn id(&self) -> String {
        format!("{}-{}", self.technique, self.number)
    }
}

/// A parameter, written `#{name}` in commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub default: String,
}

/// What must hold before a test makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub description: String,
    /// Holds when this exits with 0.
    pub check: String,
    /// Makes it hold; may be empty.
    pub get: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    pub shell: Shell,
    /// Empty for a manual test.
    pub command: String,
    pub cleanup: String,
    pub elevation_required: bool,
}

/// What runs a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shell {
    Sh,
    Bash,
    /// Steps for a person.
    Manual,
    /// `powershell`, `command_prompt` and whatever else a file names.
    Other(String),
}

impl Shell {
    fn of(name: &str) -> Self {
        match name {
            "sh" => Self::Sh,
            "bash" => Self::Bash,
            "manual" => Self::Manual,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The program, where it is one that runs here.
    pub fn program(&self) -> Option<&'static str> {
        match self {
            Self::Sh => Some("sh"),
            Self::Bash => Some("bash"),
            Self::Manual | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sh => "sh",
            Self::Bash => "bash",
            Self::Manual => "manual",
            Self::Other(name) => name,
        })
    }
}

/// Reads a technique's file; `path` is for messages. The second part says what could not be read; with a technique
/// there it is about single tests.
pub fn parse(bytes: &[u8], path: &str) -> (Option<Technique>, Vec<Diagnostic>) {
    let mut reading = Reading {
        path,
        diagnostics: Vec::new(),
    };
    let technique = reading.technique(bytes);
    (technique, reading.diagnostics)
}

struct Reading<'a> {
    path: &'a str,
    diagnostics: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn note(&mut self, message: String, line: u32, column: u32) {
        self.diagnostics.push(Diagnostic {
            code: "chaos/atomic".to_owned(),
            message,
            span: Some(Span {
                path: self.path.to_owned(),
                line,
                column,
                commit: None,
            }),
            help: None,
        });
    }

    fn technique(&mut self, bytes: &[u8]) -> Option<Technique> {
        if bytes.len() > FILE_BYTES_MAX {
            self.note(format!("the file is larger than {FILE_BYTES_MAX} bytes"), 1, 1);
            return None;
        }
        let document: Value = match yaml_serde::from_slice(bytes) {
            Ok(document) => document,
            Err(error) => {
                let at = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                let (line, column) = error
                    .location()
                    .map_or((1, 1), |place| (at(place.line()), at(place.column())));
                self.note(format!("this isn't YAML: {error}"), line, column);
                return None;
            }
        };
        let Some(top) = document.as_mapping() else {
            self.note("a technique is a table".to_owned(), 1, 1);
            return None;
        };
        let Some(id) = text(top, "attack_technique") else {
            self.note("`attack_technique` is missing".to_owned(), 1, 1);
            return None;
        };
        let Some(tests) = top.get("atomic_tests").and_then(Value::as_sequence) else {
            self.note("`atomic_tests` is missing, or no list".to_owned(), 1, 1);
            return None;
        };
        let read = tests.iter().enumerate();
        let read = read.filter_map(|(index, test)| match test_of(&id, index + 1, test) {
            Ok(test) => Some(test),
            Err(problem) => {
                self.note(format!("test {}: {problem}", index + 1), 1, 1);
                None
            }
        });
        let tests = read.collect();
        Some(Technique {
            name: text(top, "display_name").unwrap_or_default(),
            id,
            tests,
        })
    }
}

fn test_of(technique: &str, number: usize, test: &Value) -> Result<Test, String> {
    let test = test.as_mapping().ok_or("it is no table")?;
    let name = text(test, "name").ok_or("`name` is missing")?;
    let platforms = test.get("supported_platforms").and_then(Value::as_sequence);
    let platforms = platforms.ok_or("`supported_platforms` is missing, or no list")?;
    let executor = test.get("executor").and_then(Value::as_mapping);
    let executor = executor.ok_or("`executor` is missing, or no table")?;
    let shell = Shell::of(&text(executor, "name").ok_or("`executor.name` is missing")?);
    let command = text(executor, "command").unwrap_or_default();
    if shell != Shell::Manual && command.trim().is_empty() {
        return Err("`executor.command` is missing".to_owned());
    }
    let arguments = match test.get("input_arguments") {
        None | Some(Value::Null) => BTreeMap::new(),
        Some(arguments) => {
            let arguments = arguments.as_mapping().ok_or("`input_arguments` is no table")?;
            arguments.iter().filter_map(argument_of).collect()
        }
    };
    let dependencies = match test.get("dependencies") {
        None | Some(Value::Null) => Vec::new(),
        Some(dependencies) => {
            let dependencies = dependencies.as_sequence().ok_or("`dependencies` is no list")?;
            dependencies.iter().map(dependency_of).collect::<Result<_, _>>()?
        }
    };
    Ok(Test {
        technique: technique.to_owned(),
        number,
        name,
        guid: text(test, "auto_generated_guid").unwrap_or_default(),
        platforms: platforms.iter().filter_map(scalar).collect(),
        arguments,
        dependencies,
        dependency_shell: text(test, "dependency_executor_name").map_or_else(|| shell.clone(), |name| Shell::of(&name)),
        executor: Executor {
            shell,
            command,
            cleanup: text(executor, "cleanup_command").unwrap_or_default(),
            elevation_required: executor
                .get("elevation_required")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        },
    })
}

fn argument_of((name, argument): (&Value, &Value)) -> Option<(String, Argument)> {
    let default = argument.get("default").and_then(scalar).unwrap_or_default();
    Some((scalar(name)?, Argument { default }))
}

fn dependency_of(dependency: &Value) -> Result<Dependency, String> {
    let dependency = dependency.as_mapping().ok_or("a dependency is no table")?;
    Ok(Dependency {
        description: text(dependency, "description").unwrap_or_default(),
        check: text(dependency, "prereq_command").ok_or("a dependency has no `prereq_command`")?,
        get: text(dependency, "get_prereq_command").unwrap_or_default(),
    })
}

fn text(table: &Mapping, key: &str) -> Option<String> {
    table.get(key).and_then(scalar)
}

/// Numbers and truth values as they are written; what is empty is an empty text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
attack_technique: T1000
display_name: Example
atomic_tests:
- name: one
  auto_generated_guid: 00000000-0000-0000-0000-000000000001
  supported_platforms: [linux, macos]
  input_arguments:
    port: {description: d, type: integer, default: 80}
    nothing: {description: d, type: string, default: }
  dependency_executor_name: bash
  dependencies:
  - {description: d, prereq_command: 'test -e x', get_prereq_command: touch x}
  executor: {name: sh, command: 'echo #{port}', elevation_required: true}
- name: by hand
  supported_platforms: [windows]
  executor: {name: manual, steps: 'do it'}
- name: without a command
  supported_platforms: [linux]
  executor: {name: sh}
";

    #[test]
    fn a_faulty_test_leaves_the_others_standing() {
        let (technique, diagnostics) = parse(FILE.as_bytes(), "T1000.yaml");
        let technique = technique.unwrap();
        assert_eq!((technique.id.as_str(), technique.tests.len()), ("T1000", 2));
        let messages: Vec<_> = diagnostics.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages, ["test 3: `executor.command` is missing"]);
        let [one, manual] = &technique.tests[..] else {
            panic!("two tests");
        };
        assert_eq!((one.id().as_str(), one.is_for_linux()), ("T1000-1", true));
        assert_eq!(one.arguments["port"].default, "80");
        assert_eq!(one.arguments["nothing"].default, "");
        assert_eq!((&one.dependency_shell, &one.executor.shell), (&Shell::Bash, &Shell::Sh));
        assert!(one.executor.elevation_required);
        assert_eq!(one.dependencies[0].get, "touch x");
        assert_eq!((&manual.executor.shell, manual.is_for_linux()), (&Shell::Manual, false));
    }

    #[test]
    fn what_is_no_technique_says_so() {
        let check = |file: &str, expect: &str| {
            let (technique, diagnostics) = parse(file.as_bytes(), "x.yaml");
            assert_eq!(technique, None);
            assert!(diagnostics[0].message.starts_with(expect), "{diagnostics:?}");
        };
        check("- 1", "a technique is a table");
        check("a: [", "this isn't YAML");
        check("atomic_tests: []", "`attack_technique` is missing");
        check("attack_technique: T1\natomic_tests: 1", "`atomic_tests` is missing");
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                    g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]";
        check(bomb, "this isn't YAML");
    }
}
