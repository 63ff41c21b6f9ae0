"""Writes what Python's encoders make of each value, alone and in a text. See encoded.md."""
import base64
import html
import json
import sys
import urllib.parse as url

ENCODERS = {
    "json.dumps": lambda text: json.dumps(text)[1:-1],
    "json.dumps ensure_ascii=False": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "json.dumps twice": lambda text: json.dumps(json.dumps(text))[3:-3],
    "json.dumps ensure_ascii=False twice": lambda text: json.dumps(json.dumps(text, ensure_ascii=False), ensure_ascii=False)[3:-3],
    "quote": url.quote,
    "quote safe=''": lambda text: url.quote(text, safe=""),
    "quote_plus": url.quote_plus,
    "urlencode": lambda text: url.urlencode({"": text})[1:],
    "html.escape": html.escape,
    "html.escape quote=False": lambda text: html.escape(text, quote=False),
    "repr": lambda text: repr(text)[1:-1],
}
BASE64 = {
    "b64encode": base64.b64encode,
    "urlsafe_b64encode": base64.urlsafe_b64encode,
}


def line(by, value, encoded, text):
    print("\t".join([f"Python {by}", value.encode().hex(), encoded.encode().hex(), text.encode().hex()]))


for value in open(sys.argv[1], encoding="utf-8").read().splitlines():
    for by, encode in ENCODERS.items():
        line(by, value, encode(value), encode("user=" + value + ", next"))
    for by, encode in BASE64.items():
        for before in ["", "u", "me", "ab:", "user:"]:
            for after in ["", "@", "\n", "::"]:
                line(by, value, "", encode((before + value + after).encode()).decode())
