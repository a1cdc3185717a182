# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes on this machine, for tests.

    with Cluster(level=3, nodes=["node1", "node2"]) as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Pod", ...})
        cluster.kubectl("wait", "--for=condition=Ready", "pod/a")

level 1: etcd and the API server: objects. Pods stand in it as tests write them, with the status that they patch.
level 2: also controller-manager and scheduler: Deployments, EndpointSlices, deletion of namespaces.
level 3: also nodes, each in namespaces of its own, that run the pods (node.py).

One at a time: others wait. It is gone when `with` ends; of a run that was killed the next one removes what is left.
Where it cannot be had, entering it raises unittest.SkipTest with the reason.
"""

import atexit
import base64
import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(os.path.dirname(HERE), d) for d in ("netns", "backends")]  # behind our own
import backends  # noqa: E402
import groups  # noqa: E402
import image  # noqa: E402
from api import Api  # noqa: E402
from lab import run, wait_for  # noqa: E402
from node import BRIDGE, HOST_ADDRESS, PAUSE_IMAGE, PODS, Node  # noqa: E402
from pki import Authority, kubeconfig  # noqa: E402
from program import Program  # noqa: E402

TOP = "/var/tmp/clovisor-kube"
API_PORT, ETCD_PORT, ETCD_PEER_PORT, CONTROLLERS_PORT, SCHEDULER_PORT = 16443, 12379, 12380, 16257, 16259
SERVICES, API_SERVICE = "10.96.0.0/16", "10.96.0.1"
START_SECONDS = 90
TOOLS = ["openssl", "nsenter", "unshare"]
NODE_TOOLS = ["containerd", "ctr", "runc", "ip", "nft", "iptables", "sysctl", "/usr/lib/cni/bridge"]
REDIS_IMAGE, REDIS_SERVER = "clovisor.test/redis:1", "/usr/bin/redis-server"


@functools.cache
def program(name):
    """The path of a program that tools/kube builds; SkipTest where it cannot."""
    return backends.find("tools/kube", name)


def app_images(directory):
    """The archives of what tests run in pods: the application, which is also the sandbox's image, and Redis."""
    yield image.write(os.path.join(directory, "app.tar"), PAUSE_IMAGE, {"/app": program("app")}, ["/app"], ["pause"])
    yield image.write(os.path.join(directory, "redis.tar"), REDIS_IMAGE, image.with_libraries(REDIS_SERVER),
                      [REDIS_SERVER, "--save", "", "--bind", "*", "--protected-mode", "no"])


