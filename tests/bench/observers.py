# SPDX-License-Identifier: Apache-2.0
"""Who watches the traffic: clovisor in three ways, and five others. All watch the node's side of the pods' interfaces.

An observer is started, watches, and is stopped; then tell() says what it has seen: `reported` transactions (None where
it knows none), `complete` (the share of those that took place), `copied` bytes, `lost` by reason, and `errors`, what
must not be.
"""

import json
import os
import re
import shutil
import signal
import subprocess

import lab as laboratory
import measure

TOP = laboratory.ROOT
READY_S = 30
# Of the reasons in docs/output.md those that mean lost records; window_bytes is how bodies are left out.
LOSSES = ("ring_full", "flow_evicted", "lease_expired", "bad_records", "gaps", "orphan_responses", "unconfirmed",
          "parse_errors", "pending_overflow", "memory", "output_full", "export_queue_full", "export_budget",
          "export_refused", "export_rejected", "export_damaged", "export_closed")


def count(path, *words):
    """How often each of the words stands in a file."""
    sums = [0] * len(words)
    keep = max(len(w) for w in words) - 1
    tail = b""
    with open(path, "rb") as f:
        while block := f.read(1 << 22):
            for i, word in enumerate(words):
                # What stands in the tail alone was counted with the block before.
                sums[i] += (tail + block).count(word) - tail.count(word)
            tail = (tail + block)[-keep:] if keep else b""
    return sums


