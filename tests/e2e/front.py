"""haproxy and nginx in front of a registry."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.programs import ProgramFailed, find

# Debian's folder of the loadable modules of nginx.
_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

_HAPROXY = """\
defaults
    timeout connect 5s
    timeout client 30s
    timeout server 30s
"""
_NGINX = """\
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
}}
stream {{
    {stream}
}}
"""


@contextmanager
def haproxy(
    folder: Path, environment: Mapping[str, str], port: int, sections: str
) -> Iterator[None]:
    """Run haproxy with these sections, which listen on `port`."""
    file = folder / f"haproxy-{port}.cfg"
    file.write_text(_HAPROXY + sections)
    program = find("haproxy", environment).called_with("-f", str(file))
    with program.serving(folder / f"haproxy-{port}.log", _listens(port)):
        yield


@contextmanager
def nginx(
    folder: Path,
    environment: Mapping[str, str],
    port: int,
    *,
    http: str = "",
    stream: str = "",
) -> Iterator[None]:
    """Run nginx with these servers, which listen on `port`."""
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(module=_STREAM_MODULE, folder=folder, http=http, stream=stream))
    program = find("nginx", environment).called_with("-e", "stderr", "-c", str(file))
    with program.serving(folder / "nginx.log", _listens(port)):
        yield


def connect(port: int) -> None:
    """Connect to the port once. Raises ProgramFailed if no program listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        raise ProgramFailed(str(error)) from None


def _listens(port: int) -> Callable[[], None]:
    return lambda: connect(port)
