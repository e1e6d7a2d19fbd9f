//! `bench proxy [GROUP…]`: our fault proxy beside toxiproxy-server; the driver is in `conformance`, and a figure that
//! misses its bar makes it fail, as does a peer that is absent.
//!
//! `bench sigma`: our Sigma engine beside rsigma's, with all rules of SigmaHQ; the driver is in `conformance`.
//!
//! `bench chaos-toolkit`: an experiment of process probes, under `chaos` and under ours.
//!
//! `bench verify [DIR]`: one Sigstore bundle of the suite `sigstore-conformance`, by ours, sigstore-python and sigstore-js.
//!
//! `bench check [TREE [ADVISORIES]]`: our `check` and the peers on the same tree, in turn, in one run.
//!
//! CPU time, wall time and peak memory of each whole process, as medians, and the ratio to ours; and how much each
//! side looked for, since a ratio between unequal searches says nothing. A peer that is absent is said to be absent,
//! and one that ends with an error of its own is said to have failed: neither has figures.
//! ADVISORIES is a folder of OSV JSON records: both our `check` and osv-scanner match against it, and against nothing
//! else; without it both only read what is pulled in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::tools;

const RUNS: usize = 3;

struct Measured {
    cpu_s: f64,
    wall_s: f64,
    memory_mb: f64,
}

/// One program to be measured.
struct Side {
    name: &'static str,
    program: String,
    args: Vec<String>,
    /// Exit codes of an answer; any other is an error of the program.
    answers: &'static [i32],
    /// How much it looks for.
    looks: String,
    measured: Vec<Measured>,
    failed: Option<String>,
}

pub fn run(args: &[&str]) -> Result<(), String> {
    match args {
        ["check"] => check(".", None),
        ["check", tree] => check(tree, None),
        ["check", tree, advisories] => check(tree, Some(advisories)),
        ["abort"] => abort(),
        ["proxy", groups @ ..] => proxy(groups),
        ["sigma"] => sigma(),
        ["chaos-toolkit"] => chaos_toolkit(),
        ["verify"] => verify(None),
        ["verify", data] => verify(Some(data)),
        _ => Err(
            "usage: cargo xtask bench check [TREE [ADVISORIES]] | abort | chaos-toolkit | proxy [GROUP…] | sigma | verify [DIR]".to_owned(),
        ),
    }
}

/// `bench abort`: the driver is in `conformance`; a figure over its bar makes it fail.
fn abort() -> Result<(), String> {
    tools::cargo(&["build", "--quiet", "--release", "-p", "proofmark"])?;
    let program = tools::target().join("release/proofmark").display().to_string();
    conformance(&["bench", "abort", "--program", &program])
}

/// `bench verify`: the driver is in `conformance`; a figure that misses its bar makes it fail, as does a peer that is absent.
fn verify(data: Option<&str>) -> Result<(), String> {
    let sigstore = tools::find("sigstore").ok_or("sigstore-python is absent: ../shared/peers installs it")?;
    let sigstore = sigstore.display().to_string();
    tools::cargo(&["build", "--quiet", "--release", "-p", "proofmark"])?;
    let program = tools::target().join("release/proofmark").display().to_string();
    let mut bench = vec!["bench", "verify", "--program", &program, "--sigstore", &sigstore];
    bench.extend(data.map(|data| ["--data", data]).into_iter().flatten());
    conformance(&bench)
}

fn proxy(groups: &[&str]) -> Result<(), String> {
    let peer = tools::find("toxiproxy-server").ok_or("toxiproxy-server is absent: ../shared/peers installs it")?;
    let peer = peer.display().to_string();
    conformance(&[&["bench", "proxy", peer.as_str()][..], groups].concat())
}

/// `bench sigma`: a ratio under its bar makes it fail, as does data that is absent.
fn sigma() -> Result<(), String> {
    conformance(&["bench", "sigma"])
}

