//! Every mechanism against a real server on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use net::http::{self, Client, Handler, HttpError, Limits, Request, Response, Server, ServerLimits};
use net::load::{self, Plan};
use net::proxy::{Applied, Direction, Proxy, Toxic};
use net::router::{ARM_HEADER, Arm, Router, RouterLimits, WeightsError};
use proptest::prelude::*;

/// Runs a test on a runtime of its own, with an end.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await })
        .expect("the test ends within a minute")
}

/// Answers by path: `/echo` gives the body back, `/status/N` status N, `/slow/N` after N ms, `/big/N` N bytes,
/// `/headers` the request's headers.
fn server() -> Server {
    let handler: Handler = Arc::new(|request, _peer| {
        Box::pin(async move {
            let parts: Vec<String> = request.path.split(['/', '?']).skip(1).map(str::to_owned).collect();
            let number = parts.get(1).and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
            match parts[0].as_str() {
                "echo" => Response::new(200, "application/octet-stream", request.body),
                "status" => Response::new(u16::try_from(number).unwrap(), "text/plain", "status"),
                "slow" => {
                    tokio::time::sleep(Duration::from_millis(number)).await;
                    Response::new(200, "text/plain", "slow")
                }
                "big" => Response::new(200, "text/plain", vec![b'x'; number as usize]),
                "headers" => {
                    let lines: Vec<String> = request
                        .headers
                        .iter()
                        .map(|(name, value)| format!("{name}: {value}"))
                        .collect();
                    let mut response = Response::new(200, "text/plain", lines.join("\n"));
                    response.headers.push(("connection".into(), "x-private".into()));
                    response.headers.push(("x-private".into(), "1".into()));
                    response
                }
                "panic" => panic!("as asked"),
                "bad-header" => {
                    let mut response = Response::json(200, "{}");
                    response.headers.push(("x-split".into(), "a\r\nb: c".into()));
                    response
                }
                _ => Response::new(200, "text/plain", "ok"),
            }
        })
    });
    Server::start(net::loopback_listener().unwrap(), handler, ServerLimits::default())
}

fn limits(timeout_ms: u64) -> Limits {
    Limits {
        timeout_ms,
        ..Limits::default()
    }
}

/// One toxic on what the upstream sends.
fn down(toxic: Toxic) -> Vec<Applied> {
    vec![Applied::new("toxic", toxic, Direction::Down)]
}

async fn get(address: SocketAddr, path: &str) -> Result<Response, HttpError> {
    http::send(address, Request::get(path), &limits(5_000)).await
}

#[test]
fn a_response_comes_back_whole_and_every_limit_holds() {
    run(async {
        let server = server();
        let at = server.address();
        let body: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let request = Request {
            method: "PUT".into(),
            path: "/echo?a=b".into(),
            headers: Vec::new(),
            body: body.clone(),
        };
        assert!(http::send(at, request, &limits(5_000)).await.unwrap().body == body);
        assert_eq!(get(at, "/status/418").await.unwrap().status, 418);
        // HEAD has no body, and no wait for one.
        let head = Request {
            method: "HEAD".into(),
            ..Request::get("/big/10")
        };
        assert_eq!(http::send(at, head, &limits(5_000)).await.unwrap().body, b"");

        let slow = http::send(at, Request::get("/slow/2000"), &limits(50)).await;
        assert_eq!(slow.unwrap_err(), HttpError::Timeout { after_ms: 50 });
        let small = Limits {
            body_bytes_max: 100,
            ..limits(5_000)
        };
        assert_eq!(
            http::send(at, Request::get("/big/100"), &small)
                .await
                .unwrap()
                .body
                .len(),
            100
        );
        let big = http::send(at, Request::get("/big/101"), &small).await;
        assert_eq!(big.unwrap_err(), HttpError::BodyTooLarge { bytes_max: 100 });
        let upload = Request {
            body: vec![0; 5 << 20],
            method: "POST".into(),
            ..Request::get("/echo")
        };
        let refused = http::send(at, upload, &limits(5_000)).await;
        // The server may answer, or close while we still send: both say no.
        assert!(refused.is_err() || refused.unwrap().status == 413);

        assert!(matches!(get(at, "/panic").await, Err(HttpError::Closed(_))));
        assert_eq!(get(at, "/bad-header").await.unwrap().status, 500);
        assert_eq!(get(at, "/").await.unwrap().status, 200);
        server.stop().await;
        assert!(matches!(get(at, "/").await, Err(HttpError::Connect(_))));
    });
}

