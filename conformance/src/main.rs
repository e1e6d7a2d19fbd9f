//! Other people's suites and campaigns over what users call. Thin: it knows no case by name; an expected difference
//! stands in `conformance/SUITE.toml` with its reason.
//!
//! - `bench abort --program P [--runs N]`: from a breach or a kill switch to everything undone
//! - `SUITE [DIR]`: one line for each case that differs, then `N of M`
//! - `soak NAME --program P --runs N --seed S`: campaigns
//! - `toxiproxy [record VERSION]`: Toxiproxy's clients over its API and ours, or what its server answers, written down
//! - `bench proxy [PEER [GROUP…]]`: our fault proxy beside toxiproxy-server, and the bars of each figure
//! - `bench sigma`: our Sigma engine beside rsigma's over the same events, with all rules of SigmaHQ
//! - `bench verify --program P --sigstore P [--data DIR] [--runs N]`: one Sigstore bundle, ours and its own clients
//! - `interop [--python P] [--npm DIR]`: other people's programs over what we write

mod bench_abort;
mod bench_proxy;
mod bench_sigma;
mod bench_verify;
mod blind;
mod campaigns;
mod chaos_kill;
mod choice;
mod expected;
mod interop;
mod kill;
mod mutate;
mod mutate_sigstore;
mod playbook_kill;
mod shop;
mod studies;
mod suites;
mod toxiproxy;
mod toxiproxy_soak;
mod truth;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["bench", "abort", rest @ ..] => bench_abort::run(&flags(rest)),
        ["bench", "proxy", rest @ ..] => bench_proxy::run(rest.first().copied(), rest.get(1..).unwrap_or_default()),
        ["bench", "sigma"] => bench_sigma::run(),
        ["bench", "verify", rest @ ..] => bench_verify::run(&flags(rest)),
        ["__proxy", upstream] => bench_proxy::serve(upstream),
        ["interop", rest @ ..] => interop::run(&flags(rest)),
        ["soak", "sigstore-bundles", rest @ ..] => mutate_sigstore::soak(&flags(rest)),
        ["soak", "bundles", rest @ ..] => mutate::run(&flags(rest)),
        ["soak", "choice", rest @ ..] => choice::run(&flags(rest)),
        ["soak", "campaigns", rest @ ..] => campaigns::run(&flags(rest)),
        ["soak", "chaos-kill", rest @ ..] => chaos_kill::run(&flags(rest)),
        ["soak", "playbooks", rest @ ..] => playbook_kill::run(&flags(rest)),
        [playbook_kill::CHILD, folder] => playbook_kill::child(folder),
        ["soak", "release-kill", rest @ ..] => kill::run(&flags(rest)),
        ["soak", "studies", rest @ ..] => studies::run(&flags(rest)),
        ["soak", "toxiproxy-api", rest @ ..] => toxiproxy_soak::run(&flags(rest)),
        ["soak", "truth", rest @ ..] => truth::run(&flags(rest)),
        ["soak", "blind", rest @ ..] => blind::run(&flags(rest)),
        ["toxiproxy"] => toxiproxy::run(),
        ["toxiproxy", "record", version] => toxiproxy::record(version),
        [suite] => suites::run(suite, None),
        [suite, folder] => suites::run(suite, Some(folder)),
        _ => Err(
            "usage: conform SUITE [DIR] | toxiproxy [record VERSION] | soak NAME --program P --runs N --seed S | bench abort|proxy|sigma|verify … | interop"
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
