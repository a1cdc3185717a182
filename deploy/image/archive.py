#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes an image's archive of a directory, as `docker load` and `ctr images import` take it.

usage: deploy/image/archive.py ROOTFS DOCKERFILE ARCHITECTURE NAME:TAG OUT.tar

What the image says of itself (ENTRYPOINT, CMD, ENV, LABEL) is what follows the Dockerfile's last FROM. All files are
root's and of the time SOURCE_DATE_EPOCH, so the same files make the same bytes.
"""

import datetime
import hashlib
import io
import json
import os
import re
import sys
import tarfile

EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)


def config_of(dockerfile):
    """The part of an image's configuration that the Dockerfile's last stage makes."""
    with open(dockerfile, encoding="utf-8") as f:
        stage = re.split(r"^FROM .*$", f.read(), flags=re.M)[-1]
    config = {"Env": [], "Labels": {}}
    for word, rest in re.findall(r"^([A-Z]+) (.*)$", stage, re.M):
        if word in ("ENTRYPOINT", "CMD"):
            config[word.capitalize()] = json.loads(rest)
        elif word in ("ENV", "LABEL"):
            key, value = re.fullmatch(r'([^=]+)="(.*)"', rest).groups()
            if word == "ENV":
                config["Env"].append(f"{key}={value}")
            else:
                config["Labels"][key] = value
        elif word != "COPY":
            raise ValueError(f"{dockerfile}: {word} is not known here")
    return config


def plain(info):
    """What may differ from machine to machine is left out."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = EPOCH
    return info


def layer_of(rootfs):
    paths = []
    for top, directories, names in os.walk(rootfs):
        paths += [os.path.relpath(os.path.join(top, name), rootfs) for name in directories + names]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(paths):
            tar.add(os.path.join(rootfs, path), path, recursive=False, filter=plain)
    return out.getvalue()


def put(tar, name, data):
    info = plain(tarfile.TarInfo(name))
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def main():
    if len(sys.argv) != 6:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    rootfs, dockerfile, architecture, name, path = sys.argv[1:]
    layer = layer_of(rootfs)
    digest = hashlib.sha256(layer).hexdigest()
    created = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = json.dumps({
        "architecture": architecture, "os": "linux", "created": created, "config": config_of(dockerfile),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": created, "created_by": "deploy/image/rootfs.sh"}]}, sort_keys=True).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        put(tar, config_name, config)
        put(tar, f"{digest}/layer.tar", layer)
        put(tar, "manifest.json", json.dumps(manifest).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
