"""Recomputes every figure of `proofmark chaos report --json` from the logged statements, with arithmetic of its own.

usage: chaos_figures.py SOURCE REPORT

SOURCE is the folder of a log (it has `.proofmark`) or of a bundle (it has `statements`); REPORT is the JSON. Standard
library only, and nothing of Proofmark: statements are read from their DSSE envelopes, estimates are computed as their
papers say. Signatures are not checked here (`verify_envelopes.py` does); that an envelope is the one that was logged is.
A figure that differs by more than 1e-9, one that this script doesn't know, one that is missing and a run that is not as
it was logged are printed, and the exit code is 1.
"""

import base64
import bisect
import collections
import hashlib
import itertools
import json
import math
import pathlib
import string
import struct
import sys

Z = 1.959963984540054
TOLERANCE = 1e-9
CHAOS = "https://proofmark.dev/chaos-experiment/v0.1"
DRILL = "https://proofmark.dev/drill/v0.1"
STUDY_PLAN = "https://proofmark.dev/study-plan/v0.1"
STUDY_RESULT = "https://proofmark.dev/study-result/v0.1"
ARMS = ["treatment", "control"]
# Sums of half of a study's blocks that are counted one by one, and what is equal but for rounding.
HALF_MAX = 1300
SUMS_EQUAL = 1e-9
ATTEMPT = "proofmark:attempt"
MOMENTS = ["detected", "notified", "acknowledged", "responded", "contained", "recovered"]
STATES = ["judged", "unknown", "not-measured", "not-injected"]
# Of a run that is added at both ends of a restricted mean: see `restricted_mean`.
PRIOR = 0.6


# ---- the log


def statements(source: pathlib.Path) -> dict:
    """Statements by log index."""
    if (source / "statements").is_dir():
        logged = [json.loads(path.read_bytes()) for path in (source / "statements").glob("*.json")]
        return {entry["proof"]["index"]: payload(entry["envelope"]) for entry in logged}
    store = source / ".proofmark"
    found = {}
    for index, leaf in enumerate(journal((store / "log" / "journal").read_bytes())):
        name = hashlib.sha256(b"\0" + leaf).hexdigest()
        envelope = json.loads((store / "envelopes" / name[:2] / f"{name[2:]}.json").read_bytes())
        assert leaf_of(envelope) == leaf, f"log entry {index}: another envelope than the logged one"
        found[index] = payload(envelope)
    return found


def payload(envelope: dict) -> dict:
    """The statement, and the SHA-256 of its predicate's bytes as they stand there: they are canonical."""
    body = base64.b64decode(envelope["payload"])
    key, after = b'"predicate":', b',"predicateType":'
    predicate = body[body.index(key) + len(key) : body.rindex(after)]
    return json.loads(body) | {"digest": hashlib.sha256(predicate).hexdigest()}


def journal(data: bytes):
    """Leaves of a journal: magic, version, origin, then length, leaf and link of each."""
    magic = b"proofmark-journal\n"
    assert data.startswith(magic), "not a journal"
    at = len(magic) + 4
    at += 2 + struct.unpack_from(">H", data, at)[0]
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 4 + length]
        at += 4 + length + 32


def leaf_of(envelope: dict) -> bytes:
    body, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
    lines = ["proofmark-leaf-v1", hashlib.sha256(pae).hexdigest()]
    for signature in envelope["signatures"]:
        lines.append(f"{signature['keyid']} {hashlib.sha256(base64.b64decode(signature['sig'])).hexdigest()}")
    return ("\n".join(lines) + "\n").encode()


def context(statement: dict):
    for subject in statement["subject"]:
        if subject["name"] == ATTEMPT:
            return subject["annotations"]
    return None


# ---- estimates


def wilson(k, n):
    if n == 0 or k > n:
        return None
    p = k / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return [0.0 if k == 0 else middle - half, 1.0 if k == n else middle + half]


