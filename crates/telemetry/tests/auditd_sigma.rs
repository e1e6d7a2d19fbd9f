//! Sigma's own auditd rules over what the auditd reader makes of raw records: SigmaHQ's where the shared data is there,
//! rules of the same shape everywhere.

mod common;

use std::time::Duration;

use telemetry::{Options, Reading, SigmaRules};

/// Raw records, not enriched, as `audit.log` has them.
const RECORDS: &str = concat!(
    // `socket(AF_ALG)`: arguments of SYSCALL are in hexadecimal.
    "type=SYSCALL msg=audit(1795521601.100:1): arch=c000003e syscall=41 success=yes exit=3 a0=26 a1=80005 a2=0 a3=0 items=0 ppid=1 pid=70 auid=1000 uid=1000 gid=1000 euid=1000 suid=1000 fsuid=1000 egid=1000 sgid=1000 fsgid=1000 tty=pts0 ses=3 comm=\"x\" exe=\"/tmp/x\" subj=unconfined key=(null)\n",
    "type=PROCTITLE msg=audit(1795521601.100:1): proctitle=2F746D702F78002D76\n",
    "type=SYSCALL msg=audit(1795521601.200:2): arch=c000003e syscall=59 success=yes exit=0 a0=5581 a1=7ffc a2=0 a3=8 items=2 ppid=1 pid=77 auid=1000 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts0 ses=3 comm=\"systemctl\" exe=\"/usr/bin/systemctl\" subj=unconfined key=\"susp_activity\"\n",
    "type=EXECVE msg=audit(1795521601.200:2): argc=3 a0=\"systemctl\" a1=\"stop\" a2=6175646974642E73657276696365\n",
    "type=PATH msg=audit(1795521601.200:2): item=0 name=\"/usr/bin/systemctl\" inode=5 dev=fd:00 mode=0100755 ouid=0 ogid=0 rdev=00:00 nametype=NORMAL\n",
    "type=PROCTITLE msg=audit(1795521601.200:2): proctitle=73797374656D63746C\n",
    "type=SYSCALL msg=audit(1795521601.300:3): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c items=2 ppid=1 pid=78 auid=1000 uid=0 tty=pts0 ses=3 comm=\"sh\" exe=\"/bin/dash\" key=(null)\n",
    "type=PATH msg=audit(1795521601.300:3): item=1 name=2F6574632F6C642E736F2E7072656C6F6164 inode=9 dev=fd:00 mode=0100644 nametype=CREATE\n",
    "type=EOE msg=audit(1795521601.300:3): \n",
    "type=ADD_USER msg=audit(1795521601.400:4): pid=5 uid=0 auid=1000 ses=1 msg='op=adding user id=1001 acct=\"eve\" exe=\"/usr/sbin/useradd\" hostname=? addr=? terminal=pts/0 res=success'\n",
);

const OWN: &str = "title: Socket\nid: 00000000-0000-0000-0000-000000000001\nlogsource: {product: linux, service: auditd}\n\
     detection:\n  s: {type: SYSCALL, SYSCALL: socket, a0: 26}\n  condition: s\nlevel: high\n\
     ---\ntitle: Stopped\nid: 00000000-0000-0000-0000-000000000002\nlogsource: {product: linux, service: auditd}\n\
     detection:\n  s: {type: EXECVE, a0: systemctl, a1|contains: stop, a2|contains: auditd, key: susp_activity, exe|endswith: /systemctl}\n  condition: s\nlevel: high\n\
     ---\ntitle: Preload\nid: 00000000-0000-0000-0000-000000000003\nlogsource: {product: linux, service: auditd}\n\
     detection:\n  s: {type: PATH, name: /etc/ld.so.preload, nametype: CREATE, comm: sh}\n  condition: s\nlevel: high\n\
     ---\ntitle: User\nid: 00000000-0000-0000-0000-000000000004\nlogsource: {product: linux, service: auditd}\n\
     detection:\n  s: {type: ADD_USER, exe|endswith: /useradd, acct: eve}\n  condition: s\nlevel: high\n";

/// Titles of the rules that match, one event after another.
fn matches(files: &[(String, Vec<u8>)]) -> Vec<String> {
    let rules = SigmaRules::load(files).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut reader = (telemetry::reader("auditd").unwrap().make)("audit", &Options::default());
    let mut out = Vec::new();
    reader.push(RECORDS.as_bytes(), Duration::ZERO, &mut out);
    reader.end(Duration::ZERO, &mut out);
    let titles = out.iter().flat_map(|reading| match reading {
        Reading::Event(event) => rules.matches(&event.fields),
        other => panic!("{other:?}"),
    });
    titles.map(|found| found.title).collect()
}

#[test]
fn rules_in_sigmas_shape_match_raw_records() {
    let found = matches(&[("own.yml".to_owned(), OWN.as_bytes().to_vec())]);
    assert_eq!(found, ["Socket", "Stopped", "Preload", "User"]);
}

#[test]
fn sigmahqs_rules_match_raw_records() {
    let Some(folder) = common::unpack("sigma-rules.tar.gz") else {
        return;
    };
    let mut paths = Vec::new();
    common::files(folder.path(), "yml", &mut paths);
    let files: Vec<(String, Vec<u8>)> = paths
        .iter()
        .map(|path| (path.display().to_string(), path))
        .filter(|(name, _)| name.contains("auditd"))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    let found = matches(&files);
    println!("{} rules", files.len());
    for title in [
        "Linux AF_ALG Socket Creation - Kernel Crypto API Exploit Indicator",
        "Program Executions in Suspicious Folders",
        "Suspicious C2 Activities",
        "Modification of ld.so.preload",
        "Creation Of An User Account",
    ] {
        assert!(found.iter().any(|matched| matched == title), "{title}: {found:#?}");
    }
}
