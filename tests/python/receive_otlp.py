"""A backend of OTLP made of OpenTelemetry's own classes: gRPC by grpcio, HTTP by Python's server.

For the line `addresses` it says {"grpc": "127.0.0.1:PORT", "http": "127.0.0.1:PORT"}, for every other line what it received:
{"spans": [{"trace_id": .., "span_id": .., "name": .., "text": .., "service": .., "scope": .., "events": .., "by": ..}],
"points": [{"name": .., "kind": .., "labels": {..}, "value" or "sum": .., "count": .., "buckets": .., "by": ..}]}.
"""

import gzip
import http.server
import json
import sys
import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metric_messages
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metric_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

SPANS = []
POINTS = []
LOCK = threading.Lock()


def attribute(attributes, key):
    return next((pair.value.string_value for pair in attributes if pair.key == key), None)


def keep(request, by):
    with LOCK:
        for group in request.resource_spans:
            name = attribute(group.resource.attributes, "service.name")
            for scope in group.scope_spans:
                for span in scope.spans:
                    SPANS.append(
                        {
                            "trace_id": span.trace_id.hex(),
                            "span_id": span.span_id.hex(),
                            "name": span.name,
                            "text": attribute(span.attributes, "text"),
                            "service": name,
                            "scope": scope.scope.name,
                            "events": len(span.events),
                            "by": by,
                        }
                    )


def keep_metrics(request, by):
    with LOCK:
        for group in request.resource_metrics:
            for scope in group.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    for point in getattr(metric, kind).data_points:
                        labels = {pair.key: pair.value.string_value for pair in point.attributes}
                        told = {"name": metric.name, "kind": kind, "unit": metric.unit, "labels": labels, "by": by}
                        told["good"] = 0 < point.start_time_unix_nano <= point.time_unix_nano
                        if kind in ("gauge", "sum"):
                            told["value"] = point.as_double
                        else:
                            told.update(sum=point.sum, count=point.count)
                        if kind == "histogram":
                            told["buckets"] = list(point.bucket_counts)
                            told["good"] &= len(point.bucket_counts) == len(point.explicit_bounds) + 1
                        POINTS.append(told)


class GrpcMetrics(metric_service.MetricsServiceServicer):
    def Export(self, request, context):
        keep_metrics(request, "grpc")
        return metric_messages.ExportMetricsServiceResponse()


class Grpc(service.TraceServiceServicer):
    def Export(self, request, context):
        keep(request, "grpc")
        return messages.ExportTraceServiceResponse()


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        good = self.path in ("/v1/traces", "/v1/metrics") and self.headers["Content-Type"] == "application/x-protobuf"
        if good and self.path == "/v1/traces":
            keep(messages.ExportTraceServiceRequest.FromString(body), "http")
        elif good:
            keep_metrics(metric_messages.ExportMetricsServiceRequest.FromString(body), "http")
        self.send_response(200 if good else 404)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    service.add_TraceServiceServicer_to_server(Grpc(), server)
    metric_service.add_MetricsServiceServicer_to_server(GrpcMetrics(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Http)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    addresses = {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{web.server_address[1]}"}
    for line in sys.stdin:
        with LOCK:
            said = addresses if line.strip() == "addresses" else {"spans": SPANS, "points": POINTS}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
    server.stop(None)
    web.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
