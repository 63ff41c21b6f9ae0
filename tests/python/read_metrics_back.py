"""Reads metrics back from CloudWatch with boto3 and prints one JSON line for each name and dimensions that the namespace has.

    python read_metrics_back.py --endpoint http://127.0.0.1:5000 --namespace Shop

A line has the statistics of all that is there: {"name": .., "dimensions": {..}, "sum": .., "count": .., "least": .., "greatest": ..}.
"""

import argparse
import datetime
import json

import boto3
from botocore.config import Config

STATISTICS = ["Sum", "SampleCount", "Minimum", "Maximum"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--namespace", required=True)
    arguments = parser.parse_args()

    client = boto3.client(
        "cloudwatch",
        endpoint_url=arguments.endpoint,
        region_name=arguments.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 1}, proxies={}),
    )
    now = datetime.datetime.now(datetime.timezone.utc)
    seen = set()
    for page in client.get_paginator("list_metrics").paginate(Namespace=arguments.namespace):
        for metric in page["Metrics"]:
            key = (metric["MetricName"], tuple(sorted((d["Name"], d["Value"]) for d in metric["Dimensions"])))
            if key in seen:
                continue
            seen.add(key)
            points = client.get_metric_statistics(
                Namespace=arguments.namespace,
                MetricName=metric["MetricName"],
                Dimensions=metric["Dimensions"],
                StartTime=now - datetime.timedelta(hours=2),
                EndTime=now + datetime.timedelta(hours=1),
                Period=60,
                Statistics=STATISTICS,
            )["Datapoints"]
            print(
                json.dumps(
                    {
                        "name": metric["MetricName"],
                        "dimensions": dict(key[1]),
                        "sum": sum(point["Sum"] for point in points),
                        "count": sum(point["SampleCount"] for point in points),
                        "least": min(point["Minimum"] for point in points),
                        "greatest": max(point["Maximum"] for point in points),
                    }
                )
            )


if __name__ == "__main__":
    main()
