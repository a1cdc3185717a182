# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates and kubeconfigs of a cluster, made with openssl."""

import json
import os

from lab import run

DAYS = "30"
CLIENT = "extendedKeyUsage=clientAuth"


def kubeconfig(server, ca, user):
    """The text of one (JSON is YAML): ca is the path of a certificate, user what stands below "user"."""
    return json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]}, indent=1)


class Authority:
    """A certificate authority in a directory of its own, and what it signed: NAME.crt and NAME.key."""

    def __init__(self, top):
        self.top = top
        os.mkdir(top, 0o700)
        self.make_key("ca")
        run("openssl", "req", "-x509", "-new", "-key", self.path("ca.key"), "-subj", "/CN=test-ca", "-days", DAYS,
            "-out", self.ca)

    @property
    def ca(self):
        return self.path("ca.crt")

    def path(self, name):
        return os.path.join(self.top, name)

    def make_key(self, name):
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.path(f"{name}.key"))
        return self.path(f"{name}.key")

    def make_key_pair(self, name):
        """The paths of a private key and of its public half."""
        private, public = self.make_key(name), self.path(f"{name}.pub")
        run("openssl", "ec", "-in", private, "-pubout", "-out", public)
        return private, public

    def sign(self, name, subject, extensions):
        """Makes NAME.key and NAME.crt; their paths, certificate first."""
        self.make_key(name)
        certificate, key, request, lines = (self.path(f"{name}.{end}") for end in ("crt", "key", "csr", "ext"))
        with open(lines, "w", encoding="ascii") as f:
            f.write(extensions + "\n")
        run("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
        run("openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.path("ca.key"),
            "-CAcreateserial", "-days", DAYS, "-extfile", lines, "-out", certificate)
        return certificate, key

    def sign_server(self, name, subject, addresses=(), names=()):
        alternatives = [f"IP:{a}" for a in addresses] + [f"DNS:{n}" for n in names]
        return self.sign(name, subject, f"extendedKeyUsage=serverAuth\nsubjectAltName={','.join(alternatives)}")

    def sign_client(self, name, subject):
        return self.sign(name, subject, CLIENT)

    def client_kubeconfig(self, path, server, name, subject):
        """Writes the kubeconfig of a client that proves itself by a certificate; its path."""
        certificate, key = self.sign_client(name, subject)
        with open(path, "w", encoding="ascii") as f:
            f.write(kubeconfig(server, self.ca, {"client-certificate": certificate, "client-key": key}))
        return path
