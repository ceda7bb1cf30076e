"""Client, scheme and host of a request, from its connection and from the headers of proxies."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from dtrfast.config import ServerConfig, load, parse_network
from dtrfast.errors import ConfigInvalid
from dtrfast.server.proxies import Edge, Peer, Proxies
from tests.walks import costs

NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "2001:db8:ffff::/48", "::ffff:192.0.2.0/120")
# A proxy. Addresses outside the networks are clients.
PROXY = ("10.0.0.1", 4000)
CLIENT = "203.0.113.9"

Headers = list[tuple[bytes, bytes]]


def arrive(*lines: str, peer: str = PROXY[0], host: str = "here:5000", tls: bool = False) -> Any:
    """Return the arrival of a request of `peer` with these header lines."""
    proxies = Proxies(NETWORKS)
    headers = [(b"host", host.encode("latin-1")), *map(_field, lines), (b"accept", b"*/*")]
    return proxies.arrive(proxies.peer((peer, 4000)), tls, headers)


def _field(line: str) -> tuple[bytes, bytes]:
    name, _, value = line.partition(":")
    return name.lower().encode(), value.strip(" ").encode("latin-1")


def client_of(*lines: str, peer: str = PROXY[0]) -> str:
    return str(arrive(*lines, peer=peer).client[0])


# Lines, and the client that they name.
CLIENTS: list[tuple[tuple[str, ...], str]] = [
    ((), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9",), CLIENT),
    (("X-Forwarded-For: 203.0.113.9:61000",), CLIENT),
    (("X-Forwarded-For:   203.0.113.9\t",), CLIENT),
    (('X-Forwarded-For: "203.0.113.9"',), CLIENT),
    (("X-Forwarded-For: 1.1.1.1, 203.0.113.9",), CLIENT),
    (("X-Forwarded-For: 1.1.1.1,203.0.113.9,10.0.0.2",), CLIENT),
    (("X-Forwarded-For: 1.1.1.1, 203.0.113.9 , 127.0.0.1,192.0.2.7, 10.9.9.9:80",), CLIENT),
    (("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 203.0.113.9", "x-forwarded-for: ::1"), CLIENT),
    (("X-Forwarded-For: 203.0.113.9, , ,",), CLIENT),
    (("X-Forwarded-For: ::ffff:203.0.113.9",), CLIENT),
    (("X-Forwarded-For: [::FFFF:203.0.113.9]:443",), CLIENT),
    (("X-Forwarded-For: 2001:DB8:0:0::1",), "2001:db8::1"),
    (("X-Forwarded-For: [2001:db8::1]",), "2001:db8::1"),
    (("X-Forwarded-For: 1.1.1.1, [2001:db8::1]:61000, [2001:db8:ffff::2]:1",), "2001:db8::1"),
    # All addresses are proxies: the first of them is the client.
    (("X-Forwarded-For: 10.0.0.3, 10.0.0.2",), "10.0.0.3"),
    # Values to the left of a malformed address do not count.
    (("X-Forwarded-For: 203.0.113.9, unknown",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.2",), "10.0.0.2"),
    (("X-Forwarded-For: 203.0.113.9, _hidden",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, 999.1.1.1",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, 010.0.0.2",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, 10.0.0.2:99999999",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, fe80::1%eth0",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, registry.example",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, [::1",), PROXY[0]),
    (("X-Forwarded-For: 203.0.113.9, \xe9",), PROXY[0]),
    (("X-Forwarded-For:",), PROXY[0]),
    (("X-Forwarded-For: " + "1" * 100_000,), PROXY[0]),
    (("Forwarded: for=203.0.113.9",), CLIENT),
    (("Forwarded: FOR=203.0.113.9;Proto=https;By=10.0.0.1;ext=1",), CLIENT),
    (('Forwarded: for="203.0.113.9:61000"',), CLIENT),
    (('Forwarded: for="203.0.113.9:_port"',), CLIENT),
    (("Forwarded: for=1.1.1.1, for=203.0.113.9, for=10.0.0.2",), CLIENT),
    (("Forwarded: for=1.1.1.1", "Forwarded: for=203.0.113.9 ; proto=http,, for=10.0.0.2"), CLIENT),
    (('Forwarded: for="[2001:DB8::1]"',), "2001:db8::1"),
    (
        ('Forwarded: for=1.1.1.1,for="[2001:db8::1]:61000" , for="[2001:db8:ffff::2]"',),
        "2001:db8::1",
    ),
    # An unclosed quote of the client does not hide elements that a proxy adds.
    (('Forwarded: for="1.1.1.1, for=203.0.113.9;proto=https',), CLIENT),
    (('Forwarded: for=1.1.1.1;x="a, for=203.0.113.9',), CLIENT),
    (('Forwarded: for=1.1.1.1, for=203.0.113.9;x="a, for=2.2.2.2"',), CLIENT),
    (('Forwarded: for=1.1.1.1, for=203.0.113.9;x="a;for=2.2.2.2, for=3.3.3.3"',), CLIENT),
    (("Forwarded: for=1.1.1.1, for=unknown",), PROXY[0]),
    (("Forwarded: for=1.1.1.1, for=_hidden, for=10.0.0.2",), "10.0.0.2"),
    (("Forwarded: for=1.1.1.1, proto=https",), PROXY[0]),
    (("Forwarded: for=1.1.1.1, for=1.1.1.1;for=2.2.2.2",), PROXY[0]),
    (('Forwarded: for=1.1.1.1, for="2.2.2.2\\""',), PROXY[0]),
    (("Forwarded: for=1.1.1.1, for 2.2.2.2",), PROXY[0]),
    (("Forwarded: for=[2001:db8::1]",), PROXY[0]),
    (("Forwarded: ;;;",), PROXY[0]),
    # Both kinds of headers: they agree, or one has no client, or neither counts.
    (("X-Forwarded-For: 203.0.113.9", 'Forwarded: for="203.0.113.9:1"'), CLIENT),
    (("X-Forwarded-For: 203.0.113.9", "Forwarded: proto=https"), CLIENT),
    (("X-Forwarded-For: 203.0.113.9", "Forwarded: for=unknown"), CLIENT),
    (("X-Forwarded-For: nonsense", "Forwarded: for=203.0.113.9"), CLIENT),
    (("X-Forwarded-For: 203.0.113.9", "Forwarded: for=1.1.1.1"), PROXY[0]),
    (("X-Forwarded-For: 1.1.1.1", "Forwarded: for=203.0.113.9"), PROXY[0]),
    # Headers with other names do not count.
    (("X-Real-IP: 1.1.1.1", "True-Client-IP: 1.1.1.1", "Client-IP: 1.1.1.1"), PROXY[0]),
]


def test_the_client_is_the_first_from_the_right_that_is_no_proxy() -> None:
    found = {lines: client_of(*lines) for lines, _ in CLIENTS}
    assert found == dict(CLIENTS)


def test_others_than_proxies_are_not_believed_and_their_headers_are_gone() -> None:
    for peer in ("198.51.100.1", "2001:db8::5", "11.0.0.1", "192.0.3.1", "fe80::1%eth0"):
        lines = [line for some, _ in CLIENTS for line in some if "orwarded" in line][:20]
        told = ["X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Anything: 1"]
        arrival = arrive(*lines, *told, peer=peer)
        assert arrival.client[0] == peer
        assert (arrival.is_secure, arrival.is_direct) == (False, True)
        assert arrival.headers == [(b"host", b"here:5000"), (b"accept", b"*/*")]


def test_an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_peer() -> None:
    assert client_of(peer="::ffff:203.0.113.9") == CLIENT
    assert client_of("X-Forwarded-For: 203.0.113.9", peer="::ffff:127.0.0.1") == CLIENT
    assert client_of("X-Forwarded-For: 1.1.1.1", peer="::ffff:11.0.0.1") == "11.0.0.1"


def test_a_peer_that_is_not_known_is_not_believed() -> None:
    """The socket of a client that closed has no peer, but it may still have a request."""
    proxies = Proxies(NETWORKS)
    arrival = proxies.arrive(proxies.peer(None), False, [_field("X-Forwarded-For: 1.1.1.1")])
    assert (arrival.client, arrival.headers) == (None, [])


# Lines, and True if the request then counts as https.
SCHEMES: list[tuple[tuple[str, ...], bool]] = [
    (("X-Forwarded-Proto: https",), True),
    (("X-Forwarded-Proto: HTTPS",), True),
    (('X-Forwarded-Proto: "https"',), True),
    (("X-Forwarded-Proto: https, http",), True),
    (("X-Forwarded-Proto: https,http", "X-Forwarded-Proto: http"), True),
    (("X-Forwarded-Proto: , https",), True),
    (("X-Forwarded-Proto: http",), False),
    (("X-Forwarded-Proto: http, https",), False),
    (("X-Forwarded-Proto: javascript",), False),
    (("X-Forwarded-Proto: httpsx",), False),
    (("X-Forwarded-Proto:",), False),
    (("Forwarded: proto=https",), True),
    (("Forwarded: for=203.0.113.9;proto=HTTPS, for=10.0.0.2;proto=http",), True),
    (("Forwarded: proto=https, proto=http",), True),
    (('Forwarded: for=203.0.113.9;proto="https"',), True),
    # An element to the left of the client's element is not trusted.
    (("Forwarded: proto=https, for=203.0.113.9;proto=http",), False),
    (("Forwarded: proto=http;for=203.0.113.9", "X-Forwarded-Proto: https"), True),
]


def test_a_header_makes_https_of_http_and_never_the_reverse() -> None:
    for lines, is_secure in SCHEMES:
        assert arrive(*lines).is_secure is is_secure, lines
        assert arrive(*lines, tls=True).is_secure is True, lines
        assert arrive(*lines, peer=CLIENT).is_secure is False, lines


# Lines, and the host of the request.
HOSTS: list[tuple[tuple[str, ...], str]] = [
    (("X-Forwarded-Host: registry.example",), "registry.example"),
    (("X-Forwarded-Host: registry.example:8443, inner:5000",), "registry.example:8443"),
    (("X-Forwarded-Host: [2001:db8::1]:8443",), "[2001:db8::1]:8443"),
    (("X-Forwarded-Host: registry.example", "X-Forwarded-Port: 8443"), "registry.example:8443"),
    (("X-Forwarded-Host: [2001:db8::1]", "X-Forwarded-Port: 8443"), "[2001:db8::1]:8443"),
    (("X-Forwarded-Host: registry.example:1", "X-Forwarded-Port: 8443"), "registry.example:1"),
    (("X-Forwarded-Host: registry.example", "X-Forwarded-Port: 443, 80"), "registry.example"),
    (("X-Forwarded-Host: registry.example", "X-Forwarded-Port: 80"), "registry.example"),
    (("X-Forwarded-Host: registry.example", "X-Forwarded-Port: 0"), "registry.example"),
    (("X-Forwarded-Host: registry.example", "X-Forwarded-Port: 65536"), "registry.example"),
    (("X-Forwarded-Host: registry.example", "X-Forwarded-Port: 1/x"), "registry.example"),
    (("X-Forwarded-Port: 8443",), "here:5000"),
    (("Forwarded: for=203.0.113.9;host=registry.example",), "registry.example"),
    (('Forwarded: host="registry.example:8443";for=203.0.113.9',), "registry.example:8443"),
    (("Forwarded: host=evil.example, for=203.0.113.9;host=good.example",), "good.example"),
    *[
        ((f"X-Forwarded-Host: {garbage}",), "here:5000")
        for garbage in (
            'evil"',
            "evil/path",
            "user@evil",
            "evil:port",
            "evil:65536",
            "[evil]",
            "[::1",
            "[1:2]:3",
            "ev il",
            "\xe9vil",
            "a" * 300,
            "http://evil",
        )
    ],
]


def test_the_host_is_the_first_that_a_proxy_names_if_it_can_be_one() -> None:
    for lines, host in HOSTS:
        headers = arrive(*lines).headers
        assert [value.decode() for name, value in headers if name == b"host"] == [host], lines
        assert len(headers) == 2, lines
        assert dict(arrive(*lines, peer=CLIENT).headers)[b"host"] == b"here:5000", lines


def test_a_port_is_added_to_a_host_without_one() -> None:
    headers = dict(arrive("X-Forwarded-Port: 8443", host="registry.example").headers)
    assert headers[b"host"] == b"registry.example:8443"


@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-For: " + "10.0.0.2," * 14_000,
        "X-Forwarded-For: " + "," * 128_000,
        "Forwarded: " + "for=10.0.0.2," * 9_000,
        "Forwarded: " + "," * 128_000,
        "Forwarded: " + " " * 60_000 + "a=" + " " * 60_000,
        "Forwarded: " + 'a="' * 40_000,
        "Forwarded: " + "a=b;" * 32_000,
        "Forwarded: " + "a" * 128_000,
        "Forwarded: " + '"' * 128_000,
    ],
    ids=lambda line: line[:22],
)
def test_long_lists_take_no_long_time(line: str) -> None:
    def read() -> None:
        for _ in range(3):
            assert client_of(line) in ("10.0.0.2", PROXY[0])

    reading = costs.measure("read", read)
    assert reading.share < 3, reading


def test_addresses_to_the_left_of_too_many_proxies_do_not_count() -> None:
    many = ", ".join(["10.0.0.2"] * 40)
    assert client_of(f"X-Forwarded-For: 203.0.113.9, {many}") == "10.0.0.2"
    assert client_of("Forwarded: for=203.0.113.9" + ", for=10.0.0.2" * 40) == "10.0.0.2"


# ---- hints -------------------------------------------------------------------------------------
def test_the_log_says_what_to_set_and_says_it_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    proxies = Proxies(("10.0.0.0/8",), lambda: now[0])
    peer = proxies.peer(("172.18.0.2", 1))
    with caplog.at_level(logging.WARNING):
        for seconds in (0, 10, 3599, 3601):
            now[0] = seconds
            proxies.arrive(peer, False, [_field("X-Forwarded-For: 1.1.1.1\\n2")])
    assert len(caplog.messages) == 2
    assert "172.18.0.2" in caplog.messages[0]
    assert "server.trusted_proxies (now 10.0.0.0/8)" in caplog.messages[0]
    assert "1.1.1.1" not in caplog.text


def test_one_address_does_not_use_up_the_hint_of_another(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    proxies = Proxies(("10.0.0.0/8",), lambda: now[0])

    def arrive(address: str) -> None:
        proxies.arrive(proxies.peer((address, 1)), False, [_field("X-Forwarded-For: 1.1.1.1")])

    with caplog.at_level(logging.WARNING):
        for address in ("172.18.0.2", "172.18.0.3", "172.18.0.2"):
            arrive(address)
        assert len(caplog.messages) == 2
        assert "172.18.0.3" in caplog.messages[1]
        for number in range(1000):  # a flood of addresses fills neither the log nor the memory
            arrive(f"172.19.{number >> 8}.{number & 255}")
        assert len(caplog.messages) == 100
        now[0] = 3600
        arrive("172.18.0.2")
        assert len(caplog.messages) == 101


def test_a_client_that_another_server_has_found_is_no_reason_for_a_hint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        client_of("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.2", peer=CLIENT)
    assert caplog.messages == []


def test_the_log_tells_of_a_proxy_that_lets_clients_send_the_other_header(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        client_of("X-Forwarded-For: 203.0.113.9", "Forwarded: for=1.1.1.1")
    assert "let the proxy remove the one that it does not set" in caplog.text


# ---- below another server ----------------------------------------------------------------------
def below(scope: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return the scope that the application gets."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any, *_: Any) -> None:
        seen.append(dict(scope))

    whole = {"type": "http", "scheme": "http", "server": ("0.0.0.0", 80), "headers": [], **scope}
    edge = Edge(app, Proxies(ServerConfig().trusted_proxies), **options)
    asyncio.run(edge(whole, None, None))  # type: ignore[arg-type]
    return seen[0]


FORWARDED = [
    (b"host", b"inner"),
    (b"x-forwarded-for", b"203.0.113.9"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"registry.example"),
]


def test_the_scope_below_another_server_has_what_the_proxy_told() -> None:
    scope = below({"client": ["127.0.0.1", 5], "headers": FORWARDED})
    assert (scope["client"], scope["scheme"]) == ((CLIENT, 0), "https")
    assert scope["headers"] == [(b"host", b"registry.example")]


def test_a_unix_socket_is_a_proxy_on_this_machine() -> None:
    for server in (None, ("/run/dtrfast.sock", None)):
        scope = below({"client": None, "server": server, "headers": FORWARDED})
        assert (scope["client"], scope["scheme"]) == ((CLIENT, 0), "https")
    alone = below({"client": None, "server": None, "headers": FORWARDED[:1]})
    assert alone["client"] is None


def test_a_client_that_the_other_server_does_not_know_is_not_believed() -> None:
    scope = below({"client": None, "headers": FORWARDED})
    assert (scope["client"], scope["scheme"]) == (None, "http")
    assert scope["headers"] == FORWARDED[:1]


def test_the_peer_of_a_connection_counts_whatever_the_scope_says() -> None:
    given = {"client": ("127.0.0.1", 5), "headers": FORWARDED}
    assert below(given, peer=Peer((CLIENT, 7)))["client"] == (CLIENT, 7)


def test_other_scopes_pass_untouched() -> None:
    assert "client" not in below({"type": "lifespan"})


# ---- the setting -------------------------------------------------------------------------------
def test_networks_are_checked_at_the_start() -> None:
    given = {"DTRFAST_SERVER_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1 172.18.0.5"}
    assert load(None, given).server.trusted_proxies == ("10.0.0.0/8", "2001:db8::1", "172.18.0.5")
    assert load(None, {"DTRFAST_SERVER_TRUSTED_PROXIES": ""}).server.trusted_proxies == ()
    for value, advice in {
        "proxy.example": "expected networks such as 10.0.0.0/8",
        "*": "expected networks such as 10.0.0.0/8",
        "10.0.0.0/33": "expected networks such as 10.0.0.0/8",
        "10.0.0.5/8": "expected 10.0.0.0/8 for the network, or 10.0.0.5 for the one address",
    }.items():
        with pytest.raises(ConfigInvalid, match=advice.replace(".", r"\.")):
            load(None, {"DTRFAST_SERVER_TRUSTED_PROXIES": value})


def test_a_listener_for_proxies_needs_proxies() -> None:
    given = {"DTRFAST_SERVER_PROXY_PROTOCOL": "required"}
    assert load(None, given).server.proxy_protocol == "required"
    with pytest.raises(ConfigInvalid, match="no proxy could connect"):
        load(None, {**given, "DTRFAST_SERVER_TRUSTED_PROXIES": ""})
    with pytest.raises(ConfigInvalid, match="expected one of off, required"):
        load(None, {"DTRFAST_SERVER_PROXY_PROTOCOL": "auto"})


def test_ipv4_in_ipv6_is_ipv4_in_networks_too() -> None:
    assert str(parse_network("::ffff:10.0.0.0/104")) == "10.0.0.0/8"
    assert str(parse_network("::/0")) == "::/0"
