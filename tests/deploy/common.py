# SPDX-License-Identifier: Apache-2.0
"""What the tests of deploy/ share: paths, programs, and a runner that ends with the sum."""

import os
import re
import shutil
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLOVISOR = os.environ.get("CLOVISOR", os.path.join(ROOT, "build", "clovisor"))
os.environ["PATH"] += ":/usr/sbin:/sbin"
sys.dont_write_bytecode = True
sys.path.append(os.path.join(ROOT, "tests"))
import runner  # noqa: E402


def path(*parts):
    return os.path.join(ROOT, *parts)


def read(*parts):
    with open(path(*parts), encoding="utf-8") as f:
        return f.read()


def run(*argv, check=True, **kw):
    """Its output; where it fails, what it said is the error."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, **{"timeout": 600, **kw})
    if check and done.returncode:
        raise AssertionError(f"$ {' '.join(argv)}\n{done.stdout[-4000:]}\nexit status {done.returncode}")
    return done


def version():
    return re.search(r"^project\(.*[^_]version: '([^']+)'", read("meson.build"), re.M)[1]


def need(*programs):
    """Skips the test where one of them is missing."""
    for program in programs:
        if not shutil.which(program):
            raise unittest.SkipTest(f"no {program}: sudo tools/setup test")


def kube_tool(name):
    """The path of helm or kustomize: $HELM, $KUSTOMIZE, or built by tools/kube. Skips the test where there is none."""
    if name.upper() in os.environ:
        return os.environ[name.upper()]
    made = subprocess.run([path("tools", "kube"), name], capture_output=True, text=True, check=False)
    if made.returncode == 77:
        raise unittest.SkipTest(made.stderr.strip())
    if made.returncode:
        raise AssertionError(made.stderr)
    os.environ[name.upper()] = made.stdout.strip()
    return os.environ[name.upper()]


def main(module):
    return runner.module(module, sys.argv[1:])
