# SPDX-License-Identifier: Apache-2.0
"""A collector that counts spans by id, and fails in the ways that a test asks for.

Behaviours are a list, one for each request, the last one for all that follow. Each is a function (handler, body) ->
None that answers, or not; those below make them. What a request brought is counted when its behaviour says so:
`got` maps an id to how often it was delivered.
"""

import gzip
import http.server
import socket
import ssl
import struct
import threading
import time


def fields(data):
    """(number, value) of each field of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            b = data[at]
            at += 1
            v |= (b & 0x7F) << shift
            shift += 7
            if not b & 0x80:
                return v

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 1:
            at += 8
            yield tag >> 3, data[at - 8:at]
        elif tag & 7 == 5:
            at += 4
            yield tag >> 3, data[at - 4:at]
        else:
            length = varint()
            at += length
            if at > len(data):
                raise ValueError("cut")
            yield tag >> 3, data[at - length:at]


def spans(request):
    """(resource, id) of each span of an ExportTraceServiceRequest."""
    for number, resource_spans in fields(request):
        assert number == 1
        parts = list(fields(resource_spans))
        resource = next(v for n, v in parts if n == 1)
        for n, scope_spans in parts:
            if n != 2:
                continue
            for m, span in fields(scope_spans):
                if m == 2:
                    yield resource, struct.unpack(">Q", dict(fields(span))[2])[0]


def tag(number, data):
    """A length-delimited field."""
    out = bytes([number << 3 | 2])
    n = len(data)
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n]) + data


def partial(rejected, message):
    return tag(1, bytes([8, rejected]) + tag(2, message.encode()))


class Counter:
    """What arrived."""

    def __init__(self):
        self.lock = threading.Lock()
        self.got, self.groups, self.sizes = {}, [], []
        self.requests, self.metrics, self.seen = 0, 0, []

    def take(self, body):
        found = list(spans(body))
        with self.lock:
            self.groups.append(len({r for r, _ in found}))
            self.sizes.append(len(found))
            for _, i in found:
                self.got[i] = self.got.get(i, 0) + 1


def ok(body=b"", take=True, content="application/x-protobuf", status=200, **headers):
    def answer(h, request):
        if take:
            h.counter.take(request)
        h.reply(status, body, content, {k.replace("_", "-"): v for k, v in headers.items()})
    return answer


def status(code, body=b"", content="text/plain", **headers):
    return ok(body, False, content, code, **headers)


def close(take=False, half=False):
    """Closes without an answer, or in the middle of its head."""
    def answer(h, request):
        if take:
            h.counter.take(request)
        if half:
            h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
        h.close_connection = True
        h.connection.shutdown(socket.SHUT_RDWR)
    return answer


def raw(data, take=False):
    def answer(h, request):
        if take:
            h.counter.take(request)
        try:
            h.wfile.write(data)
        except OSError:
            pass
        h.close_connection = True
    return answer


def never(seconds=60):
    def answer(h, request):
        h.server.stop.wait(seconds)
        h.close_connection = True
    return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        counter = self.counter = self.server.counter
        length = int(self.headers["Content-Length"])
        step, pause = self.server.slow or (length or 1, 0)
        body = b""
        while len(body) < length:
            got = self.rfile.read(min(step, length - len(body)))
            if not got:
                self.close_connection = True
                return
            body += got
            time.sleep(pause)
            if self.server.cut and counter.requests == 0:  # dies in the middle of a batch
                counter.requests += 1
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
        with counter.lock:
            behaviour = self.server.behaviours[min(counter.requests, len(self.server.behaviours) - 1)]
            counter.requests += 1
            counter.seen.append((self.path, dict(self.headers), time.monotonic()))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.headers["Content-Type"] == "application/json":
            body = bytes.fromhex(body.decode().split('"')[3])
        if self.path.endswith("/v1/metrics"):
            counter.metrics += 1
            self.reply(200, b"", "application/x-protobuf", {})
            return
        behaviour(self, body)

    def reply(self, code, body, content, headers):
        self.send_response(code)
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass  # connections that break are what this is about


class Http:
    """with Http(ok()) as c: ... c.url, c.got"""

    def __init__(self, *behaviours, port=0, counter=None, tls=None, slow=None, cut=False):
        self.counter = counter or Counter()
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.counter, self.server.behaviours = self.counter, behaviours or (ok(),)
        self.server.slow, self.server.cut, self.server.stop = slow, cut, threading.Event()
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls["cert"], tls["key"])
            if tls.get("client_ca"):
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(tls["client_ca"])
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __getattr__(self, name):
        return getattr(self.counter, name)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.stop.set()
        self.server.shutdown()
        self.server.server_close()


class Grpc:
    """The same by gRPC. Behaviours are functions (context, counter, body) -> bytes; grpcio makes the rest."""

    def __init__(self, *behaviours, tls=None):
        import grpc
        from concurrent import futures

        self.counter = Counter()
        behaviours = behaviours or (self.ok(),)

        def export(body, context):
            with self.counter.lock:
                behaviour = behaviours[min(self.counter.requests, len(behaviours) - 1)]
                self.counter.requests += 1
                self.counter.seen.append((dict(context.invocation_metadata()), context.time_remaining()))
            return behaviour(context, self.counter, body)

        def metrics(_body, _context):
            self.counter.metrics += 1
            return b""

        self.server = grpc.server(futures.ThreadPoolExecutor(8))
        for service, function in (("trace.v1.TraceService", export), ("metrics.v1.MetricsService", metrics)):
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector." + service,
                {"Export": grpc.unary_unary_rpc_method_handler(function)}),))
        if tls:
            with open(tls["key"], "rb") as key, open(tls["cert"], "rb") as cert:
                self.port = self.server.add_secure_port(
                    "localhost:0", grpc.ssl_server_credentials([(key.read(), cert.read())]))
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.url = f"grpcs://localhost:{self.port}" if tls else f"grpc://127.0.0.1:{self.port}"

    def __getattr__(self, name):
        return getattr(self.counter, name)

    @staticmethod
    def ok(body=b""):
        def answer(_context, counter, request):
            counter.take(request)
            return body
        return answer

    @staticmethod
    def status(name, retry_seconds=None, message="as told"):
        import grpc

        def answer(context, _counter, _request):
            if retry_seconds is not None:
                info = tag(1, bytes([8, retry_seconds]))
                details = tag(3, tag(1, b"type.googleapis.com/google.rpc.RetryInfo") + tag(2, info))
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(getattr(grpc.StatusCode, name), message)
        return answer

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(0)
