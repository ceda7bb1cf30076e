"""Characters that mislead readers of a text are found, removed or replaced."""

from __future__ import annotations

import json

from dtrfast.oci import characters

# C0, C1, directions, zero width, invisible letters, tags, surrogates.
MISLEADING = (
    "\x00\x07\x08\x0b\x0c\x1b\x7f\x80\x9b\u061c\u200b\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff"
    "\u00ad\u180e\u3164\U000e0041\U000e007f\ud800\udfff"
)


def test_a_misleading_character() -> None:
    for one in MISLEADING:
        text, name = f"a{one}b", f"U+{ord(one):04X} "
        assert characters.find(text).startswith(name), name
        assert characters.find(text, is_line=False).startswith(name), name
        assert characters.cleaned(text) == characters.cleaned_lines(text) == "ab", name
        assert characters.shown(text) == characters.shown_lines(text) == "a\ufffdb", name


def test_the_end_of_a_line() -> None:
    for one in "\t\n\r\u2028\u2029":
        text = f" a{one}b "
        assert characters.find(text), ascii(one)
        assert not characters.find(text, is_line=False), ascii(one)
        assert characters.cleaned(text) == "a b", ascii(one)
        assert characters.shown(text) == " a\ufffdb ", ascii(one)
        assert characters.cleaned_lines(text) == characters.shown_lines(text) == text, ascii(one)


def test_a_text_of_any_script() -> None:
    scripts = ["", "Zoë Łukasiewicz", "山田 太郎", "a\u00a0b", "e\u0301"]
    # These scripts and emoji need joiners and variation selectors.
    scripts += ["دانیال\u200cپور", "👩\u200d💻 ❤\ufe0f"]
    for text in scripts:
        assert characters.find(text) == "", ascii(text)
        for change in (characters.cleaned, characters.cleaned_lines, characters.shown):
            assert change(text) == text, ascii(text)


def test_json_says_the_same_in_characters_that_a_terminal_shows() -> None:
    document = {"name": "a\x1b\x9b\u202e\u2028\U000e0041é\n"}
    text = characters.escaped_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(text) == document
    assert not characters.find(text, is_line=False)
    assert "é" in text
    assert text.count("\n") == 2
