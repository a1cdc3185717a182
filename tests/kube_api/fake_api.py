# SPDX-License-Identifier: Apache-2.0
"""An API server that keeps objects and tells of their changes, as Kubernetes does, and fails as a test asks for.

    with FakeApi(tls=...) as api:
        api.put("pods", pod("a"))
        api.faults["pods", "watch"] = [cut()]

Faults are functions (handler, answer) that are used up one a request of that resource and verb; `answer` is what would
be done otherwise. What was asked stands in `asked`.
"""

import base64
import contextlib
import gzip
import http.server
import json
import socket
import ssl
import threading
import time
import urllib.parse

PATHS = {
    "/api/v1/pods": ("pods", "", "v1", "Pod"),
    "/api/v1/services": ("services", "", "v1", "Service"),
    "/api/v1/nodes": ("nodes", "", "v1", "Node"),
    "/apis/discovery.k8s.io/v1/endpointslices": ("endpointslices", "discovery.k8s.io", "discovery.k8s.io/v1",
                                                 "EndpointSlice"),
    "/apis/apps/v1/replicasets": ("replicasets", "apps", "apps/v1", "ReplicaSet"),
}
KINDS = {resource: kind for resource, _, _, kind in PATHS.values()}
USER = "system:serviceaccount:clovisor:clovisor"


def named(name, namespace="default", **more):
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"}, **more}


