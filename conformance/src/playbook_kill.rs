//! `soak playbooks`: real runs of random playbooks are killed with SIGKILL at random moments, several times each, and
//! run on; whatever a step does to the world has happened exactly once then, or was taken back.
//!
//! A step writes a line to a ledger file through bash. What becomes of it follows from its kind:
//!
//! - plain: one line, exactly; after an interruption a person (this campaign) looks and says whether it is there
//! - idempotent: a file, which is there
//! - compensated: a line that is there once, or as often as it was taken back where the step says so
//!
//! Start reading at [`run`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use playbooks::{HostActuators, Inputs, Playbook, RunStatus, RunStore, STEP_EXTENSION, WaitingFor};
use serde_json::{Value, json};
use testkit::Rng;

use crate::Flags;

/// First word of the process that runs a playbook, and is killed.
pub const CHILD: &str = "__playbook";
/// Name of the run.
const RUN: &str = "soak";
/// A run is killed at most so often, and then left to end.
const KILLS_MAX: u64 = 4;
/// A run that neither ends nor waits for a person is a failure after so many turns.
const TURNS_MAX: u64 = 60;
/// How long the processes of a killed run may be there after it.
const LEFT_MS_MAX: u64 = 2_000;

pub fn run(flags: &Flags) -> Result<(), String> {
    let (runs, first) = (flags.number("--runs", 300)?, flags.number("--seed", 1)?);
    let mut counted = Counted::default();
    let mut failures = 0;
    for number in 0..runs {
        let seed = first.wrapping_add(number);
        let problems = match one(seed, &mut counted) {
            Ok(problems) => problems,
            Err(problem) => vec![problem],
        };
        for problem in &problems {
            println!("seed {seed}: {problem}");
        }
        failures += u64::from(!problems.is_empty());
        eprintln!("{} of {runs}: {} kills so far", number + 1, counted.kills);
    }
    println!(
        "{} kills, {} within a command; {} commands settled by a person, {} taken back",
        counted.kills, counted.within, counted.settled, counted.taken_back
    );
    println!("{runs} runs, {failures} failures");
    match (failures, runs == 0 || counted.kills > 0) {
        (0, true) => Ok(()),
        (0, false) => Err("nothing was killed".to_owned()),
        (failures, _) => Err(format!("{failures} failures")),
    }
}

#[derive(Default)]
struct Counted {
    kills: u64,
    /// Kills that left a command started and not finished.
    within: u64,
    settled: u64,
    taken_back: u64,
}

