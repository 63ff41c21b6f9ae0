"""Reads a page of metrics with the parsers of Prometheus' own Python library, and prints one JSON line a sample.

    python parse_metrics.py --url http://127.0.0.1:9464/metrics --format text|openmetrics

A line is {"name": .., "labels": {..}, "value": ..}, with {.., "exemplar": [labels, value]} where there is one. A page that the parser refuses ends it with 1 and the reason.
"""

import argparse
import json
import urllib.request

from prometheus_client import parser as text
from prometheus_client.openmetrics import parser as openmetrics

ACCEPT = {"text": "text/plain;version=0.0.4", "openmetrics": "application/openmetrics-text;version=1.0.0"}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--url", required=True)
    arguments.add_argument("--format", choices=ACCEPT, required=True)
    arguments = arguments.parse_args()

    request = urllib.request.Request(arguments.url, headers={"Accept": ACCEPT[arguments.format]})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        page = answer.read().decode()
    parse = text.text_string_to_metric_families
    if arguments.format == "openmetrics":
        parse = openmetrics.text_string_to_metric_families
    for family in parse(page):
        for sample in family.samples:
            told = {"name": sample.name, "labels": sample.labels, "value": sample.value}
            if sample.exemplar:
                told["exemplar"] = [sample.exemplar.labels, sample.exemplar.value]
            print(json.dumps(told))


if __name__ == "__main__":
    main()
