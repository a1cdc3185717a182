# SPDX-License-Identifier: Apache-2.0
"""Who reads packets lets others go first while little comes, and nothing is lost by it (cli/caller.h)."""

import contextlib
import os
import re
import signal
import subprocess
import time
import unittest

import lab
from lab import attr

PORT = 8090
CHUNK_BYTES = 64 << 10
CHUNKS = 400
BODIES = 4
LATE_S = 1.5  # a span, while others want all processors: it is called after 200 ms

# Asks so often a second on one connection until its input ends, and tells how often it did.
ASK = """
import http.client, select, sys, time
c, n, due = http.client.HTTPConnection(sys.argv[1]), 0, time.monotonic()
while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
    c.request("GET", f"/ok/{n}")
    c.getresponse().read()
    n, due = n + 1, due + 1 / float(sys.argv[2])
print(n)
"""

# Answers one request after the other with a long body of chunks: all of it must be read to find its end. A window of it
# lasts for some milliseconds.
SERVE = f"""
import socket, time
s = socket.create_server(("", {PORT}))
chunk = b"{CHUNK_BYTES:x}\\r\\n" + bytes({CHUNK_BYTES}) + b"\\r\\n"
while True:
    c, _ = s.accept()
    while c.recv(65536):
        c.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
        for _ in range({CHUNKS}):
            c.sendall(chunk)
            time.sleep(0.0002)
        c.sendall(b"0\\r\\n\\r\\n")
    c.close()
"""


class Pace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()

    def trace(self, **kw):
        return self.lab.trace("-i", self.web.veth, "--workers", "1", **kw)

    def ask(self, rate):
        return self.user.spawn("python3", "-c", ASK, self.web.ip, str(rate), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)

    @staticmethod
    def asked(client):
        return int(client.communicate("end\n", timeout=30)[0])

    @staticmethod
    def policy(t, name=None):
        """Of the main thread, which reads, or another one."""
        top = f"/proc/{t.process.pid}/task"
        for task in [str(t.process.pid)] if not name else os.listdir(top):
            with open(f"{top}/{task}/comm", encoding="ascii") as f:
                if not name or f.read().strip() == name:
                    return os.sched_getscheduler(int(task)) & ~os.SCHED_RESET_ON_FORK
        return None

    def wait_policy(self, t, policy, name=None):
        lab.wait_for("it lets others go first" if policy == os.SCHED_IDLE else "it runs ahead",
                     lambda: self.policy(t, name) == policy)

    def test_it_rests_while_little_comes(self):
        t = self.trace()
        self.assertEqual(self.policy(t), os.SCHED_FIFO)
        client = self.ask(200)
        self.wait_policy(t, os.SCHED_IDLE)
        # Much comes; what it has by then is not lost either.
        flood = self.user.spawn("wrk", "-t1", "-c16", "-d3s", f"http://{self.web.ip}/ok/", stdout=subprocess.PIPE,
                                text=True)
        self.wait_policy(t, os.SCHED_FIFO)
        done = int(re.search(r"(\d+) requests in", flood.communicate(timeout=30)[0])[1])
        self.wait_policy(t, os.SCHED_IDLE)
        done += self.asked(client)
        # Nothing comes, and the next to come is seen at once.
        self.wait_policy(t, os.SCHED_FIFO)
        t.stop()
        self.assertEqual({name: n for name, n in t.summary["drops"].items() if n}, {})
        self.assertGreaterEqual(t.summary["spans"], done)  # wrk does not count what it did not wait for
        self.assertLessEqual(t.summary["spans"], done + 16)

    def test_after_a_flood(self):
        """The kernel's word that somebody ran for too long slows all down, but not for ever."""
        t = self.trace()
        client = self.ask(200)
        self.wait_policy(t, os.SCHED_IDLE)
        t.process.send_signal(signal.SIGXCPU)
        self.wait_policy(t, os.SCHED_FIFO, "caller")
        self.asked(client)
        self.wait_policy(t, os.SCHED_FIFO)
        t.process.send_signal(signal.SIGXCPU)
        client = self.ask(200)
        self.wait_policy(t, os.SCHED_IDLE)
        self.asked(client)
        t.stop()

    def test_who_may_not_run_ahead_does_not_rest(self):
        path = self.lab.path("modest")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec setpriv --bounding-set -sys_nice "{lab.CLOVISOR}" "$@"\n')
        os.chmod(path, 0o755)
        t = self.trace(clovisor=path)
        client = self.ask(200)
        looks = set()
        for _ in range(20):
            time.sleep(0.05)
            looks.add(self.policy(t))
        done = self.asked(client)
        t.wait_spans(done)
        t.stop()
        self.assertEqual(looks, {os.SCHED_OTHER})
        self.assertEqual(t.summary["spans"], done)

    @contextlib.contextmanager
    def busy(self, nice):
        """Others, as urgent as this says, that want every processor all the time."""
        others = [subprocess.Popen(["nice", "-n", str(nice), "sh", "-c", "while :; do :; done"])
                  for _ in os.sched_getaffinity(0)]
        try:
            yield
        finally:
            for other in others:
                self.lab.reap(other)

    def test_a_long_body_is_read_all_the_same(self):
        """The kernel calls when a window is short; nobody else would, and no processor is idle."""
        server = self.web.spawn("python3", "-c", SERVE)
        lab.wait_for("the server answers", lambda: self.web.try_connect(PORT))
        t = self.trace()
        client = self.ask(200)
        with self.busy(0):
            for _ in range(BODIES):
                self.wait_policy(t, os.SCHED_IDLE)
                self.user.curl("-o", "/dev/null", f"http://{self.web.ip}:{PORT}/long")
            done = self.asked(client)
            t.wait_spans(done + BODIES)
        t.stop()
        self.lab.reap(server)
        long = [s for s in t.spans if attr(s, "url.path") == "/long"]
        self.assertEqual([attr(s, "http.response.body.size") for s in long], [CHUNK_BYTES * CHUNKS] * BODIES)
        self.assertEqual([s["attributes"] for s in long if attr(s, "clovisor.gap")], [])

    def test_others_that_want_all_processors_do_not_hold_it_up_for_long(self):
        t = self.trace()
        client = self.ask(200)
        self.wait_policy(t, os.SCHED_IDLE)
        with self.busy(-10):  # it would wait for some ten seconds
            for _ in range(3):
                time.sleep(1)
                before = t.count_lines()
                lab.wait_for("a span", lambda seen=before: t.count_lines() > seen, LATE_S)
            done = self.asked(client)
            t.wait_spans(done, LATE_S)
            began = time.monotonic()
            t.process.send_signal(signal.SIGINT)
            t.process.wait(timeout=30)
            self.assertLess(time.monotonic() - began, LATE_S)
        t.stop()
        self.assertEqual({name: n for name, n in t.summary["drops"].items() if n}, {})
        self.assertEqual(t.summary["spans"], done)


if __name__ == "__main__":
    unittest.main()
