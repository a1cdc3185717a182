# SPDX-License-Identifier: Apache-2.0
"""DNS between dnsmasq and dig: each question is one span at either end, live and from tcpdump's file alike."""

import shutil
import struct
import subprocess
import unittest

import lab
from lab import attr

BIG = 120  # addresses of one name: too many for a datagram

# Asks for n names at a time over one socket, A and AAAA of each, and then waits for all answers.
ASK_MANY = """
import socket, struct, sys
host, n = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((host, 53))
for i in range(n):
    for kind in (1, 28):
        name = b"".join(bytes([len(x)]) + x for x in (b"n%d" % i, b"example", b"com")) + b"\\0"
        s.send(struct.pack(">HHHHHH", i // 2, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", kind, 1))
for _ in range(2 * n):
    s.recv(4096)
"""

SILENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
print("up", flush=True)
while True:
    s.recvfrom(65536)
"""


def brief(span):
    """What was asked, and what became of it."""
    return (attr(span, "network.transport"), attr(span, "clovisor.dns.question.type"), attr(span, "dns.question.name"),
            attr(span, "clovisor.dns.response_code"), attr(span, "clovisor.dns.answer_count"))


@unittest.skipUnless(shutil.which("dnsmasq", path="/usr/sbin:/usr/bin") and shutil.which("dig"), "no dnsmasq or dig")
class Dns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.server, cls.user = cls.lab.pod("dns"), cls.lab.pod("user")
        records = ["--host-record=www.example.com,192.0.2.1,2001:db8::1", "--cname=alias.example.com,www.example.com",
                   "--txt-record=txt.example.com,hello", "--mx-host=example.com,mx.example.com,10",
                   "--srv-host=_sip._udp.example.com,sip.example.com,5060,1,2"]
        records += [f"--host-record=n{i}.example.com,192.0.2.{i + 1},2001:db8::{i + 1:x}" for i in range(100)]
        records += [f"--host-record=big.example.com,198.51.100.{i}" for i in range(BIG)]
        cls.server.spawn("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                         "--pid-file=", "--user=root", "--local=/example.com/", "--edns-packet-max=1232", *records,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.wait_for("dnsmasq answers", lambda: cls.server.try_connect(53))
        cls.server.spawn("python3", "-c", SILENT, "5353", stdout=subprocess.PIPE).stdout.readline()

    def dig(self, *args):
        return self.user.run("dig", "+norecurse", "+tries=1", "+timeout=5", f"@{self.server.ip}", *args)

    def talk(self):
        """Everything that is asked, in order; returns what spans must say."""
        said = []

        def ask(transport, kind, name, rcode, answers, *args):
            self.dig(*args, name, kind)
            said.append((transport, kind, name, rcode, answers))

        ask("udp", "A", "www.example.com", "NOERROR", 1)
        ask("udp", "AAAA", "www.example.com", "NOERROR", 1)
        ask("udp", "A", "alias.example.com", "NOERROR", 2)
        ask("udp", "TXT", "txt.example.com", "NOERROR", 1)
        ask("udp", "MX", "example.com", "NOERROR", 1)
        ask("udp", "SRV", "_sip._udp.example.com", "NOERROR", 1, "+noedns")
        ask("udp", "A", "missing.example.com", "NXDOMAIN", 0)
        ask("udp", "A", "elsewhere.example.net", "REFUSED", 0)
        ask("tcp", "A", "www.example.com", "NOERROR", 1, "+tcp")
        ask("tcp", "A", "missing.example.com", "NXDOMAIN", 0, "+tcp")
        said.append(("udp", "A", "big.example.com", "NOERROR", None))  # cut, and asked for again
        ask("tcp", "A", "big.example.com", "NOERROR", BIG)
        self.user.run("python3", "-c", ASK_MANY, self.server.ip, "50")
        said += [("udp", kind, f"n{i}.example.com", "NOERROR", 1) for i in range(50) for kind in ("A", "AAAA")]
        return said

    def check(self, spans, said):
        def key(row):
            return row[:4] + (None if row[:3] == ("udp", "A", "big.example.com") else row[4],)

        self.assertEqual(sorted(map(str, (key(brief(s)) for s in spans))), sorted(map(str, said)))
        for s in spans:
            kind, name = attr(s, "clovisor.dns.question.type"), attr(s, "dns.question.name")
            self.assertEqual(s["name"], "DNS " + kind)
            if name.startswith("n") and name[1].isdigit():
                n = int(name[1:].split(".")[0])
                self.assertEqual(attr(s, "dns.answers"),
                                 [f"192.0.2.{n + 1}" if kind == "A" else f"2001:db8::{n + 1:x}"], name)
            self.assertEqual(attr(s, "clovisor.dns.truncated"),
                             True if brief(s)[:3] == ("udp", "A", "big.example.com") else None)
            self.assertEqual(attr(s, "error.type") is not None, s["status"]["code"] == "ERROR")
            self.assertEqual(s["status"]["code"] == "ERROR", s["kind"] == "CLIENT" and brief(s)[3] != "NOERROR")
            for lack in ("clovisor.unpaired", "clovisor.gap", "clovisor.dns.malformed"):
                self.assertIsNone(attr(s, lack), s)

    def test_live_at_both_ends(self):
        t = self.lab.trace("-i", self.server.veth, "-i", self.user.veth)
        said = self.talk()
        t.wait_spans(2 * len(said))
        t.stop()
        ends = {kind: [s for s in t.spans if s["kind"] == kind] for kind in ("CLIENT", "SERVER")}
        self.check(ends["CLIENT"], said)
        self.check(ends["SERVER"], said)
        clients = {s["span_id"]: s for s in ends["CLIENT"]}
        self.assertEqual(len(clients), len(said))
        for s in ends["SERVER"]:
            client = clients[s["parent_span_id"]]
            self.assertEqual((s["trace_id"], brief(s)), (client["trace_id"], brief(client)))
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})

    def test_from_a_file(self):
        path = self.lab.path("dns.pcap")
        dump = self.user.spawn("tcpdump", "-i", "eth0", "-U", "-w", path, "port 53", stderr=subprocess.PIPE)
        dump.stderr.readline()
        said = self.talk()
        lab.wait_for("all answers are in the file", lambda: len(lab.read(path)) >= len(said))
        dump.terminate()
        dump.wait(60)
        spans = lab.read(path)
        for s in spans:
            self.assertEqual(s["kind"], "SERVER")
        self.check(spans, said)

    def test_nobody_answers(self):
        t = self.lab.trace("-i", self.user.veth)
        # one question, sent three times from one socket
        query = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x06silent\x07example\x00" + struct.pack(">HH", 1, 1)
        code = (f"import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                f"for _ in range(3): s.sendto({query!r}, ({self.server.ip!r}, 5353))\n")
        self.user.run("python3", "-c", code)
        subprocess.run(["nsenter", f"--net=/run/netns/{self.user.ns}", "dig", f"@{self.server.ip}", "-p", "5353",
                        "+tries=1", "+timeout=1", "quiet.example", "A"], stdout=subprocess.DEVNULL, check=False)
        t.stop()
        spans = {attr(s, "dns.question.name"): s for s in t.spans}
        self.assertEqual(sorted(spans), ["quiet.example", "silent.example"])
        for s in spans.values():
            self.assertTrue(attr(s, "clovisor.unpaired"))
            self.assertIsNone(attr(s, "clovisor.dns.response_code"))
        self.assertEqual(attr(spans["silent.example"], "clovisor.retransmits"), 2)
        self.assertIsNone(attr(spans["quiet.example"], "clovisor.retransmits"))


if __name__ == "__main__":
    unittest.main()
