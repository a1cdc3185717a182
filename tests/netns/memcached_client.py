#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""memcached_client.py ADDRESS each|pipelined|big|late COUNT

Talks to a memcached, and prints "COMMAND:RESULT N" of what it did.
"""

import collections
import socket
import sys

done = collections.Counter()


def answer(f, command):
    line = f.readline().strip().decode()
    word = line.split()[0]
    items = 0
    if word in ("STAT", "VALUE") or (word == "END" and command == "stats"):
        while line != "END":
            if line.startswith("VALUE"):
                f.read(int(line.split()[3]) + 2)
                items += 1
            line = f.readline().strip().decode()
        return "-" if word in ("STAT", "END") else items
    if word == "VA":
        f.read(int(line.split()[1]) + 2)
    if word == "END":
        return 0
    return "OK" if word.isdigit() else word


def ask(f, *lines, keys=1, noreply=False):
    """Sends the requests in one piece, and reads the answers."""
    f.write(b"".join(lines))
    f.flush()
    for line in lines:
        command = line.split()[0].decode()
        got = "-" if noreply or command == "quit" else answer(f, command)
        if isinstance(got, int):
            got = "HIT" if got == keys else "PARTIAL" if got else "MISS"
        name = command if command != "nonsense" else "memcached"
        done[f"{name}:{got}"] += 1


def each(f):
    ask(f, b"set a 0 0 1\r\n1\r\n")
    ask(f, b"set b 7 0 0\r\n\r\n")
    ask(f, b"add a 0 0 1\r\n2\r\n")
    ask(f, b"replace nothere 0 0 1\r\n2\r\n")
    ask(f, b"append b 0 0 20\r\nSTORED\r\nget x\r\nEND\r\n\r\n")
    ask(f, b"prepend b 0 0 3\r\nxyz\r\n")
    ask(f, b"get a\r\n")
    ask(f, b"gets b\r\n")
    ask(f, b"get nothere\r\n")
    ask(f, b"get a nothere b\r\n", keys=3)
    ask(f, b"get a b\r\n", keys=2)
    ask(f, b"gat 100 a\r\n")
    ask(f, b"cas a 0 0 1 999999\r\n3\r\n")
    ask(f, b"incr a 5\r\n")
    ask(f, b"decr a 5\r\n")
    ask(f, b"incr nothere 5\r\n")
    ask(f, b"touch a 100\r\n")
    ask(f, b"delete b\r\n")
    ask(f, b"delete b\r\n")
    ask(f, b"stats\r\n")
    ask(f, b"stats items\r\n")
    ask(f, b"version\r\n")
    ask(f, b"verbosity 0\r\n")
    ask(f, b"set c 0 0 2 noreply\r\nab\r\n", noreply=True)
    ask(f, b"delete c noreply\r\n", noreply=True)
    ask(f, b"incr a x\r\n")
    ask(f, b"nonsense 1 2\r\n")
    ask(f, b"get\r\n")
    ask(f, b"ms m 4 T0\r\nabcd\r\n")
    ask(f, b"mg m v\r\n")
    ask(f, b"mg nothere v\r\n")
    ask(f, b"md m\r\n")
    ask(f, b"mn\r\n")
    ask(f, b"flush_all\r\n")
    ask(f, b"quit\r\n")


def pipelined(f, count):
    ask(f, b"set p 0 0 3\r\nabc\r\n")
    for i in range(0, count, 20):
        ask(f, *[b"get p\r\n" if n % 2 else b"set p%d 0 0 3\r\nabc\r\n" % (i + n) for n in range(20)])


def big(f, count):
    ask(f, b"set big 0 0 180000\r\n" + b"get x\r\nSTORED\r\nEND\r\n"[:18] * 10000 + b"\r\n")
    for _ in range(count):
        ask(f, b"get big\r\n")


def late(f, count):
    """Goes on when a line comes in."""
    ask(f, b"set late 0 0 2\r\nab\r\n")
    print("set:STORED 1", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        ask(f, b"get late\r\n")


def main():
    with socket.create_connection((sys.argv[1], 11211), 10) as s, s.makefile("rwb") as f:
        if sys.argv[2] == "each":
            each(f)
        elif sys.argv[2] == "pipelined":
            pipelined(f, int(sys.argv[3]))
        elif sys.argv[2] == "late":
            late(f, int(sys.argv[3]))
        else:
            big(f, int(sys.argv[3]))
    for what, n in done.items():
        print(what, n)


if __name__ == "__main__":
    main()
