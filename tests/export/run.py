#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The exporter against collectors that fail, and its spool against SIGKILL.

usage: tests/export/run.py [--build DIR] [--rounds N] [NAME...]

In each test the ids that the collector got, those counted as dropped and those that wait must be the spans fed.
Ends with "N passed, N failed, N skipped".
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True
import runner  # noqa: E402
from fake_collector import Grpc, Http, close, never, ok, partial, raw, status  # noqa: E402
from runner import Skip  # noqa: E402

DROPS = ("drop_export_queue_full", "drop_export_budget", "drop_export_refused", "drop_export_damaged",
         "drop_export_closed", "export_rejected")
FEED = None
TMP = None
ROUNDS = 100
PATIENCE = 60


class Fed:
    """One run of the program that feeds."""

    def __init__(self, *argv, env=None):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_") and "proxy" not in k.lower()}
        self.env.update({"OTEL_BSP_SCHEDULE_DELAY": "50", **(env or {})})
        self.argv = [FEED, *map(str, argv)]
        self.said = tempfile.TemporaryFile("w+", dir=TMP, encoding="utf-8", errors="replace")
        self.child = subprocess.Popen(self.argv, env=self.env, stdout=subprocess.PIPE, stderr=self.said, text=True)

    def read_log(self):
        """What it has said so far. It writes where the file's position is, which is left alone."""
        return os.pread(self.said.fileno(), 1 << 24, 0).decode(errors="replace")

    def wait_log(self, text):
        wait_for(lambda: text in self.read_log(), f"{text!r} in {self.read_log()!r:.300}")

    def end(self, status=0):
        out, _ = self.child.communicate(timeout=PATIENCE)
        self.log = self.read_log()
        self.said.close()
        assert self.child.returncode == status, f"exit status {self.child.returncode}: {self.log}"
        self.figures = json.loads(out.splitlines()[-1]) if out else {}
        return self

    def __getattr__(self, name):
        if name == "figures":
            raise AttributeError(name)
        return self.figures[name]

    def dropped(self):
        return sum(self.figures[d] for d in DROPS)

    def balance(self):
        left = self.export_queued + self.export_recovered
        right = self.export_sent + self.dropped() + self.export_waiting
        assert left == right, f"{left} spans in, {right} accounted for: {self.figures}"


def feed(*argv, env=None):
    return Fed(*argv, env=env).end()


def same(a, b, what=""):
    if a != b:
        raise AssertionError(f"{what}: {a!r:.500}, expected {b!r:.500}")


def all_arrived(c, f, n, twice=0):
    """Every span once; `twice`: at most so many a second time."""
    f.balance()
    missing = [i for i in range(1, n + 1) if i not in c.got]
    assert not missing, f"{len(missing)} ids did not arrive, the first {missing[:5]}: {f.figures}"
    same(len(c.got), n, "ids")
    same(f.export_sent, n, "export_sent")
    again = sum(v - 1 for v in c.got.values())
    assert again <= twice, f"{again} spans delivered twice"


def lines(f, *texts):
    """So many lines in the log, each with its text."""
    found = [line for line in f.log.splitlines() if line]
    same(len(found), len(texts), f"lines of the log {found}")
    for line, text in zip(found, texts):
        assert text in line, f"{text!r} is not in {line!r}"


# ---- what should work --------------------------------------------------------------------------------------


def test_plain():
    with Http() as c:
        f = feed("--otlp", c.url, "--spans", 5000, "--resources", 5)
        all_arrived(c, f, 5000)
        lines(f)
        path, headers, _ = c.seen[0]
        same(path, "/v1/traces")
        same(headers["Content-Type"], "application/x-protobuf")
        assert headers["User-Agent"].startswith("clovisor/")
        assert max(c.sizes) <= 512, c.sizes
        same(max(c.groups), 5, "resources in a request")
        assert len(c.sizes) < 60, f"{len(c.sizes)} requests"


def test_many_resources():
    with Http() as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 5000, "--resources", 700), 5000)


