# SPDX-License-Identifier: Apache-2.0
"""What the tests of a cluster ask of the spans that a Collector got (backends.Collector)."""

import collections

WHOSE = "k8s.pod.name"


def service_of(span):
    return span["resource"].get("service.name")


def pod_of(span):
    return span["resource"].get(WHOSE)


def path_of(span):
    """Of an HTTP request, its path: a client's span has it in its URL."""
    attributes = span["attributes"]
    if "url.path" in attributes:
        return attributes["url.path"]
    url = attributes.get("url.full")
    return "/" + url.split("/", 3)[3] if url and url.count("/") > 2 else None


def is_command(span):
    return span["attributes"].get("db.system.name") == "redis"


def of_run(spans, path):
    """The spans that the requests to this path of web made: HTTP by the path; Redis' commands have it as key, which
    does not leave clovisor, so all of them."""
    return [s for s in spans if is_command(s) or path_of(s) == path]


def count(spans, *keys):
    """{(service, kind, ...): how many}; keys: what else is looked at, a function of a span each."""
    return collections.Counter((service_of(s), s["kind"], *(key(s) for key in keys)) for s in spans)


def peers(spans):
    """{(service, kind, the other side's service)}."""
    return {(service_of(s), s["kind"], s["attributes"].get("service.peer.name")) for s in spans}


def pairs(spans):
    """[(client's span, server's span)] of the requests that both ends reported, linked as parent and child."""
    clients = {(s["trace_id"], s["span_id"]): s for s in spans if s["kind"] == "CLIENT"}
    return [(clients[at], s) for s in spans if s["kind"] == "SERVER"
            for at in [(s["trace_id"], s.get("parent_span_id"))] if at in clients]


def repeated(spans):
    """The ids that more than one span has: nothing is reported twice."""
    seen = collections.Counter((s["trace_id"], s["span_id"]) for s in spans)
    return [ids for ids, n in seen.items() if n > 1]
