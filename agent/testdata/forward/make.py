"""Makes the vectors of this folder: NAME.bin and NAME.md.

Run it only to add one; the files are what counts, and a receiver's test reads them, not this script.
Needs msgpack, zstandard and fluent-logger from PyPI:  python3 make.py
Bytes that matter are written by hand; msgpack-python writes the rest.
"""

import gzip
import os
import struct

import msgpack
import zstandard
from fluent import sender

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS, NANOS = 1_700_000_000, 123_456_789
TAG = "app-firelens-0123456789abcdef0123456789abcdef"
CONTAINER = "c0ffee" * 10 + "c0ff"


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def old(value):
    """As clients before 2013 wrote it: no bin, no str 8."""
    return msgpack.packb(value, use_bin_type=False)


def event_time(nanos=NANOS):
    return b"\xd7\x00" + struct.pack(">II", SECONDS, nanos)


def text(value):
    """A str that need not be UTF-8."""
    value = value if isinstance(value, bytes) else value.encode()
    if len(value) < 32:
        return bytes([0xA0 | len(value)]) + value
    if len(value) < 256:
        return b"\xd9" + bytes([len(value)]) + value
    return b"\xda" + struct.pack(">H", len(value)) + value


def fields(pairs):
    """A map of text to text, in this order, two of a name allowed."""
    head = bytes([0x80 | len(pairs)]) if len(pairs) < 16 else b"\xde" + struct.pack(">H", len(pairs))
    return head + b"".join(text(key) + text(value) for key, value in pairs)


def docker(log, **more):
    pairs = [("container_name", "/app"), ("source", "stdout"), ("log", log), ("container_id", CONTAINER)]
    return fields(pairs + list(more.items()))


def entry(number, time=None):
    return b"\x92" + (time or event_time(number)) + fields([("log", f"line {number}"), ("source", "stdout")])


def bin8(data):
    return b"\xc4" + bytes([len(data)]) + data if len(data) < 256 else b"\xc5" + struct.pack(">H", len(data)) + data


def array(*items):
    return bytes([0x90 | len(items)]) + b"".join(items)


ENTRIES = b"".join(entry(n) for n in (1, 2, 3))
CHUNK = "p8n9gmxTQVC8/nh2wlKKeQ=="
VECTORS = {}


def good(name, data, records, origin, meaning, messages=1, acks=()):
    lines = [f"messages: {messages}", f"records: {records}", f"acks: {' '.join(acks) if acks else 'none'}"]
    write(name, data, origin, lines, meaning)


def bad(name, data, origin, meaning, before=0):
    write(name, data, origin, ["messages: refused", f"records: {before}", "acks: none"], meaning)


def write(name, data, origin, lines, meaning):
    assert name not in VECTORS
    VECTORS[name] = True
    with open(os.path.join(HERE, name + ".bin"), "wb") as file:
        file.write(data)
    with open(os.path.join(HERE, name + ".md"), "w") as file:
        file.write(f"# {name}\n\n" + "\n".join([f"origin: {origin}", f"bytes: {len(data)}"] + lines))
        file.write(f"\n\n{meaning}\n")


BY_HAND = "by hand, from the Forward protocol specification v1"
DOCKER = "by hand, as moby's daemon/logger/fluentd with fluent-logger-golang sends it"
FLUENT_BIT = "by hand, as Fluent Bit's out_forward sends it"

# --- Message ---
good("docker-message", array(text(TAG), event_time(), docker("hello"), b"\x80"), 1, DOCKER,
     "One line of a container under ECS: four elements, EventTime as fixext 8, an empty option map.")
good("docker-message-nil-option", array(text(TAG), event_time(), docker("hello"), b"\xc0"), 1, DOCKER + " before 19.03",
     "The option map is nil.")
good("docker-message-whole-seconds", array(text(TAG), b"\xce" + struct.pack(">I", SECONDS), docker("hello"), b"\x80"), 1,
     DOCKER + " without fluentd-sub-second-precision", "The time is a uint 32.")
good("docker-message-request-ack",
     array(text(TAG), event_time(), docker("hello"), b"\x81" + text("chunk") + text(CHUNK)), 1,
     DOCKER + " with fluentd-request-ack", "The sender waits for the ack before it goes on.", acks=[CHUNK])
