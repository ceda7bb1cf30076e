"""The peer nginx serves a folder of files: a bound of the cost of pulls without a registry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks import holdings
from benchmarks.holdings import Holding
from benchmarks.peers.peer import Ability, Program, Server, Start, output_of

# Features that nginx does not need to serve files are left out or switched off. Connections stay
# open as long as those of the registries, which do not limit the requests of a connection.
_SETTINGS = """\
daemon off;
{user}pid "{home}/pid";
error_log stderr crit;
worker_processes auto;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 120s;
    keepalive_requests 1000000000;
    client_body_temp_path "{home}/body";
    proxy_temp_path "{home}/proxy";
    fastcgi_temp_path "{home}/fastcgi";
    uwsgi_temp_path "{home}/uwsgi";
    scgi_temp_path "{home}/scgi";
    server {{
        listen 127.0.0.1:{port}{ssl};
        root "{data}";
{certificate}    }}
}}
"""
_CERTIFICATE = """\
        ssl_certificate "{chain}";
        ssl_certificate_key "{key}";
        ssl_protocols TLSv1.2 TLSv1.3;
"""


class Nginx(Program):
    """A bound, not a registry: it only serves files."""

    durability = "takes no pushes"

    def __init__(self, program: Path) -> None:
        super().__init__("nginx", program, frozenset({Ability.PULL, Ability.PLAIN, Ability.TLS}))

    def version(self) -> str:
        return output_of(self.program, "-v").rpartition(": ")[2]

    def command(self, start: Start, port: int) -> Sequence[str]:
        certificate = ssl = ""
        if start.certificate:
            ssl = " ssl"
            certificate = _CERTIFICATE.format(
                chain=start.certificate.chain, key=start.certificate.key
            )
        # With a master of root the workers would run as another user, who cannot read the folders.
        user = "user root;\n" if os.geteuid() == 0 else ""
        settings = _SETTINGS.format(
            home=start.home,
            data=start.data,
            port=port,
            user=user,
            ssl=ssl,
            certificate=certificate,
        )
        path = start.home / "nginx.conf"
        path.write_text(settings)
        return [str(self.program), "-e", "stderr", "-p", str(start.home), "-c", str(path)]

    def fill(self, server: Server, held: Sequence[Holding]) -> None:
        holdings.lay_out(held, server.data)
