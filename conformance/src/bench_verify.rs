//! `bench verify`: one exported bundle, the same file for all, offline: ours as a command and in process, beside sigstore-python's
//! command and sigstore-js in process.
//!
//! The bundle is a case of `sigstore-conformance` that has all of it: signature, certificate, SCT, time stamp and inclusion. Sides
//! take turns; figures are medians of wall time. A peer that is absent, or that doesn't verify the bundle, is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use evidence::Timestamp;
use evidence::sigstore::{Artifact, Identity, Policy, TrustedRoot, Who, verify};

use crate::Flags;
use crate::suites::sigstore_conformance::{IDENTITY, ISSUER};
use crate::suites::{Data, data_of};

const SUITE: &str = "sigstore-conformance";
/// With everything a bundle can have, against its own trusted root; and one against the production root.
const CASES: [&str; 2] = ["bundle-with-sct-with-extensions", "happy-path-intoto-in-dsse-v3"];
const COMMAND_MS_MAX: f64 = 15.0;
const IN_PROCESS_MS_MAX: f64 = 2.0;
const PYTHON_RATIO_MIN: f64 = 100.0;
const JS_RATIO_MIN: f64 = 3.0;
const RUNS_IN_PROCESS: usize = 200;

pub fn run(flags: &Flags) -> Result<(), String> {
    let runs = flags.number("--runs", 11)? as usize;
    let program = flags.get("--program").ok_or("`--program P` is missing")?;
    let python = flags.get("--sigstore").ok_or("`--sigstore P` is missing")?;
    let data = data_of(SUITE, flags.get("--data"))?;
    let mut missed = Vec::new();
    for case in CASES {
        let files = Files::of(&data, case)?;
        let mut sides = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..runs.max(1) {
            sides[0].push(files.ours(program)?);
            sides[1].push(files.python(python)?);
            let (first, again) = files.js()?;
            sides[2].push(first);
            sides[3].push(again);
        }
        let [command, python, js, js_again] = sides.map(median);
        let own = in_process(&files)?;
        println!("{case}, medians of {}:", runs.max(1));
        println!("  proofmark verify              {command:>9.2} ms  bar {COMMAND_MS_MAX} ms");
        println!("  in process, median of {RUNS_IN_PROCESS:>3}     {own:>9.2} ms  bar {IN_PROCESS_MS_MAX} ms");
        println!(
            "  sigstore-python's command     {python:>9.2} ms  {:>6.1} x, bar {PYTHON_RATIO_MIN} x",
            python / command
        );
        println!(
            "  sigstore-js, first call       {js:>9.2} ms  {:>6.1} x our command, bar {JS_RATIO_MIN} x",
            js / command
        );
        println!(
            "  sigstore-js, further calls    {js_again:>9.2} ms  {:>6.1} x ours in process",
            js_again / own
        );
        let bars = [
            ("our command", command <= COMMAND_MS_MAX),
            ("in process", own <= IN_PROCESS_MS_MAX),
            ("beside sigstore-python", python / command >= PYTHON_RATIO_MIN),
            ("beside sigstore-js", js / command >= JS_RATIO_MIN),
        ];
        missed.extend(
            bars.iter()
                .filter(|(_, held)| !held)
                .map(|(what, _)| format!("{case}: {what}")),
        );
    }
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("bars missed: {}", missed.join(", ")))
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

struct Files {
    bundle: PathBuf,
    artifact: PathBuf,
    trusted_root: PathBuf,
    /// `ClientTrustConfig`, which is what sigstore-python takes in place of a trusted root.
    trust_config: tempfile::NamedTempFile,
}

