# SPDX-License-Identifier: Apache-2.0
"""A result as text for a terminal, and as docs/performance.md with its plots. The prose stands in performance.md.in;
every figure comes from the result."""

import os
import re

import figures
import plot

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "performance.md.in")
PLOTS = "performance"  # directory beside the page
FLAMES = ("live", "file")
SATURATED = ("W1", "W2", "W3", "W4")


# ---- figures as text -----------------------------------------------------------------------------------------------

def ratio(s):
    return "-" if s is None else f"{s[0]:.2f}" + (f" ({s[1]:.2f}-{s[2]:.2f})" if s[1] < s[2] else "")


def number(value):
    """Three digits that count, or two."""
    if value is None:
        return "-"
    if value < .1:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(s):
    return "-" if s is None else number(s[0]) + (f" ({number(s[1])}-{number(s[2])})" if s[1] < s[2] else "")


def share(value):
    """Never rounded up to all of it."""
    if value is None or value == 1:
        return "-" if value is None else "1"
    return f"{min(value, .9999):.4f}".rstrip("0") if value < 1 else f"{value:.4f}"


def complete(f):
    if f.complete is None:
        return "-"
    middle = share(f.complete[0])
    return middle if f.complete[0] == f.least_complete else f"{middle} (min {share(f.least_complete)})"


def mib(kib):
    return f"{kib / 1024:.1f}"


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines)


