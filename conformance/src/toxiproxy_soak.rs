//! `soak toxiproxy-api`: requests to Toxiproxy's API as a careless or hostile client would send them, some well formed,
//! some with a byte changed, some noise, with real proxies on loopback. Nothing may panic, every answer keeps the
//! API's form, and what is listed is within its bounds.
//!
//! A batch of a thousand requests has a set of its own and a seed of its own, so that a failure is repeated by
//! `--runs 1000 --seed SEED`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chaos::toxiproxy::{Api, TOXICS_MAX};
use net::http::{Request, Response};
use serde_json::{Value, json};
use testkit::Rng;

use crate::Flags;
use crate::toxiproxy::say;

/// Requests of one batch.
const BATCH: u64 = 1_000;
/// Failures printed before the rest is only counted.
const SHOWN_MAX: usize = 20;
/// Proxies of a batch that traffic is sent through in the end.
const TALKED_TO_MAX: usize = 2;
const TALK_MS_MAX: u64 = 20;
/// The longest time to live.
const TTL_MS_MAX: i64 = 30 * 24 * 3_600 * 1_000;

const METHODS: [&str; 8] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "X"];
const NAMES: [&str; 7] = ["a", "b", "c", "d", "e f", "ж", "g/h"];
const TYPES: [&str; 12] = [
    "bandwidth",
    "latency",
    "limit_data",
    "loss",
    "noop",
    "reset_peer",
    "slicer",
    "slow_close",
    "timeout",
    "Latency",
    "poison",
    "",
];
const ATTRIBUTES: [&str; 11] = [
    "rate",
    "latency",
    "jitter",
    "bytes",
    "per_mille",
    "timeout",
    "average_size",
    "size_variation",
    "delay",
    "ttl_ms",
    "other",
];
const LISTENS: [&str; 12] = [
    "127.0.0.1:0",
    "127.0.0.1:0",
    "127.0.0.1:0",
    "localhost:0",
    "[::1]:0",
    "127.0.0.1",
    "127.0.0.1:99999",
    "nowhere:0",
    "[::1",
    ":-1",
    "127.0.0.1:x",
    "203.0.113.1:0",
];
const NUMBERS: [i64; 18] = [
    0,
    1,
    2,
    5,
    64,
    100,
    1_000,
    65_536,
    -1,
    -5,
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
    i64::MAX / 2 + 1,
    i64::MAX / 100 + 1,
    i64::MAX / 1_000_000,
    i64::MAX / 1_000_000 + 1,
    TTL_MS_MAX + 1,
];

pub fn run(flags: &Flags) -> Result<(), String> {
    let runs = flags.number("--runs", 1_000_000)?;
    let seed = flags.number("--seed", 1)?;
    let upstream = echo()?;
    let panics = Arc::new(AtomicU64::new(0));
    let counted = panics.clone();
    // Threads of proxies panic without anyone joining them in time, so panics are counted where they begin.
    std::panic::set_hook(Box::new(move |panic| {
        counted.fetch_add(1, Ordering::Relaxed);
        eprintln!("{panic}");
    }));
    let mut campaign = Campaign::default();
    for batch in 0..runs.div_ceil(BATCH) {
        let seed = seed.wrapping_add(batch);
        let before = panics.load(Ordering::Relaxed);
        campaign.batch(seed, BATCH.min(runs - batch * BATCH), upstream);
        let panicked = panics.load(Ordering::Relaxed) - before;
        if panicked > 0 {
            campaign.fail(seed, &format!("{panicked} panics"));
        }
        if batch % 100 == 99 {
            say(&format!(
                "{} requests, {} failures",
                campaign.requests, campaign.failures
            ));
        }
    }
    let _ = std::panic::take_hook();
    let statuses: Vec<String> = campaign
        .statuses
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(status, count)| format!("{status}: {count}"))
        .collect();
    say(&format!(
        "{} requests ({}), {} connections through live proxies, {} failures",
        campaign.requests,
        statuses.join(", "),
        campaign.talks,
        campaign.failures
    ));
    match campaign.failures {
        0 => Ok(()),
        failures => Err(format!("{failures} failures")),
    }
}

struct Campaign {
    requests: u64,
    talks: u64,
    failures: usize,
    /// By status.
    statuses: Vec<u64>,
}

