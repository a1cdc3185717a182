#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API client against an API server that fails in every way.

usage: tests/kube_api/run.py [--build DIR] [NAME...]

`follow` writes what the client tells; in each test what it knows in the end must be what the server has.
Ends with "N passed, N failed, N skipped".
"""

import argparse
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, *(os.path.join(os.path.dirname(HERE), d) for d in ("", "kube", "netns"))]
sys.dont_write_bytecode = True
import fake_api  # noqa: E402
import runner  # noqa: E402
from fake_api import KINDS, FakeApi, close, cut, event, late, named, pod, silent, stall, status  # noqa: E402
from pki import Authority  # noqa: E402
from runner import Skip  # noqa: E402

FOLLOW = TMP = PKI = None
PATIENCE = float(os.environ.get("CLVT_PATIENCE", 60))
SECRET = "s3cr3t"
ALL = ",".join(k.lower() for k in KINDS.values())


def wait(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what() if callable(what) else what}"
        time.sleep(0.01)


def same(a, b, what=""):
    if a != b:
        raise AssertionError(f"{what}: {a!r:.600}, expected {b!r:.600}")


class Follow:
    """One run of the program, and what it knows by what it was told."""

    def __init__(self, *argv, env=None, kinds=ALL):
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith("KUBE") and "proxy" not in k.lower() and k != "HOME"}
        self.child = subprocess.Popen(
            [FOLLOW, "--least", "20", "--most", "200", "--kinds", kinds, *map(str, argv)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**environment, **(env or {})})
        self.lines, self.known, self.told, self.listed, self.answers = [], {}, {}, set(), 0
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.child.kill()
        self.end()

    def read(self):
        for text in self.child.stdout:
            line = json.loads(text)
            what, kind = line["event"], line.get("kind")
            key = line.get("namespace", "") + "/" + line.get("name", "")
            known, told = self.known.setdefault(kind, {}), self.told.setdefault(kind, set())
            if what == "listing":
                told.clear()
            elif what == "set":
                known[key] = line
                told.add(key)
            elif what == "gone":
                known.pop(key, None)
            elif what == "listed":
                for old in set(known) - told:
                    del known[old]
                self.listed.add(kind)
            self.lines.append(line)

    def say(self, text):
        self.child.stdin.write(text + "\n")
        self.child.stdin.flush()

    def pause(self):
        """It does not run."""
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)

    def count(self, what, kind=None):
        return sum(1 for line in list(self.lines) if line["event"] == what and kind in (None, line.get("kind")))

    def why(self, what):
        return [line["why"] for line in self.lines if line["event"] == what]

    def figures(self):
        before = self.count("figures")
        self.say("figures")
        wait("figures", lambda: self.count("figures") > before)
        return [line for line in self.lines if line["event"] == "figures"][-1]

    def knows(self, api, *resources):
        """Until it knows what the server has."""
        resources = resources or list(KINDS)

        def equal():
            return all(self.versions(r) == set(api.objects[r]) for r in resources)
        wait(lambda: f"all of {resources}: {[(len(self.versions(r)), len(api.objects[r])) for r in resources]}, last "
                     f"{self.lines[-3:]!r:.800}", equal)
        return self

    def versions(self, resource):
        return set(self.known.get(KINDS[resource].lower(), {}))

    def end(self):
        self.resume()  # a test may have failed while it was paused
        try:
            self.child.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.status = self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise AssertionError("it does not end") from None
        self.thread.join(PATIENCE)
        self.log = self.child.stderr.read()
        assert SECRET not in self.log and SECRET not in json.dumps(self.lines), "a credential was shown"
        assert self.status in (0, 1, -9), f"exit status {self.status}: {self.log}"
        return self


# ---- who we are ----------------------------------------------------------------------------------------------------


def b64(path):
    with open(path, "rb") as f:
        return base64.b64encode(f.read()).decode()


def directory():
    return tempfile.mkdtemp(dir=TMP)


def write(path, text, mode=0o600):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)
    return path


def kubeconfig(server, user=None, path=None, name="test", current=None, **cluster):
    """JSON is YAML."""
    if "insecure-skip-tls-verify" not in cluster and "certificate-authority-data" not in cluster:
        cluster.setdefault("certificate-authority", PKI.ca)
    return write(path or os.path.join(directory(), "config"), json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": name if current is None else current,
        "clusters": [{"name": name, "cluster": {"server": server, **cluster}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}]}, indent=1))


def tls_api(**options):
    return FakeApi(tls=(*SERVER_PAIR, PKI.ca), **options)


SERVER_PAIR = CLIENT_PAIR = None


def fill(api, pods=3):
    api.put("nodes", {"metadata": {"name": "node1", "uid": "n1"}, "spec": {"podCIDRs": ["10.244.1.0/24"]},
                      "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}})
    api.put("services", named("web", spec={"clusterIPs": ["10.96.0.5"], "ports": [{"port": 80, "name": "http"}]}))
    api.put("endpointslices", named("web-1", endpoints=[{"addresses": ["10.244.1.2"]}]))
    api.put("replicasets", named("web-5f", spec={"replicas": 3}))
    for i in range(pods):
        api.put("pods", pod(f"pod-{i}"))
    return api


def plain(**options):
    return FakeApi(**options)


def follow(api, *argv, **options):
    return Follow("--kubeconfig", kubeconfig(api.url, {"token": SECRET}), *argv, **options)


# ---- what should work ----------------------------------------------------------------------------------------------


def test_lists_then_watches():
    with tls_api() as api:
        fill(api)
        api.put("pods", pod("elsewhere", node="node2"))
        with follow(api, "--node", "node1") as f:
            wait("lists", lambda: len(f.listed) == 5)
            same(sorted(f.versions("pods")), ["default/pod-0", "default/pod-1", "default/pod-2"])
            api.delete("pods", "default/elsewhere")
            api.put("pods", pod("pod-3"))
            api.put("pods", pod("pod-0", ip="10.244.1.77"))
            api.delete("pods", "default/pod-1")
            f.knows(api)
            wait("the change", lambda: f.known["pod"]["default/pod-0"]["object"]["ips"] == ["10.244.1.77"])
        same(f.count("trouble") + f.count("denied") + f.count("working"), 0)
        first = api.queries("pods", "list")[0]
        same(first, {"fieldSelector": "spec.nodeName=node1", "limit": "500", "resourceVersion": "0"})
        watch = api.queries("pods", "watch")[0]
        same(watch["allowWatchBookmarks"], "true")
        assert 300 <= int(watch["timeoutSeconds"]) <= 600, watch
        for kind in f.listed:
            order = [line["event"] for line in f.lines if line["kind"] == kind]
            same((order[0], order.count("listing"), order.count("listed")), ("listing", 1, 1), kind)


def test_only_metadata_of_replicasets():
    with plain() as api:
        fill(api)
        with follow(api) as f:
            f.knows(api)
            api.put("replicasets", named("web-6a"))
            f.knows(api)
            same(f.figures()["kube_skipped"], 0)
        accepts = {a[:2]: a[3]["Accept"] for a in api.asked}
        assert accepts["replicasets", "list"].startswith("application/json;as=PartialObjectMetadataList"), accepts
        assert accepts["replicasets", "watch"].startswith("application/json;as=PartialObjectMetadata;"), accepts
        same(accepts["pods", "list"], "application/json")


def test_pages():
    with plain() as api:
        for i in range(1234):
            api.put("pods", pod(f"pod-{i}"))
        with follow(api, "--brief", kinds="pod") as f:
            f.knows(api, "pods")
            wait("its end", lambda: f.count("listed") == 1)
        queries = api.queries("pods", "list")
        same([q.get("limit") for q in queries], ["500"] * 3)
        same(["continue" in q for q in queries], [False, True, True])
        assert not any("resourceVersion" in q for q in queries), "the server would give all of it at once"
        same(f.count("listing"), 1)
        same(f.count("set"), 1234)
        same(api.compressed, 3)
        with Follow("--kubeconfig", kubeconfig(api.url, **{"disable-compression": True}), "--brief", kinds="pod") as f:
            f.knows(api, "pods")
        same(api.compressed, 3, "disable-compression")


def test_metadata_after_items():
    with plain() as api:
        api.metadata_last = True
        for i in range(600):
            api.put("pods", pod(f"pod-{i}"))
        with follow(api, "--brief", kinds="pod") as f:
            f.knows(api, "pods")
            api.put("pods", pod("late"))
            f.knows(api, "pods")


def test_one_connection_with_http2():
    if not shutil.which("nghttpx"):
        raise Skip("no nghttpx (nghttp2-proxy)")
    with plain() as api, http2(api) as url:
        fill(api, 1200)
        with Follow("--kubeconfig", kubeconfig(url, {"token": SECRET}), "--brief") as f:
            f.knows(api)
            wait("five watches", lambda: sum(len(api.queries(r, "watch")) for r in KINDS) >= 5)
            for i in range(50):
                for resource in ("pods", "services", "endpointslices"):
                    api.put(resource, pod(f"more-{i}"))
            f.knows(api)
            same(connections(f.child.pid), 1, "connections")
        same(f.count("trouble"), 0)


def test_http2_slow_receiver():
    if not shutil.which("nghttpx"):
        raise Skip("no nghttpx (nghttp2-proxy)")
    with plain() as api, http2(api) as url:
        fill(api, 3000)
        for i in range(2000):
            api.put("services", pod(f"service-{i}", pad=8000))
        api.faults["nodes", "list"] = [late(3)]
        with Follow("--kubeconfig", kubeconfig(url), "--brief", "--patience", 4000) as f:
            f.say("hold")
            wait("a full queue", lambda: f.figures()["kube_stalls"])
            time.sleep(6)  # the others' silence meanwhile is none
            f.say("go")
            f.knows(api)
            for i in range(100):
                api.put("pods", pod(f"late-{i}"))
            f.knows(api)
            end = f.figures()
        assert end["max_rss_kib"] < 30 << 10, end
        same(f.count("trouble"), 0)


def test_http2_connection_breaks():
    """All watches at once; they go on with one connection again."""
    if not shutil.which("nghttpx"):
        raise Skip("no nghttpx (nghttp2-proxy)")
    with plain() as api:
        fill(api)
        with http2(api) as url:
            f = Follow("--kubeconfig", kubeconfig(url))
            f.knows(api)
            wait("five watches", lambda: sum(len(api.queries(r, "watch")) for r in KINDS) >= 5)
        with f:
            api.put("pods", pod("meanwhile"))
            wait("trouble", lambda: f.count("trouble") == 5)
            with http2(api, int(url.rsplit(":", 1)[1])):
                f.knows(api)
                wait("it works", lambda: f.count("working") == 5)
                api.put("services", named("late"))
                f.knows(api)
                same(connections(f.child.pid), 1, "connections")
        same(f.count("listing"), 5)


def connections(pid):
    """TCP connections of a process that stand."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return sum(1 for row in rows if row[3] == "01" and f"socket:[{row[9]}]" in inodes)


