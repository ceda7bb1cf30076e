from __future__ import annotations

import pytest

from dtrfast.errors import NameInvalid, TagInvalid
from dtrfast.oci.names import RepositoryName, Tag


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "0",
        "team/app",
        "team/app/cache",
        "a.b",
        "a_b",
        "a__b",
        "a-b",
        "a-----b",
        "a.b_c__d---e/f",
        "team/blobs/uploads",
        "manifests",
        "a" * 255,
        "/".join("a" * 128),
    ],
)
def test_a_name_of_the_grammar_is_kept_as_it_is(text: str) -> None:
    assert RepositoryName.parse(text) == RepositoryName(text)
    assert str(RepositoryName.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "A",
        "team/App",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "a._b",
        "a-_b",
        "-a",
        "a-",
        "_catalog",
        "a b",
        "a\n",
        "a:b",
        "a@b",
        "é",
        "٣",
        "\udc80",
        "../a",
    ],
)
def test_a_name_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid, match="is not a repository name: use"):
        RepositoryName.parse(text)


def test_a_long_name_is_refused_with_its_length() -> None:
    with pytest.raises(NameInvalid, match="at most 255 characters, this one 256"):
        RepositoryName.parse("a" * 256)


def test_names_sort_by_their_text() -> None:
    assert RepositoryName("a-b") < RepositoryName("a/b")


@pytest.mark.parametrize(
    "text", ["latest", "v1.2.3", "_x", "A", "a-._", "sha256-" + "0" * 64 + ".sig", "a" * 128]
)
def test_a_tag_of_the_grammar_is_kept_as_it_is(text: str) -> None:
    assert Tag.parse(text) == Tag(text)
    assert str(Tag.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", ".a", "-a", "a/b", "a:b", "a+b", "a b", "a\n", "é", "a" * 129, "\udc80"]
)
def test_a_tag_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(TagInvalid, match="is not a tag: use 1 to 128"):
        Tag.parse(text)


def test_the_case_of_a_tag_matters() -> None:
    assert Tag.parse("Latest") != Tag.parse("latest")


def test_a_refusal_repeats_only_the_start_of_a_tag() -> None:
    with pytest.raises(TagInvalid) as caught:
        Tag.parse("/" * 10_000)
    assert len(str(caught.value)) < 250
