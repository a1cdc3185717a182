# SPDX-License-Identifier: Apache-2.0
"""DNS: questions and answers as tshark pairs them, Zeek's dns.log, DeepFlow's results, names of Arkime and nDPI."""

import glob
import json
import os
import re

from run import Score

TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 29: "LOC", 33: "SRV",
         35: "NAPTR", 44: "SSHFP", 48: "DNSKEY", 65: "HTTPS", 99: "SPF", 255: "ANY"}
RCODES = ("NOERROR FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED YXDOMAIN YXRRSET NXRRSET NOTAUTH NOTZONE DSOTYPENI RCODE12 "
          "RCODE13 RCODE14 RCODE15 BADVERS BADKEY BADTIME BADMODE BADNAME BADALG BADTRUNC BADCOOKIE").split()


def captures(top):
    return (c for c in glob.glob(os.path.join(top, "*", "dns*", "*.pcap")) if "http" not in os.path.relpath(c, top))


def expected(capture, *suffixes):
    """Paths of what the source itself expects of this capture."""
    stem, found = os.path.split(capture[:-5]), set()
    for folder in ("expected", ""):
        for suffix in suffixes:
            found.update(glob.glob(os.path.join(stem[0], folder, stem[1] + suffix)))
    return sorted(found)


def bare(name):
    """A name without escapes and case: each tool has its own."""
    return re.sub(r"\\(\d\d\d|.)", "?", re.sub(r"[^ -~]", "?", name)).rstrip(".").lower()


def tshark_rows(capture):
    """[time, name, type, rcode or None, answers or None] of each question that was asked for the first time."""
    rows, by_frame, first = [], {}, {}
    path = capture + ".tshark.tsv"
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as f:
        columns = f.readline().rstrip("\n").split("\t")
        for line in f:
            row = dict(zip(columns, line.rstrip("\n").split("\t")))
            number = len(row["dns.id"].split("|"))
            # of one message with several questions the first one counts; several messages have several ids
            pick = lambda key, i, row=row: (row.get(key, "").split("|") + [""] * number)[i]
            for i in range(number):
                name, kind, ident = pick("dns.qry.name", i), pick("dns.qry.type", i), pick("dns.id", i)
                if not name or name.startswith("<"):
                    continue
                kind = TYPES.get(int(kind), "TYPE" + kind)
                stream = (row["udp.stream"], row["tcp.stream"])
                if pick("dns.flags.response", i) == "0":
                    again = first.get((stream, ident, name, kind))
                    if again is not None and again[3] is None:  # and nobody has answered yet
                        by_frame[row["frame.number"], ident] = again
                        continue
                    entry = [float(row["frame.time_epoch"]), name, kind, None, None]
                    first[stream, ident, name, kind] = entry
                    by_frame[row["frame.number"], ident] = entry
                    rows.append(entry)
                elif pick("dns.response_to", i):
                    entry = by_frame.get((pick("dns.response_to", i), ident))
                    if entry and entry[3] is None:
                        entry[3] = int(pick("dns.flags.rcode", i) or 0)
                        answers = pick("dns.count.answers", i)
                        entry[4] = int(answers) if answers else None
    return rows


def zeek_rows(capture):
    """(client port, name, type, rcode) of each row that is about a question."""
    for path in expected(capture, ".*dns.log", ".*dns.log.cut"):
        columns = []
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                fields = line.rstrip("\n").split("\t")
                if line.startswith("#fields"):
                    columns = fields[1:]
                elif line.startswith("ts\t"):
                    columns = fields
                elif line.startswith("#") or len(fields) != len(columns):
                    continue
                else:
                    row = dict(zip(columns, fields))
                    nobody = row.get("qtype_name", "-") == "-" or row.get("query", "-") == "-"
                    if nobody or row.get("id.resp_p") == "137":
                        continue  # an answer to nobody; NetBIOS
                    kind = {"*": "ANY"}.get(row["qtype_name"], row["qtype_name"])
                    kind = re.sub(r"^query-(\d+)$", r"TYPE\1", kind)
                    yield row.get("id.orig_p"), row["query"], kind, row.get("rcode_name", "-")


