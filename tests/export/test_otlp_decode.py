#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What clovisor writes as OTLP, read by the real protobuf runtime with OpenTelemetry's own descriptors.

usage: [OTLP_PRINT=PATH] tests/export/test_otlp_decode.py [NAME...]
"""

import base64
import json
import os
import random
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
import runner  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OTLP_PRINT = os.environ.get("OTLP_PRINT", os.path.join(ROOT, "build", "tests", "export", "otlp_print"))
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
IDS = ("traceId", "spanId", "parentSpanId")
# Of OTLP, but never written by clovisor.
UNKNOWN = {"exponential_histogram", "summary", "key_strindex", "string_value_strindex"}

try:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.trace.v1 import trace_pb2
except ImportError:  # not yet in the environment of tests/venv: main() goes there
    pass


def otlp(what, stdin=b""):
    return subprocess.run([OTLP_PRINT, what], input=stdin, stdout=subprocess.PIPE, check=True, timeout=60).stdout


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(v) for v in any_value.array_value.values]
    return getattr(any_value, kind)


def attributes(of):
    found = {kv.key: value(kv.value) for kv in of.attributes}
    assert len(found) == len(of.attributes), "a key twice"
    return found


def same_in_base64(j):
    """OTLP's JSON with ids as protobuf's own mapping has them, for json_format."""
    if isinstance(j, list):
        return [same_in_base64(v) for v in j]
    if not isinstance(j, dict):
        return j
    return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in IDS else same_in_base64(v) for k, v in j.items()}


def no_key_twice(pairs):
    found = dict(pairs)
    assert len(found) == len(pairs), f"a key twice: {pairs}"
    return found


def from_json(text, message):
    return json_format.ParseDict(same_in_base64(json.loads(text, object_pairs_hook=no_key_twice)), message)


class Spans(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.bytes = otlp("spans")
        cls.request = ExportTraceServiceRequest.FromString(cls.bytes)
        cls.groups = cls.request.resource_spans
        cls.plain, cls.full = cls.groups[0].scope_spans[0].spans
        cls.strange, = cls.groups[1].scope_spans[0].spans

    def test_nothing_unknown(self):
        """Fields with wrong numbers or types would be kept as unknown."""
        known = ExportTraceServiceRequest.FromString(self.bytes)
        known.DiscardUnknownFields()
        self.assertEqual(known.ByteSize(), self.request.ByteSize())
        self.assertEqual(len(self.groups), 2)

    def test_frame(self):
        for group in self.groups:
            self.assertEqual((group.schema_url, group.scope_spans[0].schema_url), (SCHEMA, SCHEMA))
            self.assertEqual(group.scope_spans[0].scope.name, "clovisor")
            self.assertRegex(group.scope_spans[0].scope.version, r"^\d+\.\d+\.\d+")
            self.assertEqual(len(group.scope_spans), 1)

    def test_resources(self):
        self.assertEqual(attributes(self.groups[0].resource),
                         {"service.name": "shop", "k8s.pod.name": "shop-1", "odd": "\\xfe\\x5cx"})
        self.assertEqual(attributes(self.groups[1].resource), {"service.name": "rest"})

    def test_plain(self):
        want = trace_pb2.Span(trace_id=bytes([1, 2, 3] + [0] * 12 + [255]), span_id=bytes([4] + [0] * 6 + [254]),
                              name="GET", kind=trace_pb2.Span.SPAN_KIND_SERVER,
                              start_time_unix_nano=1700000000123456789, end_time_unix_nano=1700000000223456789)
        self.assertEqual(self.plain, want)

    def test_full(self):
        s = self.full
        self.assertEqual(s.kind, trace_pb2.Span.SPAN_KIND_CLIENT)
        self.assertEqual(s.status, trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR))
        self.assertEqual((s.parent_span_id, s.trace_state), (bytes([9] + [0] * 7), "vendor=1,other=2"))
        self.assertEqual(s.flags, 1 | trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK |
                         trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
        self.assertEqual(attributes(s), {
            "http.request.method": "GET", "http.response.status_code": 503, "http.request.body.size": 2**63 - 1,
            "http.response.body.size": -2**63, "clovisor.gap": True, "clovisor.truncated": False,
            "http.request.header.x-a": ["one", "tw\\xf6"], "http.response.header.x-a": [""]})

    def test_strange(self):
        s = self.strange
        self.assertEqual(s.name, "caf\u00e9 \\xff\\x5cx41\\y\n")
        self.assertEqual((s.parent_span_id, s.flags),
                         (bytes([0] * 7 + [8]), trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK |
                          trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK))
        self.assertEqual(attributes(s), {"url.path": "x" * 35000 + "\\xff" * 35000, "url.query": "\\xff" * 300,
                                         "user_agent.original": ""})

    def test_json(self):
        text = otlp("traces", self.bytes)
        self.assertEqual(from_json(text, ExportTraceServiceRequest()), self.request)
        span = json.loads(text)["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
        self.assertEqual(span["traceId"], "010203000000000000000000000000ff")
        self.assertEqual((span["kind"], span["status"], span["flags"]), (3, {"code": 2}, 0x301))
        self.assertEqual(span["startTimeUnixNano"], "1700000000123456789")


class AnyRequest(unittest.TestCase):
    """Requests with every field of the messages, made at random from the descriptors."""

    def number(self, rng, field):
        edges = {field.CPPTYPE_INT64: [-2**63, 2**63 - 1, 0], field.CPPTYPE_UINT64: [2**64 - 1, 0],
                 field.CPPTYPE_UINT32: [2**32 - 1, 0], field.CPPTYPE_BOOL: [True, False],
                 field.CPPTYPE_DOUBLE: [0.1, -1e300, 5e-324, float("inf"), float("-inf"), -0.0, 1 / 3, 2.0**60, 0.0]}
        return rng.choice(edges[field.cpp_type])

    def scalar(self, rng, field):
        if field.type == field.TYPE_BYTES:
            return rng.randbytes(16 if "trace" in field.name else 8 if "span" in field.name else rng.randrange(5))
        if field.type == field.TYPE_STRING:
            return "".join(rng.choice('a"\\x\n\0\u0085\u00e9\u20ac\U0001f600') for _ in range(rng.randrange(12)))
        if field.type == field.TYPE_ENUM:
            return rng.choice(field.enum_type.values).number
        return self.number(rng, field)

    def fill(self, rng, message, depth=0):
        for field in message.DESCRIPTOR.fields:
            deep = depth > 9 and field.message_type
            if field.name in UNKNOWN or deep or rng.random() < 0.2:
                continue
            repeated = field.message_type and hasattr(getattr(message, field.name), "add") \
                or hasattr(getattr(message, field.name), "extend")
            for _ in range(rng.randrange(depth < 6, 3) if repeated else 1):
                if repeated and field.message_type:
                    self.fill(rng, getattr(message, field.name).add(), depth + 1)
                elif repeated:
                    getattr(message, field.name).append(self.scalar(rng, field))
                elif field.message_type:
                    getattr(message, field.name).SetInParent()
                    self.fill(rng, getattr(message, field.name), depth + 1)
                else:
                    setattr(message, field.name, self.scalar(rng, field))
        return message

    def check(self, what, kind):
        seen = 0
        for seed in range(300):
            message = self.fill(random.Random(seed), kind())
            data = message.SerializeToString()
            if len(data) > 1_000_000:
                continue
            with self.subTest(seed=seed):
                self.assertEqual(from_json(otlp(what, data), kind()), message)
            seen += len(data)
        self.assertGreater(seen, 100_000)

    def test_traces(self):
        self.check("traces", ExportTraceServiceRequest)

    def test_metrics(self):
        self.check("metrics", ExportMetricsServiceRequest)


def enter_venv():
    """Goes on in the environment of tests/venv; where that cannot be made, all of this is skipped."""
    made = subprocess.run([os.path.join(ROOT, "tests", "venv")], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        print("0 passed, 0 failed, 1 skipped" if made.returncode == 77 else "0 passed, 1 failed, 0 skipped", flush=True)
        sys.exit(0 if made.returncode == 77 else 1)
    python = made.stdout.strip()
    os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])


def main():
    if "json_format" not in globals() or "trace_pb2" not in globals():
        if "opentelemetry" in sys.modules:
            print("the environment of tests/venv has no opentelemetry-proto\n0 passed, 1 failed, 0 skipped")
            return 1
        enter_venv()
    return runner.module(__name__, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
