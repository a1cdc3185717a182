# SPDX-License-Identifier: Apache-2.0
"""The cluster itself, without clovisor: it starts, does what Kubernetes does, and leaves nothing behind."""

import os
import subprocess
import sys
import unittest

import api
import cluster
import groups
import workload
from cluster import Cluster, ClusterTest
from lab import wait_for

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"},
       "spec": {"nodeName": "node1", "containers": [{"name": "c", "image": "example.org/c"}]}}


def leftovers():
    """What a cluster may leave: its directory, cgroups, processes, mounts and interfaces."""
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as f:
        mounts = [line for line in f if cluster.TOP in line]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    return {"directory": os.path.exists(cluster.TOP), "groups": list(groups.trees()), "processes": groups.processes(),
            "mounts": mounts, "links": [w for w in links.split() if w.startswith("kube")]}


class Objects(ClusterTest):
    """Level 1."""

    level = 1

    def test_objects_come_and_go(self):
        self.addCleanup(self.cluster.api.delete_if_there, POD)
        self.cluster.apply(POD)
        self.cluster.api.patch(POD, {"status": {"phase": "Running", "podIP": "10.0.0.1"}}, "/status")
        found = self.cluster.pods()
        self.assertEqual([(p["metadata"]["name"], p["status"]["podIP"]) for p in found], [("a", "10.0.0.1")])
        self.cluster.api.delete(POD)
        self.assertEqual(self.cluster.pods(), [])

    def test_a_restart_keeps_objects(self):
        self.make(POD)
        with self.cluster.without_apiserver():
            self.assertFalse(self.cluster.api.ready())
        self.assertEqual([p["metadata"]["name"] for p in self.cluster.pods()], ["a"])

    def test_old_versions_are_gone(self):
        before = self.cluster.api.get("/api/v1/pods")["metadata"]["resourceVersion"]
        self.make(POD)
        self.cluster.expire_watches()
        event = next(self.cluster.api.watch("/api/v1/pods", resourceVersion=before))
        self.assertEqual((event["type"], event["object"]["code"]), ("ERROR", 410))

    def test_an_account_may_do_what_its_rules_say(self):
        self.cluster.account("agent", "default", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
        agent = api.Api(self.cluster.server, self.cluster.authority.ca, token=self.cluster.token("agent"))
        self.addCleanup(agent.close)
        self.assertEqual(agent.items("/api/v1/pods"), [])
        with self.assertRaises(api.ApiError) as refused:
            agent.items("/api/v1/nodes")
        self.assertEqual(refused.exception.status, 403)


class Ends(unittest.TestCase):
    """Level 3. However it ends, nothing of it is left."""

    def check_the_application(self, two):
        """The one that other tests trace: it answers through its services."""
        workload.deploy(two)
        for name in ("web", "client"):
            nodes = {p["spec"]["nodeName"] for p in two.pods(app=name)}
            self.assertEqual(nodes, {"node1", "node2"}, name)
        for client in two.pods(app="client"):
            self.assertEqual(workload.send(two, client, requests=200, rate=400), (200, 0))
        workload.remove(two)
        wait_for("no veth is left", lambda: not [i for node in two.nodes.values() for i in node.interfaces()
                                                 if i.startswith("veth")], 60)

    def check_nothing_is_left(self):
        self.assertFalse(any(leftovers().values()), leftovers())

    def test_in_good_order(self):
        with Cluster(nodes=("node1", "node2")) as two:
            self.check_the_application(two)
            self.assertGreater(len(groups.processes()), len(two.programs))
            pids = [node.pid for node in two.nodes.values()]
        self.check_nothing_is_left()
        wait_for("the nodes' init is reaped", lambda: not [pid for pid in pids if os.path.exists(f"/proc/{pid}")])

    def test_killed(self):
        """What dies at once is gone with it, and the next run removes the rest."""
        script = f"import sys; sys.path[:0] = [{cluster.HERE!r}]; import cluster; cluster.Cluster().__enter__(); " \
                 "print('up', flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
            self.assertEqual(run.stdout.readline(), b"up\n")
            self.assertTrue(groups.processes())
            run.kill()
        wait_for("its processes are gone", lambda: not groups.processes(), 30)
        self.assertEqual(leftovers()["mounts"], [])
        cluster.remove_leftovers()
        self.check_nothing_is_left()