def kaplan_meier(sample):
    """Rows of time, at risk, events, censored, share left, and the ends of its log(-log) band."""
    counts = collections.defaultdict(lambda: [0, 0])
    for seconds, observed in sample:
        counts[seconds][0 if observed else 1] += 1
    rows, at_risk, left, greenwood = [], len(sample), 1.0, 0.0
    for seconds in sorted(counts):
        events, censored = counts[seconds]
        left *= 1 - events / at_risk
        if events < at_risk:
            greenwood += events / (at_risk * (at_risk - events))
            # A curve that has fallen to nothing is 0, not what subtracting left of it.
        else:
            left = 0.0
        if left in (0.0, 1.0):
            low = high = left
        else:
            width = Z * math.sqrt(greenwood) / math.log(left)
            ends = [math.exp(-math.exp(math.log(-math.log(left)) + shift)) for shift in (width, -width)]
            low, high = min(ends), max(ends)
        rows.append((seconds, at_risk, events, censored, left, low, high))
        at_risk -= events + censored
    return rows


def median(rows):
    half = 0.5 + 1e-12
    first = lambda column: next((row[0] for row in rows if row[column] <= half), None)
    high = None
    for row in reversed(rows):
        if row[6] > half:
            break
        high = row[0]
    return first(4), [first(5), high] if rows else None


def restricted_mean(rows, n, until):
    """The area under the curve, and the interval of a beta distribution: with 0.6 of a run that ends at once and 0.6 that
    never ends added to the curve, its mean and Greenwood variance are those of the beta distribution over [0, until]."""
    if n == 0 or not until > 0:
        return None, None
    area, at, left = 0.0, 0.0, 1.0
    for row in rows:
        if row[0] >= until:
            break
        area += (row[0] - at) * left
        at, left = row[0], row[4]
    area += (until - at) * left
    total = n + 2 * PRIOR
    steps = [(0.0, total, PRIOR)] + [(row[0], row[1] + PRIOR, row[2]) for row in rows if row[0] < until]
    curve, left = [], 1.0
    for _, at_risk, events in steps:
        left *= (at_risk - events) / at_risk
        curve.append(left)
    ends = [step[0] for step in steps[1:]] + [until]
    areas = [share * (end - step[0]) for share, end, step in zip(curve, ends, steps)]
    mean = math.fsum(areas) / until
    variance = 0.0
    for place, (_, at_risk, events) in enumerate(steps):
        rest = math.fsum(areas[place:]) / until
        variance += rest * rest * events / (at_risk * (at_risk - events))
    variance *= total / (total + 1)
    weight = mean * (1 - mean) / variance - 1
    low, high = (until * beta_quantile(p, mean * weight, (1 - mean) * weight) for p in (0.025, 0.975))
    return area, [min(low, area), max(high, area)]


def beta_cdf(x, a, b):
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    # Continued fraction 8.17.22 of the NIST handbook, from its tail.
    def term(m):
        k = m // 2
        if m % 2 == 0:
            return k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
        return -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))

    fraction = 1.0
    for m in range(400 + int(4 * math.sqrt(a + b)), 0, -1):
        fraction = 1 + term(m) / fraction
    return front / fraction


