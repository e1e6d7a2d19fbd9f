//! Running a tree: how it ends, what it leaves, what is captured. Each test is the same isolated and not.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{becomes, program, run_it, running, shell, text, this_test};
use evidence::Digest;
use host::process::{Cancel, Child, ProcessError, Sink, Status, Wanted, run, spawn};

const WAYS: [Wanted; 2] = [Wanted::BestEffort, Wanted::None];

fn root() -> &'static Path {
    Path::new("/")
}

#[test]
fn exit_codes_and_signals_arrive() {
    let check = |script: &str, expect: Status| {
        for way in WAYS {
            let finished = run_it(shell(script, root(), way));
            assert_eq!(finished.status, expect, "{script} {way:?}");
            assert!(!finished.timed_out && !finished.cancelled && !finished.truncated);
        }
    };
    check("exit 0", Status::Code(0));
    check("exit 255", Status::Code(255));
    check("kill -TERM $$", Status::Signal(15));
    check("kill -KILL $$", Status::Signal(9));
    check("sleep 1000 & exit 4", Status::Code(4));
    // What we ignore or handle is a program's default again.
    check("kill -PIPE $$", Status::Signal(13));
}

#[test]
fn output_is_captured_up_to_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    for way in WAYS {
        let mut command = shell("echo out; echo err >&2; cat", folder.path(), way);
        command.stdout = Sink::Capture { bytes_max: 2 };
        let finished = run_it(command);
        assert_eq!(text(&finished.stdout), "ou");
        assert_eq!(text(&finished.stderr), "err\n");
        assert!(finished.truncated);
        // Far more than a pipe holds, and than the bound.
        let mut command = shell("head -c 3000000 /dev/zero", folder.path(), way);
        command.stdout = Sink::Capture { bytes_max: 1 << 20 };
        let finished = run_it(command);
        assert_eq!((finished.stdout.len(), finished.truncated), (1 << 20, true));
        assert_eq!(finished.status, Status::Code(0));
    }
}

#[test]
fn output_goes_to_files_and_lines() {
    let folder = tempfile::tempdir().unwrap();
    for way in WAYS {
        let log = folder.path().join(format!("{way:?}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..2 {
            let mut command = shell("echo kept; printf 'a\\nb' >&2", folder.path(), way);
            command.stdout = Sink::File(log.clone());
            let lines = lines.clone();
            command.stderr = Sink::Lines(Box::new(move |line| {
                lines.lock().unwrap().push(text(line));
            }));
            assert!(run_it(command).status.success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "kept\nkept\n");
        assert_eq!(*lines.lock().unwrap(), ["a", "b", "a", "b"]);
    }
}

#[test]
fn the_environment_is_exact_and_so_are_arguments_and_folder() {
    let folder = tempfile::tempdir().unwrap();
    for way in WAYS {
        let mut command = program("env", &[], folder.path(), way);
        command.env.insert("ONLY".into(), "this".into());
        let path = command.env[std::ffi::OsStr::new("PATH")].clone().into_string().unwrap();
        let finished = run_it(command);
        assert_eq!(text(&finished.stdout), format!("ONLY=this\nPATH={path}\n"));
        let finished = run_it(shell("pwd; wc -c; id -u", folder.path(), way));
        let folder = folder.path().canonicalize().unwrap();
        let user = rustix::process::getuid().as_raw();
        let expect = format!("{}\n0\n{user}\n", folder.display());
        assert_eq!(text(&finished.stdout), expect, "{}", text(&finished.stderr));
    }
}

#[test]
fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain"), "no program").unwrap();
    let check = |name: &str, cwd: &str, hide: &str, expect: &str| {
        for way in WAYS {
            let mut command = program(name, &[], Path::new(cwd), way);
            if !hide.is_empty() {
                command.hide = vec![hide.into()];
            }
            let error = run(command, &Cancel::new()).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        }
    };
    let here = folder.path().to_str().unwrap();
    check("no-such-program", here, "", "program `no-such-program` was not found");
    check("./nothing", here, "", "program `./nothing` was not found");
    check("./plain", here, "", "can't run `./plain`: ");
    check("", here, "", "program `` was not found");
    check("true", "relative", "", "can't work in `relative`: ");
    check("true", "/no/such", "", "can't work in `/no/such`: ");
    check("true", here, "/no/such", "can't hide `/no/such`: ");
    check("true", here, "/", "can't hide `/`: ");
    let plain = folder.path().join("plain");
    check("true", here, plain.to_str().unwrap(), "can't hide `");
}

/// A shell that leaves its session behind, twice, and a child in a session of its own.
fn scattered(marker: &str) -> String {
    format!(
        "setsid sh -c 'setsid sleep {marker} & setsid sh -c \"sleep {marker}; true\" & sleep {marker}' & sleep {marker}"
    )
}

#[test]
fn a_timeout_kills_the_whole_tree() {
    for (way, marker) in WAYS.into_iter().zip(["7000.11", "7000.12"]) {
        let mut command = shell(&scattered(marker), root(), way);
        command.timeout = Some(Duration::from_millis(700));
        let finished = run_it(command);
        assert!(finished.timed_out && !finished.cancelled);
        assert_eq!(finished.status, Status::Signal(9));
        assert!(finished.duration >= Duration::from_millis(700));
        assert!(finished.duration < Duration::from_secs(20), "{finished:?}");
        // Not soon after, but before `run` returned.
        assert_eq!(running(marker), 0, "{way:?}");
    }
}

#[test]
fn a_cancel_kills_the_whole_tree() {
    for (way, marker) in WAYS.into_iter().zip(["7000.21", "7000.22"]) {
        let cancel = Cancel::new();
        let canceller = std::thread::spawn({
            let cancel = cancel.clone();
            move || {
                assert!(becomes(Duration::from_secs(20), || running(marker) >= 4));
                cancel.cancel();
                Instant::now()
            }
        });
        let finished = run(shell(&scattered(marker), root(), way), &cancel).unwrap();
        let cancelled = canceller.join().unwrap();
        assert!(finished.cancelled && !finished.timed_out);
        assert!(cancelled.elapsed() < Duration::from_secs(2));
        assert_eq!(running(marker), 0, "{way:?}");
    }
    let cancel = Cancel::new();
    cancel.cancel();
    let finished = run(shell("sleep 7000.23", root(), WAYS[0]), &cancel).unwrap();
    assert!(finished.cancelled);
}

#[test]
fn the_end_of_the_program_is_the_end_of_what_it_left() {
    for (way, marker) in WAYS.into_iter().zip(["7000.31", "7000.32"]) {
        let script = format!("setsid setsid sleep {marker} & sleep 0.2; exit 5");
        let finished = run_it(shell(&script, root(), way));
        assert_eq!(finished.status, Status::Code(5));
        assert_eq!(running(marker), 0, "{way:?}");
    }
}

#[test]
fn a_panicking_receiver_of_lines_leaves_nothing_behind() {
    let mut command = shell("echo x; sleep 7000.41", root(), Wanted::BestEffort);
    command.stdout = Sink::Lines(Box::new(|_| panic!("a receiver's own fault")));
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run_it(command)));
    assert!(ran.is_err());
    assert_eq!(running("7000.41"), 0);
    let mut command = shell("echo x; sleep 7000.42", root(), Wanted::BestEffort);
    command.stdout = Sink::Lines(Box::new(|_| panic!("a receiver's own fault")));
    let child = spawn(command).unwrap();
    assert_eq!(child.wait(Duration::from_secs(20)), Some(Status::Signal(9)));
    drop(child);
    assert_eq!(running("7000.42"), 0);
}

