"""Replays a trace up to a power cut, and builds the directory that would be found afterwards.

A file's bytes are durable once a sync of that file that began after the write has ended. They are
also durable if they were written through a descriptor with O_DSYNC. A directory's entries are
durable once a sync of that directory has ended. The mode decides about everything else:

* `strict`: everything that is not durable is lost. POSIX promises this, and no more.
* `torn`: a random part of it survives, chosen by the seed. A file has its old state, its new one,
  or a mix of both by sectors of 512 bytes. Entries survive in the order of one journal, or by
  directory. In a journal, like that of ext4, the sync of any file makes all earlier entries
  durable.
* `intact`: nothing is lost. Equals the recorded directory unless the recorder missed something.

A sector holds everything that was written to it up to some moment, never later bytes without
earlier ones. Entries of one directory survive in order. A rename is atomic: the old name goes only
if the new one survives.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.crash.trace import Kind, Operation, Trace, marks_before

Mode = Literal["strict", "torn", "intact"]
SECTOR_SIZE = 512
# LMDB's table of readers is shared memory. After a reboot it is invalid, and LMDB makes a new one.
VOLATILE_NAMES = frozenset({"lock.mdb"})


def cut_power(trace: Trace, cut: int, target: Path, mode: Mode, seed: int = 0) -> list[str]:
    """Build in the new directory `target` what is found after `cut` operations and a power cut.

    Returns the marks before the cut. The same seed gives the same directory.
    """
    disk = _Disk(trace[:cut])
    _build(disk.root, _SURVIVALS[mode](disk, random.Random(seed)), target, {})
    return marks_before(trace, cut)


@contextmanager
def explain_cut(cut: int, mode: Mode, seed: int) -> Iterator[None]:
    """Add the cut to an error raised inside, so that the run can be repeated."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"after a power cut: cut={cut}, mode={mode!r}, seed={seed}")
        raise


# ---- operations of the disk ----


@dataclass(slots=True)
class _Change:
    """A change of a file. A truncation has the new size as `offset` and no end."""

    index: int
    offset: int
    data: bytes | None  # None: zeros
    end: int | None
    durable: bool = False


@dataclass(slots=True)
class _File:
    changes: list[_Change] = field(default_factory=list)
    synced: int = 0  # changes with a lower index are durable

    def pending(self) -> list[_Change]:
        return [c for c in self.changes if not self.is_durable(c)]

    def is_durable(self, change: _Change) -> bool:
        return change.durable or change.index < self.synced


@dataclass(slots=True)
class _Entry:
    """A directory's entry for a name: `node` adds one, None removes it.

    `needs` is the directory that a rename moved the name to.
    """

    index: int
    name: str
    node: _File | _Directory | None
    needs: _Directory | None = None


@dataclass(slots=True, eq=False)
class _Directory:
    entries: list[_Entry] = field(default_factory=list)
    synced: int = 0


