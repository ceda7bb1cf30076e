"""A data directory that other users of the machine can read is an open problem."""

from __future__ import annotations

from pathlib import Path

from dtrfast.config import Config, StoreConfig
from tests.api.managed.town import in_memory
from tests.console.browser import Browser


def test_a_wide_data_directory_is_an_open_problem(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(0o700)
    with in_memory(config=Config(store=StoreConfig(data=data))) as town:
        admin = Browser(town, "admin")
        assert town.api("admin", "GET", "admin/storage")["exposures"] == []
        assert "other users of this machine" not in admin.get("/dashboard").text
        data.chmod(0o755)
        (problem,) = town.api("admin", "GET", "admin/storage")["exposures"]
        assert f"may reach {data} (mode 755" in problem
        assert f"may reach {data} (mode 755" in admin.get("/dashboard").text
