//! Campaigns: `soak storage`, `soak bundles`, `soak release-kill`, `soak toxiproxy-api`. Each takes `--runs N` and `--seed S`, prints N and
//! the failures with their seeds, and fails when there is one.

use crate::tools;

/// Name, and the number of runs its claim speaks of.
const CAMPAIGNS: [(&str, u64); 4] = [
    ("storage", 300),
    ("bundles", 1_000),
    ("release-kill", 300),
    ("toxiproxy-api", 1_000_000),
];

pub fn run(args: &[&str]) -> Result<(), String> {
    let (name, rest) = args
        .split_first()
        .ok_or("name a campaign: storage, bundles, release-kill, toxiproxy-api")?;
    let (_, all) = CAMPAIGNS.iter().find(|(campaign, _)| campaign == name).ok_or_else(|| {
        format!(
            "no campaign `{name}`: {}",
            CAMPAIGNS.map(|(campaign, _)| campaign).join(", ")
        )
    })?;
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

/// A seeded hundredth of each campaign, for the test command.
pub fn hundredths() -> Result<(), String> {
    for (name, all) in CAMPAIGNS {
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
    // What needs no program finds none to build.
    if name != "toxiproxy-api" {
        let build = [&["build", "--quiet", "-p", "proofmark"], profile].concat();
        tools::cargo(&build)?;
    }
    let folder = if release { "release" } else { "debug" };
    let program = tools::target().join(folder).join("proofmark").display().to_string();
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
    ]
    .concat();
    tools::cargo(&args)
}
