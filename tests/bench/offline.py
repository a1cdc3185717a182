# SPDX-License-Identifier: Apache-2.0
"""Capture files: how fast they are read, by whom; and what a packet costs in the kernel."""

import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

import measure
import observers

TOP = observers.TOP
CLOVISOR = observers.laboratory.CLOVISOR
MKCAPTURE = os.path.join(TOP, "build", "tests", "mkcapture")
BPF_BENCH = os.path.join(TOP, "build", "tests", "bpf_bench")
REPEAT = 5
LOOK_S = 0.05
FLOWS = (10, 1000, 100_000)
SLOW_SHARE = 10  # tshark gets a file that is so many times smaller
FLOWS_MEMORY = "1G"  # so that 100,000 connections are followed


def kernel_cases(text):
    """What bpf_bench printed: {case: (nanoseconds a packet, of these more than a program that does nothing)}."""
    return {name: (int(whole), int(own))
            for name, whole, own in re.findall(r"^(\S.*?)\s+(\d+) ns,\s+(-?\d+) more than nothing$", text, re.M)}


def kernel(repeat):
    """{case: nanoseconds a packet} and {case: more than nothing}: medians of so many runs of bpf_bench."""
    runs = [kernel_cases(subprocess.run([BPF_BENCH], capture_output=True, text=True, check=True).stdout)
            for _ in range(repeat)]
    return [{name: statistics.median(run[name][i] for run in runs) for name in runs[0]} for i in (0, 1)]


def make(path, *options):
    """Makes a capture; its packets and requests. It is in memory then."""
    out = subprocess.run([MKCAPTURE, path, *options], capture_output=True, text=True, check=True).stdout
    packets, requests = (int(re.search(rf"{word} (\d+)", out)[1]) for word in ("packets", "requests"))
    return {"path": path, "packets": packets, "requests": requests, "bytes": os.path.getsize(path)}


