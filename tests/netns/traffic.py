#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two HTTP/1 peers that send everything the protocol allows, and write down what they exchanged.

usage: traffic.py server PORT LOG SEED
       traffic.py client HOST PORT LOG SEED CONNECTIONS REQUESTS

Pipelining, every framing, interim responses, early answers, heads and bodies cut anywhere, bodies that quote
messages. The client's log has a line for each answered request: id, method, target, body sizes, status, and the
times before its first byte was sent and after its answer's last byte was received; the server's: status, sizes, and
the times after the first byte came and before the last one left. Whatever sits between the two must see times that
lie between theirs. The same SEED sends the same messages.
"""

import json
import random
import re
import select
import socket
import sys
import threading
import time

METHODS = ["GET"] * 6 + ["POST"] * 4 + ["PUT", "PATCH", "DELETE", "HEAD", "HEAD", "OPTIONS", "PURGE", "M-SEARCH"]
STATUSES = [200] * 8 + [201, 202, 206, 204, 204, 301, 304, 304, 400, 404, 404, 409, 500, 503]
BAIT = (b"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad\r\n\r\nGET /bait HTTP/1.1\r\nHost: bait\r\n\r\n"
        b"POST /bait HTTP/1.1\r\nContent-Length: 5\r\n\r\n0\r\n\r\nHTTP/1.1 500 Bait\r\n\r\n")


def now():
    return time.time_ns()


def body_bytes(rng):
    size = rng.choice([0, 1, rng.randrange(2000), rng.randrange(2000), rng.randrange(70_000), rng.randrange(70_000),
                       rng.choice([100, 300_000, 2_000_000])])
    if rng.random() < 0.5:
        return (BAIT * (size // len(BAIT) + 1))[:size]
    return rng.randbytes(size)


def filler(rng):
    """Header lines that nobody needs: many, long, folded, or none."""
    lines = []
    for i in range(rng.choice([0, 0, 1, 2, 5, 40])):
        value = rng.choice(["x", "a b c", "HTTP/1.1 200 OK", "GET /bait HTTP/1.1", "y" * rng.randrange(400)])
        lines.append(f"X-Filler-{i}: {value}")
    if rng.random() < 0.03:
        lines.append("X-Long: " + "z" * rng.randrange(20_000, 40_000))
    return lines


def chunked(rng, body, trailers):
    out, at = bytearray(), 0
    while at < len(body):
        n = min(len(body) - at, rng.choice([1, rng.randrange(1, 100), rng.randrange(1, 9000), 100_000]))
        if len(body) > 20_000:
            n = min(len(body) - at, max(n, 5000))
        extension = rng.choice(["", "", "", ";a=b", ';q="x;y"', " ;z"])
        out += f"{n:{rng.choice(['x', 'X', '04x'])}}{extension}\r\n".encode() + body[at:at + n] + b"\r\n"
        at += n
    out += b"0\r\n" + (b"X-Trailer: t\r\nX-More: u\r\n" if trailers else b"") + b"\r\n"
    return bytes(out)


def send_pieces(sock, data, rng, marks):
    """Sends in pieces cut anywhere; marks are (offset, record, key): stamped before the piece that holds offset."""
    style = rng.choice(["whole", "whole", "coarse", "fine", "bytes"])
    at = 0
    marks = sorted(marks, key=lambda m: m[0])
    while at < len(data):
        left = len(data) - at
        if style == "bytes" and at < 60:
            n = 1
        elif style == "fine" and at < 3000:
            n = rng.randrange(1, 60)
        else:
            n = min(left, 65_536 if style == "whole" else rng.randrange(1, 20_000))
        while marks and marks[0][0] < at + n:
            _, record, key = marks.pop(0)
            record[key] = now()
        sock.sendall(data[at:at + n])
        at += n
        if style != "whole" and rng.random() < 0.02:
            time.sleep(rng.random() * 0.002)


class Reader:
    """Buffered input that says when it is about to wait."""

    def __init__(self, sock, before_wait=lambda: None):
        self.sock, self.buffer, self.before_wait = sock, bytearray(), before_wait

    def fill(self):
        if not select.select([self.sock], [], [], 0)[0]:
            self.before_wait()
        data = self.sock.recv(262_144)
        self.buffer += data
        return len(data) > 0

    def line(self):
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0:
                line = bytes(self.buffer[:end])
                del self.buffer[:end + 1]
                return line.rstrip(b"\r").decode("latin-1")
            if not self.fill():
                return None

    def take(self, n):
        left = n
        while left:
            if not self.buffer and not self.fill():
                raise EOFError
            k = min(left, len(self.buffer))
            del self.buffer[:k]
            left -= k
        return n

    def rest(self):
        n = len(self.buffer)
        self.buffer.clear()
        while self.fill():
            n += len(self.buffer)
            self.buffer.clear()
        return n

    def headers(self):
        fields = {}
        while True:
            line = self.line()
            if line is None:
                raise EOFError
            if not line:
                return fields
            if line[0] not in " \t":
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()

    def chunks(self):
        total = 0
        while True:
            n = int(self.line().split(";")[0], 16)
            if n == 0:
                self.headers()
                return total
            total += self.take(n)
            self.line()

    def body(self, fields):
        if "transfer-encoding" in fields:
            return self.chunks()
        return self.take(int(fields.get("content-length", 0)))


class Log:
    def __init__(self, path):
        self.file, self.lock = open(path, "w", encoding="ascii"), threading.Lock()

    def write(self, record):
        with self.lock:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()


# ---- server


class Answers:
    """Responses on their way out; small ones may wait for the next, so that several share a segment."""

    def __init__(self, sock, log, rng):
        self.sock, self.log, self.rng, self.data, self.marks = sock, log, rng, bytearray(), []

    def add(self, data, record=None):
        self.data += data
        if record is not None:
            self.marks.append((len(self.data) - 1, record, "last_out"))

    def flush(self):
        if self.data:
            data, marks, self.data, self.marks = bytes(self.data), self.marks, bytearray(), []
            send_pieces(self.sock, data, self.rng, marks)
            for _, record, _ in marks:
                self.log.write(record)


def response(rng, method, version, closing, record):
    """The bytes of an answer; fills in what the log wants to know."""
    status = rng.choice(STATUSES)
    body = b"" if status in (204, 304) else body_bytes(rng)
    fields = filler(rng)
    # Those without a body say a length all the same where they may: HEAD and 304 describe another answer.
    if status == 204:
        payload = b""
    elif method == "HEAD" or status == 304:
        fields += rng.choice([[], [f"Content-Length: {rng.randrange(100_000)}"], ["Transfer-Encoding: chunked"]])
        payload = body = b""
    elif version == "1.1" and rng.random() < 0.4:
        trailers = rng.random() < 0.4
        fields.append(rng.choice(["Transfer-Encoding: chunked", "transfer-encoding:chunked"]))
        payload = chunked(rng, body, trailers)
    elif closing and rng.random() < 0.6:
        payload = body
    else:
        fields.append(rng.choice([f"Content-Length: {len(body)}", f"content-length:{len(body)} "]))
        payload = body
    if closing:
        fields.append("Connection: close")
    elif version == "1.0":
        fields.append("Connection: keep-alive")
    rng.shuffle(fields)
    reason = rng.choice([" Because", " Two Words", " "])
    end = rng.choice(["\r\n", "\r\n", "\r\n", "\n"])
    record.update(status=status, response_body=len(body))
    return (end.join([f"HTTP/1.1 {status}{reason}"] + fields) + end + end).encode() + payload


def serve_one(reader, answers, seed):
    """One request and its answer; false when the connection is over."""
    line = reader.line()
    while line == "":
        line = reader.line()
    if line is None:
        return False
    record = {"first_in": now()}
    method, uri, protocol = line.split(" ")
    record["id"] = re.search(r"/r(\d+\.\d+)/", uri)[1]
    version = protocol[5:]
    fields = reader.headers()
    closing = fields.get("connection") == "close" or (version == "1.0" and fields.get("connection") != "keep-alive")
    rng = random.Random(f"{seed}/answer/{record['id']}")
    has_body = "transfer-encoding" in fields or int(fields.get("content-length", 0)) > 0
    early = has_body and not closing and rng.random() < 0.2
    answer = response(rng, method, version, closing, record)
    if "expect" in fields and not early:
        answers.add(b"HTTP/1.1 100 Continue\r\n\r\n")
        answers.flush()
    elif version == "1.1" and rng.random() < 0.1:
        answers.add(rng.choice([b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n"]))
    if early:
        answers.add(answer, record)
        answers.flush()
        record["request_body"] = reader.body(fields)
        return True
    record["request_body"] = reader.body(fields)
    if rng.random() < 0.1:
        answers.flush()
        time.sleep(rng.random() * 0.01)
    answers.add(answer, record)
    if closing or len(answers.data) > 4000 or rng.random() < 0.5:
        answers.flush()
    return not closing


def serve(sock, log, seed, number):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers = Answers(sock, log, random.Random(f"{seed}/server/{number}"))
    reader = Reader(sock, answers.flush)
    try:
        while serve_one(reader, answers, seed):
            pass
        answers.flush()
    except (OSError, EOFError) as e:
        print(f"server connection {number}: {e!r}", file=sys.stderr)
    try:
        sock.shutdown(socket.SHUT_WR)
        reader.rest()
    except OSError:
        pass
    sock.close()


def server(port, log, seed):
    with socket.create_server(("", int(port)), backlog=256) as listener:
        print("listening", flush=True)
        number = 0
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, log, seed, number), daemon=True).start()
            number += 1


# ---- client


def request(rng, ident, last):
    """(head, body bytes, record)"""
    method = rng.choice(METHODS)
    version = "1.0" if rng.random() < 0.1 else "1.1"
    path = f"/r{ident}/" + rng.choice(["", "index.html", "a//b/./c", "%20%ff", "x" * rng.randrange(300),
                                      "~;,:@!$&'()*+="])
    query = rng.choice([None, None, "", "a=1&b=2", "q=%0d%0a", "u=http://x/?y", "z" * 200])
    target = path + ("" if query is None else "?" + query)
    uri = target if rng.random() < 0.9 else "http://absolute.example:8080" + target
    fields = ["Host: traffic.example"] + filler(rng)
    body, payload, expect = b"", b"", False
    if method not in ("GET", "HEAD", "OPTIONS", "DELETE") or rng.random() < 0.1:
        body = body_bytes(rng)
        if version == "1.1" and rng.random() < 0.4:
            fields.append("Transfer-Encoding: chunked")
            payload = chunked(rng, body, rng.random() < 0.3)
        else:
            fields.append(f"Content-Length: {len(body)}")
            payload = body
        expect = version == "1.1" and len(payload) > 0 and rng.random() < 0.2
        if expect:
            fields.append("Expect: 100-continue")
    if last and (version == "1.1" or rng.random() < 0.5):
        fields.append("Connection: close")
    elif not last and version == "1.0":
        fields.append("Connection: keep-alive")
    rng.shuffle(fields)
    end = rng.choice(["\r\n", "\r\n", "\r\n", "\n"])
    head = (end.join([f"{method} {uri} HTTP/{version}"] + fields) + end + end).encode()
    record = dict(id=ident, method=method, target=target, request_body=len(body))
    return head, payload, expect, record


class Connection:
    def __init__(self, host, port, log, seed, number, requests):
        self.rng, self.log = random.Random(f"{seed}/client/{number}"), log
        self.sock = socket.create_connection((host, int(port)))
        self.sock.settimeout(60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = self.sock.getsockname()[1]
        self.todo = [request(self.rng, f"{number}.{i}", i == requests - 1) for i in range(requests)]
        self.sent, self.answered, self.go_on = [], 0, threading.Event()
        self.news = threading.Condition()
        self.failed = None

    def write(self):
        while self.todo:
            head, payload, expect, _ = self.todo[0]
            batch = [self.todo.pop(0)]
            if not expect:
                for _ in range(self.rng.choice([0, 0, 1, 3, 8])):
                    if self.todo and not self.todo[0][2]:
                        batch.append(self.todo.pop(0))
            with self.news:
                self.sent += [b[3] for b in batch]
            if expect:
                self.go_on.clear()
                send_pieces(self.sock, head, self.rng, [(0, batch[0][3], "first_out")])
                self.go_on.wait(30)
                send_pieces(self.sock, payload, self.rng, [])
            else:
                data, marks = bytearray(), []
                for h, p, _, record in batch:
                    data += b"\r\n" * (self.rng.random() < 0.05)
                    marks.append((len(data), record, "first_out"))
                    data += h + p
                send_pieces(self.sock, bytes(data), self.rng, marks)
            allowed = self.rng.choice([0, 0, 2, 10])
            with self.news:
                self.news.wait_for(lambda: self.failed or len(self.sent) - self.answered <= allowed, 60)

    def read_one(self, reader):
        while True:
            line = reader.line()
            if line is None:
                return False
            status = int(line.split(" ")[1])
            fields = reader.headers()
            self.go_on.set()
            if status >= 200:
                break
        record = self.sent[self.answered]
        if record["method"] == "HEAD" or status in (204, 304):
            size = 0
        elif "transfer-encoding" in fields or "content-length" in fields:
            size = reader.body(fields)
        else:
            size = reader.rest()
        record.update(status=status, response_body=size, last_in=now(), port=self.port)
        self.log.write(record)
        with self.news:
            self.answered += 1
            self.news.notify_all()
        return True

    def run(self, total):
        writer = threading.Thread(target=self.write)
        writer.start()
        reader = Reader(self.sock)
        try:
            while self.answered < total and self.read_one(reader):
                pass
        except Exception as e:  # noted, and told by the exit status
            self.failed = e
        writer.join()
        self.sock.close()
        if self.answered < total:
            self.failed = self.failed or EOFError(f"{self.answered} of {total} answers")
        return self.failed


def client(host, port, log, seed, connections, requests):
    lock, failures, numbers = threading.Lock(), [], iter(range(int(connections)))

    def worker():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            total = random.Random(f"{seed}/{number}").randrange(1, int(requests) * 2)
            failed = Connection(host, port, log, seed, number, total).run(total)
            if failed:
                failures.append(f"connection {number}: {failed!r}")

    workers = [threading.Thread(target=worker) for _ in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for f in failures:
        print(f, file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    role, args = sys.argv[1], sys.argv[2:]
    if role == "server":
        server(args[0], Log(args[1]), args[2])
    else:
        client(args[0], args[1], Log(args[2]), *args[3:])
