# SPDX-License-Identifier: Apache-2.0
"""Capture at cgroups: every way a pod's packets can take is seen, once, and both ends of a request find each other."""

import json
import os
import shutil
import signal
import subprocess
import unittest

import lab
from lab import attr, brief, target

# Asks for n paths on one connection, or on one each.
ASK = """
import http.client, sys
host, port, n, keep = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "keep"
c = http.client.HTTPConnection(host, port)
for i in range(n):
    c.request("GET", f"/ok/{i}"); r = c.getresponse(); r.read(); assert r.status == 200
    keep or c.close()
"""

# Asks for each line that it reads, on one connection.
TALK = """
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1])
for line in sys.stdin:
    c.request("GET", line.strip()); c.getresponse().read(); print(flush=True)
"""

# Answers half a second after it was asked, whatever became of who asked.
SLOW = """
import socket, time
s = socket.create_server(("", 9000))
print(flush=True)
while True:
    c, _ = s.accept()
    c.recv(9999); time.sleep(.5)
    try: c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except OSError: pass
    c.close()
"""

# Asks, says that it will ask no more, and waits for the other's end; or leaves.
LEAVE = """
import socket, sys
c = socket.create_connection((sys.argv[1], 9000))
c.sendall(b"GET /%s HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % sys.argv[2].encode())
if sys.argv[2] == "half":
    c.shutdown(1)
    while c.recv(9999): pass
c.close()
"""


def marks(span):
    """What a span says it does not know."""
    return [k for k in span["attributes"] if k.startswith("clovisor.") and span["attributes"][k] is True
            and k != "clovisor.connection.reused"]


def kinds(spans):
    return sorted(s["kind"] for s in spans)


