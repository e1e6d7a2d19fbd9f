//! Campaigns: `soak storage`, `soak chaos-kill` and others. Each takes `--runs N` and `--seed S`, prints N and
//! the failures with their seeds, and fails when there is one.

use crate::tools;

/// Name, and the number of runs its claim speaks of.
const CAMPAIGNS: &[(&str, u64)] = &[
    ("storage", 300),
    ("bundles", 1_000),
    ("release-kill", 300),
    ("chaos-kill", 1_000),
    ("faults", 20),
    ("playbooks", 300),
    ("toxiproxy-api", 1_000_000),
    ("choice", 360),
    ("campaigns", 1_000),
    ("studies", 2_000),
    ("truth", 1_000),
    ("blind", 1_000),
];
/// What runs no program of ours: simulations over a crate.
const SIMULATED: [&str; 2] = ["campaigns", "studies"];

pub fn run(args: &[&str]) -> Result<(), String> {
    let (name, rest) = args
        .split_first()
        .ok_or_else(|| format!("name a campaign: {}", names()))?;
    let (_, all) = CAMPAIGNS
        .iter()
        .find(|(campaign, _)| campaign == name)
        .ok_or_else(|| format!("no campaign `{name}`: {}", names()))?;
    let number = |flag: &str, default: u64| -> Result<u64, String> {
        match rest.iter().position(|word| *word == flag).map(|at| rest.get(at + 1)) {
            None => Ok(default),
            Some(Some(text)) => text
                .parse()
                .map_err(|_| format!("`{flag} {text}`: a number is expected")),
            Some(None) => Err(format!("`{flag}` wants a number")),
        }
    };
    campaign(name, number("--runs", *all)?, number("--seed", 1)?, true)
}

fn names() -> String {
    CAMPAIGNS
        .iter()
        .map(|(campaign, _)| *campaign)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A seeded hundredth of each campaign, for the test command, which does without oracles that aren't installed.
pub fn hundredths(not_run: &mut Vec<String>) -> Result<(), String> {
    if !lifelines() {
        not_run.push("lifelines over simulated campaigns: not installed".to_owned());
    }
    for (name, all) in CAMPAIGNS.iter().copied() {
        campaign(name, all.div_ceil(100), 1, false)?;
    }
    Ok(())
}

fn campaign(name: &str, runs: u64, seed: u64, release: bool) -> Result<(), String> {
    let (runs, seed) = (runs.to_string(), seed.to_string());
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    if name == "storage" {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let args = [
            &["test", "--quiet", "-p", "tlog", "--test", "storage"],
            profile,
            &["--", "--nocapture"],
        ]
        .concat();
        return tools::run_with(
            &cargo,
            &args,
            &[("PROOFMARK_SOAK_RUNS", &runs), ("PROOFMARK_SOAK_SEED", &seed)],
        );
    }
    if name == "faults" {
        let args = [
            &["test", "--quiet", "-p", "chaos", "--test", "faults"],
            profile,
            &["--", "--runs", &runs, "--seed", &seed],
        ]
        .concat();
        return tools::cargo(&args);
    }
    if !SIMULATED.contains(&name) {
        let build = [&["build", "--quiet", "-p", "proofmark"], profile].concat();
        tools::cargo(&build)?;
    }
    let folder = if release { "release" } else { "debug" };
    let program = tools::target().join(folder).join("proofmark").display().to_string();
    let oracle: &[&str] = if release { &[] } else { &["--oracle", "optional"] };
    let args = [
        &["run", "--quiet", "-p", "conformance"],
        profile,
        &[
            "--",
            "soak",
            name,
            "--program",
            &program,
            "--runs",
            &runs,
            "--seed",
            &seed,
        ],
        oracle,
    ]
    .concat();
    tools::cargo(&args)
}

/// The peers' own Python has it, or the one on `PATH`.
fn lifelines() -> bool {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let peers = std::path::Path::new(&home).join(".cache/proofmark-peers/venv/lifelines/bin/python");
    [peers.as_path(), "python3".as_ref()].into_iter().any(|python| {
        let asked = std::process::Command::new(python)
            .args(["-c", "import lifelines"])
            .output();
        asked.is_ok_and(|out| out.status.success())
    })
}
