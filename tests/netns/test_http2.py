# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 in clear text: nghttpd and nginx, h2load, nghttp and curl."""

import collections
import os
import shutil
import subprocess
import unittest

import lab
from lab import attr, target

TOOLS = ("nghttpd", "nghttpx", "h2load", "nghttp")
FILES = 40
CONNECTIONS, STREAMS = 10, 100
# Ends the server that it is put into, and begins one of its own.
NGINX_HTTP2 = """
    }
    server {
        listen 81 http2;
        location /ok/ { return 200 "ok"; }
        location /missing/ { return 404 "nothing"; }
        location /broken/ { return 503 "broken"; }
        location /empty/ { return 204; }
        location /put/ { client_body_buffer_size 32m; proxy_pass http://127.0.0.1:80/ok/; }
"""


def size_of(path):
    """The bytes of nghttpd's file, each its own, so that a wrong pair shows."""
    return 100 + 37 * int(path.rsplit("/", 1)[1])


@unittest.skipUnless(all(shutil.which(t) for t in TOOLS), "no nghttp2")
class Http2(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(lab.Lab())
        cls.web, cls.user = cls.lab.pod("web"), cls.lab.pod("user")
        cls.www = cls.lab.dir("www")
        for kind in ("early", "late"):
            os.mkdir(os.path.join(cls.www, kind))
            for i in range(FILES):
                with open(os.path.join(cls.www, kind, str(i)), "wb") as f:
                    f.write(b"x" * size_of(f"{kind}/{i}"))
        with open(os.path.join(cls.www, "large"), "wb") as f:
            f.write(b"y" * 3_000_000)
        os.chmod(cls.lab.top, 0o755)
        cls.web.spawn("nghttpd", "--no-tls", "-n", "2", "-m", "200", "-d", cls.www, "8080", stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL)
        cls.web.nginx(NGINX_HTTP2)
        # It takes the upgrade that curl offers; nghttpd and nginx do not.
        cls.web.spawn("nghttpx", "--conf=/dev/null", "-f*,8082;no-tls", "-b127.0.0.1,80", "--workers=1",
                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for port in (8080, 8082, 81):
            lab.wait_for(f"port {port} answers", lambda p=port: cls.web.try_connect(p))

    def base(self, port=8080):
        return f"http://{self.web.ip}:{port}"

    def load_command(self, kind, *args):
        uris = self.lab.path(f"uris-{kind}")
        with open(uris, "w", encoding="ascii") as f:
            for i in range(FILES):
                f.write(f"{self.base()}/{kind}/{i}\n")
            f.write(f"{self.base()}/{kind}/none\n")
        return ["h2load", "-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1", "-i", uris, *args]

    def check(self, span):
        """All that is said of a request of h2load is true."""
        path, status = attr(span, "url.path"), attr(span, "http.response.status_code")
        self.assertIn(attr(span, "http.request.method"), ("GET", None))
        self.assertEqual(attr(span, "network.protocol.version"), "2")
        if path is None:
            self.assertTrue(attr(span, "clovisor.midstream"), span)
            return
        kind, name = path[1:].split("/")
        self.assertIn(kind, ("early", "late"))
        self.assertIn(status, (None, 404 if name == "none" else 200), span)
        size = attr(span, "http.response.body.size")
        if size is not None and name != "none":
            self.assertEqual(size, size_of(path), span)

    def test_hundred_streams_on_each_of_ten_connections(self):
        count = 41 * 200
        t = self.lab.trace("-i", self.web.veth, "-i", self.user.veth)
        out = self.user.run(*self.load_command("early", "-n", str(count)))
        self.assertIn(f"{count} done", out)
        t.wait_spans(2 * count, 60)
        t.stop()
        for kind in ("SERVER", "CLIENT"):
            spans = [s for s in t.spans if s["kind"] == kind]
            self.assertEqual(len(spans), count)
            paths = collections.Counter(attr(s, "url.path") for s in spans)
            self.assertEqual(len(paths), FILES + 1)
            self.assertEqual(set(paths.values()), {200})
            for span in spans:
                self.check(span)
                self.assertIsNotNone(attr(span, "http.response.status_code"))
                self.assertIsNone(attr(span, "clovisor.midstream"))
                self.assertIsNone(attr(span, "clovisor.gap"))
        servers = {s["parent_span_id"] for s in t.spans if s["kind"] == "SERVER"}
        self.assertEqual(servers, {s["span_id"] for s in t.spans if s["kind"] == "CLIENT"})

    def test_joined_in_the_middle_of_a_run(self):
        early = self.user.spawn(*self.load_command("early", "-D", "60"), stdout=subprocess.DEVNULL)
        lab.wait_for("requests are made", lambda: "ESTAB" in self.user.run("ss", "-Htn", "dport", "=", "8080"))
        t = self.lab.trace("-i", self.web.veth)
        t.wait_spans(1000)
        late = 41 * 100
        self.user.run(*self.load_command("late", "-n", str(late)))
        early.terminate()
        early.wait(timeout=60)
        lab.wait_for("all requests of later connections", lambda: sum(b'"/late/' in line for line in t.lines()) >= late,
                     30)
        t.stop()
        for span in t.spans:
            self.check(span)
        later = [s for s in t.spans if attr(s, "url.path", "").startswith("/late/")]
        self.assertEqual(len(later), late)
        for span in later:
            self.assertIsNotNone(attr(span, "http.response.status_code"))
        named = [s for s in t.spans if attr(s, "url.path", "").startswith("/early/")]
        self.assertTrue(named)
        self.assertTrue(any(attr(s, "clovisor.midstream") for s in t.spans))

    def test_nothing_wrong_under_loss(self):
        count = 41 * 50
        t = self.lab.trace("-i", self.web.veth)
        with self.web.loss(1):
            self.user.run(*self.load_command("early", "-n", str(count)))
        t.wait_spans(count // 2)
        t.stop()
        for span in t.spans:
            self.check(span)
        answered = sum(attr(s, "http.response.status_code") is not None for s in t.spans)
        self.assertGreater(answered, count // 2)

    def test_curl_by_prior_knowledge_and_by_upgrade(self):
        t = self.lab.trace("-i", self.web.veth)
        for how, port in (("--http2-prior-knowledge", 8080), ("--http2", 8082)):
            place = "early" if port == 8080 else "ok"
            self.user.curl(how, f"{self.base(port)}/{place}/7?{how}", "-o", "/dev/null")
            self.user.curl(how, "-d", "some body", f"{self.base(port)}/{place}/9?{how}", "-o", "/dev/null")
        self.user.run("nghttp", "-u", f"{self.base(8082)}/ok/1?nghttp", f"{self.base(8082)}/ok/2?nghttp")
        t.wait_spans(6)
        t.stop()
        self.assertEqual(sorted(target(s) for s in t.spans),
                         ["/early/7?--http2-prior-knowledge", "/early/9?--http2-prior-knowledge", "/ok/1?nghttp",
                          "/ok/2?nghttp", "/ok/7?--http2", "/ok/9?--http2"])
        for span in t.spans:
            self.assertEqual(attr(span, "http.response.status_code"), 200, span)
            if "/early/" in target(span):
                self.assertEqual(attr(span, "http.response.body.size"), size_of(attr(span, "url.path")))
            if "/9?" in target(span):
                self.assertEqual(attr(span, "http.request.body.size"), 9)
        versions = collections.Counter(attr(s, "network.protocol.version") for s in t.spans)
        self.assertEqual(versions["2"], 3)

    def test_large_bodies_pushes_and_trailers(self):
        t = self.lab.trace("-i", self.web.veth)
        self.user.run("nghttp", "-n", f"{self.base()}/large", f"{self.base()}/early/1", f"{self.base()}/large?2")
        self.user.run("nghttp", "-n", "--trailer", "check: 1", "-d", os.path.join(self.www, "large"),
                      f"{self.base()}/early/2")
        t.wait_spans(4)
        t.stop()
        sizes = {target(s): (attr(s, "http.request.body.size"), attr(s, "http.response.body.size")) for s in t.spans}
        self.assertEqual(sizes, {"/large": (0, 3_000_000), "/large?2": (0, 3_000_000), "/early/1": (0, 137),
                                 "/early/2": (3_000_000, 174)})

    def test_nginx(self):
        t = self.lab.trace("-i", self.web.veth)
        for path in ("/ok/1", "/missing/2", "/broken/3", "/empty/4"):
            self.user.curl("--http2-prior-knowledge", f"{self.base(81)}{path}", "-o", "/dev/null")
        self.user.curl("--http2-prior-knowledge", "-T", os.path.join(self.www, "large"), f"{self.base(81)}/put/5", "-o",
                       "/dev/null")
        t.wait_spans(5)
        t.stop()
        self.assertEqual(sorted(lab.brief(s) for s in t.spans),
                         [("GET", "/broken/3", 503), ("GET", "/empty/4", 204), ("GET", "/missing/2", 404),
                          ("GET", "/ok/1", 200), ("PUT", "/put/5", 200)])
        (put,) = [s for s in t.spans if target(s) == "/put/5"]
        self.assertEqual(attr(put, "http.request.body.size"), 3_000_000)


if __name__ == "__main__":
    unittest.main()
