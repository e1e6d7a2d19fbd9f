//! What a test would run, exactly: arguments put in, paths resolved, the undo beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use host::process::Limits;

use super::read::{Dependency, Shell, Test};

/// Where the folder of techniques is inside.
pub const ATOMICS: &str = "/AtomicRedTeam/atomics";

/// How deep arguments may speak of arguments.
const NESTING_MAX: usize = 4;

/// How a test is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// `PathToAtomicsFolder`: a folder of the host with techniques and their payloads, which is copied too. `None`: there
    /// is none inside.
    pub atomics: Option<PathBuf>,
    /// In place of the defaults of the file.
    pub arguments: BTreeMap<String, String>,
    /// How long the test's command may take.
    pub timeout: Duration,
    /// How long each command of a prerequisite may take.
    pub prerequisite_timeout: Duration,
    /// Folders that are empty inside: keys, stores.
    pub hide: Vec<PathBuf>,
    pub limits: Limits,
}

impl Default for Options {
    /// 30 seconds for the command, 20 for each one of a prerequisite.
    fn default() -> Self {
        Self {
            atomics: None,
            arguments: BTreeMap::new(),
            timeout: Duration::from_secs(30),
            prerequisite_timeout: Duration::from_secs(20),
            hide: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// A test with its arguments put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub shell: Shell,
    pub dependency_shell: Shell,
    /// Checks, and what makes them hold.
    pub prerequisites: Vec<Dependency>,
    pub command: String,
}

impl Plan {
    /// What would be done, one action a line, and how it is undone.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Dependency { check, get, .. } in &self.prerequisites {
            lines.push(format!("check ({}): {check}", self.dependency_shell));
            if !get.trim().is_empty() {
                lines.push(format!("if that fails ({}): {get}", self.dependency_shell));
            }
        }
        lines.push(format!("run ({}): {}", self.shell, self.command));
        lines.push(
            "undo: nothing to do; all of it happens in a throwaway copy of the machine that has no network, and the \
             copy is discarded with its last process (sandbox-discard). the test's own clean-up is not run"
                .to_owned(),
        );
        lines
    }
}

/// What [`run`](super::run) would do.
pub fn plan(test: &Test, options: &Options) -> Plan {
    let put = |text: &str| substitute(text, test, options);
    let command = put(&test.executor.command);
    Plan {
        shell: test.executor.shell.clone(),
        dependency_shell: test.dependency_shell.clone(),
        prerequisites: test
            .dependencies
            .iter()
            .map(|dependency| Dependency {
                description: put(&dependency.description),
                check: put(&dependency.check),
                get: put(&dependency.get),
            })
            .collect(),
        command: command.trim_end().to_owned(),
    }
}

/// `#{name}` is an argument, `PathToAtomicsFolder` (with or without `$`) the folder of techniques; what is no argument stays.
fn substitute(text: &str, test: &Test, options: &Options) -> String {
    let mut text = text.to_owned();
    for _ in 0..NESTING_MAX {
        let before = text.clone();
        for (name, argument) in &test.arguments {
            let value = options.arguments.get(name).unwrap_or(&argument.default);
            text = text.replace(&format!("#{{{name}}}"), value);
        }
        if text == before {
            break;
        }
    }
    text.replace("$PathToAtomicsFolder", ATOMICS)
        .replace("PathToAtomicsFolder", ATOMICS)
}

/// What a command speaks of in a technique's `src` and `bin` folders, where publishers put what comes with it; what lies elsewhere
/// may be what a test makes.
pub(super) fn payloads(command: &str) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || "\"'`;|&<>()$*?[]{},".contains(c);
    let mut found: Vec<String> = command
        .match_indices(ATOMICS)
        .filter_map(|(at, _)| {
            let rest = &command[at..];
            let path = &rest[..rest.find(ends).unwrap_or(rest.len())];
            let path = path.trim_end_matches('/');
            let shipped = path.split('/').any(|part| part == "src" || part == "bin");
            shipped.then(|| path.to_owned())
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::parse;

    fn test(command: &str) -> Test {
        let file = format!(
            "attack_technique: T1\natomic_tests:\n- name: n\n  supported_platforms: [linux]\n  input_arguments:\n    \
             file: {{default: PathToAtomicsFolder/T1/src/x.sh}}\n    again: {{default: 'a #{{file}}'}}\n  \
             executor: {{name: sh, command: '{command}'}}\n"
        );
        parse(file.as_bytes(), "T1.yaml").0.unwrap().tests.remove(0)
    }

    #[test]
    fn arguments_and_paths_are_put_in() {
        let check = |command: &str, expect: &str, payloads: &[&str]| {
            let plan = plan(&test(command), &Options::default());
            assert_eq!(plan.command, expect);
            assert_eq!(super::payloads(&plan.command), payloads);
        };
        let script = "/AtomicRedTeam/atomics/T1/src/x.sh";
        check(
            "sh \"#{file}\" #{other}",
            &format!("sh \"{script}\" #{{other}}"),
            &[script],
        );
        check("#{again}", &format!("a {script}"), &[script]);
        check(
            "ls $PathToAtomicsFolder/T1/out",
            "ls /AtomicRedTeam/atomics/T1/out",
            &[],
        );
        check("echo ${x#y}", "echo ${x#y}", &[]);
    }

    #[test]
    fn given_arguments_win_over_defaults() {
        let arguments = BTreeMap::from([("file".to_owned(), "/bin/true".to_owned())]);
        let options = Options {
            arguments,
            ..Options::default()
        };
        assert_eq!(plan(&test("#{file}"), &options).command, "/bin/true");
    }

    #[test]
    fn a_plan_says_what_is_run_and_that_the_copy_is_discarded() {
        let lines = plan(&test("id"), &Options::default()).lines();
        assert_eq!(lines[0], "run (sh): id");
        assert!(lines[1].contains("sandbox-discard"));
    }
}
