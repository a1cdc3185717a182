# SPDX-License-Identifier: Apache-2.0
"""Which interfaces are watched, from which side, and what two places make of one request."""

import os
import subprocess
import unittest

import lab
from lab import attr, brief, target


class Places(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.web.nginx()

    def ask(self, *paths, of=None):
        self.user.curl(*[f"http://{of or self.web.ip}{p}" for p in paths])

    def test_netns_by_name_pid_and_path(self):
        sleeper = self.web.spawn("sleep", "100")
        for name in (self.web.ns, str(sleeper.pid), f"/run/netns/{self.web.ns}"):
            with self.subTest(name):
                t = self.lab.trace("--netns", name)
                self.ask("/ok/1")
                t.stop()
                self.assertEqual([(brief(s), s["kind"]) for s in t.spans], [(("GET", "/ok/1", 200), "SERVER")])

    def test_pods_of_this_node_and_later_ones(self):
        t = self.lab.trace()
        self.ask("/ok/1")
        late = self.lab.pod("late")
        t.wait_text(late.veth)
        late.nginx()
        self.ask("/ok/2", of=late.ip)
        t.stop()
        seen = sorted((target(s), s["kind"], attr(s, "http.response.status_code")) for s in t.spans)
        self.assertEqual(seen, [("/ok/1", "CLIENT", 200), ("/ok/1", "SERVER", 200),
                                ("/ok/2", "CLIENT", 200), ("/ok/2", "SERVER", 200)])

    def test_interface_that_goes_away(self):
        gone = self.lab.pod("gone")
        t = self.lab.trace("-i", gone.veth, "-i", self.web.veth)
        lab.run("ip", "-n", self.lab.node, "link", "del", gone.veth)
        self.ask("/ok/1")
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", "/ok/1", 200)])

    def test_side(self):
        """The same interface, seen as the node's own: what enters it from the pod is "in"."""
        t = self.lab.trace("-i", self.web.veth, "--side", "host")
        self.ask("/ok/1")
        t.stop()
        self.assertEqual([s["kind"] for s in t.spans], ["CLIENT"])

    def check_family(self, spans, n):
        """n requests seen at both ends: n traces, each of a CLIENT span and its SERVER child."""
        self.assertEqual(len(spans), 2 * n)
        by_trace = {}
        for s in spans:
            by_trace.setdefault(s["trace_id"], {})[s["kind"]] = s
        self.assertEqual(len(by_trace), n)
        for pair in by_trace.values():
            client, server = pair["CLIENT"], pair["SERVER"]
            self.assertNotIn("parent_span_id", client)
            self.assertEqual(server["parent_span_id"], client["span_id"])
            self.assertEqual(brief(server), brief(client))

    def test_client_and_server_span_of_one_request(self):
        t = self.lab.trace("-i", self.web.veth, "-i", self.user.veth)
        self.ask(*[f"/ok/{i}" for i in range(10)])
        self.user.curl("-d", "x" * 100_000, f"http://{self.web.ip}/put/1")
        t.stop()
        self.check_family(t.spans, 11)

    def test_two_agents_that_never_met(self):
        """As above, but each end is watched by a process of its own."""
        here, there = self.lab.trace("-i", self.user.veth), self.lab.trace("-i", self.web.veth)
        self.ask(*[f"/ok/{i}" for i in range(10)])
        self.check_family(here.stop().spans + there.stop().spans, 10)

    def test_destination_nat_between_them(self):
        vip = "10.77.200.1"
        rules = ("table ip clvt {\nchain pre {\ntype nat hook prerouting priority -100;\n"
                 f"ip daddr {vip} tcp dport 8000 dnat to {self.web.ip}:80\n}}\n}}\n")
        self.enterContext(self.lab.nft(self.lab.node, rules))
        t = self.lab.trace("-i", self.web.veth, "-i", self.user.veth)
        self.ask(*[f"/ok/{i}" for i in range(10)], of=f"{vip}:8000")
        t.stop()
        self.check_family(t.spans, 10)
        ends = {(s["kind"], attr(s, "network.peer.address")) for s in t.spans}
        self.assertEqual(ends, {("CLIENT", vip), ("SERVER", self.user.ip)})

    def test_egress_rule(self):
        t = self.lab.trace("-i", self.user.veth, "--egress", f"{self.web.ip}/32:81")
        self.ask("/ok/1")
        t.stop()
        self.assertEqual(t.spans, [])
        t = self.lab.trace("-i", self.user.veth, "--egress", "10.77.0.0/16:80")
        self.ask("/ok/2")
        t.stop()
        self.assertEqual([(target(s), s["kind"]) for s in t.spans], [("/ok/2", "CLIENT")])

    def test_egress_rule_of_a_pod(self):
        env = {**os.environ, "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=web-1"}
        for rules, recorded in (((":80:web-",), True), ((":80:db-",), False), ((":80:web-1=ignore",), False),
                                ((":80:db-=ignore",), True), ((":80:web=ignore", ":80"), False)):
            with self.subTest(rules):
                t = self.lab.trace("-i", self.user.veth, *[w for r in rules for w in ("--egress", r)], env=env)
                self.ask("/ok/1")
                t.stop()
                self.assertEqual(len(t.spans), recorded)

    def test_port_hint(self):
        t = self.lab.trace("-i", self.web.veth, "--port", "8080")
        self.ask("/ok/1")
        t.stop()
        self.assertEqual((t.spans, t.summary["record_bytes"]), ([], 0))
        t = self.lab.trace("-i", self.web.veth, "--port", "80:http")
        self.ask("/ok/2")
        t.stop()
        self.assertEqual([brief(s) for s in t.spans], [("GET", "/ok/2", 200)])

    def test_two_observers_on_one_interface(self):
        for mode in ("tcx", "clsact"):
            with self.subTest(mode):
                first = self.lab.trace("-i", self.web.veth, "--attach", mode)
                second = self.lab.trace("-i", self.web.veth, "--attach", mode)
                self.ask("/ok/1", "/ok/2")
                first.stop()
                self.ask("/ok/3")
                second.stop()
                self.assertEqual([target(s) for s in first.spans], ["/ok/1", "/ok/2"])
                self.assertEqual([target(s) for s in second.spans], ["/ok/1", "/ok/2", "/ok/3"])
                ids = [[(s["trace_id"], s["span_id"]) for s in t.spans] for t in (first, second)]
                self.assertEqual(ids[0], ids[1][:2])

    def test_no_such_interface(self):
        t = self.lab.trace("-i", "nothere0", wait_ready=False)
        self.assertNotIn(t.process.wait(60), (0, -11, -6))
        self.assertIn("nothere0", t.stderr())

    def test_check(self):
        done = subprocess.run([lab.CLOVISOR, "check"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
