//! No descriptor and no child is left behind. A file of its own: the other tests open things at the same time.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{shell, text};
use host::process::{Cancel, Wanted, run, spawn};

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn nothing_leaks_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let hidden = folder.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    let round = || {
        for way in [Wanted::BestEffort, Wanted::None] {
            let mut command = shell("true", Path::new("/"), way);
            command.hide = vec![hidden.clone()];
            command.observe = true;
            run(command, &Cancel::new()).unwrap();
            let mut command = shell("sleep 60", Path::new("/"), way);
            command.timeout = Some(Duration::from_millis(1));
            command.observe = true;
            run(command, &Cancel::new()).unwrap();
            spawn(shell("sleep 60", Path::new("/"), way)).unwrap().kill();
            let mut command = shell("true", Path::new("/"), way);
            command.program = "./no-such".into();
            command.observe = true;
            run(command, &Cancel::new()).unwrap_err();
            let mut command = shell("true", Path::new("/"), way);
            command.cwd = "/no/such".into();
            run(command, &Cancel::new()).unwrap_err();
        }
    };
    round();
    let before = open_descriptors();
    for _ in 0..5 {
        round();
    }
    assert_eq!(open_descriptors(), before);
    // No zombie either.
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|folder| {
        let stat = std::fs::read(folder.ok()?.path().join("stat")).ok()?;
        let stat = text(&stat);
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned();
        (parent == std::process::id().to_string()).then_some(stat)
    });
    assert_eq!(children.collect::<Vec<_>>(), Vec::<String>::new());
    // And the program got nothing but its three streams.
    let _held = std::fs::File::open("/etc/passwd").unwrap();
    for way in [Wanted::BestEffort, Wanted::None] {
        let finished = run(shell("ls /proc/$$/fd; true", Path::new("/"), way), &Cancel::new());
        assert_eq!(text(&finished.unwrap().stdout), "0\n1\n2\n");
    }
}
