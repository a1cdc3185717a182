# SPDX-License-Identifier: Apache-2.0
"""Metrics are what the spans of the same run add up to: as a real Prometheus scrapes them, and as a real Collector gets
them over OTLP."""

import bisect
import collections
import json
import subprocess
import time
import unittest

import backends
import pods

BOUNDS = [.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10]
SPANS = 2 * (300 + 100 + 20 + 10 + 1)
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}


def key_of(labels):
    """What the requests of a series have in common."""
    return tuple(str(labels.get(k, "")) for k in ("service.name", "http.request.method", "http.response.status_code",
                                                  "error.type"))


def key_of_series(labels):
    return key_of({"service.name": labels.get("service_name"), "http.request.method": labels.get("http_request_method"),
                   "http.response.status_code": labels.get("http_response_status_code", ""),
                   "error.type": labels.get("error_type", "")})


def histograms(spans, kind):
    """{key: (buckets, each by itself; sum in seconds)} of the spans of a kind."""
    found = collections.defaultdict(lambda: [[0] * (len(BOUNDS) + 1), 0.0])
    for s in spans:
        if s["kind"] == kind:
            seconds = (int(s["end_time_unix_nano"]) - int(s["start_time_unix_nano"])) / 1e9
            h = found[key_of({**s["attributes"], **s["resource"]})]
            h[0][bisect.bisect_left(BOUNDS, seconds)] += 1  # upper bounds are inclusive
            h[1] += seconds
    return dict(found)


