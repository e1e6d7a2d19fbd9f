//! `chaos proxy`: Toxiproxy's API by itself, for tests that bring their own client. What it does is in
//! [`chaos::toxiproxy`].
//!
//! It needs no `proofmark.toml`, writes nothing and leaves nothing: every fault ends with the process.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chaos::toxiproxy::{Api, serve, system_names};

use crate::Error;

/// Longest configuration file, in bytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// How often a signal is looked for, in milliseconds.
const LOOK_MS: u64 = 50;

/// Serves the API at `listen` (`host:port`) until a signal comes. `ready` is told where, and how many proxies of
/// `config`, a `toxiproxy.json`, there are.
///
/// # Errors
/// Nothing can listen there, or the configuration can't be had as it stands.
pub fn run(listen: &str, config: Option<&Path>, ready: &dyn Fn(SocketAddr, usize)) -> Result<(), Error> {
    let cancel = crate::cancel_on_signals()?;
    let listener = bound(listen)?;
    let api = Arc::new(Api::new(system_names));
    let count = config.map_or(Ok(0), |path| populate(&api, path))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime", error))?;
    let guard = runtime.enter();
    let server = serve(listener, api);
    drop(guard);
    ready(server.address(), count);
    while !cancel.is_cancelled() {
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
    runtime.block_on(server.stop());
    Ok(())
}

fn bound(listen: &str) -> Result<TcpListener, Error> {
    let addresses: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .map_err(|_| {
            let what = format!("`{listen}` is no address to listen on");
            Error::usage(what, "write it like 127.0.0.1:8474")
        })?
        .collect();
    TcpListener::bind(addresses.as_slice()).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "somebody listens there already",
            std::io::ErrorKind::PermissionDenied => "ports below 1024 are not for everyone",
            _ => "this host has no such address",
        };
        Error::usage(
            format!("can't listen on `{listen}`: {why}"),
            "take another one with `--listen`; a port of 0 is any free one",
        )
    })
}

fn populate(api: &Api, path: &Path) -> Result<usize, Error> {
    let size = std::fs::metadata(path)
        .map_err(|error| Error::io("read", path, &error))?
        .len();
    if size > CONFIG_BYTES_MAX {
        return Err(Error::usage(
            format!("`{}` is longer than {CONFIG_BYTES_MAX} bytes", path.display()),
            "split it, and send the rest to `/populate`",
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, &error))?;
    api.populate(&bytes).map_err(|refusal| {
        Error::usage(
            format!("`{}`: {refusal}", path.display()),
            "it is a JSON array of objects with name, listen and upstream, as toxiproxy-server reads it",
        )
    })
}
