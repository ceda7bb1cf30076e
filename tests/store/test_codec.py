"""Damaged frames are corrupt chunks, whatever size they state."""

from __future__ import annotations

import struct

import pytest
import zstandard

from dtrfast.errors import Corrupt
from dtrfast.store import codec


def test_a_frame_that_says_that_it_is_huge_is_corrupt() -> None:
    """The library would allocate the stated size first, whatever the limit."""
    content = b"the same again " * 1000
    frame = codec.compress(content)
    assert codec.decompress(frame, len(content)) == content
    for size in (200 << 20, 1 << 40, 1 << 62):
        huge = frame[:4] + b"\xe0" + struct.pack("<Q", size) + frame[7:]
        assert zstandard.frame_content_size(huge) == size
        with pytest.raises(Corrupt):
            codec.decompress(huge, len(content))
    for damaged in (b"", frame[:4], frame[:-1], frame[1:], b"\xff" * 40):
        with pytest.raises(Corrupt):
            codec.decompress(damaged, len(content))