@contextlib.contextmanager
def http2(api, port=0):
    """A proxy that speaks HTTP/2 by TLS, and HTTP/1.1 to the server."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        port = s.getsockname()[1]
    proxy = subprocess.Popen(
        ["nghttpx", f"-f127.0.0.1,{port}", f"-b127.0.0.1,{api.port}", "--workers=1", "--errorlog-file=/dev/null",
         "--accesslog-file=/dev/null", "--conf=/dev/null", "--single-process", SERVER_PAIR[1], SERVER_PAIR[0]],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait("nghttpx", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield f"https://127.0.0.1:{port}"
    finally:
        proxy.terminate()
        proxy.wait()


# ---- watches that end ----------------------------------------------------------------------------------------------


def test_watch_is_resumed():
    with plain() as api:
        fill(api)
        api.watch_seconds = 0.3
        with follow(api) as f:
            for i in range(20):
                api.put("pods", pod(f"more-{i}"))
                time.sleep(0.05)
            f.knows(api)
            wait("several watches", lambda: len(api.queries("services", "watch")) > 3)
        same(f.count("listing"), 5)
        same(f.count("trouble"), 0)
        versions = [int(q["resourceVersion"]) for q in api.queries("services", "watch")]
        same(versions, sorted(versions))
        assert versions[-1] > versions[0], "a bookmark moves it on, though no service changed"
        sets = [line["name"] for line in f.lines if line["event"] == "set" and line["kind"] == "pod"]
        same(len(sets), len(set(sets)), "nothing is told twice")


def test_watch_is_cut_in_an_object():
    with plain() as api:
        fill(api)
        api.faults["pods", "watch"] = [cut(n) for n in (1, 100, 350, 500, 900, 1300)]
        with follow(api) as f:
            f.knows(api)
            for i in range(30):
                api.put("pods", pod(f"more-{i}"))
                time.sleep(0.02)
            f.knows(api)
            wait("all faults", lambda: not api.faults["pods", "watch"])
            f.knows(api)
            same(f.figures()["kube_skipped"], 0)
        same(f.count("listing", "pod"), 1)


def expires(by_status):
    with plain() as api:
        fill(api)
        api.gone_by_status = by_status
        with follow(api) as f:
            f.knows(api)
            api.stop()
            api.delete("pods", "default/pod-0")
            api.put("pods", pod("new"))
            api.compact()
            api.start()
            f.knows(api)
            wait("watches", lambda: f.count("listed", "pod") == 2)
            api.put("pods", pod("newer"))
            f.knows(api)
            assert f.figures()["kube_relists"] >= 1
        same(f.count("listing", "pod"), 2)
        again = api.queries("pods", "list")[-1]
        assert "resourceVersion" not in again, f"not an old one from a cache: {again}"


def test_410_as_event():
    expires(False)


def test_410_as_status():
    expires(True)


def test_410_again_and_again():
    """Ever slower."""
    with plain() as api:
        fill(api)
        gone = event(type="ERROR", object=fake_api.failure(410, "too old"))
        api.faults["pods", "watch"] = [gone] * 6
        with follow(api) as f:
            wait("all faults", lambda: not api.faults["pods", "watch"])
            api.put("pods", pod("new"))
            f.knows(api)
        times = [a[4] for a in api.asked if a[:2] == ("pods", "list")]
        same(len(times), 7)
        assert times[6] - times[5] > 0.05, f"{times}"


def test_page_expires():
    with plain() as api:
        for i in range(1100):
            api.put("pods", pod(f"pod-{i}"))
        api.faults["pods", "list"] = [lambda h, answer: answer(), status(410, "continue parameter is too old")]
        with follow(api, "--brief", kinds="pod") as f:
            f.knows(api, "pods")
            wait("its end", lambda: f.count("listed") == 1)
        queries = api.queries("pods", "list")
        same(["continue" in q for q in queries], [False, True, False], "from the beginning")
        same(queries[-1].get("limit"), None, "in one piece, which cannot expire")
        same(f.count("listing"), 2)


def test_other_errors_of_watches():
    """They are resumed, and after some of them listed again."""
    with plain() as api:
        fill(api)
        error = event(type="ERROR", object=fake_api.failure(500, "etcd has no leader"))
        api.faults["pods", "watch"] = [error, status(504, "Too large resource version"), status(500)]
        with follow(api) as f:
            wait("all faults", lambda: not api.faults["pods", "watch"])
            api.put("pods", pod("new"))
            f.knows(api)
            wait("it works", lambda: f.count("working", "pod") == 1)
        same(f.count("listing", "pod"), 2)
        same(len(f.why("trouble")), 1)
        assert "etcd has no leader" in f.why("trouble")[0], f.why("trouble")


def test_watches_that_never_work():
    """Between two lists that lead to nothing it waits ever longer."""
    with plain() as api:
        fill(api)
        api.faults["pods", "watch"] = [event(type="ERROR", object=fake_api.failure(500, "etcd has no leader"))] * 18
        with follow(api, "--least", 5, "--most", 1000, kinds="pod") as f:
            wait("all faults", lambda: not api.faults["pods", "watch"])
            api.put("pods", pod("new"))
            f.knows(api, "pods")
        times = [a[4] for a in api.asked if a[:2] == ("pods", "list")]
        same(len(times), 7)
        assert times[6] - times[5] > 0.1, f"{times}"


def test_list_is_cut():
    with plain() as api:
        for i in range(1200):
            api.put("pods", pod(f"pod-{i}"))
        api.faults["pods", "list"] = [lambda h, answer: answer(), cut(30000), cut(2), close()]
        with follow(api, "--brief", kinds="pod") as f:
            f.knows(api, "pods")
            wait("its end", lambda: f.count("listed") == 1)
        same(f.count("listing"), 1, "it goes on with the page that was cut")


# ---- errors --------------------------------------------------------------------------------------------------------


def test_denied():
    with plain() as api:
        fill(api)
        api.denied = {"endpointslices", ("nodes", "watch")}
        api.unknown = {"replicasets"}
        with follow(api) as f:
            f.knows(api, "pods", "services", "nodes")
            wait("three", lambda: f.count("denied") == 3)
            why = {line["kind"]: line["why"] for line in f.lines if line["event"] == "denied"}
            same(why["endpointslice"], "the service account system:serviceaccount:clovisor:clovisor may not list "
                 "endpointslices.discovery.k8s.io: grant get, list, watch (deploy/ has the ClusterRole); going on with "
                 "less")
            assert "may not watch nodes" in why["node"], why
            assert "does not know replicasets.apps (404)" in why["replicaset"], why
            api.denied, api.unknown = set(), set()
            f.knows(api)
            wait("they work", lambda: f.count("working") == 3)
            same(f.count("listing", "node"), 1)
        same(f.count("denied"), 3, "once a state")


def test_busy():
    with plain() as api:
        fill(api)
        api.faults["pods", "list"] = [status(429, "too many requests", Retry_After="2")]
        api.faults["services", "list"] = [status(503, "starting", Retry_After="1")] + [status(500)] * 2
        with follow(api) as f:
            f.knows(api)
        times = [a[4] for a in api.asked if a[:2] == ("pods", "list")]
        assert times[1] - times[0] >= 1.9, "as long as the server said"
        times = [a[4] for a in api.asked if a[:2] == ("services", "list")]
        assert times[1] - times[0] >= 0.9, "as long as the server said"
        assert any("answers 429: too many requests" in w for w in f.why("trouble")), f.why("trouble")
        same((f.count("trouble", "service"), f.count("working", "service")), (1, 1))


def test_unreachable():
    with plain() as api:
        fill(api)
        url = api.url
        api.stop()
        with Follow("--kubeconfig", kubeconfig(url)) as f:
            wait("trouble", lambda: f.count("trouble") == 5)
            assert all(f"cannot reach {url} (context test of " in w and "Failed to connect" in w
                       for w in f.why("trouble")), f.why("trouble")
            time.sleep(0.5)
            api.start()
            f.knows(api)
            wait("it works", lambda: f.count("working") == 5)
            api.stop()
            wait("trouble", lambda: f.count("trouble") == 10)
            api.put("pods", pod("meanwhile"))
            api.delete("services", "default/web")
            time.sleep(0.5)
            api.start()
            f.knows(api)
            wait("it works", lambda: f.count("working") == 10)
            same(f.count("listing"), 5, "no need to list again")
        same(f.count("trouble"), 10, "once a state")


def test_no_answer():
    """Another connection is tried."""
    with plain() as api:
        fill(api)
        api.faults["pods", "list"] = [silent()]
        api.faults["services", "watch"] = [silent(), silent()]
        with follow(api, "--patience", 300) as f:
            f.knows(api)
            wait("faults", lambda: not api.faults["services", "watch"])
            api.put("services", named("late"))
            f.knows(api)
        assert any("no answer in time" in w for w in f.why("trouble")), f.why("trouble")


def test_list_that_stalls():
    """In its middle: that page is asked for again, by another connection, long before the patience for a head ends."""
    with plain() as api:
        fill(api)
        api.faults["pods", "list"] = [stall(100)]
        begin = time.monotonic()
        with follow(api, "--patience", 15000) as f:
            f.knows(api)
        assert time.monotonic() - begin < 12, "a third of the patience was to be enough"
        assert any("no answer in time" in w for w in f.why("trouble")), f.why("trouble")


def test_silent_watch():
    """No word for long, not even a bookmark: it is resumed, quietly."""
    with plain() as api:
        fill(api)
        api.bookmark_seconds = 1000
        with follow(api, "--patience", 2000) as f:
            f.knows(api)
            wait("again", lambda: len(api.queries("pods", "watch")) >= 2)
            api.put("pods", pod("late"))
            f.knows(api)
        same(f.count("trouble"), 0)
        same(f.count("listing"), 5)


def test_garbage():
    for text in ("", "[]", "{}", "null", '{"items":{}}', '{"items":[{]}', '{"metadata":{},"items":[]}',
                 '{"kind":"Status","metadata":{},"code":200}', '{"metadata":{"resourceVersion":"' + "9" * 100 + '"}}'):
        with plain() as api:
            fill(api)
            api.faults["pods", "list"] = [fake_api.body(text)] * 2
            api.faults["pods", "watch"] = [fake_api.body("{}" * 3), fake_api.body('{"type":"ADDED"}\n'),
                                           fake_api.body("<")]
            with follow(api, kinds="pod") as f:
                wait("all faults", lambda: not api.faults["pods", "watch"])
                api.put("pods", pod("late"))
                f.knows(api, "pods")
            assert "sends is no list of Kubernetes" in f.why("trouble")[0], f.why("trouble")
            assert "sends is no watch of Kubernetes" in f.why("trouble")[1], f.why("trouble")


def test_redirect():
    """The token is for this server, and for no other that it may name."""
    with plain() as api, plain() as other:
        fill(api)
        fill(other)
        codes, away = (301, 302, 307, 308), f"{other.url}/api/v1/pods"
        api.faults["pods", "list"] = [status(code, Location=away) for code in codes]
        with follow(api, kinds="pod") as f:
            f.knows(api, "pods")
            assert "answers 301" in f.why("trouble")[0], f.why("trouble")
        same(other.asked, [])


def test_page_to_log_in():
    """What many a network has in its way says 200, too."""
    html = fake_api.body("<html>Please log in</html>", "text/html; charset=utf-8")
    with plain() as api:
        fill(api)
        api.faults["pods", "list"] = [html] * 4
        api.faults["pods", "watch"] = [html] * 2
        with follow(api, kinds="pod") as f:
            wait("all faults", lambda: not api.faults["pods", "watch"])
            f.knows(api, "pods")
            wait("it works", lambda: f.count("working") == 2)
        same(f.count("trouble"), 2, "once a state")
        same(f.count("listing"), 1)


def test_odd_objects():
    """They are left out and counted; what comes after them is not."""
    deep = "[" * 500 + "]" * 500
    odd = ['{"metadata":{}}', '{"metadata":null}', '{"metadata":{"name":7}}',
           '{"kind":"Secret","metadata":{"name":"x"}}',
           '{"metadata":{"name":"deep"},"x":' + deep + "}",
           '{"metadata":{"name":"huge"},"x":"' + "y" * (4 << 20) + '"}',
           '{"metadata":{"name":"bad\\x"}}', '{"metadata":{"name":"many"},"x":[' + "{}," * (64 << 10) + "{}]}"]
    fine = ['{"metadata":{"name":"ok","annotations":null,"labels":[],"ownerReferences":"no"},"spec":7,"status":[1]}',
            '{"metadata":{"name":"\\u00fc\\u0000x"},"status":{"podIPs":[null,{"ip":"x"},{"ip":"fe80::1"}]}}',
            '{"metadata":{"name":"much"},"x":[' + '{"a":{}},' * (20 << 10) + "{}]}"]
    text = '{"metadata":{"resourceVersion":"1000"},"items":[%s]}' % ",".join(odd + fine + odd)
    with plain() as api:
        api.faults["pods", "list"] = [fake_api.body(text)]
        lines = "".join('{"type":"ADDED","object":%s}' % o for o in odd)
        api.faults["pods", "watch"] = [fake_api.body(lines + '{"type":"WHAT","object":{}}')]
        with follow(api, kinds="pod") as f:
            wait("all faults", lambda: not api.faults["pods", "watch"])
            api.put("pods", pod("late"))
            wait("it", lambda: f.versions("pods") == {"/ok", "/ü", "/much", "default/late"})
            figures = f.figures()
            same(figures["kube_skipped"], 3 * len(odd) + 1)
            print(f"  at most {figures['max_rss_kib'] >> 10} MiB")
            assert figures["max_rss_kib"] < 40 << 10, figures
            same(f.known["pod"]["/ü"]["object"]["ips"], ["fe80::1"])


def test_slow_receiver():
    """Memory does not grow while nobody takes the events."""
    with plain() as api:
        for i in range(3000):
            api.put("pods", pod(f"pod-{i}", pad=8000))
        with follow(api, "--brief", kinds="pod") as f:
            f.say("hold")
            wait("a full queue", lambda: f.figures()["kube_stalls"])
            for i in range(500):
                api.put("pods", pod(f"more-{i}", pad=8000))
            time.sleep(1)
            later = f.figures()
            f.say("go")
            f.knows(api, "pods")
            end = f.figures()
        assert later["max_rss_kib"] < 30 << 10, later
        assert end["max_rss_kib"] < 30 << 10, end
        same(f.count("trouble"), 0)


def test_end_at_any_time():
    for after in (0, 0.01, 0.05, 0.2):
        with plain() as api:
            fill(api, 2000)
            api.faults["services", "list"] = [silent()]
            f = follow(api, "--brief")
            f.say("hold")
            time.sleep(after)
            f.say("quit")
            same(f.end().status, 0)


# ---- credentials ---------------------------------------------------------------------------------------------------


def account(token, ca=None):
    d = directory()
    write(f"{d}/token", token + "\n")
    write(f"{d}/namespace", "clovisor")
    shutil.copy(ca or PKI.ca, f"{d}/ca.crt")
    return d


def in_pod(api, d, *argv, **options):
    return Follow("--account", d, *argv, **options,
                  env={"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)})


def test_service_account():
    with tls_api() as api:
        fill(api)
        api.credentials = {f"Bearer {SECRET}-1"}
        d = account(f"{SECRET}-1")
        with in_pod(api, d) as f:
            f.knows(api)
            same(f.figures()["server"], f"https://127.0.0.1:{api.port} (the pod's service account)")
            write(f"{d}/token", f"{SECRET}-2\n")
            api.credentials = {f"Bearer {SECRET}-2"}
            api.end_watches()
            api.put("pods", pod("late"))
            f.knows(api)
            same(f.count("trouble"), 0, "a token that was renewed is no trouble")
            api.credentials = {"Bearer another"}
            api.end_watches()
            wait("trouble", lambda: f.count("trouble") == 5)
            assert all("refuses the credentials of the pod's service account (401): Unauthorized" in w
                       for w in f.why("trouble")), f.why("trouble")
            write(f"{d}/token", f"{SECRET}-3\n")
            api.credentials = {f"Bearer {SECRET}-3"}
            api.put("pods", pod("later"))
            f.knows(api)
            wait("it works", lambda: f.count("working") == 5)


def test_credentials_are_the_reason():
    """Also where it began as something else, as a server that refuses somebody ends the connection."""
    with tls_api() as api:
        d = account(SECRET, PKI.ca)
        for resource in KINDS:
            api.faults[resource, "list"] = [status(500)] * 1000
        with in_pod(api, d) as f:
            wait("trouble", lambda: f.count("trouble") == 5)
            api.credentials = {"Bearer another"}
            wait("its reason", lambda: f.count("trouble") == 10)
            for kind in KINDS.values():
                first, second = [line["why"] for line in f.lines if line["event"] == "trouble"
                                 and line["kind"] == kind.lower()]
                assert "answers 500" in first and "refuses the credentials" in second, (first, second)
            for resource in KINDS:
                api.faults[resource, "list"] = [status(500)]
            api.credentials = None
            f.knows(api)
            wait("it works", lambda: f.count("working") == 5)
            same(f.count("trouble"), 10, "what is known to be refused is told once")


def test_service_account_is_missing():
    with tls_api() as api:
        f = in_pod(api, directory()).end()
        same(f.status, 1)
        assert "does the pod have a service account" in f.log, f.log
    f = Follow().end()
    same(f.status, 1)
    assert "nothing tells where the API server is" in f.log, f.log


def test_wrong_ca():
    other = Authority(os.path.join(directory(), "pki"))
    with tls_api() as api:
        d = account(SECRET, other.ca)
        with in_pod(api, d) as f:
            wait("trouble", lambda: f.count("trouble") == 5)
            assert "its certificate is not of that CA" in f.why("trouble")[0], f.why("trouble")
        same(api.asked, [], "nothing is asked of a server that is not the one")


def test_kubeconfig_users():
    api = tls_api()
    certificate, key = CLIENT_PAIR
    basic = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
    with api:
        fill(api)
        d = directory()
        for path in (certificate, key, PKI.ca):
            shutil.copy(path, d)
        write(f"{d}/token", f"{SECRET}\n")
        for accepted, user, cluster in (
                ("client", {"client-certificate": certificate, "client-key": key}, {}),
                ("client", {"client-certificate": "client.crt", "client-key": "client.key"},
                 {"certificate-authority": "ca.crt"}),
                ("client", {"client-certificate-data": b64(certificate), "client-key-data": b64(key)},
                 {"certificate-authority-data": b64(PKI.ca)}),
                (f"Bearer {SECRET}", {"token": SECRET}, {"insecure-skip-tls-verify": True}),
                (f"Bearer {SECRET}", {"tokenFile": "token", "token": "not this"}, {}),
                (basic, {"username": "me", "password": SECRET}, {})):
            api.credentials = {accepted}
            with Follow("--kubeconfig", kubeconfig(api.url, user, path=f"{d}/config", **cluster)) as f:
                f.knows(api)


def test_server_name_and_path():
    with tls_api() as api:
        fill(api)
        url = api.url.replace("127.0.0.1", "localhost")  # which the certificate does not have
        with Follow("--kubeconfig", kubeconfig(url, **{"tls-server-name": "fake.test"})) as f:
            f.knows(api)
        same(api.asked[0][3]["Host"], f"localhost:{api.port}")
        with Follow("--kubeconfig", kubeconfig(url), kinds="pod") as f:
            wait("trouble", lambda: f.count("trouble") == 1)


def test_proxy():
    with tls_api() as api, Proxy() as proxy:
        fill(api)
        with Follow("--kubeconfig", kubeconfig(api.url, **{"proxy-url": proxy.url})) as f:
            f.knows(api)
        assert proxy.asked and all(a == f"CONNECT 127.0.0.1:{api.port} HTTP/1.1" for a in proxy.asked), proxy.asked


class Proxy:
    """CONNECT, and bytes to and fro."""

    def __enter__(self):
        self.asked = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.serve, args=(self.socket.accept()[0],), daemon=True).start()

    def serve(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        self.asked.append(head.split(b"\r\n")[0].decode())
        host, port = self.asked[-1].split()[1].split(":")
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=self.copy, args=(server, client), daemon=True).start()
        self.copy(client, server)

    @staticmethod
    def copy(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)


def test_kubeconfig_list():
    """The first that says something counts; contexts may lead from one file into another."""
    with plain() as api:
        fill(api)
        api.credentials = {f"Bearer {SECRET}"}
        d = directory()
        write(f"{d}/one", "current-context: here\ncontexts:\n- {name: here, context: {cluster: it, user: me}}\n"
                          "- name: there\n  context: {cluster: nowhere}\n")
        write(f"{d}/two", f"clusters:\n- name: it\n  cluster:\n    server: '{api.url}/'\ncurrent-context: there\n"
                          f"users: [{{name: me, user: {{token: {SECRET}}}}}]\n")
        write(f"{d}/three", f"clusters:\n- {{name: it, cluster: {{server: 'http://127.0.0.1:1'}}}}\n")
        with Follow(env={"KUBECONFIG": f"{d}/missing:{d}/one::{d}/two:{d}/three"}) as f:
            f.knows(api)
        f = Follow("--context", "there", env={"KUBECONFIG": f"{d}/one:{d}/two"}).end()
        same((f.status, "there is no cluster nowhere" in f.log), (1, True), f.log)
        write(f"{d}/.kube/config", f"apiVersion: v1\n---\n")
        f = Follow(env={"HOME": d}).end()
        same((f.status, "names no current-context" in f.log), (1, True), f.log)


PLUGIN = """#!/usr/bin/python3
import json, os, sys, time
d = os.path.dirname(os.path.abspath(__file__))
with open(d + "/calls", "a") as f:
    f.write(json.dumps([sys.argv[1:], os.environ["KUBERNETES_EXEC_INFO"], os.environ.get("EXTRA"),
                        os.environ.get("HOME"), sys.stdin.read()]) + "\\n")