def test_several_threads():
    """Each brings parcels, with resources of their own; more of these than the exporter knows at a time."""
    with Http() as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 20000, "--resources", 700, "--threads", 4, "--wait"), 20000)


def test_several_threads_flood():
    """Parcels that find no room are counted span by span; those behind them do without their resources."""
    with Http() as c:
        f = feed("--otlp", c.url, "--spans", 400000, "--resources", 40, "--threads", 4, "--until-sent")
        f.balance()
        same(len(c.got), f.export_sent)
        same(f.export_queued, 400000)
        same(f.export_sent + f.drop_export_queue_full + f.drop_export_budget, 400000)


def test_gzip_and_headers():
    with Http() as c:
        f = feed("--otlp", c.url + "/base/", env={"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
                                                  "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,Authorization=Bearer%20t"})
        all_arrived(c, f, 1000)
        path, headers, _ = c.seen[0]
        same(path, "/base/v1/traces")
        same(headers["Content-Encoding"], "gzip")
        same(headers["x-key"], "a b")
        same(headers["Authorization"], "Bearer t")


def test_json():
    with Http(ok(b'{"partialSuccess":{"rejectedSpans":"7","errorMessage":"seven"}}', content="application/json")) as c:
        f = feed("--otlp", c.url, "--json", "--spans", 300)
        f.balance()
        same(f.export_rejected, 7)
        same(c.seen[0][1]["Content-Type"], "application/json")
        lines(f, "rejected 7: seven")


def test_environment():
    with Http() as c:
        f = feed(env={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.url + "/as/is",
                      "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"})
        all_arrived(c, f, 1000)
        same(c.seen[0][0], "/as/is")


def test_metrics():
    with Http() as c:
        f = feed("--otlp", c.url, "--metrics", "--linger-ms", 300, env={"OTEL_METRIC_EXPORT_INTERVAL": "50"})
        all_arrived(c, f, 1000)
        assert c.metrics >= 2, c.metrics
        same(f.drop_export_metrics, 0)


def test_newer_metrics_take_the_place_of_older_ones():
    f = feed("--otlp", "http://127.0.0.1:9", "--spans", 0, "--metrics", "--linger-ms", 500, "--flush-ms", 0,
             env={"OTEL_METRIC_EXPORT_INTERVAL": "20"})
    f.balance()
    assert f.drop_export_metrics > 3, f.figures
    lines(f, "cannot send metrics")


def test_queue_size_bounds_spans():
    f = feed("--otlp", "http://127.0.0.1:9", "--spans", 5000, "--rate", 20000, "--linger-ms", 100, "--flush-ms", 0,
             env={"OTEL_BSP_MAX_QUEUE_SIZE": "1000"})
    f.balance()
    assert f.drop_export_budget > 1000, f.figures


# ---- collectors that fail ------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def test_down_at_start():
    port = free_port()
    f = Fed("--otlp", f"http://127.0.0.1:{port}", "--spans", 10000, "--until-sent")
    f.wait_log("Couldn't connect")
    with Http(port=port) as c:
        all_arrived(c, f.end(), 10000)
        lines(f, "Couldn't connect", "takes spans again")


def test_dies_in_the_middle_and_comes_back():
    with Http(cut=True, slow=(10000, 0.001)) as c:
        f = feed("--otlp", c.url, "--spans", 3000, "--until-sent")
        all_arrived(c, f, 3000)
        assert f.export_retries >= 1


def test_goes_and_comes_back():
    with Http() as c:
        f = Fed("--otlp", c.url, "--spans", 4000, "--rate", 4000, "--until-sent")
        wait_for(lambda: c.requests >= 2, "requests")
    time.sleep(0.2)
    with Http(port=c.port, counter=c.counter):
        all_arrived(c, f.end(), 4000, twice=4 * 512)


def test_retryable_statuses():
    for code in (429, 502, 503, 504):
        with Http(status(code), ok()) as c:
            f = feed("--otlp", c.url, "--spans", 500)
            all_arrived(c, f, 500)
            same(f.export_retries, 1)
            lines(f, f"HTTP {code}", "takes spans again")


