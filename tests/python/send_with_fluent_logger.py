"""Sends numbered records with the public fluent-logger client: the second opinion on how clients speak to us.

    python send_with_fluent_logger.py --to unix:///run/fluent.sock --tag app.py --count 100
    python send_with_fluent_logger.py --to tcp://127.0.0.1:24224 --tag app.py --count 100 --async --nanoseconds --bufmax 65536

Record number i is {"log": "line i", "seq": i, "label": ..}, and its time is TIME + i milliseconds (`--time`, default now;
with `--nanoseconds` as EventTime, otherwise as whole seconds). Prints {"sent": n, "failed": n} and exits 1 if any failed.
"""

import argparse
import json
import sys
import time
from urllib.parse import urlsplit

from fluent import asyncsender, sender


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, help="unix:///PATH or tcp://HOST:PORT")
    parser.add_argument("--tag", required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--time", type=int, default=None, help="milliseconds since 1970 of record 0")
    parser.add_argument("--async", dest="background", action="store_true", help="the client with a queue and a thread")
    parser.add_argument("--nanoseconds", action="store_true", help="EventTime in place of whole seconds")
    parser.add_argument("--bufmax", type=int, default=1024 * 1024, help="bytes that the client keeps when it cannot send")
    parser.add_argument("--label", default="fluent-logger")
    arguments = parser.parse_args()

    lost = []
    options = {
        "bufmax": arguments.bufmax,
        "timeout": 10.0,
        "nanosecond_precision": arguments.nanoseconds,
        "buffer_overflow_handler": lost.append,
    }
    address = urlsplit(arguments.to)
    if address.scheme == "unix":
        options["host"] = "unix://" + address.path
    else:
        options["host"], options["port"] = address.hostname, address.port
    kind = asyncsender.FluentSender if arguments.background else sender.FluentSender
    client = kind(arguments.tag, **options)

    start = time.time_ns() // 1_000_000 if arguments.time is None else arguments.time
    failed = 0
    for number in range(arguments.count):
        record = {"log": f"line {number}", "seq": number, "label": arguments.label}
        milliseconds = start + number
        exact = sender.EventTime.from_unix_nano(milliseconds * 1_000_000)
        stamp = exact if arguments.nanoseconds else milliseconds // 1000
        if not client.emit_with_time(None, stamp, record):
            failed += 1
    error = client.last_error
    client.close()
    sys.stdout.write(json.dumps({"sent": arguments.count - failed, "failed": failed, "overflowed": len(lost)}) + "\n")
    if error:
        sys.stderr.write(f"{error}\n")
    return 1 if failed or lost else 0


if __name__ == "__main__":
    sys.exit(main())