/// The harness, optimised.
fn conformance(args: &[&str]) -> Result<(), String> {
    let run = ["run", "--quiet", "--release", "-p", "conformance", "--"];
    tools::cargo(&[&run[..], args].concat())
}

/// Process probes in the experiment that both sides run.
const PROBES: usize = 200;
/// Ours takes at most this share of the peer's CPU and wall time.
const SHARE_MAX: f64 = 0.25;

/// The kernel counts processor time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// One experiment of nothing but process probes, under `chaos` and under ours in compatibility mode. The programs that it
/// starts are the same on both sides, and so is what they cost: the processor time compared is that of the tool alone.
fn chaos_toolkit() -> Result<(), String> {
    tools::cargo(&["build", "--quiet", "--release", "-p", "proofmark"])?;
    let folder = std::env::temp_dir().join(format!("proofmark-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let result = probes(&folder);
    let _ = fs::remove_dir_all(&folder);
    result
}

/// Of one run: the tool's processor time, that of the programs it started, and the time until it ended.
#[derive(Clone, Copy)]
struct Apart {
    own_s: f64,
    programs_s: f64,
    wall_s: f64,
}

type Pick = fn(&Apart) -> f64;

fn probes(folder: &Path) -> Result<(), String> {
    let probe = |number: usize| {
        serde_json::json!({"type": "probe", "name": format!("probe {number}"),
            "provider": {"type": "process", "path": "true"}})
    };
    let method: Vec<Value> = (0..PROBES).map(probe).collect();
    let experiment = serde_json::json!({"title": "probes", "description": "nothing but probes", "method": method});
    let place = |name: &str| folder.join(name).display().to_string();
    let file = place("experiment.json");
    fs::write(&file, experiment.to_string()).map_err(|error| format!("{file}: {error}"))?;
    let (ours, theirs, none) = (place("ours.json"), place("theirs.json"), place("no-settings.yaml"));
    let chaos = tools::find("chaos").ok_or("`chaos` (chaostoolkit) is absent: nothing to measure against")?;
    let chaos = chaos.display().to_string();
    let program = tools::target().join("release/proofmark").display().to_string();
    let ours = [
        "chaos",
        "run",
        &file,
        "--ctk-compat",
        "--journal-path",
        &ours,
        "--settings",
        &none,
    ];
    let log = place("chaostoolkit.log");
    let theirs = [
        "--no-version-check",
        "--log-file",
        &log,
        "--settings",
        &none,
        "run",
        &file,
        "--journal-path",
        &theirs,
    ];
    let sides: [(&str, &str, &[&str]); 2] = [("proofmark", &program, &ours), ("chaos", &chaos, &theirs)];
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for ((_, program, args), runs) in sides.iter().zip(&mut measured) {
            runs.push(apart(program, args)?);
        }
    }
    let median = |runs: &[Apart], pick: Pick| {
        let mut sorted: Vec<f64> = runs.iter().map(pick).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    println!("{PROBES} process probes, medians of {RUNS} runs each, taken in turn\n");
    println!(
        "{:<12} {:>10} {:>14} {:>8}",
        "", "own cpu s", "programs cpu s", "wall s"
    );
    for ((name, _, _), runs) in sides.iter().zip(&measured) {
        let [own, programs, wall] = [
            median(runs, |run| run.own_s),
            median(runs, |run| run.programs_s),
            median(runs, |run| run.wall_s),
        ];
        println!("{name:<12} {own:>10.2} {programs:>14.2} {wall:>8.2}");
    }
    let mut beyond = Vec::new();
    let picks: [(&str, Pick); 2] = [("own cpu", |run| run.own_s), ("wall", |run| run.wall_s)];
    for (name, pick) in picks {
        let share = median(&measured[0], pick) / median(&measured[1], pick);
        println!("{name}: ours takes {share:.2} of the peer's");
        if share > SHARE_MAX {
            beyond.push(name);
        }
    }
    if beyond.is_empty() {
        Ok(())
    } else {
        Err(format!("more than {SHARE_MAX} of the peer's: {}", beyond.join(", ")))
    }
}

/// A run, measured when it has ended and nobody has asked for its exit code yet: the kernel still has its times then.
fn apart(program: &str, args: &[&str]) -> Result<Apart, String> {
    let start = std::time::Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("`{program}` can't be started: {error}"))?;
    let stat = format!("/proc/{}/stat", child.id());
    loop {
        let text = fs::read_to_string(&stat).map_err(|error| format!("{stat}: {error}"))?;
        // Behind the name in brackets; proc(5) counts these from the third.
        let words: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if words.first() != Some(&"Z") {
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        }
        let wall_s = start.elapsed().as_secs_f64();
        let ticks = |from: usize| -> f64 {
            let words = words.iter().skip(from - 3).take(2);
            words.filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
        };
        let status = child.wait().map_err(|error| error.to_string())?;
        return match status.code() {
            Some(0) => Ok(Apart {
                own_s: ticks(14),
                programs_s: ticks(16),
                wall_s,
            }),
            code => Err(format!("`{program}` ended with {code:?}")),
        };
    }
}

fn check(tree: &str, advisories: Option<&str>) -> Result<(), String> {
    tools::cargo(&["build", "--quiet", "--release", "-p", "proofmark"])?;
    let tree = absolute(tree)?;
    let advisories = advisories.map(absolute).transpose()?;
    let time = tools::find("time")
        .ok_or("GNU time is needed: apt-get install time")?
        .display()
        .to_string();
    let database = Database::of(advisories.as_deref())?;
    let mut sides = vec![ours(&tree, advisories.as_deref(), &database)?];
    let mut absent = Vec::new();
    for name in ["betterleaks", "syft", "osv-scanner"] {
        match tools::find(name) {
            Some(program) => sides.push(peer(name, &program, &tree, &database)?),
            None => absent.push(name),
        }
    }
    println!("tree {tree}");
    for _ in 0..RUNS {
        for side in sides.iter_mut().filter(|side| side.failed.is_none()) {
            match measure(&time, side)? {
                Ok(measured) => side.measured.push(measured),
                Err(reason) => side.failed = Some(reason),
            }
        }
    }
    table(&sides);
    for name in absent {
        println!("{name:<16} absent: not measured");
    }
    Ok(())
}

fn absolute(path: &str) -> Result<String, String> {
    let path = Path::new(path)
        .canonicalize()
        .map_err(|error| format!("{path}: {error}"))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| format!("{} is not UTF-8", path.display()))
}

