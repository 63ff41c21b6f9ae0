"""An app with Prometheus' own Python library, which exposes its metrics as the library does.

    python expose_metrics.py [--seed N]

It answers lines of JSON: "address" with where it exposes, "count" after it counted something more, "samples" with all samples as the library's own
parser reads them from what the library writes, "asked" with the content types and encodings of its answers.
"""

import argparse
import json
import random
import socketserver
import sys
import threading
import wsgiref.simple_server

import prometheus_client
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.openmetrics.exposition import generate_latest

ASKED = []
# What has a meaning in either format, and what has none.
LETTERS = 'aZ09 \\"\n{}=,#_.:/ä\U0001F600'


class Server(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


def noting(app):
    def wrapped(environ, start_response):
        def start(status, headers, *rest):
            found = {name.lower(): value for name, value in headers}
            ASKED.append([found.get("content-type"), found.get("content-encoding")])
            return start_response(status, headers, *rest)

        return app(environ, start)

    return wrapped


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=1)
    dice = random.Random(arguments.parse_args().seed)

    registry = prometheus_client.CollectorRegistry()
    of = {"registry": registry}
    jobs = prometheus_client.Counter("app_jobs", "Jobs \\ done\nby \"text\".", ["text"], **of)
    took = prometheus_client.Histogram("app_took_seconds", "How long they took.", ["kind"], buckets=(0.01, 0.1, 1), **of)
    lag = prometheus_client.Summary("app_lag_seconds", "How late they were.", **of)
    load = prometheus_client.Gauge("app_load", "How much there is to do.", ["text"], **of)
    prometheus_client.Info("app_build", "What it is.", **of).info({"version": "1.2"})
    phase = prometheus_client.Enum("app_phase", "How it is.", states=["starting", "up"], **of)
    texts = ["".join(dice.choice(LETTERS) for _ in range(dice.randint(1, 12))) for _ in range(50)]

    def exemplar():
        """Leads to a trace; now and then with the longest labels that OpenMetrics allows."""
        trace = {"trace_id": f"{dice.getrandbits(128):032x}"}
        # The library's own parser does not take what has a meaning in the format here, though it writes it.
        return trace if dice.random() < 0.9 else {**trace, "rest": "\u00e4" * (128 - 8 - 32 - 4)}

    def count():
        for text in texts:
            jobs.labels(text).inc(dice.randint(1, 100), exemplar())
            load.labels(text).set(dice.uniform(-1e6, 1e6))
        for _ in range(200):
            took.labels(dice.choice(["a", "b"])).observe(dice.choice([0.005, 0.05, 0.5, 5]), exemplar())
            lag.observe(0.25)
        phase.state("up")

    def samples():
        page = generate_latest(registry).decode()
        families = openmetrics.text_string_to_metric_families(page)
        like = lambda s: s.exemplar and [s.exemplar.labels, s.exemplar.value]
        return [[s.name, s.labels, s.value, like(s)] for family in families for s in family.samples]

    count()
    app = noting(prometheus_client.make_wsgi_app(registry))
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, Server, Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    answers = {
        "address": lambda: {"address": f"127.0.0.1:{server.server_port}"},
        "count": lambda: count() or {},
        "samples": lambda: {"samples": samples()},
        "asked": lambda: {"asked": ASKED},
    }
    for line in sys.stdin:
        print(json.dumps(answers[line.strip().strip('"')]()), flush=True)


if __name__ == "__main__":
    main()
