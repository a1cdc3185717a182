# SPDX-License-Identifier: Apache-2.0
"""What Jaeger's /api/v3/traces answers, in short: how many traces, and one of them as a tree.

usage: show_traces.py [PATH] <ANSWER     PATH: show a trace that asked for it, if there is one
"""

import json
import sys
import urllib.parse


def read(answer):
    """{trace id: its spans}; each span has its service and its attributes as plain values."""
    traces = {}
    for group in answer.get("result", {}).get("resourceSpans", []):
        service = attributes(group["resource"]).get("service.name", "?")
        for span in (s for part in group["scopeSpans"] for s in part["spans"]):
            traces.setdefault(span["traceId"], []).append({**span, **attributes(span), "service": service})
    return traces


def attributes(thing):
    return {a["key"]: next(iter(a["value"].values())) for a in thing.get("attributes", [])}


def path(span):
    return span.get("url.path") or urllib.parse.urlsplit(span.get("url.full", "")).path


def show(spans, parent="", depth=0):
    children = [s for s in spans if s.get("parentSpanId", "") == parent]
    for span in sorted(children, key=lambda s: int(s["startTimeUnixNano"])):
        ms = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e6
        print(f"{'   ' * depth}{'-> ' if depth else ''}{span['service']} {span.get('http.request.method', '?')} "
              f"{path(span)} {span.get('http.response.status_code', '(no answer)')}  {ms:.2f} ms")
        show(spans, span["spanId"], depth + 1)


def main():
    traces = read(json.load(sys.stdin))
    linked = [t for t in traces.values() if {s["service"] for s in t} == {"user", "shop"}]
    print(f"{len(traces)} traces, {len(linked)} of them seen at both ends")
    if not linked:
        sys.exit("no trace was seen at both ends")
    chosen = next((t for t in linked if any(path(s) == sys.argv[-1] for s in t)), linked[0])
    print(f"trace {chosen[0]['traceId']}")
    show(chosen)


if __name__ == "__main__":
    main()
