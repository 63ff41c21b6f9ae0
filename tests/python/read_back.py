"""Reads every event of a CloudWatch Logs group back with boto3 and prints one JSON line an event.

    python read_back.py --endpoint http://127.0.0.1:5000 --group GROUP [--prefix STREAM_PREFIX] [--at-least N] [--seconds S]

A line is {"stream": .., "timestamp": milliseconds, "message": ..}; streams come in the order of their names, events in
the order in which the service gives them. With `--at-least` it asks again until that many events are there, and exits 1
(after printing what there is) when they are not there in time. A group that does not exist has no events.
"""

import argparse
import json
import sys
import time

import boto3
from botocore.config import Config


def events_of(client, group, prefix):
    """All events of a group, stream after stream."""
    try:
        names = [
            stream["logStreamName"]
            for page in client.get_paginator("describe_log_streams").paginate(logGroupName=group)
            for stream in page["logStreams"]
        ]
    except client.exceptions.ResourceNotFoundException:
        return
    for name in sorted(name for name in names if name.startswith(prefix)):
        token = None
        while True:
            more = {"nextToken": token} if token else {}
            page = client.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True, **more)
            for event in page["events"]:
                yield {"stream": name, "timestamp": event["timestamp"], "message": event["message"]}
            # The end is told by the token that was handed in coming back.
            if not page["events"] or page["nextForwardToken"] == token:
                break
            token = page["nextForwardToken"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--at-least", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()

    client = boto3.client(
        "logs",
        endpoint_url=arguments.endpoint,
        region_name=arguments.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 1}, proxies={}),
    )
    deadline = time.monotonic() + arguments.seconds
    while True:
        events = list(events_of(client, arguments.group, arguments.prefix))
        enough = len(events) >= arguments.at_least
        if enough or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for event in events:
        sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
