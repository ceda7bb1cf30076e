"""The number of workers, if the setting leaves it to the machine."""

from __future__ import annotations

import pytest

from dtrfast.config import Config, ServerConfig
from dtrfast.machine import limits
from dtrfast.server import supervisor


def test_workers_fit_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    automatic = Config()
    for cores, memory, expected in (
        (4, 64 << 30, 4),
        (4, 512 << 20, 2),
        (4, 1 << 30, 4),
        (64, 2 << 30, 10),
        (1, 64 << 30, 1),
        (8, 64 << 20, 1),
    ):
        monkeypatch.setattr(limits, "count_cores", lambda cores=cores: cores)
        monkeypatch.setattr(limits, "usable_memory", lambda memory=memory: memory)
        assert supervisor.worker_count(automatic) == expected, (cores, memory)
        assert supervisor.worker_count(Config(server=ServerConfig(workers=7))) == 7
