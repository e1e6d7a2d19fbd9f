//! The fault proxy against real sockets on loopback.
#![cfg(target_os = "linux")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use net::Sequence;
use net::proxy::{Applied, Direction, Proxy, Route, Toxic, UdpProxy, Upstream};

/// An upstream that treats every connection alike, in a thread each.
fn upstream(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            let work = move || drop(serve(stream));
            thread::Builder::new().stack_size(96 << 10).spawn(work).unwrap();
        }
    });
    address
}

fn echo() -> SocketAddr {
    upstream(|mut stream| {
        let mut bytes = vec![0; 16 << 10];
        loop {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => stream.write_all(&bytes[..count])?,
            }
        }
    })
}

fn proxy(upstream: SocketAddr) -> Proxy {
    Proxy::start(net::loopback_listener().unwrap(), upstream.into())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn one(toxic: Toxic, direction: Direction) -> Vec<Applied> {
    vec![Applied::new("toxic", toxic, direction)]
}

fn down(toxic: Toxic) -> Vec<Applied> {
    one(toxic, Direction::Down)
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut draws = Sequence(seed);
    (0..length).map(|_| draws.draw() as u8).collect()
}

/// Sends it, ends its stream, and reads what comes back to its end.
fn through(address: SocketAddr, sent: &[u8]) -> io::Result<Vec<u8>> {
    let stream = connect(address);
    let mut writing = stream.try_clone()?;
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            writing.write_all(sent)?;
            writing.shutdown(Shutdown::Write)
        });
        let mut back = Vec::new();
        let read = (&stream).read_to_end(&mut back);
        writer.join().unwrap()?;
        read.map(|_| back)
    })
}

#[test]
fn bytes_pass_whole_under_whatever_does_not_destroy() {
    let proxy = proxy(echo());
    for (name, toxics) in [
        ("none", vec![]),
        (
            "latency",
            vec![Toxic::Latency {
                delay_ms: 3,
                jitter_ms: 3,
            }],
        ),
        (
            "bandwidth",
            vec![Toxic::Bandwidth {
                bytes_per_second: 20_000_000,
            }],
        ),
        (
            "slicer",
            vec![Toxic::Slicer {
                average_bytes: 3_000,
                variation_bytes: 2_000,
                delay_us: 10,
            }],
        ),
        ("loss", vec![Toxic::Loss { per_mille: 1 }]),
        (
            "all",
            vec![
                Toxic::SlowClose { delay_ms: 5 },
                Toxic::Slicer {
                    average_bytes: 9_000,
                    variation_bytes: 100,
                    delay_us: 0,
                },
                Toxic::Latency {
                    delay_ms: 1,
                    jitter_ms: 1,
                },
                Toxic::Bandwidth {
                    bytes_per_second: 50_000_000,
                },
                Toxic::Limit { bytes: u64::MAX },
                Toxic::Latency {
                    delay_ms: 2,
                    jitter_ms: 0,
                },
            ],
        ),
    ] {
        let mut applied = Vec::new();
        for direction in [Direction::Up, Direction::Down] {
            for (index, toxic) in toxics.iter().enumerate() {
                applied.push(Applied::new(&format!("{index}{direction:?}"), *toxic, direction));
            }
        }
        proxy.set(applied.clone());
        assert_eq!(proxy.toxics(), applied);
        for length in [0, 1, 70_000, 3_000_000] {
            let sent = pattern(length as u64, length);
            assert!(
                through(proxy.address(), &sent).unwrap() == sent,
                "{name}, {length} bytes"
            );
        }
    }
}

