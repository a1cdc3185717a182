#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a capture file from a description of conversations, over TCP or UDP, that people can read.

    mkpcap.py CASE.txt OUT.pcap

A description has one statement a line; '#' begins a comment. About the file, before the first packet:

    file pcap|pcapng            format (pcap)
    endian little|big           byte order (little)
    time us|ns                  resolution of timestamps (us)
    link ethernet|null|null-big|loop|sll|sll2|raw|ipv4|ipv6     (ethernet)
    gzip [MEMBERS]              gzip'ed, in so many members (1)
    snaplen N                   bytes of each frame that are captured
    truncate N                  cut so many bytes off the end of the file

For the golden runner, which knows what to expect from it:

    args ...                    options for `clovisor read`
    stdin                       the file comes from standard input
    warns TEXT                  standard error says this
    exit STATUS                 the exit status (0)

About what follows it:

    conn NAME [CLIENT SERVER]   switches to a connection, made at its first mention (10.0.0.1:40000 10.0.0.2:80)
    udp | tcp                   what the conversation goes over (tcp); with udp each payload is one datagram
    isn CLIENT SERVER           initial sequence numbers (1000 5000); also makes the connection a fresh one
    vlan ID...                  tags, outermost first; none: no tag
    ip-options HEX              IPv4 options, a multiple of 4 bytes
    ip6-headers NAME...         IPv6 extension headers: hop, dest, routing, atomic (a fragment header of a whole packet)
    only > | only < | both      which direction is written; the other one still happens
    no-acks | acks              whether the receiver answers data with a pure ACK (acks)
    wait TIME                   10ms, 2s, ...; each packet takes 100us anyway

And what happens ('>' is the client's direction, '<' the server's):

    open                        the three-way handshake
    close                       FIN, ACK and FIN, ACK, the client first
    > [OPTIONS] TEXT            payload
    | TEXT                      one more line of it: TEXT and each of these end in CR LF
    . TEXT                      more of it, with nothing added at the end
    ack > | fin > | rst > | syn > | synack <        a packet without payload

TEXT knows \\r \\n \\t \\\\ \\xNN, {COUNT*TEXT}, {dns WORD...}, a DNS message (its words: see dns_message), and
{h2 WORD...}, an HTTP/2 frame (see h2_frame). OPTIONS, in brackets and separated by spaces:

    segment=N                   split into segments of N bytes
    emit=1,3,2,2                write these segments, in this order (left out: lost; twice: retransmitted)
    back=N                      begin N bytes before the end of what was sent, as a retransmission does
    flags=SFRPA                 TCP flags (PA)
    zero-length                 IPv4 total length 0, as an interface with segmentation offload sees it
    raw                         the first line ends without CR LF
    fragment=N                  UDP over IPv4: in fragments of N bytes
"""

import gzip
import re
import socket
import struct
import sys

LINKS = {"null": 0, "null-big": 0, "ethernet": 1, "raw": 101, "loop": 108, "sll": 113, "ipv4": 228, "ipv6": 229,
         "sll2": 276}
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
UNITS = {"ns": 1, "us": 1000, "ms": 1000000, "s": 1000000000}
START_NS = 1700000000 * 1000000000
PACKET_NS = 100000


class Error(Exception):
    pass


def unescape(text):
    """Bytes of a TEXT."""
    def repeat(m):
        return m.group(2) * int(m.group(1))

    text = re.sub(r"\{(\d+)\*([^}]*)\}", repeat, text)
    for name, message in (("dns", dns_message), ("h2", h2_frame)):
        parts = re.split(r"\{%s ([^}]*)\}" % name, text)
        if len(parts) > 1:
            return b"".join(message(part.split()) if i % 2 else unescape(part) for i, part in enumerate(parts))
    out = bytearray()
    i = 0
    while i < len(text):
        c = text[i]
        if c != "\\":
            out += c.encode()
            i += 1
            continue
        n = text[i + 1]
        if n == "x":
            out.append(int(text[i + 2:i + 4], 16))
            i += 4
        else:
            out += {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}[n]
            i += 2
    return bytes(out)


DNS_TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41,
             "IXFR": 251, "AXFR": 252, "ANY": 255}
DNS_FLAGS = {"qr": 0x8000, "aa": 0x0400, "tc": 0x0200, "rd": 0x0100, "ra": 0x0080, "ad": 0x20, "cd": 0x10}


def dns_name(name):
    """Labels; "^" is a pointer to the question's name, as in www.^ ; \\DDD is a byte."""
    out = b""
    for label in name.strip(".").split(".") if name.strip(".") else []:
        if label == "^":
            return out + b"\xc0\x0c"
        raw = re.sub(rb"\\(\d\d\d)", lambda m: bytes([int(m.group(1))]), label.encode())
        out += bytes([len(raw)]) + raw
    return out + b"\0"