def test_retry_after():
    for seconds, date in ((2, False), (3, True)):
        after, least = str(seconds), seconds
        if date:  # whole seconds: up to one is lost
            after, least = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + seconds)), seconds - 1.1
        with Http(status(503, Retry_After=after), ok()) as c:
            all_arrived(c, feed("--otlp", c.url, "--spans", 500), 500)
            waited = c.seen[1][2] - c.seen[0][2]
            assert waited >= least, f"Retry-After: {after}, but it came after {waited:.1f} s"


def test_backoff_grows():
    with Http(status(503), status(503), status(503), ok()) as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 500, "--until-sent"), 500)
        times = [t for _, _, t in c.seen]
        for gap, least in zip((b - a for a, b in zip(times, times[1:])), (0.8, 1.2, 1.8)):
            assert gap >= least, f"{gap:.2f} s instead of {least} s and more: {times}"


def test_flood():
    """More than the queue takes."""
    with Http() as c:
        f = feed("--otlp", c.url, "--spans", 300000, "--until-sent")
        f.balance()
        same(len(c.got), f.export_sent)
        same(f.export_sent + f.drop_export_queue_full + f.drop_export_budget, 300000)


def test_other_statuses_are_final():
    hints = {400: "port of OTLP", 401: "HEADERS", 404: "is the path right", 413: "", 500: "", 301: ""}
    for code, hint in hints.items():
        with Http(status(code, b"no\x1b[31m"), ok()) as c:
            f = feed("--otlp", c.url, "--spans", 500)
            f.balance()
            same(f.drop_export_refused + len(c.got), 500)
            same(f.export_retries, 0)
            same(f.drop_export_refused, 500)
            lines(f, f"HTTP {code}: no?[31m")
            assert hint in f.log, f.log


def test_partial_success_is_final():
    with Http(ok(partial(100, "too\x07 old"))) as c:
        f = feed("--otlp", c.url, "--spans", 512)
        f.balance()
        same((f.export_sent, f.export_rejected, c.requests), (412, 100, 1))
        lines(f, "rejected 100: too? old")


def test_closes_without_answer():
    with Http(close(take=True), close(), ok()) as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 500, "--until-sent"), 500, twice=500)


def test_answer_breaks_off():
    with Http(close(take=True, half=True), ok()) as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 500), 500)


def test_slow():
    with Http(slow=(4096, 0.002)) as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 3000, "--until-sent"), 3000)


def test_garbage_with_success():
    for body in (b"\xff" * 1000, b"<html>", os.urandom(5000)):
        with Http(ok(body)) as c:
            f = feed("--otlp", c.url, "--spans", 500)
            f.balance()
            same(f.export_sent + f.export_rejected, 500)
            same(len(c.got), 500)


def test_garbage_instead_of_http():
    with Http(raw(os.urandom(3000)), raw(b"\0" * 100), ok()) as c:
        all_arrived(c, feed("--otlp", c.url, "--spans", 500, "--until-sent"), 500)


def test_huge_answers():
    huge = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 30000000\r\n\r\n"
    huge += bytes(30000000)
    with Http(raw(huge, take=True), ok()) as c:
        f = feed("--otlp", c.url, "--spans", 500)
        all_arrived(c, f, 500)
        assert f.max_rss_kib < 40000, f.max_rss_kib
    with Http(raw(huge.replace(b"200 OK", b"500 No")), ok()) as c:
        f = feed("--otlp", c.url, "--spans", 500)
        f.balance()
        same(f.drop_export_refused, 500)


def test_endless_head():
    with Http(raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 5000000), ok()) as c:
        f = feed("--otlp", c.url, "--spans", 500, "--until-sent")
        f.balance()
        same(f.export_sent, 500)


def test_never_answers_at_the_end():
    with Http(never()) as c:
        begin = time.monotonic()
        f = feed("--otlp", c.url, "--spans", 3000, "--flush-ms", 1000)
        f.balance()
        assert time.monotonic() - begin < 8
        same((f.export_sent, f.drop_export_closed), (0, 3000))
        lines(f, "3000 spans are lost")


