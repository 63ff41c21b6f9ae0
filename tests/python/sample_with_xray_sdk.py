"""Samples with AWS's own X-Ray SDK by the rules of X-Ray, which it asks for through the daemon's TCP port.

    AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000 python sample_with_xray_sdk.py --requests 200

When it has the rules it decides so many times for each of two paths, sends a segment of each request that it samples, and prints one
JSON line: {"checkout": decisions to sample, "health": ..}. Then it reports its statistics until its input ends.
"""

import argparse
import json
import sys
import time

from aws_xray_sdk.core import xray_recorder

# The SDK asks for rules once at its start and then every five minutes.
PATIENCE = 60


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args()

    xray_recorder.configure(service="shop", sampling=True, context_missing="RUNTIME_ERROR")
    sampler = xray_recorder.sampler

    def asks(path):
        return sampler.should_trace({"host": "shop.example", "method": "GET", "path": path, "service": "shop"})

    # The first question starts the SDK's pollers; until they have brought rules it samples by its own.
    asks("/health")
    deadline = time.monotonic() + PATIENCE
    while not sampler._cache.rules:
        if time.monotonic() > deadline:
            raise SystemExit("no rules came")
        time.sleep(0.02)

    counts = {"checkout": 0, "health": 0}
    for _ in range(arguments.requests):
        for name, path in (("checkout", "/checkout/1"), ("health", "/health")):
            rule = asks(path)
            if rule:
                counts[name] += 1
                # The decision was made; it would be asked for again, and be counted twice.
                segment = xray_recorder.begin_segment(name, sampling=1)
                segment.set_rule_name(rule if isinstance(rule, str) else "")
                xray_recorder.end_segment()
    sys.stdout.write(json.dumps(counts) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
