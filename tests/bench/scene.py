# SPDX-License-Identifier: Apache-2.0
"""Where it all happens: pods with servers and clients in namespaces of their own, each on its processor.

The client has the first processor that this process may use, the server the last one, and who watches either of
them: so what the watching takes is taken from the two, and shows in the throughput when they are saturated.
"""

import json
import os
import resource
import shutil
import subprocess

import lab as laboratory

LOAD = os.path.join(laboratory.ROOT, "build", "tests", "load")
BODY = 200
LARGE = 10_000_000


class Scene:
    def __init__(self, lab):
        self.lab = lab
        cpus = sorted(os.sched_getaffinity(0))
        self.client_cpu, self.server_cpu = cpus[0], cpus[-1]
        self.cpus = {self.client_cpu, self.server_cpu}
        # What observers write stays in memory: a disk that writes late would disturb the next run.
        self.out = lab.dir("out")
        laboratory.run("mount", "-t", "tmpfs", "-o", "size=75%", "bench", self.out)
        lab.callback(subprocess.run, ["umount", "-l", self.out], check=False)
        self.web, self.user = lab.pod("web"), lab.pod("user")
        self.web_pid = None
        # A connection for each request, tens of thousands a second: ports are used again at once.
        for path, value in (("tcp_tw_reuse", "1"), ("ip_local_port_range", "1024 65000")):
            self.user.run("sh", "-c", f"echo {value} >/proc/sys/net/ipv4/{path}")

    def path(self, name):
        return os.path.join(self.out, name)

    def clear(self):
        """Nothing of the last run is left."""
        for entry in os.scandir(self.out):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)

    def on_client_cpu(self):
        """In a child before exec."""
        os.sched_setaffinity(0, {self.client_cpu})
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def web_nginx(self):
        """That of the pod that most workloads share."""
        if not self.web_pid:
            self.web_pid = self.nginx(self.web)
        return self.web_pid

    def nginx(self, pod, connections=2048):
        """Starts nginx in a pod; its process id. /small has 200 bytes, /large 10 MB."""
        www = pod.nginx('location = /small { return 200 "' + "x" * BODY + '"; }', connections)
        with open(os.path.join(www, "large"), "wb") as f:
            f.truncate(LARGE)
        with open(os.path.join(os.path.dirname(www), "nginx.pid"), encoding="ascii") as f:
            pid = int(f.read())
        os.sched_setaffinity(pid, {self.server_cpu})
        return pid

    def nghttpd(self, pod, port):
        """Starts nghttpd in a pod; its process id."""
        www = self.lab.dir("nghttpd")
        with open(os.path.join(www, "small"), "wb") as f:
            f.write(b"x" * BODY)
        server = pod.spawn("nghttpd", "--no-tls", "-n1", "-d", www, str(port), stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        laboratory.wait_for("nghttpd answers", lambda: pod.try_connect(port))
        for task in os.listdir(f"/proc/{server.pid}/task"):
            os.sched_setaffinity(int(task), {self.server_cpu})
        return server.pid

    def load(self, *args, ns=None):
        """Runs tests/bench/load.c in a namespace, the user's if none is named; what it prints."""
        return json.loads(self.lab.run_in(ns or self.user.ns, LOAD, *args, preexec_fn=self.on_client_cpu))
