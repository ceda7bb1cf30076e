"""The support bundle: what somebody who is to help has to know, and no secret."""

from __future__ import annotations

import io
import json
import platform
import sys
import tarfile
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageMetadata, distributions
from typing import Any

import msgspec

import dtrfast
from dtrfast.api.v0 import admin_objects as objects
from dtrfast.api.v0 import jobs as job_operations
from dtrfast.api.v0 import logs as log_operations
from dtrfast.api.v0 import metrics, storage
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity import settings
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.index.survey import survey
from dtrfast.logs.reader import LogFilter, LogReader
from dtrfast.machine.paths import Layout
from dtrfast.registry import policies
from dtrfast.registry.policies import StorageSettings
from dtrfast.times import rfc3339

operations = Operations("diagnostics")

_LINES_MAX = 1000
_DAMAGES_MAX = 100
_RUNS_MAX = 50
# Rows that are looked at in each table: enough to see that they can be read.
_ROWS_LOOKED_AT = 100
_HISTORY_SECONDS = 86_400


@operations.add("GET", "/admin/diagnostics", answer=objects.Diagnostics)
def get_diagnostics(call: ApiCall) -> objects.Diagnostics:
    """Collect versions, settings without secrets, metrics, log lines and the store's state."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    call.note("diagnostics", "")
    return objects.Diagnostics(
        made_at=rfc3339(time.time()),
        versions=_versions(),
        started_with=[
            {"name": s.name, "value": str(s.value), "origin": s.origin}
            for s in call.config.settings()
        ],
        settings=_settings(call),
        metrics=_now(call),
        history=_asked(
            call,
            metrics.get_metrics_history,
            metrics.HistoryQuery(seconds=_HISTORY_SECONDS, points=500),
        ),
        store=_store(call),
        jobs=_asked(call, job_operations.list_jobs, job_operations.JobsQuery(limit=_RUNS_MAX)),
        log=_lines(call),
    )


@cache
def _packages() -> dict[str, str]:
    """The versions of the Python packages, which stay as they are while the process runs."""
    found = [distribution.metadata for distribution in distributions()]
    return {one["Name"]: one["Version"] for one in sorted(found, key=_name) if _name(one)}


def _name(metadata: PackageMetadata) -> str:
    return metadata["Name"] or ""


def _versions() -> dict[str, str]:
    return {
        "dtrfast": dtrfast.__version__,
        "python": sys.version,
        "system": platform.platform(),
        **_packages(),
    }


def _settings(call: ApiCall) -> dict[str, Any]:
    kinds = (AccessSettings, OidcSettings, LdapSettings, StorageSettings)
    with call.identity.engine.read() as transaction:
        found = {kind.__name__: settings.get(transaction, kind) for kind in kinds}
    return {
        name: None if document is None else settings.without_secrets(document)
        for name, document in found.items()
    }


def _asked(call: ApiCall, handler: Any, query: object) -> Any:
    asked = ApiCall(
        identity=call.identity,
        registry=call.registry,
        store=call.store,
        config=call.config,
        caller=call.caller,
        remote=call.remote,
        path={},
        query=query,
        body=None,
    )
    return msgspec.to_builtins(handler(asked))


def _now(call: ApiCall) -> Any:
    return _asked(call, metrics.get_metrics, None)


def _lines(call: ApiCall) -> list[Any]:
    reader = LogReader(Layout(call.config.store.data).server_log)
    found, _ = reader.page(LogFilter(), limit=_LINES_MAX)
    return [msgspec.to_builtins(log_operations.shown(line)) for line in found]


def _store(call: ApiCall) -> dict[str, Any]:
    """Figures, damage, the scrub, and whether each table can be read."""
    scrubbed = call.store.scrub()
    with call.identity.engine.read() as transaction:
        reserve = policies.read(transaction).reserve_bytes
    return {
        "statistics": msgspec.to_builtins(call.store.statistics()),
        "storage": _asked(call, storage.get_storage, storage.StorageQuery()),
        "damages": [msgspec.to_builtins(one) for one in call.store.damages(_DAMAGES_MAX)],
        "lastScrub": {
            "startedAt": rfc3339(scrubbed.started_at) if scrubbed.started_at else "",
            "endedAt": rfc3339(scrubbed.ended_at) if scrubbed.ended_at else "",
            "bytes": scrubbed.bytes,
        },
        "reserveBytes": reserve,
        "tables": {
            **call.store.survey(_ROWS_LOOKED_AT),
            **survey(call.identity.engine, "shared", _ROWS_LOOKED_AT),
        },
    }


def pack(document: Mapping[str, Any], name: str) -> bytes:
    """A bundle as an archive (tar.gz) with a file for each of its parts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for part, content in document.items():
            if isinstance(content, list) and part == "log":
                text = "".join(json.dumps(line) + "\n" for line in content)
                file_name = f"{name}/{part}.jsonl"
            else:
                text = json.dumps(content, indent=1)
                file_name = f"{name}/{part}.json"
            data = text.encode()
            entry = tarfile.TarInfo(file_name)
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
