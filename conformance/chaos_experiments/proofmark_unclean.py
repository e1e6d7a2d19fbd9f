"""A control that can't be cleaned up, and one that says it is invalid."""
from chaoslib.exceptions import InvalidActivity


def cleanup_control():
    raise RuntimeError("oops")


def validate_control(control):
    if control.get("provider", {}).get("arguments", {}).get("invalid"):
        raise InvalidActivity("as asked")
