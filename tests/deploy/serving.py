"""A server that a test starts by its command line, as an administrator does."""

import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.programs import wait_until
from tests.e2e.registry import free_port

# The certificates of the servers are of their own making.
_ANY_CERTIFICATE = ssl.create_default_context()
_ANY_CERTIFICATE.check_hostname = False
_ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE


def get(url: str) -> tuple[int, bytes]:
    """Return the status and the body of an address; (0, b"") if nothing answers there."""
    try:
        with urllib.request.urlopen(url, timeout=30, context=_ANY_CERTIFICATE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


@contextmanager
def serving(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Iterator[str]:
    """Run `COMMAND serve` in a folder until the block ends; yields the URL of the server.

    The server must stop by itself when it is asked to, with status 0.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "serve", "--data", folder / "data", "--bind", f"127.0.0.1:{port}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        wait_until(lambda: get(f"{url}/healthz") == (200, b"ok\n"), process, f"answer from {url}")
        yield url
        process.terminate()
        assert process.wait(60) == 0, (folder / "server.log").read_text()
    finally:
        process.kill()
        process.wait()
