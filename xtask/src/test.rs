//! `cargo xtask test`: everything a change has to pass, in the order in which it fails soonest.
//!
//! What the tests need from outside (Debian packages, npm, PyPI, the example's crates) is installed here. What can't
//! be installed is named at the end as not run, and never counted as passed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::{codegen, layers, soak, tools, transcripts};

/// Programs, and the Debian package that each comes with.
const PROGRAMS: &[(&str, &str)] = &[
    ("python3", "python3"),
    ("npm", "npm"),
    ("psql", "postgresql"),
    ("redis-server", "redis-server"),
    ("nats-server", "nats-server"),
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("prlimit", "util-linux"),
    ("chattr", "e2fsprogs"),
    ("setcap", "libcap2-bin"),
    ("pkill", "procps"),
    ("perl", "perl"),
    ("prometheus", "prometheus"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("/lib/systemd/systemd-journal-remote", "systemd-journal-remote"),
];
const PYTHON_PACKAGES: [&str; 5] = [
    "securesystemslib[crypto]==1.6.0",
    "jsonschema==4.26.0",
    "toxiproxy-python==0.1.1",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
];
const NPM_PACKAGES: [&str; 6] = [
    "@cyclonedx/cyclonedx-library@10",
    "ajv@8",
    "ajv-formats@3",
    "ajv-formats-draft2019@1",
    "libxmljs2@0.37",
    "toxiproxy-node-client@4.1.0",
];

/// Runs all steps, or those named.
pub fn run(only: &[&str]) -> Result<(), String> {
    let mut not_run = Vec::new();
    type StepFn = fn(&mut Vec<String>) -> Result<(), String>;
    let steps: [(&str, StepFn); 10] = [
        ("setup", setup),
        ("fmt", |_| tools::cargo(&["fmt", "--all", "--check"])),
        ("layers", |_| layers::run()),
        ("clippy", |_| {
            tools::cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])
        }),
        ("codegen", |_| codegen::run(true)),
        ("build", |_| tools::cargo(&["build", "--quiet", "-p", "proofmark"])),
        ("tests", tests),
        ("transcripts", |_| transcripts::run()),
        ("soak", soak::hundredths),
        ("interop", interop),
    ];
    let begun = Instant::now();
    for (name, step) in steps {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let at = Instant::now();
        println!("== {name}");
        step(&mut not_run)?;
        println!("== {name}: ok, {:.1} s", at.elapsed().as_secs_f64());
    }
    for what in &not_run {
        println!("not run: {what}");
    }
    println!(
        "all steps ok in {:.0} s, {} things not run",
        begun.elapsed().as_secs_f64(),
        not_run.len()
    );
    Ok(())
}

/// Installs what the tests need: nothing of it ships.
fn setup(not_run: &mut Vec<String>) -> Result<(), String> {
    tools::cargo(&["fetch", "--quiet", "--locked"])?;
    for manifest in ["examples/shop/Cargo.toml", "examples/shop/previous/Cargo.toml"] {
        tools::cargo(&["fetch", "--quiet", "--locked", "--manifest-path", manifest])?;
    }
    debian(PROGRAMS, not_run);
    python(not_run);
    npm(not_run);
    Ok(())
}

/// Installs the Debian package of each program that is missing, where this is Debian and we may.
fn debian(programs: &[(&str, &str)], not_run: &mut Vec<String>) {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| tools::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    let mut packages = missing.clone();
    // The module that makes virtual environments is a package of its own on Debian.
    let venv = Command::new("python3")
        .args(["-c", "import ensurepip"])
        .output()
        .is_ok_and(|out| out.status.success());
    if !venv {
        packages.push("python3-venv");
    }
    if packages.is_empty() {
        return;
    }
    let install = [&["install", "-qy", "--no-install-recommends"], packages.as_slice()].concat();
    let done = tools::run("apt-get", &["update", "-q"])
        .and_then(|()| tools::run_with("apt-get", &install, &[("DEBIAN_FRONTEND", "noninteractive")]));
    if let Err(problem) = done {
        not_run.push(format!("what needs {}: {problem}", packages.join(", ")));
    }
}

/// Where the interpreters' packages go.
pub fn tool_folder(name: &str) -> PathBuf {
    tools::target().join("tools").join(name)
}

fn python(not_run: &mut Vec<String>) {
    let venv = tool_folder("venv");
    let python = venv.join("bin/python").display().to_string();
    if Command::new(&python)
        .args([
            "-c",
            "import securesystemslib, jsonschema, toxiproxy, opentelemetry.exporter.otlp.proto.http",
        ])
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return;
    }
    let folder = venv.display().to_string();
    let install = [
        &["-m", "pip", "install", "-q", "--disable-pip-version-check"],
        &PYTHON_PACKAGES[..],
    ]
    .concat();
    let done = tools::run("python3", &["-m", "venv", &folder]).and_then(|()| tools::run(&python, &install));
    if let Err(problem) = done {
        not_run.push(format!(
            "securesystemslib over our envelopes, jsonschema over our playbooks, toxiproxy-python over our API, \
             OpenTelemetry's exporter to our observers: {problem}"
        ));
    }
}

fn npm(not_run: &mut Vec<String>) {
    let folder = tool_folder("npm");
    let installed = |module: &&str| folder.join("node_modules").join(module).is_dir();
    if ["@cyclonedx/cyclonedx-library", "toxiproxy-node-client"]
        .iter()
        .all(installed)
    {
        return;
    }
    let prefix = folder.display().to_string();
    let install = [
        &[
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            prefix.as_str(),
        ],
        &NPM_PACKAGES[..],
    ]
    .concat();
    if let Err(problem) = tools::run("npm", &install) {
        not_run.push(format!(
            "the CycloneDX library over our SBOM, toxiproxy-node-client over our API: {problem}"
        ));
    }
}

fn tests(_: &mut Vec<String>) -> Result<(), String> {
    tools::cargo(&["test", "--workspace", "--quiet"])
}

/// Other people's programs over what we write.
fn interop(not_run: &mut Vec<String>) -> Result<(), String> {
    let python = tool_folder("venv").join("bin/python");
    let npm = tool_folder("npm");
    let mut args = vec!["run", "--quiet", "-p", "conformance", "--", "interop"];
    let (python, npm) = (python.display().to_string(), npm.display().to_string());
    if std::path::Path::new(&python).exists() {
        args.extend(["--python", &python]);
    } else {
        not_run.push("securesystemslib: not installed".to_owned());
    }
    if std::path::Path::new(&npm).exists() {
        args.extend(["--npm", &npm]);
    } else {
        not_run.push("@cyclonedx/cyclonedx-library: not installed".to_owned());
    }
    if tools::find("tessera-fsck").is_none() {
        not_run.push("tessera-fsck over our log: not on PATH".to_owned());
    }
    tools::cargo(&args)
}
