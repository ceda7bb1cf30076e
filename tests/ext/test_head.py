"""Request heads: accepted and refused heads, the point of refusal, and equality with the twin."""

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dtrfast import _core
from tests.ext import twins

SEED = 9_112
HOST = b"Host: a\r\n"


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def parsed(data: bytes) -> _core.Head:
    result = _core.parse_head(data)
    assert result is not None
    return result


def outcome(data: bytes, size_max: int = 131072) -> Any:
    """Return all attributes of the head, None, or the class of the error."""
    try:
        result = _core.parse_head(data, size_max=size_max)
    except (ValueError, OverflowError) as error:
        return type(error)
    return result and {name: getattr(result, name) for name in twins.Head.__slots__}


def twin_outcome(data: bytes, size_max: int = 131072) -> Any:
    try:
        result = twins.parse_head(data, size_max)
    except twins.Malformed:
        return ValueError
    except twins.TooLarge:
        return OverflowError
    return result and {name: getattr(result, name) for name in twins.Head.__slots__}


VALID = {
    "plain": head(),
    "docker push": head(
        b"User-Agent: docker/29.0.1 go/go1.25",
        b"Transfer-Encoding: chunked",
        b"Accept-Encoding: gzip",
        b"Authorization: Bearer a.b-c_d",
        line=b"PATCH /v2/team/app/blobs/uploads/0123-ef?_state=aGk%3D HTTP/1.1",
        host=b"Host: registry.example:5000\r\n",
    ),
    "put": head(b"Content-Length: 0", b"Content-Type: application/octet-stream"),
    "empty line before": b"\r\n" + head(),
    "absolute form": head(line=b"GET http://a/v2/?n=1 HTTP/1.1"),
    "absolute form, https, in capitals": head(line=b"GET HTTPS://A.example:5000/v2/ HTTP/1.1"),
    "absolute form without path": head(line=b"GET http://a HTTP/1.1"),
    "absolute form with a query only": head(line=b"GET http://a?b=c HTTP/1.1"),
    "absolute form, IPv6": head(line=b"GET http://[::1]:5000/ HTTP/1.1"),
    "absolute form with an empty port": head(line=b"GET http://a:/ HTTP/1.1"),
    "absolute form of another host": head(line=b"GET http://b%2d_c/ HTTP/1.1"),
    "absolute form in 1.0": head(line=b"GET http://a/ HTTP/1.0", host=b""),
    "absolute form for OPTIONS": head(line=b"OPTIONS http://a HTTP/1.1"),
    "address in a path": head(line=b"GET /http://a/ HTTP/1.1"),
    "no white space": head(b"A:b"),
    "white space around value": head(b"A: \t b c \t "),
    "empty value": head(b"A:", b"B: \t"),
    "obs-text": head(b"A: caf\xc3\xa9"),
    "every token octet": head(b"!#$%&'*+-.^_`|~09azAZ: x"),
    "every path octet": head(line=b"GET /az09-._~!$&'()*+,;=:@/%2F%aF HTTP/1.1"),
    "every query octet": head(line=b"GET /?az-._~!$&'()*+,;=:@/?%20[]{}|\\^` HTTP/1.1"),
    "dot segments are the caller's": head(line=b"GET /../%2e%2e//x HTTP/1.1"),
    "asterisk": head(line=b"OPTIONS * HTTP/1.1"),
    "unknown method": head(line=b"BREW /pot HTTP/1.1"),
    "lower-case method": head(line=b"get / HTTP/1.1"),
    "1.0 without host": head(line=b"GET / HTTP/1.0", host=b""),
    "1.0 keep-alive": head(b"Connection: Keep-Alive", line=b"GET / HTTP/1.0"),
    "1.0 close wins": head(b"Connection: keep-alive, close", line=b"GET / HTTP/1.0"),
    "1.0 expect": head(b"Expect: 100-continue", line=b"GET / HTTP/1.0"),
    "close": head(b"Connection: close"),
    "close in a list": head(b"Connection: x ,\tCLOSE\t, y"),
    "close in the second": head(b"Connection: keep-alive", b"Connection: ,close"),
    "closed is not close": head(b"Connection: closed, clos, xclose, clo se"),
    "expect": head(b"Expect: 100-Continue", b"Content-Length: 5"),
    "chunked in capitals": head(b"TRANSFER-ENCODING: CHUNKED"),
    "largest length": head(b"Content-Length: 9223372036854775807"),
    "repeated other fields": head(b"Accept: a", b"Accept: b", b"accept: c"),
    "host ipv4": head(host=b"Host: 127.0.0.1:80\r\n"),
    "host ipv6": head(host=b"Host: [::1]:5000\r\n"),
    "host ipv6 bare": head(host=b"hOST:[2001:db8::1.2.3.4]\r\n"),
    "host empty port": head(host=b"Host: a:\r\n"),
    "host encoded": head(host=b"Host: %41.example\r\n"),
    "128 fields": head(*[b"A: b"] * 127),
}

