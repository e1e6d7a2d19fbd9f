//! Studies: the same experiment many times, in two arms, in an order that chance drew, judged as was said before.
//!
//! A study file ([`Study`]) becomes a plan ([`Study::plan`]) that names every run, the analysis and what it can find;
//! `pipeline` logs it before the first run. What the logged runs come to ([`analyse`]) follows from them and the plan
//! alone: whoever has the log can do it again.
//!
//! It deliberately runs nothing and reads no log itself. Start reading at [`Study`], then [`analyse`].

mod analysis;
mod power;

use std::time::Duration;

use evidence::predicates::{StudyArm, StudyExperiment, StudyPlan};
use evidence::{Diagnostic, Digest};
use statistics::Random;

use crate::experiment::{DEADLINE_SECONDS_MAX, Experiment};
use crate::read::{Document, Section};

pub use analysis::{RAW_BELOW, analyse};
pub use power::power;

/// A study's file is smaller than this.
const FILE_BYTES_MAX: usize = 64 * 1024;
const BLOCKS_MAX: u64 = 100;
const BLOCK_SIZE_MAX: u64 = 16;
/// Runs of one study.
const RUNS_MAX: u64 = 400;
/// The largest seed that TOML can say.
const SEED_MAX: u64 = i64::MAX as u64;
/// Share of the control's runs in which it happens, where the file supposes none.
const EXPECTED_SHARE: f64 = 0.7;
const KEYS: &[&str] = &[
    "title",
    "treatment",
    "control",
    "aa",
    "outcome",
    "blocks",
    "block_size",
    "seed",
    "alpha",
    "window_seconds",
    "expected_share",
];
const ANALYSIS: &str = "log-rank scores of all runs together; the treatment's sum against every order that the blocks \
    allowed (normal limit with their exact variance where they are too many to count); two-sided mid-p, differs at \
    p <= alpha; a run of unknown outcome is in no estimate, and nothing differs unless it does whatever those runs were";

/// A study file, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Its file, relative to the tree.
    pub path: String,
    pub digest: Digest,
    pub title: String,
    /// File of the treatment's experiment, relative to the study's.
    pub treatment: String,
    pub control: Control,
    pub measured: Measured,
    pub blocks: u64,
    /// Even: half of each block is treated.
    pub block_size: u64,
    pub seed: u64,
    pub alpha: f64,
    /// `None`: as long as both experiments watch.
    pub window: Option<Duration>,
    pub expected_share: f64,
}

/// What the treatment is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Another experiment's file, relative to the study's.
    Experiment(String),
    /// The same run, nothing injected: what is noticed then is a false alert.
    Sham,
    /// The same experiment: whatever differs is chance.
    Same,
}

/// Which time of a run is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    Detected,
    Contained,
    Recovered,
}

impl Measured {
    const ALL: [Measured; 3] = [Measured::Detected, Measured::Contained, Measured::Recovered];

    /// As files and evidence say it.
    pub fn name(self) -> &'static str {
        match self {
            Measured::Detected => "detected",
            Measured::Contained => "contained",
            Measured::Recovered => "recovered",
        }
    }
}

impl Study {
    /// Reads a study file. `path` is where it stands, relative to the tree.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and column.
    pub fn parse(path: &str, text: &str) -> Result<Study, Vec<Diagnostic>> {
        let document = Document::new(path, text);
        if text.len() > FILE_BYTES_MAX {
            let message = format!("this study has {} bytes, more than {FILE_BYTES_MAX}", text.len());
            document.note("chaos/too-large", message, 0..0, None);
            return Err(document.into_diagnostics());
        }
        let study = {
            let table = document.parse();
            read(path, text, &document.top(&table))
        };
        match study {
            Some(study) if !document.has_problems() => Ok(study),
            _ => Err(document.into_diagnostics()),
        }
    }

    /// File of the control's experiment: the treatment's where it is the same, with or without its faults.
    pub fn control_file(&self) -> &str {
        match &self.control {
            Control::Experiment(file) => file,
            Control::Sham | Control::Same => &self.treatment,
        }
    }

