//! What is observed of real programs, in namespaces and without.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{run_it, shell, text, this_test};
use host::process::{Command, Finished, Observed, Wanted, spawn};

const WAYS: [Wanted; 2] = [Wanted::BestEffort, Wanted::None];

fn observe(mut command: Command) -> (Finished, Observed) {
    command.observe = true;
    let mut finished = run_it(command);
    let observed = finished.observed.take().expect("the kernel lets us observe");
    assert_eq!(observed.method, "seccomp-user-notification");
    (finished, observed)
}

/// The names of what lies in `folder`.
fn names(paths: &BTreeSet<PathBuf>, folder: &Path) -> Vec<String> {
    let below = paths.iter().filter_map(|path| path.strip_prefix(folder).ok());
    below.map(|path| path.display().to_string()).collect()
}

fn has_file(paths: &BTreeSet<PathBuf>, name: &str) -> bool {
    paths
        .iter()
        .any(|path| path.file_name().is_some_and(|file| file == name))
}

#[test]
fn a_script_is_seen_through() {
    for way in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        fs::create_dir(folder.join("in")).unwrap();
        fs::write(folder.join("in/a.txt"), "a").unwrap();
        fs::write(folder.join("in/b.txt"), "b").unwrap();
        fs::write(folder.join("untouched"), "c").unwrap();
        symlink("in/b.txt", folder.join("link")).unwrap();
        fs::write(folder.join("script"), "#!/bin/sh\ncat ../link >> ../out\n").unwrap();
        fs::set_permissions(folder.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        let script = "cat in/../in/a.txt missing > out; cd in; ../script; cd ..; \
            mv out moved; rm untouched; rm -f missing; ls . >/dev/null; : > /no/such/folder";
        let (finished, observed) = observe(shell(script, &folder, way));
        assert!(text(&finished.stderr).contains("missing"));
        assert_eq!(fs::read(folder.join("moved")).unwrap(), b"ab");
        let read = names(&observed.read, &folder);
        assert_eq!(read, ["in/a.txt", "in/b.txt", "script"], "{way:?}");
        let written = names(&observed.written, &folder);
        assert_eq!(written, ["moved", "out", "untouched"], "{way:?}");
        assert_eq!(names(&observed.executed, &folder), ["script"]);
        for program in ["cat", "mv", "rm", "ls"] {
            assert!(has_file(&observed.executed, program), "{observed:#?}");
        }
        let shell = fs::canonicalize("/bin/sh").unwrap();
        assert!(observed.executed.contains(&shell));
        assert!(observed.read.iter().any(|path| text_of(path).contains("libc")));
        assert!(!observed.read.iter().any(|path| path.starts_with("/dev")));
        assert_eq!(observed.connected, BTreeSet::new());
        assert!(observed.complete, "{observed:#?}");
        assert_eq!(observed.missed, 0);
    }
}

fn text_of(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn what_is_hidden_was_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    fs::create_dir(folder.join("hidden")).unwrap();
    fs::write(folder.join("hidden/key"), "k").unwrap();
    symlink(folder.join("hidden/key"), folder.join("link")).unwrap();
    let mut command = shell("cat hidden/key link; cat link", &folder, Wanted::BestEffort);
    command.hide = vec![folder.join("hidden")];
    let (finished, observed) = observe(command);
    assert_eq!(text(&finished.stdout), "");
    if finished.isolation.mount_namespace {
        assert_eq!(names(&observed.read, &folder), Vec::<String>::new());
    } else {
        println!("not run: what is read below a mount (no mount namespaces here)");
    }
}

/// Connects as told; started by the next test.
#[test]
fn client() {
    let (Ok(address), Ok(socket)) = (std::env::var("HOST_TEST_ADDRESS"), std::env::var("HOST_TEST_SOCKET")) else {
        return;
    };
    std::net::TcpStream::connect(&address).unwrap();
    let _ = std::os::unix::net::UnixStream::connect(socket);
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.send_to(b"x", "127.0.0.1:9").unwrap();
}

#[test]
fn connections_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for way in WAYS {
        let mut command = this_test("client", Path::new("/"), way);
        command.env.insert("HOST_TEST_ADDRESS".into(), address.clone().into());
        command.env.insert("HOST_TEST_SOCKET".into(), "/no/such/socket".into());
        let (finished, observed) = observe(command);
        assert!(finished.status.success(), "{}", text(&finished.stdout));
        let expect = [address.as_str(), "127.0.0.1:9", "unix:/no/such/socket"];
        let expect: BTreeSet<String> = expect.into_iter().map(str::to_owned).collect();
        assert_eq!(observed.connected, expect);
        assert!(observed.complete);
    }
}