def bisected(low, high, below):
    """Where `below` turns false."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def beta_quantile(p, a, b):
    return bisected(0.0, 1.0, lambda x: beta_cdf(x, a, b) < p)


def share_by(rows, n, until):
    """Share that has happened by `until`, with Wilson's interval for as many runs as Greenwood's variance is worth."""
    left, greenwood, lost = 1.0, 0.0, 0
    for seconds, at_risk, events, censored, survival, *_ in rows:
        if seconds > until:
            break
        left = survival
        if events < at_risk:
            greenwood += events / (at_risk * (at_risk - events))
        lost += censored if seconds < until else 0
    weight = (1 - left) / (left * greenwood) if 0 < left < 1 else n - lost
    if weight < 1e-12:
        return None, None
    p = 1 - left
    middle = (p + Z * Z / (2 * weight)) / (1 + Z * Z / weight)
    half = Z / (1 + Z * Z / weight) * math.sqrt(p * (1 - p) / weight + Z * Z / (4 * weight * weight))
    return p, [0.0 if p == 0 else middle - half, 1.0 if p == 1 else middle + half]


def log_rank_p(blocks):
    """Two-sided mid-p of the treatment's log-rank scores within blocks of (treatment, control) runs, and how."""
    everyone = sorted((run for block in blocks for arm in block for run in arm), key=lambda run: run[0])
    hazard, at_risk, by_time = 0.0, len(everyone), {}
    for seconds in sorted({run[0] for run in everyone}):
        here = [run for run in everyone if run[0] == seconds]
        hazard += sum(run[1] for run in here) / at_risk
        at_risk -= len(here)
        by_time[seconds] = hazard
    score = lambda run: run[1] - by_time[run[0]]
    excess = variance = largest = 0.0
    halves = [[0.0], [0.0]]
    exact = True
    for treatment, control in blocks:
        scores = [score(run) for run in treatment + control]
        n, m = len(scores), len(treatment)
        mean = math.fsum(scores) / n if n else 0.0
        centred = [value - mean for value in scores]
        excess += math.fsum(centred[:m])
        largest += math.fsum(abs(value) for value in centred)
        if n > 1:
            variance += math.fsum(value * value for value in centred) * m * (n - m) / (n * (n - 1))
        half = 0 if len(halves[0]) <= len(halves[1]) else 1
        if not exact or len(halves[half]) * math.comb(n, m) > HALF_MAX:
            exact = False
            continue
        sums = [math.fsum(chosen) for chosen in itertools.combinations(centred, m)]
        halves[half] = [one + other for one in halves[half] for other in sums]
    near = SUMS_EQUAL * largest
    if largest == 0 or variance <= near * near:
        return 1.0, True
    if not exact:
        return math.erfc(abs(excess) / math.sqrt(variance) / math.sqrt(2)), False
    other, total = sorted(halves[1]), len(halves[0]) * len(halves[1])

    def beyond(edge):
        more = sum(len(other) - bisect.bisect_right(other, edge - one) for one in halves[0])
        return more + sum(bisect.bisect_left(other, -edge - one) for one in halves[0])

    if abs(excess) <= near:
        return 0.5 * (beyond(near) / total + 1), True
    return 0.5 * (beyond(abs(excess) + near) + beyond(abs(excess) - near)) / total, True


def poisson_at_most(k, mean):
    """P(X <= k), summed from its largest term."""
    if mean == 0:
        return 1.0
    return math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(k + 1))


def garwood(k):
    high = bisected(k, 2 * k + 50.0, lambda mean: poisson_at_most(k, mean) > 0.025)
    low = 0.0 if k == 0 else bisected(0.0, k, lambda mean: poisson_at_most(k - 1, mean) > 0.975)
    return [low, high]


# ---- figures


def figure(method, unit, n, of, value=None, interval=None, events=0, censored=0, until=None, exposure=None, raw=(), points=()):
    return {
        "method": method, "unit": unit, "n": n, "logIndexes": sorted(set(of)), "value": value, "interval": interval,
        "events": events, "censored": censored, "until": until, "exposure": exposure,
        "raw": [{"seconds": seconds, "observed": observed} for seconds, observed in raw],
        "points": [
            dict(zip(["seconds", "atRisk", "events", "censored", "share", "low", "high"], row)) for row in points
        ],
    }


def count(k, n, of):
    return figure("count", "1", n, of, value=k, events=k)


def share(k, n, of, few, **more):
    told = n > 0 and (few or n >= 5)
    return figure("share", "share", n, of, k / n if told else None, wilson(k, n) if told else None, events=k, **more)


def of_sample(sample):
    """Probability, median, mean and curve of (seconds, observed, index)."""
    n, events, of = len(sample), sum(1 for s in sample if s[1]), [s[2] for s in sample]
    pairs = [(s[0], s[1]) for s in sample]
    raw = pairs if n < 5 else []
    same = dict(events=events, censored=n - events, raw=raw)
    if n < 5:
        none = lambda method: figure(method, "s", n, of, **same)
        return share(events, n, of, False, censored=n - events, raw=raw), none("median"), none("restricted-mean"), none("curve")
    rows = kaplan_meier(pairs)
    until = max(pair[0] for pair in pairs)
    middle, ends = median(rows)
    mean, around = restricted_mean(rows, n, until)
    return (
        share(events, n, of, False, censored=n - events, raw=raw),
        figure("median", "s", n, of, middle, ends, **same),
        figure("restricted-mean", "s", n, of, mean, around, until=until, **same),
        figure("curve", "s", n, of, points=rows, **same),
    )


