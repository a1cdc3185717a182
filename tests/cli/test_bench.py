#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`clovisor bench`: what it counts, what it prints, what it refuses; its times are not judged. What tests/bench/count
says of its counts, and what tests/bench/scaling.py computes. Needs no root.

usage: [CLOVISOR=PATH] tests/cli/test_bench.py [NAME...]
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import re
import struct
import sys
import tempfile
import unittest

from test_cli import ROOT, capture, clovisor, many, runner

HEADER = struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101)
ANSWER = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok"
ROWS = ("engine", "json", "otlp")


def report(*args, data):
    done = clovisor("bench", "--json", "--repeat", "2", *args, "-", stdin=data)
    assert done.returncode == 0 and not done.err, done.err
    return json.loads(done.stdout)


def program(name):
    """A program of tests/bench as a module."""
    loader = importlib.machinery.SourceFileLoader(name.removesuffix(".py"), os.path.join(ROOT, "tests", "bench", name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


class Bench(unittest.TestCase):
    def test_counts(self):
        r = report(data=many(50))
        counts = [r[k] for k in ("file", "packets", "complete", "connections", "requests", "spans", "repeat")]
        self.assertEqual(counts, ["-", 102, True, 1, 50, 50, 2])
        asked = sum(len(b"GET /%d HTTP/1.1\r\nHost: shop\r\n\r\n" % i) for i in range(50))
        self.assertEqual(r["payload_bytes"], asked + 50 * len(ANSWER))
        self.assertEqual(r["drops"], {})
        self.assertEqual(set(r["rows"]), {"read", *ROWS})
        for row in r["rows"].values():
            self.assertGreater(row["ns_per_packet"], 0)
            self.assertLessEqual(row["ns_per_packet"], row["median_ns_per_packet"])

    def test_rows_are_what_is_written(self):
        """The lines of the row are those that `read` prints, to the byte."""
        data = many(20)
        lines = clovisor("read", "--json", "-", stdin=data).stdout
        rows = report(data=data)["rows"]
        self.assertEqual(rows["json"]["bytes_per_span"], len(lines) / 20)
        self.assertEqual(rows["engine"]["bytes_per_span"], 0)
        self.assertTrue(0 < rows["otlp"]["bytes_per_span"] < rows["json"]["bytes_per_span"])

    def test_options_of_the_engine(self):
        self.assertEqual(report("--port", "81", data=many(3))["spans"], 0)
        hidden = report("--redact", "[0-9]", data=many(9))["rows"]["json"]["bytes_per_span"]
        self.assertEqual(hidden, report(data=many(9))["rows"]["json"]["bytes_per_span"] + len("REDACTED") - 1)

    def test_only(self):
        for row in ROWS:
            r = report("--only", row, data=many(3))
            self.assertEqual((set(r["rows"]), r["spans"]), ({"read", row}, 3))

    def test_workers_share_the_connections(self):
        """Each packet once, and as many spans and bytes of lines, by however many threads."""
        port = struct.pack(">H", 40000)  # of the capture's client
        data = HEADER + b"".join(many(5)[24:].replace(port, struct.pack(">H", 40000 + i)) for i in range(6))
        alone, shared = report(data=data), report("--workers", "3", data=data)
        for key in ("packets", "payload_bytes", "connections", "requests", "spans", "drops"):
            self.assertEqual(shared[key], alone[key], key)
        self.assertEqual(shared["spans"], 30)
        self.assertEqual([r["workers"] for r in (alone, shared)], [1, 3])
        for row in ROWS:
            self.assertEqual(shared["rows"][row]["bytes_per_span"], alone["rows"][row]["bytes_per_span"])
            self.assertGreater(shared["rows"][row]["ns_per_packet"], 0)
        self.assertIn(b"3 at once, by the clock", clovisor("bench", "--workers", "3", "-", stdin=data).stdout)

    def test_what_is_missing_is_told(self):
        c = capture(b"/1")
        orphan = c[:24] + c[-(16 + 40 + len(ANSWER)):]
        self.assertEqual(report(data=orphan)["drops"], {"drop_orphan_responses": 1})
        self.assertIn(b"drop_orphan_responses: 1 (", clovisor("bench", "--repeat", "1", "-", stdin=orphan).stdout)

    def test_no_allocation_once_all_is_seen(self):
        self.assertEqual(report(data=many(2000))["allocations"], 0)

    def test_text(self):
        done = clovisor("bench", "--repeat", "1", "-", stdin=many(5))
        self.assertEqual((done.returncode, done.err), (0, ""))
        text = done.stdout.decode()
        self.assertRegex(text, r"\A12 packets .*, 1 connections, 5 requests, 5 spans; the best of 1\n")
        for title in ("reading, decoding", "engine", r"engine \+ JSON lines", r"engine \+ OTLP"):
            self.assertRegex(text, rf"(?m)^{title}( +[0-9.]+){{6}}$")

    def test_cut_file(self):
        done = clovisor("bench", "--json", "--repeat", "1", "-", stdin=many(5)[:-10])
        self.assertEqual(done.returncode, 0)
        self.assertIn("cut short", done.err)
        self.assertEqual(json.loads(done.stdout)["packets"], 11)


class Refused(unittest.TestCase):
    """One line that says why, and nothing else."""

    def check(self, code, *args, says, stdin=b""):
        with self.subTest(args):
            done = clovisor("bench", *args, stdin=stdin)
            self.assertEqual((done.returncode, done.stdout), (code, b""), done.err)
            self.assertRegex(done.err, rf"\Aclovisor[^\n]*{re.escape(says)}[^\n]*\n\Z")

    def test_command_line(self):
        self.check(2, says="FILE")
        self.check(2, "a", "b", says="b")
        for n in ("0", "-1", "x", "", "1001", "1x"):
            self.check(2, "--repeat", n, "-", says="--repeat")
        for n in ("0", "9", "x"):
            self.check(2, "--workers", n, "-", says="--workers")
        self.check(2, "--only", "text", "-", says="engine, json, otlp")

    def test_input(self):
        self.check(1, "nothing-like-it.pcap", says="nothing-like-it.pcap")
        self.check(1, "-", stdin=b"x" * 200, says="standard input")
        self.check(1, "-", stdin=HEADER, says="nothing to measure")


class Judged(unittest.TestCase):
    """tests/bench/count: what it says of a count and the stored one."""

    KEY = "a compiler"

    def setUp(self):
        self.count = program("count")
        self.count.BASELINE = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "baseline.json")
        with open(self.count.BASELINE, "w", encoding="utf-8") as f:
            json.dump({self.KEY: {"case": 1000.0}}, f)

    def judge(self, found, key=KEY, name="case", update=False):
        verdicts, said = self.count.Verdicts(update), io.StringIO()
        with contextlib.redirect_stdout(said):
            verdicts.judge(key, name, found, "instructions")
        return (verdicts.passed, verdicts.failed, verdicts.skipped), said.getvalue(), verdicts

    def test_within(self):
        for found in (1000, 1049, 951):
            said = f"ok   case: {found} instructions ({found / 10 - 100:+.1f}%)\n"
            self.assertEqual(self.judge(found)[:2], ((1, 0, 0), said))

    def test_more(self):
        sums, said, _ = self.judge(1060)
        self.assertEqual(sums, (0, 1, 0))
        self.assertRegex(said, r"\AFAIL case: 1060 .*6\.0% more than the 1000 .*tests/bench/count --update")

    def test_less(self):
        sums, said, _ = self.judge(940)
        self.assertEqual(sums, (1, 0, 0))
        self.assertIn("(-6.0%); cheaper than stored", said)

    def test_nothing_stored(self):
        for given in ({"key": "another compiler"}, {"name": "another case"}):
            sums, said, _ = self.judge(1000, **given)
            self.assertEqual(sums, (0, 0, 1))
            self.assertIn("none stored for", said)

    def test_store(self):
        self.judge(2000, key="another compiler", update=True)[2].store()
        self.assertEqual(self.judge(2000, key="another compiler")[0], (1, 0, 0))
        self.assertEqual(self.judge(1000)[0], (1, 0, 0))

    def test_flat(self):
        for many, sums in ((1490, (1, 0, 0)), (1510, (0, 1, 0))):
            verdicts = self.count.Verdicts(False)
            verdicts.fresh = {self.KEY: {"10 flows, engine": 1000, "100,000 flows, engine": many}}
            with contextlib.redirect_stdout(io.StringIO()):
                verdicts.flat(self.KEY)
            self.assertEqual((verdicts.passed, verdicts.failed, verdicts.skipped), sums)


class Scaling(unittest.TestCase):
    """docs/scaling.md says what tests/bench/scaling.py computes from tests/bench/measured.json."""

    def setUp(self):
        self.scaling = program("scaling.py")
        self.groups = self.scaling.load()

    def test_page(self):
        with open(self.scaling.PAGE, encoding="utf-8") as f:
            page = f.read()
        self.assertEqual(page, self.scaling.filled(page, self.scaling.tables(self.groups)),
                         "tests/bench/scaling.py --update writes the tables")

    def test_sources(self):
        for name, figure in self.groups["measured"].items():
            self.assertRegex(figure["date"], r"^20\d\d-\d\d-\d\d$", name)
            self.assertTrue(figure["source"], name)
        for name, figure in self.groups["others"].items():
            self.assertTrue(figure["source"], name)

    def test_every_figure_counts(self):
        """A figure that changes no table but its own row would be there for nothing."""
        tables = self.scaling.tables(self.groups)
        for group in self.groups.values():
            for name, figure in group.items():
                before, figure["value"] = figure["value"], figure["value"] * 8
                other = self.scaling.tables(self.groups)
                figure["value"] = before
                self.assertTrue(any(tables[t] != other[t] for t in tables if t != "inputs"), name)

    def test_what_the_bench_measured(self):
        run = {"workload": "W1", "observer": "clovisor, OTLP", "requests": 1000}
        runs = [run | {"agent_ns": ns} for ns in (500000, 700000, 600000)]
        runs.append(run | {"observer": "tcpdump", "agent_ns": 1})
        self.scaling.take(self.groups, {"date": "2026-02-03", "cpu": "some processor", "runs": runs,
                                        "kernel": {"pure ACK": 50, "record of 400 B": 200}})
        measured = self.groups["measured"]
        names = "agent_us_per_request", "kernel_ns_per_head", "kernel_ns_per_ack"
        self.assertEqual([measured[n]["value"] for n in names], [0.6, 200, 50])
        self.assertEqual({(measured[n]["source"], measured[n]["date"]) for n in names},
                         {("make bench, some processor", "2026-02-03")})
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), "measured.json")
        self.scaling.save(self.groups, path)
        self.assertEqual(self.scaling.load(path), self.groups)

    def test_known_cluster(self):
        """A hundred nodes by hand."""
        f = self.scaling.Figures(self.groups)
        spans = 100 * f.requests_per_node * f.spans_per_request * f.headroom
        row = next(r for r in self.scaling.cluster(f).split("\n") if r.startswith("| 100 |"))
        self.assertIn(f"| {spans:,} |", row)
        self.assertTrue(row.endswith(f"| {-(-spans // (f.collector_spans_per_core * f.collector_cores))} |"), row)

    def test_numbers(self):
        for x, text in ((0.0, "0"), (0.1234, "0.12"), (1.0, "1.0"), (12.34, "12"), (1234.5, "1,230"), (7, "7"),
                        (1234, "1,234")):
            self.assertEqual(self.scaling.number(x), text)
        sizes = [self.scaling.size(x) for x in (5, 2500.0, 3e15, 4e18)]
        self.assertEqual(sizes, ["5 B", "2.5 kB", "3.0 PB", "4,000 PB"])

    def test_places(self):
        with self.assertRaises(ValueError):
            self.scaling.filled("<!-- table node -->\n<!-- end -->\n", self.scaling.tables(self.groups))


def main():
    return runner.module(__name__, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
