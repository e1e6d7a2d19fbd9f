//! `bench proxy`: our fault proxy and toxiproxy-server under the same driver, taken in turn, in one run.
//!
//! CPU is that of the proxy's process alone, from its CPU clock; memory is its resident set. Every figure stands with
//! its bar, and a figure that misses it makes the run fail, as does a peer that is absent. The driver, which is also
//! the upstream, runs in this process; ours is this program started again as `__proxy`, which hosts `net::Proxy` and
//! takes toxics on its standard input.
//!
//! Start reading at [`run`], then [`Side`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use net::proxy::{Applied, Direction, Proxy, Toxic};

/// Each figure is the median of so many runs.
const RUNS: usize = 5;
/// What one run moves.
const BULK_BYTES: u64 = 2 << 30;
const TOXIC_BYTES: u64 = 1 << 29;
const CONNECTIONS: usize = 3_000;
const IDLE_CONNECTIONS: usize = 1_000;
const UNHARMED_CONNECTIONS: usize = 10_000;
const ROUND_TRIPS: usize = 60;
const MESSAGE_BYTES: usize = 64;
const BUFFER_BYTES: usize = 256 << 10;
/// Nothing the driver waits for takes longer.
const WAIT_SECONDS_MAX: u64 = 60;

/// Figures that belong together: the two proxies, the upstream, and where they are written.
type Group = fn(&mut [Side; 2], SocketAddr, &mut Table) -> io::Result<()>;

/// `peer` is the path of toxiproxy-server; `groups` are those figures to be taken, all when there are none.
pub fn run(peer: Option<&str>, groups: &[&str]) -> Result<(), String> {
    let peer = peer.ok_or("toxiproxy-server is absent: nothing is measured beside it")?;
    let upstream = upstream().map_err(failed)?;
    let mut sides = [Side::ours(upstream)?, Side::peer(peer, upstream)?];
    println!("medians of {RUNS} runs, taken in turn; a ratio is ours to toxiproxy-server's\n");
    println!("{:<44} {:>10} {:>10} {:>7}  bar", "", "ours", "toxiproxy", "ratio");
    let mut table = Table::default();
    let all: [(&str, Group); 6] = [
        ("memory", memory),
        ("bulk", bulk),
        ("connections", connections),
        ("latency", latency),
        ("bandwidth", bandwidth),
        ("toxicity", toxicity),
    ];
    for (name, group) in all {
        if groups.is_empty() || groups.contains(&name) {
            group(&mut sides, upstream, &mut table).map_err(failed)?;
        }
    }
    match table.missed {
        0 => Ok(()),
        missed => Err(format!("{missed} figures miss their bar")),
    }
}

fn failed(error: io::Error) -> String {
    format!("the driver failed: {error}")
}

/// The process that hosts our proxy: says where it listens, then takes a toxic a line and answers each.
pub fn serve(upstream: &str) -> Result<(), String> {
    let upstream: SocketAddr = upstream.parse().map_err(|_| format!("`{upstream}` is no address"))?;
    let listener = net::loopback_listener().map_err(failed)?;
    let proxy = Proxy::start(listener, upstream.into());
    println!("{}", proxy.address());
    for line in io::stdin().lock().lines() {
        let line = line.map_err(failed)?;
        proxy.set(Wanted::read(&line)?.applied());
        println!("ok");
    }
    Ok(())
}

/// What is wrong with what the upstream sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    Latency(u64),
    /// Kilobytes of 1,000 bytes in a second.
    Bandwidth(u64),
    /// A reset with a toxicity of 0.
    NoReset,
}

impl Wanted {
    fn line(self) -> String {
        match self {
            Wanted::Nothing => "nothing".to_owned(),
            Wanted::Latency(ms) => format!("latency {ms}"),
            Wanted::Bandwidth(rate) => format!("bandwidth {rate}"),
            Wanted::NoReset => "no-reset".to_owned(),
        }
    }

    fn read(line: &str) -> Result<Wanted, String> {
        let (word, number) = line.split_once(' ').unwrap_or((line, "0"));
        let number = number.parse().map_err(|_| format!("`{line}` has no number"))?;
        match word {
            "nothing" => Ok(Wanted::Nothing),
            "latency" => Ok(Wanted::Latency(number)),
            "bandwidth" => Ok(Wanted::Bandwidth(number)),
            "no-reset" => Ok(Wanted::NoReset),
            _ => Err(format!("`{line}` is no toxic")),
        }
    }

