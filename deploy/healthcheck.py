"""The health check of the container: exit status 0 if the server in it answers with 200.

    healthcheck.py [PATH]

PATH is /healthz by default. It reads the settings as the server does, from the environment and the
file that DTRFAST_CONFIG names. Options of the command line are unknown here: if the server does not
speak TLS, it tries plain HTTP, and the other way round.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys

from dtrfast.config import Config, load, split_address

# With the start of Python, less than the 5 s that the shortest probe of the Helm chart waits.
_TIMEOUT_SECONDS = 4.0
_REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# A balancer sends this line for its own checks, without a client.
_PROXY_LINE = b"PROXY UNKNOWN\r\n"
_ANY_CERTIFICATE = ssl.create_default_context()
_ANY_CERTIFICATE.check_hostname = False
_ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE


def answers(config: Config, path: str, *, tls: bool) -> bool:
    """Return True if the server answers. Raises OSError if it does not."""
    host, port = split_address(config.server.bind)
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    with socket.create_connection((own, port), _TIMEOUT_SECONDS) as connection:
        if config.server.proxy_protocol == "required":
            connection.sendall(_PROXY_LINE)
        stream = connection
        if tls:
            stream = _ANY_CERTIFICATE.wrap_socket(connection, server_hostname="localhost")
        with stream:
            stream.sendall(_REQUEST.format(path=path).encode())
            return stream.recv(1024).startswith(b"HTTP/1.1 200 ")


def main(path: str = "/healthz") -> int:
    config = load(None, os.environ)
    errors = []
    for tls in (config.server.tls != "off", config.server.tls == "off"):
        try:
            if answers(config, path, tls=tls):
                return 0
            errors.append("no answer with status 200")
        except ssl.SSLError as error:
            # The server wants a certificate of the client, and said so.
            if config.server.tls_client_ca and "CERTIFICATE_REQUIRED" in str(error.reason):
                return 0
            errors.append(str(error))
        except TimeoutError as error:  # a server that hangs, in any protocol
            errors.append(str(error))
            break
        except OSError as error:
            errors.append(str(error))
    sys.stdout.write(f"{'; '.join(errors)}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