#[test]
fn requests_that_can_not_be_formed_are_errors_without_their_values() {
    run(async {
        let server = server();
        let mut request = Request::get("/");
        request
            .headers
            .push(("authorization".into(), "Bearer s3cret\r\nx: y".into()));
        assert!(!format!("{request:?}").contains("s3cret"));
        let error = http::send(server.address(), request, &limits(1_000)).await.unwrap_err();
        assert!(matches!(error, HttpError::Request(_)));
        assert!(!error.to_string().contains("s3cret"));
        for (method, path) in [("G T", "/"), ("GET", "x"), ("GET", "/a b"), ("GET", "")] {
            let request = Request {
                method: method.into(),
                ..Request::get(path)
            };
            assert!(
                matches!(
                    http::send(server.address(), request, &limits(1_000)).await,
                    Err(HttpError::Request(_))
                ),
                "{method} {path}"
            );
        }
    });
}

#[test]
fn a_client_reuses_its_connection_and_survives_a_restart() {
    run(async {
        let server = server();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), server.address().into());
        let client = Client::new(proxy.address());
        for _ in 0..20 {
            client.send(Request::get("/"), &limits(5_000)).await.unwrap();
        }
        assert_eq!(proxy.stats().connections_total, 1);
        // The kept connection is reset behind the client's back.
        proxy.set(down(Toxic::Reset { after_ms: 0 }));
        assert!(client.send(Request::get("/"), &limits(5_000)).await.is_err());
        proxy.set(Vec::new());
        client
            .send(Request::post_json("/echo", "{}"), &limits(5_000))
            .await
            .unwrap();
        proxy.stop();
        assert_eq!(proxy.stats().connections_open, 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_server_outlives_whatever_is_sent_to_it(bytes in prop::collection::vec(any::<u8>(), 0..600), prefix in 0usize..4) {
        let prefix = ["", "GET / HTTP/1.1\r\n", "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: 9\r\n"][prefix];
        run(async {
            let server = server();
            let router = Router::start(net::loopback_listener().unwrap(), vec![Arm { name: "a".into(), address: server.address() }], 1, RouterLimits::default());
            for at in [server.address(), router.address()] {
                let mut sent = prefix.as_bytes().to_vec();
                sent.extend(&bytes);
                tokio::task::spawn_blocking(move || {
                    let mut stream = TcpStream::connect(at).unwrap();
                    let _ = stream.write_all(&sent);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    let _ = stream.read_to_end(&mut Vec::new());
                }).await.unwrap();
                assert_eq!(get(at, "/").await.unwrap().status, 200);
            }
        });
    }

    #[test]
    fn a_client_outlives_whatever_answers(bytes in prop::collection::vec(any::<u8>(), 0..600), prefix in 0usize..4) {
        let prefix = ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"][prefix];
        run(async {
            let listener = net::loopback_listener().unwrap();
            listener.set_nonblocking(false).unwrap();
            let at = listener.local_addr().unwrap();
            let answering = tokio::task::spawn_blocking(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(prefix.as_bytes());
                let _ = stream.write_all(&bytes);
            });
            let _ = http::send(at, Request::get("/"), &limits(5_000)).await;
            answering.await.unwrap();
        });
    }
}