    fn applied(self) -> Vec<Applied> {
        let (toxic, toxicity) = match self {
            Wanted::Nothing => return Vec::new(),
            Wanted::Latency(delay_ms) => (Toxic::Latency { delay_ms, jitter_ms: 0 }, 1.0),
            Wanted::Bandwidth(rate) => (
                Toxic::Bandwidth {
                    bytes_per_second: rate * 1_000,
                },
                1.0,
            ),
            Wanted::NoReset => (Toxic::Reset { after_ms: 0 }, 0.0),
        };
        vec![Applied {
            toxicity,
            ..Applied::new("bench", toxic, Direction::Down)
        }]
    }

    fn json(self) -> Option<String> {
        let (kind, attributes, toxicity) = match self {
            Wanted::Nothing => return None,
            Wanted::Latency(ms) => ("latency", format!(r#""latency":{ms},"jitter":0"#), 1),
            Wanted::Bandwidth(rate) => ("bandwidth", format!(r#""rate":{rate}"#), 1),
            Wanted::NoReset => ("reset_peer", r#""timeout":0"#.to_owned(), 0),
        };
        Some(format!(
            r#"{{"name":"bench","type":"{kind}","stream":"downstream","toxicity":{toxicity},"attributes":{{{attributes}}}}}"#
        ))
    }
}

/// One of the two proxies, in a process of its own.
struct Side {
    process: Child,
    proxy: SocketAddr,
    control: Control,
    toxic: Wanted,
}

enum Control {
    Ours(ChildStdin, BufReader<ChildStdout>),
    /// Where toxiproxy-server's API listens.
    Api(SocketAddr),
}

impl Side {
    fn ours(upstream: SocketAddr) -> Result<Side, String> {
        let program = std::env::current_exe().map_err(failed)?;
        let mut process = Command::new(program)
            .args(["__proxy", &upstream.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("our proxy has no pipes".to_owned());
        };
        let mut said = BufReader::new(stdout);
        let mut line = String::new();
        said.read_line(&mut line).map_err(failed)?;
        let proxy = line
            .trim()
            .parse()
            .map_err(|_| "our proxy did not say where it listens")?;
        Ok(Side {
            process,
            proxy,
            control: Control::Ours(stdin, said),
            toxic: Wanted::Nothing,
        })
    }

    fn peer(program: &str, upstream: SocketAddr) -> Result<Side, String> {
        let port = net::loopback_listener()
            .and_then(|free| free.local_addr())
            .map_err(failed)?
            .port();
        let process = Command::new(Path::new(program))
            .args(["-host", "127.0.0.1", "-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{program}` can't be started: {error}"))?;
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut side = Side {
            process,
            proxy: api,
            control: Control::Api(api),
            toxic: Wanted::Nothing,
        };
        let begun = Instant::now();
        while TcpStream::connect(api).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("`{program}` does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let body = format!(r#"{{"name":"bench","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
        let answer = ask(api, "POST", "/proxies", &body).map_err(failed)?;
        let listen = answer
            .split(r#""listen":""#)
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        side.proxy = listen
            .and_then(|listen| listen.parse().ok())
            .ok_or_else(|| format!("`{program}` answered `{answer}`"))?;
        Ok(side)
    }

    fn set(&mut self, toxic: Wanted) -> io::Result<()> {
        match &mut self.control {
            Control::Ours(stdin, stdout) => {
                writeln!(stdin, "{}", toxic.line())?;
                let mut line = String::new();
                stdout.read_line(&mut line)?;
                if line != "ok\n" {
                    return Err(io::Error::other("our proxy refused a toxic"));
                }
            }
            Control::Api(api) => {
                if self.toxic != Wanted::Nothing {
                    ask(*api, "DELETE", "/proxies/bench/toxics/bench", "")?;
                }
                if let Some(json) = toxic.json() {
                    ask(*api, "POST", "/proxies/bench/toxics", &json)?;
                }
            }
        }
        self.toxic = toxic;
        Ok(())
    }

    /// Seconds of CPU that the process took since its start.
    fn cpu(&self) -> f64 {
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both write to places that live on this stack, and a process that is gone is an error.
        let read = unsafe {
            libc::clock_getcpuclockid(self.process.id().cast_signed(), &mut clock) == 0
                && libc::clock_gettime(clock, &mut time) == 0
        };
        if read {
            time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
        } else {
            f64::NAN
        }
    }

    /// Megabytes of memory that the process has resident.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        kilobytes.unwrap_or(f64::NAN) / 1_024.0
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(api: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<String> {
    let mut stream = connect(api)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(answer),
        _ => Err(io::Error::other(format!("toxiproxy-server answered `{answer}`"))),
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let time = Some(Duration::from_secs(WAIT_SECONDS_MAX));
    stream.set_read_timeout(time)?;
    stream.set_write_timeout(time)?;
    Ok(stream)
}

/// An upstream that does what the first nine bytes of a connection say: `D` and a number sends as many bytes, `U`
/// takes as many and answers one, `E` sends back what it gets.
fn upstream() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let thread = std::thread::Builder::new().stack_size(64 << 10);
            // A client that is gone ends its thread, and nobody has to know.
            let _ = thread.spawn(move || drop(serve_one(stream)));
        }
    });
    Ok(address)
}

fn serve_one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let count = u64::from_be_bytes(head[1..].try_into().map_err(io::Error::other)?);
    match head[0] {
        b'D' => send(&mut stream, count),
        b'U' => {
            receive(&mut stream, count)?;
            stream.write_all(b"k")
        }
        _ => {
            let mut message = [0; MESSAGE_BYTES];
            loop {
                let read = stream.read(&mut message)?;
                if read == 0 {
                    return Ok(());
                }
                stream.write_all(&message[..read])?;
            }
        }
    }
}

fn send(stream: &mut TcpStream, mut count: u64) -> io::Result<()> {
    let bytes = vec![7; BUFFER_BYTES];
    while count > 0 {
        let here = count.min(BUFFER_BYTES as u64);
        stream.write_all(&bytes[..here as usize])?;
        count -= here;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, mut count: u64) -> io::Result<()> {
    let mut bytes = vec![0; BUFFER_BYTES];
    while count > 0 {
        let here = count.min(BUFFER_BYTES as u64) as usize;
        let read = stream.read(&mut bytes[..here])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count -= read as u64;
    }
    Ok(())
}

fn head(work: u8, count: u64) -> Vec<u8> {
    let mut head = vec![work];
    head.extend(count.to_be_bytes());
    head
}

fn download(proxy: SocketAddr, count: u64) -> io::Result<Duration> {
    let mut stream = connect(proxy)?;
    let begun = Instant::now();
    stream.write_all(&head(b'D', count))?;
    receive(&mut stream, count)?;
    Ok(begun.elapsed())
}

fn upload(proxy: SocketAddr, count: u64) -> io::Result<()> {
    let mut stream = connect(proxy)?;
    stream.write_all(&head(b'U', count))?;
    send(&mut stream, count)?;
    receive(&mut stream, 1)
}

#[derive(Default)]
struct Table {
    missed: usize,
}

impl Table {
    /// Ours to theirs, which may be at most `1 / part`.
    fn ratio(&mut self, what: &str, unit: &str, [ours, theirs]: [f64; 2], part: f64) {
        let ratio = ours / theirs;
        let kept = ratio <= 1.0 / part;
        self.row(
            what,
            unit,
            [ours, theirs],
            &format!("1/{:.1}", theirs / ours),
            &format!("1/{part}"),
            kept,
        );
    }

    /// Ours, which may be at most `bar`; theirs is shown.
    fn most(&mut self, what: &str, unit: &str, [ours, theirs]: [f64; 2], bar: f64) {
        self.row(what, unit, [ours, theirs], "", &format!("{bar} {unit}"), ours <= bar);
    }

    /// Without a bar.
    fn shown(&mut self, what: &str, unit: &str, [ours, theirs]: [f64; 2]) {
        self.row(
            what,
            unit,
            [ours, theirs],
            &format!("1/{:.1}", theirs / ours),
            "none",
            true,
        );
    }

    fn row(&mut self, what: &str, unit: &str, [ours, theirs]: [f64; 2], ratio: &str, bar: &str, kept: bool) {
        let what = format!("{what}, {unit}");
        let said = if kept { "" } else { "   MISSED" };
        println!("{what:<44} {ours:>10.3} {theirs:>10.3} {ratio:>7}  {bar}{said}");
        self.missed += usize::from(!kept);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs it for each side in turn, `RUNS` times; the medians.
fn medians(sides: &mut [Side; 2], mut measure: impl FnMut(&mut Side) -> io::Result<f64>) -> io::Result<[f64; 2]> {
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for (side, values) in sides.iter_mut().zip(&mut measured) {
            values.push(measure(side)?);
        }
    }
    Ok(measured.map(median))
}

fn each(sides: &mut [Side; 2], mut measure: impl FnMut(&mut Side) -> io::Result<f64>) -> io::Result<[f64; 2]> {
    let [ours, theirs] = sides;
    Ok([measure(ours)?, measure(theirs)?])
}

/// Before anything else, so that idle is idle; the load is sampled.
fn memory(sides: &mut [Side; 2], _: SocketAddr, table: &mut Table) -> io::Result<()> {
    let idle = each(sides, |side| Ok(side.memory()))?;
    // Nearly all of it is the program itself, in pages that are shared and can be dropped: no bar.
    table.shown("memory, idle (its program, mostly)", "MB", idle);
    let open = each(sides, |side| {
        let mut streams = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let mut stream = connect(side.proxy)?;
            echo(&mut stream, true)?;
            streams.push(stream);
        }
        std::thread::sleep(Duration::from_millis(200));
        Ok(side.memory())
    })?;
    table.ratio("memory, 1,000 idle connections", "MB", open, 5.0);
    for (name, toxic) in [
        ("untouched", Wanted::Nothing),
        ("with latency 20 ms", Wanted::Latency(20)),
    ] {
        let loaded = each(sides, |side| {
            side.set(toxic)?;
            let peak = peak(side, || {
                std::thread::scope(|scope| {
                    let work = |_| scope.spawn(|| download(side.proxy, TOXIC_BYTES / 4).map(drop));
                    let workers: Vec<_> = (0..16).map(work).collect();
                    workers
                        .into_iter()
                        .try_for_each(|worker| worker.join().map_err(|_| io::Error::other("a worker panicked"))?)
                })
            })?;
            side.set(Wanted::Nothing)?;
            Ok(peak)
        })?;
        table.ratio(&format!("memory, 16 downloads {name}"), "MB", loaded, 5.0);
    }
    Ok(())
}

/// The most memory the side has while the work is done.
fn peak(side: &Side, work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let done = AtomicBool::new(false);
    let most = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max((side.memory() * 1_024.0) as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        worked
    })?;
    Ok(most.load(Ordering::Relaxed) as f64 / 1_024.0)
}

fn bulk(sides: &mut [Side; 2], _: SocketAddr, table: &mut Table) -> io::Result<()> {
    let gb = BULK_BYTES as f64 / 1e9;
    let per_gb = |side: &Side, gb: f64, work: &dyn Fn(SocketAddr) -> io::Result<()>| {
        let before = side.cpu();
        work(side.proxy)?;
        Ok((side.cpu() - before) / gb)
    };
    let down = medians(sides, |side| {
        per_gb(side, gb, &|proxy| download(proxy, BULK_BYTES).map(drop))
    })?;
    table.ratio("CPU, untouched, from the upstream", "s/GB", down, 6.0);
    let up = medians(sides, |side| per_gb(side, gb, &|proxy| upload(proxy, BULK_BYTES)))?;
    table.ratio("CPU, untouched, to the upstream", "s/GB", up, 6.0);
    let gb = TOXIC_BYTES as f64 / 1e9;
    for (what, toxic) in [
        ("CPU, latency 20 ms", Wanted::Latency(20)),
        ("CPU, bandwidth 200 MB/s", Wanted::Bandwidth(200_000)),
    ] {
        let spent = medians(sides, |side| {
            side.set(toxic)?;
            let spent = per_gb(side, gb, &|proxy| download(proxy, TOXIC_BYTES).map(drop));
            side.set(Wanted::Nothing)?;
            spent
        })?;
        table.ratio(what, "s/GB", spent, 2.0);
    }
    Ok(())
}

fn connections(sides: &mut [Side; 2], _: SocketAddr, table: &mut Table) -> io::Result<()> {
    let spent = medians(sides, |side| {
        let before = side.cpu();
        for _ in 0..CONNECTIONS {
            echo(&mut connect(side.proxy)?, true)?;
        }
        // The last ones have to be closed too.
        std::thread::sleep(Duration::from_millis(50));
        Ok((side.cpu() - before) / CONNECTIONS as f64 * 1e6)
    })?;
    table.ratio("CPU, a connection with one request", "us", spent, 2.5);
    Ok(())
}

/// One request and its answer, on a new connection with a head.
fn echo(stream: &mut TcpStream, new: bool) -> io::Result<()> {
    let mut message = if new { head(b'E', 0) } else { Vec::new() };
    message.extend([7; MESSAGE_BYTES]);
    stream.write_all(&message)?;
    let mut answer = [0; MESSAGE_BYTES];
    stream.read_exact(&mut answer)?;
    if answer == [7; MESSAGE_BYTES] {
        Ok(())
    } else {
        Err(io::Error::other("the answer is not the request"))
    }
}

/// Milliseconds of each of some round trips on one connection.
fn round_trips(address: SocketAddr, count: usize) -> io::Result<Vec<f64>> {
    let mut stream = connect(address)?;
    echo(&mut stream, true)?;
    let mut times = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        echo(&mut stream, false)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        // So that neither side is measured while it is still busy with the one before.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(times)
}

/// What a toxic adds is what a round trip takes longer than one through the same proxy without it.
fn latency(sides: &mut [Side; 2], upstream: SocketAddr, table: &mut Table) -> io::Result<()> {
    let direct = median(round_trips(upstream, ROUND_TRIPS * 5)?);
    let untouched = each(sides, |side| Ok(median(round_trips(side.proxy, ROUND_TRIPS * 5)?)))?;
    table.shown(
        "a round trip through it, more than without",
        "ms",
        untouched.map(|time| time - direct),
    );
    for asked in [5, 20, 100] {
        let mut base = untouched.into_iter();
        let error = each(sides, |side| {
            let base = base.next().unwrap_or(direct);
            side.set(Wanted::Latency(asked))?;
            let times = round_trips(side.proxy, ROUND_TRIPS)?;
            side.set(Wanted::Nothing)?;
            Ok(median(
                times.iter().map(|time| (time - base - asked as f64).abs()).collect(),
            ))
        })?;
        table.most(
            &format!("error of latency {asked} ms, p50 of {ROUND_TRIPS}"),
            "ms",
            error,
            0.3,
        );
    }
    Ok(())
}

fn bandwidth(sides: &mut [Side; 2], _: SocketAddr, table: &mut Table) -> io::Result<()> {
    const SECONDS: u64 = 5;
    for kilobytes in [1_000, 10_000, 100_000] {
        let error = each(sides, |side| {
            side.set(Wanted::Bandwidth(kilobytes))?;
            let time = download(side.proxy, kilobytes * 1_000 * SECONDS)?;
            side.set(Wanted::Nothing)?;
            Ok((SECONDS as f64 / time.as_secs_f64() - 1.0).abs() * 100.0)
        })?;
        table.most(
            &format!("error of bandwidth {} MB/s over {SECONDS} s", kilobytes / 1_000),
            "%",
            error,
            2.0,
        );
    }
    Ok(())
}

fn toxicity(sides: &mut [Side; 2], _: SocketAddr, table: &mut Table) -> io::Result<()> {
    let broken = each(sides, |side| {
        side.set(Wanted::NoReset)?;
        let mut broken = 0;
        for _ in 0..UNHARMED_CONNECTIONS {
            let asked = connect(side.proxy).and_then(|mut stream| echo(&mut stream, true));
            broken += u32::from(asked.is_err());
        }
        side.set(Wanted::Nothing)?;
        Ok(f64::from(broken))
    })?;
    table.most("broken of 10,000 connections, toxicity 0", "connections", broken, 0.0);
    Ok(())
}
