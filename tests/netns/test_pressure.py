# SPDX-License-Identifier: Apache-2.0
"""Whoever reads the lines sleeps: what comes meanwhile waits, first in the output's queue, then in the ring buffer."""

import os
import shutil
import threading
import time
import unittest

import lab

CLIENTS = 100
NOTE = '"' * 3000  # twice as long in a line
LINE_BYTES = 2 * len(NOTE)
QUEUE_BYTES = 32 << 20  # src/export/out.h
HOLD_SECONDS = 5  # src/cli/lane.c


class Reader:
    """The far end of a pipe; takes nothing until it is told to."""

    def __init__(self):
        self.fd, self.far_fd = os.pipe()
        self.lines = 0
        self.thread = threading.Thread(target=self.read)

    def read(self):
        with open(self.fd, "rb", buffering=0) as f:
            for block in iter(lambda: f.read(1 << 20), b""):
                self.lines += block.count(b"\n")

    def wake(self):
        self.thread.start()

    def wait_end(self):
        if not self.thread.ident:
            self.wake()
        self.thread.join()


@unittest.skipUnless(shutil.which("h2load"), "no h2load")
class Pressure(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()

    def load(self, count):
        out = self.user.run("h2load", "--h1", "-c", str(CLIENTS), "-m1", "-t1", "-n", str(count),
                            "-H", f"X-Note: {NOTE}", f"http://{self.web.ip}/ok/")
        self.assertIn(f"{count} succeeded", out)

    def trace(self):
        reader = Reader()
        t = self.lab.trace("-i", self.web.veth, "--capture-header", "request:x-note", "--ring", "64M", "--stats",
                           stdout=reader.far_fd)
        os.close(reader.far_fd)
        return t, reader

    def test_the_ring_keeps_what_the_queue_has_no_room_for(self):
        count = QUEUE_BYTES * 5 // 4 // LINE_BYTES
        for _ in range(5):
            t, reader = self.trace()
            began = time.monotonic()
            self.load(count)
            lasted = time.monotonic() - began
            reader.wake()
            lab.wait_for("the lines", lambda r=reader: r.lines >= count or time.monotonic() > began + 20, 30)
            t.stop(parse=False)
            reader.wait_end()
            if lasted < HOLD_SECONDS * 3 / 4:
                break
            print(f"the load took {lasted:.1f} s, which is too long to wait: once more", flush=True)
        self.assertEqual({name: n for name, n in t.summary["drops"].items() if n}, {})
        self.assertEqual(reader.lines, count)

    def test_more_than_all_have_room_for(self):
        count = QUEUE_BYTES * 4 // LINE_BYTES
        t, reader = self.trace()
        self.load(count)
        t.wait_text(f" spans {count},", 30)  # the engine went on
        reader.wake()
        lab.wait_for("the lines that had room", lambda: reader.lines >= QUEUE_BYTES // 2 // LINE_BYTES, 30)
        self.user.curl(f"http://{self.web.ip}/ok/last")
        t.stop(parse=False)
        reader.wait_end()
        self.assertGreater(t.summary["drops"]["output_full"], 0)
        self.assertEqual({name for name, n in t.summary["drops"].items() if n}, {"output_full"})
        self.assertEqual(t.summary["spans"], count + 1)
        self.assertEqual(reader.lines + t.summary["drops"]["output_full"], count + 1)
