"""A Hypercorn release that changes internals behind the front door fails with a clear message."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypercorn
import pytest

from tests.e2e.programs import PROJECT

pytestmark = pytest.mark.slow

_ADVICE = (
    "Either adapt dtrfast/server/door (its seam is explained in doorman.py, exchange.py and "
    "http2.py) and then tests/door/seam.py, or keep the release before in pyproject.toml."
)


def look(folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the check on the installed Hypercorn, or on the one in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.door.seam"],
        cwd=PROJECT,
        env=os.environ if folder is None else os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_seam_is_where_it_was() -> None:
    done = look()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{_ADVICE}"


@pytest.mark.parametrize(
    ("file", "old", "new", "finder"),
    [
        (
            "asyncio/run.py",
            "await TCPServer(app, loop, config,",
            "await TCPServer(app, config, loop,",
            "connections_are_handed_over",
        ),
        (
            "asyncio/run.py",
            "lifespan_state, reader, writer)",
            "lifespan_state, reader, writer, None)",
            "connections_are_handed_over",
        ),
        (
            "asyncio/run.py",
            "        await TCPServer(",
            "        from .tcp_server import TCPServer\n        await TCPServer(",
            "connections_are_handed_over",
        ),
        (
            "asyncio/run.py",
            "        await context.terminated.set()\n",
            "",
            "connections_are_handed_over",
        ),
        (
            "asyncio/run.py",
            "await asyncio.wait_for(gathered_server_tasks, config.graceful_timeout)",
            "await asyncio.wait(server_tasks, timeout=config.graceful_timeout)",
            "connections_are_cut_at_last",
        ),
        (
            "asyncio/tcp_server.py",
            "        state: LifespanState,\n        reader",
            "        lifespan: LifespanState,\n        reader",
            "signatures_are_known",
        ),
        (
            "config.py",
            "    graceful_timeout: float =",
            "    grace: float =",
            "signatures_are_known",
        ),
        (
            "protocol/http_stream.py",
            '"state": event.state.copy(),',
            '"state": {},',
            "requests_become_asgi",
        ),
        (
            "protocol/http_stream.py",
            "        await self.send(EndBody(stream_id=self.stream_id))\n        self.state",
            "        self.state",
            "requests_become_asgi",
        ),
        (
            "protocol/http_stream.py",
            '"http.disconnect"',
            '"http.gone"',
            "lost_clients_disconnect",
        ),
        (
            "protocol/http_stream.py",
            "_send_error_response(500)",
            "_send_error_response(503)",
            "failed_requests_are_answered",
        ),
        (
            "protocol/__init__.py",
            "from .h2 import H2Protocol\n",
            "from .h2 import H2Protocol as H2\n\n\nclass H2Protocol(H2):\n    pass\n\n\n",
            "http2_is_looked_up_by_name",
        ),
    ],
)
def test_what_moves_is_found(tmp_path: Path, file: str, old: str, new: str, finder: str) -> None:
    shutil.copytree(Path(hypercorn.__file__).parent, tmp_path / "hypercorn")
    path = tmp_path / "hypercorn" / file
    text = path.read_text()
    assert old in text, "this release has other code: adapt the edit"
    path.write_text(text.replace(old, new))
    done = look(tmp_path)
    assert done.returncode != 0
    assert finder in done.stdout, done.stdout + done.stderr
    assert "dtrfast/server/" in done.stdout
