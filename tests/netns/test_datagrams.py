# SPDX-License-Identifier: Apache-2.0
"""UDP as the capture has it: what no parser knows, so that nothing but the datagrams themselves counts."""

import struct
import subprocess
import unittest

import lab

ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", int(sys.argv[1])))
print("up", flush=True)
while True:
    data, who = s.recvfrom(65536)
    s.sendto(data, who)
"""
# Sends each line of its input (hex) and waits for the echo; `each`: a socket for how many of them; gso: sent as one.
ASK = """
import socket, sys
host, port, each, gso = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
s, left = None, 0
for line in sys.stdin:
    data = bytes.fromhex(line)
    if not left:
        s, left = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM), each
        s.settimeout(10)
        if gso:
            s.setsockopt(socket.IPPROTO_UDP, 103, gso)
    left -= 1
    s.sendto(data, (host, port))
    got = b""
    while len(got) < len(data):
        got += s.recv(65536)
    assert got == data
"""


def datagrams(path):
    """(source port, destination port, length, captured payload) of each UDP frame of a file that clovisor wrote."""
    with open(path, "rb") as f:
        data = f.read()
    at, found = 0, []
    while at < len(data):
        kind, size = struct.unpack_from("=II", data, at)
        if kind == 6:
            frame = data[at + 28:at + 28 + struct.unpack_from("=I", data, at + 20)[0]]
            v6 = frame[20] >> 4 == 6
            if frame[26 if v6 else 29] == 17:
                udp = 60 if v6 else 40
                sport, dport, length = struct.unpack_from("!HHH", frame, udp)
                found.append((sport, dport, length - 8, frame[udp + 8:]))
        at += size
    return found


class Datagrams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        for port in ("7777", "7778"):
            cls.web.spawn("python3", "-c", ECHO, port, stdout=subprocess.PIPE).stdout.readline()

    def ask(self, data, each=2, port=7777, host=None, gso=0):
        child = self.user.spawn("python3", "-c", ASK, host or self.web.ip, str(port), str(each), str(gso),
                                stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        _, err = child.communicate("\n".join(d.hex() for d in data).encode(), timeout=60)
        self.assertEqual(child.returncode, 0, err)

    def trace(self, name, *args):
        path = self.lab.path(name + ".pcapng")
        return path, self.lab.trace("-i", self.web.veth, "-w", path, *args)

    def check_whole(self, host, name):
        sent = [b"no protocol %d " % i + bytes((i * k) % 251 for k in range(i * 13)) for i in range(1, 101)]
        path, trace = self.trace(name)
        self.ask(sent, host=host)
        trace.stop()
        self.assertEqual([d[3] for d in datagrams(path)], [d for s in sent for d in (s, s)])
        self.assertTrue(all(d[2] == len(d[3]) and 7777 in d[:2] for d in datagrams(path)))
        self.assertEqual(trace.summary["udp"], 200)
        self.assertEqual({k: v for k, v in trace.summary["drops"].items() if v}, {})
        self.assertEqual(trace.spans, lab.read(path))

    def test_come_up_whole(self):
        self.check_whole(None, "whole")

    def test_come_up_whole_over_ipv6(self):
        self.check_whole(self.web.ip6, "whole6")

    def test_nobody_wants_them(self):
        """After the first ones the flow is ignored; each datagram is either delivered or counted as ignored."""
        path, trace = self.trace("ignored")
        self.ask([b"no protocol %d" % i for i in range(3000)], each=3000)
        trace.stop()
        up, summary = len(datagrams(path)), trace.summary
        self.assertGreaterEqual(up, 4)
        self.assertGreater(summary["ignored"], 3000)
        self.assertEqual(up + summary["ignored"], 6000)
        self.assertEqual(summary["opaque_flows"], 1)
        self.assertEqual({k: v for k, v in summary["drops"].items() if v}, {})

    def test_port(self):
        path, trace = self.trace("port", "--port", "7778")
        self.ask([b"not this one"] * 2)
        self.ask([b"this one"] * 2, port=7778)
        trace.stop()
        self.assertEqual([d[3] for d in datagrams(path)], [b"this one"] * 4)
        self.assertEqual(trace.summary["unwanted"], 4)

    def test_fragments(self):
        """Of a datagram in fragments there is the first part, and its true length."""
        data = bytes(k % 253 for k in range(20000))
        path, trace = self.trace("fragments")
        self.ask([data])
        trace.stop()
        got = datagrams(path)
        self.assertEqual([d[2] for d in got], [20000] * 2)
        for d in got:
            self.assertGreater(len(d[3]), 1000)
            self.assertEqual(d[3], data[:len(d[3])])
        self.assertEqual(trace.summary["drops"]["fragments"], 26)

    def test_batches(self):
        """What a sender gives the stack as one comes up as the datagrams that it is."""
        data = bytes(k % 253 for k in range(4500))
        path, trace = self.trace("batches")
        self.ask([data], gso=1000)
        trace.stop()
        parts = [data[i:i + 1000] for i in range(0, 4500, 1000)]
        self.assertEqual([d[3] for d in datagrams(path) if d[1] == 7777], parts)
