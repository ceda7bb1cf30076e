"""What administrators see and set: settings, issuers, and the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from dtrfast.api.v0 import differences, objects, repositories
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import Conflict, CredentialUnknown, Denied, SettingsInvalid
from dtrfast.identity import oidc, settings, trusts
from dtrfast.identity.events import Detail, Event, EventFilter, RepositoryEvents
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.identity.token_files import TokenFiles
from dtrfast.index.engine import ReadTransaction, WriteTransaction
from dtrfast.machine import certificates
from dtrfast.machine.paths import Layout
from dtrfast.oci.names import RepositoryName
from dtrfast.registry import repositories as registry_repositories
from dtrfast.registry.permits import Action
from dtrfast.times import parse_rfc3339, rfc3339

operations = Operations("administration")

Document = TypeVar("Document", bound=msgspec.Struct)


def read_settings(call: ApiCall, kind: type[Document]) -> Document | None:
    """The settings of one kind, for an administrator."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
        return settings.get(transaction, kind)


def write_settings(call: ApiCall, document: msgspec.Struct, name: str) -> None:
    """Change the settings of one kind, as an administrator."""

    def change(transaction: WriteTransaction) -> msgspec.Struct | None:
        call.require_admin(transaction)
        before = settings.get(transaction, type(document))
        if isinstance(document, OidcSettings):
            trusts.pin(transaction, call.author)
        settings.put(transaction, call.author, document)
        return before

    before = call.identity.engine.write(change)
    call.note("settings", name, detail=differences.told(before, document))


@operations.add("GET", "/admin/settings/access", answer=AccessSettings)
def get_access_settings(call: ApiCall) -> AccessSettings:
    """Show what holds for all repositories."""
    return read_settings(call, AccessSettings) or AccessSettings()


@operations.add(
    "PUT",
    "/admin/settings/access",
    answer=AccessSettings,
    body=AccessSettings,
    refusals=(400,),
)
def put_access_settings(call: ApiCall) -> AccessSettings:
    """Change what holds for all repositories. What is left out gets its default."""
    document: AccessSettings = call.body
    write_settings(call, document, "access")
    return document


@operations.add("GET", "/admin/settings/oidc", answer=OidcSettings)
def get_oidc_settings(call: ApiCall) -> OidcSettings:
    """Show the issuers whose jobs may be trusted."""
    return read_settings(call, OidcSettings) or OidcSettings()


def _checked_issuers(call: ApiCall) -> OidcSettings:
    """The issuers in a call, if all of them can be used. Raises `SettingsInvalid`."""
    document: OidcSettings = call.body
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)  # before a file is looked at
    files = TokenFiles(call.config.auth.token_file_directories)
    for issuer in document.issuers:
        oidc.check_issuer(issuer)
        if issuer.bearer_token_file:
            files.read(issuer.bearer_token_file)
    for what in ("name", "url"):
        values = [getattr(issuer, what) for issuer in document.issuers]
        if len(set(values)) < len(values):
            raise SettingsInvalid(f"issuers: two have the same {what}")
    return document


@operations.add(
    "PUT",
    "/admin/settings/oidc",
    answer=OidcSettings,
    body=OidcSettings,
    refusals=(400,),
    check=_checked_issuers,
)
def put_oidc_settings(call: ApiCall) -> OidcSettings:
    """Change the issuers whose jobs may be trusted."""
    document = _checked_issuers(call)
    write_settings(call, document, "oidc")
    call.identity.issuer_keys.keep(document.issuers)
    return document


# ---- events ----------------------------------------------------------------------------------
class EventsQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """`start` is a `nextPageStart`. `kind` may end in a dot and `subject` in a slash: then they
    are beginnings; many kinds are separated by commas. `since` and `until` are times as RFC 3339
    has them.
    """

    start: Annotated[str, Meta(max_length=255)] = ""
    limit: Annotated[int, Meta(ge=1)] = 100
    kind: str = ""
    actor: str = ""
    remote: str = ""
    subject: str = ""
    outcome: str = ""
    since: str = ""
    until: str = ""
    text: str = ""


_EVENTS_MAX = 1000


@operations.add(
    "GET", "/admin/events", answer=objects.AuditEvents, query=EventsQuery, refusals=(400,)
)
def list_events(call: ApiCall) -> objects.AuditEvents:
    """List audit events, newest first."""
    query: EventsQuery = call.query
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    wanted = EventFilter(
        kind=query.kind,
        actor=query.actor,
        remote=query.remote,
        subject=query.subject,
        outcome=query.outcome,
        since=seconds_of("since", query.since),
        until=seconds_of("until", query.until),
        text=query.text,
    )
    found, more = call.identity.reader.page(wanted, query.start, min(query.limit, _EVENTS_MAX))
    return objects.AuditEvents(events=[_event(event) for event in found], next_page_start=more)


