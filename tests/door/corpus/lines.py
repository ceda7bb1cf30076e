"""Request lines and heads that are malformed or too large, and other protocols on this port."""

from __future__ import annotations

from collections.abc import Iterator

from tests.door.corpus.case import POISON, TAG, VICTIM, Case, refused

_HOST = b"Host: a\r\n"
_PATH = f"/v2/{VICTIM}/manifests/{TAG}".encode()
# The same number as in dtrfast.config: the largest head, with its request line and empty line.
_HEAD_SIZE_MAX = 131_072

LINES = {
    "HTTP/0.9": b"GET " + _PATH,
    "HTTP/0.9 with version": b"GET " + _PATH + b" HTTP/0.9",
    "HTTP/1": b"GET " + _PATH + b" HTTP/1",
    "HTTP/1.": b"GET " + _PATH + b" HTTP/1.",
    "HTTP/1.01": b"GET " + _PATH + b" HTTP/1.01",
    "HTTP/1.2": b"GET " + _PATH + b" HTTP/1.2",
    "HTTP/2.0": b"GET " + _PATH + b" HTTP/2.0",
    "HTTP/3": b"GET " + _PATH + b" HTTP/3",
    "HTTP/11.1": b"GET " + _PATH + b" HTTP/11.1",
    "HTTP/-1.1": b"GET " + _PATH + b" HTTP/-1.1",
    "HTTP / 1.1": b"GET " + _PATH + b" HTTP / 1.1",
    "small http": b"GET " + _PATH + b" http/1.1",
    "other protocol": b"GET " + _PATH + b" SIP/2.0",
    "space behind the version": b"GET " + _PATH + b" HTTP/1.1 ",
    "NUL behind the version": b"GET " + _PATH + b" HTTP/1.1\0",
    "request behind the version": b"GET " + _PATH + b" HTTP/1.1 GET / HTTP/1.1",
    "two spaces before the target": b"GET  " + _PATH + b" HTTP/1.1",
    "two spaces behind the target": b"GET " + _PATH + b"  HTTP/1.1",
    "tab before the target": b"GET\t" + _PATH + b" HTTP/1.1",
    "tab behind the target": b"GET " + _PATH + b"\tHTTP/1.1",
    "vertical tab": b"GET\x0b" + _PATH + b" HTTP/1.1",
    "bare CR for a space": b"GET\r" + _PATH + b" HTTP/1.1",
    "bare CR in the target": b"GET " + _PATH + b"\rx HTTP/1.1",
    "bare LF in the target": b"GET " + _PATH + b"\nx HTTP/1.1",
    "space in the target": b"GET /v2/ x HTTP/1.1",
    "space before the method": b" GET " + _PATH + b" HTTP/1.1",
    "no method": b" " + _PATH + b" HTTP/1.1",
    "empty line of spaces": b" ",
    "method with a colon": b"GET: " + _PATH + b" HTTP/1.1",
    "method with NUL": b"G\0ET " + _PATH + b" HTTP/1.1",
    "method beyond ASCII": b"G\xc3\x89T " + _PATH + b" HTTP/1.1",
    "method in quotes": b'"GET" ' + _PATH + b" HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "empty target": b"GET  HTTP/1.1",
    "target without slash": b"GET v2/ HTTP/1.1",
    "target of a query": b"GET ?x HTTP/1.1",
    "absolute form, file": b"GET file:///etc/passwd HTTP/1.1",
    "absolute form, ftp": b"GET ftp://a" + _PATH + b" HTTP/1.1",
    "absolute form without host": b"GET http://" + _PATH + b" HTTP/1.1",
    "absolute form of a port": b"GET http://:5000" + _PATH + b" HTTP/1.1",
    "absolute form with user": b"GET http://u@a" + _PATH + b" HTTP/1.1",
    "absolute form with user and password": b"GET http://u:p@a" + _PATH + b" HTTP/1.1",
    "absolute form with a name as port": b"GET http://a:b" + _PATH + b" HTTP/1.1",
    "absolute form with a fragment": b"GET http://a" + _PATH + b"#x HTTP/1.1",
    "absolute form with a backslash": b"GET http://a\\b" + _PATH + b" HTTP/1.1",
    "absolute form of one slash": b"GET http:/a" + _PATH + b" HTTP/1.1",
    "scheme without slashes": b"GET http:a" + _PATH + b" HTTP/1.1",
    "no scheme": b"GET ://a" + _PATH + b" HTTP/1.1",
    "two absolute forms": b"GET http://a http://a" + _PATH + b" HTTP/1.1",
    "authority form": b"GET a:5000 HTTP/1.1",
    "CONNECT": b"CONNECT a:5000 HTTP/1.1",
    "CONNECT with a path": b"CONNECT " + _PATH + b" HTTP/1.1",
    "asterisk": b"GET * HTTP/1.1",
    "asterisk and path": b"OPTIONS *" + _PATH + b" HTTP/1.1",
    "fragment": b"GET " + _PATH + b"#x HTTP/1.1",
    "backslash": b"GET " + _PATH.replace(b"/", b"\\") + b" HTTP/1.1",
    "backslash in the path": b"GET /v2\\..\\x HTTP/1.1",
    "NUL in the target": b"GET " + _PATH + b"\0 HTTP/1.1",
    "control character in the target": b"GET " + _PATH + b"\x1f HTTP/1.1",
    "DEL in the target": b"GET " + _PATH + b"\x7f HTTP/1.1",
    "UTF-8 in the target": "GET /v2/bücher/tags/list HTTP/1.1".encode(),
    "Latin-1 in the target": b"GET /v2/b\xfccher/tags/list HTTP/1.1",
    "percent": b"GET /v2/%/tags/list HTTP/1.1",
    "percent and one digit": b"GET /v2/%4 HTTP/1.1",
    "percent and no digits": b"GET /v2/%zz HTTP/1.1",
    "percent and letter u": b"GET /v2/%u0061 HTTP/1.1",
    "angle brackets": b"GET /v2/<a>/tags/list HTTP/1.1",
    "quotation mark": b'GET /v2/"a"/tags/list HTTP/1.1',
    "braces": b"GET /v2/{a}/tags/list HTTP/1.1",
    "angle bracket in the query": b"GET /v2/?a=<b> HTTP/1.1",
}

