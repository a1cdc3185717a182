# SPDX-License-Identifier: Apache-2.0
"""Plugins for tests: built out of tree, against what `meson install` puts into a directory of its own."""

import glob
import os
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))


def run(*argv, **options):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if done.returncode:
        raise RuntimeError(f"$ {' '.join(argv)}\n{done.stdout[-4000:]}")
    return done.stdout


class Installed:
    """An installed clovisor, in a directory that only this user can write; gone when the object is closed."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="clovisor-plugins-")
        self.dest = os.path.join(self.top, "dest")
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.dest)
        self.program = glob.glob(self.dest + "/**/bin/clovisor", recursive=True)[0]
        self.include = os.path.dirname(os.path.dirname(
            glob.glob(self.dest + "/**/include/clovisor/proto.h", recursive=True)[0]))
        pkgconfig = glob.glob(self.dest + "/**/pkgconfig/clovisor.pc", recursive=True)[0]
        self.env = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": self.dest, "PKG_CONFIG_PATH": os.path.dirname(pkgconfig)}

    def close(self):
        shutil.rmtree(self.top, ignore_errors=True)

    def fixture(self, fault="NONE", name=None, *flags):
        """tests/cli/plugin_fixture.c with that fault, as a shared object."""
        out = os.path.join(self.top, (name or fault.lower()) + ".so")
        run(os.environ.get("CC", "cc"), "-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-fno-builtin", "-shared", "-fPIC",
            "-Wl,-z,defs", f"-I{self.include}", f"-DFAULT={fault}", *flags, "-o", out,
            os.path.join(ROOT, "tests/cli/plugin_fixture.c"))
        return out

    def example(self, name, tool="make"):
        """A folder of examples/, copied and built as its README says; returns the shared object."""
        folder = os.path.join(self.top, name + "-" + tool)
        shutil.copytree(os.path.join(ROOT, "examples", name), folder)
        if tool == "make":
            run("make", "-C", folder, "CFLAGS=-O2 -Werror", env=self.env)
            return glob.glob(folder + "/*.so")[0]
        run("meson", "setup", "-Dwerror=true", folder + "/build", folder, env=self.env)
        run("ninja", "-C", folder + "/build", env=self.env)
        return glob.glob(folder + "/build/*.so")[0]
