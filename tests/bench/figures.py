# SPDX-License-Identifier: Apache-2.0
"""From the runs of a result to figures: each observed run beside the runs without anybody next to it, medians and
quartiles of these pairs, and the bars that clovisor sets itself."""

import statistics

MIB = 1024  # KiB


def spread(values):
    """Median, lower and upper quartile."""
    values = sorted(values)
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def total_ns(run):
    """All that a run's requests took: client, server, the kernel's threads and who watched."""
    return run["cpu_ns"] + run["server_ns"] + run["softirq_ns"] + run["agent_ns"]


class Figures:
    """One observer at one workload. Each figure is a spread(), or None where there is none. Ratios are of pairs."""

    def __init__(self, result, workload, observer):
        runs = result["runs"]
        self.runs = [r for r in runs if r["workload"] == workload and r["observer"] == observer]
        beside = [[runs[i] for i in r.get("bare", [])] for r in self.runs]

        def of(value):
            return spread([value(r) for r in self.runs])

        def ratio(value):
            return spread([value(r) / statistics.mean(value(b) for b in bare) for r, bare in zip(self.runs, beside)])

        self.rate = of(lambda r: r["rate"])
        self.cpu_us = of(lambda r: total_ns(r) / r["requests"] / 1e3)
        told = all(r["p99_us"] is not None for r in self.runs)
        self.p50_us, self.p99_us = (of(lambda r: r["p50_us"]), of(lambda r: r["p99_us"])) if told else (None, None)
        if observer == "bare":
            return
        self.throughput = ratio(lambda r: r["rate"])
        self.cpu = ratio(lambda r: total_ns(r) / r["requests"])
        self.p99 = ratio(lambda r: r["p99_us"]) if told else None
        self.agent_us = of(lambda r: r["agent_ns"] / r["requests"] / 1e3)
        self.rss_kib, self.peak_kib = of(lambda r: r["rss_kib"]), of(lambda r: r["peak_kib"])
        self.complete = of(lambda r: r["complete"]) if all(r["complete"] is not None for r in self.runs) else None
        self.least_complete = min((r["complete"] for r in self.runs if r["complete"] is not None), default=None)
        self.copied = of(lambda r: r["copied"]) if all(r["copied"] is not None for r in self.runs) else None


def observers_of(result, workload):
    """Who watched a workload, in the order of the first runs' observers that the result names."""
    seen = {r["observer"] for r in result["runs"] if r["workload"] == workload} - {"bare"}
    return [name for name in result["versions"] if name in seen]


def all_figures(result):
    """{workload: {observer: Figures}}, "bare" first."""
    return {w: {o: Figures(result, w, o) for o in ["bare", *observers_of(result, w)]} for w in result["workloads"]}


def packet_rates(result):
    """{observer: spread of packets a second} of the capture file."""
    rates = {}
    for run in result["offline"]:
        rates.setdefault(run["observer"], []).append(run["packets"] / run["wall_s"])
    return {name: spread(values) for name, values in rates.items()}


def engine_costs(result):
    """{engines at once: spread of nanoseconds a packet, by the clock}"""
    costs = {}
    for run in result["engines"]:
        costs.setdefault(run["workers"], []).append(run["ns_per_packet"])
    return {workers: spread(values) for workers, values in costs.items()}


def engine_gain(result):
    """Spread of how many times as much two engines do as one that ran just before; None: not measured."""
    ns = [[r["ns_per_packet"] for r in result["engines"] if r["workers"] == n] for n in (1, 2)]
    return spread([one / two for one, two in zip(*ns)]) if all(ns) else None


def flow_costs(result):
    """{connections at a time: spread of nanoseconds of processor time a packet}"""
    costs = {}
    for run in result["flows"]:
        costs.setdefault(run["flows"], []).append(run["cpu_s"] / run["packets"] * 1e9)
    return {flows: spread(values) for flows, values in costs.items()}


def exact_runs(result):
    """(runs of clovisor in which every request had its span and nothing was lost, all runs of it)"""
    runs = [r for r in result["runs"] if r["observer"].startswith("clovisor")]
    return sum(not r["errors"] and not r["lost"] and r["complete"] == 1 for r in runs), len(runs)


class Bar:
    """What clovisor wants to keep: `value` is `sign` (<= or >=) `limit`. value None: it was not measured."""

    def __init__(self, number, what, value, sign, limit, form="{:.2f}"):
        self.number, self.what, self.value, self.sign, self.limit, self.form = number, what, value, sign, limit, form

    @property
    def met(self):
        if self.value is None or self.limit is None:
            return None
        return self.value >= self.limit if self.sign == ">=" else self.value <= self.limit

    def row(self):
        def show(v):
            return "-" if v is None else self.form.format(v)

        verdict = {True: "met", False: "**not met**", None: "not measured"}[self.met]
        return [self.number, self.what, show(self.value), f"{self.sign} {show(self.limit)}", verdict]


