#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Metrics as others read them: promtool, Prometheus's own parsers, and OTLP's messages. The numbers are those of
metrics_driver.c. Needs no root and no network but localhost.

usage: tests/export/test_metrics.py [TEST...]        ($BUILD: build)
"""

import gzip
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DRIVER = os.path.join(ROOT, os.environ.get("BUILD", "build"), "tests", "metrics_driver")
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_ASKS = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                   "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
SHOP = {"service_name": "shop", "k8s_pod_name": "shop-1", "otel_scope_name": "clovisor"}


class Skip(Exception):
    pass


def driver(what):
    return subprocess.run([DRIVER, what], stdout=subprocess.PIPE, check=True).stdout


def samples(families):
    return [s for f in families for s in f.samples]


def value(found, name, **labels):
    """Of the only sample with this name and, among others, these labels."""
    hits = [s for s in found if s.name == name and all(s.labels.get(k) == v for k, v in labels.items())]
    assert len(hits) == 1, (name, labels, hits)
    return hits[0].value


def check_numbers(found):
    total = sum(s.value for s in found if s.name == "http_server_request_duration_seconds_count")
    assert total == 10, total  # the one without an answer is not among them
    ok = dict(SHOP, http_response_status_code="200")
    assert value(found, "http_server_request_duration_seconds_bucket", le="0.025", **ok) == 2
    assert value(found, "http_server_request_duration_seconds_bucket", le="0.05", **ok) == 5
    assert value(found, "http_server_request_duration_seconds_bucket", le="+Inf", **ok) == 9
    assert abs(value(found, "http_server_request_duration_seconds_sum", **ok) - 0.45) < 1e-9
    assert value(found, "http_server_response_body_size_bytes_sum", **ok) == 9000
    assert value(found, "http_server_request_duration_seconds_count", error_type="500") == 1
    assert value(found, "clovisor_http_server_unpaired_total", http_request_method="GET") == 1
    client = dict(service_name="other", server_address='we"ird\\host\\x0a\\xff', server_port="80")
    assert value(found, "http_client_request_duration_seconds_count", **client) == 1
    assert value(found, "http_client_request_duration_seconds_bucket", le="10", **client) == 0
    assert value(found, "http_server_active_requests", http_request_method="_OTHER", **SHOP) == 1
    assert value(found, "rpc_server_call_duration_seconds_bucket", le="0.005", rpc_system_name="grpc", **SHOP) == 0
    call = dict(SHOP, rpc_system_name="grpc", rpc_method="shop.Cart/Add", rpc_response_status_code="OK")
    assert value(found, "rpc_server_call_duration_seconds_bucket", le="0.01", **call) == 1
    query = dict(SHOP, db_system_name="postgresql", db_query_summary="SELECT carts")
    assert value(found, "db_client_operation_duration_seconds_bucket", le="0.005", **query) == 0
    assert value(found, "db_client_operation_duration_seconds_bucket", le="0.01", **query) == 1
    assert value(found, "dns_lookup_duration_seconds_count", dns_question_name="db.example", **SHOP) == 1
    assert value(found, "clovisor_client_active_requests", network_protocol_name="redis", **SHOP) == 1
    assert value(found, "clovisor_udp_io_bytes_total", network_io_direction="receive", **SHOP) == 60
    assert value(found, "clovisor_udp_datagrams_total", network_io_direction="receive", **SHOP) == 1
    assert value(found, "clovisor_tcp_connections_opened_total", clovisor_tcp_role="server", **SHOP) == 1
    assert value(found, "clovisor_tcp_retransmits_total", **SHOP) == 2
    assert value(found, "clovisor_tcp_io_bytes_total", network_io_direction="transmit", **SHOP) == 500
    assert value(found, "clovisor_tcp_io_bytes_total", network_io_direction="receive", **SHOP) == 0
    assert abs(value(found, "clovisor_tcp_rtt_seconds_sum", **SHOP) - 0.002) < 1e-12
    assert value(found, "clovisor_dropped_total", clovisor_drop_reason="gaps") == 3
    assert value(found, "clovisor_dropped_total", clovisor_drop_reason="ring_full") == 4
    assert value(found, "clovisor_export_spans_total", clovisor_export_result="sent") == 7
    assert abs(value(found, "clovisor_engine_lag_seconds", service_name="clovisor") - 0.0015) < 1e-12
    assert value(found, "target_info", service_name="shop", k8s_pod_uid="1-2-3", k8s_pod_name="shop-1") == 1
    assert not any("path" in label for s in found for label in s.labels)


def test_promtool():
    if not shutil.which("promtool"):
        raise Skip("no promtool")
    done = subprocess.run(["promtool", "check", "metrics"], input=driver("text"), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0 and not done.stdout, done.stdout.decode()


def test_text():
    from prometheus_client.parser import text_string_to_metric_families
    check_numbers(samples(text_string_to_metric_families(driver("text").decode())))


def test_openmetrics():
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
    found = samples(text_string_to_metric_families(driver("openmetrics").decode()))
    check_numbers(found)
    buckets = {s.labels["le"]: s for s in found if s.name == "http_server_request_duration_seconds_bucket" and
               s.labels["http_response_status_code"] == "200"}
    hit = buckets["0.05"]
    assert hit.exemplar.labels == {"trace_id": "ab" * 16, "span_id": "cd" * 8}, hit.exemplar
    assert abs(hit.exemplar.value - 0.05) < 1e-12
    # 20 ms was measured last in its bucket, but its span was not kept.
    empty = buckets["0.025"]
    assert empty.exemplar is None


def test_otlp():
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    request = ExportMetricsServiceRequest()
    request.ParseFromString(driver("otlp"))
    metrics, services = {}, []
    for rm in request.resource_metrics:
        attributes = {a.key: a.value.string_value for a in rm.resource.attributes}
        services.append(attributes["service.name"])
        assert rm.schema_url == "https://opentelemetry.io/schemas/1.44.0"
        assert len(rm.scope_metrics) == 1 and rm.scope_metrics[0].scope.name == "clovisor"
        assert rm.scope_metrics[0].scope.version
        for m in rm.scope_metrics[0].metrics:
            assert (attributes["service.name"], m.name) not in metrics
            metrics[attributes["service.name"], m.name] = m
    assert sorted(services) == ["clovisor", "other", "shop"], services
    shop = [rm for rm in request.resource_metrics if rm.resource.attributes[0].value.string_value == "shop"][0]
    assert {a.key: a.value.string_value for a in shop.resource.attributes}['odd "key"'] == 'a\\b"c\\x0ad\\xff'

    duration = metrics["shop", "http.server.request.duration"]
    assert duration.unit == "s" and duration.histogram.aggregation_temporality == 2
    point = [p for p in duration.histogram.data_points if p.count == 9][0]
    assert list(point.explicit_bounds)[:3] == [0.005, 0.01, 0.025] and len(point.bucket_counts) == 15
    assert sum(point.bucket_counts) == 9 and abs(point.sum - 0.45) < 1e-9
    assert point.start_time_unix_nano == 1700000000000000000
    assert point.time_unix_nano == point.start_time_unix_nano + 1000000000
    labels = {a.key: a.value for a in point.attributes}
    assert labels["http.response.status_code"].int_value == 200
    assert labels["http.request.method"].string_value == "GET"
    exemplar = [x for x in point.exemplars if abs(x.as_double - 0.05) < 1e-12][0]
    assert exemplar.trace_id == b"\xab" * 16 and exemplar.span_id == b"\xcd" * 8
    assert exemplar.time_unix_nano == 1700000000050000000

    opened = metrics["shop", "clovisor.tcp.connections.opened"]
    assert opened.sum.is_monotonic and opened.sum.aggregation_temporality == 2
    assert opened.sum.data_points[0].as_int == 1
    active = metrics["shop", "http.server.active_requests"].sum
    assert not active.is_monotonic and active.aggregation_temporality == 2
    lag = metrics["clovisor", "clovisor.engine.lag"].gauge.data_points[0]
    assert abs(lag.as_double - 0.0015) < 1e-12


class Served:
    def __init__(self, address="localhost:0", *more):
        self.child = subprocess.Popen([DRIVER, "serve", address, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.child.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.communicate()
        assert self.child.returncode == 0

    def get(self, path, method="GET", host="localhost", **headers):
        request = urllib.request.Request(f"http://{host}:{self.port}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as r:
                return r.status, r.headers, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def raw(self, data):
        with socket.create_connection(("localhost", self.port), timeout=30) as s:
            s.sendall(data)
            return s.makefile("rb").read()


def test_negotiation():
    with Served() as s:
        for accept, wanted in ((PROMETHEUS_ASKS, OPENMETRICS), ("*/*", TEXT), ("text/plain", TEXT),
                               ("application/openmetrics-text;version=1.0.0;q=0.3,text/plain;q=0.5", TEXT),
                               ("application/openmetrics-text; version=0.0.1,text/plain;q=0.5", TEXT),
                               ("application/openmetrics-text", OPENMETRICS), ("image/png", TEXT)):
            status, headers, body = s.get("/metrics", Accept=accept)
            assert (status, headers["Content-Type"]) == (200, wanted), (accept, headers["Content-Type"])
            assert body.endswith(b"# EOF\n") == (wanted == OPENMETRICS)
        plain = s.get("/metrics")[2]
        _, headers, body = s.get("/metrics", **{"Accept-Encoding": "br, gzip"})
        assert headers["Content-Encoding"] == "gzip" and gzip.decompress(body) == plain
        assert s.get("/metrics", **{"Accept-Encoding": "gzip;q=0"})[1]["Content-Encoding"] is None
        status, headers, body = s.get("/metrics", method="HEAD")
        assert (status, int(headers["Content-Length"]), body) == (200, len(plain), b"")


def test_as_many_series_as_there_may_be():
    """The text is far larger than what the endpoint holds at once; both ways of sending it give the same."""
    with Served("localhost:0", "many") as s:
        _, headers, plain = s.get("/metrics")
        packed = s.get("/metrics", **{"Accept-Encoding": "gzip"})[2]
        assert len(plain) == int(headers["Content-Length"]) > 40e6
        assert gzip.decompress(packed) == plain
        assert plain.count(b"_count{") > 9900
        assert b'otel_metric_overflow="true"' in plain
        with open(f"/proc/{s.child.pid}/status", encoding="ascii") as f:
            peak_kib = int(f.read().split("VmHWM:")[1].split()[0])
        assert peak_kib * 1024 < len(plain), peak_kib


def test_paths_and_methods():
    with Served() as s:
        assert s.get("/healthz")[0] == 200
        assert s.get("/metrics?x=y")[0] == 200
        assert [s.get(p)[0] for p in ("/", "/metrics/", "/metricsx", "/healthz/..")] == [404] * 4
        status, headers, _ = s.get("/metrics", method="POST")
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert s.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert s.raw(b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert s.raw(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 8190).startswith(b"HTTP/1.1 431 ")
        assert b" 200 OK\r\n" in s.raw(b"GET /healthz HTTP/1.0\nAccept:\n\n")


def test_probes():
    with Served() as s:
        def ask(path, method="GET"):
            status, headers, body = s.get(path, method)
            assert headers["Content-Type"] == "text/plain; charset=utf-8"
            assert headers["Cache-Control"] == "no-store"
            return status, body.decode()

        def tell(line):
            s.child.stdin.write(line.encode() + b"\n")
            s.child.stdin.flush()
            assert s.child.stdout.readline() == b"told\n"

        assert ask("/healthz") == (200, "ok\n")
        assert ask("/readyz") == (503, "starting\n")
        tell("kubernetes waiting for the API server")
        tell("capture no interface attached yet")
        assert ask("/readyz") == (503, "no interface attached yet\nwaiting for the API server\n")
        assert ask("/readyz", "HEAD") == (503, "")
        assert ask("/healthz") == (200, "ok\n")
        tell("capture")
        assert ask("/readyz") == (503, "waiting for the API server\n")
        tell("kubernetes")
        assert ask("/readyz") == (200, "ok\n")
        assert ask("/readyz", "HEAD") == (200, "")
        tell("silent 100")
        silence = (503, "the engine has given no sign of life for 100 s\n")
        for path in ("/healthz", "/readyz"):
            status, text = ask(path)
            assert (status, re.sub(r"\d+", "100", text)) == silence
        tell("silent 0")
        assert ask("/healthz") == (200, "ok\n")
        tell("capture " + "x" * 1000)
        tell("kubernetes " + "y" * 1000)
        assert ask("/readyz") == (503, "x" * 511 + "\n" + "y" * 511 + "\n")
        assert s.get("/readyz", "POST")[0] == 405


def test_silent_clients_wait_their_turn():
    """More connections than are served at once: the endpoint stands, and serves whom it can once there is room."""
    with Served() as s:
        silent = [socket.create_connection(("localhost", s.port), timeout=30) for _ in range(40)]
        for c in silent:
            c.close()
        assert s.get("/healthz")[0] == 200
        # Those that stay are cut off one by one while others wait, long before the 10 s that they may have otherwise.
        silent = [socket.create_connection(("localhost", s.port), timeout=30) for _ in range(20)]
        with socket.create_connection(("localhost", s.port), timeout=8) as probe:
            probe.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert probe.recv(15) == b"HTTP/1.1 200 OK"
        for c in silent:
            c.close()


def test_addresses():
    with Served(":0") as s:
        assert s.get("/healthz", host="127.0.0.1")[0] == 200
        taken = subprocess.run([DRIVER, "serve", f"127.0.0.1:{s.port}"], stdin=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, check=False)
        assert taken.returncode == 1
        assert taken.stderr == f"cannot serve metrics on 127.0.0.1:{s.port}: Address already in use\n", taken.stderr
    for bad in ("localhost", ":99999", "::1:80", "localhost:", ":-1", ":+1", ":1x"):
        done = subprocess.run([DRIVER, "serve", bad], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              check=False)
        assert done.returncode == 1 and "is no [ADDR]:PORT" in done.stderr, (bad, done.stderr)


def environment():
    """Goes on in the environment of tests/venv. Where that cannot be made, what needs it is skipped."""
    try:
        import opentelemetry.proto  # noqa: F401
        import prometheus_client  # noqa: F401
        return
    except ImportError:
        if os.environ.get("IN_VENV"):
            return
    made = subprocess.run([os.path.join(ROOT, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode == 0:
        python = made.stdout.strip()
        os.execve(python, [python] + sys.argv, {**os.environ, "IN_VENV": "1"})


def main():
    environment()
    tests = {n: f for n, f in globals().items() if n.startswith("test_")}
    passed = failed = skipped = 0
    for name in sys.argv[1:] or tests:
        try:
            tests[name]()
            print(f"ok   {name}")
            passed += 1
        except (Skip, ImportError) as e:
            print(f"skip {name}: {e}")
            skipped += 1
        except Exception as e:  # pylint: disable=broad-except
            print(f"FAIL {name}: {type(e).__name__}: {e}")
            failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
