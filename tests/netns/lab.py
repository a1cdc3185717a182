# SPDX-License-Identifier: Apache-2.0
"""A laboratory of network namespaces: one node, its pods, and clovisor watching them from the node.

Everything lives in namespaces named clvt-PID-NAME, so that runs beside each other do not meet, and is gone when
the Lab is closed. What a killed run left is removed by the next one.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLOVISOR = os.path.abspath(os.environ.get("CLOVISOR", os.path.join(ROOT, "build", "clovisor")))
PREFIX = "clvt-"
READY_SECONDS = 20

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """In a child before exec: a harness that is killed takes its children with it."""
    _libc.prctl(1, signal.SIGKILL)


def run(*argv, **kw):
    """Runs a command that must succeed and returns its output."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, **kw)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def wait_for(what, check, seconds=10.0):
    """Polls until check() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.02)


def sweep():
    """Removes the namespaces of runs that are no more."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        m = re.fullmatch(PREFIX + r"(\d+)-\w+", name)
        if m and not os.path.exists(f"/proc/{m[1]}"):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


class Pod:
    """A namespace with eth0, joined to the node by a veth whose node side is `veth`."""

    def __init__(self, lab, name, index):
        self.lab, self.name, self.ns = lab, name, f"{PREFIX}{os.getpid()}-{name}"
        self.veth = f"v{name}"[:15]
        self.ip, self.gateway = f"10.77.{index}.2", f"10.77.{index}.1"
        self.ip6, self.gateway6 = f"fd77:{index:x}::2", f"fd77:{index:x}::1"

    def plug(self):
        node = self.lab.node
        run("ip", "netns", "add", self.ns)
        run("ip", "-n", node, "link", "add", self.veth, "type", "veth", "peer", "name", "eth0", "netns", self.ns)
        for ns, dev, v4, v6 in ((node, self.veth, self.gateway, self.gateway6), (self.ns, "eth0", self.ip, self.ip6)):
            run("ip", "-n", ns, "addr", "add", f"{v4}/24", "dev", dev)
            run("ip", "-n", ns, "addr", "add", f"{v6}/64", "dev", dev, "nodad")
            run("ip", "-n", ns, "link", "set", dev, "up")
        run("ip", "-n", self.ns, "link", "set", "lo", "up")
        run("ip", "-n", self.ns, "route", "add", "default", "via", self.gateway)
        run("ip", "-n", self.ns, "-6", "route", "add", "default", "via", self.gateway6)

    def run(self, *argv, **kw):
        return self.lab.run_in(self.ns, *argv, **kw)

    def spawn(self, *argv, **kw):
        return self.lab.spawn_in(self.ns, *argv, **kw)

    def curl(self, *args):
        return self.run("curl", "-sS", "--max-time", "60", *args)

    def nginx(self, conf_extra=""):
        """Starts nginx on port 80 of this pod, with a configuration of its own."""
        top = self.lab.dir(f"nginx-{self.name}")
        os.mkdir(os.path.join(top, "www"))
        with open(os.path.join(top, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(NGINX_CONF.format(top=top, extra=conf_extra))
        os.chmod(self.lab.top, 0o755)
        self.spawn("nginx", "-p", top, "-e", f"{top}/error.log", "-c", f"{top}/nginx.conf",
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("nginx answers", lambda: os.path.exists(f"{top}/nginx.pid") and self.try_connect(80))
        return os.path.join(top, "www")

    def try_connect(self, port):
        probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
        return subprocess.run(["nsenter", f"--net=/run/netns/{self.ns}", "python3", "-c", probe],
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    @contextlib.contextmanager
    def loss(self, percent):
        """Drops some packets, on the way in (after clovisor saw them) and out (before it could)."""
        drop = f"meta l4proto tcp numgen random mod 1000 < {int(percent * 10)} drop"
        chains = "".join(f"chain {hook} {{\ntype filter hook {hook} priority 0;\n{drop}\n}}\n"
                         for hook in ("input", "output"))
        with self.lab.nft(self.ns, f"table inet clvt {{\n{chains}}}\n"):
            yield


# One process, so that ending it ends all of it.
NGINX_CONF = """
daemon off; master_process off; worker_rlimit_nofile 4096; pid {top}/nginx.pid; error_log {top}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; client_max_body_size 0;
    client_body_temp_path {top}/body; proxy_temp_path {top}/proxy; fastcgi_temp_path {top}/fcgi;
    uwsgi_temp_path {top}/uwsgi; scgi_temp_path {top}/scgi;
    server {{
        listen 80 backlog=1024; listen [::]:80;
        root {top}/www;
        location = / {{ return 200 "hello\\n"; }}
        location /ok/ {{ return 200 "ok $request_uri\\n"; }}
        location /missing/ {{ return 404 "nothing at $request_uri\\n"; }}
        location /broken/ {{ return 503 "broken\\n"; }}
        location /empty/ {{ return 204; }}
        location /put/ {{ client_body_buffer_size 32m; proxy_pass http://unix:{top}/sink:; }}
        {extra}
    }}
    server {{ listen unix:{top}/sink; return 201 "stored\\n"; }}
}}
"""


class Lab(contextlib.ExitStack):
    def __init__(self):
        super().__init__()
        sweep()
        self.pods = 0
        self.top = tempfile.mkdtemp(prefix="clvt-")
        if "CLVT_KEEP" not in os.environ:  # set it to look into logs and captures afterwards
            self.callback(shutil.rmtree, self.top, ignore_errors=True)
        self.node = f"{PREFIX}{os.getpid()}-node"
        self._add_namespace(self.node)
        for sysctl in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.run_in(self.node, "sh", "-c", f"echo 1 >/proc/sys/net/{sysctl.replace('.', '/')}")
        run("ip", "-n", self.node, "link", "set", "lo", "up")

    def _add_namespace(self, name):
        self.callback(subprocess.run, ["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
        if name == self.node:
            run("ip", "netns", "add", name)

    def dir(self, name):
        path = os.path.join(self.top, name)
        os.mkdir(path)
        return path

    def path(self, name):
        return os.path.join(self.top, name)

    def pod(self, name):
        self.pods += 1
        pod = Pod(self, name, self.pods)
        self._add_namespace(pod.ns)
        pod.plug()
        return pod

    def run_in(self, ns, *argv, **kw):
        return run("nsenter", f"--net=/run/netns/{ns}", *argv, **kw)

    def spawn_in(self, ns, *argv, **kw):
        def prepare(then=kw.pop("preexec_fn", None)):
            die_with_parent()
            if then:
                then()

        kw.setdefault("stdin", subprocess.DEVNULL)
        child = subprocess.Popen(["nsenter", f"--net=/run/netns/{ns}", *argv], preexec_fn=prepare, **kw)
        self.callback(self.reap, child)
        return child

    @contextlib.contextmanager
    def nft(self, ns, rules):
        """These rules, while it lasts."""
        path = self.path("rules")
        with open(path, "w", encoding="ascii") as f:
            f.write(rules)
        self.run_in(ns, "nft", "-f", path)
        try:
            yield
        finally:
            self.run_in(ns, "nft", "flush", "ruleset")

    @staticmethod
    def reap(child):
        if child.poll() is None:
            child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()

    def trace(self, *args, **kw):
        return Trace(self, *args, **kw)


class Trace:
    """A running `clovisor trace --json` on the node. stop() ends it and leaves `spans` and `summary`."""

    count = 0

    def __init__(self, lab, *args, wait_ready=True, clovisor=None, **kw):
        Trace.count += 1
        self.base = lab.path(f"trace{Trace.count}")
        self.lab, self.spans, self.summary = lab, None, None
        with open(self.base + ".out", "wb") as out, open(self.base + ".err", "wb") as err:
            self.process = lab.spawn_in(lab.node, clovisor or CLOVISOR, "trace", "--json", "--summary",
                                        self.base + ".summary", *args, stdout=out, stderr=err, **kw)
        if wait_ready:
            self.wait_ready()

    def stderr(self):
        with open(self.base + ".err", encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"clovisor trace ended with {self.process.returncode}: {self.stderr()}")
            return re.search(r"^ready", self.stderr(), re.M)

        wait_for("the ready line", ready, READY_SECONDS)

    def lines(self):
        """The complete lines written so far."""
        with open(self.base + ".out", "rb") as f:
            return [line for line in f if line.endswith(b"\n")]

    def wait_spans(self, n, seconds=10.0):
        wait_for(f"{n} spans", lambda: len(self.lines()) >= n, seconds)

    def wait_text(self, text, seconds=10.0):
        wait_for(f"'{text}' on stderr", lambda: text in self.stderr(), seconds)

    def stop(self, sig=signal.SIGINT, parse=True):
        self.process.send_signal(sig)
        status = self.process.wait(timeout=30)
        assert status == 0, f"clovisor trace ended with {status}: {self.stderr()[-2000:]}"
        with open(self.base + ".summary", encoding="utf-8") as f:
            self.summary = json.load(f)
        if parse:
            self.spans = [json.loads(line) for line in self.lines()]
        return self

    def stream(self):
        """The spans one by one, for those runs whose output is large."""
        with open(self.base + ".out", "rb") as f:
            for line in f:
                yield json.loads(line)


def attr(span, key, default=None):
    return span["attributes"].get(key, default)


def target(span):
    query = attr(span, "url.query")
    return attr(span, "url.path", "") + (f"?{query}" if query is not None else "")


def brief(span):
    """What a request was, in one tuple."""
    method = attr(span, "http.request.method")
    return (attr(span, "http.request.method_original", method), target(span), attr(span, "http.response.status_code"))


def read(pcap, *args):
    """`clovisor read --json` of a file."""
    return [json.loads(line) for line in run(CLOVISOR, "read", "--json", *args, pcap).splitlines()]
