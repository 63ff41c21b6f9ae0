"""Sends numbered records in one mode of the Forward protocol and waits for the acknowledgement of each message.

    python send_forward_modes.py --to unix:///run/fluent.sock --tag app.py --mode gzip --count 100 --per-message 10

Modes: message, forward, packed, gzip (several gzip members in one message). Encoded by the msgpack package, which knows
nothing of our own code. Record number i is {"log": "line i", "seq": i, "label": MODE} at TIME + i milliseconds. Prints
{"sent": n, "acknowledged": n} and exits 1 unless every message was acknowledged with its own chunk.
"""

import argparse
import base64
import gzip
import json
import os
import socket
import struct
import sys
import time
from urllib.parse import urlsplit

import msgpack


def event_time(milliseconds):
    """EventTime: extension 0, seconds and nanoseconds as big-endian numbers of 4 bytes."""
    return msgpack.ExtType(0, struct.pack(">II", milliseconds // 1000, milliseconds % 1000 * 1_000_000))


def message(mode, tag, entries, chunk):
    """One message of the protocol, as bytes."""
    options = {"chunk": chunk, "size": len(entries)}
    if mode == "message":
        (when, record), = entries
        return msgpack.packb([tag, when, record, {"chunk": chunk}])
    if mode == "forward":
        return msgpack.packb([tag, entries, options])
    packed = [msgpack.packb(entry) for entry in entries]
    if mode == "packed":
        return msgpack.packb([tag, b"".join(packed), options])
    half = len(packed) // 2
    members = gzip.compress(b"".join(packed[:half])) + gzip.compress(b"".join(packed[half:]))
    return msgpack.packb([tag, members, {**options, "compressed": "gzip"}])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", required=True, help="unix:///PATH or tcp://HOST:PORT")
    parser.add_argument("--tag", required=True)
    parser.add_argument("--mode", required=True, choices=["message", "forward", "packed", "gzip"])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--per-message", type=int, default=10)
    parser.add_argument("--time", type=int, default=None, help="milliseconds since 1970 of record 0")
    arguments = parser.parse_args()

    address = urlsplit(arguments.to)
    if address.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(address.path)
    else:
        connection = socket.create_connection((address.hostname, address.port))
    connection.settimeout(10)

    start = time.time_ns() // 1_000_000 if arguments.time is None else arguments.time
    step = 1 if arguments.mode == "message" else arguments.per_message
    entries = [
        (event_time(start + number), {"log": f"line {number}", "seq": number, "label": arguments.mode})
        for number in range(arguments.count)
    ]
    answers = msgpack.Unpacker()
    sent = acknowledged = 0
    for first in range(0, len(entries), step):
        part = entries[first : first + step]
        chunk = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(message(arguments.mode, arguments.tag, part, chunk))
        sent += len(part)
        answer = None
        while answer is None:
            received = connection.recv(4096)
            if not received:
                raise SystemExit("the connection was closed before the acknowledgement")
            answers.feed(received)
            answer = next(answers, None)
        if answer == {"ack": chunk}:
            acknowledged += len(part)
    connection.close()
    sys.stdout.write(json.dumps({"sent": sent, "acknowledged": acknowledged}) + "\n")
    return 0 if sent == acknowledged else 1


if __name__ == "__main__":
    sys.exit(main())
