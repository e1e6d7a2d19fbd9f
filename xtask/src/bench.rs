//! `bench check [TREE]`: our `check` and the peers on the same tree, in turn, in one run.
//!
//! CPU time, wall time and peak memory of each whole process, as medians, and the ratio to ours; and how much each
//! side looked for, since a ratio between unequal searches says nothing. A peer that is absent is said to be absent.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::tools;

const RUNS: usize = 3;

struct Measured {
    cpu_s: f64,
    wall_s: f64,
    memory_mb: f64,
}

pub fn run(args: &[&str]) -> Result<(), String> {
    match args {
        ["check"] => check("."),
        ["check", tree] => check(tree),
        _ => Err("usage: cargo xtask bench check [TREE]".to_owned()),
    }
}

fn check(tree: &str) -> Result<(), String> {
    tools::cargo(&["build", "--quiet", "--release", "-p", "proofmark"])?;
    let tree = Path::new(tree)
        .canonicalize()
        .map_err(|error| format!("{tree}: {error}"))?
        .display()
        .to_string();
    let ours = tools::target().join("release/proofmark").display().to_string();
    let time = tools::find("time")
        .ok_or("GNU time is needed: apt-get install time")?
        .display()
        .to_string();
    let rules = tools::output(&ours, &["explain"])?
        .lines()
        .filter(|id| id.starts_with("secret/"))
        .count();
    println!(
        "tree {tree}\nours looks for {rules} kinds of secret, in tree and history, and reads Cargo.lock, package-lock.json and go.mod"
    );
    let peers: [(&str, Vec<&str>, &str); 3] = [
        (
            "betterleaks",
            vec!["git", &tree, "-s", "--exit-code", "0"],
            "secrets in history, about 250 rules",
        ),
        (
            "syft",
            vec!["scan", "dir", "-o", "cyclonedx-json", "-q"],
            "SBOM, all its ecosystems",
        ),
        (
            "osv-scanner",
            vec!["scan", "source", "-r", &tree, "--offline"],
            "lock files against its database",
        ),
    ];
    let mut rows: Vec<(String, Vec<Measured>, String)> = vec![(
        "proofmark check".to_owned(),
        Vec::new(),
        "secrets, SBOM, licences, vulnerabilities".to_owned(),
    )];
    let mut absent = Vec::new();
    for (name, _, looks) in &peers {
        if tools::find(name).is_some() {
            rows.push(((*name).to_owned(), Vec::new(), (*looks).to_owned()))
        } else {
            absent.push(*name)
        }
    }
    for _ in 0..RUNS {
        for (name, measured, _) in &mut rows {
            let dir = format!("dir:{tree}");
            let (program, args): (String, Vec<&str>) = match peers.iter().find(|(peer, _, _)| peer == name) {
                None => (ours.clone(), vec!["check", &tree, "--json"]),
                Some((peer, args, _)) => {
                    let program = tools::find(peer).ok_or("a peer vanished")?.display().to_string();
                    (
                        program,
                        args.iter()
                            .map(|arg| if *arg == "dir" { dir.as_str() } else { arg })
                            .collect(),
                    )
                }
            };
            measured.push(measure(&time, &program, &args)?);
        }
    }
    let median = |values: &[Measured], pick: fn(&Measured) -> f64| {
        let mut sorted: Vec<f64> = values.iter().map(pick).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    println!(
        "{:<16} {:>8} {:>8} {:>9} {:>9}  looks for",
        "program", "cpu s", "wall s", "MB", "cpu/ours"
    );
    let own = median(&rows[0].1, |m| m.cpu_s);
    for (name, measured, looks) in &rows {
        let cpu = median(measured, |m| m.cpu_s);
        let (wall, memory) = (median(measured, |m| m.wall_s), median(measured, |m| m.memory_mb));
        println!(
            "{name:<16} {cpu:>8.2} {wall:>8.2} {memory:>9.0} {:>9.2}  {looks}",
            cpu / own
        );
    }
    for name in absent {
        println!("{name:<16} absent: not measured");
    }
    Ok(())
}

/// One run under GNU time. The exit code is the program's business: findings make it non-zero.
fn measure(time: &str, program: &str, args: &[&str]) -> Result<Measured, String> {
    let out = Command::new(time)
        .args(["-f", "%U %S %e %M", program])
        .args(args)
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("`{time}` can't be started: {error}"))?;
    let text = String::from_utf8_lossy(&out.stderr);
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
        [user, system, wall, kilobytes] => Ok(Measured {
            cpu_s: user + system,
            wall_s: *wall,
            memory_mb: kilobytes / 1024.0,
        }),
        _ => Err(format!("`{program}` gave no times: {text}")),
    }
}
