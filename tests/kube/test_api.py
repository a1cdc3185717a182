# SPDX-License-Identifier: Apache-2.0
"""The agent and the API server: a cluster of 5,000 pods, and whatever can be wrong between the two."""

import os
import time
import unittest

from cluster import Cluster, kubeconfig
from lab import wait_for
from machine import NAMESPACE, RULES, Machine, in_parallel
from test_api_client import client, find_follow

LONG = bool(os.environ.get("CLVT_LONG"))
MEMORY_MIB = 40
TOKEN_CACHE_SECONDS = 10  # so long the API server takes a token to be good that was
WATCHED, APPS, NODES = 200, 500, 25  # pods of this node; Deployments of ten pods; nodes of 200 pods


def ip(n):
    return f"10.{100 + n // 62500}.{n // 250 % 250}.{1 + n % 250}"


def labels(app):
    return {"app": app, "pod-template-hash": "5f5d8", "app.kubernetes.io/name": app, "team": "shop"}


def owner(app, generation=0):
    return [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-{generation}", "controller": True,
             "uid": f"replicaset-{app}-{generation}"}]


def template(app):
    return {"metadata": {"labels": labels(app)}, "spec": {"containers": [{
        "name": "app", "image": f"registry.example.org/shop/{app}:1.2.3",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
        "env": [{"name": f"SETTING_{i}", "value": "some value of a usual length"} for i in range(8)],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}}]}}


def objects():
    """What stands in a cluster of 5,000 pods, but for this node's pods."""
    meta = {"namespace": NAMESPACE}
    for n in range(NODES):
        yield {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node{n + 1}", "labels": {
            "topology.kubernetes.io/zone": f"zone{n % 3}"}}, "spec": {"podCIDR": f"10.{n}.0.0/16"}}
    for a in range(APPS):
        app = f"app{a}"
        yield {"apiVersion": "v1", "kind": "Service", "metadata": meta | {"name": app, "labels": labels(app)}, "spec": {
            "selector": {"app": app}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}
        yield {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
               "metadata": meta | {"name": f"{app}-x1", "labels": {"kubernetes.io/service-name": app}},
               "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
               "endpoints": [{"addresses": [ip(10 * a + i)], "conditions": {"ready": True}, "nodeName": f"node{2 + i}",
                              "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": f"{app}-{i}",
                                            "uid": f"uid-{a}-{i}"}}
                             for i in range(10)]}
        for generation in range(3):  # those of former versions stay
            yield {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta | {
                "name": f"{app}-{generation}", "labels": labels(app), "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "name": app, "uid": f"deployment-{app}",
                    "controller": True}]},
                "spec": {"replicas": 10 if generation == 2 else 0, "selector": {"matchLabels": {"app": app}},
                         "template": template(app)}}
    for n in range(APPS * 10 - WATCHED):
        app = f"app{n % APPS}"
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": meta | {
            "name": f"{app}-{n // APPS}", "labels": labels(app), "ownerReferences": owner(app, 2)},
            "spec": template(app)["spec"] | {"nodeName": f"node{2 + n % (NODES - 1)}"}}