def rate(k, windows, exposure_us, of):
    hours = exposure_us / 3600e6
    ends = [end / hours for end in garwood(k)] if hours > 0 else None
    return figure("rate", "1/h", windows, of, k / hours if hours > 0 else None, ends, events=k, exposure=hours)


def ratio(pairs, of):
    part, whole, m = sum(p for p, _ in pairs), sum(w for _, w in pairs), len(pairs)
    value = part / whole if whole else None
    ends = None
    if value is not None and m >= 5 and part in (0, whole):
        ends = wilson(m if part else 0, m)
    elif value is not None and m >= 5:
        squares = math.fsum((p - value * w) ** 2 for p, w in pairs)
        half = Z * math.sqrt(m / (m - 1) * squares) / whole
        ends = [max(value - half, 0.0), min(value + half, 1.0)]
    return figure("ratio", "share", m, of, value, ends, events=part, exposure=whole)


class Run:
    def __init__(self, index, at, predicate):
        self.index, self.at, self.predicate = index, at, predicate
        self.faults = predicate["faults"]
        self.measured = predicate.get("measured")
        self.detectors = predicate["detectors"]
        if not self.faults:
            self.state = "not-injected"
        elif predicate.get("unknown"):
            self.state = "unknown"
        elif self.measured is None:
            self.state = "not-measured"
        else:
            self.state = "judged"

    def part(self, name, none=()):
        return (self.measured or {}).get(name, none)

    def moment(self, name):
        return self.part("moments", {}).get(name)

    def duration(self, name):
        moment = self.moment(name)
        at = moment.get("atUs")
        return max((moment["untilUs"] if at is None else at) - moment["fromUs"], 0) / 1e6, at is not None


def safe(name):
    plain = string.ascii_letters + string.digits + "._/-"
    if name and len(name) <= 80 and all(c in plain for c in name):
        return name
    return "".join(c for c in name if c in plain)[:40] + "~" + hashlib.sha256(name.encode()).hexdigest()[:8]


def groups(runs, names):
    found = collections.defaultdict(list)
    for run in runs:
        for name in set(names(run)):
            found[name].append(run)
    return found


def expected(runs, drills, studies, unreadable, catalogue):
    told = len(runs) + len(drills) + len(studies) + len(unreadable)
    out = {"all/unreadable": count(len(unreadable), told, unreadable)}
    for study in studies:
        study.figures(out)
    if drills:
        drilled(out, "drills", drills)
    for playbook in {drill["playbook"] for _, _, drill in drills}:
        drilled(out, f"playbook:{safe(playbook)}", [d for d in drills if d[2]["playbook"] == playbook])
    scope(out, "all", runs)
    for name, of in groups(runs, lambda run: [run.predicate["experiment"]]).items():
        prefix = f"experiment:{safe(name)}"
        scope(out, prefix, of)
        versions = {run.predicate["digest"] for run in of}
        out[f"{prefix}/versions"] = count(len(versions), len(of), [run.index for run in of])
        for invariant in {i["id"] for run in of for i in run.part("invariants")}:
            out[f"{prefix}/invariant:{safe(invariant)}/held"] = held(of, lambda i: i["id"] == invariant)
    for name, of in groups(runs, lambda run: [fault["fault"] for fault in run.faults]).items():
        scope(out, f"fault:{safe(name)}", of)
        rollback(out, f"fault:{safe(name)}", runs, lambda fault: fault["fault"] == name)
    for name in {fault["undoClass"] for run in runs for fault in run.faults}:
        rollback(out, f"mechanism:{safe(name)}", runs, lambda fault: fault["undoClass"] == name)
    rollback(out, "all", runs, lambda fault: True)
    known = [run for run in runs if any(fault["fault"] in catalogue for fault in run.faults)]
    seen = {fault["fault"] for run in known for fault in run.faults} & catalogue
    out["all/rollback/rehearsed"] = count(len(seen), len(catalogue), [run.index for run in known])
    for name, of in groups(runs, lambda run: [t for fault in run.faults for t in fault.get("techniques", [])]).items():
        counts(out, f"technique:{safe(name)}", of)
        moment(out, f"technique:{safe(name)}", "detected", of)
    speakers = lambda run: [d["id"] for d in run.detectors] + [a["detector"] for a in run.part("alerts")]
    for name, of in groups(runs, speakers).items():
        detector(out, name, of)
    return out


