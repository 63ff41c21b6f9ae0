"""Reads traces back from X-Ray with boto3 and prints one JSON line a document.

    python read_traces_back.py --endpoint http://127.0.0.1:5000 [--at-least N] [--seconds S] TRACE_ID ..

A line is the document as X-Ray has it. With `--at-least` it asks again until that many documents are there, and exits 1 (after
printing what there is) when they are not there in time.
"""

import argparse
import sys
import time

import boto3
from botocore.config import Config

# Ids of one request (BatchGetTraces).
BATCH = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--at-least", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("ids", nargs="+")
    arguments = parser.parse_args()

    client = boto3.client(
        "xray",
        endpoint_url=arguments.endpoint,
        region_name=arguments.region,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 1}, proxies={}),
    )
    deadline = time.monotonic() + arguments.seconds
    while True:
        documents = []
        for start in range(0, len(arguments.ids), BATCH):
            found = client.batch_get_traces(TraceIds=arguments.ids[start : start + BATCH])
            documents += [segment["Document"] for trace in found["Traces"] for segment in trace["Segments"]]
        enough = len(documents) >= arguments.at_least
        if enough or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for document in documents:
        sys.stdout.write(document + "\n")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
