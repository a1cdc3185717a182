# SPDX-License-Identifier: Apache-2.0
"""Redis between two pods: redis-server, redis-cli, redis-benchmark, and Python's client in RESP3."""

import collections
import os
import re
import shutil
import subprocess
import unittest

import lab
from lab import attr

# Runs in the client's pod: argv[1] is the server.
PYTHON_CLIENT = """
import redis, sys
r = redis.Redis(sys.argv[1], protocol=3, db=2)
r.set("user:42", "x" * 10_000_000)
assert len(r.get("user:42")) == 10_000_000
assert r.get("nothing") is None
try:
    r.lpush("user:42", "y")
except redis.ResponseError:
    pass
p = r.pipeline(transaction=True)
p.incr("n"); p.incr("n"); p.lrange("l", 0, -1)
p.execute()
p = r.pipeline(transaction=False)
for i in range(100):
    p.hset("h:1", "f%d" % i, "v")
p.execute()
assert len(r.hgetall("h:1")) == 100
s = r.pubsub()
s.subscribe("a", "b")
for i in range(2):
    assert s.get_message(timeout=10)["type"] == "subscribe"
for i in range(50):
    r.publish("a", "secret message %d" % i)
for i in range(50):
    assert s.get_message(timeout=10)["type"] == "message"
s.unsubscribe("a", "b")
for i in range(2):
    assert s.get_message(timeout=10)["type"] == "unsubscribe"
assert r.blpop("empty", timeout=1) is None
"""


