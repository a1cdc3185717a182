# SPDX-License-Identifier: Apache-2.0
"""`clovisor agent --kubernetes=false`: the containers of a host, without a cluster."""

import json
import os
import signal
import subprocess
import unittest

import lab
from lab import CLOVISOR, attr, wait_for
from test_podnet import V2, Cgroups, new_id


class Agent:
    """A running agent on the node, which writes spans to a file. Other containers of this machine are none of its
    business: no interface of the node leads to them."""

    def __init__(self, top, *args):
        self.run = top.dir(f"agent{len(os.listdir(top.top))}")
        self.out, self.err = os.path.join(self.run, "out"), os.path.join(self.run, "err")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = top.spawn_in(top.node, CLOVISOR, "agent", "--kubernetes=false", "--capture", "interface",
                                        "--json", *args, stdout=out, stderr=err,
                                        env={**os.environ, "RUNTIME_DIRECTORY": self.run})

    def said(self):
        with open(self.err, encoding="utf-8") as f:
            return f.read()

    def spans(self):
        with open(self.out, "rb") as f:
            return [json.loads(line) for line in f if line.endswith(b"\n")]

    def containers(self):
        """What `clovisor status` says of each, by id."""
        done = subprocess.run([CLOVISOR, "status", "--json"], env={**os.environ, "RUNTIME_DIRECTORY": self.run},
                              capture_output=True, check=False)
        return {c["uid"]: c for c in json.loads(done.stdout)["pods"]} if done.returncode == 0 else {}

    def wait_traced(self, container):
        wait_for(f"{container[:12]} is traced",
                 lambda: self.containers().get(container, {}).get("state") == "traced", 30)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


class Host(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(os.path.join(V2, "cgroup.procs")):
            raise unittest.SkipTest(f"no cgroup v2 in {V2}")
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.user = cls.lab.pod("user")

    def setUp(self):
        self.cgroups = self.enterContext(Cgroups())

    def container(self, name, form="docker/{}"):
        """A pod of the lab whose server is a container's; its id."""
        pod, container = self.lab.pod(name), new_id()
        server = pod.spawn("python3", "-m", "http.server", "80", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lab.Lab.reap, server)
        self.cgroups.put(V2, server.pid, form.format(container))
        wait_for("it answers", lambda: pod.try_connect(80))
        return pod, container, server

    def test_containers_come_and_go(self):
        first, first_id, _ = self.container("first")
        agent = Agent(self.lab)
        agent.wait_traced(first_id)
        wait_for("it is ready", lambda: "ready:" in agent.said(), 30)
        second, second_id, server = self.container("second", "machine.slice/libpod-{}.scope/container")
        agent.wait_traced(second_id)
        for pod in (first, second):
            self.user.curl(f"http://{pod.ip}/")
        wait_for("two spans", lambda: len(agent.spans()) == 2)
        for span, container, runtime in zip(agent.spans(), (first_id, second_id), ("docker", "podman")):
            resource = span["resource"]
            self.assertEqual((span["kind"], attr(span, "url.path")), ("SERVER", "/"))
            self.assertEqual(resource["container.id"], container)
            self.assertEqual(resource["container.runtime.name"], runtime)
            self.assertEqual(resource["service.name"], container[:12])
        server.kill()
        server.wait()
        wait_for("it is not a container any more", lambda: second_id not in agent.containers(), 30)
        self.assertIn(f"left {second.veth}", agent.said())
        self.assertEqual(agent.stop(), 0)
        self.assertNotIn("clsact", self.lab.run_in(self.lab.node, "tc", "qdisc", "show"))

    def test_dry_run(self):
        pod, container, _ = self.container("dry")
        command = (CLOVISOR, "agent", "--kubernetes=false", "--capture", "interface", "--dry-run")
        report = json.loads(self.lab.run_in(self.lab.node, *command, "--json"))
        (found,) = [c for c in report["pods"] if c["uid"] == container]
        self.assertEqual((found["state"], [p["name"] for p in found["places"]]), ("traced", [pod.veth]))
        self.assertRegex(self.lab.run_in(self.lab.node, *command), rf"(?m)^  traced +{container[:12]} +at {pod.veth}$")


if __name__ == "__main__":
    unittest.main()
