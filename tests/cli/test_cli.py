#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line as its users meet it: options and their pages, errors, outputs, signals. Needs no root.

usage: [CLOVISOR=PATH] tests/cli/test_cli.py [NAME...]
"""

import gzip
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
import runner  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLOVISOR = os.environ.get("CLOVISOR", os.path.join(ROOT, "build", "clovisor"))
COMMANDS = ["trace", "agent", "read", "bench", "config", "check", "check-plugin", "status", "detach", "version", "help"]
CLIENT, SERVER = ("10.0.0.2", 40000), ("10.0.0.1", 80)


def clovisor(*args, stdin=b"", env=None, **kw):
    done = subprocess.run([CLOVISOR, *args], input=stdin, capture_output=True, check=False, timeout=60,
                          env={**os.environ, "TZ": "UTC", **(env or {})}, **kw)
    done.err = done.stderr.decode()
    return done


class Capture:
    """A pcap file of one connection, packet by packet."""

    def __init__(self):
        self.data = bytearray(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        self.seq, self.us = {CLIENT: 1000, SERVER: 5000}, 0

    def packet(self, src, flags, payload=b""):
        dst = SERVER if src == CLIENT else CLIENT
        tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], self.seq[src], self.seq[dst], 0x50, flags, 65535, 0, 0)
        tcp += payload
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, socket.inet_aton(src[0]),
                         socket.inet_aton(dst[0])) + tcp
        self.us += 1000
        self.data += struct.pack("<IIII", 1700000000, self.us, len(ip), len(ip)) + ip
        self.seq[src] += len(payload) + bool(flags & 3)

    def open(self):
        self.packet(CLIENT, 0x02)
        self.packet(SERVER, 0x12)
        return self

    def exchange(self, target, status=200, method=b"GET"):
        self.packet(CLIENT, 0x18, method + b" " + target + b" HTTP/1.1\r\nHost: shop\r\n\r\n")
        self.packet(SERVER, 0x18, b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status)
        return self


def capture(*exchanges):
    c = Capture().open()
    for e in exchanges:
        c.exchange(*e) if isinstance(e, tuple) else c.exchange(e)
    return bytes(c.data)


def many(n):
    return capture(*[b"/%d" % i for i in range(n)])


def spans(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def paths(done):
    return [s["attributes"]["url.path"] for s in spans(done)]


def help_options(command):
    text = clovisor(command, "--help").stdout.decode()
    return set(re.findall(r"^ {2,6}(?:-\w, )?(--[a-z-]+)", text, re.M)) | set(re.findall(r"^ {2}(-\w), --", text, re.M))


class Pages(unittest.TestCase):
    """Every option stands in --help, in the man page and in both completions; and nothing else does."""

    def man_options(self, page):
        with open(os.path.join(ROOT, "man", page), encoding="utf-8") as f:
            lines = f.read().replace("\\-", "-").split("\n")
        tags = [lines[i + 1] for i, line in enumerate(lines) if line == ".TP"]
        tags = [t for t in tags if t.startswith(".B") and "clovisor" not in t and "tcpdump" not in t]
        return {w for t in tags for w in re.findall(r"(?<![\w-])(--[a-z-]+|-\w)(?![\w-])", t)}

    def test_man_pages(self):
        for command in ("trace", "agent", "read", "bench", "config", "check", "check-plugin", "status", "detach"):
            with self.subTest(command):
                self.assertEqual(self.man_options(f"clovisor-{command}.1"), help_options(command))

    def test_man_page_of_the_whole(self):
        with open(os.path.join(ROOT, "man", "clovisor.1"), encoding="utf-8") as f:
            text = f.read()
        for command in COMMANDS:
            self.assertRegex(text, rf"\.BR {command}\b")

    def test_bash_completion(self):
        path = os.path.join(ROOT, "completions", "clovisor.bash")
        for command in COMMANDS:
            with self.subTest(command):
                out = subprocess.run(["bash", "-c", f"source {path}; _clovisor_options {command}"], capture_output=True,
                                     text=True, check=True).stdout
                self.assertEqual(set(out.split()), help_options(command))

    def complete(self, *words):
        script = "source {}; COMP_WORDS=({}); COMP_CWORD={}; _clovisor 2>/dev/null; echo ${{COMPREPLY[@]}}".format(
            os.path.join(ROOT, "completions", "clovisor.bash"), " ".join(f"'{w}'" for w in words), len(words) - 1)
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()

    def test_bash_completes(self):
        self.assertEqual(self.complete("clovisor", "tr"), ["trace"])
        self.assertEqual(self.complete("clovisor", "read", "--si"), ["--side"])
        self.assertEqual(self.complete("clovisor", "read", "--side", "=", "p"), ["pod"])
        self.assertEqual(self.complete("clovisor", "trace", "--attach", ""), ["auto", "tcx", "clsact"])
        self.assertEqual(self.complete("clovisor", "help", "det"), ["detach"])
        self.assertIn("lo", self.complete("clovisor", "trace", "-i", "l"))

    def test_zsh_completion(self):
        with open(os.path.join(ROOT, "completions", "_clovisor"), encoding="utf-8") as f:
            text = f.read()
        found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
        self.assertEqual(found, {o for c in COMMANDS for o in help_options(c) if o.startswith("--")})

    def test_help(self):
        overview = clovisor("help")
        self.assertEqual((overview.returncode, overview.err), (0, ""))
        for command in COMMANDS:
            self.assertRegex(overview.stdout.decode(), rf"(?m)^  {command} ")
            page = clovisor("help", command)
            self.assertEqual((page.returncode, page.err), (0, ""))
            self.assertEqual(page.stdout, clovisor(command, "--help").stdout)
            self.assertEqual(page.stdout, clovisor(command, "-h").stdout)
            if command != "help":
                self.assertIn(b"Examples:", page.stdout)
        for args in ((), ("--help",), ("-h",)):
            self.assertEqual(clovisor(*args).stdout, overview.stdout)

    def test_version(self):
        v = json.loads(clovisor("version", "--json").stdout)
        self.assertEqual(set(v), {"version", "libbpf", "libpcap"})
        for args in (("version",), ("--version",), ("-V",)):
            done = clovisor(*args)
            self.assertEqual(done.returncode, 0)
            self.assertIn(f"clovisor {v['version']} ".encode(), done.stdout)

    def test_check(self):
        done = clovisor("check", "--json")
        report = json.loads(done.stdout)
        self.assertEqual(report["ok"], done.returncode == 0)
        self.assertEqual(report["ok"], all(c["state"] != "fail" for c in report["checks"]))
        text = clovisor("check").stdout.decode()
        for c in report["checks"]:
            self.assertRegex(text, rf"(?mi)^{c['state']} +{re.escape(c['name'])} ")


class Errors(unittest.TestCase):
    """One line, that says what is wrong and what comes next."""

    def check(self, code, *args, says=(), stdin=b""):
        with self.subTest(args):
            done = clovisor(*args, stdin=stdin)
            self.assertEqual(done.returncode, code, done.err)
            self.assertRegex(done.err, r"\Aclovisor[^\n]*\n\Z")
            self.assertEqual(done.stdout, b"")
            for word in says:
                self.assertIn(word, done.err)

    def test_usage(self):
        self.check(2, "tace", says=["'trace'"])
        self.check(2, "nothing-like-it", says=["clovisor help"])
        self.check(2, "help", "raed", says=["'read'"])
        self.check(2, "read", says=["FILE", "clovisor read --help"])
        self.check(2, "read", "a", "b", says=["b", "clovisor read --help"])
        self.check(2, "trace", "extra")
        self.check(2, "version", "extra")
        for command in COMMANDS:
            self.check(2, command, "--no-such-option", says=["--no-such-option", f"clovisor {command} --help"])
        self.check(2, "detach", "--all", "-i", "lo")

    def test_values(self):
        bad = {"--side": ["both", ""], "--port": ["0", "65536", "http", "80:nosuch", "80:", ""],
               "--memory": ["0", "1K", "x", "-1"], "--workers": ["0", "9", "x", "-1", "1.5"],
               "--egress": ["10.0.0.1", "10.0.0.1:0", "10.0.0.0/33:80", "2001:db8::1:80", "[2001:db8::1]", "nohost:80",
                            "10.0.0.0/:80", "10.0.0.0/-1:80", "", ":80:", ":80:Web", ":80:-web", ":80:web=drop",
                            ":80=", ":80=ignored", ":80:web:x", "10.0.0.1=ignore", ":80:web=ignore=record",
                            "[::1:80", "[::1]x:80", ":80:" + "w" * 254],
               "--filter": ["GET", "verb=GET", "status=20", "min-duration=5", "path=", "(a.b", "duration > 5"],
               "--limit": ["0", "-1", "x"],
               "--service": ["", "x" * 256], "-o": ["xml"], "--color": ["sometimes"], "-w": ["-"]}
        for option, values in bad.items():
            for value in values:
                self.check(2, "read", option, value, "file.pcap", says=[option.strip("-") if option != "-o" else "-o"])
        bad = {"--attach": ["xdp"], "--duration": ["0", "soon"], "--snaplen": ["0", "1000000"],
               "--ring": ["1", "2G", "8X"], "--max-flows": ["0"], "-i": ["", "a-name-that-is-too-long"]}
        for option, values in bad.items():
            for value in values:
                self.check(2, "trace", option, value, says=[option])

    def test_egress_rules_that_are_good(self):
        for rule in (":80", "10.0.0.1:80", "10.0.0.0/8:80", "0.0.0.0/0:80", "[::1]:80", "[2001:db8::]/32:80",
                     "[::]/0:1", ":80:web", ":80:web-7.x", ":80=record", "10.0.0.0/8:80:web=ignore",
                     "[2001:db8::]/32:80:0=ignore", ":80:" + "w" * 253):
            self.assertEqual(clovisor("read", "--egress", rule, "-", stdin=many(1)).returncode, 0, rule)

    def test_files(self):
        with tempfile.TemporaryDirectory() as d:
            def put(name, data):
                with open(os.path.join(d, name), "wb") as f:
                    f.write(data)
                return os.path.join(d, name)

            self.check(1, "read", os.path.join(d, "missing"), says=["missing"])
            self.check(1, "read", d, says=[d])
            self.check(1, "read", put("empty", b""), says=["empty"])
            self.check(1, "read", put("garbage", os.urandom(5000)), says=["garbage"])
            self.check(1, "read", put("text", b"GET / HTTP/1.1\r\n" * 50), says=["text"])
            self.check(1, "read", put("head", many(1)[:10]), says=["head"])
            self.check(1, "read", "-", stdin=b"", says=["standard input"])
            good = put("good.pcap", many(1))
            self.check(2, "read", "-w", good, good, says=["good.pcap"])
            self.assertEqual(clovisor("read", good).returncode, 0)
            self.check(1, "read", "-w", os.path.join(d, "no", "dir"), good)
            self.check(1, "read", "--summary", os.path.join(d, "no", "dir"), good)

    def test_live_without_privileges(self):
        """As root they are given up first; the binary goes where anybody may read it."""
        with tempfile.TemporaryDirectory() as d:
            os.chmod(d, 0o755)
            copy = os.path.join(d, "clovisor")
            subprocess.run(["cp", CLOVISOR, copy], check=True)
            drop = ["setpriv", "--reuid", "65534", "--clear-groups"] if os.geteuid() == 0 else []
            done = subprocess.run([*drop, copy, "trace", "-i", "lo"], text=True, capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Aclovisor[^\n]*clovisor check[^\n]*\n\Z")

    def test_no_such_interface(self):
        self.check(1, "trace", "-i", "clvnone0", says=["clvnone0"])
        self.check(1, "trace", "--netns", "clvnone0", says=["clvnone0"])
        self.check(1, "detach", "-i", "clvnone0", says=["clvnone0"])


class Reading(unittest.TestCase):
    def setUp(self):
        self.dir = self.enterContext(tempfile.TemporaryDirectory())

    def put(self, name, data):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def test_json(self):
        done = clovisor("read", "--json", "--service", "sho\"p", self.put("a.pcap", capture(b"/a?b=c")))
        self.assertEqual(done.returncode, 0)
        [line] = done.stdout.splitlines()
        keys = json.loads(line, object_pairs_hook=lambda pairs: pairs)
        self.assertEqual([k for k, _ in keys], ["trace_id", "span_id", "name", "kind", "start_time_unix_nano",
                                                "end_time_unix_nano", "status", "attributes", "resource"])
        s = json.loads(line)
        self.assertRegex(s["trace_id"], r"\A[0-9a-f]{32}\Z")
        self.assertRegex(s["span_id"], r"\A[0-9a-f]{16}\Z")
        self.assertEqual((s["name"], s["kind"], s["status"], s["resource"]),
                         ("GET", "SERVER", {"code": "UNSET"}, {"service.name": 'sho"p'}))
        self.assertEqual((s["start_time_unix_nano"], s["end_time_unix_nano"]),
                         ("1700000000003000000", "1700000000004000000"))
        self.assertEqual({k: s["attributes"][k] for k in ("url.path", "url.query", "http.response.status_code")},
                         {"url.path": "/a", "url.query": "b=c", "http.response.status_code": 200})
        self.assertEqual(clovisor("read", "-o", "json", "--service", 'sho"p', os.path.join(self.dir, "a.pcap")).stdout,
                         done.stdout)

    def test_any_bytes(self):
        target = b"/" + bytes(range(0x80, 0x100)) + b"\\xff\\y\\" + "\u20ac".encode()
        [path] = paths(clovisor("read", "--json", "-", stdin=capture(target)))
        back = re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), path.encode())
        self.assertEqual(back, target)

    def test_text(self):
        done = clovisor("read", "-", stdin=capture((b"/a", 503)))
        head, line = done.stdout.decode().splitlines()
        self.assertEqual(head.split(), "TIME SIDE CLIENT -> SERVER METHOD TARGET STATUS DURATION BYTES FLAGS".split())
        self.assertEqual(line.split(), "22:13:20.003 - 10.0.0.2:40000 -> 10.0.0.1:80 GET /a 503 1.00ms 2".split())
        self.assertNotIn(b"\033", done.stdout)
        colored = clovisor("read", "--color", "always", "-", stdin=capture((b"/a", 503))).stdout.decode()
        self.assertIn("\033[31m503\033[0m", colored)
        self.assertEqual(re.sub("\033\\[[0-9]*m", "", colored), done.stdout.decode())

    def test_text_cannot_command_a_terminal(self):
        out = clovisor("read", "-", stdin=capture(b"/\x1b]0;x\x07\xc2\x9b")).stdout
        self.assertFalse(re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", out), out)

    def terminal(self, *args, **env):
        """What a terminal 100 columns wide gets."""
        master, slave = pty.openpty()
        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        child = subprocess.Popen([CLOVISOR, *args], stdout=slave, stderr=subprocess.DEVNULL,
                                 env={**base, "TERM": "xterm", "COLUMNS": "100", **env})
        os.close(slave)
        out = b""
        while select.select([master], [], [], 10)[0]:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
        os.close(master)
        self.assertEqual(child.wait(10), 0)
        return out.decode()

    def test_terminal(self):
        path = self.put("a.pcap", capture(b"/" + b"a" * 300))
        out = self.terminal("read", path)
        self.assertIn("\033[", out)
        self.assertIn("…", out)
        for line in re.sub("\033\\[[0-9]*m", "", out).splitlines():
            self.assertLessEqual(len(line), 120)  # 100, but for a target of at least 20
        self.assertNotIn("\033[", self.terminal("read", path, NO_COLOR="1"))
        self.assertNotIn("\033[", self.terminal("read", "--color", "never", path))
        self.assertNotIn("\033[", self.terminal("read", path, TERM="dumb"))
        self.assertIn("a" * 300, clovisor("read", path).stdout.decode())

    def test_standard_input_and_gzip(self):
        data = many(50)
        want = clovisor("read", "--json", self.put("a.pcap", data)).stdout
        self.assertEqual(want.count(b"\n"), 50)
        self.assertEqual(clovisor("read", "--json", "-", stdin=data).stdout, want)
        self.assertEqual(clovisor("read", "--json", self.put("a.gz", gzip.compress(data))).stdout, want)
        self.assertEqual(clovisor("read", "--json", "-", stdin=gzip.compress(data)).stdout, want)

    def test_cut_file(self):
        done = clovisor("read", "--json", self.put("cut.pcap", many(10)[:-5]))
        self.assertEqual(done.returncode, 0)
        self.assertGreaterEqual(len(spans(done)), 9)
        self.assertRegex(done.err, r"(?m)^clovisor: warning: .*cut\.pcap")

    def test_written_capture_gives_the_same(self):
        path = self.put("a.pcap", capture(*[(b"/%d" % i, 200 + i) for i in range(20)]))
        copy = os.path.join(self.dir, "copy.pcapng")
        want = clovisor("read", "--json", "-w", copy, path).stdout
        self.assertEqual(clovisor("read", "--json", copy).stdout, want)
        self.assertEqual(want.count(b"\n"), 20)

    def test_filters_and_limit(self):
        path = self.put("a.pcap", capture((b"/a/1", 200), (b"/a/2?x=1", 404), (b"/b", 503, b"POST")))
        def shown(*filters):
            return paths(clovisor("read", "--json", *[a for f in filters for a in ("--filter", f)], path))

        self.assertEqual(shown(), ["/a/1", "/a/2", "/b"])
        self.assertEqual(shown("method=POST"), ["/b"])
        self.assertEqual(shown("path=/a/*"), ["/a/1", "/a/2"])
        self.assertEqual(shown("status=4xx", "status=503"), ["/a/2", "/b"])
        self.assertEqual(shown("path=/a/*", "status=404"), ["/a/2"])
        self.assertEqual(shown("min-duration=1ms"), ["/a/1", "/a/2", "/b"])
        self.assertEqual(shown("min-duration=1.001ms"), [])
        self.assertEqual(paths(clovisor("read", "--json", "--limit", "2", path)), ["/a/1", "/a/2"])
        self.assertEqual(shown("status=200", "method=GET"), ["/a/1"])
        self.assertEqual(shown("http.response.status_code >= 400 && method == GET"), ["/a/2"])
        self.assertEqual(shown("status == error || path =~ *1", "duration >= 1ms"), ["/a/1", "/b"])
        self.assertEqual(shown("path=/a/*", "!has(url.query)", "service.name == shop"), [])
        self.assertEqual(shown("path=/a/*", "!has(url.query)"), ["/a/1"])

    def test_port(self):
        path = self.put("a.pcap", capture(b"/a"))
        for port, n in (("80", 1), ("80:http", 1), ("81", 0)):
            self.assertEqual(len(spans(clovisor("read", "--json", "--port", port, path))), n)

    def test_summary(self):
        out = os.path.join(self.dir, "summary")
        done = clovisor("read", "--json", "--summary", out, "--filter", "status=404",
                        self.put("a.pcap", capture((b"/a", 200), (b"/b", 404), (b"/c", 503))))
        with open(out, "rb") as f:
            text = f.read()
        self.assertEqual(text.count(b"\n"), 1)
        s = json.loads(text)
        self.assertEqual(list(s)[:7], ["packets", "bytes", "records", "record_bytes", "flows", "spans", "drops"])
        self.assertEqual((s["packets"], s["flows"], s["spans"], s["shown"]), (8, 1, 3, 1))
        self.assertEqual(set(s["drops"].values()), {0})
        self.assertIn("output_full", s["drops"])
        self.assertIn("gaps", s["drops"])
        self.assertIn("dropped: nothing", done.err)

    def test_docs_name_every_drop(self):
        out = os.path.join(self.dir, "summary")
        clovisor("read", "--summary", out, self.put("a.pcap", many(1)))
        with open(out, encoding="utf-8") as f, open(os.path.join(ROOT, "docs", "output.md"), encoding="utf-8") as g:
            drops, docs = json.load(f)["drops"], g.read()
        for name in drops:
            self.assertIn(f"`{name}`", docs)

    def test_collector_that_does_not_take_all_is_a_failure(self):
        with socket.socket() as nobody, tempfile.TemporaryDirectory() as spool:
            nobody.bind(("127.0.0.1", 0))  # and does not listen
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            done = clovisor("read", "--otlp", url, "--flush-timeout", "100ms", "-", stdin=many(3))
            self.assertEqual(done.returncode, 1, done.err)
            self.assertIn("3 spans are lost", done.err)
            done = clovisor("read", "--otlp", url, "--spool", spool, "-", stdin=many(3))
            self.assertEqual(done.returncode, 1, done.err)
            self.assertIn(f"3 spans remain in {spool}", done.err)

    def test_hexdump(self):
        done = clovisor("read", "--json", "--hexdump", "-", stdin=capture(b"/needle"))
        self.assertEqual(len(spans(done)), 1)
        self.assertIn("GET /needle", done.err)

    def test_reader_that_leaves(self):
        """As `clovisor read FILE | head -1`: quiet, and no failure."""
        path = self.put("a.pcap", many(20000))
        child = subprocess.Popen([CLOVISOR, "read", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        json.loads(child.stdout.readline())
        child.stdout.close()
        err = child.stderr.read()
        child.stderr.close()
        self.assertEqual((child.wait(10), err), (0, b""))

    def test_slow_reader_gets_everything(self):
        path = self.put("a.pcap", many(20000))
        child = subprocess.Popen([CLOVISOR, "read", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        out, _ = child.communicate(timeout=60)
        self.assertEqual((child.returncode, out.count(b"\n")), (0, 20000))

    def test_full_disk(self):
        path = self.put("a.pcap", many(10))
        with open("/dev/full", "wb") as full:
            done = subprocess.run([CLOVISOR, "read", "--json", path], stdout=full, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"standard output"), 1)
        self.assertEqual(clovisor("read", "-w", "/dev/full", path).returncode, 1)
        done = clovisor("read", "--summary", "/dev/full", path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/dev/full", done.err)

    def piped(self, *args, **kw):
        return subprocess.Popen([CLOVISOR, "read", "--json", *args, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **kw)

    def end(self, child, sig, requests):
        """One answered request shows at once; a pending one when the signal comes."""
        c = Capture().open().exchange(b"/done")
        c.packet(CLIENT, 0x18, b"GET /pending HTTP/1.1\r\nHost: shop\r\n\r\n")
        child.stdin.write(c.data)
        child.stdin.flush()
        first = json.loads(child.stdout.readline())
        self.assertEqual(first["attributes"]["url.path"], "/done")
        child.send_signal(sig)
        rest = [json.loads(line) for line in child.stdout.read().splitlines()]
        self.assertEqual(child.wait(10), 0)
        for f in (child.stdin, child.stdout, child.stderr):
            f.close()
        self.assertEqual([(s["attributes"]["url.path"], s["attributes"]["clovisor.unpaired"]) for s in rest], requests)

    def test_signals(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig.name):
                self.end(self.piped(), sig, [("/pending", True)])

    def test_sigint_ignored_by_the_shell(self):
        child = self.piped(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        self.end(child, signal.SIGINT, [("/pending", True)])

    def test_signal_while_nobody_reads(self):
        child = subprocess.Popen([CLOVISOR, "read", "--json", self.put("a.pcap", many(20000))], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(20), 1)
        child.stdout.close()


def main():
    return runner.module(__name__, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
