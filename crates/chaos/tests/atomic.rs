//! Atomic Red Team tests of our own making, run in throwaway copies: what becomes of each kind.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::{Duration, Instant};

use chaos::atomic::{Ending, Options, Outcome, Ran, Reason, Test, Unmet, parse, run};
use host::process::{Cancel, ProcessError};

/// A test whose fields beside the name are `rest`, indented as YAML.
fn test(rest: &str) -> Test {
    let file = format!(
        "attack_technique: T1\natomic_tests:\n- name: n\n  supported_platforms: [linux]\n  input_arguments:\n    out: \
         {{default: /tmp/out}}\n{rest}"
    );
    let (technique, diagnostics) = parse(file.as_bytes(), "T1.yaml");
    assert_eq!(diagnostics, []);
    technique.unwrap().tests.remove(0)
}

fn command(shell: &str, command: &str) -> Test {
    test(&format!("  executor: {{name: {shell}, command: {command:?}}}\n"))
}

fn with_prerequisite(check: &str, get: &str, then: &str) -> Test {
    test(&format!(
        "  dependencies:\n  - {{description: it, prereq_command: {check:?}, get_prereq_command: {get:?}}}\n  executor: \
         {{name: sh, command: {then:?}}}\n"
    ))
}

fn options() -> Options {
    Options {
        timeout: Duration::from_secs(20),
        ..Options::default()
    }
}

/// `None` where the host can't make copies, which is said.
fn outcome(test: &Test, options: &Options, cancel: &Cancel) -> Option<Outcome> {
    match run(test, options, cancel) {
        Err(ProcessError::NoIsolation { reason }) => {
            println!("not run: throwaway copies ({reason})");
            None
        }
        other => Some(other.unwrap()),
    }
}

fn ran(test: &Test) -> Option<Ran> {
    match outcome(test, &options(), &Cancel::new())? {
        Outcome::Ran(ran) => Some(ran),
        Outcome::NotRun(reason) => panic!("not run: {reason}"),
    }
}

fn check_not_run(test: &Test, expect: &str) {
    if let Some(outcome) = outcome(test, &options(), &Cancel::new()) {
        match outcome {
            Outcome::NotRun(reason) => assert_eq!(reason.to_string(), expect),
            Outcome::Ran(ran) => panic!("ran: {ran:?}"),
        }
    }
}

#[test]
fn what_a_command_did_is_told() {
    let Some(told) = ran(&command("sh", "echo x > #{out}; sleep 0; no-such-program; exit 3")) else {
        return;
    };
    assert_eq!(told.ending, Ending::Code(3));
    assert_eq!(Vec::from_iter(&told.changes.added), [Path::new("/tmp/out")]);
    assert_eq!(Vec::from_iter(&told.missing), ["no-such-program"]);
    assert!(told.processes >= 1, "{told:?}");
    assert!(!Path::new("/tmp/out").exists());
}

#[test]
fn both_shells_are_what_they_are() {
    let check = |test: &Test, expect: Ending| {
        if let Some(told) = ran(test) {
            assert_eq!(told.ending, expect);
        }
    };
    check(&command("bash", "[[ -n $BASH_VERSION ]]"), Ending::Code(0));
    check(&command("sh", "[ -z \"$BASH_VERSION\" ] && exit 7"), Ending::Code(7));
    // Quotes and line feeds arrive as they stand in the file.
    check(&command("sh", "[ \"a'b\" = 'a'\"'\"'b' ]\n"), Ending::Code(0));
}

#[test]
fn root_needs_no_leave() {
    if let Some(told) = ran(&command("sh", "sudo -n -u root sh -c '[ $(id -u) = 0 ] && exit 5'")) {
        assert_eq!(told.ending, Ending::Code(5));
    }
}

#[test]
fn a_prerequisite_that_can_be_met_offline_is_met_in_the_same_copy() {
    let test = with_prerequisite(
        "test -e /tmp/it",
        "mkdir /tmp/it",
        "rmdir /tmp/it && echo x >/tmp/after",
    );
    if let Some(told) = ran(&test) {
        assert_eq!(told.ending, Ending::Code(0));
        // What the prerequisite left is not the attack's.
        assert_eq!(Vec::from_iter(&told.changes.added), [Path::new("/tmp/after")]);
    }
}

