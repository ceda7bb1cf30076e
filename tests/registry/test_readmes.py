"""READMEs are rendered once, when they are saved or by the housekeeper, within a time limit."""

from __future__ import annotations

import re

import pytest

from dtrfast import markdown
from dtrfast.index.tables import READMES, READMES_HTML, READMES_WAITING, number_key
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import readmes, repositories
from dtrfast.registry.readmes import ReadmeBacklog
from dtrfast.registry.records import RepositoryChange
from dtrfast.registry.writing import Author
from tests.fakes.engine import MemoryEngine
from tests.walks import costs

APP = RepositoryName("acme/app")
AUTHOR = Author("owen", 1)
LENGTH = 65_536
# Texts that made the parser work for CPU-seconds, and texts for which single rules run long.
HOSTILE = {
    "open images": "![",
    "open links": "[a](",
    "emphasis": "*a **b _c ",
    "strikethrough": "~~a",
    "backslashes": "\\",
    "entities": "&amp;",
    "autolinks": "<http://a",
    "comments": "<!--",
    "headings": "# a\n",
    "lists": "1)\n",
    "quotes in lists": "- > a\n",
    "tables": "a|b\n-|-\n",
    "blank lines": "\n",
    "closing brackets": "[]",
    "nested images": "![a",
    "bare addresses": "http://a ",
    "tasks": "- [ ] a\n",
    "equal headings": "# a\n\n",
}
SPECIAL = {
    "one address, many names": "[a]: /" + "u" * 30_000 + "\n\n" + "[a] " * 8_000,
    "wide table": "|a" * 9_000 + "\n" + "|-" * 9_000 + "\n" + "|b" * 9_000,
    "table with short rows": "|a" * 450 + "\n" + "|-" * 450 + "\n" + "b\n" * 30_000,
    "one long address": "http://a" + ")" * 60_000,
    "images in images": "![" * 5_000 + "a" + "](b)" * 5_000,
}
TEXTS = {**{name: part * (LENGTH // len(part)) for name, part in HOSTILE.items()}, **SPECIAL}


@pytest.fixture
def engine() -> MemoryEngine:
    made = MemoryEngine()
    made.write(lambda transaction: repositories.create(transaction, APP, AUTHOR))
    return made


def save(engine: MemoryEngine, text: str) -> None:
    rendering = readmes.render(text)
    engine.write(
        lambda transaction: repositories.update(
            transaction, APP, AUTHOR, RepositoryChange(readme=text), rendering
        )
    )


def html(engine: MemoryEngine) -> str:
    with engine.read() as transaction:
        return readmes.html(transaction, repositories.get(transaction, APP))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_rendering_ends_when_its_time_is_over(text: str) -> None:
    found: list[str | None] = []
    # A single rule may exceed the limit by some hundredths of a second.
    rendering = costs.measure("render", lambda: found.append(markdown.render(text, 0.01)))
    assert rendering.share < 2, rendering
    assert found[0] is None or len(found[0]) < 2 << 20


def test_a_readme_is_rendered_when_it_is_saved(engine: MemoryEngine) -> None:
    save(engine, "# Hello\n\n*you*")
    assert html(engine).startswith('<h3 id="readme-hello">Hello')
    assert html(engine).endswith("</h3>\n<p><em>you</em></p>\n")
    save(engine, "")
    assert html(engine) == ""
    assert ReadmeBacklog(engine).step() == 1
    assert html(engine) == ""


def test_what_takes_long_waits_for_the_housekeeper_and_then_stays_plain(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(engine, TEXTS["open images"])
    assert html(engine) == ""
    backlog = ReadmeBacklog(engine)
    monkeypatch.setattr(readmes, "_WAITING_SECONDS", 0.01)
    assert backlog.step() == 1
    with engine.read() as transaction:
        assert not list(transaction.scan(READMES_WAITING))
        assert list(transaction.scan(READMES_HTML))
    # The housekeeper does not try it again.
    assert html(engine) == ""
    monkeypatch.setattr(markdown, "render", None)
    while backlog.step():
        pass


def test_the_housekeeper_renders_what_other_versions_saved(
    engine: MemoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = number_key(1)
    with engine.read() as transaction:
        assert repositories.get(transaction, APP) == 1
    engine.write(lambda transaction: transaction.put(READMES, key, b"*old*"))
    backlog = ReadmeBacklog(engine)
    while backlog.step():
        pass
    assert html(engine) == "<p><em>old</em></p>\n"
    monkeypatch.setattr(markdown, "RENDERER", markdown.RENDERER + 1)
    assert html(engine) == ""
    assert ReadmeBacklog(engine).step() == 1
    assert html(engine) == "<p><em>old</em></p>\n"


def test_a_rendering_holds_for_its_text_only(engine: MemoryEngine) -> None:
    save(engine, "one")
    engine.write(lambda transaction: transaction.put(READMES, number_key(1), b"two"))
    assert html(engine) == ""


def test_each_heading_has_an_id_of_its_own() -> None:
    text = "# Step\n\n# Step\n\n# Step 1\n\n# Step 1\n\n# Step-2\n\n# Step\n"
    ids = re.findall(r'id="readme-([^"]*)"', markdown.to_html(text))
    assert ids == ["step", "step-1", "step-1-1", "step-1-2", "step-2", "step-3"]
