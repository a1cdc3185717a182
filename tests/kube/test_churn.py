# SPDX-License-Identifier: Apache-2.0
"""The agent while pods come and go, many at once, and while it is killed itself. The pods are machine.py's."""

import collections
import contextlib
import os
import random
import threading
import time
import unittest

from cluster import Cluster
from lab import wait_for
from machine import NAMESPACE, Machine, in_parallel

LONG = bool(os.environ.get("CLVT_LONG"))
APPS = ["web", "shop", "cart", "pay"]
MEMORY_MIB = 32
LATE_SECONDS = 3  # the last spans may be on their way


def replicaset(app):
    labels = {"app": app, "pod-template-hash": "5f5d8"}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": app, "uid": f"deployment-{app}", "controller": True}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": f"{app}-5f5d8", "namespace": NAMESPACE, "labels": labels, "ownerReferences": [owner]},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{"name": "app", "image": "example.org/app:1"}]}}}}


class Load:
    """Requests from the node to the pods that are said to be attached, some at a time, until stop()."""

    def __init__(self, machine, threads=3, pause=0.003):
        self.machine, self.pause = machine, pause
        self.ready, self.lock, self.stopping, self.trouble = [], threading.Lock(), False, []
        self.threads = [threading.Thread(target=self.run, args=(seed,)) for seed in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self, seed):
        with contextlib.suppress(Exception):
            self.machine.inside(self.send, random.Random(seed))

    def send(self, chance):
        while not self.stopping:
            with self.lock:
                pod = chance.choice(self.ready) if self.ready else None
            try:
                if pod and not self.machine.request(pod):
                    self.drop(pod)
            except OSError as e:
                self.trouble.append(f"{pod.name}: {e}")
            time.sleep(self.pause)

    def add(self, pod):
        with self.lock:
            self.ready.append(pod)

    def drop(self, pod):
        with self.lock, contextlib.suppress(ValueError):
            self.ready.remove(pod)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


class Follower:
    """Tells the load of each pod that the agent's log says is attached, and notes when that was."""

    def __init__(self, machine, load):
        self.machine, self.load, self.after = machine, load, {}
        self.agent, self.stopping, self.read = None, False, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def follow(self, agent, known=()):
        """`known`: those that were attached before its ready line, which have no lines of their own."""
        self.read, self.agent = 0, agent
        for name in known:
            self.attached(name)

    def run(self):
        while not self.stopping:
            if self.agent:
                self.look(self.agent)
            time.sleep(0.01)

    def look(self, agent):
        with open(f"{agent.base}/err", encoding="utf-8") as f:
            f.seek(self.read)
            text = f.read()
        text = text[:text.rfind("\n") + 1]
        if agent is not self.agent:
            return
        self.read += len(text.encode())
        for line in text.splitlines():
            who, _, what = line.removeprefix("clovisor: scale/").partition(": ")
            if what.startswith("attached to"):
                self.attached(who)

    def attached(self, name):
        pod = self.machine.pods.get(name)
        if pod:
            if name not in self.after and pod.running:
                self.after[name] = time.monotonic() - pod.running
            self.load.drop(pod)
            self.load.add(pod)

    def stop(self):
        self.stopping = True
        self.thread.join()


