//! `chaos-experiments`: other people's experiments and generated ones, under Chaos Toolkit's own `chaos` and under ours in
//! compatibility mode.
//!
//! A file whose Python modules come with Python or with Chaos Toolkit's library is run by both command lines, once in a
//! plain environment and once with every variable it asks for set; of any other file it is asked that it loads and has a
//! plan. The generated ones run in one process of the original's library and against our library function; every
//! twenty-fifth through both command lines, too. Compared are status, deviation, exit code and every activity's result;
//! times and the words of a failed connection are not.
//!
//! Start reading at [`run`]; the cases are in [`cases`].

mod cases;
mod server;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pipeline::ctk::{Dict, Dry, Journal, Options, Raise, Value, Variables, json};
use serde_json::Value as Json;

use super::{Data, guarded, unplaced};
use crate::expected::Tally;
use cases::Case;

const SECONDS_MAX: u64 = 60;
/// Through both command lines, too.
const SAMPLE_EVERY: usize = 25;

const DRIVER: &str = include_str!("../../chaos_experiments/driver.py");
const MODULES: [(&str, &str); 3] = [
    (
        "proofmark_cases.py",
        include_str!("../../chaos_experiments/proofmark_cases.py"),
    ),
    (
        "proofmark_control.py",
        include_str!("../../chaos_experiments/proofmark_control.py"),
    ),
    (
        "proofmark_unclean.py",
        include_str!("../../chaos_experiments/proofmark_unclean.py"),
    ),
];

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let bench = Bench::new()?;
    files(data, tally, &bench)?;
    let server = server::start().map_err(|error| error.to_string())?;
    let cases = cases::all(&server, bench.json_path);
    if !bench.json_path {
        println!(
            "not run: tolerances by JSON path: this `chaos` has no `jsonpath2`, and calls every one of them invalid"
        );
    }
    generated(tally, &bench, &cases)
}

/// Both sides, and a folder with the modules that generated experiments call.
struct Bench {
    chaos: PathBuf,
    python: PathBuf,
    ours: PathBuf,
    modules: tempfile::TempDir,
    /// The original can read JSON paths: an extra that its users install or not.
    json_path: bool,
}

