//! The second half of `soak bundles`: Sigstore bundles of a Sigstore made for the run, with bits flipped, values removed, repeated and
//! exchanged with those of another bundle, in every field. None may be accepted that says otherwise than the bundle did.
//!
//! What nothing signs (a hint, a digest that stands beside, the status of a time stamp's answer, a witness too many) may change
//! without a refusal: such a bundle is accepted for what the whole one said, and is counted apart.

use evidence::Timestamp;
use evidence::sigstore::{Artifact, Policy, TrustedRoot, VerifiedBundle, Who, verify};
use serde_json::Value;
use testkit::Rng;

use crate::Flags;

#[path = "../../crates/evidence/tests/sigstore/world.rs"]
mod world;

use world::{ARTIFACT, SIGNED_SECONDS, Wishes, World};

/// A new Sigstore with new keys after so many bundles.
const RUNS_PER_WORLD: u64 = 5_000;

/// This half alone.
pub fn soak(flags: &Flags) -> Result<(), String> {
    match run(flags.number("--runs", 1_000)?, flags.number("--seed", 1)?)? {
        0 => Ok(()),
        failures => Err(format!("{failures} failures")),
    }
}

pub fn run(runs: u64, seed: u64) -> Result<u64, String> {
    let (mut accepted, mut idle) = (0, 0);
    let mut worlds = Vec::new();
    for run in 0..runs {
        if run.is_multiple_of(RUNS_PER_WORLD) {
            worlds = [None, Some(statement()), None]
                .into_iter()
                .map(Whole::new)
                .collect::<Result<_, _>>()?;
        }
        let seed = seed.wrapping_add(run);
        let mut rng = Rng::new(seed);
        let (whole, other) = (&worlds[rng.below(2) as usize], &worlds[2]);
        let mut bundle = whole.world.bundle.clone();
        let what = mutate(&mut bundle, &other.world.bundle, &mut rng);
        if bundle == whole.world.bundle {
            idle += 1;
            continue;
        }
        match whole.verify(&bundle) {
            Err(_) => {}
            Ok(after) if whole.says_as_much_as(&after) => idle += 1,
            Ok(_) => {
                accepted += 1;
                println!("seed {seed}: accepted with {what}");
            }
        }
    }
    println!("{runs} mutated Sigstore bundles, {accepted} accepted ({idle} whose change decides nothing)");
    Ok(accepted)
}

struct Whole {
    world: World,
    root: TrustedRoot,
    verified: VerifiedBundle,
}

fn statement() -> Value {
    serde_json::json!({"_type": evidence::STATEMENT_TYPE, "predicateType": "https://slsa.dev/provenance/v1", "predicate": {},
        "subject": [{"name": "artifact", "digest": {"sha256": world::hex(&world::sha256(ARTIFACT))}}]})
}

impl Whole {
    fn new(statement: Option<Value>) -> Result<Whole, String> {
        let world = world::world(&Wishes {
            statement,
            ..Wishes::default()
        });
        let root =
            TrustedRoot::from_bytes(world.trusted_root.to_string().as_bytes()).map_err(|error| error.to_string())?;
        let verified = verified(&world.bundle, &root).map_err(|refusal| format!("the bundle itself: {refusal}"))?;
        Ok(Whole { world, root, verified })
    }

    fn verify(&self, bundle: &Value) -> Result<VerifiedBundle, String> {
        verified(bundle, &self.root)
    }

    fn says_as_much_as(&self, after: &VerifiedBundle) -> bool {
        let before = &self.verified;
        before.signer() == after.signer()
            && before.statement() == after.statement()
            && after.times().iter().all(|time| before.times().contains(time))
            && after.entries().iter().all(|entry| before.entries().contains(entry))
    }
}

fn verified(bundle: &Value, root: &TrustedRoot) -> Result<VerifiedBundle, String> {
    let at = Timestamp::from_second(SIGNED_SECONDS + 3_600).map_err(|error| error.to_string())?;
    let bytes = bundle.to_string();
    verify(
        bytes.as_bytes(),
        root,
        &Policy::new(Who::Anyone),
        Artifact::Bytes(ARTIFACT),
        at,
    )
    .map_err(|refusal| refusal.to_string())
}

fn mutate(bundle: &mut Value, other: &Value, rng: &mut Rng) -> String {
    let mut places = Vec::new();
    all(bundle, String::new(), &mut places);
    let place = places[rng.below(places.len() as u64) as usize].clone();
    let way = rng.below(8);
    let Some(value) = bundle.pointer_mut(&place) else {
        return "nothing".to_owned();
    };
    match (way, &mut *value) {
        (0, value) => {
            *value = Value::Null;
            format!("{place} removed")
        }
        (1, value) => {
            *value = other.pointer(&place).cloned().unwrap_or(Value::Null);
            format!("{place} of another bundle")
        }
        (2, Value::Array(list)) if !list.is_empty() => {
            let again = list[rng.below(list.len() as u64) as usize].clone();
            list.push(again);
            format!("{place} with one of it twice")
        }
        (_, Value::String(text)) => {
            let (flipped, at) = flipped(text, rng);
            *text = flipped;
            format!("{place} changed at {at}")
        }
        (_, value) => {
            *value = Value::Array(vec![value.clone()]);
            format!("{place} in a list")
        }
    }
}

/// A bit of what base64 stands for, or a character.
fn flipped(text: &str, rng: &mut Rng) -> (String, usize) {
    let raw = world::unb64(text).filter(|bytes| bytes.len() > 8 && rng.below(8) > 0);
    let mut bytes = raw.clone().unwrap_or_else(|| text.as_bytes().to_vec());
    if bytes.is_empty() {
        return ("x".to_owned(), 0);
    }
    let at = rng.below(bytes.len() as u64) as usize;
    match rng.below(4) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, rng.below(256) as u8),
        _ => bytes[at] ^= 1 << rng.below(8),
    }
    let text = match raw {
        Some(_) => world::b64(&bytes),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    };
    (text, at)
}

fn all(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(table) => table
            .iter()
            .for_each(|(key, value)| all(value, format!("{place}/{key}"), found)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(at, value)| all(value, format!("{place}/{at}"), found)),
        _ => {}
    }
    if !place.is_empty() {
        found.push(place);
    }
}
