//! `soak chaos-kill`: an experiment on a real service is killed with SIGKILL (worker, supervisor, warden, holder, or all
//! at once) at random moments, over all faults on declared targets; the fault must be gone in time, and the service as it
//! was.
//!
//! With the warden alive: within 2 s. With everything dead: what the kernel bounds by the experiment's deadline and
//! 100 ms, what a process or sandbox bounds with its process, the rest once the next start (`chaos undo`, within 2 s)
//! has undone it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chaos::UndoClass;
use testkit::Rng;
use testkit::rigs::{self, Rig};

use crate::Flags;
use crate::kill::descendants;

/// With the warden alive, and for the next start.
const GONE_MS_MAX: u64 = 2_000;
/// What the kernel ends may be late by so much.
const KERNEL_LATE_MS_MAX: u64 = 100;
/// What dies with a process is gone once the kernel has taken the process down.
const PROCESS_MS_MAX: u64 = 250;
const DEADLINE_SECONDS: u64 = 4;
/// An experiment that nobody kills has ended long before.
const RUN_MS_MAX: u64 = 15_000;

pub fn run(flags: &Flags) -> Result<(), String> {
    let runs = flags.number("--runs", 1_000)?;
    let seed = flags.number("--seed", 1)?;
    let program = flags.get("--program").ok_or("`--program P` is missing")?;
    let program = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
    let folder = tempfile::Builder::new()
        .prefix("proofmark-kill-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let only = flags.get("--only");
    let kinds: Vec<_> = rigs::all()
        .into_iter()
        .filter(|(id, _)| only.is_none_or(|only| only == *id))
        .collect();
    let mut benches: BTreeMap<&str, Bench> = BTreeMap::new();
    let mut tally: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    let mut failures = Vec::new();
    for run in 0..runs {
        let seed = seed.wrapping_add(run);
        let mut rng = Rng::new(seed);
        let (id, make) = kinds[usize::try_from(run).unwrap_or(0) % kinds.len()];
        if !benches.contains_key(id) {
            benches.insert(id, Bench::new(id, make, folder.path(), &program)?);
        }
        let bench = benches.get_mut(id).ok_or("no bench")?;
        let outcome = bench.kill_once(&mut rng);
        let (victim, waited) = match &outcome {
            Ok((victim, waited)) => (*victim, *waited),
            Err((victim, _)) => (*victim, 0),
        };
        let line = tally.entry(format!("{} killed", victim.name())).or_default();
        line.0 += 1;
        line.2 = line.2.max(waited);
        if let Err((_, problem)) = outcome {
            line.1 += 1;
            let failure = format!("seed {seed} ({id}, {} killed): {problem}", victim.name());
            println!("{failure}");
            failures.push(failure);
            // What one failure left must not be the next one's.
            benches.remove(id);
        }
        if run % 50 == 49 {
            eprintln!("{} of {runs}, {} failures", run + 1, failures.len());
        }
    }
    for (what, (count, failed, waited)) in &tally {
        println!("{what:<20} {count:>5} kills, {failed} failures, gone after {waited} ms at most");
    }
    println!("{runs} kills over {} faults, {} failures", kinds.len(), failures.len());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} failures", failures.len()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Worker,
    Supervisor,
    Warden,
    Holder,
    All,
}

impl Victim {
    const ALL: [Victim; 5] = [
        Victim::Worker,
        Victim::Supervisor,
        Victim::Warden,
        Victim::Holder,
        Victim::All,
    ];

    fn name(self) -> &'static str {
        match self {
            Victim::Worker => "worker",
            Victim::Supervisor => "supervisor",
            Victim::Warden => "warden",
            Victim::Holder => "holder",
            Victim::All => "all",
        }
    }
}

/// A rig, and the folder with the experiment on it.
struct Bench {
    rig: Box<dyn Rig>,
    class: UndoClass,
    tree: PathBuf,
    home: PathBuf,
    program: PathBuf,
}

