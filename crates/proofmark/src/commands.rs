//! One function a command: gathers what it needs from outside, calls `pipeline`, renders the answer.

use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};
use evidence::{Finding, Gap, Now, Observation, Outcome, TrustRoot};
use pipeline::progress::Progress;
use pipeline::release::Options;
use pipeline::{Clock, Error, Random, approve, check, explain, report, verify, wrap};
use serde_json::{Value, json};

use crate::cli::{self, Cli, Command};
use crate::render::Terminal;

/// Findings and gaps shown by `check` before the rest is only counted.
const SHOWN_MAX: usize = 20;

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Arc::new(Terminal::new(cli.quiet, cli.verbose));
    match run(&cli, &terminal) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            terminal.failed(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: &Cli, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    match &cli.command {
        Command::Init { path } => init(cli, path, terminal),
        Command::Check(args) => look(cli, args, terminal),
        Command::Hook { path } => hook(path, terminal),
        Command::Release(args) => release(cli, args, terminal),
        Command::Run(args) => run_step(cli, args, terminal),
        Command::Verify(args) => verify_bundle(cli, args, terminal),
        Command::Sbom { path } => sbom(cli, path),
        Command::Db(cli::Db::Digest { folder }) => db_digest(folder),
        Command::Chaos(command) => crate::chaos::run(cli, command, terminal),
        Command::Playbook(command) => {
            let (code, text) = crate::playbook::main(cli, command, terminal)?;
            out(&text)?;
            Ok(code)
        }
        Command::Log(cli::Log::List { path }) => log_list(cli, path),
        Command::Log(cli::Log::Fsck { path }) => log_fsck(cli, path, terminal),
        Command::Approve(args) => approve_what(cli, args),
        Command::Explain { id } => explain_id(id.as_deref()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "proofmark", &mut script);
            out(String::from_utf8_lossy(&script).trim_end())?;
            Ok(0)
        }
        Command::Man { folder } => man(folder),
    }
}

/// Worker and warden: `None` when this is a command of a person.
#[cfg(target_os = "linux")]
pub fn helper_process() -> Option<ExitCode> {
    pipeline::helper_process(std::env::args().skip(1)).map(ExitCode::from)
}

pub(crate) fn clock(cli: &Cli) -> Clock {
    let stated = cli.as_of;
    Arc::new(move || {
        let now = pipeline::now();
        Now {
            utc: stated.unwrap_or(now.utc),
            ..now
        }
    })
}

pub(crate) fn random() -> Random {
    Arc::new(pipeline::random_seed)
}

pub(crate) fn home(cli: &Cli) -> Result<PathBuf, Error> {
    let named = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(home) = cli.home.clone().or_else(|| named("PROOFMARK_HOME")) {
        return Ok(home);
    }
    let data = named("XDG_DATA_HOME");
    let data = data.or_else(|| Some(named("HOME")?.join(".local/share")));
    data.map(|data| data.join("proofmark")).ok_or_else(|| {
        Error::usage(
            "neither PROOFMARK_HOME nor HOME is set",
            "set PROOFMARK_HOME to a folder outside the repository",
        )
    })
}

pub(crate) fn out(text: &str) -> Result<(), Error> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::failed("write to stdout", error)),
        _ => Ok(()),
    }
}

pub(crate) fn out_json(value: &Value) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::failed("write JSON", error))?;
    out(&text)
}

/// A path that is to be a folder is one; says so in the words it was given in.
pub(crate) fn folder(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::usage(
            format!("`{}` is a file, not a folder", path.display()),
            "give the folder that holds it",
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::usage(
            format!("there is no folder `{}`", path.display()),
            "paths are taken from the folder you stand in",
        )),
        Err(error) => Err(Error::io("open", path, &error)),
    }
}

/// A command followed by a path, as it is typed from here.
fn with_path(command: &str, path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,=@".contains(c);
    match text.as_str() {
        "." => format!("`{command}`"),
        _ if text.chars().all(plain) => format!("`{command} {text}`"),
        _ => format!("`{command} '{}'`", text.replace('\'', "'\\''")),
    }
}

fn init(cli: &Cli, path: &Path, terminal: &Terminal) -> Result<u8, Error> {
    folder(path)?;
    for line in pipeline::init::init(path, &home(cli)?, &random())? {
        terminal.say(&line);
    }
    terminal.say(&format!(
        "next: {}, then fill in proofmark.toml for {}",
        with_path("proofmark check", path),
        with_path("proofmark release", path)
    ));
    Ok(0)
}

