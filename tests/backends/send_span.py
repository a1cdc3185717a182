# SPDX-License-Identifier: Apache-2.0
"""Sends one real span by OpenTelemetry's own SDK and prints its trace id.

usage: send_span.py grpc|http HOST:PORT SERVICE     (with the python of tests/venv)
"""

import sys

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

protocol, address, service = sys.argv[1:]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    exporter = OTLPSpanExporter(endpoint=address, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    exporter = OTLPSpanExporter(endpoint=f"http://{address}/v1/traces")
provider = TracerProvider(resource=Resource.create({"service.name": service}))
provider.add_span_processor(SimpleSpanProcessor(exporter))
with provider.get_tracer("selftest").start_as_current_span("GET", kind=SpanKind.SERVER) as span:
    span.set_attribute("http.request.method", "GET")
    span.set_attribute("http.response.status_code", 200)
    print(format(span.get_span_context().trace_id, "032x"))
provider.shutdown()