good("docker-message-empty-line", array(text(TAG), event_time(), docker(""), b"\x80"), 1, DOCKER, "An empty line.")
good("docker-message-attributes",
     array(text(TAG), event_time(), docker("hello", **{f"com.example.label-{n}": "x" * 40 for n in range(14)}), b"\x80"), 1,
     DOCKER + " with labels", "18 fields: the map has a 16-bit length.")
good("docker-message-not-utf-8", array(text(TAG), event_time(), docker(b"caf\xe9 \xff\x00"), b"\x80"), 1, DOCKER,
     "The line holds bytes that are not UTF-8, and a NUL.")
EURO = "€".encode()
parts = [b"a" * 16383 + EURO[:1], EURO[1:] + b"b" * 16382, b"end"]
good("docker-partial-trio",
     b"".join(
         array(text(TAG), event_time(),
               docker(part, partial_message="true", partial_id="5f1e" * 16, partial_ordinal=str(n + 1),
                      partial_last="true" if n == 2 else "false"),
               b"\x80")
         for n, part in enumerate(parts)),
     3, DOCKER, "One line of 32,771 bytes in three parts; the first cut goes through a euro sign.", messages=3)
good("docker-partial-empty-last",
     array(text(TAG), event_time(), docker(b"x" * 16384, partial_message="true", partial_id="ab", partial_ordinal="1",
                                           partial_last="false"), b"\x80")
     + array(text(TAG), event_time(), docker("", partial_message="true", partial_id="ab", partial_ordinal="2",
                                             partial_last="true"), b"\x80"),
     2, DOCKER, "A line of exactly 16,384 bytes: its last part is empty.", messages=2)
good("fargate-message",
     array(text(TAG),
           event_time(),
           fields([("source", "stderr"), ("log", "hello"), ("container_id", "0123456789abcdef0123456789abcdef-42"),
                   ("container_name", "app")]),
           b"\x80"),
     1, "by hand, as the shim loggers of containerd on Fargate send it",
     "The container's name has no slash, its id is task and number.")
good("message-three-elements", array(text("app"), b"\x01", fields([("log", "x")])), 1, BY_HAND, "No option at all; time 1.")
good("message-ext-8-time", array(text("app"), b"\xc7\x08\x00" + struct.pack(">II", SECONDS, NANOS), fields([("log", "x")])),
     1, BY_HAND, "EventTime as ext 8 with length 8, which the specification allows beside fixext 8.")
good("message-time-nil", array(text("app"), b"\xc0", fields([("log", "x")])), 1, "by hand, seen from own clients",
     "No time: the receiver's own.")
good("message-time-zero", array(text("app"), b"\x00", fields([("log", "x")])), 1, "by hand, seen from own clients",
     "Time 0: the receiver's own.")
good("message-time-u64", array(text("app"), b"\xcf" + struct.pack(">Q", SECONDS), fields([("log", "x")])), 1, BY_HAND,
     "Seconds as uint 64.")
good("message-time-i64", array(text("app"), b"\xd3" + struct.pack(">q", SECONDS), fields([("log", "x")])), 1, BY_HAND,
     "Seconds as int 64, as Java's msgpack may write them.")
good("message-bin-tag", array(bin8(b"app"), b"\x01", b"\x81" + bin8(b"log") + bin8(b"x")), 1,
     "by hand, as Python with use_bin_type and bytes", "Tag, key and value are bin.")
good("message-old-str", old([b"app", 1, {b"log": b"y" * 200}]), 1, "msgpack-python, use_bin_type=False",
     "A value of 200 bytes as str 16: the old format has no str 8.")
good("message-array-32", b"\xdd\x00\x00\x00\x03" + text("app") + b"\x01" + b"\xdf\x00\x00\x00\x01" + text("log") + text("x"),
     1, BY_HAND, "Array and map with 32-bit lengths where one byte would do.")
good("message-metadata-option",
     array(text("app"), event_time(), fields([("log", "x")]), b"\x81" + text("metadata") + fields([("severity", "info")])),
     1, FLUENT_BIT + " >= 2.1", "An option with a map in it, which is skipped.")
good("message-duplicate-keys", array(text("app"), b"\x01", fields([("log", "first"), ("a", "b"), ("log", "last")])), 1,
     BY_HAND, "Two fields of one name: the last one counts.")
