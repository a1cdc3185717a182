# SPDX-License-Identifier: Apache-2.0
"""Memcached, by the example plugin: commands and answers that tshark saw, text over TCP. The binary protocol and UDP
are not the plugin's: of these captures nothing may be found."""

import atexit
import glob
import os
import sys

from run import Score

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import plugins  # noqa: E402

_built = []


def captures(top):
    return [path for ext in ("pcap", "cap") for path in glob.glob(os.path.join(top, "*", "memcache", "*." + ext))]


def __getattr__(name):
    """The plugin is built when it is asked for."""
    if name != "read_args":
        raise AttributeError(name)
    if not _built:
        installed = plugins.Installed()
        atexit.register(installed.close)
        _built.append(installed.example("plugin-memcached"))
    return ["--plugin", _built[0]]


def exchanges(capture):
    """What tshark saw, as [command, first key, number of keys, answer]; None where it says nothing."""
    rows = []
    with open(capture + ".tshark.tsv", encoding="utf-8", errors="replace") as f:
        columns = f.readline().rstrip("\n").split("\t")
        for line in f:
            row = dict(zip(columns, line.rstrip("\n").split("\t")))
            keys = [k for k in row.get("memcache.key", "").split("|") if k]
            if row.get("memcache.magic") or not row.get("tcp.stream"):
                continue
            if row["memcache.command"] and row["tcp.dstport"] == "11211":
                rows.append([row["memcache.command"], keys[0] if keys else "", len(keys), None])
            elif rows and row["tcp.srcport"] == "11211":
                answer = row.get("memcache.response", "").split("|")[0]
                if rows[-1][0] in ("get", "gets") and (keys or answer == "END"):
                    answer = ["MISS", "HIT"][len(keys) == rows[-1][2]] if len(keys) in (0, rows[-1][2]) else "PARTIAL"
                rows[-1][3] = answer or None
    return rows


def says(span):
    """What a span says of its answer, in tshark's words."""
    a = span["attributes"]
    if "memcached.keys.missed" in a:
        found = a["db.response.returned_rows"]
        return "PARTIAL" if found and a["memcached.keys.missed"] else "HIT" if found else "MISS"
    return a.get("db.response.status_code")


def score(capture, spans):
    s = Score()
    spans = [span for span in spans if span["attributes"].get("db.system.name") == "memcached"]
    rows = exchanges(capture)
    s.expected = len(rows)
    for (command, key, count, answer), span in zip(rows, spans):
        a = span["attributes"]
        same = a.get("db.operation.name") == command and a.get("db.operation.batch.size", 1) == max(count, 1)
        if answer in (None, "STAT"):
            pass
        elif says(span) != answer:
            same = False
        s.found += same
        s.wrong += not same
        if not same:
            s.lines.append(f"{command} {key}: {answer}; here {a}")
    s.extra = max(0, len(spans) - len(rows))
    return s