/// Random changes of toxics while connections come, go and carry bytes: none is lost, none out of its place.
#[test]
fn changes_never_lose_or_reorder() {
    let proxy = proxy(echo());
    let address = proxy.address();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for client in 0..6 {
            let done = &done;
            scope.spawn(move || {
                let mut draws = Sequence(client);
                for _ in 0..12 {
                    let sent = pattern(draws.draw(), draws.below(1_500_000) as usize);
                    assert!(through(address, &sent).unwrap() == sent);
                    // One that leaves in the middle must not disturb the others.
                    let mut gone = connect(address);
                    let _ = gone.write_all(&sent[..sent.len() / 2]);
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut draws = Sequence(99);
        while done.load(Ordering::Relaxed) < 6 {
            let toxics = (0..draws.below(4)).map(|_| {
                let toxic = match draws.below(4) {
                    0 => Toxic::Latency {
                        delay_ms: draws.below(8),
                        jitter_ms: draws.below(8),
                    },
                    1 => Toxic::Bandwidth {
                        bytes_per_second: 5_000_000 + draws.below(100_000_000),
                    },
                    2 => Toxic::Slicer {
                        average_bytes: 2_000 + draws.below(60_000),
                        variation_bytes: 1_000,
                        delay_us: 0,
                    },
                    _ => Toxic::SlowClose {
                        delay_ms: draws.below(5),
                    },
                };
                let direction = if draws.below(2) == 0 {
                    Direction::Up
                } else {
                    Direction::Down
                };
                let name = ["a", "b", "c", "d", "e", "f"][draws.below(6) as usize];
                Applied {
                    toxicity: 0.7,
                    ..Applied::new(name, toxic, direction)
                }
            });
            let mut toxics: Vec<Applied> = toxics.collect();
            toxics.sort_by(|a, b| a.name.cmp(&b.name));
            toxics.dedup_by(|a, b| a.name == b.name);
            if draws.below(2) == 0 {
                toxics.reverse();
            }
            proxy.set(toxics);
            thread::sleep(Duration::from_millis(draws.below(6)));
        }
        proxy.set(Vec::new());
    });
    let begun = Instant::now();
    while proxy.stats().connections_open > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", proxy.stats());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_half_closed_connection_still_answers() {
    let at_the_end = upstream(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(&(all.len() as u64).to_be_bytes())
    });
    for toxics in [
        vec![],
        down(Toxic::Latency {
            delay_ms: 1,
            jitter_ms: 0,
        }),
    ] {
        let proxy = proxy(at_the_end);
        proxy.set(toxics);
        let sent = pattern(1, 300_000);
        assert_eq!(through(proxy.address(), &sent).unwrap(), 300_000u64.to_be_bytes());
        assert_eq!(proxy.stats().bytes_up, 300_000);
    }
}

/// The most that the system holds back between a sender, a proxy and a receiver.
fn socket_buffers() -> u64 {
    let most = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        text.split_whitespace().last().unwrap().parse::<u64>().unwrap()
    };
    2 * (most("tcp_rmem") + most("tcp_wmem"))
}

