"""READMEs: markdown that anybody may write, as HTML that runs nothing and loads nothing."""

from __future__ import annotations

from functools import lru_cache

import nh3
from markdown_it import MarkdownIt

from dtrfast.oci import characters

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
# READMEs of busy pages; an entry is the text and about twice as much HTML.
_KEPT_MAX = 64

_markdown = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(
    ["table", "strikethrough"]
)
_cleaner = nh3.Cleaner(
    tags=set(_TAGS),
    attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    strip_comments=True,
)


@lru_cache(_KEPT_MAX)
def to_html(text: str) -> str:
    """Safe HTML. Images become links: a page that loads them tells their host who reads it."""
    tokens = _markdown.parse(text)
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
        for child in token.children or ():
            if child.type == "image":
                source, label = str(child.attrs.get("src", "")), child.content or "image"
                child.type, child.tag, child.content = "text", "", f"[{label}: {source}]"
                child.children, child.attrs = None, {}
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    # What scrolls is reached by the keyboard; a README has no attributes of its own.
    cleaned = _cleaner.clean(html.replace("<pre>", '<pre tabindex="0">'))
    # Markdown has references to characters, such as `&#x202e;`, that no saved text may hold.
    return characters.shown_lines(cleaned)