/// The process that is killed: goes on with the run of a folder. Exit code 0: over; 3: a person is needed.
pub fn child(folder: &str) -> Result<(), String> {
    let folder = PathBuf::from(folder);
    let text = std::fs::read_to_string(folder.join("playbook.json")).map_err(|error| error.to_string())?;
    let called = std::fs::read_to_string(folder.join("called.json")).map_err(|error| error.to_string())?;
    let parse = |text: &str| Playbook::parse(text).map_err(|report| report.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let path = std::env::var("PATH").unwrap_or_default();
    let actuators = HostActuators {
        folder: folder.clone(),
        environment: [("PATH".to_owned(), path)].into(),
        hide: Vec::new(),
        writable: None,
        isolation: host::process::Wanted::None,
        hosts: BTreeSet::new(),
        library: vec![parse(&called)?],
        runtime: runtime.handle().clone(),
        clock: Arc::new(host::now),
        cancel: host::process::Cancel::new(),
    };
    let inputs = Inputs {
        run: RUN.to_owned(),
        ..Inputs::default()
    };
    let record =
        playbooks::run(&parse(&text)?, &inputs, &actuators, &store(&folder)?).map_err(|error| error.to_string())?;
    match record.status {
        RunStatus::Waiting(_) => std::process::exit(3),
        _ => Ok(()),
    }
}

fn store(folder: &Path) -> Result<RunStore, String> {
    let storage = host::DiskStorage::open(&folder.join("store")).map_err(|error| error.to_string())?;
    Ok(RunStore::new(Arc::new(storage)))
}

/// One playbook, killed and run on until it is over: what is wrong then.
fn one(seed: u64, counted: &mut Counted) -> Result<Vec<String>, String> {
    let mut rng = Rng::new(seed);
    let made = Made::new(&mut rng);
    // An undisturbed run first: it tells how long one takes, and that it does what it should.
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    made.write(scratch.path())?;
    let begun = Instant::now();
    let code = turn(scratch.path(), None)?;
    let length = begun.elapsed();
    let mut problems = made.problems(scratch.path(), "undisturbed: ")?;
    if code != Some(0) {
        problems.push(format!("undisturbed: the run ended with {code:?}"));
    }
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    made.write(scratch.path())?;
    let folder = scratch.path();
    let mut kills = 1 + rng.below(KILLS_MAX);
    for _ in 0..TURNS_MAX {
        let at = (kills > 0).then(|| Duration::from_micros(rng.below(length.as_micros() as u64)));
        kills = kills.saturating_sub(1);
        let code = turn(folder, at)?;
        if code.is_none() {
            counted.kills += 1;
            if let Some(left) = left_over(folder) {
                problems.push(format!("a process outlives the run: {left}"));
            }
        }
        let store = store(folder)?;
        // Killed before it was begun: nothing has happened.
        let Ok(summary) = store.summary(RUN) else {
            continue;
        };
        if summary.ended.is_some() {
            break;
        }
        if code.is_none() {
            counted.within += u64::from(!summary.waiting.is_empty());
            continue;
        }
        for place in summary.waiting {
            if place.kind != WaitingFor::Settlement {
                problems.push(format!("it asks somebody at {}", place.unit));
                return Ok(problems);
            }
            let happened = made.happened(folder, &place.unit)?;
            let now = host::now().utc;
            store
                .settle(RUN, &place.unit, happened, "soak", now)
                .map_err(|error| error.to_string())?;
            counted.settled += 1;
        }
    }
    counted.taken_back += made.taken_back(folder)?.len() as u64;
    problems.extend(made.problems(folder, "")?);
    let summary = store(folder)?.summary(RUN).map_err(|error| error.to_string())?;
    match summary.ended {
        Some((true, _)) => {}
        Some((false, reason)) => problems.push(format!("the run failed: {reason}")),
        None => problems.push("the run never ends".to_owned()),
    }
    Ok(problems)
}

/// Lets the run go on: its exit code, or `None` when it was killed `after` that time.
fn turn(folder: &Path, after: Option<Duration>) -> Result<Option<i32>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .arg(CHILD)
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let Some(after) = after else {
        let status = child.wait().map_err(|error| error.to_string())?;
        return Ok(Some(status.code().unwrap_or(-1)));
    };
    let until = Instant::now() + after;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(Some(status.code().unwrap_or(-1)));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let _ = child.kill();
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok(status.code())
}

/// Waits until nothing runs in the folder any more; what still does after the time it may take.
fn left_over(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let until = Instant::now() + Duration::from_millis(LEFT_MS_MAX);
    loop {
        let found = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .find(|entry| std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder)));
        let found = found?;
        if Instant::now() >= until {
            let command = std::fs::read(found.path().join("cmdline")).unwrap_or_default();
            return Some(String::from_utf8_lossy(&command).replace('\0', " "));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What one step does to the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Plain,
    Idempotent,
    Compensated,
}

/// A random playbook, and what it does.
struct Made {
    document: Value,
    called: Value,
    /// Effect and word of each step, by its number; that of a loop's step stands once for each round.
    effects: Vec<(Effect, String)>,
    /// The other playbook may still be called.
    may_call: bool,
    next_id: u32,
    workflow: serde_json::Map<String, Value>,
}

/// Rounds of each loop.
const ROUNDS: u64 = 3;

impl Made {
    fn new(rng: &mut Rng) -> Made {
        let mut made = Made {
            document: Value::Null,
            called: Value::Null,
            effects: Vec::new(),
            may_call: false,
            next_id: 0,
            workflow: serde_json::Map::new(),
        };
        let first = made.sequence(rng, 3);
        made.called = made.close(&first, "00000000-0000-4000-8000-000000000002");
        made.may_call = true;
        let first = made.sequence(rng, 0);
        made.document = made.close(&first, "00000000-0000-4000-8000-000000000001");
        made
    }

    fn id(&mut self, kind: &str) -> String {
        self.next_id += 1;
        format!("{kind}--00000000-0000-4000-8000-{:012}", self.next_id)
    }

