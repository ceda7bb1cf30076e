"""The servers and the content of a run. For each case the servers are measured in turns."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.cases import Case, CaseFailed, CaseSkipped, Effort, Setup, Stage, Turn
from benchmarks.content.workshop import Workshop
from benchmarks.disk import Place, Scratch
from benchmarks.holdings import FillFailed
from benchmarks.load import LoadFailed, LoadUnavailable
from benchmarks.peers.certificate import CertificateUnavailable, certificate
from benchmarks.peers.peer import Ability, Certificate, Peer, PeerUnavailable, Start
from benchmarks.results import Outcome, Row, Sample

# After these exceptions a server has no figures in the row, and the run continues.
_SKIPS = (CaseSkipped, CertificateUnavailable, LoadUnavailable)
_FAILURES = (CaseFailed, PeerUnavailable, FillFailed, LoadFailed)
# The content of a case has 1 GiB. With room for twice that, adjacent cases can share content.
_CONTENT_BYTES_MAX = 2 << 30


class Session:
    """The stages and the content of a run. `close` stops all servers and removes all files."""

    def __init__(self, peers: Sequence[Peer], effort: Effort, scratch: Scratch) -> None:
        """The first of `peers` is the subject. `close` removes `scratch`."""
        self.peers = peers
        self.effort = effort
        self._scratch = scratch
        self._workshop = Workshop(scratch.folder(Place.MEMORY, "content"))
        self._stages: dict[tuple[str, Setup], Stage] = {}

    def check(self) -> None:
        """Start each server once, to find those that cannot run.

        Raises PeerUnavailable.
        """
        for peer in self.peers:
            setup = Setup(tls=Ability.PLAIN not in peer.abilities)
            self._stage(peer, setup, running=True)
            self._drop((peer.name, setup))

    def turn_count(self, case: Case) -> int:
        """Return the number of turns of `run`."""
        return self._rounds(case) * len(self._peers_of(case))

    def run(self, case: Case, turn_done: Callable[[], object]) -> Row:
        """Measure a case. Calls `turn_done` after each turn."""
        peers = self._peers_of(case)
        outcomes = {peer.name: Outcome() for peer in peers}
        for _ in range(self._rounds(case)):
            for peer in peers:
                if not outcomes[peer.name].has_ended:
                    outcomes[peer.name] = self._after_turn(outcomes[peer.name], case, peer)
                if outcomes[peer.name].has_ended:
                    self._drop((peer.name, case.setup))  # the next case starts a new one
                turn_done()
        return Row(case.name, case.about, case.unit, outcomes)

    def _after_turn(self, outcome: Outcome, case: Case, peer: Peer) -> Outcome:
        """Take one more turn and return the outcome with it."""
        try:
            sample = self._take_turn(case, peer)
        except _SKIPS as skip:
            return replace(outcome, skipped=str(skip))
        except _FAILURES as failure:
            return replace(outcome, failure=str(failure))
        return replace(outcome, samples=(*outcome.samples, sample))

    def keep_only(self, setup: Setup) -> None:
        """Stop the servers of all other setups."""
        for key in [key for key in self._stages if key[1] != setup]:
            self._drop(key)

    def close(self) -> None:
        """Stop all servers and remove all files."""
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
        """Take a turn. On a disk, all writes of the turn before it are flushed first."""
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