    /// What will run and how it will be judged. The same files give the same plan.
    ///
    /// # Errors
    /// Why these experiments can't be compared so, each in one line.
    pub fn plan(&self, treatment: &Experiment, control: &Experiment) -> Result<StudyPlan, Vec<String>> {
        let window = self.window.unwrap_or(treatment.window.min(control.window));
        let order = self.order();
        let smallest_p = power::smallest_p(&order);
        let mut objections: Vec<String> = [treatment, control]
            .into_iter()
            .filter_map(|experiment| self.unmeasured(experiment, window))
            .collect();
        objections.dedup();
        if smallest_p > self.alpha {
            objections.push(format!(
                "no result could differ at alpha {}: the smallest p of {} blocks of {} is {smallest_p:.3}; add blocks",
                self.alpha, self.blocks, self.block_size
            ));
        }
        if !objections.is_empty() {
            return Err(objections);
        }
        let arm = |experiment: &Experiment, sham: bool| StudyExperiment {
            experiment: experiment.path.clone(),
            digest: experiment.digest,
            sham,
        };
        let design = match self.control {
            Control::Experiment(_) => "treatment-control",
            Control::Sham => "sham",
            Control::Same => "aa",
        };
        Ok(StudyPlan {
            study: self.path.clone(),
            digest: self.digest,
            title: self.title.clone(),
            design: design.to_owned(),
            treatment: arm(treatment, false),
            control: arm(control, self.control == Control::Sham),
            outcome: self.measured.name().to_owned(),
            window_us: window.as_micros() as u64,
            seed: self.seed.to_string(),
            power: power::table(&order, self.alpha, self.expected_share),
            order,
            alpha: self.alpha,
            analysis: ANALYSIS.to_owned(),
            smallest_p,
            expected_share: self.expected_share,
        })
    }

    /// Each block half treated, in an order that the seed draws.
    pub fn order(&self) -> Vec<Vec<StudyArm>> {
        let mut random = Random::new(self.seed);
        let block = |_| {
            let half = self.block_size / 2;
            let mut arms: Vec<StudyArm> = (0..self.block_size)
                .map(|at| {
                    if at < half {
                        StudyArm::Treatment
                    } else {
                        StudyArm::Control
                    }
                })
                .collect();
            random.shuffle(&mut arms);
            arms
        };
        (0..self.blocks).map(block).collect()
    }

    /// Why an experiment does not show what the study measures.
    fn unmeasured(&self, experiment: &Experiment, window: Duration) -> Option<String> {
        let file = &experiment.path;
        if window > experiment.window {
            let (asked, watched) = (window.as_secs(), experiment.window.as_secs());
            return Some(format!(
                "`{file}` watches for {watched} s, less than the study's window of {asked} s"
            ));
        }
        match self.measured {
            // A run that doesn't wait for a detection ends for another reason, which may have to do with it.
            Measured::Detected if !experiment.awaits_detection() => Some(format!(
                "`{file}` doesn't wait for a detection: give it a detector, and `detected_within_seconds`"
            )),
            Measured::Contained if experiment.probe().is_none() => {
                Some(format!("`{file}` has no fault whose containment can be seen"))
            }
            _ => None,
        }
    }
}

/// Every part is read even where another one is wrong, so that all problems are noted.
fn read(path: &str, text: &str, top: &Section<'_>) -> Option<Study> {
    top.only(KEYS);
    let title = top.text("title");
    let treatment = top.text("treatment");
    let control = read_control(top);
    let measured = read_measured(top);
    let blocks = top.number("blocks", 1..=BLOCKS_MAX);
    let block_size = top.number("block_size", 2..=BLOCK_SIZE_MAX);
    let seed = top.number("seed", 0..=SEED_MAX);
    let alpha = top.optional_share("alpha");
    let window = top.optional_number("window_seconds", 1..=DEADLINE_SECONDS_MAX);
    let expected_share = top.optional_share("expected_share");
    if let Some(odd) = block_size.filter(|size| size % 2 == 1) {
        let message = format!("a block of {odd} can't be half treated");
        top.problem("block_size", "study/odd-block", message, "make it even");
    }
    if let Some(runs) = blocks.zip(block_size).map(|(blocks, size)| blocks * size)
        && runs > RUNS_MAX
    {
        let message = format!("this study has {runs} runs, more than {RUNS_MAX}");
        top.problem("blocks", "study/too-many-runs", message, "take fewer blocks");
    }
    let study = Study {
        path: path.to_owned(),
        digest: Digest::of(text.as_bytes()),
        title: title?,
        treatment: treatment?,
        control: control?,
        measured: measured?,
        blocks: blocks?,
        block_size: block_size?,
        seed: seed?,
        alpha: alpha.unwrap_or(0.05),
        window: window.map(Duration::from_secs),
        expected_share: expected_share.unwrap_or(EXPECTED_SHARE),
    };
    if study.control == Control::Sham && study.measured != Measured::Detected {
        let message = format!("where nothing is injected, nothing is {}", study.measured.name());
        top.problem(
            "outcome",
            "study/sham",
            message,
            "a sham control can be asked for `detected` alone",
        );
    }
    Some(study)
}