impl Default for Campaign {
    fn default() -> Self {
        Campaign {
            requests: 0,
            talks: 0,
            failures: 0,
            statuses: vec![0; 600],
        }
    }
}

impl Campaign {
    fn fail(&mut self, seed: u64, what: &str) {
        self.failures += 1;
        if self.failures <= SHOWN_MAX {
            say(&format!("seed {seed}: {what}"));
        }
    }

    fn batch(&mut self, seed: u64, requests: u64, upstream: SocketAddr) {
        let mut rng = Rng::new(seed);
        let api = Api::new(names);
        for number in 0..requests {
            // One proxy is there from the start, so that most of what follows has something to meet.
            let request = if number == 0 {
                first(upstream)
            } else {
                request(&mut rng, upstream)
            };
            self.requests += 1;
            let answer = std::panic::catch_unwind(AssertUnwindSafe(|| api.answer(&request)));
            let Ok(answer) = answer else {
                self.fail(
                    seed,
                    &format!("a panic at {} {}: {}", request.method, request.path, body_of(&request)),
                );
                return;
            };
            if let Some(count) = self.statuses.get_mut(usize::from(answer.status)) {
                *count += 1;
            }
            if let Err(problem) = in_form(&answer) {
                let body = body_of(&request);
                self.fail(seed, &format!("{} {}: {body}: {problem}", request.method, request.path));
            }
        }
        match listed(&api) {
            Ok(listens) => {
                for listen in listens.iter().take(TALKED_TO_MAX) {
                    self.talks += u64::from(talk(listen).is_ok());
                }
            }
            Err(problem) => self.fail(seed, &problem),
        }
        let version = api.answer(&Request::get("/version"));
        if version.status != 200 || !version.body.starts_with(b"{\"version\": ") {
            self.fail(seed, "no version in the end");
        }
    }
}

fn body_of(request: &Request) -> String {
    String::from_utf8_lossy(&request.body).into_owned()
}

/// The only name there is: no test asks a name server.
fn names(host: &str) -> std::io::Result<Vec<IpAddr>> {
    match host {
        "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    }
}

/// The status is one that Toxiproxy gives, and an error has its two members.
fn in_form(answer: &Response) -> Result<(), String> {
    let problem = |what: &str| Err(format!("{}: {what}", answer.status));
    let json = serde_json::from_slice::<Value>(&answer.body).ok();
    match answer.status {
        200 | 201 => Ok(()),
        204 | 301 | 405 if answer.body.is_empty() => Ok(()),
        404 if answer.body == b"404 page not found\n" => Ok(()),
        403 => Ok(()),
        400 if answer.body == b"400 Bad Request" => Ok(()),
        400 | 404 | 409 | 500 => match json {
            Some(error) if error["status"] == answer.status && error["error"].is_string() => Ok(()),
            _ => problem("not an error as the API gives them"),
        },
        _ => problem("no status of this API"),
    }
}

/// Where the live proxies listen; an error, when something listed can't be.
fn listed(api: &Api) -> Result<Vec<String>, String> {
    let answer = api.answer(&Request::get("/proxies"));
    let listing: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("listing: {error}"))?;
    let mut listens = Vec::new();
    for (name, proxy) in listing.as_object().ok_or("the listing is no object")? {
        let problem = |what: &str| format!("proxy `{name}`: {what}: {proxy}");
        let listen = proxy["listen"].as_str().ok_or_else(|| problem("no address"))?;
        if proxy["name"] != name.as_str() || !proxy["upstream"].is_string() {
            return Err(problem("named otherwise, or without an upstream"));
        }
        if proxy["enabled"]
            .as_bool()
            .ok_or_else(|| problem("neither on nor off"))?
        {
            listen
                .parse::<SocketAddr>()
                .map_err(|_| problem("runs at no address"))?;
            listens.push(listen.to_owned());
        }
        let toxics = proxy["toxics"].as_array().ok_or_else(|| problem("no toxics"))?;
        let names: BTreeSet<&str> = toxics.iter().filter_map(|toxic| toxic["name"].as_str()).collect();
        if names.len() != toxics.len() || toxics.len() > TOXICS_MAX {
            return Err(problem("toxics without names of their own, or too many"));
        }
        toxics.iter().try_for_each(|toxic| in_bounds(toxic).map_err(problem))?;
    }
    Ok(listens)
}

