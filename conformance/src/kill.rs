//! `soak release-kill`: a release is killed with SIGKILL at random moments, and at each state of the undo journal;
//! nothing may be left behind, and nothing acknowledged lost.
//!
//! After a kill that leaves the warden alive, leftovers are looked for 2 s later; after a kill of everything, once
//! the next start (`chaos undo`) has undone what was journaled. A full release after each tenth kill must pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use testkit::Rng;

use crate::Flags;
use crate::shop::Shop;

/// A release that is never killed is awaited this long.
const RELEASE_SECONDS_MAX: u64 = 300;
/// How long the warden has.
const WARDEN_MS: u64 = 2_000;

pub fn run(flags: &Flags) -> Result<(), String> {
    let runs = flags.number("--runs", 300)?;
    let seed = flags.number("--seed", 1)?;
    let shop = Shop::new(flags.get("--program").ok_or("`--program P` is missing")?)?;
    let begun = Instant::now();
    shop.bundle("production")?;
    let begun_warm = Instant::now();
    shop.bundle("production")?;
    let length = begun_warm.elapsed();
    println!(
        "a release takes {:.1} s cold, {:.1} s warm",
        (begun_warm - begun).as_secs_f64(),
        length.as_secs_f64()
    );
    let mounts = mounts();
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = 0;
    for run in 0..runs {
        let seed = seed.wrapping_add(run);
        let mut rng = Rng::new(seed);
        let at = Instant::now();
        let killed = kill_one(&shop, &mut rng, length, run)?;
        *states.entry(killed.state.clone()).or_default() += 1;
        let mut problems = leftovers(&shop, &killed, mounts)?;
        problems.extend(log_kept(&shop, &killed)?);
        if run % 10 == 9 {
            let (code, out, err) = shop.run(&["release"])?;
            if code != 0 {
                problems.push(format!(
                    "the next release ended with {code}: {} {}",
                    out.trim(),
                    err.trim()
                ));
            }
        }
        for problem in &problems {
            println!(
                "seed {seed} ({}, {}): {problem}",
                killed.state,
                if killed.all { "all killed" } else { "supervisor killed" }
            );
        }
        failures += u64::from(!problems.is_empty());
        eprintln!(
            "{} of {runs}: {} in {:.1} s",
            run + 1,
            killed.state,
            at.elapsed().as_secs_f64()
        );
    }
    println!("journal state at the kill:");
    for (state, count) in &states {
        println!("  {state:<20} {count}");
    }
    println!("{runs} kills, {failures} failures");
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} failures"))
    }
}

struct Killed {
    /// State of the youngest entry of the undo journal, or the stage's phase before there is one.
    state: String,
    /// Worker and warden were killed as well.
    all: bool,
    /// Entries the last checkpoint on disk committed to before the kill.
    acknowledged: u64,
}