exec(open(d + "/behaviour").read())
"""


def says(version="v1", **s):
    return "print(json.dumps(%r))" % {"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential",
                                      "status": s}


def with_plugin(api, behaviour, version="v1", **exec_config):
    d = directory()
    write(f"{d}/plugin", PLUGIN, 0o700)
    write(f"{d}/behaviour", behaviour)
    plugin = {"apiVersion": f"client.authentication.k8s.io/{version}", "command": "./plugin",
              "interactiveMode": "IfAvailable", **exec_config}
    return d, kubeconfig(api.url, {"exec": plugin}, path=f"{d}/config")


def calls(d):
    with contextlib.suppress(FileNotFoundError), open(f"{d}/calls", encoding="utf-8") as f:
        return [json.loads(line) for line in f]
    return []


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def test_exec_plugin():
    with tls_api() as api:
        fill(api)
        for version in ("v1", "v1beta1"):
            api.credentials = {f"Bearer {SECRET}-1"}
            d, config = with_plugin(api, says(version, token=f"{SECRET}-1", expirationTimestamp=utc(3600)), version,
                                    args=["get", "token"], env=[{"name": "EXTRA", "value": "a=b"},
                                                                {"name": "HOME", "value": "/plugin"}],
                                    provideClusterInfo=True)
            with Follow("--kubeconfig", config, env={"HOME": d}) as f:
                f.knows(api)
                same(len(calls(d)), 1, "once for all, until it expires")
                args, info, extra, home, stdin = calls(d)[0]
                same((args, extra, home, stdin), (["get", "token"], "a=b", "/plugin", ""))
                info = json.loads(info)
                same(info["apiVersion"], f"client.authentication.k8s.io/{version}")
                same(info["spec"]["interactive"], False)
                same(info["spec"]["cluster"]["server"], api.url)
                same(info["spec"]["cluster"]["certificate-authority-data"], b64(PKI.ca))
                write(f"{d}/behaviour", says(version, token=f"{SECRET}-2"))
                api.credentials = {f"Bearer {SECRET}-2"}
                api.end_watches()
                api.put("pods", pod(f"late-{version}"))
                f.knows(api)
                same(f.count("trouble"), 0)
                assert len(calls(d)) <= 6, "it is asked again when it was refused"


def test_exec_plugin_expires():
    with plain() as api:
        fill(api)
        d, config = with_plugin(api, says(token=SECRET, expirationTimestamp=utc(6)))
        api.watch_seconds = 0.5
        with Follow("--kubeconfig", config, kinds="pod") as f:
            wait("asked again", lambda: len(calls(d)) >= 2)
            f.knows(api, "pods")


def test_exec_plugin_is_slow():
    """While it runs nobody is heard, and nobody has been silent."""
    with plain() as api:
        fill(api)
        _, config = with_plugin(api, "time.sleep(0.4)\n" + says(token=SECRET, expirationTimestamp=utc(-10)))
        with Follow("--kubeconfig", config, "--patience", "1000") as f:
            f.knows(api)
            same(f.why("trouble"), [])


def test_exec_plugin_never_stops_writing():
    with plain() as api:
        fill(api)
        for to, text in (("stdout", "says too much"), ("stderr", "did not end within 1000 ms")):
            d, config = with_plugin(api, f"while True: sys.{to}.write('x' * (1 << 16))")
            with Follow("--kubeconfig", config, "--exec-ms", 1000, kinds="pod") as f:
                wait(f"trouble ({text})", lambda: f.count("trouble") == 1)
                assert text in f.why("trouble")[0], f.why("trouble")
                write(f"{d}/behaviour", says(token=SECRET))
                f.knows(api, "pods")


def test_exec_plugin_certificate():
    with tls_api() as api:
        fill(api)
        api.credentials = {"client"}
        pem = {name: open(path, encoding="ascii").read()
               for name, path in zip(("clientCertificateData", "clientKeyData"), CLIENT_PAIR)}
        _, config = with_plugin(api, says(**pem))
        with Follow("--kubeconfig", config) as f:
            f.knows(api)


def test_exec_plugin_fails():
    error = "sys.stderr.write('first\\nplease log in\\n'); sys.exit(3)"
    with plain() as api:
        fill(api)
        for behaviour, text in ((error, "failed: please log in"),
                                ("time.sleep(60)", "did not end within 500 ms"),
                                ("print('hello')", "no ExecCredential"),
                                ("print('x' * 2000000)", "says too much"),
                                (says("v1beta1", token=SECRET), "its apiVersion is not the kubeconfig's"),
                                (says(), "neither a token nor a certificate"),
                                (says(clientCertificateData="x"), "without the other"),
                                (says(token=f"a\n{SECRET}"), "its token has blanks"),
                                (says(token=SECRET, expirationTimestamp="tomorrow"), "is no time")):
            d, config = with_plugin(api, behaviour)
            ms = 500 if "did not end" in text else 30000
            with Follow("--kubeconfig", config, "--exec-ms", ms, kinds="pod") as f:
                wait(f"trouble ({text})", lambda: f.count("trouble") == 1)
                assert text in f.why("trouble")[0], f.why("trouble")
                write(f"{d}/behaviour", says(token=SECRET))
                f.knows(api, "pods")


def test_exec_plugin_cannot_run():
    with plain() as api:
        _, config = with_plugin(api, "", command="./absent", installHint="Get it from example.com.")
        with Follow("--kubeconfig", config, kinds="pod") as f:
            wait("trouble", lambda: f.count("trouble") == 1)
            assert "No such file" in f.why("trouble")[0] and "Get it from" in f.why("trouble")[0], f.why("trouble")
        for more, text in (({"interactiveMode": "Always"}, "wants a terminal"), ({"command": None}, "needs a command"),
                           ({"args": [{}]}, "args must be texts"), ({"env": [{"name": "X"}]}, "env a list"),
                           ({"apiVersion": "client.authentication.k8s.io/v2"}, "v1 and v1beta1 are understood")):
            _, config = with_plugin(api, "", **more)
            f = Follow("--kubeconfig", config).end()
            same((f.status, text in f.log), (1, True), f"{more}: {f.log}")


def test_end_while_a_plugin_runs():
    with plain() as api:
        d, config = with_plugin(api, "time.sleep(1000)")
        f = Follow("--kubeconfig", config)
        wait("the plugin", lambda: calls(d))
        same(f.end().status, 0)


def main():
    global FOLLOW, TMP, PKI, SERVER_PAIR, CLIENT_PAIR
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    FOLLOW = os.path.abspath(os.path.join(options.build, "tests", "kube_api", "follow"))
    TMP = tempfile.mkdtemp(prefix="clovisor-kube-api-")
    PKI = Authority(os.path.join(TMP, "pki"))
    SERVER_PAIR = PKI.sign_server("server", "/CN=server", ["127.0.0.1"], ["fake.test"])
    CLIENT_PAIR = PKI.sign_client("client", "/CN=client")
    try:
        return runner.functions(globals(), options.names)
    finally:
        shutil.rmtree(TMP, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