def scope(out, prefix, runs):
    counts(out, prefix, runs)
    for name in MOMENTS:
        moment(out, prefix, name, runs)
    judged = [run for run in runs if run.state == "judged"]
    detected = [run for run in judged if (run.moment("detected") or {}).get("atUs") is not None]
    weak = 0
    for run in detected:
        credited = {alert["correlation"] for alert in run.part("alerts") if alert["credited"]}
        weak += credited == {"window"}
    out[f"{prefix}/detected/weak"] = share(weak, len(detected), [run.index for run in detected], False)
    alerts = [(run.index, alert) for run in runs for alert in run.part("alerts")]
    credited = [(index, alert["correlation"]) for index, alert in alerts if alert["credited"]]
    out[f"{prefix}/alerts/credited"] = count(len(credited), len(alerts), [index for index, _ in alerts])
    for kind in ["run-id", "entity-and-technique", "window"]:
        of = [index for index, correlation in credited if correlation == kind]
        out[f"{prefix}/alerts/{kind}"] = count(len(of), len(credited), of)
    for kind in ["confidentiality", "integrity", "availability"]:
        out[f"{prefix}/{kind}/held"] = held(runs, lambda i: i["property"] == kind)
    for phase in ["before", "during", "after"]:
        with_phase = [(run, run.part("phases", {}).get(phase)) for run in judged]
        with_phase = [(run, p) for run, p in with_phase if p and p["requests"]]
        of = [run.index for run, _ in with_phase]
        out[f"{prefix}/served/{phase}"] = ratio([(p["served"], p["requests"]) for _, p in with_phase], of)
        slow = [(p["p99Us"] / 1e6, True, run.index) for run, p in with_phase if p["served"]]
        out[f"{prefix}/p99/{phase}"] = of_sample(slow)[1]
    for name, which in [("blind", None), ("blind-nothing", "nothing"), ("blind-marker", "marker")]:
        windows = [(run.index, w) for run in runs for w in run.part("blind") if which in (None, w["planted"])]
        fired = sum(len(w.get("fired", [])) for _, w in windows)
        out[f"{prefix}/{name}/rate"] = rate(fired, len(windows), span(windows), [index for index, _ in windows])


def span(windows):
    return sum(max(w["untilUs"] - w["fromUs"], 0) for _, w in windows)


def counts(out, prefix, runs):
    out[f"{prefix}/runs"] = count(len(runs), len(runs), [run.index for run in runs])
    for state in STATES:
        of = [run.index for run in runs if run.state == state]
        out[f"{prefix}/{state}"] = count(len(of), len(runs), of)


def moment(out, prefix, name, runs):
    sample = [(*run.duration(name), run.index) for run in runs if run.state == "judged" and run.moment(name)]
    times(out, f"{prefix}/{name}", sample)


def times(out, prefix, sample):
    for name, made in zip(["probability", "median", "mean", "curve"], of_sample(sample)):
        out[f"{prefix}/{name}"] = made


def held(runs, which):
    looked = []
    for run in runs:
        if run.state == "judged":
            broken = [i["broken"] for i in run.part("invariants") if which(i) and i["looks"]]
            if broken:
                looked.append((run.index, not any(broken)))
    return share(sum(ok for _, ok in looked), len(looked), [index for index, _ in looked], False)


def rollback(out, prefix, runs, which):
    tries = [(f["undoUs"] / 1e6, f["undone"], run.index) for run in runs for f in run.faults if which(f)]
    undone, of = sum(t[1] for t in tries), [t[2] for t in tries]
    out[f"{prefix}/rollback/probability"] = share(undone, len(tries), of, True, censored=len(tries) - undone)
    out[f"{prefix}/rollback/median"] = of_sample(tries)[1]
    left = [t[2] for t in tries if not t[1]]
    out[f"{prefix}/rollback/residue"] = count(len(left), len(tries), left)