fn kill_one(shop: &Shop, rng: &mut Rng, length: Duration, run: u64) -> Result<Killed, String> {
    let mut command = shop.command(&["release", "--quiet"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    // Three of four runs wait for a state of the journal, in turn; the others for a random moment.
    // A state that passes in a fraction of a millisecond is missed more often: it has two turns.
    const STATES: [&str; 7] = [
        "planned",
        "injecting",
        "injected",
        "undoing",
        "injecting",
        "undone",
        "way-forward-taken",
    ];
    let wanted = (run % 4 != 3).then(|| STATES[(run % 7) as usize]);
    let deadline = Instant::now() + Duration::from_micros(rng.below(length.as_micros() as u64));
    let all = rng.percent(50);
    wait(shop, &mut child, wanted, deadline, rng)?;
    let state = journal_state(shop);
    let helpers = if all { descendants(child.id()) } else { Vec::new() };
    let _ = child.kill();
    for pid in helpers {
        // SAFETY: a signal to a process this campaign started a moment ago; at worst it is gone.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
    let acknowledged = acknowledged(shop);
    let _ = child.wait();
    Ok(Killed {
        state,
        all,
        acknowledged,
    })
}

/// Until the journal shows the wanted state (the n-th time, at random), or the moment has come. The child is left
/// stopped in the first case, so that the state it is killed in is the one that was seen.
fn wait(shop: &Shop, child: &mut Child, wanted: Option<&str>, deadline: Instant, rng: &mut Rng) -> Result<(), String> {
    let give_up = Instant::now() + Duration::from_secs(RELEASE_SECONDS_MAX);
    // Of three faults two are undone and one has a way forward: that is how often each state is seen.
    let times = match wanted {
        Some("way-forward-taken") => 1,
        Some("undone") => 2,
        _ => 3,
    };
    let mut skip = rng.below(times);
    let mut last = String::new();
    let mut begun = false;
    while Instant::now() < give_up {
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            return Ok(());
        }
        let Some(wanted) = wanted else {
            if Instant::now() >= deadline {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(300));
            continue;
        };
        begun |= shop.tree.join(".proofmark/run/logs").exists();
        if !begun {
            // Nothing is injected before there are services.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        let step = if follows(&last, wanted) { NEAR } else { FAR };
        let state = stepped(shop, child, step);
        if state == last {
            continue;
        }
        last.clone_from(&state);
        if state == wanted {
            if skip == 0 {
                return Ok(());
            }
            skip -= 1;
        }
    }
    Err("a release neither ended nor reached the wanted state".to_owned())
}

/// How long the child runs between two looks: when the wanted state comes next, and else.
const NEAR: Duration = Duration::from_micros(250);
const FAR: Duration = Duration::from_millis(3);

/// Whether a state can follow directly on another one.
fn follows(last: &str, wanted: &str) -> bool {
    match wanted {
        "planned" => ["no entry", "undone", "way-forward-taken"].contains(&last),
        "injecting" => last == "planned",
        "injected" => last == "injecting",
        "undoing" => last == "injected",
        _ => ["injected", "undoing"].contains(&last),
    }
}

/// Lets the child run for a moment and stops it: the state of its journal while it stands still.
fn stepped(shop: &Shop, child: &Child, step: Duration) -> String {
    let pid = child.id() as i32;
    let until = Instant::now() + step;
    // SAFETY: signals to a child of ours that is not reaped yet.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    journal_state(shop)
}

/// The state that the journal's last record leads to.
fn journal_state(shop: &Shop) -> String {
    let text = std::fs::read(shop.tree.join(".proofmark/undo/undo.journal")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    const STATES: [&str; 5] = ["injecting", "injected", "undoing", "undone", "way-forward-taken"];
    let last = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    STATES
        .into_iter()
        .find(|state| last.contains(&format!("\"{state}\"")))
        .or_else(|| last.contains("\"fault\"").then_some("planned"))
        .unwrap_or("no entry")
        .to_owned()
}

/// Size that the checkpoint on disk commits to.
fn acknowledged(shop: &Shop) -> u64 {
    let note = std::fs::read_to_string(shop.tree.join(".proofmark/log/checkpoint")).unwrap_or_default();
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

fn leftovers(shop: &Shop, killed: &Killed, mounts_before: usize) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    if killed.all {
        // Whatever is bound to a process is gone with it, in milliseconds.
        std::thread::sleep(Duration::from_millis(200));
    } else {
        std::thread::sleep(Duration::from_millis(WARDEN_MS));
    }
    problems.extend(
        processes(&shop.tree)
            .into_iter()
            .map(|process| format!("process left: {process}")),
    );
    let (code, _, err) = shop.run(&["chaos", "undo"])?;
    if code != 0 {
        problems.push(format!("`chaos undo` ended with {code}: {}", err.trim()));
    }
    problems.extend(
        processes(&shop.tree)
            .into_iter()
            .map(|process| format!("process left after the next start: {process}")),
    );
    if shop.tree.join(".proofmark/run").exists() {
        problems.push("scratch is left".to_owned());
    }
    let format = std::fs::read_to_string(shop.tree.join(".proofmark/FORMAT")).unwrap_or_default();
    if let Some(id) = format.lines().find_map(|line| line.strip_prefix("id ")) {
        let temporary = std::env::temp_dir().join(format!("proofmark-{id}"));
        if temporary.exists() {
            problems.push(format!("{} is left", temporary.display()));
        }
    }
    let state = journal_state(shop);
    if ["planned", "injecting", "injected", "undoing"].contains(&state.as_str()) {
        problems.push(format!("the undo journal still says `{state}`"));
    }
    if mounts() != mounts_before {
        problems.push("a mount is left".to_owned());
    }
    problems.extend(
        temporary(&shop.tree.join(".proofmark"))
            .into_iter()
            .map(|path| format!("temporary file left: {}", path.display())),
    );
    let storage = host::DiskStorage::open(&shop.tree.join(".proofmark/leases")).map_err(|error| error.to_string())?;
    let open = credentials::unclosed(&storage).map_err(|error| error.to_string())?;
    if !open.is_empty() {
        problems.push(format!("{} leases are open", open.len()));
    }
    Ok(problems)
}

fn log_kept(shop: &Shop, killed: &Killed) -> Result<Vec<String>, String> {
    let (code, out, err) = shop.run(&["log", "fsck"])?;
    if code != 0 {
        return Ok(vec![format!("`log fsck` ended with {code}: {}", err.trim())]);
    }
    let size: u64 = out.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0);
    if size < killed.acknowledged {
        return Ok(vec![format!(
            "{} entries were acknowledged, {size} are there",
            killed.acknowledged
        )]);
    }
    Ok(Vec::new())
}

/// Every process that has to do with the tree, by command line or working directory.
fn processes(tree: &Path) -> Vec<String> {
    let tree = tree
        .canonicalize()
        .unwrap_or_else(|_| tree.to_owned())
        .display()
        .to_string();
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) || pid == own {
            continue;
        }
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let folder = std::fs::read_link(entry.path().join("cwd"))
            .unwrap_or_default()
            .display()
            .to_string();
        let zombie = std::fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| stat.contains(") Z "));
        if !zombie && (command.contains(&tree) || folder.starts_with(&tree)) {
            found.push(format!("{pid} {command}"));
        }
    }
    found
}

/// Worker and warden and everything else below a process.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let parent: Option<u32> = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|word| word.parse().ok());
        if let Some(parent) = parent {
            parents.push((pid, parent));
        }
    }
    let mut found: Vec<u32> = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

fn mounts() -> usize {
    std::fs::read_to_string("/proc/self/mounts")
        .unwrap_or_default()
        .lines()
        .count()
}

fn temporary(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tmp") || name.starts_with(".replacing-") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(temporary(&path));
        }
    }
    found
}
