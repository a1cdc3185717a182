#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which of the spans that clovisor shows reach a collector: samplers, from the command line and the environment.

usage: [CLOVISOR=PATH] tests/export/test_sampling.py [NAME...]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tools")]
sys.dont_write_bytecode = True

import fake_collector  # noqa: E402
import mkpcap  # noqa: E402

CLOVISOR = os.environ.get("CLOVISOR", os.path.join(ROOT, "build", "clovisor"))
REQUESTS = 300


def capture():
    """One connection: every tenth answer an error, every seventh slow; of four, one sampled elsewhere and one not."""
    text = ["open"]
    for i in range(REQUESTS):
        text += [f"> GET /{i} HTTP/1.1", "| Host: shop"]
        if i % 4 < 2:
            text.append(f"| traceparent: 00-{i + 1:032x}-{i + 1:016x}-0{i % 4}")
        text += ["|", "wait 200ms" if i % 7 == 0 else "wait 1ms"]
        text += [f"< HTTP/1.1 {500 if i % 10 == 0 else 200} X", "| Content-Length: 0", "|"]
    return mkpcap.parse("\n".join([*text, "close", ""])).bytes()


class Sampling(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.NamedTemporaryFile(suffix=".pcap")
        self.addCleanup(self.file.close)
        self.file.write(capture())
        self.file.flush()

    def run_it(self, *options, **env):
        """The numbers of the requests whose spans arrived; and all spans, by that number."""
        with fake_collector.Http() as collector, tempfile.NamedTemporaryFile() as summary:
            done = subprocess.run([CLOVISOR, "read", "--json", "--otlp", collector.url, "--otlp-metrics", "false",
                                   "--summary", summary.name, *options, self.file.name], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                                  env={**os.environ, **env})
            self.assertEqual(done.returncode, 0, done.stderr)
            shown = {int(s["attributes"]["url.path"][1:]): s for s in map(json.loads, done.stdout.splitlines())}
            self.assertEqual(len(shown), REQUESTS, "sampling hides nothing from standard output")
            arrived = {n for n, s in shown.items() if int(s["span_id"], 16) in collector.got}
            self.assertEqual(len(arrived), len(collector.got))
            self.figures = json.load(summary)
        left_out = sum(v for k, v in self.figures.items() if k.startswith("sampled_out_"))
        self.assertEqual(len(arrived) + left_out, REQUESTS)
        return arrived, shown

    def test_default_honours_the_callers(self):
        arrived, _ = self.run_it()
        self.assertEqual(arrived, {i for i in range(REQUESTS) if i % 4 != 0})
        self.assertEqual(self.figures["sampled_out_parent"], REQUESTS / 4)

    def test_always_on(self):
        arrived, _ = self.run_it("--sampler", "always_on")
        self.assertEqual(len(arrived), REQUESTS)

    def test_ratio_is_that_of_the_trace_id(self):
        wanted = {}
        for by in ("option", "environment"):
            options = ("--sampler", "traceidratio=0.3") if by == "option" else ()
            env = {} if options else {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.3"}
            arrived, shown = self.run_it(*options, **env)
            wanted = {n for n, s in shown.items() if int(s["trace_id"][-14:], 16) >= 0.7 * 2**56}
            self.assertEqual(arrived, wanted)
        self.assertTrue(0 < len(wanted) < REQUESTS)

    def test_the_command_line_wins(self):
        arrived, _ = self.run_it("--sampler", "always_on", OTEL_TRACES_SAMPLER="always_off")
        self.assertEqual(len(arrived), REQUESTS)

    def test_kept_whatever_the_sampler_says(self):
        arrived, _ = self.run_it("--sampler", "always_off", "--sample-keep", "errors", "--sample-keep", "slower=150ms")
        self.assertEqual(arrived, {i for i in range(REQUESTS) if i % 10 == 0 or i % 7 == 0})

    def test_rate(self):
        """The whole capture lasts some nine seconds."""
        arrived, _ = self.run_it("--sampler", "always_on", "--sample-rate", "5")
        self.assertTrue(40 <= len(arrived) <= 60, len(arrived))

    def test_filters_hold_for_the_collector_too(self):
        with fake_collector.Http() as collector:
            subprocess.run([CLOVISOR, "read", "--otlp", collector.url, "--filter", "status=500", "--sampler",
                            "always_on", self.file.name], check=True, timeout=60, stderr=subprocess.DEVNULL)
            self.assertEqual(len(collector.got), REQUESTS / 10)


if __name__ == "__main__":
    program = unittest.main(exit=False, argv=[sys.argv[0], *sys.argv[1:]])
    bad = len(program.result.failures) + len(program.result.errors)
    skipped = len(program.result.skipped)
    print(f"{program.result.testsRun - bad - skipped} passed, {bad} failed, {skipped} skipped")
    sys.exit(bool(bad))
