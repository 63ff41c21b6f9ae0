"""Sends metrics and records of logs with OpenTelemetry's own SDK, as an app does, and prints what it sent as one JSON line.

    python send_metrics_with_opentelemetry.py --protocol grpc --endpoint http://127.0.0.1:4317 --temporality delta --process 1

Everything is counted in three rounds with an export behind each, so that what is accumulated comes three times.
"""

import argparse
import json
import logging
import sys

from opentelemetry._logs import set_logger_provider
from opentelemetry.metrics import Observation
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

ROUNDS = 3


def exporters(arguments):
    temporality = AggregationTemporality.DELTA if arguments.temporality == "delta" else AggregationTemporality.CUMULATIVE
    preferred = {Counter: temporality, Histogram: temporality, UpDownCounter: AggregationTemporality.CUMULATIVE}
    if arguments.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        metrics = OTLPMetricExporter(endpoint=arguments.endpoint, insecure=True, preferred_temporality=preferred)
        return metrics, OTLPLogExporter(endpoint=arguments.endpoint, insecure=True)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    metrics = OTLPMetricExporter(
        endpoint=arguments.endpoint + "/v1/metrics", compression=Compression.Gzip, preferred_temporality=preferred
    )
    return metrics, OTLPLogExporter(endpoint=arguments.endpoint + "/v1/logs", compression=Compression.Gzip)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=["grpc", "http"], required=True)
    parser.add_argument("--temporality", choices=["delta", "cumulative"], required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--process", type=int, required=True)
    arguments = parser.parse_args()

    resource = Resource.create({"service.name": "shop", "service.version": "1.2"})
    metric_exporter, log_exporter = exporters(arguments)
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=3_600_000)
    views = [View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation(max_size=20))]
    provider = MeterProvider(resource=resource, metric_readers=[reader], views=views)
    meter = provider.get_meter("orders", "0.1")
    counter = meter.create_counter("orders", unit="{order}", description="Orders taken.")
    waiting = meter.create_up_down_counter("waiting")
    took = meter.create_histogram("took", unit="ms")
    exponential = meter.create_histogram("exponential", unit="By")
    meter.create_observable_gauge("load", callbacks=[lambda _: [Observation(0.25)]], unit="1")

    logs = LoggerProvider(resource=resource)
    set_logger_provider(logs)
    logs.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    logger = logging.getLogger("orders")
    logger.setLevel(logging.INFO)
    logger.addHandler(LoggingHandler(logger_provider=logs))
    logger.propagate = False

    sent = {"orders": 0, "took": [], "exponential": [], "lines": []}
    for number in range(ROUNDS):
        for value in range(1, 21):
            counter.add(value, {"route": "/cart"})
            sent["orders"] += value
            took.record(value * 7.5, {"route": "/cart"})
            sent["took"].append(value * 7.5)
            # Wider each round, so that buckets are joined on the way.
            size = float(value) ** (number + 1)
            exponential.record(size)
            sent["exponential"].append(size)
        waiting.add(arguments.process)
        line = f'process {arguments.process} round {number} \u00e4 "quoted" \\ by {arguments.protocol}'
        logger.warning(line, extra={"order": number})
        sent["lines"].append(line)
        if not provider.force_flush():
            return 1
    if not logs.force_flush():
        return 1
    sys.stdout.write(json.dumps(sent) + "\n")
    provider.shutdown()
    logs.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