class Observer:
    """Runs `argv()` on the node, and is ready when `ready` stands on its standard error (or its output)."""

    name = ready = ""
    says_ready_on_out = False

    def __init__(self, scene):
        self.scene, self.process, self.out, self.err = scene, None, "", ""

    def argv(self, veths):
        raise NotImplementedError

    def start(self, veths):
        self.scene.clear()
        self.out, self.err = self.scene.path(f"{self.name}.out"), self.scene.path(f"{self.name}.err")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = self.scene.lab.spawn_in(self.scene.lab.node, *self.argv(veths), stdout=out, stderr=err,
                                                   env={**os.environ, "TMPDIR": self.scene.out})
        os.sched_setaffinity(self.process.pid, self.scene.cpus)
        laboratory.wait_for(f"{self.name} is ready", self.is_ready, READY_S)

    def is_ready(self):
        with open(self.out if self.says_ready_on_out else self.err, encoding="utf-8", errors="replace") as f:
            text = f.read()
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {text[-500:]}")
        return re.search(self.ready, text, re.M)

    def pids(self):
        return measure.family(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def transactions(self):
        """What it has reported; None: it reports none."""
        return None

    def tell(self, requests):
        reported = self.transactions()
        return {"reported": reported, "complete": None if reported is None else reported / requests, "copied": None,
                "lost": {}, "errors": []}


class Clovisor(Observer):
    """JSON lines into a file. Held to the truth: each request has its span, or a loss was counted."""

    name, ready = "clovisor", r"^ready"
    options = ("--json",)

    def argv(self, veths):
        interfaces = [word for veth in veths for word in ("-i", veth)]
        return [laboratory.CLOVISOR, "trace", *self.options, *interfaces, "--summary", self.scene.path("summary")]

    def tell(self, requests):
        with open(self.scene.path("summary"), encoding="ascii") as f:
            summary = json.load(f)
        spans, lost = summary["spans"], {k: summary["drops"][k] for k in LOSSES if summary["drops"].get(k)}
        errors = self.faults(summary)
        if spans > requests:
            errors.append(f"{spans} spans of {requests} requests")
        counted = sum(lost.values())
        if requests - spans > counted:
            errors.append(f"{requests - spans} of {requests} spans are missing, {counted} losses were counted")
        if self.process.returncode:
            errors.append(f"exit status {self.process.returncode}")
        return {"reported": spans, "complete": spans / requests, "copied": summary["record_bytes"] / requests,
                "lost": lost, "errors": errors}

    def faults(self, summary):
        """What its lines say that is not so."""
        lines, good, incomplete = count(self.out, b"\n", b'"http.response.status_code":200', b'"clovisor.')
        if lines + summary["drops"]["output_full"] != summary["spans"]:
            return [f"{summary['spans']} spans are {lines} lines"]
        if good != lines and not incomplete:
            return [f"{lines - good} of {lines} spans have another status than 200, and do not say why"]
        return []


class Otlp(Clovisor):
    """The same by OTLP to a collector that keeps nothing."""

    name = "clovisor, OTLP"
    options = ("--otlp", "http://127.0.0.1:4318", "--otlp-metrics", "false")
    sink = None

    def start(self, veths):
        self.sink = self.scene.lab.spawn_in(self.scene.lab.node, os.path.join(TOP, "build", "tests", "sink"), "4318",
                                            stdout=subprocess.PIPE)
        self.sink.stdout.readline()
        os.sched_setaffinity(self.sink.pid, self.scene.cpus)
        super().start(veths)

    def stop(self):
        super().stop()
        self.sink.terminate()
        self.sink.wait()

    def faults(self, summary):
        sent = summary["export_sent"] + sum(n for k, n in summary["drops"].items() if k.startswith("export_"))
        return [] if sent == summary["spans"] else [f"{summary['spans']} spans, {sent} sent or counted as lost"]


class Metrics(Clovisor):
    """Metrics for Prometheus alone, and no lines."""

    name = "clovisor, metrics"
    address = "127.0.0.1:9464"
    options = ("--metrics", address)
    page = ""

    def stop(self):
        self.page = self.scene.lab.run_in(self.scene.lab.node, "curl", "-sS", f"http://{self.address}/metrics")
        super().stop()

    def faults(self, summary):
        counts = re.findall(r"^http_server_request_duration_seconds_count\{.*\} (\d+)$", self.page, re.M)
        counted = sum(map(int, counts))
        return [] if counted == summary["spans"] else [f"{summary['spans']} spans, {counted} in the metrics"]


class Tcpdump(Observer):
    """Copies every packet, and makes nothing of it. Complete: packets captured of those that passed."""

    name, ready = "tcpdump", r"listening on"

    def argv(self, veths):
        return ["tcpdump", "-n", "-i", veths[0], "-w", "/dev/null"]

    def tell(self, requests):
        with open(self.err, encoding="ascii") as f:
            text = f.read()
        captured, dropped = (int(re.search(rf"(\d+) packets? {word}", text)[1])
                             for word in ("captured", "dropped by kernel"))
        return {**super().tell(requests), "complete": captured / max(1, captured + dropped),
                "lost": {"packets": dropped} if dropped else {}}


class Httpry(Observer):
    """A line for each request and for each response; it does not pair them."""

    name, ready = "httpry", r"Starting capture"

    def argv(self, veths):
        return ["httpry", "-i", veths[0], "-o", self.scene.path("httpry.log")]

    def transactions(self):
        return count(self.scene.path("httpry.log"), b"\t<\t")[0]


class Tcpflow(Observer):
    """Both directions of each connection into files. Transactions: heads of responses in them."""

    name, ready = "tcpflow", r"listening on"

    def argv(self, veths):
        return ["tcpflow", "-i", veths[0], "-o", self.scene.path("flows")]

    def transactions(self):
        top = self.scene.path("flows")
        return sum(count(os.path.join(top, name), b"HTTP/1.1 200")[0] for name in os.listdir(top))


class Tshark(Observer):
    """A line for each response."""

    name, ready = "tshark", r"Capture started|Capturing on .*\n.*File:"
    def argv(self, veths):
        return ["tshark", "-n", "-i", veths[0], "-Y", "http.response", "-T", "fields", "-e", "http.response.code"]

    def transactions(self):
        return count(self.out, b"200")[0]


class Goreplay(Observer):
    """Every request and response, paired by its id, as text."""

    name, ready, says_ready_on_out = "goreplay", r"Interface:", True
    program = ""

    def argv(self, veths):
        return [self.program, "--input-raw", f"{veths[0]}:80", "--input-raw-bpf-filter", "tcp port 80",
                "--input-raw-track-response", "--output-stdout"]

    def transactions(self):
        return count(self.out, b"\n2 ")[0]


def available(names, say):
    """Those of the observers that can run here; says which cannot and why."""
    found = {}
    for kind in (Clovisor, Metrics, Otlp, Tcpdump, Httpry, Tcpflow, Tshark, Goreplay):
        if kind.name not in names:
            continue
        if kind is Goreplay:
            built = subprocess.run([os.path.join(TOP, "tests", "bench", "peer"), "goreplay"], stdout=subprocess.PIPE,
                                   text=True, check=False)
            kind.program = built.stdout.strip()
            if built.returncode:
                say("goreplay is left out: it could not be built")
                continue
        elif not issubclass(kind, Clovisor) and not shutil.which(kind.name):
            say(f"{kind.name} is left out: it is not installed (sudo tools/setup bench)")
            continue
        found[kind.name] = kind
    return found


def version(kind):
    """What it says of its version, in a word."""
    if kind.name.startswith("clovisor"):
        text = subprocess.run([laboratory.CLOVISOR, "version"], capture_output=True, text=True, check=False).stdout
    elif kind is Goreplay:
        with open(os.path.join(TOP, "tests", "bench", "goreplay", "go.mod"), encoding="ascii") as f:
            text = f.read().split("github.com/buger/goreplay v")[1]
    else:
        text = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", kind.name], capture_output=True, text=True,
                              check=False).stdout
    found = re.search(r"\d[\w.+~-]*", text)
    return found[0] if found else "unknown"
