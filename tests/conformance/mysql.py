# SPDX-License-Identifier: Apache-2.0
"""MySQL: what tshark's dumps, Zeek's logs and DeepFlow's records say, held against clovisor's spans.

A row is a command that is answered, with its answer. tshark gives both by frame: a span begins at the very time of the
command's frame. Zeek and DeepFlow give them in order, without times. What nobody answers (QUIT, CLOSE) has no span.
"""

import csv
import glob
import json
import os
import re

from run import Score

read_args = []
COMMANDS = {2: "INIT_DB", 3: "QUERY", 4: "FIELD_LIST", 14: "PING", 22: "PREPARE", 23: "EXECUTE", 26: "RESET_STATEMENT",
            27: "SET_OPTION", 28: "FETCH", 31: "RESET_CONNECTION", 17: "CHANGE_USER", 9: "STATISTICS"}
SILENT = {1, 24, 25}
ZEEK = {"login": "LOGIN", "query": "QUERY", "init_db": "INIT_DB", "ping": "PING", "field_list": "FIELD_LIST"}
csv.field_size_limit(1 << 30)


def captures(top):
    return glob.glob(os.path.join(top, "*", "mysql", "*.pcap"))


def words(sql):
    """The first words of a statement, without comments and literals."""
    sql = re.sub(r"\\[rnt]", " ", sql)
    sql = re.sub(r"/\*.*?\*/|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", " ", sql, flags=re.S)
    return [w.lower() for w in re.findall(r"[A-Za-z_]+", sql)][:4]


class Span:
    def __init__(self, span):
        a = span["attributes"]
        self.name, self.start = span["name"], int(span["start_time_unix_nano"])
        self.port = a["client.port"]
        self.operation = a.get("db.operation.name", "QUERY")
        self.text, self.summary = a.get("db.query.text", ""), a.get("db.query.summary", self.name)
        self.error, self.user = a.get("db.response.status_code"), a.get("clovisor.db.user")
        self.db = a.get("db.namespace")
        self.affected = a.get("clovisor.db.rows_affected")
        self.answered = "clovisor.time_to_first_byte_ns" in a
        self.used = False

    def contradicts(self, row):
        """What the span says that the row does not; empty when they agree."""
        bad = []
        same = self.operation == row["operation"] or (self.operation == "QUERY" and row["operation"] == "EXECUTE")
        if not same:
            bad.append(f"{self.operation} is not {row['operation']}")
        if row.get("query") and self.operation in ("QUERY", "PREPARE") and not self.text:
            bad.append("no text")
        if row.get("query") and self.text and words(row["query"]) != words(self.text):
            bad.append(f"{self.text[:60]!r} is not {row['query'][:60]!r}")
        for key in ("user", "db"):
            if row.get(key) and getattr(self, key) != row[key]:
                bad.append(f"{key} {getattr(self, key)} is not {row[key]}")
        if "error" in row and (self.error or "") != (row["error"] or ""):
            bad.append(f"error {self.error} is not {row['error']}")
        if row.get("failed") is not None and row["failed"] != (self.error is not None):
            bad.append(f"error {self.error}, failed: {row['failed']}")
        if row.get("affected") is not None and self.affected is not None and self.affected != row["affected"]:
            bad.append(f"{self.affected} rows affected, not {row['affected']}")
        for word in row.get("summary", "").split():
            if word.lower() not in self.summary.replace("`", "").lower():
                bad.append(f"{word} is not in {self.summary}")
        return bad


def split(cell):
    return [c for c in re.split(r"[|,]", cell) if c]


