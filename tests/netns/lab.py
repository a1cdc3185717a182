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
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLOVISOR = os.path.abspath(os.environ.get("CLOVISOR", os.path.join(ROOT, "build", "clovisor")))
PREFIX = "clvt-"
CLONE_NEWNET = 0x40000000
READY_SECONDS = 60  # programs are verified first, and others may want the processor
PATIENCE_SECONDS = 30

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """In a child before exec: a harness that is killed takes its children with it."""
    _libc.prctl(1, signal.SIGKILL)


def run(*argv, **kw):
    """Runs a command that must succeed and returns its output."""
    if "input" not in kw:
        kw["stdin"] = subprocess.DEVNULL
    done = subprocess.run(argv, capture_output=True, text=True, **kw)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def wait_for(what, check, seconds=PATIENCE_SECONDS):
    """Polls until check() is true; its value."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.02)


def cgroup_mount():
    """Where cgroup v2 is; None: nowhere."""
    with open("/proc/self/mounts", encoding="ascii") as f:
        return next((line.split()[1] for line in f if line.split()[2] == "cgroup2"), None)


def sweep():
    """Removes the namespaces and cgroups of runs that are no more."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        m = re.fullmatch(PREFIX + r"(\d+)-\w+", name)
        if m and not os.path.exists(f"/proc/{m[1]}"):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
    mount = cgroup_mount()
    for name in os.listdir(mount) if mount else []:
        m = re.fullmatch(PREFIX + r"(\d+)-pods", name)
        if m and not os.path.exists(f"/proc/{m[1]}"):
            for top, _, _ in os.walk(os.path.join(mount, name), topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(top)


class Cgroup:
    """A cgroup of version 2 for the processes of a pod; gone with the lab."""

    def __init__(self, lab, name):
        top = os.path.join(cgroup_mount(), f"{PREFIX}{os.getpid()}-pods")
        self.path = os.path.join(top, name)
        os.makedirs(self.path)
        lab.callback(self.remove, top)

    def enter(self):
        """In a child before exec."""
        with open(os.path.join(self.path, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write("0")

    def empty(self):
        with open(os.path.join(self.path, "cgroup.procs"), encoding="ascii") as f:
            return not f.read()

    def remove(self, top=None):
        if os.path.isdir(self.path):
            wait_for("the cgroup is empty", self.empty)
            os.rmdir(self.path)
        with contextlib.suppress(OSError):  # others are in there
            os.rmdir(top or "")


class Pod:
    """A namespace with eth0, joined to the node by a veth whose node side is `veth`."""

    def __init__(self, lab, name, index):
        self.lab, self.name, self.ns = lab, name, f"{PREFIX}{os.getpid()}-{name}"
        self.veth = f"v{name}"[:15]
        self.ip, self.gateway = f"10.77.{index}.2", f"10.77.{index}.1"
        self.ip6, self.gateway6 = f"fd77:{index:x}::2", f"fd77:{index:x}::1"
        self.cgroup = None

    def plug(self):
        def end(dev, v4, v6):
            return [f"addr add {v4}/24 dev {dev}", f"addr add {v6}/64 dev {dev} nodad", f"link set {dev} up"]

        def ip(ns, *commands):
            run("ip", "-n", ns, "-batch", "-", input="\n".join(commands) + "\n")

        run("ip", "netns", "add", self.ns)
        ip(self.lab.node, f"link add {self.veth} type veth peer name eth0 netns {self.ns}",
           *end(self.veth, self.gateway, self.gateway6))
        ip(self.ns, *end("eth0", self.ip, self.ip6), "link set lo up", f"route add default via {self.gateway}",
           f"route add default via {self.gateway6}")

    def join(self):
        """From now on its processes are in a cgroup of its own, as those of a pod are."""
        self.cgroup = Cgroup(self.lab, self.name)
        return self

    def run(self, *argv, **kw):
        if self.cgroup:
            kw.setdefault("preexec_fn", self.cgroup.enter)
        return self.lab.run_in(self.ns, *argv, **kw)

    def spawn(self, *argv, **kw):
        if self.cgroup:
            kw.setdefault("preexec_fn", self.cgroup.enter)
        return self.lab.spawn_in(self.ns, *argv, **kw)

    def curl(self, *args):
        return self.run("curl", "-sS", "--max-time", "60", *args)

    def nginx(self, conf_extra="", connections=2048):
        """Starts nginx on port 80 of this pod, with a configuration of its own."""
        top = self.lab.dir(f"nginx-{self.name}")
        os.mkdir(os.path.join(top, "www"))
        with open(os.path.join(top, "nginx.conf"), "w", encoding="ascii") as f:
            f.write(NGINX_CONF.format(top=top, extra=conf_extra, connections=connections, files=2 * connections))
        os.chmod(self.lab.top, 0o755)
        self.spawn("nginx", "-p", top, "-e", f"{top}/error.log", "-c", f"{top}/nginx.conf",
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pid = os.path.join(top, "nginx.pid")
        wait_for("nginx answers", lambda: os.path.exists(pid) and os.path.getsize(pid) and self.try_connect(80))
        return os.path.join(top, "www")

    def try_connect(self, port):
        """By a thread, which alone goes over to the pod's namespace."""
        done = []

        def connect():
            with open(f"/run/netns/{self.ns}", "rb") as ns:
                if _libc.setns(ns.fileno(), CLONE_NEWNET):
                    return
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                done.append(port)

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        return bool(done)

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
daemon off; master_process off; worker_rlimit_nofile {files}; pid {top}/nginx.pid; error_log {top}/error.log;
events {{ worker_connections {connections}; }}
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
    """A running `clovisor trace --json` on the node. stop() ends it and leaves `spans` and `summary`.

    Its lines go to a file, or to `stdout`.
    """

    count = 0

    def __init__(self, lab, *args, wait_ready=True, clovisor=None, stdout=None, **kw):
        Trace.count += 1
        self.base = lab.path(f"trace{Trace.count}")
        self.lab, self.spans, self.summary = lab, None, None
        self.counted_bytes = self.counted_lines = 0
        with open(self.base + ".out", "wb") as out, open(self.base + ".err", "wb") as err:
            self.process = lab.spawn_in(lab.node, clovisor or CLOVISOR, "trace", "--json", "--summary",
                                        self.base + ".summary", *args,
                                        stdout=out if stdout is None else stdout, stderr=err, **kw)
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

    def count_lines(self):
        """How many lines were written so far. Reads what is new alone, to take no time from what is traced."""
        with open(self.base + ".out", "rb") as f:
            f.seek(self.counted_bytes)
            for block in iter(lambda: f.read(1 << 20), b""):
                self.counted_bytes += len(block)
                self.counted_lines += block.count(b"\n")
        return self.counted_lines

    def wait_spans(self, n, seconds=PATIENCE_SECONDS):
        try:
            wait_for(f"{n} spans", lambda: self.count_lines() >= n, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}; {self.why_missing()}") from None

    def why_missing(self):
        """Ends it: how far it came, and what it says that it lost on the way."""
        came = self.count_lines()
        try:
            s = self.stop(parse=False).summary
        except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as e:
            return f"{came} lines came, and it does not end as it should: {e}"
        drops = {name: count for name, count in s["drops"].items() if count}
        made = {name: s[name] for name in ("packets", "records", "flows", "spans") if name in s}
        return f"{came} lines came, {self.count_lines()} after it was stopped; dropped: {drops or 'nothing'}; {made}"

    def wait_text(self, text, seconds=PATIENCE_SECONDS):
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
