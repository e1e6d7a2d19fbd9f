"""Functions and controls that the generated experiments call, under Chaos Toolkit and under Proofmark alike."""
import datetime
import decimal
import os
import uuid

from chaoslib.exceptions import ActivityFailed, InterruptExecution
from chaoslib.exit import exit_gracefully, exit_ungracefully

calls = 0


def give(value=None):
    return value


def made(kind):
    return {
        "tuple": (1, 2),
        "bytes": b"abc",
        "float": 1.5,
        "nan": float("nan"),
        "large": 2**80,
        "decimal": decimal.Decimal("1.50"),
        "date": datetime.date(2020, 1, 2),
        "datetime": datetime.datetime(2020, 1, 2, 3, 4, 5),
        "uuid": uuid.UUID(int=7),
        "object": object(),
        "keys": {1: "a", None: "b", True: "c"},
        "unicode": "é✓",
        "list": [1, "a", None, 2.0],
        "status": {"status": 200, "body": '{"a": [1, 2]}'},
    }[kind]


def count():
    global calls
    calls += 1
    return calls


def above(value, limit=0):
    return value > limit


def length(value=None):
    return len(value)


def fail():
    raise ActivityFailed("as asked")


def raises():
    raise RuntimeError("oops")


def interrupt():
    raise InterruptExecution("as asked")


def leaves(code=1):
    raise SystemExit(code)


def leaves_gracefully():
    exit_gracefully()


def leaves_ungracefully():
    exit_ungracefully()


def configured(configuration=None):
    return sorted(configuration.items(), key=str)


def secretive(name, secrets=None, configuration=None):
    return [name, sorted(secrets.items()), bool(configuration)]


def positional(first, second, *rest, third=3, **others):
    return [first, second, third, sorted(others)]


def setenv(name, value):
    os.environ[name] = value


async def later():
    return 1


class Thing:
    pass
