"""A time series in a file of fixed size. Each time step has a slot, and old slots are reused.

One process writes; any process may read. Each slot has the number of its step, so readers ignore
old and torn slots. Nothing is synced: after a power cut some minutes may be missing.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_HEAD_SIZE = 4096
_MAGIC = "dtrfast ring 1"
_UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Series:
    """Times in seconds since the epoch, and columns with a value for each time. NaN is unknown.
    Each time begins a step of `step_seconds`.
    """

    times: list[int]
    columns: dict[str, list[float]]
    step_seconds: int


@dataclass(frozen=True, slots=True)
class _Shape:
    columns: tuple[str, ...]
    step_seconds: int
    slots: int

    @property
    def record(self) -> struct.Struct:
        return struct.Struct(f"<Q{len(self.columns)}f")

    @property
    def size(self) -> int:
        return _HEAD_SIZE + self.record.size * self.slots

    def head(self) -> bytes:
        document = [_MAGIC, list(self.columns), self.step_seconds, self.slots]
        return json.dumps(document).encode().ljust(_HEAD_SIZE)

    @staticmethod
    def parse(data: bytes) -> _Shape | None:
        try:
            magic, columns, step, slots = json.loads(data)
            shape = _Shape(tuple(map(str, columns)), int(step), int(slots))
        except (ValueError, TypeError, RecursionError):
            return None
        return shape if magic == _MAGIC and shape.step_seconds > 0 and shape.slots > 0 else None


class RingWriter:
    """Writes one ring. If the file has other columns or steps, its known values are converted."""

    def __init__(self, path: Path, columns: Sequence[str], step_seconds: int, slots: int) -> None:
        self._shape = _Shape(tuple(columns), step_seconds, slots)
        if _read_shape(path) != self._shape or path.stat().st_size != self._shape.size:
            # The new ring takes the known values of an older one of another shape.
            old = read(path, 0, 1 << 40)
            temporary = path.with_suffix(".new")
            with temporary.open("wb") as file:
                file.write(self._shape.head())
                file.write(b"\xff" * (self._shape.record.size * slots))
                for at, time in enumerate(old.times):
                    known = {name: values[at] for name, values in old.columns.items()}
                    offset, record = _slot(self._shape, time, known)
                    file.seek(offset)
                    file.write(record)
            temporary.replace(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def put(self, time: float, values: Mapping[str, float]) -> None:
        """Write the values of the step that contains `time`."""
        offset, record = _slot(self._shape, time, values)
        os.pwrite(self._descriptor, record, offset)

    def close(self) -> None:
        os.close(self._descriptor)


def read(path: Path, since: float, until: float) -> Series:
    """Return the known values between two times. Empty if the ring does not exist."""
    shape = _read_shape(path)
    if shape is None:
        return Series([], {}, 0)
    try:
        data = path.read_bytes()[_HEAD_SIZE:]
    except OSError:
        return Series([], {}, shape.step_seconds)
    whole = data[: len(data) // shape.record.size * shape.record.size]
    first, last = int(since) // shape.step_seconds, int(until) // shape.step_seconds
    rows = sorted(
        row
        for slot, row in enumerate(shape.record.iter_unpack(whole))
        if first <= row[0] <= last and row[0] % shape.slots == slot
    )
    return Series(
        [row[0] * shape.step_seconds for row in rows],
        {name: [row[n] for row in rows] for n, name in enumerate(shape.columns, start=1)},
        shape.step_seconds,
    )


def _read_shape(path: Path) -> _Shape | None:
    try:
        with path.open("rb") as file:
            return _Shape.parse(file.read(_HEAD_SIZE))
    except OSError:
        return None


def _slot(shape: _Shape, time: float, values: Mapping[str, float]) -> tuple[int, bytes]:
    """Return the offset and the bytes of the slot for the step that contains `time`."""
    number = int(time) // shape.step_seconds
    row = [values.get(name, _UNKNOWN) for name in shape.columns]
    offset = _HEAD_SIZE + number % shape.slots * shape.record.size
    return offset, shape.record.pack(number, *row)
