//! `proofmark chaos proxy`: says where Toxiproxy's API listens, and how to talk to it.

use std::net::SocketAddr;
use std::sync::Arc;

use pipeline::{Error, fault_proxy};

use crate::cli::ChaosProxy;
use crate::render::Terminal;

pub fn run(args: &ChaosProxy, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    let listen = args.address();
    fault_proxy::run(&listen, args.config.as_deref(), &|address, count| {
        ready(terminal, address, count)
    })?;
    terminal.say("stopped; every proxy and its faults are gone");
    Ok(0)
}

fn ready(terminal: &Terminal, address: SocketAddr, count: usize) {
    let proxies = if count == 1 {
        "1 proxy".to_owned()
    } else {
        format!("{count} proxies")
    };
    terminal.say(&format!(
        "Toxiproxy API at http://{address} with {proxies}; Ctrl-C stops it and every fault"
    ));
    if !address.ip().is_loopback() {
        terminal.say("warning: whoever reaches this address decides what this host listens on and connects to");
        terminal.say("hint: `--listen 127.0.0.1:8474` keeps it to this host");
    }
}
