# SPDX-License-Identifier: Apache-2.0
"""The node agent on a cluster, as users install it: by kustomize or by Helm, from the image that tools/image makes."""

import collections
import concurrent.futures
import contextlib
import functools
import json
import os
import tempfile

from backends import find
from cluster import TOP, program
from lab import ROOT, run, wait_for

NAMESPACE = "clovisor"
READY_SECONDS = 90
TRACED_SECONDS = 60
BATCH_MS = 500  # so long a span may wait for others: the tests wait for the last ones
IMAGE = os.path.join(ROOT, "build", "clovisor-image.tar")
BASE = os.path.join(ROOT, "deploy", "kustomize", "base")
ATTACHED = os.path.join(ROOT, "tests", "kube", "attached.py")
CHART = os.path.join(ROOT, "deploy", "helm", "clovisor")


@functools.cache
def image():
    """The archive of the image, made once a run."""
    find("tools/image", "-o", IMAGE)
    return IMAGE


class Installed:
    """A context manager: installed and ready on all nodes when `with` goes on, uninstalled when it ends."""

    def __init__(self, cluster, endpoint, *arguments):
        """endpoint: a collector's URL. arguments: more of them for `clovisor agent`."""
        self.cluster, self.endpoint, self.arguments = cluster, endpoint, list(arguments)

    def __enter__(self):
        self.cluster.import_images(image())
        self.install()
        self.wait_ready()
        return self

    def __exit__(self, *_):
        self.uninstall()

    def kubectl(self, *args, **kw):
        return self.cluster.kubectl("-n", NAMESPACE, *args, **kw)

    def wait_ready(self):
        try:
            self.kubectl("rollout", "status", "daemonset/clovisor", f"--timeout={READY_SECONDS}s")
        except RuntimeError as e:
            raise RuntimeError(f"{e}\n{self.kubectl('describe', 'pods')}\n{self.logs()}") from None

    def pods(self):
        """{node: the agent's pod there}, of those that are not about to end."""
        return {p["spec"]["nodeName"]: p for p in self.cluster.pods(NAMESPACE, **{"app.kubernetes.io/name": "clovisor"})
                if "deletionTimestamp" not in p["metadata"]}

    def status(self, node):
        """What `clovisor status --json` says there."""
        pod = self.pods()[node]["metadata"]["name"]
        return json.loads(self.kubectl("exec", pod, "--", "clovisor", "status", "--json"))

    def states(self):
        """{(namespace, pod): "traced", ...} of all nodes; those whose agent does not answer have none."""
        def of(node):
            with contextlib.suppress(RuntimeError, KeyError):
                return {(p["namespace"], p["name"]): p["state"] for p in self.status(node)["pods"]}
            return {}

        with concurrent.futures.ThreadPoolExecutor() as pool:
            return dict(collections.ChainMap(*pool.map(of, self.cluster.nodes)))

    def wait_states(self, namespace, names, state="traced", seconds=TRACED_SECONDS):
        """Until all of these pods are in this state."""
        def reached():
            states = self.states()
            return all(states.get((namespace, name)) == state for name in names)

        wait_for(f"{', '.join(names)}: {state}", reached, seconds)

    def wait_traced(self, namespace="default", **labels):
        """Until the pods that have these labels are traced, but for those that are about to end."""
        def traced():
            states = self.states()
            return all(states.get((namespace, p["metadata"]["name"])) == "traced"
                       for p in self.cluster.pods(namespace, **labels) if "deletionTimestamp" not in p["metadata"])

        wait_for(f"all pods of {namespace} {labels or ''} are traced", traced, TRACED_SECONDS)

    def logs(self):
        return "\n".join(self.kubectl("logs", p["metadata"]["name"]) for p in self.pods().values())

    def attached(self):
        """What is attached on the nodes: {(node, interface): how many programs}."""
        return {(name, interface): n for name, node in self.cluster.nodes.items()
                for interface, n in json.loads(node.run(ATTACHED)).items()}


class Kustomize(Installed):
    """An overlay as a user writes one."""

    def install(self):
        self.overlay = tempfile.mkdtemp(prefix="overlay-", dir=TOP)
        container = "/spec/template/spec/containers/0"
        changes = [("args", a) for a in self.arguments] + [
            ("env", {"name": "OTEL_BSP_SCHEDULE_DELAY", "value": str(BATCH_MS)})]
        patches = [{"target": {"kind": "DaemonSet", "name": "clovisor"}, "patch": json.dumps(
            [{"op": "add", "path": f"{container}/{name}/-", "value": value} for name, value in changes])}]
        with open(os.path.join(self.overlay, "kustomization.yaml"), "w", encoding="ascii") as f:
            json.dump({
                "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAMESPACE,
                "resources": [os.path.relpath(BASE, self.overlay)], "patches": patches,
                "configMapGenerator": [{"name": "clovisor", "behavior": "merge",
                                        "literals": [f"otlp-endpoint={self.endpoint}"]}]}, f)
        self.cluster.kubectl("apply", "-k", self.overlay)

    def uninstall(self):
        self.cluster.kubectl("delete", "-k", self.overlay, "--ignore-not-found", "--timeout=60s")


class Helm(Installed):
    """`helm install` with the collector's address."""

    def helm(self, *args):
        home = os.path.join(TOP, "helm")
        return run(program("helm"), "--kubeconfig", self.cluster.admin_kubeconfig, "--namespace", NAMESPACE, *args,
                   env={**os.environ, "HELM_CACHE_HOME": home, "HELM_CONFIG_HOME": home, "HELM_DATA_HOME": home})

    def install(self):
        more = ",".join(self.arguments)
        self.helm("upgrade", "--install", "clovisor", CHART, "--create-namespace",
                  "--set", f"otlp.endpoint={self.endpoint}", "--set", f"config.export.batch.delay={BATCH_MS}ms",
                  *(["--set", f"extraArgs={{{more}}}"] if more else []))

    def uninstall(self):
        self.helm("uninstall", "clovisor", "--ignore-not-found", "--wait", "--timeout", "60s")
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
