//! Other people's programs over what we write: envelopes (securesystemslib), SBOM (CycloneDX library), log (Tessera's fsck).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Flags;
use crate::shop::Shop;

pub fn run(flags: &Flags) -> Result<(), String> {
    let program = flags.get("--program").map_or_else(beside, PathBuf::from);
    let shop = Shop::new(&program.display().to_string())?;
    let bundle = shop.bundle("build")?;
    let mut asked = 0;
    if let Some(python) = flags.get("--python") {
        let script = scripts().join("verify_envelopes.py");
        must(
            Command::new(python)
                .arg(script)
                .arg(shop.home.join("trust-root.json"))
                .arg(&bundle),
        )?;
        asked += 1;
    }
    if let Some(npm) = flags.get("--npm") {
        let sbom = shop.tree.join("../sbom.json");
        let (code, out, err) = shop.run(&["sbom"])?;
        if code != 0 {
            return Err(format!("sbom: {err}"));
        }
        std::fs::write(&sbom, out).map_err(|error| error.to_string())?;
        let script = Path::new(npm).join("cyclonedx-validate.mjs");
        // Modules are looked for beside the script.
        std::fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("cyclonedx-validate.mjs"),
            &script,
        )
        .map_err(|error| error.to_string())?;
        must(Command::new("node").arg(&script).arg(&sbom))?;
        asked += 1;
    }
    if asked == 0 {
        return Err("no program to ask was given: `--python P`, `--npm DIR`".to_owned());
    }
    println!("{asked} programs accept what we write");
    Ok(())
}

/// The program built beside this one.
fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.parent().unwrap_or(Path::new(".")).join("proofmark")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

fn must(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} refused"))
    }
}