def tshark(path):
    """Rows of a dump: commands by time and client port, and of their answers what the next frame says."""
    rows, open_row = [], {}
    with open(path, encoding="utf-8", errors="replace", newline="") as f:
        for r in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE):
            stream, numbers = r["tcp.stream"], split(r["mysql.packet_number"])
            commands = [int(c) for c in split(r["mysql.command"])]
            seconds, _, nanos = r["frame.time_epoch"].partition(".")
            at = int(seconds) * 10**9 + int(nanos.ljust(9, "0")[:9])
            row = None
            if numbers and numbers[0] != "0":  # tshark sees commands in what a login goes on with
                commands = []
            if commands and commands[-1] not in SILENT:
                row = {"operation": COMMANDS.get(commands[-1], f"COM {commands[-1]}"), "query": r["mysql.query"]}
            elif r["mysql.user"] or (numbers == ["1"] and r["mysql.schema"]):
                row = {"operation": "LOGIN", "user": r["mysql.user"], "db": r["mysql.schema"]}
            if row:
                row.update(start=at, port=int(r["tcp.srcport"]))
                rows.append(row)
                open_row[stream] = row
                continue
            row = open_row.get(stream)
            if row and int(r["tcp.dstport"]) == row["port"] and not commands:
                if r["mysql.error_code"]:
                    row["error"] = split(r["mysql.error_code"])[0]
                elif r["mysql.response_code"]:
                    row.setdefault("error", None)
                if r["mysql.affected_rows"] and "|" not in r["mysql.packet_number"]:
                    row["affected"] = int(split(r["mysql.affected_rows"])[-1])
                row["answered"] = True
    return rows


def zeek(path):
    rows, fields = [], []
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith("#fields"):
                fields = line.rstrip("\n").split("\t")[1:]
            elif fields and not line.startswith("#"):
                r = dict(zip(fields, line.rstrip("\n").split("\t")))
                if r["cmd"] == "quit":
                    continue
                row = {"operation": ZEEK.get(r["cmd"], r["cmd"]), "port": int(r["id.orig_p"])}
                row["failed"] = {"T": False, "F": True}.get(r["success"])
                row["affected"] = int(r["rows"]) if r["rows"] not in ("-", "0") else None
                if r["cmd"] == "query":
                    row["query"] = r["arg"].replace("\\x0a", " ")
                elif r["cmd"] == "login":
                    row["user"] = r["arg"]
                elif r["cmd"] == "init_db":
                    row["db"] = r["arg"]
                rows.append(row)
    return rows


def deepflow(path):
    """One record a packet: a response belongs to the request before it."""
    rows = []
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            try:
                r = json.loads(line[:line.rindex("}") + 1])
            except ValueError:
                continue
            if r["msg_type"] == "Request":
                login = (r.get("request_resource") or "").startswith("Login username")
                row = {"operation": "LOGIN" if login else COMMANDS.get(r["request_type"], str(r["request_type"]))}
                if r["request_type"] in (3, 22):
                    row["query"] = r.get("request_resource") or ""
                if r.get("endpoint") and not login:
                    row["summary"] = r["endpoint"]
                rows.append(row)
            elif r["msg_type"] == "Response" and rows:
                rows[-1]["failed"] = r["response_status"] not in ("ok", "unknown")
                if r.get("sql_affected_rows"):
                    rows[-1]["affected"] = r["sql_affected_rows"]
    return rows


def in_order(rows, spans, score, source):
    """Rows without times, against the spans of their order."""
    left = list(spans)
    for row in rows:
        score.expected += 1
        for i, span in enumerate(left):
            if not span.contradicts(row) and row.get("port", span.port) == span.port:
                score.found += 1
                del left[:i + 1]
                break
        else:
            score.lines.append(f"{source}: missing {row}")


def score(capture, spans):
    result = Score()
    spans = sorted((Span(s) for s in spans), key=lambda s: s.start)
    for row in tshark(capture + ".tshark.tsv"):
        result.expected += 1
        match = [s for s in spans if s.start // 1000 == row["start"] // 1000 and s.port == row["port"] and not s.used]
        if not match:
            result.lines.append(f"tshark: missing {row}")
            continue
        match[0].used = True
        bad = match[0].contradicts(row)
        result.found += not bad
        result.wrong += bool(bad)
        if bad:
            result.lines.append(f"tshark: {match[0].name}: {'; '.join(bad)}")
    for span in spans:
        if not span.used:
            result.extra += 1
            result.lines.append(f"extra: {span.operation} {span.name} at {span.start}")
    base = os.path.basename(capture)
    for log in glob.glob(os.path.join(os.path.dirname(capture), "expected", base + ".*mysql.log")):
        in_order(zeek(log), spans, result, "zeek")
    if os.path.exists(capture[:-5] + ".result"):
        in_order(deepflow(capture[:-5] + ".result"), spans, result, "deepflow")
    return result