good("message-all-types",
     array(text("app"), b"\x01", pack({
         "nil": None, "true": True, "false": False, "fixint": 7, "negative": -3, "u64": 2**64 - 1, "i64": -2**63, "f64": 1.5,
         "bin": b"\x00\xff", "list": [1, [2, []]], "map": {"a": {"b": {}}}, "text": "é\n\"\\", "ext": msgpack.ExtType(5, b"abc")})),
     1, "msgpack-python", "A value of each type.")
good("message-number-keys", array(text("app"), b"\x01", pack({1: "one", None: "nil", "log": "x"})), 1, "msgpack-python",
     "Keys that are not text.")
good("message-empty-record", array(text("app"), b"\x01", b"\x80"), 1, BY_HAND, "A record without fields.")
python = sender.FluentSender("app", nanosecond_precision=False)
good("fluent-logger-python", python._make_packet("follow", SECONDS, {"from": "userA", "to": "userB", "n": 1}), 1,
     "fluent-logger (PyPI) 0.11, FluentSender._make_packet", "Tag app.follow, whole seconds, three elements.")
good("fluent-logger-python-nanos",
     python._make_packet("follow", sender.EventTime(SECONDS + 0.5), {"from": "userA"}), 1,
     "fluent-logger (PyPI) 0.11 with nanosecond_precision", "Tag app.follow, EventTime.")

# --- Forward ---
good("forward-two-elements", array(text("app"), array(entry(1), entry(2))), 2, BY_HAND, "No option.")
good("forward-options",
     array(text("app"), array(entry(1), entry(2)), b"\x82" + text("size") + b"\x02" + text("chunk") + text(CHUNK)), 2,
     FLUENT_BIT + " with require_ack_response", "Two records and an ack.", acks=[CHUNK])
good("forward-nil-option", array(text("app"), array(entry(1)), b"\xc0"), 1, BY_HAND, "The option map is nil.")
good("forward-no-entries", array(text("app"), b"\x90"), 0, BY_HAND, "An empty list.")
good("forward-no-entries-chunk", array(text("app"), b"\x90", b"\x81" + text("chunk") + text("c")), 0, BY_HAND,
     "An empty list; the ack is due all the same.", acks=["c"])
meta = array(array(event_time(), b"\x80"), fields([("log", "x")]))
rich = array(array(event_time(), fields([("otlp", "y")])), fields([("log", "z")]))
good("forward-fluent-bit-metadata",
     array(text("app"), array(meta, rich), b"\x82" + text("size") + b"\x02" + text("fluent_signal") + b"\x00"), 2,
     FLUENT_BIT + " >= 2.1 with retain_metadata_in_forward_mode", "Entries [[time, metadata], record].")
good("forward-40-entries", array(text("app"), b"\xdc\x00\x28" + b"".join(entry(n) for n in range(40))), 40, BY_HAND,
     "More entries than fit a one-byte length.")

# --- PackedForward ---
good("packed-bin", array(text("app"), bin8(ENTRIES), b"\x81" + text("size") + b"\x03"), 3,
     "by hand, as Fluentd's out_forward sends it", "Three entries in one bin.")
good("packed-str", array(text("app"), text(ENTRIES)), 3, "by hand, as Fluentd before 0.14 sends it", "The entries as str.")
good("packed-chunk", array(text("app"), bin8(ENTRIES), b"\x81" + text("chunk") + text(CHUNK)), 3,
     "by hand, as Fluentd's out_forward with require_ack_response sends it", "With an ack.", acks=[CHUNK])
good("packed-empty", array(text("app"), b"\xc4\x00", b"\x81" + text("size") + b"\x00"), 0, BY_HAND, "No entries.")
good("packed-compressed-text", array(text("app"), bin8(ENTRIES), b"\x81" + text("compressed") + text("text")), 3,
     "by hand, as Fluentd with compress text", "Not compressed, and says so.")
good("packed-compressed-unknown", array(text("app"), bin8(ENTRIES), b"\x81" + text("compressed") + text("lzma")), 3, BY_HAND,
     "A compression nobody knows counts as none, as in Fluentd and Fluent Bit.")
