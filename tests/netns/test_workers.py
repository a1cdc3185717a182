# SPDX-License-Identifier: Apache-2.0
"""`clovisor trace --workers`: threads that share the connections. What they see is right: test_truth.py."""

import os
import re
import subprocess
import time
import unittest

import lab
from lab import attr

BODY_BYTES = 4_000_000
CONNECTIONS = 24


class Workers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        www = cls.web.nginx()
        with open(os.path.join(www, "body"), "wb") as f:
            f.write(os.urandom(BODY_BYTES))

    @staticmethod
    def threads(process):
        """Nanoseconds that each worker has run, by its name."""
        top = f"/proc/{process.pid}/task"
        found = {}
        for task in os.listdir(top):
            with open(f"{top}/{task}/comm", encoding="ascii") as f:
                name = f.read().strip()
            with open(f"{top}/{task}/schedstat", encoding="ascii") as f:
                if name.startswith("worker"):
                    found[name] = int(f.read().split()[0])
        return found

    def test_each_has_connections_and_its_verdicts_count(self):
        """Bodies stay in the kernel whoever reads the heads, and all of the workers have some to read."""
        t = self.lab.trace("-i", self.web.veth, "--workers", "3", "--flows")
        before = self.threads(t.process)
        self.assertEqual(sorted(before), ["worker 0", "worker 1", "worker 2"])
        for _ in range(CONNECTIONS):
            self.user.curl(*["-o", "/dev/null", f"http://{self.web.ip}/body"] * 2)
        t.wait_spans(3 * CONNECTIONS)
        after = self.threads(t.process)
        t.stop()
        spans = [s for s in t.spans if "connection" not in s]
        self.assertEqual([attr(s, "http.response.body.size") for s in spans], [BODY_BYTES] * 2 * CONNECTIONS)
        self.assertEqual({attr(s, "url.path") for s in spans}, {"/body"})
        # A body may be faster than the verdict about it, and more of it stays in the kernel than was meant to.
        self.assertLessEqual({name for name, n in t.summary["drops"].items() if n}, {"window_bytes"})
        self.assertLess(t.summary["record_bytes"], 2 * CONNECTIONS * BODY_BYTES / 20)
        self.assertEqual([name for name in before if after[name] == before[name]], [])

    @staticmethod
    def tasks(process):
        """The workers' thread ids, by name."""
        found = {}
        for task in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{task}/comm", encoding="ascii") as f:
                name = f.read().strip()
            if name.startswith("worker"):
                found[name] = int(task)
        return found

    @staticmethod
    def processor(process, task):
        """Where it ran last."""
        with open(f"/proc/{process.pid}/task/{task}/stat", encoding="ascii") as f:
            return int(f.read().rsplit(")", 1)[1].split()[36])

    def share_apart(self, process, tasks, seconds):
        """How often, of all looks, no two workers are on one processor."""
        looks = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            places = [self.processor(process, task) for task in tasks]
            looks.append(len(set(places)) == len(places))
            time.sleep(0.02)
        return sum(looks) / len(looks)

    def test_left_to_itself_one_for_every_four_processors(self):
        count = min(4, max(1, len(os.sched_getaffinity(0)) // 4))
        t = self.lab.trace("-i", self.web.veth)
        # The only one works on the main thread.
        self.assertEqual(sorted(self.tasks(t.process)), [f"worker {i}" for i in range(count)] if count > 1 else [])
        t.stop()

    def test_each_is_on_a_processor_of_its_own(self):
        processors = sorted(os.sched_getaffinity(0))
        if len(processors) < 2:
            self.skipTest("there are not two processors")
        t = self.lab.trace("-i", self.web.veth, "--workers", "2")
        tasks = self.tasks(t.process)
        self.assertEqual(sorted(tasks), ["worker 0", "worker 1"])
        load = self.user.spawn("wrk", "-t1", "-c16", "-d6s", f"http://{self.web.ip}/ok/")
        time.sleep(0.5)
        self.assertGreater(self.share_apart(t.process, tasks.values(), 2), 0.8)
        # Somebody puts them on one; when they are free again, they part.
        for task in tasks.values():
            os.sched_setaffinity(task, processors[:1])
        time.sleep(0.2)
        for task in tasks.values():
            os.sched_setaffinity(task, processors)
        time.sleep(0.5)
        self.assertGreater(self.share_apart(t.process, tasks.values(), 2), 0.8)
        for task in tasks.values():
            self.assertEqual(sorted(os.sched_getaffinity(task)), processors)
        load.wait(timeout=30)
        t.stop()
        self.assertEqual({name: n for name, n in t.summary["drops"].items() if n}, {})
        self.assertEqual(t.summary["requests"], t.count_lines())

    def test_as_many_as_limit_says(self):
        t = self.lab.trace("-i", self.web.veth, "--workers", "2", "--limit", "1000")
        self.user.run("wrk", "-t1", "-c16", "-d3s", f"http://{self.web.ip}/ok/")
        t.process.wait(timeout=30)
        self.assertEqual(t.process.returncode, 0, t.stderr())
        self.assertEqual(t.count_lines(), 1000)

    def test_status_and_metrics_are_of_all(self):
        run = self.lab.dir("run")
        t = self.lab.trace("-i", self.web.veth, "--workers", "2", "--metrics", "127.0.0.1:9464",
                           "-o", "json", env={**os.environ, "RUNTIME_DIRECTORY": run})
        for _ in range(CONNECTIONS):
            self.user.curl("-o", "/dev/null", f"http://{self.web.ip}/ok/")
        t.wait_spans(CONNECTIONS)
        text = subprocess.run([lab.CLOVISOR, "status"], stdout=subprocess.PIPE, text=True, check=True,
                              env={**os.environ, "RUNTIME_DIRECTORY": run}).stdout
        self.assertIn("2 workers", text)
        self.assertIn(f"requests {CONNECTIONS},", text)
        page = self.lab.run_in(self.lab.node, "curl", "-sS", "http://127.0.0.1:9464/metrics")
        (count,) = re.findall(r"^http_server_request_duration_seconds_count\{.*\} (\d+)$", page, re.M)
        self.assertEqual(int(count), CONNECTIONS)
        t.stop()

    def test_one_where_there_can_be_no_more(self):
        """A capture file has packets in the order in which they came, so one thread writes it."""
        t = self.lab.trace("-i", self.web.veth, "--workers", "2", "-w", self.lab.path("one.pcapng"))
        self.assertEqual(self.threads(t.process), {})
        self.assertIn("with --write there is one worker, not 2", t.stderr())
        t.stop()


if __name__ == "__main__":
    unittest.main()
