"""Requests that look odd but are valid, with their answers.

After each the connection is in sync, or the server says that it closes.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.door.corpus.case import MANIFEST, POISON, PROBE, TAG, UPLOAD, VICTIM, Case, answered
from tests.door.wire import chunked, request

_PATH = f"/v2/{VICTIM}/manifests/{TAG}"
_NOWHERE = f"/v2/{VICTIM}/blobs/sha256:{'0' * 64}"
_UPLOAD = UPLOAD.decode()
# A body that is a request: a server that does not skip it answers it, or executes it.
_GIVEN = (f"Content-Length: {len(POISON)}",)
_CHUNKED = ("Transfer-Encoding: chunked",)
_UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
_WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def cases() -> Iterator[Case]:
    """Yield all cases of this module."""
    yield from _plain()
    yield from _told_by_proxies()
    yield from _bodies_of_requests_without_one()
    yield from _trailers()
    yield from _pipelined()
    yield from _without_body()
    yield from _version_1_0()


def _plain() -> Iterator[Case]:
    yield answered("empty line before", b"\r\n" + PROBE, 200)
    yield answered("empty line between", PROBE + b"\r\n" + PROBE, 200, 200)
    yield answered("obs-text in a value", request("GET", _PATH, "x: caf\xe9"), 200)
    yield answered("empty value", request("GET", _PATH, "x:", "y: \t "), 200)
    yield answered("128 fields", request("GET", _PATH, *["x: y"] * 127), 200)
    yield answered("120,000 octets of head", request("GET", _PATH, "x: " + "y" * 120_000), 200)
    yield answered("IPv6 host", request("GET", _PATH, host="[::1]:5000"), 200)
    yield answered("host of another", request("GET", _PATH, host="elsewhere.example"), 200)
    yield answered("offer of HTTP/2", request("GET", _PATH, *_UPGRADE), 200)
    yield answered("offer of a WebSocket", request("GET", _PATH, *_WEBSOCKET), 200)
    yield answered("offer of TLS", request("GET", _PATH, "Upgrade: TLS/1.2"), 200)
    yield answered("unknown method", request("BREW", _PATH), 405)
    yield answered("small method", request("get", _PATH), 405)
    yield answered("TRACE", request("TRACE", _PATH), 405)
    yield answered("asterisk", request("OPTIONS", "*"), 404)
    yield from _other_spellings()
    yield answered("dot segments", request("GET", f"/v2/x/../{VICTIM}/manifests/{TAG}"), 400)
    yield answered("encoded dots", request("GET", f"/v2/%2e%2e/{VICTIM}/tags/list"), 400)
    yield answered("encoded NUL", request("GET", "/v2/victim%00/tags/list"), 400)
    yield answered("encoded line end", request("GET", "/v2/a%0d%0aX:%20y/tags/list"), 400)
    yield answered("expectation without body", request("GET", _PATH, "Expect: 100-continue"), 200)
    yield Case("close", request("GET", _PATH, "Connection: close") + PROBE, (200,))
    yield Case("close in a list", request("GET", _PATH, "Connection: x, Close") + PROBE, (200,))
    yield Case("close behind 404", request("GET", _NOWHERE, "Connection: close") + PROBE, (404,))


def _other_spellings() -> Iterator[Case]:
    """Yield valid paths and hosts in other spellings, and some that only look like one."""
    encoded = VICTIM.replace("/", "%2F")
    for name, target, status in (
        ("empty pieces", f"//v2/{VICTIM}/manifests/{TAG}", 200),
        ("empty pieces within", f"/v2///{VICTIM}//manifests//{TAG}", 200),
        ("slash at the end", f"/v2/{VICTIM}/manifests/{TAG}/", 200),
        ("encoded letter", f"/v2/%76ictim/app/manifests/{TAG}", 200),
        ("encoded slash", f"/v2/{encoded}/manifests/{TAG}", 200),
        ("encoded slash in lower case", f"/v2/{encoded.lower()}/manifests/{TAG}", 200),
        ("encoded twice", f"/v2/{encoded.replace('%', '%25')}/manifests/{TAG}", 400),
        ("encoded dots and slashes", f"/v2/x%2F%2e%2e%2F{encoded}/manifests/{TAG}", 400),
        ("encoded slash in the prefix", f"/v2%2F{VICTIM}/manifests/{TAG}", 404),
        ("absolute", f"http://a{_PATH}", 200),
        ("absolute, another host", f"http://elsewhere.example:80{_PATH}", 200),
        ("absolute, https in capitals", f"HTTPS://a:5000{_PATH}", 200),
        ("absolute, encoded", f"http://a//v2/{encoded}//manifests/{TAG}?n=1", 200),
        ("absolute, no path", "http://a", 303),
        ("absolute, query only", "http://a?x", 303),
        ("absolute, dot segments", f"http://a/v2/x/../{VICTIM}/manifests/{TAG}", 400),
        ("an address as a path", f"/http://a{_PATH}", 404),
        ("an address as a name", f"/v2/http://a/manifests/{TAG}", 400),
    ):
        yield answered(name, request("GET", target), status)
        body = request("GET", target, *_GIVEN, body=POISON)
        yield answered(f"with a body: {name}", body, status)
    absent = request("HEAD", f"http://a{_NOWHERE}")
    yield answered("absolute, HEAD", absent, 404, methods=("HEAD",))
    put = request("PUT", f"http://a//v2/{encoded}/manifests/{TAG}", body=MANIFEST)
    yield answered("absolute, with a body", put + PROBE, 201, 200)


def _told_by_proxies() -> Iterator[Case]:
    """Yield headers of a proxy on this machine. Odd values do not change the answer."""
    long = "127.0.0.1, " * 8_000
    for line in (
        "X-Forwarded-For: 203.0.113.9, 127.0.0.1",
        "X-Forwarded-For: " + long,
        "X-Forwarded-For: " + "," * 90_000,
        "X-Forwarded-For: \xff\xfe, [::1, fe80::1%25x, 999.0.0.1:70000",
        'X-Forwarded-Host: a"b, c',
        f"X-Forwarded-Host: a/{_PATH}",
        "X-Forwarded-Port: -1",
        "X-Forwarded-Proto: https, \xe9",
        "X-Forwarded-: x",
        'Forwarded: for="[2001:db8::1]:61000";proto=https;host="a:1"',
        'Forwarded: for="203.0.113.9',
        "Forwarded: " + 'for="' * 20_000,
        "Forwarded: " + "for=127.0.0.1," * 6_000,
        "Forwarded: \xe9=\xe9;;,=,",
    ):
        name = f"{line[:30]!r}"
        yield answered(name, request("GET", _PATH, line), 200)
        yield answered(f"none: {name}", request("HEAD", _NOWHERE, line), 404, methods=("HEAD",))
        put = request("PUT", _PATH, line, line, body=MANIFEST) if len(line) < 60_000 else PROBE
        yield answered(f"put: {name}", put + PROBE, 201 if put is not PROBE else 200, 200)


def _bodies_of_requests_without_one() -> Iterator[Case]:
    """CL.0: a reader that expects no body takes it for the next request."""
    for method, path, status in (
        ("GET", _PATH, 200),
        ("HEAD", _PATH, 200),
        ("GET", _NOWHERE, 404),
        ("HEAD", _NOWHERE, 404),
        ("GET", "/v2/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/nowhere", 404),
        ("BREW", _PATH, 405),
        ("POST", f"/v2/{VICTIM}/blobs/uploads/", 202),
        ("DELETE", f"/v2/{VICTIM}/manifests/absent", 404),
        ("GET", _UPLOAD, 204),
        ("OPTIONS", "*", 404),
    ):
        name = f"{method} {path.removeprefix('/v2/')}"
        with_length = request(method, path, *_GIVEN, body=POISON)
        with_chunks = request(method, path, *_CHUNKED, body=chunked(POISON[:9], POISON[9:]))
        yield answered(f"length: {name}", with_length, status, methods=(method,))
        yield answered(f"chunked: {name}", with_chunks, status, methods=(method,))
        both = with_length + with_chunks + PROBE
        methods = (method, method, "GET")
        yield answered(f"pipelined: {name}", both, status, status, 200, methods=methods)
    known = request("GET", _PATH, "If-None-Match: *", *_GIVEN, body=POISON)
    yield answered("304 to a request with a body", known, 304)


def _trailers() -> Iterator[Case]:
    body = chunked(MANIFEST, trailer=b"Content-Length: 5\r\nTransfer-Encoding: x\r\nHost: b\r\n")
    yield answered("trailer that frames", request("GET", _PATH, *_CHUNKED, body=body), 200)
    body = chunked(MANIFEST, trailer=b"a:" + b"b" * 8188 + b"\r\n")
    yield answered("largest trailer", request("PATCH", _UPLOAD, *_CHUNKED, body=body), 202)
    body = b"000000000000005a\r\n" + bytes(0x5A) + b"\r\n0000000000000000\r\n\r\n"
    yield answered("zeros in front", request("PATCH", _UPLOAD, *_CHUNKED, body=body), 202)
    body = chunked(*[bytes([i]) for i in range(256)] * 8)
    yield answered("chunks of one octet", request("PATCH", _UPLOAD, *_CHUNKED, body=body), 202)
    in_capitals = ("TRANSFER-ENCODING: CHUNKED",)
    yield answered("capitals", request("PATCH", _UPLOAD, *in_capitals, body=chunked(b"x")), 202)


def _pipelined() -> Iterator[Case]:
    yield answered("two", PROBE * 2, 200, 200)
    yield answered("a hundred", PROBE * 100, *[200] * 100)
    mixed = PROBE + request("GET", "/readyz") + request("GET", _NOWHERE) + request("GET", "/v2/")
    yield answered("of both kinds", mixed * 20, *[200, 200, 404, 200] * 20)
    put = request("PUT", f"/v2/{VICTIM}/manifests/{TAG}", body=MANIFEST)
    yield answered("behind a manifest", put + PROBE, 201, 200)
    bad = request("PUT", f"/v2/{VICTIM}/manifests/{TAG}", body=b"x" + MANIFEST)
    yield answered("behind a refused manifest", bad + PROBE, 400, 200)
    for name, framed in (
        ("length", request("PATCH", _UPLOAD, body=bytes(100_000))),
        ("chunked", request("PATCH", _UPLOAD, *_CHUNKED, body=chunked(bytes(100_000), b"x"))),
        ("empty", request("PATCH", _UPLOAD)),
        ("no chunk", request("PATCH", _UPLOAD, *_CHUNKED, body=chunked())),
    ):
        yield answered(f"behind an upload: {name}", framed + PROBE, 202, 200)
    wrong = request("PATCH", _UPLOAD, "Content-Range: 7-9", body=b"abc")
    yield answered("behind a wrong range", wrong + PROBE, 416, 200)
    gone = request("PATCH", "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000", body=POISON)
    yield answered("behind an unknown upload", gone + PROBE, 404, 200)
    last = request("GET", _PATH, "Connection: close")
    yield Case("behind close", PROBE + last + POISON, (200, 200))
    yield Case("behind what is none", PROBE + b"x\r\n\r\n" + POISON, (200, 400))


def _without_body() -> Iterator[Case]:
    """Yield answers without a body. The request behind each is in sync."""
    digest = f"sha256:{'0' * 64}"
    for name, method, sent, status in (
        ("HEAD of a manifest", "HEAD", request("HEAD", _PATH), 200),
        ("HEAD of nothing", "HEAD", request("HEAD", f"/v2/{VICTIM}/blobs/{digest}"), 404),
        ("HEAD of the base", "HEAD", request("HEAD", "/v2/"), 200),
        ("HEAD of the application", "HEAD", request("HEAD", "/healthz"), 200),
        ("HEAD refused", "HEAD", request("HEAD", "/v2/UPPER/tags/list"), 400),
        ("304", "GET", request("GET", _PATH, "If-None-Match: *"), 304),
        ("304 to HEAD", "HEAD", request("HEAD", _PATH, "If-None-Match: *"), 304),
        ("204", "GET", request("GET", _UPLOAD), 204),
        ("204 to DELETE", "DELETE", request("DELETE", _UPLOAD), 204),
        ("201 without body", "PUT", request("PUT", _PATH, body=MANIFEST), 201),
        ("202 without body", "PATCH", request("PATCH", _UPLOAD), 202),
    ):
        yield answered(name, sent + PROBE, status, 200, methods=(method, "GET"))


def _version_1_0() -> Iterator[Case]:
    """Yield requests of HTTP/1.0. After each the server closes, or says that it does not."""
    old = f"GET {_PATH} HTTP/1.0\r\n"
    for name, fields in (
        ("1.0", ""),
        ("1.0 with host", "Host: a\r\n"),
        ("1.0 close", "Connection: close\r\n"),
        ("1.0 keep-alive", "Connection: keep-alive\r\n"),
        ("1.0 with length", "Content-Length: 0\r\n"),
        ("1.0 expectation", "Expect: 100-continue\r\n"),
    ):
        yield Case(name, f"{old}{fields}\r\n".encode(), (200,), None)
    yield Case("1.0 with a body", f"{old}{_GIVEN[0]}\r\n\r\n".encode() + POISON, (200,), None)