#[test]
fn a_proxy_without_toxics_changes_nothing() {
    run(async {
        let server = server();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), server.address().into());
        let body: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        let request = Request {
            method: "POST".into(),
            body: body.clone(),
            ..Request::get("/echo")
        };
        assert!(
            http::send(proxy.address(), request, &limits(20_000))
                .await
                .unwrap()
                .body
                == body
        );
        let stats = proxy.stats();
        assert!(stats.bytes_up > 3_000_000 && stats.bytes_down > 3_000_000, "{stats:?}");
        proxy.stop();
    });
}

#[test]
fn latency_is_added_once_and_goes_away_at_once() {
    run(async {
        let server = server();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), server.address().into());
        let client = Arc::new(Client::new(proxy.address()));
        client.send(Request::get("/"), &limits(5_000)).await.unwrap();

        proxy.set(down(Toxic::Latency {
            delay_ms: 200,
            jitter_ms: 20,
        }));
        for _ in 0..3 {
            let timed = client.timed(Request::get("/"), &limits(5_000)).await;
            timed.response.unwrap();
            // The upper bound is loose: other tests share the processors.
            assert!((180..1_000).contains(&timed.elapsed.as_millis()), "{:?}", timed.elapsed);
        }
        assert_eq!(
            proxy.stats().connections_total,
            1,
            "it took effect on the live connection"
        );

        // What is held back is let go as soon as the toxic is lifted.
        proxy.set(down(Toxic::Latency {
            delay_ms: 60_000,
            jitter_ms: 0,
        }));
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.timed(Request::get("/"), &limits(30_000)).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        proxy.set(Vec::new());
        let timed = waiting.await.unwrap();
        timed.response.unwrap();
        assert!(timed.elapsed < Duration::from_secs(10), "{:?}", timed.elapsed);
    });
}

#[test]
fn reset_is_a_real_rst_on_open_and_new_connections() {
    run(async {
        let server = server();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), server.address().into());
        let at = proxy.address();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let open = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(at).unwrap();
            stream
                .write_all(b"GET /slow/20000 HTTP/1.1\r\nhost: x\r\n\r\n")
                .unwrap();
            ready.send(()).unwrap();
            let start = Instant::now();
            let error = stream.read(&mut [0; 10]).unwrap_err();
            (error.kind(), start.elapsed())
        });
        is_ready.await.unwrap();
        while proxy.stats().bytes_up == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.set(down(Toxic::Reset { after_ms: 0 }));
        assert_eq!(proxy.toxics(), down(Toxic::Reset { after_ms: 0 }));
        let (kind, elapsed) = open.await.unwrap();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");

        let fresh = tokio::task::spawn_blocking(move || {
            // The reset may already meet the handshake.
            let mut stream = TcpStream::connect(at).map_err(|error| error.kind())?;
            stream.read(&mut [0; 10]).map_err(|error| error.kind())
        });
        assert_eq!(fresh.await.unwrap(), Err(std::io::ErrorKind::ConnectionReset));
        proxy.set(Vec::new());
        assert_eq!(get(at, "/").await.unwrap().status, 200);
    });
}

#[test]
fn timeout_swallows_and_never_garbles() {
    run(async {
        let server = server();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), server.address().into());
        let client = Arc::new(Client::new(proxy.address()));
        proxy.set(down(Toxic::Timeout { timeout_ms: 0 }));
        let error = client.send(Request::get("/"), &limits(100)).await.unwrap_err();
        assert_eq!(error, HttpError::Timeout { after_ms: 100 });

        let waiting = tokio::spawn({
            let client = client.clone();
            async move { client.send(Request::post_json("/echo", "{}"), &limits(20_000)).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Vec::new());
        assert!(
            matches!(waiting.await.unwrap(), Err(HttpError::Closed(_))),
            "what lost bytes is reset"
        );
        client.send(Request::get("/"), &limits(5_000)).await.unwrap();
    });
}

