"""Sends metrics with AWS's own library for the embedded metric format, as an app does, and prints what it sent as one JSON line.

    AWS_EMF_AGENT_ENDPOINT=tcp://127.0.0.1:25888 AWS_EMF_ENVIRONMENT=default python send_with_embedded_metrics.py

One request in ten measures 250 times, which the library cuts into documents of 100 values. Half of the loggers name a resolution.
"""

import asyncio
import json
import sys

from aws_embedded_metrics.logger.metrics_logger_factory import create_metrics_logger
from aws_embedded_metrics.storage_resolution import StorageResolution

REQUESTS = 40


async def main():
    sent = {"latency": [], "size": []}
    for number in range(REQUESTS):
        logger = create_metrics_logger()
        logger.set_namespace("shop")
        logger.set_dimensions({"route": f"/{number % 2}"})
        logger.set_property("requestId", f"request-{number} \u00e4 \"quoted\"")
        for value in range(250 if number % 10 == 0 else 3):
            latency = number + value / 4
            logger.put_metric("latency", latency, "Milliseconds")
            sent["latency"].append(latency)
        logger.put_metric("size", number, "Bytes", StorageResolution.HIGH)
        sent["size"].append(number)
        await logger.flush()
    sys.stdout.write(json.dumps(sent) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