/// This very program, to be started again as worker and warden: by the kernel's own handle, so that whoever replaces
/// the file meanwhile replaces nothing.
fn this_program() -> Result<PathBuf, Error> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())));
    }
    std::env::current_exe().map_err(|error| Error::failed("find this program", error))
}

pub(crate) fn options(
    cli: &Cli,
    tree: &Path,
    terminal: &Arc<Terminal>,
    upto: evidence::Stage,
) -> Result<Options, Error> {
    let program = this_program()?;
    let progress: Arc<dyn Progress> = terminal.clone();
    Ok(Options {
        tree: tree.to_owned(),
        upto,
        home: home(cli)?,
        clock: clock(cli),
        random: random(),
        progress,
        cancel: pipeline::cancel_on_signals()?,
        program,
    })
}

fn release(cli: &Cli, args: &cli::Release, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    terminal.stand_at(&args.path);
    let upto = args.to.into();
    // Also before a release: what is wrong with an experiment's file is said before an hour of building, not after.
    let plan = pipeline::release::plan(&args.path, upto)?;
    if args.plan && args.json {
        let stages: Vec<Value> = plan
            .iter()
            .map(|(stage, actions)| json!({"stage": stage, "actions": actions}))
            .collect();
        out_json(&json!({"schema": "https://proofmark.dev/schema/plan/v0.1", "stages": stages}))?;
        return Ok(0);
    }
    if args.plan {
        for (stage, actions) in plan {
            out(&format!("{stage}"))?;
            if actions.is_empty() {
                out("  nothing: proofmark.toml has no table for this stage, so it can't be passed")?;
            }
            for action in actions {
                out(&format!("  {action}"))?;
            }
        }
        return Ok(0);
    }
    let (report, bundle) = pipeline::release::release(options(cli, &args.path, terminal, upto)?)?;
    terminal.done();
    if terminal.verbose() {
        for cleared in report.verdicts.iter().flat_map(|(verdict, _)| &verdict.cleared) {
            terminal.say(&format!("  cleared: {cleared}"));
        }
    }
    for reason in report.reasons_shown() {
        terminal.reason(&reason);
    }
    for lines in report.incidents_shown() {
        terminal.incident(&lines);
    }
    terminal.say("");
    for line in report.metrics_lines() {
        terminal.say(&format!("  {line}"));
    }
    terminal.say("");
    let shown = relative(&bundle);
    if args.json {
        out_json(&release_json(&report, &shown))?;
    } else {
        out(&report.answer())?;
        out(&shown)?;
    }
    Ok(report.exit_code())
}

/// A path as seen from the working directory.
pub(crate) fn relative(path: &Path) -> String {
    let here = std::env::current_dir()
        .and_then(|here| here.canonicalize())
        .unwrap_or_default();
    let mut base = here.as_path();
    let mut up = String::new();
    loop {
        if let Ok(rest) = path.strip_prefix(base) {
            return format!("{up}{}", rest.display());
        }
        match base.parent() {
            Some(parent) => base = parent,
            None => return path.display().to_string(),
        }
        up.push_str("../");
    }
}

fn release_json(report: &report::Report, bundle: &str) -> Value {
    let stages: Vec<Value> = report
        .lines
        .iter()
        .map(|line| json!({"stage": line.stage, "outcome": line.outcome, "seconds": line.seconds, "notes": line.notes, "resumed": line.resumed}))
        .collect();
    let metrics = &report.metrics;
    json!({
        "schema": "https://proofmark.dev/schema/release/v0.1",
        "name": report.name, "version": report.version, "attempt": report.attempt,
        "selfSigned": report.self_signed, "outcome": report.outcome, "answer": report.answer(),
        "stages": stages, "reasons": report.reasons().collect::<Vec<_>>(),
        "incidents": report.incidents.iter().map(|(incident, index)| json!({"logIndex": index, "incident": incident})).collect::<Vec<_>>(),
        "metrics": {
            "mttdUs": metrics.mttd.measured_us, "neverDetected": metrics.mttd.never,
            "mttrUs": metrics.mttr.measured_us, "neverRecovered": metrics.mttr.never,
            "coverage": {"present": metrics.coverage.present, "expected": metrics.coverage.expected},
            "secretsExposed": {
                "artifacts": metrics.exposure.in_artifacts, "logs": metrics.exposure.in_logs,
                "builds": metrics.exposure.builds, "unscanned": metrics.exposure.unscanned,
            },
            "falsePositives": Value::Null,
            "falseNegatives": metrics.false_negatives.map(|(missed, planted)| json!({"missed": missed, "planted": planted})),
        },
        "logSize": report.log_size, "statements": report.statements, "bundle": bundle,
    })
}

