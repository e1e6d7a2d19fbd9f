//! The rig for Atomic Red Team's tests: a technique of our own that writes outside its folder and goes on, and what the
//! host knows of it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[("atomic-test", |folder| Ok(Box::new(Atomics::new(folder)?)))];

struct Atomics {
    root: PathBuf,
    /// A file of the host that the test overwrites in its copy.
    kept: PathBuf,
    /// Seconds that nobody else sleeps for: how the attack is found among the host's processes.
    mark: String,
}

impl Atomics {
    fn new(folder: &Path) -> Result<Atomics, String> {
        let root = folder.join("atomics");
        fs::create_dir_all(root.join("T1059.004")).map_err(|error| error.to_string())?;
        let kept = folder.join("kept");
        fs::write(&kept, "as it was").map_err(|error| error.to_string())?;
        let mark = format!("{}.25", 40_000 + std::process::id() % 10_000);
        let technique = format!(
            "attack_technique: T1059.004\ndisplay_name: Unix shell\natomic_tests:\n- name: writes and stays\n  description: of a rig\n  \
             supported_platforms: [linux]\n  executor:\n    name: sh\n    command: |\n      echo gone > {}\n      sleep {mark}\n",
            kept.display()
        );
        fs::write(root.join("T1059.004/T1059.004.yaml"), technique).map_err(|error| error.to_string())?;
        Ok(Atomics { root, kept, mark })
    }
}

impl Rig for Atomics {
    fn targets(&self) -> String {
        let root = self.root.display();
        format!("[chaos.target.atomics]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\nroot = \"{root}\"\n")
    }

    fn fault(&self) -> String {
        "id = \"atomic-test\"\ntarget = \"atomics\"\npath = \"T1059.004/T1059.004.yaml\"\ntest = 1\n".to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        fs::read_to_string(&self.kept).map_err(|error| error.to_string())
    }

    fn shows(&mut self) -> Result<bool, String> {
        let processes = fs::read_dir("/proc").map_err(|error| error.to_string())?;
        let attacks = |path: PathBuf| {
            let command = fs::read(path.join("cmdline")).unwrap_or_default();
            command
                .split(|byte| *byte == 0)
                .any(|word| word == self.mark.as_bytes())
        };
        Ok(processes.filter_map(Result::ok).any(|entry| attacks(entry.path())))
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        None
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        None
    }

    fn revive(&mut self) -> Result<(), String> {
        Ok(())
    }
}
