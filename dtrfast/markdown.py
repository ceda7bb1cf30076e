"""READMEs: markdown of strangers, as HTML that runs nothing and loads nothing.

Some texts of 64 KB take CPU-seconds to render. A rule in front of each of the parser's rules looks
at the CPU time of the thread and ends the rendering when its time is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.token import Token

from dtrfast.oci import characters

log = logging.getLogger("dtrfast.markdown")

# It changes with everything that makes other HTML of the same text.
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
# Headings of a README stand below the page's own, which are two levels.
_HEADINGS = {f"h{level}": f"h{min(level + 2, 6)}" for level in range(1, 7)}
# A row of a table is parsed without a look at the time.
_CELLS_MAX = 500
# A text can name one long address many times.
_HTML_LENGTH_MAX = 1 << 20
_NEVER = float("inf")
_DEADLINE = "deadline"


class _Late(Exception):
    """Ends a parser. Not an error of the registry: nothing outside this file sees it."""


def _look_at_time(state: Any, *_: object) -> bool:
    """A rule that never matches. Inline rules get a flag, block rules two lines and a flag."""
    if time.thread_time() > state.env.get(_DEADLINE, _NEVER):
        raise _Late
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
    """Safe HTML of a text that the project wrote itself: it takes the time that it needs."""
    return _html(text, {})


def render(text: str, seconds: float) -> str | None:
    """Safe HTML of any text; None where that takes more CPU time, or more room, than is good."""
    if any(line.count("|") > _CELLS_MAX for line in text.splitlines()):
        return None
    try:
        return _html(text, {_DEADLINE: time.thread_time() + seconds})
    except _Late:
        return None
    except Exception:
        log.exception("a README could not be rendered; it is shown as plain text")
        return None


def _html(text: str, env: dict[str, Any]) -> str:
    """Images become links: a page that loads them tells their host who reads it."""
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
    if _DEADLINE in env:
        _check(tokens, length, env[_DEADLINE])
    html = _markdown.renderer.render(tokens, _markdown.options, env)
    # What scrolls is reached by the keyboard; a README has no attributes of its own.
    cleaned = _cleaner.clean(html.replace("<pre>", '<pre tabindex="0">'))
    # Markdown has references to characters, such as `&#x202e;`, that no saved text may hold.
    return characters.shown_lines(cleaned)


def _length(token: Token) -> int:
    """The length of the texts of a token."""
    own = len(token.content) + sum(len(str(value)) for value in token.attrs.values())
    return own + sum(map(_length, token.children or ()))


def _check(tokens: Sequence[Token], length: int, deadline: float) -> None:
    if length > _HTML_LENGTH_MAX or time.thread_time() > deadline:
        raise _Late
