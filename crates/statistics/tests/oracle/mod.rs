//! lifelines and scipy as oracle: finds them, asks `conformance/scripts/lifelines_oracle.py`, and holds this crate's
//! answers against theirs. Also used by the campaigns of `conformance`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use statistics::{Block, KaplanMeier, Time};

/// What an estimate may differ by, of its size, or of 1 where it is smaller.
const ESTIMATE: f64 = 1e-9;
/// What a distribution function may differ by, of its size.
const FUNCTION: f64 = 1e-12;

/// A Python that has lifelines: the peers' own, or the first of `PATH`.
pub fn python() -> Option<PathBuf> {
    let peers = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/proofmark-peers/venv/lifelines/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has_it = |python: &PathBuf| {
        let mut command = Command::new(python);
        let command = command.args(["-c", "import lifelines"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let programs = peers.map(|bin| bin.join("python"));
    let programs = programs
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join("python3")));
    programs.filter(|program| program.is_file()).find(has_it)
}

/// Cases of its own making, answered.
#[allow(dead_code, reason = "this crate's side of it")]
pub fn made(python: &Path, number: u64, seed: u64) -> Result<Vec<Value>, String> {
    run(python, &["--record", &number.to_string(), &seed.to_string()], "")
}

/// These cases, answered.
#[allow(dead_code, reason = "the campaigns' side of it")]
pub fn asked(python: &Path, cases: &[Value]) -> Result<Vec<Value>, String> {
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    run(python, &[], &lines)
}

fn run(python: &Path, args: &[&str], input: &str) -> Result<Vec<Value>, String> {
    // Relative to either crate that uses this file.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let script = root
        .map(|folder| folder.join("conformance/scripts/lifelines_oracle.py"))
        .find(|script| script.is_file())
        .ok_or("no script `lifelines_oracle.py`")?;
    let said = |error: std::io::Error| format!("{}: {error}", python.display());
    let mut command = Command::new(python);
    command
        .arg(script)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(said)?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let input = input.to_owned();
    // Answers come before the last case is written.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(said)?;
    let written = writer.join();
    if !output.status.success() {
        return Err(format!("the oracle ended with {}", output.status));
    }
    written.map_err(|_| "the writer panicked")?.map_err(said)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
        .collect()
}

/// Where we don't say what the answered case says: one line each.
pub fn differences(case: &Value) -> Vec<String> {
    let mut compare = Compare {
        case,
        found: Vec::new(),
    };
    let answer = &case["answer"];
    match case["kind"].as_str().unwrap_or_default() {
        "survival" => compare.survival(answer),
        "log_rank" => {
            let ours = statistics::log_rank(&times(&case["one"]), &times(&case["other"]));
            compare.estimates(&[("chi2", Some(ours.chi2)), ("p", Some(ours.p))], answer);
        }
        "stratified" => {
            let ours = statistics::log_rank_stratified(&blocks(&case["blocks"]));
            compare.estimates(&[("chi2", Some(ours.chi2)), ("p", Some(ours.p))], answer);
        }
        "permuted" => {
            let ours = statistics::permuted_log_rank(&blocks(&case["blocks"]));
            compare.estimates(&[("excess", Some(ours.excess)), ("p", Some(ours.p))], answer);
        }
        "wilson" => {
            let number = |key: &str| case[key].as_u64().unwrap_or_default();
            let ours = statistics::wilson_at(number("k"), number("n"), case["z"].as_f64().unwrap_or_default());
            let (low, high) = (ours.map(|ours| ours.low), ours.map(|ours| ours.high));
            compare.estimates(&[("low", low), ("high", high)], answer);
        }
        "function" => compare.function(answer),
        other => compare.found.push(format!("no kind `{other}`")),
    }
    compare.found
}

struct Compare<'a> {
    case: &'a Value,
    found: Vec<String>,
}

impl Compare<'_> {
    fn survival(&mut self, answer: &Value) {
        let fitted = KaplanMeier::fit(&times(&self.case["times"]));
        let points: Vec<&Value> = answer["points"].as_array().into_iter().flatten().collect();
        if points.len() != fitted.points().len() {
            self.found
                .push(format!("{} points, not {}", fitted.points().len(), points.len()));
        }
        for (ours, theirs) in fitted.points().iter().zip(points) {
            let ours = [
                ours.time,
                ours.at_risk as f64,
                ours.events as f64,
                ours.censored as f64,
                ours.survival,
                ours.low,
                ours.high,
            ];
            for (at, ours) in ours.into_iter().enumerate() {
                self.number(&format!("point {at}"), Some(ours), theirs[at].as_f64(), ESTIMATE, 1.0);
            }
        }
        let median = fitted.median();
        let (low, high) = median.interval.unwrap_or_default();
        let mean = fitted.restricted_mean(self.case["tau"].as_f64().unwrap_or_default());
        let ours = [
            ("median", median.value),
            ("median_low", low),
            ("median_high", high),
            ("restricted_mean", mean.value),
        ];
        self.estimates(&ours, answer);
    }

    fn function(&mut self, answer: &Value) {
        let arguments: Vec<f64> = self.case["arguments"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect();
        let ours = match (self.case["name"].as_str().unwrap_or_default(), arguments.as_slice()) {
            ("normal_cdf", [x]) => Some(statistics::normal_cdf(*x)),
            ("normal_sf", [x]) => Some(statistics::normal_sf(*x)),
            ("normal_quantile", [p]) => Some(statistics::normal_quantile(*p)),
            ("chi_squared_cdf", [x, df]) => Some(statistics::chi_squared_cdf(*x, *df)),
            ("chi_squared_sf", [x, df]) => Some(statistics::chi_squared_sf(*x, *df)),
            ("chi_squared_quantile", [p, df]) => Some(statistics::chi_squared_quantile(*p, *df)),
            ("beta_cdf", [x, a, b]) => Some(statistics::beta_cdf(*x, *a, *b)),
            ("beta_quantile", [p, a, b]) => Some(statistics::beta_quantile(*p, *a, *b)),
            ("quantile", [p, values @ ..]) => statistics::quantile(values, *p),
            _ => None,
        };
        self.number("value", ours, answer.as_f64(), FUNCTION, 0.0);
    }

    fn estimates(&mut self, ours: &[(&str, Option<f64>)], answer: &Value) {
        for (name, ours) in ours {
            self.number(name, *ours, answer[*name].as_f64(), ESTIMATE, 1.0);
        }
    }

    fn number(&mut self, name: &str, ours: Option<f64>, theirs: Option<f64>, share: f64, size_min: f64) {
        let same = match (ours, theirs) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= share * theirs.abs().max(size_min),
            _ => false,
        };
        if !same {
            self.found.push(format!("{name}: {ours:?}, oracle {theirs:?}"));
        }
    }
}

fn times(value: &Value) -> Vec<Time> {
    let one = |time: &Value| {
        Some(Time {
            seconds: time[0].as_f64()?,
            observed: time[1].as_bool()?,
        })
    };
    value.as_array().into_iter().flatten().filter_map(one).collect()
}

fn blocks(value: &Value) -> Vec<Block> {
    let one = |block: &Value| Block {
        treatment: times(&block[0]),
        control: times(&block[1]),
    };
    value.as_array().into_iter().flatten().map(one).collect()
}