impl Bench {
    fn new(id: &str, make: rigs::Make, folder: &Path, program: &Path) -> Result<Bench, String> {
        let tree = tempfile::Builder::new()
            .prefix("proofmark-")
            .tempdir_in(folder)
            .map_err(|error| error.to_string())?
            .keep();
        let rig = tree.join("rig");
        std::fs::create_dir(&rig).map_err(|error| error.to_string())?;
        let rig = make(&rig).map_err(|problem| format!("{id}: {problem}"))?;
        let entry = chaos::faults()
            .iter()
            .find(|entry| entry.id == id)
            .ok_or_else(|| format!("no fault is called `{id}`"))?;
        std::fs::write(tree.join("proofmark.toml"), settings(&rig.targets())).map_err(|error| error.to_string())?;
        std::fs::write(tree.join("experiment.toml"), experiment(&rig.fault(), &rig.targets())?)
            .map_err(|error| error.to_string())?;
        Ok(Bench {
            rig,
            class: entry.undo_class,
            tree,
            home: folder.join("home"),
            program: program.to_owned(),
        })
    }

    /// Runs, kills, and looks what is left. The answer is how long the fault was still there, in milliseconds.
    fn kill_once(&mut self, rng: &mut Rng) -> Result<(Victim, u64), (Victim, String)> {
        let victim = *rng.pick(&Victim::ALL).unwrap_or(&Victim::All);
        self.killed(victim, rng)
            .map(|waited| (victim, waited))
            .map_err(|problem| (victim, problem))
    }

    fn killed(&mut self, victim: Victim, rng: &mut Rng) -> Result<u64, String> {
        let before = self.rig.state()?;
        if self.rig.shows()? {
            return Err("the fault shows before anything was injected".to_owned());
        }
        let mut child = self.start()?;
        self.moment(&mut child, rng)?;
        let killed = kill(victim, &child);
        let at = Instant::now();
        let gone_within = match (victim, self.class) {
            (Victim::All, UndoClass::KernelBounded) => DEADLINE_SECONDS * 1_000 + KERNEL_LATE_MS_MAX,
            (Victim::All, UndoClass::ProcessBounded | UndoClass::SandboxDiscard) => PROCESS_MS_MAX,
            (Victim::All, UndoClass::Journaled | UndoClass::Irreversible) => 0,
            // One that had ended already, or never began: the experiment goes on to its own end.
            _ if !killed => RUN_MS_MAX,
            _ => GONE_MS_MAX,
        };
        if victim == Victim::All {
            let _ = child.wait();
        }
        let mut waited = 0;
        if gone_within > 0 {
            waited = self.gone(at, gone_within)?;
        }
        finish(&mut child)?;
        if self.class == UndoClass::Irreversible {
            // The way forward is the clients' own, and who has lost a session finds out by using it.
            self.rig.shows()?;
        }
        let begun = Instant::now();
        self.undo()?;
        let took = begun.elapsed().as_millis();
        if took > u128::from(GONE_MS_MAX) {
            return Err(format!("the next start took {took} ms to undo"));
        }
        self.gone(Instant::now(), 0)?;
        let after = self.rig.state()?;
        if after != before {
            return Err(format!("it was `{before}` before and is `{after}` after"));
        }
        Ok(waited)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(&self.tree)
            .env("PROOFMARK_HOME", &self.home)
            .stdin(Stdio::null());
        command
    }

