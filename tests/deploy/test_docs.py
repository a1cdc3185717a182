#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/kubernetes.md, security.md and host.md: that they say what the program and the manifests do.

usage: tests/deploy/test_docs.py [NAME...]
"""

import glob
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import main, path, read  # noqa: E402


def sources():
    return {name: read(name) for name in glob.glob("src/**/*.c", root_dir=path(), recursive=True)}


class Docs(unittest.TestCase):
    def test_every_reason_of_readyz(self):
        page = read("docs/kubernetes.md")
        reasons = {why for text in sources().values()
                   for why in re.findall(r'clv_health_wait\([^;]*?"([^"]+)"', text)}
        self.assertGreaterEqual(len(reasons), 3)
        for why in reasons - {"not attached yet to all that was asked for"}:  # clovisor trace's
            self.assertIn(f"`{why}`", page)

    def test_every_trouble_of_a_pod(self):
        """In the words that clovisor status has for them."""
        page, text = read("docs/kubernetes.md"), "".join(sources().values())
        for words in ("its namespace is not watched", "no selector matches its labels",
                      "no process of a container is visible: hostPID is missing", "AppArmor or SELinux forbids it",
                      "no interface of this host leads to it",
                      "its network namespace cannot be looked at (CAP_SYS_PTRACE)",
                      "it has no interface of its own, and no cgroup v2 of it is visible"):
            self.assertIn(words, page)
            self.assertIn(words, text)

    def test_every_privilege(self):
        page = read("docs/security.md")
        manifest, unit = read("deploy/kustomize/base/daemonset.yaml"), read("deploy/systemd/clovisor.service")
        added = re.search(r"add: \[(.*)\]", manifest)[1].split(", ")
        held = re.search(r"^AmbientCapabilities=(.*)$", unit, re.M)[1].split()
        for name in {f"CAP_{name}" for name in added} | set(held):
            self.assertRegex(page, rf"(?m)^\| `{name}`")
        for word in ("hostNetwork", "hostPID", "/sys/fs/cgroup", "user 0", "AppArmor"):
            self.assertRegex(page, rf"(?m)^\| `?{word}")

    def test_links_and_files(self):
        for page in ("docs/kubernetes.md", "docs/security.md", "docs/host.md", "deploy/helm/clovisor/README.md"):
            text = read(page)
            for link in re.findall(r"\]\(([^)#:]+)\)", text):
                self.assertTrue(os.path.exists(path(os.path.dirname(page), link)), f"{page}: {link}")
            for name in re.findall(r"(?<![\w/.])((?:deploy|tools)/[\w./-]+\w)", text):
                self.assertTrue(os.path.exists(path(name)), f"{page}: {name}")


if __name__ == "__main__":
    sys.exit(main(__name__))
