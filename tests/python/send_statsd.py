"""Sends metrics with the StatsD clients that apps use: Datadog's and the plain one.

    python send_statsd.py --port 8125 --rounds 100 [--socket /path/of/a/datagram/socket]

Each round counts 1 and 2 in `orders` (tag `shop`), sets `stock` to the round, times `took` with 5 and 15 ms, adds two values to
`size` and one of ten names to `customers`; the plain client counts 1 in `plain.orders` and times `plain.took` in a pipeline. With a socket,
Datadog's client writes there instead of UDP.
"""

import argparse

import statsd
from datadog.dogstatsd import DogStatsd


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--socket")
    arguments = parser.parse_args()

    where = {"socket_path": arguments.socket} if arguments.socket else {"host": "127.0.0.1", "port": arguments.port}
    # By default it drops what a socket does not take at once.
    datadog = DogStatsd(constant_tags=["env:test"], socket_timeout=30, **where)
    plain = statsd.StatsClient("127.0.0.1", arguments.port, prefix="plain")
    for number in range(arguments.rounds):
        datadog.increment("orders", 1, tags=["shop:north"])
        datadog.increment("orders", 2, tags=["shop:south"])
        datadog.gauge("stock", number)
        datadog.timing("took", 5)
        datadog.timing("took", 15)
        datadog.histogram("size", 1.5)
        datadog.distribution("size.all", 2.5)
        datadog.set("customers", f"customer-{number % 10}")
        with plain.pipeline() as pipe:
            pipe.incr("orders")
            pipe.timing("took", 20)
            pipe.gauge("level", 1, delta=True)
    datadog.flush()


if __name__ == "__main__":
    main()
