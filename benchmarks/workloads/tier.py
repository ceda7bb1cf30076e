"""The gzip tier: bytes on disk after CI builds, and the rates of replays and conversions."""

from __future__ import annotations

import hashlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from benchmarks import clients, tier_rates
from benchmarks.cases import Case, CaseFailed, CaseSkipped, Setup, Turn
from benchmarks.clients import Push
from benchmarks.content.ci_builds import ci_builds
from benchmarks.disk import Place, occupied_bytes
from benchmarks.peers.dtrfast import Dtrfast
from benchmarks.peers.peer import Ability
from benchmarks.results import Sample, Unit

_REPOSITORY = "ci/built"
_BUILD_SIZE = 64 << 20
# Go, a replay and a conversion take so many turns, and so many layers are pulled.
_TURNS = 8
_PULLS = 5

_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
)


def cases() -> Iterator[Case]:
    """Return the cases. Only dtrfast has the tier, so others show plain gzip layers."""
    pushers = (("docker", clients.docker), ("podman", clients.podman))
    for name, client in pushers:
        yield Case(
            name=f"tier/builds-{name}",
            about=f"bytes on disk after CI builds pushed by {name}, converted and evicted",
            unit=Unit.DISK,
            measure=partial(_measure_builds, client),
            needs=frozenset({Ability.PUSH, Ability.START}),
            setup=Setup(place=Place.DISK),
            writes=True,
            rounds=1,
        )
    for kind in ("binaries", "text"):
        yield Case(
            name=f"tier/replay-{kind}",
            about=f"replay of Go's default encoder on {kind}, plain bytes of one core; figures:"
            " Go's own rate in the same turns, and that of a conversion",
            unit=Unit.BYTES,
            measure=partial(_measure_replay, kind),
            needs=frozenset({Ability.START, Ability.PUSH}),
            running=False,
            rounds=1,
        )
    yield Case(
        name="tier/pull",
        about="pull of an evicted layer of 64 MiB plain bytes, all cores; figures: the replay of"
        " one core, and the first byte",
        unit=Unit.BYTES,
        measure=_measure_pull,
        needs=frozenset({Ability.START, Ability.PUSH}),
        setup=Setup(place=Place.DISK),
        writes=True,
        rounds=1,
    )


def _measure_builds(client: Callable[[Path], AbstractContextManager[Push]], turn: Turn) -> Sample:
    tars = turn.workshop.get(ci_builds, turn.effort.builds, _BUILD_SIZE)
    host, port = turn.server.address
    with (
        tempfile.TemporaryDirectory(prefix="dtrfast-client-") as folder,
        client(Path(folder)) as push,
    ):
        for number, tar in enumerate(tars):
            push(tar, f"{host}:{port}/{_REPOSITORY}:{number}")
    data = turn.server.data
    figures = {"builds": float(len(tars)), "before_bytes": float(occupied_bytes(data))}
    began = time.monotonic()
    if isinstance(turn.server.peer, Dtrfast):
        _convert_and_evict(data, len(tars))
        figures["tier_seconds"] = time.monotonic() - began
        _check_image(turn.server.address, str(len(tars) - 1))
    return Sample(work=occupied_bytes(data), seconds=1.0, figures=figures)


def _measure_replay(kind: str, turn: Turn) -> Sample:
    if not isinstance(turn.stage.peer, Dtrfast):
        raise CaseSkipped("it has no replay")
    rates = tier_rates.measure(kind, turn.stage.start.home, _TURNS)
    figures = {
        "go_mb_per_second": rates.go / 1e6,
        "replay_per_go": rates.replay / rates.go,
        "conversion_mb_per_second": rates.conversion / 1e6,
        "conversion_per_replay": rates.conversion / rates.replay,
    }
    return Sample(work=rates.replay, seconds=1.0, figures=figures)


def _measure_pull(turn: Turn) -> Sample:
    if not isinstance(turn.server.peer, Dtrfast):
        raise CaseSkipped("it evicts no layers")
    with tempfile.TemporaryDirectory(prefix="dtrfast-layer-") as folder:
        # A new layer for each pull: a server keeps some segments for clients that come at once.
        layers = [
            tier_rates.make_layer("binaries", Path(folder), number) for number in range(_PULLS)
        ]
        turn.server.fill([layer.holding(_REPOSITORY) for layer in layers])
        one_core = statistics.median(tier_rates.replay_rate(layer) for layer in layers)
        _convert_and_evict(turn.server.data, len(layers))
        pulls = [_pull(turn.server.address, layer) for layer in layers]
    rate = statistics.median(rate for rate, _ in pulls)
    figures = {
        "one_core_mb_per_second": one_core / 1e6,
        "pull_per_core": rate / one_core,
        "first_byte_seconds": statistics.median(first for _, first in pulls),
        "worst_first_byte_seconds": max(first for _, first in pulls),
        "replay_of_4_mib_seconds": (4 << 20) / one_core,
    }
    return Sample(work=rate, seconds=1.0, figures=figures)


def _convert_and_evict(data: Path, layers: int) -> None:
    """Convert and evict all layers. Raises `CaseFailed` if there are not so many."""
    for verb in ("convert", "evict"):
        command = [sys.executable, "-m", "dtrfast", "tier", verb, "--all", "--json"]
        done = subprocess.run([*command, "--data", str(data)], capture_output=True, text=True)
        if done.returncode:
            raise CaseFailed(f"dtrfast tier {verb} failed: {done.stderr[-300:]}")
        if json.loads(done.stdout)["layers"] != layers:
            raise CaseFailed(f"dtrfast tier {verb} did not take all layers: {done.stdout}")


def _check_image(address: tuple[str, int], tag: str) -> None:
    """Pull an image. Raises `CaseFailed` if a layer has other bytes than were pushed."""
    manifest = json.loads(_get(address, f"manifests/{tag}", {"Accept": ", ".join(_MANIFESTS)}))
    for layer in manifest["layers"]:
        got = hashlib.sha256(_get(address, f"blobs/{layer['digest']}", {})).hexdigest()
        if layer["digest"] != f"sha256:{got}":
            raise CaseFailed(f"{layer['digest']} has other bytes than were pushed")


def _get(address: tuple[str, int], path: str, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(*address)
    connection.request("GET", f"/v2/{_REPOSITORY}/{path}", headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise CaseFailed(f"GET {path} answered {answer.status}: {body[:300]!r}")
    return body


def _pull(address: tuple[str, int], layer: tier_rates.Layer) -> tuple[float, float]:
    """Pull a layer; return its plain bytes a second, and the seconds until the first byte."""
    connection = http.client.HTTPConnection(*address)
    began = time.monotonic()
    connection.request("GET", f"/v2/{_REPOSITORY}/blobs/{layer.digest}")
    answer = connection.getresponse()
    got = [answer.read(1)]
    first = time.monotonic() - began
    while piece := answer.read(1 << 20):
        got.append(piece)
    seconds = time.monotonic() - began
    connection.close()
    if b"".join(got) != layer.packed.read_bytes():
        raise CaseFailed(f"the pull of {layer.digest} has other bytes than were pushed")
    return layer.plain_size / seconds, first
