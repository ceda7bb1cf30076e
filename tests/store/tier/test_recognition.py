"""Layers that the tier takes, and the reasons for which others stay as they are."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from dtrfast.index.tables import LAYERS, RECIPES, REPLAYS_UNFINISHED
from dtrfast.oci.digests import Digest
from dtrfast.store.store import Store
from dtrfast.store.tier import candidates, gzip_frame, plain_source, recognition, status
from dtrfast.store.tier.encoding import ENCODERS, encode_next
from dtrfast.store.tier.gzip_frame import GzipHeader, parse_header
from tests.store.conftest import files_below, pull, push
from tests.store.test_scrub import findings
from tests.store.tier.layers import (
    content_of,
    convert,
    evict,
    keys,
    layer,
    plain_layer,
    replay_of,
    tar,
    text,
    tidy,
)

FIXED = b"\x1f\x8b\x08%c\x01\0\0\0\x04\xff"


def test_headers_of_all_forms() -> None:
    extra, name, comment, checksum = b"\x03\0abc", b"name\0", b"a comment\0", b"cs"
    forms = {
        0: b"",
        1: b"",  # FTEXT says nothing about the form
        2: checksum,
        4: extra,
        8: name,
        16: comment,
        8 | 16: name + comment,
        2 | 4 | 8 | 16: extra + name + comment + checksum,
        4 | 8: b"\0\0" + b"\0",
    }
    for flags, rest in forms.items():
        data = FIXED % flags + rest
        found = parse_header(data + b"deflate")
        assert found == GzipHeader(len(data), 4, 255), flags
        for size in range(len(data)):
            assert parse_header(data[:size]) is None, (flags, size)
    for data in (b"", b"\x1f\x8b\x07" + bytes(20), b"PK\x08" + bytes(20), FIXED % 0x20 + bytes(9)):
        assert parse_header(data) is None, data


def test_candidates_by_header_and_tail() -> None:
    stored, pgzip, other = b"\0\0\0\xff\xff", b"\0\0\0\xff\xff\x03\0", b"some bytes"
    stored = b"\x01" + stored
    cases: list[tuple[GzipHeader, bytes, list[int]]] = [
        (GzipHeader(10, 0, 255), stored, [1, 9, 6]),
        (GzipHeader(10, 0, 255), pgzip, [3, 4, 8, 5, 9, 6]),
        (GzipHeader(10, 0, 255), other, [9, 6]),
        (GzipHeader(10, 4, 255), stored, [2, 7]),
        (GzipHeader(10, 4, 255), other, [7]),
        (GzipHeader(10, 0, 3), other, [9, 10, 11]),
        (GzipHeader(10, 0, 0), other, [9, 10, 11]),
        (GzipHeader(10, 4, 3), other, []),
        (GzipHeader(10, 0, 7), other, []),
    ]
    for header, tail, ids in cases:
        assert list(recognition.candidates(header, tail)) == ids, (header, tail)


def flip(body: bytes, at: int) -> bytes:
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]


WHOLE = layer()
STORED_ONLY = gzip.compress(random.Random(3).randbytes(300_000), 6, mtime=0)
ODD: dict[str, tuple[Callable[[], bytes], str]] = {
    "level 9": (lambda: gzip.compress(plain_layer(), 9, mtime=0), recognition.BEST_COMPRESSION),
    "level 1": (lambda: gzip.compress(plain_layer(), 1, mtime=0), recognition.UNKNOWN_ENCODER),
    "level 1 that says 6": (
        lambda: WHOLE[:10] + zlib.compress(plain_layer(), 1)[2:-4] + WHOLE[-8:],
        recognition.UNKNOWN_ENCODER,
    ),
    "several members": (lambda: WHOLE + WHOLE, recognition.SEVERAL_MEMBERS),
    "two short members": (
        lambda: gzip.compress(text(1, 30_000), 6, mtime=0) * 2,
        recognition.SEVERAL_MEMBERS,
    ),
    "trailing bytes": (lambda: WHOLE + b"x", recognition.TRAILING_BYTES),
    "trailing zeros": (lambda: WHOLE + bytes(600), recognition.TRAILING_BYTES),
    "cut off": (lambda: WHOLE[:-2000], recognition.BROKEN),
    "cut off in the trailer": (lambda: WHOLE[:-3], recognition.BROKEN),
    "no deflate": (lambda: WHOLE[:10] + b"\xff" * 9000, recognition.BROKEN),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + bytes(9000), recognition.NO_GZIP),
    "only a header": (lambda: b"\x1f\x8b\x08\x08" + b"x" * 9000, recognition.NO_GZIP),
    "a header and 8 bytes": (
        lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"x" * 9000 + b"\0" + bytes(7),
        recognition.NO_GZIP,
    ),
    "other bits at the end": (
        lambda: flip(WHOLE, len(WHOLE) - 9000),
        recognition.UNKNOWN_ENCODER,
    ),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("with_first", [True, False])
def test_odd_layers_stay_whole(store: Store, kind: str, with_first: bool) -> None:
    make, reason = ODD[kind]
    body = make()
    digest = push(store.blobs, body)
    result = convert(store, with_first=with_first)
    assert result.failed == []
    if kind == "other bits at the end":
        # Different bits may also be no deflate stream at all.
        reason = next(iter(result.kept))
        assert reason in (recognition.UNKNOWN_ENCODER, recognition.BROKEN)
    assert result.kept == {reason: 1}
    assert result.layers == 0
    assert evict(store).layers == 0
    assert pull(store.blobs, digest) == body
    assert [(one.state, one.reason) for one in store.tier_figures()] == [("whole", reason)]
    assert keys(store, REPLAYS_UNFINISHED) == []
    tidy(store)
    assert len(keys(store, RECIPES)) == 1
    assert findings(store) == []


def test_a_new_encoder_looks_at_a_layer_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = push(store.blobs, layer())
    zlib_encoder = ENCODERS.pop(9)
    try:
        assert convert(store).kept == {recognition.UNKNOWN_ENCODER: 1}
        assert convert(store).kept == {recognition.UNKNOWN_ENCODER: 1}
    finally:
        ENCODERS[9] = zlib_encoder
    assert convert(store).layers == 1
    monkeypatch.delitem(ENCODERS, 9)
    assert evict(store).layers == 0, "a version without the encoder keeps the file"
    assert pull(store.blobs, digest) == layer()


def test_the_longest_block_of_gzip_is_recognized(store: Store) -> None:
    """32767 matches of 258 bytes are one block, behind others with nearly 2 MiB."""
    plain = text("before", 2_050_000) + bytes(32767 * 258) + text("behind", 50_000)
    made = encode_next(
        ENCODERS[recognition.GNU_GZIP],
        lambda first, last: plain[first:last],
        len(plain),
        0,
        b"",
        len(plain),
    )
    trailer = zlib.crc32(plain).to_bytes(4, "little") + len(plain).to_bytes(4, "little")
    body = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + made.data + trailer
    push(store.blobs, body)
    assert convert(store).layers == 1
    assert [one.encoder for one in store.tier_figures()] == ["gnu-gzip"]


# ---- bad input -----------------------------------------------------------------------------------
def test_bombs_stay_whole(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_source, "_RATIO_FREE_SIZE", 1 << 20)
    body = gzip.compress(bytes(20 << 20), 6, mtime=0)
    digest = push(store.blobs, body)
    assert len(body) * plain_source.RATIO_MAX < 20 << 20
    assert convert(store).kept == {plain_source.TOO_COMPRESSIBLE: 1}
    assert pull(store.blobs, digest) == body
    assert convert(store, with_first=False).kept == {plain_source.TOO_COMPRESSIBLE: 1}
    tidy(store)
    assert store.statistics().packs == 0
    assert findings(store) == []


def test_more_plain_bytes_than_the_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_source, "PLAIN_SIZE_MAX", len(plain_layer()) - 1)
    push(store.blobs, layer())
    assert convert(store).kept == {plain_source.TOO_LARGE: 1}
    assert findings(store) == []
    monkeypatch.setattr(plain_source, "PLAIN_SIZE_MAX", len(plain_layer()))
    other = push(store.blobs, layer(0, 1))
    assert convert(store).layers == 1
    assert replay_of(store, other).plain_size == len(plain_layer(0, 1))


def spoil(data: Path, at: int) -> None:
    """Change a byte of the only loose file."""
    (name,) = files_below(data, "blobs")
    path = data / "blobs" / name[-1] / name
    body = path.read_bytes()
    path.write_bytes(flip(body, at))


@pytest.mark.parametrize(
    "place", ["mtime", "a literal near the end", "the end of the stream", "checksum"]
)
def test_a_damaged_file_is_reported_and_left(store: Store, data: Path, place: str) -> None:
    plain = text("head", 600_000)
    body = gzip.compress(plain, 6, mtime=0)
    digest = push(store.blobs, body)
    at = {
        "mtime": 5,
        "a literal near the end": len(body) - 700,
        "the end of the stream": len(body) - 10,
        "checksum": len(body) - 8,
    }[place]
    spoil(data, at)
    result = convert(store)
    ((named, reason),) = result.failed
    assert named == digest
    assert "another digest" in reason
    assert result.layers == 0
    assert keys(store, REPLAYS_UNFINISHED) == []
    assert content_of(store, digest).content.kind == "loose"
    tidy(store)
    assert files_below(data, "packs") == []
    assert keys(store, LAYERS) == [], "no verdict comes from damaged bytes"
    spoil(data, at)
    assert convert(store).layers == 1, "the file is whole again"


def test_a_file_that_is_gone_or_short_is_reported(store: Store, data: Path) -> None:
    digest = push(store.blobs, layer())
    (name,) = files_below(data, "blobs")
    path = data / "blobs" / name[-1] / name
    path.write_bytes(layer()[:-5000])
    for with_first in (True, False):
        assert [named for named, _ in convert(store, with_first=with_first).failed] == [digest]
    path.unlink()
    assert [named for named, _ in convert(store).failed] == [digest]
    assert keys(store, REPLAYS_UNFINISHED) == []


# ---- the choice ----------------------------------------------------------------------------------
def test_a_first_version_waits_for_the_second(store: Store) -> None:
    push(store.blobs, layer())
    assert convert(store, with_first=False).kept == {"first version": 1}
    lonely = push(store.blobs, gzip.compress(tar([("x", text("x", 500_000))]), 6, mtime=0))
    assert convert(store, with_first=False).kept == {"first version": 2}
    reasons = {(one.reason, one.encoder): one.layers for one in store.tier_figures()}
    assert reasons == {("first version", "zlib"): 2}
    push(store.blobs, layer(1, 9))
    result = convert(store, with_first=False)
    assert (result.layers, result.kept) == (2, {"first version": 1})
    third = push(store.blobs, layer(2, 99))
    assert convert(store, with_first=False).layers == 1
    assert replay_of(store, third)
    assert convert(store).layers == 1
    assert replay_of(store, lonely)


def test_only_some_layers_are_converted_and_evicted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [push(store.blobs, layer(n)) for n in range(2)]
    assert convert(store, digests[:1]).layers == 1
    assert convert(store, [Digest.of_bytes(b"never")]).layers == 0
    assert evict(store, digests[1:]).layers == 0
    assert evict(store, digests).layers == 1
    monkeypatch.setattr(candidates, "SIZE_MIN", gzip_frame.HEADER_SIZE_MAX * 100)
    states = {(one.state, one.reason) for one in store.tier_figures()}
    assert states == {("evicted", ""), ("whole", status.TOO_SMALL)}


def test_layers_of_the_last_day_are_not_evicted(store: Store) -> None:
    push(store.blobs, layer())
    convert(store)
    pushed_at = store._context.clock()
    for before, layers_evicted in ((pushed_at, 0), (pushed_at + 1, 1)):
        work = store.tier_run()
        list(work.evict(None, pushed_before=before))
        assert work.result.layers == layers_evicted
