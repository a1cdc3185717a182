# SPDX-License-Identifier: Apache-2.0
"""The application that tests trace (app/): client -> web -> redis, through ClusterIPs, with replicas on each node."""

import re

from cluster import REDIS_IMAGE
from lab import wait_for
from node import PAUSE_IMAGE

WEB_PORT, REDIS_PORT = 8080, 6379
READY_SECONDS = 90
SEND_SECONDS = 300


def deployment(name, namespace, replicas, container, labels=None):
    """Its pods stand on different nodes as far as that is possible, and end at once."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name, **(labels or {})}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": name, **container}],
                     "topologySpreadConstraints": [{
                         "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                         "labelSelector": {"matchLabels": {"app": name}}}]}}}}


def service(name, namespace, port, target):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": name, "port": port, "targetPort": target}]}}


def services(namespace):
    yield service("redis", namespace, REDIS_PORT, REDIS_PORT)
    yield service("web", namespace, 80, WEB_PORT)


def deployments(namespace, replicas):
    """A pod has the addresses of the services that were there before it in its environment."""
    yield deployment("redis", namespace, 1, {
        "image": REDIS_IMAGE, "ports": [{"containerPort": REDIS_PORT, "name": "redis"}],
        "readinessProbe": {"tcpSocket": {"port": REDIS_PORT}, "periodSeconds": 1}})
    yield deployment("web", namespace, replicas, {
        "image": PAUSE_IMAGE, "args": ["web", "$(REDIS_SERVICE_HOST):$(REDIS_SERVICE_PORT)"],
        "ports": [{"containerPort": WEB_PORT, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": WEB_PORT}, "periodSeconds": 1}})
    yield deployment("client", namespace, replicas, {"image": PAUSE_IMAGE, "args": ["pause"]})


def deploy(cluster, namespace="default", replicas=2):
    """All three, and waits until they are there."""
    cluster.apply(*services(namespace))
    cluster.apply(*deployments(namespace, replicas))
    for name in ("redis", "web", "client"):
        wait_rollout(cluster, name, namespace)
    wait_answers(cluster, namespace, "")


def wait_answers(cluster, namespace="default", path="healthz"):
    """Until web answers every client, always: a pod that is ready is not yet known to the kube-proxy of each node. For
    /healthz it does not ask redis."""
    for pod in cluster.pods(namespace, app="client"):
        wait_for("web answers all", lambda p=pod: send(cluster, p, 20, 100, path) == (20, 0), READY_SECONDS)


def wait_rollout(cluster, name, namespace="default"):
    cluster.kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", f"--timeout={READY_SECONDS}s")


def remove(cluster, namespace="default"):
    cluster.kubectl("-n", namespace, "delete", *(f"deployment/{name}" for name in ("client", "web", "redis")),
                    "service/web", "service/redis")
    cluster.wait_no_pods(namespace)


def url(cluster, namespace="default"):
    """web's, by its ClusterIP."""
    found = cluster.api.get(f"/api/v1/namespaces/{namespace}/services/web")
    return f"http://{found['spec']['clusterIP']}/"


def send(cluster, pod, requests, rate, path=""):
    """Has a client's pod send requests to web; how many succeeded, and how many did not."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    said = cluster.kubectl("-n", namespace, "exec", name, "--", "/app", "client", f"-requests={requests}",
                           f"-rate={rate}", url(cluster, namespace) + path, timeout=SEND_SECONDS)
    ok, failed = re.search(r"^ok (\d+) failed (\d+)$", said, re.M).groups()
    return int(ok), int(failed)


def wait_endpoints(cluster, name, count, namespace="default"):
    """Until a Service has so many ready endpoints."""
    def ready():
        slices = cluster.api.items(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
                                   labelSelector=f"kubernetes.io/service-name={name}")
        return sum(bool(e["conditions"].get("ready")) for s in slices for e in s.get("endpoints") or []) == count

    wait_for(f"{count} endpoints of {name}", ready, READY_SECONDS)
