#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The container image: what is in it, how large it is, that it is the same each time, that clovisor runs in it.

usage: tests/deploy/test_image.py [NAME...]
"""

import contextlib
import hashlib
import http.server
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "cli")]
from common import ROOT, main, need, path, read, run, version  # noqa: E402
from test_cli import Capture  # noqa: E402

LIMIT = 15_000_000
# All that may be in it; a library more is a reason to look where it came from.
ALLOWED = re.compile(r"""
    (dev|proc|sys|tmp|run/clovisor|etc/clovisor|var/lib/clovisor)$ | lib$ | lib64$
    | etc/(passwd|group|nsswitch\.conf|ssl/certs/ca-certificates\.crt)$
    | usr/bin/clovisor$
    | usr/lib64/ld-linux-x86-64\.so\.2$ | usr/lib/ld-linux-aarch64\.so\.1$
    | usr/lib/[a-z0-9_]+-linux-gnu/
      lib(bpf|c|crypto|curl|elf|jansson|m|mnl|nghttp2|pcap|pcre2-8|ssl|yaml-0|z)\.so\.[0-9.]+$
    | usr/share/doc/[a-z0-9.+-]+/copyright$ | var/lib/dpkg/status\.d/[a-z0-9.+-]+$
    """, re.X)


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes whatever it is sent, and remembers to which path."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def make_certificate(directory):
    """A certificate authority and localhost's certificate by it; returns the paths of the CA's and of the server's."""
    authority, server = os.path.join(directory, "ca.pem"), os.path.join(directory, "server.pem")
    request, key = os.path.join(directory, "request"), os.path.join(directory, "key.pem")
    extensions = os.path.join(directory, "extensions")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test CA", "-keyout",
        os.path.join(directory, "ca.key"), "-out", authority)
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", key, "-out", request)
    with open(extensions, "w", encoding="utf-8") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    run("openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", authority, "-CAkey",
        os.path.join(directory, "ca.key"), "-CAcreateserial", "-extfile", extensions, "-out", server)
    with open(server, "a", encoding="utf-8") as out, open(key, encoding="utf-8") as f:
        out.write(f.read())
    return authority, server