#[test]
fn bandwidth_and_limit_are_kept() {
    run(async {
        let server = server();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), server.address().into());
        proxy.set(down(Toxic::Bandwidth {
            bytes_per_second: 200_000,
        }));
        let timed = http::timed(proxy.address(), Request::get("/big/100000"), &limits(20_000)).await;
        assert_eq!(timed.response.unwrap().body.len(), 100_000);
        assert!((400..5_000).contains(&timed.elapsed.as_millis()), "{:?}", timed.elapsed);
        proxy.set(down(Toxic::Limit { bytes: 5_000 }));
        assert!(matches!(
            get(proxy.address(), "/big/100000").await,
            Err(HttpError::Closed(_))
        ));
        assert_eq!(get(proxy.address(), "/").await.unwrap().status, 200);
    });
}

#[test]
fn a_proxy_whose_upstream_is_gone_resets() {
    run(async {
        let gone = net::loopback_listener().unwrap().local_addr().unwrap();
        let proxy = Proxy::start(net::loopback_listener().unwrap(), gone.into());
        assert!(matches!(
            get(proxy.address(), "/").await,
            Err(HttpError::Closed(_) | HttpError::Connect(_))
        ));
    });
}

fn arms(old: SocketAddr, new: SocketAddr) -> Vec<Arm> {
    vec![
        Arm {
            name: "old".into(),
            address: old,
        },
        Arm {
            name: "new".into(),
            address: new,
        },
    ]
}

fn weights(old: u32, new: u32) -> Vec<(String, u32)> {
    vec![("old".into(), old), ("new".into(), new)]
}

#[test]
fn a_router_keeps_weights_exactly_and_counts_what_fails() {
    run(async {
        let (old, new) = (server(), server());
        let router = Router::start(
            net::loopback_listener().unwrap(),
            arms(old.address(), new.address()),
            7,
            RouterLimits::default(),
        );
        let client = Client::new(router.address());
        for (share, total) in [(0, 20), (10, 50), (50, 20), (37, 100), (100, 20)] {
            router.set_weights(&weights(100 - share, share)).unwrap();
            assert_eq!(router.weights(), weights(100 - share, share));
            let mut by_header = 0;
            for _ in 0..total {
                let response = client.send(Request::get("/"), &limits(5_000)).await.unwrap();
                by_header += u32::from(response.header(ARM_HEADER) == Some("new"));
            }
            let samples = router.drain();
            assert_eq!(samples.len() as u32, total);
            let news = samples.iter().filter(|sample| sample.arm == "new").count() as u32;
            assert_eq!(
                (news, by_header),
                (total * share / 100, total * share / 100),
                "share {share}"
            );
            assert!(samples.iter().all(|sample| sample.status == 200 && !sample.error));
        }

        // Everything goes to the new one, whose answers are errors, and which then is gone.
        client.send(Request::get("/status/503"), &limits(5_000)).await.unwrap();
        new.stop().await;
        assert_eq!(
            client.send(Request::get("/"), &limits(5_000)).await.unwrap().status,
            502
        );
        let samples = router.drain();
        let seen: Vec<(u16, bool)> = samples.iter().map(|sample| (sample.status, sample.error)).collect();
        assert_eq!(seen, [(503, true), (0, true)]);

        assert_eq!(router.set_weights(&weights(50, 49)), Err(WeightsError::Sum(99)));
        assert_eq!(
            router.set_weights(&[("none".into(), 100)]),
            Err(WeightsError::UnknownArm("none".into()))
        );
        assert_eq!(
            router.set_weights(&[("old".into(), 50), ("old".into(), 50)]),
            Err(WeightsError::Twice("old".into()))
        );
        assert_eq!(router.weights(), weights(0, 100), "what was refused changed nothing");
        router.stop().await;
    });
}

