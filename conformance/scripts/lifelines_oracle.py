"""What lifelines, scipy and numpy say of times, shares and distributions.

    python lifelines_oracle.py                      answers cases: JSON lines in, JSON lines out
    python lifelines_oracle.py --record N SEED      makes N cases of each kind and answers them

A case is an object with `kind` and its input; the answer is that object with `answer` added. A number that is not
reached is null. Permutation tests are counted here one assignment at a time, strata summed by their definition.
"""

import itertools
import json
import math
import sys
import warnings

import numpy
import scipy.stats
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import median_survival_times, qth_survival_times, restricted_mean_survival_time

warnings.simplefilter("ignore")
# A curve is a product of fractions: what differs from a half by no more than rounding is a half.
HALF = 0.5 + 1e-12


def finite(value):
    value = float(value)
    return value if math.isfinite(value) else None


def columns(times):
    return [time[0] for time in times], [bool(time[1]) for time in times]


def survival(case):
    seconds, observed = columns(case["times"])
    fitted = KaplanMeierFitter().fit(seconds, observed)
    band = fitted.confidence_interval_
    points = []
    for (time, row), curve, (low, high) in zip(
        fitted.event_table.iterrows(), fitted.survival_function_.values[:, 0], band.values
    ):
        if row["removed"] > 0:
            points.append([time, row["at_risk"], row["observed"], row["censored"], curve, low, high])
    low, high = qth_survival_times(HALF, band.iloc[:, 0]), qth_survival_times(HALF, band.iloc[:, 1])
    median = qth_survival_times(HALF, fitted.survival_function_)
    # Where no value lies within rounding of a half, lifelines' own calls say the same.
    if numpy.abs(fitted.survival_function_.values - 0.5).min() > 1e-9 and numpy.abs(band.values - 0.5).min() > 1e-9:
        assert median == median_survival_times(fitted)
        assert [low, high] == list(median_survival_times(band).values[0])
    return {
        "points": [[float(value) for value in point] for point in points],
        "median": finite(median),
        "median_low": finite(low),
        "median_high": finite(high),
        "restricted_mean": float(restricted_mean_survival_time(fitted, t=case["tau"])),
    }


def log_rank(case):
    one, other = columns(case["one"]), columns(case["other"])
    found = logrank_test(one[0], other[0], one[1], other[1])
    return {"chi2": float(found.test_statistic), "p": float(found.p_value)}


def stratified(case):
    excess, variance = 0.0, 0.0
    for treatment, control in case["blocks"]:
        runs = [(time, seen, 1) for time, seen in treatment] + [(time, seen, 0) for time, seen in control]
        for at in sorted({time for time, seen, _ in runs if seen}):
            left = [run for run in runs if run[0] >= at]
            n, m = len(left), sum(run[2] for run in left)
            d = sum(1 for run in left if run[0] == at and run[1])
            excess += sum(run[2] for run in left if run[0] == at and run[1]) - d * m / n
            if n > 1:
                variance += d * (m / n) * (1 - m / n) * (n - d) / (n - 1)
    chi2 = excess**2 / variance if variance > 0 else 0.0
    return {"chi2": chi2, "p": float(scipy.stats.chi2.sf(chi2, 1))}


def permuted(case):
    runs = [run for block in case["blocks"] for arm in block for run in arm]
    hazard = {}
    total = 0.0
    for at in sorted({time for time, _ in runs}):
        events = sum(1 for time, seen in runs if time == at and seen)
        total += events / sum(1 for time, _ in runs if time >= at)
        hazard[at] = total
    score = lambda run: (1.0 if run[1] else 0.0) - hazard[run[0]]
    drawn, choices, scale = 0.0, [], 0.0
    for treatment, control in case["blocks"]:
        scores = numpy.array([score(run) for run in treatment + control])
        scores = scores - scores.mean() if len(scores) else scores
        scale += numpy.abs(scores).sum()
        drawn += scores[: len(treatment)].sum()
        choices.append([sum(chosen) for chosen in itertools.combinations(scores, len(treatment))])
    sums = numpy.abs([sum(chosen) for chosen in itertools.product(*choices)])
    off = sums - abs(drawn)
    equal = numpy.abs(off) <= 1e-9 * scale
    if sums.max() <= 1e-9 * scale:
        return {"excess": 0.0, "p": 1.0}
    return {"excess": float(drawn), "p": float(((off > 0) & ~equal).mean() + 0.5 * equal.mean())}


