#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/kustomize and deploy/helm: that both make the same, what values are refused, what each switch does.

usage: [CLOVISOR=PATH] tests/deploy/test_manifests.py [--update] [NAME...]
--update writes the settings of clovisor into values.schema.json anew.
"""

import copy
import json
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import CLOVISOR, kube_tool, main, path, read, run, version  # noqa: E402

try:
    import yaml
except ImportError as missing:
    yaml = None
    print(f"skip: {missing} (Debian: python3-yaml)")

KUBE_VERSION = "1.34.0"
CHART = path("deploy", "helm", "clovisor")
SCHEMA = os.path.join(CHART, "values.schema.json")
# What only one of the two has, for good reason.
HELM_LABELS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def kustomize(directory):
    return list(yaml.safe_load_all(run(kube_tool("kustomize"), "build", path("deploy", "kustomize", directory)).stdout))


def template(*sets, check=True):
    argv = [kube_tool("helm"), "template", "clovisor", CHART, "--namespace", "clovisor", "--kube-version", KUBE_VERSION]
    done = run(*argv, *[word for one in sets for word in ("--set-json", one)], check=check)
    return [o for o in yaml.safe_load_all(done.stdout) if o] if check else done


def find(objects, kind):
    found = [o for o in objects if o["kind"] == kind]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} objects of kind {kind}")
    return found[0]


def daemonset(objects):
    return find(objects, "DaemonSet")["spec"]["template"]["spec"]


def config(objects):
    return yaml.safe_load(find(objects, "ConfigMap")["data"]["clovisor.yaml"])


def environment(objects):
    return {e["name"]: e for e in daemonset(objects)["containers"][0]["env"]}


def normal(node):
    """An object without what differs by nature: names with a hash, Helm's labels, its checksum, empty maps."""
    if isinstance(node, list):
        return [normal(n) for n in node]
    if isinstance(node, str):
        return re.sub(r"^clovisor-[a-z0-9]{10}$", "clovisor", node)
    if not isinstance(node, dict):
        return node
    out = {key: normal(value) for key, value in node.items() if key not in HELM_LABELS and key != "checksum/config"}
    if "clovisor.yaml" in out:
        out["clovisor.yaml"] = yaml.safe_load(out["clovisor.yaml"])
    return {key: value for key, value in out.items() if value != {}}


def for_helm(node):
    """Helm's regular expressions count to 1000 and no further: what counts on is clovisor's own to check."""
    if isinstance(node, list):
        return [for_helm(n) for n in node]
    if not isinstance(node, dict):
        return node
    return {key: for_helm(value) for key, value in node.items()
            if not (key == "pattern" and isinstance(value, str) and re.search(r"[{,]\d{4,}}", value))}


def settings_schema():
    """The part of values.schema.json that clovisor itself knows best."""
    schema = for_helm(json.loads(run(CLOVISOR, "config", "schema").stdout))
    del schema["$schema"], schema["title"]
    return {**schema, "type": "object", "required": ["metrics"]}


def update():
    with open(SCHEMA, encoding="utf-8") as f:
        schema = json.load(f)
    schema["properties"]["config"] = settings_schema()
    with open(SCHEMA, "w", encoding="utf-8") as f:
        f.write(json.dumps(schema, indent=2) + "\n")


