# SPDX-License-Identifier: Apache-2.0
"""A configuration that changes while connections go on."""

import signal
import unittest

import lab
from lab import target

# Asks for a path on one connection whenever its stdin names one, and says so when the answer is there.
ASK = """
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], 80)
for path in iter(sys.stdin.readline, ""):
    c.request("GET", path.strip()); r = c.getresponse(); r.read()
    print(r.status, flush=True)
"""


class Config(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()

    def put(self, text):
        path = self.lab.path("c.yaml")
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        return path

    def test_reload(self):
        """On SIGHUP, when the file changes, and not when it is broken: one connection sees it all."""
        path = self.put(f"capture: {{interfaces: [{self.web.veth}]}}\noutput: {{filter: ['path=/ok/a*']}}\n")
        trace = self.lab.trace("-c", path)
        client = self.user.spawn("python3", "-c", ASK, self.web.ip, stdin=-1, stdout=-1, text=True, bufsize=1)

        def ask(*paths):
            for p in paths:
                client.stdin.write(p + "\n")
                self.assertEqual(client.stdout.readline(), "200\n")

        ask("/ok/a1", "/ok/b1")
        trace.wait_spans(1)
        self.put(f"capture: {{interfaces: [{self.web.veth}]}}\noutput: {{filter: ['path=/ok/b*']}}\n")
        trace.process.send_signal(signal.SIGHUP)
        trace.wait_text("c.yaml: changed: output.filter\n")
        ask("/ok/a2", "/ok/b2")
        trace.wait_spans(2)
        self.put("output: {filter: 5}\n")
        trace.wait_text("c.yaml:1:18: output.filter: it must be a list")
        trace.wait_text("everything stays as it was")
        ask("/ok/a3", "/ok/b3")
        trace.wait_spans(3)
        self.put("capture: {interfaces: [lo]}\noutput: {filter: ['path=/ok/*3', 'path=/ok/a4']}\n")
        trace.wait_text("changed: output.filter; only after a restart: capture.interfaces\n")
        ask("/ok/a4", "/ok/b4")
        trace.wait_spans(4)
        trace.stop()
        self.assertEqual([target(s) for s in trace.spans], ["/ok/a1", "/ok/b2", "/ok/b3", "/ok/a4"])
        self.assertEqual((trace.summary["flows"], trace.summary["spans"]), (1, 8))
        self.assertFalse(any("clovisor.midstream" in s["attributes"] for s in trace.spans))
        client.stdin.close()
        self.assertEqual(client.wait(60), 0)