/// Started as a process of its own by the next test.
#[test]
fn wrapper_that_will_be_killed() {
    let Ok(marker) = std::env::var("HOST_TEST_MARKER") else {
        return;
    };
    let way = WAYS[usize::from(std::env::var_os("HOST_TEST_BARE").is_some())];
    // A service is started on a thread that ends: that must not end the service.
    let service = {
        let marker = marker.clone();
        std::thread::spawn(move || spawn(shell(&scattered(&marker), root(), way)).unwrap())
    };
    let _service: Child = service.join().unwrap();
    run_it(shell(&scattered(&marker), root(), way));
}

#[test]
fn our_own_death_is_the_death_of_the_trees() {
    for (way, marker) in WAYS.into_iter().zip(["7000.51", "7000.52"]) {
        let own = std::env::current_exe().unwrap();
        let mut builder = std::process::Command::new(own);
        builder
            .args(["--exact", "wrapper_that_will_be_killed"])
            .env("HOST_TEST_MARKER", marker)
            .stdout(std::process::Stdio::null());
        if way == Wanted::None {
            builder.env("HOST_TEST_BARE", "1");
        }
        let mut wrapper = builder.spawn().unwrap();
        let started = becomes(Duration::from_secs(30), || running(marker) >= 8);
        wrapper.kill().unwrap();
        let killed = Instant::now();
        wrapper.wait().unwrap();
        assert!(started, "{way:?}: {} run", running(marker));
        let gone = becomes(Duration::from_secs(1), || running(marker) == 0);
        println!("{way:?}: gone {} ms after the wrapper", killed.elapsed().as_millis());
        assert!(gone, "{way:?}: {} are left", running(marker));
    }
}

#[test]
fn a_service_is_known_by_its_real_program_and_killed_whole() {
    for (way, marker) in WAYS.into_iter().zip(["7000.61", "7000.62"]) {
        let script = format!("setsid setsid sleep {marker} & echo up; exec sleep {marker}");
        let up = Arc::new(Mutex::new(false));
        let mut command = shell(&script, root(), way);
        command.stdout = Sink::Lines(Box::new({
            let up = up.clone();
            move |_| *up.lock().unwrap() = true
        }));
        let mut child = spawn(command).unwrap();
        assert!(becomes(Duration::from_secs(20), || *up.lock().unwrap() && running(marker) == 2));
        let line = format!("/proc/{}/cmdline", child.pid());
        let is_sleep = || text(&std::fs::read(&line).unwrap()) == format!("sleep\0{marker}\0");
        assert!(becomes(Duration::from_secs(20), is_sleep));
        let sleep = std::fs::read_link(format!("/proc/{}/exe", child.pid())).unwrap();
        let expect = Digest::of(&std::fs::read(sleep).unwrap());
        assert_eq!(child.executable_digest(), Ok(expect));
        assert!(child.is_running());
        child.kill();
        assert!(!child.is_running());
        assert_eq!(child.status(), Some(Status::Signal(9)));
        assert_eq!(running(marker), 0);
        assert_eq!(child.executable_digest(), Err(ProcessError::Ended));
        child.kill();
    }
}

