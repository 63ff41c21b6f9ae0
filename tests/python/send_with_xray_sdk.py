"""Sends segments with AWS's own X-Ray SDK, as an app does, and prints one JSON line a segment.

    AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000 python send_with_xray_sdk.py --segments 20

A line is {"trace_id": .., "id": .., "name": ..}. Each segment has a subsegment with an annotation and an exception, and every
tenth has so many subsegments that the SDK streams them as documents of their own.
"""

import argparse
import json
import sys

from aws_xray_sdk.core import xray_recorder

# More than this, and finished subsegments are sent before their segment is (the SDK's default).
STREAMED = 30


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=20)
    arguments = parser.parse_args()

    # Every segment is sampled: no rules are asked for.
    xray_recorder.configure(service="shop", sampling=False, context_missing="RUNTIME_ERROR")
    for number in range(arguments.segments):
        segment = xray_recorder.begin_segment(f"order-{number}")
        for part in range(STREAMED + 10 if number % 10 == 0 else 1):
            with xray_recorder.in_subsegment(f"step-{part}") as subsegment:
                subsegment.put_annotation("number", number)
                subsegment.put_metadata("text", "\u00e4 \"quoted\" \\ \n line")
                subsegment.add_exception(ValueError("not enough \u20ac"), [])
        line = {"trace_id": segment.trace_id, "id": segment.id, "name": segment.name}
        xray_recorder.end_segment()
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
