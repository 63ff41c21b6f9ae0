"""Sends spans with OpenTelemetry's own SDK, as an app does, and prints one JSON line a span.

    python send_with_opentelemetry.py --protocol grpc --endpoint http://127.0.0.1:4317 --spans 20 --compression gzip

A line is {"trace_id": .., "span_id": .., "name": .., "text": ..}, ids in hexadecimal. Every span has attributes of several kinds, an
event with an exception, and a link.
"""

import argparse
import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TEXT = '\u00e4 "quoted" \\ \n line'


def exporter(arguments):
    if arguments.protocol == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        compression = {"gzip": grpc.Compression.Gzip, "none": grpc.Compression.NoCompression}[arguments.compression]
        return OTLPSpanExporter(endpoint=arguments.endpoint, insecure=True, compression=compression)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    compression = {"gzip": Compression.Gzip, "none": Compression.NoCompression}[arguments.compression]
    return OTLPSpanExporter(endpoint=arguments.endpoint + "/v1/traces", compression=compression)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=["grpc", "http"], required=True)
    parser.add_argument("--compression", choices=["gzip", "none"], default="none")
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--spans", type=int, default=20)
    arguments = parser.parse_args()

    provider = TracerProvider(resource=Resource.create({"service.name": "shop", "service.version": "1.2"}))
    provider.add_span_processor(BatchSpanProcessor(exporter(arguments), max_export_batch_size=8))
    tracer = provider.get_tracer("orders", "0.1")
    link = None
    for number in range(arguments.spans):
        name = f"{arguments.protocol}-{arguments.compression}-{number}"
        links = [trace.Link(link)] if link else []
        with tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, links=links) as span:
            span.set_attribute("text", TEXT)
            span.set_attribute("numbers", [1, 2, 3])
            span.set_attribute("ratio", 0.5)
            span.record_exception(ValueError("not enough \u20ac"))
            context = link = span.get_span_context()
        ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
        sys.stdout.write(json.dumps({**ids, "name": name, "text": TEXT}) + "\n")
    if not provider.force_flush():
        return 1
    provider.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