fn run_step(cli: &Cli, args: &cli::Run, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    let made = Path::new(&args.artifact);
    if args.artifact.is_empty()
        || !made
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        return Err(Error::usage(
            format!("artifact `{}` does not lie in the folder", args.artifact),
            "name a file below the folder of proofmark.toml, relative to it",
        ));
    }
    let options = options(cli, &args.path, terminal, evidence::Stage::Build)?;
    let wrapped = wrap::Wrapped {
        name: args.name.clone(),
        artifact: args.artifact.clone(),
        command: args.command.clone(),
        timeout_seconds: args.timeout,
    };
    let built = wrap::run(options, &wrapped)?;
    terminal.done();
    match built {
        Some((digest, size)) => {
            out(&format!(
                "{} sha256:{digest} · provenance logged, log size {size}",
                args.name
            ))?;
            Ok(0)
        }
        None => Ok(1),
    }
}

fn verify_bundle(cli: &Cli, args: &cli::Verify, terminal: &Terminal) -> Result<u8, Error> {
    if args.bundle.is_file() {
        return crate::attestation::run(&args.bundle, &args.attestation, args.json, clock(cli)().utc, terminal);
    }
    let path = match &args.trust_root {
        Some(path) => path.clone(),
        None => home(cli)?.join("trust-root.json"),
    };
    let bytes = std::fs::read(&path).map_err(|error| {
        Error::usage(
            format!("can't read the trust root `{}`: {error}", path.display()),
            "give one with `--trust-root FILE`; the machine that made the release has it in its $PROOFMARK_HOME",
        )
    })?;
    let root = TrustRoot::from_bytes(&bytes).map_err(|error| {
        Error::refused(
            error.to_string(),
            "take the trust root again from where you first got it",
        )
    })?;
    folder(&args.bundle)?;
    let found = verify::verify(&args.bundle, &root, clock(cli)().utc)?;
    if args.json {
        out_json(&verification_json(&found, &root))?;
        return Ok(report::exit_code(found.outcome));
    }
    let trust = if root.self_signed { "self-signed" } else { "given" };
    terminal.say(&format!(
        "{} {} · attempt {} · trust root: {trust}",
        found.attempt.name,
        found.attempt.version,
        found.attempt_digest.short()
    ));
    for (verdict, index) in &found.verdicts {
        let notes = verdict.notes.join("; ");
        terminal.say(&format!(
            "  {:<12} {:<8} log index {index}; {notes}",
            verdict.stage.name(),
            report::StageLine::word(verdict.outcome)
        ));
    }
    for stage in &found.undecided {
        terminal.say(&format!("  {:<12} no verdict in this bundle", stage.name()));
    }
    for (name, digest) in &found.artifacts {
        terminal.say(&format!("  artifact {name} sha256:{digest}"));
    }
    for reason in report::shown(found.verdicts.iter().flat_map(|(verdict, _)| &verdict.reasons)) {
        terminal.reason(&reason);
    }
    out(&format!(
        "VERIFIED: {} files, {} statements, every signature, proof and verdict holds; the release is {}",
        found.files,
        found.statements,
        match found.outcome {
            Outcome::Pass => "PASS",
            Outcome::Fail => "BLOCKED",
            Outcome::Indeterminate => "UNPROVEN",
        }
    ))?;
    Ok(report::exit_code(found.outcome))
}

fn verification_json(found: &verify::Verification, root: &TrustRoot) -> Value {
    json!({
        "schema": "https://proofmark.dev/schema/verification/v0.1",
        "attempt": found.attempt_digest, "name": found.attempt.name, "version": found.attempt.version,
        "outcome": found.outcome, "selfSigned": root.self_signed,
        "verdicts": found.verdicts.iter().map(|(verdict, index)| json!({"verdict": verdict, "logIndex": index})).collect::<Vec<_>>(),
        "undecided": found.undecided, "statements": found.statements,
        "log": {"origin": found.log_origin, "size": found.log_size},
        "artifacts": found.artifacts.iter().map(|(name, digest)| json!({"name": name, "sha256": digest})).collect::<Vec<_>>(),
    })
}