@operations.add(
    "GET",
    "/repositories/{namespace}/{repository}/events",
    answer=objects.AuditEvents,
    query=EventsQuery,
    refusals=(400, 404),
)
def list_repository_events(call: ApiCall) -> objects.AuditEvents:
    """List what was done in a repository, newest first; addresses are for administrators."""
    query: EventsQuery = call.query
    with call.identity.engine.read() as transaction:
        name = repositories.require(call, transaction, Action.ADMIN)
        is_admin = call.standing(transaction).is_admin
        events = _of_repository(call, transaction, name)
    if query.remote and not is_admin:
        raise Denied("addresses are for system administrators")
    wanted = EventFilter(
        kind=query.kind,
        actor=query.actor,
        remote=query.remote,
        outcome=query.outcome,
        since=seconds_of("since", query.since),
        until=seconds_of("until", query.until),
        text=query.text,
        hides_remote=not is_admin,
        of=events,
    )
    found, more = call.identity.reader.page(wanted, query.start, min(query.limit, _EVENTS_MAX))
    return objects.AuditEvents(events=[_event(event) for event in found], next_page_start=more)


def _of_repository(
    call: ApiCall, transaction: ReadTransaction, name: RepositoryName
) -> RepositoryEvents:
    """The repository's events, without those of a former owner's time."""
    record = registry_repositories.record(transaction, name)
    assert record is not None  # the caller may administer it
    claim = call.permits.claim(transaction, name)
    since = max(record.created_at, claim.since)
    return RepositoryEvents(name.text, record.id, claim.owner, since)


def seconds_of(name: str, text: str) -> float:
    """A time in a query; 0 where there is none. Raises `SettingsInvalid`."""
    if not text:
        return 0.0
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError) as error:
        raise SettingsInvalid(
            f"{name}: {text[:40]!r} is no time such as 2026-01-31T23:59:59Z"
        ) from (error)


def _event(event: Event) -> objects.AuditEvent:
    return objects.AuditEvent(
        time=rfc3339(event.time),
        kind=event.kind,
        actor=event.actor,
        remote=event.remote,
        outcome=event.outcome,
        subject=event.subject,
        detail=event.detail,
    )


# ---- the certificate -------------------------------------------------------------------------
def _certificate_path(call: ApiCall) -> Path:
    given = call.config.server.tls_cert
    return Path(given) if given else Layout(call.config.store.data).certificate_pair


def _is_kept_here(call: ApiCall) -> bool:
    """Whether the certificate is this registry's own to replace."""
    return _certificate_path(call).absolute() == (
        Layout(call.config.store.data).certificate_pair.absolute()
    )


@operations.add("GET", "/admin/settings/certificate", answer=objects.Certificate, refusals=(404,))
def get_certificate(call: ApiCall) -> objects.Certificate:
    """Show the certificate that clients see."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    return _describe(call)


def _describe(call: ApiCall) -> objects.Certificate:
    try:
        found = certificates.describe(_certificate_path(call))
    except (OSError, ValueError) as error:
        raise CredentialUnknown("there is no certificate: connections are plain HTTP") from error
    return _certificate(call, found)


def _certificate(call: ApiCall, found: certificates.Description) -> objects.Certificate:
    return objects.Certificate(
        subject=found.subject,
        issuer=found.issuer,
        names=list(found.names),
        not_before=rfc3339(found.not_before.timestamp()),
        not_after=rfc3339(found.not_after.timestamp()),
        sha256=found.sha256,
        replaceable=_is_kept_here(call),
    )


def _checked_certificate(call: ApiCall) -> objects.Certificate:
    """The certificate in a call, if it can be used. Raises `Conflict`, `SettingsInvalid`."""
    body: objects.NewCertificate = call.body
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    if not _is_kept_here(call):
        raise Conflict("the certificate is that of server.tls_cert: replace those files")
    found = certificates.inspect(body.certificate.encode(), body.key.encode())
    return _certificate(call, found)


@operations.add(
    "PUT",
    "/admin/settings/certificate",
    answer=objects.Certificate,
    body=objects.NewCertificate,
    refusals=(400, 404, 409),
    check=_checked_certificate,
)
def put_certificate(call: ApiCall) -> objects.Certificate:
    """Use another certificate, without a restart: every worker does within seconds."""
    body: objects.NewCertificate = call.body
    _checked_certificate(call)
    certificates.replace(call.config.store.data, body.certificate.encode(), body.key.encode())
    shown = _describe(call)
    detail: Detail = {
        "names": " ".join(shown.names),
        "sha256": shown.sha256,
        "until": shown.not_after,
    }
    call.note("settings", "certificate", detail=detail)
    return shown
