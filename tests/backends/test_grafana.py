# SPDX-License-Identifier: Apache-2.0
"""The dashboards of deploy/grafana: well made, and every query of every panel and variable finds something in a real
Prometheus that has scraped clovisor under traffic."""

import glob
import json
import math
import os
import re
import tempfile
import time
import unittest

import backends
import pods

BOARDS = sorted(glob.glob(os.path.join(backends.ROOT, "deploy", "grafana", "*.json")))
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
WIDTH = 24
# What Grafana puts in place of its variables. Four scrapes at least, as Grafana does.
VARIABLES = {"__rate_interval": "10s", "service": ".*", "instance": ".*"}
PANEL_TYPES = {"row", "stat", "timeseries", "heatmap", "table"}
LOSS_PERCENT = 5
PATIENCE_SECONDS = 90

# What clovisor serves, as OpenTelemetry's names read in Prometheus.
HTTP = [f"http_{side}_{what}" for side in ("server", "client") for what in (
    "request_duration_seconds", "request_body_size_bytes", "response_body_size_bytes", "active_requests")]
HTTP += [f"clovisor_http_{side}_unpaired_total" for side in ("server", "client")]
TCP = [f"clovisor_tcp_{what}" for what in (
    "connections_opened_total", "connections_closed_total", "connections_reset_total", "connections_failed_total",
    "connect_duration_seconds", "rtt_seconds", "retransmits_total", "io_bytes_total")]
OWN = [f"clovisor_{what}" for what in (
    "dropped_total", "packets_total", "packet_bytes_total", "records_total", "record_bytes_total", "spans_total",
    "connections_active", "memory_used_bytes", "export_spans_total", "export_requests_total", "export_queue_used_bytes",
    "engine_lag_seconds", "metric_series")]
# What of it the traffic of load.py makes grow; the others may rightly be 0.
COUNTED = [name for name in TCP if name.endswith("_total")] + [
    f"http_{side}_{what}_bucket" for side in ("server", "client")
    for what in ("request_duration_seconds", "request_body_size_bytes", "response_body_size_bytes")]
METRICS = set(HTTP + TCP + OWN)
LABELS = {"__name__", "le", "service_name", "instance", "error_type", "http_request_method",
          "http_response_status_code", "http_route", "server_address", "server_port", "network_io_direction",
          "clovisor_tcp_role", "clovisor_drop_reason", "clovisor_export_result"}


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def fill_in(text):
    filled = re.sub(r"\$\{?(\w+)\}?", lambda m: VARIABLES[m[1]], text)
    assert "$" not in filled, filled
    return filled


def queries(board):
    """(where, the query), variables filled in."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"{board['uid']}: {panel['title']} (panel {panel['id']}, {target['refId']})", fill_in(target["expr"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            yield f"{board['uid']}: variable {variable['name']}", f'count by ({label}) ({{{label}!=""}} and {selector})'


class Structure(unittest.TestCase):
    """Needs neither root nor a Prometheus."""

    def each(self):
        for path in BOARDS:
            yield path, load(path)

    def test_there_are_three(self):
        self.assertEqual([os.path.basename(p) for p in BOARDS],
                         ["clovisor-agent.json", "clovisor-network.json", "clovisor-services.json"])

    def test_boards(self):
        for path, board in self.each():
            self.assertEqual(board["uid"], os.path.basename(path).removesuffix(".json"))
            self.assertEqual(board["schemaVersion"], 39)
            self.assertNotIn("id", board)  # it is of one Grafana
            self.assertTrue(board["title"] and board["description"])
            first, *others = board["templating"]["list"]
            self.assertEqual([first[k] for k in ("name", "type", "query")],
                             ["DS_PROMETHEUS", "datasource", "prometheus"])
            for variable in others:
                self.assertEqual(variable["datasource"], SOURCE)
                self.assertEqual(variable["query"]["query"], variable["definition"])
            expressions = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
            used = set(re.findall(r"\$(\w+)", " ".join(expressions)))
            self.assertEqual(used - {"__rate_interval"}, {v["name"] for v in others})

    def test_panels(self):
        for _, board in self.each():
            panels = board["panels"]
            self.assertEqual(len({p["id"] for p in panels}), len(panels))
            taken = set()
            for p in panels:
                self.assertIn(p["type"], PANEL_TYPES)
                self.assertTrue(p["title"])
                at = p["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertLessEqual(at["x"] + at["w"], WIDTH)
                self.assertFalse(taken & cells, f"{p['title']} lies on another panel")
                taken |= cells
                if p["type"] != "row":
                    self.assertEqual(p["datasource"], SOURCE)
                    self.assertTrue(p["fieldConfig"]["defaults"].get("unit"), p["title"])
                    self.assertEqual("".join(t["refId"] for t in p["targets"]), "ABCDEFGH"[:len(p["targets"])])

    def test_names(self):
        """No query asks for a metric or a label that clovisor does not have, and no metric is on no dashboard."""
        shown = set()
        for _, board in self.each():
            for where, query in queries(board):
                bare = re.sub(r'"[^"]*"', '""', query)
                names = set(re.findall(r"\b((?:http|clovisor)_\w+)", bare)) - LABELS
                families = {re.sub(r"_(bucket|sum|count)$", "", n) for n in names}
                self.assertLessEqual(families, METRICS, where)
                labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", bare)) | {
                    label.strip() for group in re.findall(r"by \(([^)]*)\)", bare) for label in group.split(",")}
                self.assertLessEqual(labels, LABELS, where)
                shown |= families
        self.assertEqual(METRICS - shown, set())

    def test_legends_name_labels_that_the_query_keeps(self):
        for _, board in self.each():
            for p in board["panels"]:
                for t in p.get("targets", []):
                    kept = {x.strip() for group in re.findall(r"by \(([^)]*)\)", t["expr"]) for x in group.split(",")}
                    self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", t["legendFormat"])), kept, p["title"])


class Syntax(unittest.TestCase):
    def test_prometheus_understands_every_query(self):
        with tempfile.TemporaryDirectory(prefix="clvt-") as top, backends.Prometheus(top, []) as prometheus:
            for path in BOARDS:
                for where, query in queries(load(path)):
                    with self.subTest(where):
                        prometheus.query(query)


class Live(pods.TwoPods):
    def test_every_query_finds_something(self):
        collector = self.start(backends.Collector)
        address = "127.0.0.1:%d" % backends.free_ports(1, self.lab.node)[0]
        prometheus = self.start(backends.Prometheus, [address])
        tracer = self.trace("--metrics", address, "--otlp", f"http://{collector.http}", "--route", "/ok/{id}",
                            OTEL_BSP_SCHEDULE_DELAY="500")
        with self.server.loss(LOSS_PERCENT):  # segments that are sent again
            traffic = self.client.spawn("python3", pods.LOAD, "mixed", self.server.ip)
            left = {where: query for path in BOARDS for where, query in queries(load(path))}
            left.update((name, f"sum({name}) > 0") for name in COUNTED)
            end = time.monotonic() + PATIENCE_SECONDS
            while left and time.monotonic() < end and traffic.poll() is None:
                left = {w: q for w, q in left.items() if not finds(prometheus, q)}
                time.sleep(0.2)
            self.assertIsNone(traffic.poll(), "the traffic ended")
            self.lab.reap(traffic)
        tracer.stop(parse=False)
        self.assertEqual(left, {}, "these found nothing")


def finds(prometheus, query):
    """A number, not only the quantile of nothing."""
    return any(math.isfinite(float(s["value"][1])) for s in prometheus.query(query))
