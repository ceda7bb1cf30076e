"""The jobs that users can request: long work in steps, between the tasks.

A job is an iterator. Each step is bounded, so tasks run in between and a job can be canceled. A
step yields a line for the log of the run, or an empty line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from dtrfast.config import Config
from dtrfast.errors import Conflict, DtrfastError
from dtrfast.identity import synchronization
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import EventWriter
from dtrfast.index.engine import Engine
from dtrfast.jobs.tasks import empty_trash
from dtrfast.machine.paths import Layout
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories, usage, usage_scopes
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.registry import Registry
from dtrfast.registry.writing import Author
from dtrfast.store.store import Store

_NAMES_PAGE = 100
_REPORTED_BYTES = 1 << 30  # between two lines of progress


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """A job that users can request. The last line that `steps` yields is the result of the run."""

    name: str
    steps: Callable[[], Iterator[str]]


def registry_jobs(store: Store, config: Config, now: Callable[[], int]) -> list[JobDefinition]:
    """Return the jobs of an open store. `now` gives seconds since the epoch."""
    engine = store.engine
    holdings = index_holdings(engine, store.blobs, config, now)
    jobs = [
        JobDefinition("check", lambda: _check(store)),
        JobDefinition("empty-trash", lambda: _empty_trash(engine, holdings, now)),
        JobDefinition("measure", lambda: _measure(store, config)),
    ]
    if config.auth.mode == "managed":
        jobs.append(JobDefinition("ldap-sync", lambda: _synchronize(engine, config, now)))
    return jobs


def _check(store: Store) -> Iterator[str]:
    """Read everything that is stored, and mark damaged blobs and chunks."""
    before = store.statistics()
    done = reported = 0
    with closing(store.check_contents()) as steps:  # type: ignore[type-var]
        for count in steps:
            done += count
            is_reported = done - reported >= _REPORTED_BYTES
            reported = done if is_reported else reported
            yield f"read {done:,} bytes" if is_reported else ""
    store.trace_damage()
    after = store.statistics()
    blobs, chunks = after.damaged_blobs, after.damaged_chunks
    if blobs or chunks:
        healed = max(0, before.damaged_blobs - blobs)
        yield (
            f"read {done:,} bytes: {blobs} blobs and {chunks} chunks are damaged ({healed} blobs no"
            " more); a push of the same content heals them"
        )
    else:
        yield f"read {done:,} bytes: nothing is damaged"


def _empty_trash(engine: Engine, holdings: Holdings, now: Callable[[], int]) -> Iterator[str]:
    """Delete everything in the trash for good."""
    total = 0
    while count := empty_trash(engine, holdings, now(), all_of_it=True):
        total += count
        yield ""
    yield f"{total} things left the trash; what only they needed is free within a minute"


def _measure(store: Store, config: Config) -> Iterator[str]:
    """Measure the disk usage of each repository."""
    registry = Registry(store.engine, store.blobs, config)
    count, after = 0, ""
    while names := repositories.read_names(store.engine, after, _NAMES_PAGE):
        for name in names:
            try:
                numbers = registry.measure(
                    usage_scopes.of_repository(RepositoryName(name)), is_request=False
                )
                usage.keep(store.engine, name, numbers)
                count += 1
                yield ""
            except DtrfastError as error:
                yield f"{name}: {error.message}"
        after = names[-1]
    yield f"measured {count} repositories"


def _synchronize(engine: Engine, config: Config, now: Callable[[], int]) -> Iterator[str]:
    """Synchronize accounts and teams with the LDAP directory. Raises `Conflict` if it finds
    problems, and what `synchronization.run` raises.
    """
    ldap = synchronization.read_settings(engine)
    if ldap is None:
        yield "no LDAP directory is set up"
        return
    with closing(EventWriter(Layout(config.store.data).audit, config.log.audit_size_max)) as events:
        done = synchronization.run(engine, ldap, events, Author(SYSTEM.actor, now()))
    for change in done.changes:
        yield ", ".join(f"{key} {value}" for key, value in change.items())
    for problem in done.problems:
        yield f"missing: {problem.subject}: {problem.dn}: {problem.reason}"
    counts = f"{done.users} users in the directory, {len(done.changes)} changes"
    if done.problems:
        raise Conflict(f"{counts}, {len(done.problems)} problems: see the log of the run")
    yield counts