def test_never_answers_until_the_timeout():
    with Http(never(), ok()) as c:
        f = feed("--otlp", c.url, "--spans", 500, env={"OTEL_EXPORTER_OTLP_TIMEOUT": "300"})
        all_arrived(c, f, 500)
        assert f.export_retries >= 1  # the second answer may come too late as well


def test_name_that_nobody_resolves():
    """A resolver that hangs must not keep the figures from becoming final."""
    if not shutil.which("cc"):
        raise Skip("no compiler")
    slow = os.path.join(TMP, "slow.so")
    code = b"#include <unistd.h>\nint getaddrinfo(void)\n{\n\tsleep(20);\n\treturn -3;\n}\n"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", slow, "-"], input=code, check=True, capture_output=True)
    f = feed("--otlp", "http://nobody.invalid:4318", "--flush-ms", 100, env={"LD_PRELOAD": slow})
    f.balance()
    same((f.drop_export_closed, f.export_waiting), (1000, 0))


def test_budget():
    port = free_port()
    f = Fed("--otlp", f"http://127.0.0.1:{port}", "--spans", 20000, "--rate", 40000, "--memory", 1 << 20,
            "--until-sent")
    f.wait_log("the oldest are dropped")
    time.sleep(1)  # for all of them to be made
    with Http(port=port) as c:
        f.end()
        f.balance()
        assert f.drop_export_budget > 1000, f.figures
        same(len(c.got) + f.dropped(), 20000)
        assert 20000 in c.got, "the newest went instead of the oldest"
        assert "the oldest are dropped" in f.log, f.log


def test_full_memory_holds_up_a_file():
    """Also when spans are so large that a chunk has fewer than a request."""
    for more in ((), ("--bytes", 900)):
        port = free_port()
        f = Fed("--otlp", f"http://127.0.0.1:{port}", "--spans", 50000, "--memory", 1 << 20, "--wait", "--until-sent",
                *more)
        time.sleep(0.5)
        with Http(port=port) as c:
            all_arrived(c, f.end(), 50000)


# ---- TLS -----------------------------------------------------------------------------------------------------


