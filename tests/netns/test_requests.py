# SPDX-License-Identifier: Apache-2.0
"""One kind of traffic at a time, between curl (or a raw socket) and nginx in two pods."""

import collections
import os
import unittest

import lab
from lab import attr, brief, target

# A raw client: sends its standard input as it is, then prints what comes until the peer closes.
RAW = "import socket, sys; s = socket.create_connection((sys.argv[1], 80)); s.sendall(sys.stdin.buffer.read());" \
      "sys.stdout.buffer.write(b''.join(iter(lambda: s.recv(65536), b'')))"

# Answers a request with a body of chunks, in two long calls: all of it must be read to find its end, and a kernel that
# does not interrupt itself lets nobody else run on this processor meanwhile.
CHUNKED_PORT = 8085
CHUNKED = f"""
import socket
s = socket.create_server(("", {CHUNKED_PORT}))
part = (b"fde8\\r\\n" + bytes(0xfde8) + b"\\r\\n") * 16
while True:
    c, _ = s.accept()
    if c.recv(65536):
        c.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        c.sendall(part)
        c.sendall(part + b"0\\r\\n\\r\\n")
    c.close()
"""
CHUNKED_BYTES = 32 * 0xfde8


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        www = cls.web.nginx()
        with open(os.path.join(www, "10m"), "wb") as f:
            f.write(os.urandom(10_000_000))
        with open(os.path.join(www, "1g"), "wb") as f:
            f.truncate(1 << 30)

    def trace(self, *args):
        return self.lab.trace("-i", self.web.veth, *args)

    def url(self, path):
        return f"http://{self.web.ip}{path}"

    def test_one_request_in_full(self):
        t = self.trace("--service", "shop")
        self.user.curl("-A", "tester/1", self.url("/ok/1?x=y&z"))
        t.stop()
        self.assertEqual(len(t.spans), 1)
        span = t.spans[0]
        a = span["attributes"]
        for key, value in {
                "http.request.method": "GET", "url.path": "/ok/1", "url.query": "x=y&z", "url.scheme": "http",
                "server.address": self.web.ip, "server.port": 80, "client.address": self.user.ip,
                "network.peer.address": self.user.ip, "network.protocol.version": "1.1", "network.transport": "tcp",
                "network.type": "ipv4", "http.response.status_code": 200, "user_agent.original": "tester/1",
                "http.request.body.size": 0, "http.response.body.size": len("ok /ok/1?x=y&z\n")}.items():
            self.assertEqual(a.get(key), value, key)
        self.assertEqual(a["client.port"], a["network.peer.port"])
        for key in ("error.type", "url.full", "clovisor.gap", "clovisor.truncated", "clovisor.midstream",
                    "clovisor.unpaired"):
            self.assertNotIn(key, a)
        self.assertEqual((span["name"], span["kind"], span["status"]), ("GET", "SERVER", {"code": "UNSET"}))
        self.assertEqual(span["resource"]["service.name"], "shop")
        self.assertRegex(span["trace_id"], "^[0-9a-f]{32}$")
        self.assertRegex(span["span_id"], "^[0-9a-f]{16}$")
        self.assertLess(int(span["start_time_unix_nano"]), int(span["end_time_unix_nano"]))
        self.assertEqual(t.summary["spans"], 1)
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})

    def test_traceparent_is_honoured(self):
        trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        t = self.trace()
        self.user.curl("-H", f"traceparent: 00-{trace_id}-{parent}-01", self.url("/"))
        t.stop()
        self.assertEqual([(s["trace_id"], s.get("parent_span_id")) for s in t.spans], [(trace_id, parent)])

    def test_keep_alive(self):
        t = self.trace()
        paths = [f"/ok/{i}" for i in range(20)]
        self.user.curl(*[self.url(p) for p in paths])
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", p, 200) for p in paths])
        self.assertEqual(len({attr(s, "client.port") for s in t.spans}), 1)
        self.assertEqual([bool(attr(s, "clovisor.connection.reused")) for s in t.spans], [False] + [True] * 19)
        self.assertEqual(len({s["span_id"] for s in t.spans}), 20)
        self.assertEqual(t.summary["flows"], 1)

    def test_statuses_and_methods(self):
        t = self.trace("--workers", "1")  # whose lines are in the order in which requests ended
        for path in ("/ok/1", "/missing/1", "/broken/1", "/empty/1"):
            self.user.curl(self.url(path))
        self.user.curl("-I", self.url("/ok/head"))
        self.user.curl("-X", "BREW", self.url("/ok/brew"))
        t.stop()
        spans = t.spans
        self.assertEqual([brief(s) for s in spans], [
            ("GET", "/ok/1", 200), ("GET", "/missing/1", 404), ("GET", "/broken/1", 503), ("GET", "/empty/1", 204),
            ("HEAD", "/ok/head", 200), ("BREW", "/ok/brew", 200)])
        self.assertEqual([s["status"]["code"] for s in spans], ["UNSET", "UNSET", "ERROR", "UNSET", "UNSET", "UNSET"])
        self.assertEqual(attr(spans[2], "error.type"), "503")
        self.assertEqual([attr(s, "http.response.body.size") for s in spans[3:5]], [0, 0])
        self.assertEqual((spans[5]["name"], attr(spans[5], "http.request.method")), ("HTTP", "_OTHER"))

    def test_pipelining(self):
        t = self.trace()
        n = 200
        paths = [f"/missing/{i}" if i % 7 == 0 else f"/ok/{i}" for i in range(n)]
        sent = "".join(f"GET {p} HTTP/1.1\r\nHost: x\r\n{'Connection: close' if p == paths[-1] else 'X: y'}\r\n\r\n"
                       for p in paths)
        stdin = self.lab.path("pipeline")
        with open(stdin, "w", encoding="ascii") as f:
            f.write(sent)
        with open(stdin, "rb") as f:
            self.lab.spawn_in(self.user.ns, "python3", "-c", RAW, self.web.ip, stdin=f,
                              stdout=open(os.devnull, "wb")).wait(60)
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", p, 404 if "missing" in p else 200) for p in paths])

    def test_10_mb_bodies(self):
        t = self.trace()
        self.user.curl("-o", "/dev/null", self.url("/10m?1"), "-o", "/dev/null", self.url("/10m?2"),
                       "-o", "/dev/null", self.url("/10m?3"), "-o", "/dev/null", self.url("/ok/after"))
        body = os.path.join(self.web.lab.top, "nginx-web", "www", "10m")
        self.user.curl("-H", "Expect:", "-T", body, self.url("/put/1"), self.url("/ok/last"))
        t.stop()
        spans = sorted(t.spans, key=lambda s: int(s["start_time_unix_nano"]))  # of two connections
        self.assertEqual([brief(s) for s in spans], [
            ("GET", "/10m?1", 200), ("GET", "/10m?2", 200), ("GET", "/10m?3", 200), ("GET", "/ok/after", 200),
            ("PUT", "/put/1", 201), ("GET", "/ok/last", 200)])
        self.assertEqual([attr(s, "http.response.body.size") for s in spans[:3]], [10_000_000] * 3)
        self.assertEqual(attr(spans[4], "http.request.body.size"), 10_000_000)
        self.assertEqual([s for s in spans if attr(s, "clovisor.gap")], [])
        self.assertLess(t.summary["record_bytes"], 0.05 * 40_000_000)

    def test_chunked_bodies_at_once(self):
        """Each is over in two milliseconds, on a connection of which nothing is known yet."""
        bodies = 60
        self.web.spawn("python3", "-c", CHUNKED)
        lab.wait_for("the server listens", lambda: self.web.try_connect(CHUNKED_PORT))
        t = self.trace()
        for i in range(bodies):
            self.user.curl("-o", "/dev/null", f"http://{self.web.ip}:{CHUNKED_PORT}/{i}")
        t.stop()
        self.assertEqual([target(s) for s in t.spans], [f"/{i}" for i in range(bodies)])
        known = [s for s in t.spans if attr(s, "http.response.body.size") == CHUNKED_BYTES]
        print(f"    {len(known)} of {bodies} bodies are known, drops "
              f"{ {k: v for k, v in t.summary['drops'].items() if v} }", flush=True)
        self.assertEqual([brief(s) for s in t.spans if s not in known and not attr(s, "clovisor.gap")], [])
        self.assertGreaterEqual(len(known), bodies * 9 // 10)  # with a window of 768 KiB it is one half, or two thirds

    def test_1_gb_body_stays_in_the_kernel(self):
        t = self.trace()
        self.user.curl("-o", "/dev/null", self.url("/1g"), "-o", "/dev/null", self.url("/ok/after"))
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", "/1g", 200), ("GET", "/ok/after", 200)])
        self.assertEqual(attr(t.spans[0], "http.response.body.size"), 1 << 30)
        print(f"    1 GB body: {t.summary['record_bytes']} bytes to user space", flush=True)
        self.assertLess(t.summary["record_bytes"], (1 << 30) / 1000)

    def test_ipv6(self):
        t = self.trace()
        self.user.curl("-g", f"http://[{self.web.ip6}]/ok/six", f"http://[{self.web.ip6}]/ok/seven")
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", "/ok/six", 200), ("GET", "/ok/seven", 200)])
        self.assertEqual([attr(t.spans[0], k) for k in ("client.address", "server.address", "network.type")],
                         [self.user.ip6, self.web.ip6, "ipv6"])

    def test_parallel_connections(self):
        t = self.trace()
        want = collections.Counter()
        args = []
        for i in range(300):
            path = ("/ok/", "/missing/", "/broken/")[i % 3] + str(i)
            want["GET", path, (200, 404, 503)[i % 3]] += 1
            args += ["-o", "/dev/null", self.url(path)]
        self.user.curl("--parallel", "--parallel-immediate", "--parallel-max", "50", *args)
        t.stop()
        self.assertEqual(collections.Counter(map(brief, t.spans)), want)
        self.assertGreater(t.summary["flows"], 10)

    def test_no_answer(self):
        """A request whose connection is closed under it is a span that says so."""
        t = self.trace()
        sent = self.lab.path("half")
        with open(sent, "wb") as f:
            f.write(b"PUT /put/never HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nshort")
        code = "import socket, struct, sys; s = socket.create_connection((sys.argv[1], 80));" \
               "s.sendall(sys.stdin.buffer.read()); import time; time.sleep(.3);" \
               "s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); s.close()"
        with open(sent, "rb") as f:
            self.lab.spawn_in(self.user.ns, "python3", "-c", code, self.web.ip, stdin=f).wait(60)
        t.wait_spans(1)
        t.stop()
        self.assertEqual([(s["name"], target(s), s["status"]["code"]) for s in t.spans],
                         [("PUT", "/put/never", "ERROR")])
        self.assertIn("error.type", t.spans[0]["attributes"])
        self.assertNotIn("http.response.status_code", t.spans[0]["attributes"])

    def test_loss(self):
        self.enterContext(self.web.loss(1))
        t = self.trace()
        paths = [f"/ok/{i}" for i in range(400)]
        self.user.curl(*[self.url(p) for p in paths])
        self.user.curl("-o", "/dev/null", self.url("/10m"))
        t.stop()
        got = [brief(s) for s in t.spans]
        self.assertEqual(got, [("GET", p, 200) for p in paths] + [("GET", "/10m", 200)])
        self.assertEqual(attr(t.spans[-1], "http.response.body.size"), 10_000_000)


class Vlan(unittest.TestCase):
    """Two pods on one bridge, tagging their own frames: the node's side sees tags both ways."""

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()
        node = cls.lab.node
        lab.run("ip", "-n", node, "link", "add", "bridge0", "up", "type", "bridge")
        for i, pod in enumerate((cls.web, cls.user), 1):
            lab.run("ip", "-n", node, "link", "set", pod.veth, "master", "bridge0")
            lab.run("ip", "-n", pod.ns, "addr", "add", f"10.78.0.{i}/24", "dev", "eth0")
        cls.object = cls.lab.path("vlan.o")
        lab.run("clang-14", "-target", "bpf", "-O2", f"-I/usr/include/{os.uname().machine}-linux-gnu", "-c",
                os.path.join(lab.ROOT, "tests/netns/vlan.bpf.c"), "-o", cls.object)

    def check(self, push):
        for pod in (self.web, self.user):
            pod.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
            self.addCleanup(pod.run, "tc", "qdisc", "del", "dev", "eth0", "clsact")
            for way, program in (("egress", push), ("ingress", "pop")):
                pod.run("tc", "filter", "add", "dev", "eth0", way, "bpf", "da", "obj", self.object, "sec",
                        f"tag/{program}")
        t = self.lab.trace("-i", self.web.veth)
        self.user.curl("http://10.78.0.1/ok/1", "http://10.78.0.1/missing/2")
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", "/ok/1", 200), ("GET", "/missing/2", 404)])

    def test_802_1q(self):
        self.check("push")

    def test_802_1ad(self):
        self.check("push2")


if __name__ == "__main__":
    unittest.main()