class Churn(unittest.TestCase):
    """Level 1, one cluster for all."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(Cluster(level=1))

    def setUp(self):
        self.machine = self.enterContext(Machine(self.cluster))
        for app in APPS:
            self.machine.make(replicaset(app))
        self.serial = 0
        self.sent = {}  # by pod: its application, and how many requests it got

    def new_name(self):
        self.serial += 1
        return f"p{self.serial}"

    def add(self):
        return self.machine.add(self.new_name(), app=random.choice(APPS))

    def remove(self, pod):
        self.machine.remove(pod)
        self.sent[pod.name] = pod.app, pod.requests

    def assert_spans(self, agents, lost_from=()):
        """Each request has one server span, and that is the right pod's. `lost_from`: names of pods some of whose
        requests nobody may have seen."""
        found = collections.Counter()
        for agent in agents:
            for span in agent.spans():
                resource, path = span["resource"], span["attributes"]["url.path"]
                pod = path.split("/")[1]
                self.assertEqual(span["kind"], "SERVER", span)
                self.assertEqual((resource["k8s.pod.name"], resource["service.name"], resource["k8s.namespace.name"]),
                                 (pod, self.sent[pod][0], "scale"), span)
                found[path] += 1
        wanted = {f"/{pod}/{i}" for pod, (_, n) in self.sent.items() for i in range(1, n + 1)}
        self.assertEqual([p for p, n in found.items() if n > 1 or p not in wanted], [])
        missing = sorted(p for p in wanted - set(found) if p.split("/")[1] not in lost_from)
        self.assertEqual(missing, [], f"{len(missing)} of {len(wanted)} requests have no span")
        return len(wanted)

    def start_load(self, agent):
        """A load on what is attached, and who tells it of that; both end with the test."""
        load = Load(self.machine)
        self.addCleanup(load.stop)
        follower = Follower(self.machine, load)
        self.addCleanup(follower.stop)
        follower.follow(agent)
        return load, follower

    def finish_load(self, load, follower):
        follower.stop()
        load.stop()
        self.assertEqual(load.trouble, [])
        time.sleep(LATE_SECONDS)

    # ---- tests ----

    def churn(self, agent, load, follower, live, seconds):
        """Replaces the oldest pod by a new one, `live` / 60 of them a second, at least two."""
        pause, end, most = 1 / max(2, live / 60), time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            begin = time.monotonic()
            self.remove(next(iter(self.machine.pods.values())))
            self.add()
            most = max(most, agent.memory())
            time.sleep(max(0.0, pause - (time.monotonic() - begin)))
        return most

    def test_pods_come_and_go_under_load(self):
        live, seconds = (200, 600) if LONG else (60, 30)
        agent = self.machine.agent()
        at_start = agent.descriptors()
        load, follower = self.start_load(agent)
        in_parallel(lambda _: self.add(), range(live))
        at_once = set(self.machine.pods)  # the kernel takes its time for so many
        most = self.churn(agent, load, follower, live, seconds)
        wait_for("all pods are attached", lambda: agent.attached() == set(self.machine.pods), 30)
        self.assertEqual(agent.links(), 2 * live)
        self.finish_load(load, follower)
        most, used = max(most, agent.memory()), agent.cpu()
        for pod in list(self.machine.pods.values()):
            self.remove(pod)
        wait_for("no pod is left", lambda: not agent.pods() and not agent.links(), 30)
        self.assertEqual(len(agent.descriptors()), len(at_start), agent.descriptors())
        self.assertEqual(agent.status()["interfaces"], [])
        self.assertNotIn("(cgroup)", agent.log())  # each has an interface
        drops = {k: n for k, n in agent.status()["figures"]["drops"].items() if n}
        agent.stop()
        requests = self.assert_spans([agent])
        waited = sorted(after for name, after in follower.after.items() if name not in at_once)
        longest = max(follower.after[name] for name in at_once & set(follower.after))
        print(f"     {self.serial} pods, {live} at a time, {requests} requests; traced after Running: median "
              f"{waited[len(waited) // 2]:.3f} s, at most {waited[-1]:.3f} s, those at once {longest:.3f} s; memory "
              f"at most {most:.1f} MiB; CPU {used:.1f} s; drops {drops}", flush=True)
        self.assertLess(waited[-1], 20)
        self.assertLessEqual(most, MEMORY_MIB)

    def appear(self, mode, seconds):
        """200 pods are told of at once, and run already."""
        agent = self.machine.agent("--attach", mode)
        self.machine.relay.hold()
        pods = in_parallel(lambda _: self.machine.create(self.new_name(), app=random.choice(APPS)), range(200))
        for pod in pods:
            self.machine.order("make", pod.uid, pod.sandbox, pod.container, pod.ifname, pod.address)
        in_parallel(lambda p: self.cluster.api.patch(p.thing, p.status(), "/status"), pods)
        used, begin = agent.cpu(), time.monotonic()
        self.machine.relay.release()
        wait_for("all pods are attached", lambda: agent.log().count(": attached to") == 200, seconds)
        took = time.monotonic() - begin
        self.assertEqual(agent.attached(), set(self.machine.pods))
        print(f"     200 pods at once with {mode}: traced after {took:.2f} s, memory {agent.memory():.1f} MiB, "
              f"CPU {agent.cpu() - used:.2f} s", flush=True)
        return agent

    def test_200_pods_at_once_with_tcx(self):
        agent = self.appear("tcx", 20)
        self.assertEqual(agent.links(), 400)
        agent.stop()

    def test_200_pods_at_once_with_clsact(self):
        agent = self.appear("clsact", 5)
        self.assertEqual(len(self.machine.filters()), 200)
        agent.stop()
        self.assertEqual(self.machine.filters(), [])

    def test_killed_while_pods_come_and_go(self):
        live = 30
        agents = [self.machine.agent("--attach", "clsact")]
        load, follower = self.start_load(agents[0])
        in_parallel(lambda _: self.add(), range(live))
        self.churn(agents[0], load, follower, live, 5)
        wait_for("all pods are attached", lambda: agents[0].attached() == set(self.machine.pods), 30)
        # Of what is asked while nobody looks there are no spans.
        for pod in list(load.ready):
            load.drop(pod)
        time.sleep(LATE_SECONDS)
        agents[0].kill()
        self.assertEqual(len(self.machine.filters()), live)
        agents.append(self.machine.agent("--attach", "clsact"))
        follower.follow(agents[1], agents[1].attached())
        self.churn(agents[1], load, follower, live, 10)
        wait_for("leftovers are swept", lambda: "that a killed clovisor left" in agents[1].log(), 20)
        wait_for("all pods are attached", lambda: agents[1].attached() == set(self.machine.pods), 30)
        self.finish_load(load, follower)
        agents[1].stop()
        self.assertEqual(self.machine.filters(), [])
        for pod in list(self.machine.pods.values()):
            self.remove(pod)
        requests = self.assert_spans(agents)
        print(f"     {requests} requests before and after", flush=True)
