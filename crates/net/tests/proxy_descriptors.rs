//! The fault proxy when the process may open no more files. Alone in its program, because the limit is the process'.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use net::proxy::Proxy;
use rustix::process::{Resource, Rlimit};

#[test]
fn it_waits_and_does_not_spin() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(net::loopback_listener().unwrap(), listener.local_addr().unwrap().into());
    let limit = Rlimit {
        current: Some(64),
        maximum: Some(64),
    };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    // The client's own descriptor is the last one.
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    held.pop();
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.write_all(b"x").unwrap();

    let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (before, begun) = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let after = cpu();
    let spent = (after.tv_sec - before.tv_sec) * 1_000 + (after.tv_nsec - before.tv_nsec) / 1_000_000;
    assert!(spent < 100, "{spent} ms of CPU in {:?}", begun.elapsed());
    assert_eq!(proxy.stats().connections_open, 0);

    drop(held);
    let (mut upstream, _) = listener.accept().unwrap();
    let mut byte = [0];
    upstream.read_exact(&mut byte).unwrap();
    upstream.write_all(&byte).unwrap();
    client.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}