    /// A few steps one after the other: the first one's id. Deeper ones are simpler.
    fn sequence(&mut self, rng: &mut Rng, depth: u64) -> String {
        let mut next = self.id("end");
        self.workflow.insert(next.clone(), json!({"type": "end"}));
        for _ in 0..2 + rng.below(3) {
            next = match rng.below(if depth == 0 { 9 } else { 4 }) {
                0 | 1 => self.action(rng, Effect::Plain, &next),
                2 => self.action(rng, Effect::Idempotent, &next),
                3 => self.action(rng, Effect::Compensated, &next),
                4 | 5 => {
                    let (one, other) = (self.sequence(rng, depth + 1), self.sequence(rng, depth + 1));
                    self.step("parallel", json!({"next_steps": [one, other], "on_completion": next}))
                }
                6 => {
                    let branch = self.sequence(rng, depth + 1);
                    self.step(
                        "if-condition",
                        json!({"condition": "__yes__:value = 'true'", "on_true": branch, "on_completion": next}),
                    )
                }
                7 => self.rounds(&next),
                // Once: its steps write their words once.
                _ if self.may_call => {
                    self.may_call = false;
                    let id = self.called["id"].clone();
                    self.step("playbook-action", json!({"playbook_id": id, "on_completion": next}))
                }
                _ => self.action(rng, Effect::Plain, &next),
            };
        }
        next
    }

    fn step(&mut self, kind: &str, mut step: Value) -> String {
        let id = self.id(kind);
        step["type"] = json!(kind);
        self.workflow.insert(id.clone(), step);
        id
    }

    fn bash(&mut self, command: &str, more: Value) -> String {
        let mut step = json!({
            "commands": [{"type": "bash", "command": command}],
            "agent": "linux--00000000-0000-4000-8000-000000000001",
            "timeout": 60_000,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            step[name] = value.clone();
        }
        self.step("action", step)
    }

    fn action(&mut self, rng: &mut Rng, effect: Effect, next: &str) -> String {
        let word = format!("w{}", self.effects.len());
        self.effects.push((effect, word.clone()));
        // Time to be killed in, before and after the effect.
        let (before, after) = (rng.below(8), rng.below(8));
        let around = |effect: String| format!("sleep 0.00{before}; {effect}; sleep 0.00{after}");
        match effect {
            Effect::Plain => self.bash(
                &around(format!("echo {word} >> ledger")),
                json!({"on_completion": next}),
            ),
            Effect::Idempotent => self.bash(
                &around(format!("echo done > mark-{word}")),
                json!({"on_completion": next, "step_extensions": {STEP_EXTENSION: {"idempotent": true}}}),
            ),
            Effect::Compensated => {
                let back = self.bash(
                    &format!("if [ \"$(grep -cx '+{word}' ledger)\" -gt \"$(grep -cx -e '-{word}' ledger)\" ]; then echo '-{word}' >> ledger; fi"),
                    json!({"step_extensions": {STEP_EXTENSION: {"idempotent": true}}}),
                );
                self.bash(
                    &around(format!("echo +{word} >> ledger")),
                    json!({"on_success": next, "on_failure": next, "step_extensions": {STEP_EXTENSION: {"compensation": back}}}),
                )
            }
        }
    }

    /// A loop whose rounds each write a line of their own.
    fn rounds(&mut self, next: &str) -> String {
        let number = self.effects.len();
        let words = (0..ROUNDS).map(|round| (Effect::Plain, format!("l{number}.{round}")));
        self.effects.extend(words);
        let end = self.step("end", json!({}));
        let variable = format!("__n{number}__");
        let count = self.bash(
            &format!("echo $(({variable}:value + 1))"),
            json!({"on_completion": end, "out_args": [variable], "step_extensions": {STEP_EXTENSION: {"idempotent": true}}}),
        );
        let write = self.bash(
            &format!("echo l{number}.{variable}:value >> ledger"),
            json!({"on_completion": count}),
        );
        let condition = format!("{variable}:value < {ROUNDS}");
        self.step(
            "while-condition",
            json!({"condition": condition, "on_true": write, "on_completion": next}),
        )
    }

    fn close(&mut self, first: &str, id: &str) -> Value {
        let start = self.step("start", json!({"on_completion": first}));
        let mut variables = json!({"__yes__": {"type": "bool", "value": "true"}});
        for number in 0..self.effects.len() {
            variables[format!("__n{number}__")] = json!({"type": "integer", "value": "0"});
        }
        json!({
            "type": "playbook",
            "spec_version": "cacao-2.0",
            "id": format!("playbook--{id}"),
            "name": "soak",
            "created_by": format!("identity--{id}"),
            "created": "2026-11-24T00:00:00.000Z",
            "modified": "2026-11-24T00:00:00.000Z",
            "playbook_variables": variables,
            "workflow_start": start,
            "workflow": std::mem::take(&mut self.workflow),
            "agent_definitions": {
                "linux--00000000-0000-4000-8000-000000000001":
                    {"type": "linux", "name": "here", "address": {"dname": ["localhost"]}},
            },
            "extension_definitions": {
                STEP_EXTENSION: {"type": "extension-definition", "name": "proofmark-step",
                    "created_by": format!("identity--{id}"), "schema": "https://proofmark.dev/cacao/proofmark-step/v1",
                    "version": "1.0.0"},
            },
        })
    }

    fn write(&self, folder: &Path) -> Result<(), String> {
        let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).map_err(|error| error.to_string());
        put("playbook.json", &self.document.to_string())?;
        put("called.json", &self.called.to_string())?;
        put("ledger", "")
    }

