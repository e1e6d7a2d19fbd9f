# Proofmark's bridge to Python: runs functions and controls of an experiment's modules, and nothing else.
# One JSON object a line comes in on standard input, one goes out on standard output. What JSON can't hold is written
# as an object with the key "$t". It ends with its input, whatever is still running.
import base64
import datetime
import decimal
import importlib
import inspect
import json
import os
import queue
import re
import signal
import sys
import threading
import traceback
import uuid

options = json.loads(sys.argv[1])
# Started with -c, the working directory would be searched for modules; the original does not search it.
if sys.path and sys.path[0] == "":
    sys.path.pop(0)
source = os.fdopen(os.dup(0), "r", encoding="utf-8")
sink = os.fdopen(os.dup(1), "w", encoding="utf-8")
# What modules print goes to standard error, what they read is empty.
os.dup2(2, 1)
nothing = os.open(os.devnull, os.O_RDONLY)
os.dup2(nothing, 0)
os.close(nothing)

OBJECTS_MAX = 10000
DEPTH_MAX = 200
objects = {}
sink_lock = threading.Lock()
jobs = queue.SimpleQueue()
late = queue.SimpleQueue()
background = set()
busy = False
# The job of the main thread that has no answer yet.
unanswered = None


class Invalid(Exception):
    pass


class Abandoned(Exception):
    pass


def send(message):
    line = json.dumps(message)
    with sink_lock:
        sink.write(line + "\n")
        sink.flush()


