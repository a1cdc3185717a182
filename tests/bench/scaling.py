#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/scaling.md: what nodes and clusters cost, from the figures in tests/bench/measured.json.

usage: tests/bench/scaling.py [--update] [--measured RESULT.json] [FILE]

Prints the tables; --update writes them into FILE (docs/scaling.md), each between its two comments. --measured takes
what a run of `make bench` has found (its result, build/bench/result.json) into tests/bench/measured.json first.
"""

import argparse
import json
import math
import os
import re
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MEASURED = os.path.join(ROOT, "tests", "bench", "measured.json")
PAGE = os.path.join(ROOT, "docs", "scaling.md")
NODES = (10, 100, 1000, 5000, 10000)
DAY = 86400
WORKLOAD, OBSERVER = "W1", "clovisor, OTLP"
WORDS = {"measured": "Measured", "others": "Others say", "assumed": "Assumed: put your own here"}


def load(path=MEASURED):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def save(groups, path=MEASURED):
    """One figure a line."""
    parts = []
    for group, figures in groups.items():
        lines = [f'    "{name}": {json.dumps(figure)}' for name, figure in figures.items()]
        parts.append(f'  "{group}": {{\n' + ",\n".join(lines) + "\n  }")
    with open(path, "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(parts) + "\n}\n")


def take(groups, result):
    """What `make bench` has measured of these figures."""
    agent = [r["agent_ns"] / r["requests"] / 1000 for r in result["runs"]
             if (r["workload"], r["observer"]) == (WORKLOAD, OBSERVER)]
    kernel = result["kernel"]
    found = {"kernel_ns_per_head": kernel["record of 400 B"], "kernel_ns_per_ack": kernel["pure ACK"]}
    if agent:
        found["agent_us_per_request"] = round(statistics.median(agent), 2)
    for name, value in found.items():
        groups["measured"][name] |= {"value": value, "source": f"make bench, {result['cpu']}", "date": result["date"]}


class Figures:
    """The inputs by name."""

    def __init__(self, groups):
        for figures in groups.values():
            for name, figure in figures.items():
                setattr(self, name, figure["value"])


def number(x):
    """Two digits that count, or three, of what was measured, all of what was counted; thousands with commas."""
    if isinstance(x, int) or x == 0:
        return f"{x:,.0f}"
    digits = max(0, 1 - math.floor(math.log10(abs(x))))
    return f"{round(x, digits):,.{digits}f}" if digits else f"{round(x, 2 - math.floor(math.log10(abs(x)))):,.0f}"


def scaled(x, units):
    """With the first of the units (each a thousand times the one before) that keeps it below a thousand."""
    for unit in units[:-1]:
        if abs(x) < 1000:
            return f"{number(x)} {unit}"
        x /= 1000
    return f"{number(x)} {units[-1]}"


def size(x):
    return scaled(x, ("B", "kB", "MB", "GB", "TB", "PB"))


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


# ---- the model ------------------------------------------------------------------------------------------------------

def request_us(f, gzip):
    """Processor time on the node for a request that one place of capture sees: two heads, a bare acknowledgement."""
    kernel = (2 * f.kernel_ns_per_head + f.kernel_ns_per_ack) / 1000
    return kernel, f.agent_us_per_request + (f.gzip_us_per_span if gzip else 0)


def spans_per_node(f):
    """On the busiest hour's average second: each request is seen where it is made and where it is served."""
    return f.requests_per_node * f.spans_per_request * f.headroom


def collectors(f, spans):
    return math.ceil(spans / (f.collector_spans_per_core * f.collector_cores))


# ---- the tables -----------------------------------------------------------------------------------------------------

def inputs(groups):
    """All of them, where each is from."""
    parts = []
    for group, figures in groups.items():
        rows = [[figure["what"], f"{figure['value']:g}" if figure["value"] < 10000 else f"{figure['value']:,}",
                 f"`{name}`", *([figure["source"]] if group != "assumed" else []),
                 *([figure["date"]] if group == "measured" else [])] for name, figure in figures.items()]
        head = [WORDS[group], "", "name", *(["source"] if group != "assumed" else []),
                *(["date"] if group == "measured" else [])]
        parts.append(table(head, rows))
    return "\n\n".join(parts)


def node(f):
    rows = []
    for requests in (100, 1000, 10000, 100000):
        cells = [number(requests)]
        for gzip in (False, True):
            kernel, agent = request_us(f, gzip)
            wire = f.bytes_per_span_gzip if gzip else f.bytes_per_span
            cells += [f"{number(f.idle_percent + requests * (kernel + agent) / 1e4)} %", f"{size(requests * wire)}/s"]
        rows.append(cells)
    return table(["requests a second that it sees", "of a core", "to the collector", "of a core, gzip",
                  "to the collector, gzip"], rows)