    /// Whether the command of a unit has had its effect: what a person would look for.
    fn happened(&self, folder: &Path, unit: &str) -> Result<bool, String> {
        let step = unit.rsplit('/').nth(1).unwrap_or_default();
        let steps = [&self.document, &self.called].map(|document| &document["workflow"][step]);
        let command = steps
            .iter()
            .find_map(|step| step["commands"][0]["command"].as_str())
            .ok_or_else(|| format!("`{unit}` is no unit of the playbook"))?;
        let mut word = command
            .split(';')
            .find_map(|part| part.trim().strip_prefix("echo ")?.strip_suffix(" >> ledger"))
            .ok_or_else(|| format!("`{command}` needs nobody"))?
            .to_owned();
        // Within a loop the round is the part of the unit before the step.
        if let Some((loop_word, _)) = word.split_once(".__") {
            let round = unit.rsplit('/').nth(2).unwrap_or_default();
            word = format!("{loop_word}.{round}");
        }
        Ok(lines(folder)?.contains(&word))
    }

    /// Words of the steps that the journal calls taken back.
    fn taken_back(&self, folder: &Path) -> Result<BTreeSet<String>, String> {
        let path = folder.join(format!("store/runs/{RUN}.journal"));
        let journal = std::fs::read_to_string(path).unwrap_or_default();
        let mut words = BTreeSet::new();
        for line in journal
            .lines()
            .filter(|line| line.contains("was interrupted, and taken back by"))
        {
            let record: Value = serde_json::from_str(line.split_once(' ').map_or("", |(_, json)| json))
                .map_err(|error| format!("the journal: {error}"))?;
            let unit = record["unit"].as_str().unwrap_or_default();
            let step = unit.rsplit('/').nth(1).unwrap_or_default();
            let steps = [&self.document, &self.called].map(|document| &document["workflow"][step]);
            let command = steps.iter().find_map(|step| step["commands"][0]["command"].as_str());
            let word = command
                .and_then(|command| command.split("echo +").nth(1)?.split(' ').next())
                .ok_or_else(|| format!("`{unit}` was taken back, and can't be"))?;
            words.insert(word.to_owned());
        }
        Ok(words)
    }

    fn problems(&self, folder: &Path, context: &str) -> Result<Vec<String>, String> {
        let lines = lines(folder)?;
        let taken_back = self.taken_back(folder)?;
        let count = |word: &str| lines.iter().filter(|line| *line == word).count();
        let used = !self.may_call;
        let called = self.called.to_string();
        let mut problems = Vec::new();
        for (effect, word) in &self.effects {
            // The first ones are those of the playbook that may or may not be called.
            let of_called = ["echo ", "echo +", "mark-"]
                .iter()
                .any(|lead| called.contains(&format!("{lead}{word} ")))
                || called.contains(&format!("mark-{word};"));
            let times = usize::from(!of_called || used);
            match effect {
                Effect::Plain if count(word) != times => {
                    problems.push(format!("{context}plain `{word}`: {} times", count(word)));
                }
                Effect::Idempotent if folder.join(format!("mark-{word}")).exists() != (times == 1) => {
                    problems.push(format!("{context}idempotent `{word}` is wrong"));
                }
                Effect::Compensated => {
                    let (done, back) = (count(&format!("+{word}")), count(&format!("-{word}")));
                    let expected = if taken_back.contains(word) { 0 } else { times };
                    if done != back + expected {
                        problems.push(format!(
                            "{context}compensated `{word}`: {done} times, taken back {back} times"
                        ));
                    }
                }
                _ => {}
            }
        }
        Ok(problems)
    }
}

fn lines(folder: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(folder.join("ledger")).map_err(|error| error.to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}
