"""The support bundle: the state of the server for those who help its operator, without secrets."""

from __future__ import annotations

import time
from typing import Any

import msgspec

import dtrfast
from dtrfast.api.v0 import jobs, logs, metrics, storage, views
from dtrfast.api.v0.objects import ApiObject
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity.checks import Checks
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.identity.settings_documents import SettingsDocuments
from dtrfast.logs.reader import LogFilter, LogReader
from dtrfast.machine import versions
from dtrfast.machine.paths import Layout
from dtrfast.registry.policies import StorageSettings
from dtrfast.times import rfc3339

operations = Operations("diagnostics")

_LINES_MAX = 1000
_DAMAGES_MAX = 100
_RUNS_MAX = 50
# Rows that are read of each table: enough to see that they can be read.
_ROWS_MAX = 100
_HISTORY = metrics.HistoryQuery(seconds=86_400, points=500)
_SETTINGS = (AccessSettings, OidcSettings, LdapSettings, StorageSettings)


class Diagnostics(ApiObject, frozen=True, kw_only=True):
    """A support bundle. It contains names and addresses of users, but no password, token or key."""

    made_at: str
    versions: dict[str, str]
    started_with: list[dict[str, str]]
    settings: dict[str, Any]
    metrics: dict[str, Any]
    history: dict[str, Any]
    store: dict[str, Any]
    jobs: dict[str, Any]
    log: list[dict[str, Any]]


@operations.add("GET", "/admin/diagnostics")
def get_diagnostics(call: ApiCall) -> Diagnostics:
    """Collect versions, settings without secrets, metrics, log lines and the store's state."""
    call.use(Checks).require_admin()
    call.note("diagnostics", "")
    plain = msgspec.to_builtins
    lines, _ = LogReader(Layout(call.config.store.data).server_log).page(
        LogFilter(), limit=_LINES_MAX
    )
    return Diagnostics(
        made_at=rfc3339(time.time()),
        versions={"dtrfast": dtrfast.__version__, **versions.read()},
        started_with=[
            {"name": s.name, "value": str(s.value), "origin": s.origin}
            for s in call.config.settings()
        ],
        settings=call.use(SettingsDocuments).shown(_SETTINGS),
        metrics=plain(metrics.get_metrics(call)),
        history=plain(metrics.get_metrics_history(call, _HISTORY)),
        store=_store(call),
        jobs=plain(jobs.list_jobs(call, jobs.JobsQuery(limit=_RUNS_MAX))),
        log=[plain(views.show(logs.LogLine, line)) for line in lines],
    )


def _store(call: ApiCall) -> dict[str, Any]:
    """Return counts, damages, the scrub, and for each table its rows or its read error."""
    plain = msgspec.to_builtins
    scrub = call.store.scrub()
    limits = call.use(SettingsDocuments).read(StorageSettings) or StorageSettings()
    return {
        "statistics": plain(call.store.statistics()),
        "storage": plain(storage.get_storage(call, storage.StorageQuery())),
        "damages": plain(call.store.damages(_DAMAGES_MAX)),
        "lastScrub": {
            "startedAt": rfc3339(scrub.started_at) if scrub.started_at else "",
            "endedAt": rfc3339(scrub.ended_at) if scrub.ended_at else "",
            "bytes": scrub.bytes,
        },
        "reserveBytes": limits.reserve_bytes,
        "tables": {**call.store.survey(_ROWS_MAX), **call.registry.survey(_ROWS_MAX)},
    }
