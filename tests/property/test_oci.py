"""For any text of a client the parsers return a value, or raise the error of a malformed one."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtrfast.errors import (
    DigestInvalid,
    ManifestInvalid,
    NameInvalid,
    PageInvalid,
    RangeInvalid,
    RangesTooMany,
    TagInvalid,
)
from dtrfast.oci.digests import ALGORITHMS, Digest, parse_algorithm, parse_reference
from dtrfast.oci.manifests import parse_manifest, referrer_descriptor, referrers_index
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST, parse_media_type
from dtrfast.oci.names import RepositoryName
from dtrfast.oci.pages import parse_count
from dtrfast.oci.ranges import Range, frame_multipart, parse_chunk_range, parse_range

words = st.text("abz09", min_size=1, max_size=4)
separators = st.sampled_from([".", "_", "__", "-", "---", "/"])
digests = st.builds(Digest.of_bytes, st.binary(max_size=8), st.sampled_from(ALGORITHMS))
sizes = st.integers(0, 2**63 - 1)
near_ranges = st.text("0123456789-, =bytes\t", max_size=60).map("bytes=".__add__)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
descriptors = st.fixed_dictionaries(
    {"digest": digests.map(str) | st.text(max_size=9), "size": st.integers(-1)},
    optional={"mediaType": json_values, "urls": json_values},
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.just(2) | json_values,
        "mediaType": st.sampled_from([OCI_MANIFEST, OCI_INDEX]) | json_values,
        "artifactType": json_values,
        "config": descriptors | json_values,
        "layers": st.lists(descriptors, max_size=3) | json_values,
        "blobs": json_values,
        "manifests": st.lists(descriptors, max_size=3) | json_values,
        "subject": descriptors | json_values,
        "annotations": st.dictionaries(st.text(max_size=3), st.text(max_size=3)) | json_values,
        "unknown": json_values,
    },
)


@given(st.text())
def test_any_text_is_a_value_or_refused(text: str) -> None:
    with suppress(NameInvalid):
        assert RepositoryName.parse(text).text == text
    with suppress(DigestInvalid, TagInvalid):
        assert str(parse_reference(text)) == text
    with suppress(DigestInvalid):
        assert parse_algorithm(text) == text
    with suppress(ManifestInvalid):
        assert parse_media_type(text).isascii()
    with suppress(PageInvalid):
        assert 0 <= parse_count(text, 100, 1000) <= 1000
    with suppress(RangeInvalid):
        assert parse_chunk_range(text).length > 0


@given(words, st.lists(st.tuples(separators, words), max_size=20))
def test_each_name_of_the_grammar_is_accepted(first: str, rest: list[tuple[str, str]]) -> None:
    text = first + "".join(separator + word for separator, word in rest)
    assert str(RepositoryName.parse(text)) == text


@given(digests)
def test_a_digest_survives_its_text_and_its_key(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest
    assert Digest.from_key(digest.key()) == digest
    assert hash(Digest.parse(str(digest))) == hash(digest)


@given(st.text() | near_ranges, sizes)
def test_no_range_lies_outside_its_blob(header: str, size: int) -> None:
    with suppress(RangeInvalid, RangesTooMany):
        ranges = parse_range(header, size)
        assert ranges is None or len(ranges) > 0
        for part in ranges or ():
            assert 0 <= part.start <= part.end < size


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_range_is_the_slice_that_python_takes(blob: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(blob) - 1))
    end = data.draw(st.integers(start, 2 * len(blob)))
    cut = blob[start : end + 1]
    part = Range(start, start + len(cut) - 1)
    assert parse_range(f"bytes={start}-{end}", len(blob)) == [part]
    assert part.length == len(cut)


@given(st.lists(st.tuples(sizes, sizes), min_size=2, max_size=5))
def test_a_multipart_answer_has_the_length_it_says(bounds: list[tuple[int, int]]) -> None:
    ranges = [Range(min(pair), max(pair)) for pair in bounds]
    frame = frame_multipart(ranges, 2**63, "b")
    assert len(frame.heads) == len(ranges)
    content = sum(part.end - part.start + 1 for part in ranges)
    assert frame.length == len(b"".join(frame.heads)) + content + len(frame.tail)


@given(st.binary() | st.binary().map(b'{"config":'.__add__), st.none() | st.text())
def test_any_body_is_a_manifest_or_refused(body: bytes, content_type: str | None) -> None:
    with suppress(ManifestInvalid):
        parse_manifest(body, content_type)


@pytest.mark.slow
@given(documents, st.sampled_from([None, OCI_MANIFEST, OCI_INDEX]), digests)
def test_what_is_accepted_can_be_listed(
    document: dict[str, object], content_type: str | None, digest: Digest
) -> None:
    with suppress(ManifestInvalid):
        manifest = parse_manifest(json.dumps(document).encode(), content_type)
        listed = referrers_index([referrer_descriptor(manifest, digest, 1)])
        entry = json.loads(listed)["manifests"][0]
        assert entry.get("annotations", {}) == manifest.annotations
        assert parse_manifest(listed, OCI_INDEX).children() == (digest,)
