# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: the queries and executions that tshark dissected, with their texts and errors; Zeek's rows likewise."""

import glob
import os
import re

from run import Score

# What asks for an answer of its own, and what ends one.
ASKS = {"Simple query", "Execute", "Function call", "Cancel request"}


def captures(top):
    return [c for c in glob.glob(os.path.join(top, "*", "postgresql", "*.pcap"))
            if os.path.exists(c + ".tshark.tsv")]


def plain(text):
    """A statement without what literals, comments and white space make of it."""
    text = re.sub(r"/\*.*?\*/|--[^\n]*", " ", text, flags=re.S)
    text = re.sub(r"[eEbBxXnN]?'(?:[^']|'')*'", "?", text)
    text = re.sub(r"(?<![\w$\"])[-+]?\d[\w.]*", "?", text)
    text = re.sub(r"\b(true|false)\b", "?", text, flags=re.I)
    text = re.sub(r"(?<=[^\w)\s])\s*[-+]\?", "?", text)
    return re.sub(r"\W+", " ", re.sub(r"(\?\s*,\s*)+\?", "?", text)).strip().lower()


class Stream:
    def __init__(self):
        self.asked, self.open = [], []  # rows; those without an answer
        self.unnamed, self.named = None, {}
        self.portal = None


def rows(capture):
    """One dict a request: port, time_ns, text (None: not known), answered, error."""
    streams = {}
    with open(capture + ".tshark.tsv", encoding="utf-8", errors="replace") as f:
        columns = next(f).rstrip("\n").split("\t")
        for line in f:
            r = dict(zip(columns, line.rstrip("\n").split("\t")))
            s = streams.setdefault(r["tcp.stream"], Stream())
            seconds, _, part = r["frame.time_epoch"].partition(".")
            at = int(seconds) * 10**9 + int(part.ljust(9, "0")[:9])
            types = r["pgsql.type"].split("|")
            said = r["pgsql.query"].replace("\\n", "\n").replace("\\r", " ").replace("\\t", " ")  # tshark's escapes
            texts = said.split("|") if said else []
            # A bar within a statement looks like one between two: then only their number is known.
            sure = len(texts) == sum(t in ("Simple query", "Parse") for t in types)
            for kind, front in zip(types, r["pgsql.frontend"].split("|")):
                text = texts.pop(0) if sure and kind in ("Simple query", "Parse") else None
                if front == "1" and kind == "Parse":
                    s.unnamed = text
                elif front == "1" and kind in ASKS:
                    row = {"port": int(r["tcp.srcport"]), "at": at, "text": text, "kind": kind, "answered": False,
                           "error": None}
                    if kind == "Execute" and "Parse" in types:
                        row["text"] = s.unnamed
                    s.asked.append(row)
                    s.open.append(row)
                elif front == "0" and kind == "Error" and s.open:
                    s.open[0].update(answered=True, error=r["pgsql.code"].split("|")[0])
                elif front == "0" and kind in ("Command completion", "Empty query", "Portal suspended") and s.open:
                    s.open[0]["answered"] = True
                    if s.open[0]["kind"] == "Execute":
                        s.open.pop(0)
                elif front == "0" and kind == "Ready for query" and s.open and s.open[0]["answered"]:
                    s.open.pop(0)
    return [row for s in streams.values() for row in s.asked]


def zeek(capture):
    """Queries that Zeek logged, as plain texts."""
    for path in glob.glob(os.path.join(os.path.dirname(capture), "expected", os.path.basename(capture) + ".*")):
        columns = []
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                fields = line.rstrip("\n").split("\t")
                if line.startswith("ts\t"):
                    columns = fields
                elif columns and not line.startswith("#"):
                    row = dict(zip(columns, fields))
                    if row.get("frontend") == "simple_query":
                        yield (int(row["id.orig_p"]), plain(row["frontend_arg"].replace("\\x0a", "\n")),
                               None if row["rows"] in "-0" else int(row["rows"]))


def score(capture, spans):
    s = Score()
    left = sorted((x for x in spans if x["attributes"].get("db.system.name") == "postgresql"),
                  key=lambda x: int(x["start_time_unix_nano"]))
    for row in rows(capture):
        s.expected += 1
        span = next((x for x in left if x["attributes"]["client.port"] == row["port"] and
                     abs(int(x["start_time_unix_nano"]) - row["at"]) < 1000), None)
        if not span:
            s.lines.append(f"no span: {row}")
            continue
        left.remove(span)
        a = span["attributes"]
        text = plain(a.get("db.query.text", ""))
        if row["text"] and text and plain(row["text"])[:len(text) if len(text) > 1500 else None] != text:
            s.wrong += 1
            s.lines.append(f"another statement: {plain(a['db.query.text'])} instead of {plain(row['text'])}")
        elif row["answered"] and a.get("error.type") != row["error"]:
            s.wrong += not a.get("clovisor.unpaired", False)
            s.lines.append(f"{a.get('error.type')} instead of {row}")
        elif row["answered"] and (a.get("clovisor.unpaired") or (row["text"] and "db.query.text" not in a)):
            s.lines.append(f"no answer, or no statement: {row}")
        else:
            s.found += 1
    s.extra = sum(not x["name"].startswith("CONNECT") for x in left)
    said = [(x["attributes"]["client.port"], plain(x["attributes"].get("db.query.text", "")),
             x["attributes"].get("db.response.returned_rows")) for x in spans if x["name"] != "GET"]
    for port, text, count in zeek(capture):
        s.expected += 1
        # Rows that are counted from DataRow are known to us where the command's tag says them, too.
        match = next((x for x in said if x[:2] == (port, text) and (not count or x[2] in (count, None))), None)
        if match:
            said.remove(match)
            s.found += 1
        else:
            s.lines.append(f"not as Zeek has it: {text}")
    return s
