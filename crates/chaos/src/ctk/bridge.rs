//! The one way to Python: a process of its own that runs functions and controls of an experiment's modules.
//!
//! It starts with the first question and is killed, with everything it started, as soon as an answer is no longer wanted;
//! the next question starts another. Questions may come from several threads: the foreground's run in its main thread,
//! where signals can interrupt them, the others beside it.
//!
//! The modules run with the rights of whoever runs the experiment, see its environment, and are given the secrets that
//! their activity names: whoever owns a module owns the run.
//!
//! Start reading at [`Bridge::ask`].

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;

use super::json;
use super::process::kill_group;
use super::raise::Raise;
use super::value::{Dict, Foreign, Kind, Value};

/// How long a wait lasts before it is asked again whether it goes on.
const SLICE_MS: u64 = 10;
const SCRIPT: &str = include_str!("bridge.py");

/// The interpreter, and the process once there is one.
pub struct Bridge {
    python: OsString,
    awaits: bool,
    running: Mutex<Option<Arc<Process>>>,
}

struct Process {
    child: Mutex<Child>,
    input: Mutex<ChildStdin>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    next: i64,
    answers: HashMap<i64, Sender<Value>>,
    ended: bool,
    /// Signals that modules sent to what they took for the experiment's own process.
    signals: Vec<i64>,
}

/// What the process is started in.
pub struct Start {
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
}

/// An answer, and what changed beside it.
#[derive(Debug)]
pub struct Answer {
    pub result: Result<Value, Raise>,
    /// What a control changed: `experiment`, `configuration`, `secrets`, `state`.
    pub changes: Dict,
    /// Environment variables that were set, or removed (`None`).
    pub env: Dict,
    pub cwd: Option<String>,
}

/// An interruption, and how long the answer may still take before the process is killed.
pub struct Stop {
    pub raise: Raise,
    pub signal: rustix::process::Signal,
    pub grace: Duration,
}

impl Bridge {
    pub fn new(python: OsString, awaits: bool) -> Bridge {
        Bridge {
            python,
            awaits,
            running: Mutex::new(None),
        }
    }

