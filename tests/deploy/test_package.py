#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian package and the service in it: contents, lintian, systemd's view of the unit, and that its privileges do.

usage: [CLOVISOR=PATH] tests/deploy/test_package.py [NAME...]
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import CLOVISOR, main, need, path, read, run, version  # noqa: E402

UNIT = path("deploy", "systemd", "clovisor.service")
SETTINGS = path("deploy", "systemd", "clovisor.yaml")
# systemd's figure for how much a service could do; without any of the unit's restrictions it is 9.6.
EXPOSURE = 3.0


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("dh", "dpkg-buildpackage")
        cls.directory = tempfile.mkdtemp(prefix="clovisor-deb-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.deb, = run(path("tools", "deb"), "-o", cls.directory, timeout=1800).stdout.split()
        cls.files = {line.split(None, 5)[5].lstrip("."): line.split()[0] for line in
                     run("dpkg-deb", "-c", cls.deb).stdout.splitlines()}

    def field(self, name):
        return run("dpkg-deb", "-f", self.deb, name).stdout.strip()

    def test_contents(self):
        for name in ("/usr/bin/clovisor", "/lib/systemd/system/clovisor.service", "/etc/clovisor/clovisor.yaml",
                     "/usr/share/man/man5/clovisor.yaml.5.gz", "/usr/share/bash-completion/completions/clovisor",
                     "/usr/share/zsh/vendor-completions/_clovisor", "/usr/share/doc/clovisor/copyright",
                     "/usr/share/doc/clovisor/host.md.gz", "/usr/include/clovisor/proto.h"):
            self.assertTrue(name in self.files or name.removesuffix(".gz") in self.files, name)
        pages = {os.path.basename(p) + ".gz" for p in os.listdir(path("man")) if re.search(r"\.[15]$", p)}
        self.assertEqual(pages, {os.path.basename(p) for p in self.files if "/man/man" in p and p.endswith(".gz")})
        self.assertFalse([name for name, mode in self.files.items() if "s" in mode[:4]], "setuid")

    def test_fields(self):
        self.assertEqual(self.field("Version"), version())
        self.assertIn("libcurl4", self.field("Depends"))
        control = os.path.join(self.directory, "control")
        run("dpkg-deb", "-e", self.deb, control)
        with open(os.path.join(control, "conffiles"), encoding="utf-8") as f:
            self.assertEqual(f.read().split(), ["/etc/clovisor/clovisor.yaml"])
        with open(os.path.join(control, "postinst"), encoding="utf-8") as f:
            self.assertIn("deb-systemd-helper", f.read())

    def test_dependencies_can_be_had(self):
        run("apt-get", "install", "--simulate", self.deb)

    def test_the_program_in_it(self):
        root = os.path.join(self.directory, "root")
        run("dpkg-deb", "-x", self.deb, root)
        self.assertIn(f"clovisor {version()}", run(os.path.join(root, "usr/bin/clovisor"), "version").stdout)
        with open(os.path.join(root, "usr/bin/clovisor"), "rb") as f:
            self.assertNotIn(b"/build/", re.sub(rb"\./build/", b"", f.read()))

    def test_lintian(self):
        need("lintian")
        run("lintian", "--allow-root", "--fail-on", "error,warning", self.deb)


class Unit(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="clovisor-unit-")
        self.addCleanup(shutil.rmtree, self.directory)
        self.service = configparser.RawConfigParser(strict=False)
        self.service.optionxform = str
        self.service.read_string(read("deploy/systemd/clovisor.service"))

    def get(self, key):
        return self.service["Service"][key]

    def installed(self):
        """The unit as if the package were installed: its program is this one, its pages are there."""
        out = os.path.join(self.directory, "clovisor.service")
        with open(UNIT, encoding="utf-8") as f, open(out, "w", encoding="utf-8") as to:
            to.write(re.sub(r"(?m)^Documentation=.*\n", "", f.read()).replace("/usr/bin/clovisor", CLOVISOR))
        return out

    def test_verify(self):
        need("systemd-analyze")
        self.assertEqual(run("systemd-analyze", "verify", self.installed()).stdout, "")

    def test_security(self):
        need("systemd-analyze")
        run("systemd-analyze", "security", "--offline=yes", f"--threshold={int(EXPOSURE * 10)}", UNIT)

    def test_settings_are_valid(self):
        run(CLOVISOR, "config", "check", SETTINGS)
        self.assertIn(f"agent -c /etc/clovisor/{os.path.basename(SETTINGS)}", self.get("ExecStart"))

    @unittest.skipIf(os.geteuid(), "not root")
    def test_its_user_and_capabilities_do(self):
        need("setpriv")
        capabilities = ",".join("+" + c.removeprefix("CAP_").lower() for c in self.get("AmbientCapabilities").split())
        self.assertEqual(self.get("AmbientCapabilities"), self.get("CapabilityBoundingSet"))
        program = os.path.join(self.directory, "clovisor")  # where that user may come
        shutil.copy(CLOVISOR, program)
        os.chmod(self.directory, 0o755)
        as_user = ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups", "--no-new-privs"]
        as_user += [f"--{kind}=-all,{capabilities}" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
        self.assertIn("can run here", run(*as_user, program, "check").stdout)
        other = subprocess.Popen(["unshare", "-n", "sleep", "60"])  # root's, in a namespace of its own
        try:
            self.assertIn("net:[", run(*as_user, "readlink", f"/proc/{other.pid}/ns/net").stdout)
        finally:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main(__name__))