class Redis(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        venv = subprocess.run([os.path.join(lab.ROOT, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
        if venv.returncode or not shutil.which("redis-server"):
            raise unittest.SkipTest("no redis-server, or no library of clients (tests/venv)")
        cls.python = venv.stdout.strip()
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.spawn("redis-server", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", cls.lab.top,
                      "--loglevel", "warning", stdout=subprocess.DEVNULL)
        lab.wait_for("redis-server answers", lambda: cls.web.try_connect(6379))

    def trace(self, *args):
        return self.lab.trace("-i", self.web.veth, *args)

    def commands_run(self):
        """What the server itself counts, without the asking."""
        text = self.web.run("redis-cli", "info", "commandstats")
        return {name.upper().replace("|", " "): int(calls)
                for name, calls in re.findall(r"cmdstat_([^:]+):calls=(\d+)", text)}

    def cli(self, *args, **kw):
        return self.user.run("redis-cli", "-h", self.web.ip, *args, **kw)

    def count(self, spans):
        return collections.Counter(attr(s, "db.operation.name") for s in spans)

    def check_clean(self, t):
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})
        for span in t.spans:
            for key in ("clovisor.gap", "clovisor.unpaired", "clovisor.midstream"):
                self.assertNotIn(key, span["attributes"], span)

    def test_one_command_in_full(self):
        t = self.trace()
        self.cli("set", "user:42", "secret")
        t.stop()
        span = [s for s in t.spans if s["name"] == "SET"][0]
        a = span["attributes"]
        for key, value in {"db.system.name": "redis", "db.operation.name": "SET", "db.query.text": "SET user:? ?",
                           "db.namespace": "0", "server.address": self.web.ip, "server.port": 6379,
                           "client.address": self.user.ip, "network.transport": "tcp"}.items():
            self.assertEqual(a.get(key), value, key)
        self.assertNotIn("error.type", a)
        self.assertNotIn("secret", str(t.spans))
        self.check_clean(t)

    def test_errors(self):
        self.cli("rpush", "list", "1")
        t = self.trace()
        self.cli("get", "list")
        self.cli("nosuch", "secret")
        self.cli("auth", "wrong-secret")
        t.stop()
        said = {s["name"]: (s["status"]["code"], attr(s, "error.type"), attr(s, "db.response.status_code"))
                for s in t.spans}
        self.assertEqual(said["GET"], ("ERROR", "WRONGTYPE", "WRONGTYPE"))
        self.assertEqual(said["NOSUCH"], ("ERROR", "ERR", "ERR"))
        self.assertEqual(said["AUTH"], ("ERROR", "ERR", "ERR"))
        self.assertNotIn("secret", str(t.spans))

    def test_python_client(self):
        t = self.trace()
        before = self.commands_run()
        self.user.run(self.python, "-c", PYTHON_CLIENT, self.web.ip, timeout=60)
        after = self.commands_run()
        t.stop()
        self.check_clean(t)
        calls = {name: n - before.get(name, 0) for name, n in after.items() if n > before.get(name, 0)}
        calls.pop("INFO", None)
        got = self.count(t.spans)
        # One that failed counts as a call, too; what is queued counts when it runs.
        # What this server does not know, it does not count.
        unknown = {attr(s, "db.operation.name") for s in t.spans if attr(s, "error.type") == "ERR"}
        self.assertEqual({k: v for k, v in got.items() if k not in unknown | {"INFO"}}, calls)
        self.assertNotIn("secret", str(t.spans))
        big = max(t.spans, key=lambda s: int(s["end_time_unix_nano"]) - int(s["start_time_unix_nano"])
                  if s["name"] == "BLPOP" else 0)
        self.assertGreater(int(big["end_time_unix_nano"]) - int(big["start_time_unix_nano"]), 900_000_000)
        execs = [attr(s, "db.operation.batch.size") for s in t.spans if s["name"] == "EXEC"]
        self.assertEqual(execs, [3])
        self.assertEqual({attr(s, "db.namespace") for s in t.spans if s["name"] == "HSET"}, {"2"})

    def benchmark(self, requests, *args):
        self.user.run("redis-benchmark", "-h", self.web.ip, "-q", "-n", str(requests), "-r", "1000", *args, timeout=300)

    def test_pipelines(self):
        t = self.trace()
        self.benchmark(20_000, "-P", "16", "-c", "20", "-t", "set,get")
        t.stop()
        # A terminal that is too slow for this many lines is not what is tried here.
        lines_lost = t.summary["drops"].pop("output_full", 0)
        self.check_clean(t)
        got = self.count(t.spans)
        self.assertEqual(got["SET"] + got["GET"] + lines_lost, 40_000, got)
        self.assertEqual([s for s in t.spans if "error.type" in s["attributes"]], [])

    def test_pipelines_under_loss(self):
        """A pair that is wrong shows: the values' sizes differ, and a GET's answer is no SET's."""
        self.cli("set", "key:__rand_int__", "x")
        t = self.trace()
        with self.web.loss(1):
            self.benchmark(20_000, "-P", "16", "-c", "10", "-t", "set,lpush", "-d", "100")
        t.stop()
        lines_lost = t.summary["drops"].pop("output_full", 0)
        self.check_clean(t)
        got = self.count(t.spans)
        self.assertEqual(got["SET"] + got["LPUSH"] + lines_lost, 40_000, got)
        self.assertEqual([s for s in t.spans if "error.type" in s["attributes"]], [])

    def test_monitor_and_subscribers(self):
        t = self.trace()
        monitor = self.user.spawn("redis-cli", "-h", self.web.ip, "monitor", stdout=subprocess.PIPE)
        self.assertEqual(monitor.stdout.readline(), b"OK\n")
        listener = self.user.spawn("redis-cli", "-h", self.web.ip, "subscribe", "news", stdout=subprocess.PIPE)
        self.assertIn(b"1\n", iter(listener.stdout.readline, b""))
        for i in range(100):
            self.assertEqual(self.cli("publish", "news", f"text {i}").strip(), "1")
        self.assertIn(b"text 99\n", iter(listener.stdout.readline, b""))
        for child in (monitor, listener):
            self.lab.reap(child)
        t.stop()
        got = self.count(t.spans)
        self.assertEqual((got["MONITOR"], got["SUBSCRIBE"], got["PUBLISH"]), (1, 1, 100))
        self.check_clean(t)


if __name__ == "__main__":
    unittest.main()
