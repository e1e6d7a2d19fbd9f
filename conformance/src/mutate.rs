//! `soak bundles`: bundles with one byte or file changed, added, removed or renamed. None may be accepted. Ours here,
//! Sigstore's in `mutate_sigstore.rs`.

use std::path::Path;

use evidence::{BundleFiles, CheckedBundle, Timestamp, TrustRoot};
use testkit::Rng;

use crate::Flags;
use crate::mutate_sigstore;
use crate::shop::Shop;

pub fn run(flags: &Flags) -> Result<(), String> {
    let runs = flags.number("--runs", 1_000)?;
    let seed = flags.number("--seed", 1)?;
    let shop = Shop::new(flags.get("--program").ok_or("`--program P` is missing")?)?;
    let folder = shop.bundle("build")?;
    let root_bytes = std::fs::read(shop.home.join("trust-root.json")).map_err(|error| error.to_string())?;
    let root = TrustRoot::from_bytes(&root_bytes).map_err(|error| error.to_string())?;
    let files = read(&folder)?;
    CheckedBundle::open(&files, &root, Timestamp::UNIX_EPOCH).map_err(|error| format!("the bundle itself: {error}"))?;
    let mut failures: u64 = 0;
    for run in 0..runs {
        let mut rng = Rng::new(seed.wrapping_add(run));
        let (what, mutated) = mutate(&files, &mut rng);
        if CheckedBundle::open(&mutated, &root, Timestamp::UNIX_EPOCH).is_ok()
            || accepted_by_command(&shop, &mutated, run)?
        {
            failures += 1;
            println!("seed {}: accepted with {what}", seed.wrapping_add(run));
        }
    }
    println!("{runs} mutated bundles, {failures} accepted");
    let failures = failures + mutate_sigstore::run(runs, seed)?;
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} failures"))
    }
}

/// Every tenth bundle is put to the command itself, from disk.
fn accepted_by_command(shop: &Shop, files: &BundleFiles, run: u64) -> Result<bool, String> {
    if !run.is_multiple_of(10) {
        return Ok(false);
    }
    let folder = shop.tree.join("../mutated");
    let _ = std::fs::remove_dir_all(&folder);
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&folder)).map_err(|error| error.to_string())?;
        std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
    }
    let (code, _, err) = shop.run(&["verify", &folder.display().to_string()])?;
    if code != 4 && code != 2 {
        println!("`verify` ended with {code}: {err}");
        return Ok(true);
    }
    Ok(false)
}

fn read(folder: &Path) -> Result<BundleFiles, String> {
    let mut files = BundleFiles::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .map_err(|error| error.to_string())?
                    .display()
                    .to_string();
                files.insert(name, std::fs::read(&path).map_err(|error| error.to_string())?);
            }
        }
    }
    Ok(files)
}

fn mutate(files: &BundleFiles, rng: &mut Rng) -> (String, BundleFiles) {
    let mut mutated = files.clone();
    let names: Vec<&String> = files.keys().collect();
    let name = names[rng.below(names.len() as u64) as usize].clone();
    let other = names[rng.below(names.len() as u64) as usize].clone();
    let bytes = files[&name].clone();
    let at = rng.below(bytes.len() as u64) as usize;
    let byte = |rng: &mut Rng| rng.below(256) as u8;
    let what = match rng.below(8) {
        0 => {
            let bit = 1u8 << rng.below(8);
            mutated.entry(name.clone()).and_modify(|bytes| bytes[at] ^= bit);
            format!("bit {bit} of byte {at} of {name} flipped")
        }
        1 => {
            let mut value = byte(rng);
            if value == bytes[at] {
                value = value.wrapping_add(1);
            }
            mutated.entry(name.clone()).and_modify(|bytes| bytes[at] = value);
            format!("byte {at} of {name} set to {value}")
        }
        2 => {
            let value = byte(rng);
            mutated.entry(name.clone()).and_modify(|bytes| bytes.insert(at, value));
            format!("byte {value} inserted at {at} of {name}")
        }
        3 => {
            mutated.entry(name.clone()).and_modify(|bytes| {
                bytes.remove(at);
            });
            format!("byte {at} of {name} removed")
        }
        4 => {
            mutated.remove(&name);
            format!("{name} removed")
        }
        5 => {
            let added = format!("statements/{:06}.json", 900_000 + rng.below(1_000));
            mutated.insert(added.clone(), bytes);
            format!("{added} added, a copy of {name}")
        }
        6 => {
            mutated.remove(&name);
            mutated.insert(format!("{name}x"), bytes);
            format!("{name} renamed")
        }
        _ if name != other && files[&name] != files[&other] => {
            mutated.insert(name.clone(), files[&other].clone());
            mutated.insert(other.clone(), bytes);
            format!("{name} and {other} exchanged")
        }
        _ => {
            mutated.entry(name.clone()).and_modify(|bytes| bytes.truncate(at));
            format!("{name} cut to {at} bytes")
        }
    };
    (what, mutated)
}
