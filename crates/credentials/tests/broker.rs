//! The broker as its callers see it: HTTP-shaped rows, crashes at every write, and nothing that tells a token.

use std::sync::Arc;
use std::time::Duration;

use credentials::wire::{self, BODY_BYTES_MAX, Response};
use credentials::{
    Accessor, Broker, BrokerError, JOURNAL_BYTES_MAX, JOURNAL_PATH, LEASES_MAX, REMEMBERED_MAX, Recovered, RoleSpec,
    unclosed,
};
use evidence::{Digest, Now, Storage};
use proptest::prelude::*;
use testkit::SimStorage;

fn now(second: u64) -> Now {
    let utc = "2026-01-02T03:04:05Z".parse::<evidence::Timestamp>().unwrap();
    Now {
        utc: utc + Duration::from_secs(second),
        boottime: Duration::from_secs(1000 + second),
    }
}

fn role(name: &str, policies: &[&str], lookup: bool) -> RoleSpec {
    let policies = policies.iter().map(|policy| (*policy).to_owned()).collect();
    RoleSpec {
        name: name.to_owned(),
        policies,
        ttl_seconds_max: 300,
        lookup,
    }
}

fn roles() -> Vec<RoleSpec> {
    vec![
        role("storefront", &["ledger", "mail"], true),
        role("ledger", &[], true),
        role("shopper", &["storefront"], false),
    ]
}

/// Never repeats itself within a test, and differs between seeds.
fn random(seed: u64) -> Box<dyn FnMut() -> [u8; 32] + Send> {
    let mut count = 0_u64;
    Box::new(move || {
        count += 1;
        Digest::of(format!("{seed}/{count}").as_bytes()).0
    })
}

fn open(storage: &Arc<SimStorage>, seed: u64) -> Result<(Broker, Recovered), BrokerError> {
    Broker::open(storage.clone(), roles(), now(0), random(seed))
}

fn broker() -> Broker {
    open(&Arc::new(SimStorage::new(1)), 1).unwrap().0
}

fn send(broker: &Broker, method: &str, path: &str, token: &str, body: &str, second: u64) -> (u16, String) {
    let token = (!token.is_empty()).then_some(token);
    let response = broker.handle(
        &wire::Request {
            method,
            path,
            token,
            body: body.as_bytes(),
        },
        now(second),
    );
    (response.status, String::from_utf8(response.body).unwrap())
}

const CREATE: &str = "/v1/auth/token/create";
const LOOKUP: &str = "/v1/auth/token/lookup";

/// The text between `"name":"` and the next quote.
fn field(body: &str, name: &str) -> String {
    let start = format!("\"{name}\":\"");
    body.split_once(&start).unwrap().1.split('"').next().unwrap().to_owned()
}

fn create(broker: &Broker, second: u64) -> (String, Accessor) {
    let identity = broker.identity("storefront").unwrap();
    let body = r#"{"policies":["ledger"],"ttl":"300s"}"#;
    let (status, body) = send(broker, "POST", CREATE, identity.expose(), body, second);
    assert_eq!(status, 200, "{status}");
    (field(&body, "client_token"), Accessor(field(&body, "accessor")))
}

