# SPDX-License-Identifier: Apache-2.0
"""The example plugin live: a real memcached, requests made = spans."""

import os
import shutil
import subprocess
import sys
import unittest

import lab
from lab import attr

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import plugins  # noqa: E402

PORT = 11211
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "memcached_client.py")


class Memcached(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not shutil.which("memcached"):
            raise unittest.SkipTest("no memcached (tools/setup test)")
        cls.installed = plugins.Installed()
        cls.addClassCleanup(cls.installed.close)
        cls.plugin = cls.installed.example("plugin-memcached")
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.cache, cls.user = cls.lab.pod("cache"), cls.lab.pod("user")
        cls.cache.spawn("memcached", "-u", "root", "-l", "0.0.0.0", "-p", str(PORT), "-U", "0")
        lab.wait_for("memcached answers", lambda: cls.cache.try_connect(PORT))

    def spans(self, what, count, *options):
        """What clovisor says of a client's doings, which says how many requests it made of each kind."""
        t = self.lab.trace("-i", self.cache.veth, "--plugin", self.plugin, *options)
        said = self.user.run(sys.executable, CLIENT, self.cache.ip, what, str(count))
        made = dict((a, int(n)) for a, n in (line.split() for line in said.splitlines()))
        t.wait_spans(sum(made.values()))
        t.stop()
        seen = {}
        for span in t.spans:
            key = f"{span['name']}:{result(span)}"
            seen[key] = seen.get(key, 0) + 1
        self.assertEqual(seen, made)
        return t.spans

    def test_each_command(self):
        spans = self.spans("each", 1)
        self.assertTrue(all(s["kind"] == "SERVER" and attr(s, "server.port") == PORT for s in spans))
        self.assertEqual({attr(s, "db.system.name") for s in spans}, {"memcached"})

    def test_pipelined(self):
        self.spans("pipelined", 2000)

    def test_big_values_are_skipped(self):
        spans = self.spans("big", 40)
        self.assertEqual({attr(s, "memcached.item.bytes.received") for s in spans if s["name"] == "get"}, {180000})

    def test_joined_late(self):
        """On a connection that is older than the tracer."""
        client = self.user.spawn(sys.executable, CLIENT, self.cache.ip, "late", "20", stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)
        self.assertEqual(client.stdout.readline(), b"set:STORED 1\n")
        t = self.lab.trace("-i", self.cache.veth, "--plugin", self.plugin)
        client.communicate(b"\n", 20)
        t.wait_spans(20)  # the first answer is not told from the middle of a longer one
        t.stop()
        said = [result(s) for s in t.spans if s["name"] == "get"]
        self.assertEqual(set(said) - {"-"}, {"HIT"})
        self.assertGreaterEqual(said.count("HIT"), 18)


def result(span):
    if attr(span, "memcached.keys.missed") is None:
        return attr(span, "db.response.status_code", "-")
    found = attr(span, "db.response.returned_rows")
    return "HIT" if not attr(span, "memcached.keys.missed") else "PARTIAL" if found else "MISS"


if __name__ == "__main__":
    lab.main()