#[test]
fn a_router_drops_hop_by_hop_headers_and_bounds_its_samples() {
    run(async {
        let server = server();
        let limits_of_router = RouterLimits {
            samples_max: 2,
            ..RouterLimits::default()
        };
        let router = Router::start(
            net::loopback_listener().unwrap(),
            arms(server.address(), server.address()),
            7,
            limits_of_router,
        );
        let mut request = Request::get("/headers");
        for (name, value) in [
            ("connection", "x-secret-hop, keep-alive"),
            ("x-secret-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-kept", "2"),
        ] {
            request.headers.push((name.into(), value.into()));
        }
        let response = http::send(router.address(), request, &limits(5_000)).await.unwrap();
        let seen = String::from_utf8(response.body.clone()).unwrap();
        assert!(
            seen.contains("x-kept: 2") && seen.contains("via: 1.1 proofmark"),
            "{seen}"
        );
        assert!(
            !seen.contains("x-secret-hop") && !seen.contains("upgrade") && !seen.contains("te:"),
            "{seen}"
        );
        assert_eq!(response.header("x-private"), None);
        let head = Request {
            method: "HEAD".into(),
            ..Request::get("/big/10")
        };
        assert_eq!(
            http::send(router.address(), head, &limits(5_000))
                .await
                .unwrap()
                .header("content-length"),
            Some("10")
        );
        get(router.address(), "/").await.unwrap();
        assert_eq!((router.drain().len(), router.dropped()), (2, 1));
    });
}

#[test]
fn a_router_adds_little_latency() {
    run(async {
        let server = server();
        let router = Router::start(
            net::loopback_listener().unwrap(),
            arms(server.address(), server.address()),
            7,
            RouterLimits::default(),
        );
        let mut medians = Vec::new();
        for at in [server.address(), router.address()] {
            let plan = Plan {
                requests: vec![Request::get("/")],
                rate_per_second: None,
                concurrency: 1,
                requests_max: 500,
            };
            let report = load::drive(at, plan, &|| false, &|_| {}).await;
            medians.push(report.latency_us.unwrap().p50);
        }
        println!("p50 direct {} us, through the router {} us", medians[0], medians[1]);
        // The bar is 0.5 ms on an idle machine; this bound only catches a lost keep-alive or a stray timer.
        assert!(medians[1] < medians[0] + 5_000, "{medians:?}");
    });
}

#[test]
fn load_is_bounded_paced_and_can_be_stopped() {
    run(async {
        let server = server();
        let plan = Plan {
            requests: vec![
                Request::get("/"),
                Request::get("/status/404"),
                Request::get("/status/500"),
            ],
            rate_per_second: Some(100),
            concurrency: 4,
            requests_max: 30,
        };
        let seen = AtomicU64::new(0);
        let on = |_: &http::Timed| {
            seen.fetch_add(1, Ordering::Relaxed);
        };
        let report = load::drive(server.address(), plan.clone(), &|| false, &on).await;
        assert_eq!(
            (report.requests, report.errors, seen.load(Ordering::Relaxed)),
            (30, 0, 30)
        );
        assert_eq!(
            report.statuses.into_iter().collect::<Vec<_>>(),
            [(200, 10), (404, 10), (500, 10)]
        );
        assert!(report.elapsed >= Duration::from_millis(285), "{:?}", report.elapsed);

        let endless = Plan {
            requests_max: u64::MAX,
            rate_per_second: None,
            ..plan
        };
        let stopped = load::drive(
            server.address(),
            endless.clone(),
            &|| seen.load(Ordering::Relaxed) >= 130,
            &on,
        )
        .await;
        assert!(stopped.stopped && stopped.requests >= 100, "{stopped:?}");
        server.stop().await;
        let none = load::drive(
            server.address(),
            Plan {
                requests_max: 5,
                ..endless.clone()
            },
            &|| false,
            &|_| {},
        )
        .await;
        assert_eq!((none.requests, none.errors, none.latency_us), (5, 5, None));
        let empty = load::drive(
            server.address(),
            Plan {
                requests: Vec::new(),
                ..endless
            },
            &|| false,
            &|_| {},
        )
        .await;
        assert_eq!(empty.requests, 0);
    });
}
