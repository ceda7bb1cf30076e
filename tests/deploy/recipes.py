"""Recipes of docs/install.md, for tests that run them as they are written."""

import re
import textwrap

from tests.e2e.programs import PROJECT


def block(heading: str, having: str) -> str:
    """Return the one block of commands below a heading that has a text."""
    page = (PROJECT / "docs/install.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    blocks = re.findall(r"(?:^ {4}.*\n)+", section, re.M)
    (found,) = (textwrap.dedent(one) for one in blocks if having in one)
    return found


def without(recipe: str, *texts: str) -> str:
    """Return a recipe without the lines that have one of the texts."""
    lines = recipe.splitlines(keepends=True)
    kept = [line for line in lines if not any(text in line for text in texts)]
    assert len(kept) == len(lines) - len(texts), recipe
    return "".join(kept)


def replaced(recipe: str, **values: str) -> str:
    """Return a recipe with values in place of its words in capitals, such as HOST."""
    for name, value in values.items():
        assert re.search(rf"\b{name}\b", recipe), f"no {name} in {recipe}"
        recipe = re.sub(rf"\b{name}\b", value, recipe)
    return recipe
