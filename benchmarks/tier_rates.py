"""Rates of replays and conversions in this process, beside Go's own gzip."""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import CaseSkipped
from benchmarks.content.ci_builds import BINARIES, TEXT, file_tar
from benchmarks.holdings import Blob, Holding
from benchmarks.load import Body
from dtrfast.config import StoreConfig
from dtrfast.oci.digests import Digest
from dtrfast.store.store import Store
from dtrfast.store.tier import encoding
from dtrfast.store.tier.encoding import ENCODERS
from dtrfast.store.tier.recognition import GO_DEFAULT

_PLAIN_SIZE = 64 << 20
_SOURCES = {"binaries": BINARIES, "text": TEXT}
_PROGRAM = Path(__file__).with_name("go_gzip")
# Go ≤ 1.26 has the encoder that is replayed. The toolchain comes as a Go module.
_TOOLCHAIN = "go1.26.8"


@dataclass(frozen=True, slots=True)
class Layer:
    """A tar and its gzip file by Go, and the processor seconds that Go took."""

    plain: Path
    packed: Path
    go_seconds: float

    @property
    def plain_size(self) -> int:
        return self.plain.stat().st_size

    @property
    def digest(self) -> str:
        with self.packed.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def holding(self, repository: str) -> Holding:
        """Return the layer as a blob of a repository."""
        size = self.packed.stat().st_size
        return Holding(repository, (Blob(Body(self.packed, 0, size), size, self.digest),))


@dataclass(frozen=True, slots=True)
class Rates:
    """Plain bytes a second of processor time: the median of several turns."""

    go: float
    replay: float
    conversion: float


def make_layer(kind: str, folder: Path, number: int = 0) -> Layer:
    """Make a layer of real files with Go's gzip.

    Layers with other numbers have other files. Raises `CaseSkipped` without Go, or if the machine
    has too few files.
    """
    plain = folder / f"{kind}-{number}.tar"
    file_tar(plain, _SOURCES[kind], _PLAIN_SIZE, number * _PLAIN_SIZE)
    if plain.stat().st_size < _PLAIN_SIZE:
        raise CaseSkipped(f"{', '.join(_SOURCES[kind])} have too few files")
    packed = folder / f"{kind}-{number}.tar.gz"
    return Layer(plain, packed, _compress(_built(folder), plain, packed))


def measure(kind: str, folder: Path, turns: int) -> Rates:
    """Measure Go, a replay and a conversion in turns."""
    layer = make_layer(kind, folder)
    go, replays, conversions = [], [], []
    for _ in range(turns):
        go.append(_compress(_built(folder), layer.plain, layer.packed))
        replays.append(_replay(layer))
        conversions.append(_conversion(layer, folder))
    return Rates(*(layer.plain_size / statistics.median(one) for one in (go, replays, conversions)))


def replay_rate(layer: Layer) -> float:
    """Return the plain bytes a second of processor time that one core replays."""
    return layer.plain_size / statistics.median(_replay(layer) for _ in range(3))


def _built(folder: Path) -> Path:
    """Compile the Go program, once for each folder."""
    program = folder / "go_gzip"
    if not program.exists():
        if shutil.which("go") is None:
            raise CaseSkipped("go is not installed")
        environment = os.environ | {"GOTOOLCHAIN": _TOOLCHAIN, "CGO_ENABLED": "0"}
        done = subprocess.run(
            ["go", "build", "-C", str(_PROGRAM), "-o", str(program), "."],
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise CaseSkipped(f"the Go program does not compile: {done.stderr[-300:]}")
    return program


def _compress(program: Path, plain: Path, packed: Path) -> float:
    with packed.open("wb") as into:
        done = subprocess.run([program, plain], stdout=into, stderr=subprocess.PIPE, check=True)
    return float(done.stderr)


def _replay(layer: Layer) -> float:
    """Replay a layer from memory, segment by segment; return the processor seconds."""
    plain = memoryview(layer.plain.read_bytes())
    expected = layer.packed.read_bytes()
    before = time.thread_time()
    pieces = list(_segments(plain))
    seconds = time.thread_time() - before
    assert expected[10:-8] == b"".join(pieces), "the replay gives other bytes"
    return seconds


def _segments(plain: memoryview) -> Iterator[bytes]:
    position = 0
    state: bytes = b""
    while True:
        made = encoding.encode_next(
            ENCODERS[GO_DEFAULT], lambda begin, end: plain[begin:end], len(plain), position, state
        )
        yield made.data
        if made.state is None:
            return
        position, state = made.position, made.state


def _conversion(layer: Layer, folder: Path) -> float:
    """Convert a layer in a new store; return the processor seconds of the whole process."""
    data = folder / "store"
    data.mkdir()
    store = Store.open(data, StoreConfig(data=data))
    try:
        upload = store.blobs.begin("benchmark")
        upload.begin_body(0, None)
        upload.append(layer.packed.read_bytes())
        upload.end_body()
        with store.blobs.commit(upload, Digest.parse(layer.digest)) as placed:
            placed.settle()
            placed.finish()
        run = store.tier_run()
        before = time.process_time()
        for _ in store.convert_layers(run, None, with_first=True):
            pass
        seconds = time.process_time() - before
        assert run.result.layers == 1, run.result
    finally:
        store.close()
        shutil.rmtree(data)
    return seconds