@unittest.skipUnless(lab.cgroup_mount(), "cgroup v2 is not mounted")
class Cgroups(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web").join(), cls.lab.pod("user").join()
        cls.web.nginx()

    def trace(self, *pods, **kw):
        options = [o for pod in pods for o in ("--cgroup", pod.cgroup.path)]
        return self.lab.trace(*options, *kw.pop("options", []), **kw)

    def ask(self, pod, host, n=1, port=80, how="keep", **kw):
        pod.run("python3", "-c", ASK, host, str(port), str(n), how, **kw)

    def assert_whole(self, spans):
        for s in spans:
            self.assertEqual(marks(s), [], s)
            self.assertIsNotNone(attr(s, "http.response.status_code"), s)

    def assert_pairs(self, spans, n):
        """n requests, of each the client's span and the server's, linked."""
        self.assert_whole(spans)
        clients = {s["span_id"]: s for s in spans if s["kind"] == "CLIENT"}
        servers = {s["parent_span_id"]: s for s in spans if s["kind"] == "SERVER"}
        self.assertEqual((len(spans), len(clients), len(servers)), (2 * n, n, n))
        self.assertEqual(clients.keys(), servers.keys())
        for ident, span in clients.items():
            self.assertEqual(span["trace_id"], servers[ident]["trace_id"])
            self.assertEqual(brief(span), brief(servers[ident]))

    def assert_lossless(self, t):
        self.assertEqual({k: v for k, v in t.summary["drops"].items() if v}, {})

    def test_both_ends(self):
        """IPv4 and IPv6; how it was attached and whose the spans are; a path below the mount does as well."""
        below = os.path.relpath(self.user.cgroup.path, lab.cgroup_mount())
        t = self.lab.trace("--cgroup", self.web.cgroup.path, "--cgroup", below, "--service", f"{below}=caller")
        self.assertRegex(t.stderr(), r"(?m)^ready: \S*/web \(cgroup\), \S*/user \(cgroup\)$")
        for host in (self.web.ip, self.web.ip6):
            self.ask(self.user, host, 3)
            self.ask(self.user, host, 3, how="anew")
        t.stop()
        self.assert_pairs(t.spans, 12)
        self.assert_lossless(t)
        for s in t.spans:
            self.assertEqual(s["resource"]["service.name"], "web" if s["kind"] == "SERVER" else "caller")

    def test_two_thousand(self):
        t = self.trace(self.web)
        self.ask(self.user, self.web.ip, 1000)
        self.ask(self.user, self.web.ip, 1000, how="anew")
        t.stop()
        self.assertEqual(len(t.spans), 2000)
        self.assert_whole(t.spans)
        self.assert_lossless(t)

    def test_loopback(self):
        """Both ends in one pod: one span, the server's, which has no parent."""
        t = self.trace(self.web, options=["--flows"])
        for host in ("127.0.0.1", "::1", self.web.ip):
            self.ask(self.web, host, 20)
            self.ask(self.web, host, 20, how="anew")
        t.stop()
        spans, flows = ([s for s in t.spans if ("connection" in s) == what] for what in (False, True))
        self.assertEqual(kinds(spans), ["SERVER"] * 120)
        self.assert_whole(spans)
        self.assertEqual([s for s in spans if "parent_span_id" in s], [])
        self.assertEqual(kinds([f["connection"] for f in flows]), ["SERVER"] * 63)
        self.assertEqual(t.summary["both_ends"], 63)
        self.assertEqual(t.summary["retransmits"], 0)
        self.assert_lossless(t)

    def test_host_network(self):
        """Two pods without a namespace of their own talk over the node's lo: each has its end, and only that."""
        server, client = (lab.Cgroup(self.lab, name) for name in ("hostserver", "hostclient"))
        www = self.lab.dir("hostwww")
        with open(os.path.join(www, "page"), "w", encoding="ascii") as f:
            f.write("hello\n")
        self.lab.spawn_in(self.lab.node, "python3", "-m", "http.server", "-d", www, "8000", preexec_fn=server.enter,
                          stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ask = lambda: self.lab.run_in(self.lab.node, "curl", "-sS", "http://127.0.0.1:8000/page",
                                      preexec_fn=client.enter)
        lab.wait_for("http.server answers", lambda: not isinstance(self.attempt(ask), Exception))
        t = self.lab.trace("--cgroup", server.path, "--cgroup", client.path)
        for _ in range(20):
            ask()
        t.stop()
        self.assert_pairs(t.spans, 20)
        for s in t.spans:
            self.assertEqual(s["resource"]["service.name"], "hostserver" if s["kind"] == "SERVER" else "hostclient")

    @staticmethod
    def attempt(fn):
        try:
            return fn()
        except RuntimeError as e:
            return e

    def test_translated_addresses(self):
        """
        A service's address as kube-proxy has it, asked from the node itself, and a port that the server's pod
        redirects: the programs see one direction before the translation and the other behind it.
        """
        client = lab.Cgroup(self.lab, "natclient")
        service = f"""table ip clvt {{
            chain output {{
                type nat hook output priority -100
                ip daddr 10.96.0.1 tcp dport 8080 dnat to {self.web.ip}:80
            }}
        }}
        """
        redirect = """table ip clvt {
            chain pre {
                type nat hook prerouting priority -100
                tcp dport 8081 redirect to :80
            }
        }
        """
        self.lab.run_in(self.lab.node, "ip", "route", "add", "10.96.0.0/16", "via", self.web.ip)
        self.enterContext(self.lab.nft(self.lab.node, service))
        t = self.lab.trace("--cgroup", client.path, "--cgroup", self.web.cgroup.path, "--flows")
        url = [f"http://10.96.0.1:8080/ok/{i}" for i in range(5)]
        self.lab.run_in(self.lab.node, "curl", "-sS", *url, preexec_fn=client.enter)
        with self.lab.nft(self.web.ns, redirect):
            self.user.curl(*[f"http://{self.web.ip}:8081/ok/{i}" for i in range(5)])
        t.stop()
        spans = [s for s in t.spans if "connection" not in s]
        flows = [s["connection"] for s in t.spans if "connection" in s]
        self.assert_pairs(spans[:10], 5)
        self.assertEqual(kinds(spans[10:]), ["SERVER"] * 5)
        self.assert_whole(spans)
        told = [(f["kind"], f["end"], *(attr(f, k) for k in ("server.address", "server.port", "network.local.port")))
                for f in flows]
        self.assertEqual(sorted(told)[0][:4], ("CLIENT", "closed", "10.96.0.1", 8080))
        self.assertEqual(sorted(told)[1:], [("SERVER", "closed", self.web.ip, 80, 80)] * 2)

    def test_redirected_within_a_pod(self):
        """As a sidecar has it: what was meant for somewhere else ends up at another process of the pod."""
        rules = """table ip clvt {
            chain output {
                type nat hook output priority -100
                ip daddr 10.96.0.2 tcp dport 8080 redirect to :80
            }
        }
        """
        self.enterContext(self.lab.nft(self.web.ns, rules))
        t = self.trace(self.web)
        self.ask(self.web, "10.96.0.2", 10, 8080)
        self.ask(self.web, "10.96.0.2", 10, 8080, how="anew")
        t.stop()
        self.assert_pairs(t.spans, 20)

    def redirect(self, source, to):
        """What comes from one pod's veth goes straight into the other pod."""
        peer = json.loads(self.lab.run_in(self.lab.node, "ip", "-j", "link", "show", "dev", to.veth))[0]["ifindex"]
        mac = json.loads(self.lab.run_in(to.ns, "ip", "-j", "link", "show", "dev", "eth0"))[0]["address"]
        obj = self.lab.path(f"redirect-{to.name}.o")
        lab.run("clang-14", "-target", "bpf", "-O2", "-g", f"-I/usr/include/{os.uname().machine}-linux-gnu",
                f"-DPEER={peer}", "-DMAC=" + ",".join("0x" + b for b in mac.split(":")), "-c",
                os.path.join(lab.ROOT, "tests/netns/redirect.bpf.c"), "-o", obj)
        self.lab.run_in(self.lab.node, "tc", "qdisc", "add", "dev", source.veth, "clsact")
        self.addCleanup(self.lab.run_in, self.lab.node, "tc", "qdisc", "del", "dev", source.veth, "clsact")
        self.lab.run_in(self.lab.node, "tc", "filter", "add", "dev", source.veth, "ingress", "prio", "9", "bpf", "da",
                        "obj", obj, "sec", "tc")

    def test_redirected_to_the_peer(self):
        """Where packets go past the veth, that is blind for half of each request; the cgroups are not."""
        self.redirect(self.user, self.web)
        self.redirect(self.web, self.user)
        t = self.lab.trace("-i", self.web.veth)
        self.ask(self.user, self.web.ip, 5)
        t.stop()
        self.assertEqual([s for s in t.spans if not marks(s)], [])
        t = self.trace(self.web, self.user)
        self.ask(self.user, self.web.ip, 20)
        self.ask(self.user, self.web.ip6, 20, how="anew")
        t.stop()
        self.assert_pairs(t.spans, 40)

    def test_veth_and_cgroup(self):
        """One pod by its interface, the other by its cgroup: the two find each other as ever."""
        t = self.trace(self.web, options=["-i", self.user.veth])
        self.ask(self.user, self.web.ip, 20)
        self.ask(self.user, self.web.ip6, 20, how="anew")
        t.stop()
        self.assert_pairs(t.spans, 40)

    def test_loss(self):
        for pod in (self.web, self.user):
            self.enterContext(pod.loss(1))
        t = self.trace(self.web, self.user)
        self.ask(self.user, self.web.ip, 2000)
        t.stop()
        self.assert_pairs(t.spans, 2000)
        self.assertGreater(t.summary["kernel_retransmits"] + t.summary["retransmits"], 0)
        self.assert_lossless(t)

    def test_joined_midstream(self):
        """Attached in the middle of connections, over the veth and over lo: of these only the first span says so."""
        for host, client, n in ((self.web.ip, self.user, 2), ("127.0.0.1", self.web, 1)):
            with self.subTest(host):
                child = client.spawn("python3", "-c", TALK, host, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True)

                def say(path):
                    print(path, file=child.stdin, flush=True)
                    child.stdout.readline()

                say("/ok/before")
                t = self.trace(self.web, self.user)
                for i in range(10):
                    say(f"/ok/{i}")
                t.stop()
                child.stdin.close()
                self.assertEqual(len(t.spans), 10 * n)
                self.assertEqual(sorted(target(s) for s in t.spans), sorted([f"/ok/{i}" for i in range(10)] * n))
                self.assertEqual([marks(s) for s in t.spans if target(s) != "/ok/0" and marks(s)], [])
                if n == 1:
                    self.assertEqual(kinds(t.spans), ["SERVER"] * 10)

    def test_syn_cookies(self):
        """Then SYN-ACKs belong to no socket, so nobody sees them leave: requests are whole all the same."""
        self.web.run("sh", "-c", "echo 2 >/proc/sys/net/ipv4/tcp_syncookies")
        self.addCleanup(self.web.run, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_syncookies")
        t = self.trace(self.web, options=["--flows"])
        self.ask(self.user, self.web.ip, 20, how="anew")
        t.stop()
        spans = [s for s in t.spans if "connection" not in s]
        self.assertEqual(kinds(spans), ["SERVER"] * 20)
        self.assert_whole(spans)
        self.assertEqual({f["connection"]["end"] for f in t.spans if "connection" in f}, {"closed"})

    def test_farewells(self):
        """
        A socket whose process has closed it is shown no more of what comes: the client gives up, and the server takes
        its time to notice. One that is closed for writing only gets its answer.
        """
        self.web.spawn("python3", "-c", SLOW, stdout=subprocess.PIPE).stdout.readline()
        t = self.trace(self.user, options=["--flows"])
        for how in ("gives-up", "half"):
            self.user.run("python3", "-c", LEAVE, self.web.ip, how)
        t.wait_spans(4)  # not only when clovisor ends
        t.stop()
        spans = {target(s): s for s in t.spans if "connection" not in s}
        self.assertEqual(spans["/gives-up"]["attributes"]["error.type"], "connection_closed")
        self.assertEqual(attr(spans["/half"], "http.response.status_code"), 200)
        self.assertEqual([s["connection"]["end"] for s in t.spans if "connection" in s], ["closed"] * 2)

    @unittest.skipUnless(shutil.which("dnsmasq", path="/usr/sbin:/usr/bin") and shutil.which("dig"), "no dnsmasq, dig")
    def test_dns(self):
        self.web.spawn("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                       "--pid-file=", "--user=root", "--host-record=www.example.com,192.0.2.1",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.wait_for("dnsmasq answers", lambda: self.web.try_connect(53))
        t = self.trace(self.web, self.user)
        for _ in range(10):
            self.user.run("dig", "+tries=1", "+timeout=5", f"@{self.web.ip}", "www.example.com")
        for _ in range(10):
            self.web.run("dig", "+tries=1", "+timeout=5", "@127.0.0.1", "inside.example.com")
        t.stop()
        between = [s for s in t.spans if attr(s, "dns.question.name") == "www.example.com"]
        self.assertEqual(kinds(between), ["CLIENT"] * 10 + ["SERVER"] * 10)
        self.assertEqual({s["trace_id"] for s in between if s["kind"] == "CLIENT"},
                         {s["trace_id"] for s in between if s["kind"] == "SERVER"})
        self.assertEqual(kinds(s for s in t.spans if s not in between), ["SERVER"] * 10)

    def test_replayed(self):
        """What -w wrote gives the same spans, those within a pod included."""
        pcap = self.lab.path("cgroup.pcapng")
        t = self.trace(self.web, self.user, options=["-w", pcap])
        self.ask(self.user, self.web.ip, 20)
        self.ask(self.web, "127.0.0.1", 20, how="anew")
        t.stop()
        again = lab.read(pcap)
        self.assertEqual(len(t.spans), 60)
        for s in t.spans + again:
            s.pop("resource")
        self.assertEqual(sorted(map(json.dumps, t.spans)), sorted(map(json.dumps, again)))

    def attached(self, pod):
        """The programs on a pod's cgroup."""
        out = lab.run("bpftool", "-j", "cgroup", "show", pod.cgroup.path)
        return [p["name"] for p in json.loads(out.strip() or "[]") if p["name"].startswith("clovisor")]

    def test_nothing_stays(self):
        """Neither after a clean end nor after SIGKILL; and traffic goes on."""
        for sig in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(sig):
                t = self.trace(self.web)
                self.assertEqual(sorted(self.attached(self.web)), ["clovisor_in_cg", "clovisor_out_cg"])
                t.process.send_signal(sig)
                t.process.wait(timeout=30)
                lab.wait_for("the programs are gone", lambda: not self.attached(self.web))
                self.ask(self.user, self.web.ip)

    def test_cgroup_removed(self):
        """It is told; the run goes on with the others, and alone."""
        gone = lab.Cgroup(self.lab, "gone")
        t = self.lab.trace("--cgroup", gone.path, "--cgroup", self.web.cgroup.path)
        gone.remove()
        t.wait_text(f"{gone.path} is gone" if len(gone.path) < 64 else "gone is gone")
        self.ask(self.user, self.web.ip)
        t.stop()
        self.assertEqual(kinds(t.spans), ["SERVER"])

    def test_removed_while_attached_and_alone(self):
        gone = lab.Cgroup(self.lab, "alone")
        t = self.lab.trace("--cgroup", gone.path)
        gone.remove()
        t.wait_text("is gone")
        t.stop()
        self.assertEqual(t.spans, [])

    def test_two_observers(self):
        """Neither disturbs the other."""
        a, b = self.trace(self.web), self.trace(self.web)
        self.ask(self.user, self.web.ip, 10)
        a.stop()
        self.ask(self.user, self.web.ip, 10)
        b.stop()
        self.assertEqual((len(a.spans), len(b.spans)), (10, 20))
        self.assert_whole(a.spans + b.spans)

    def test_least_privilege(self):
        """CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are all it takes."""
        caps = "+bpf,+net_admin,+perfmon"
        program = shutil.copy(lab.CLOVISOR, self.lab.path("clovisor"))
        os.chmod(self.lab.top, 0o755)
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={caps}",
                f"--ambient-caps={caps}", f"--bounding-set=-all,{caps}", program, "trace", "--json", "--cgroup",
                self.web.cgroup.path]
        child = self.lab.spawn_in(self.lab.node, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertRegex(child.stderr.readline(), r"^ready: .*\(cgroup\)")
        self.ask(self.user, self.web.ip)
        self.assertEqual(json.loads(child.stdout.readline())["kind"], "SERVER")
        child.terminate()
        child.wait(timeout=30)

    def test_refused(self):
        """One line with the next step in it."""
        for path, says in (("/nowhere", "No such file"), ("/tmp", "cgroup v2")):
            t = self.lab.trace("--cgroup", path, wait_ready=False)
            self.assertEqual(t.process.wait(timeout=20), 1)
            self.assertRegex(t.stderr(), rf"cannot find cgroup {path}: .*{says}")


if __name__ == "__main__":
    unittest.main()
