# SPDX-License-Identifier: Apache-2.0
"""What is done while observers watch. Each workload has servers, the interfaces that lead to them, and a load.

load(seconds) returns what was done: requests, rate (a second), cpu_ns of the client, p50_us and p99_us (None where the
client does not tell).
"""

import contextlib
import json
import os
import re
import resource
import subprocess
import time

import lab as laboratory
import measure
from observers import LOSSES
from scene import LOAD

RATE = 4800
WARM_S = 0.5  # at a fixed rate: who begins is not who goes on
HOSTILE_RATE = 400
H2C_PORT = 8081
PATIENCE_S = 120  # for attaching
AFTER_S = 1  # what goes on when all is attached
HERE = os.path.dirname(os.path.abspath(__file__))


class Workload(contextlib.ExitStack):
    """servers: process ids; veths: where to watch, none: at all that lead to pods."""

    key = title = ""
    servers = veths = ()
    checks_spans = False  # whether wrong() can tell

    def __init__(self, scene):
        super().__init__()
        self.scene = scene
        self.veths = [scene.web.veth]

    def load(self, seconds):
        raise NotImplementedError

    def before(self):
        """What comes before each load, with the observer there; the number of requests that it took."""
        return 0

    def wrong(self, _lines):
        """What spans say that is not so, of those that this workload can tell of."""
        return []


class Http1(Workload):
    options, path = (), "/small"

    def __enter__(self):
        self.servers = [self.scene.web_nginx()]
        return self

    def load(self, seconds):
        return self.scene.load("-t", str(seconds), *self.options, self.path, self.scene.web.ip)


class Small(Http1):
    key, title = "W1", "200 bytes, 32 keep-alive connections, saturated"


class Short(Http1):
    key, title = "W2", "200 bytes, a connection for each request, 32 at a time, saturated"
    options = ("-k",)


class Large(Http1):
    key, title = "W3", "10 MB, 4 keep-alive connections, saturated"
    options, path = ("-c4",), "/large"


