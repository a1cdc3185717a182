# SPDX-License-Identifier: Apache-2.0
"""Traffic for the tests of the export.

usage: load.py paced HOST RATE SECONDS     that many GET a second, over 32 connections; prints {"answered": N}
       load.py mixed HOST                  all that dashboards show, over and over, until it is ended: good and bad
                                           answers, bodies, short and long connections, resets, refused connections
"""

import contextlib
import http.client
import json
import re
import selectors
import socket
import struct
import sys
import time

CONNECTIONS = 32
CLOSED_PORT = 9


class Peer:
    """A connection with at most one request under way."""

    def __init__(self, host):
        self.socket = socket.create_connection((host, 80))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""

    def ask(self, n):
        self.socket.sendall(f"GET /ok/{n} HTTP/1.1\r\nHost: server\r\n\r\n".encode())

    def answered(self):
        """Reads what is there; whether the answer is whole now."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed")
        self.got += data
        head, end, body = self.got.partition(b"\r\n\r\n")
        if not end:
            return False
        if len(body) < int(re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)[1]):
            return False
        self.got = b""
        return True


def paced(host, rate, seconds):
    selector, free, sent, answered, total = selectors.DefaultSelector(), [], 0, 0, int(rate * seconds)
    for _ in range(CONNECTIONS):
        peer = Peer(host)
        selector.register(peer.socket, selectors.EVENT_READ, peer)
        free.append(peer)
    begin = time.monotonic()
    while answered < total:
        due = min(total, int((time.monotonic() - begin) * rate))
        while sent < due and free:
            free.pop(0).ask(sent)  # in turns: a server closes what says nothing for a minute
            sent += 1
        for key, _ in selector.select(0.002):
            if key.data.answered():
                answered += 1
                free.append(key.data)
    print(json.dumps({"answered": answered, "seconds": time.monotonic() - begin}))


def mixed(host):
    while True:
        kept = http.client.HTTPConnection(host, timeout=30)
        for method, path, body in (("GET", "/ok/1", None), ("GET", "/missing/1", None), ("GET", "/broken/1", None),
                                   ("POST", "/put/1", b"x" * 3000)):
            with contextlib.suppress(OSError, http.client.HTTPException):
                kept.request(method, path, body=body)
                kept.getresponse().read()
        kept.close()
        with contextlib.suppress(OSError):  # a reset: closed with data unsent and unwilling to linger
            s = socket.create_connection((host, 80), timeout=30)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.sendall(b"GET /ok/2 HTTP/1.1\r\nHost: server\r\n\r\n")
            s.recv(1)
            s.close()
        with contextlib.suppress(OSError):  # refused
            socket.create_connection((host, CLOSED_PORT), timeout=30).close()


if __name__ == "__main__":
    if sys.argv[1] == "paced":
        paced(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    else:
        mixed(sys.argv[2])
