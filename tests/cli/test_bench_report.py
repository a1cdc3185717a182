#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the bench makes of its figures, from a stored result that nobody measured: tests/bench/sample.json.

usage: tests/cli/test_bench_report.py [NAME...]
"""

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(os.path.dirname(HERE), "bench")
sys.path[:0] = [os.path.dirname(HERE), BENCH, os.path.join(os.path.dirname(HERE), "netns")]
sys.dont_write_bytecode = True
import figures  # noqa: E402
import offline  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import runner  # noqa: E402

PERF = """  77
\t    55d0 clv_engine_packet+0x10
\t    55d1 main

  77
\t    55d2 memcpy
\t    55d0 clv_engine_packet+0x20
\t    55d1 main

  78
\t    55d3 write
"""


def sample():
    with open(os.path.join(BENCH, "sample.json"), encoding="utf-8") as f:
        return json.load(f)


def bar(result, words):
    found = [b for b in figures.bars(result) if words in b.what]
    assert len(found) == 1, f"{words}: {[b.what for b in found]}"
    return found[0]


class Figures(unittest.TestCase):
    def test_a_ratio_is_to_the_neighbours(self):
        result = sample()
        f = figures.Figures(result, "W1", "clovisor")
        self.assertEqual(f.throughput, (.91, .905, .915))
        result["runs"][0]["rate"] *= 2  # beside the first of two
        self.assertEqual(figures.Figures(result, "W1", "clovisor").throughput[0], (.45 + .92) / 2)

    def test_processor_time_is_everybodys(self):
        f = figures.Figures(sample(), "W1", "clovisor")
        self.assertAlmostEqual(f.cpu[0], 20.4 / 20)
        self.assertAlmostEqual(f.agent_us[0], .4)

    def test_nothing_is_rounded_up_to_all(self):
        self.assertEqual(report.share(1), "1")
        self.assertEqual(report.share(.99999), "0.9999")
        self.assertEqual(report.share(.54), "0.54")
        self.assertEqual(report.share(1.5), "1.5000")


    def test_what_bpf_bench_prints_is_understood(self):
        with open(os.path.join(BENCH, "bpf_bench.c"), encoding="utf-8") as f:
            self.assertIn("ns, %5u more than nothing", f.read())
        self.assertEqual(offline.kernel_cases("pure ACK            79 ns,    41 more than nothing\nother\n"),
                         {"pure ACK": (79, 41)})


class Bars(unittest.TestCase):
    def test_two_engines_stand_beside_the_one_before(self):
        result = sample()
        self.assertAlmostEqual(figures.engine_gain(result)[0], (500 / 300 + 540 / 300) / 2)
        result["engines"][1]["ns_per_packet"] = result["engines"][3]["ns_per_packet"] = 320
        self.assertIs(bar(result, "engine: packets/s of two").met, False)
        result["engines"] = []
        self.assertIs(bar(result, "engine: packets/s of two").met, None)

    def test_each_is_judged_by_its_figure(self):
        verdicts = {b.what: b.met for b in figures.bars(sample())}
        self.assertIs(verdicts["W1: throughput, of tcpdump's"], True)
        self.assertIs(verdicts["W1: agent's CPU, of httpry's"], True)
        self.assertIs(verdicts["W5: p99 of the traced server, of bare"], False)
        self.assertIs(verdicts["file: packets/s, of tcpdump's"], True)
        self.assertIs(verdicts["engine: packets/s of two threads, of one's"], True)
        self.assertIs(verdicts["file: CPU per packet, most of least, 10 to 100,000 connections"], False)
        self.assertIs(verdicts["kernel: flow that is not wanted, ns"], False)
        self.assertIs(verdicts["attaching while W1 runs: lost, clsact and tcx"], True)
        self.assertIs(verdicts["W3: throughput, of bare"], None)

    def test_a_worse_figure_is_not_met(self):
        result = sample()
        for run in result["runs"]:
            if run["observer"] == "clovisor":
                run["rate"] *= .9
        self.assertIs(bar(result, "W1: throughput, of tcpdump's").met, False)
        self.assertIn("**not met**", bar(result, "W1: throughput, of tcpdump's").row())

    def test_a_loss_that_was_counted_is_one_all_the_same(self):
        result = sample()
        self.assertIs(bar(result, "nothing lost").met, False)
        self.assertEqual(figures.exact_runs(result), (2, 3))
        result["runs"][-1].update(lost={}, complete=1)
        self.assertIs(bar(result, "nothing lost").met, True)
        result["attach"][0]["spans"] -= 1
        self.assertIs(bar(result, "attaching").met, False)


class Report(unittest.TestCase):
    def test_the_page_has_every_figure_and_no_gap(self):
        with tempfile.TemporaryDirectory() as directory:
            report.write(sample(), directory)
            with open(os.path.join(directory, "performance.md"), encoding="utf-8") as f:
                text = f.read()
            self.assertNotIn("{{", text)
            self.assertIn("| clovisor | 91,000 | 0.91 (0.91-0.92) |", text)
            self.assertIn("| W5: p99 of the traced server, of bare | 1.20 | <= 1.05 | **not met** |", text)
            self.assertIn("A processor, 2 processors, 24 GiB", text)
            self.assertIn("| Linux 6.18.0, x86_64 |", text)
            self.assertIn("| pure ACK | 55 | 23 |", text)
            for path in re.findall(r"!\[\w+\]\((.*?)\)", text):
                xml.etree.ElementTree.parse(os.path.join(directory, path))
            self.assertIn("performance/throughput.svg", text)
            self.assertNotIn("performance/flame-live.svg", text)  # nobody has drawn it

    def test_what_was_not_measured_is_said(self):
        result = sample()
        result.update(runs=[], workloads={}, attach=[], idle=[], offline=[], engines=[], flows=[], kernel={})
        text = report.page(result)
        self.assertNotIn("| met |", text)
        self.assertIn("(not measured)", text)

    def test_the_same_figures_make_the_same_bytes(self):
        self.assertEqual(report.plots(sample()), report.plots(copy.deepcopy(sample())))

    def test_names_are_escaped(self):
        groups = [("c & d", [("<e>", (1, .5, 2))])]
        xml.etree.ElementTree.fromstring(plot.bars("a < b", groups, "{:.1f}".format, log=True, mark=1))


class Flame(unittest.TestCase):
    def test_stacks_become_boxes(self):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(PERF)
            f.flush()
            done = subprocess.run([os.path.join(BENCH, "flame"), "--fold", f.name], capture_output=True, text=True,
                                  check=True)
        svg = xml.etree.ElementTree.fromstring(done.stdout)
        titles = {t.text for t in svg.iter("{http://www.w3.org/2000/svg}title")}
        self.assertLessEqual({"all: 100.0 %", "main: 66.7 %", "clv_engine_packet: 66.7 %", "memcpy: 33.3 %",
                              "write: 33.3 %"}, titles)


class Command(unittest.TestCase):
    def test_an_unknown_workload_is_named(self):
        done = subprocess.run([os.path.join(BENCH, "run"), "W1", "W99"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("W99", done.stderr)


if __name__ == "__main__":
    sys.exit(runner.module("__main__", sys.argv[1:]))