class Metrics(pods.TwoPods):
    def traffic(self, tracer):
        self.ask(300)
        self.ask(100, "/ok/", "-H", "Connection: close")
        self.ask(20, "/missing/")
        self.ask(10, "/broken/")
        self.client.curl("-o", "/dev/null", "-d", "x" * 3000, self.url + "/put/1")
        tracer.wait_spans(SPANS)

    def start_metrics(self, *options, **env):
        """Traces with --metrics; the tracer and the address."""
        address = "127.0.0.1:%d" % backends.free_ports(1, self.lab.node)[0]
        return self.trace("--metrics", address, *options, **env), address

    def scrape(self, address, headers=None):
        status, text = backends.fetch(f"http://{address}/metrics", self.lab.node, headers)
        self.assertEqual(status, 200)
        return text.decode()

    def scrape_with(self, wanted, address, headers):
        text = self.scrape(address, headers)
        return wanted in text and text

    def check_histograms(self, wanted, got):
        """Buckets exactly, sums but for rounding."""
        self.assertEqual({k: h[0] for k, h in got.items()}, {k: h[0] for k, h in wanted.items()})
        for key, (_, total) in wanted.items():
            self.assertAlmostEqual(got[key][1], total, delta=1e-6 * max(1, total))

    def prometheus_histograms(self, prometheus, name):
        by = "service_name, http_request_method, http_response_status_code, error_type"
        found = collections.defaultdict(lambda: [[0] * (len(BOUNDS) + 1), 0.0])
        cumulative = collections.defaultdict(dict)
        for s in prometheus.query(f"sum by (le, {by}) ({name}_bucket)"):
            cumulative[key_of_series(s["metric"])][float(s["metric"]["le"])] = int(float(s["value"][1]))
        counts = {key_of_series(s["metric"]): int(float(s["value"][1]))
                  for s in prometheus.query(f"sum by ({by}) ({name}_count)")}
        for key, buckets in cumulative.items():
            self.assertEqual(sorted(buckets), BOUNDS + [float("inf")])
            self.assertEqual(buckets[float("inf")], counts[key])
            steps = [buckets[le] for le in sorted(buckets)]
            found[key][0] = [b - a for a, b in zip([0] + steps, steps)]
        for s in prometheus.query(f"sum by ({by}) ({name}_sum)"):
            found[key_of_series(s["metric"])][1] = float(s["value"][1])
        return dict(found)

    def test_prometheus_has_the_numbers_of_the_spans(self):
        tracer, address = self.start_metrics()
        prometheus = self.start(backends.Prometheus, [address])
        self.traffic(tracer)
        for side in ("server", "client"):
            prometheus.wait_value(f"sum(http_{side}_request_duration_seconds_count)", SPANS // 2)
        got = {side: self.prometheus_histograms(prometheus, f"http_{side}_request_duration_seconds")
               for side in ("server", "client")}
        self.assertEqual(prometheus.value("sum(http_server_request_body_size_bytes_sum)"), 3000)
        self.assertEqual(prometheus.value("sum(http_server_active_requests)"), 0)
        self.assertEqual(prometheus.query('{__name__=~"http_.*|clovisor_.*", service_name=""}'), [])
        tracer.stop()
        for side in ("server", "client"):
            with self.subTest(side):
                self.check_histograms(histograms(tracer.spans, side.upper()), got[side])

    def test_promtool(self):
        promtool = backends.find("tools/backend", "promtool")
        tracer, address = self.start_metrics("--route", "/ok/{id}")
        self.traffic(tracer)
        text = self.scrape(address)
        self.assertIn("http_server_request_duration_seconds_bucket", text)
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        self.assertNotIn("/ok/1", text)  # never a raw path
        tracer.stop()

    def test_openmetrics_with_exemplars(self):
        python = backends.venv_python()
        tracer, address = self.start_metrics()
        self.traffic(tracer)
        # clovisor's own figures are brought up to date now and then.
        text = backends.wait_for("figures", lambda: self.scrape_with("\nclovisor_spans_total", address, OPENMETRICS))
        tracer.stop()
        done = subprocess.run([python, f"{backends.HERE}/parse_openmetrics.py"], input=text, capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        samples = json.loads(done.stdout)
        types = {family: kind for family, kind, *_ in samples}
        self.assertEqual(types["http_server_request_duration_seconds"], "histogram")
        self.assertEqual(types["clovisor_spans"], "counter")
        exemplars = [e for family, *_, e in samples if e and family == "http_server_request_duration_seconds"]
        self.assertTrue(exemplars)
        known = {(s["trace_id"], s["span_id"]) for s in tracer.spans if s["kind"] == "SERVER"}
        self.assertLessEqual({(e["trace_id"], e["span_id"]) for e in exemplars}, known)

    def test_prometheus_takes_exemplars(self):
        tracer, address = self.start_metrics()
        prometheus = self.start(backends.Prometheus, [address])
        begin = time.time() - 1
        self.traffic(tracer)
        found = backends.wait_for("exemplars", lambda: prometheus.exemplars(
            "http_server_request_duration_seconds_bucket", begin, time.time() + 1))
        tracer.stop()
        traces = {s["trace_id"] for s in tracer.spans}
        self.assertLessEqual({e["labels"]["trace_id"] for series in found for e in series["exemplars"]}, traces)

    def test_collector_has_the_numbers_of_the_spans(self):
        collector = self.start(backends.Collector)
        tracer = self.trace("--otlp", f"http://{collector.http}", OTEL_METRIC_EXPORT_INTERVAL="500")
        self.traffic(tracer)
        tracer.stop()  # what is not sent yet goes with the end
        collector.stop()
        for side in ("server", "client"):
            got = {}
            for (name, service, attributes), point in collector.metrics().items():
                if name == f"http.{side}.request.duration":
                    self.assertEqual(point["explicitBounds"], BOUNDS)
                    buckets = [int(n) for n in point["bucketCounts"]]
                    self.assertEqual(sum(buckets), int(point["count"]))
                    h = got.setdefault(key_of({**dict(attributes), "service.name": service}), [[0] * len(buckets), 0.0])
                    h[0] = [a + b for a, b in zip(h[0], buckets)]
                    h[1] += point["sum"]
            with self.subTest(side):
                self.check_histograms(histograms(tracer.spans, side.upper()), got)


class Arithmetic(unittest.TestCase):
    """The yardstick itself."""

    def test_bounds_are_inclusive(self):
        def span(ns):
            return {"kind": "SERVER", "start_time_unix_nano": "0", "end_time_unix_nano": str(ns), "attributes": {},
                    "resource": {"service.name": "x"}}

        (buckets, total), = histograms([span(5_000_000), span(5_000_001), span(11_000_000_000)], "SERVER").values()
        self.assertEqual((buckets[0], buckets[1], buckets[-1], sum(buckets)), (1, 1, 1, 3))
        self.assertAlmostEqual(total, 11.010000001)
