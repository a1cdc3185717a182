# SPDX-License-Identifier: Apache-2.0
"""A client of the API server for tests: what they create, look at and change, without a process for each question."""

import http.client
import json
import ssl
import threading
import urllib.parse

ANSWER_SECONDS = 60
CLUSTER_SCOPED = {"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "PriorityClass"}
CONTENT = {"POST": "application/json", "PUT": "application/json", "PATCH": "application/merge-patch+json",
           "DELETE": "application/json", "GET": None}


class ApiError(Exception):
    """The API server said no."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status


def plural(kind):
    """Pod: pods."""
    word = kind.lower()
    if word.endswith("y"):
        return word[:-1] + "ies"
    if word == "endpoints":
        return word
    return word + ("es" if word.endswith("s") else "s")


def path_of(thing, name=""):
    """The path of an object's collection, or with a name its own."""
    version, kind, meta = thing["apiVersion"], thing["kind"], thing["metadata"]
    top = f"/apis/{version}" if "/" in version else f"/api/{version}"
    within = "" if kind in CLUSTER_SCOPED else f"/namespaces/{meta.get('namespace', 'default')}"
    return f"{top}{within}/{plural(kind)}" + (f"/{name}" if name else "")


class Api:
    """One connection a thread, opened anew where the server closed it. `credentials` are paths: certificate and key."""

    def __init__(self, server, ca, credentials=None, token=None):
        self.address = server.removeprefix("https://")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.context = ssl.create_default_context(cafile=ca)
        if credentials:
            self.context.load_cert_chain(*credentials)
        self.mine = threading.local()

    def connect(self):
        return http.client.HTTPSConnection(self.address, context=self.context, timeout=ANSWER_SECONDS)

    def close(self):
        """Closes this thread's connection."""
        connection, self.mine.connection = getattr(self.mine, "connection", None), None
        if connection:
            connection.close()

    def exchange(self, *request):
        if not getattr(self.mine, "connection", None):
            self.mine.connection = self.connect()
        self.mine.connection.request(*request)
        answer = self.mine.connection.getresponse()
        return answer.status, answer.read()

    def request(self, method, path, body=None, **query):
        """The answer's JSON, or its text where it is none. ApiError where it is not 2xx."""
        url = path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = self.headers | ({"Content-Type": CONTENT[method]} if CONTENT[method] else {})
        request = method, url, json.dumps(body) if body is not None else None, headers
        reused = getattr(self.mine, "connection", None)
        try:
            status, text = self.exchange(*request)
        except (OSError, http.client.HTTPException):
            self.close()
            if not reused:
                raise
            status, text = self.exchange(*request)  # it was closed while nobody used it
        answer = json.loads(text) if text.startswith(b"{") else text.decode(errors="replace")
        if status >= 300:
            raise ApiError(status, answer.get("message", answer) if isinstance(answer, dict) else answer)
        return answer

    def get(self, path, **query):
        return self.request("GET", path, **query)

    def items(self, path, **query):
        return self.get(path, **query)["items"]

    def create(self, thing):
        return self.request("POST", path_of(thing), thing)

    def patch(self, thing, change, part=""):
        """Merges the change into an object; part: "/status"."""
        return self.request("PATCH", path_of(thing, thing["metadata"]["name"]) + part, change)

    def delete(self, thing, grace_seconds=0):
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": grace_seconds}
        return self.request("DELETE", path_of(thing, thing["metadata"]["name"]), options)

    def delete_if_there(self, thing):
        try:
            self.delete(thing)
        except ApiError as e:
            if e.status != 404:
                raise

    def delete_pods(self, namespace):
        """All of them, at once."""
        self.request("DELETE", f"/api/v1/namespaces/{namespace}/pods",
                     {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})

    def watch(self, path, **query):
        """Its events, until the server ends it or the caller goes away."""
        connection = self.connect()
        try:
            connection.request("GET", f"{path}?{urllib.parse.urlencode(query | {'watch': 1})}", headers=self.headers)
            for line in connection.getresponse():
                yield json.loads(line)
        finally:
            connection.close()

    def ready(self):
        """Does it answer, and is it ready?"""
        try:
            return self.get("/readyz") == "ok"
        except (OSError, http.client.HTTPException, ApiError):
            self.close()
            return False
