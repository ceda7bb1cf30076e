"""Doubtful lengths: fields that two readers of one head may take for two different bodies.

Each row is tried with each part of the server that may read a body. All are answered 400.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.door.corpus.case import MANIFEST, POISON, SMUGGLED, TAG, UPLOAD, VICTIM, Case, refused

# Requests by the reader of their body: the application, either lane, or a part that expects no
# body.
CARRIERS = {
    "manifest": b"PUT /v2/%b/manifests/x" % SMUGGLED.encode(),
    "append": b"PATCH " + UPLOAD,
    "close": b"PUT " + UPLOAD + b"?digest=sha256:" + b"0" * 64,
    "begin": b"POST /v2/%b/blobs/uploads/" % SMUGGLED.encode(),
    "pull": b"GET /v2/%b/manifests/%b" % (VICTIM.encode(), TAG.encode()),
    "probe": b"HEAD /v2/%b/blobs/sha256:%b" % (VICTIM.encode(), b"0" * 64),
}

_LENGTH = b"%d" % len(MANIFEST)
_CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(MANIFEST), MANIFEST)

# Lengths that readers understand differently, before a body of that length.
LENGTHS = {
    "repeated": b"Content-Length: %b\r\nContent-Length: %b" % (_LENGTH, _LENGTH),
    "repeated in other case": b"Content-Length: %b\r\ncontent-length: %b" % (_LENGTH, _LENGTH),
    "short then long": b"Content-Length: 0\r\nContent-Length: " + _LENGTH,
    "long then short": b"Content-Length: %b\r\nContent-Length: 0" % _LENGTH,
    "far apart": b"Content-Length: %b\r\nX: y\r\nContent-Length: 0" % _LENGTH,
    "list": b"Content-Length: %b, %b" % (_LENGTH, _LENGTH),
    "list of two": b"Content-Length: 0, " + _LENGTH,
    "list with nothing": b"Content-Length: %b," % _LENGTH,
    "plus": b"Content-Length: +" + _LENGTH,
    "minus": b"Content-Length: -" + _LENGTH,
    "minus one": b"Content-Length: -1",
    "minus zero": b"Content-Length: -0",
    "hexadecimal": b"Content-Length: 0x%x" % len(MANIFEST),
    "hexadecimal without prefix": b"Content-Length: 5a",
    "octal": b"Content-Length: 0%o" % len(MANIFEST),
    "leading zero": b"Content-Length: 0" + _LENGTH,
    "zeros": b"Content-Length: 00",
    "underscore": b"Content-Length: " + b"_".join(_LENGTH[i : i + 1] for i in range(len(_LENGTH))),
    "space inside": b"Content-Length: 1 0",
    "tab inside": b"Content-Length: 1\t0",
    "fraction": b"Content-Length: %b.0" % _LENGTH,
    "exponent": b"Content-Length: 1e1",
    "separators": b"Content-Length: 1,000",
    "quoted": b'Content-Length: "%b"' % _LENGTH,
    "parameter": b"Content-Length: %b;x" % _LENGTH,
    "empty": b"Content-Length:",
    "white space": b"Content-Length: \t ",
    "word": b"Content-Length: none",
    "wide digits": b"Content-Length: " + "\uff18\uff18".encode(),
    "Arabic digits": b"Content-Length: " + "\u0668\u0668".encode(),
    "superscript": b"Content-Length: " + "\u00b2".encode("latin-1"),
    "NUL behind": b"Content-Length: %b\x00" % _LENGTH,
    "vertical tab before": b"Content-Length: \x0b" + _LENGTH,
    "form feed behind": b"Content-Length: %b\x0c" % _LENGTH,
    "no-break space before": b"Content-Length: \xa0" + _LENGTH,
    "2^63": b"Content-Length: 9223372036854775808",
    "2^64": b"Content-Length: 18446744073709551616",
    "2^64 more": b"Content-Length: %d" % (2**64 + len(MANIFEST)),
    "2^128 more": b"Content-Length: %d" % (2**128 + len(MANIFEST)),
    "5,000 digits": b"Content-Length: " + b"9" * 5000,
    "space before the colon": b"Content-Length : " + _LENGTH,
    "tab before the colon": b"Content-Length\t: " + _LENGTH,
    "space before the name": b" Content-Length: " + _LENGTH,
    "folded": b"Content-Length:\r\n " + _LENGTH,
    "folded inside": b"Content-Length: 1\r\n\t0",
    "behind a fold": b"X: y\r\n\tContent-Length: " + _LENGTH,
    "behind a bare LF": b"X: y\nContent-Length: " + _LENGTH,
    "behind a bare CR": b"X: y\rContent-Length: " + _LENGTH,
    "bare LF at its end": b"Content-Length: %b\nX: y" % _LENGTH,
    "bare CR at its end": b"Content-Length: %b\rX: y" % _LENGTH,
    "CR CR LF": b"Content-Length: %b\r" % _LENGTH,
    "no colon": b"Content-Length " + _LENGTH,
    "equals sign": b"Content-Length= " + _LENGTH,
    "NUL in the name": b"Content\x00-Length: " + _LENGTH,
    "NUL behind the name": b"Content-Length\x00: " + _LENGTH,
}

# Transfer codings that one reader takes for chunked and another does not.
CODINGS = {
    "xchunked": b"Transfer-Encoding: xchunked",
    "chunkedx": b"Transfer-Encoding: chunkedx",
    "identity": b"Transfer-Encoding: identity",
    "identity, chunked": b"Transfer-Encoding: identity, chunked",
    "chunked, identity": b"Transfer-Encoding: chunked, identity",
    "gzip": b"Transfer-Encoding: gzip",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
    "chunked, gzip": b"Transfer-Encoding: chunked, gzip",
    "chunked, chunked": b"Transfer-Encoding: chunked, chunked",
    "trailing comma": b"Transfer-Encoding: chunked,",
    "leading comma": b"Transfer-Encoding: ,chunked",
    "parameter": b"Transfer-Encoding: chunked;q=1",
    "semicolon": b"Transfer-Encoding: chunked;",
    "quoted": b'Transfer-Encoding: "chunked"',
    "single quotes": b"Transfer-Encoding: 'chunked'",
    "space inside": b"Transfer-Encoding: chun ked",
    "two words": b"Transfer-Encoding: x chunked",
    "empty": b"Transfer-Encoding:",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "twice with other case": b"Transfer-Encoding: chunked\r\ntransfer-encoding: Chunked",
    "chunked then identity": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "identity then chunked": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "cow then chunked": b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "vertical tab": b"Transfer-Encoding: \x0bchunked",
    "form feed": b"Transfer-Encoding: chunked\x0c",
    "NUL": b"Transfer-Encoding: chunked\x00",
    "NUL before": b"Transfer-Encoding: \x00chunked",
    "DEL": b"Transfer-Encoding: chunked\x7f",
    "no-break space": b"Transfer-Encoding: \xa0chunked",
    "byte order mark": b"Transfer-Encoding: \xef\xbb\xbfchunked",
    "Kelvin sign": b"Transfer-Encoding: " + "chun\u212aed".encode(),
    "space before the colon": b"Transfer-Encoding : chunked",
    "tab before the colon": b"Transfer-Encoding\t: chunked",
    "vertical tab before the colon": b"Transfer-Encoding\x0b: chunked",
    "space before the name": b" Transfer-Encoding: chunked",
    "tab before the name": b"\tTransfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded with tab": b"Transfer-Encoding:\r\n\tchunked",
    "folded behind": b"Transfer-Encoding: chunked\r\n x",
    "behind a fold": b"X: y\r\n Transfer-Encoding: chunked",
    "behind a bare LF": b"X: y\nTransfer-Encoding: chunked",
    "behind a bare CR": b"X: y\rTransfer-Encoding: chunked",
    "bare LF at its end": b"Transfer-Encoding: chunked\nX: y",
    "bare CR at its end": b"Transfer-Encoding: chunked\rX: y",
    "CR CR LF": b"Transfer-Encoding: chunked\r",
    "no colon": b"Transfer-Encoding chunked",
    "NUL in the name": b"Transfer\x00-Encoding: chunked",
}

_BOTH = {
    "chunked behind length": b"Content-Length: %d\r\nTransfer-Encoding: chunked",
    "chunked before length": b"Transfer-Encoding: chunked\r\nContent-Length: %d",
    "chunked around length": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\nX: y",
    "capitals": b"TRANSFER-ENCODING: CHUNKED\r\nCONTENT-LENGTH: %d",
}


def cases(carrier: str) -> Iterator[Case]:
    """Yield all rows for one reader, each followed by a request that must never be answered."""
    for name, fields in LENGTHS.items():
        yield _refused(carrier, f"length: {name}", fields, MANIFEST + POISON)
    for name, fields in CODINGS.items():
        yield _refused(carrier, f"coding: {name}", fields, _CHUNKED + POISON)
        both = b"%b\r\nContent-Length: %d" % (fields, len(_CHUNKED))
        yield _refused(carrier, f"coding and length: {name}", both, _CHUNKED + POISON)
    for name, fields in _BOTH.items():
        short = b"0\r\n\r\n"
        yield _refused(carrier, f"CL.TE: {name}", fields % len(short + POISON), short + POISON)
        first = b"%x\r\n" % len(POISON)
        body = first + POISON + b"\r\n0\r\n\r\n"
        yield _refused(carrier, f"TE.CL: {name}", fields % len(first), body)
        yield _refused(carrier, f"TE and length 0: {name}", fields % 0, _CHUNKED + POISON)
        yield _refused(carrier, f"TE and right length: {name}", fields % len(_CHUNKED), _CHUNKED)


def _refused(carrier: str, name: str, fields: bytes, body: bytes) -> Case:
    line = CARRIERS[carrier] + b" HTTP/1.1\r\nHost: a\r\n"
    return refused(f"{carrier}: {name}", line + fields + b"\r\n\r\n" + body)
