# SPDX-License-Identifier: Apache-2.0
"""Coming and going: attached and killed while traffic flows, signals, what stays behind."""

import os
import re
import signal
import subprocess
import unittest

import lab
from lab import attr, brief, target

# Asks for one path after the other on one connection until its stdin closes; prints when each began and ended.
LOOP = """
import http.client, select, sys, time
c = http.client.HTTPConnection(sys.argv[1], 80); i = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    path, t = ("/missing/" if i % 5 == 0 else "/ok/") + str(i), time.time_ns()
    c.request("GET", path); r = c.getresponse(); r.read()
    print(path, r.status, t, time.time_ns()); i += 1
    time.sleep(.001)
"""


def programs_of(pid):
    """Ids of the BPF programs that a process holds, directly or by a link."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as f:
            found |= set(re.findall(r"^prog_id:\s*(\d+)", f.read(), re.M))
    return found


def alive(ids):
    return [i for i in ids if subprocess.run(["bpftool", "prog", "show", "id", i], stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL, check=False).returncode == 0]


class Life(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()

    def ask(self, *paths):
        self.user.curl(*[f"http://{self.web.ip}{p}" for p in paths])

    def trace(self, *args, **kw):
        return self.lab.trace("-i", self.web.veth, *args, **kw)

    def load(self):
        """Starts a keep-alive client; the function returned ends it and gives its log."""
        log = self.lab.path("load")  # not a pipe, which nobody reads until the end
        with open(log, "w", encoding="ascii") as f:
            client = self.user.spawn("python3", "-c", LOOP, self.web.ip, stdin=subprocess.PIPE, stdout=f)

        def end():
            client.communicate(b"")
            self.assertEqual(client.returncode, 0)
            with open(log, encoding="ascii") as f:
                return [(p, int(s), int(a), int(b)) for p, s, a, b in map(str.split, f)]

        return end

    def test_attach_and_detach_while_traffic_flows(self):
        """Joining mid-stream: whole requests between ready and stop are found, and no span is wrong."""
        for mode in ("tcx", "clsact"):
            with self.subTest(mode):
                end, runs = self.load(), []
                for _ in range(4):
                    t = self.trace("--attach", mode)
                    begin = self.user.run("date", "+%s%N")
                    t.wait_spans(50)
                    finish = self.user.run("date", "+%s%N")
                    runs.append((t.stop(), int(begin), int(finish)))
                log = end()
                status = {p: s for p, s, _, _ in log}
                for t, begin, finish in runs:
                    got = {target(s): attr(s, "http.response.status_code") for s in t.spans
                           if not attr(s, "clovisor.unpaired")}
                    self.assertEqual(got, {p: status[p] for p in got})
                    missed = [p for p, _, a, b in log if begin < a and b < finish and p not in got]
                    self.assertEqual(missed, [])

    def test_sigkill(self):
        """Killed: with tcx nothing stays; with clsact what stays is removed by `detach`. Traffic never stops."""
        for mode in ("tcx", "clsact"):
            with self.subTest(mode):
                end = self.load()
                t = self.trace("--attach", mode)
                t.wait_spans(20)
                ids = programs_of(t.process.pid)
                self.assertTrue(ids)
                t.process.kill()
                t.process.wait()
                if mode == "tcx":
                    lab.wait_for("the programs are gone", lambda i=ids: not alive(i))
                else:
                    # An orphan is told from a filter in use by its lease, which runs for 5 s.
                    lab.wait_for("`detach` removes the programs", lambda i=ids: self.lab.run_in(
                        self.lab.node, lab.CLOVISOR, "detach", "-i", self.web.veth) is not None and not alive(i))
                    qdiscs = self.lab.run_in(self.lab.node, "tc", "qdisc", "show", "dev", self.web.veth)
                    self.assertNotIn("clsact", qdiscs)
                again = self.trace("--attach", mode)
                again.wait_spans(20)
                again.stop()
                status = {p: s for p, s, _, _ in end()}
                for s in again.spans:
                    if not attr(s, "clovisor.unpaired"):
                        self.assertEqual(status[target(s)], attr(s, "http.response.status_code"))

    def test_nothing_stays_after_a_clean_end(self):
        for mode in ("tcx", "clsact"):
            with self.subTest(mode):
                t = self.trace("--attach", mode)
                ids = programs_of(t.process.pid)
                t.stop()
                lab.wait_for("the programs are gone", lambda i=ids: not alive(i))
                self.assertNotIn("clsact", self.lab.run_in(self.lab.node, "tc", "qdisc", "show", "dev", self.web.veth))

    def test_signals_end_it_cleanly(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig.name):
                t = self.trace()
                self.ask("/ok/1")
                t.stop(sig)
                self.assertEqual([brief(s) for s in t.spans], [("GET", "/ok/1", 200)])

    def test_sigint_ignored_at_start(self):
        """As shells do with what they put into the background."""
        t = self.trace(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.ask("/ok/1")
        t.stop(signal.SIGINT)
        self.assertEqual([brief(s) for s in t.spans], [("GET", "/ok/1", 200)])

    def test_pending_is_written_at_the_end(self):
        """A request still waiting for its answer is a span that says so."""
        t = self.trace()
        code = "import socket, sys, time; s = socket.create_connection((sys.argv[1], 80));" \
               "s.sendall(b'POST /put/1 HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\n');" \
               "print('sent', flush=True); time.sleep(100)"
        client = self.user.spawn("python3", "-c", code, self.web.ip, stdout=subprocess.PIPE)
        client.stdout.readline()
        t.stop()
        client.kill()
        self.assertEqual([(s["name"], target(s)) for s in t.spans], [("POST", "/put/1")])
        self.assertTrue(attr(t.spans[0], "clovisor.unpaired"))
        self.assertNotIn("error.type", t.spans[0]["attributes"])

    def test_limit_and_duration(self):
        t = self.trace("--limit", "2")
        self.ask("/ok/1", "/ok/2", "/ok/3")
        self.assertEqual(t.process.wait(60), 0)
        self.assertEqual(len(t.lines()), 2)
        t = self.trace("--duration", "500ms")
        self.assertEqual(t.process.wait(60), 0)


if __name__ == "__main__":
    unittest.main()
