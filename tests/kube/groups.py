# SPDX-License-Identifier: Apache-2.0
"""The cgroups of a cluster: /clovisor-kube/programs for its programs, /clovisor-kube/NODE for the pods of a node.

They are made in every hierarchy, for the kubelet of a machine with cgroup v1 or both versions wants them so.
"""

import functools
import os
import re
import signal
import time

NAME = "clovisor-kube"
SECONDS = 10


@functools.cache
def hierarchies():
    """[(mount point, is it version 2)]."""
    with open("/proc/self/mounts", encoding="ascii", errors="replace") as f:
        mounts = [line.split() for line in f]
    return [(at, kind == "cgroup2") for _, at, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def delegate(parent):
    """Version 2: the controllers of a group are those that its parent hands down."""
    controllers = read(f"{parent}/cgroup.controllers").split()
    write(f"{parent}/cgroup.subtree_control", " ".join(f"+{c}" for c in controllers))


def inherit_cpus(group):
    """Version 1: a new cpuset has no CPUs and no memory, and takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if os.path.exists(f"{group}/{name}"):
            write(f"{group}/{name}", read(f"{os.path.dirname(group)}/{name}"))


def make(name):
    """The group /clovisor-kube/NAME in every hierarchy; what to give as its path to who asks for one."""
    for top, is_v2 in hierarchies():
        for group in (f"{top}/{NAME}", f"{top}/{NAME}/{name}"):
            if is_v2:
                delegate(os.path.dirname(group))
            os.makedirs(group, exist_ok=True)
            inherit_cpus(group)
    return f"/{NAME}/{name}"


def join():
    """Moves the calling process into the programs' group: in the hierarchy of version 2, or any."""
    top = max(hierarchies(), key=lambda h: h[1])[0]
    write(f"{top}/{NAME}/programs/cgroup.procs", "0")


def trees():
    """Every group of the cluster, children before their parents."""
    for top, _ in hierarchies():
        for group, _, _ in os.walk(f"{top}/{NAME}", topdown=False):
            yield group


def processes():
    """The ids of the processes in them."""
    found = set()
    for group in trees():
        try:
            found.update(re.findall(r"[1-9]\d*", read(f"{group}/cgroup.procs")))
        except OSError:
            pass  # it went away
    return sorted(int(pid) for pid in found)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def remove():
    """Ends what is in the cluster's groups, and removes them."""
    end = time.monotonic() + SECONDS
    while any(True for _ in trees()):
        for pid in processes():
            kill(pid)
        for group in trees():
            try:
                os.rmdir(group)
            except OSError as e:
                if time.monotonic() > end:
                    raise RuntimeError(f"{group} cannot be removed: {e.strerror}; processes: {processes()}") from None
        time.sleep(0.02)