#[test]
fn a_c_compiler_names_its_headers_and_its_parts() {
    if std::process::Command::new("cc").arg("--version").output().is_err() {
        println!("not run: there is no cc");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    fs::write(folder.join("own.h"), "#include <stdio.h>\n").unwrap();
    fs::write(
        folder.join("main.c"),
        "#include \"own.h\"\nint main(void) { return puts(\"hi\") < 0; }\n",
    )
    .unwrap();
    for way in WAYS {
        let (finished, observed) = observe(shell("cc -o main main.c && ./main", &folder, way));
        assert!(finished.status.success(), "{}", text(&finished.stderr));
        assert_eq!(names(&observed.read, &folder), ["main.c", "own.h"]);
        assert!(has_file(&observed.read, "stdio.h"), "{observed:#?}");
        assert!(names(&observed.written, &folder).contains(&"main".to_owned()));
        assert_eq!(names(&observed.executed, &folder), ["main"]);
        for part in ["cc1", "as", "ld"] {
            // Behind the usual names may lie `ld.bfd`, or names with the machine's in them.
            let is = |path: &PathBuf| text_of(path.file_name().unwrap().as_ref()).contains(part);
            assert!(observed.executed.iter().any(is), "{part} {observed:#?}");
        }
        assert!(observed.complete, "{} missed", observed.missed);
    }
}

/// A package of a few files, with what `cargo` needs to build it.
fn package(folder: &Path) {
    fs::create_dir(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let mut main = String::from("fn main() {\n");
    let mut modules = String::new();
    for at in 0..20 {
        modules.push_str(&format!("mod part{at};\n"));
        main.push_str(&format!("    println!(\"{{}}\", part{at}::map());\n"));
        let part = "pub fn map() -> usize {\n    let map: std::collections::HashMap<String, Vec<u8>> = \
            (0..9).map(|at| (format!(\"{at:?}\"), vec![at])).collect();\n    map.values().flatten().count()\n}\n";
        fs::write(folder.join(format!("src/part{at}.rs")), part).unwrap();
    }
    fs::write(folder.join("src/main.rs"), format!("{modules}{main}}}\n")).unwrap();
}

fn build(folder: &Path, isolation: Wanted) -> Command {
    let mut command = shell("cargo build --offline --quiet", folder, isolation);
    // The tools may be shims that look for their settings.
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env.insert(name.into(), value);
        }
    }
    command
}

#[test]
fn a_cargo_build_names_its_sources_and_its_tools() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    package(&folder);
    let (finished, observed) = observe(build(&folder, Wanted::BestEffort));
    assert!(finished.status.success(), "{}", text(&finished.stderr));
    for source in ["src/main.rs", "src/part0.rs", "src/part19.rs", "Cargo.toml"] {
        assert!(observed.read.contains(&folder.join(source)), "{source}");
    }
    assert!(has_file(&observed.executed, "rustc"), "{:#?}", observed.executed);
    assert!(observed.written.contains(&folder.join("target/debug/small")));
    assert!(observed.complete, "{} missed", observed.missed);
}

#[test]
fn a_cargo_build_writes_in_its_tree_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    package(&folder);
    // The caches of cargo stay read-only. The linker's temporary files would lie beside the sources where it finds no
    // writable `TMPDIR` or `/tmp`, and those of a dependency are in such a cache.
    let mut command = build(&folder, Wanted::BestEffort);
    command.writable = Some(vec![folder.clone()]);
    let finished = run_it(command);
    assert!(finished.status.success(), "{}", text(&finished.stderr));
    assert!(folder.join("target/debug/small").is_file());
    // The sources may be read-only too; results go elsewhere.
    fs::remove_dir_all(folder.join("target")).unwrap();
    let results = tempfile::tempdir().unwrap();
    let mut command = build(&folder, Wanted::BestEffort);
    command.writable = Some(vec![results.path().to_owned()]);
    command.env.insert("CARGO_TARGET_DIR".into(), results.path().into());
    command.env.insert("TMPDIR".into(), results.path().into());
    let finished = run_it(command);
    assert!(finished.status.success(), "{}", text(&finished.stderr));
    assert!(results.path().join("debug/small").is_file());
    assert!(!folder.join("target").exists());
}

#[test]
fn a_service_is_observed_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    fs::write(folder.join("config"), "x").unwrap();
    let mut command = shell("cat config; sleep 60", &folder, Wanted::BestEffort);
    command.observe = true;
    let child = spawn(command).unwrap();
    let seen = common::becomes(Duration::from_secs(20), || {
        child.observed().unwrap().read.contains(&folder.join("config"))
    });
    assert!(seen);
    let finished = child.finish();
    assert!(finished.observed.unwrap().executed.len() >= 2);
}

/// Prints what isolating and observing a build costs: `cargo test -p host --test observing -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, for people"]
fn overhead_of_a_cargo_build() {
    const ROUNDS: usize = 7;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    package(&folder);
    let build_once = |isolation, observe| {
        let _ = fs::remove_dir_all(folder.join("target"));
        let mut command = build(&folder, isolation);
        command.observe = observe;
        let started = Instant::now();
        let finished = run_it(command);
        assert!(finished.status.success(), "{}", text(&finished.stderr));
        (started.elapsed(), finished.observed)
    };
    let ways = [
        ("bare", Wanted::None, false),
        ("isolated", Wanted::BestEffort, false),
        ("observed", Wanted::None, true),
        ("isolated and observed", Wanted::BestEffort, true),
    ];
    let mut times = ways.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (times, (_, isolation, observe)) in times.iter_mut().zip(ways) {
            times.push(build_once(isolation, observe).0);
        }
    }
    for (times, (name, ..)) in times.iter_mut().zip(ways) {
        times.sort();
        println!("{name}: median {} ms", times[ROUNDS / 2].as_millis());
    }
    let opens = "i=0; while [ $i -lt 20000 ]; do : < /etc/passwd; i=$((i+1)); done";
    for (name, isolation, observe) in ways {
        let mut command = shell(opens, Path::new("/"), isolation);
        command.observe = observe;
        let started = Instant::now();
        run_it(command);
        let each = started.elapsed().as_nanos() / 20_000;
        println!("{name}: {each} ns for each of 20000 opens in a row");
    }
    for (name, isolation, observe) in ways {
        let started = Instant::now();
        for _ in 0..50 {
            let mut command = shell(":", Path::new("/"), isolation);
            command.observe = observe;
            run_it(command);
        }
        println!(
            "{name}: {} us to run an empty script",
            started.elapsed().as_micros() / 50
        );
    }
}