class Peak(threading.Thread):
    """The memory of a process at most (KiB), as far as it was looked at. rusage's maximum counts what this program had
    when it forked."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.kib = pid, 0
        self.start()

    def run(self):
        try:
            while True:
                self.kib = max(self.kib, measure.memory_kib(self.pid)[1])
                time.sleep(LOOK_S)
        except (KeyError, OSError):
            pass  # it has ended


def timed(argv, out):
    """Runs a command; seconds by the clock, and of processor time, and its memory at most (KiB)."""
    with open(out, "wb") as f:
        began = time.monotonic()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.DEVNULL)
        peak = Peak(child.pid)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        lasted = time.monotonic() - began
    peak.join()
    if child.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {child.returncode}")
    return {"wall_s": lasted, "cpu_s": used.ru_utime + used.ru_stime, "peak_kib": peak.kib}


class Reader:
    """Reads a capture with one program: argv(), and what it reported."""

    def __init__(self, name, argv, transactions, slow=False):
        self.name, self.argv, self.transactions, self.slow = name, argv, transactions, slow

    def run(self, capture, directory):
        path = os.path.join(directory, "work")
        shutil.rmtree(path, ignore_errors=True)
        os.mkdir(path)
        out = os.path.join(path, "out")
        result = timed([word.format(file=capture["path"], work=path) for word in self.argv], out)
        reported, errors = self.transactions(path), []
        if self.name.startswith("clovisor") and reported != capture["requests"]:
            errors.append(f"{reported} spans of {capture['requests']} requests")
        made = {key: capture[key] for key in ("packets", "requests", "bytes")}
        return {"observer": self.name, **made, "reported": reported, "errors": errors, **result}


def _lines(word):
    return lambda path: observers.count(os.path.join(path, "out"), word)[0]


def _tcpflow(path):
    return sum(observers.count(entry.path, b"HTTP/1.1 ")[0] for entry in os.scandir(path)
               if entry.name.split("-")[0].endswith(".00080"))


def readers(names):
    spans = _lines(b'"trace_id"')
    ours = [Reader("clovisor", [CLOVISOR, "read", "--json", "{file}"], spans)]
    usage = subprocess.run([CLOVISOR, "read", "--help"], capture_output=True, text=True, check=False).stdout
    if "--workers" in usage:
        ours = [Reader(name, [CLOVISOR, "read", "--json", "--workers", workers, "{file}"], spans)
                for name, workers in (("clovisor, 1 worker", "1"), ("clovisor, 2 workers", "2"))]
    peers = [
        Reader("tcpdump", ["tcpdump", "-n", "-r", "{file}", "-w", "/dev/null"], lambda path: None),
        Reader("tcpflow", ["tcpflow", "-r", "{file}", "-o", "{work}"], _tcpflow),
        Reader("httpry", ["httpry", "-r", "{file}", "-o", "{work}/log"],
               lambda path: observers.count(os.path.join(path, "log"), b"\t<\t")[0]),
        Reader("tshark", ["tshark", "-n", "-r", "{file}", "-Y", "http.response", "-T", "fields", "-e",
                          "http.response.code"], _lines(b"\n"), slow=True),
    ]
    return ours + [p for p in peers if p.name in names and shutil.which(p.name)]


def read_all(result, options, directory, say):
    packets = options.packets
    whole = make(os.path.join(directory, "small.pcap"), "--packets", str(packets))
    part = make(os.path.join(directory, "part.pcap"), "--packets", str(packets // SLOW_SHARE))
    for turn in range(min(REPEAT, options.pairs)):
        for reader in readers(options.peers):
            if reader.slow and turn:
                continue
            run = reader.run(part if reader.slow else whole, directory)
            say(f"offline {turn + 1} {reader.name}: {run['packets'] / run['wall_s'] / 1e6:.3f} million packets/s"
                + "".join(f"; WRONG: {e}" for e in run["errors"]))
            result["offline"].append(run)


def engine_threads(result, options, directory, say):
    """The engine alone, its packets in memory: one of it, and two at once, in turns, by the clock."""
    path = make(os.path.join(directory, "small.pcap"), "--packets", str(options.packets))["path"]
    for _ in range(min(REPEAT, options.pairs)):
        for workers in (1, 2):
            argv = [CLOVISOR, "bench", "--json", "--only", "json", "--repeat", "1", "--workers", str(workers), path]
            out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            row = json.loads(out)["rows"]["json"]
            result["engines"].append({"workers": workers, "ns_per_packet": row["ns_per_packet"]})
    say("engine threads: " + ", ".join(f"{r['ns_per_packet']:.0f}" for r in result["engines"]) + " ns/packet")


def read_flows(result, options, directory, say):
    """Connections that close after each request: so a packet is the same mix, however many there are at a time."""
    path, summary = os.path.join(directory, "flows.pcap"), os.path.join(directory, "summary")
    for flows in FLOWS:
        capture = make(path, "--kind", "short", "--packets", str(options.packets), "--flows", str(flows))
        for _ in range(min(3, options.pairs)):
            run = timed([CLOVISOR, "read", "--json", "--memory", FLOWS_MEMORY, "--summary", summary, path],
                        os.path.join(directory, "out"))
            with open(summary, encoding="ascii") as f:
                spans = json.load(f)["spans"]
            result["flows"].append({"flows": flows, "packets": capture["packets"], "requests": capture["requests"],
                                    "spans": spans, **run})
        say(f"{flows} flows: {run['cpu_s'] / capture['packets'] * 1e9:.0f} ns/packet")


def measure_files(result, options, wanted, say):
    """Fills in `offline`, `engines` and `flows` of the result. Captures, and what is made of them, are in memory."""
    with tempfile.TemporaryDirectory(prefix="clovisor-bench-") as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=75%", "bench", directory], check=True)
        try:
            if "offline" in wanted:
                read_all(result, options, directory, say)
                engine_threads(result, options, directory, say)
            if "flows" in wanted:
                read_flows(result, options, directory, say)
        finally:
            subprocess.run(["umount", directory], check=True)