impl Bench {
    fn new() -> Result<Bench, String> {
        let chaos = find("chaos").ok_or("`chaos` (chaostoolkit) is needed as the oracle: it is not on PATH")?;
        let script = std::fs::read_to_string(&chaos).map_err(|error| format!("`{}`: {error}", chaos.display()))?;
        let python = script.lines().next().and_then(|line| line.strip_prefix("#!"));
        let python = PathBuf::from(python.ok_or("`chaos` is no Python script")?.trim());
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        let ours = exe.with_file_name("proofmark");
        if !ours.is_file() {
            return Err(format!("`{}` is needed: build `proofmark` first", ours.display()));
        }
        let modules = tempfile::tempdir().map_err(|error| error.to_string())?;
        for (name, text) in MODULES {
            std::fs::write(modules.path().join(name), text).map_err(|error| error.to_string())?;
        }
        let json_path = Command::new(&python)
            .args(["-c", "import jsonpath2.path"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        Ok(Bench {
            chaos,
            python,
            ours,
            modules,
            json_path,
        })
    }

    fn python_path(&self) -> String {
        let inherited = std::env::var("PYTHONPATH").unwrap_or_default();
        format!("{}:{inherited}", self.modules.path().display())
    }

    fn theirs(&self, folder: &Path, file: &str, flags: &[String], env: &[(String, String)]) -> String {
        let mut command = Command::new(&self.chaos);
        let settings = folder.join("settings-that-are-not-there.yaml");
        command
            .args(["--no-version-check", "--no-log-file", "--settings"])
            .arg(settings)
            .args(["run", file])
            .args(flags);
        self.answer(command, folder, env)
    }

    fn ours(&self, folder: &Path, file: &str, flags: &[String], env: &[(String, String)]) -> String {
        let mut command = Command::new(&self.ours);
        command.args(["chaos", "run", file, "--ctk-compat", "--python"]);
        command
            .arg(&self.python)
            .arg("--settings")
            .arg(folder.join("settings-that-are-not-there.yaml"))
            .args(flags);
        self.answer(command, folder, env)
    }

    /// Exit code, and what the journal says.
    fn answer(&self, mut command: Command, folder: &Path, env: &[(String, String)]) -> String {
        let journal = folder.join("journal.json");
        let _ = std::fs::remove_file(&journal);
        command
            .current_dir(folder)
            .env("PYTHONPATH", self.python_path())
            .env("HOME", folder)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let code = match command.spawn() {
            Ok(child) => ended(child),
            Err(error) => return error.to_string(),
        };
        // A journal that holds what JSON can't breaks off in the original, and isn't written by ours.
        let told = std::fs::read_to_string(&journal)
            .ok()
            .and_then(|text| json::parse(&text).ok());
        let told = told.map_or_else(|| "no journal".to_owned(), |journal| digest(&journal));
        format!("exit {code}, {told}")
    }
}

fn ended(mut child: Child) -> String {
    let deadline = Instant::now() + Duration::from_secs(SECONDS_MAX);
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => {
                return status
                    .code()
                    .map_or_else(|| "by signal".to_owned(), |code| code.to_string());
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return error.to_string(),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    format!("not within {SECONDS_MAX} s")
}

fn files(data: &Data, tally: &mut Tally, bench: &Bench) -> Result<(), String> {
    for path in data.files()? {
        let end = Path::new(&path).extension().and_then(|end| end.to_str());
        if !matches!(end, Some("json" | "yaml" | "yml")) {
            unplaced(tally, &path);
            continue;
        }
        let text = String::from_utf8_lossy(&data.bytes(&path)?).into_owned();
        let parsed = if end == Some("json") {
            json::parse(&text).ok()
        } else {
            pipeline::ctk::parse_yaml(&text).ok().map(|loaded| loaded.experiment)
        };
        let modules = parsed.as_ref().map(modules_of).unwrap_or_default();
        if !bench.has(&modules)? {
            let got = guarded(|| planned(parsed.as_ref(), &text, end == Some("json")));
            tally.case(&format!("plan/{path}"), "a plan", &got);
            continue;
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = data.folder.join(&path);
        let beside = source.parent().unwrap_or(&data.folder);
        copy(beside, folder.path())?;
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut names = Vec::new();
        if let Some(parsed) = &parsed {
            environment_of(parsed, &mut names);
        }
        let place = folder.path().join(&name).display().to_string();
        let set: Vec<(String, String)> = names.into_iter().map(|name| (name, place.clone())).collect();
        for (way, env) in [("plain", Vec::new()), ("set", set)] {
            let expected = bench.theirs(folder.path(), &name, &[], &env);
            let got = bench.ours(folder.path(), &name, &[], &env);
            tally.case(&format!("run/{path} ({way})"), &expected, &got);
        }
    }
    Ok(())
}

impl Bench {
    /// All modules come with Python, or with Chaos Toolkit's library.
    fn has(&self, modules: &[String]) -> Result<bool, String> {
        let program = "import sys; print(all(m.split('.')[0] in sys.stdlib_module_names or m.split('.')[0] == 'chaoslib' for m in sys.argv[1:]))";
        let out = Command::new(&self.python)
            .args(["-c", program])
            .args(modules)
            .output()
            .map_err(|error| format!("`{}`: {error}", self.python.display()))?;
        Ok(out.stdout.starts_with(b"True"))
    }
}

fn planned(parsed: Option<&Value>, text: &str, is_json: bool) -> String {
    let loaded = if is_json {
        chaos::ctk::parse_json(text)
    } else {
        chaos::ctk::parse_yaml(text)
    };
    let activities = |key: &str| match parsed.and_then(|parsed| parsed.find(key)) {
        Some(Value::List(items)) => items.len(),
        _ => 0,
    };
    match loaded {
        Ok(loaded) => {
            let lines = chaos::ctk::plan(&loaded);
            let of = |phase: &str| lines.iter().filter(|line| line.phase == phase).count();
            let whole = of("method") == activities("method") && of("rollback") == activities("rollbacks");
            let told = lines
                .iter()
                .all(|line| !line.name.is_empty() && line.call != "no provider");
            if whole && told { "a plan" } else { "part of a plan" }.to_owned()
        }
        Err(raise) => raise.to_string(),
    }
}

/// Modules of python providers, of activities and controls alike.
fn modules_of(value: &Value) -> Vec<String> {
    match value {
        Value::Dict(dict) => {
            let module = dict.get("module").and_then(Value::as_str).map(str::to_owned);
            let inner = dict.0.iter().flat_map(|(_, value)| modules_of(value));
            module.into_iter().chain(inner).collect()
        }
        Value::List(items) => items.iter().flat_map(modules_of).collect(),
        _ => Vec::new(),
    }
}

/// Names of environment variables that configuration and secrets ask for.
fn environment_of(value: &Value, names: &mut Vec<String>) {
    let Some(dict) = value.as_dict() else { return };
    if dict.get("type").and_then(Value::as_str) == Some("env") {
        names.extend(dict.get("key").and_then(Value::as_str).map(str::to_owned));
    }
    for (_, inner) in &dict.0 {
        environment_of(inner, names);
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", from.display());
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap_or_default())).map_err(failed)?;
        }
    }
    Ok(())
}

fn generated(tally: &mut Tally, bench: &Bench, cases: &[Case]) -> Result<(), String> {
    // The two sides take long, and know nothing of each other.
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| -> Result<Vec<String>, String> {
            let mut driver = Driver::start(bench)?;
            cases.iter().map(|case| driver.ask(case)).collect()
        });
        let half = |skip: usize| {
            scope.spawn(move || {
                let every_other = cases.iter().skip(skip).step_by(2);
                every_other
                    .map(|case| guarded(|| library(bench, case)))
                    .collect::<Vec<String>>()
            })
        };
        let (even, odd) = (half(0), half(1));
        let halves = (even.join(), odd.join());
        (theirs.join(), halves)
    });
    let lost = |_| "a thread of the suite panicked".to_owned();
    let theirs = theirs.map_err(lost)??;
    let (even, odd) = (ours.0.map_err(lost)?, ours.1.map_err(lost)?);
    for (index, (case, expected)) in cases.iter().zip(&theirs).enumerate() {
        let got = if index % 2 == 0 {
            &even[index / 2]
        } else {
            &odd[index / 2]
        };
        tally.case(&format!("generated/{}", case.name), expected, got);
        if index % SAMPLE_EVERY == 0 && case.settings == Json::Null {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let text = serde_json::to_string(&case.experiment).unwrap_or_default();
            std::fs::write(folder.path().join("experiment.json"), text).map_err(|error| error.to_string())?;
            let flags = case.flags();
            let expected = bench.theirs(folder.path(), "experiment.json", &flags, &case.env);
            let got = bench.ours(folder.path(), "experiment.json", &flags, &case.env);
            tally.case(&format!("command-line/{}", case.name), &expected, &got);
        }
    }
    Ok(())
}

