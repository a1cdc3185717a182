#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Holds `clovisor read` to the HTTP/1 transactions of a directory of foreign captures.

usage: compare_http1.py [-v] [--clovisor PATH] [CORPORA]       CORPORA: ../shared/corpora, or $CORPORA

CORPORA has captures with their ground truth beside them and tools/compare.py, which scores one capture. Here each
capture that expects HTTP/1 is scored, and judged; all others are read, too:
  failed   must be 0: a crash, a hang, an exit status, output that is not JSON
  wrong    must be 0, but for rows explained in explained.tsv
  found    must be 99 % of what is expected without those rows
explained.tsv: capture, how many rows miss, of them how many look wrong, and why the other side is mistaken. An
explanation that no longer holds (fewer rows miss) is told, so that the list stays true.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FOUND_PERCENT = 99.0
SCORE = re.compile(r"^expected (\d+) found (\d+) wrong (\d+) extra (\d+) ", re.M)


def rows_of(oracle):
    """(HTTP/1 rows, all rows)"""
    if not os.path.exists(oracle):
        return 0, 0
    with open(oracle, errors="replace", encoding="utf-8") as f:
        rows = [line.split("\t") for line in f if not line.startswith("stream\t") and line.count("\t") >= 11]
    return sum(1 for r in rows if r[7] == "h1"), len(rows)


def captures(top):
    """Two lists: those whose every row is HTTP/1, and those that can only be read so far."""
    scored, others = [], []
    for directory, _, files in os.walk(top):
        for name in sorted(files):
            path, oracle = os.path.join(directory, name), os.path.join(directory, name + ".oracle.tsv")
            if not re.search(r"\.(pcap|pcapng|cap)(\.gz)?$", name):
                continue
            http1, rows = rows_of(oracle)
            (scored if http1 and http1 == rows else others).append(path)
    return scored, others


def explanations():
    table = {}
    with open(os.path.join(HERE, "explained.tsv"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                capture, missing, wrong, why = line.rstrip("\n").split("\t")
                table[capture] = (int(missing), int(wrong), why)
    return table


def score(tool, clovisor, capture):
    done = subprocess.run([sys.executable, tool, "-v", "--clovisor", clovisor, capture], capture_output=True,
                          text=True, check=False)
    numbers = SCORE.search(done.stdout)
    return (tuple(map(int, numbers.groups())) if numbers and done.returncode == 0 else None), done.stdout + done.stderr


def survives(clovisor, capture):
    """Whether reading ends by itself, with an exit status of its own choice and nothing but JSON."""
    try:
        done = subprocess.run([clovisor, "read", "--json", capture], capture_output=True, timeout=120, check=False)
        for line in done.stdout.splitlines():
            json.loads(line)
    except (subprocess.TimeoutExpired, ValueError) as e:
        return repr(e)
    return "" if done.returncode in (0, 1) else f"exit {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"


def main():
    args = sys.argv[1:]
    verbose = "-v" in args
    args = [a for a in args if a != "-v"]
    clovisor = os.path.join(ROOT, "build", "clovisor")
    if "--clovisor" in args:
        i = args.index("--clovisor")
        clovisor = args[i + 1]
        del args[i:i + 2]
    top = args[0] if args else os.environ.get("CORPORA", os.path.join(ROOT, "..", "shared", "corpora"))
    tool = os.path.join(top, "tools", "compare.py")
    if not os.path.exists(tool):
        print(f"skip: no corpora at {os.path.relpath(top, ROOT)}\n0 passed, 0 failed, 1 skipped")
        return 0

    explained, (scored, others) = explanations(), captures(top)
    failed = missing_unexplained = expected_total = found_total = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for capture, (numbers, log) in zip(scored, pool.map(lambda c: score(tool, clovisor, c), scored)):
            name = os.path.relpath(capture, top)
            if numbers is None:
                failed += 1
                print(f"FAIL {name}: did not run through\n{log[-2000:]}")
                continue
            expected, found, wrong, extra = numbers
            missing_ok, wrong_ok, why = explained.get(name, (0, 0, ""))
            missing = expected - found
            missing_unexplained += max(0, missing - missing_ok)
            expected_total += expected
            found_total += found
            if wrong > wrong_ok:
                failed += 1
                print(f"FAIL {name}: {wrong} wrong, {wrong_ok} explained")
            if missing > missing_ok:
                print(f"miss {name}: {missing} of {expected} rows missing, {missing_ok} explained")
            if verbose and (missing or wrong or extra):
                print(f"     {name}: expected {expected} found {found} wrong {wrong} extra {extra} {why}")
                print("".join(l + "\n" for l in log.splitlines() if l.startswith("  miss")), end="")
            if why and missing < missing_ok:
                print(f"note {name}: {missing} rows miss, the list explains {missing_ok}")
        for capture, trouble in zip(others, pool.map(lambda c: survives(clovisor, c), others)):
            if trouble:
                failed += 1
                print(f"FAIL {os.path.relpath(capture, top)}: {trouble}")
    share = 100 * (1 - missing_unexplained / max(1, expected_total))
    if share < FOUND_PERCENT:
        failed += 1
        print(f"FAIL found {share:.2f} %, {FOUND_PERCENT:g} wanted")
    print(f"{expected_total} rows expected, {found_total} found ({100 * found_total / max(1, expected_total):.2f} %), "
          f"{missing_unexplained} unexplained")
    print(f"{len(scored) + len(others) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
