# SPDX-License-Identifier: Apache-2.0
"""`clovisor status` while requests are under way."""

import json
import os
import subprocess
import unittest

import lab

# Sends a head and one event, and leaves the rest open until its standard input ends.
STREAM = r"""
import socket, sys
s = socket.create_server(("0.0.0.0", 80)); c, _ = s.accept(); c.recv(4096)
c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
print("streaming", flush=True); sys.stdin.read(); c.close()
"""


class Status(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")

    def status(self, *args, **env):
        return subprocess.run([lab.CLOVISOR, "status", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env={**os.environ, **env}, check=False)

    def test_a_stream_is_seen_before_it_ends(self):
        run = self.lab.dir("run")
        server = self.web.spawn("python3", "-c", STREAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        lab.wait_for("the server listens", lambda: b":80 " in subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.web.ns}", "ss", "-ltn"], stdout=subprocess.PIPE, check=True).stdout)
        t = self.lab.trace("-i", self.web.veth, "--service", "shop", env={**os.environ, "RUNTIME_DIRECTORY": run})
        client = self.user.spawn("curl", "-sN", f"http://{self.web.ip}/events", stdout=subprocess.DEVNULL)
        server.stdout.readline()
        socket = os.path.join(run, os.listdir(run)[0])
        self.assertEqual(os.stat(socket).st_mode & 0o777, 0o600)

        def streaming():
            self.answer = json.loads(self.status("--json", RUNTIME_DIRECTORY=run).stdout)
            return self.answer["open_requests"]

        lab.wait_for("it is open for a second", streaming)
        (span,) = self.answer["open"]
        self.assertEqual(span["attributes"]["url.path"], "/events")
        self.assertEqual(span["attributes"]["http.response.status_code"], 200)
        self.assertIn("clovisor.time_to_first_byte_ns", span["attributes"])
        self.assertNotIn("clovisor.truncated", span["attributes"])
        self.assertEqual(span["resource"]["service.name"], "shop")
        self.assertGreaterEqual(int(span["end_time_unix_nano"]) - int(span["start_time_unix_nano"]), 10**9)
        (place,) = self.answer["interfaces"]
        self.assertEqual((place["interface"], place["state"], place["service"]), (self.web.veth, "attached", "shop"))
        self.assertEqual(self.answer["figures"]["requests"], 1)
        self.assertEqual(self.answer["figures"]["spans"], 0)

        text = self.status("--socket", socket)
        self.assertEqual(text.returncode, 0, text.stderr)
        self.assertIn("/events", text.stdout)
        self.assertIn(f"{self.web.veth} ", text.stdout)

        server.stdin.close()
        client.wait()
        t.wait_spans(1)
        t.stop()
        self.assertEqual(os.listdir(run), [])
        gone = self.status(RUNTIME_DIRECTORY=run)
        self.assertEqual((gone.returncode, gone.stdout), (1, ""))
        self.assertIn("no clovisor is running", gone.stderr)

    def test_what_a_killed_one_left_is_passed_over(self):
        run = self.lab.dir("left")
        t = self.lab.trace("-i", self.user.veth, env={**os.environ, "RUNTIME_DIRECTORY": run})
        t.process.kill()
        t.process.wait()
        self.assertEqual(len(os.listdir(run)), 1)
        gone = self.status(RUNTIME_DIRECTORY=run)
        self.assertEqual(gone.returncode, 1)
        self.assertIn("no clovisor is running", gone.stderr)

    def test_probes(self):
        t = self.lab.trace("-i", self.web.veth, "--metrics", "127.0.0.1:9464")

        def ask(path):
            out = self.lab.run_in(self.lab.node, "curl", "-sS", "-w", "%{http_code}", f"http://127.0.0.1:9464{path}")
            return tuple(out.splitlines())

        self.assertEqual(ask("/healthz"), ("ok", "200"))
        self.assertEqual(ask("/readyz"), ("ok", "200"))
        t.stop()


if __name__ == "__main__":
    unittest.main()
