"""A run: for each case every server has its turn, over and over, and all is left as it was."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.cases import Case, Effort, Setup, Skipped, Stage, Turn
from benchmarks.content.workshop import Workshop
from benchmarks.disk import Place, Scratch
from benchmarks.holdings import FillFailed
from benchmarks.load import LoadFailed, LoadUnavailable
from benchmarks.peers.certificate import CertificateUnavailable, certificate
from benchmarks.peers.peer import Ability, Certificate, Peer, PeerUnavailable, Start
from benchmarks.results import Outcome, Row, Sample

# What a turn may end with; then that server has no figures in that row, and the run goes on.
_SKIPS = (Skipped, CertificateUnavailable, LoadUnavailable)
_FAILURES = (PeerUnavailable, FillFailed, LoadFailed)
# Content for a case has 1 GiB; with room for twice that, cases in a row share theirs.
_CONTENT_BYTES_MAX = 2 << 30


class Session:
    """Stages and content of a run. `close` ends every server and removes every file."""

    def __init__(self, peers: Sequence[Peer], effort: Effort, scratch: Scratch) -> None:
        """The first of `peers` is the subject; the scratch is removed with the session."""
        self.peers = peers
        self.effort = effort
        self._scratch = scratch
        self._workshop = Workshop(scratch.folder(Place.MEMORY, "content"))
        self._stages: dict[tuple[str, Setup], Stage] = {}

    def check(self) -> None:
        """Start every server once, since one that cannot run needs no turns.

        Raises PeerUnavailable.
        """
        for peer in self.peers:
            setup = Setup(tls=Ability.PLAIN not in peer.abilities)
            self._stage(peer, setup, running=True)
            self._drop((peer.name, setup))

    def turn_count(self, case: Case) -> int:
        """How many turns `run` takes."""
        return self._rounds(case) * len(self._peers_of(case))

    def run(self, case: Case, turn_done: Callable[[], object]) -> Row:
        """Measure a case."""
        peers = self._peers_of(case)
        outcomes = {peer.name: Outcome() for peer in peers}
        for _ in range(self._rounds(case)):
            for peer in peers:
                if not outcomes[peer.name].has_ended:
                    outcomes[peer.name] = self._after_turn(outcomes[peer.name], case, peer)
                if outcomes[peer.name].has_ended:
                    self._drop((peer.name, case.setup))  # the next case gets one that is well
                turn_done()
        return Row(case.name, case.about, case.unit, outcomes)

    def _after_turn(self, outcome: Outcome, case: Case, peer: Peer) -> Outcome:
        """The outcome, and what one more turn adds to it."""
        try:
            sample = self._take_turn(case, peer)
        except _SKIPS as skip:
            return replace(outcome, skipped=str(skip))
        except _FAILURES as failure:
            return replace(outcome, failure=str(failure))
        return replace(outcome, samples=(*outcome.samples, sample))

    def keep_only(self, setup: Setup) -> None:
        """End the servers of all other setups."""
        for key in [key for key in self._stages if key[1] != setup]:
            self._drop(key)

    def close(self) -> None:
        """Leave nothing."""
        try:
            for key in list(self._stages):
                self._drop(key)
        finally:
            self._scratch.remove()

    def _rounds(self, case: Case) -> int:
        return min(self.effort.rounds, case.rounds or self.effort.rounds)

    def _peers_of(self, case: Case) -> list[Peer]:
        return [peer for peer in self.peers if case.is_for(peer)]

    def _take_turn(self, case: Case, peer: Peer) -> Sample:
        """A turn begins with nothing left to write of the one before."""
        self._workshop.trim(_CONTENT_BYTES_MAX)
        salt = 0 if Ability.START in peer.abilities else secrets.randbits(63)
        with ExitStack() as stack:
            stage = self._stage(peer, case.setup, running=case.running)
            if case.writes:
                stack.callback(self._drop, (peer.name, case.setup))
            if case.setup.place is Place.DISK:
                os.sync()
            return case.measure(Turn(stage, self.effort, salt))

    def _stage(self, peer: Peer, setup: Setup, *, running: bool) -> Stage:
        key = (peer.name, setup)
        if key not in self._stages:
            home = self._scratch.folder(setup.place, peer.name.replace("/", "-"))
            start = Start(home, self._certificate(setup), setup.workers)
            stage = self._stages[key] = Stage(peer, setup, start, self._workshop, self.effort)
            try:
                self._prepare(stage, running=running)
            except BaseException:
                self._drop(key)
                raise
        return self._stages[key]

    def _prepare(self, stage: Stage, *, running: bool) -> None:
        stage.setup.stock.before(stage)
        if running:
            stage.open()
            stage.warm()
            stage.setup.stock.after(stage)

    def _certificate(self, setup: Setup) -> Certificate | None:
        return self._workshop.get(certificate) if setup.tls else None

    def _drop(self, key: tuple[str, Setup]) -> None:
        stage = self._stages.pop(key, None)
        if stage is not None:
            stage.close()
            shutil.rmtree(stage.start.home, ignore_errors=True)
