"""Renders READMEs: untrusted Markdown becomes HTML that runs no scripts and loads nothing.

Some texts of 64 KB take seconds of CPU time to render. So the first rule of each of the parser's
rule chains checks the thread's CPU time and stops the rendering at a deadline.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.token import Token

from dtrfast.oci import characters

log = logging.getLogger("dtrfast.markdown")

# The version of the renderer. Increase it with every change that makes different HTML from a text.
RENDERER = 1

_TAGS = frozenset(
    (
        *("a", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "hr", "kbd", "li", "ol", "p", "pre", "s", "strong"),
        *("sub", "summary", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    )
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "th": {"align"},
    "td": {"align"},
    "ol": {"start"},
    "pre": {"tabindex"},
}
# The page itself has two levels of headings, so those of a README move down by two.
_HEADINGS = {f"h{level}": f"h{min(level + 2, 6)}" for level in range(1, 7)}
# The parser does not check the deadline inside a row of a table.
_CELLS_MAX = 500
# The HTML may be much longer than the text, for example if a text uses a long address many times.
_HTML_LENGTH_MAX = 1 << 20
_NEVER = float("inf")
_DEADLINE = "deadline"


class _RenderingStopped(Exception):
    """Stops the parser at the deadline. Never leaves this module."""


def _look_at_time(state: Any, *_: object) -> bool:
    """A parser rule that never matches; it checks the deadline.

    The parser passes a flag to inline rules, and two line numbers and a flag to block rules.
    """
    if time.thread_time() > state.env.get(_DEADLINE, _NEVER):
        raise _RenderingStopped
    return False


def _parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False})
    made.enable(["table", "strikethrough"])
    everywhere: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list", "table"]}
    made.block.ruler.before("table", _DEADLINE, _look_at_time, everywhere)
    made.inline.ruler.before("text", _DEADLINE, _look_at_time)
    made.inline.ruler2.before("balance_pairs", _DEADLINE, _look_at_time)  # type: ignore[arg-type]
    return made


_markdown = _parser()
_cleaner = nh3.Cleaner(
    tags=set(_TAGS),
    attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    strip_comments=True,
)


def to_html(text: str) -> str:
    """Return safe HTML of a text of this project, without a time limit."""
    return _html(text, {})


def render(text: str, seconds: float) -> str | None:
    """Return safe HTML of any text, or None if that fails.

    It fails if it takes more than `seconds` of CPU time, or if the result is too long.
    """
    if any(line.count("|") > _CELLS_MAX for line in text.splitlines()):
        return None
    try:
        return _html(text, {_DEADLINE: time.thread_time() + seconds})
    except _RenderingStopped:
        return None
    except Exception:
        log.exception("a README could not be rendered; it is shown as plain text")
        return None


def _html(text: str, env: dict[str, Any]) -> str:
    """Return safe HTML. Images become text, because loading one would tell its host who reads the
    page.
    """
    tokens = _markdown.parse(text, env)
    length = 0
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
        length += _length(token)
        for child in token.children or ():
            if child.type == "image":
                source, label = str(child.attrs.get("src", "")), child.content or "image"
                child.type, child.tag, child.content = "text", "", f"[{label}: {source}]"
                child.children, child.attrs = None, {}
    if _DEADLINE in env and (length > _HTML_LENGTH_MAX or time.thread_time() > env[_DEADLINE]):
        raise _RenderingStopped
    html = _markdown.renderer.render(tokens, _markdown.options, env)
    # Keyboard users can then scroll long blocks. The renderer's own `<pre>` never has attributes.
    cleaned = _cleaner.clean(html.replace("<pre>", '<pre tabindex="0">'))
    # Character references in Markdown, such as `&#x202e;`, can produce unsafe characters.
    return characters.shown_lines(cleaned)


def _length(token: Token) -> int:
    """Return the length of all texts of a token and its children."""
    own = len(token.content) + sum(len(str(value)) for value in token.attrs.values())
    return own + sum(map(_length, token.children or ()))