class _Disk:
    """All files and directories that ever existed, with their histories and durable parts."""

    def __init__(self, operations: Trace) -> None:
        self.root = _Directory()
        self.journal = 0  # the start of the last sync that has ended
        self.directories = [self.root]
        self._nodes: dict[int, _File | _Directory] = {o.inode: self.root for o in operations[:1]}
        self._begun: dict[int, int] = {}
        for index, operation in enumerate(operations):
            step = _STEPS.get(operation.kind)
            if step is not None:
                step(self, index, operation)

    def add_file(self, index: int, operation: Operation) -> None:
        self._nodes[operation.inode] = _File()
        if operation.parent:
            self.add_link(index, operation)

    def add_directory(self, index: int, operation: Operation) -> None:
        directory = _Directory()
        self.directories.append(directory)
        self._nodes[operation.inode] = directory
        self.add_link(index, operation)

    def add_link(self, index: int, operation: Operation) -> None:
        entry = _Entry(index, operation.name, self._nodes[operation.inode])
        self._directory(operation.parent).entries.append(entry)

    def rename(self, index: int, operation: Operation) -> None:
        source, target = self._directory(operation.parent), self._directory(operation.parent_to)
        source.entries.append(_Entry(index, operation.name, None, needs=target))
        new_name = os.fsdecode(operation.data)
        target.entries.append(_Entry(index, new_name, self._nodes[operation.inode]))

    def unlink(self, index: int, operation: Operation) -> None:
        self._directory(operation.parent).entries.append(_Entry(index, operation.name, None))

    def write(self, index: int, operation: Operation) -> None:
        durable = operation.kind is Kind.WRITE_DURABLE
        end = operation.offset + len(operation.data)
        self._change(operation, _Change(index, operation.offset, operation.data, end, durable))

    def zero(self, index: int, operation: Operation) -> None:
        end = operation.offset + operation.parent_to
        self._change(operation, _Change(index, operation.offset, None, end))

    def resize(self, index: int, operation: Operation) -> None:
        self._change(operation, _Change(index, operation.offset, None, None))

    def sync_begin(self, index: int, operation: Operation) -> None:
        self._begun[operation.thread] = index

    def sync_end(self, _: int, operation: Operation) -> None:
        begun = self._begun.pop(operation.thread)
        self.journal = max(self.journal, begun)
        nodes = [self._nodes[operation.inode]] if operation.inode else list(self._nodes.values())
        for node in nodes:
            node.synced = max(node.synced, begun)

    def _change(self, operation: Operation, change: _Change) -> None:
        node = self._nodes[operation.inode]
        assert isinstance(node, _File)
        node.changes.append(change)

    def _directory(self, inode: int) -> _Directory:
        node = self._nodes[inode]
        assert isinstance(node, _Directory)
        return node


_STEPS: dict[Kind, Callable[[_Disk, int, Operation], None]] = {
    Kind.FILE: _Disk.add_file,
    Kind.DIRECTORY: _Disk.add_directory,
    Kind.LINK: _Disk.add_link,
    Kind.RENAME: _Disk.rename,
    Kind.UNLINK: _Disk.unlink,
    Kind.WRITE: _Disk.write,
    Kind.WRITE_DURABLE: _Disk.write,
    Kind.SIZE: _Disk.resize,
    Kind.ZERO: _Disk.zero,
    Kind.SYNC_BEGIN: _Disk.sync_begin,
    Kind.SYNC_END: _Disk.sync_end,
}


# ---- the disk after the cut ----


class _Strict:
    """Only what is durable survives."""

    def __init__(self, disk: _Disk, chance: random.Random) -> None:
        self._disk = disk
        self._chance = chance

    def entry_limit(self, directory: _Directory) -> int:
        """Return the operation before which entries of the directory survive."""
        return directory.synced

    def content(self, file: _File) -> bytes:
        return _replay([c for c in file.changes if file.is_durable(c)])


class _Intact(_Strict):
    """Everything survives."""

    def entry_limit(self, directory: _Directory) -> int:
        return max((e.index + 1 for e in directory.entries), default=0)

    def content(self, file: _File) -> bytes:
        return _replay(file.changes)


class _Torn(_Strict):
    """Durable changes survive. Chance decides about the others."""

    def __init__(self, disk: _Disk, chance: random.Random) -> None:
        super().__init__(disk, chance)
        one_journal = chance.random() < 0.5
        journal = self._some(disk.journal, disk.directories)
        self._limits = {
            id(d): journal if one_journal else self._some(d.synced, [d]) for d in disk.directories
        }

    def entry_limit(self, directory: _Directory) -> int:
        return max(directory.synced, self._limits[id(directory)])

    def content(self, file: _File) -> bytes:
        pending = [c.index for c in file.pending()]
        if not pending:
            return _replay(file.changes)
        limit = self._chance.choice([0, pending[-1] + 1, self._chance.choice(pending), None])
        if limit is None:
            return _replay_sectors(file, self._chance)
        return _replay([c for c in file.changes if file.is_durable(c) or c.index < limit])

    def _some(self, floor: int, directories: list[_Directory]) -> int:
        """Return a random operation from `floor` on, before which all entries reached the disk."""
        later = {e.index + 1 for d in directories for e in d.entries if e.index >= floor}
        return self._chance.choice([floor, *sorted(later)])


