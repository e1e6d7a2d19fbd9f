//! Worker and warden for real: this test program starts itself again as worker, warden and supervisor, and kills
//! them. Its own `main` looks for those roles first, which the usual harness would not.

#[cfg(target_os = "linux")]
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let rest = args.get(2..).unwrap_or_default();
    match args.get(1).map(String::as_str) {
        Some("__worker") => std::process::exit(chaos::process::worker_main(rest).into()),
        Some("__warden") => std::process::exit(chaos::process::warden_main(rest).into()),
        Some("__supervisor") => linux::supervise(rest),
        filter => linux::run_tests(filter),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("not run: worker and warden are for Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::{self, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use chaos::process::{StopApi, Warden, Worker, wait_for_last_warden};
    use chaos::{State, UndoClass, UndoJournal};
    use evidence::Digest;
    use host::DiskStorage;
    use net::proxy::{Applied, Direction, Toxic};
    use rustix::process::{Pid, Signal, kill_process};
    use testkit::Rng;

    /// How often each kind of kill is tried here; the soak does it more often.
    const KILLS: u64 = 12;

    pub fn run_tests(filter: Option<&str>) {
        let tests: [(&str, fn()); 11] = [
            ("links_carry_traffic_and_toxics", links_carry_traffic_and_toxics),
            (
                "a_worker_that_dies_is_told_and_replaced",
                a_worker_that_dies_is_told_and_replaced,
            ),
            ("stopping_ends_the_process", stopping_ends_the_process),
            (
                "a_warden_that_is_let_go_touches_nothing",
                a_warden_that_is_let_go_touches_nothing,
            ),
            (
                "bad_command_lines_end_with_an_error",
                bad_command_lines_end_with_an_error,
            ),
            ("a_killed_supervisor_leaves_nothing", a_killed_supervisor_leaves_nothing),
            (
                "the_next_start_waits_for_the_warden",
                the_next_start_waits_for_the_warden,
            ),
            (
                "with_everything_killed_the_next_start_undoes",
                with_everything_killed_the_next_start_undoes,
            ),
            (
                "a_stopped_supervisor_is_taken_for_dead",
                a_stopped_supervisor_is_taken_for_dead,
            ),
            ("a_stopped_warden_is_made_to_go_on", a_stopped_warden_is_made_to_go_on),
            (
                "over_http_a_supervisor_that_hangs_is_ended",
                over_http_a_supervisor_that_hangs_is_ended,
            ),
        ];
        let filter = filter.filter(|filter| !filter.starts_with('-')).unwrap_or("");
        let chosen = tests.iter().filter(|(name, _)| name.contains(filter));
        let mut passed = 0;
        for (name, test) in chosen {
            println!("test {name} …");
            let start = Instant::now();
            test();
            println!("test {name} … ok, {:.1} s", start.elapsed().as_secs_f64());
            passed += 1;
        }
        println!("test result: ok. {passed} passed; 0 failed");
    }

    fn exe() -> PathBuf {
        std::env::current_exe().unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    /// A server that answers each line with a word and the line.
    fn upstream(word: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                std::thread::spawn(move || {
                    let mut buffer = [0; 256];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        let answer = [word.as_bytes(), b" ", &buffer[..read]].concat();
                        if stream.write_all(&answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    /// One question over a new connection, and how long its answer took.
    fn ask(address: SocketAddr) -> io::Result<(String, Duration)> {
        let start = Instant::now();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"hello")?;
        let mut buffer = [0; 256];
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((String::from_utf8_lossy(&buffer[..read]).into_owned(), start.elapsed()))
    }

    fn link(name: &str, upstream: SocketAddr) -> (SocketAddr, (String, TcpListener, SocketAddr)) {
        let listener = net::loopback_listener().unwrap();
        (listener.local_addr().unwrap(), (name.to_owned(), listener, upstream))
    }

    #[track_caller]
    fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < within, "{what}: not within {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(pid: u32, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = kill_process(pid, signal);
    }

    /// True while a process runs; one that only waits to be reaped doesn't.
    fn runs(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// Processes with this text on their command line.
    fn processes(text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(text) {
                found.push(pid);
            }
        }
        found
    }

    fn down(toxic: Toxic) -> Vec<Applied> {
        vec![Applied::new("fault", toxic, Direction::Down)]
    }

    fn links_carry_traffic_and_toxics() {
        let runtime = runtime();
        let (first, second) = (upstream("first"), upstream("second"));
        let ((a, a_link), (b, b_link)) = (link("a", first), link("b", second));
        let worker = Worker::spawn(&exe(), vec![a_link, b_link]).unwrap();
        assert_eq!(ask(a).unwrap().0, "first hello");
        assert_eq!(ask(b).unwrap().0, "second hello");
        let slow = down(Toxic::Latency {
            delay_ms: 150,
            jitter_ms: 0,
        });
        runtime.block_on(worker.set("a", slow.clone())).unwrap();
        assert_eq!(runtime.block_on(worker.get("a")).unwrap(), slow);
        assert_eq!(runtime.block_on(worker.get("b")).unwrap(), []);
        assert!(ask(a).unwrap().1 >= Duration::from_millis(150));
        assert!(ask(b).unwrap().1 < Duration::from_millis(140));
        runtime
            .block_on(worker.set("b", down(Toxic::Reset { after_ms: 0 })))
            .unwrap();
        assert!(ask(b).is_err());
        runtime.block_on(worker.set("b", vec![])).unwrap();
        assert_eq!(ask(b).unwrap().0, "second hello");
        runtime.block_on(worker.set_upstream("a", second)).unwrap();
        assert_eq!(runtime.block_on(worker.get("a")).unwrap(), slow);
        let (answer, took) = ask(a).unwrap();
        assert!(answer == "second hello" && took >= Duration::from_millis(150));
        let refused = runtime.block_on(worker.set("c", vec![])).unwrap_err();
        assert_eq!(refused.to_string(), "the worker refused: no link is called `c`");
    }

    fn a_worker_that_dies_is_told_and_replaced() {
        let runtime = runtime();
        let (first, second) = (upstream("first"), upstream("second"));
        let (address, link) = link("a", first);
        let worker = Worker::spawn(&exe(), vec![link]).unwrap();
        runtime.block_on(worker.set_upstream("a", second)).unwrap();
        runtime
            .block_on(worker.set("a", down(Toxic::Reset { after_ms: 0 })))
            .unwrap();
        assert!(ask(address).is_err());
        let old = worker.pid();
        kill(old, Signal::KILL);
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(1), worker.ended())
                .await
                .unwrap()
        });
        assert!(!worker.is_running() && !runs(old));
        let gone = runtime.block_on(worker.set("a", vec![])).unwrap_err();
        assert_eq!(gone.to_string(), "the worker is gone");
        worker.respawn().unwrap();
        assert!(worker.is_running() && worker.pid() != old);
        assert_eq!(runtime.block_on(worker.get("a")).unwrap(), []);
        assert_eq!(ask(address).unwrap().0, "second hello");
    }

    fn stopping_ends_the_process() {
        let (address, link) = link("a", upstream("first"));
        let worker = Worker::spawn(&exe(), vec![link]).unwrap();
        let pid = worker.pid();
        let mut open = TcpStream::connect(address).unwrap();
        let start = Instant::now();
        drop(worker);
        assert!(
            !runs(pid) && start.elapsed() < Duration::from_millis(900),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        open.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        assert!(matches!(open.read(&mut [0]), Ok(0) | Err(_)));
    }

    /// A journal in a folder, and a folder for scratch beside it.
    struct Place {
        folder: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place {
                folder: tempfile::Builder::new().prefix("proofmark-").tempdir().unwrap(),
            }
        }

        fn undo(&self) -> PathBuf {
            self.folder.path().join("undo")
        }

        fn scratch(&self) -> PathBuf {
            self.folder.path().join("scratch")
        }

        fn journal(&self) -> UndoJournal {
            UndoJournal::open(Arc::new(DiskStorage::open(&self.undo()).unwrap())).unwrap()
        }

        /// A link's name that no other process has on its command line.
        fn mark(&self) -> String {
            self.folder.path().to_str().unwrap().to_owned()
        }

        #[track_caller]
        fn expect_clean(&self) {
            let journal = self.journal();
            assert_eq!(journal.pending(), []);
            assert_eq!(journal.scratch(), [] as [&Path; 0]);
            assert!(!self.scratch().exists(), "scratch is left behind");
        }
    }

    fn a_warden_that_is_let_go_touches_nothing() {
        let place = Place::new();
        let journal = place.journal();
        journal.register_scratch(&place.scratch()).unwrap();
        fs::create_dir(place.scratch()).unwrap();
        let entry = journal
            .plan(
                "x",
                "link-reset",
                UndoClass::ProcessBounded,
                "remove",
                &BTreeMap::new(),
                &BTreeMap::new(),
            )
            .unwrap();
        let (_, link) = link("a", upstream("first"));
        let worker = Worker::spawn(&exe(), vec![link]).unwrap();
        let warden = Warden::spawn(&exe(), &place.undo(), &worker).unwrap();
        let pid = warden.pid();
        assert!(warden.is_running());
        worker.stop();
        worker.respawn().unwrap();
        drop(warden);
        assert!(!runs(pid) && worker.is_running());
        assert_eq!(place.journal().pending()[0].id, entry);
        assert!(place.scratch().exists());
        wait_for_last_warden(&place.undo()).unwrap();
    }

    fn bad_command_lines_end_with_an_error() {
        for args in [
            &["__worker"][..],
            &["__worker", "--control-fd", "x"],
            &["__worker", "--control-fd", "1"],
            &["__worker", "--control-fd", "999"],
            &["__worker", "--link", "a"],
            &["__worker", "--what", "1"],
            &["__warden"],
            &[
                "__warden",
                "--control-fd",
                "999",
                "--lock-fd",
                "998",
                "--supervisor",
                "1",
                "--journal",
                ".",
            ],
        ] {
            let status = Command::new(exe()).args(args).stderr(Stdio::null()).status().unwrap();
            assert_eq!(status.code(), Some(1), "{args:?}");
        }
        let missing = Worker::spawn(Path::new("/nonexistent/proofmark"), Vec::new())
            .err()
            .unwrap();
        assert!(missing.to_string().starts_with("can't start the worker: "), "{missing}");
        let other = Worker::spawn(Path::new("/bin/true"), Vec::new()).err().unwrap();
        assert!(other.to_string().starts_with("can't start the worker: "), "{other}");
    }

    /// The supervisor's role: worker, warden, scratch, and then one fault after the other, for ever.
    pub fn supervise(args: &[String]) {
        let folder = Path::new(&args[0]);
        let (undo, scratch) = (folder.join("undo"), folder.join("scratch"));
        wait_for_last_warden(&undo).unwrap();
        let journal = UndoJournal::open(Arc::new(DiskStorage::open(&undo).unwrap())).unwrap();
        journal.recover_at_start(&[]).unwrap();
        journal.register_scratch(&scratch).unwrap();
        fs::create_dir_all(scratch.join("deep/folder")).unwrap();
        let (address, link) = link(&args[0], upstream("first"));
        let runtime = runtime();
        let worker = Worker::spawn(&exe(), vec![link]).unwrap();
        if args.get(1).is_some_and(|arg| arg == "--hang") {
            hang(folder, &worker, &journal);
        }
        let warden = Warden::spawn(&exe(), &undo, &worker).unwrap();
        println!("{} {} {address}", worker.pid(), warden.pid());
        for round in 0u64.. {
            let _ = fs::write(scratch.join(format!("deep/folder/{}", round % 64)), "x");
            let (class, toxics) = match round % 3 {
                0 => (UndoClass::ProcessBounded, down(Toxic::Reset { after_ms: 0 })),
                1 => (
                    UndoClass::ProcessBounded,
                    down(Toxic::Latency {
                        delay_ms: 50,
                        jitter_ms: 0,
                    }),
                ),
                _ => (UndoClass::Irreversible, vec![]),
            };
            let entry = journal
                .plan(
                    "x.toml",
                    "fault",
                    class,
                    "take it back",
                    &BTreeMap::new(),
                    &BTreeMap::new(),
                )
                .unwrap();
            journal.advance(entry, State::Injecting).unwrap();
            // One that was stopped finds its worker gone when it goes on.
            let Ok(()) = runtime.block_on(worker.set(&args[0], toxics)) else {
                return;
            };
            journal.advance(entry, State::Injected).unwrap();
            std::thread::sleep(Duration::from_millis(10));
            journal.advance(entry, State::Undoing).unwrap();
            let Ok(()) = runtime.block_on(worker.set(&args[0], vec![])) else {
                return;
            };
            journal
                .advance(entry, State::last(class, &chaos::Undone::Restored))
                .unwrap();
        }
    }

    const TOKEN: &str = "a token for tests";

    /// A fault is in force, the warden armed, and nothing ever undone: worker, warden and the API's address are printed.
    fn hang(folder: &Path, worker: &Worker, journal: &UndoJournal) -> ! {
        let listener = net::loopback_listener().unwrap();
        let address = listener.local_addr().unwrap();
        let api = StopApi {
            listener,
            token: Digest::of(TOKEN.as_bytes()),
            stop_socket: folder.join("stop.sock"),
        };
        let warden = Warden::serving(&exe(), &folder.join("undo"), worker, Some(api)).unwrap();
        let (class, none) = (UndoClass::ProcessBounded, BTreeMap::new());
        let entry = journal
            .plan("x.toml", "link-reset", class, "take it back", &none, &none)
            .unwrap();
        warden
            .arm(host::now().boottime + Duration::from_secs(60), None)
            .unwrap();
        journal.advance(entry, State::Injecting).unwrap();
        journal.advance(entry, State::Injected).unwrap();
        println!("{} {} {address}", worker.pid(), warden.pid());
        loop {
            std::thread::park();
        }
    }

    struct Supervisor {
        child: Child,
        output: Option<std::process::ChildStdout>,
    }

    impl Supervisor {
        fn start(place: &Place) -> Supervisor {
            Supervisor::start_with(place, &[])
        }

        fn start_with(place: &Place, args: &[&str]) -> Supervisor {
            let mut child = Command::new(exe())
                .args(["__supervisor", place.folder.path().to_str().unwrap()])
                .args(args)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = child.stdout.take();
            Supervisor { child, output }
        }

        /// Worker, warden and the link's address, once both stand.
        fn ready(&mut self) -> (u32, u32, SocketAddr) {
            let mut line = String::new();
            let mut output = io::BufReader::new(self.output.take().unwrap());
            io::BufRead::read_line(&mut output, &mut line).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            (
                words[0].parse().unwrap(),
                words[1].parse().unwrap(),
                words[2].parse().unwrap(),
            )
        }

        fn kill(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    /// Killed at any moment, the start included: 2 s later there is no process, no port, no fault, no scratch.
    fn a_killed_supervisor_leaves_nothing() {
        let mut rng = Rng::new(1);
        let place = Place::new();
        for round in 0..KILLS {
            let mut supervisor = Supervisor::start(&place);
            // The first ones fall into the start, when there may be no warden yet.
            let early = round % 3 == 0;
            if early {
                std::thread::sleep(Duration::from_millis(rng.below(60)));
                supervisor.kill();
                eventually("everything is gone", Duration::from_secs(2), || {
                    processes(&place.mark()).is_empty()
                });
                wait_for_last_warden(&place.undo()).unwrap();
                let journal = place.journal();
                assert_eq!(journal.recover_at_start(&[]).unwrap().failed, Vec::<String>::new());
            } else {
                let (worker, warden, address) = supervisor.ready();
                std::thread::sleep(Duration::from_millis(rng.below(200)));
                supervisor.kill();
                let within = Duration::from_secs(2);
                eventually("the worker is gone", within, || !runs(worker));
                eventually("the port is closed", within, || TcpStream::connect(address).is_err());
                eventually("the warden is gone", within, || !runs(warden));
            }
            place.expect_clean();
        }
        assert_eq!(processes(&place.mark()), [] as [u32; 0]);
    }

    /// Started again at once, over and over: what the warden removes is never the new one's.
    fn the_next_start_waits_for_the_warden() {
        let mut rng = Rng::new(2);
        let place = Place::new();
        for _ in 0..KILLS {
            let mut supervisor = Supervisor::start(&place);
            supervisor.ready();
            assert!(place.scratch().join("deep/folder").is_dir());
            std::thread::sleep(Duration::from_millis(rng.below(40)));
            assert!(place.scratch().join("deep/folder").is_dir());
            supervisor.kill();
        }
        eventually("everything is gone", Duration::from_secs(2), || {
            processes(&place.mark()).is_empty()
        });
        place.expect_clean();
    }

    fn with_everything_killed_the_next_start_undoes() {
        let mut rng = Rng::new(3);
        let place = Place::new();
        for round in 0..KILLS {
            let mut supervisor = Supervisor::start(&place);
            let (worker, warden, address) = supervisor.ready();
            std::thread::sleep(Duration::from_millis(rng.below(100)));
            // The warden first, so that there is none when the supervisor dies; now and then the worker too.
            kill(warden, Signal::KILL);
            if round % 2 == 0 {
                kill(worker, Signal::KILL);
            }
            supervisor.kill();
            eventually("the worker is gone", Duration::from_secs(2), || {
                !runs(worker) && !runs(warden)
            });
            // A process whose first thread is dead may have others that still hold its sockets for a moment.
            eventually("the port is closed", Duration::from_secs(2), || {
                TcpStream::connect(address).is_err()
            });
            wait_for_last_warden(&place.undo()).unwrap();
            let journal = place.journal();
            assert!(place.scratch().exists());
            assert_eq!(journal.recover_at_start(&[]).unwrap().failed, Vec::<String>::new());
            place.expect_clean();
        }
    }

    fn a_stopped_supervisor_is_taken_for_dead() {
        let place = Place::new();
        let mut supervisor = Supervisor::start(&place);
        let (worker, warden, _) = supervisor.ready();
        kill(supervisor.child.id(), Signal::STOP);
        std::thread::sleep(Duration::from_millis(700));
        assert!(runs(worker), "a moment is no death");
        // The worker waits to be reaped by the one that is stopped.
        eventually("worker and warden are gone", Duration::from_millis(2300), || {
            !runs(worker) && !runs(warden)
        });
        place.expect_clean();
        // Going on, it can't bring back what was closed.
        kill(supervisor.child.id(), Signal::CONT);
        std::thread::sleep(Duration::from_millis(300));
        supervisor.kill();
        eventually("everything is gone", Duration::from_secs(2), || {
            processes(&place.mark()).is_empty()
        });
        let journal = place.journal();
        journal.recover_at_start(&[]).unwrap();
        place.expect_clean();
    }

    fn a_stopped_warden_is_made_to_go_on() {
        let place = Place::new();
        let mut supervisor = Supervisor::start(&place);
        let (worker, warden, _) = supervisor.ready();
        kill(warden, Signal::STOP);
        supervisor.kill();
        let begun = Instant::now();
        wait_for_last_warden(&place.undo()).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        eventually("worker and warden are gone", Duration::from_secs(2), || {
            !runs(worker) && !runs(warden)
        });
        place.expect_clean();
    }

    /// Status line and body.
    fn http(address: SocketAddr, line: &str, token: Option<&str>) -> (u16, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let token = token.map_or_else(String::new, |token| format!("authorization: {token}\r\n"));
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{token}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn over_http_a_supervisor_that_hangs_is_ended() {
        let place = Place::new();
        let mut supervisor = Supervisor::start_with(&place, &["--hang"]);
        let (worker, warden, api) = supervisor.ready();
        let bearer = format!("Bearer {TOKEN}");
        for (line, token, expect) in [
            ("POST /v1/stop", None, 401),
            ("POST /v1/stop", Some("Basic YTpi"), 401),
            ("POST /v1/stop", Some("Bearer a token for test"), 403),
            ("POST /v1/stop", Some("Bearer a token for tests2"), 403),
            ("POST /v1/stop", Some("Bearer "), 401),
            ("GET /v1/status", None, 401),
            ("GET /v1/status", Some("Bearer x"), 403),
            ("GET /v1/stop", Some(bearer.as_str()), 405),
            ("POST /v1/status", Some(bearer.as_str()), 405),
            ("GET /", Some(bearer.as_str()), 404),
        ] {
            assert_eq!(http(api, line, token).0, expect, "{line} {token:?}");
        }
        let (status, body) = http(api, "GET /v1/status", Some(&bearer));
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 200);
        assert_eq!(
            (&told["running"], &told["stopping"], &told["experiment"]),
            (&true.into(), &false.into(), &"x.toml".into())
        );
        assert_eq!(told["faults"][0]["fault"], "link-reset");
        let ms_left = told["deadlineMsLeft"].as_u64().unwrap();
        assert!((50_000..=60_000).contains(&ms_left), "{ms_left}");
        assert!(runs(worker) && runs(warden), "what was refused stopped nothing");
        let begun = Instant::now();
        let (status, body) = http(api, "POST /v1/stop", Some(&bearer));
        assert_eq!(
            (status, body.as_str()),
            (200, r#"{"left":[],"stopped":true,"undone":true}"#)
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(!runs(supervisor.child.id()), "it hung, and was killed");
        supervisor.kill();
        eventually("everything is gone", Duration::from_secs(2), || {
            !runs(worker) && !runs(warden) && TcpStream::connect(api).is_err()
        });
        place.expect_clean();
    }
}
