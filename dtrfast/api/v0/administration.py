"""Operations of administrators: settings, issuers, audit events, and the certificate."""

from __future__ import annotations

import msgspec

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.lists import JournalQuery
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity import differences, oidc
from dtrfast.identity.checks import Checks
from dtrfast.identity.event_lists import EventLists, EventScope
from dtrfast.identity.events import EventFilter
from dtrfast.identity.settings import AccessSettings, OidcSettings
from dtrfast.identity.settings_documents import SettingsDocuments
from dtrfast.identity.token_files import TokenFiles
from dtrfast.machine.server_certificate import ServerCertificate

operations = Operations("administration")


def write_settings(call: ApiCall, document: msgspec.Struct, name: str) -> None:
    """Change the settings of one kind, with an audit event of the difference."""
    before = call.use(SettingsDocuments).write(document)
    call.note("settings", name, differences.event_detail(before, document))


@operations.add("GET", "/admin/settings/access")
def get_access_settings(call: ApiCall) -> AccessSettings:
    """Show the settings that apply to all repositories."""
    return call.use(SettingsDocuments).read(AccessSettings) or AccessSettings()


@operations.add("PUT", "/admin/settings/access")
def put_access_settings(call: ApiCall, body: AccessSettings) -> AccessSettings:
    """Change the settings that apply to all repositories. Omitted fields get their defaults."""
    write_settings(call, body, "access")
    return body


@operations.add("GET", "/admin/settings/oidc")
def get_oidc_settings(call: ApiCall) -> OidcSettings:
    """Show the issuers whose jobs repositories may trust."""
    return call.use(SettingsDocuments).read(OidcSettings) or OidcSettings()


def _check_issuers(call: ApiCall) -> OidcSettings:
    """Return the issuers in a call. Raises `SettingsInvalid` if one of them cannot be used."""
    document: OidcSettings = call.body
    call.use(Checks).require_admin()  # before a file is read
    oidc.check_issuers(document.issuers, TokenFiles(call.config.auth.token_file_directories))
    return document


@operations.add("PUT", "/admin/settings/oidc", check=_check_issuers)
def put_oidc_settings(call: ApiCall, body: OidcSettings) -> OidcSettings:
    """Change the issuers whose jobs repositories may trust."""
    document = _check_issuers(call)
    write_settings(call, document, "oidc")
    call.identity.issuer_keys.keep(document.issuers)
    return document


# ---- events ----------------------------------------------------------------------------------
class EventsQuery(JournalQuery, frozen=True, rename="camel", kw_only=True):
    """`kind`: one or more kinds, with commas between them. A kind that ends in a dot is a prefix,
    and so is a `subject` that ends in a slash.
    """

    kind: str = ""
    actor: str = ""
    remote: str = ""
    subject: str = ""
    outcome: str = ""


@operations.add("GET", "/admin/events")
def list_events(call: ApiCall, query: EventsQuery) -> objects.AuditEvents:
    """List audit events, newest first."""
    return _events(call, query, call.use(EventLists).of_registry(), query.subject)


@operations.add("GET", "/repositories/{namespace}/{repository}/events")
def list_repository_events(call: ApiCall, query: EventsQuery) -> objects.AuditEvents:
    """List the audit events of a repository, newest first; only administrators see addresses."""
    by_remote = bool(query.remote)
    scope = call.use(EventLists).of_repository(call.repository, by_remote=by_remote)
    return _events(call, query, scope)


def _events(
    call: ApiCall, query: EventsQuery, scope: EventScope, subject: str = ""
) -> objects.AuditEvents:
    wanted = views.parse(
        EventFilter,
        query,
        subject=subject,
        of=scope.events,
        hides_remote=scope.hides_remote,
        **query.period,
    )
    found, more = call.identity.reader.page(wanted, query.start, query.count)
    events = [views.show(objects.AuditEvent, event) for event in found]
    return objects.AuditEvents(events=events, next_page_start=more)


# ---- the certificate -------------------------------------------------------------------------
def _server_certificate(call: ApiCall) -> ServerCertificate:
    call.use(Checks).require_admin()
    return ServerCertificate(call.config.store.data, call.config.server.tls_cert)


@operations.add("GET", "/admin/settings/certificate", refusals=(404,))
def get_certificate(call: ApiCall) -> objects.Certificate:
    """Show the certificate that clients see."""
    current = _server_certificate(call)
    return views.show(objects.Certificate, current.describe(), current)


def _check_certificate(call: ApiCall) -> objects.Certificate:
    """Return the certificate in a call. Raises as `ServerCertificate.check`."""
    current = _server_certificate(call)
    checked = current.check(call.body.certificate, call.body.key)
    return views.show(objects.Certificate, checked, current)


@operations.add("PUT", "/admin/settings/certificate", refusals=(404, 409), check=_check_certificate)
def put_certificate(call: ApiCall, body: objects.NewCertificate) -> objects.Certificate:
    """Replace the certificate without a restart. Each worker uses the new one within seconds."""
    current = _server_certificate(call)
    shown = views.show(objects.Certificate, current.replace(body.certificate, body.key), current)
    detail = {"names": " ".join(shown.names), "sha256": shown.sha256, "until": shown.not_after}
    call.note("settings", "certificate", dict(detail))
    return shown