class Http2(Workload):
    """As many requests as fit in the time, by the rate of a first run; so their number is exact."""

    key, title = "W4", "HTTP/2 without TLS, 200 bytes, 8 connections with 10 streams, saturated"
    rate = None

    def __enter__(self):
        self.servers = [self.scene.nghttpd(self.scene.web, H2C_PORT)]
        self.rate = self.ask(5000)["rate"]
        return self

    def ask(self, count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = self.scene.user.run("h2load", "-t1", "-c8", "-m10", "-n", str(count),
                                  f"http://{self.scene.web.ip}:{H2C_PORT}/small", preexec_fn=self.scene.on_client_cpu)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        done = int(re.search(r"(\d+) succeeded", out)[1])
        if done != count:
            raise RuntimeError(f"h2load: {done} of {count} requests succeeded")
        return {"requests": done, "rate": float(re.search(r"([\d.]+) req/s", out)[1]), "cpu_ns": int(used * 1e9),
                "p50_us": None, "p99_us": None}

    def load(self, seconds):
        return self.ask(int(self.rate * seconds))


def paced(seconds):
    """The load's options: a rate, for so long after the beginning."""
    return "-r", str(RATE), "-w", str(WARM_S), "-t", str(WARM_S + seconds)


class Paced(Http1):
    key, title = "W5", f"200 bytes, 32 keep-alive connections, {RATE:,} requests/s"

    def load(self, seconds):
        return self.scene.load(*paced(seconds), self.path, self.scene.web.ip)


class Idle(Workload):
    """The connections are there all the time; in each run they ask once, so who watches knows of them."""

    count = 10_000
    key, title = "W6", f"{count:,} idle keep-alive connections, and W5 beside them"

    def __enter__(self):
        pod = self.scene.lab.pod("many")
        self.veths = [pod.veth]
        # nginx closes idle ones when less than a sixteenth of its room is left.
        self.servers = [self.scene.nginx(pod, self.count * 6 // 5)]
        self.ip = pod.ip
        self.holder = self.scene.user.spawn(LOAD, "-i", "-c", str(self.count), "/small", pod.ip, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True, preexec_fn=self.scene.on_client_cpu)
        self.callback(self.scene.lab.reap, self.holder)
        return self

    def before(self):
        self.holder.stdin.write("\n")
        self.holder.stdin.flush()
        return json.loads(self.holder.stdout.readline())["requests"]

    def load(self, seconds):
        return self.scene.load(*paced(seconds), "/small", self.ip)


class Pods(Workload):
    """Each pod has a server of its own. The load comes from the node, so that it passes no interface but theirs: all
    that lead to pods are watched."""

    key = "W7"

    def __init__(self, scene, count):
        super().__init__(scene)
        self.count, self.title = count, f"{count} pods, {RATE:,} requests/s over all of them"

    def __enter__(self):
        pods = [self.scene.lab.pod(f"p{i}") for i in range(self.count)]
        self.servers = [self.scene.nginx(pod, 64) for pod in pods]
        self.veths, self.ips = [], [pod.ip for pod in pods]
        return self

    def load(self, seconds):
        return self.scene.load(*paced(seconds), "-c", str(2 * self.count), "/small", *self.ips, ns=self.scene.lab.node)


class Hostile(Workload):
    """Small segments, lost and in any order: the server is a namespace further on, and shuffle.py sits between. Each
    request has a path of its own that says what its answer was."""

    key, title = "W8", f"hostile: segments of 88 bytes at most, 1 % lost, in any order; {HOSTILE_RATE} requests/s"
    checks_spans = True

    def __enter__(self):
        lab = self.scene.lab
        outer, inner = lab.pod("outer"), lab.pod("inner")
        # The inner pod's only way out leads through the outer one, whose address it has.
        laboratory.run("ip", "-n", lab.node, "link", "del", inner.veth)
        laboratory.run("ip", "-n", outer.ns, "addr", "flush", "dev", "eth0")
        laboratory.run("ip", "-n", outer.ns, "link", "add", "inside", "type", "veth", "peer", "name", "eth0", "netns",
                       inner.ns)
        for ns, dev in ((outer.ns, "inside"), (inner.ns, "eth0"), (inner.ns, "lo")):
            laboratory.run("ip", "-n", ns, "link", "set", dev, "up")
        laboratory.run("ip", "-n", inner.ns, "addr", "add", f"{outer.ip}/24", "dev", "eth0")
        laboratory.run("ip", "-n", inner.ns, "route", "add", "default", "via", outer.gateway)
        shuffler = os.path.join(HERE, "shuffle.py")
        for pod, device in ((inner, "eth0"), (self.scene.user, "eth0")):
            pod.run("python3", shuffler, "--no-offload", device)
        self.servers = [self.scene.nginx(inner)]
        process = outer.spawn("python3", shuffler, "eth0", "inside", stdout=subprocess.PIPE)
        self.callback(lab.reap, process)
        process.stdout.readline()
        self.enter_context(inner.loss(1))
        self.veths, self.ip = [outer.veth], outer.ip
        return self

    def load(self, seconds):
        return self.scene.load("-t", str(seconds), "-r", str(HOSTILE_RATE), "-c64", "-u", "-s", "20", "-m", "88",
                               "/ok/", self.ip)

    def wrong(self, lines):
        """Every path once, with the status and the body size that belong to it."""
        found, seen = [], set()
        for span in map(json.loads, lines):
            attributes = span["attributes"]
            path = attributes.get("url.path", "")
            kind, _, number = path.strip("/").partition("/")
            want = {"ok": (200, len(f"ok {path}\n")), "missing": (404, len(f"nothing at {path}\n"))}.get(kind)
            got = attributes.get("http.response.status_code"), attributes.get("http.response.body.size")
            incomplete = any(key.startswith("clovisor.") for key in attributes)
            if path in seen or not number.isdigit() or (got != want and not incomplete):
                found.append(f"{path}: {got}, not {want}{', again' if path in seen else ''}")
            seen.add(path)
        return found


def attach_all(scene, mode, count):
    """W1, and meanwhile `count` interfaces appear that clovisor attaches to by itself: how long that took, and what
    became of W1. The load comes from the node, so that it passes one pod's interface alone."""
    scene.clear()
    space = f"{laboratory.PREFIX}{os.getpid()}-attach"
    commands = scene.path("commands")
    with open(commands, "w", encoding="ascii") as f:
        f.writelines(f"link add a{i} type veth peer name e{i} netns {space}\n" for i in range(count))
    laboratory.run("ip", "netns", "add", space)
    try:
        tracer = scene.lab.trace("--attach", mode)
        client = scene.lab.spawn_in(scene.lab.node, LOAD, "-t", str(PATIENCE_S), "/small", scene.web.ip,
                                    stdout=subprocess.PIPE, text=True, preexec_fn=scene.on_client_cpu)
        began = time.monotonic()
        laboratory.run("ip", "-n", scene.lab.node, "-batch", commands)
        made = time.monotonic() - began
        laboratory.wait_for("all is attached", lambda: tracer.stderr().count("attached to a") == count, PATIENCE_S)
        attached = time.monotonic() - began
        time.sleep(AFTER_S)
        client.terminate()
        done = json.loads(client.communicate()[0])
        tracer.stop(parse=False)
    finally:
        laboratory.run("ip", "netns", "del", space)
    lost = {k: n for k, n in tracer.summary["drops"].items() if k in LOSSES and n}
    requests, spans = done["requests"], tracer.summary["spans"]
    errors = [] if 0 <= requests - spans <= sum(lost.values()) else [f"{spans} spans of {requests} requests"]
    return {"mode": mode, "interfaces": count, "made_s": made, "attached_s": attached, "requests": requests,
            "spans": spans, "lost": lost, "errors": errors}


def idle(scene, kind, seconds):
    """What an observer takes while nothing happens: nanoseconds of processor time a second, and memory (KiB)."""
    observer = kind(scene)
    observer.start([scene.web.veth])
    time.sleep(1)
    before = measure.cpu_ns(*observer.pids())
    time.sleep(seconds)
    used = measure.cpu_ns(*observer.pids()) - before
    resident = sum(measure.memory_kib(pid)[0] for pid in observer.pids())
    observer.stop()
    return {"observer": kind.name, "seconds": seconds, "ns_per_s": used / seconds, "rss_kib": resident}
