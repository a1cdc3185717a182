# SPDX-License-Identifier: Apache-2.0
"""What the machine does by itself, and what would be taken for the cost of whoever meets it."""

import contextlib
import mmap

# Linux: mm/page_reporting.c. From this order of blocks on, free memory is given back to a virtual machine's host.
REPORTING = "/sys/module/page_reporting/parameters/page_reporting_order"
NEVER = (11, 10)  # above the largest block there is; kernels that do not take that: only blocks of 4 MiB
WARM_BYTES = 2 << 30


def _read(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def _write(path, value):
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{value}\n")


def _stop_reporting():
    """What it was, or None: nothing was changed."""
    try:
        before = _read(REPORTING)
    except OSError:
        return None
    for order in NEVER:
        with contextlib.suppress(OSError):
            _write(REPORTING, order)
            return before
    return None


@contextlib.contextmanager
def memory(say):
    """Free memory stays this machine's, and there is enough that it has. Otherwise who first writes to a page waits for
    the host to find one, four to ten times as long as for the page itself: an observer that keeps what it sees would be
    measured by that."""
    before = _stop_reporting()
    if before:
        say("free memory is not given back to the host while this runs")
    with mmap.mmap(-1, WARM_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass
    try:
        yield
    finally:
        if before:
            _write(REPORTING, before)