def dns_data(kind, words):
    """Data of a record, from its words."""
    if kind in ("A", "AAAA"):
        return socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, words[0])
    if kind in ("MX", "SRV"):
        return b"".join(struct.pack(">H", int(w)) for w in words[:-1]) + dns_name(words[-1])
    if kind == "TXT":
        return b"".join(bytes([len(w)]) + w.encode() for w in words)
    if kind == "SOA":
        return dns_name(words[0]) + dns_name(words[1]) + struct.pack(">5I", int(words[2]), 1, 2, 3, 4)
    return dns_name(words[0])


def dns_message(words):
    """ID, flags (qr, rd, ...), opcode=N, rcode=N, edns (adds an OPT record); ? NAME TYPE [class=N] asks;
    NAME TYPE:DATA:... adds a record to the section that "answer", "authority" or "additional" began; "tcp" puts the
    length before it."""
    bits, rcode, edns, tcp, section, questions = 0, 0, False, False, 0, []
    records = {"answer": [], "authority": [], "additional": []}
    words = words[:]
    ident = int(words.pop(0), 0)
    while words:
        word = words.pop(0)
        key, _, value = word.partition("=")
        if word in DNS_FLAGS:
            bits |= DNS_FLAGS[word]
        elif key == "opcode":
            bits |= int(value) << 11
        elif key == "rcode":
            rcode = int(value)
        elif word == "edns":
            edns = True
        elif word == "tcp":
            tcp = True
        elif word in records:
            section = word
        elif word == "?":
            name, kind, number = words.pop(0), words.pop(0), 1
            if words and words[0].startswith("class="):
                number = int(words.pop(0)[6:])
            questions.append(dns_name(name) + struct.pack(">HH", int(DNS_TYPES.get(kind, kind)), number))
        else:
            kind, _, data = words.pop(0).partition(":")
            data = dns_data(kind, [data] if kind == "AAAA" else data.split(":"))
            records[section].append(dns_name(word) + struct.pack(">HHIH", DNS_TYPES[kind], 1, 300, len(data)) + data)
    if edns:
        records["additional"].append(b"\0" + struct.pack(">HHBBHH", 41, 1232, rcode >> 4, 0, 0, 0))
    message = struct.pack(">HHHHHH", ident, bits | rcode & 15, len(questions), *(len(r) for r in records.values()))
    message += b"".join(questions) + b"".join(b"".join(r) for r in records.values())
    return (struct.pack(">H", len(message)) if tcp else b"") + message


H2_TYPES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
            "CONTINUATION"]
H2_STATIC = [":authority", ":method=GET", ":method=POST", ":path=/", ":path=/index.html", ":scheme=http",
             ":scheme=https", ":status=200", ":status=204"]  # from 1 on


def h2_string(text):
    data = unescape(text)
    return bytes([len(data)]) + data


def h2_field(word):
    """A field of a header block: '#62' by its index, '+name=value' into the table, 'name=value' beside it."""
    if word[0] == "#":
        return bytes([0x80 | int(word[1:])])
    if word in H2_STATIC:
        return bytes([0x81 + H2_STATIC.index(word)])
    name, _, value = word.lstrip("+").partition("=")
    return (b"\x40" if word[0] == "+" else b"\0") + h2_string(name) + h2_string(value)


def h2_body(word):
    """A piece of a body: 'grpc=N' a message of N bytes with its prefix, 'zeros=N', or text as it stands."""
    kind, _, number = word.partition("=")
    if kind == "grpc":
        return struct.pack(">BI", 0, int(number)) + b"m" * int(number)
    return b"\0" * int(number) if kind == "zeros" else unescape(word)