fn ours(tree: &str, advisories: Option<&str>, database: &Database) -> Result<Side, String> {
    let program = tools::target().join("release/proofmark").display().to_string();
    let ids = tools::output(&program, &["explain"])?;
    // Gaps have pages too, and are none of what is looked for: a rule's family says which they are.
    let rules = ids.lines().filter(|id| id.starts_with("secret/")).count();
    let formats: Vec<&str> = ids.lines().filter_map(|id| id.strip_prefix("ecosystem/")).collect();
    let mut args = vec!["check".to_owned(), tree.to_owned(), "--json".to_owned()];
    if let Some(advisories) = advisories {
        args.extend(["--advisories".to_owned(), advisories.to_owned()]);
    }
    let looks = format!(
        "{rules} kinds of secret in the tree and in HEAD's history; packages of {} ecosystems ({}) and their licences; {}",
        formats.len(),
        formats.join(", "),
        records(database),
    );
    Ok(Side {
        name: "proofmark check",
        program,
        args,
        answers: &[0, 1, 3],
        looks,
        measured: Vec::new(),
        failed: None,
    })
}

fn peer(name: &'static str, program: &Path, tree: &str, database: &Database) -> Result<Side, String> {
    let path = program.display().to_string();
    let owned = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let (args, answers, looks): (_, &[i32], _) = match name {
        "betterleaks" => {
            let args = owned(&["git", tree, "-s", "--exit-code", "0"]);
            (
                args,
                &[0],
                format!(
                    "{} rules for secrets in the history of every ref",
                    embedded_rules(program)?
                ),
            )
        }
        "syft" => {
            let list = tools::output(&path, &["cataloger", "list", "-o", "json"])?;
            let args = vec![
                "scan".to_owned(),
                format!("dir:{tree}"),
                "-o".to_owned(),
                "cyclonedx-json".to_owned(),
                "-q".to_owned(),
            ];
            (
                args,
                &[0],
                format!("packages: {} catalogers for a folder", catalogers(&list)?),
            )
        }
        _ => {
            // Its call analysis compiles Go code of the tree to hide what is not called; our `check` has nothing like it.
            let mut args = owned(&[
                "scan",
                "source",
                "-r",
                tree,
                "--offline",
                "--no-call-analysis=all",
                "--local-db-path",
            ]);
            args.push(database.folder.display().to_string());
            // 1: something is affected; 128: no lock file it reads.
            (
                args,
                &[0, 1, 128],
                format!("packages of lock files, without call analysis; {}", records(database)),
            )
        }
    };
    Ok(Side {
        name,
        program: path,
        args,
        answers,
        looks,
        measured: Vec::new(),
        failed: None,
    })
}

