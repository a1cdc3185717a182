# SPDX-License-Identifier: Apache-2.0
"""Spans over OTLP: what real Jaeger shows of requests between two traced pods, and that a real Collector gets each
span once, with all that `--json` says of it."""

import collections
import time

import backends
import pods

REQUESTS = 1000
KEPT = 600  # of these over one connection, the others over one each


class Traces(pods.TwoPods):
    def check_jaeger(self, jaeger, url):
        begin = time.time() - 1
        tracer = self.trace("--otlp", url)
        self.ask(KEPT)
        self.ask(REQUESTS - KEPT, "/ok/", "-H", "Connection: close")
        tracer.wait_spans(2 * REQUESTS)
        traces = {}

        def all_there():
            traces.update(jaeger.traces("client", begin, time.time() + 1))
            return len(traces) >= REQUESTS and all(len(spans) >= 2 for spans in traces.values())

        backends.wait_for("all traces in Jaeger", all_there, 60)
        tracer.stop()
        self.assertEqual(jaeger.services(), ["client", "server"])
        self.assertEqual(len(traces), REQUESTS)
        paths = collections.Counter()
        for spans in traces.values():
            self.assertEqual(sorted(s["kind"] for s in spans), ["CLIENT", "SERVER"])
            client, server = sorted(spans, key=lambda s: s["kind"])
            self.assertNotIn("parent_span_id", client)
            self.assertEqual(server["parent_span_id"], client["span_id"])
            self.assertEqual([s["resource"]["service.name"] for s in (client, server)], ["client", "server"])
            self.assertEqual([s["attributes"]["http.response.status_code"] for s in (client, server)], [200, 200])
            paths[server["attributes"]["url.path"]] += 1
        # /ok/1 to /ok/400 were asked for twice, by the two curls.
        asked = [f"/ok/{i}" for n in (KEPT, REQUESTS - KEPT) for i in range(1, n + 1)]
        self.assertEqual(paths, collections.Counter(asked))

    def test_jaeger_over_http(self):
        jaeger = self.start(backends.Jaeger)
        self.check_jaeger(jaeger, f"http://{jaeger.http}")

    def test_jaeger_over_grpc(self):
        jaeger = self.start(backends.Jaeger)
        self.check_jaeger(jaeger, f"grpc://{jaeger.grpc}")

    def check_collector(self, *options, collector=None):
        """Every span that --json shows came over OTLP, once, and says the same."""
        tracer = self.trace(*options)
        self.ask(50)
        self.ask(20, "/ok/", "-H", "Connection: close", "-H", "X-Long: " + "y" * 5000)
        self.ask(5, "/missing/")
        self.ask(5, "/broken/")
        self.client.curl("-o", "/dev/null", "-d", "x" * 3000, self.url + "/put/1?colour=r%C3%B6t&q=%FF")
        self.client.curl("-o", "/dev/null", "--path-as-is", self.url + "/ok/\udcff\\x41")
        tracer.wait_spans(2 * 82)
        collector.wait_spans(2 * 82)  # while clovisor runs: not only at its end
        tracer.stop()
        collector.stop()
        got = collector.spans()
        self.assertEqual(len(tracer.spans), 2 * 82)
        self.assertEqual(collections.Counter(s["span_id"] for s in got),
                         collections.Counter(s["span_id"] for s in tracer.spans))
        by_id = {s["span_id"]: s for s in got}
        for wanted in tracer.spans:
            span = by_id[wanted["span_id"]]
            self.assertEqual({k: span.get(k) for k in wanted if k not in ("resource", "status")},
                             {k: wanted[k] for k in wanted if k not in ("resource", "status")})
            self.assertEqual(span["status"]["code"], wanted["status"]["code"])
            self.assertEqual({k: span["resource"].get(k) for k in wanted["resource"]}, wanted["resource"])
            self.assertEqual(span["resource"]["service.name"], wanted["kind"].lower())
            self.assertEqual(span["scope"]["name"], "clovisor")
            self.assertTrue(span["scope"].get("version"))
            self.assertRegex(span["schema_url"], r"^https://opentelemetry\.io/schemas/\d")

    def test_collector_http(self):
        collector = self.start(backends.Collector)
        self.check_collector("--otlp", f"http://{collector.http}", collector=collector)

    def test_collector_grpc(self):
        collector = self.start(backends.Collector)
        self.check_collector("--otlp", f"grpc://{collector.grpc}", collector=collector)

    def test_collector_json(self):
        collector = self.start(backends.Collector)
        self.check_collector("--otlp", f"http://{collector.http}", "--otlp-protocol", "http/json", collector=collector)

    def test_collector_by_environment(self):
        collector = self.start(backends.Collector)
        tracer = self.trace(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{collector.http}",
                            OTEL_EXPORTER_OTLP_COMPRESSION="gzip", OTEL_BSP_SCHEDULE_DELAY="200")
        self.ask(10)
        collector.wait_spans(20)
        tracer.stop()