@unittest.skipUnless(yaml, "no python3-yaml")
class Same(unittest.TestCase):
    maxDiff = None

    def test_kustomize_and_helm_make_the_same(self):
        theirs = {o["kind"]: normal(o) for o in kustomize("base")}
        ours = {o["kind"]: normal(o) for o in template()}
        del theirs["Namespace"]  # helm's --create-namespace
        self.assertEqual(sorted(theirs), sorted(ours))
        for kind, theirs_of_kind in theirs.items():
            with self.subTest(kind):
                self.assertEqual(theirs_of_kind, ours[kind])

    def test_with_a_collector(self):
        where = "http://otel-collector.observability:4318"
        self.assertEqual(normal(find(kustomize("overlays/otlp-collector"), "ConfigMap")),
                         normal(find(template(f'otlp.endpoint="{where}"'), "ConfigMap")))

    def test_version_is_the_programs(self):
        chart = yaml.safe_load(read("deploy/helm/clovisor/Chart.yaml"))
        base = yaml.safe_load(read("deploy/kustomize/base/kustomization.yaml"))
        self.assertEqual([chart["version"], chart["appVersion"], base["images"][0]["newTag"],
                          base["labels"][0]["pairs"]["app.kubernetes.io/version"]], [version()] * 4)

    def test_settings_are_valid(self):
        for objects in (kustomize("base"), template(), template('spool.enabled=true')):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
                f.write(find(objects, "ConfigMap")["data"]["clovisor.yaml"])
                f.flush()
                run(CLOVISOR, "config", "check", f.name)

    def test_agent_knows_its_arguments(self):
        objects = kustomize("overlays/all-namespaces")
        args = daemonset(objects)["containers"][0]["args"]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            f.write(find(objects, "ConfigMap")["data"]["clovisor.yaml"])
            f.flush()
            words = [f"--config={f.name}" if a.startswith("--config=") else a for a in args[1:]]
            said = json.loads(run(CLOVISOR, "config", "print", "--json", *words).stdout)
        self.assertIn("*", json.dumps(said))


@unittest.skipUnless(yaml, "no python3-yaml")
class Privileges(unittest.TestCase):
    """docs/security.md says what each is for; one more shall not come in unseen."""

    def test_container(self):
        context = daemonset(kustomize("base"))["containers"][0]["securityContext"]
        self.assertEqual(context["capabilities"]["drop"], ["ALL"])
        self.assertEqual(context["capabilities"]["add"], ["BPF", "NET_ADMIN", "PERFMON", "SYS_PTRACE"])
        self.assertFalse(context["privileged"] or context["allowPrivilegeEscalation"])
        self.assertTrue(context["readOnlyRootFilesystem"])

    def test_host_paths_are_read_only(self):
        pod = daemonset(kustomize("base"))
        from_host = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
        self.assertEqual(from_host, {"cgroup": "/sys/fs/cgroup"})
        mounts = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] in from_host]
        self.assertTrue(all(m["readOnly"] for m in mounts))

    def test_role_reads_five_kinds(self):
        rules = find(kustomize("base"), "ClusterRole")["rules"]
        self.assertEqual(sorted(r for rule in rules for r in rule["resources"]),
                         ["endpointslices", "nodes", "pods", "replicasets", "services"])
        self.assertEqual({verb for rule in rules for verb in rule["verbs"]}, {"get", "list", "watch"})


