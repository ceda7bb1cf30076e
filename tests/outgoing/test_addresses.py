"""Public and private addresses, in all forms that carry them."""

from __future__ import annotations

import ipaddress

from dtrfast.outgoing.addresses import is_permitted, is_public

PRIVATE = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.9.9.9 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1
    198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
    168.63.129.16
    :: ::1 ::7f00:1 ::808:808 fe80::1 fe80::1%2 febf::1 fec0::1 fc00::1 fd00:ec2::254 ff02::1
    ff0e::1 100::1 2001:db8::1 2001:2::1 2001:10::1 2001:20::1 3fff::1 5f00::1 4000::1
    64:ff9b:1::a00:1
    ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:0:10.0.0.1
    64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b::127.0.0.1
    2002:a00:1:: 2002:7f00:1::1 2002:c0a8:101::c0a8:101
    2001:0:a00:1::f5ff:fffe 2001:0:4136:e378:8000:63bf:f5ff:fffe
    2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:192.168.0.1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
    169.253.0.1 172.15.255.255 172.32.0.0 192.0.1.1 192.167.0.1 192.169.0.1 198.17.0.1 198.20.0.1
    223.255.255.255 2606:4700::1 2a00:1450:4001::1 ::ffff:8.8.8.8 64:ff9b::8.8.8.8
    2002:808:808::1 2606:4700::5efe:8.8.8.8
"""


def test_private_addresses_are_private_in_every_form() -> None:
    assert [text for text in PRIVATE.split() if is_public(ipaddress.ip_address(text))] == []


def test_public_addresses_are_public() -> None:
    assert [text for text in PUBLIC.split() if not is_public(ipaddress.ip_address(text))] == []


def test_an_allowed_network_lets_its_addresses_in_and_no_other() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    answers = {
        "10.1.2.3": True,
        "::ffff:10.1.2.3": True,
        "64:ff9b::10.1.2.3": True,
        "10.2.0.1": False,
        "::ffff:10.2.0.1": False,
        "fd00::1": True,
        "fe80::1": False,
        "127.0.0.1": False,
        "8.8.8.8": True,
    }
    seen = {text: is_permitted(ipaddress.ip_address(text), allowed) for text in answers}
    assert seen == answers