def h2_frame(words):
    """
    An HTTP/2 frame, uncompressed but for the table: PREFACE, or TYPE STREAM [end] [more] [ack] [pad=N] and its payload,
    which is fields (HEADERS, CONTINUATION, PUSH_PROMISE after the promised stream; 'more': another frame goes on with
    them), pieces of a body (DATA, SETTINGS), or numbers of 32 bits.
    """
    if words[0] == "PREFACE":
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    kind, stream, words = H2_TYPES.index(words[0]), int(words[1]), words[2:]
    flags, padding = 0, None
    if kind in (1, 5, 9) and "more" not in words:
        flags |= 4
    while words and (words[0] in ("end", "more", "ack") or words[0].startswith("pad=")):
        if words[0] in ("end", "ack"):
            flags |= 1
        if words[0].startswith("pad="):
            padding = int(words[0][4:])
            flags |= 8
        words = words[1:]
    if kind in (1, 9):
        payload = b"".join(map(h2_field, words))
    elif kind == 5:
        payload = struct.pack(">I", int(words[0])) + b"".join(map(h2_field, words[1:]))
    elif kind in (0, 4):
        payload = b"".join(map(h2_body, words))
    else:
        payload = b"".join(struct.pack(">I", int(w)) for w in words)
    if padding is not None:
        payload = bytes([padding]) + payload + b"\0" * padding
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff


def endpoint(text):
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host), int(port)


class Conn:
    def __init__(self, client, server):
        self.end = {">": endpoint(client), "<": endpoint(server)}
        self.udp = False
        self.fresh(1000, 5000)

    def fresh(self, client_isn, server_isn):
        self.next = {">": client_isn, "<": server_isn}


