# SPDX-License-Identifier: Apache-2.0
"""What the machine does by itself, and what would be taken for the cost of whoever meets it."""

import contextlib
import mmap

# Linux: mm/page_reporting.c. Free blocks of this order and above are given back to a virtual machine's host.
REPORTING = "/sys/module/page_reporting/parameters/page_reporting_order"
# Above the largest block there is: none. Some kernels take no more than 10: then only blocks of 4 MiB are.
LEAST = (11, 10)
WARM_BYTES = 2 << 30


def _read(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def _write(path, value):
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{value}\n")


def _limit_reporting():
    """The order before and now; None: nobody reports, or it cannot be changed."""
    with contextlib.suppress(OSError, ValueError):
        before = int(_read(REPORTING))
        if before <= 0:  # there is no host that wants to know
            return None
        for order in LEAST:
            with contextlib.suppress(OSError):
                _write(REPORTING, order)
                return before, order
    return None


def _available_bytes():
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def _warm():
    """Memory that this machine then has."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    length = min(WARM_BYTES, _available_bytes() // 4) // mmap.PAGESIZE * mmap.PAGESIZE
    with contextlib.suppress(OSError, ValueError), mmap.mmap(-1, length, flags=flags):
        pass


@contextlib.contextmanager
def memory(say):
    """Free memory stays this machine's, and there is enough that it has. Otherwise who first writes to a page waits for
    the host to find one, four to ten times as long as for the page itself: an observer that keeps what it sees would be
    measured by that."""
    limited = _limit_reporting()
    try:
        if limited:
            less = "" if limited[1] == LEAST[0] else ", but for blocks of 4 MiB,"
            say(f"free memory{less} is not given back to the host while this runs")
        _warm()
        yield
    finally:
        if limited:
            try:
                _write(REPORTING, limited[0])
            except OSError as e:
                say(f"{REPORTING} was {limited[0]}, and cannot be set to it: {e.strerror}")