good("packed-fluent-bit-metadata", array(text("app"), bin8(meta + rich), b"\x81" + text("fluent_signal") + b"\x00"), 2,
     FLUENT_BIT + " >= 2.1", "Entries [[time, metadata], record] in a bin.")
good("packed-unknown-options",
     array(text("app"), bin8(ENTRIES), pack({"whatever": [1, {"a": None}], "size": 3, "deep": {"b": {"c": []}}})), 3, BY_HAND,
     "Options nobody knows are skipped.")


# --- CompressedPackedForward ---
def zipped(data):
    return gzip.compress(data, mtime=0)


GZIP = b"\x81" + text("compressed") + text("gzip")
ZSTD = b"\x81" + text("compressed") + text("zstd")
good("gzip-one-member", array(text("app"), bin8(zipped(ENTRIES)), GZIP), 3, "Python gzip", "Compressed entries.")
good("gzip-two-members", array(text("app"), bin8(zipped(entry(1)) + zipped(entry(2) + entry(3))), GZIP), 3, "Python gzip",
     "Two members one after another, as Fluentd writes when it appends to a compressed buffer.")
good("gzip-cut-inside-entry", array(text("app"), bin8(zipped(ENTRIES[:20]) + zipped(ENTRIES[20:])), GZIP), 3, "Python gzip",
     "The members end inside an entry: they must be joined before entries are read.")
good("gzip-str", array(text("app"), text(zipped(ENTRIES)), GZIP), 3, "Python gzip", "The compressed bytes as str.")
good("gzip-empty", array(text("app"), bin8(zipped(b"")), GZIP), 0, "Python gzip", "Nothing, compressed.")
good("gzip-chunk",
     array(text("app"), bin8(zipped(ENTRIES)),
           b"\x83" + text("chunk") + text(CHUNK) + text("size") + b"\x03" + text("compressed") + text("gzip")),
     3, FLUENT_BIT + " with compress gzip", "With an ack.", acks=[CHUNK])
zstd = zstandard.ZstdCompressor(level=3, write_checksum=True)
stream = zstd.compressobj()
streamed = stream.compress(ENTRIES) + stream.flush()
good("zstd", array(text("app"), bin8(zstd.compress(ENTRIES)), ZSTD), 3, "libzstd through python-zstandard",
     "One frame with content size and checksum.")
good("zstd-streamed", array(text("app"), bin8(streamed), ZSTD), 3, "libzstd through python-zstandard",
     "A frame without content size.")
skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
good("zstd-two-frames", array(text("app"), bin8(zstd.compress(entry(1)) + skippable + zstd.compress(entry(2))), ZSTD), 2,
     "libzstd through python-zstandard", "Two frames with a skippable one between.")

# --- streams ---
good("heartbeat-nil", b"\xc0", 0, "by hand, as old Fluentd heartbeats over TCP", "nil instead of a message is no mistake.")
good("stream-of-all-modes",
     b"\xc0" + array(text("a"), b"\x01", fields([("log", "x")])) + array(text("b"), array(entry(1), entry(2)))
     + array(text("c"), bin8(ENTRIES), b"\x81" + text("chunk") + text("first"))
     + array(text("d"), bin8(zipped(ENTRIES)), GZIP) + array(text("e"), b"\x01", fields([("log", "y")]), b"\x80")
     + array(text("f"), b"\x01", fields([("log", "z")]), b"\x81" + text("chunk") + text("second")) + b"\xc0",
     11, BY_HAND,
     "Six messages and two heartbeats on one connection. Options do not stay: `d` and `e` have no chunk though `c` had one.",
     messages=8, acks=["first", "second"])

# --- refused ---
first = array(text("app"), b"\x01", fields([("log", "kept")]))
bad("bad-map", b"\x80", BY_HAND, "A map instead of a message.")
bad("bad-text", b"hello\n", "a person with nc", "Text: small integers to msgpack.")
bad("bad-http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a browser", "HTTP.")
bad("bad-tls", bytes.fromhex("16030100a5010000a10303") + bytes(100), "a TLS client", "A ClientHello.")
bad("bad-unused-byte", first + b"\xc1", BY_HAND, "0xC1 is never used. What came before stays.", before=1)
bad("bad-no-elements", b"\x90", BY_HAND, "An empty array.")
bad("bad-tag-only", array(text("app")), BY_HAND, "One element.")
bad("bad-two-elements-time", array(text("app"), b"\x01"), "Fluent Bit's fix 10a748d61",
    "A Message of two elements has no record; Fluent Bit read past its end.")