#[test]
fn a_slow_reader_holds_its_sender_back() {
    let sockets = socket_buffers();
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let endless = upstream(move |mut stream| {
        let bytes = [7; 64 << 10];
        loop {
            stream.write_all(&bytes)?;
            counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
    });
    for toxics in [
        vec![],
        down(Toxic::Latency {
            delay_ms: 60_000,
            jitter_ms: 0,
        }),
        down(Toxic::Bandwidth {
            bytes_per_second: 1_000,
        }),
        down(Toxic::Slicer {
            average_bytes: 10,
            variation_bytes: 0,
            delay_us: 1_000,
        }),
    ] {
        let proxy = proxy(endless);
        proxy.set(toxics);
        written.store(0, Ordering::Relaxed);
        let stream = connect(proxy.address());
        let mut before = u64::MAX;
        while written.load(Ordering::Relaxed) != before {
            before = written.load(Ordering::Relaxed);
            thread::sleep(Duration::from_millis(400));
        }
        // What the proxy may hold, and what the system's four sockets do.
        assert!(before < (20 << 20) + sockets, "{before} bytes");
        drop(stream);
    }
}

#[test]
fn dropping_it_closes_everything() {
    let proxy = proxy(echo());
    let address = proxy.address();
    let mut streams: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    assert_eq!(
        (proxy.stats().connections_open, proxy.stats().connections_total),
        (50, 50)
    );
    let begun = Instant::now();
    drop(proxy);
    assert!(begun.elapsed() < Duration::from_secs(1));
    for stream in &mut streams {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_toxic_holds_for_its_share_of_connections() {
    let proxy = proxy(echo());
    for (toxicity, expected) in [(0.0, 0..=0), (0.25, 60..=140), (1.0, 400..=400), (f64::NAN, 0..=0)] {
        let reset = Applied::new("cut", Toxic::Reset { after_ms: 0 }, Direction::Down);
        proxy.set(vec![Applied { toxicity, ..reset }]);
        let broken = (0..400)
            .filter(|_| {
                let asked = TcpStream::connect(proxy.address()).and_then(|mut stream| {
                    stream.write_all(b"x")?;
                    stream.read_exact(&mut [0])
                });
                asked.is_err()
            })
            .count();
        assert!(expected.contains(&broken), "{broken} at {toxicity}");
    }
}

#[test]
fn a_toxic_removes_itself() {
    let proxy = proxy(echo());
    let mut stream = connect(proxy.address());
    let slow = Applied::new(
        "slow",
        Toxic::Latency {
            delay_ms: 60_000,
            jitter_ms: 0,
        },
        Direction::Up,
    );
    let slow = Applied {
        time_to_live: Some(Duration::from_millis(300)),
        ..slow
    };
    let begun = Instant::now();
    proxy.set(vec![slow.clone()]);
    stream.write_all(b"x").unwrap();
    thread::sleep(Duration::from_millis(100));
    // It is not prolonged by being set again beside another one.
    let other = Applied::new("other", Toxic::SlowClose { delay_ms: 1 }, Direction::Up);
    proxy.set(vec![slow, other.clone()]);
    stream.read_exact(&mut [0]).unwrap();
    let elapsed = begun.elapsed().as_millis();
    assert!(
        (300..380).contains(&elapsed) || elapsed > 380 && elapsed < 2_000,
        "{elapsed} ms"
    );
    assert_eq!(proxy.toxics(), [other]);
}

#[test]
fn each_toxic_that_ends_a_connection_does_it_in_its_way() {
    let proxy = proxy(echo());
    let ends = |toxics: Vec<Applied>, sent: &[u8]| {
        proxy.set(toxics);
        // The toxic's time begins when the proxy accepts, which may be before `connect` returns.
        let begun = Instant::now();
        let mut stream = connect(proxy.address());
        let mut back = Vec::new();
        let read = stream.write_all(sent).and_then(|()| stream.read_to_end(&mut back));
        (
            read.map_err(|error| error.kind()).map(|_| ()),
            back.len(),
            begun.elapsed().as_millis(),
        )
    };
    let (read, back, took) = ends(down(Toxic::Limit { bytes: 100 }), &[7; 1_000]);
    assert_eq!((read, back), (Ok(()), 100), "{took} ms");
    let (read, back, took) = ends(down(Toxic::Timeout { timeout_ms: 150 }), b"x");
    assert!(read == Ok(()) && back == 0 && took >= 150, "{read:?} {back} {took}");
    let (read, back, took) = ends(one(Toxic::Reset { after_ms: 150 }, Direction::Up), b"x");
    assert!(
        read == Err(ErrorKind::ConnectionReset) && back == 0 && took >= 150,
        "{read:?} {back} {took}"
    );

    // Its end is held back, its bytes are not.
    proxy.set(one(Toxic::SlowClose { delay_ms: 200 }, Direction::Up));
    let mut stream = connect(proxy.address());
    let begun = Instant::now();
    stream.write_all(b"x").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(190));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_reset_of_the_peer_is_passed_on() {
    let resets = upstream(|mut stream| {
        stream.read_exact(&mut [0])?;
        // Closing with something unread is a reset.
        stream.peek(&mut [0]).map(drop)
    });
    let proxy = proxy(resets);
    let mut stream = connect(proxy.address());
    stream.write_all(b"xy").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn slices_arrive_apart() {
    let proxy = proxy(echo());
    proxy.set(down(Toxic::Slicer {
        average_bytes: 100,
        variation_bytes: 0,
        delay_us: 2_000,
    }));
    let mut stream = connect(proxy.address());
    stream.write_all(&[7; 1_000]).unwrap();
    let (mut reads, mut bytes) = (0, 0);
    while bytes < 1_000 {
        bytes += stream.read(&mut [0; 1_000]).unwrap();
        reads += 1;
    }
    assert!(reads >= 5, "{reads} reads");
}

#[test]
fn many_connections_at_once() {
    // Each is four descriptors here.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit {
        current: most,
        maximum: most,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let count = most.map_or(1_000, |most| most / 6).min(1_000);
    let proxy = proxy(echo());
    let mut streams: Vec<TcpStream> = (0..count).map(|_| connect(proxy.address())).collect();
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&index.to_be_bytes()).unwrap();
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        let mut back = [0; 8];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(usize::from_be_bytes(back), index);
    }
    assert_eq!(proxy.stats().connections_open, count);
}

#[test]
fn a_name_is_resolved_and_an_upstream_replaced() {
    let (first, second) = (echo(), upstream(|mut stream| stream.write_all(b"second")));
    let name = Upstream::parse(&format!("localhost:{}", first.port()));
    let proxy = Proxy::start(net::loopback_listener().unwrap(), name);
    assert_eq!(through(proxy.address(), b"first").unwrap(), b"first");
    let mut open = connect(proxy.address());
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0]).unwrap();
    proxy.set_upstream(second.into());
    assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
    let mut back = String::new();
    connect(proxy.address()).read_to_string(&mut back).unwrap();
    assert_eq!(back, "second");
    proxy.set_upstream(Upstream::parse("no.such.name.invalid:1"));
    let refused = TcpStream::connect(proxy.address()).and_then(|mut stream| stream.read(&mut [0]));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// The beginning of a ClientHello for a name.
fn client_hello(name: &str) -> Vec<u8> {
    fn with_length(width: usize, bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[4 - width..], bytes].concat()
    }
    let names = with_length(2, &[&[0], with_length(2, name.as_bytes()).as_slice()].concat());
    let extension = [&[0, 0], with_length(2, &names).as_slice()].concat();
    let body = [
        &[3, 3][..],
        &[9; 32],
        &[0],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &with_length(2, &extension),
    ]
    .concat();
    let message = [&[1], with_length(3, &body).as_slice()].concat();
    [&[22, 3, 1], with_length(2, &message).as_slice()].concat()
}

