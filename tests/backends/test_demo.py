# SPDX-License-Identifier: Apache-2.0
"""`make demo BACKEND=jaeger`: what it shows, that the questions it prints are answered, and that it leaves nothing."""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import unittest

import backends
import lab
import pods

DEMO = os.path.join(backends.ROOT, "tools", "demo")
DEMO_SECONDS = 60


def namespaces():
    return set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()


class Demo(unittest.TestCase):
    def test_unknown_backend(self):
        done = subprocess.run([DEMO, lab.CLOVISOR], env={**os.environ, "BACKEND": "nonsense"}, capture_output=True,
                              text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("unknown BACKEND 'nonsense'", done.stderr)

    def test_jaeger(self):
        pods.require()
        backends.find("tools/backend", "jaeger")
        before = namespaces()
        out = self.enterContext(tempfile.TemporaryFile())
        demo = subprocess.Popen([DEMO, lab.CLOVISOR], env={**os.environ, "BACKEND": "jaeger", "KEEP": "1"}, stdout=out,
                                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(lab.Lab.reap, demo)
        self.addCleanup(demo.terminate)

        def said():
            out.seek(0)
            return out.read().decode()

        lab.wait_for("the demo is through", lambda: "until Ctrl-C" in said() or demo.poll() is not None, DEMO_SECONDS)
        self.assertIsNone(demo.poll(), said())
        traces, linked = map(int, re.search(r"(\d+) traces, (\d+) of them seen at both ends", said()).groups())
        self.assertEqual(traces, linked)
        self.assertGreater(traces, 50)
        self.assertRegex(said(), r"\nuser GET /cart 200 .*\n +-> shop GET /cart 200 ")

        services, *queries = [shlex.split(line) for line in re.findall(r"^nsenter .*", said(), re.M)]
        self.assertEqual(sorted(json.loads(lab.run(*services))["services"]), ["shop", "user"])
        self.assertEqual(len(queries), 2)
        for query in queries:
            found = json.loads(lab.run(*query))["result"]["resourceSpans"]
            self.assertEqual(len({s["traceId"] for g in found for p in g["scopeSpans"] for s in p["spans"]}), traces)

        os.kill(demo.pid, signal.SIGINT)
        self.assertEqual(demo.wait(timeout=60), 0)
        self.assertEqual(namespaces() - before, set())
