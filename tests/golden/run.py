#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden cases: captures made from the descriptions here, and the spans that clovisor must find in them.

    run.py [--clovisor PATH] [--update] [--keep DIR] [NAME...]

NAME.txt describes a capture (tools/mkpcap.py says how), NAME.json holds the spans as `clovisor read --json` prints
them, in this order. Each capture is also copied with `clovisor read -w` and read again: the spans must be the
same; and so must those that several workers find.
--update writes the NAME.json of the named cases (all without names) anew: read the difference before you commit it.
"""

import argparse
import difflib
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
WORKERS = ("2", "3", "8")

import mkpcap  # noqa: E402


def pretty(lines):
    """For people: one attribute a line, so that a difference shows what differs."""
    out = []
    for line in lines:
        try:
            out += json.dumps(json.loads(line), indent=1, ensure_ascii=False).split("\n")
        except ValueError:
            out.append("not JSON: " + line)
    return out


class Case:
    def __init__(self, path, args, scratch):
        self.name = path.stem
        self.clovisor = args.clovisor
        self.expected = path.with_suffix(".json")
        self.pcap = scratch / (self.name + ".pcap")
        self.copy = scratch / (self.name + ".copy.pcapng")
        self.capture = mkpcap.parse(path.read_text(encoding="utf-8"))
        self.pcap.write_bytes(self.capture.bytes())

    def read(self, file, *more):
        stdin = self.capture.stdin and file == self.pcap
        command = [self.clovisor, "read", "--json", *self.capture.args, *more, "-" if stdin else str(file)]
        with open(file if stdin else "/dev/null", "rb") as f:
            return subprocess.run(command, stdin=f, capture_output=True, timeout=60, check=False)

    def problems(self, update):
        """What is wrong, as lines of text; none when the case passes."""
        run = self.read(self.pcap, "-w", str(self.copy))
        errors = run.stderr.decode(errors="replace")
        lines = run.stdout.decode().splitlines()
        if run.returncode != self.capture.exit:
            return ["exit status %d, not %d" % (run.returncode, self.capture.exit), errors]
        if self.capture.warns and self.capture.warns not in errors:
            return ["standard error does not say %r:" % self.capture.warns, errors]
        if update:
            self.expected.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        if not self.expected.exists():
            return ["%s is missing (--update writes it)" % self.expected.name]
        expected = self.expected.read_text(encoding="utf-8").splitlines()
        if lines != expected:
            return list(difflib.unified_diff(pretty(expected), pretty(lines), "expected", "found", lineterm="", n=4))
        # Threads that share the connections see the same, in any order; so do those of a capture that ends badly.
        for workers in WORKERS:
            run = self.read(self.pcap, "--workers", workers)
            found = sorted(run.stdout.decode().splitlines())
            if found != sorted(expected) or run.returncode != self.capture.exit:
                return ["by %s workers, exit status %d:" % (workers, run.returncode),
                        *difflib.unified_diff(pretty(sorted(expected)), pretty(found), "expected", "found",
                                              lineterm="", n=4)]
        copy = self.read(self.copy).stdout.decode().splitlines()
        if copy != expected:
            return ["read again from what -w wrote:",
                    *difflib.unified_diff(pretty(expected), pretty(copy), "expected", "found", lineterm="", n=4)]
        return []


def run_case(path, args, scratch):
    try:
        return Case(path, args, scratch).problems(args.update)
    except (mkpcap.Error, OSError, UnicodeDecodeError, subprocess.TimeoutExpired) as e:
        return [str(e)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--clovisor", default=str(ROOT / "build" / "clovisor"), help="the binary (build/clovisor)")
    parser.add_argument("--update", action="store_true", help="take what is found for what is expected")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the captures in this directory")
    parser.add_argument("names", nargs="*", help="cases (all)")
    args = parser.parse_args()
    paths = [HERE / (n + ".txt") for n in args.names] or sorted(HERE.glob("*.txt"))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="clovisor-golden-") as scratch:
        scratch = args.keep or pathlib.Path(scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        for path in paths:
            problems = run_case(path, args, scratch)
            failed += bool(problems)
            if problems:
                print("FAIL %s\n  %s" % (path.stem, "\n  ".join(problems)))
    print("%d passed, %d failed" % (len(paths) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
