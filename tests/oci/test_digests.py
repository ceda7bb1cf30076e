from __future__ import annotations

import hashlib

import pytest

from dtrfast.errors import Corrupt, DigestInvalid, TagInvalid
from dtrfast.oci.digests import (
    ALGORITHMS,
    Algorithm,
    Digest,
    keys_of,
    parse_algorithm,
    parse_reference,
)
from dtrfast.oci.names import Tag

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SHA512 = "sha512:" + "0f" * 64


@pytest.mark.parametrize("text", [EMPTY, SHA512])
def test_a_digest_is_written_as_it_was_read(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == text
    assert f"{digest.algorithm}:{digest.hex}" == text


@pytest.mark.parametrize(
    "texts",
    [
        [SHA512],
        [EMPTY, SHA512],
        [EMPTY, ""],
        [f"{EMPTY}\n{EMPTY}"],
        [f"{EMPTY}\n{EMPTY}", ""],
        [EMPTY[:-1], EMPTY[-1] + EMPTY],
        [EMPTY.upper()],
        [EMPTY, EMPTY[7:]],
        [EMPTY.replace("e3", "e 3")],
        [EMPTY.replace("3", "\u0663", 1)],
        [f"{EMPTY[:20]}sha256:{EMPTY[20:]}", EMPTY[7:]],
    ],
)
def test_many_digests_are_parsed_at_once_where_all_are_strict(texts: list[str]) -> None:
    assert Digest.parse_many(texts) is None
    assert Digest.parse_many([EMPTY, EMPTY]) == [Digest.parse(EMPTY)] * 2


def test_keys_of_many_digests_are_those_of_each() -> None:
    digests = [Digest.parse(EMPTY), Digest.parse(SHA512)]
    assert keys_of(digests, b"x") == [b"x" + digest.key() for digest in digests]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_digest_of_bytes_is_the_hash_of_the_standard_library(algorithm: Algorithm) -> None:
    digest = Digest.of_bytes(memoryview(b"content"), algorithm)
    assert digest.raw == hashlib.new(algorithm, b"content").digest()


def test_the_default_algorithm_is_sha256() -> None:
    assert str(Digest.of_bytes(b"")) == EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        ":" + "0" * 64,
        "sha256 " + "0" * 64,
        " " + EMPTY,
        EMPTY + "\n",
        "sha256:" + "٣" * 64,
        "\udc80",
        "x" * 10_000,
    ],
)
def test_what_is_no_digest_is_called_malformed(text: str) -> None:
    with pytest.raises(DigestInvalid, match="is not a digest: write the algorithm") as caught:
        Digest.parse(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("sha256:totallywrong", 64),
        ("sha256:" + "0" * 63, 64),
        ("sha256:" + "0" * 65, 64),
        ("sha256:" + "0" * 128, 64),
        ("sha256:" + "g" * 64, 64),
        (EMPTY.upper().replace("SHA", "sha"), 64),
        ("sha512:" + "0" * 64, 128),
    ],
)
def test_a_digest_with_wrong_digits_is_told_how_many_it_needs(text: str, count: int) -> None:
    with pytest.raises(DigestInvalid, match=f"has exactly {count} lower-case hex digits"):
        Digest.parse(text)


@pytest.mark.parametrize(
    "text", ["blake3:" + "0" * 64, "md5:" + "0" * 32, "sha256+b64u:LCa0a2j_xo"]
)
def test_another_algorithm_is_called_unsupported(text: str) -> None:
    with pytest.raises(DigestInvalid, match="is not supported: use sha256 or sha512"):
        Digest.parse(text)


@pytest.mark.parametrize(("text", "prefix"), [(EMPTY, b"\x01"), (SHA512, b"\x02")])
def test_a_key_is_one_byte_and_the_raw_digest(text: str, prefix: bytes) -> None:
    digest = Digest.parse(text)
    assert digest.key() == prefix + digest.raw
    assert Digest.from_key(digest.key()) == digest


@pytest.mark.parametrize(
    "key", [b"", b"\x01", b"\x01" + bytes(31), b"\x01" + bytes(64), b"\x02" + bytes(32), bytes(33)]
)
def test_a_key_that_no_digest_has_is_corrupt(key: bytes) -> None:
    with pytest.raises(Corrupt, match="is not the key of a digest"):
        Digest.from_key(key)


def test_equal_digests_are_one_entry_of_a_set() -> None:
    assert len({Digest.parse(EMPTY), Digest.of_bytes(b""), Digest.parse(SHA512)}) == 2


@pytest.mark.parametrize("text", ALGORITHMS)
def test_a_supported_algorithm_is_taken(text: str) -> None:
    assert parse_algorithm(text) == text


@pytest.mark.parametrize("text", ["", "SHA256", "sha384", "sha256:", "x" * 10_000])
def test_another_algorithm_than_the_supported_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid, match="is not supported: use sha256 or sha512"):
        parse_algorithm(text)


def test_a_reference_is_a_digest_or_a_tag() -> None:
    assert parse_reference(EMPTY) == Digest.of_bytes(b"")
    assert parse_reference(EMPTY.replace(":", "-")) == Tag(EMPTY.replace(":", "-"))


def test_a_bad_reference_with_a_colon_is_a_bad_digest() -> None:
    with pytest.raises(DigestInvalid):
        parse_reference("sha256:totallywrong")
    with pytest.raises(TagInvalid):
        parse_reference(".INVALID_MANIFEST_NAME")
