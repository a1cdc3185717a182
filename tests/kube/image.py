# SPDX-License-Identifier: Apache-2.0
"""Container images of programs of this machine, without a container engine: deploy/image/archive.py writes them."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from lab import ROOT, run

ARCHIVE = os.path.join(ROOT, "deploy", "image", "archive.py")
DIRECTORIES = {"etc": 0o755, "tmp": 0o1777, "proc": 0o755, "sys": 0o755, "dev": 0o755, "run": 0o755}


def shared_libraries(program):
    """What the dynamic linker loads for it; nothing for a static program."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return re.findall(r"(/\S+) \(0x", done.stdout)


def with_libraries(program):
    """{path in the image: file} for a program of this machine and all that it needs to start."""
    return {path: os.path.realpath(path) for path in [program, *shared_libraries(program)]}


def fill(root, files):
    for name, mode in DIRECTORIES.items():
        os.mkdir(os.path.join(root, name))
        os.chmod(os.path.join(root, name), mode)
    for path, source in files.items():
        target = os.path.join(root, path.lstrip("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        os.chmod(target, 0o755)


def write(archive, name, files, entrypoint, command=()):
    """Makes the archive of an image called `name` (example.org/app:1) from {path in the image: file}."""
    with tempfile.TemporaryDirectory() as top:
        root, dockerfile = os.path.join(top, "root"), os.path.join(top, "Dockerfile")
        os.mkdir(root)
        fill(root, files)
        with open(dockerfile, "w", encoding="ascii") as f:
            f.write(f"FROM scratch\nENTRYPOINT {json.dumps(entrypoint)}\nCMD {json.dumps(command)}\n")
        run(sys.executable, ARCHIVE, root, dockerfile, "amd64", name, archive)
    return archive
