# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 and gRPC: transactions as tshark saw them, and what DeepFlow says of each packet."""

import glob
import os
import re

from run import Score

least_found = 98.0

# Rows that tshark itself has not seen in whole.
UNRELIABLE = {"lost", "incomplete", "undecodable", "norequest"}
SAME_TIME_S = 0.002
GRPC = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"]


def captures(top):
    found = []
    for oracle in glob.glob(os.path.join(top, "**", "*.oracle.tsv"), recursive=True):
        if rows(oracle):
            found.append(oracle[:-len(".oracle.tsv")])
    return found


def rows(oracle):
    with open(oracle, errors="replace", encoding="utf-8") as f:
        fields = [line.rstrip("\n").split("\t") for line in f]
    return [dict(ts=float(r[1]) if r[1] != "-" else None, method=r[2], host=r[3], target=r[4], status=r[5], grpc=r[10],
                 flags=set(r[11].split(","))) for r in fields if len(r) > 11 and r[7] == "h2"]


def host(authority):
    name = authority.rpartition("@")[2]
    return re.sub(r":\d+$", "", name)


def start(span):
    return int(span["start_time_unix_nano"]) / 1e9


def method(span):
    a = span["attributes"]
    return a.get("http.request.method_original", a.get("http.request.method", "-"))


def agrees(row, span):
    a = span["attributes"]
    query = a.get("url.query")
    target = a.get("url.path", "-") + (f"?{query}" if query is not None else "")
    code = a.get("rpc.response.status_code")
    return (target == row["target"] and str(a.get("http.response.status_code", "-")) == row["status"] and
            (row["host"] == "-" or a["server.address"] == host(row["host"])) and
            (row["grpc"] == "-" or code == GRPC[int(row["grpc"])]))


def near(row, span):
    return method(span) == row["method"] and row["ts"] is not None and abs(start(span) - row["ts"]) < SAME_TIME_S


def deepflow(capture, spans, score):
    """Its records name the calls, and the statuses of some."""
    path = os.path.splitext(capture)[0] + ".result"
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    calls = set(re.findall(r'msg_type: Request,.*? endpoint: Some\("/([^"]+)"\)', text))
    codes = {GRPC[int(n)] for n in re.findall(r"grpc_status_code: Some\((\d+)\)", text)}
    for kind, wanted, key in (("call", calls, "rpc.method"), ("status", codes, "rpc.response.status_code")):
        seen = {s["attributes"].get(key) for s in spans}
        for value in sorted(wanted):
            score.expected += 1
            score.found += value in seen
            if value not in seen:
                score.lines.append(f"DeepFlow's {kind} {value} is not among {sorted(map(str, seen))}")


def score(capture, spans):
    s = Score()
    spans = [x for x in spans if "http.request.method" in x["attributes"]]
    left, missed = list(spans), []
    for row in rows(capture + ".oracle.tsv"):
        hit = next((x for x in left if near(row, x) and agrees(row, x)), None)
        if hit:
            left.remove(hit)
        if row["flags"] & UNRELIABLE:
            continue
        s.expected += 1
        s.found += hit is not None
        if not hit:
            missed.append(row)
    for row in missed:
        other = next((x for x in left if near(row, x)), None)
        if other:
            left.remove(other)
            s.wrong += 1
        s.lines.append(f"{row} {'but ' + str(other['attributes']) if other else 'not found'}")
    s.extra = sum(x["attributes"].get("network.protocol.version") == "2" for x in left)
    deepflow(capture, spans, s)
    return s
