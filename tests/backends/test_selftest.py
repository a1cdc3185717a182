# SPDX-License-Identifier: Apache-2.0
"""The backends themselves, without clovisor: what OpenTelemetry's own SDK sends is found again."""

import http.server
import os
import subprocess
import tempfile
import threading
import time
import unittest

import backends

ATTRIBUTES = {"http.request.method": "GET", "http.response.status_code": 200}


def send(protocol, address, service):
    script = os.path.join(backends.HERE, "send_span.py")
    done = subprocess.run([backends.venv_python(), script, protocol, address, service], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


class Selftest(unittest.TestCase):
    def setUp(self):
        self.top = self.enterContext(tempfile.TemporaryDirectory(prefix="clvt-"))

    def check(self, span, trace_id, service):
        self.assertEqual((span["trace_id"], span["name"], span["kind"]), (trace_id, "GET", "SERVER"))
        self.assertEqual(span["resource"]["service.name"], service)
        self.assertEqual({k: span["attributes"].get(k) for k in ATTRIBUTES}, ATTRIBUTES)

    def test_collector(self):
        with backends.Collector(self.top) as collector:
            sent = {s: send(p, a, s) for p, a, s in (("grpc", collector.grpc, "one"), ("http", collector.http, "two"))}
            collector.wait_spans(2)
            found = {s["resource"]["service.name"]: s for s in collector.spans()}
        self.assertEqual(found.keys(), sent.keys())
        for service, span in found.items():
            self.check(span, sent[service], service)

    def test_collector_keeps_what_it_took_over_a_restart(self):
        with backends.Collector(self.top) as collector:
            send("http", collector.http, "before")
            collector.stop()
            collector.start()
            send("http", collector.http, "after")
        self.assertEqual([s["resource"]["service.name"] for s in collector.spans()], ["before", "after"])

    def test_jaeger(self):
        begin = time.time()
        with backends.Jaeger(self.top) as jaeger:
            for protocol, address in (("grpc", jaeger.grpc), ("http", jaeger.http)):
                with self.subTest(protocol):
                    trace_id = send(protocol, address, protocol)
                    backends.wait_for("the trace", lambda: jaeger.trace(trace_id))
                    self.check(*jaeger.trace(trace_id), trace_id, protocol)
                    traces = jaeger.traces(protocol, begin - 1, time.time() + 1)
                    self.assertEqual(list(traces), [trace_id])
                    self.check(*traces[trace_id], trace_id, protocol)
            self.assertEqual(jaeger.services(), ["grpc", "http"])
            self.assertEqual(jaeger.traces("nobody", begin, time.time()), {})
            self.assertEqual(jaeger.trace("00112233445566778899aabbccddeeff"), [])

    def test_prometheus(self):
        class Metrics(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(b"# TYPE selftest_total counter\nselftest_total{colour=\"red\"} 42\n")

            def log_message(self, *_):
                pass

        begin = time.time()
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                with backends.Prometheus(self.top, [f"127.0.0.1:{server.server_port}"]) as prometheus:
                    prometheus.wait_value('selftest_total{colour="red"}', 42)
                    self.assertTrue(prometheus.query_range("selftest_total", begin, time.time() + 5))
                    with self.assertRaises(RuntimeError):
                        prometheus.query("sum(")
            finally:
                server.shutdown()
                thread.join()

    def test_nothing_is_left_after_a_failed_start(self):
        with backends.Collector(self.top) as first:
            second = backends.Collector(self.top)
            second.config = second.write("wrong.yaml", "receivers: [nonsense\n")
            with self.assertRaisesRegex(RuntimeError, "otelcol ended"):
                second.start()
            self.assertIsNone(second.process)
            process = first.process
        self.assertIsNotNone(process.poll())