def detector(out, name, runs):
    prefix = f"detector:{safe(name)}"
    armed = [(run, d) for run in runs for d in [next((d for d in run.detectors if d["id"] == name), None)] if d]
    n = len(armed)
    told = lambda what, of: out.__setitem__(f"{prefix}/{what}", count(len(of), n, of))
    told("armed", [run.index for run, _ in armed])
    told("self-test-failed", [run.index for run, d in armed if not d["selfTest"]])
    told("false-alarm", [run.index for run, d in armed if d["falseAlarm"]])
    for diagnosis in {d["diagnosis"] for _, d in armed if d.get("diagnosis") is not None}:
        told(f"diagnosis:{safe(diagnosis)}", [run.index for run, d in armed if d.get("diagnosis") == diagnosis])
    sample = []
    for run, d in armed:
        if run.state == "judged":
            until = (run.moment("detected") or {"untilUs": run.predicate["windowUs"]})["untilUs"]
            at = d.get("detectedUs")
            sample.append(((until if at is None else at) / 1e6, at is not None, run.index))
    times(out, f"{prefix}/detected", sample)
    alerts = [(run.index, a["credited"]) for run in runs for a in run.part("alerts") if a["detector"] == name]
    out[f"{prefix}/alerts/credited"] = count(sum(c for _, c in alerts), len(alerts), [index for index, _ in alerts])
    windows = [(run.index, w) for run, _ in armed for w in run.part("blind")]
    fired = sum(w.get("fired", []).count(name) for _, w in windows)
    out[f"{prefix}/blind/rate"] = rate(fired, len(windows), span(windows), [index for index, _ in windows])


def drilled(out, prefix, drills):
    n, of = len(drills), [index for index, _, _ in drills]
    out[f"{prefix}/held"] = count(n, n, of)
    for outcome in ["succeeded", "failed", "stopped"]:
        so = [index for index, _, drill in drills if drill["outcome"] == outcome]
        out[f"{prefix}/{outcome}"] = count(len(so), n, so)
    for milestone in ["notified", "acknowledged", "over"]:
        sample = []
        for index, _, drill in drills:
            at = drill["milestonesUs"]
            reached = milestone in at
            sample.append(((at[milestone] if reached else max(at.values(), default=0)) / 1e6, reached, index))
        for name, made in zip(["probability", "median", "mean"], of_sample(sample)):
            out[f"{prefix}/{milestone}/{name}"] = made
    deviations = sum(len(drill["deviations"]) for _, _, drill in drills)
    out[f"{prefix}/deviations"] = count(deviations, sum(len(drill["expected"]) for _, _, drill in drills), of)


