//! Rigs for faults on files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[("secret-unreadable", secret_unreadable)];

/// A folder with one secret in it.
struct Secret {
    root: PathBuf,
}

fn secret_unreadable(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let root = folder.join("secrets");
    fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let rig = Secret { root };
    rig.revive_file()?;
    Ok(Box::new(rig))
}

impl Secret {
    fn file(&self) -> PathBuf {
        self.root.join("db-password")
    }

    fn mode(&self) -> Result<u32, String> {
        let metadata = fs::metadata(self.file()).map_err(|error| error.to_string())?;
        Ok(metadata.permissions().mode() & 0o7777)
    }

    fn revive_file(&self) -> Result<(), String> {
        fs::write(self.file(), "s3cr3t-of-a-rig\n").map_err(|error| error.to_string())?;
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o640)).map_err(|error| error.to_string())
    }
}

impl Rig for Secret {
    fn targets(&self) -> String {
        let root = self.root.display();
        format!("[chaos.target.secrets]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\nroot = \"{root}\"\n")
    }

    fn fault(&self) -> String {
        "id = \"secret-unreadable\"\ntarget = \"secrets\"\npath = \"db-password\"\n".to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        let text = fs::read_to_string(self.file()).map_err(|error| error.to_string())?;
        Ok(format!("{:o} {text}", self.mode()?))
    }

    fn shows(&mut self) -> Result<bool, String> {
        Ok(self.mode()? & 0o444 == 0)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let file = self.file();
        let changed = fs::set_permissions(&file, fs::Permissions::from_mode(0o604));
        let kept = move || {
            let metadata = fs::metadata(&file).map_err(|error| error.to_string())?;
            Ok(metadata.permissions().mode() & 0o7777 == 0o604)
        };
        Some(
            changed
                .map(|()| Box::new(kept) as Kept)
                .map_err(|error| error.to_string()),
        )
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        Some(fs::remove_file(self.file()).map_err(|error| error.to_string()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.revive_file()
    }
}