fn in_bounds(toxic: &Value) -> Result<(), &'static str> {
    let stream = toxic["stream"].as_str().unwrap_or_default().to_lowercase();
    if !["upstream", "downstream"].contains(&stream.as_str()) || !toxic["toxicity"].is_number() {
        return Err("a toxic without stream or toxicity");
    }
    let number = |name: &str| toxic["attributes"][name].as_i64();
    let within = |name: &str, min: i64, max: i64| number(name).is_some_and(|number| (min..=max).contains(&number));
    let time = i64::MAX / 1_000_000;
    let good = match toxic["type"].as_str().unwrap_or_default() {
        "bandwidth" => within("rate", 0, i64::MAX / 100),
        "latency" => within("latency", i64::MIN, time) && within("jitter", i64::MIN, time),
        "limit_data" => within("bytes", i64::MIN, i64::MAX),
        "loss" => within("per_mille", 0, 1_000),
        "noop" => true,
        "reset_peer" | "timeout" => within("timeout", i64::MIN, time),
        "slicer" => {
            within("average_size", 1, i64::MAX)
                && within("size_variation", 0, number("average_size").unwrap_or(0))
                && within("delay", i64::MIN, i64::MAX / 1_000)
        }
        "slow_close" => within("delay", i64::MIN, time),
        _ => false,
    };
    let lives = toxic["attributes"].get("ttl_ms").is_none() || within("ttl_ms", 1, TTL_MS_MAX);
    if good && lives {
        Ok(())
    } else {
        Err("a toxic out of bounds")
    }
}

/// Bytes through a proxy, whatever becomes of them.
fn talk(listen: &str) -> std::io::Result<usize> {
    let address: SocketAddr = listen.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let time = Duration::from_millis(TALK_MS_MAX);
    let mut stream = TcpStream::connect_timeout(&address, time)?;
    stream.set_read_timeout(Some(time))?;
    stream.write_all(&[b'x'; 3_000])?;
    Ok(stream.read(&mut [0; 4_096]).unwrap_or(0))
}