fn check_options(cli: &Cli, args: &cli::Check) -> check::Options {
    check::Options {
        path: args.path.clone(),
        history: !args.no_history,
        advisories: args.advisories.clone(),
        now: clock(cli)().utc,
    }
}

fn look(cli: &Cli, args: &cli::Check, terminal: &Terminal) -> Result<u8, Error> {
    folder(&args.path)?;
    terminal.stand_at(&args.path);
    // A proofmark.toml that is there and can't be read is said, not passed over.
    if args.path.join("proofmark.toml").symlink_metadata().is_ok() {
        match pipeline::release::load_config(&args.path) {
            Ok(_) | Err(Error::Input(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let begun = pipeline::now().boottime;
    let checked = check::check(
        &check_options(cli, args),
        Some(&|what, done, total| terminal.tick(what, done, total)),
    )?;
    terminal.done();
    terminal.diagnostics(&checked.problems);
    let code = if checked.problems.is_empty() {
        report::exit_code(checked.outcome())
    } else {
        2
    };
    if args.json {
        out_json(&check_json(&checked))?;
    } else if args.sarif {
        out_json(&pipeline::sarif::document(&checked.observations()))?;
    } else {
        let elapsed = pipeline::now().boottime.saturating_sub(begun).as_secs_f64();
        screen(&checked, terminal)?;
        let answer = match (checked.problems.len(), checked.outcome()) {
            (0, Outcome::Pass) => "would pass".to_owned(),
            (0, Outcome::Fail) => "would block".to_owned(),
            (0, Outcome::Indeterminate) => "unproven, which blocks too".to_owned(),
            (n, _) => format!("proofmark.toml has {}", plural(n, "problem")),
        };
        out(&format!(
            "{answer}: {}    {elapsed:.1} s, {}, {}",
            totals(&checked),
            plural(checked.files as usize, "file"),
            plural(checked.components, "component")
        ))?;
    }
    Ok(code)
}

/// One screen: what would block first, then what is not known.
fn screen(checked: &check::Checked, terminal: &Terminal) -> Result<(), Error> {
    let observations = checked.observations();
    let findings: Vec<&Finding> = observations
        .iter()
        .flat_map(|(_, o)| &o.findings)
        .filter(|f| !f.suppressed)
        .collect();
    let gaps: Vec<&Gap> = observations.iter().flat_map(|(_, o)| &o.gaps).collect();
    let mut shown: Vec<&&Finding> = findings.iter().collect();
    shown.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let (blocking, other): (Vec<&&Gap>, Vec<&&Gap>) = gaps.iter().partition(|gap| gap.blocks);
    let all = terminal.verbose();
    let most = if all { usize::MAX } else { SHOWN_MAX };
    let hidden =
        shown.len().saturating_sub(most) + blocking.len().saturating_sub(most) + if all { 0 } else { other.len() };
    let more = if hidden > 0 {
        format!(", {hidden} more hidden (-v)")
    } else {
        String::new()
    };
    terminal.say(&format!(
        "{}: {} would block, {} left unproven{more}",
        terminal.place(""),
        plural(findings.len(), "finding"),
        plural(blocking.len(), "thing")
    ));
    terminal.say("");
    for finding in shown.iter().take(most) {
        terminal.finding(finding);
    }
    for gap in blocking.iter().take(most) {
        terminal.gap(gap);
    }
    for gap in other.iter().filter(|_| all) {
        terminal.gap(gap);
    }
    if !(shown.is_empty() && blocking.is_empty() && (other.is_empty() || !all)) {
        terminal.say("");
    }
    Ok(())
}

fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

fn totals(checked: &check::Checked) -> String {
    let count = |observation: &Observation| {
        observation
            .findings
            .iter()
            .filter(|finding| !finding.suppressed)
            .count()
    };
    let gaps: usize = checked
        .observations()
        .iter()
        .map(|(_, observation)| observation.gaps.len())
        .sum();
    // Without a list of allowed licences none was judged, and 0 would say that all are fine.
    let licences = if checked.licences == Observation::default() {
        "not judged".to_owned()
    } else {
        count(&checked.licences).to_string()
    };
    format!(
        "secrets {} · vulnerabilities {} ({}) · licences {licences} · gaps {gaps}",
        count(&checked.secrets),
        count(&checked.vulnerabilities),
        checked.database,
    )
}

fn check_json(checked: &check::Checked) -> Value {
    json!({
        "schema": "https://proofmark.dev/schema/check/v0.1",
        "outcome": checked.outcome(), "verdict": checked.preview.0,
        "checks": checked.observations().iter().map(|(name, observation)| ((*name).to_owned(), json!(observation))).collect::<serde_json::Map<_, _>>(),
        "files": checked.files, "components": checked.components, "database": checked.database,
    })
}

fn hook(path: &Path, terminal: &Terminal) -> Result<u8, Error> {
    folder(path)?;
    terminal.stand_at(path);
    let found = check::secrets_only(path)?;
    let open: Vec<&Finding> = found.findings.iter().filter(|finding| !finding.suppressed).collect();
    for finding in &open {
        terminal.finding(finding);
    }
    if open.is_empty() {
        return Ok(0);
    }
    out(&format!(
        "{} would block: remove it, or mark the line `proofmark:allow RULE REASON`",
        plural(open.len(), "secret")
    ))?;
    Ok(1)
}

fn sbom(cli: &Cli, path: &Path) -> Result<u8, Error> {
    folder(path)?;
    out_json(&check::sbom(path, clock(cli)().utc)?)?;
    Ok(0)
}

fn db_digest(path: &Path) -> Result<u8, Error> {
    folder(path)?;
    let (digest, files) = check::database_digest(path)?;
    if files == 0 {
        return Err(Error::usage(
            format!("`{}` holds no OSV record", path.display()),
            "give a folder of `.json` files, one record each",
        ));
    }
    out(&format!("sha256:{digest}  {}", plural(files, "record")))?;
    Ok(0)
}

fn log_list(cli: &Cli, path: &Path) -> Result<u8, Error> {
    folder(path)?;
    for line in pipeline::log::list(path, &home(cli)?, &clock(cli), &random())? {
        out(&line)?;
    }
    Ok(0)
}

fn log_fsck(cli: &Cli, path: &Path, terminal: &Terminal) -> Result<u8, Error> {
    folder(path)?;
    let checked = pipeline::log::fsck(path, &home(cli)?, &clock(cli), &random())?;
    terminal.say(&checked.origin);
    out(&format!("log holds: {} entries, root {}", checked.size, checked.root))?;
    Ok(0)
}

fn approve_what(cli: &Cli, args: &cli::Approve) -> Result<u8, Error> {
    folder(&args.path)?;
    let what = match (args.what, &args.id) {
        (what, Some(id)) if what != cli::What::Finding => {
            return Err(Error::usage(
                format!("`{id}` is one argument too many"),
                "only `approve finding` takes an id; the others are about the tree as it stands",
            ));
        }
        (cli::What::FirstRelease, _) => approve::What::FirstRelease,
        (cli::What::LoosenedControls, _) => approve::What::LoosenedControls,
        (cli::What::Rerun, _) => approve::What::Rerun,
        (cli::What::Finding, Some(id)) => approve::What::Finding(id.clone()),
        (cli::What::Finding, None) => return Err(Error::usage("which finding?", "give its id")),
    };
    out(&approve::approve(&approve::Options {
        tree: args.path.clone(),
        home: home(cli)?,
        what,
        reason: args.reason.clone(),
        expires: args.expires,
        clock: clock(cli),
        random: random(),
    })?)?;
    Ok(0)
}

fn explain_id(id: Option<&str>) -> Result<u8, Error> {
    match id {
        None => {
            for id in explain::ids() {
                out(&id)?;
            }
            Ok(0)
        }
        Some(id) => {
            let page = explain::find(id).map_err(|hint| Error::usage(format!("there is no page `{id}`"), hint))?;
            out(page.trim_end())?;
            Ok(0)
        }
    }
}

fn man(folder: &Path) -> Result<u8, Error> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, &error))?;
    clap_mangen::generate_to(Cli::command(), folder)
        .map_err(|error| Error::io("write man pages to", folder, &error))?;
    out(&format!("man pages are in {}; look with `man -l`", folder.display()))?;
    Ok(0)
}
