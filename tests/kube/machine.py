# SPDX-License-Identifier: Apache-2.0
"""A node without kubelet, for many pods: a network namespace, in which hostpods.c makes their processes and networks
while the test tells the API server of them; and the agent there.

    with Cluster(level=1) as cluster, Machine(cluster) as machine:
        agent = machine.agent("-n", "scale")
        pod = machine.add("web-1", app="web")
        ...
        machine.remove(pod)
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time

import groups
from api import ApiError
from backends import inside
from cluster import API_PORT
from lab import CLOVISOR, ROOT, Lab, run, wait_for

NODE, NAMESPACE = "node1", "scale"
HOSTPODS = os.path.join(ROOT, "build", "tests", "hostpods")
ADDRESS, PORT = "10.50.0.1", 8080  # the node's; a pod's server
RULES = [{"apiGroups": [group], "resources": [resource], "verbs": ["list", "watch"]}
         for group, resource in (("", "pods"), ("", "services"), ("", "nodes"), ("apps", "replicasets"),
                                 ("discovery.k8s.io", "endpointslices"))]
THREADS = 8


def in_parallel(function, things):
    """The results, in their order. The API's client has a connection a thread."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, things))


class Relay:
    """The API server, which listens on this host's loopback, at the same address in another namespace. It can be shut,
    as if the server were gone (refuse(), open()) or the network (hold(), release())."""

    def __init__(self, ns):
        self.ns, self.connections, self.lock, self.passing = ns, set(), threading.Lock(), threading.Event()
        self.listener = None
        self.open()

    def open(self):
        self.passing.set()
        self.listener = inside(self.ns, socket.create_server, ("127.0.0.1", API_PORT))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def refuse(self):
        """New connections are refused, and those that are there are cut."""
        self.passing.set()
        listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self.lock:
            for one in self.connections:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    close = refuse

    def hold(self):
        """Nothing gets through as yet, and nobody is told."""
        self.passing.clear()

    def release(self):
        self.passing.set()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", API_PORT), 5)
                server.settimeout(None)
            except OSError:
                if self.listener is not listener:
                    return
                client.close()
                continue
            with self.lock:
                self.connections |= {client, server}
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                self.passing.wait()
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        with self.lock:
            done = source not in self.connections
            self.connections -= {source}
        if done:
            source.close()


class Pod:
    def __init__(self, index, thing):
        self.thing, self.uid, self.name = thing, thing["metadata"]["uid"], thing["metadata"]["name"]
        self.app = thing["metadata"]["labels"]["app"]
        self.sandbox, self.container = secrets.token_hex(32), secrets.token_hex(32)
        self.ifname = f"vs{index}"
        self.address = f"10.50.{1 + index // 250 % 250}.{1 + index % 250}"
        self.made = self.running = None  # when: the clock's monotonic time
        self.requests, self.lock, self.wanted = 0, threading.Lock(), True

    def status(self):
        started = {"startedAt": "2026-01-02T03:04:05Z"}
        return {"status": {
            "phase": "Running", "podIP": self.address, "podIPs": [{"ip": self.address}], "hostIP": ADDRESS,
            "containerStatuses": [{"name": "app", "image": "example.org/app:1", "imageID": "", "ready": True,
                                   "restartCount": 0, "state": {"running": started},
                                   "containerID": f"containerd://{self.container}"}]}}


