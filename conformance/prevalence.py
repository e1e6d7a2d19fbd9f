#!/usr/bin/env python3
"""Makes the rows of crates/chaos/src/choice/prevalence.toml from public data sets.

    python3 conformance/prevalence.py SIGMA_RULES ATOMIC_RED_TEAM ICS_ATTACK.json MOBILE_ATTACK.json

Counts, by ATT&CK technique for enterprises: Sigma rules tagged with it, Atomic tests of it, and groups, software and
campaigns that ATT&CK for ICS or Mobile says use the technique of the same name (their ids are others). What a
sub-technique has counts for its technique too. Needs nothing beyond Python's own library.
"""

import json
import math
import os
import re
import sys

# Names, as ATT&CK has them, of techniques of our catalogue that no Atomic test of the set names.
NAMES = {
    "T1021": "Remote Services",
    "T1036": "Masquerading",
    "T1040": "Network Sniffing",
    "T1078": "Valid Accounts",
    "T1078.001": "Default Credentials",
    "T1098": "Account Manipulation",
    "T1133": "External Remote Services",
    "T1195": "Supply Chain Compromise",
    "T1195.001": "Compromise Software Dependencies and Development Tools",
    "T1195.002": "Compromise Software Supply Chain",
    "T1485": "Data Destruction",
    "T1489": "Service Stop",
    "T1498": "Network Denial of Service",
    "T1499": "Endpoint Denial of Service",
    "T1531": "Account Access Removal",
    "T1557": "Adversary-in-the-Middle",
    "T1562": "Impair Defenses",
    "T1562.001": "Disable or Modify Tools",
    "T1562.010": "Downgrade to Insecure Protocols",
    "T1565": "Data Manipulation",
    "T1565.001": "Stored Data Manipulation",
}
# ATT&CK 19 renamed these; rules and tests have the new ids, our catalogue and the bundles the old ones.
SUCCESSORS = {
    "T1685": ["T1562.001", "T1562.006"],
    "T1686": ["T1562.004"],
    "T1689": ["T1562.010"],
    "T1690": ["T1562.003"],
}
SOURCES = ("sigma", "atomic", "use")


def parents(technique):
    """Everything that a tag with this technique counts for, each once."""
    own = technique.split(".")[0]
    return sorted({one for name in [technique, own, *SUCCESSORS.get(own, [])] for one in (name, name.split(".")[0])})


def sigma(folder, add):
    for at, folders, files in os.walk(folder):
        folders.sort()
        if "_licences" in at:
            continue
        for name in sorted(files):
            if name.endswith((".yml", ".yaml")):
                with open(os.path.join(at, name), encoding="utf-8") as file:
                    tags = set(re.findall(r"^\s*-\s*attack\.(t\d{4}(?:\.\d{3})?)\s*$", file.read(), re.M | re.I))
                for technique in {one for tag in tags for one in parents(tag.upper())}:
                    add("sigma", technique, 1)


def atomic(folder, add, names):
    for at, _, files in os.walk(folder):
        for name in files:
            if re.fullmatch(r"T\d{4}(\.\d{3})?\.yaml", name):
                with open(os.path.join(at, name), encoding="utf-8") as file:
                    text = file.read()
                technique = name[: -len(".yaml")]
                # A technique named "Parent: Child" in full is called Child by ATT&CK.
                shown = re.search(r"^display_name:\s*['\"]?(.*?)['\"]?\s*$", text, re.M)
                if shown:
                    names.setdefault(technique, shown.group(1).split(": ")[-1])
                for one in parents(technique):
                    add("atomic", one, len(re.findall(r"^- name:", text, re.M)))


def uses(bundle, add, names):
    with open(bundle, encoding="utf-8") as file:
        objects = json.load(file)["objects"]
    live = {o["id"]: o for o in objects if not o.get("revoked") and not o.get("x_mitre_deprecated")}
    by_name = {}
    for technique, name in names.items():
        by_name.setdefault(name.lower(), []).append(technique)
    who = {}
    for relation in live.values():
        if relation["type"] != "relationship" or relation["relationship_type"] != "uses":
            continue
        attack = live.get(relation["target_ref"], {})
        if attack.get("type") != "attack-pattern" or relation["source_ref"] not in live:
            continue
        for technique in by_name.get(attack["name"].lower(), []):
            for one in parents(technique):
                who.setdefault(one, set()).add(relation["source_ref"])
    for technique, users in who.items():
        add("use", technique, len(users))


def main():
    counts, names = {}, dict(NAMES)

    def add(source, technique, number):
        row = counts.setdefault(technique, dict.fromkeys(SOURCES, 0))
        row[source] += number

    rules, tests, *bundles = sys.argv[1:]
    sigma(rules, add)
    atomic(tests, add, names)
    for bundle in bundles:
        uses(bundle, add, names)
    most = {source: max(row[source] for row in counts.values()) for source in SOURCES}
    print(f"[most]\nsigma = {most['sigma']}\natomic = {most['atomic']}\nuse = {most['use']}\n\n[technique]")
    for technique in sorted(counts):
        row = counts[technique]
        share = sum(math.log(1 + row[source]) / math.log(1 + most[source]) for source in SOURCES) / len(SOURCES)
        fields = ", ".join(f"{source} = {row[source]}" for source in SOURCES)
        print(f'"{technique}" = {{ weight = {0.1 + 0.9 * share:.3f}, {fields} }}')


main()