def certificates():
    """A CA, a server's and a client's certificate, and another CA that signed neither."""
    d = os.path.join(TMP, "tls")
    if not shutil.which("openssl"):
        raise Skip("no openssl")
    if not os.path.exists(d):
        os.mkdir(d)

        def run(*argv):
            subprocess.run(["openssl", *argv], cwd=d, check=True, capture_output=True)

        for ca in ("ca", "other"):
            run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca + ".key", "-out", ca + ".crt", "-subj",
                "/CN=test " + ca, "-days", "2")
        with open(os.path.join(d, "ext"), "w", encoding="utf-8") as ext:
            ext.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for name in ("server", "client"):
            run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj",
                "/CN=" + name)
            run("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                name + ".crt", "-days", "2", "-extfile", "ext")
    return lambda name: os.path.join(d, name)


def test_tls():
    t = certificates()
    with Http(tls={"cert": t("server.crt"), "key": t("server.key")}) as c:
        all_arrived(c, feed("--otlp", c.url, env={"OTEL_EXPORTER_OTLP_CERTIFICATE": t("ca.crt")}), 1000)


def test_tls_of_a_stranger():
    t = certificates()
    with Http(tls={"cert": t("server.crt"), "key": t("server.key")}) as c:
        f = feed("--otlp", c.url, "--flush-ms", 500, env={"OTEL_EXPORTER_OTLP_CERTIFICATE": t("other.crt")})
        f.balance()
        same((f.drop_export_closed, len(c.got)), (1000, 0))
        assert "OTEL_EXPORTER_OTLP_CERTIFICATE names the CA" in f.log, f.log


def test_tls_client_certificate():
    t = certificates()
    with Http(tls={"cert": t("server.crt"), "key": t("server.key"), "client_ca": t("ca.crt")}) as c:
        env = {"OTEL_EXPORTER_OTLP_CERTIFICATE": t("ca.crt")}
        f = feed("--otlp", c.url, "--flush-ms", 500, env=env)
        f.balance()
        same((f.drop_export_closed, len(c.got)), (1000, 0))
        env.update({"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": t("client.crt"),
                    "OTEL_EXPORTER_OTLP_CLIENT_KEY": t("client.key")})
        all_arrived(c, feed("--otlp", c.url, env=env), 1000)


# ---- gRPC ----------------------------------------------------------------------------------------------------


def grpc():
    try:
        import grpc as module
    except ImportError:
        raise Skip("no grpcio (tests/venv)") from None
    return module


def test_grpc():
    grpc()
    for compression in ("none", "gzip"):
        with Grpc() as c:
            f = feed("--otlp", c.url, "--spans", 5000, "--metrics", env={"OTEL_EXPORTER_OTLP_COMPRESSION": compression,
                                                                         "OTEL_EXPORTER_OTLP_HEADERS": "x-key=k"})
            all_arrived(c, f, 5000)
            metadata, left = c.seen[0]
            same(metadata["x-key"], "k")
            assert 0 < left <= 10, left
            same(c.metrics, 1)
            lines(f)


def test_grpc_by_protocol_variable():
    grpc()
    with Grpc() as c:
        all_arrived(c, feed(env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{c.port}",
                                 "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}), 1000)


def test_grpc_tls():
    grpc()
    t = certificates()
    with Grpc(tls={"cert": t("server.crt"), "key": t("server.key")}) as c:
        all_arrived(c, feed("--otlp", c.url, env={"OTEL_EXPORTER_OTLP_CERTIFICATE": t("ca.crt")}), 1000)


def test_grpc_retryable():
    grpc()
    for name in ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"):
        with Grpc(Grpc.status(name), Grpc.ok()) as c:
            f = feed("--otlp", c.url, "--spans", 500)
            all_arrived(c, f, 500)
            same(f.export_retries, 1)
            assert f"gRPC {name}: as told" in f.log, f.log


def test_grpc_retry_info():
    grpc()
    with Grpc(Grpc.status("RESOURCE_EXHAUSTED", retry_seconds=2), Grpc.ok()) as c:
        f = feed("--otlp", c.url, "--spans", 500)
        all_arrived(c, f, 500)
        same(f.export_retries, 1)
    with Grpc(Grpc.status("RESOURCE_EXHAUSTED"), Grpc.ok()) as c:
        f = feed("--otlp", c.url, "--spans", 500)
        f.balance()
        same((f.drop_export_refused, f.export_retries), (500, 0))


def test_grpc_final():
    grpc()
    for name in ("INVALID_ARGUMENT", "UNKNOWN", "INTERNAL", "UNIMPLEMENTED", "PERMISSION_DENIED", "UNAUTHENTICATED"):
        with Grpc(Grpc.status(name), Grpc.ok()) as c:
            f = feed("--otlp", c.url, "--spans", 500)
            f.balance()
            same((f.drop_export_refused, f.export_retries), (500, 0))


def test_grpc_partial_success():
    grpc()
    with Grpc(Grpc.ok(partial(3, "three"))) as c:
        f = feed("--otlp", c.url, "--spans", 500)
        f.balance()
        same((f.export_sent, f.export_rejected), (497, 3))
        lines(f, "rejected 3: three")


def test_wrong_protocol():
    grpc()
    with Http() as c:
        f = feed("--otlp", f"grpc://127.0.0.1:{c.port}", "--spans", 500, "--flush-ms", 500)
        f.balance()
        same(f.export_sent, 0)
        assert "4317" in f.log, f.log
    with Grpc() as c:
        f = feed("--otlp", f"http://127.0.0.1:{c.port}", "--spans", 500, "--flush-ms", 500)
        f.balance()
        same(f.export_sent, 0)
        assert "grpc://" in f.log, f.log


# ---- the spool -------------------------------------------------------------------------------------------------


def directory():
    return tempfile.mkdtemp(dir=TMP)


def segments(d):
    return sorted(n for n in os.listdir(d) if n != "lock")


def test_spool_survives_a_run():
    d = directory() + "/spool"
    f = feed("--otlp", "http://127.0.0.1:9", "--spans", 3000, "--spool", d)
    f.balance()
    same((f.export_waiting, f.dropped()), (3000, 0))
    assert f"3000 spans remain in {d}" in f.log, f.log
    same(os.stat(d).st_mode & 0o777, 0o700)
    for name in os.listdir(d):
        same(os.stat(os.path.join(d, name)).st_mode & 0o777, 0o600)
    with Http() as c:
        f = feed("--otlp", c.url, "--spans", 1000, "--first", 3001, "--spool", d)
        f.balance()
        same(f.export_recovered, 3000)
        all_arrived(c, f, 4000)
        same(c.sizes[0] and min(c.got), 1)
    same(segments(d), [])


def test_spool_resends_only_what_was_not_acknowledged():
    d = directory()
    with Http(ok(), ok(), never()) as c:
        f = feed("--otlp", c.url, "--spans", 3000, "--spool", d, "--flush-ms", 1000)
        f.balance()
        same(len(c.got), 3000 - f.export_waiting)
        assert f.export_waiting > 0
        first = set(c.got)
    with Http() as c:
        f = feed("--otlp", c.url, "--spans", 0, "--spool", d)
        f.balance()
        same(set(c.got) | first, set(range(1, 3001)))
        same(set(c.got) & first, set())


def test_spool_has_one_user():
    d = directory()
    with Http() as c:
        a = Fed("--otlp", c.url, "--spool", d, "--spans", 10, "--linger-ms", 3000)
        wait_for(lambda: os.path.exists(d + "/lock") and c.requests, "the spool")
        b = Fed("--otlp", c.url, "--spool", d)
        b.end(status=1)
        assert "another clovisor uses the spool" in b.log, b.log
        a.end()


def test_spool_budget():
    d = directory()
    f = feed("--otlp", "http://127.0.0.1:9", "--spans", 30000, "--rate", 60000, "--spool", d, "--spool-max", 1 << 20,
             "--flush-ms", 100)
    f.balance()
    assert f.drop_export_budget > 10000, f.figures
    size = sum(os.stat(os.path.join(d, n)).st_size for n in os.listdir(d))
    assert size <= 1 << 20, size
    with Http() as c:
        g = feed("--otlp", c.url, "--spans", 0, "--spool", d)
        g.balance()
        same(g.export_sent, f.export_waiting)
        assert 30000 in c.got


def test_full_spool_holds_up_a_file():
    d = directory()
    with Http(slow=(65536, 0.001)) as c:
        f = feed("--otlp", c.url, "--spans", 50000, "--bytes", 200, "--spool", d, "--spool-max", 2 << 20, "--wait",
                 "--until-sent")
        all_arrived(c, f, 50000)


def test_spool_disk_full():
    d = directory()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", d], capture_output=True, check=False)
    if mount.returncode:
        raise Skip("cannot mount a small tmpfs")
    try:
        port = free_port()
        f = Fed("--otlp", f"http://127.0.0.1:{port}", "--spans", 5000, "--spool", d, "--until-sent")
        f.wait_log("cannot write to the spool")
        with Http(port=port) as c:
            all_arrived(c, f.end(), 5000)
            assert "cannot write to the spool" in f.log, f.log
            assert 0 < f.export_spooled < 5000, f.figures
    finally:
        subprocess.run(["umount", "-l", d], check=False)


def test_spool_damage():
    """Whatever byte is damaged, or wherever it is cut: what is whole arrives, nothing else, and it is counted."""
    d = directory()
    f = feed("--otlp", "http://127.0.0.1:9", "--spans", 40, "--spool", d, "--bytes", 8,
             env={"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8"})
    same(f.export_waiting, 40)
    [name] = segments(d)
    path = os.path.join(d, name)
    with open(path, "rb") as s:
        whole = s.read()
    rng = random.Random(1)
    records = [i for i in range(0, len(whole), 8) if whole[i:i + 4] == b"CLVR"]
    assert len(records) > 3, records
    places = [records[0] + i for i in range(24)] + [rng.randrange(len(whole)) for _ in range(16)]
    for place in places:
        flipped = bytes([whole[place] ^ (1 << rng.randrange(8))])
        for data in (whole[:place] + flipped + whole[place + 1:], whole[:place]):
            for old in segments(d):
                os.unlink(os.path.join(d, old))
            with open(path, "wb") as s:
                s.write(data)
            with Http() as c:
                g = feed("--otlp", c.url, "--spans", 0, "--spool", d)
            g.balance()
            same(g.export_sent, len(c.got), "sent")
            if len(data) == len(whole):
                biggest = max(struct.unpack_from("<I", whole, r + 12)[0] for r in records)
                assert len(c.got) >= 40 - biggest, f"byte {place}: {len(c.got)} of 40"
            assert g.spool_damaged or len(c.got) == 40 or place in records, f"byte {place}: {g.figures}"
            assert all(v == 1 and 1 <= i <= 40 for i, v in c.got.items()), c.got


def torture_round(rng, d, c, first, n):
    """Feeds, kills; returns how many spans were said to be in the spool."""
    f = Fed("--otlp", c.url, "--spool", d, "--spans", n, "--first", first, "--rate", 20000, "--progress",
            "--linger-ms", 60000)
    said = 0
    timer = threading.Timer(rng.uniform(0.01, 0.3), f.child.send_signal, (signal.SIGKILL,))
    timer.start()
    for line in f.child.stdout:
        if line.startswith("spooled "):
            said = int(line.split()[1])
    f.child.wait()
    timer.cancel()
    f.said.close()
    f.child.stdout.close()
    return said


def test_spool_torture():
    """SIGKILL at any time: what was said to be spooled arrives; what arrives twice was on its way at a kill."""
    seed = int(os.environ.get("CLVT_SEED", random.randrange(1 << 30)))
    rng = random.Random(seed)
    d = directory()
    said = []
    with Http() as c:
        for i in range(ROUNDS):
            if i % 5 == 4:  # with the collector down
                down = type("Down", (), {"url": "http://127.0.0.1:9"})
                said.append((i * 10000, torture_round(rng, d, down, i * 10000, 5000)))
            else:
                said.append((i * 10000, torture_round(rng, d, c, i * 10000, 5000)))
        f = feed("--otlp", c.url, "--spans", 0, "--spool", d)
        f.balance()
        same(f.drop_export_damaged, 0)
        lost = [first + k for first, n in said for k in range(n) if first + k not in c.got]
        assert not lost, f"seed {seed}: lost {len(lost)} spans, the first {lost[:5]}"
        twice = sum(v - 1 for v in c.got.values())
        assert twice <= ROUNDS * 4 * 512, f"seed {seed}: {twice} delivered twice"
        worst = max(c.got.values())
        print(f"  {sum(n for _, n in said)} spans said to be spooled, {len(c.got)} arrived, {twice} of them twice, "
              f"at most {worst} times")
    same(segments(d), [])


def main():
    global FEED, TMP, ROUNDS
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    top = os.path.dirname(os.path.dirname(HERE))
    venv = subprocess.run([os.path.join(top, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
    if venv.returncode == 0 and os.path.realpath(sys.prefix) != os.path.realpath(os.path.dirname(os.path.dirname(
            venv.stdout.strip()))) and "CLVT_VENV" not in os.environ:
        os.environ["CLVT_VENV"] = "1"
        os.execv(venv.stdout.strip(), [venv.stdout.strip(), *sys.argv])
    FEED = os.path.abspath(os.path.join(options.build, "tests", "export", "feed"))
    ROUNDS = options.rounds
    TMP = tempfile.mkdtemp(prefix="clovisor-export-")
    try:
        return runner.functions(globals(), options.names)
    finally:
        shutil.rmtree(TMP, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