fn records(database: &Database) -> String {
    match database.records {
        0 => "no advisories (give a folder of OSV records)".to_owned(),
        records => format!("{records} advisories, ecosystems: {}", database.ecosystems),
    }
}

/// betterleaks lists its rules nowhere, but carries its default configuration as text.
fn embedded_rules(program: &Path) -> Result<usize, String> {
    const RULE: &[u8] = b"\n[[rules]]\n";
    let bytes = fs::read(program).map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(bytes.windows(RULE.len()).filter(|window| *window == RULE).count())
}

/// Those of syft's catalogers that run when a folder is scanned.
fn catalogers(list: &str) -> Result<usize, String> {
    let list: Value = serde_json::from_str(list).map_err(|error| format!("`syft cataloger list`: {error}"))?;
    let all = list["catalogers"]
        .as_array()
        .ok_or("`syft cataloger list` has no catalogers")?;
    let runs = |cataloger: &&Value| {
        cataloger["tags"]
            .as_array()
            .is_some_and(|tags| tags.iter().any(|tag| tag == "directory"))
    };
    Ok(all.iter().filter(runs).count())
}

/// The advisories as osv-scanner wants them: `osv-scalibr/ECOSYSTEM/all.zip`.
struct Database {
    folder: PathBuf,
    records: usize,
    ecosystems: usize,
}

/// osv-scanner ends with an error where it has no database of an ecosystem it met: an empty one is none's advantage.
const ECOSYSTEMS: [&str; 8] = [
    "Go",
    "Maven",
    "NuGet",
    "Packagist",
    "PyPI",
    "RubyGems",
    "crates.io",
    "npm",
];
/// A zip archive of no files: its end record.
const EMPTY_ZIP: [u8; 22] = *b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

impl Database {
    fn of(advisories: Option<&str>) -> Result<Database, String> {
        let mut files = Vec::new();
        if let Some(advisories) = advisories {
            json_files(Path::new(advisories), &mut files)?;
        }
        let mut ecosystems: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for file in &files {
            let text = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let record: Value =
                serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))?;
            let affected = record["affected"].as_array().into_iter().flatten();
            let names: BTreeSet<&str> = affected
                .filter_map(|affected| affected["package"]["ecosystem"].as_str())
                .filter_map(|name| name.split(':').next())
                .collect();
            for name in names {
                ecosystems.entry(name.to_owned()).or_default().push(file.clone());
            }
        }
        let folder = tools::target().join("bench-advisories");
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        let named: BTreeSet<&str> = ecosystems.keys().map(String::as_str).chain(ECOSYSTEMS).collect();
        for name in named {
            let own = folder.join("osv-scalibr").join(name);
            fs::create_dir_all(&own).map_err(failed)?;
            match ecosystems.get(name) {
                Some(files) => zip(&own.join("all.zip"), files)?,
                None => fs::write(own.join("all.zip"), EMPTY_ZIP).map_err(failed)?,
            }
        }
        Ok(Database {
            records: files.len(),
            ecosystems: ecosystems.len(),
            folder,
        })
    }
}