def memory(f):
    rows = []
    per_pod, per_other = f.objects_mb / f.memory_pods, f.objects_all_pods_mb / f.memory_pods
    for nodes in NODES:
        pods = nodes * f.pods_per_node
        grown = [(base * 2**20 / 1e6 + (pods - f.memory_pods) * each) for base, each in (
            (f.memory_mib, per_pod), (f.memory_all_pods_mib, per_other))]
        rows.append([number(nodes), number(pods), *(f"{number(mb)} MB" for mb in grown)])
    return table(["nodes", "pods", "an agent", "with `kubernetes.all_pods`"], rows)


def cluster(f):
    rows = []
    for nodes in NODES:
        spans = nodes * spans_per_node(f)
        rows.append([number(nodes), number(nodes * f.requests_per_node * f.headroom), number(spans),
                     f"{size(spans * f.bytes_per_span)}/s", f"{size(spans * f.bytes_per_span_gzip)}/s",
                     number(spans / f.collector_spans_per_core), number(collectors(f, spans))])
    return table(["nodes", "requests/s", "spans/s", "to collectors", "with gzip", "collector cores",
                  f"collectors of {f.collector_cores} cores"], rows)


def store(f):
    rows = []
    for nodes in NODES:
        for ratio in (1, 0.1, 0.01):
            spans = nodes * spans_per_node(f) * ratio
            received = spans * f.bytes_per_span
            rows.append([number(nodes), f"{100 * ratio:g} %", number(spans), f"{size(received)}/s",
                         size(received / f.headroom * DAY), number(math.ceil(received / 1e6 / f.distributor_mb_s)),
                         number(math.ceil(received / 1e6 / f.ingester_mb_s))])
    return table(["nodes", "kept", "spans/s", "received", "a day, as received", "Tempo distributors",
                  "Tempo ingesters"], rows)


def tail(f):
    rows = []
    for nodes in NODES:
        spans = nodes * spans_per_node(f)
        held = spans * f.decision_s
        rows.append([number(nodes), number(held), size(held * f.span_memory_bytes), number(collectors(f, spans)),
                     size(held * f.span_memory_bytes / collectors(f, spans))])
    return table(["nodes", "spans that wait", "memory of the second tier", "collectors in it", "each"], rows)


def api(f):
    rows = []
    for nodes in NODES:
        pods = nodes * f.pods_per_node
        services = pods / f.pods_per_service
        start = f.pods_per_node * f.pod_bytes + services * (f.service_bytes + f.slice_bytes) + nodes * f.node_bytes
        slices = pods / (f.pod_life_h * 3600) * f.slice_changes_per_pod * nodes
        status = nodes / f.node_status_s * nodes
        rows.append([number(nodes), number(5 * nodes), size(start), size(start * nodes), number(slices),
                     f"{size(slices * f.slice_bytes)}/s", number(status), f"{size(status * f.node_bytes)}/s"])
    return table(["nodes", "watches", "lists of one agent", "of all", "changes of EndpointSlices told a second",
                  "in bytes", "reports of Nodes told a second", "in bytes"], rows)


def limits(f):
    """Up to how many nodes something does, and what then takes over."""
    one = int(f.collector_spans_per_core * f.collector_cores / spans_per_node(f))
    whole = int(f.distributor_mb_s * 1e6 / (spans_per_node(f) * f.bytes_per_span))
    watches = int(math.sqrt(f.api_mb_s * 1e6 / f.node_bytes * f.node_status_s))
    steps = [
        [f"{number(one)} nodes", f"one Collector of {f.collector_cores} cores, or Jaeger itself",
         "a gateway of Collectors"],
        [f"{number(whole)} nodes", "one distributor of Tempo, all spans kept", "more of them, or sampling"],
        [f"{number(watches)} nodes", f"reports of Nodes below {f.api_mb_s} MB a second from the API server",
         "agents without `nodes` in their role"],
        [f"{number(f.cluster_nodes)} nodes", "one cluster", "several, each with its own gateway"],
    ]
    return table(["up to", "what does", "then"], sorted(steps, key=lambda s: int(s[0].split()[0].replace(",", ""))))


def tables(groups):
    f = Figures(groups)
    made = {t.__name__: t(f) for t in (limits, node, memory, cluster, tail, store, api)}
    return made | {"inputs": inputs(groups)}


def filled(page, made):
    """The page with these tables in their places."""
    places = set(re.findall(r"<!-- table (\w+) -->", page))
    if places != set(made):
        raise ValueError(f"places {sorted(places)} for tables {sorted(made)}")
    return re.sub(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{made[m[2]]}\n{m[3]}", page,
                  flags=re.S)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0], add_help=False)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--measured", metavar="RESULT.json")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("file", nargs="?", default=PAGE)
    options = parser.parse_args()
    if options.help:
        print(__doc__.strip())
        return 0
    groups = load()
    if options.measured:
        take(groups, load(options.measured))
        save(groups)
    made = tables(groups)
    if not options.update:
        print("\n\n".join(f"{name}:\n{text}" for name, text in made.items()))
        return 0
    with open(options.file, encoding="utf-8") as f:
        page = filled(f.read(), made)
    with open(options.file, "w", encoding="utf-8") as f:
        f.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