FIELDS = {
    "no host": b"",
    "two hosts": b"Host: a\r\nHost: b\r\n",
    "two equal hosts": b"Host: a\r\nHost: a\r\n",
    "empty host": b"Host:\r\n",
    "host of white space": b"Host: \t\r\n",
    "host with path": b"Host: a/v2\r\n",
    "host with user": b"Host: b@a\r\n",
    "host with space": b"Host: a b\r\n",
    "host with scheme": b"Host: http://a\r\n",
    "host with a name as port": b"Host: a:b\r\n",
    "host with NUL": b"Host: a\0\r\n",
    "host beyond ASCII": b"Host: b\xc3\xbccher\r\n",
    "host folded": b"Host: a\r\n b\r\n",
    "host behind a space": b" Host: a\r\n",
    "host before a space": b"Host : a\r\n",
    "empty field name": _HOST + b": x\r\n",
    "field of a colon": _HOST + b":\r\n",
    "field of a space": _HOST + b" \r\n",
    "field without colon": _HOST + b"x\r\n",
    "field name with a space": _HOST + b"x y: z\r\n",
    "field name in brackets": _HOST + b"[x]: y\r\n",
    "field name in quotes": _HOST + b'"x": y\r\n',
    "field name beyond ASCII": _HOST + b"\xc3\xbc: y\r\n",
    "NUL in a value": _HOST + b"x: \0\r\n",
    "bell in a value": _HOST + b"x: \x07\r\n",
    "DEL in a value": _HOST + b"x: \x7f\r\n",
    "fold": _HOST + b"x: y\r\n z\r\n",
    "fold of nothing": _HOST + b"x: y\r\n \r\n",
    "fold with tab": _HOST + b"x: y\r\n\tz\r\n",
    "bare LF": _HOST + b"x: y\nz: a\r\n",
    "bare LF and an empty line": _HOST + b"x: y\n\n",
    "bare CR": _HOST + b"x: y\rz: a\r\n",
    "request behind a bare LF": _HOST + b"x: y\n\n" + POISON,
    "expectation of something": _HOST + b"Expect: 200-ok\r\n",
    "expectation twice": _HOST + b"Expect: 100-continue\r\nExpect: 100-continue\r\n",
    "expectation list": _HOST + b"Expect: 100-continue, 100-continue\r\n",
    "expectation with parameter": _HOST + b"Expect: 100-continue;x\r\n",
    "expectation of nothing": _HOST + b"Expect:\r\n",
}

# The first bytes of other protocols, sent to the wrong port.
FOREIGN = {
    "TLS 1.3 hello": bytes.fromhex("16030100c8010000c40303") + bytes(range(193)),
    "TLS hello with line ends": bytes.fromhex("1603010010010000") + b"\r\n\r\n" * 3,
    "SSL 2 hello": bytes.fromhex("802e0100020015000000100100800200800300800400") + bytes(26),
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "PROXY protocol 1": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + POISON,
    "PROXY protocol 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12) + POISON,
    "SMTP": b"EHLO a\r\n",
    "RTSP": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "SOCKS 5": b"\x05\x01\x00",
    "memcached": b"get x\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "two empty lines": b"\r\n\r\n" + POISON,
    "bare LF": b"\n" + POISON,
    "bare CR": b"\r" + POISON,
    "NUL": b"\0" + POISON,
    "byte order mark": b"\xef\xbb\xbf" + POISON,
    "UTF-16": POISON.decode().encode("utf-16-le"),
}

_LINE = b"GET " + _PATH + b" HTTP/1.1\r\n" + _HOST

TOO_LARGE = {
    "129 fields": _LINE + b"x: y\r\n" * 128 + b"\r\n",
    "10,000 fields": _LINE + b"x: y\r\n" * 10_000 + b"\r\n",
    "one octet too much": _LINE + b"x: " + b"y" * (_HEAD_SIZE_MAX - len(_LINE) - 6) + b"\r\n\r\n",
    "a mebibyte": _LINE + b"x: " + b"y" * (1 << 20) + b"\r\n\r\n",
    "a value without end": _LINE + b"x: " + b"y" * _HEAD_SIZE_MAX,
    "a name without end": _LINE + b"x" * _HEAD_SIZE_MAX,
    "a target without end": b"GET /" + b"a" * _HEAD_SIZE_MAX,
    "a method without end": b"G" * _HEAD_SIZE_MAX,
    "white space without end": _LINE + b"x:" + b" " * _HEAD_SIZE_MAX,
}


def cases() -> Iterator[Case]:
    """Yield all cases of this module, each followed by a request that must never be answered."""
    for name, line in LINES.items():
        yield refused(f"line: {name}", line + b"\r\n" + _HOST + b"\r\n" + POISON)
    for name, fields in FIELDS.items():
        yield refused(f"field: {name}", b"GET /v2/ HTTP/1.1\r\n" + fields + b"\r\n" + POISON)
    for name, sent in FOREIGN.items():
        yield refused(f"foreign: {name}", sent)
    for name, sent in TOO_LARGE.items():
        yield refused(f"too large: {name}", sent + POISON, 431)
