"""The parts of a workload: cases, the servers that they need, and the turns in which they run.

A workload is a module in `workloads/` with a function `cases()`. A case is measured in turns: each
server in order, then again from the first one. Each case has its own function that measures a turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import load
from benchmarks.content.workshop import Workshop
from benchmarks.disk import Place
from benchmarks.load import Job, Measure, Request, Result
from benchmarks.peers.peer import Ability, Peer, Server, Start
from benchmarks.processes import Cost
from benchmarks.results import Sample, Unit


@dataclass(frozen=True, slots=True)
class Effort:
    """The amount of work in a run: enough for reliable figures, or what fits into a minute."""

    rounds: int
    seconds: float  # the length of a turn with a fixed time
    push_blobs: int  # of push_blob_bytes each, in a turn
    push_blob_bytes: int
    pull_blob_bytes: int
    pull_bytes: int  # in a turn, on all connections together
    storm_jobs: int
    day_images: int
    builds: int
    has_large_store: bool  # in the workload `start`


FULL = Effort(
    rounds=3,
    seconds=3.0,
    push_blobs=16,
    push_blob_bytes=64 << 20,
    pull_blob_bytes=1 << 30,
    pull_bytes=8 << 30,
    storm_jobs=50,
    day_images=50,
    builds=30,
    has_large_store=True,
)
QUICK = Effort(
    rounds=2,
    seconds=0.7,
    push_blobs=4,
    push_blob_bytes=32 << 20,
    pull_blob_bytes=256 << 20,
    pull_bytes=1 << 30,
    storm_jobs=10,
    day_images=5,
    builds=6,
    has_large_store=False,
)


class CaseSkipped(Exception):
    """A case cannot be measured on a server. The message says why."""


class CaseFailed(Exception):
    """A server or a client did not do what the case needs, so a figure would be wrong."""


class Stock:
    """The content of a server before it is measured. Cases with equal stocks share servers."""

    def before(self, stage: Stage) -> None:
        """Prepare the empty folder of a server that does not run yet."""
        return

    def after(self, stage: Stage) -> None:
        """Fill the running server."""
        return


class EmptyStock(Stock):
    """No content."""


EMPTY = EmptyStock()


@dataclass(frozen=True, slots=True)
class Setup:
    """The properties of a server. With 0 workers the server chooses the number."""

    stock: Stock = EMPTY
    place: Place = Place.MEMORY
    tls: bool = False
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report.

    A case with `writes` has a new server for each turn, so that all pushed content is new to it.
    Without `running` the case starts the server itself. `rounds` limits the turns of cases whose
    result is always the same.
    """

    name: str
    about: str
    unit: Unit
    measure: Callable[[Turn], Sample]
    needs: frozenset[Ability]
    setup: Setup = Setup()
    writes: bool = False
    running: bool = True
    quick: bool = False
    rounds: int | None = None

    def is_for(self, peer: Peer) -> bool:
        """Return True if this peer has the abilities that the case needs."""
        kind = Ability.TLS if self.setup.tls else Ability.PLAIN
        return self.needs | {kind} <= peer.abilities


class Stage:
    """A server for a setup, in its own folder."""

    def __init__(
        self, peer: Peer, setup: Setup, start: Start, workshop: Workshop, effort: Effort
    ) -> None:
        self.peer = peer
        self.effort = effort
        self.setup = setup
        self.start = start
        self.workshop = workshop
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The running server."""
        assert self._server is not None, "the stage was not opened"
        return self._server

    def open(self) -> Server:
        """Start the server and wait until it answers. Raises PeerUnavailable."""
        self._server = self.peer.start(self.start)
        self._server.wait_ready()
        return self._server

    def warm(self) -> None:
        """Send requests to all processes of the server, so that none is cold."""
        ping = Job((Request("GET", "/v2/", expect=(200, 401, 403, 404)),))
        load.run(self.server.address, [ping] * 64, connections=16, tls=self.setup.tls)

    def close(self) -> None:
        """Stop the server if it runs."""
        if self._server is not None:
            self._server.stop()
            self._server = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One server's turn. Turns with different `salt` use different content."""

    stage: Stage
    effort: Effort
    salt: int = 0

    @property
    def server(self) -> Server:
        return self.stage.server

    @property
    def workshop(self) -> Workshop:
        return self.stage.workshop

    def run(
        self,
        jobs: Sequence[Job],
        *,
        connections: int,
        seconds: float | None = None,
        repeat: bool = False,
    ) -> Measurement:
        """Run jobs with the load client and measure the server's CPU time and memory."""
        server = self.server
        with server.watched() as cost:
            result = load.run(
                server.address,
                jobs,
                connections=connections,
                seconds=seconds,
                repeat=repeat,
                tls=server.tls,
            )
        return Measurement(result, cost, known=server.start is not None)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of the client, and the cost of the server if it is known."""

    result: Result
    cost: Cost
    known: bool

    def sample(
        self,
        work: float,
        *,
        by: Measure | None = None,
        figures: dict[str, float] | None = None,
    ) -> Sample:
        """Return the turn's sample, with the latencies of all steps or of one label (`by`)."""
        result, peak = self.result, self.cost.peak
        latency = (by or result.total).latency
        return Sample(
            work=work,
            seconds=result.seconds,
            p50=latency.p50,
            p90=latency.p90,
            p99=latency.p99,
            errors=result.total.errors,
            messages=result.errors,
            cpu_seconds=self.cost.cpu_seconds if self.known else None,
            client_cpu_seconds=result.cpu_seconds,
            resident_peak=peak.resident if self.known else None,
            anonymous_peak=peak.anonymous if self.known else None,
            figures=figures or {},
        )
