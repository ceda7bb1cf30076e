"""Renders READMEs: untrusted Markdown becomes HTML that runs no scripts and loads nothing.

The dialect is that of GitHub: CommonMark with tables, strikethrough, task lists, bare addresses
that become links, and headings that links can name (`#install`).

Some texts of 64 KB take seconds of CPU time to render. So the first rule of each of the parser's
rule chains checks the thread's CPU time and stops the rendering at a deadline.
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from dtrfast.oci import characters

log = logging.getLogger("dtrfast.markdown")

# The version of the renderer. Increase it with every change that makes different HTML from a text.
RENDERER = 3

_TAGS = frozenset(
    (
        *("a", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em"),
        *(
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "input",
            "kbd",
            "label",
            "li",
            "ol",
            "p",
            "pre",
        ),
        *(
            "s",
            "strong",
            "sub",
            "summary",
            "sup",
            "table",
            "tbody",
            "td",
            "th",
            "thead",
            "tr",
            "ul",
        ),
    )
)
_ATTRIBUTES = {
    "a": {"href", "title", "aria-label"},
    **{f"h{level}": {"id"} for level in range(3, 7)},
    "input": {"type", "disabled", "checked"},
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
# Ids of headings begin with this, so they never equal an id of the page.
_ID_PREFIX = "readme-"
_TASK = re.compile(r"\[([ xX])\]\s+")
# A longer address stays text. The end of the text is checked for punctuation below.
_ADDRESS = re.compile(r"(?<![\w/@.-])(?:https?://|www\.)\w[^\s<>\"`]{1,2000}", re.IGNORECASE)
_AFTER_ADDRESS = frozenset("?!.,:;*_~'")
_NOT_IN_SLUGS = re.compile(r"[^\w -]")
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
    for rule in (_link_addresses, _make_tasks, _name_headings):
        made.core.ruler.push(rule.__name__, rule)
    return made


def _texts(state: StateCore) -> Iterator[tuple[Token, Token, list[Token]]]:
    """Yield each token with running text, with the token before it and its parts."""
    for before, token in zip(state.tokens, state.tokens[1:], strict=False):
        if token.type == "inline" and token.children:
            _look_at_time(state)
            yield before, token, token.children


def _link_addresses(state: StateCore) -> None:
    """A parser rule: bare addresses become links, except in links."""
    for _, token, parts in _texts(state):
        if "://" not in token.content and "www." not in token.content.lower():
            continue
        made: list[Token] = []
        depth = 0
        for part in parts:
            depth += part.nesting if part.tag == "a" else 0
            made += [part] if depth or part.type != "text" else _linked(state, part)
        token.children = made


def _linked(state: StateCore, text: Token) -> Iterator[Token]:
    """Yield the parts of a text, in which each address is a link."""
    end = 0
    for found in _ADDRESS.finditer(text.content):
        _look_at_time(state)
        address = _without_punctuation(found[0])
        url = state.md.normalizeLink(address if "://" in address else f"http://{address}")
        if not state.md.validateLink(url):
            continue
        yield Token("text", "", 0, content=text.content[end : found.start()])
        yield Token("link_open", "a", 1, {"href": url})
        yield Token("text", "", 0, content=address)
        yield Token("link_close", "a", -1)
        end = found.start() + len(address)
    yield Token("text", "", 0, content=text.content[end:])


def _without_punctuation(address: str) -> str:
    """Return an address without the punctuation of the sentence around it."""
    end = len(address)
    closed = address.count(")") - address.count("(")
    while end and (address[end - 1] in _AFTER_ADDRESS or (address[end - 1] == ")" and closed > 0)):
        closed -= address[end - 1] == ")"
        end -= 1
    return address[:end]


def _make_tasks(state: StateCore) -> None:
    """A parser rule: `[ ]` and `[x]` at the beginning of a list's entry become a disabled check
    box. The text of the entry is its label.
    """
    outer = ""
    for before, token in zip(state.tokens, state.tokens[1:], strict=False):
        if token.type == "inline" and outer == "list_item_open" and token.children:
            first = token.children[0]
            found = _TASK.match(first.content) if first.type == "text" else None
            if found is not None:
                first.content = first.content[found.end() :]
                box = Token("task", "input", 0)
                box.attrs = {"type": "checkbox", "disabled": ""}
                if found[1] != " ":
                    box.attrs["checked"] = ""
                token.children = [
                    Token("label_open", "label", 1),
                    box,
                    Token("text", "", 0, content=" "),
                    *token.children,
                    Token("label_close", "label", -1),
                ]
        outer = before.type


def _name_headings(state: StateCore) -> None:
    """A parser rule: each heading gets an id made of its text, and a link to itself."""
    used: Counter[str] = Counter()
    for heading, token, parts in _texts(state):
        if heading.type != "heading_open":
            continue
        text = "".join(part.content for part in parts if part.type in ("text", "code_inline"))
        slug = _NOT_IN_SLUGS.sub("", text.lower()).replace(" ", "-")
        name = slug
        while name in used:  # another heading may have the text `Step 1`
            name = f"{slug}-{used[slug]}"
            used[slug] += 1
        used[name] = 1
        heading.attrSet("id", _ID_PREFIX + name)
        token.children = [
            *parts,
            Token("link_open", "a", 1, {"href": f"#{name}", "aria-label": f"Link to {text}"}),
            Token("text", "", 0, content="#"),
            Token("link_close", "a", -1),
        ]


_markdown = _parser()
_cleaner = nh3.Cleaner(
    tags=set(_TAGS),
    attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    # The parser makes no other field. If it ever does, it is a check box, and off.
    set_tag_attribute_values={"input": {"type": "checkbox", "disabled": ""}},
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
            target = str(child.attrs.get("href", ""))
            if target.startswith("#") and len(target) > 1:
                child.attrs["href"] = f"#{_ID_PREFIX}{target[1:]}"
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