class Large(unittest.TestCase):
    def test_5000_pods(self):
        with Cluster(level=1) as cluster, Machine(cluster) as machine:
            begin = time.monotonic()
            things = list(objects())
            in_parallel(cluster.api.create, things)
            other = time.monotonic() - begin
            in_parallel(lambda i: machine.add(f"p{i}", app=f"app{i % 20}"), range(WATCHED))
            mine = time.monotonic() - begin - other
            print(f"     {len(things)} objects in {other:.0f} s, {WATCHED} pods that run in {mine:.0f} s", flush=True)
            self.measure(machine, machine.agent())
            self.measure(machine, machine.agent("--all-pods"), " that follows all pods")
            self.check_no_list_stalls(machine)

    def check_no_list_stalls(self, machine):
        """libcurl 7.88 leaves one standing in one start of twenty, when nobody looks after it."""
        find_follow()
        for _ in range(25):
            with client.Follow("--kubeconfig", machine.kubeconfig, "--brief", "--patience", 300000) as f:
                client.wait("all kinds are listed", lambda f=f: len(f.listed) == len(client.KINDS))

    def measure(self, machine, agent, which=""):
        ready, used = agent.ready - agent.started, agent.cpu()
        wait_for("all pods are attached", lambda: len(agent.attached()) == WATCHED, 60)
        memory = agent.memory()
        for pod in machine.pods.values():
            machine.inside(machine.request, pod)
        time.sleep(1)
        seconds, before = (60 if LONG else 5), agent.cpu()
        time.sleep(seconds)
        idle = 100 * (agent.cpu() - before) / seconds
        figures = agent.status()["figures"]
        print(f"     an agent{which}: ready after {ready:.1f} s, with {used:.2f} s of CPU; memory {memory:.1f} "
              f"MiB, later {agent.memory():.1f} MiB; idle {idle:.2f} % of a core; "
              f"{figures['kube_addresses']} addresses, {figures['kube_bytes'] / 1e6:.2f} MB of objects", flush=True)
        self.assertEqual(figures["drops"]["kube_skipped"], 0)
        self.assertLessEqual(max(memory, agent.memory()), MEMORY_MIB)
        self.assertLess(idle, 10)
        agent.stop()
        self.assertEqual(len({s["resource"]["k8s.pod.name"] for s in agent.spans()}), WATCHED)


ODD_PODS = [
    {"metadata": {"name": "x" * 253}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
    {"metadata": {"name": "no-labels-1", "generateName": "no-labels-"},
     "spec": {"containers": [{"name": "a", "image": "a"}]},
     "status": {"phase": "Pending", "conditions": [], "podIPs": []}},
    {"metadata": {"name": "many", "labels": {f"example.org/label-{i}": "v" * 63 for i in range(200)},
                  "annotations": {"big": "\u2028\"\\\t\U0001f600" * 20000, "clovisor.io/trace": "maybe"}},
     "spec": {"containers": [{"name": f"c{i}", "image": "a", "ports": [{"containerPort": 1 + i, "protocol": "SCTP"},
                                                                       {"containerPort": 1 + i, "name": f"p{i}"}]}
                             for i in range(100)],
              "initContainers": [{"name": f"i{i}", "image": "a"} for i in range(20)]},
     "status": {"phase": "Running", "podIP": "fd00::1", "podIPs": [{"ip": "fd00::1"}, {"ip": "10.9.9.9"}],
                "containerStatuses": [
                    {"name": "c0", "image": "", "imageID": "", "ready": False, "restartCount": 2147483647,
                     "containerID": "not a scheme", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
                    {"name": "c1", "image": "", "imageID": "", "ready": True, "restartCount": 0,
                     "containerID": "cri-o://" + "a" * 3000, "state": {"running": {}}}]}},
    {"metadata": {"name": "host", "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "n",
                                                       "controller": True}],
                  "annotations": {"kubernetes.io/config.mirror": "abc",
                                  "resource.opentelemetry.io/service.name": "\u00e9" * 300}},
     "spec": {"hostNetwork": True, "containers": [{"name": "a", "image": "a"}]},
     "status": {"phase": "Running", "hostIP": "10.50.0.1", "podIP": "10.50.0.1", "podIPs": [{"ip": "10.50.0.1"}]}},
    {"metadata": {"name": "failed"}, "spec": {"containers": [{"name": "a", "image": "a"}]},
     "status": {"phase": "Failed", "reason": "Evicted", "message": "m" * 30000}},
]
ODD_OTHERS = [
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless"}, "spec": {
        "clusterIP": "None", "selector": {"app": "a"}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "external"}, "spec": {
        "type": "ExternalName", "externalName": "example.org"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "all"}, "spec": {
        "type": "LoadBalancer", "externalIPs": ["192.0.2.7", "2001:db8::7"], "ports": [
            {"name": f"p{i}", "port": 1 + i, "targetPort": f"name{i}", "protocol": ["TCP", "UDP", "SCTP"][i % 3],
             "appProtocol": "example.org/\u00e9"[:12] + str(i)} for i in range(300)]}},
    {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "nobody"},
     "addressType": "IPv6", "endpoints": [{"addresses": ["fd00::5"], "conditions": {}}], "ports": None},
    {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "names"}, "addressType": "FQDN",
     "endpoints": [{"addresses": ["example.org"]}], "ports": [{}]},
    {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
        "name": "empty", "labels": {"kubernetes.io/service-name": "all"}}, "addressType": "IPv4", "endpoints": None},
    {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
        "name": "large", "labels": {"kubernetes.io/service-name": "all"}}, "addressType": "IPv4",
     "endpoints": [{"addresses": [f"10.7.{i // 250}.{1 + i % 250}"], "hostname": "h",
                    "targetRef": {"kind": "VirtualMachine", "name": "v"}} for i in range(1000)]},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bare"}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "both"}, "spec": {
        "podCIDR": "10.8.0.0/16", "podCIDRs": ["10.8.0.0/16", "fd08::/64"]}},
]