fn read_control(top: &Section<'_>) -> Option<Control> {
    let same = top.optional_flag("aa").unwrap_or(false);
    match (top.optional_text("control"), same) {
        (None, true) => Some(Control::Same),
        (Some(text), false) if text == "sham" => Some(Control::Sham),
        (Some(file), false) => Some(Control::Experiment(file)),
        (given, _) => {
            let message = if given.is_some() {
                "`control` and `aa = true` are both given".to_owned()
            } else {
                "nothing says what the treatment is held against".to_owned()
            };
            let help =
                "write `control = \"FILE\"`, `control = \"sham\"` (nothing injected) or `aa = true` (the same twice)";
            top.problem("control", "study/control", message, help);
            None
        }
    }
}

fn read_measured(top: &Section<'_>) -> Option<Measured> {
    let text = top.text("outcome")?;
    let found = Measured::ALL.into_iter().find(|measured| measured.name() == text);
    if found.is_none() {
        let message = format!("`{text}` is no outcome of a run");
        top.problem(
            "outcome",
            "study/outcome",
            message,
            "known: `detected`, `contained`, `recovered`",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "title = \"t\"\ntreatment = \"a.toml\"\ncontrol = \"b.toml\"\noutcome = \"detected\"\nblocks = 4\nblock_size = 4\nseed = 7\n";

    fn study(text: &str) -> Study {
        Study::parse("study.toml", text).expect("a study")
    }

    #[test]
    fn a_file_is_read_with_its_defaults() {
        let read = study(FILE);
        assert_eq!((read.alpha, read.expected_share, read.window), (0.05, 0.7, None));
        assert_eq!((read.control_file(), read.measured), ("b.toml", Measured::Detected));
        let sham = study(&(FILE.replace("b.toml", "sham") + "alpha = 0.1\nwindow_seconds = 5\n"));
        assert_eq!(
            (sham.control_file(), &sham.control, sham.alpha),
            ("a.toml", &Control::Sham, 0.1)
        );
        assert_eq!(
            study(&FILE.replace("control = \"b.toml\"", "aa = true")).control,
            Control::Same
        );
    }

    #[track_caller]
    fn refused(from: &str, to: &str, code: &str) {
        let text = FILE.replace(from, to);
        assert_ne!(text, FILE);
        let found = Study::parse("study.toml", &text).expect_err(&text);
        assert!(
            found
                .iter()
                .any(|problem| problem.code == code && problem.span.is_some()),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        refused("block_size = 4", "block_size = 3", "study/odd-block");
        refused(
            "blocks = 4\nblock_size = 4",
            "blocks = 90\nblock_size = 8",
            "study/too-many-runs",
        );
        refused("control = \"b.toml\"\n", "", "study/control");
        refused(
            "control = \"b.toml\"",
            "control = \"b.toml\"\naa = true",
            "study/control",
        );
        refused("\"detected\"", "\"noticed\"", "study/outcome");
        refused(
            "control = \"b.toml\"\noutcome = \"detected\"",
            "control = \"sham\"\noutcome = \"recovered\"",
            "study/sham",
        );
        refused("seed", "sead", "chaos/unknown-key");
        refused("seed = 7", "seed = 7\nalpha = 1.5", "chaos/wrong-type");
    }

    #[test]
    fn blocks_are_balanced_and_drawn_from_the_seed() {
        let order = study(FILE).order();
        assert_eq!(order, study(FILE).order());
        assert!(
            order
                .iter()
                .all(|block| block.iter().filter(|arm| **arm == StudyArm::Treatment).count() == 2)
        );
        assert_ne!(order, study(&FILE.replace("seed = 7", "seed = 8")).order());
    }
}
