//! Other people's suites and campaigns over what users call. Thin: it knows no case by name; an expected difference
//! stands in `conformance/SUITE.toml` with its reason.
//!
//! - `bench abort --program P [--runs N]`: from a breach or a kill switch to everything undone
//! - `SUITE [DIR]`: one line for each case that differs, then `N of M`
//! - `soak NAME --program P --runs N --seed S`: campaigns
//! - `toxiproxy [record VERSION]`: Toxiproxy's clients over its API and ours, or what its server answers, written down
//! - `bench proxy [PEER [GROUP…]]`: our fault proxy beside toxiproxy-server, and the bars of each figure
//! - `interop [--python P] [--npm DIR]`: other people's programs over what we write

mod bench_abort;
mod bench_proxy;
mod chaos_kill;
mod expected;
mod interop;
mod kill;
mod mutate;
mod playbook_kill;
mod shop;
mod suites;
mod toxiproxy;
mod toxiproxy_soak;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["bench", "abort", rest @ ..] => bench_abort::run(&flags(rest)),
        ["bench", "proxy", rest @ ..] => bench_proxy::run(rest.first().copied(), rest.get(1..).unwrap_or_default()),
        ["__proxy", upstream] => bench_proxy::serve(upstream),
        ["interop", rest @ ..] => interop::run(&flags(rest)),
        ["soak", "bundles", rest @ ..] => mutate::run(&flags(rest)),
        ["soak", "chaos-kill", rest @ ..] => chaos_kill::run(&flags(rest)),
        ["soak", "playbooks", rest @ ..] => playbook_kill::run(&flags(rest)),
        [playbook_kill::CHILD, folder] => playbook_kill::child(folder),
        ["soak", "release-kill", rest @ ..] => kill::run(&flags(rest)),
        ["soak", "toxiproxy-api", rest @ ..] => toxiproxy_soak::run(&flags(rest)),
        ["toxiproxy"] => toxiproxy::run(),
        ["toxiproxy", "record", version] => toxiproxy::record(version),
        [suite] => suites::run(suite, None),
        [suite, folder] => suites::run(suite, Some(folder)),
        _ => Err(
            "usage: conform SUITE [DIR] | toxiproxy [record VERSION] | soak NAME --program P --runs N --seed S | bench abort|proxy … | interop"
                .to_owned(),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// `--name value` pairs.
pub struct Flags(Vec<(String, String)>);

impl Flags {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(flag, _)| flag == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        self.get(name).map_or(Ok(default), |text| {
            text.parse()
                .map_err(|_| format!("`{name} {text}`: a number is expected"))
        })
    }
}

fn flags(words: &[&str]) -> Flags {
    Flags(
        words
            .chunks_exact(2)
            .map(|pair| (pair[0].to_owned(), pair[1].to_owned()))
            .collect(),
    )
}