fn echo() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(5 * TALK_MS_MAX)));
            std::thread::spawn(move || {
                let mut bytes = [0; 4_096];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn first(upstream: SocketAddr) -> Request {
    let body = json!({ "name": NAMES[0], "upstream": upstream.to_string(), "listen": LISTENS[0] });
    Request::post_json("/proxies", &body.to_string())
}

fn request(rng: &mut Rng, upstream: SocketAddr) -> Request {
    let (method, mut path, body) = match rng.below(20) {
        0 => ("GET", "/proxies".to_owned(), Vec::new()),
        1..=3 => ("POST", "/proxies".to_owned(), text(&proxy(rng, upstream))),
        4 => ("POST", "/populate".to_owned(), text(&population(rng, upstream))),
        5 => ("GET", one(rng), Vec::new()),
        6..=7 => ("POST", one(rng), text(&proxy(rng, upstream))),
        8 if rng.percent(30) => ("DELETE", one(rng), Vec::new()),
        8 => ("GET", format!("{}/toxics", one(rng)), Vec::new()),
        9 if rng.percent(20) => ("POST", "/reset".to_owned(), Vec::new()),
        9 => ("GET", "/metrics".to_owned(), Vec::new()),
        10..=14 => ("POST", format!("{}/toxics", one(rng)), text(&toxic(rng))),
        15..=16 => ("PATCH", toxic_path(rng), text(&toxic(rng))),
        17 => ("DELETE", toxic_path(rng), Vec::new()),
        18 => ("GET", toxic_path(rng), Vec::new()),
        _ => {
            let length = rng.index(40);
            ("POST", one(rng), rng.bytes(length))
        }
    };
    let method = if rng.percent(3) {
        rng.pick(&METHODS).unwrap_or(&"GET")
    } else {
        method
    };
    if rng.percent(3) {
        path = String::from_utf8_lossy(&changed(path.into_bytes(), rng)).into_owned();
    }
    let body = if rng.percent(25) { changed(body, rng) } else { body };
    let agent = rng
        .percent(1)
        .then(|| ("User-Agent".to_owned(), "Mozilla/5.0".to_owned()));
    Request {
        method: method.to_owned(),
        path,
        headers: agent.into_iter().collect(),
        body,
    }
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn one(rng: &mut Rng) -> String {
    let often = rng.percent(50);
    let name = rng.pick(&NAMES).copied().filter(|_| !often).unwrap_or(NAMES[0]);
    format!("/proxies/{}", name.replace(' ', "%20").replace('ж', "%D0%B6"))
}

fn toxic_path(rng: &mut Rng) -> String {
    let kind = *rng.pick(&TYPES).unwrap_or(&"x");
    let stream = if rng.percent(50) { "upstream" } else { "downstream" };
    format!("{}/toxics/{kind}_{stream}", one(rng))
}

fn proxy(rng: &mut Rng, upstream: SocketAddr) -> Value {
    let mut proxy = json!({});
    if rng.percent(95) {
        proxy["name"] = (*rng.pick(&NAMES).unwrap_or(&"a")).into();
    }
    if rng.percent(90) {
        let nobody = rng.percent(20);
        proxy["upstream"] = if nobody {
            "127.0.0.1:1".into()
        } else {
            upstream.to_string().into()
        };
    }
    // Without an address it would listen on every one, which no test does.
    proxy["listen"] = (*rng.pick(&LISTENS).unwrap_or(&"127.0.0.1:0")).into();
    if rng.percent(40) {
        proxy["enabled"] = rng.percent(50).into();
    }
    if rng.percent(5) {
        let member = *rng.pick(&["name", "upstream", "enabled", "toxics"]).unwrap_or(&"name");
        proxy[member] = odd(rng);
    }
    proxy
}

fn population(rng: &mut Rng, upstream: SocketAddr) -> Value {
    if rng.percent(5) {
        return odd(rng);
    }
    (0..rng.below(4)).map(|_| proxy(rng, upstream)).collect()
}

fn toxic(rng: &mut Rng) -> Value {
    let mut toxic = json!({ "type": rng.pick(&TYPES) });
    if rng.percent(50) {
        toxic["stream"] = (*rng
            .pick(&["upstream", "downstream", "UPSTREAM", "sideways"])
            .unwrap_or(&""))
        .into();
    }
    if rng.percent(20) {
        toxic["name"] = (*rng.pick(&NAMES).unwrap_or(&"a")).into();
    }
    if rng.percent(30) {
        toxic["toxicity"] = match rng.below(4) {
            0 => 0.into(),
            1 => 0.5.into(),
            2 => number(rng),
            _ => odd(rng),
        };
    }
    toxic["attributes"] = json!({});
    for _ in 0..rng.below(5) {
        let name = *rng.pick(&ATTRIBUTES).unwrap_or(&"rate");
        toxic["attributes"][name] = if rng.percent(95) { number(rng) } else { odd(rng) };
    }
    if rng.percent(3) {
        toxic["attributes"] = odd(rng);
    }
    toxic
}

fn number(rng: &mut Rng) -> Value {
    match rng.below(10) {
        0..=5 => (*rng.pick(&NUMBERS).unwrap_or(&0)).into(),
        6..=8 => rng.below(2_000).into(),
        _ => rng.bits().cast_signed().into(),
    }
}

/// A value of any type.
fn odd(rng: &mut Rng) -> Value {
    match rng.below(9) {
        0 => Value::Null,
        1 => true.into(),
        2 => json!(1.5),
        3 => json!(-1e300),
        4 => rng.bits().into(),
        5 => "1".into(),
        6 => json!([]),
        7 => "x".repeat(rng.index(3_000)).into(),
        _ => {
            let mut deep = json!({});
            for _ in 0..rng.below(200) {
                deep = json!([deep]);
            }
            deep
        }
    }
}

/// With a few bytes changed, added, removed or doubled. An address may become another one, but stays on loopback: what
/// would make it a wildcard is changed back.
fn changed(mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let before = bytes.clone();
    for _ in 0..=rng.below(3) {
        let at = rng.index(bytes.len() + 1);
        let byte = u8::try_from(rng.below(256)).unwrap_or(0);
        match rng.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 => bytes.insert(at, byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
            _ => bytes.truncate(at),
        }
    }
    let count = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).filter(|part| *part == what).count();
    let addresses = |bytes: &[u8]| (count(bytes, b"\"listen\":\"127.0.0.1:"), count(bytes, b"\"listen\":\""));
    let (loopback, listen) = addresses(&bytes);
    let (_, had) = addresses(&before);
    if had > 0 && (loopback < listen || listen < had) {
        before
    } else {
        bytes
    }
}
