# SPDX-License-Identifier: Apache-2.0
"""Connection records of traffic that no parser wants: --flows."""

import os
import subprocess
import unittest

import lab

# One connection that speaks nothing known: COUNT blocks of 1000 bytes up, as many down, then FIN.
TALK = """
import socket, sys
size = int(sys.argv[2])
if sys.argv[1] == "serve":
    s = socket.create_server(("0.0.0.0", 9)); c, _ = s.accept()
    data = b""
    while len(data) < size: data += c.recv(65536)
    c.sendall(b"\\x00\\x01\\x02\\x03" * (size // 4)); c.close()
else:
    c = socket.create_connection((sys.argv[3], 9)); c.sendall(b"\\xf0\\xf1\\xf2\\xf3" * (size // 4))
    while c.recv(65536): pass
"""
SIZE = 400_000


class Flows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")

    def listening(self, port):
        lab.wait_for(f"somebody listens at {port}", lambda: f":{port} ".encode() in subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.web.ns}", "ss", "-ltn"], stdout=subprocess.PIPE, check=True).stdout)

    def record(self, t, port):
        records = [x["connection"] for x in t.spans if "connection" in x]
        found = [r for r in records if r["attributes"]["server.port"] == port]
        self.assertEqual(len(found), 1, records)
        self.assertEqual(found[0]["end"], "closed")
        return found[0]["attributes"]

    def test_bytes_that_nobody_knows(self):
        server = self.web.spawn("python3", "-c", TALK, "serve", str(SIZE))
        self.listening(9)
        t = self.lab.trace("-i", self.web.veth, "--flows")
        self.user.run("python3", "-c", TALK, "call", str(SIZE), self.web.ip)
        server.wait()
        t.wait_spans(1)
        t.stop()
        a = self.record(t, 9)
        self.assertEqual(a["clovisor.connection.bytes.to_server"], SIZE)
        self.assertEqual(a["clovisor.connection.bytes.to_client"], SIZE)
        self.assertGreater(a["clovisor.connection.packets.to_server"], 5)
        self.assertEqual(a["client.address"], self.user.ip)
        self.assertEqual(t.summary["spans"], 0)
        self.assertEqual(t.summary["flow_records"], 1)

    def test_tls_says_whom_it_is_for(self):
        top = self.lab.dir("tls")
        key, cert = os.path.join(top, "key"), os.path.join(top, "cert")
        lab.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "1", "-subj", "/CN=shop.example", "-keyout", key, "-out", cert)
        server = self.web.spawn("openssl", "s_server", "-accept", "443", "-key", key, "-cert", cert, "-www", "-alpn",
                                "http/1.1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.listening(443)
        t = self.lab.trace("-i", self.web.veth, "--flows")
        self.user.curl("-k", "-o", "/dev/null", "--resolve", f"shop.example:443:{self.web.ip}", "https://shop.example/")
        t.wait_spans(1)
        t.stop()
        server.kill()
        a = self.record(t, 443)
        self.assertEqual(a["network.protocol.name"], "tls")
        self.assertEqual(a["server.address"], "shop.example")
        self.assertIn("http/1.1", str(a))


if __name__ == "__main__":
    unittest.main()