def wilson(case):
    level = 1 - 2 * scipy.stats.norm.sf(case["z"])
    found = scipy.stats.binomtest(case["k"], case["n"]).proportion_ci(level, method="wilson")
    return {"low": float(found.low), "high": float(found.high)}


def function(case):
    functions = {
        "normal_cdf": scipy.stats.norm.cdf,
        "normal_sf": scipy.stats.norm.sf,
        "normal_quantile": scipy.stats.norm.ppf,
        "chi_squared_cdf": scipy.stats.chi2.cdf,
        "chi_squared_sf": scipy.stats.chi2.sf,
        "chi_squared_quantile": scipy.stats.chi2.ppf,
        "beta_cdf": scipy.stats.beta.cdf,
        "beta_quantile": scipy.stats.beta.ppf,
        "quantile": lambda p, *values: numpy.quantile(values, p),
    }
    return float(functions[case["name"]](*case["arguments"]))


KINDS = {
    "survival": survival,
    "log_rank": log_rank,
    "stratified": stratified,
    "permuted": permuted,
    "wilson": wilson,
    "function": function,
}


def cases(number, seed):
    draw = numpy.random.default_rng(seed)

    def times(n):
        # From many ties to none, from nothing seen to everything.
        digits, share = int(draw.integers(0, 4)), draw.random()
        seconds = numpy.round(draw.exponential(5, n), digits)
        return [[float(time), bool(seen)] for time, seen in zip(seconds, draw.random(n) < share)]

    def arguments(name):
        p = float(draw.choice([draw.random(), 10 ** draw.uniform(-12, -1)]))
        df = float(draw.choice([1, 2, int(draw.integers(3, 60)), draw.uniform(0.3, 8)]))
        a, b = (float(10 ** draw.uniform(-0.5, 2)) for _ in range(2))
        return {
            "normal_cdf": lambda: [float(draw.uniform(-30, 8))],
            "normal_sf": lambda: [float(draw.uniform(-8, 30))],
            "normal_quantile": lambda: [p],
            "chi_squared_cdf": lambda: [float(df * draw.uniform(0.05, 3)), df],
            "chi_squared_sf": lambda: [float(df * draw.uniform(0.05, 9)), df],
            "chi_squared_quantile": lambda: [p, df],
            "beta_cdf": lambda: [float(draw.random()), a, b],
            "beta_quantile": lambda: [float(draw.uniform(0.001, 0.999)), a, b],
            "quantile": lambda: [float(draw.random())] + [float(draw.normal()) for _ in range(draw.integers(1, 30))],
        }[name]()

    names = ["normal_cdf", "normal_sf", "normal_quantile", "chi_squared_cdf", "chi_squared_sf"]
    names += ["chi_squared_quantile", "beta_cdf", "beta_quantile", "quantile"]
    for at in range(number):
        size = lambda: int(draw.choice([draw.integers(1, 8), draw.integers(8, 60)]))
        yield {"kind": "survival", "times": times(size()), "tau": float(numpy.round(draw.uniform(0.5, 15), 2))}
        yield {"kind": "log_rank", "one": times(size()), "other": times(size())}
        blocks = [[times(int(draw.integers(0, 5))), times(int(draw.integers(1, 5)))] for _ in range(draw.integers(1, 9))]
        yield {"kind": "stratified", "blocks": blocks}
        blocks = [[times(int(draw.integers(0, 3))), times(int(draw.integers(1, 3)))] for _ in range(draw.integers(1, 5))]
        yield {"kind": "permuted", "blocks": blocks}
        n = int(draw.integers(1, 2000))
        z = float(draw.choice([1.959963984540054, 1.6448536269514727, draw.uniform(0.5, 4)]))
        yield {"kind": "wilson", "k": int(draw.integers(0, n + 1)), "n": n, "z": z}
        name = names[at % len(names)]
        yield {"kind": "function", "name": name, "arguments": arguments(name)}


def main():
    if sys.argv[1:2] == ["--record"]:
        asked = cases(int(sys.argv[2]), int(sys.argv[3]))
    else:
        asked = map(json.loads, sys.stdin)
    for case in asked:
        print(json.dumps({**case, "answer": KINDS[case["kind"]](case)}))


main()
