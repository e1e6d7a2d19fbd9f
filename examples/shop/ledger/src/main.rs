//! The ledger: keeps the shop's entries, for whoever carries a live credential.
//!
//! `ledger --listen HOST:PORT --broker HOST:PORT --identity FILE`. Start reading at [`api::Api::handle`].

mod api;
mod auth;
mod book;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use common::args::Args;
use common::broker::Broker;
use common::log::Log;
use common::server;

const LOG: Log = Log::to_stdout("ledger");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let args = Args::parse(std::env::args().skip(1), &["listen", "broker", "identity"])?;
    let broker = Broker::new(args.required("broker")?, args.required("identity")?)?;
    let listen = args.required("listen")?;
    let listener = TcpListener::bind(listen).map_err(|error| format!("can't listen on `{listen}`: {error}"))?;
    LOG.info("started", &[("version", env!("CARGO_PKG_VERSION").into())]);
    let api = api::Api::new(Box::new(broker), LOG);
    server::serve(&listener, Arc::new(move |request| api.handle(request)));
    Ok(())
}
