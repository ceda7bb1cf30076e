"""The trace of a recorded program: its operations on the disk, in the layout of trace.h."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_HEADER = struct.Struct("<IIQQQqII")


class Kind(IntEnum):
    """The kind of a record; `trace.h` has the same numbers."""

    ROOT = 1
    FILE = 2
    DIRECTORY = 3
    LINK = 4
    RENAME = 5
    UNLINK = 6
    WRITE = 7
    WRITE_DURABLE = 8
    SIZE = 9
    ZERO = 10
    SYNC_BEGIN = 11
    SYNC_END = 12
    MARK = 13


@dataclass(frozen=True, slots=True)
class Operation:
    """A record. `offset` is the new size of a SIZE, and `parent_to` the length of a ZERO."""

    kind: Kind
    thread: int
    inode: int
    parent: int
    parent_to: int
    offset: int
    name: str
    data: bytes


Trace = Sequence[Operation]


def read_trace(path: Path) -> list[Operation]:
    """Return all operations, in the kernel's order. The first one is the ROOT."""
    raw = path.read_bytes()
    operations = []
    position = 0
    while position < len(raw):
        *numbers, name_size, data_size = _HEADER.unpack_from(raw, position)
        middle = position + _HEADER.size + name_size
        name = os.fsdecode(raw[position + _HEADER.size : middle])
        position = middle + data_size
        assert position <= len(raw), "the trace ends inside a record"
        kind, thread, inode, parent, parent_to, offset = numbers
        data = raw[middle:position]
        operations.append(
            Operation(Kind(kind), thread, inode, parent, parent_to, offset, name, data)
        )
    assert operations, "nothing was recorded"
    assert operations[0].kind is Kind.ROOT
    return operations


def cut_points(trace: Trace) -> list[int]:
    """Return the numbers of operations to cut after: around syncs, after marks, and at the end."""
    points = {len(trace)}
    for index, operation in enumerate(trace):
        if operation.kind in (Kind.SYNC_END, Kind.WRITE_DURABLE):
            points |= {index, index + 1}
        elif operation.kind is Kind.MARK:
            points.add(index + 1)
    return sorted(points)


def marks_before(trace: Trace, cut: int) -> list[str]:
    """Return the promises that the program had made before the cut."""
    return [o.data.decode() for o in trace[:cut] if o.kind is Kind.MARK]
