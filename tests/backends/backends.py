# SPDX-License-Identifier: Apache-2.0
"""The real backends that clovisor's export is tested against: OpenTelemetry Collector, Jaeger, Prometheus.

Each is a context manager: started on free loopback ports when entered, ready when `with` goes on, ended and reaped
when it leaves, whatever happened. With `ns` it lives in that network namespace (a lab's node, say), and so do its
questions. Where a backend cannot be had, making one raises unittest.SkipTest with the reason.
"""

import contextlib
import ctypes
import datetime
import functools
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.append(os.path.join(ROOT, "tests", "netns"))
import lab  # noqa: E402
from lab import wait_for  # noqa: E402

CLONE_NEWNET = 0x40000000
START_SECONDS = 90
ANSWER_SECONDS = 30
KINDS = [None, "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
STATUS = ["UNSET", "OK", "ERROR"]


@functools.cache
def ask_tool(*tool):
    """Status, output, and its last words on standard error. Once a run, also when it fails: it may take minutes."""
    done = subprocess.run([os.path.join(ROOT, tool[0]), *tool[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip().splitlines()[-20:]


def find(*tool):
    """What a tool (tools/backend NAME, tests/venv) prints; SkipTest with its word when it says that it cannot."""
    status, path, words = ask_tool(*tool)
    if status == 77:
        raise unittest.SkipTest((words or [""])[-1])
    if status:
        raise RuntimeError(f"{' '.join(tool)}: exit status {status}:\n" + "\n".join(words))
    return path


def venv_python():
    return find("tests/venv")


def inside(ns, function, *args):
    """Calls the function in a network namespace (None: where we are). Sockets that it opens stay there."""
    if ns is None:
        return function(*args)
    result = []

    def body():
        try:
            with open(f"/run/netns/{ns}", "rb") as f:
                if lab._libc.setns(f.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns to {ns}")
            result.append((True, function(*args)))
        except BaseException as e:  # pylint: disable=broad-except
            result.append((False, e))

    thread = threading.Thread(target=body)  # a namespace belongs to the thread, and goes with it
    thread.start()
    thread.join()
    ok, value = result[0]
    if not ok:
        raise value
    return value


def free_ports(n, ns=None, host="127.0.0.1"):
    """That many ports of an address on which nobody listens."""
    def pick():
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
            for s in sockets:
                s.bind((host, 0))
            return [s.getsockname()[1] for s in sockets]

    return inside(ns, pick)


def fetch(url, ns=None, headers=None):
    """Status and body."""
    def get():
        request = urllib.request.Request(url, headers=headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ANSWER_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, e.read()

    return inside(ns, get)


class Backend:
    """A program of this kind: its files in `top`/NAME, its log there, one process at a time."""

    name, ports = None, 0

    def __init__(self, top, ns=None, host="127.0.0.1"):
        self.program = find("tools/backend", self.name)
        self.ns, self.host, self.process, self.env = ns, host, None, {}
        self.top = tempfile.mkdtemp(prefix=f"{self.name}-", dir=top)  # one may come back where another was
        self.port = free_ports(self.ports, ns, host)

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(text)
        return self.path(name)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        enter = ["nsenter", f"--net=/run/netns/{self.ns}"] if self.ns else []
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([*enter, self.program, *self.arguments()], cwd=self.top,
                                            env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, preexec_fn=lab.die_with_parent)
        try:
            wait_for(f"{self.name} is ready", self.check_ready, START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """Ends it in good order; it has written all that it took."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.log()[-2000:]}")
        try:
            return self.ready()
        except OSError:
            return False

    def listens(self, port):
        def knock():
            socket.create_connection((self.host, port), 1).close()
            return True

        return inside(self.ns, knock)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def get(self, port, path, **query):
        url = f"http://127.0.0.1:{port}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        return fetch(url, self.ns)


# ---- OTLP's JSON ------------------------------------------------------------------------------------------------


def value_of(v):
    """An AnyValue."""
    for key, convert in (("stringValue", str), ("intValue", int), ("boolValue", bool), ("doubleValue", float)):
        if key in v:
            return convert(v[key])
    if "arrayValue" in v:
        return [value_of(x) for x in v["arrayValue"].get("values", [])]
    return None


def attributes_of(thing):
    return {a["key"]: value_of(a["value"]) for a in thing.get("attributes", [])}


def kind_of(kind):
    """Senders write a number, Jaeger a name."""
    return kind.removeprefix("SPAN_KIND_") if isinstance(kind, str) else KINDS[kind]


def status_of(status):
    code = status.get("code", 0)
    return {"code": code.removeprefix("STATUS_CODE_") if isinstance(code, str) else STATUS[code],
            **({"message": status["message"]} if status.get("message") else {})}


def spans_of(request):
    """The spans of an ExportTraceServiceRequest, in the form of `clovisor trace --json` (docs/output.md), with more."""
    for group in request.get("resourceSpans", []):
        for part in group.get("scopeSpans", []):
            for s in part.get("spans", []):
                yield {"trace_id": s["traceId"], "span_id": s["spanId"],
                       **({"parent_span_id": s["parentSpanId"]} if s.get("parentSpanId") else {}),
                       "name": s["name"], "kind": kind_of(s.get("kind", 0)),
                       "start_time_unix_nano": str(s["startTimeUnixNano"]),
                       "end_time_unix_nano": str(s["endTimeUnixNano"]),
                       "status": status_of(s.get("status", {})), "attributes": attributes_of(s),
                       "resource": attributes_of(group.get("resource", {})),
                       "scope": part.get("scope", {}),
                       "schema_url": group.get("schemaUrl") or part.get("schemaUrl", ""),
                       "flags": s.get("flags", 0), "trace_state": s.get("traceState", "")}


def points_of(request):
    """(resource, metric, attributes, data point) of an ExportMetricsServiceRequest."""
    for group in request.get("resourceMetrics", []):
        resource = attributes_of(group.get("resource", {}))
        for part in group.get("scopeMetrics", []):
            for metric in part.get("metrics", []):
                for form in ("sum", "gauge", "histogram"):
                    for point in metric.get(form, {}).get("dataPoints", []):
                        yield resource, metric, attributes_of(point), point


# ---- the backends -----------------------------------------------------------------------------------------------


class Collector(Backend):
    """Takes OTLP at `host` and writes it to a file: all that it acknowledged, once it is stopped."""

    name, ports = "otelcol", 2

    def __init__(self, top, ns=None, host="127.0.0.1"):
        super().__init__(top, ns, host)
        self.file = self.path("received")
        self.grpc, self.http = (f"{host}:{p}" for p in self.port)
        self.read_to = self.spans_read = 0
        self.config = os.path.join(HERE, "otelcol", "otelcol.yaml")
        self.env = {"OTELCOL_GRPC": self.grpc, "OTELCOL_HTTP": self.http, "OTELCOL_FILE": self.file}

    def arguments(self):
        return ["--config", self.config]

    def ready(self):
        return all(self.listens(p) for p in self.port)

    def lines(self, offset=0):
        """The complete lines from there on."""
        if not os.path.exists(self.file):
            return
        with open(self.file, "rb") as f:
            f.seek(offset)
            for line in f:
                if line.endswith(b"\n"):
                    yield line

    def count_spans(self):
        """Reads only what came since the last call."""
        for line in self.lines(self.read_to):
            self.read_to += len(line)
            self.spans_read += line.count(b'"spanId"')
        return self.spans_read

    def wait_spans(self, n, seconds=60.0):
        wait_for(f"{n} spans at the Collector", lambda: self.count_spans() >= n, seconds)

    def offset(self):
        """Where what comes next will begin, for spans()."""
        return sum(map(len, self.lines()))

    def stream(self, offset=0):
        """The spans one by one."""
        for line in self.lines(offset):
            if b'"resourceSpans"' in line:
                yield from spans_of(json.loads(line))

    def spans(self, offset=0):
        return list(self.stream(offset))

    def metrics(self):
        """The last value of each series: {(metric, service, ((label, value)...)): data point}."""
        last = {}
        for line in self.lines():
            if b'"resourceMetrics"' in line:
                for resource, metric, attributes, point in points_of(json.loads(line)):
                    last[metric["name"], resource.get("service.name"), tuple(sorted(attributes.items()))] = point
        return last


class Jaeger(Backend):
    """Keeps traces in memory; asked by its stable API, /api/v3."""

    name, ports = "jaeger", 5

    def __init__(self, top, ns=None):
        super().__init__(top, ns)
        addresses = [f"127.0.0.1:{p}" for p in self.port]
        self.grpc, self.http = addresses[:2]
        self.env = dict(zip(("JAEGER_OTLP_GRPC", "JAEGER_OTLP_HTTP", "JAEGER_QUERY", "JAEGER_QUERY_GRPC",
                             "JAEGER_HEALTH"), addresses))

    def arguments(self):
        return ["--config", os.path.join(HERE, "jaeger", "jaeger.yaml")]

    def ready(self):
        return self.get(self.port[4], "/status")[0] == 200 and all(self.listens(p) for p in self.port[:3])

    def ask(self, path, **query):
        """The JSON of an answer; None for 404, which is how Jaeger says that it found nothing."""
        status, body = self.get(self.port[2], path, **query)
        if status == 404:
            return None
        if status != 200 or not body.lstrip().startswith(b"{"):  # unknown paths give a page of HTML
            raise RuntimeError(f"Jaeger answers {path} with {status}: {body[:300]!r}")
        return json.loads(body)

    def services(self):
        return sorted((self.ask("/api/v3/services") or {}).get("services") or [])

    def traces(self, service, begin, end, limit=10000):
        """{trace id: its spans} of the traces in which the service takes part, between two times in seconds."""
        def time(t):
            return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

        answer = self.ask("/api/v3/traces", **{
            "query.service_name": service, "query.start_time_min": time(begin), "query.start_time_max": time(end),
            "query.num_traces": limit})
        found = {}
        for span in spans_of((answer or {}).get("result", {})):
            found.setdefault(span["trace_id"], []).append(span)
        return found

    def trace(self, trace_id):
        """Its spans, none if there is no such trace."""
        return list(spans_of((self.ask(f"/api/v3/traces/{trace_id}") or {}).get("result", {})))


class Prometheus(Backend):
    """Scrapes the targets ("127.0.0.1:9464"), once a second."""

    name, ports = "prometheus", 1

    def __init__(self, top, targets, ns=None):
        super().__init__(top, ns)
        self.write("prometheus.yml", json.dumps({  # JSON is YAML
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "clovisor", "static_configs": [{"targets": list(targets)}]}]}))

    def arguments(self):
        return [f"--config.file={self.path('prometheus.yml')}", f"--storage.tsdb.path={self.path('data')}",
                f"--web.listen-address=127.0.0.1:{self.port[0]}", "--enable-feature=exemplar-storage",
                "--log.level=warn"]

    def ready(self):
        return self.get(self.port[0], "/-/ready")[0] == 200

    def ask(self, path, **query):
        status, body = self.get(self.port[0], path, **query)
        answer = json.loads(body) if body.lstrip().startswith(b"{") else {}
        if status != 200 or answer.get("status") != "success":
            raise RuntimeError(f"Prometheus answers {query} with {status}: {answer.get('error', body[:300])}")
        return answer["data"]

    def query(self, q):
        """An instant query: the series, each {"metric": labels, "value": [time, text]}."""
        return self.ask("/api/v1/query", query=q)["result"]

    def query_range(self, q, begin, end, step=1):
        return self.ask("/api/v1/query_range", query=q, start=begin, end=end, step=step)["result"]

    def exemplars(self, q, begin, end):
        return self.ask("/api/v1/query_exemplars", query=q, start=begin, end=end)

    def value(self, q):
        """The value of a query that has one, else None."""
        found = self.query(q)
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def wait_value(self, q, wanted, seconds=20.0):
        wait_for(f"{shlex.quote(q)} is {wanted:g}", lambda: self.value(q) == wanted, seconds)
