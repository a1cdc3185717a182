#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Passes frames between two interfaces, in any order: what comes together leaves shuffled, and now and then one is kept
for a while. For tests of reordering.

usage: shuffle.py IF IF              prints "ready"
       shuffle.py --no-offload IF    frames of this interface get their checksums before they leave, so that they can be
                                     passed on as bytes
"""

import array
import fcntl
import random
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
TOGETHER = 8  # frames that are shuffled with each other, at most
WAIT_S = 0.0005  # for more of them
LATE = 0.02  # this share comes late
LATE_S = 0.004
FRAME = 65536


def no_offload(name):
    """Without checksums in hardware there is no segmentation in it either."""
    value = array.array("I", [ETHTOOL_STXCSUM, 0])
    request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCETHTOOL, request.ljust(40, b"\0"))


def take(sock):
    """What is there, but for what this socket has sent itself."""
    frames = []
    while len(frames) < TOGETHER:
        try:
            frame, address = sock.recvfrom(FRAME, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        if address[2] != socket.PACKET_OUTGOING:
            frames.append(frame)
    return frames


def pass_on(names):
    rng = random.Random(1)
    socks = []
    for name in names:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind((name, 0))
        socks.append(sock)
    other = {socks[0]: socks[1], socks[1]: socks[0]}
    late = []  # (when, socket, frame)
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select(socks, [], [], LATE_S / 2 if late else None)
        if readable:
            time.sleep(WAIT_S)
        for sock in readable:
            frames = take(sock)
            rng.shuffle(frames)
            for frame in frames:
                if rng.random() < LATE:
                    late.append((time.monotonic() + LATE_S, other[sock], frame))
                else:
                    other[sock].send(frame)
        while late and late[0][0] <= time.monotonic():
            _, sock, frame = late.pop(0)
            sock.send(frame)


if __name__ == "__main__":
    if sys.argv[1] == "--no-offload":
        no_offload(sys.argv[2])
    else:
        pass_on(sys.argv[1:3])
