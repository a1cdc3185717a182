# SPDX-License-Identifier: Apache-2.0
"""Two pods, client and server, and clovisor on their node watching both: what tests of its export have in common."""

import json
import os
import shutil
import unittest

import backends
import lab

LOAD = os.path.join(backends.HERE, "load.py")
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "200"}  # spans need not wait for others
TOOLS = ["ip", "nft", "nginx", "curl", "nsenter", "python3"]


def require():
    """Skips, with a reason, what needs namespaces and clovisor where they are not to be had."""
    missing = [t for t in TOOLS if not shutil.which(t)]
    if os.geteuid():
        raise unittest.SkipTest("not root")
    if missing:
        raise unittest.SkipTest(f"missing: {' '.join(missing)}")
    if not os.access(lab.CLOVISOR, os.X_OK):
        raise unittest.SkipTest(f"no {lab.CLOVISOR}")


class TwoPods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require()
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.client, cls.server = cls.lab.pod("client"), cls.lab.pod("server")
        cls.server.nginx()
        cls.url = f"http://{cls.server.ip}"

    def start(self, kind, *args):
        """A backend on the node, for the length of this test."""
        return self.enterContext(kind(self.lab.top, *args, ns=self.lab.node))

    def trace(self, *args, **env):
        """clovisor on both pods, as two services; of OTEL_* it sees only these variables."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")} | SOON
        tracer = self.lab.trace("-i", self.client.veth, "--service", f"{self.client.veth}=client",
                                "-i", self.server.veth, "--service", f"{self.server.veth}=server",
                                *args, env={**clean, **env})
        self.addCleanup(lab.Lab.reap, tracer.process)
        return tracer

    def ask(self, n, path="/ok/", *options):
        """n requests by one curl; "-H", "Connection: close" as options gives each a connection of its own."""
        self.client.curl("-o", os.devnull, *options, f"{self.url}{path}[1-{n}]")

    def load(self, *args):
        """The last line of load.py, run in the client's pod."""
        return json.loads(self.client.run("python3", LOAD, *map(str, args)).splitlines()[-1])
