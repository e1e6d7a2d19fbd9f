//! `bench sigma`: events per second of one core, our Sigma engine and rsigma's own, with all rules of SigmaHQ.
//!
//! Both are given the same rules and the same events as `serde_json::Value`, look at every rule whatever its
//! `logsource`, and build what their callers get: `SigmaRules::matches` and `rsigma_eval::Engine::evaluate`. rsigma's
//! index over fields and needles is always on; with and without its bloom filter it is measured, and the faster of the
//! two is the bar. (Its third filter, the feature `daachorse-index`, isn't built: measured apart, it made rsigma slower,
//! 8,400 recorded events per second instead of 11,200.) Time is the processor time of the thread, in turn, and each
//! figure the median of its rounds. The two have to agree on every event.
//!
//! Start reading at [`run`].

use std::hint::black_box;

use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use rsigma_parser::parse_sigma_yaml;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use telemetry::{SigmaRules, windows_event};

use crate::suites::data::Data;

/// Each figure is the median of so many rounds.
const ROUNDS: usize = 7;
/// One round of one side lasts at least this long.
const ROUND_SECONDS_MIN: f64 = 0.5;
/// Ours has to be so many times as fast.
const RATIO_MIN: f64 = 3.0;

pub fn run() -> Result<(), String> {
    let (rules, events) = (Data::of("sigma-rules", None)?, Data::of("sigma-regression", None)?);
    let mut files = Vec::new();
    for path in rules.files()?.into_iter().filter(|path| path.ends_with(".yml")) {
        let bytes = rules.bytes(&path)?;
        files.push((path, bytes));
    }
    let sides = Sides::load(&files)?;
    let (recorded, benign) = (recorded(&events)?, benign());
    if recorded.is_empty() {
        return Err("no event was found".to_owned());
    }
    let natively = sides.ours.natively();
    println!(
        "{} rules ({} evaluated natively, {} ask rsigma's matchers for a part, 0 as a whole)",
        natively.whole + natively.in_part,
        natively.whole,
        natively.in_part
    );
    let all = [recorded.clone(), benign.clone()].concat();
    println!(
        "{} events: {} recorded by SigmaHQ's regression sets ({:.0} %), {} lines of an ordinary Linux machine ({:.0} %): \
         auditd, sshd and process starts by thirds\n",
        all.len(),
        recorded.len(),
        percent(recorded.len(), all.len()),
        benign.len(),
        percent(benign.len(), all.len())
    );
    let matches = sides.agree(&all)?;
    println!("both match the same rules, {matches} times in all\n");
    println!("events/s of one core, medians of {ROUNDS} rounds in turn (processor time of the thread)\n");
    println!(
        "{:<10} {:>10} {:>10} {:>12} {:>7}",
        "", "ours", "rsigma", "with bloom", "ratio"
    );
    let mut ratio = 0.0;
    for (name, events) in [("recorded", &recorded), ("benign", &benign), ("all", &all)] {
        let [ours, plain, bloom] = sides.measure(events);
        ratio = ours / plain.max(bloom);
        println!("{name:<10} {ours:>10.0} {plain:>10.0} {bloom:>12.0} {ratio:>7.2}");
    }
    if ratio < RATIO_MIN {
        return Err(format!(
            "{ratio:.2} times rsigma's events per second, less than {RATIO_MIN}"
        ));
    }
    Ok(())
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// The same rules on both sides.
struct Sides {
    ours: SigmaRules,
    plain: Engine,
    bloom: Engine,
}

impl Sides {
    fn load(files: &[(String, Vec<u8>)]) -> Result<Sides, String> {
        let ours = SigmaRules::load(files).map_err(|found| found[0].message.clone())?;
        let mut parsed = Vec::new();
        for (path, bytes) in files {
            let text = std::str::from_utf8(bytes).map_err(|error| format!("`{path}`: {error}"))?;
            parsed.extend(
                parse_sigma_yaml(text)
                    .map_err(|error| format!("`{path}`: {error}"))?
                    .rules,
            );
        }
        let engine = |bloom| {
            let mut engine = Engine::new();
            engine.set_bloom_prefilter(bloom);
            match engine.add_rules(&parsed).first() {
                None => Ok(engine),
                Some((_, error)) => Err(error.to_string()),
            }
        };
        Ok(Sides {
            ours,
            plain: engine(false)?,
            bloom: engine(true)?,
        })
    }

    /// How many matches there are; an error where the two differ.
    fn agree(&self, events: &[Value]) -> Result<usize, String> {
        let mut matches = 0;
        for event in events {
            let ours = self.ours.matches(event);
            let ours: Vec<(&str, &str)> = ours
                .iter()
                .map(|found| (found.id.as_str(), found.title.as_str()))
                .collect();
            for engine in [&self.plain, &self.bloom] {
                let theirs = engine.evaluate(&JsonEvent::borrow(event));
                let theirs: Vec<(&str, &str)> = theirs
                    .iter()
                    .map(|result| {
                        (
                            result.header.rule_id.as_deref().unwrap_or_default(),
                            result.header.rule_title.as_str(),
                        )
                    })
                    .collect();
                if ours != theirs {
                    return Err(format!("the two differ: ours {ours:?}, rsigma {theirs:?}, for {event}"));
                }
            }
            matches += ours.len();
        }
        Ok(matches)
    }

    /// Events per second: ours, rsigma's, and that with its bloom filter.
    fn measure(&self, events: &[Value]) -> [f64; 3] {
        let theirs = |engine: &Engine, event: &Value| drop(black_box(engine.evaluate(&JsonEvent::borrow(event))));
        let works: [&dyn Fn(&Value); 3] = [
            &|event| drop(black_box(self.ours.matches(event))),
            &|event| theirs(&self.plain, event),
            &|event| theirs(&self.bloom, event),
        ];
        let mut figures = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            for (work, figures) in works.iter().zip(&mut figures) {
                figures.push(per_second(*work, events));
            }
        }
        figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        })
    }
}

