"""Permits to call an address, by the role that entered it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dtrfast.config import OutgoingConfig
from dtrfast.errors import AddressRefused, CallFailed
from dtrfast.outgoing.permit import OutgoingPolicy, Setter


def resolving(*addresses: str, config: OutgoingConfig | None = None) -> OutgoingPolicy:
    """Return a resolver that gives these addresses for every name."""
    return OutgoingPolicy(config or OutgoingConfig(), lambda host, port: addresses)


def test_an_administrator_may_name_any_host_and_its_name_is_not_resolved() -> None:
    def never(host: str, port: int) -> Sequence[str]:
        raise AssertionError("the name is resolved where it is connected to")

    outgoing = OutgoingPolicy(OutgoingConfig(), never)
    for url, port in (
        ("https://10.0.0.1/keys", 443),
        ("http://localhost:8080", 8080),
        ("ldap://directory.internal", 389),
        ("ldaps://[::1]:1636", 1636),
    ):
        permit = outgoing.permit(url, Setter.ADMINISTRATOR)
        assert (permit.port, permit.targets) == (port, (permit.host,))


def test_an_owner_may_name_public_hosts_and_exactly_their_addresses_are_called() -> None:
    permit = resolving("8.8.8.8", "2606:4700::1").permit("https://hook.example/x", Setter.OWNER)
    assert permit.targets == ("8.8.8.8", "2606:4700::1")
    assert permit.host == "hook.example"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://localhost/",
        "http://localhost./",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::]/",
        "http://0.0.0.0/",
        "http://0/",
        "http://169.254.169.254/latest/meta-data/",
        "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
        "http://[fe80::1%25lo]/",
        "http://user:secret@8.8.8.8/",
        "http://8.8.8.8:0/",
        "http://8.8.8.8:65536/",
        "http:///path",
        "file:///etc/passwd",
        "ldap://8.8.8.8/",
        "gopher://8.8.8.8/",
        "//8.8.8.8/",
        "",
        "http://8.8.8.8/\r\nx: y",
        f"http://8.8.8.8/{'x' * 2048}",
    ],
)
def test_an_owner_may_not_name_other_addresses(url: str) -> None:
    """This machine's resolver accepts numbers in all spellings."""
    with pytest.raises((AddressRefused, CallFailed)):
        OutgoingPolicy(OutgoingConfig()).permit(url, Setter.OWNER)


def test_one_private_address_of_a_name_is_enough_to_refuse_it() -> None:
    for addresses in (("8.8.8.8", "10.0.0.1"), ("::ffff:10.0.0.1",), ("8.8.8.8", "::1")):
        with pytest.raises(AddressRefused, match=r"outgoing\.allow"):
            resolving(*addresses).permit("https://hook.example", Setter.OWNER)


@pytest.mark.parametrize("network", ["10.0.0.0/24", "::ffff:10.0.0.0/120"])
def test_the_allow_list_lets_private_addresses_in(network: str) -> None:
    config = OutgoingConfig(allow=(network,))
    allowed = resolving("10.0.0.9", "8.8.8.8", config=config)
    assert allowed.permit("https://hook.example", Setter.OWNER).addresses == ("10.0.0.9", "8.8.8.8")
    with pytest.raises(AddressRefused):
        resolving("10.0.1.9", config=config).permit("https://hook.example", Setter.OWNER)


def test_a_name_without_an_address_is_told() -> None:
    def none(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    for outgoing in (OutgoingPolicy(OutgoingConfig(), none), resolving()):
        with pytest.raises(CallFailed, match=r"hook\.example"):
            outgoing.permit("https://hook.example", Setter.OWNER)


PROXY = OutgoingConfig(
    proxy="http://proxy.internal:3128",
    no_proxy=("example.org", ".internal", "10.0.0.0/8", "8.8.4.4"),
)


@pytest.mark.parametrize(
    ("url", "is_proxied"),
    [
        ("https://issuer.example/", True),
        ("https://example.org/", False),
        ("https://ci.EXAMPLE.org./", False),
        ("https://notexample.org/", True),
        ("https://ci.internal/", False),
        ("https://10.1.2.3/", False),
        ("https://11.1.2.3/", True),
        ("https://8.8.4.4/", False),
        ("http://localhost:8080/", False),
        ("http://127.0.0.1/", False),
        ("http://[::1]/", False),
        ("http://169.254.169.254/", False),
        ("ldap://directory.example/", False),
    ],
)
def test_the_proxy_is_for_other_hosts_over_http(url: str, is_proxied: bool) -> None:
    permit = OutgoingPolicy(PROXY).permit(url, Setter.ADMINISTRATOR)
    assert permit.proxy == (("proxy.internal", 3128) if is_proxied else None)


def test_networks_without_the_proxy_count_for_the_address_that_was_checked() -> None:
    config = OutgoingConfig(allow=("10.0.0.0/8",), proxy=PROXY.proxy, no_proxy=PROXY.no_proxy)
    for address, proxy in (("10.0.0.1", None), ("8.8.8.8", ("proxy.internal", 3128))):
        permit = resolving(address, config=config).permit("https://hook.example", Setter.OWNER)
        assert permit.proxy == proxy