def remove_leftovers():
    """What a killed run left behind; nothing, after one that ended."""
    groups.remove()
    for link in re.findall(r"^\d+: (kube\d+)[@:]", run("ip", "-o", "link"), re.M):  # the kernel takes its time for them
        subprocess.run(["ip", "link", "del", link], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(TOP, ignore_errors=True)


class Cluster(contextlib.ExitStack):
    """`proxy_mode`: nftables, iptables, or None for no kube-proxy."""

    def __init__(self, level=3, nodes=("node1",), proxy_mode="nftables"):
        super().__init__()
        self.level, self.node_names, self.proxy_mode = level, list(nodes) if level >= 3 else [], proxy_mode
        self.address = HOST_ADDRESS if level >= 3 else "127.0.0.1"
        self.server = f"https://{self.address}:{API_PORT}"
        self.programs, self.nodes = {}, {}
        self.authority = self.api = None

    # ---- start and stop ----

    def __enter__(self):
        self.check_possible()
        try:
            self.lock()
            remove_leftovers()
            self.callback(self.clean)
            atexit.register(self.close)  # an interrupted run of unittest calls no cleanups
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *rest):
        if kind and issubclass(kind, Exception) and not issubclass(kind, unittest.SkipTest):
            print(self.report(), flush=True)
        return super().__exit__(kind, *rest)

    def check_possible(self):
        if os.geteuid():
            raise unittest.SkipTest("not root")
        tools = TOOLS + (NODE_TOOLS + [REDIS_SERVER] if self.level >= 3 else [])
        missing = [t for t in tools if not shutil.which(t)]
        if missing:
            raise unittest.SkipTest(f"missing: {' '.join(missing)} (sudo tools/setup kube)")
        program("etcd")
        program("kube-apiserver")

    def lock(self):
        lock = self.enter_context(open(f"{TOP}.lock", "w", encoding="ascii"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another cluster runs; waiting for its end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)

    def path(self, name):
        return os.path.join(TOP, name)

    def start(self):
        """What takes its time to start is started before it is waited for."""
        os.mkdir(TOP)
        groups.make("programs")
        self.make_credentials()
        self.make_nodes()
        self.start_etcd()
        self.start_apiserver()
        for node in self.nodes.values():
            node.start_containerd()
        self.wait_apiserver()
        if self.level >= 2:
            self.start_controllers()
        for node in self.nodes.values():
            node.wait_containerd()
        self.import_images(*(app_images(TOP) if self.nodes else []))
        for node in self.nodes.values():
            node.start_kubelet()
            if self.proxy_mode:
                node.start_proxy(self.proxy_mode, self.path("proxy.kubeconfig"))
        if self.level >= 2:
            self.wait_controllers()
        self.wait_nodes()

    def clean(self):
        if self.api:
            self.api.close()
        for node in self.nodes.values():
            node.stop()
        for one in reversed(self.programs.values()):
            one.kill()
        if os.environ.get("CLVT_KEEP"):
            shutil.copytree(TOP, f"{TOP}-kept", dirs_exist_ok=True, ignore=lambda *_: ["lib", "etcd", "pki"])
        remove_leftovers()

    def make_credentials(self):
        self.authority = Authority(self.path("pki"))
        self.admin_kubeconfig = self.make_client("admin", "/O=system:masters/CN=admin")
        self.api = Api(self.server, self.authority.ca, [self.authority.path(f"admin.{end}") for end in ("crt", "key")])
        if self.level >= 2:
            self.make_client("controllers", "/CN=system:kube-controller-manager")
            self.make_client("scheduler", "/CN=system:kube-scheduler")
        if self.level >= 3:
            self.make_client("proxy", "/CN=system:kube-proxy")

    def make_client(self, name, subject):
        return self.authority.client_kubeconfig(self.path(f"{name}.kubeconfig"), self.server, name, subject)

    def make_nodes(self):
        """The bridge, and the nodes as machines, where as yet nothing runs."""
        if not self.node_names:
            return
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{HOST_ADDRESS}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for index, name in enumerate(self.node_names, 1):
            self.nodes[name] = Node(name, index, self.path(f"nodes/{name}"), self.authority, program, self.server)
            self.nodes[name].start()
        for node in self.nodes.values():
            node.wait_started()
            node.connect([other for other in self.nodes.values() if other is not node])

    def spawn(self, name, *argv):
        self.programs[name] = Program(name, argv, self.path(f"{name}.log")).start()
        return self.programs[name]

    def start_etcd(self):
        """Its data need not survive a crash of the machine."""
        client, peer = (f"http://127.0.0.1:{p}" for p in (ETCD_PORT, ETCD_PEER_PORT))
        self.spawn("etcd", program("etcd"), "--name=test", f"--data-dir={self.path('etcd')}", "--unsafe-no-fsync",
                   f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                   f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}")

    def apiserver_arguments(self):
        signer = self.authority
        certificate, key = signer.sign_server(
            "apiserver", "/CN=kube-apiserver", ["127.0.0.1", HOST_ADDRESS, API_SERVICE],
            ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
             "kubernetes.default.svc.cluster.local"])
        client, client_key = signer.sign_client("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        account_key, account_public = signer.make_key_pair("accounts")
        yield from (
            f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}", f"--bind-address={self.address}",
            f"--secure-port={API_PORT}", f"--client-ca-file={signer.ca}",
            f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}",
            "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={account_public}", f"--service-account-signing-key-file={account_key}",
            f"--service-cluster-ip-range={SERVICES}", f"--kubelet-client-certificate={client}",
            f"--kubelet-client-key={client_key}", f"--kubelet-certificate-authority={signer.ca}",
            "--kubelet-preferred-address-types=InternalIP", "--profiling=false")
        if self.level >= 3:
            yield f"--advertise-address={HOST_ADDRESS}"
        else:
            yield "--endpoint-reconciler-type=none"
        if self.level == 1:
            yield "--disable-admission-plugins=ServiceAccount"  # nobody makes the account that each pod would need

    def start_apiserver(self):
        self.spawn("kube-apiserver", program("kube-apiserver"), *self.apiserver_arguments())

    def wait_apiserver(self):
        self.programs["kube-apiserver"].wait_ready("the API server is ready", self.api.ready, START_SECONDS)

    def start_controllers(self):
        for name, client, port, *more in (
                ("kube-controller-manager", "controllers", CONTROLLERS_PORT, "--use-service-account-credentials",
                 "--kube-api-qps=200", "--kube-api-burst=400", f"--root-ca-file={self.authority.ca}",
                 f"--service-account-private-key-file={self.authority.path('accounts.key')}",
                 f"--cluster-cidr={PODS}", "--allocate-node-cidrs=false", f"--service-cluster-ip-range={SERVICES}"),
                ("kube-scheduler", "scheduler", SCHEDULER_PORT)):
            client = self.path(f"{client}.kubeconfig")
            self.spawn(name, program(name), f"--kubeconfig={client}", f"--authentication-kubeconfig={client}",
                       f"--authorization-kubeconfig={client}", "--bind-address=127.0.0.1", f"--secure-port={port}",
                       "--leader-elect=false", *more)

    def wait_controllers(self):
        self.programs["kube-controller-manager"].wait_ready(
            "the default service account", lambda: self.exists("/api/v1/namespaces/default/serviceaccounts", "default"),
            START_SECONDS)

    def exists(self, path, name):
        return name in [i["metadata"]["name"] for i in self.api.items(path)]

    def wait_nodes(self):
        def ready(name):
            conditions = [c for n in self.api.items("/api/v1/nodes") if n["metadata"]["name"] == name
                          for c in n["status"].get("conditions", [])]
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        for name, node in self.nodes.items():
            node.running["kubelet"].wait_ready(f"{name} is Ready", functools.partial(ready, name), START_SECONDS)

    # ---- use ----

    def kubectl(self, *args, **kw):
        """Runs kubectl as the administrator, which must succeed; its output."""
        return run(program("kubectl"), "--kubeconfig", self.admin_kubeconfig, *args, **kw)

    def apply(self, *things):
        """Objects (dict), or manifests (text)."""
        text = "\n---\n".join(t if isinstance(t, str) else json.dumps(t) for t in things)
        return self.kubectl("apply", "-f", "-", input=text)

    def import_images(self, *archives):
        for archive in archives:
            for node in self.nodes.values():
                node.import_image(archive)

    def pods(self, namespace="default", **labels):
        """The pods of a namespace, or with labels those that have them."""
        selector = ",".join(f"{k}={v}" for k, v in labels.items())
        query = {"labelSelector": selector} if selector else {}
        return self.api.items(f"/api/v1/namespaces/{namespace}/pods", **query)

    def wait_no_pods(self, namespace="default", seconds=60, **labels):
        wait_for(f"no pods in {namespace}", lambda: not self.pods(namespace, **labels), seconds)

    # ---- credentials for who is tested ----

    def account(self, name, namespace, rules):
        """A ServiceAccount that may do what the rules of its ClusterRole say, and nothing else."""
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}}
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
                   role | {"kind": "ClusterRole", "rules": rules},
                   role | {"kind": "ClusterRoleBinding",
                           "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                           "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]})
        wait_for(f"{name} may do what its rules say", lambda: all(
            self.may(name, namespace, verb, group, resource) for rule in rules for verb in rule["verbs"]
            for group in rule["apiGroups"] for resource in rule["resources"]), 30)

    def may(self, name, namespace, verb, group, resource):
        """Does the API server know by now that a ServiceAccount may do this, in all namespaces?"""
        answer = self.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": f"system:serviceaccount:{namespace}:{name}",
                     "resourceAttributes": {"verb": verb, "group": group, "resource": resource}}})
        return answer["status"]["allowed"]

    def token(self, name, namespace="default", seconds=3600):
        """A token of a ServiceAccount; the API server gives none for less than 600 s."""
        answer = self.api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}})
        return answer["status"]["token"]

    def kubeconfig(self, path, token):
        """Writes a kubeconfig with a token; its path."""
        with open(path, "w", encoding="ascii") as f:
            f.write(kubeconfig(self.server, self.authority.ca, {"token": token}))
        return path

    # ---- trouble ----

    def stop_apiserver(self):
        self.api.close()
        self.programs["kube-apiserver"].kill()

    def resume_apiserver(self):
        """The same API server again, with all that it had."""
        self.programs["kube-apiserver"].start()
        self.wait_apiserver()

    @contextlib.contextmanager
    def without_apiserver(self):
        """It is stopped, and runs again when `with` ends, whatever the test finds: those that come next need it."""
        self.stop_apiserver()
        try:
            yield
        finally:
            self.resume_apiserver()

    def restart_apiserver(self):
        with self.without_apiserver():
            pass

    def ask_etcd(self, path, question):
        """By the gateway that turns JSON into its gRPC."""
        request = urllib.request.Request(f"http://127.0.0.1:{ETCD_PORT}{path}", json.dumps(question).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)

    def expire_watches(self):
        """No resource version that anybody knows can be watched from any more: 410. The API server is restarted."""
        revision = self.ask_etcd("/v3/kv/range", {"key": base64.b64encode(b"/").decode()})["header"]["revision"]
        self.ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        self.restart_apiserver()

    def report(self):
        """What to look at when a test failed."""
        parts = []
        for question in (["get", "pods,services,endpointslices,nodes", "-A", "-o", "wide"], ["get", "events", "-A"]):
            with contextlib.suppress(RuntimeError):
                parts.append(self.kubectl(*question, timeout=30))
        parts += [p.tail() for p in self.programs.values()]
        return "\n".join(parts + [n.tails() for n in self.nodes.values()])


class ClusterTest(unittest.TestCase):
    """Tests that share a cluster, `cluster`, made as the class says. A test that fails shows the programs' logs.

    What one of them changes in the cluster it undoes in a cleanup, whatever happens: the others find it as it was."""

    level, nodes, proxy_mode = 3, ("node1",), "nftables"

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(cls.level, cls.nodes, cls.proxy_mode))

    def make(self, thing):
        """An object that is gone after the test, unless the test has removed it by then."""
        self.addCleanup(self.cluster.api.delete_if_there, thing)
        return self.cluster.api.create(thing)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(self.cluster.report(), flush=True)
        return result
