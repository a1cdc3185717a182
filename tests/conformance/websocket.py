# SPDX-License-Identifier: Apache-2.0
"""WebSocket: sessions behind the upgrades that tshark and Zeek saw, messages that pcap2har found, pings of suricata."""

import glob
import json
import os

from run import Score


def captures(top):
    return glob.glob(os.path.join(top, "*", "websocket", "*.pcap"))


def upgrades(capture):
    """The targets of requests answered by 101 (tshark)."""
    with open(capture + ".oracle.tsv", encoding="utf-8", errors="replace") as f:
        for line in f:
            fields = line.rstrip("\n").split("\t")
            if len(fields) > 5 and fields[5] == "101":
                yield fields[4].split("?")[0]


def zeek_uris(capture):
    """Zeek's websocket.log: one row a session."""
    pattern = os.path.join(os.path.dirname(capture), "expected", os.path.basename(capture) + ".*websocket.log")
    for path in glob.glob(pattern):
        columns = []
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                fields = line.rstrip("\n").split("\t")
                if line.startswith("#fields"):
                    columns = fields[1:]
                elif line.startswith("ts\t"):
                    columns = fields
                elif not line.startswith("#"):
                    yield dict(zip(columns, fields))["uri"].split("?")[0]


def har_messages(capture):
    """pcap2har: each message with its kind and direction, as (attribute, count)."""
    stem = os.path.basename(capture).split("-")[0]
    names = {"send": "received", "receive": "sent"}  # its client's view; ours is the server's
    for path in glob.glob(os.path.join(os.path.dirname(capture), "expected", stem + "-*.golden")):
        with open(path, encoding="utf-8") as f:
            entries = json.load(f)["log"]["entries"]
        for entry in entries:
            counts = {}
            for message in entry.get("_webSocketMessages", []):
                kind = {1: "text", 2: "binary"}.get(message["opcode"])
                if kind:
                    key = f"clovisor.websocket.{kind}.{names[message['type']]}"
                    counts[key] = counts.get(key, 0) + 1
            if counts:
                yield counts


def suricata_controls(capture):
    """Pings and pongs that suricata's test asks for."""
    path = os.path.join(os.path.dirname(capture), "expected", os.path.basename(capture)[:-5] + ".test.yaml")
    if not os.path.exists(path):
        return 0
    with open(path, encoding="utf-8") as f:
        blocks = f.read().split("- filter:")
    return sum(1 for b in blocks if "event_type: websocket" in b and ("opcode: ping" in b or "opcode: pong" in b))


def score(capture, spans):
    s = Score()
    sessions = [x["attributes"] for x in spans if x["name"] == "WEBSOCKET"]
    paths = [a.get("url.path") for a in sessions]
    for source in (upgrades, zeek_uris):
        left = list(paths)
        for path in source(capture):
            s.expected += 1
            if path in left:
                left.remove(path)
                s.found += 1
            else:
                s.lines.append(f"no session at {path} ({source.__name__})")
        if source is upgrades:
            s.extra += len(left)
    for counts in har_messages(capture):
        for key, n in counts.items():
            s.expected += n
            best = max((a.get(key, 0) for a in sessions), default=0)
            s.found += min(n, best)
            if best > n:
                s.wrong += 1
                s.lines.append(f"{key}: {best} instead of {n}")
    wanted = suricata_controls(capture)
    if wanted:
        got = sum(a["clovisor.websocket.control.sent"] + a["clovisor.websocket.control.received"] for a in sessions)
        s.expected += wanted
        s.found += min(got, wanted)
        s.wrong += got > wanted
    return s