def plain(head, rows):
    """The same in columns."""
    rows = [[str(cell).replace("**", "") for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


# ---- tables: (head, rows) ------------------------------------------------------------------------------------------

def workload_table(observers):
    head = ["", "requests/s", "of bare", "CPU/request, of bare", "agent, us/request", "p50, us", "p99, us",
            "p99, of bare", "complete", "copied, B/request", "RSS (peak), MiB"]
    rows = []
    for name, f in observers.items():
        row = [name, number(f.rate[0])]
        latency = [number(f.p50_us and f.p50_us[0]), spread(f.p99_us)]
        if name == "bare":
            rows.append(row + ["", f"{number(f.cpu_us[0])} us", "", *latency, "", "", "", ""])
            continue
        rows.append(row + [ratio(f.throughput), ratio(f.cpu), spread(f.agent_us), *latency, ratio(f.p99), complete(f),
                           number(f.copied and f.copied[0]), f"{mib(f.rss_kib[0])} ({mib(f.peak_kib[0])})"])
    return head, rows


def bars_table(result):
    return ["", "bar", "measured", "wanted", ""], [bar.row() for bar in figures.bars(result)]


def offline_table(result):
    runs = result["offline"]
    rates = figures.packet_rates(result)
    rows = []
    for name, rate in rates.items():
        own = [r for r in runs if r["observer"] == name]
        cpu = figures.spread([r["cpu_s"] / r["packets"] * 1e9 for r in own])
        told = own[0]["reported"]
        megabytes = rate[0] * own[0]["bytes"] / own[0]["packets"] / 1e6
        rows.append([name, spread(tuple(v / 1e6 for v in rate)), number(megabytes), spread(cpu),
                     "-" if told is None else share(told / own[0]["requests"]), mib(max(r["peak_kib"] for r in own)),
                     f"{len(own)} x {own[0]['packets']:,}"])
    return ["", "million packets/s", "MB/s", "CPU, ns/packet", "complete", "RSS, MiB", "runs x packets"], rows


def engines_table(result):
    gain = figures.engine_gain(result)
    rows = [[workers, spread(cost), ratio(gain) if workers == 2 else ""]
            for workers, cost in figures.engine_costs(result).items()]
    return ["threads", "ns/packet, by the clock", "times one's packets"], rows


def flows_table(result):
    costs = figures.flow_costs(result)
    peak = {r["flows"]: mib(r["peak_kib"]) for r in result["flows"]}
    rows = [[f"{flows:,}", spread(cost), peak[flows]] for flows, cost in costs.items()]
    return ["connections at a time", "CPU, ns/packet", "RSS, MiB"], rows


def attach_table(result):
    rows = [[a["mode"], a["interfaces"], f"{a['attached_s']:.2f} s", f"{a['made_s']:.2f} s", f"{a['requests']:,}",
             f"{a['spans']:,}", sum(a["lost"].values())] for a in result["attach"]]
    head = ["", "interfaces", "until all were attached", "of this, making them", "requests meanwhile", "spans", "lost"]
    return head, rows


def idle_table(result):
    rows = [[i["observer"], f"{i['ns_per_s'] / 1e7:.3f} %", mib(i["rss_kib"])] for i in result["idle"]]
    return ["", "CPU, of a processor", "RSS, MiB"], rows


def kernel_table(result):
    rows = [[name, f"{value:.0f}", f"{result['kernel_own'][name]:.0f}"] for name, value in result["kernel"].items()]
    return ["packet", "ns", "more than nothing, ns"], rows


TABLES = {"bars": bars_table, "offline": offline_table, "engines": engines_table,
          "flows": flows_table, "attach": attach_table, "idle": idle_table, "kernel": kernel_table}


# ---- plots ---------------------------------------------------------------------------------------------------------

def _groups(result, workloads, name):
    every = figures.all_figures(result)
    found = []
    for workload in (w for w in workloads if w in every):
        entries = [(o, getattr(f, name)) for o, f in every[workload].items() if getattr(f, name, None)]
        if entries:
            found.append((f"{workload}: {result['workloads'][workload]}", entries))
    return found


def plots(result):
    """{name: SVG}"""
    rates = [("", list(figures.packet_rates(result).items()))] if result["offline"] else []
    costs = [("", [(f"clovisor, {n:,}", c) for n, c in figures.flow_costs(result).items()])] if result["flows"] else []
    charts = {
        "throughput": plot.bars("Throughput, of the same load without anybody watching",
                                _groups(result, SATURATED, "throughput"), "{:.2f}".format, mark=1),
        "cpu": plot.bars("CPU per request of client, server, kernel and agent, of bare",
                         _groups(result, ("W1", "W2", "W3", "W4", "W5", "W6", "W7"), "cpu"), "{:.2f}".format, mark=1),
        "agent": plot.bars("CPU per request of who watches, microseconds (logarithmic)",
                           _groups(result, ("W1", "W2", "W5"), "agent_us"), number, log=True),
        "p99": plot.bars("p99 of the traced server's answers, of bare", _groups(result, ("W1", "W2", "W5"), "p99"),
                         "{:.2f}".format, mark=1),
        "complete": plot.bars("Transactions reported, of those that took place",
                              _groups(result, ("W1", "W2", "W3", "W5"), "complete"), share, mark=1),
        "memory": plot.bars("RSS at most, MiB (logarithmic)",
                            [(w, [(o, tuple(v / 1024 for v in s)) for o, s in entries])
                             for w, entries in _groups(result, ("W1", "W6", "W7"), "peak_kib")], number, log=True),
        "offline": plot.bars("A capture file: packets a second (logarithmic)", rates, number, log=True),
        "flows": plot.bars("CPU per packet by connections at a time, ns", costs, number),
    }
    return {name: svg for name, svg in charts.items() if svg}


# ---- the page and the terminal -------------------------------------------------------------------------------------

def _where(result):
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if "," not in name)
    return markdown(["measured", result["date"]], [
        ["machine", f"{result['cpu'] or 'unknown'}, {result['cpus']} processors, "
                    f"{result['memory_kib'] / 1048576:.0f} GiB"],
        ["kernel", f"Linux {result['linux']}, {result['machine']}"],
        ["commit", result["commit"] + (", and changes that are not in it" if result["changed"] else "")],
        ["programs", versions],
        ["runs", f"{result['pairs']} pairs of {result['seconds']:g} s for each workload; {result['took_s']} s in all"]])


def page(result, flames=()):
    """docs/performance.md. flames: those that are there, "live" and "file" (tests/bench/flame draws them)."""
    every, drawn = figures.all_figures(result), plots(result)

    def part(match):
        kind, name = match[1], match[2]
        if kind == "where":
            return _where(result)
        if kind == "plot":
            return f"![{name}]({PLOTS}/{name}.svg)" if name in drawn else "(not measured)"
        if kind == "flame":
            return f"![{name}]({PLOTS}/flame-{name}.svg)" if name in flames else "(not measured)"
        if kind == "title":
            return result["workloads"].get(name, "not measured")
        if kind == "workload":
            return markdown(*workload_table(every[name])) if name in every else "(not measured)"
        head, rows = TABLES[name](result)
        return markdown(head, rows) if rows else "(not measured)"

    with open(TEMPLATE, encoding="utf-8") as f:
        return re.sub(r"\{\{(\w+)(?: (\w+))?\}\}", part, f.read())


def text(result):
    """For a terminal: every table that has figures."""
    parts = [f"{key}  {result['workloads'][key]}\n{plain(*workload_table(observers))}"
             for key, observers in figures.all_figures(result).items()]
    for name in ("attach", "idle", "offline", "engines", "flows", "kernel", "bars"):
        head, rows = TABLES[name](result)
        if rows:
            parts.append(f"{name}\n{plain(head, rows)}")
    return "\n\n".join(parts)


def write(result, directory):
    """The page and its plots into a directory, docs as a rule."""
    os.makedirs(os.path.join(directory, PLOTS), exist_ok=True)
    for name, svg in plots(result).items():
        with open(os.path.join(directory, PLOTS, f"{name}.svg"), "w", encoding="utf-8") as f:
            f.write(svg)
    with open(os.path.join(directory, "performance.md"), "w", encoding="utf-8") as f:
        f.write(page(result, [n for n in FLAMES if os.path.exists(os.path.join(directory, PLOTS, f"flame-{n}.svg"))]))
