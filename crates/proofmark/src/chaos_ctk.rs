//! `chaos run FILE --ctk-compat`: Chaos Toolkit's command line, in its words, with its exit codes.
//!
//! Start reading at [`run`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use pipeline::Error;
use pipeline::ctk::{self, Dict, Journal, Level, Options, Raise, Value, Variables};

/// The most a hypothesis beside the method may wait between two looks.
const FREQUENCY_SECONDS_MAX: f64 = 86_400.0;

#[derive(Debug, Args)]
pub struct Run {
    /// The experiment: a file; with --ctk-compat an http(s) URL too
    pub source: String,
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// One JSON document on stdout
    #[arg(long, conflicts_with = "ctk_compat")]
    pub json: bool,
    /// As Chaos Toolkit: no permit, its rollback strategies, its journal, its exit codes
    #[arg(long)]
    pub ctk_compat: bool,
    /// Where the journal goes
    #[arg(long, default_value = "./journal.json", value_name = "FILE", requires = "ctk_compat")]
    pub journal_path: PathBuf,
    /// Don't really do these
    #[arg(long, value_enum, requires = "ctk_compat")]
    pub dry: Option<Dry>,
    /// Run without checking the experiment first
    #[arg(long, requires = "ctk_compat")]
    pub no_validation: bool,
    /// Don't check certificates when the experiment is fetched
    #[arg(long, requires = "ctk_compat")]
    pub no_verify_tls: bool,
    /// When rollbacks are played; default: of the experiment, else of the settings
    #[arg(long, value_enum, requires = "ctk_compat")]
    pub rollback_strategy: Option<RollbackStrategy>,
    /// When the hypothesis is looked at; default: of the experiment, else of the settings
    #[arg(long, value_enum, requires = "ctk_compat")]
    pub hypothesis_strategy: Option<HypothesisStrategy>,
    /// Seconds between two looks at a hypothesis beside the method
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", requires = "ctk_compat")]
    pub hypothesis_frequency: f64,
    /// End the method as soon as the hypothesis beside it isn't met
    #[arg(long, requires = "ctk_compat")]
    pub fail_fast: bool,
    /// A value of the configuration: name=value or name:type=value (str, int, float, bytes, bool, json)
    #[arg(long, value_name = "NAME=VALUE", value_parser = ctk::variable, requires = "ctk_compat")]
    pub var: Vec<(String, Value)>,
    /// Values of configuration and secrets (JSON, YAML), or environment variables (lines NAME=value)
    #[arg(long, value_name = "FILE", value_parser = present, requires = "ctk_compat")]
    pub var_file: Vec<PathBuf>,
    /// Controls for every experiment (JSON, YAML)
    #[arg(long, value_name = "FILE", value_parser = present, requires = "ctk_compat")]
    pub control_file: Vec<PathBuf>,
    /// Settings; default: ~/.chaostoolkit/settings.yaml
    #[arg(long, value_name = "FILE", requires = "ctk_compat")]
    pub settings: Option<PathBuf>,
    /// The interpreter for python providers and controls; default: python3 on PATH
    #[arg(long, value_name = "PROGRAM", requires = "ctk_compat")]
    pub python: Option<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Dry {
    Probes,
    Actions,
    Activities,
    Pause,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RollbackStrategy {
    Default,
    Always,
    Never,
    Deviated,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum HypothesisStrategy {
    Default,
    BeforeMethodOnly,
    AfterMethodOnly,
    DuringMethodOnly,
    #[value(alias = "continously")]
    Continuously,
}

/// Runs an experiment; the answer is the exit code.
pub fn run(args: &Run, quiet: bool, verbose: bool) -> Result<u8, Error> {
    if !args.ctk_compat {
        return Err(Error::usage(
            "a Chaos Toolkit experiment runs in compatibility mode alone",
            "add `--ctk-compat`: the experiment then runs without a permit, as under `chaos run`",
        ));
    }
    let least = match (quiet, verbose) {
        (true, _) => Level::Error,
        (_, true) => Level::Debug,
        _ => Level::Info,
    };
    let line = move |level: Level, text: &str| {
        if level >= least {
            // One write a line: whoever reads along is woken once. Nobody is left to read it when stderr is closed.
            let line = format!("[{}] {text}\n", name(level));
            let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        }
    };
    let outcome = match options(args)? {
        Ok(options) => ctk::run_compatible(&args.source, options, &line)?,
        Err(raise) => Err(raise),
    };
    match outcome.and_then(|journal| written(&journal, &args.journal_path)) {
        Ok(journal) => {
            let status = if journal.deviated() {
                "deviated"
            } else {
                journal.status()
            };
            line(Level::Info, &format!("Experiment ended with status: {status}"));
            Ok(journal.exit_code())
        }
        Err(raise) => {
            eprintln!("error: {raise}");
            Ok(1)
        }
    }
}

fn written(journal: &Journal, path: &Path) -> Result<Journal, Raise> {
    let text = journal.text()?;
    match std::fs::write(path, text) {
        Ok(()) => Ok(journal.clone()),
        Err(error) => Err(Raise::Error {
            class: "OSError".to_owned(),
            message: format!("`{}`: {error}", path.display()),
        }),
    }
}

fn options(args: &Run) -> Result<Result<Options, Raise>, Error> {
    let cwd = std::env::current_dir().map_err(|error| Error::failed("find the working directory", error))?;
    let mut options = Options::compatible(std::env::vars_os().collect(), cwd);
    options.dry = args.dry.map(|dry| match dry {
        Dry::Probes => ctk::Dry::Probes,
        Dry::Actions => ctk::Dry::Actions,
        Dry::Activities => ctk::Dry::Activities,
        Dry::Pause => ctk::Dry::Pause,
    });
    let word = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    options.rollback_strategy = word(args.rollback_strategy.and_then(|value| value.to_possible_value()));
    options.hypothesis_strategy = word(args.hypothesis_strategy.and_then(|value| value.to_possible_value()));
    let frequency = args.hypothesis_frequency.clamp(0.0, FREQUENCY_SECONDS_MAX);
    options.hypothesis_frequency = Duration::try_from_secs_f64(frequency).unwrap_or_default();
    options.fail_fast = args.fail_fast;
    options.validate = !args.no_validation;
    options.verify_tls = !args.no_verify_tls;
    if let Some(python) = &args.python {
        options.python.clone_from(python);
        options.python_is_given = true;
    }
    options.settings = settings(args.settings.as_deref());
    for file in &args.control_file {
        match controls(file) {
            Ok(controls) => options.controls.extend(controls),
            Err(raise) => return Ok(Err(raise)),
        }
    }
    let mut variables = Variables::default();
    for file in &args.var_file {
        match ctk::variables_of_file(file, &mut variables) {
            Ok(env) => options
                .env
                .extend(env.into_iter().map(|(name, value)| (name.into(), value.into()))),
            Err(raise) => return Ok(Err(raise)),
        }
        options.variable_files.push(file.clone());
    }
    for (name, value) in &args.var {
        variables.configuration.set(name, value.clone());
    }
    options.variables = variables;
    Ok(Ok(options))
}

/// The settings; none where there is no file, or no YAML in it.
fn settings(path: Option<&Path>) -> Value {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let path = path.map_or_else(|| home.join(".chaostoolkit/settings.yaml"), Path::to_owned);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Value::None;
    };
    match ctk::parse_yaml(&text) {
        Ok(loaded) => loaded.experiment,
        Err(raise) => {
            eprintln!("warning: the settings `{}` are passed over: {raise}", path.display());
            Value::None
        }
    }
}

/// Controls by name; a file that is empty or can't be parsed is passed over, as the original passes it over.
fn controls(path: &Path) -> Result<Option<Value>, Raise> {
    let text = std::fs::read_to_string(path).map_err(|error| Raise::Error {
        class: "OSError".to_owned(),
        message: format!("`{}`: {error}", path.display()),
    })?;
    if text.is_empty() {
        return Ok(None);
    }
    let is_json = path.extension().is_some_and(|end| end == "json");
    let parsed = if is_json {
        ctk::json::parse(&text)
    } else {
        ctk::parse_yaml(&text).map(|loaded| loaded.experiment)
    };
    Ok(parsed.ok().or(Some(Value::Dict(Dict::default()))))
}

fn present(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.exists() {
        Ok(path)
    } else {
        Err("there is no such file".to_owned())
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
