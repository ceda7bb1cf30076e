"""Names of audit events."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dtrfast
from dtrfast.console import event_names, formatting, rendering
from tests.api.managed.town import Town
from tests.console.browser import Browser


def test_every_event_has_a_name() -> None:
    package = Path(dtrfast.__file__).parent
    sources = [
        path for part in ("api", "identity", "jobs") for path in (package / part).rglob("*.py")
    ]
    texts = [path.read_text() for path in sources]
    noted = {kind for text in texts for kind in re.findall(r'note\(\s*"([a-z.-]+)"', text)}
    assert len(noted) > 20
    assert noted - set(event_names.NAMES) <= {"audit"}


def test_details_are_short() -> None:
    detail = {"digest": "sha256:" + "a" * 64, "size": 2048, "admin": False, "reason": ""}
    shown = [(one.name, one.text, one.whole) for one in event_names.details_of(detail)]
    assert shown == [
        ("digest", "a" * 12, "sha256:" + "a" * 64),
        ("manifest size", "", "2.0 KiB (2\u202f048 bytes)"),
        ("admin", "no", "no"),
    ]
    # An image without a tag is named once.
    image = {"reference": "sha256:" + "a" * 64, "digest": "sha256:" + "a" * 64}
    assert [one.name for one in event_names.details_of(image)] == ["reference"]
    tag = f"sha256-{'a' * 64}.sig"
    pushed = event_names.details_of({"reference": tag, "again": 1})
    assert [(one.text, one.whole, one.is_plain) for one in pushed] == [
        (f"for {'a' * 12}", tag, True),
        ("1 more time", "1 more time", True),
    ]
    macros: Any = rendering.environment().get_template("logs/events.html").module
    event = SimpleNamespace(time="2026-01-31T08:00:00Z", detail={"reference": "v1", "size": "747"})
    line = macros.details_of(event, "").partition("</summary>")[0].partition('title="')[2]
    shown = line.partition('">')[2]
    assert ">v1</span>" in shown
    assert "reference" not in shown
    assert "747 B" not in shown


def test_a_time_in_an_event_has_the_form_of_all_times() -> None:
    event = SimpleNamespace(time="2026-01-31T08:00:00Z", detail={"until": "2027-01-31T08:00:00Z"})
    macros: Any = rendering.environment().get_template("logs/events.html").module
    shown = macros.details_of(event, "")
    assert shown.count(formatting.when("2027-01-31T08:00:00Z", "full")) == 2, "short, and in full"
    assert "until: 2027-01-31 08:00:00 UTC\n" in shown, "on hover"


def test_titles_say_what_was_pushed_or_deleted() -> None:
    for kind, detail, title in (
        ("push", {"reference": "v1"}, "Tag pushed"),
        ("push", {"reference": "sha256:" + "a" * 64}, "Image pushed"),
        ("push", {"reference": f"sha256-{'a' * 64}.sig"}, "Signature pushed"),
        ("push", {"reference": f"sha256-{'a' * 64}.sbom"}, "SBOM pushed"),
        ("push", {"reference": "sha256-abc.sig"}, "Tag pushed"),
        ("delete", {"reference": f"sha256-{'a' * 64}.att"}, "Attestation deleted"),
        ("delete", {"reference": "v1"}, "Tag deleted"),
        ("delete", {"blob": "sha256:" + "a" * 64}, "Blob deleted"),
        ("sign-in", {"method": "password"}, "Sign-in"),
        ("of.another.version", {}, "of.another.version"),
    ):
        assert event_names.title_of(kind, detail) == title


def test_the_audit_page_says_what_happened(town: Town) -> None:
    page = Browser(town, "admin").get("/logs/audit").text
    assert "Repository created" in page or "No events" in page