MALFORMED = {
    "bare LF after request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after field": head(b"A: b\nB: c"),
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "LF LF": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare CR in request line": head(line=b"GET /\rx HTTP/1.1"),
    "bare CR in value": head(b"A: b\rc"),
    "bare CR as line end": b"GET / HTTP/1.1\r\nHost: a\rA: b\r\n\r\n",
    "CR CR LF": head(b"A: b\r"),
    "bare CR at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\rX",
    "obsolete fold with space": head(b"A: b", b" c"),
    "obsolete fold with tab": head(b"A: b", b"\tc"),
    "fold of the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "folded framing": head(b"Transfer-Encoding:", b" chunked"),
    "space before colon": head(b"Content-Length : 5"),
    "tab before colon": head(b"Transfer-Encoding\t: chunked"),
    "empty name": head(b": x"),
    "no colon": head(b"abc"),
    "space in name": head(b"a b: c"),
    "slash in name": head(b"a/b: c"),
    "NUL in name": head(b"a\x00: c"),
    "obs-text in name": head(b"caf\xc3\xa9: c"),
    "NUL in value": head(b"A: b\x00c"),
    "ESC in value": head(b"A: \x1b[0m"),
    "DEL in value": head(b"A: \x7f"),
    "two lengths that differ": head(b"Content-Length: 5", b"Content-Length: 6"),
    "two lengths that agree": head(b"Content-Length: 5", b"content-length: 5"),
    "list of lengths": head(b"Content-Length: 5, 5"),
    "signed length +": head(b"Content-Length: +5"),
    "signed length -": head(b"Content-Length: -5"),
    "hexadecimal length": head(b"Content-Length: 0x5"),
    "space in length": head(b"Content-Length: 1 0"),
    "digit group in length": head(b"Content-Length: 1_0"),
    "fraction of length": head(b"Content-Length: 5.0"),
    "leading zero of length": head(b"Content-Length: 05"),
    "double zero length": head(b"Content-Length: 00"),
    "empty length": head(b"Content-Length:"),
    "wide digits in length": head("Content-Length: \uff15".encode()),
    "length 2^63": head(b"Content-Length: 9223372036854775808"),
    "length 2^64 + 5": head(b"Content-Length: 18446744073709551621"),
    "length of twenty digits": head(b"Content-Length: 10000000000000000000"),
    "length then coding": head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "coding then length": head(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "coding and length 0": head(b"Transfer-Encoding: chunked", b"Content-Length: 0"),
    "gzip, chunked": head(b"Transfer-Encoding: gzip, chunked"),
    "chunked, chunked": head(b"Transfer-Encoding: chunked, chunked"),
    "chunked twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "identity": head(b"Transfer-Encoding: identity"),
    "identity then chunked": head(b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
    "xchunked": head(b"Transfer-Encoding: xchunked"),
    "chunked with parameter": head(b"Transfer-Encoding: chunked;q=1"),
    "chunked with comma": head(b"Transfer-Encoding: chunked,"),
    "quoted chunked": head(b'Transfer-Encoding: "chunked"'),
    "vertical tab before chunked": head(b"Transfer-Encoding: \x0bchunked"),
    "empty coding": head(b"Transfer-Encoding:"),
    "coding in 1.0": head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
    "no host": head(host=b""),
    "two hosts": head(b"Host: b"),
    "two equal hosts": head(b"Host: a"),
    "two hosts in 1.0": head(b"Host: a", line=b"GET / HTTP/1.0"),
    "empty host": head(host=b"Host:\r\n"),
    "host with user": head(host=b"Host: u@a\r\n"),
    "host with path": head(host=b"Host: a/b\r\n"),
    "host with space": head(host=b"Host: a b\r\n"),
    "host with two ports": head(host=b"Host: a:1:2\r\n"),
    "host with a name as port": head(host=b"Host: a:http\r\n"),
    "host of a port only": head(host=b"Host: :80\r\n"),
    "host with a bad escape": head(host=b"Host: %4\r\n"),
    "host ipv6 open": head(host=b"Host: [::1\r\n"),
    "host ipv6 empty": head(host=b"Host: []\r\n"),
    "host ipv6 with a tail": head(host=b"Host: [::1]a\r\n"),
    "host beyond ASCII": head(host="Host: bücher.example\r\n".encode()),
    "empty method": head(line=b" / HTTP/1.1"),
    "bad method": head(line=b"G(T / HTTP/1.1"),
    "space before method": head(line=b" GET / HTTP/1.1"),
    "method only": head(line=b"GET"),
    "two spaces before target": head(line=b"GET  / HTTP/1.1"),
    "two spaces before version": head(line=b"GET /  HTTP/1.1"),
    "tab for space": head(line=b"GET\t/ HTTP/1.1"),
    "no version": head(line=b"GET /"),
    "space after version": head(line=b"GET / HTTP/1.1 "),
    "lower-case version": head(line=b"GET / http/1.1"),
    "version 0.9": head(line=b"GET / HTTP/0.9"),
    "version 1.2": head(line=b"GET / HTTP/1.2"),
    "version 1.10": head(line=b"GET / HTTP/1.10"),
    "version 2.0": head(line=b"GET / HTTP/2.0"),
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "absolute form of another scheme": head(line=b"GET ftp://a/ HTTP/1.1"),
    "absolute form of a file": head(line=b"GET file:///a HTTP/1.1"),
    "absolute form of httpx": head(line=b"GET httpx://a/ HTTP/1.1"),
    "absolute form with one slash": head(line=b"GET http:/a/ HTTP/1.1"),
    "absolute form without scheme": head(line=b"GET ://a/ HTTP/1.1"),
    "absolute form without host": head(line=b"GET http:///a HTTP/1.1"),
    "absolute form of nothing": head(line=b"GET http:// HTTP/1.1"),
    "absolute form of a port": head(line=b"GET http://:80/ HTTP/1.1"),
    "absolute form of a query": head(line=b"GET http://?a HTTP/1.1"),
    "absolute form with user": head(line=b"GET http://u@a/ HTTP/1.1"),
    "absolute form with user and password": head(line=b"GET http://u:p@a/ HTTP/1.1"),
    "absolute form with an empty user": head(line=b"GET http://@a/ HTTP/1.1"),
    "absolute form with a name as port": head(line=b"GET http://a:b/ HTTP/1.1"),
    "absolute form with two ports": head(line=b"GET http://a:1:2/ HTTP/1.1"),
    "absolute form with a fragment": head(line=b"GET http://a/#b HTTP/1.1"),
    "absolute form with a fragment behind the host": head(line=b"GET http://a#b HTTP/1.1"),
    "absolute form with a backslash": head(line=b"GET http://a\\b/ HTTP/1.1"),
    "absolute form with a space": head(line=b"GET http://a b/ HTTP/1.1"),
    "absolute form with a bad escape": head(line=b"GET http://%4/ HTTP/1.1"),
    "absolute form with an open bracket": head(line=b"GET http://[::1/ HTTP/1.1"),
    "absolute form with empty brackets": head(line=b"GET http://[]/ HTTP/1.1"),
    "absolute form with a tail behind brackets": head(line=b"GET http://[::1]a/ HTTP/1.1"),
    "absolute form without Host": head(line=b"GET http://a/ HTTP/1.1", host=b""),
    "absolute form for CONNECT": head(line=b"CONNECT http://a/ HTTP/1.1"),
    "absolute form behind a slash": head(line=b"GET /http://a/[ HTTP/1.1"),
    "authority form": head(line=b"CONNECT a:443 HTTP/1.1"),
    "CONNECT with a path": head(line=b"CONNECT /a HTTP/1.1"),
    "asterisk for GET": head(line=b"GET * HTTP/1.1"),
    "asterisk and more": head(line=b"OPTIONS *a HTTP/1.1"),
    "relative target": head(line=b"GET a HTTP/1.1"),
    "fragment": head(line=b"GET /#a HTTP/1.1"),
    "quotation mark in target": head(line=b'GET /"a HTTP/1.1'),
    "angle bracket in query": head(line=b"GET /?<a HTTP/1.1"),
    "bracket in path": head(line=b"GET /[a] HTTP/1.1"),
    "backslash in path": head(line=b"GET /\\a HTTP/1.1"),
    "control character in target": head(line=b"GET /\x01 HTTP/1.1"),
    "NUL in target": head(line=b"GET /\x00 HTTP/1.1"),
    "bytes beyond ASCII in target": head(line="GET /ü HTTP/1.1".encode()),
    "bad escape": head(line=b"GET /%zz HTTP/1.1"),
    "short escape": head(line=b"GET /%4 HTTP/1.1"),
    "bad escape in query": head(line=b"GET /?a=100% HTTP/1.1"),
    "two empty lines before": b"\r\n\r\n" + head(),
    "bare LF before": b"\n" + head(),
    "bare CR before": b"\r" + head(),
    "unknown expectation": head(b"Expect: 200-ok"),
    "repeated expectation": head(b"Expect: 100-continue", b"Expect: 100-continue"),
    "list of expectations": head(b"Expect: 100-continue, x"),
    "TLS hello": bytes.fromhex("16030100c8010000c40303"),
}

REASONS = {
    "bad method": "malformed method",
    "absolute form with user": "malformed request target",
    "authority form": "malformed request target",
    "version 2.0": "unsupported HTTP version",
    "LF LF": "line does not end with CR LF",
    "space before colon": "malformed field name",
    "NUL in value": "control character in field value",
    "obsolete fold with space": "folded field line",
    "signed length +": "malformed Content-Length",
    "two lengths that agree": "repeated Content-Length",
    "gzip, chunked": "Transfer-Encoding other than chunked",
    "chunked twice": "repeated Transfer-Encoding",
    "length then coding": "Content-Length with Transfer-Encoding",
    "coding in 1.0": "Transfer-Encoding in HTTP/1.0",
    "empty host": "malformed Host",
    "two hosts": "repeated Host",
    "no host": "missing Host",
    "unknown expectation": "unknown expectation",
}


@pytest.mark.parametrize("name", VALID)
def test_valid_heads_agree_with_the_twin(name: str) -> None:
    data = VALID[name]
    assert outcome(data + b"body") == twin_outcome(data + b"body")
    assert parsed(data + b"body").size == len(data)


@pytest.mark.parametrize("name", VALID)
def test_every_prefix_of_a_valid_head_is_incomplete(name: str) -> None:
    data = VALID[name]
    for size in range(len(data)):
        assert _core.parse_head(data[:size]) is None


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_heads_are_refused(name: str) -> None:
    assert outcome(MALFORMED[name]) is ValueError
    assert twin_outcome(MALFORMED[name]) is ValueError


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_refused_stays_refused(name: str) -> None:
    """Prefixes are incomplete up to the first wrong octet, and malformed after it."""
    data = MALFORMED[name]
    outcomes = [outcome(data[:size]) for size in range(len(data) + 1)]
    first = outcomes.index(ValueError)
    assert outcomes[:first] == [None] * first
    assert outcomes[first:] == [ValueError] * (len(outcomes) - first)
    assert outcomes == [twin_outcome(data[:size]) for size in range(len(data) + 1)]


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_given(name: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared as a whole
        _core.parse_head(MALFORMED[name])
    assert str(caught.value) == REASONS[name]


def test_the_parts_of_a_head() -> None:
    result = parsed(VALID["docker push"])
    assert result.method == "PATCH"
    assert result.target == b"/v2/team/app/blobs/uploads/0123-ef?_state=aGk%3D"
    assert result.version == "1.1"
    assert result.headers[:2] == [
        (b"host", b"registry.example:5000"),
        (b"user-agent", b"docker/29.0.1 go/go1.25"),
    ]
    assert (result.chunked, result.content_length) == (True, None)
    assert (result.keep_alive, result.expect_continue) == (True, False)


@pytest.mark.parametrize(
    ("name", "keep_alive"),
    [
        ("plain", True),
        ("1.0 without host", False),
        ("1.0 keep-alive", True),
        ("1.0 close wins", False),
        ("close", False),
        ("close in a list", False),
        ("close in the second", False),
        ("closed is not close", True),
    ],
)
def test_keep_alive(name: str, keep_alive: bool) -> None:
    assert parsed(VALID[name]).keep_alive is keep_alive


def test_framing_fields() -> None:
    assert parsed(VALID["largest length"]).content_length == 2**63 - 1
    assert parsed(VALID["put"]).content_length == 0
    assert parsed(VALID["plain"]).content_length is None
    assert parsed(VALID["chunked in capitals"]).chunked is True
    assert parsed(VALID["expect"]).expect_continue is True
    assert parsed(VALID["1.0 expect"]).expect_continue is False


def test_fields_of_proxies_are_noticed() -> None:
    told = (b"X-Forwarded-For", b"x-forwarded-proto", b"X-FORWARDED-", b"fOrWaRdEd")
    other = (b"X-Forwarded", b"Forwarded-For", b"X_Forwarded_For", b"Forward", b"X-Forwardee-For")
    for name in (*told, *other):
        result = parsed(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": x\r\nTE: x\r\n\r\n")
        assert result.forwarded is (name in told), name


def test_classes_of_octets() -> None:
    """Compare each octet in each place with the twin."""
    for octet in range(256):
        one = bytes([octet])
        for data in (
            head(line=b"G" + one + b"T / HTTP/1.1"),
            head(line=b"GET /a" + one + b" HTTP/1.1"),
            head(line=b"GET /?a" + one + b" HTTP/1.1"),
            head(line=b"GET /%" + one + b"0 HTTP/1.1"),
            head(line=b"GET /%0" + one + b" HTTP/1.1"),
            head(line=b"GET " + one + b"ttp://a/ HTTP/1.1"),
            head(line=b"GET http" + one + b"://a/ HTTP/1.1"),
            head(line=b"GET http://a" + one + b"/ HTTP/1.1"),
            head(line=b"GET http://[" + one + b"]/ HTTP/1.1"),
            head(line=b"GET http://a:1" + one + b"/ HTTP/1.1"),
            head(line=b"GET / HTTP/1." + one),
            head(b"a" + one + b"a: b"),
            head(b"a: b" + one + b"b"),
            head(b"a: " + one),
            head(host=b"Host: a" + one + b"\r\n"),
            head(host=b"Host: [" + one + b"]\r\n"),
            head(b"Content-Length: 1" + one),
            head(b"Connection: close" + one),
        ):
            assert outcome(data) == twin_outcome(data), data


def test_heads_over_the_size_are_refused() -> None:
    data = head(b"A: " + b"b" * 50)
    assert parsed(data).size == len(data)
    assert outcome(data + b"x" * 100, size_max=len(data)) == outcome(data)
    assert outcome(data, size_max=len(data) - 1) is OverflowError
    assert outcome(data[:-1], size_max=len(data) - 1) is OverflowError
    assert outcome(data[:-2], size_max=len(data) - 1) is None
    with pytest.raises(OverflowError, match="request head larger than 131072 bytes"):
        _core.parse_head(b"GET /" + b"a" * 131072)
    with pytest.raises(ValueError, match="size_max"):
        _core.parse_head(data, size_max=0)


def test_a_head_of_the_largest_size_is_parsed() -> None:
    data = head(b"A: " + b"b" * (131072 - len(head(b"A: "))))
    assert len(data) == 131072
    assert outcome(data) == twin_outcome(data)
    assert parsed(data).size == 131072


def test_more_than_128_fields_are_refused() -> None:
    with pytest.raises(OverflowError, match="too many field lines"):
        _core.parse_head(head(*[b"A: b"] * 128))
    start = head(*[b"A: b"] * 127)[:-2]
    assert outcome(start) is twin_outcome(start) is None
    assert outcome(start + b"\r") is twin_outcome(start + b"\r") is None
    assert outcome(start + b"A") is twin_outcome(start + b"A") is OverflowError


def test_pipelined_heads() -> None:
    first, second = VALID["put"], VALID["plain"]
    size = parsed(first + second).size
    assert parsed((first + second)[size:]).size == len(second)


def test_any_contiguous_buffer_is_taken() -> None:
    data = VALID["put"]
    assert outcome(bytearray(data)) == outcome(memoryview(data)) == outcome(data)  # type: ignore[arg-type]


def test_a_head_keeps_nothing_of_the_buffer() -> None:
    data = bytearray(VALID["put"])
    result = parsed(data)  # type: ignore[arg-type]
    before = list(result.headers)
    data[:] = bytes(len(data))
    data.clear()
    assert result.headers == before


def test_heads_are_made_by_the_parser_only_and_immutable() -> None:
    with pytest.raises(TypeError):
        _core.Head()
    with pytest.raises(AttributeError):
        parsed(VALID["plain"]).method = "PUT"  # type: ignore[misc]


OCTETS = [b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b"\x00", b"%", b"?", b"0", b"a", b"\x80"]


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from([*VALID.values(), *MALFORMED.values()]),
    st.lists(
        st.tuples(
            st.integers(0, 200), st.integers(0, 2), st.sampled_from(OCTETS) | st.binary(max_size=2)
        ),
        max_size=3,
    ),
    st.sampled_from([40, 131072]),
)
@example(b"CONNECT ", [], 131072)
@example(b"\r\n\r", [], 131072)
def test_mutated_heads_agree_with_the_twin(
    data: bytes, edits: list[tuple[int, int, bytes]], size_max: int
) -> None:
    for position, removed, inserted in edits:
        data = data[:position] + inserted + data[position + removed :]
    assert outcome(data, size_max) == twin_outcome(data, size_max)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(sorted({*b"GET / HTTP/1.1\r\nHost: a%?*\x00\n\xff"})), max_size=60))
def test_any_bytes_agree_with_the_twin(octets: list[int]) -> None:
    assert outcome(bytes(octets)) == twin_outcome(bytes(octets))


def test_shuffled_fields_agree_with_the_twin() -> None:
    generator = random.Random(SEED)
    lines = [
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Host: b",
        b"Expect: 100-continue",
        b"Connection: close",
        b"Connection: keep-alive",
        b"X: y",
    ]
    for round_number in range(1500):
        version = generator.choice([b"0", b"1"])
        fields = generator.choices(lines, k=generator.randrange(5))
        host = generator.choice([b"", HOST])
        data = head(*fields, line=b"POST / HTTP/1." + version, host=host)
        assert outcome(data) == twin_outcome(data), (SEED, round_number)
