"""Jobs that somebody may ask for: long work, in steps, beside the tasks.

A job is an iterator: each step is bounded, so the tasks go on in between and a job can be told to
end. What it yields is a line for its log, or an empty one for nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from dtrfast.config import Config
from dtrfast.errors import Conflict, DtrfastError
from dtrfast.identity import settings, synchronise
from dtrfast.identity.callers import SYSTEM
from dtrfast.identity.events import EventWriter
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.index.engine import Engine
from dtrfast.jobs.tasks import empty_trash
from dtrfast.machine.paths import Layout
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories, usage
from dtrfast.registry.holdings import Holdings
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.registry.registry import Registry
from dtrfast.registry.writing import Author
from dtrfast.store.store import Store

_NAMES_PAGE = 100
_TOLD_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Job:
    """A job that may be asked for. The last line that `steps` gives is the result."""

    name: str
    steps: Callable[[], Iterator[str]]


def registry_jobs(store: Store, config: Config, now: Callable[[], int]) -> list[Job]:
    """What can be asked for over an open store."""
    engine = store.engine
    holdings = index_holdings(engine, store.blobs, config, now)
    jobs = [
        Job("check", lambda: _check(store)),
        Job("empty-trash", lambda: _empty_trash(engine, holdings, now)),
        Job("measure", lambda: _measure(store, config)),
    ]
    if config.auth.mode == "managed":
        jobs.append(Job("ldap-sync", lambda: _synchronise(engine, config, now)))
    return jobs


def _check(store: Store) -> Iterator[str]:
    """Read everything that is stored, and mark what is damaged."""
    before = store.statistics()
    done = told = 0
    with closing(store.check_contents()) as steps:  # type: ignore[type-var]
        for count in steps:
            done += count
            is_worth_telling = done - told >= _TOLD_BYTES
            told = done if is_worth_telling else told
            yield f"read {done:,} bytes" if is_worth_telling else ""
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
    """Let all that is in the trash go, for good."""
    total = 0
    while count := empty_trash(engine, holdings, now(), all_of_it=True):
        total += count
        yield ""
    yield f"{total} things left the trash; what only they needed is free within a minute"


def _measure(store: Store, config: Config) -> Iterator[str]:
    """Measure how much room each repository takes."""
    registry = Registry(store.engine, store.blobs, config)
    count, after = 0, ""
    while names := _names(store.engine, after):
        for name in names:
            try:
                asked = usage.of_repository(RepositoryName(name))
                found = registry.measure(asked, is_request=False)
                usage.keep(store.engine, name, found)
                count += 1
                yield ""
            except DtrfastError as error:
                yield f"{name}: {error.message}"
        after = names[-1]
    yield f"measured {count} repositories"


def _names(engine: Engine, after: str) -> list[str]:
    with engine.read() as transaction:
        return repositories.names_after(transaction, after, _NAMES_PAGE)


def _synchronise(engine: Engine, config: Config, now: Callable[[], int]) -> Iterator[str]:
    """Bring accounts and teams to what the LDAP directory says. Raises what speaks against it."""
    with engine.read() as transaction:
        ldap = settings.get(transaction, LdapSettings)
    if ldap is None:
        yield "no LDAP directory is set up"
        return
    with closing(EventWriter(Layout(config.store.data).audit, config.log.audit_size_max)) as events:
        done = synchronise.run(engine, ldap, events, Author(SYSTEM.actor, now()))
    for change in done.changes:
        yield ", ".join(f"{key} {value}" for key, value in change.items())
    for problem in done.problems:
        yield f"missing: {problem.subject}: {problem.dn}: {problem.reason}"
    counts = f"{done.users} users in the directory, {len(done.changes)} changes"
    if done.problems:
        raise Conflict(f"{counts}, {len(done.problems)} problems: see the log of the run")
    yield counts
