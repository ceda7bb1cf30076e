"""How an operation is asked: by a request to the API, or by a page of the console.

Whoever asks, the operation gets the same call and decides by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dtrfast.api.errors import row_of
from dtrfast.api.v0 import texts
from dtrfast.api.v0.complaints import explain
from dtrfast.api.v0.operation import ApiCall, Operation
from dtrfast.api.v0.views import ROOT
from dtrfast.config import Config
from dtrfast.errors import DtrfastError, RepositoryHidden, SettingsInvalid, TokenInvalid
from dtrfast.identity.callers import Caller
from dtrfast.identity.events import Detail, Event
from dtrfast.identity.identity import Identity
from dtrfast.registry.ownership import Ownership
from dtrfast.registry.registry import Registry
from dtrfast.store.report import StoreReport


@dataclass(frozen=True, slots=True)
class Asker:
    """Somebody who asks operations, and where they are."""

    identity: Identity
    registry: Registry
    store: StoreReport
    config: Config
    caller: Caller
    remote: str
    is_secure: bool = False
    session_id: str = ""
    proofs: Mapping[str, str] = field(default_factory=dict)

    def call(self, path: Mapping[str, str], query: object, body: object) -> ApiCall:
        """What an operation is given. `path` are its pieces, decoded; the others are converted."""
        return ApiCall(
            identity=self.identity,
            registry=self.registry,
            store=self.store,
            config=self.config,
            caller=self.caller,
            remote=self.remote,
            path=dict(path),
            query=query,
            body=body,
            is_secure=self.is_secure,
            session_id=self.session_id,
            proofs=self.proofs,
        )

    def note_refusal(self, method: str, path: str, error: DtrfastError, subject: str = "") -> None:
        """Keep an audit event of a refusal; `subject` is `path` unless it is given."""
        detail: Detail = {"method": method, "path": path, "reason": error.reason}
        about = self.registry.ownership(subject) if subject else Ownership()
        event = Event(
            time=self.identity.clock(),
            kind="refusal",
            actor=self.caller.actor,
            remote=self.remote,
            outcome="refused",
            subject=subject or path,
            detail=detail,
            repository=about.repository,
            owner=about.owner,
        )
        self.identity.events.add(event)


def is_refusal(error: DtrfastError) -> bool:
    """Return True if an error leaves an audit event. A demand to sign in does not. Neither does a
    thing that is not there, unless the caller may not know of it.
    """
    return isinstance(error, RepositoryHidden | TokenInvalid) or row_of(error).status == 403


def execute(operation: Operation, call: ApiCall) -> msgspec.Struct | None:
    """On a thread. A refusal is an audit event."""
    try:
        return operation.run(call)
    except DtrfastError as error:
        if is_refusal(error):
            note_refusal(operation, call, error)
        raise


def note_refusal(operation: Operation, call: ApiCall, error: DtrfastError) -> None:
    """Keep an audit event of an operation that was refused."""
    asker = Asker(call.identity, call.registry, call.store, call.config, call.caller, call.remote)
    path = operation.path.format_map(call.path)
    asker.note_refusal(operation.method, path, error, repository_of(operation, call.path))


def repository_of(operation: Operation, path: Mapping[str, str]) -> str:
    """The repository that a path is about, which is what its refusal is found by; else empty."""
    if not operation.path.startswith("/repositories/{namespace}/{repository}"):
        return ""
    namespace, name = path["namespace"], path["repository"]
    return name if namespace == ROOT else f"{namespace}/{name}"


def convert_query(operation: Operation, query: Mapping[str, str]) -> object:
    """The query as the operation wants it. Raises `SettingsInvalid`."""
    if operation.query is None:
        return None
    try:
        return msgspec.convert(dict(query), operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(explain(error)) from error


def decode_body(operation: Operation, data: bytes) -> object:
    """JSON as the operation wants it. Raises `SettingsInvalid`."""
    if operation.body is None:
        return None
    try:
        return texts.check(msgspec.json.decode(data, type=operation.body))
    except msgspec.ValidationError as error:
        raise SettingsInvalid(explain(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"body: {error}") from error


def convert_body(operation: Operation, document: Any) -> object:
    """Texts of a form as the operation wants them. Raises `SettingsInvalid`."""
    if operation.body is None:
        return None
    try:
        return texts.check(msgspec.convert(document, operation.body, strict=False))
    except msgspec.ValidationError as error:
        raise SettingsInvalid(explain(error)) from error
