# SPDX-License-Identifier: Apache-2.0
"""What processes cost: processor time as the scheduler counts it, and memory."""

import glob
import time

IDLE_NS = 2_000_000  # less than that in SLICE_S is rest
SLICE_S = 0.1


def _tasks(pid):
    return glob.glob(f"/proc/{pid}/task/*/schedstat")


def cpu_ns(*pids):
    """Processor time of all threads of these processes so far. /proc/stat samples: no measure beside other work."""
    total = 0
    for pid in pids:
        for path in _tasks(pid):
            try:
                with open(path, encoding="ascii") as f:
                    total += int(f.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass  # a thread that ended
    return total


def ksoftirqd():
    """The kernel's threads that process packets when nobody else does."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path, encoding="ascii", errors="replace") as f:
                if f.read().startswith("ksoftirqd/"):
                    found.append(int(path.split("/")[2]))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def memory_kib(pid):
    """(resident now, at most so far)"""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        figures = {line.split(":")[0]: line.split()[1] for line in f if line.startswith(("VmRSS", "VmHWM"))}
    return int(figures["VmRSS"]), int(figures["VmHWM"])


def settle(pids, seconds):
    """Waits until processes rest, for so many seconds at most: what came last is worked off then."""
    end = time.monotonic() + seconds
    before = cpu_ns(*pids)
    while time.monotonic() < end:
        time.sleep(SLICE_S)
        after = cpu_ns(*pids)
        if after - before < IDLE_NS:
            return
        before = after


def family(pid):
    """A process and its children, and theirs."""
    pids = [pid]
    for parent in pids:
        for path in glob.glob(f"/proc/{parent}/task/*/children"):
            try:
                with open(path, encoding="ascii") as f:
                    pids += [int(word) for word in f.read().split()]
            except (FileNotFoundError, ProcessLookupError):
                pass
    return pids
