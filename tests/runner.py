# SPDX-License-Identifier: Apache-2.0
"""Runs tests: the test_*.py of a directory (tests/netns/run, tests/backends/run, tests/kube/run), those of one module,
or functions.

One line a test, why it failed at once, and the sum in the last line. A test that is skipped says why.
"""

import argparse
import os
import signal
import sys
import time
import traceback
import unittest


class Result(unittest.TestResult):
    """One line a test, and why it failed at once."""

    def startTest(self, test):
        super().startTest(test)
        self.begin, self.bad = time.monotonic(), len(self.failures) + len(self.errors)

    def stopTest(self, test):
        super().stopTest(test)
        trouble = (self.failures + self.errors)[self.bad:]
        skipped = next((why for t, why in self.skipped if t is test), None)
        word = "FAIL" if trouble else "skip" if skipped else "ok  "
        seconds = time.monotonic() - self.begin
        print(f"{word} {test.id()} ({seconds:.1f} s){' ' + skipped if skipped else ''}", flush=True)
        for _, text in trouble:
            print(text, flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        if not isinstance(test, unittest.TestCase):  # setUpClass and the like have no stopTest
            print(f"FAIL {test}\n{self.errors[-1][1]}", flush=True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if not isinstance(test, unittest.TestCase):  # a class that is skipped as a whole counts once
            print(f"skip {test}: {reason}", flush=True)

    def sums(self):
        """Passed, failed, skipped."""
        failed, skipped = self.failures + self.errors, [t for t, _ in self.skipped]
        did_not_pass = {id(t) for t in [t for t, _ in failed] + skipped if isinstance(t, unittest.TestCase)}
        return self.testsRun - len(did_not_pass), len(failed), len(skipped)


def pick(suite, words):
    """The tests whose names contain one of the words."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from pick(item, words)
        elif not words or any(w in item.id() for w in words):
            yield item


class Skip(Exception):
    """A test that is a function cannot run here; says why."""


def functions(namespace, words):
    """Runs the functions test_* of a namespace whose names contain one of the words; the exit status."""
    tests = {n[5:]: t for n, t in namespace.items() if n.startswith("test_")}
    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    for name, test in tests.items():
        if words and not any(w in name for w in words):
            continue
        begin, why, result = time.monotonic(), "", "ok"
        try:
            test()
        except Skip as e:
            result, why = "skipped", f": {e}"
        except Exception:
            result, why = "FAILED", "\n" + traceback.format_exc()
        counts[result] += 1
        print(f"{result} {name} ({time.monotonic() - begin:.1f} s){why}", flush=True)
    print(f"{counts['ok']} passed, {counts['FAILED']} failed, {counts['skipped']} skipped")
    return 1 if counts["FAILED"] or not counts["ok"] else 0


def module(name, words):
    """Runs the tests of a module that is loaded, those whose names contain one of the words; the exit status."""
    result = Result()
    unittest.TestSuite(pick(unittest.defaultTestLoader.loadTestsFromName(name), words)).run(result)
    print("%d passed, %d failed, %d skipped" % result.sums())
    return 0 if result.wasSuccessful() else 1


def parse(usage):
    """The options that all have; `usage` is the docstring of the program."""
    parser = argparse.ArgumentParser(usage=usage.split("usage: ")[1].split("     NAME")[0], add_help=False)
    parser.add_argument("-l", "--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--clovisor")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    if options.help:
        print(usage.strip())
        sys.exit(0)
    return options


def run(here, usage, why_not=lambda: ""):
    """Runs the tests of directory `here` that the command line names; the exit status. why_not() says in one line why
    none of them can run here."""
    options = parse(usage)
    if options.clovisor:
        os.environ["CLOVISOR"] = os.path.abspath(options.clovisor)
    if options.long:
        os.environ["CLVT_LONG"] = "1"
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    why = why_not()
    if why and not options.list:
        print(f"skip: {why}\n0 passed, 0 failed, 1 skipped")
        return 0
    tests = list(pick(unittest.defaultTestLoader.discover(here), options.words))
    if options.list:
        print("\n".join(t.id() for t in tests))
        return 0
    for sig in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: everything is taken down
        signal.signal(sig, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    result = Result()
    unittest.TestSuite(tests).run(result)
    print("%d passed, %d failed, %d skipped" % result.sums())
    return 1 if result.failures or result.errors or not (result.testsRun or result.skipped) else 0


def main(here, usage, why_not=lambda: ""):
    """run(), and the program's end."""
    try:
        sys.exit(run(here, usage, why_not))
    except KeyboardInterrupt:
        print("interrupted: everything taken down", file=sys.stderr)
        sys.exit(130)
