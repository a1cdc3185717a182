# SPDX-License-Identifier: Apache-2.0
"""`clovisor agent` and an API server that is away, or forbids: what it says in its log, and to probes. The server is
the tests' own; no pod is on this node."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

from lab import CLOVISOR, wait_for

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kube_api"))
from fake_api import FakeApi  # noqa: E402


class AgentApi(unittest.TestCase):
    def setUp(self):
        self.top = self.enterContext(tempfile.TemporaryDirectory(prefix="clvt-"))
        self.api = FakeApi()
        self.api.start()  # takes a port
        self.addCleanup(self.api.stop)

    def agent(self):
        config = os.path.join(self.top, "kubeconfig")
        with open(config, "w", encoding="utf-8") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "x",
                       "clusters": [{"name": "x", "cluster": {"server": self.api.url}}],
                       "users": [{"name": "x", "user": {"token": "t"}}],
                       "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]}, f)
        self.err = os.path.join(self.top, "err")
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [CLOVISOR, "agent", "--kubeconfig", config, "--node", "node1", "--metrics", f"127.0.0.1:{self.port}"],
                stdout=subprocess.DEVNULL, stderr=err, env={**os.environ, "RUNTIME_DIRECTORY": self.top})
        self.addCleanup(self.process.kill)
        wait_for("the endpoint listens", self.listening, 60)

    def listening(self):
        self.assertIsNone(self.process.poll(), self.said(".*"))
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def said(self, pattern):
        with open(self.err, encoding="utf-8") as f:
            return re.findall(pattern, f.read())

    def wait_said(self, pattern, times):
        wait_for(f"'{pattern}', {times} times", lambda: len(self.said(pattern)) >= times, 90)

    def probe(self, path="/readyz"):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(timeout=60), 0)

    def test_server_that_is_away(self):
        self.api.stop()
        self.agent()
        wait_for("the reason", lambda: "cannot reach" in self.probe()[1], 30)
        status, text = self.probe()
        self.assertEqual(status, 503)
        self.assertRegex(text, rf"(?m)^waiting for the API server: .*{self.api.port}")
        self.assertEqual(self.probe("/healthz"), (200, "ok\n"))
        self.api.start()
        wait_for("it is ready", lambda: self.probe() == (200, "ok\n"), 60)
        self.wait_said("the API server answers again", 1)
        for outage in (2, 3):
            self.api.stop()
            self.wait_said("warning", outage)
            self.api.start()
            self.wait_said("answers again", outage)
        self.assertEqual(self.probe(), (200, "ok\n"))
        # Once an outage, not once a kind.
        self.assertEqual(len(self.said("warning")), 3, self.said(".*"))
        self.assertEqual(len(self.said("answers again")), 3)
        self.assertFalse(self.said("can be had again"))
        self.stop()

    def test_what_is_denied_is_told_by_kind(self):
        self.api.denied |= {"services", "pods"}
        self.agent()
        wait_for("it is ready", lambda: self.probe() == (200, "ok\n"), 60)
        self.assertEqual(len(self.said("warning: .*may not list")), 2, self.said(".*"))
        self.assertFalse(self.said("answers again"))
        self.assertTrue(self.said("ready: the pods of this node are not known"))
        self.stop()