fn lookup(broker: &Broker, token: &str, second: u64) -> (u16, String) {
    let identity = broker.identity("ledger").unwrap();
    send(
        broker,
        "POST",
        LOOKUP,
        identity.expose(),
        &format!(r#"{{"token":"{token}"}}"#),
        second,
    )
}

#[test]
fn leases_and_looks_up_as_vault_does() {
    let broker = broker();
    let identity = broker.identity("storefront").unwrap();
    let (status, body) = send(
        &broker,
        "POST",
        CREATE,
        identity.expose(),
        r#"{"policies":["ledger"],"ttl":"300s"}"#,
        0,
    );
    let (token, accessor) = (field(&body, "client_token"), field(&body, "accessor"));
    assert!(token.starts_with("pmt.") && token.len() == 47 && accessor.starts_with("ledger/"));
    let expect = format!(
        r#"{{"auth":{{"client_token":"{token}","accessor":"{accessor}","policies":["ledger"],"lease_duration":300,"renewable":false}}}}"#
    );
    assert_eq!((status, body), (200, expect));
    let expect = format!(
        r#"{{"data":{{"accessor":"{accessor}","policies":["ledger"],"display_name":"storefront","ttl":271}}}}"#
    );
    assert_eq!(lookup(&broker, &token, 29), (200, expect));
    assert_eq!(send(&broker, "GET", "/v1/sys/health?standbyok=true", "", "", 0).0, 200);
}

#[test]
fn lifetimes_are_asked_for_in_several_ways_and_cut_to_the_maximum() {
    let broker = broker();
    let identity = broker.identity("storefront").unwrap();
    for (ttl, seconds) in [
        (r#""90s""#, Some(90)),
        (r#""2m""#, Some(120)),
        (r#""1h""#, Some(300)),
        (r#""45""#, Some(45)),
        ("45", Some(45)),
        ("null", Some(300)),
        (r#""99999999999999999999s""#, None),
        (r#""6000000000000000000h""#, None),
        (r#""0s""#, None),
        ("0", None),
        ("-1", None),
        ("1.5", None),
        (r#""+5s""#, None),
        (r#""s""#, None),
        (r#""""#, None),
        (r#""5é""#, None),
        ("[]", None),
    ] {
        let body = format!(r#"{{"policies":["ledger"],"ttl":{ttl}}}"#);
        let (status, body) = send(&broker, "POST", CREATE, identity.expose(), &body, 0);
        let got = (status == 200).then(|| body.split_once("\"lease_duration\":").unwrap().1);
        let got = got.map(|rest| rest.split(',').next().unwrap().parse::<u64>().unwrap());
        assert_eq!(got, seconds, "{ttl}");
        assert!(status == 200 || status == 400, "{ttl}: {status}");
    }
}

#[test]
fn who_may_not_is_refused() {
    let broker = broker();
    let identity = |role: &str| broker.identity(role).unwrap().expose().to_owned();
    let (leased, _) = create(&broker, 0);
    let want = r#"{"policies":["ledger"]}"#;
    for (what, token, path, body, status, error) in [
        ("no token", String::new(), CREATE, want, 403, "missing client token"),
        (
            "a stranger",
            "pmt.nonsense".to_owned(),
            CREATE,
            want,
            403,
            "permission denied",
        ),
        (
            "a stranger with bad JSON",
            "pmt.nonsense".to_owned(),
            CREATE,
            "{",
            403,
            "permission denied",
        ),
        (
            "another role's policy",
            identity("shopper"),
            CREATE,
            want,
            403,
            "permission denied",
        ),
        (
            "a role without policies",
            identity("ledger"),
            CREATE,
            want,
            403,
            "permission denied",
        ),
        ("a leased token", leased.clone(), CREATE, want, 403, "permission denied"),
        (
            "a role without lookup",
            identity("shopper"),
            LOOKUP,
            "{}",
            403,
            "permission denied",
        ),
        ("a leased token asking", leased, LOOKUP, "{}", 403, "permission denied"),
        (
            "an identity given back",
            identity("ledger"),
            "/v1/auth/token/revoke-self",
            "",
            403,
            "permission denied",
        ),
        (
            "an endless token",
            "x".repeat(5000),
            CREATE,
            want,
            403,
            "permission denied",
        ),
    ] {
        let answer = send(&broker, "POST", path, &token, body, 0);
        assert_eq!(answer, (status, format!(r#"{{"errors":["{error}"]}}"#)), "{what}");
    }
}

#[test]
fn bad_requests_are_answers() {
    let broker = broker();
    let storefront = broker.identity("storefront").unwrap();
    let large = format!(r#"{{"policies":["{}"]}}"#, "a".repeat(BODY_BYTES_MAX));
    let many = format!(r#"{{"policies":[{}]}}"#, vec![r#""ledger""#; 33].join(","));
    let nested = "[".repeat(5000);
    for (method, path, body, status) in [
        ("POST", "/v1/secret/data/x", "{}", 404),
        ("POST", "/v1/auth/token/create/", "{}", 404),
        ("POST", "", "{}", 404),
        ("GET", CREATE, "{}", 405),
        ("post", CREATE, "{}", 405),
        ("POST", "/v1/sys/health", "", 405),
        ("PUT", CREATE, r#"{"policies":["ledger"]}"#, 200),
        ("POST", CREATE, "", 400),
        ("POST", CREATE, "{", 400),
        ("POST", CREATE, "[]", 400),
        ("POST", CREATE, "{}", 400),
        ("POST", CREATE, &nested, 400),
        ("POST", CREATE, r#"{"policies":"ledger"}"#, 400),
        ("POST", CREATE, r#"{"policies":[]}"#, 400),
        ("POST", CREATE, &many, 400),
        ("POST", CREATE, r#"{"policies":["ledger"],"num_uses":1}"#, 400),
        ("POST", CREATE, r#"{"policies":["ledger"],"policies":["mail"]}"#, 400),
        ("POST", CREATE, r#"{"policies":["ledger"]} x"#, 400),
        ("POST", CREATE, r#"{"policies":["ledger","root"]}"#, 403),
        ("POST", CREATE, &large, 413),
        ("POST", LOOKUP, "{}", 400),
        ("POST", LOOKUP, r#"{"token":7}"#, 400),
        ("POST", LOOKUP, r#"{"token":""}"#, 403),
    ] {
        let (got, body) = send(&broker, method, path, storefront.expose(), body, 0);
        assert_eq!(got, status, "{method} {path}");
        assert_eq!(body.starts_with(r#"{"errors":[""#), status != 200, "{method} {path}");
    }
    let not_text = wire::Request {
        method: "POST",
        path: CREATE,
        token: Some(storefront.expose()),
        body: &[0xff, 0],
    };
    assert_eq!(broker.handle(&not_text, now(0)).status, 400);
}

#[test]
fn a_lease_ends_by_its_time_and_stays_ended() {
    let broker = broker();
    let (token, accessor) = create(&broker, 0);
    assert_eq!(lookup(&broker, &token, 299).0, 200);
    assert_eq!(broker.active("storefront", "ledger", now(299)), vec![accessor.clone()]);
    assert_eq!(
        lookup(&broker, &token, 300),
        (403, r#"{"errors":["bad token"]}"#.to_owned())
    );
    assert_eq!(
        lookup(&broker, &token, 10).0,
        403,
        "a boot time that goes back brings nothing back"
    );
    assert!(broker.active("storefront", "ledger", now(300)).is_empty());
    assert!(broker.revoke("storefront", "ledger", now(300)).is_empty());
    assert_eq!(broker.value_of(&accessor).unwrap().expose(), token);
}

#[test]
fn the_wall_clock_ends_nothing() {
    let broker = broker();
    let (token, _) = create(&broker, 0);
    let years_later = Now {
        utc: now(0).utc + Duration::from_secs(5 * 365 * 86_400),
        boottime: now(1).boottime,
    };
    let identity = broker.identity("ledger").unwrap();
    let body = format!(r#"{{"token":"{token}"}}"#);
    let request = wire::Request {
        method: "POST",
        path: LOOKUP,
        token: Some(identity.expose()),
        body: body.as_bytes(),
    };
    assert_eq!(broker.handle(&request, years_later).status, 200);
}

#[test]
fn revoking_takes_exactly_what_it_names() {
    let broker = broker();
    let (first, first_name) = create(&broker, 0);
    let (second, second_name) = create(&broker, 0);
    let (mail, _) = broker.lease("storefront", "mail", now(0)).unwrap();
    let (shopper, _) = broker.lease("shopper", "storefront", now(0)).unwrap();
    let mut names = vec![first_name.clone(), second_name];
    names.sort();
    assert_eq!(broker.revoke("storefront", "ledger", now(1)), names);
    assert!(broker.revoke("storefront", "ledger", now(1)).is_empty());
    for (token, status) in [
        (first.as_str(), 403),
        (&second, 403),
        (mail.expose(), 200),
        (shopper.expose(), 200),
    ] {
        assert_eq!(lookup(&broker, token, 1).0, status);
    }
    assert_eq!(
        broker.value_of(&first_name).unwrap().expose(),
        first,
        "needed to present it"
    );
    assert_eq!(broker.revoke_all(now(2)).len(), 2);
    assert_eq!(lookup(&broker, mail.expose(), 2).0, 403);
    let (again, _) = create(&broker, 3);
    assert_eq!(lookup(&broker, &again, 3).0, 200, "the identity outlives its leases");
}

#[test]
fn a_holder_gives_its_lease_back() {
    let broker = broker();
    let (token, _) = create(&broker, 0);
    assert_eq!(
        send(&broker, "POST", "/v1/auth/token/revoke-self", &token, "", 1),
        (204, String::new())
    );
    assert_eq!(lookup(&broker, &token, 1).0, 403);
    assert_eq!(
        send(&broker, "POST", "/v1/auth/token/revoke-self", &token, "", 1).0,
        403
    );
}

#[test]
fn roles_are_checked_at_the_start() {
    let with = |roles: Vec<RoleSpec>| Broker::open(Arc::new(SimStorage::new(1)), roles, now(0), random(1)).err();
    let life = |seconds| RoleSpec {
        ttl_seconds_max: seconds,
        ..role("a", &["p"], false)
    };
    let bad = [
        vec![role("a", &[], false), role("a", &[], false)],
        vec![role("", &[], false)],
        vec![role("../a", &[], false)],
        vec![role("A", &[], false)],
        vec![role("a", &["p/q"], false)],
        vec![life(0)],
        vec![life(86_401)],
    ];
    for roles in bad {
        assert!(
            matches!(with(roles.clone()), Some(BrokerError::Role { .. })),
            "{roles:?}"
        );
    }
    assert_eq!(
        with(vec![RoleSpec {
            ttl_seconds_max: 0,
            ..role("a", &[], true)
        }]),
        None
    );
    assert!(matches!(
        broker().identity("nobody"),
        Err(BrokerError::UnknownRole { .. })
    ));
    assert!(matches!(
        broker().lease("shopper", "ledger", now(0)),
        Err(BrokerError::Denied { .. })
    ));
}

#[test]
fn random_that_repeats_itself_is_refused() {
    let same = || Broker::open(Arc::new(SimStorage::new(1)), roles(), now(0), Box::new(|| [7; 32]));
    assert_eq!(same().err(), Some(BrokerError::Random));
}

#[test]
fn a_role_holds_a_bounded_number_of_leases() {
    let broker = broker();
    for _ in 0..LEASES_MAX {
        broker.lease("storefront", "ledger", now(0)).unwrap();
    }
    assert!(matches!(
        broker.lease("storefront", "ledger", now(0)),
        Err(BrokerError::TooManyLeases { .. })
    ));
    let identity = broker.identity("storefront").unwrap();
    assert_eq!(
        send(
            &broker,
            "POST",
            CREATE,
            identity.expose(),
            r#"{"policies":["mail"]}"#,
            0
        )
        .0,
        429
    );
    assert!(
        broker.lease("shopper", "storefront", now(0)).is_ok(),
        "one role can't starve another"
    );
    assert!(
        broker.lease("storefront", "ledger", now(300)).is_ok(),
        "what has ended makes room"
    );
}

#[test]
fn memory_and_journal_stay_bounded() {
    let storage = Arc::new(SimStorage::new(1));
    let (broker, _) = open(&storage, 1).unwrap();
    let (_, oldest) = broker.lease("storefront", "ledger", now(0)).unwrap();
    for _ in 0..=REMEMBERED_MAX {
        let (_, accessor) = broker.lease("storefront", "ledger", now(0)).unwrap();
        broker.revoke("storefront", "ledger", now(0));
        assert!(broker.value_of(&accessor).is_some());
    }
    assert!(broker.value_of(&oldest).is_none());
    assert!(broker.known_values().len() <= REMEMBERED_MAX + 3);
    assert!(storage.length(JOURNAL_PATH).unwrap().unwrap() <= JOURNAL_BYTES_MAX);
    broker.lease("shopper", "storefront", now(0)).unwrap();
    assert_eq!(
        unclosed(&*storage).unwrap().len(),
        1,
        "what is live survives compaction"
    );
}

#[test]
fn a_journal_that_fails_seals_the_broker() {
    let storage = Arc::new(SimStorage::new(1));
    let (broker, _) = open(&storage, 1).unwrap();
    let (token, _) = create(&broker, 0);
    storage.fail_sync_at(1);
    assert!(matches!(
        broker.lease("shopper", "storefront", now(1)),
        Err(BrokerError::Storage(_))
    ));
    let identity = broker.identity("storefront").unwrap();
    let (status, body) = send(
        &broker,
        "POST",
        CREATE,
        identity.expose(),
        r#"{"policies":["ledger"]}"#,
        1,
    );
    assert_eq!((status, body.contains("sealed")), (503, true));
    assert_eq!(send(&broker, "GET", "/v1/sys/health", "", "", 1).0, 503);
    assert_eq!(lookup(&broker, &token, 1).0, 200, "what was leased before still is");
    assert_eq!(broker.revoke("storefront", "ledger", now(1)).len(), 1);
    assert_eq!(lookup(&broker, &token, 1).0, 403, "taking away needs no journal");
}

#[test]
fn an_identity_is_delivered_as_a_file_only_its_owner_reads() {
    let broker = broker();
    let delivery = broker.delivery("ledger").unwrap();
    assert_eq!((delivery.file_name.as_str(), delivery.mode), ("ledger.identity", 0o400));
    assert_eq!(delivery.content.expose(), broker.identity("ledger").unwrap().expose());
}

/// Leases, revokes and gives back; says which leases were promised, and which were promised to be over.
fn history(broker: &Broker) -> (Vec<Accessor>, Vec<Accessor>) {
    let (mut promised, mut over) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let role = if round % 2 == 0 {
            ("storefront", "ledger")
        } else {
            ("shopper", "storefront")
        };
        if let Ok((token, accessor)) = broker.lease(role.0, role.1, now(round)) {
            promised.push(accessor.clone());
            if round == 3 && send(broker, "POST", "/v1/auth/token/revoke-self", token.expose(), "", round).0 == 204 {
                over.push(accessor);
            }
        }
        if round == 2 {
            over.extend(broker.revoke("storefront", "ledger", now(round)));
        }
    }
    (promised, over)
}

#[test]
fn every_promised_lease_is_closed_after_a_crash_at_any_write() {
    let storage = Arc::new(SimStorage::new(1));
    let (broker, _) = open(&storage, 1).unwrap();
    history(&broker);
    let writes = storage.writes();
    for crash in 1..=writes {
        for seed in 0..40 {
            let storage = Arc::new(SimStorage::new(seed));
            storage.crash_at(crash);
            let Ok((broker, _)) = open(&storage, 1) else { continue };
            let (promised, over) = history(&broker);
            let tokens = broker.known_values();
            // What was said to be over while the journal already failed may be closed once more: that is harmless.
            let sealed = broker.is_sealed();
            drop(broker);
            let remains = Arc::new(storage.after_crash(seed));
            let (next, recovered) = open(&remains, 2).unwrap();
            let closed: Vec<Accessor> = recovered.closed.into_iter().map(|lease| lease.accessor).collect();
            for accessor in &promised {
                let open = closed.contains(accessor);
                assert!(
                    open || over.contains(accessor),
                    "crash {crash}, seed {seed}: {accessor} forgotten"
                );
                assert!(
                    !open || sealed || !over.contains(accessor),
                    "crash {crash}, seed {seed}: {accessor} came back"
                );
            }
            assert!(unclosed(&*remains).unwrap().is_empty());
            for token in tokens {
                let token = String::from_utf8(token).unwrap();
                assert_eq!(lookup(&next, &token, 10).0, 403, "no token outlives its process");
            }
            assert_eq!(open(&remains, 3).unwrap().1, Recovered::default(), "closed once");
        }
    }
}

#[test]
fn a_journal_of_another_version_or_of_nonsense() {
    let json = r#"{"record":"header","version":2}"#;
    let newer = format!("{} {json}\n", &Digest::of(json.as_bytes()).hex()[..16]);
    let storage = Arc::new(SimStorage::new(1));
    storage.replace(JOURNAL_PATH, newer.as_bytes()).unwrap();
    assert_eq!(open(&storage, 1).err(), Some(BrokerError::Version { version: 2 }));
    assert_eq!(
        storage.read(JOURNAL_PATH).unwrap().unwrap(),
        newer.as_bytes(),
        "left as it was"
    );
    storage.replace(JOURNAL_PATH, b"\xff\xfe nonsense\n").unwrap();
    assert_eq!(
        open(&storage, 1).unwrap().1,
        Recovered {
            closed: Vec::new(),
            ignored_bytes: 12
        }
    );
}

#[derive(Debug, Clone)]
enum Step {
    Lease(usize),
    Lookup(usize, usize),
    Revoke,
    GiveBack(usize),
    /// A token where it doesn't belong: in a body, a path, a method, as a policy, as a role.
    Misplace(usize, usize),
    Bytes(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4_usize).prop_map(Step::Lease),
        (0..4_usize, any::<usize>()).prop_map(|(role, token)| Step::Lookup(role, token)),
        Just(Step::Revoke),
        any::<usize>().prop_map(Step::GiveBack),
        (0..7_usize, any::<usize>()).prop_map(|(place, token)| Step::Misplace(place, token)),
        proptest::collection::vec(any::<u8>(), 0..60).prop_map(Step::Bytes),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a run showed to anyone: answers, errors, `Debug` of everything.
struct Seen {
    texts: Vec<Vec<u8>>,
    /// The one answer that creates a token, and that token.
    created: Vec<(usize, String)>,
}

impl Seen {
    fn show(&mut self, bytes: impl Into<Vec<u8>>) {
        self.texts.push(bytes.into());
    }

    fn answer(&mut self, response: &Response) {
        self.show(response.body.clone());
        self.show(format!("{response:?} {response:#?}"));
    }
}

fn perform(broker: &Broker, step: &Step, tokens: &mut Vec<String>, seen: &mut Seen) {
    let pick = |tokens: &[String], at: usize| tokens[at % tokens.len()].clone();
    let names = ["storefront", "ledger", "shopper"];
    let handle = |seen: &mut Seen, method: &str, path: &str, token: &str, body: &[u8]| {
        let request = wire::Request {
            method,
            path,
            token: Some(token),
            body,
        };
        let response = broker.handle(&request, now(1));
        seen.show(format!("{request:?} {request:#?}"));
        seen.answer(&response);
        response
    };
    match step {
        Step::Lease(role) => {
            let token = names.get(*role).map_or("pmt.none".to_owned(), |role| {
                broker.identity(role).unwrap().expose().to_owned()
            });
            let body = br#"{"policies":["ledger"]}"#;
            let response = handle(seen, "POST", CREATE, &token, body);
            if response.status == 200 {
                let created = field(std::str::from_utf8(&response.body).unwrap(), "client_token");
                // The body stands before its `Debug`.
                seen.created.push((seen.texts.len() - 2, created.clone()));
                tokens.push(created);
            }
        }
        Step::Lookup(role, token) => {
            let identity = names.get(*role).map_or("x".to_owned(), |role| {
                broker.identity(role).unwrap().expose().to_owned()
            });
            let body = format!(r#"{{"token":"{}"}}"#, pick(tokens, *token));
            handle(seen, "POST", LOOKUP, &identity, body.as_bytes());
        }
        Step::Revoke => seen.show(format!("{:?}", broker.revoke("storefront", "ledger", now(1)))),
        Step::GiveBack(token) => {
            handle(seen, "POST", "/v1/auth/token/revoke-self", &pick(tokens, *token), b"");
        }
        Step::Misplace(place, token) => {
            let token = pick(tokens, *token);
            let identity = broker.identity("storefront").unwrap();
            let identity = identity.expose();
            let (method, path, body) = match place {
                0 => (
                    "POST".to_owned(),
                    format!("/v1/auth/token/lookup?token={token}"),
                    "{}".to_owned(),
                ),
                1 => ("POST".to_owned(), format!("/v1/{token}"), "{}".to_owned()),
                2 => (token.clone(), CREATE.to_owned(), "{}".to_owned()),
                3 => (
                    "POST".to_owned(),
                    CREATE.to_owned(),
                    format!(r#"{{"policies":["{token}"]}}"#),
                ),
                4 => ("POST".to_owned(), CREATE.to_owned(), format!(r#"{{"{token}":1}}"#)),
                5 => (
                    "POST".to_owned(),
                    CREATE.to_owned(),
                    format!(r#"{{"policies":"{token}"}}"#),
                ),
                _ => (
                    "POST".to_owned(),
                    LOOKUP.to_owned(),
                    format!(r#"{{"token":["{token}"]}}"#),
                ),
            };
            handle(seen, &method, &path, identity, body.as_bytes());
            for error in [
                broker.lease(&token, &token, now(1)).unwrap_err(),
                broker.lease("storefront", &token, now(1)).unwrap_err(),
                broker.identity(&token).unwrap_err(),
            ] {
                seen.show(format!("{error} {error:?}"));
            }
        }
        Step::Bytes(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            let identity = broker.identity("storefront").unwrap();
            handle(seen, "POST", LOOKUP, identity.expose(), bytes);
            handle(seen, &text, &text, &text, bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_token_is_told_once(steps in steps(), seed in 0..1_000_000_u64) {
        let storage = Arc::new(SimStorage::new(seed));
        let (broker, recovered) = open(&storage, seed).unwrap();
        let mut tokens: Vec<String> =
            ["storefront", "ledger", "shopper"].map(|role| broker.identity(role).unwrap().expose().to_owned()).into();
        let mut seen = Seen { texts: vec![format!("{recovered:?}").into_bytes()], created: Vec::new() };
        for step in &steps {
            perform(&broker, step, &mut tokens, &mut seen);
            seen.show(format!("{broker:?} {:?}", broker.delivery("ledger")));
        }
        seen.show(storage.read(JOURNAL_PATH).unwrap().unwrap());
        let next = open(&Arc::new(storage.after_kill(seed)), seed + 1).unwrap();
        seen.show(format!("{next:?}"));
        for token in &tokens {
            for (at, text) in seen.texts.iter().enumerate() {
                let told = credentials::spellings(token.as_bytes())
                    .iter()
                    .any(|spelling| text.windows(spelling.len()).any(|window| window == spelling.as_slice()));
                let meant = seen.created.iter().any(|(place, created)| *place == at && created == token);
                prop_assert_eq!(told, meant, "text {} tells a token it must not", at);
            }
        }
        prop_assert_eq!(broker.known_values().len(), tokens.len());
    }
}