    fn start(&self) -> Result<Child, String> {
        let log = std::fs::File::create(self.tree.join("run.log")).map_err(|error| error.to_string())?;
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        self.command(&["chaos", "run", "experiment.toml"])
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|error| error.to_string())
    }

    /// Waits for a moment to kill in: a state of the journal, or a random time after the injection, or any.
    fn moment(&self, child: &mut Child, rng: &mut Rng) -> Result<(), String> {
        let wanted = *rng
            .pick(&[
                "planned",
                "injecting",
                "injected",
                "injected",
                "injected",
                "undoing",
                "",
            ])
            .unwrap_or(&"");
        let after = match wanted {
            "" => Duration::from_millis(rng.below(2_500)),
            "injected" => Duration::from_millis(rng.below(1_200)),
            _ => Duration::ZERO,
        };
        let give_up = Instant::now() + Duration::from_millis(RUN_MS_MAX);
        while !wanted.is_empty() && !self.journal_says(wanted) {
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Ok(());
            }
            if Instant::now() > give_up {
                return Err(format!("the journal never said `{wanted}`: {}", self.said()));
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep(after);
        Ok(())
    }

    fn journal_says(&self, wanted: &str) -> bool {
        let text = std::fs::read(self.tree.join(".proofmark/undo/undo.journal")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        match wanted {
            "planned" => text.contains("\"fault\":"),
            state => text.contains(&format!("\"to\":\"{state}\"")),
        }
    }

    /// Until the fault doesn't show any more; how long that took, in milliseconds.
    fn gone(&mut self, since: Instant, within_ms: u64) -> Result<u64, String> {
        loop {
            // Asking takes time itself: what counts is when the question was put.
            let asked = since.elapsed();
            if !self.rig.shows()? {
                return Ok(asked.as_millis() as u64);
            }
            if asked > Duration::from_millis(within_ms) {
                return Err(format!(
                    "the fault still shows after {} ms: {}",
                    asked.as_millis(),
                    self.said()
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn undo(&self) -> Result<(), String> {
        let out = self
            .command(&["chaos", "undo"])
            .output()
            .map_err(|error| error.to_string())?;
        if out.status.success() {
            return Ok(());
        }
        Err(format!("`chaos undo`: {}", String::from_utf8_lossy(&out.stderr).trim()))
    }

    /// What the experiment printed.
    fn said(&self) -> String {
        std::fs::read_to_string(self.tree.join("run.log")).unwrap_or_default()
    }
}

/// Kills the victim; `false` when it wasn't there.
fn kill(victim: Victim, child: &Child) -> bool {
    let helpers = descendants(child.id());
    let role = |pid: &u32, role: &str| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(role)
    };
    let chosen: Vec<u32> = match victim {
        Victim::Supervisor => vec![child.id()],
        Victim::All => std::iter::once(child.id()).chain(helpers).collect(),
        Victim::Worker => helpers.into_iter().filter(|pid| role(pid, "__worker")).collect(),
        Victim::Warden => helpers.into_iter().filter(|pid| role(pid, "__warden")).collect(),
        Victim::Holder => helpers.into_iter().filter(|pid| role(pid, "__holder")).collect(),
    };
    for pid in &chosen {
        // SAFETY: a signal to a process this campaign started a moment ago; at worst it is gone.
        unsafe { libc::kill(*pid as i32, libc::SIGKILL) };
    }
    !chosen.is_empty()
}

/// Waits for the experiment's own end.
fn finish(child: &mut Child) -> Result<(), String> {
    let until = Instant::now() + Duration::from_millis(RUN_MS_MAX);
    while Instant::now() < until {
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    Err("the experiment did not end".to_owned())
}

/// A configuration with the rig's targets, each set apart for experiments.
fn settings(targets: &str) -> String {
    let classes = UndoClass::ALL.map(|class| format!("\"{class}\"")).join(", ");
    let mut text = format!("[chaos]\ntargets_max = 16\nundo_classes = [{classes}]\n");
    for line in targets.lines() {
        text += line;
        text.push('\n');
        if line.starts_with("[chaos.target.") {
            text += "tenancy = \"dedicated\"\ncriticality = 1\n";
        }
    }
    text
}

/// The first declared target that the fault names has to be well before and after.
fn experiment(fault: &str, targets: &str) -> Result<String, String> {
    let declared = |name: &str| targets.contains(&format!("[chaos.target.{name}]"));
    let target = fault
        .lines()
        .filter_map(|line| line.split_once(" = \"")?.1.strip_suffix('"'))
        .find(|name| declared(name))
        .ok_or("the rig's fault names none of its targets")?;
    Ok(format!(
        "title = \"killed\"\ndeadline_seconds = {DEADLINE_SECONDS}\nwindow_seconds = 3\n\
         [declares]\ndata = \"synthetic\"\npaying_customers = \"none\"\ntenancy = \"dedicated\"\n\
         [steady]\ntarget = \"{target}\"\n[[fault]]\nhold_ms = 1500\n{fault}"
    ))
}