def enc(value, depth=0):
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if depth > DEPTH_MAX:
        return opaque(value)
    if isinstance(value, bytes):
        return {"$t": "bytes", "v": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [enc(item, depth + 1) for item in value]
    if isinstance(value, tuple):
        return {"$t": "tuple", "v": [enc(item, depth + 1) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and "$t" not in value:
            return {str.__str__(key): enc(item, depth + 1) for key, item in value.items()}
        return {"$t": "dict", "v": [[enc(key, depth + 1), enc(item, depth + 1)] for key, item in value.items()]}
    if isinstance(value, datetime.datetime):
        return {"$t": "datetime", "v": value.isoformat(), "r": repr(value)}
    if isinstance(value, datetime.date):
        return {"$t": "date", "v": value.isoformat(), "r": repr(value)}
    if isinstance(value, decimal.Decimal):
        return {"$t": "decimal", "v": str(value), "r": repr(value)}
    if isinstance(value, uuid.UUID):
        return {"$t": "uuid", "v": str(value), "r": repr(value)}
    return opaque(value)


def opaque(value):
    if id(value) not in objects and len(objects) >= OBJECTS_MAX:
        objects.clear()
    objects[id(value)] = value
    return {"$t": "obj", "v": safe(str, value), "r": safe(repr, value), "h": id(value)}


def safe(function, value):
    try:
        return function(value)
    except Exception:
        return "<%s>" % type(value).__name__


def dec(value):
    if isinstance(value, list):
        return [dec(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("$t")
    if kind is None:
        return {key: dec(item) for key, item in value.items()}
    inner = value["v"]
    if kind == "bytes":
        return base64.b64decode(inner)
    if kind == "tuple":
        return tuple(dec(item) for item in inner)
    if kind == "dict":
        return {dec(key): dec(item) for key, item in inner}
    if kind == "datetime":
        return datetime.datetime.fromisoformat(inner)
    if kind == "date":
        return datetime.date.fromisoformat(inner)
    if kind == "decimal":
        return decimal.Decimal(inner)
    if kind == "uuid":
        return uuid.UUID(inner)
    return objects.get(value.get("h"), inner)


def is_a(error, name):
    return any(one.__name__ == name and one.__module__ == "chaoslib.exceptions" for one in type(error).__mro__)


def described(error):
    if isinstance(error, SystemExit):
        code = error.code
        if code is None:
            code = 0
        return {"class": "SystemExit", "code": code if isinstance(code, int) else 1, "message": ""}
    if isinstance(error, KeyboardInterrupt):
        return {"class": "KeyboardInterrupt", "message": ""}
    if isinstance(error, Invalid):
        return {"class": "InvalidActivity", "message": str(error)}
    if is_a(error, "InterruptExecution"):
        return {"class": "InterruptExecution", "message": safe(str, error)}
    if is_a(error, "ActivityFailed"):
        return {"class": "ActivityFailed", "message": safe(str, error)}
    return {"class": type(error).__name__, "message": safe(str, error)}


def interruption(message):
    try:
        from chaoslib.exceptions import InterruptExecution
    except ImportError:
        return KeyboardInterrupt()
    return InterruptExecution(message)


def on_signal(number, frame):
    if not busy:
        if number in (signal.SIGUSR1, signal.SIGUSR2):
            # A module asked for the end of the experiment from the background. Sent by another thread: this one may be
            # in the middle of an answer.
            late.put(number)
        return
    if number == signal.SIGTERM:
        raise interruption("SIGTERM signal received")
    if number == signal.SIGINT:
        raise KeyboardInterrupt()
    raise SystemExit(20 if number == signal.SIGUSR1 else 30)


def validate(job):
    activity = dec(job["activity"])
    name = activity["name"]
    provider = activity["provider"]
    module = provider.get("module")
    if not module:
        raise Invalid("a Python activity must have a module path")
    wanted = provider.get("func")
    if not wanted:
        raise Invalid("a Python activity must have a function name")
    try:
        found = importlib.import_module(module)
    except ImportError:
        raise Invalid("could not find Python module '%s' in activity '%s'" % (module, name))
    arguments = provider.get("arguments", {})
    functions = inspect.getmembers(found, inspect.isfunction) + inspect.getmembers(found, inspect.isbuiltin)
    for label, function in functions:
        if label == wanted:
            bind(label, function, arguments)
            return None
    raise Invalid(
        "The python module '%s' does not expose a function called '%s' in %s '%s'"
        % (module, wanted, activity["type"], name)
    )


def bind(label, function, arguments):
    signature = inspect.signature(function)
    try:
        given = arguments.copy()
        for special in ("secrets", "configuration"):
            if special in signature.parameters:
                given[special] = None
        signature.bind(**given)
    except TypeError as error:
        message = str(error)
        if "missing" in message:
            lacking = message.rsplit(":", 1)[1].strip()
            raise Invalid("required argument %s is missing from activity '%s'" % (lacking, label))
        if "unexpected" in message:
            extra = message.rsplit(" ", 1)[1].strip()
            raise Invalid("argument %s is not part of the function signature in activity '%s'" % (extra, label))
        raise


def call(job):
    provider = dec(job["provider"])
    configuration = dec(job["configuration"])
    secrets = dec(job["secrets"])
    function = getattr(importlib.import_module(provider["module"]), provider["func"])
    arguments = dec(job["arguments"])
    signature = inspect.signature(function)
    if "secrets" in provider and "secrets" in signature.parameters:
        arguments["secrets"] = {}
        for group in provider["secrets"]:
            arguments["secrets"].update(secrets.get(group, {}).copy())
    if "configuration" in signature.parameters:
        arguments["configuration"] = configuration.copy()
    try:
        result = function(**arguments)
        if options["await"] and inspect.iscoroutine(result):
            import asyncio

            result = asyncio.run(result)
    except Exception as error:
        if is_a(error, "InterruptExecution"):
            raise
        return {"failed": traceback.format_exception_only(type(error), error)[0].strip()}
    return {"value": enc(result)}


def imported(job):
    try:
        importlib.import_module(job["module"])
        return True
    except ImportError:
        return False


def validate_control(job):
    control = dec(job["control"])
    name = control["name"]
    module = control["provider"].get("module")
    if not module:
        raise Invalid("Control '%s' must have a module path" % name)
    try:
        found = importlib.import_module(module)
    except ImportError:
        return None
    function = getattr(found, "validate_control", None)
    if function:
        function(control)
    return None


class Registry:
    """Takes a control's event handlers, and never calls them."""

    def register(self, handler):
        pass


def control(job):
    definition = dec(job["control"])
    try:
        module = importlib.import_module(definition["provider"]["module"])
    except ImportError:
        return None
    function = getattr(module, job["function"], None)
    if not function:
        return None
    names = ("experiment", "configuration", "secrets", "state")
    parts = {name: dec(job[name]) for name in names if name in job}
    before = {name: json.dumps(job[name], sort_keys=True) for name in parts}
    arguments = dec(job["arguments"])
    signature = inspect.signature(function)
    for name in names:
        if name in signature.parameters and name in parts:
            arguments[name] = parts[name]
    if "settings" in signature.parameters and "settings" in job:
        arguments["settings"] = dec(job["settings"])
    if "extensions" in signature.parameters and "path" in job:
        arguments["extensions"] = parts["experiment"].get("extensions")
    if "event_registry" in signature.parameters and job["function"] == "configure_control":
        arguments["event_registry"] = Registry()
    if "path" in job:
        context = parts["experiment"]
        for step in job["path"]:
            context = context[step]
        arguments["context"] = context
    elif "context" in job:
        arguments["context"] = dec(job["context"])
    try:
        function(**arguments)
    finally:
        changes = {}
        for name, value in parts.items():
            encoded = enc(value)
            if json.dumps(encoded, sort_keys=True) != before[name]:
                changes[name] = encoded
        job["changes"] = changes
    return None


def decode(job):
    data = base64.b64decode(job["bytes"])
    encoding = "utf-8"
    try:
        from charset_normalizer import detect

        guessed = detect(data) or {}
        if (guessed.get("confidence") or 0) >= 0.5:
            encoding = guessed["encoding"]
    except ImportError:
        pass
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return {"failed": "Failed to decode bytes using encoding '%s'" % encoding}


def apparent(job):
    data = base64.b64decode(job["bytes"])
    try:
        from charset_normalizer import detect

        encoding = detect(data)["encoding"] or "utf-8"
    except ImportError:
        encoding = "utf-8"
    return data.decode(job.get("encoding") or encoding, errors="replace")


def within(job):
    tolerance = dec(job["tolerance"])
    value = dec(job["value"])
    if isinstance(tolerance, (bool, str)):
        return bool(value == tolerance)
    if isinstance(tolerance, int):
        if isinstance(value, dict) and "status" in value:
            return bool(value["status"] == tolerance)
        return bool(value == tolerance)
    if isinstance(tolerance, list):
        if isinstance(value, dict) and "status" in value:
            return value["status"] in tolerance
        if len(tolerance) == 2:
            return bool(tolerance[0] <= value <= tolerance[1])
        return value in tolerance
    target = tolerance.get("target")
    if tolerance.get("type") == "regex":
        pattern = re.compile(tolerance["pattern"])
        if target:
            value = value.get(target, value)
        return pattern.search(value) is not None
    if tolerance.get("type") == "range":
        if target:
            value = value.get(target, value)
        try:
            value = decimal.Decimal(value)
        except decimal.InvalidOperation:
            return False
        low, high = tolerance["range"]
        return decimal.Decimal(low) <= value <= decimal.Decimal(high)
    return False


def truth(job):
    return bool(dec(job["value"]))


def notify(job):
    channel = dec(job["channel"])
    try:
        module = importlib.import_module(channel.get("module"))
    except ImportError:
        return None
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if name == channel.get("func", "notify"):
            try:
                function(channel, dec(job["payload"]))
            except Exception:
                pass
            break
    return None


def abandon(job):
    import ctypes

    try:
        from chaoslib.exceptions import ExperimentExitedException as kind
    except ImportError:
        kind = Abandoned
    for thread in list(background):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_long(thread), ctypes.py_object(kind))
    return None


OPERATIONS = {
    one.__name__: one
    for one in (
        validate,
        call,
        imported,
        validate_control,
        control,
        decode,
        apparent,
        within,
        truth,
        notify,
        abandon,
    )
}


def work(job):
    global busy, unanswered
    foreground = job["foreground"]
    if foreground:
        unanswered = job["id"]
    answer = {"id": job["id"]}
    environment = dict(os.environ)
    folder = cwd()
    me = threading.get_ident()
    try:
        if foreground:
            busy = True
        elif job["op"] == "call":
            background.add(me)
        answer["ok"] = OPERATIONS[job["op"]](job)
    except BaseException as error:
        answer.pop("ok", None)
        answer["raise"] = described(error)
    finally:
        if foreground:
            busy = False
        background.discard(me)
    if "changes" in job:
        answer["changes"] = job["changes"]
    changed = {key: value for key, value in os.environ.items() if environment.get(key) != value}
    changed.update({key: None for key in environment if key not in os.environ})
    if changed:
        answer["env"] = changed
    if cwd() != folder:
        answer["cwd"] = cwd()
    if foreground:
        unanswered = None
    send(answer)


def cwd():
    try:
        return os.getcwd()
    except OSError:
        return None


def report():
    while True:
        send({"signal": late.get()})


def listen():
    for line in source:
        job = json.loads(line)
        if job["foreground"]:
            jobs.put(job)
        else:
            threading.Thread(target=work, args=(job,), daemon=True).start()
    os._exit(0)


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, on_signal)
threading.Thread(target=listen, daemon=True).start()
threading.Thread(target=report, daemon=True).start()
while True:
    try:
        work(jobs.get())
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        # A signal that came when the function had just returned.
        busy = False
        if unanswered is not None:
            send({"id": unanswered, "raise": described(error)})
            unanswered = None