@contextlib.contextmanager
def collector(certificate):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.paths = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def cgroup2():
    """Where cgroup v2 is mounted."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for line in f:
            if line.split()[2] == "cgroup2":
                return line.split()[1]
    raise unittest.SkipTest("no cgroup v2 is mounted")


@contextlib.contextmanager
def container(interface):
    """What the agent takes for one: a process in a cgroup named as Docker does, and in a namespace that `interface`
    leads to."""
    name = os.urandom(32).hex()
    directory = os.path.join(cgroup2(), f"docker-{name}.scope")
    os.mkdir(directory)
    enter = 'echo $$ >"$1/cgroup.procs"; exec unshare -n sleep 120'
    child = subprocess.Popen(["sh", "-ec", enter, "sh", directory])
    deadline = time.monotonic() + 30
    try:
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{child.pid}/ns/net") == ours and time.monotonic() < deadline:
            time.sleep(0.05)
        run("ip", "link", "add", interface, "up", "type", "veth", "peer", "name", "eth0", "netns", str(child.pid))
        yield name
    finally:
        child.kill()
        child.wait()
        run("ip", "link", "delete", interface, check=False)  # else it goes with the namespace, some time later
        while time.monotonic() < deadline + 30 and os.path.exists(directory):
            with contextlib.suppress(OSError):  # the dead one is still leaving
                os.rmdir(directory)
            time.sleep(0.05)


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("meson", "dpkg-buildflags", "flex", "bison")
        cls.directory = tempfile.mkdtemp(prefix="clovisor-image-")
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.rootfs, cls.archive = os.path.join(cls.directory, "rootfs"), os.path.join(cls.directory, "image.tar")
        cls.said = run(path("tools", "image"), "-o", cls.archive, "--rootfs", cls.rootfs, timeout=1800).stdout

    def files(self):
        for top, directories, names in os.walk(self.rootfs):
            for name in directories + names:
                whole = os.path.join(top, name)
                if os.path.islink(whole) or os.path.isfile(whole) or not os.listdir(whole):
                    yield os.path.relpath(whole, self.rootfs), os.lstat(whole)

    def test_what_is_in_it(self):
        self.assertEqual([name for name, _ in self.files() if not ALLOWED.match(name)], [])
        for name, status in self.files():
            self.assertFalse(status.st_mode & (stat.S_ISUID | stat.S_ISGID), name)

    def test_size(self):
        size = sum(status.st_size for _, status in self.files())
        self.assertLess(size, LIMIT)
        self.assertGreater(size, 5_000_000)  # or it lacks something

    def test_each_library_has_its_package_named(self):
        packages = os.listdir(os.path.join(self.rootfs, "var/lib/dpkg/status.d"))
        for package in ("libc6", "libssl3", "libcurl4", "libpcap0.8", "ca-certificates"):
            self.assertIn(package, packages)
        for package in packages:
            with open(os.path.join(self.rootfs, "var/lib/dpkg/status.d", package), encoding="utf-8") as f:
                self.assertRegex(f.read(), rf"(?ms)^Package: {re.escape(package)}$.*^Version: [0-9]")

    def test_nothing_of_this_machine_is_in_the_program(self):
        with open(os.path.join(self.rootfs, "usr/bin/clovisor"), "rb") as f:
            self.assertNotIn(ROOT.encode() + b"/", f.read())

    def test_certificates_are_the_packages(self):
        with open(os.path.join(self.rootfs, "etc/ssl/certs/ca-certificates.crt"), encoding="utf-8") as f:
            self.assertGreater(f.read().count("BEGIN CERTIFICATE"), 100)

    def test_archive(self):
        with tarfile.open(self.archive) as tar:
            manifest, = json.load(tar.extractfile("manifest.json"))
            config = json.load(tar.extractfile(manifest["Config"]))
            layer, = manifest["Layers"]
            digest = hashlib.sha256(tar.extractfile(layer).read()).hexdigest()
        self.assertEqual(manifest["RepoTags"], [f"clovisor:{version()}"])
        self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{digest}"])
        self.assertEqual(config["config"]["Entrypoint"], ["/usr/bin/clovisor"])
        self.assertEqual(config["config"]["Cmd"][0], "agent")
        self.assertEqual(config["config"]["Labels"]["org.opencontainers.image.version"], version())
        self.assertIn("MB", self.said)

    def test_same_files_same_bytes(self):
        """Whoever owns the files and whenever they were made."""
        other = os.path.join(self.directory, "other")
        shutil.copytree(self.rootfs, other, symlinks=True)
        for top, _, names in os.walk(other):
            for name in names:
                os.utime(os.path.join(top, name), (1, 1), follow_symlinks=False)
        archives = []
        for number, rootfs in enumerate((self.rootfs, other)):
            out = os.path.join(self.directory, f"{number}.tar")
            run(path("deploy", "image", "archive.py"), rootfs, path("deploy", "image", "Dockerfile"), "amd64", "a:b",
                out, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
            with open(out, "rb") as f:
                archives.append(hashlib.sha256(f.read()).hexdigest())
        self.assertEqual(*archives)

    def test_dockerfile_makes_the_same(self):
        """There may be no container engine here: that both run the same script must do."""
        dockerfile = read("deploy/image/Dockerfile")
        self.assertIn("RUN deploy/image/rootfs.sh /rootfs\n", dockerfile)
        self.assertRegex(dockerfile, r"(?m)^FROM scratch\nCOPY --from=build /rootfs /$")


    # ---- the program in it

    def put_capture(self):
        if os.geteuid():
            self.skipTest("not root: chroot needs it")
        capture = os.path.join(self.rootfs, "tmp", "capture.pcap")
        with open(capture, "wb") as f:
            f.write(Capture().open().exchange(b"/in/the/image").data)
        self.addCleanup(os.unlink, capture)

    def inside(self, *argv):
        return subprocess.run(["chroot", self.rootfs, "/usr/bin/clovisor", *argv], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=60,
                              env={k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "SSL_", "LD_"))})

    def test_version(self):
        self.put_capture()
        self.assertIn(f"clovisor {version()}", self.inside("version").stdout)

    def test_read(self):
        self.put_capture()
        self.assertIn('"url.path":"/in/the/image"', self.inside("read", "--json", "/tmp/capture.pcap").stdout)

    def test_check(self):
        """With what a container gets: /proc and /sys."""
        self.put_capture()
        script = """mount -t proc proc "$1/proc"
                    mount -t sysfs sysfs "$1/sys"
                    exec chroot "$1" /usr/bin/clovisor check"""
        said = run("unshare", "-m", "sh", "-ec", script, "sh", self.rootfs).stdout
        self.assertIn("clovisor trace can run here", said)

    def test_agent_with_the_manifests_privileges(self):
        """As user 0 with the DaemonSet's capabilities, the host's cgroups and processes, and nothing to write to."""
        self.put_capture()
        need("setpriv", "ip")
        added = re.search(r"add: \[(.*)\]", read("deploy/kustomize/base/daemonset.yaml"))[1].split(", ")
        capabilities = ",".join("+" + c.lower() for c in added + ["SYS_CHROOT"])  # the last for the test's own chroot
        os.makedirs(os.path.join(self.rootfs, "host/sys/fs/cgroup"))
        self.addCleanup(shutil.rmtree, os.path.join(self.rootfs, "host"))
        script = f"""mount --bind "$1" "$1"
                     mount -t proc proc "$1/proc"
                     mount -t sysfs sysfs "$1/sys"
                     mount --rbind /sys/fs/cgroup "$1/host/sys/fs/cgroup"
                     mount -o remount,ro,bind "$1"
                     exec setpriv --no-new-privs --bounding-set=-all,{capabilities} --inh-caps=-all chroot "$1" \\
                         /usr/bin/clovisor agent --dry-run --kubernetes=false --cgroup-root=/host/sys/fs/cgroup"""
        with container("dpl-image") as name:
            said = run("unshare", "-m", "sh", "-ec", script, "sh", self.rootfs).stdout
            self.assertRegex(said, rf"{name[:12]}.*dpl-image")

    def test_tls(self):
        """By the image's certificates: a collector is trusted when its authority is among them, and only then."""
        need("openssl")
        self.put_capture()
        bundle = os.path.join(self.rootfs, "etc/ssl/certs/ca-certificates.crt")
        with open(bundle, encoding="utf-8") as f:
            before = f.read()
        authority, certificate = make_certificate(self.directory)
        with collector(certificate) as server:
            where = f"https://127.0.0.1:{server.server_port}"
            done = self.inside("read", "--otlp", where, "--flush-timeout", "1s", "/tmp/capture.pcap")
            self.assertEqual(server.paths, [], "an unknown authority was trusted")
            self.assertIn("certificate", done.stderr)
            with open(bundle, "a", encoding="utf-8") as out, open(authority, encoding="utf-8") as f:
                out.write(f.read())
            try:
                done = self.inside("read", "--otlp", where, "/tmp/capture.pcap")
            finally:
                with open(bundle, "w", encoding="utf-8") as f:
                    f.write(before)
            self.assertIn("/v1/traces", server.paths, done.stderr)


if __name__ == "__main__":
    sys.exit(main(__name__))