fn per_second(work: &dyn Fn(&Value), events: &[Value]) -> f64 {
    let start = thread_seconds();
    let mut done = 0;
    loop {
        events.iter().for_each(work);
        done += events.len();
        let seconds = thread_seconds() - start;
        if seconds >= ROUND_SECONDS_MIN {
            return done as f64 / seconds;
        }
    }
}

fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Every event of the regression sets, as rules see it.
fn recorded(data: &Data) -> Result<Vec<Value>, String> {
    let mut events = Vec::new();
    for path in data.files()?.into_iter().filter(|path| path.ends_with(".json")) {
        let bytes = data.bytes(&path)?;
        for value in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
            let value = value.map_err(|error| format!("`{path}`: {error}"))?;
            events.extend(windows_event(&value).map(|event| event.fields));
        }
    }
    Ok(events)
}

/// As many lines again as there are recorded events here, give or take: what a Linux machine says on an ordinary day.
fn benign() -> Vec<Value> {
    let users = ["alice", "deploy", "postgres", "www-data", "backup"];
    let programs = [
        ("/usr/bin/ls", "ls -la /var/log", "/usr/bin/bash"),
        ("/usr/bin/git", "git fetch --prune origin", "/usr/bin/bash"),
        (
            "/usr/bin/python3.12",
            "python3 -m gunicorn shop.wsgi --workers 4 --bind 127.0.0.1:8000",
            "/usr/lib/systemd/systemd",
        ),
        (
            "/usr/lib/postgresql/17/bin/postgres",
            "postgres: autovacuum worker shop",
            "/usr/lib/postgresql/17/bin/postgres",
        ),
        (
            "/usr/bin/rsync",
            "rsync -a --delete /srv/shop/ backup@10.0.3.7:/srv/shop/",
            "/usr/sbin/cron",
        ),
        ("/usr/bin/apt-get", "apt-get -qq -y upgrade", "/usr/bin/python3.12"),
        (
            "/usr/sbin/logrotate",
            "/usr/sbin/logrotate /etc/logrotate.conf",
            "/usr/bin/dash",
        ),
        ("/usr/bin/cargo", "cargo test --workspace --locked", "/usr/bin/make"),
    ];
    let address = |at: usize| format!("10.0.{}.{}", at % 7, 20 + at % 200);
    let audited = |at: usize| {
        let (exe, line, _) = programs[at % programs.len()];
        let mut words = line.split(' ');
        let (kind, call) = [("EXECVE", "execve"), ("SYSCALL", "openat")][at % 2];
        json!({
            "type": kind, "msg": format!("audit(1790000{at:03}.412:{at})"), "arch": "c000003e",
            "syscall": call, "success": "yes", "exit": 0, "ppid": 812 + at, "pid": 2_000 + at,
            "auid": 1000, "uid": 1000, "gid": 1000, "tty": "pts0", "comm": words.clone().next(), "exe": exe,
            "a0": words.next(), "a1": words.next(), "a2": words.next(), "key": "exec", "cwd": format!("/home/{}", users[at % users.len()]),
            "name": "/etc/ld.so.cache", "nametype": "NORMAL"
        })
    };
    let login = |at: usize| {
        let user = users[at % users.len()];
        let message = match at % 3 {
            0 => format!(
                "Accepted publickey for {user} from {} port {} ssh2: ED25519 SHA256:n1aVh0bYc3s",
                address(at),
                40_000 + at
            ),
            1 => format!("pam_unix(sshd:session): session opened for user {user}(uid=1000) by {user}(uid=0)"),
            _ => format!(
                "Received disconnect from {} port {}:11: disconnected by user",
                address(at),
                40_000 + at
            ),
        };
        json!({
            "SYSLOG_IDENTIFIER": "sshd", "PRIORITY": "6", "_PID": (3_000 + at).to_string(), "_UID": "0", "_COMM": "sshd", "_EXE": "/usr/sbin/sshd",
            "_SYSTEMD_UNIT": "ssh.service", "_HOSTNAME": "shop-1", "MESSAGE": message, "message": message
        })
    };
    let started = |at: usize| {
        let (image, line, parent) = programs[at % programs.len()];
        json!({
            "EventID": 1, "Image": image, "CommandLine": line, "ParentImage": parent, "ParentCommandLine": parent, "User": users[at % users.len()],
            "CurrentDirectory": format!("/home/{}", users[at % users.len()]), "LogonId": 1000, "ProcessId": 4_000 + at, "ParentProcessId": 812,
            "Hashes": "SHA256=9f2c4e0b1d7a5c3e8f6092b4d1a7c5e3f8b0d2946a1c7e5f3b8d0a2c4e6f1907", "Computer": "shop-1"
        })
    };
    let kinds: [&dyn Fn(usize) -> Value; 3] = [&audited, &login, &started];
    (0..40).flat_map(|at| kinds.map(|kind| kind(at))).collect()
}