#[test]
fn a_server_name_chooses_the_route() {
    let says = |word: &'static str| {
        upstream(move |mut stream| {
            let mut first = [0; 1];
            stream.read_exact(&mut first)?;
            stream.write_all(&[word.as_bytes(), &first].concat())?;
            // Closing with something unread would be a reset.
            stream.read_to_end(&mut Vec::new()).map(drop)
        })
    };
    let route = |name: &str, word| Route {
        server_name: name.to_owned(),
        upstream: says(word).into(),
    };
    let proxy = proxy(says("none"));
    proxy.set_routes(vec![route("a.test", "a"), route("*.b.test", "b")]);
    for (sent, expected) in [
        (client_hello("A.test"), "a\x16"),
        (client_hello("x.b.test"), "b\x16"),
        (client_hello("b.test"), "none\x16"),
        (b"plain".to_vec(), "nonep"),
    ] {
        let mut stream = connect(proxy.address());
        // In two parts, so that the first is not enough.
        stream.write_all(&sent[..3]).unwrap();
        thread::sleep(Duration::from_millis(20));
        stream.write_all(&sent[3..]).unwrap();
        let mut back = vec![0; expected.len()];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(String::from_utf8_lossy(&back), expected);
    }
}

fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2_000];
        while let Ok((count, from)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..count], from);
        }
    });
    address
}

#[test]
fn datagrams_pass_wait_and_get_lost() {
    let proxy = UdpProxy::start(UdpSocket::bind("127.0.0.1:0").unwrap(), udp_echo().into());
    let client = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(proxy.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket
    };
    let (first, second) = (client(), client());
    let ask = |socket: &UdpSocket, bytes: &[u8]| {
        let begun = Instant::now();
        socket.send(bytes).unwrap();
        let mut back = [0; 2_000];
        socket.recv(&mut back).map(|count| {
            assert_eq!(&back[..count], bytes);
            begun.elapsed().as_millis()
        })
    };
    ask(&first, b"one").unwrap();
    ask(&second, b"").unwrap();
    assert_eq!((proxy.stats().connections_open, proxy.stats().bytes_up), (2, 3));

    proxy.set(down(Toxic::Latency {
        delay_ms: 80,
        jitter_ms: 10,
    }));
    assert!((70..400).contains(&ask(&first, b"slow").unwrap()));
    proxy.set(one(
        Toxic::Bandwidth {
            bytes_per_second: 10_000,
        },
        Direction::Up,
    ));
    assert!((95..400).contains(&ask(&first, &[1; 1_000]).unwrap()));
    proxy.set(down(Toxic::Timeout { timeout_ms: 0 }));
    assert!(ask(&first, b"gone").is_err());
    proxy.set(down(Toxic::Loss { per_mille: 1_000 }));
    assert!(ask(&first, b"lost").is_err());
    proxy.set(down(Toxic::Loss { per_mille: 400 }));
    let mut bytes = [0; 2_000];
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut back = 0;
    for _ in 0..10 {
        for _ in 0..50 {
            second.send(b"some").unwrap();
        }
        while second.recv(&mut bytes).is_ok() {
            back += 1;
        }
    }
    assert!((220..380).contains(&back), "{back} of 500 at 60 %");
    proxy.set(Vec::new());
    ask(&first, b"again").unwrap();
    proxy.stop();
    assert!(ask(&first, b"stopped").is_err());
}