bad("bad-five-elements", array(text("app"), b"\x01", b"\x80", b"\x80", b"\x80"), BY_HAND, "One element too many.")
bad("bad-tag-number", array(b"\x07", b"\x01", b"\x80"), BY_HAND, "The tag is a number.")
bad("bad-time-ext-4", array(text("app"), b"\xd6\x00abcd", b"\x80"), BY_HAND, "An EventTime of 4 bytes.")
bad("bad-time-ext-type", array(text("app"), b"\xd7\x01abcdefgh", b"\x80"), BY_HAND, "An extension of type 1 as the time.")
bad("bad-record-text", array(text("app"), b"\x01", text("hello")), BY_HAND, "The record is text.")
bad("bad-option-text", array(text("app"), b"\x01", b"\x80", text("x")), BY_HAND, "The option map is text.")
bad("bad-entry-one", array(text("app"), array(array(b"\x01"))), BY_HAND, "An entry without a record.")
bad("bad-entry-record", array(text("app"), array(array(b"\x01", b"\x02"))), BY_HAND, "An entry whose record is a number.")
bad("bad-packed-cut", array(text("app"), bin8(ENTRIES[:-3])), BY_HAND, "The third of the packed entries is cut. The two\nbefore it came whole and are kept; no ack is sent.", before=2)
bad("bad-packed-not-entries", array(text("app"), bin8(b"hello")), BY_HAND, "Text instead of packed entries.")
bad("bad-gzip-cut", array(text("app"), bin8(zipped(ENTRIES)[:-5]), GZIP), "Python gzip", "The gzip trailer is cut.")
bad("bad-gzip-garbage", array(text("app"), bin8(zipped(ENTRIES) + b"zzz"), GZIP), "Python gzip", "Bytes behind the last member.")
bad("bad-gzip-not", array(text("app"), bin8(ENTRIES), GZIP), BY_HAND, "Says gzip, is not.")
bad("bad-zstd-window", array(text("app"), bin8(b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00"), ZSTD), BY_HAND,
    "A zstd frame with a window of 3.75 TiB.")
bomb = zipped(bytes(8_000_000))
bad("bad-gzip-bomb", array(text("app"), b"\xc5" + struct.pack(">H", len(bomb)) + bomb, GZIP), "Python gzip",
    "8,000,000 zeroes: more than the largest message allowed.")
bad("bad-length-str", b"\x93\xdb\xff\xff\xff\xff" + b"app", BY_HAND, "A tag of 4 GiB is announced. Refused at once, not waited for.")
bad("bad-length-array", b"\x92" + text("app") + b"\xdd\xff\xff\xff\xff" + entry(1), BY_HAND,
    "Four billion entries are announced; one comes. Nothing is allocated for the others.")
bad("bad-length-map", b"\x93" + text("app") + b"\x01\xdf\xff\xff\xff\xff" + text("log") + text("x"), BY_HAND,
    "Four billion fields are announced; one comes.")
bad("bad-deep", array(text("app"), b"\x01", b"\x81" + text("a") + b"\x91" * 5000 + b"\xc0"), BY_HAND,
    "5,000 arrays in each other.")
bad("bad-deep-maps", array(text("app"), b"\x01", b"\x81\xa1a" * 5000 + b"\xc0"), BY_HAND, "5,000 maps in each other.")

# --- seeds for the fuzzer: small messages cut in half, and with one byte changed ---
SEEDS = os.path.join(HERE, "..", "..", "fuzz", "corpus", "forward_frame")
os.makedirs(SEEDS, exist_ok=True)
for number, name in enumerate(sorted(VECTORS)):
    with open(os.path.join(HERE, name + ".bin"), "rb") as file:
        data = file.read()
    if 2 < len(data) <= 400:
        at = (number * 7919) % len(data)
        changed = data[:at] + bytes([data[at] ^ (1 << number % 8)]) + data[at + 1 :]
        for kind, seed in (("cut", data[: len(data) // 2]), ("changed", changed)):
            with open(os.path.join(SEEDS, f"{name}.{kind}"), "wb") as file:
                file.write(seed)
print(len(VECTORS), "vectors")