@unittest.skipUnless(yaml, "no python3-yaml")
class Chart(unittest.TestCase):
    def test_lint(self):
        run(kube_tool("helm"), "lint", "--strict", CHART, "--kube-version", KUBE_VERSION)

    def test_schema_knows_all_settings(self):
        with open(SCHEMA, encoding="utf-8") as f:
            schema = json.load(f)
        self.assertEqual(schema["properties"]["config"], settings_schema(), "test_manifests.py --update writes it")
        self.assertLessEqual(set(yaml.safe_load(read("deploy/helm/clovisor/values.yaml"))), set(schema["properties"]))

    def test_bad_values_are_refused(self):
        for one, about in [
                ('image.pullPolicy="Sometimes"', "pullPolicy"), ('image.digest="1234"', "digest"),
                ('otlp.endpoint="collector:4318"', "endpoint"), ('otlp.adress="http://collector:4318"', "adress"),
                ('config.kubernetes.namespace=["shop"]', "namespace"),
                ('config.kubernetes.namespaces=["Shop!"]', "namespaces"),
                ('config.capture.attach="xdp"', "attach"), ('config.metrics.listen="9464"', "listen"),
                ('config.metrics=null', "metrics"), ('spool.hostPath="var/lib"', "hostPath"),
                ('replicas=2', "replicas"),
                ('serviceMonitor.interval="often"', "interval"), ('podLabels={"a": 1}', "podLabels")]:
            with self.subTest(one):
                done = template(one, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(about, done.stdout)

    def test_spool(self):
        objects = template("spool.enabled=true", 'spool.max="1G"', 'config.export={"queue": "32M"}')
        self.assertEqual(config(objects)["export"],
                         {"queue": "32M", "spool": {"dir": "/var/lib/clovisor/spool", "max": "1G"}})
        pod = daemonset(objects)
        volume, = [v for v in pod["volumes"] if v["name"] == "spool"]
        self.assertEqual(volume["hostPath"], {"path": "/var/lib/clovisor", "type": "DirectoryOrCreate"})
        self.assertIn({"name": "spool", "mountPath": "/var/lib/clovisor"}, pod["containers"][0]["volumeMounts"])

    def test_a_change_of_settings_is_rolled_out(self):
        def checksum(objects):
            return find(objects, "DaemonSet")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

        self.assertEqual(checksum(template()), checksum(template()))
        for one in ('config.kubernetes.namespaces=["*"]', 'otlp.endpoint="grpc://collector:4317"'):
            self.assertNotEqual(checksum(template()), checksum(template(one)))

    def test_metrics_address(self):
        for listen, host, port in [(":9999", None, 9999), ("127.0.0.1:9464", "127.0.0.1", 9464),
                                   ("[::1]:9464", "::1", 9464)]:
            with self.subTest(listen):
                objects = template(f'config.metrics.listen="{listen}"')
                container = daemonset(objects)["containers"][0]
                self.assertEqual(container["ports"][0]["containerPort"], port)
                self.assertEqual(find(objects, "Service")["spec"]["ports"][0]["port"], port)
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    self.assertEqual(container[probe]["httpGet"].get("host"), host)

    def test_switches(self):
        objects = template("serviceMonitor.enabled=true", 'serviceMonitor.labels={"release": "prometheus"}',
                           "rbac.create=false", "serviceAccount.create=false", 'serviceAccount.name="other"',
                           'image={"repository": "registry.example/clovisor", "digest": "sha256:%s"}' % (64 * "0"),
                           'otlp.headersSecret="token"', 'extraArgs=["--all-pods"]', 'podAnnotations={"a": "b"}')
        monitor = find(objects, "ServiceMonitor")
        self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")
        labels = find(objects, "Service")["metadata"]["labels"]
        self.assertLessEqual(monitor["spec"]["selector"]["matchLabels"].items(), labels.items())
        self.assertFalse([o for o in objects if o["kind"] in ("ClusterRole", "ClusterRoleBinding", "ServiceAccount")])
        pod = daemonset(objects)
        self.assertEqual(pod["serviceAccountName"], "other")
        self.assertEqual(pod["containers"][0]["image"], "registry.example/clovisor@sha256:" + 64 * "0")
        self.assertEqual(pod["containers"][0]["args"][-1], "--all-pods")
        headers = environment(objects)["OTEL_EXPORTER_OTLP_HEADERS"]
        self.assertEqual(headers["valueFrom"]["secretKeyRef"]["name"], "token")


@unittest.skipUnless(yaml, "no python3-yaml")
class Overlays(unittest.TestCase):
    def test_each_builds_and_stays_in_its_namespace(self):
        for name in sorted(os.listdir(path("deploy", "kustomize", "overlays"))):
            with self.subTest(name):
                for o in kustomize(f"overlays/{name}"):
                    self.assertEqual(o["metadata"].get("namespace", "clovisor"), "clovisor")

    def test_all_namespaces_differs_by_one_word(self):
        base, every = daemonset(kustomize("base")), daemonset(kustomize("overlays/all-namespaces"))
        expected = copy.deepcopy(base)
        expected["containers"][0]["args"].append("--namespace=*")
        self.assertEqual(every, expected)


if __name__ == "__main__":
    if "--update" in sys.argv:
        update()
        sys.exit(0)
    sys.exit(main(__name__))
