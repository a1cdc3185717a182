# SPDX-License-Identifier: Apache-2.0
"""kube/podnet.h: from processes in pods' cgroups to network namespaces, interfaces of the node, and directories."""

import contextlib
import os
import re
import signal
import subprocess
import unittest
import uuid

import lab

DRIVER = os.path.join(os.path.dirname(lab.CLOVISOR), "tests", "podnet_driver")
CGROUP = "/sys/fs/cgroup"
V1 = os.path.join(CGROUP, "pids")
V2_BELOW = "" if os.path.exists(os.path.join(CGROUP, "cgroup.controllers")) else "unified/"
V2 = os.path.join(CGROUP, V2_BELOW)


def new_id():
    return uuid.uuid4().hex + uuid.uuid4().hex


def systemd_form(uid, container, runtime="cri-containerd"):
    return (f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid.replace('-', '_')}.slice/"
            f"{runtime}-{container}.scope")


def cgroupfs_form(uid, container):
    return f"kubepods/besteffort/pod{uid}/{container}"


class Container:
    """A line of the driver's."""

    def __init__(self, line):
        word = ["" if w == "-" else w for w in line.split(" ")]
        self.pod, self.id, self.runtime = word[:3]
        self.pid, self.netns, self.nsid = int(word[3]), int(word[4]), int(word[5])
        self.host, self.cgroup, self.inode = word[6] == "host", word[7], int(word[8])


