"""Takes orders: asks another service for the price, and writes the order to PostgreSQL.

    POST /orders/7     {"order": 7, "cents": 700, "user": "shop"}
    GET  /health

Nothing in here knows of pillion. Lines go to standard output, spans to where OTEL_EXPORTER_OTLP_ENDPOINT says, metrics to where
AWS_EMF_AGENT_ENDPOINT says, and the database's user and password are in the file that DB_FILE names.
"""

import json
import os
import threading
from datetime import datetime, timezone

import requests
from aws_embedded_metrics import metric_scope
from flask import Flask, jsonify
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.sdk.extension.aws.trace import AwsXRayIdGenerator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from psycopg_pool import ConnectionPool

PRICES_URL = os.environ["PRICES_URL"]
DB_FILE = os.environ["DB_FILE"]


def trace_everything(app):
    """Spans for requests that come in and go out. X-Ray's ids and header, so that services with X-Ray's own SDK go on with them."""
    provider = TracerProvider(resource=Resource.create({"service.name": "orders"}), id_generator=AwsXRayIdGenerator())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    set_global_textmap(AwsXRayPropagator())
    FlaskInstrumentor().instrument_app(app, excluded_urls="health")
    RequestsInstrumentor().instrument()


def say(message, **more):
    """One line of JSON, with the trace that it belongs to: CloudWatch and X-Ray find each other by it."""
    line = {"at": datetime.now(timezone.utc).isoformat(), "message": message, **more}
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        trace_id = format(context.trace_id, "032x")
        line["trace"] = f"1-{trace_id[:8]}-{trace_id[8:]}"
    print(json.dumps(line), flush=True)


class Database:
    """A pool whose connections are made with what the file says at that moment."""

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = self.version()
        self.pool = ConnectionPool(kwargs=self.login, min_size=2, max_size=8, timeout=10, open=True)

    @staticmethod
    def version():
        """What changes when the secret is rotated: the file is replaced, never written to."""
        return os.stat(DB_FILE).st_ino

    @staticmethod
    def login():
        """User and password are one file, so that they belong together."""
        with open(DB_FILE) as file:
            value = json.load(file)
        names = {"host": "host", "port": "port", "user": "username", "password": "password", "dbname": "dbname"}
        return {name: value[key] for name, key in names.items()}

    def connection(self):
        with self.lock:
            now = self.version()
            if now != self.seen:
                self.seen = now
                # Queries under way go on; connections that come back are closed, and new ones use the new password.
                self.pool.drain()
        return self.pool.connection()


app = Flask("orders")
trace_everything(app)
database = Database()


@metric_scope
def measure(cents, metrics):
    metrics.set_namespace("Shop")
    metrics.set_dimensions({"Service": "orders"})
    metrics.put_metric("OrderValue", cents, "None")


@app.post("/orders/<int:number>")
def order(number):
    answer = requests.get(f"{PRICES_URL}/prices/{number}", timeout=5)
    answer.raise_for_status()
    cents = answer.json()["cents"]
    with database.connection() as connection:
        row = connection.execute(
            "INSERT INTO orders (number, cents) VALUES (%s, %s) RETURNING current_user", [number, cents]
        ).fetchone()
    measure(cents)
    say("order taken", order=number, cents=cents)
    return jsonify(order=number, cents=cents, user=row[0])


@app.get("/health")
def health():
    return "ok\n"


say("orders ready")