def without(resource):
    return [rule for rule in RULES if rule["resources"] != [resource]]


class Trouble(unittest.TestCase):
    """Level 1, one cluster for all."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(level=1))
        cls.serial = 0

    def setUp(self):
        self.machine = self.enterContext(Machine(self.cluster))

    def add(self):
        Trouble.serial += 1
        return self.machine.add(f"t{Trouble.serial}")

    def assert_traces(self, agent, pod, seconds=60):
        """Requests to the pod have spans from now on."""
        def attached():
            self.assertIsNone(agent.process.poll(), agent.log())
            return pod.name in agent.attached()

        try:
            wait_for(f"{pod.name} is attached", attached, seconds)
        except AssertionError as e:
            self.fail(f"{e}\n{agent.log()[-3000:]}")
        before = pod.requests
        self.machine.inside(self.machine.request, pod)
        wait_for("its span", lambda: f"/{pod.name}/{before + 1}" in
                 [s["attributes"]["url.path"] for s in agent.spans() if s["resource"]["k8s.pod.name"] == pod.name], 60)

    def test_server_restarted(self):
        agent, first = self.machine.agent(), self.add()
        self.assert_traces(agent, first)
        with self.cluster.without_apiserver():
            agent.wait_text("cannot reach https://", 60)
            self.assert_traces(agent, first)  # what is known goes on
        self.assert_traces(agent, self.add(), 90)
        agent.wait_text("the API server answers again", 60)
        # One that starts may say of a kind that it is denied, before it knows its own rules.
        wait_for("no trouble", lambda: not agent.status()["kubernetes"]["trouble"], 60)
        agent.stop()

    def unreachable(self, begin, end):
        """Meanwhile one pod goes and another comes."""
        agent, stays, goes = self.machine.agent(), self.add(), self.add()
        for pod in (stays, goes):
            self.assert_traces(agent, pod)
        begin()
        comes = self.add()
        self.machine.remove(goes)
        time.sleep(60 if LONG else 2)
        self.assert_traces(agent, stays)
        end()
        self.assert_traces(agent, comes, 90)
        self.assertEqual(set(agent.pods()), {stays.name, comes.name})
        agent.stop()

    def test_unreachable(self):
        self.unreachable(self.machine.relay.refuse, self.machine.relay.open)

    def test_silence(self):
        self.unreachable(self.machine.relay.hold, self.machine.relay.release)

    def test_watch_expired(self):
        agent, stays, goes = self.machine.agent(), self.add(), self.add()
        self.assert_traces(agent, goes)
        self.machine.relay.refuse()
        self.machine.remove(goes)
        comes = self.add()
        self.cluster.expire_watches()
        self.machine.relay.open()
        self.assert_traces(agent, comes, 90)
        self.assert_traces(agent, stays)
        wait_for("who is gone is known", lambda: set(agent.pods()) == {stays.name, comes.name}, 60)
        self.assertGreater(agent.status()["figures"]["kube_relists"], 0)
        self.assertEqual(agent.log().count("attached to"), 3)  # those that stayed were left alone
        agent.stop()

    def test_token_rotated(self):
        token, config = self.machine.lab.path("token"), self.machine.lab.path("rotating.kubeconfig")

        def rotate():
            with open(f"{token}.new", "w", encoding="ascii") as f:
                f.write(self.cluster.token("rotating"))
            os.rename(f"{token}.new", token)

        self.cluster.account("rotating", "default", RULES)
        rotate()
        with open(config, "w", encoding="ascii") as f:
            f.write(kubeconfig(self.cluster.server, self.cluster.authority.ca, {"tokenFile": token}))
        agent = self.machine.agent(kubeconfig=config)
        self.assert_traces(agent, self.add())
        # The account is another one now, which ends the old tokens.
        self.cluster.kubectl("delete", "serviceaccount", "rotating")
        self.cluster.account("rotating", "default", RULES)
        time.sleep(TOKEN_CACHE_SECONDS + 1)
        self.machine.relay.refuse()
        self.machine.relay.open()
        agent.wait_text("refuses the credentials of", 60)
        rotate()
        self.assert_traces(agent, self.add(), 120)
        wait_for("no trouble", lambda: not agent.status()["kubernetes"]["trouble"], 60)
        agent.stop()

    def test_a_rule_is_missing(self):
        kinds = {rule["resources"][0]: rule["apiGroups"][0] for rule in RULES}
        agents = {}
        for kind in kinds:
            self.cluster.account(f"no-{kind}", "default", without(kind))
            config = self.cluster.kubeconfig(self.machine.lab.path(f"no-{kind}"), self.cluster.token(f"no-{kind}"))
            agents[kind] = self.machine.agent(kubeconfig=config)
        pod = self.add()
        for kind, agent in agents.items():
            with self.subTest(kind=kind):
                name = f"{kind}.{kinds[kind]}".rstrip(".")
                agent.wait_text(f"the service account .*:no-{kind} may not list {name}: grant get, list, watch", 60)
                self.assertEqual([name.split(".")[0] in k for k in agent.status()["kubernetes"]["trouble"]], [True])
                if kind == "pods":
                    self.assertEqual(agent.pods(), {})
                else:
                    self.assert_traces(agent, pod)
                self.assertEqual(agent.log().count("may not list"), 1)
                agent.stop()

    def test_starts_before_the_server(self):
        pod = self.add()
        self.machine.relay.refuse()
        agent = self.machine.agent(ready=False)
        agent.wait_text("cannot reach https://127.0.0.1:16443", 60)
        time.sleep(60 if LONG else 3)
        self.assertIsNone(agent.process.poll(), agent.log())
        self.assertTrue(agent.status()["kubernetes"]["trouble"])
        self.machine.relay.open()
        self.assert_traces(agent, pod, 90)
        agent.wait_text("^ready", 60)
        agent.stop()

    def test_odd_objects(self):
        machine, made = self.machine, []
        first = machine.agent()

        def make(thing):
            self.addCleanup(machine.api.delete_if_there, thing)
            made.append(machine.api.create(thing))

        for thing in ODD_OTHERS:
            thing["metadata"] |= {} if thing["kind"] == "Node" else {"namespace": NAMESPACE}
            make(thing)
        for thing in ODD_PODS:
            thing = {"apiVersion": "v1", "kind": "Pod"} | thing
            thing["metadata"]["namespace"] = NAMESPACE
            thing["spec"] |= {"nodeName": "node1", "terminationGracePeriodSeconds": 0}
            make(thing)
            if "status" in thing:
                machine.api.patch(thing, {"status": thing["status"]}, "/status")
        machine.api.patch({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bare"}}, {"status": {"addresses": [
            {"type": "Hostname", "address": "bare"}, {"type": "InternalIP", "address": "not an address"},
            {"type": "InternalIP", "address": "fd00::77"}]}}, "/status")
        second, pod = machine.agent(), self.add()
        for agent in (first, second):
            self.assert_traces(agent, pod)
            status = agent.status()
            self.assertEqual(status["kubernetes"]["trouble"], {})
            figures = status["figures"]
            self.assertEqual((figures["drops"]["kube_skipped"], figures["kube_errors"]), (0, 0), figures)
            states = {p["name"]: p["state"] for p in status["pods"]}
            self.assertEqual(states, {
                "x" * 253: "sought", "no-labels-1": "sought", "many": "sought", "host": "sought",
                "failed": "not selected", pod.name: "traced"})
        for thing in reversed(made):
            machine.api.delete(thing)
        for agent in (first, second):
            wait_for("they are gone", lambda agent=agent: set(agent.pods()) == {pod.name}, 60)
            agent.stop()
