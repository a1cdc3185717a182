# SPDX-License-Identifier: Apache-2.0
"""The collector is away while 2,000 requests a second are made: with a spool nothing is lost, memory stays in bounds.
Ten seconds; with tests/backends/run --long the full minute."""

import os

import backends
import lab
import pods

RATE = 2000
SECONDS = 60 if "CLVT_LONG" in os.environ else 10
RSS_MAX = 96 << 20  # --memory 64 MiB, and what any process needs


def peak_rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


class Outage(pods.TwoPods):
    def trace_server(self, *args):
        """One span a request: only the server is watched, and nothing else takes the spans."""
        return self.lab.trace("-i", self.server.veth, "--service", f"{self.server.veth}=server", "--memory", "64M",
                              *args, env=os.environ | pods.SOON)

    def check_all_there(self, tracer, collector, made):
        collector.wait_spans(made, 60)
        rss = peak_rss(tracer.process.pid)
        tracer.stop(parse=False)
        collector.stop()
        sent = [s["span_id"] for s in collector.stream() if s["kind"] == "SERVER"]
        self.assertEqual(len(set(sent)), made)
        twice = len(sent) - made
        print(f"     {made} requests, {twice} of their spans came twice, at most {rss / 1e6:.1f} MB", flush=True)
        self.assertLess(rss, RSS_MAX)

    def test_collector_goes_and_comes_back(self):
        collector = self.start(backends.Collector)
        spool = self.lab.dir("spool")
        tracer = self.trace_server("--otlp", f"http://{collector.http}", "--spool", spool, "--spool-max", "256MiB")
        made = self.load("paced", self.server.ip, RATE, 2)["answered"]
        collector.wait_spans(made)
        collector.stop()
        made += self.load("paced", self.server.ip, RATE, SECONDS)["answered"]
        self.assertLessEqual(collector.count_spans(), made)
        collector.start()
        made += self.load("paced", self.server.ip, RATE, 2)["answered"]
        self.check_all_there(tracer, collector, made)

    def test_collector_is_not_there_at_the_start(self):
        collector = backends.Collector(self.lab.top, ns=self.lab.node)
        self.addCleanup(collector.stop)
        tracer = self.trace_server("--otlp", f"http://{collector.http}", "--spool", self.lab.dir("spool-late"))
        made = self.load("paced", self.server.ip, RATE, 2)["answered"]
        collector.start()
        self.check_all_there(tracer, collector, made)

    def test_clovisor_restarts_while_the_collector_is_away(self):
        """What the first one could not send, the second one sends."""
        collector = backends.Collector(self.lab.top, ns=self.lab.node)
        self.addCleanup(collector.stop)
        options = ("--otlp", f"http://{collector.http}", "--spool", self.lab.dir("spool-handed-over"))
        first = self.trace_server(*options)
        made = self.load("paced", self.server.ip, RATE, 2)["answered"]
        lab.wait_for("its spans", lambda: len(first.lines()) >= made)
        first.stop(parse=False)
        second = self.trace_server(*options)
        collector.start()
        self.check_all_there(second, collector, made)
