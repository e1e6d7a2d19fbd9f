"""Runs experiments under Chaos Toolkit's own library: one JSON case a line in, one answer a line out.

An answer is {"journal": text} or {"error": class of the exception that left no journal}.
"""
import contextlib
import copy
import json
import logging
import os
import signal
import sys

from chaoslib.control import load_global_controls
from chaoslib.experiment import ensure_experiment_is_valid, run_experiment
from chaoslib.types import Dry, Schedule, Strategy
from chaostoolkit import encoder

logging.disable(logging.CRITICAL)
# What experiments print and read is none of the conversation.
questions = os.fdopen(os.dup(0))
answers = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)


def strategies(case, experiment, settings):
    """The precedence of the command line: its own options, the experiment's, the settings'."""
    runtime = settings.setdefault("runtime", {})
    for part in ("rollbacks", "hypothesis"):
        runtime.setdefault(part, {}).setdefault("strategy", "default")
        if experiment.get("runtime"):
            runtime[part]["strategy"] = experiment["runtime"].get(part, {}).get("strategy", "default")
        if case.get(part):
            runtime[part]["strategy"] = case[part]
    return runtime["hypothesis"]["strategy"]


def run(case):
    experiment = case["experiment"]
    settings = copy.deepcopy(case["settings"])
    load_global_controls(settings)
    if case["validate"]:
        ensure_experiment_is_valid(experiment)
    experiment["dry"] = Dry.from_string(case["dry"])
    strategy = Strategy.from_string(strategies(case, experiment, settings))
    schedule = Schedule(continuous_hypothesis_frequency=case["frequency"], fail_fast=case["fail_fast"])
    variables = (copy.deepcopy(case["configuration"]), copy.deepcopy(case["secrets"]))
    journal = run_experiment(
        experiment, settings=settings, strategy=strategy, schedule=schedule, experiment_vars=variables
    )
    journal["experiment"]["dry"] = case["dry"]
    return json.dumps(journal, ensure_ascii=False, default=encoder)


def main():
    # A signal that a module sends to its own process may come late: then it must not end this one.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    environment = dict(os.environ)
    for line in questions:
        case = json.loads(line)
        os.environ.clear()
        os.environ.update(environment)
        os.environ.update(case["env"])
        sys.modules.pop("proofmark_cases", None)
        try:
            answer = {"journal": run(case)}
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            answer = {"error": type(error).__name__}
        with contextlib.suppress(Exception):
            load_global_controls({})
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
