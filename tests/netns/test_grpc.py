# SPDX-License-Identifier: Apache-2.0
"""gRPC between a real server and a real client: the four kinds of calls, all statuses, deadlines and cancelling."""

import os
import subprocess
import unittest

import lab
from lab import attr

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "grpc_peers.py")
PORT = 50051
SERVER_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
NAMES = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
         "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
         "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"]


class Grpc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        venv = subprocess.run([os.path.join(lab.ROOT, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
        if venv.returncode:
            raise unittest.SkipTest("no grpcio (tests/venv)")
        cls.python = venv.stdout.strip()
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.spawn(cls.python, PEERS, "serve", str(PORT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.wait_for("the server answers", lambda: cls.web.try_connect(PORT), 30)

    def call(self, what, count):
        """The spans of the server's side and of the client's, by the time they began."""
        t = self.lab.trace("-i", self.web.veth, "-i", self.user.veth)
        self.user.run(self.python, PEERS, "call", f"{self.web.ip}:{PORT}", what)
        t.wait_spans(2 * count)
        t.stop()
        self.assertEqual(len(t.spans), 2 * count)
        sides = [sorted((s for s in t.spans if s["kind"] == kind), key=lambda s: int(s["start_time_unix_nano"]))
                 for kind in ("SERVER", "CLIENT")]
        self.assertEqual(len(sides[0]), count)
        self.assertEqual({s["parent_span_id"] for s in sides[0]}, {s["span_id"] for s in sides[1]})
        for span in t.spans:
            self.assertEqual(attr(span, "rpc.system.name"), "grpc")
            self.assertEqual(span["name"], attr(span, "rpc.method"))
            self.assertNotIn("detail that stays here", str(span))
        return sides

    def counts(self, span):
        """(messages sent and received, their bytes), as the client sees it."""
        what = [attr(span, f"clovisor.{kind}.{way}") for kind in ("messages", "bytes") for way in ("sent", "received")]
        return tuple(what if span["kind"] == "CLIENT" else [what[1], what[0], what[3], what[2]])

    def test_four_kinds(self):
        for spans in self.call("kinds", 23):
            for i, span in enumerate(spans[:20]):
                self.assertEqual(span["name"], "lab.Echo/Unary")
                self.assertEqual(self.counts(span), (1, 1, 100 * i, 100 * i))
            self.assertEqual([(s["name"], self.counts(s)) for s in spans[20:]],
                             [("lab.Echo/ClientStream", (5, 1, 40010, 5)),
                              ("lab.Echo/ServerStream", (1, 300, 3, 44850)),
                              ("lab.Echo/Bidi", (4, 8, 10, 20))])
            for span in spans:
                self.assertEqual(attr(span, "rpc.response.status_code"), "OK")
                self.assertEqual(span["status"]["code"], "UNSET")
                self.assertIsNone(attr(span, "error.type"))

    def test_all_statuses(self):
        for spans in self.call("statuses", 18):
            self.assertEqual([attr(s, "rpc.response.status_code") for s in spans], NAMES + ["UNIMPLEMENTED"])
            for span in spans:
                name = attr(span, "rpc.response.status_code")
                bad = name in SERVER_ERRORS if span["kind"] == "SERVER" else name != "OK"
                self.assertEqual(span["status"]["code"], "ERROR" if bad else "UNSET", (span["kind"], name))
                self.assertEqual(attr(span, "error.type"), name if bad else None)

    def test_deadline(self):
        for (span,) in self.call("deadline", 1):
            timeout = attr(span, "clovisor.grpc.timeout_ns")
            self.assertTrue(0 < timeout <= 300_000_000, timeout)
            self.assertEqual(attr(span, "rpc.response.status_code"), "DEADLINE_EXCEEDED")
            self.assertEqual(attr(span, "error.type"), "DEADLINE_EXCEEDED")

    def test_cancelled(self):
        for spans in self.call("cancel", 4):
            drip, slow, meanwhile, afterwards = spans
            for span in (drip, slow):
                self.assertEqual(attr(span, "rpc.response.status_code"), "CANCELLED")
                self.assertTrue(attr(span, "clovisor.cancelled"))
                self.assertEqual(attr(span, "error.type"), "CANCELLED" if span["kind"] == "CLIENT" else None)
            self.assertEqual(attr(drip, "http.response.status_code"), 200)
            self.assertEqual((slow["name"], meanwhile["name"]), ("lab.Echo/Slow", "lab.Echo/Unary"))
            self.assertEqual(attr(afterwards, "rpc.response.status_code"), "OK")


if __name__ == "__main__":
    unittest.main()
