"""Ids, windows and checkpoint states of encoders stay: recipes on disk have them."""

import base64
import mmap
import sys

import pytest

from dtrfast._core import encoders, replay
from tests.ext.replay_segments import Encoder
from tests.ext.replay_states import golden_rows, segment_sha256, states_sha256

ENCODERS = (
    (1, "go-default", 32768, 258),
    (2, "go-best-speed", 32768, 0),
    (3, "pgzip-k2", 16384, 0),
    (4, "pgzip-k1", 16384, 0),
    (5, "pgzip-k3", 16384, 0),
    (6, "go127-default", 32768, 0),
    (7, "go127-best-speed", 32768, 0),
    (8, "pgzip-k2a", 16384, 0),
    (9, "zlib", 32506, 258),
    (10, "gnu-gzip", 32761, 258),
    (11, "pigz", 32506, 0),
)

each_encoder = pytest.mark.parametrize(
    "chosen", [Encoder(*row) for row in ENCODERS], ids=lambda chosen: chosen.name
)


def test_encoders_keep_their_ids() -> None:
    """Stored layers name an encoder by its id, and cut its windows by these numbers."""
    assert encoders()[: len(ENCODERS)] == ENCODERS


def test_each_encoder_has_a_golden_state() -> None:
    assert list(golden_rows()) == [row[1] for row in encoders()]


@each_encoder
def test_states_keep_their_layout(chosen: Encoder) -> None:
    assert states_sha256(chosen) == golden_rows()[chosen.name]["states_sha256"]


@each_encoder
def test_a_stored_state_leads_to_the_same_bytes(chosen: Encoder) -> None:
    row = golden_rows()[chosen.name]
    state = base64.b64decode(row["state"])
    assert segment_sha256(chosen, row["position"], state) == row["segment_sha256"]


@pytest.mark.parametrize("size_max", [-1, (1 << 32) + 1, sys.maxsize - 7, sys.maxsize])
def test_sizes_out_of_range_are_refused(size_max: int) -> None:
    with pytest.raises(ValueError, match="size is out of range"):
        replay(1, b"", begin=0, total=0, state=b"", stop=0, size_max=size_max)


@pytest.mark.parametrize("number", [6, 7])
def test_windows_above_512_mib_are_refused(number: int) -> None:
    """Positions of these encoders have 32 bits. The memory is never touched."""
    size = (1 << 29) + 1
    with mmap.mmap(-1, size) as plain, pytest.raises(ValueError, match="state"):
        replay(number, plain, begin=0, total=size, state=b"", stop=0, size_max=1 << 20)
