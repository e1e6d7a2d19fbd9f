//! A step of the team that goes for the keys, the store or the wrapper, and gets nothing.

mod common;

use common::{Shop, turn};

/// Tries everything and writes what worked to `target/loot`, then a JUnit report that looks fine.
const ATTACK: &str = r#"
mkdir -p target
: > target/loot
for file in "$HOME_OF_KEYS"/keys/* "$HOME_OF_KEYS"/trust-root.json .proofmark/FORMAT .proofmark/log/journal; do
  if cat "$file" > /dev/null 2>&1; then echo "read $file" >> target/loot; fi
done
ls "$HOME_OF_KEYS"/keys > /dev/null 2>&1 && [ -n "$(ls "$HOME_OF_KEYS"/keys)" ] && echo "listed keys" >> target/loot
umount "$HOME_OF_KEYS" 2> /dev/null && echo "unmounted" >> target/loot
for pid in 1 $PPID $(ls /proc | grep -E '^[0-9]+$'); do
  [ "$pid" = "$$" ] && continue
  if tr '\0' ' ' < /proc/$pid/cmdline 2>/dev/null | grep -q "proofmark"; then
    if head -c 1 /proc/$pid/mem > /dev/null 2>&1; then echo "memory of $pid" >> target/loot; fi
    if ls /proc/$pid/root"$HOME_OF_KEYS"/keys 2>/dev/null | grep -q .; then echo "root of $pid" >> target/loot; fi
  fi
done
echo '<testsuite><testcase name="innocent"/></testsuite>' > target/attack.xml
"#;

#[test]
fn a_step_gets_neither_keys_nor_store_nor_wrapper() {
    let _turn = turn();
    let shop = Shop::new();
    let script = ATTACK.replace("$HOME_OF_KEYS", &shop.home.display().to_string());
    std::fs::write(shop.tree.join("attack.sh"), script).expect("a file");
    let step = "\n[[commit.step]]\nname = \"attack\"\nrun = [\"sh\", \"attack.sh\"]\nreport = \"target/attack.xml\"\n";
    let path = shop.tree.join("proofmark.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(
        &path,
        text.replacen("\n[dependencies]", &format!("{step}\n[dependencies]"), 1),
    )
    .expect("a file");
    shop.commit("attack");
    let answer = shop.run(&["release", "--to", "commit"]);
    let loot = std::fs::read_to_string(shop.tree.join("target/loot")).expect("the attack ran");
    assert_eq!(loot, "", "{answer:?}");
    // Outside the sandbox the same script finds what it looks for: the attack itself works.
    let out = std::process::Command::new("sh")
        .arg("attack.sh")
        .current_dir(&shop.tree)
        .output();
    out.expect("sh starts");
    let loot = std::fs::read_to_string(shop.tree.join("target/loot")).expect("the attack ran");
    assert!(
        loot.contains("trust-root.json") && loot.contains("log/journal"),
        "{loot}"
    );
}