class Machine(contextlib.ExitStack):
    def __init__(self, cluster, namespaces=(NAMESPACE,)):
        super().__init__()
        self.cluster, self.api, self.namespaces = cluster, cluster.api, namespaces
        self.pods, self.count, self.lock = {}, 0, threading.Lock()

    def __enter__(self):
        try:
            self.lab = self.enter_context(Lab())
            run("ip", "-n", self.lab.node, "addr", "add", f"{ADDRESS}/32", "dev", "lo")
            self.relay = self.enter_context(contextlib.closing(Relay(self.lab.node)))
            self.start_hostpods()
            for name in self.namespaces:
                self.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
                self.api.delete_pods(name)  # of those before: each begins without, however they ended
            self.cluster.account("clovisor", "default", RULES)
            self.kubeconfig = self.cluster.kubeconfig(self.lab.path("kubeconfig"), self.cluster.token("clovisor"))
        except BaseException:
            self.close()
            raise
        return self

    def make(self, thing):
        """Creates it, unless an earlier test has."""
        try:
            return self.api.create(thing)
        except ApiError as e:
            if e.status != 409:
                raise
            return None

    def start_hostpods(self):
        """In version 2 of cgroups, and in one hierarchy of version 1 where that names a process's cgroup."""
        group = groups.make("machine")
        tops = [f"{top}{group}" for top, is_v2 in groups.hierarchies() if is_v2 or top.endswith("/pids")]
        self.hostpods = self.lab.spawn_in(self.lab.node, HOSTPODS, *tops, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          text=True, bufsize=1)
        self.callback(self.remove_groups, tops)
        self.callback(self.lab.reap, self.hostpods)

    @staticmethod
    def remove_groups(tops):
        """Those of pods that nobody removed."""
        for top in tops:
            for group, _, _ in os.walk(top, topdown=False):
                def gone(group=group):
                    with contextlib.suppress(OSError):
                        os.rmdir(group)
                    return not os.path.exists(group)

                wait_for(f"{group} is gone", gone)

    def order(self, *words):
        with self.lock:
            self.hostpods.stdin.write(" ".join(map(str, words)) + "\n")
            answer = self.hostpods.stdout.readline().strip()
        if answer != "ok":
            raise RuntimeError(f"hostpods: {' '.join(map(str, words))}: {answer or 'it has ended'}")

    # ---- pods ----

    def create(self, name, app="web", namespace=NAMESPACE, **more):
        """The pod's object, of which no container runs yet."""
        thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": name, "namespace": namespace, "labels": {"app": app, "pod-template-hash": "5f5d8"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-5f5d8", "controller": True,
                "uid": f"00000000-0000-4000-8000-{sum(app.encode()):012}"}]},
            "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": 0, **more,
                     "containers": [{"name": "app", "image": "example.org/app:1",
                                     "ports": [{"name": "http", "containerPort": PORT}]}]}}
        created = self.api.create(thing)
        with self.lock:
            self.count += 1
            pod = Pod(self.count, created)
        self.pods[name] = pod
        return pod

    def start(self, pod):
        """Its processes and network; then the API server is told that it runs."""
        self.order("make", pod.uid, pod.sandbox, pod.container, pod.ifname, pod.address)
        pod.made = time.monotonic()
        self.api.patch(pod.thing, pod.status(), "/status")
        pod.running = time.monotonic()
        return pod

    def add(self, name, **more):
        return self.start(self.create(name, **more))

    def remove(self, pod):
        """As kubelet: first what it made, then the object."""
        with pod.lock:
            pod.wanted = False
        self.order("remove", pod.uid)
        self.api.delete(pod.thing)
        del self.pods[pod.name]

    # ---- requests ----

    def request(self, pod):
        """One request from the node to a pod, on a connection of its own; False: nobody wants it any more."""
        with pod.lock:
            if not pod.wanted:
                return False
            pod.requests += 1
            connection = http.client.HTTPConnection(pod.address, PORT, timeout=20)
            connection.request("GET", f"/{pod.name}/{pod.requests}")
            connection.getresponse().read()
            connection.close()
        return True

    def inside(self, function, *args):
        return inside(self.lab.node, function, *args)

    # ---- what clovisor may leave ----

    def filters(self):
        """Of the node's interfaces: qdiscs and filters of clsact. tcx is not seen here."""
        found = run("tc", "-n", self.lab.node, "qdisc", "show")
        return [line for line in found.splitlines() if "clsact" in line]

    def agent(self, *args, **more):
        agent = Agent(self, *args, **more)
        self.callback(agent.end)
        return agent


