#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how many programs each interface of this network namespace has by tcx: {"veth1": 2, ...}.

bpf(2), since the bpftool of this distribution does not know of tcx. Runs on a node.
"""

import ctypes
import json
import os
import platform
import socket
import struct

BPF_PROG_QUERY, TCX_INGRESS, TCX_EGRESS = 16, 46, 47
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
ATTR = struct.Struct("=IIIIQI100x")  # interface, attach type, two of flags, ids (none wanted), how many there are
libc = ctypes.CDLL(None, use_errno=True)


def programs(index, kind):
    attr = ctypes.create_string_buffer(ATTR.pack(index, kind, 0, 0, 0, 0), ATTR.size)
    if libc.syscall(SYS_BPF, BPF_PROG_QUERY, attr, ATTR.size):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return ATTR.unpack(attr.raw)[5]


def main():
    counts = {name: programs(index, TCX_INGRESS) + programs(index, TCX_EGRESS) for index, name in socket.if_nameindex()}
    print(json.dumps({name: n for name, n in counts.items() if n}))


if __name__ == "__main__":
    main()
