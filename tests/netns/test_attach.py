# SPDX-License-Identifier: Apache-2.0
"""Living beside others on one interface: their filters and programs, a second clovisor, what a killed one left."""

import ctypes
import json
import os
import platform
import signal
import struct
import time
import unittest

import lab
from lab import target

LEASE_SECONDS = 5  # CLV_LEASE_NS
BPF_PROG_GET_FD_BY_ID, BPF_LINK_CREATE, TCX_INGRESS = 13, 28, 46
SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(platform.machine())


def bpf(command, attr):
    """bpf(2), for what tc and bpftool of this distribution cannot do."""
    buf = ctypes.create_string_buffer(attr.ljust(128, b"\0"), 128)
    fd = lab._libc.syscall(SYS_BPF, command, buf, 128)
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


class Attach(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()
        cls.object = cls.lab.path("count.o")
        lab.run("clang-14", "-target", "bpf", "-O2", "-g", f"-I/usr/include/{os.uname().machine}-linux-gnu", "-c",
                os.path.join(lab.ROOT, "tests/netns/count.bpf.c"), "-o", cls.object)

    def node(self, *argv):
        return self.lab.run_in(self.lab.node, *argv)

    def ask(self, *paths):
        self.user.curl(*[f"http://{self.web.ip}{p}" for p in paths])

    def filters(self, hook="ingress"):
        """Handles of the filters on the server's veth."""
        out = self.node("tc", "filter", "show", "dev", self.web.veth, hook)
        return [line.split(" handle ")[1].split()[0] for line in out.splitlines() if " handle " in line]

    def has_clsact(self):
        return "clsact" in self.node("tc", "qdisc", "show", "dev", self.web.veth)

    def foreign_filter(self, dev, priority="5"):
        """Puts the counting program on the ingress of a device; its id."""
        if "clsact" not in self.node("tc", "qdisc", "show", "dev", dev):
            self.node("tc", "qdisc", "add", "dev", dev, "clsact")
        self.node("tc", "filter", "add", "dev", dev, "ingress", "prio", priority, "handle", "0x77", "bpf", "da", "obj",
                  self.object, "sec", "tc")
        shown = json.loads(self.node("tc", "-j", "filter", "show", "dev", dev, "ingress"))
        return next(f["options"]["prog"]["id"] for f in shown
                    if f.get("options", {}).get("prog", {}).get("name") == "foreign_count")

    @staticmethod
    def counted(prog_id):
        prog = json.loads(lab.run("bpftool", "-j", "prog", "show", "id", str(prog_id)))
        entry = json.loads(lab.run("bpftool", "-j", "map", "dump", "id", str(prog["map_ids"][0])))[0]
        return int.from_bytes(bytes(int(b, 16) for b in entry["value"]), "little")

    def assert_both_work(self, t, prog_id, *paths):
        """A request is a span for us, and packets for the other."""
        before, spans = self.counted(prog_id), len(t.lines())
        self.ask(*paths)
        t.wait_spans(spans + len(paths))
        self.assertGreater(self.counted(prog_id), before)

    def test_foreign_clsact_filter(self):
        """Before, beside and after clovisor it is there and counts; the qdisc, which is not ours, stays."""
        for mode in ("tcx", "clsact"):
            for priority in ("1", "5"):
                with self.subTest(mode=mode, priority=priority):
                    prog = self.foreign_filter(self.web.veth, priority)
                    t = self.lab.trace("-i", self.web.veth, "--attach", mode)
                    self.assert_both_work(t, prog, "/ok/1", "/ok/2")
                    t.stop()
                    self.assertEqual([target(s) for s in t.spans], ["/ok/1", "/ok/2"])
                    before = self.counted(prog)
                    self.ask("/ok/3")
                    self.assertGreater(self.counted(prog), before)
                    self.assertEqual(self.filters(), ["0x77"])
                    self.assertEqual(self.filters("egress"), [])
                    self.assertTrue(self.has_clsact())
                    self.node("tc", "qdisc", "del", "dev", self.web.veth, "clsact")

    def test_foreign_filter_of_another_kind_at_our_priority(self):
        self.node("tc", "qdisc", "add", "dev", self.web.veth, "clsact")
        self.addCleanup(self.node, "tc", "qdisc", "del", "dev", self.web.veth, "clsact")
        self.node("tc", "filter", "add", "dev", self.web.veth, "ingress", "prio", "1", "protocol", "ipv6", "u32",
                  "match", "u32", "0", "0", "flowid", "1:1")
        t = self.lab.trace("-i", self.web.veth, "--attach", "clsact")
        self.ask("/ok/1")
        t.wait_spans(1)
        t.stop()
        self.assertIn("u32", self.node("tc", "filter", "show", "dev", self.web.veth, "ingress"))

    @unittest.skipUnless(SYS_BPF, "number of bpf(2) not known here")
    def test_foreign_tcx_program(self):
        """On the same interface through tcx, there first: both run, whatever we attach by."""
        prog = self.foreign_filter(self.user.veth)
        ifindex = json.loads(self.node("ip", "-j", "link", "show", "dev", self.web.veth))[0]["ifindex"]
        fd = bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("=I", prog))
        self.node("tc", "qdisc", "del", "dev", self.user.veth, "clsact")
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.lab.node}", os.O_RDONLY)
        try:
            lab._libc.setns(there, 0)
            link = bpf(BPF_LINK_CREATE, struct.pack("=IIII", fd, ifindex, TCX_INGRESS, 0))
        finally:
            lab._libc.setns(here, 0)
            os.close(here)
            os.close(there)
        try:
            for mode in ("tcx", "clsact"):
                with self.subTest(mode):
                    t = self.lab.trace("-i", self.web.veth, "--attach", mode)
                    self.assert_both_work(t, prog, "/ok/1", "/ok/2")
                    t.stop()
                    before = self.counted(prog)
                    self.ask("/ok/3")
                    self.assertGreater(self.counted(prog), before)
        finally:
            os.close(link)
            os.close(fd)

    def test_two_observers(self):
        """Both see everything, in every combination; one that ends or dies does not end the other."""
        for first, second in (("tcx", "tcx"), ("clsact", "clsact"), ("tcx", "clsact"), ("clsact", "tcx")):
            for way in (signal.SIGINT, signal.SIGKILL):
                with self.subTest(first=first, second=second, way=way.name):
                    a = self.lab.trace("-i", self.web.veth, "--attach", first)
                    b = self.lab.trace("-i", self.web.veth, "--attach", second)
                    self.ask("/ok/1", "/ok/2")
                    a.wait_spans(2)
                    b.wait_spans(2)
                    a.process.send_signal(way)
                    a.process.wait(60)
                    self.ask("/ok/3")
                    b.wait_spans(3)
                    b.stop()
                    self.assertEqual([target(s) for s in b.spans], ["/ok/1", "/ok/2", "/ok/3"])
                    if way == signal.SIGKILL and first == "clsact":
                        self.assertLessEqual(len(self.filters()), 1)
                        self.node(lab.CLOVISOR, "detach", "-i", self.web.veth)
                    self.assertEqual(self.filters(), [])
                    self.assertFalse(self.has_clsact())

    def test_orphan(self):
        """Killed on clsact: the filter that stays does nothing any more, and the next start removes it."""
        t = self.lab.trace("-i", self.web.veth, "--attach", "clsact")
        t.process.kill()
        t.process.wait()
        self.assertEqual(len(self.filters()), 1)
        time.sleep(LEASE_SECONDS + 0.5)
        self.ask("/ok/1")
        shown = json.loads(self.node("tc", "-j", "filter", "show", "dev", self.web.veth, "ingress"))
        orphan = next(f["options"]["prog"]["id"] for f in shown if "options" in f and "prog" in f["options"])
        again = self.lab.trace("-i", self.web.veth, "--attach", "clsact")
        self.ask("/ok/2")
        again.wait_spans(1)
        shown = self.node("tc", "filter", "show", "dev", self.web.veth, "ingress")
        self.assertNotIn(f" id {orphan} ", shown)
        self.assertEqual(len(self.filters()), 1)
        again.stop()
        self.assertEqual([target(s) for s in again.spans], ["/ok/2"])
        self.assertEqual(self.filters(), [])
        self.assertFalse(self.has_clsact())

    def test_orphan_of_a_moment_ago(self):
        """Its lease still runs when the next one comes, as when it is restarted at once."""
        first = self.lab.trace("--attach", "clsact", "-i", self.web.veth)
        first.process.kill()
        first.process.wait()
        second = self.lab.trace("--attach", "clsact", "-i", self.web.veth)
        second.wait_text("removed 2 filters that a killed clovisor left", LEASE_SECONDS + 20)
        self.assertEqual(len(self.filters()), 1)
        self.ask("/ok/after")
        second.wait_spans(1)
        second.stop()
        self.assertFalse(self.has_clsact())

    def test_detach_leaves_a_running_one_alone(self):
        t = self.lab.trace("-i", self.web.veth, "--attach", "clsact")
        self.node(lab.CLOVISOR, "detach", "-i", self.web.veth)
        self.ask("/ok/1")
        t.wait_spans(1)
        t.stop()

    def test_detach_all_leaves_others_alone(self):
        prog = self.foreign_filter(self.user.veth)
        t = self.lab.trace("--attach", "clsact")
        t.process.kill()
        t.process.wait()
        self.assertEqual(len(self.filters()), 1)
        self.node(lab.CLOVISOR, "detach", "--all")
        self.assertEqual(self.filters(), [])
        self.assertFalse(self.has_clsact())
        shown = self.node("tc", "filter", "show", "dev", self.user.veth, "ingress")
        self.assertIn(f" id {prog} ", shown)
        self.assertNotIn("clovisor", shown)
        self.node("tc", "qdisc", "del", "dev", self.user.veth, "clsact")

    def test_interface_without_ethernet(self):
        """Its programs are loaded when it is asked for."""
        self.node("ip", "tuntap", "add", "dev", "tun7", "mode", "tun")
        self.addCleanup(self.node, "ip", "link", "del", "tun7")
        t = self.lab.trace("-i", "tun7", "-i", self.web.veth)
        self.assertRegex(t.stderr(), r"ready: .*tun7 \(")
        names = {p.get("name") for p in json.loads(lab.run("bpftool", "prog", "-j"))}
        self.assertLessEqual({"clovisor_in_l3", "clovisor_out_l3"}, names)
        self.ask("/ok/5")
        t.wait_spans(1)
        t.stop()

    def test_interface_goes_away(self):
        """The pod ends while it is watched: clovisor goes on with the others, and a new one is found."""
        gone = self.lab.pod("gone")
        t = self.lab.trace()
        self.user.curl(f"http://{self.web.ip}/ok/1")
        lab.run("ip", "netns", "del", gone.ns)
        self.user.curl(f"http://{self.web.ip}/ok/2")
        gone.plug()
        t.wait_text(f"attached to {gone.veth} (")
        gone.curl(f"http://{self.web.ip}/ok/3")
        t.wait_spans(6)  # each at both ends
        t.stop()
        self.assertEqual(sorted(target(s) for s in t.spans), ["/ok/1", "/ok/1", "/ok/2", "/ok/2", "/ok/3", "/ok/3"])
        self.assertEqual(t.summary["drops"]["bad_records"], 0)

    def test_interface_goes_away_unheard(self):
        """The kernel had no room for the news: it is noticed all the same, and left."""
        gone = self.lab.pod("unheard")
        t = self.lab.trace()
        t.process.send_signal(signal.SIGSTOP)
        names = [f"idle{i}" for i in range(150)]
        for what in ("link add {0} type veth peer name {0}p", "link del {0}"):
            lab.run("ip", "-n", self.lab.node, "-batch", "-", input="".join(what.format(n) + "\n" for n in names))
        lab.run("ip", "netns", "del", gone.ns)
        lab.wait_for("it is gone", lambda: gone.veth not in self.node("ip", "-o", "link"), 30)
        t.process.send_signal(signal.SIGCONT)
        t.wait_text(f"{gone.veth} is gone", 30)
        self.user.curl(f"http://{self.web.ip}/ok/4")
        t.wait_spans(2)
        t.stop()
        self.assertEqual(t.summary["drops"]["bad_records"], 0)


if __name__ == "__main__":
    unittest.main()
