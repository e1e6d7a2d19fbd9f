"""Every method of the unmodified toxiproxy-python against a server: `client.py PORT`, JSON lines on stdout."""

import json
import re
import socket
import sys
import threading
import time

from toxiproxy import Toxiproxy
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists
from toxiproxy.toxic import Toxic
from toxiproxy.utils import can_connect_to

PORT = int(sys.argv[1])


def plain(value):
    """What clients can see of a value, without what differs from run to run."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        value = re.sub(r'("version": *)"[^"]*"', r'\1"VERSION"', value)
        return re.sub(r"(?<=:)\d{4,5}\b", "PORT", value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return {"is": type(value).__name__, **plain(vars(value))}


def step(name, call):
    try:
        answer = call()
    except Exception as error:
        words = error.args[0] if error.args else ""
        answer = {"raises": type(error).__name__, "says": plain(words if isinstance(words, (str, bytes)) else "")}
    print(json.dumps({"step": name, "answer": plain(answer)}), flush=True)
    return answer


def echo():
    """An echo server; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


def talk(proxy, data=b"ping", timed=False, closing=False):
    """What comes back through a proxy; for what is to take its time, whether that was at least 0.2 s."""
    host, port = proxy.listen.rsplit(":", 1)
    began = time.monotonic()
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(data)
            back = b""
            while len(back) < len(data) and (more := connection.recv(65536)):
                back += more
            ended = "whole" if back == data else "cut after %d" % len(back)
            if closing:
                began = time.monotonic()
                connection.shutdown(socket.SHUT_WR)
                ended += ", more" if connection.recv(1) else ", closed"
    except ConnectionRefusedError:
        ended = "refused"
    except ConnectionError:
        ended = "reset"
    except TimeoutError:
        ended = "nothing"
    return [ended, time.monotonic() - began >= 0.2] if timed or closing else ended


upstream = echo()
server = Toxiproxy()
step("update_api_consumer", lambda: server.update_api_consumer("127.0.0.1", PORT))
step("can_connect_to", lambda: can_connect_to("127.0.0.1", PORT))
step("running", server.running)
step("version", server.version)
step("proxies, none", server.proxies)
step("get_proxy, none", lambda: server.get_proxy("none"))
proxy = step("create", lambda: server.create(upstream=upstream, name="one"))
step("create, again", lambda: server.create(upstream=upstream, name="one"))
step("post, again", lambda: APIConsumer.post("/proxies", json={"name": "one", "upstream": upstream}))
step("create, without a name", lambda: server.create(upstream=upstream, name=""))
step("create, without an upstream", lambda: server.create(upstream="", name="empty"))
step("create, disabled", lambda: server.create(upstream=upstream, name="two", listen="127.0.0.1:0", enabled=False))
step("create, unusable address", lambda: server.create(upstream=upstream, name="three", listen="nowhere"))
step("proxies", server.proxies)
step("get_proxy", lambda: server.get_proxy("one"))
step("traffic", lambda: talk(proxy))
step("disable", proxy.disable)
step("traffic, disabled", lambda: talk(proxy))
step("get_proxy, disabled", lambda: server.get_proxy("one"))
step("enable", proxy.enable)
step("traffic, enabled", lambda: talk(proxy))


def down():
    with proxy.down() as inside:
        return [inside is proxy, talk(proxy)]


step("down", down)
step("traffic, up again", lambda: talk(proxy))
step("toxics, none", proxy.toxics)
step("get_toxic, none", lambda: proxy.get_toxic("none"))
step("destroy_toxic, none", lambda: proxy.destroy_toxic("none"))
TOXICS = [
    ("latency", {"latency": 300, "jitter": 10}),
    ("bandwidth", {"rate": 100}),
    ("slow_close", {"delay": 300}),
    ("timeout", {"timeout": 300}),
    ("reset_peer", {"timeout": 0}),
    ("slicer", {"average_size": 64, "size_variation": 32, "delay": 10}),
    ("limit_data", {"bytes": 2}),
]
TRAFFIC = {
    "latency": {"timed": True},
    "bandwidth": {"timed": True, "data": b"x" * 60_000},
    "slow_close": {"closing": True},
    "timeout": {"timed": True},
}
for kind, attributes in TOXICS:
    for stream in ("downstream", "upstream"):
        name = "%s_%s" % (kind, stream)
        step("add_toxic " + name, lambda: proxy.add_toxic(type=kind, stream=stream, attributes=attributes))
        step("get_toxic " + name, lambda: proxy.get_toxic(name))
        # After a limit upstream toxiproxy-server drops the answer or not, as it happens.
        shown = (lambda ended: ended.split(" after")[0]) if name == "limit_data_upstream" else (lambda ended: ended)
        step("traffic " + name, lambda: shown(talk(proxy, **TRAFFIC.get(kind, {}))))
        step("destroy_toxic " + name, lambda: proxy.destroy_toxic(name))
        step("traffic without " + name, lambda: talk(proxy))
step("add_toxic, defaults", lambda: proxy.add_toxic(type="latency"))
step("add_toxic, again", lambda: proxy.add_toxic(type="latency"))
step("add_toxic, named", lambda: proxy.add_toxic(type="timeout", name="lost", stream="upstream", toxicity=0.0))
step("add_toxic, unknown type", lambda: proxy.add_toxic(type="poison"))
step("add_toxic, unknown stream", lambda: proxy.add_toxic(type="latency", stream="sideways"))
step("add_toxic, a text for a number", lambda: proxy.add_toxic(type="slow_close", attributes={"delay": "1"}))
step("add_toxic, odd toxicity", lambda: proxy.add_toxic(type="slow_close", toxicity=0.1, attributes={"delay": 0}))
step("toxics", proxy.toxics)
step("traffic, toxicity 0", lambda: talk(proxy))
step("Toxic", lambda: Toxic(type="latency"))
step("reset", server.reset)
step("toxics after reset", proxy.toxics)
step("proxies after reset", server.proxies)
step("populate", lambda: server.populate([
    {"name": "one", "upstream": upstream, "listen": proxy.listen},
    {"name": "two", "upstream": "127.0.0.1:1", "listen": "127.0.0.1:0"},
    {"name": "four", "upstream": upstream, "listen": "127.0.0.1:0"},
]))
two = server.get_proxy("two")
step("traffic to nobody", lambda: talk(two) in ("reset", "cut after 0"))
step("destroy", lambda: server.destroy(proxy))
step("destroy, again", lambda: server.destroy(proxy))
step("destroy, not a proxy", lambda: server.destroy("one"))
step("traffic, destroyed", lambda: talk(proxy))
step("toxics, destroyed", proxy.toxics)
step("enable, destroyed", proxy.enable)
step("Proxy.destroy", two.destroy)
step("destroy_all", server.destroy_all)
step("proxies, all destroyed", server.proxies)
step("APIConsumer.get", lambda: APIConsumer.get("/proxies").status_code)
step("APIConsumer.get, unknown", lambda: APIConsumer.get("/proxies/none"))
step("APIConsumer.post", lambda: APIConsumer.post("/reset").status_code)
step("APIConsumer.post, not JSON", lambda: str(InvalidToxic) and APIConsumer.post("/proxies", data="x").status_code)
step("APIConsumer.delete", lambda: APIConsumer.delete("/proxies/none"))
step("exceptions", lambda: [kind.__name__ for kind in (InvalidToxic, NotFound, ProxyExists)])