class Study:
    """A plan, and the runs that have a place in it: the first of each place that ran what was planned."""

    def __init__(self, index, at, statement, runs):
        self.index, self.at, self.plan, self.digest = index, at, statement["predicate"], statement["digest"]
        self.id = f"study:{self.digest[:16]}"
        places = [
            (block, position, arm)
            for block, arms in enumerate(self.plan["order"])
            for position, arm in enumerate(arms)
        ]
        self.planned = len(places)
        found = {}
        for run_index, run in runs:
            place = run["study"]
            place = (place["block"], place["position"], place["arm"])
            known = place in places and run["digest"] == self.plan[place[2]]["digest"]
            if run["study"]["plan"] == self.digest and known and place not in found:
                found[place] = (run_index, *self.outcome(place[2], run))
        self.runs = [(place, *found[place]) for place in places if place in found]

    def outcome(self, arm, run):
        """Seconds, whether it happened, whether that is known."""
        window = self.plan["windowUs"]
        sham, injected = self.plan[arm]["sham"], bool(run["faults"])
        known = not run.get("unknown") and sham != injected and all(fault["bit"] for fault in run["faults"])
        if self.plan["outcome"] == "detected":
            known = known and all(detector["selfTest"] for detector in run["detectors"])
        at = run.get({"contained": "containedUs", "recovered": "recoveredUs"}.get(self.plan["outcome"], "detectedUs"))
        if at is not None and at <= window:
            return at / 1e6, True, known
        watched = run["windowUs"]
        return (window if watched + 100_000 >= window else watched) / 1e6, False, known

    def figures(self, out):
        indexes = [index for _, index, *_ in self.runs]
        unknown = [index for _, index, _, _, known in self.runs if not known]
        out[f"{self.id}/runs"] = count(len(indexes), self.planned, indexes)
        out[f"{self.id}/unknown"] = count(len(unknown), len(indexes), unknown)
        window, enough = self.plan["windowUs"] / 1e6, True
        for arm in ARMS:
            sample = [(s, observed, i) for place, i, s, observed, known in self.runs if known and place[2] == arm]
            n, events, of = len(sample), sum(s[1] for s in sample), [s[2] for s in sample]
            pairs = [(s[0], s[1]) for s in sample]
            few = n < 5
            enough = enough and not few
            same = dict(events=events, censored=n - events, raw=pairs if few else [])
            until = None if few else window
            rows = kaplan_meier(pairs)
            none = (None, None)
            by, mean = (none, none) if few else (share_by(rows, n, window), restricted_mean(rows, n, window))
            prefix = f"{self.id}/{arm}/{safe(self.plan['outcome'])}"
            out[f"{prefix}/probability"] = figure("share-by", "share", n, of, *by, until=until, **same)
            out[f"{prefix}/mean"] = figure("restricted-mean", "s", n, of, *mean, until=until, **same)
            _, out[f"{prefix}/median"], _, out[f"{prefix}/curve"] = of_sample(sample)
        known = [index for _, index, _, _, known in self.runs if known]
        p, exact = self.p() if enough else (None, True)
        out[f"{self.id}/p"] = figure(f"mid-p-{'exact' if exact else 'normal'}", "1", len(known), known, p)

    def p(self):
        blocks = [([], []) for _ in self.plan["order"]]
        for (block, _, arm), _, seconds, observed, known in self.runs:
            if known:
                blocks[block][ARMS.index(arm)].append((seconds, observed))
        return log_rank_p(blocks)

    def agrees(self, result):
        """Whether a logged result says what the runs come to, in counts and in p."""
        for arm in ARMS:
            known = [run for run in self.runs if run[0][2] == arm and run[4]]
            counted = (len(known), sum(run[3] for run in known), sum(run[0][2] == arm for run in self.runs) - len(known))
            told = result["arms"][arm]
            if counted != (told["n"], told["events"], told["unknown"]):
                return False
        test = result.get("test")
        return test is None or abs(test["p"] - self.p()[0]) <= TOLERANCE


# ---- the comparison


def differences(got, want, path=""):
    if isinstance(want, bool) or want is None or isinstance(want, str):
        if got != want or isinstance(got, bool) != isinstance(want, bool):
            yield f"{path}: report {got!r}, recomputed {want!r}"
    elif isinstance(want, (int, float)):
        close = isinstance(got, (int, float)) and not isinstance(got, bool)
        if not close or abs(got - want) > TOLERANCE * max(1.0, abs(want)):
            yield f"{path}: report {got!r}, recomputed {want!r}"
    elif isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            yield f"{path}: report {got!r}, recomputed {want!r}"
        else:
            for place, (one, other) in enumerate(zip(got, want)):
                yield from differences(one, other, f"{path}[{place}]")
    else:
        for key in sorted(set(got) | set(want)):
            if key not in got or key not in want:
                yield f"{path}.{key}: only {'recomputed' if key in want else 'in the report'}"
            else:
                yield from differences(got[key], want[key], f"{path}.{key}")


def compare(what, told, recomputed):
    """Prints what differs between two dictionaries by id; answers how many agree."""
    agree = 0
    for name in sorted(set(told) | set(recomputed)):
        if name not in recomputed:
            print(f"{what} {name!r}: this script doesn't know it")
        elif name not in told:
            print(f"{what} {name!r}: missing from the report")
        else:
            wrong = list(differences(told[name], recomputed[name]))
            for line in wrong[:5]:
                print(f"{what} {name!r}{line}"[:500])
            agree += not wrong
    return agree


def is_run(predicate):
    """Whether it has the fields that a run must have, as far as a figure reads them."""
    fields = {"experiment", "title", "digest", "faults", "detectors", "steadyBefore", "steadyAfter", "windowUs"}
    measured = predicate.get("measured")
    parts = {"run", "began", "injectedUs", "undoUs", "moments"}
    return fields <= set(predicate) and (measured is None or parts <= set(measured))


