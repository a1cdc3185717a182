# SPDX-License-Identifier: Apache-2.0
"""clovisor as a node agent on a cluster of two nodes: client -> web -> redis under load, what a collector gets of it,
and what becomes of it when pods, labels and agents come and go."""

import contextlib
import tempfile
import threading

import backends
import install
import spans
import workload
from cluster import ClusterTest
from lab import wait_for
from node import HOST_ADDRESS, PAUSE_IMAGE

ARRIVAL_SECONDS = 60
HOPS = [("client", "CLIENT"), ("web", "SERVER"), ("web", "CLIENT"), ("redis", "SERVER")]


class Traced(ClusterTest):
    """With the application, a Collector, and the agent on both nodes."""

    nodes, how, arguments = ("node1", "node2"), install.Kustomize, ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.top = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="clvt-"))
        cls.collector = cls.enterClassContext(backends.Collector(cls.top, host=HOST_ADDRESS))
        workload.deploy(cls.cluster)
        cls.agent = cls.enterClassContext(cls.how(cls.cluster, f"http://{cls.collector.http}", *cls.arguments))

    def setUp(self):
        self.path = f"/{self.id().rsplit('.', 1)[1]}"
        self.agent.wait_ready()
        self.agent.wait_traced()
        self.before = self.collector.offset()

    def spans(self):
        """Those of this test's requests, as far as they have arrived."""
        return spans.of_run(self.collector.spans(self.before), self.path)

    def send(self, requests, rate, namespace="default"):
        """From every client at once; {client's pod: how many it sent}. All must be answered."""
        clients = self.cluster.pods(namespace, app="client")
        answered = {}

        def run(pod):
            answered[pod["metadata"]["name"]] = workload.send(self.cluster, pod, requests, rate, self.path)

        threads = [threading.Thread(target=run, args=[pod]) for pod in clients]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(answered, {p["metadata"]["name"]: (requests, 0) for p in clients})
        return {name: ok for name, (ok, _) in answered.items()}

    def wait_counts(self, expected):
        """Until the spans by service and kind are these; then they stay so."""
        wanted = {k: n for k, n in expected.items() if n}
        try:
            wait_for("the spans", lambda: spans.count(self.spans()) == wanted, ARRIVAL_SECONDS)
        except AssertionError:
            self.assertEqual(dict(spans.count(self.spans())), wanted)
        return self.spans()

    def check_links(self, found, requests):
        """Each request of each hop is one client's and one server's span, parent and child, of the right services."""
        hops = spans.count([server for _, server in spans.pairs(found)])
        self.assertEqual(hops, {("web", "SERVER"): requests, ("redis", "SERVER"): requests})
        self.assertEqual({(spans.service_of(c), spans.service_of(s)) for c, s in spans.pairs(found)},
                         {("client", "web"), ("web", "redis")})
        self.assertEqual(spans.repeated(found), [])

    def check_run(self, requests_each, rate):
        """A run of the application, all of it."""
        sent = self.send(requests_each, rate)
        total = sum(sent.values())
        found = self.wait_counts({hop: total for hop in HOPS})
        self.check_links(found, total)
        return sent, found

    def check_out_and_back(self, verb, out, back):
        """Redis' pod is not traced any more once kubectl has changed it, and is again when that is undone."""
        redis = self.cluster.pods(app="redis")[0]["metadata"]["name"]
        self.addCleanup(self.cluster.kubectl, verb, "pod", redis, back)
        self.cluster.kubectl(verb, "pod", redis, out)
        self.agent.wait_states("default", [redis], "not selected")
        sent = sum(self.send(100, 100).values())
        self.wait_counts({hop: sent for hop in HOPS if hop[0] != "redis"})
        self.cluster.kubectl(verb, "pod", redis, back)
        self.agent.wait_traced(app="redis")
        self.before = self.collector.offset()
        self.check_run(100, 100)


