# SPDX-License-Identifier: Apache-2.0
"""Redis: the commands, in their order, that Zeek's redis.log has; where there is none, those of tshark's dump."""

import glob
import os

from run import Score

SERVERS = ("6379", "6380")


def captures(top):
    return [p for p in glob.glob(os.path.join(top, "*", "redis", "*.pcap*")) if p.endswith((".pcap", ".pcapng"))]


def zeek_rows(capture):
    """(command, error or None, answered) by Zeek; None without a log."""
    pattern = os.path.join(os.path.dirname(capture), "expected", os.path.basename(capture) + ".*redis.log")
    for path in glob.glob(pattern):
        rows, columns = [], []
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                fields = line.rstrip("\n").split("\t")
                if line.startswith("#fields"):
                    columns = fields[1:]
                elif not line.startswith("#"):
                    row = dict(zip(columns, fields))
                    failed = row["reply.value"].split(" ")[0] if row["success"] == "F" else None
                    rows.append((row["cmd.name"].upper(), failed, row["success"] != "-"))
        return rows
    return None


def tshark_rows(capture):
    """The same by tshark, which shows arrays of commands; replies are paired here, first in, first out."""
    rows, replies = [], []
    with open(capture + ".tshark.tsv", encoding="utf-8", errors="replace") as f:
        columns = f.readline().rstrip("\n").split("\t")
        for line in f:
            row = dict(zip(columns, line.rstrip("\n").split("\t")))
            if row["tcp.dstport"] not in SERVERS:
                error = row["resp.error"].split(" ")[0] or None
                replies.append(error)
                if len(replies) > len(rows):  # the command was before the capture
                    replies.pop()
            elif row["resp.bulk_string.value"]:
                name = bytes.fromhex(row["resp.bulk_string.value"].split("|")[0])
                rows.append(name.decode(errors="replace").upper())
            else:
                rows.append(None)  # an inline command, which tshark does not show
    return [(name, error, True) for name, error in zip(rows, replies + [None] * len(rows))]


def told(span):
    a = span["attributes"]
    return a.get("db.operation.name", "").split(" ")[0], a.get("error.type"), "clovisor.time_to_first_byte_ns" in a


def score(capture, spans):
    rows = zeek_rows(capture)
    if rows is None:
        rows = tshark_rows(capture)
    result = Score(expected=len(rows))
    found = [told(s) for s in spans if s["attributes"].get("db.system.name") == "redis"]
    result.extra = max(0, len(found) - len(rows))
    # Spans come in the order of their ends: what has no answer ends before what was asked earlier.
    for kind in (False, True):
        said = [f for f in found if f[2] == kind]
        for i, (name, error, answered) in enumerate(r for r in rows if r[2] == kind):
            if i >= len(said):
                result.lines.append(f"{name} is missing")
            elif said[i] == (name or said[i][0], error, answered):
                result.found += 1
            else:
                result.wrong += 1
                result.lines.append(f"{name}, error {error}, answered {answered}; the span says {said[i]}")
    return result
