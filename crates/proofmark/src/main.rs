//! The binary: arguments in, words out. Every decision is made in `pipeline`.
//!
//! Start reading at [`cli`]; what people see is in [`render`].

mod attestation;
mod chaos;
#[cfg(unix)]
mod chaos_ctk;
mod chaos_drill;
mod chaos_gates;
mod chaos_next;
mod chaos_proxy;
mod chaos_report;
mod chaos_study;
mod cli;
mod commands;
mod playbook;
mod render;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Worker and warden are this program, started again by a release: they read no command line of a person.
    #[cfg(target_os = "linux")]
    if let Some(code) = commands::helper_process() {
        return code;
    }
    commands::main()
}
