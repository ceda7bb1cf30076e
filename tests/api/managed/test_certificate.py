"""The server's certificate, replaced by the management API."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtrfast.config import Config
from dtrfast.machine.paths import Layout
from tests.api.managed.town import Town
from tests.e2e.certificates import make

PATH = "admin/settings/certificate"


@pytest.fixture
def here(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """A town whose data directory is a folder of the test."""
    monkeypatch.chdir(tmp_path)
    Layout(Config().store.data).certificate_pair.parent.mkdir(parents=True)
    return town


def test_another_certificate_is_an_event_that_says_which(here: Town, tmp_path: Path) -> None:
    made = make(tmp_path)
    body = {"certificate": made.chain.read_text(), "key": made.key.read_text()}
    answer = here.ask("admin", "PUT", PATH, body)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert here.api("admin", "GET", PATH) == shown
    (event,) = [e for e in here.events.of("settings") if e.subject == "certificate"]
    assert event.detail["sha256"] == shown["sha256"]
    assert event.detail["until"] == shown["notAfter"]
    assert "localhost" in str(event.detail["names"])
    assert "PRIVATE" not in str(event)


def test_what_cannot_be_used_changes_nothing(here: Town, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    made, other = make(tmp_path), make(tmp_path / "other")
    for certificate, key in (("none", "none"), (made.chain.read_text(), other.key.read_text())):
        body = {"certificate": certificate, "key": key}
        assert here.ask("admin", "PUT", PATH, body).status_code == 400
    body = {"certificate": made.chain.read_text(), "key": made.key.read_text()}
    assert here.ask("owen", "PUT", PATH, body).status_code == 403
    assert here.ask("admin", "GET", PATH).status_code == 404
    assert not here.events.of("settings")
