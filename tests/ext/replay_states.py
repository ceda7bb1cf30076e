"""Checkpoint states of each encoder. Recipes on disk have such states, so they must never change.

`python -m tests.ext.replay_states` adds the states of new encoders to golden/encoders_states.json.
It never changes a row that is there.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import TypedDict

from dtrfast._core import encoders
from tests.ext.replay_segments import Encoder, Segment, run_segment, run_segments
from tests.ext.replay_streams import mixture

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders_states.json"
# pgzip has a checkpoint at each MiB.
_SIZES = dict.fromkeys(("pgzip-k1", "pgzip-k2", "pgzip-k2a", "pgzip-k3"), 1_200_000)
_SIZE = 500_000
# The checkpoint of the stored state: the first one behind this offset. The states of zlib and gzip
# there have a match that was found before the checkpoint.
_STORED_FROM = {"zlib": 320_000, "gnu-gzip": 400_000}
_STORED_FROM_OTHERS = 100_000


class GoldenRow(TypedDict):
    """A stored state, and digests of the segment from it and of all states of the stream."""

    position: int
    state: str
    segment_sha256: str
    states_sha256: str


def golden_rows() -> dict[str, GoldenRow]:
    rows: dict[str, GoldenRow] = json.loads(GOLDEN.read_text())
    return rows


def plain_of(chosen: Encoder) -> bytes:
    return mixture(_SIZES.get(chosen.name, _SIZE))


def states_sha256(chosen: Encoder) -> str:
    """Return a digest of the positions and states of all checkpoints."""
    hashed = hashlib.sha256()
    for segment in run_segments(chosen, plain_of(chosen), 1):
        hashed.update(segment.position.to_bytes(8, "little") + (segment.state or b""))
    return hashed.hexdigest()


def segment_sha256(chosen: Encoder, position: int, state: bytes) -> str:
    """Return a digest of the segment that begins at a checkpoint."""
    checkpoint = Segment(b"", state, position)
    return hashlib.sha256(
        run_segment(chosen, plain_of(chosen), checkpoint, position + 1).data
    ).hexdigest()


def _row(chosen: Encoder) -> GoldenRow:
    stop = _STORED_FROM.get(chosen.name, _STORED_FROM_OTHERS)
    found = run_segment(chosen, plain_of(chosen), Segment(b"", b"", 0), stop)
    state = found.state or b""
    return {
        "position": found.position,
        "state": base64.b64encode(state).decode(),
        "segment_sha256": segment_sha256(chosen, found.position, state),
        "states_sha256": states_sha256(chosen),
    }


def main() -> None:
    rows = golden_rows() if GOLDEN.exists() else {}
    for chosen in (Encoder(*row) for row in encoders()):
        if chosen.name not in rows:
            rows[chosen.name] = _row(chosen)
    GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