#[test]
fn the_digest_is_of_what_runs_and_not_of_what_lies_there_now() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("service");
    std::fs::copy("/bin/sleep", &copy).unwrap();
    let child = spawn(program("./service", &["60"], folder.path(), WAYS[0])).unwrap();
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, "something else").unwrap();
    let expect = Digest::of(&std::fs::read("/bin/sleep").unwrap());
    assert_eq!(child.executable_digest(), Ok(expect));
}

#[test]
fn a_service_that_ends_by_itself_is_seen_to() {
    for way in WAYS {
        let child = spawn(shell("echo bye; exit 6", root(), way)).unwrap();
        assert_eq!(child.wait(Duration::from_secs(20)), Some(Status::Code(6)));
        let finished = child.finish();
        assert_eq!(finished.status, Status::Code(6));
        assert_eq!(text(&finished.stdout), "bye\n");
    }
}

#[test]
fn a_service_outlives_the_thread_that_started_it() {
    for way in WAYS {
        let child = std::thread::spawn(move || spawn(shell("sleep 60", root(), way)).unwrap());
        let child = child.join().unwrap();
        assert_eq!(child.wait(Duration::from_millis(300)), None);
    }
}

#[test]
fn an_isolated_tree_has_devices_and_processes_of_its_own() {
    let script = "set -e; : > /dev/null; head -c 1 /dev/urandom > /dev/null; \
        : > /dev/shm/host-test-$$; rm /dev/shm/host-test-$$; \
        ls /dev/fd /dev/stdin /dev/pts/ptmx > /dev/null; \
        test -e /proc/1/stat; test ! -w /dev; echo $$ $PPID; \
        find /dev -type b; grep -c . /proc/self/uid_map";
    let finished = run_it(shell(script, root(), Wanted::BestEffort));
    if finished.isolation.mount_namespace {
        let said = text(&finished.stdout);
        assert!(finished.status.success(), "{said} {}", text(&finished.stderr));
        assert!(said.starts_with("2 1\n"), "{said}");
        assert!(!said.contains("/dev/"), "{said}");
    } else {
        println!("not run: this host gives no mount namespace");
    }
}

#[test]
fn folders_that_cannot_be_left_writable_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    std::fs::write(here.join("plain"), "no folder").unwrap();
    let check = |path: &str, expect: &str| {
        for way in WAYS {
            let mut command = program("true", &[], &here, way);
            command.writable = Some(vec![here.join(path)]);
            let error = run(command, &Cancel::new()).unwrap_err().to_string();
            let path = here.join(path);
            let start = format!("can't leave `{}` writable: {expect}", path.display());
            assert!(error.starts_with(&start), "{error}");
        }
    };
    check("none", "No such file");
    check("plain", "it is not a folder");
    check("/", "nothing would be read-only");
    for kernels in ["/proc", "/sys", "/dev"] {
        check(kernels, "it belongs to the kernel");
    }
}

#[test]
fn writable_folders_are_followed_and_may_overlap_or_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(here.join("tree/below")).unwrap();
    std::os::unix::fs::symlink("tree", here.join("link")).unwrap();
    let check = |writable: &[&str], script: &str, expect: bool| {
        let mut command = shell(script, &here.join("tree"), Wanted::BestEffort);
        command.writable = Some(writable.iter().map(|name| here.join(name)).collect());
        let finished = run_it(command);
        if !finished.isolation.read_only {
            println!("not run: this host can't make everything read-only");
            return;
        }
        assert_eq!(finished.status.success(), expect, "{writable:?} {script}");
    };
    let moves = "echo x > file && mv file below/file && rm below/file";
    check(&["link"], moves, true);
    // One mount, so that a rename is one.
    check(&["tree/below", "tree", "tree"], moves, true);
    check(&["tree/below"], "echo x > file", false);
    check(&[], "echo x > below/file", false);
    check(&[], "echo x > /dev/null", true);
}

#[test]
fn trees_can_be_nested() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = this_test("exit_codes_and_signals_arrive", folder.path(), WAYS[0]);
    command.observe = true;
    let finished = run_it(command);
    assert!(finished.status.success(), "{}", text(&finished.stdout));
}

#[test]
fn many_trees_at_once() {
    std::thread::scope(|scope| {
        for at in 0..8 {
            scope.spawn(move || {
                for way in WAYS {
                    let script = format!("sleep 0.05; exit {at}");
                    let finished = run_it(shell(&script, root(), way));
                    assert_eq!(finished.status, Status::Code(at));
                }
            });
        }
    });
}