def is_drill(predicate):
    fields = {"playbook", "name", "digest", "run", "outcome", "milestonesUs", "expected", "taken", "deviations"}
    return fields <= set(predicate)


def is_plan(predicate):
    fields = {"study", "digest", "title", "design", "treatment", "control", "outcome", "windowUs", "order", "alpha"}
    return fields <= set(predicate)


def instant(text):
    """A time as text that sorts: fractions of a second have as many digits as need be."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")


# Not computed from statements: names, commands, and words for people.
TOLD_APART = ("id", "query", "deviations")


def main(source, report):
    report = json.loads(pathlib.Path(report).read_bytes())
    runs, drills, plans, results, placed, unreadable = [], [], [], [], [], []
    kept = report["filter"]
    for index, statement in sorted(statements(pathlib.Path(source)).items()):
        kind, predicate = statement["predicateType"], statement["predicate"]
        at = (context(statement) or {}).get("at")
        if index >= report["log"]["size"] or kind not in (CHAOS, DRILL, STUDY_PLAN, STUDY_RESULT):
            continue
        if kind == STUDY_RESULT:
            results.append((index, predicate))
            continue
        if at and kept["since"] and instant(at) < instant(kept["since"]):
            continue
        if at and kept["asOf"] and instant(at) > instant(kept["asOf"]):
            continue
        known = {CHAOS: is_run, DRILL: is_drill, STUDY_PLAN: is_plan}[kind]
        if at is None or not known(predicate):
            unreadable.append(index)
            continue
        place = predicate.get("study") if kind == CHAOS else None
        if place:
            placed.append((index, predicate))
        plan = {CHAOS: (place or {}).get("plan"), STUDY_PLAN: statement["digest"]}.get(kind)
        if kept["study"] is not None and not (plan or "").startswith(kept["study"]):
            continue
        if kind == STUDY_PLAN:
            if kept["experiment"] in (None, predicate["treatment"]["experiment"], predicate["control"]["experiment"]):
                plans.append((index, at, statement))
        elif kind == DRILL:
            if kept["experiment"] in (None, (predicate.get("experiment") or {}).get("file")):
                drills.append((index, at, predicate))
        elif kept["experiment"] in (None, predicate["experiment"]):
            runs.append(Run(index, at, predicate))
    studies = [Study(*plan, placed) for plan in plans]
    own = {
        f"run:{run.index}": {
            "logIndexes": [run.index], "at": run.at, "state": run.state, "evidence": run.predicate,
            "durations": {
                name: dict(zip(["seconds", "observed"], run.duration(name))) for name in MOMENTS if run.moment(name)
            },
        }
        for run in runs
    }
    own_drills = {
        f"drill:{index}": {"logIndexes": [index], "at": at, "evidence": predicate} for index, at, predicate in drills
    }
    own_studies = {}
    for study, plan in zip(studies, plans):
        told = [(index, result) for index, result in results if result["plan"] == study.digest]
        agreed = [(index, Study(*plan, [run for run in placed if run[0] < index]).agrees(result)) for index, result in told]
        own_studies[study.id] = {
            "logIndexes": [study.index], "at": study.at, "evidence": study.plan,
            "results": [{"logIndex": index, "agrees": agrees} for index, agrees in agreed],
        }
    figures = expected(runs, drills, studies, unreadable, {entry["fault"] for entry in report["catalogue"]})
    agree = total = 0
    for what, listed, recomputed in [
        ("figure", report["figures"], figures),
        ("run", report["runs"], own),
        ("drill", report["drills"], own_drills),
        ("study", report["studies"], own_studies),
    ]:
        told = {entry["id"]: {k: v for k, v in entry.items() if k not in TOLD_APART} for entry in listed}
        agree += compare(what, told, recomputed)
        # One that is told twice can't agree twice.
        total += len(set(told) | set(recomputed)) + len(listed) - len(told)
    print(f"{agree} of {total} figures, runs, drills and studies agree to {TOLERANCE}")
    return 0 if agree == total and total else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