    /// Puts a question and waits for the answer, or for `stop`.
    pub fn ask(
        &self,
        operation: &str,
        mut question: Dict,
        foreground: bool,
        start: &dyn Fn() -> Start,
        stop: &dyn Fn() -> Option<Stop>,
    ) -> Answer {
        let process = match self.process(start) {
            Ok(process) => process,
            Err(raise) => return Answer::raised(raise),
        };
        let (answer, answers) = mpsc::channel();
        {
            let mut waiting = lock(&process.waiting);
            waiting.next += 1;
            question.set("id", Value::Int(waiting.next));
            let id = waiting.next;
            waiting.answers.insert(id, answer);
        }
        question.set("op", Value::str(operation));
        question.set("foreground", Value::Bool(foreground));
        let sent = json::line(&Value::Dict(question)).and_then(|line| {
            let mut input = lock(&process.input);
            let written = input.write_all(format!("{line}\n").as_bytes());
            written.map_err(|error| Raise::error("BrokenPipeError", format!("the Python process is gone: {error}")))
        });
        if let Err(raise) = sent {
            self.forget(&process);
            return Answer::raised(raise);
        }
        loop {
            match answers.recv_timeout(Duration::from_millis(SLICE_MS)) {
                Ok(answer) => return Answer::read(&answer),
                Err(RecvTimeoutError::Disconnected) => {
                    self.forget(&process);
                    return Answer::raised(Raise::error("EOFError", "the Python process ended"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(stop) = stop() {
                let mut answer = self.interrupt(&process, &answers, &stop, foreground);
                answer.result = Err(stop.raise);
                return answer;
            }
        }
    }

    /// Signals that modules sent since the last call, to be taken for signals of this process.
    pub fn signals(&self) -> Vec<i64> {
        let running = lock(&self.running).clone();
        running.map_or_else(Vec::new, |process| std::mem::take(&mut lock(&process.waiting).signals))
    }

    /// Kills it, and everything it started.
    pub fn kill(&self) {
        if let Some(process) = lock(&self.running).take() {
            process.kill();
        }
    }

    fn interrupt(
        &self,
        process: &Arc<Process>,
        answers: &mpsc::Receiver<Value>,
        stop: &Stop,
        foreground: bool,
    ) -> Answer {
        if foreground && !stop.grace.is_zero() {
            process.signal(stop.signal);
            let deadline = Instant::now() + stop.grace;
            if let Ok(answer) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                return Answer::read(&answer);
            }
        }
        if foreground {
            self.forget(process);
        }
        Answer::raised(stop.raise.clone())
    }

    fn forget(&self, process: &Arc<Process>) {
        process.kill();
        let mut running = lock(&self.running);
        if running.as_ref().is_some_and(|now| Arc::ptr_eq(now, process)) {
            *running = None;
        }
    }

    fn process(&self, start: &dyn Fn() -> Start) -> Result<Arc<Process>, Raise> {
        let mut running = lock(&self.running);
        if let Some(process) = running.as_ref().filter(|process| !lock(&process.waiting).ended) {
            return Ok(process.clone());
        }
        let process = Arc::new(self.start(start())?);
        *running = Some(process.clone());
        Ok(process)
    }

    fn start(&self, start: Start) -> Result<Process, Raise> {
        let options = format!("{{\"await\": {}}}", self.awaits);
        let mut child = Command::new(&self.python)
            .arg("-c")
            .arg(SCRIPT)
            .arg(options)
            .env_clear()
            .envs(start.env)
            .current_dir(start.cwd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let name = self.python.to_string_lossy();
                Raise::error(
                    "NoPython",
                    format!("the interpreter `{name}` can't be started: {error}"),
                )
            })?;
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Raise::error("OSError", "the Python process has no pipes"));
        };
        let reader = waiting.clone();
        std::thread::Builder::new()
            .name("ctk-bridge".to_owned())
            .spawn(move || listen(BufReader::new(output), &reader))
            .map_err(|error| Raise::error("OSError", error.to_string()))?;
        Ok(Process {
            child: Mutex::new(child),
            input: Mutex::new(input),
            waiting,
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    fn kill(&self) {
        let mut child = lock(&self.child);
        if !matches!(child.try_wait(), Ok(Some(_))) {
            kill_group(&child);
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = lock(&self.child);
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(mut output: impl BufRead, waiting: &Mutex<Waiting>) {
    let mut line = String::new();
    while output.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Ok(answer) = json::parse(line.trim_end()) {
            let mut waiting = lock(waiting);
            match (answer.find("id"), answer.find("signal")) {
                (Some(Value::Int(id)), _) => {
                    if let Some(sender) = waiting.answers.remove(id) {
                        // Whoever asked may have gone.
                        let _ = sender.send(answer);
                    }
                }
                (_, Some(Value::Int(signal))) => waiting.signals.push(*signal),
                _ => {}
            }
        }
        line.clear();
    }
    let mut waiting = lock(waiting);
    waiting.ended = true;
    waiting.answers.clear();
}

impl Answer {
    fn raised(raise: Raise) -> Answer {
        Answer {
            result: Err(raise),
            changes: Dict::default(),
            env: Dict::default(),
            cwd: None,
        }
    }

    fn read(answer: &Value) -> Answer {
        let dict = |name: &str| answer.find(name).and_then(Value::as_dict).cloned().unwrap_or_default();
        let result = match answer.find("raise") {
            Some(raise) => Err(raised(raise)),
            None => Ok(answer.find("ok").cloned().unwrap_or(Value::None)),
        };
        let changes = dict("changes").0;
        Answer {
            result,
            changes: Dict(changes.into_iter().map(|(key, value)| (key, decoded(&value))).collect()),
            env: dict("env"),
            cwd: answer.find("cwd").and_then(Value::as_str).map(str::to_owned),
        }
    }
}

fn raised(raise: &Value) -> Raise {
    let text = |name: &str| raise.find(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match text("class").as_str() {
        "SystemExit" => match raise.find("code") {
            Some(Value::Int(code)) => Raise::Exit(*code),
            _ => Raise::Exit(1),
        },
        "KeyboardInterrupt" => Raise::Keyboard,
        "InterruptExecution" => Raise::Interrupt(text("message")),
        "ActivityFailed" => Raise::Failed(text("message")),
        class => Raise::error(class, text("message")),
    }
}

/// A value as the bridge writes it: what JSON can't hold is an object with the key `$t`.
pub fn encoded(value: &Value) -> Value {
    let tagged = |kind: &str, inner: Value| Value::dict([("$t", Value::str(kind)), ("v", inner)]);
    let list = |items: &[Value]| Value::List(items.iter().map(encoded).collect());
    match value {
        Value::Bytes(bytes) => tagged(
            "bytes",
            Value::Str(base64::engine::general_purpose::STANDARD.encode(bytes)),
        ),
        Value::List(items) => list(items),
        Value::Tuple(items) => tagged("tuple", list(items)),
        Value::Dict(dict) => {
            let plain = dict
                .0
                .iter()
                .all(|(key, _)| key.as_str().is_some_and(|key| key != "$t"));
            let pair = |(key, value): &(Value, Value)| (encoded(key), encoded(value));
            if plain {
                Value::Dict(Dict(dict.0.iter().map(pair).collect()))
            } else {
                let pairs = dict
                    .0
                    .iter()
                    .map(pair)
                    .map(|(key, value)| Value::List(vec![key, value]));
                tagged("dict", Value::List(pairs.collect()))
            }
        }
        Value::Foreign(foreign) => {
            let kind = match foreign.kind {
                Kind::Date => "date",
                Kind::DateTime => "datetime",
                Kind::Decimal => "decimal",
                Kind::Uuid => "uuid",
                Kind::Other => "obj",
            };
            let handle = foreign.handle.and_then(|handle| i64::try_from(handle).ok());
            Value::dict([
                ("$t", Value::str(kind)),
                ("v", Value::str(&foreign.text)),
                ("r", Value::str(&foreign.repr)),
                ("h", handle.map_or(Value::None, Value::Int)),
            ])
        }
        other => other.clone(),
    }
}

/// The value that [`encoded`] or the bridge wrote.
pub fn decoded(value: &Value) -> Value {
    let list = |items: &[Value]| items.iter().map(decoded).collect::<Vec<_>>();
    match value {
        Value::List(items) => Value::List(list(items)),
        Value::Dict(dict) => {
            let inner = dict.get("v").unwrap_or(&Value::None);
            match (dict.get("$t").and_then(Value::as_str), inner) {
                (None, _) => Value::Dict(Dict(
                    dict.0
                        .iter()
                        .map(|(key, value)| (key.clone(), decoded(value)))
                        .collect(),
                )),
                (Some("bytes"), Value::Str(text)) => Value::Bytes(
                    base64::engine::general_purpose::STANDARD
                        .decode(text)
                        .unwrap_or_default(),
                ),
                (Some("tuple"), Value::List(items)) => Value::Tuple(list(items)),
                (Some("dict"), Value::List(pairs)) => {
                    let mut out = Dict::default();
                    for pair in pairs {
                        if let Value::List(pair) = pair
                            && let [key, value] = pair.as_slice()
                        {
                            out.0.push((decoded(key), decoded(value)));
                        }
                    }
                    Value::Dict(out)
                }
                (Some(kind), inner) => {
                    let kind = match kind {
                        "date" => Kind::Date,
                        "datetime" => Kind::DateTime,
                        "decimal" => Kind::Decimal,
                        "uuid" => Kind::Uuid,
                        _ => Kind::Other,
                    };
                    let handle = match dict.get("h") {
                        Some(Value::Int(handle)) => u64::try_from(*handle).ok(),
                        _ => None,
                    };
                    Value::Foreign(Foreign {
                        kind,
                        text: inner.text(),
                        repr: dict.get("r").map(Value::text).unwrap_or_default(),
                        handle,
                    })
                }
            }
        }
        other => other.clone(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
