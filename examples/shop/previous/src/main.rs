//! The storefront, version 1.3.9: shows products, takes orders, and books them in the ledger.
//!
//! `storefront --listen HOST:PORT --ledger HOST:PORT --broker HOST:PORT --identity FILE --static FOLDER`.
//! Start reading at [`api::Api::handle`].

mod api;
mod assets;
mod catalogue;
mod ledger;
mod orders;
mod shopper;

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

use common::args::Args;
use common::broker::Broker;
use common::client::Client;
use common::log::Log;
use common::server;

const LOG: Log = Log::to_stdout("storefront");

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
    let args = Args::parse(
        std::env::args().skip(1),
        &["listen", "ledger", "broker", "identity", "static"],
    )?;
    let broker = Arc::new(Broker::new(args.required("broker")?, args.required("identity")?)?);
    let entries = Box::new(Client::new(args.required("ledger")?));
    let ledger = ledger::Ledger::new(entries, broker.clone(), LOG);
    let assets = assets::Assets::read(args.required("static")?.as_ref())?;
    let listen = args.required("listen")?;
    let listener = TcpListener::bind(listen).map_err(|error| format!("can't listen on `{listen}`: {error}"))?;
    LOG.info("started", &[("version", env!("CARGO_PKG_VERSION").into())]);
    let api = api::Api::new(broker, Box::new(ledger), assets, LOG);
    server::serve(&listener, Arc::new(move |request| api.handle(request)));
    Ok(())
}