#[test]
fn what_was_not_run_has_its_reason() {
    check_not_run(
        &with_prerequisite("false", "bash -c 'echo >/dev/tcp/192.0.2.1/80'", "true"),
        "prerequisite 1 (it) needs the internet",
    );
    // What goes on looking for ever is told apart from what hangs.
    let impatient = Options {
        prerequisite_timeout: Duration::from_secs(1),
        ..options()
    };
    for (get, expect) in [
        ("bash -c 'echo >/dev/tcp/192.0.2.1/80'; sleep 100", "needs the internet"),
        ("sleep 100", "did not end in time"),
    ] {
        if let Some(outcome) = outcome(&with_prerequisite("false", get, "true"), &impatient, &Cancel::new()) {
            let Outcome::NotRun(reason) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(reason.to_string(), format!("prerequisite 1 (it) {expect}"));
        }
    }
    check_not_run(
        &with_prerequisite("false", "echo install it", "true"),
        "prerequisite 1 (it) doesn't hold, nor after what would meet it",
    );
    check_not_run(
        &with_prerequisite("false", "exit 9", "true"),
        "prerequisite 1 (it) doesn't hold, and what would meet it fails (exit code 9)",
    );
    check_not_run(
        &with_prerequisite("false", "", "true"),
        "prerequisite 1 (it) doesn't hold, and the file has nothing that would meet it",
    );
    check_not_run(
        &with_prerequisite("false", "cc PathToAtomicsFolder/T1/src/x.c", "true"),
        "files of the technique are not there: /AtomicRedTeam/atomics/T1/src/x.c",
    );
    check_not_run(
        &command("sh", "sh PathToAtomicsFolder/T1/src/x.sh"),
        "files of the technique are not there: /AtomicRedTeam/atomics/T1/src/x.sh",
    );
    check_not_run(
        &with_prerequisite("kill -9 -1; kill -9 $PPID", "", "true"),
        "a prerequisite ended the copy",
    );
    check_not_run(
        &test("  executor: {name: manual, steps: s}\n"),
        "its steps are for a person",
    );
    check_not_run(
        &command("powershell", "Get-Date"),
        "nothing here runs commands of `powershell`",
    );
    let other = Test {
        platforms: vec!["windows".to_owned()],
        ..command("sh", "true")
    };
    check_not_run(&other, "it is for windows");
    let long = "true ".repeat(20_000);
    check_not_run(&command("sh", &long), "its command is longer than 32768 bytes");
}

#[test]
fn what_hangs_is_ended_by_its_deadline() {
    let short = Options {
        timeout: Duration::from_millis(300),
        prerequisite_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let hanging = command("sh", "trap '' TERM INT HUP; echo x >/tmp/x; while :; do :; done");
    if let Some(outcome) = outcome(&hanging, &short, &Cancel::new()) {
        let Outcome::Ran(told) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(told.ending, Ending::TimedOut);
        assert_eq!(Vec::from_iter(&told.changes.added), [Path::new("/tmp/x")]);
    }
    if let Some(outcome) = outcome(&with_prerequisite("sleep 100", "", "true"), &short, &Cancel::new()) {
        let Outcome::NotRun(Reason::Prerequisite { unmet, .. }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(unmet, Unmet::TimedOut);
    }
}

#[test]
fn a_cancelled_test_ends_at_once() {
    let cancel = Cancel::new();
    let started = Instant::now();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            cancel.cancel();
        });
        outcome(&command("sh", "sleep 100"), &options(), &cancel)
    });
    if let Some(outcome) = outcome {
        let Outcome::Ran(told) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(told.ending, Ending::Cancelled);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_test_that_ends_its_whole_copy_has_run() {
    if let Some(told) = ran(&command("bash", "kill -9 -1; kill -9 $PPID")) {
        assert_eq!(told.ending, Ending::Signal(9));
    }
}

#[test]
fn a_payload_that_is_there_is_a_copy() {
    let atomics = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(atomics.path().join("T1/src")).unwrap();
    let script = atomics.path().join("T1/src/x.sh");
    std::fs::write(&script, "exit 4\n").unwrap();
    let options = Options {
        atomics: Some(atomics.path().to_owned()),
        ..options()
    };
    let test = command(
        "sh",
        "sh PathToAtomicsFolder/T1/src/x.sh; code=$?; rm -rf PathToAtomicsFolder/T1; exit $code",
    );
    if let Some(outcome) = outcome(&test, &options, &Cancel::new()) {
        let Outcome::Ran(told) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(told.ending, Ending::Code(4));
    }
    assert!(script.exists());
}
