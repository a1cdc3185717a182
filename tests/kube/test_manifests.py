# SPDX-License-Identifier: Apache-2.0
"""What deploy/ holds, validated by a real API server (level 1); tests/deploy looks at the rest of it."""

import glob
import os
import unittest

from cluster import Cluster, program
from install import BASE, CHART, NAMESPACE
from lab import run

OVERLAYS = [BASE, *sorted(glob.glob(os.path.join(os.path.dirname(BASE), "overlays", "*")))]
VALUES = {
    "defaults": [],
    "a collector": ["--set", "otlp.endpoint=http://otel-collector.observability:4318"],
    "much of it": ["--set", "spool.enabled=true", "--set", "config.kubernetes.namespaces={*}",
                   "--set-json", 'config.kubernetes.selectors=["app in (web,api)"]'],
}


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(level=1))
        cls.cluster.kubectl("create", "namespace", NAMESPACE)

    def check(self, made):
        """The server takes them as they are, with every field known."""
        said = self.cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=made)
        for kind in ("daemonset.apps", "serviceaccount", "configmap", "clusterrole.rbac", "clusterrolebinding.rbac"):
            self.assertRegex(said, rf"(?m)^{kind}\S*/\S+ \w+ \(server dry run\)$")

    def test_kustomize(self):
        self.assertGreater(len(OVERLAYS), 2)
        for directory in OVERLAYS:
            with self.subTest(os.path.basename(directory)):
                self.check(run(program("kustomize"), "build", directory))

    def test_helm(self):
        for name, arguments in VALUES.items():
            with self.subTest(name):
                self.check(run(program("helm"), "template", "clovisor", CHART, "--namespace", NAMESPACE, "--validate",
                               "--kubeconfig", self.cluster.admin_kubeconfig, *arguments))

    def test_what_is_wrong_is_refused(self):
        made = run(program("kustomize"), "build", BASE).replace("hostPID:", "hostPid:")
        with self.assertRaisesRegex(RuntimeError, "hostPid"):
            self.check(made)


if __name__ == "__main__":
    unittest.main()