def deepflow_rows(capture):
    """(name, type, rcode) of each answer."""
    for path in expected(capture, ".result"):
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith("{"):
                    row = json.loads(line[:line.rindex("}") + 1])
                    if row["msg_type"] == "Response":
                        yield row["request_resource"], row["request_type"], row.get("response_code")


def told_names(capture):
    """Names that Arkime and nDPI have for the capture's sessions, and that no sanitizing has touched."""
    for path in expected(capture, ".test"):
        with open(path, encoding="utf-8") as f:
            for session in json.load(f).get("sessions3", []):
                for entry in session["body"].get("dns", []):
                    if entry.get("queryHost"):
                        yield entry["queryHost"]
    for path in expected(capture, ".pcap.out"):
        with open(path, encoding="utf-8", errors="replace") as f:
            yield from re.findall(r"DNS\].*\[Hostname/SNI: ([a-z0-9.-]+)\]", f.read())


class Spans:
    def __init__(self, spans):
        self.all = [(int(x["start_time_unix_nano"]) / 1e9, x["attributes"]) for x in spans
                    if x["name"].startswith("DNS")]
        self.told = [False] * len(self.all)

    def take(self, used, fits):
        """The first span that fits and is not used yet."""
        for i, (start, a) in enumerate(self.all):
            if i not in used and fits(start, a):
                used.add(i)
                self.told[i] = True
                return a
        return None


def rcode_of(a):
    name = a.get("clovisor.dns.response_code")
    return RCODES.index(name) & 15 if name else None


def score_tshark(s, spans, capture):
    used = set()
    for time, name, kind, rcode, answers in tshark_rows(capture):
        s.expected += 1
        a = spans.take(used, lambda start, a: abs(start - time) < 2e-6 and
                       bare(a.get("dns.question.name", "")) == bare(name) and
                       a.get("clovisor.dns.question.type") == kind)
        if a is None:
            s.lines.append(f"tshark: no span of {kind} {name} at {time:.6f}")
        elif rcode_of(a) != rcode:
            s.wrong += rcode is not None and rcode_of(a) is not None
            s.lines.append(f"tshark: {kind} {name}: answered by {rcode_of(a)}, not {rcode}")
        elif answers is not None and a.get("clovisor.dns.answer_count", answers) != answers:
            s.wrong += 1
            s.lines.append(f"tshark: {kind} {name}: {a['clovisor.dns.answer_count']} answers, not {answers}")
        else:
            s.found += 1


def score_others(s, spans, capture):
    used, again = set(), {}
    for port, name, kind, rcode in zeek_rows(capture):
        s.expected += 1
        key = port, bare(name), kind
        if rcode == "-" and again.get(key, 0):  # each time that it was asked; we have that in one span
            again[key] -= 1
            s.found += 1
            continue
        a = spans.take(used, lambda _, a: bare(a.get("dns.question.name", "")) == bare(name) and
                       port in (None, str(a["client.port"])) and a.get("clovisor.dns.question.type") == kind)
        got = a and a.get("clovisor.dns.response_code", "-")
        again[key] = again.get(key, 0) + (a or {}).get("clovisor.retransmits", 0)
        if a is None or (got != rcode and rcode != "-"):
            s.wrong += a is not None and got != "-"
            s.lines.append(f"zeek: {kind} {name} {rcode} from port {port}: {got}")
        else:
            s.found += 1
    used = set()
    for name, kind, rcode in deepflow_rows(capture):
        s.expected += 1
        a = spans.take(used, lambda _, a: bare(a.get("dns.question.name", "")) == bare(name) and
                       a.get("clovisor.dns.question.type") == kind)
        if a is None or (rcode is not None and rcode_of(a) != rcode):
            s.lines.append(f"deepflow: {kind} {name} {rcode}")
        else:
            s.found += 1
    for name in sorted(set(told_names(capture))):
        s.expected += 1
        if any(bare(a.get("dns.question.name", "")) == bare(name) for _, a in spans.all):
            s.found += 1
        else:
            s.lines.append(f"arkime, ndpi: {name}")


def score(capture, spans):
    s, ours = Score(), Spans(spans)
    score_tshark(s, ours, capture)
    score_others(s, ours, capture)
    for told, (_, a) in zip(ours.told, ours.all):
        if not told:
            s.extra += 1
            s.lines.append(f"extra: {a.get('clovisor.dns.question.type')} {a.get('dns.question.name')}")
    return s