def bars(result):
    """The bars, each with what was measured. Figures are medians."""
    figures = all_figures(result)

    def get(workload, observer, name):
        found = figures.get(workload, {}).get(observer)
        value = getattr(found, name, None) if found else None
        return value[0] if value else None

    def share(a, b):
        return a / b if a is not None and b else None

    def thr(workload, observer="clovisor"):
        return get(workload, observer, "throughput")

    def agent(workload, observer="clovisor"):
        return get(workload, observer, "agent_us")

    exact, runs = exact_runs(result)
    w8 = [r for r in result["runs"] if r["workload"] == "W8" and r["observer"] == "clovisor"]
    idle = next((i for i in result["idle"] if i["observer"] == "clovisor"), None)
    rates = {name: r[0] for name, r in packet_rates(result).items()}
    ours = rates.get("clovisor", rates.get("clovisor, 1 worker"))
    gain = engine_gain(result)
    flat = [c[0] for c in flow_costs(result).values()]
    lost = [a["requests"] - a["spans"] + sum(a["lost"].values()) for a in result["attach"]]
    kernel = result["kernel"]
    return [
        Bar("1", "W1: throughput, of tcpdump's", share(thr("W1"), thr("W1", "tcpdump")), ">=", 1),
        Bar("1", "W1: throughput, of bare (an aim)", thr("W1"), ">=", .9),
        Bar("1", "W1: throughput, of httpry's", share(thr("W1"), thr("W1", "httpry")), ">=", 1.35),
        Bar("1", "W1: agent's CPU, of httpry's", share(agent("W1"), agent("W1", "httpry")), "<=", 1 / 6, "{:.3f}"),
        Bar("1", "W1: agent's CPU, us/request (an aim)", agent("W1"), "<=", .5),
        Bar("2", "W2: throughput, of tcpdump's", share(thr("W2"), thr("W2", "tcpdump")), ">=", 1),
        Bar("2", "W2: agent's CPU, us/request", agent("W2"), "<=", 1.5),
        Bar("2", "W3: throughput, of bare", thr("W3"), ">=", .97),
        Bar("2", "W3: bytes copied for a body of 10 MB", get("W3", "clovisor", "copied"), "<=", 1024, "{:.0f}"),
        Bar("3", "W5: CPU per request, of bare", get("W5", "clovisor", "cpu"), "<=", 1.06),
        Bar("3", "W5: p99 of the traced server, of bare", get("W5", "clovisor", "p99"), "<=", 1.05),
        Bar("4", "runs with spans = requests and nothing lost", share(exact, runs), ">=", 1, "{:.3f}"),
        Bar("4", "W8: wrong spans", sum(len(r["errors"]) for r in w8) if w8 else None, "<=", 0, "{:.0f}"),
        Bar("5", "idle: CPU, % of a processor", idle and idle["ns_per_s"] / 1e7, "<=", .1, "{:.3f}"),
        Bar("5", "W6: RSS with 10,000 connections, MiB", share(get("W6", "clovisor", "rss_kib"), MIB), "<=", 20,
            "{:.1f}"),
        Bar("6", "file: packets/s, of tcpdump's", share(ours, rates.get("tcpdump")), ">=", .5),
        Bar("6", "file: packets/s, of tcpflow's", share(ours, rates.get("tcpflow")), ">=", 4, "{:.1f}"),
        Bar("6", "file: packets/s, of httpry's", share(ours, rates.get("httpry")), ">=", 10, "{:.1f}"),
        Bar("6", "engine: packets/s of two threads, of one's", gain and gain[0], ">=", 1.7),
        Bar("6", "file: CPU per packet, most of least, 10 to 100,000 connections", share(max(flat, default=None),
            min(flat, default=None)), "<=", 1.5),
        Bar("7", "kernel: pure ACK, ns", kernel.get("pure ACK"), "<=", 60, "{:.0f}"),
        Bar("7", "kernel: duplicate, ns", kernel.get("duplicate of 400 B"), "<=", 100, "{:.0f}"),
        Bar("7", "kernel: head of 400 B, ns", kernel.get("record of 400 B"), "<=", 260, "{:.0f}"),
        Bar("7", "kernel: flow that is not wanted, ns", kernel.get("unwanted port"), "<=", 30, "{:.0f}"),
        Bar("8", "attaching while W1 runs: lost, clsact and tcx", max(lost) if len(lost) > 1 else None, "<=", 0,
            "{:.0f}"),
        Bar("9", "W4: throughput, of bare", thr("W4"), ">=", .85),
        Bar("9", "W4: throughput, of bare, metrics alone", thr("W4", "clovisor, metrics"), ">=", .85),
        Bar("9", "W4: agent's CPU, us/request", agent("W4"), "<=", 1.5),
    ]