class Agent:
    """A running `clovisor agent -o json`; stop() ends it, spans() is what it has written."""

    count = 0

    def __init__(self, machine, *args, ready=True, kubeconfig=None):
        Agent.count += 1
        self.machine, self.base = machine, machine.lab.path(f"agent{Agent.count}")
        os.mkdir(self.base)
        self.started = time.monotonic()
        access = "--kubeconfig", kubeconfig or machine.kubeconfig
        with open(f"{self.base}/out", "wb") as out, open(f"{self.base}/err", "wb") as err:
            self.process = machine.lab.spawn_in(
                machine.lab.node, CLOVISOR, "agent", *access, "--node", NODE, "-n", NAMESPACE, "-o", "json", *args,
                stdout=out, stderr=err, env=os.environ | {"RUNTIME_DIRECTORY": self.base})
        if ready:
            self.wait_text("^ready", 60)
            self.ready = time.monotonic()

    # ---- what it says ----

    def log(self):
        with open(f"{self.base}/err", encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_text(self, pattern, seconds=20):
        def said():
            if self.process.poll() is not None:
                raise RuntimeError(f"the agent ended with {self.process.returncode}: {self.log()}")
            return re.search(pattern, self.log(), re.M)

        try:
            return wait_for(f"'{pattern}' in its log", said, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log()[-3000:]}\n{self.explain()}") from None

    def explain(self):
        """What it says of itself, for who looks for a trouble: its status, and where each of its threads stands."""
        socket_path, said = f"{self.base}/{self.process.pid}.sock", "no answer to clovisor status"
        with contextlib.suppress(subprocess.TimeoutExpired):
            said = subprocess.run([CLOVISOR, "status", "--socket", socket_path], stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.STDOUT, errors="replace", timeout=10, check=False).stdout[:3000]
        tasks = f"/proc/{self.process.pid}/task"
        threads = []
        for task in self.listed(tasks):
            with contextlib.suppress(OSError), open(f"{tasks}/{task}/comm", encoding="utf-8") as comm, \
                    open(f"{tasks}/{task}/wchan", encoding="utf-8") as wchan:
                threads.append(f"{comm.read().strip()} in {wchan.read()}")
        return f"{said}\nthreads: {', '.join(threads)}"

    def status(self):
        said = run(CLOVISOR, "status", "--json", "--socket", f"{self.base}/{self.process.pid}.sock")
        return json.loads(said)

    def pods(self):
        """By name, what status says of them."""
        return {p["name"]: p for p in self.status()["pods"]}

    def attached(self):
        """The names of the pods that are captured, and attached to."""
        status = self.status()
        ready = {i.get("ifindex", i.get("net")) for i in status["interfaces"] if i["state"] == "attached"}
        return {p["name"] for p in status["pods"] if p["places"] and {place["net"] for place in p["places"]} <= ready}

    def spans(self):
        with open(f"{self.base}/out", encoding="utf-8") as f:
            return [json.loads(line) for line in f if line.endswith("\n")]

    # ---- what it takes ----

    def proc(self, name):
        with open(f"/proc/{self.process.pid}/{name}", encoding="ascii") as f:
            return f.read()

    def memory(self):
        """Resident, in MiB."""
        return int(re.search(r"^VmRSS:\s+(\d+) kB", self.proc("status"), re.M)[1]) / 1024

    def cpu(self):
        """Seconds of CPU so far."""
        fields = self.proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return sorted(os.readlink(f"/proc/{self.process.pid}/fd/{fd}")
                      for fd in self.listed(f"/proc/{self.process.pid}/fd"))

    @staticmethod
    def listed(path):
        """But for those that go while they are looked at."""
        return [fd for fd in os.listdir(path) if os.path.lexists(f"{path}/{fd}")]

    def links(self):
        """How many BPF links it holds."""
        return sum("bpf_link" in text or "bpf-link" in text for text in self.descriptors())

    # ---- end ----

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        assert status == 0, f"the agent ended with {status}: {self.log()[-3000:]}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.kill()