impl Files {
    fn of(data: &Data, case: &str) -> Result<Files, String> {
        let folder = data.folder.join("bundle-verify").join(case);
        let or = |own: PathBuf, otherwise: PathBuf| if own.is_file() { own } else { otherwise };
        let trusted_root = or(
            folder.join("trusted_root.json"),
            data.folder.join("trusted_root.prod.json"),
        );
        let root = std::fs::read(&trusted_root).map_err(|error| format!("{}: {error}", trusted_root.display()))?;
        let root: serde_json::Value = serde_json::from_slice(&root).map_err(|error| error.to_string())?;
        let config = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": root,
            "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                "rekorTlogConfig": {"selector": "ANY"}, "tsaConfig": {"selector": "ANY"}},
        });
        let trust_config = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(trust_config.path(), config.to_string()).map_err(|error| error.to_string())?;
        Ok(Files {
            bundle: folder.join("bundle.sigstore.json"),
            artifact: or(folder.join("artifact"), data.folder.join("bundle-verify/a.txt")),
            trusted_root,
            trust_config,
        })
    }

    /// Milliseconds of our command, from nothing.
    fn ours(&self, program: &str) -> Result<f64, String> {
        let mut command = Command::new(program);
        command
            .arg("verify")
            .arg(&self.bundle)
            .arg("--artifact")
            .arg(&self.artifact);
        command.arg("--trusted-root").arg(&self.trusted_root);
        command.args([
            "--certificate-identity",
            IDENTITY,
            "--certificate-oidc-issuer",
            ISSUER,
            "--quiet",
        ]);
        timed(&mut command)
    }

    fn python(&self, program: &str) -> Result<f64, String> {
        let mut command = Command::new(program);
        command.arg("--trust-config").arg(self.trust_config.path());
        command
            .args(["verify", "identity", "--offline", "--bundle"])
            .arg(&self.bundle);
        command
            .args(["--cert-identity", IDENTITY, "--cert-oidc-issuer", ISSUER])
            .arg(&self.artifact);
        timed(&mut command)
    }

    /// Milliseconds of the first call, and of further ones, as the script measures them.
    fn js(&self) -> Result<(f64, f64), String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sigstore-js-verify.mjs");
        let mut command = Command::new("node");
        command
            .arg(script)
            .arg(&self.bundle)
            .arg(&self.artifact)
            .arg(&self.trusted_root);
        let out = command.args([IDENTITY, ISSUER, "20"]).output();
        let out = out.map_err(|error| format!("`node` is absent: {error}"))?;
        if !out.status.success() {
            return Err(format!("sigstore-js: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
        let said: serde_json::Value = serde_json::from_slice(&out.stdout).map_err(|error| error.to_string())?;
        let figure = |name: &str| {
            said[name]
                .as_f64()
                .ok_or_else(|| format!("sigstore-js gave no `{name}`"))
        };
        Ok((figure("first")?, figure("median")?))
    }
}

fn timed(command: &mut Command) -> Result<f64, String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let begun = Instant::now();
    let out = command.output();
    let elapsed = begun.elapsed().as_secs_f64() * 1e3;
    let name = command.get_program().to_string_lossy().into_owned();
    let out = out.map_err(|error| format!("`{name}`: {error}"))?;
    if !out.status.success() {
        return Err(format!(
            "`{name}` did not verify: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        ));
    }
    Ok(elapsed)
}

/// Milliseconds of one verification, parsing of bundle and trusted root included.
fn in_process(files: &Files) -> Result<f64, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let (bundle, artifact, root) = (read(&files.bundle)?, read(&files.artifact)?, read(&files.trusted_root)?);
    let identity = Identity {
        name: &|name| name == IDENTITY,
        name_text: IDENTITY,
        issuer: &|issuer| issuer == ISSUER,
        issuer_text: ISSUER,
    };
    let at = Timestamp::from_second(4_102_444_800).map_err(|error| error.to_string())?;
    let mut times = Vec::new();
    for _ in 0..RUNS_IN_PROCESS {
        let begun = Instant::now();
        let root = TrustedRoot::from_bytes(&root).map_err(|error| error.to_string())?;
        let policy = Policy::new(Who::Identity(identity));
        verify(&bundle, &root, &policy, Artifact::Bytes(&artifact), at).map_err(|refusal| refusal.to_string())?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