_SURVIVALS: dict[Mode, type[_Strict]] = {"strict": _Strict, "torn": _Torn, "intact": _Intact}


def _replay(changes: list[_Change]) -> bytes:
    content = bytearray()
    for change in changes:
        if change.end is None:
            _resize(content, change.offset)
        else:
            # Punching a hole does not make the file longer.
            end = min(change.end, len(content)) if change.data is None else change.end
            _resize(content, max(len(content), end))
            content[change.offset : end] = _bytes_of(change, change.offset, end)
    return bytes(content)


def _replay_sectors(file: _File, chance: random.Random) -> bytes:
    """Return the durable changes, and in each sector those before a random operation."""
    moments = [0, *(c.index + 1 for c in file.pending())]
    size_moment = chance.choice(moments)
    content = bytearray(_length_max(file.changes))
    sized = [c for c in file.changes if file.is_durable(c) or c.index < size_moment]
    sector_moments = _durable_sectors(file)
    for change in file.changes:
        end = min(change.end, len(content)) if change.end is not None else len(content)
        for start, stop in _sectors(change.offset, end):
            sector = start // SECTOR_SIZE
            if not file.is_durable(change):
                moment = sector_moments.setdefault(sector, chance.choice(moments))
                if change.index >= moment:
                    continue
            content[start:stop] = _bytes_of(change, start, stop)
    _resize(content, _length(sized))
    return bytes(content)


def _durable_sectors(file: _File) -> dict[int, int]:
    """Return the sectors that an O_DSYNC write made durable, and the operation that did."""
    return {
        start // SECTOR_SIZE: change.index
        for change in file.changes
        if change.durable and change.index >= file.synced and change.end is not None
        for start, _ in _sectors(change.offset, change.end)
    }


def _sectors(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of `start` to `end`, each in one sector."""
    while start < end:
        stop = min(end, (start // SECTOR_SIZE + 1) * SECTOR_SIZE)
        yield start, stop
        start = stop


def _bytes_of(change: _Change, start: int, end: int) -> bytes:
    if change.data is None:
        return bytes(max(0, end - start))
    return change.data[start - change.offset : end - change.offset]


def _length(changes: list[_Change]) -> int:
    length = 0
    for change in changes:
        if change.end is None:
            length = change.offset
        elif change.data is not None:
            length = max(length, change.end)
    return length


def _length_max(changes: list[_Change]) -> int:
    return max((c.offset if c.end is None else c.end for c in changes), default=0)


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


def _build(directory: _Directory, survival: _Strict, target: Path, made: dict[int, Path]) -> None:
    """Write the surviving tree. `made` has the paths of files, as a file may have two names."""
    target.mkdir()
    for name, node in sorted(_survivors(directory, survival).items()):
        path = target / name
        if name in VOLATILE_NAMES:
            continue
        if isinstance(node, _Directory):
            _build(node, survival, path, made)
        elif id(node) in made:
            os.link(made[id(node)], path)
        else:
            path.write_bytes(survival.content(node))
            made[id(node)] = path


def _survivors(directory: _Directory, survival: _Strict) -> dict[str, _File | _Directory]:
    limit = survival.entry_limit(directory)
    names: dict[str, _File | _Directory] = {}
    for entry in directory.entries:
        limit_needed = survival.entry_limit(entry.needs) if entry.needs is not None else limit
        if entry.index >= min(limit, limit_needed):
            continue
        if entry.node is None:
            names.pop(entry.name, None)
        else:
            names[entry.name] = entry.node
    return names
