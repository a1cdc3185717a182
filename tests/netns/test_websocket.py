# SPDX-License-Identifier: Apache-2.0
"""WebSocket between a real server and a real client."""

import os
import subprocess
import unittest

import lab
from lab import attr

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ws_peers.py")


class WebSocket(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        venv = subprocess.run([os.path.join(lab.ROOT, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
        if venv.returncode:
            raise unittest.SkipTest("no library of WebSocket peers (tests/venv)")
        cls.python = venv.stdout.strip()
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.spawn(cls.python, PEERS, "serve", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.wait_for("the server answers", lambda: cls.web.try_connect(80))

    def talk(self, path, count):
        self.user.run(self.python, PEERS, "talk", self.web.ip, path, str(count))

    def sessions(self, t):
        return [s for s in t.spans if s["name"] == "WEBSOCKET"]

    def test_both_sides_count_alike(self):
        t = self.lab.trace("-i", self.web.veth, "-i", self.user.veth)
        self.talk("/chat", 30)
        t.wait_spans(4)
        t.stop()
        server = next(s for s in self.sessions(t) if s["kind"] == "SERVER")
        client = next(s for s in self.sessions(t) if s["kind"] == "CLIENT")
        size = sum(len(f"message {i}") + 100 * i for i in range(30))
        for span in (server, client):
            for kind in ("text", "binary"):
                for way in ("sent", "received"):
                    self.assertEqual(attr(span, f"clovisor.websocket.{kind}.{way}"), 30, (span["kind"], kind, way))
            self.assertEqual((attr(span, "clovisor.bytes.sent"), attr(span, "clovisor.bytes.received")), (size, size))
            self.assertEqual(attr(span, "clovisor.websocket.close_code"), 1000)
            self.assertEqual(attr(span, "clovisor.websocket.closed_by"), "client")
            self.assertEqual(attr(span, "url.path"), "/chat")
            self.assertIsNone(attr(span, "clovisor.gap"))
        self.assertEqual(attr(client, "clovisor.websocket.control.sent"), 1)
        self.assertEqual(attr(server, "clovisor.websocket.control.received"), 1)
        self.assertEqual(server["trace_id"], client["trace_id"])
        self.assertEqual(server["parent_span_id"], client["span_id"])
        self.assertEqual(sorted(attr(s, "http.response.status_code", 0) for s in t.spans), [0, 0, 101, 101])

    def test_an_error_code_is_an_error(self):
        t = self.lab.trace("-i", self.web.veth)
        self.talk("/bye", 1)
        t.wait_spans(2)
        t.stop()
        (span,) = self.sessions(t)
        self.assertEqual(attr(span, "clovisor.websocket.close_code"), 1011)
        self.assertEqual(attr(span, "clovisor.websocket.closed_by"), "server")
        self.assertEqual((attr(span, "error.type"), span["status"]["code"]), ("1011", "ERROR"))


if __name__ == "__main__":
    unittest.main()