fn json_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            json_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    Ok(())
}

fn zip(archive: &Path, files: &[PathBuf]) -> Result<(), String> {
    let program = tools::find("zip").ok_or("zip is needed: apt-get install zip")?;
    // In parts, so that no command line grows too long; each part is added to the same archive.
    for part in files.chunks(1000) {
        let status = Command::new(&program)
            .args(["-q", "-j"])
            .arg(archive)
            .args(part)
            .status();
        if !status
            .map_err(|error| format!("`zip` can't be started: {error}"))?
            .success()
        {
            return Err(format!("`zip` could not write {}", archive.display()));
        }
    }
    Ok(())
}

fn table(sides: &[Side]) {
    let median = |values: &[Measured], pick: fn(&Measured) -> f64| {
        let mut sorted: Vec<f64> = values.iter().map(pick).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let row = |name: &str, figures: [f64; 3], own: [f64; 3]| {
        let [cpu, wall, memory] = figures;
        let ratios = [cpu / own[0], wall / own[1], memory / own[2]]
            .map(|ratio| format!("{ratio:>6.2}"))
            .join(" ");
        println!("{name:<16} {cpu:>8.2} {wall:>8.2} {memory:>9.0}   {ratios}");
    };
    println!("medians of {RUNS} runs each, taken in turn; a ratio is to ours\n");
    println!(
        "{:<16} {:>8} {:>8} {:>9}   {:>6} {:>6} {:>6}",
        "program", "cpu s", "wall s", "MB", "cpu", "wall", "MB"
    );
    let mut own = None;
    let mut peers = [0.0, 0.0, 0.0_f64];
    for side in sides {
        if let Some(reason) = &side.failed {
            println!("{:<16} failed: {reason}", side.name);
            continue;
        }
        let figures = [
            median(&side.measured, |m| m.cpu_s),
            median(&side.measured, |m| m.wall_s),
            median(&side.measured, |m| m.memory_mb),
        ];
        match own {
            None => own = Some(figures),
            Some(_) => peers = [peers[0] + figures[0], peers[1] + figures[1], peers[2].max(figures[2])],
        }
        row(side.name, figures, own.unwrap_or(figures));
    }
    if let (Some(own), true) = (own, peers[0] > 0.0) {
        row("peers in turn", peers, own);
    }
    println!("\nwhat each looks for");
    for side in sides {
        println!("{:<16} {}", side.name, side.looks);
    }
}

/// One run under GNU time; the inner error is the program's own.
fn measure(time: &str, side: &Side) -> Result<Result<Measured, String>, String> {
    let out = Command::new(time)
        .args(["-f", "%U %S %e %M", &side.program])
        .args(&side.args)
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("`{time}` can't be started: {error}"))?;
    let text = String::from_utf8_lossy(&out.stderr);
    let code = out.status.code();
    if !code.is_some_and(|code| side.answers.contains(&code)) {
        let said = text
            .lines()
            .rev()
            .filter(|line| !line.starts_with("Command exited"))
            .nth(1)
            .unwrap_or("")
            .trim();
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        return Ok(Err(format!("{code}: {said}")));
    }
    let last = text
        .lines()
        .rev()
        .find(|line| line.split(' ').count() == 4 && line.split(' ').all(|word| word.parse::<f64>().is_ok()));
    let numbers: Vec<f64> = last
        .unwrap_or_default()
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers.as_slice() {
        [user, system, wall, kilobytes] => Ok(Ok(Measured {
            cpu_s: user + system,
            wall_s: *wall,
            memory_mb: kilobytes / 1024.0,
        })),
        _ => Err(format!("`{}` gave no times: {text}", side.program)),
    }
}