class ByKustomize(Traced):
    """All kinds of requests; pods come and go, and what is wanted of them changes."""

    def test_every_request_of_every_hop(self):
        """10,000 of them: right names, right pods, linked over nodes and Services."""
        sent, found = self.check_run(5000, 400)
        by_pod = spans.count(found, spans.pod_of)
        self.assertEqual({pod: n for (service, _, pod), n in by_pod.items() if service == "client"}, sent)
        for pod in self.cluster.pods(app="web"):
            name = pod["metadata"]["name"]
            self.assertGreater(by_pod["web", "SERVER", name], 0, "the Service spreads connections")
            self.assertEqual(by_pod["web", "SERVER", name], by_pod["web", "CLIENT", name])

    def test_resources(self):
        """Where each span is from."""
        _, found = self.check_run(20, 100)
        pods = {p["metadata"]["name"]: p for p in self.cluster.pods()}
        for span in found:
            resource, pod = span["resource"], pods[spans.pod_of(span)]
            self.assertEqual({k: resource.get(k) for k in (
                "k8s.namespace.name", "k8s.pod.uid", "k8s.node.name", "k8s.deployment.name")}, {
                "k8s.namespace.name": "default", "k8s.pod.uid": pod["metadata"]["uid"],
                "k8s.node.name": pod["spec"]["nodeName"], "k8s.deployment.name": spans.service_of(span)})

    def test_the_other_side(self):
        """Peers are named, a ClusterIP by its Service. A pod of another node without a Service is not known here."""
        _, found = self.check_run(20, 100)
        self.assertEqual(spans.peers(found), {
            ("client", "CLIENT", "web"), ("web", "SERVER", "client"), ("web", "SERVER", None),
            ("web", "CLIENT", "redis"), ("redis", "SERVER", "web")})

    def test_a_pod_with_the_hosts_network(self):
        """It has no interface of its own: what it serves and asks is seen at its cgroup."""
        name, port, requests = "hostweb", 18080, 100
        redis = self.cluster.api.get("/api/v1/namespaces/default/services/redis")["spec"]["clusterIP"]
        self.addCleanup(self.cluster.kubectl, "delete", "pod", name, "--ignore-not-found")
        self.cluster.apply({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"hostNetwork": True, "nodeName": "node1", "terminationGracePeriodSeconds": 1, "containers": [{
                "name": name, "image": PAUSE_IMAGE, "args": ["web", f"-listen=:{port}", f"{redis}:6379"]}]}})
        self.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        self.agent.wait_states("default", [name])
        (found,) = [p for p in self.agent.status("node1")["pods"] if p["name"] == name]
        self.assertEqual([p["name"] for p in found["places"]], ["cgroup"])
        for client in self.cluster.pods(app="client"):  # one of this node, one of the other
            said = self.cluster.kubectl("exec", client["metadata"]["name"], "--", "/app", "client", "-rate=100",
                                        f"-requests={requests}",
                                        f"http://{self.cluster.nodes['node1'].address}:{port}{self.path}")
            self.assertRegex(said, rf"(?m)^ok {requests} failed 0$")
        spans_found = self.wait_counts({("client", "CLIENT"): 2 * requests, (name, "SERVER"): 2 * requests,
                                        (name, "CLIENT"): 2 * requests, ("redis", "SERVER"): 2 * requests})
        self.assertEqual(len(spans.pairs(spans_found)), 4 * requests)
        self.assertEqual(spans.repeated(spans_found), [])

    def kubectl(self, *args):
        return self.cluster.kubectl(*args)

    def test_rollout_restart(self):
        old = {p["metadata"]["name"] for p in self.cluster.pods(app="web")}
        self.kubectl("rollout", "restart", "deployment/web")
        workload.wait_rollout(self.cluster, "web")
        wait_for("the old pods are gone",
                 lambda: not old & {p["metadata"]["name"] for p in self.cluster.pods(app="web")}, 60)
        self.agent.wait_traced(app="web")
        workload.wait_answers(self.cluster)
        _, found = self.check_run(200, 100)
        self.assertFalse(old & {spans.pod_of(s) for s in found})

    def test_scale_to_none_and_back(self):
        self.addCleanup(self.scale, 2)
        self.scale(0)
        self.cluster.wait_no_pods(app="web")
        self.wait_attached(3)
        self.scale(2)
        self.agent.wait_traced(app="web")
        workload.wait_answers(self.cluster)
        self.check_run(200, 100)

    def wait_attached(self, pods):
        """Until the interfaces of so many pods have programs, one for each direction, and no others."""
        with contextlib.suppress(AssertionError):
            wait_for("programs", lambda: list(self.agent.attached().values()) == [2] * pods, 60)
        self.assertEqual(list(self.agent.attached().values()), [2] * pods, self.agent.attached())

    def scale(self, replicas):
        self.kubectl("scale", "deployment/web", f"--replicas={replicas}")
        workload.wait_rollout(self.cluster, "web")

    def test_annotation_takes_a_pod_out_and_back(self):
        self.check_out_and_back("annotate", "clovisor.io/trace=false", "clovisor.io/trace-")

    def test_another_namespace_is_not_traced_unless_its_pods_ask_for_it(self):
        """And nothing of it is left when the namespace is deleted."""
        remove = "delete", "namespace", "other", "--ignore-not-found", "--timeout=90s"
        self.addCleanup(self.kubectl, *remove)
        self.kubectl("create", "namespace", "other")
        workload.deploy(self.cluster, "other", replicas=1)
        self.send(50, 50, "other")
        clients = [p["metadata"]["name"] for p in self.cluster.pods("other", app="client")]
        self.kubectl("-n", "other", "annotate", "pods", "-l", "app=client", "clovisor.io/trace=true")
        self.agent.wait_states("other", clients)
        self.send(50, 50, "other")
        found = self.wait_counts({("client", "CLIENT"): 50})
        self.assertEqual({s["resource"]["k8s.namespace.name"] for s in found}, {"other"})
        self.kubectl(*remove)
        wait_for("its pods are forgotten", lambda: not [ns for ns, _ in self.agent.states() if ns == "other"], 60)

    def test_the_agent_is_deleted(self):
        old = self.agent.pods()
        for pod in old.values():
            self.agent.kubectl("delete", "pod", pod["metadata"]["name"], "--timeout=60s")
        self.wait_new_agents(old)
        self.check_run(200, 100)

    def test_the_agent_is_killed(self):
        """It comes back, with nothing attached twice."""
        attached = self.agent.attached()
        self.assertEqual(list(attached.values()), [2] * 5)
        for name, node in self.cluster.nodes.items():
            before = self.restarts(name)
            node.run("sh", "-c", "kill -KILL $(pgrep -x clovisor)")
            wait_for("the kubelet has restarted it", lambda n=name, b=before: self.restarts(n) > b, 60)
        self.agent.wait_ready()
        self.agent.wait_traced()
        self.assertEqual(self.agent.attached(), attached)
        self.check_run(200, 100)

    def restarts(self, node):
        return sum(c["restartCount"] for c in self.agent.pods()[node]["status"].get("containerStatuses", []))

    def wait_new_agents(self, old):
        uids = {p["metadata"]["uid"] for p in old.values()}
        wait_for("new agents", lambda: len(self.agent.pods()) == len(old) and
                 not uids & {p["metadata"]["uid"] for p in self.agent.pods().values()}, 60)
        self.agent.wait_ready()
        self.agent.wait_traced()


class ByHelm(Traced):
    """The chart, and kube-proxy in its other mode; agents that know the pods of all nodes and choose pods by label."""

    how, proxy_mode, arguments = install.Helm, "iptables", ("--all-pods", "--selector=traced!=no")

    def test_label_takes_a_pod_out_and_back(self):
        self.check_out_and_back("label", "traced=no", "traced-")

    def test_requests(self):
        _, found = self.check_run(500, 200)
        self.assertEqual(spans.peers(found), {("client", "CLIENT", "web"), ("web", "SERVER", "client"),
                                              ("web", "CLIENT", "redis"), ("redis", "SERVER", "web")})

    def test_uninstall_leaves_nothing(self):
        self.assertEqual(list(self.agent.attached().values()), [2] * 5)
        self.addCleanup(self.agent.__enter__)
        self.agent.uninstall()
        self.assertEqual(self.cluster.pods(install.NAMESPACE), [])
        wait_for("nothing is attached", lambda: not self.agent.attached(), 60)
