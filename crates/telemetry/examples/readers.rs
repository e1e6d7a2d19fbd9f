//! How fast readers are: `cargo run --release -p telemetry --example readers` prints what each reads in a
//! second of CPU time (Linux) over a corpus that it repeats. The corpus is `fuzz/corpus/readings`.

use std::path::Path;
use std::time::Duration;

use telemetry::{Options, Reading};

/// What each reader is given, in bytes, in parts of a poll's size.
const BYTES: usize = 16 * 1024 * 1024;
const PART: usize = 256 * 1024;
const RUNS: usize = 5;

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/readings");
    for name in [
        "auditd.txt",
        "auditd-enriched.txt",
        "journald-export.bin",
        "journald.json",
        "falco.json",
        "generic.json",
        "otlp.json",
    ] {
        let bytes = std::fs::read(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a kind");
        let kind = std::str::from_utf8(&bytes[..end]).expect("a kind");
        let mut text = bytes[end + 1..].to_vec();
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        let input = text.repeat(BYTES / text.len());
        let entry = telemetry::reader(kind).expect("a kind");
        let mut rates = Vec::new();
        let mut readings = 0;
        for _ in 0..RUNS {
            let mut reader = (entry.make)("source", &Options::default());
            let begun = cpu_seconds();
            readings = 0;
            for part in input.chunks(PART) {
                let mut out: Vec<Reading> = Vec::new();
                reader.push(part, Duration::ZERO, &mut out);
                readings += out.len();
            }
            rates.push(input.len() as f64 / 1e6 / (cpu_seconds() - begun));
        }
        rates.sort_by(f64::total_cmp);
        println!("{name:20} {:7.0} MB per CPU-s  {readings} readings", rates[RUNS / 2]);
    }
}

/// What this process has used so far; other load on the machine doesn't count.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells what a process used");
    let nanos: f64 = text
        .split(' ')
        .next()
        .and_then(|first| first.parse().ok())
        .expect("a number");
    nanos / 1e9
}