class Capture:
    """Interprets a description; .frames collects (time in ns, frame bytes)."""

    def __init__(self):
        self.frames = []
        self.now = START_NS
        self.format, self.endian, self.resolution, self.link = "pcap", "<", "us", "ethernet"
        self.members, self.snaplen, self.truncate = 0, 262144, 0
        self.args, self.stdin, self.warns, self.exit = [], False, None, 0
        self.conns = {}
        self.conn = None
        self.tags, self.ip_options, self.ip6_headers = [], b"", []
        self.written, self.acks = "><", True

    # -- what happens

    def current(self):
        if self.conn is None:
            self.do_conn("main")
        return self.conn

    def packet(self, way, seq, flags, payload=b"", zero_length=False):
        conn = self.current()
        other = "<" if way == ">" else ">"
        ack = conn.next[other] if flags & FLAGS["A"] else 0
        if way in self.written:
            self.frames.append((self.now, self.frame(way, conn.end[way], conn.end[other], seq, ack, flags, payload,
                                                     zero_length)))
        self.now += PACKET_NS

    def send(self, way, flags, payload=b"", **options):
        """A segment in order: moves the direction's sequence number on."""
        conn = self.current()
        self.packet(way, conn.next[way], flags, payload, **options)
        self.advance(way, len(payload) + bool(flags & 2) + bool(flags & 1))

    def advance(self, way, count):
        conn = self.current()
        conn.next[way] = (conn.next[way] + count) & 0xffffffff

    def datagram(self, way, options, payload):
        conn = self.current()
        src, dst = conn.end[way], conn.end["<" if way == ">" else ">"]
        body = struct.pack(">HHHH", src[1], dst[1], 8 + len(payload), 0) + payload
        v6 = len(src[0]) == 16
        proto = struct.pack(">IHH", len(body), 0, 17)
        body = body[:6] + struct.pack(">H", checksum(src[0] + dst[0] + proto + body) or 0xffff) + body[8:]
        size = int(options.get("fragment", 0)) or len(body)
        for at in range(0, len(body), size):
            part, more = body[at:at + size], at + size < len(body)
            if way in self.written:
                packet = (self.ip6(src[0], dst[0], part, 17) if v6 else
                          self.ip4(src[0], dst[0], part, False, 17, (0x2000 if more else 0) | at // 8))
                self.frames.append((self.now, self.link_frame(way, v6, packet)))
            self.now += PACKET_NS

    def data(self, way, options, payload):
        conn = self.current()
        if conn.udp:
            self.datagram(way, options, payload)
            return
        size = int(options.get("segment", 0)) or max(len(payload), 1)
        flags = sum(FLAGS[f] for f in options.get("flags", "PA"))
        start = (conn.next[way] - int(options.get("back", 0))) & 0xffffffff
        pieces = [(i, payload[i:i + size]) for i in range(0, max(len(payload), 1), size)]
        order = [int(n) - 1 for n in options["emit"].split(",") if n] if "emit" in options else range(len(pieces))
        first = 1 if flags & 2 else 0  # the SYN takes a sequence number of its own, before its data
        for n in order:
            at, piece = pieces[n]
            self.packet(way, (start + at + (first if at else 0)) & 0xffffffff, flags, piece, "zero-length" in options)
        end = start + len(payload) + first + bool(flags & 1)
        if (end - conn.next[way]) & 0xffffffff < 0x80000000:
            conn.next[way] = end & 0xffffffff
        if self.acks and not flags & 2:
            other = "<" if way == ">" else ">"
            self.packet(other, conn.next[other], FLAGS["A"])

    def do_conn(self, name, client="10.0.0.1:40000", server="10.0.0.2:80"):
        if name not in self.conns:
            self.conns[name] = Conn(client, server)
        self.conn = self.conns[name]

    def do_open(self):
        self.send(">", 2)
        self.send("<", 18)
        self.send(">", 16)

    def do_close(self):
        for way, other in (("><"), ("<>")):
            self.send(way, 17)
            self.send(other, 16)

    def flag_packet(self, word, way):
        self.send(way, {"ack": 16, "fin": 17, "rst": 20, "syn": 2, "synack": 18}[word])

    # -- headers

    def frame(self, way, src, dst, seq, ack, flags, payload, zero_length):
        tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], seq, ack, 5 << 4, flags, 65535, 0, 0)
        v6 = len(src[0]) == 16
        pseudo = src[0] + dst[0] + struct.pack(">IHH", len(tcp) + len(payload), 0, 6)
        tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp + payload)) + tcp[18:]
        body = tcp + payload
        packet = self.ip6(src[0], dst[0], body) if v6 else self.ip4(src[0], dst[0], body, zero_length)
        return self.link_frame(way, v6, packet)

    def link_frame(self, way, v6, packet):
        return self.link_header(way, v6) + packet if self.link != "ethernet" else self.ethernet(way, v6, packet)

    def ip4(self, src, dst, body, zero_length, proto=6, fragment=0x4000):
        ihl = 5 + len(self.ip_options) // 4
        total = 0 if zero_length else ihl * 4 + len(body)
        h = struct.pack(">BBHHHBBH4s4s", 0x40 | ihl, 0, total, 0, fragment, 64, proto, 0, src, dst) + self.ip_options
        return h[:10] + struct.pack(">H", checksum(h)) + h[12:] + body

    def ip6(self, src, dst, body, proto=6):
        numbers = {"hop": 0, "dest": 60, "routing": 43, "atomic": 44}
        chain = [numbers[n] for n in self.ip6_headers] + [proto]
        extra = b""
        for name, after in zip(self.ip6_headers, chain[1:]):
            rest = {"hop": b"\0\1\4\0\0\0\0", "dest": b"\1\1\14" + b"\0" * 12, "routing": b"\0\3\0\0\0\0\0",
                    "atomic": b"\0\0\0\0\0\0\7"}[name]
            extra += bytes([after]) + rest
        return struct.pack(">IHBB16s16s", 6 << 28, len(extra) + len(body), chain[0], 64, src, dst) + extra + body

    def ethernet(self, way, v6, packet):
        macs = [b"\2\0\0\0\0\2", b"\2\0\0\0\0\1"]
        head = b"".join(macs if way == ">" else macs[::-1])
        for i, tag in enumerate(self.tags):
            head += struct.pack(">HH", 0x88a8 if i == 0 and len(self.tags) > 1 else 0x8100, tag)
        frame = head + struct.pack(">H", 0x86dd if v6 else 0x0800) + packet
        return frame + b"\0" * (60 - len(frame))  # padded as on the wire

    def link_header(self, way, v6):
        ethertype = 0x86dd if v6 else 0x0800
        sent = 4 if way == "<" else 0  # captured at the server
        return {
            "raw": b"", "ipv4": b"", "ipv6": b"",
            "null": struct.pack("<I", 30 if v6 else 2), "null-big": struct.pack(">I", 30 if v6 else 2),
            "loop": struct.pack(">I", 24 if v6 else 2),
            "sll": struct.pack(">HHH8sH", sent, 1, 6, b"\2\0\0\0\0\1", ethertype),
            "sll2": struct.pack(">HHIHBB8s", ethertype, 0, 7, 1, sent, 6, b"\2\0\0\0\0\1"),
        }[self.link]

    # -- the file

    def bytes(self):
        data = self.pcapng() if self.format == "pcapng" else self.pcap()
        if self.truncate:
            data = data[:-self.truncate]
        if not self.members:
            return data
        step = -(-len(data) // self.members)
        return b"".join(gzip.compress(data[i:i + step], mtime=0) for i in range(0, len(data), step))

    def pcap(self):
        nano = self.resolution == "ns"
        out = [struct.pack(self.endian + "IHHiIII", 0xa1b23c4d if nano else 0xa1b2c3d4, 2, 4, 0, 0, self.snaplen,
                           LINKS[self.link])]
        for ts, frame in self.frames:
            fraction = ts % 1000000000 // (1 if nano else 1000)
            cap = frame[:self.snaplen]
            out.append(struct.pack(self.endian + "IIII", ts // 1000000000, fraction, len(cap), len(frame)) + cap)
        return b"".join(out)

    def block(self, kind, body):
        body += b"\0" * (-len(body) % 4)
        length = struct.pack(self.endian + "I", len(body) + 12)
        return struct.pack(self.endian + "I", kind) + length + body + length

    def pcapng(self):
        e = self.endian
        tsresol = struct.pack(e + "HHB3xHH", 9, 1, 9, 0, 0) if self.resolution == "ns" else b""
        out = [self.block(0x0a0d0d0a, struct.pack(e + "IHHq", 0x1a2b3c4d, 1, 0, -1)),
               self.block(1, struct.pack(e + "HHI", LINKS[self.link], 0, self.snaplen) + tsresol)]
        for ts, frame in self.frames:
            t = ts if tsresol else ts // 1000
            cap = frame[:self.snaplen]
            out.append(self.block(6, struct.pack(e + "IIIII", 0, t >> 32, t & 0xffffffff, len(cap), len(frame)) + cap))
        return b"".join(out)

    # -- the language

    def statement(self, words):
        key, rest = words[0], words[1:]
        if key == "file":
            self.format, = rest
        elif key == "endian":
            self.endian = {"little": "<", "big": ">"}[rest[0]]
        elif key == "time":
            self.resolution, = rest
        elif key == "link":
            self.link, = rest
        elif key == "gzip":
            self.members = int(rest[0]) if rest else 1
        elif key == "snaplen":
            self.snaplen = int(rest[0])
        elif key == "truncate":
            self.truncate = int(rest[0])
        elif key == "args":
            self.args = rest
        elif key == "stdin":
            self.stdin = True
        elif key == "warns":
            self.warns = " ".join(rest)
        elif key == "exit":
            self.exit = int(rest[0])
        elif key == "conn":
            self.do_conn(*rest)
        elif key in ("udp", "tcp"):
            self.current().udp = key == "udp"
        elif key == "isn":
            self.current().fresh(int(rest[0]), int(rest[1]))
        elif key == "vlan":
            self.tags = [int(t) for t in rest]
        elif key == "ip-options":
            self.ip_options = bytes.fromhex("".join(rest))
        elif key == "ip6-headers":
            self.ip6_headers = rest
        elif key == "only":
            self.written, = rest
        elif key == "both":
            self.written = "><"
        elif key in ("acks", "no-acks"):
            self.acks = key == "acks"
        elif key == "wait":
            number, unit = re.fullmatch(r"(\d+)([a-z]+)", rest[0]).groups()
            self.now += int(number) * UNITS[unit]
        elif key == "open":
            self.do_open()
        elif key == "close":
            self.do_close()
        elif key in ("ack", "fin", "rst", "syn", "synack"):
            self.flag_packet(key, rest[0])
        else:
            raise Error("unknown statement %r" % key)


def payload_line(line):
    """Options and bytes of a line that begins with '>' or '<'."""
    m = re.fullmatch(r"[<>] ?(?:\[([^\]]*)\] ?)?(.*)", line)
    options = dict(o.partition("=")[::2] for o in (m.group(1) or "").split())
    text = unescape(m.group(2))
    return options, text if "raw" in options else text + b"\r\n"


def parse(text):
    """The Capture that a description makes."""
    c = Capture()
    pending = None  # [way, options, payload] that more lines may continue
    for number, line in enumerate(text.split("\n") + [""], 1):
        try:
            if pending and line[:1] in "|." and line:
                pending[2] += unescape(line[2:]) + (b"\r\n" if line[0] == "|" else b"")
                continue
            if pending:
                c.data(*pending)
                pending = None
            if line[:1] in (">", "<"):
                pending = [line[0], *payload_line(line)]
            elif line.strip() and not line.startswith("#"):
                c.statement(line.split("  #")[0].split())
        except Error as e:
            raise Error("line %d: %s" % (number, e)) from e
        except (KeyError, ValueError, IndexError, TypeError, AttributeError) as e:
            raise Error("line %d: cannot make sense of %r" % (number, line)) from e
    return c


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: mkpcap.py CASE.txt OUT.pcap")
    with open(sys.argv[1], encoding="utf-8") as f:
        try:
            capture = parse(f.read())
        except Error as e:
            sys.exit("%s: %s" % (sys.argv[1], e))
    with open(sys.argv[2], "wb") as f:
        f.write(capture.bytes())


if __name__ == "__main__":
    main()
