# SPDX-License-Identifier: Apache-2.0
"""The API client against a real API server: what tests/kube_api says of one that is made up holds for it, too."""

import os
import sys

import cluster
from cluster import ClusterTest
from lab import wait_for
from machine import in_parallel

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(TESTS, "kube_api"))
import run as client  # noqa: E402

READ = ["get", "list", "watch"]
RULES = [{"apiGroups": [""], "resources": ["pods", "services", "nodes"], "verbs": READ},
         {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": READ},
         {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ}]
PATHS = {"pods": "/api/v1/pods", "services": "/api/v1/services", "nodes": "/api/v1/nodes",
         "endpointslices": "/apis/discovery.k8s.io/v1/endpointslices", "replicasets": "/apis/apps/v1/replicasets"}
PODS = 1100  # three pages
DENIED = "discovery.k8s.io", "endpointslices"


def pod(name, node="node1", **labels):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0,
                     "containers": [{"name": "c", "image": "example.org/c", "ports": [{"containerPort": 80}]}]}}


def service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "name": "http"}]}}


def replicaset(name):
    containers = [{"name": "c", "image": "example.org/c"}]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}}


def find_follow():
    """For client.Follow."""
    client.FOLLOW = os.environ.get("CLVT_FOLLOW", os.path.join(os.path.dirname(TESTS), "build/tests/kube_api/follow"))


class ApiClient(ClusterTest):
    """Level 1."""

    level = 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        find_follow()
        cls.cluster.account("agent", "default", RULES)
        cls.token = cls.cluster.path("agent.token")
        cls.write_token(cls.cluster.token("agent"))
        cls.kubeconfig = cls.cluster.path("agent.kubeconfig")
        with open(cls.kubeconfig, "w", encoding="ascii") as f:
            f.write(cluster.kubeconfig(cls.cluster.server, cls.cluster.authority.ca, {"tokenFile": cls.token}))

    @classmethod
    def write_token(cls, token):
        with open(cls.token, "w", encoding="ascii") as f:
            f.write(token)

    def follow(self, *argv):
        f = client.Follow("--kubeconfig", self.kubeconfig, *argv)
        self.addCleanup(f.end)
        return f

    def there(self, resource):
        """What a follower must know of it."""
        return {o["metadata"].get("namespace", "") + "/" + o["metadata"]["name"]
                for o in self.cluster.api.items(PATHS[resource])}

    def check_knows(self, f, *resources):
        for resource in resources or PATHS:
            there = self.there(resource)
            client.wait(lambda r=resource, t=there: f"{r}: {f.versions(r) ^ t}",
                        lambda r=resource, t=there: f.versions(r) == t)

    def test_all_kinds_over_one_connection(self):
        for thing in (pod("a"), service("a"), replicaset("a")):
            self.make(thing)
        f = self.follow("--node", "node1")
        client.wait("lists", lambda: len(f.listed) == 5)
        for thing in (pod("b", app="b"), service("b"), replicaset("b")):
            self.make(thing)
        self.check_knows(f)
        self.assertEqual(f.known["pod"]["default/b"]["object"]["labels"], {"app": "b"})
        self.make(pod("elsewhere", node="node2"))
        self.cluster.api.delete(pod("elsewhere"))
        self.assertEqual(client.connections(f.child.pid), 1)
        self.assertEqual(f.count("trouble") + f.count("denied") + f.figures()["kube_skipped"], 0)
        self.assertNotIn("elsewhere", str(f.lines))

    def test_a_restart_loses_nothing(self):
        self.make(pod("stays"))
        goes = pod("goes")
        self.make(goes)
        f = self.follow()
        self.check_knows(f)
        with self.cluster.without_apiserver():
            client.wait("trouble", lambda: f.count("trouble") == 5)
        self.cluster.api.delete(goes)
        self.make(pod("comes"))
        self.check_knows(f)
        client.wait("it works", lambda: f.count("working") >= 5)  # one may have failed again meanwhile

    def test_what_was_forgotten_is_listed_again(self):
        goes = pod("goes")
        self.make(goes)
        f = self.follow()
        self.check_knows(f)
        f.pause()
        self.cluster.api.delete(goes)
        self.cluster.expire_watches()
        self.make(pod("comes"))
        f.resume()
        self.check_knows(f)
        self.assertGreaterEqual(f.figures()["kube_relists"], 1)

    def test_a_rule_is_missing(self):
        self.cluster.account("agent", "default", RULES[:2])
        wait_for("it is denied", lambda: not self.cluster.may("agent", "default", "list", *DENIED))
        try:
            f = self.follow()
            self.check_knows(f, "pods", "services", "nodes", "replicasets")
            client.wait("denied", lambda: f.count("denied") == 1)
            self.assertEqual(f.why("denied"), [
                "the service account system:serviceaccount:default:agent may not list endpointslices.discovery.k8s.io: "
                "grant get, list, watch (deploy/ has the ClusterRole); going on with less"])
        finally:
            self.cluster.account("agent", "default", RULES)
        client.wait("it works", lambda: f.count("working") == 1 and "endpointslice" in f.listed)

    def test_a_token_is_renewed(self):
        self.addCleanup(self.write_token, self.cluster.token("agent"))
        f = self.follow()
        self.check_knows(f)
        self.write_token("not.a.token")
        self.cluster.restart_apiserver()  # which asks again who it is; here the token read before still holds
        self.make(pod("a"))
        self.check_knows(f)
        broken = self.follow()
        client.wait("who is refused", lambda: any("refuses the credentials of context test of" in why
                                                  for why in broken.why("trouble")))
        self.write_token(self.cluster.token("agent"))
        self.check_knows(broken)

    def test_pages(self):
        self.addCleanup(self.cluster.api.delete_pods, "default")
        in_parallel(self.cluster.api.create, [pod(f"many-{i}", node=f"node{i % 10}") for i in range(PODS)])
        f = self.follow("--brief")
        held = self.follow("--brief")
        held.say("hold")
        self.check_knows(f)
        figures = f.figures()
        self.assertLess(figures["max_rss_kib"], 30 << 10)
        client.wait("its queue is full", lambda: held.figures()["kube_stalls"] >= 1)
        held.say("go")
        self.check_knows(held)
        self.assertLess(held.figures()["max_rss_kib"], 30 << 10)
        self.cluster.api.delete_pods("default")
        self.check_knows(f, "pods")
        self.check_knows(held, "pods")