def pod(name, node="node1", ip="10.244.1.2", pad=0, **metadata):
    o = named(name, spec={"nodeName": node, "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]},
              status={"phase": "Running", "podIPs": [{"ip": ip}], "containerStatuses": [
                  {"name": "c", "containerID": "containerd://" + "ab" * 32, "state": {"running": {}}}]})
    o["metadata"].update(metadata)
    if pad:
        o["metadata"]["managedFields"] = ["x" * 100] * (pad // 100)
    return o


def failure(code, message, **details):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
            "details": details}


# ---- faults --------------------------------------------------------------------------------------------------------


def status(code, message="as asked for", **headers):
    def fault(h, answer):
        h.send(code, failure(code, message), **{k.replace("_", "-"): v for k, v in headers.items()})
    return fault


def body(text, content="application/json"):
    """Anything at all."""
    def fault(h, answer):
        h.send_text(200, text, content)
    return fault


def close():
    """Not even a head."""
    def fault(h, answer):
        h.hang_up()
    return fault


def cut(after=700):
    """The answer, up to so many bytes of its body."""
    def fault(h, answer):
        h.room = after
        answer()
    return fault


def stall(after=700):
    """As cut(), but the connection stays, and nothing more comes."""
    def fault(h, answer):
        h.room = after
        try:
            answer()
        except Cut:
            h.server.api.stopping.wait(60)
            raise
    return fault


def event(**line):
    """A watch of that line alone."""
    def fault(h, answer):
        h.begin_stream()
        h.chunk(json.dumps(line).encode() + b"\n")
        h.end_stream()
    return fault


def silent(seconds=60):
    def fault(h, answer):
        h.server.api.stopping.wait(seconds)
        h.hang_up()
    return fault


def late(seconds):
    def fault(h, answer):
        h.server.api.stopping.wait(seconds)
        answer()
    return fault


class Cut(Exception):
    pass


# ---- the server ----------------------------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    room = None  # bytes of the body that are still sent

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        api = self.server.api
        if url.path not in PATHS:
            self.send(404, failure(404, "the server could not find the requested resource"))
            return
        self.resource, self.group, self.version, self.kind = PATHS[url.path]
        self.verb = "watch" if self.query.get("watch") in ("1", "true") else "list"
        with api.changed:
            api.asked.append((self.resource, self.verb, self.query, dict(self.headers), time.monotonic()))
            api.peers.add(self.client_address)
            faults = api.faults.get((self.resource, self.verb))
            fault = faults.pop(0) if faults else None
        try:
            if not self.refused():
                fault(self, self.answer) if fault else self.answer()
        except (Cut, OSError):
            self.hang_up()

    def refused(self):
        api = self.server.api
        certificate = getattr(self.connection, "getpeercert", lambda: None)()
        name = dict(x[0] for x in certificate["subject"]).get("commonName") if certificate else None
        given = self.headers.get("Authorization", name or "")
        if api.credentials is not None and given not in api.credentials:
            self.send(401, failure(401, "Unauthorized"))
            return True
        if self.resource in api.denied or (self.resource, self.verb) in api.denied:
            name = self.resource + (f".{self.group}" if self.group else "")
            self.send(403, failure(403, f'{name} is forbidden: User "{USER}" cannot {self.verb} resource '
                                        f'"{self.resource}" in API group "{self.group}" at the cluster scope'))
            return True
        if self.resource in api.unknown:
            self.send(404, failure(404, "the server could not find the requested resource"))
            return True
        return False

    def answer(self):
        self.watch() if self.verb == "watch" else self.list()

    # ---- objects ----

    def selected(self, o):
        field = self.query.get("fieldSelector", "")
        return not field or o["spec"].get("nodeName") == field.removeprefix("spec.nodeName=")

    def shown(self, o, whole):
        """As a line of a watch has it, or an item of a list."""
        partial = "as=PartialObjectMetadata" in self.headers.get("Accept", "")
        o = {"metadata": o["metadata"]} if partial else o
        if not whole:
            return o
        kind = ("meta.k8s.io/v1", "PartialObjectMetadata") if partial else (self.version, self.kind)
        return {"kind": kind[1], "apiVersion": kind[0], **o}

    def list(self):
        api = self.server.api
        limit = int(self.query.get("limit", 0))
        with api.changed:
            if "continue" in self.query:
                version, start = json.loads(base64.b64decode(self.query["continue"]))
                if (self.resource, version) not in api.snapshots:
                    return self.send(410, failure(410, "The provided continue parameter is too old", ))
                items = api.snapshots[self.resource, version]
            else:
                version, start = api.version, 0
                items = [o for _, o in sorted(api.objects[self.resource].items()) if self.selected(o)]
            end = min(start + limit, len(items)) if limit else len(items)
            meta = {"resourceVersion": str(version)}
            if end < len(items):
                api.snapshots[self.resource, version] = items
                meta["continue"] = base64.b64encode(json.dumps([version, end]).encode()).decode()
                meta["remainingItemCount"] = len(items) - end
        text = [self.shown(o, False) for o in items[start:end]]
        document = {"kind": f"{self.kind}List", "apiVersion": self.version, "metadata": meta, "items": text or None}
        if api.metadata_last:
            document["metadata"] = document.pop("metadata")
        self.send(200, document)

    def watch(self):
        api = self.server.api
        at = int(self.query["resourceVersion"])
        until = time.monotonic() + (api.watch_seconds or int(self.query["timeoutSeconds"]))
        if at < api.oldest and api.gone_by_status:
            return self.send(410, failure(410, f"too old resource version: {at} ({api.oldest})"))
        self.begin_stream()
        if at < api.oldest:
            self.line("ERROR", failure(410, f"too old resource version: {at} ({api.oldest})"))
            return self.end_stream()
        generation, bookmark = api.generation, time.monotonic()
        while time.monotonic() < until:
            with api.changed:
                api.changed.wait_for(lambda: api.version > at or api.generation != generation or api.stopping.is_set(),
                                     timeout=0.05)
                events = [e for e in api.log if e[0] > at and e[1] == self.resource]
                now = api.version
            if api.generation != generation or api.stopping.is_set():
                break
            for _, _, what, o in events:
                if self.selected(o):
                    self.line(what, self.shown(o, True))
            at = now
            if time.monotonic() - bookmark > api.bookmark_seconds:
                bookmark = time.monotonic()
                self.line("BOOKMARK", {"kind": self.kind, "apiVersion": self.version,
                                       "metadata": {"resourceVersion": str(at)}})
        return self.end_stream()

    # ---- what is sent ----

    def send(self, code, document, **headers):
        self.send_text(code, json.dumps(document, ensure_ascii=False), **headers)

    def send_text(self, code, text, content="application/json", **headers):
        data = text.encode("utf-8", "surrogatepass")
        compressed = len(data) > 1000 and "gzip" in self.headers.get("Accept-Encoding", "")
        if compressed:
            data = gzip.compress(data, 1)
            self.server.api.compressed += 1
        self.send_response(code)
        if compressed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", content)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.write(data)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def line(self, what, o):
        self.chunk(json.dumps({"type": what, "object": o}).encode() + b"\n")

    def chunk(self, data):
        if self.room is not None and self.room < len(data):
            head = data[:self.room]
            self.wfile.write(b"%x\r\n" % len(data) + head)
            raise Cut
        self.write(b"%x\r\n" % len(data), count=False)
        self.write(data)
        self.write(b"\r\n", count=False)

    def end_stream(self):
        self.write(b"0\r\n\r\n", count=False)

    def write(self, data, count=True):
        if self.room is not None and count:
            head = data[:self.room]
            self.room -= len(head)
            self.wfile.write(head)
            if len(head) < len(data):
                raise Cut
            return
        self.wfile.write(data)

    def hang_up(self):
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(2)
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        pass  # connections that break are what this is about

    def finish_request(self, request, client_address):
        if self.api.tls:
            request.settimeout(10)
            try:
                request = self.api.tls.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
            request.settimeout(None)
        self.api.open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self.api.open.discard(request)


class FakeApi:
    """`tls`: (certificate, key, CA of clients) as paths, or None for plain HTTP."""

    def __init__(self, tls=None, port=0):
        self.tls = None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls[0], tls[1])
            self.tls.load_verify_locations(tls[2])
            self.tls.verify_mode = ssl.CERT_OPTIONAL
        self.changed = threading.Condition()
        self.stopping = threading.Event()
        self.objects = {resource: {} for resource in KINDS}
        self.log, self.snapshots, self.asked, self.peers, self.faults = [], {}, [], set(), {}
        self.version = self.oldest = 1000
        self.generation = self.compressed = 0
        self.open = set()
        self.credentials, self.denied, self.unknown = None, set(), set()
        self.bookmark_seconds, self.watch_seconds = 0.2, None
        self.gone_by_status = self.metadata_last = False
        self.port, self.server = port, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.stopping.clear()
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.api = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        """Connections break and are refused; objects stay for start()."""
        if not self.server:
            return
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def put(self, resource, o):
        key = o["metadata"].get("namespace", "") + "/" + o["metadata"]["name"]
        with self.changed:
            self.version += 1
            o = {**o, "metadata": {**o["metadata"], "resourceVersion": str(self.version)}}
            what = "MODIFIED" if key in self.objects[resource] else "ADDED"
            self.objects[resource][key] = o
            self.log.append((self.version, resource, what, o))
            self.changed.notify_all()

    def delete(self, resource, key):
        with self.changed:
            self.version += 1
            o = self.objects[resource].pop(key)
            o = {**o, "metadata": {**o["metadata"], "resourceVersion": str(self.version)}}
            self.log.append((self.version, resource, "DELETED", o))
            self.changed.notify_all()

    def compact(self):
        """What was is forgotten; watches end."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.log.clear()
            self.snapshots.clear()
            self.generation += 1
            self.changed.notify_all()

    def end_watches(self):
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def queries(self, resource, verb):
        with self.changed:
            return [a[2] for a in self.asked if a[:2] == (resource, verb)]
