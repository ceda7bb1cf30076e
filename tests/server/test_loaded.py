"""The modules that a process loads before it answers. Each of them delays the start."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SHOW = "import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"


@pytest.mark.long
@pytest.mark.parametrize("module", ["dtrfast.server.worker", "dtrfast.jobs.housekeeper"])
def test_no_client_of_other_services_is_loaded(module: str) -> None:
    """They took 0.16 s at the start of each process. Now the first call loads them."""
    command = [sys.executable, "-c", _SHOW.format(module=module)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    loaded = set(done.stdout.split())
    assert "dtrfast" in loaded
    assert not loaded & {"httpx", "httpcore", "rich", "click", "obstore"}
