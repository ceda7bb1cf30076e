"""The proxies' settings in deploy/, with the addresses and files of a test."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.certificates import Certificate
from tests.e2e.programs import PROJECT

_TARGET = "127.0.0.1:5000"
_RIGHTS = ("user haproxy", "group haproxy", "chroot /var/lib/haproxy")


def nginx(port: int, plain_port: int, tls: Certificate, target: str) -> str:
    """Return the sample of nginx, for its section http."""
    return _read(
        "nginx/dtrfast.conf",
        {
            _TARGET: target,
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "listen [::]:80;": "",
            "    listen 443 ssl http2;": f"    listen 127.0.0.1:{port} ssl http2;",
            "listen [::]:443 ssl http2;": "",
            "server_name registry.example;": "server_name localhost;",
            "/etc/nginx/registry.crt": str(tls.chain),
            "/etc/nginx/registry.key": str(tls.key),
        },
    )


def haproxy(port: int, plain_port: int, tls: Certificate, target: str) -> str:
    """Return the sample of HAProxy."""
    return _read(
        "haproxy/haproxy.cfg",
        {
            _TARGET: target,
            "bind :80\n": f"bind 127.0.0.1:{plain_port}\n",
            "bind :443 ssl": f"bind 127.0.0.1:{port} ssl",
            # A machine may have no IPv6.
            "    bind :::80 v6only\n": "",
            "    bind :::443 v6only ssl crt /etc/haproxy/registry.pem alpn h2,http/1.1\n": "",
            "/etc/haproxy/registry.pem": str(pem_of(tls)),
            # Only root can give up its rights.
            **({} if os.geteuid() == 0 else dict.fromkeys(_RIGHTS, "")),
        },
    )


def caddy(port: int, plain_port: int, tls: Certificate, target: str) -> str:
    """Return the sample of Caddy."""
    here = f"http_port {plain_port}\n\thttps_port {port}\n\tdefault_bind 127.0.0.1\n\tadmin off"
    return _read(
        "caddy/Caddyfile",
        {
            _TARGET: target,
            "\n{\n": f"\n{{\n\t{here}\n",
            "\nregistry.example {": "\nlocalhost {",
            "/etc/caddy/registry.crt": str(tls.chain),
            "/etc/caddy/registry.key": str(tls.key),
        },
    )


def pem_of(tls: Certificate) -> Path:
    """Return a file with chain and key, for HAProxy."""
    pem = tls.chain.with_suffix(".pem")
    pem.write_bytes(tls.chain.read_bytes() + tls.key.read_bytes())
    return pem


def _read(name: str, changes: Mapping[str, str]) -> str:
    text = (PROJECT / "deploy" / name).read_text()
    for old, new in changes.items():
        assert old in text, f"{name} has no {old}"
        text = text.replace(old, new)
    return text