struct Driver {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Driver {
    fn start(bench: &Bench) -> Result<Driver, String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", bench.python.display());
        let mut child = Command::new(&bench.python)
            .args(["-W", "ignore", "-c", DRIVER])
            .env("PYTHONPATH", bench.python_path())
            .current_dir(bench.modules.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().ok_or("the driver has no output")?;
        Ok(Driver {
            child,
            answers: BufReader::new(output),
        })
    }

    fn ask(&mut self, case: &Case) -> Result<String, String> {
        let input = self.child.stdin.as_mut().ok_or("the driver has no input")?;
        writeln!(input, "{}", case.question()).map_err(|error| format!("the driver is gone: {error}"))?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        let answer: Json =
            serde_json::from_str(&line).map_err(|_| format!("the driver ended at the case `{}`", case.name))?;
        if let Some(class) = answer["error"].as_str() {
            return Ok(refusal(class));
        }
        let journal = json::parse(answer["journal"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        Ok(digest(&journal))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

struct Hooks;

impl chaos::ctk::Hooks for Hooks {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(0)
    }
}

fn library(bench: &Bench, case: &Case) -> String {
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| name != "PYTHONPATH").collect();
    env.push(("PYTHONPATH".into(), bench.python_path().into()));
    env.extend(case.env.iter().map(|(name, value)| (name.into(), value.into())));
    let dict = |value: &Json| match chaos::ctk::json::from_serde(value) {
        Value::Dict(dict) => dict,
        _ => Dict::default(),
    };
    let options = Options {
        hypothesis_strategy: case.hypothesis.map(str::to_owned),
        rollback_strategy: case.rollbacks.map(str::to_owned),
        hypothesis_frequency: Duration::from_secs_f64(case.frequency),
        fail_fast: case.fail_fast,
        dry: case.dry.map(|dry| match dry {
            "probes" => Dry::Probes,
            "actions" => Dry::Actions,
            "activities" => Dry::Activities,
            _ => Dry::Pause,
        }),
        validate: case.validate,
        settings: chaos::ctk::json::from_serde(&case.settings),
        variables: Variables {
            configuration: dict(&case.configuration),
            secrets: dict(&case.secrets),
        },
        python: bench.python.clone().into(),
        json_path: bench.json_path,
        ..Options::compatible(env, bench.modules.path().to_owned())
    };
    let loaded = match chaos::ctk::parse_json(&case.experiment.to_string()) {
        Ok(loaded) => loaded,
        Err(raise) => return raise.to_string(),
    };
    let journal = chaos::ctk::run(&loaded, &options, &Hooks);
    match journal
        .and_then(|journal: Journal| journal.text())
        .and_then(|text| json::parse(&text))
    {
        Ok(journal) => digest(&journal),
        Err(raise) => refusal(class(&raise)),
    }
}

fn class(raise: &Raise) -> &str {
    raise.class()
}

/// The original's own exceptions by name; whatever else it stumbles over is one answer: no journal, exit code 1.
fn refusal(class: &str) -> String {
    const OWN: [&str; 5] = [
        "InvalidActivity",
        "InvalidControl",
        "InvalidExperiment",
        "InvalidSource",
        "InterruptExecution",
    ];
    let named = OWN.contains(&class).then_some(class);
    format!("no journal: {}", named.unwrap_or("another exception"))
}

/// What is compared of a journal.
fn digest(journal: &Value) -> String {
    let states = journal.find("steady_states").cloned().unwrap_or(Value::None);
    let list = |value: Option<&Value>| match value {
        Some(Value::List(items)) => items.iter().map(entry).collect::<Vec<_>>().join("; "),
        _ => "none".to_owned(),
    };
    let state = |name: &str| match states.find(name) {
        Some(state @ Value::Dict(_)) => format!(
            "met {} [{}]{}",
            shown(state.find("steady_state_met")),
            list(state.find("probes")),
            rest(state, &["steady_state_met", "probes"])
        ),
        _ => "none".to_owned(),
    };
    // How often the hypothesis was looked at is a matter of time.
    let during = match states.find("during") {
        Some(Value::List(items)) if items.is_empty() => "none".to_owned(),
        Some(Value::List(items)) => {
            let met = items
                .iter()
                .all(|state| state.find("steady_state_met").is_some_and(Value::truthy));
            format!("always met {met}")
        }
        _ => "none".to_owned(),
    };
    let known = [
        "chaoslib-version",
        "platform",
        "node",
        "experiment",
        "start",
        "status",
        "deviated",
        "steady_states",
        "run",
        "rollbacks",
        "end",
        "duration",
    ];
    format!(
        "status {}, deviated {}, title {}, before {}, during {during}, after {}, run [{}], rollbacks [{}]{}",
        shown(journal.find("status")),
        shown(journal.find("deviated")),
        shown(
            journal
                .find("experiment")
                .and_then(|experiment| experiment.find("title"))
        ),
        state("before"),
        state("after"),
        list(journal.find("run")),
        list(journal.find("rollbacks")),
        rest(journal, &known)
    )
}

fn entry(run: &Value) -> String {
    let activity = run.find("activity");
    let name = activity.and_then(|activity| activity.find("name"));
    let marks = activity.and_then(|activity| activity.find("marks"));
    let exception = match run.find("exception") {
        Some(Value::List(lines)) => lines.last().map(Value::text).unwrap_or_default(),
        _ => String::new(),
    };
    // The reason why a connection failed is told in other words.
    let exception = match exception.find("failed to connect to ") {
        Some(at) => {
            let url = exception[at..].split(": ").next().unwrap_or_default();
            format!("{}{url}", &exception[..at])
        }
        None => exception.trim_end().to_owned(),
    };
    format!(
        "{} {} met {} {} {exception}{}{}",
        shown(name),
        shown(run.find("status")),
        shown(run.find("tolerance_met")),
        shown(run.find("output")),
        marks.map(|marks| shown(Some(marks))).unwrap_or_default(),
        rest(
            run,
            &[
                "activity",
                "output",
                "start",
                "status",
                "exception",
                "end",
                "duration",
                "tolerance_met"
            ]
        )
    )
}

/// What controls added.
fn rest(value: &Value, known: &[&str]) -> String {
    let items = value.as_dict().into_iter().flat_map(|dict| &dict.0);
    let more = items.filter(|(key, _)| !known.contains(&key.text().as_str()));
    more.map(|(key, value)| format!(" +{}={}", key.text(), shown(Some(value))))
        .collect()
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or(Ok("-".to_owned()), json::line);
    text.unwrap_or_else(|raise| raise.to_string())
}

/// A program on `PATH` or among the installed peers.
fn find(program: &str) -> Option<PathBuf> {
    let peers = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/proofmark-peers/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(peers)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