class Driver:
    """podnet_driver on the node; its words are commands of its own."""

    def __init__(self, top, *args, before=(), ns=None):
        self.process = top.spawn_in(ns or top.node, *before, DRIVER, *args, stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != ".\n":
            if not line:
                raise AssertionError(f"podnet_driver ended, exit {self.process.wait()}")
            lines.append(line.rstrip("\n"))
        return lines

    def scan(self):
        """Containers by id, those of others on this machine among them, and the trouble."""
        *lines, trouble = self.ask("scan")
        return {c.id: c for c in map(Container, lines)}, trouble.removeprefix("trouble: ")

    def find(self, uid, *ids):
        lines = self.ask(" ".join(["find", uid, *ids]))
        return Container(lines[0]) if lines else None


class Cgroups(contextlib.ExitStack):
    """Cgroups of one test, below one of its own in each hierarchy."""

    def __init__(self):
        super().__init__()
        self.name = f"{lab.PREFIX}{os.getpid()}"
        self.sweep()
        self.callback(self.remove, self.name)

    @staticmethod
    def remove(name):
        for root in (V1, V2):
            for path, _, _ in os.walk(os.path.join(root, name), topdown=False):
                lab.wait_for(f"{path} is empty", lambda p=path: Cgroups.try_rmdir(p))

    @staticmethod
    def try_rmdir(path):
        try:
            os.rmdir(path)
        except OSError:
            return False
        return True

    def sweep(self):
        """What killed runs left."""
        for root in (V1, V2):
            for name in os.listdir(root) if os.path.isdir(root) else []:
                m = re.fullmatch(lab.PREFIX + r"(\d+)", name)
                if m and not os.path.exists(f"/proc/{m[1]}"):
                    self.remove(name)

    def put(self, root, pid, path):
        """Moves the process; its cgroup's directory."""
        full = os.path.join(root, self.name, path)
        os.makedirs(full, exist_ok=True)
        with open(os.path.join(full, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(pid))
        return full


def netns_of(pid):
    return os.stat(f"/proc/{pid}/ns/net").st_ino


class Podnet(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())

    def setUp(self):
        if not os.path.exists(os.path.join(V2, "cgroup.procs")):
            self.skipTest(f"no cgroup v2 in {V2}")
        self.cgroups = self.enterContext(Cgroups())
        self.driver = Driver(self.lab)
        self.addCleanup(lab.Lab.reap, self.driver.process)

    def sleeper(self, ns, *cgroups):
        """A process in this namespace and these cgroups, each (root, path)."""
        child = self.lab.spawn_in(ns, "sleep", "1000")
        self.addCleanup(lab.Lab.reap, child)
        lab.wait_for("sleep runs", lambda: open(f"/proc/{child.pid}/comm", encoding="ascii").read() == "sleep\n")
        for root, path in cgroups:
            self.cgroups.put(root, child.pid, path)
        return child

    def links_to(self, nsid):
        """The node's interfaces that lead there."""
        return sorted(self.driver.ask(f"links {nsid}"))

    def test_pod(self):
        """Each container of a pod is found, in the pod's namespace, by whatever form of path; so is its directory."""
        for form in (systemd_form, cgroupfs_form):
            pod = self.lab.pod(f"p{form.__name__[0]}")
            uid, ids = str(uuid.uuid4()), [new_id() for _ in range(3)]
            sleepers = [self.sleeper(pod.ns, (V2, form(uid, i))) for i in ids for _ in range(2)]
            found, trouble = self.driver.scan()
            directory = os.path.dirname(os.path.join(V2_BELOW, self.cgroups.name, form(uid, ids[0])))
            with self.subTest(form.__name__):
                self.assertEqual(trouble, "")
                self.assertEqual(self.driver.find(uid).nsid, found[ids[0]].nsid)
                self.assertEqual(self.links_to(found[ids[0]].nsid), [pod.veth])
                for i in ids:
                    c = found[i]
                    self.assertEqual((c.pod, c.netns, c.nsid, c.host),
                                     (uid, netns_of(sleepers[0].pid), found[ids[0]].nsid, False))
                    self.assertIn(c.pid, [s.pid for s in sleepers])
                    self.assertEqual((c.cgroup, c.inode), (directory, os.stat(os.path.join(CGROUP, directory)).st_ino))

    def test_version_1(self):
        """v1 tells the pod as well; it has no cgroup to attach to."""
        if not os.path.isdir(V1):
            self.skipTest(f"no {V1}")
        pod, uid, container = self.lab.pod("v1"), str(uuid.uuid4()), new_id()
        self.sleeper(pod.ns, (V1, systemd_form(uid, container, "crio")))
        found, trouble = self.driver.scan()
        c = found[container]
        self.assertEqual((trouble, c.pod, c.runtime, c.cgroup), ("", uid, "cri-o", ""))
        self.assertEqual(self.links_to(c.nsid), [pod.veth])

    def test_several_interfaces(self):
        pod, uid, container = self.lab.pod("multus"), str(uuid.uuid4()), new_id()
        lab.run("ip", "-n", self.lab.node, "link", "add", "vsecond", "type", "veth", "peer", "name", "net1", "netns",
                pod.ns)
        self.sleeper(pod.ns, (V2, cgroupfs_form(uid, container)))
        self.driver.scan()
        self.assertEqual(self.links_to(self.driver.find(uid).nsid), sorted([pod.veth, "vsecond"]))

    def test_host_network(self):
        uid, container = str(uuid.uuid4()), new_id()
        self.sleeper(self.lab.node, (V2, cgroupfs_form(uid, container)))
        found, _ = self.driver.scan()
        c = found[container]
        self.assertEqual((c.host, c.nsid), (True, -1))
        self.assertEqual(c.inode, os.stat(os.path.join(CGROUP, c.cgroup)).st_ino)

    def test_find(self):
        """By id, where the API has another uid for the pod than the cgroup; the container in the pod's namespace."""
        pod, hashed, ids = self.lab.pod("find"), uuid.uuid4().hex, [new_id(), new_id()]
        self.sleeper(self.lab.node, (V2, cgroupfs_form(hashed, ids[0])))
        self.sleeper(pod.ns, (V2, cgroupfs_form(hashed, ids[1])))
        self.driver.scan()
        other = str(uuid.uuid4())
        self.assertIsNone(self.driver.find(other))
        self.assertIsNone(self.driver.find("-"))
        self.assertEqual(self.driver.find(other, ids[0]).id, ids[0])
        self.assertEqual(self.driver.find(other, *ids).id, ids[1])
        self.assertEqual(self.driver.find(hashed).id, ids[1])

    def test_becoming_a_container(self):
        """A young process is looked at again: it may enter its cgroup, and its namespace, after it was seen."""
        pod, uid, container = self.lab.pod("young"), str(uuid.uuid4()), new_id()
        child = self.sleeper(pod.ns)
        found, _ = self.driver.scan()
        self.assertNotIn(container, found)
        self.cgroups.put(V2, child.pid, cgroupfs_form(uid, container))
        found, _ = self.driver.scan()
        self.assertEqual(found[container].pid, child.pid)
        self.cgroups.put(V2, child.pid, ".")
        found, _ = self.driver.scan()
        self.assertNotIn(container, found)

    def test_first_process_counts(self):
        """A process of the container that has gone into another namespace does not take it along."""
        pod, other, uid, container = self.lab.pod("first"), self.lab.pod("other"), str(uuid.uuid4()), new_id()
        first = self.sleeper(pod.ns, (V2, cgroupfs_form(uid, container)))
        for ns in (other.ns, self.lab.node):
            self.sleeper(ns, (V2, cgroupfs_form(uid, container)))
        found, _ = self.driver.scan()
        self.assertEqual(found[container].netns, netns_of(first.pid))
        self.assertEqual(self.links_to(found[container].nsid), [pod.veth])

    def test_gone(self):
        """A container goes with its last process, and its namespace, though we have looked at it."""
        pod, uid, container = self.lab.pod("gone"), str(uuid.uuid4()), new_id()
        child = self.sleeper(pod.ns, (V2, cgroupfs_form(uid, container)))
        found, _ = self.driver.scan()
        self.assertIn(container, found)
        lab.run("ip", "netns", "del", pod.ns)
        child.send_signal(signal.SIGKILL)
        lab.wait_for("the process has ended", lambda: "Z" in open(f"/proc/{child.pid}/stat", encoding="ascii").read())
        found, trouble = self.driver.scan()  # a zombie
        self.assertNotIn(container, found)
        self.assertEqual(trouble, "")
        child.wait()
        self.driver.scan()
        self.assertIsNone(self.driver.find(uid, container))
        lab.wait_for("the interface is gone", lambda: pod.veth not in lab.run("ip", "-n", self.lab.node, "link"))

    def test_no_interface(self):
        """A namespace that no link leads to: none at first, then one."""
        ns, uid, container = f"{lab.PREFIX}{os.getpid()}-alone", str(uuid.uuid4()), new_id()
        lab.run("ip", "netns", "add", ns)
        self.addCleanup(lab.run, "ip", "netns", "del", ns)
        self.sleeper(ns, (V2, cgroupfs_form(uid, container)))
        found, _ = self.driver.scan()
        self.assertEqual((found[container].nsid, found[container].host), (-1, False))
        lab.run("ip", "-n", self.lab.node, "link", "add", "vlate", "type", "veth", "peer", "name", "eth0", "netns", ns)
        found, _ = self.driver.scan()
        self.assertEqual(self.links_to(found[container].nsid), ["vlate"])

    def test_namespace_without_number(self):
        """The kernel numbers a namespace when it first tells of a link that leads there."""
        pod, ns, uid, container = self.lab.pod("moved"), f"{lab.PREFIX}{os.getpid()}-later", str(uuid.uuid4()), new_id()
        lab.run("ip", "netns", "add", ns)
        self.addCleanup(lab.run, "ip", "netns", "del", ns)
        # Both ends are down: of this move the node is told nothing.
        lab.run("ip", "-n", self.lab.node, "link", "add", "vmove", "type", "veth", "peer", "name", "net1",
                "netns", pod.ns)
        lab.run("ip", "-n", pod.ns, "link", "set", "net1", "netns", ns)
        self.sleeper(ns, (V2, cgroupfs_form(uid, container)))
        found, _ = self.driver.scan()
        self.assertEqual(self.links_to(found[container].nsid), ["vmove"])

    def test_many(self):
        """Processes that come and go while they are being listed."""
        pod, uid, ids = self.lab.pod("many"), str(uuid.uuid4()), [new_id() for _ in range(20)]
        churn = self.lab.spawn_in(self.lab.node, "sh", "-c", "while :; do /bin/true; done")
        self.addCleanup(lab.Lab.reap, churn)
        for i in ids:
            self.sleeper(pod.ns, (V2, cgroupfs_form(uid, i)))
        for _ in range(30):
            found, trouble = self.driver.scan()
            self.assertEqual((trouble, [found[i].pod for i in ids]), ("", [uid] * len(ids)))

    def test_by_address(self):
        """Without processes: a directory that is no /proc stands for one where nobody else is to be seen."""
        a, b = self.lab.pod("ada"), self.lab.pod("adb")
        blind = Driver(self.lab, self.lab.dir("no-proc"))
        self.addCleanup(lab.Lab.reap, blind.process)
        for pod in (a, b):
            for ip in (pod.ip, pod.ip6):
                (nsid,) = blind.ask(f"address {ip}")
                self.assertEqual(self.links_to(int(nsid)), [pod.veth])
        self.assertEqual(blind.ask("address 192.0.2.1"), ["ENOENT"])
        self.assertEqual(blind.ask(f"address {a.gateway}"), ["ENOENT"])  # the node's own

        lab.run("ip", "-n", b.ns, "addr", "add", "192.0.2.1/32", "dev", "eth0")
        self.assertEqual(blind.ask("address 192.0.2.1"), ["ENOENT"])  # as of the first question
        blind.ask("scan")
        (nsid,) = blind.ask("address 192.0.2.1")
        self.assertEqual(self.links_to(int(nsid)), [b.veth])

        lab.run("ip", "-n", a.ns, "addr", "add", "192.0.2.1/32", "dev", "eth0")
        blind.ask("scan")
        self.assertEqual(blind.ask("address 192.0.2.1"), ["ENOTUNIQ"])
        lab.run("ip", "netns", "del", a.ns)
        lab.wait_for("the interface is gone", lambda: a.veth not in lab.run("ip", "-n", self.lab.node, "link"))
        blind.ask("scan")
        (nsid,) = blind.ask("address 192.0.2.1")
        self.assertEqual(self.links_to(int(nsid)), [b.veth])

    def test_by_address_without_privilege(self):
        pod = self.lab.pod("plain")
        plain = Driver(self.lab, before=("setpriv", "--bounding-set", "-net_admin"))
        self.addCleanup(lab.Lab.reap, plain.process)
        self.assertEqual(plain.ask(f"address {pod.ip}"), ["EACCES"])

    def test_cgroup_namespace(self):
        """From a cgroup namespace of one's own paths lead up and are cut; the directories are found all the same."""
        pod, uid, ids, own = self.lab.pod("cgns"), str(uuid.uuid4()), [new_id(), new_id()], new_id()
        for i in ids:
            self.sleeper(pod.ns, (V2, systemd_form(uid, i)))
        self.cgroups.put(V2, self.driver.process.pid, systemd_form(str(uuid.uuid4()), own))
        inside = Driver(self.lab, before=("sh", "-c", f"echo $$ >{self.own_procs(own)} && exec unshare -C \"$@\"", "-"))
        self.addCleanup(lab.Lab.reap, inside.process)
        found, trouble = inside.scan()
        directory = os.path.dirname(os.path.join(V2_BELOW, self.cgroups.name, systemd_form(uid, ids[0])))
        self.assertEqual((trouble, [found[i].cgroup for i in ids]), ("", [directory] * 2))
        self.assertEqual(found[ids[1]].inode, os.stat(os.path.join(CGROUP, directory)).st_ino)

    def own_procs(self, own):
        for path, _, _ in os.walk(os.path.join(V2, self.cgroups.name)):
            if own in path:
                return os.path.join(path, "cgroup.procs")
        raise AssertionError("no such cgroup")

    def test_without_ptrace(self):
        pod, uid, container = self.lab.pod("ptrace"), str(uuid.uuid4()), new_id()
        self.sleeper(pod.ns, (V2, cgroupfs_form(uid, container)))
        plain = Driver(self.lab, before=("setpriv", "--bounding-set", "-sys_ptrace"))
        self.addCleanup(lab.Lab.reap, plain.process)
        found, trouble = plain.scan()
        self.assertRegex(trouble, r"^the network namespaces of \d+ of \d+ containers .*: CAP_SYS_PTRACE is missing$")
        c = found[container]
        self.assertEqual((c.pod, c.netns, c.nsid, c.host), (uid, 0, -1, False))
        self.assertNotEqual(c.inode, 0)

    def test_without_host_pid(self):
        alone = Driver(self.lab, before=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
        self.addCleanup(lab.Lab.reap, alone.process)
        found, trouble = alone.scan()
        self.assertEqual((found, trouble), ({}, "no process of a container is visible: hostPID is missing"))


if __name__ == "__main__":
    unittest.main()
