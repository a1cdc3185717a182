# SPDX-License-Identifier: Apache-2.0
"""A node of a cluster: containerd, kubelet and kube-proxy in namespaces of their own, joined to the cluster's bridge.

It has its own interfaces, processes, host name, /run, /var/lib, /var/log and /sys/fs/bpf; the root file system, the
cgroups and the kernel are the machine's. Its pods have addresses in 10.244.INDEX.0/24, their veths end in the node.
"""

import json
import os
import re
import subprocess

import groups
from lab import run
from program import Program

HERE = os.path.dirname(os.path.abspath(__file__))
BRIDGE, HOST_ADDRESS = "kube0", "10.99.0.1"
PODS = "10.244.0.0/16"
SOCKET = "/run/containerd/containerd.sock"
PLUGINS = "/usr/lib/cni"  # Debian's place
PAUSE_IMAGE = "clovisor.test/app:1"
START_SECONDS = 60

CONTAINERD = """version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.internal.v1.tracing",
    "io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE nobody may lower it, and no sandbox would start.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{top}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


class Node:
    """`authority` signs its certificates, `programs` finds the path of a program, `server` is the API's URL."""

    def __init__(self, name, index, top, authority, programs, server):
        self.name, self.index, self.top = name, index, top
        self.address, self.pods = f"10.99.0.{10 + index}", f"10.244.{index}.0/24"
        self.link, self.subject = f"kube{index}", f"/O=system:nodes/CN=system:node:{name}"
        self.authority, self.programs, self.server = authority, programs, server
        self.group, self.pid = None, None
        self.running = {}
        os.makedirs(self.path("cni"))

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, content):
        with open(self.path(name), "w", encoding="ascii") as f:
            f.write(content if isinstance(content, str) else json.dumps(content, indent=1))
        return self.path(name)

    def spawn(self, name, *argv):
        self.running[name] = Program(f"{self.name}: {name}", argv, self.path(f"{name}.log")).start()
        return self.running[name]

    # ---- the machine ----

    def start(self):
        """Its namespaces; they are there once wait_started() returns."""
        self.group = groups.make(self.name)
        self.spawn("init", "unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child",
                   "--mount-proc", "--propagation=private", os.path.join(HERE, "node.sh"), self.top, self.name)

    def wait_started(self):
        init = self.running["init"]
        init.wait_ready(f"{self.name} is set up", lambda: os.path.exists(self.path("ready")), START_SECONDS)
        parent = init.pid()
        self.pid = int(groups.read(f"/proc/{parent}/task/{parent}/children"))

    def enter(self, *argv):
        """The command line that runs another one on the node."""
        return ["nsenter", "-t", str(self.pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--", *argv]

    def run(self, *argv, **kw):
        """Runs a command on the node, which must succeed; its output."""
        return run(*self.enter(*argv), **kw)

    def connect(self, others):
        """Joins it to the bridge; its pods and those of other nodes reach each other."""
        run("ip", "link", "add", self.link, "master", BRIDGE, "type", "veth", "peer", "name", "eth0", "netns",
            str(self.pid))
        run("ip", "link", "set", self.link, "up")
        run("ip", "route", "replace", self.pods, "via", self.address)
        routes = [f"route add {n.pods} via {n.address}" for n in others]
        self.run("ip", "-batch", "-", input="\n".join([
            "link set lo up", f"addr add {self.address}/24 dev eth0", "link set eth0 up",
            f"route add default via {HOST_ADDRESS}", *routes]) + "\n")
        self.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    # ---- its programs ----

    def start_containerd(self):
        self.write("cni/10-bridge.conflist", {"cniVersion": "0.4.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": self.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": True}}]})
        config = self.write("containerd.toml", CONTAINERD.format(top=self.top, pause=PAUSE_IMAGE, plugins=PLUGINS))
        self.spawn("containerd", *self.enter("containerd", "--config", config))

    def wait_containerd(self):
        def answers():
            return subprocess.run(self.enter("ctr", "version"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, check=False).returncode == 0

        self.running["containerd"].wait_ready(f"containerd of {self.name} answers", answers, START_SECONDS)

    def import_image(self, archive):
        """Makes an image known to the node, from an archive as image.py or an engine's `save` writes it."""
        return self.run("ctr", "--namespace", "k8s.io", "images", "import", os.path.abspath(archive))

    def kubelet_config(self):
        certificate, key = self.authority.sign_server(f"{self.name}-server", self.subject, [self.address], [self.name])
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": self.address, "tlsCertFile": certificate, "tlsPrivateKeyFile": key,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                               "x509": {"clientCAFile": self.authority.ca}},
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs", "cgroupRoot": self.group, "failCgroupV1": False, "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{SOCKET}", "volumePluginDir": "/var/lib/kubelet/volumeplugins",
            "resolvConf": self.write("resolv.conf", ""), "clusterDomain": "cluster.local",
            "maxOpenFiles": 20000, "syncFrequency": "10s", "enforceNodeAllocatable": ["pods"],
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%",
                             "nodefs.inodesFree": "1%"}}

    def start_kubelet(self):
        kubeconfig = self.authority.client_kubeconfig(self.path("kubelet.kubeconfig"), self.server, self.name,
                                                      self.subject)
        self.spawn("kubelet", *self.enter(
            self.programs("kubelet"), f"--config={self.write('kubelet.yaml', self.kubelet_config())}",
            f"--kubeconfig={kubeconfig}", f"--hostname-override={self.name}", f"--node-ip={self.address}"))

    def start_proxy(self, mode, kubeconfig):
        """kube-proxy in mode nftables or iptables. Limits of conntrack are the machine's: it leaves them alone."""
        config = self.write("proxy.yaml", {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": mode,
            "clientConnection": {"kubeconfig": kubeconfig}, "hostnameOverride": self.name, "clusterCIDR": PODS,
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}})
        self.spawn("kube-proxy", *self.enter(self.programs("kube-proxy"), f"--config={config}"))

    def stop(self):
        """Its init ends, and all of the node with it."""
        for program in reversed(self.running.values()):
            program.kill()
        self.running.clear()

    # ---- what tests look at ----

    def interfaces(self):
        """The names of the interfaces that the node sees."""
        return re.findall(r"^\d+: ([^:@]+)", self.run("ip", "-o", "link"), re.M)

    def tails(self):
        return "\n".join(program.tail() for program in self.running.values())
