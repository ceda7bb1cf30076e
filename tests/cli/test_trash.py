"""Commands on the trash that send several requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dtrfast.cli import trash
from dtrfast.cli.app import run


class Answers:
    """A server that restores a run in three requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def call(self, method: str, *pieces: str, body: dict[str, str]) -> dict[str, Any]:
        assert (method, *pieces, body["run"]) == ("POST", "trash", "restoreRun", "untagged-1")
        self.asked.append(body["start"])
        return {"count": len(self.asked), "nextStart": ["aa", "bb", ""][len(self.asked) - 1]}


def test_all_of_a_run_is_restored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = Answers()

    @contextmanager
    def connect(at: object) -> Iterator[Answers]:
        yield answers

    monkeypatch.setattr(trash, "connect", connect)
    assert run(["trash", "restore-run", "untagged-1"]) == 0
    assert answers.asked == ["", "aa", "bb"]
    assert capsys.readouterr().out == "restored 6 manifests\n"
