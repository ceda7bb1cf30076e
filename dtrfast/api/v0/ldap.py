"""Operations on the LDAP directory: its settings, synchronizations, and trials of a sign-in."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dtrfast.api.v0 import objects, views
from dtrfast.api.v0.administration import write_settings
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity import settings
from dtrfast.identity.checks import Checks
from dtrfast.identity.directory_management import DirectoryManagement
from dtrfast.identity.ldap.settings import LdapSettings
from dtrfast.identity.ldap.trial import try_sign_in
from dtrfast.times import rfc3339

operations = Operations("ldap")

_SERVERS_NOTED_MAX = 200


@operations.add("GET", "/admin/settings/ldap", refusals=(404,))
def get_ldap_settings(call: ApiCall) -> LdapSettings:
    """Show the LDAP directory's settings, without the password."""
    return settings.hidden(call.use(DirectoryManagement).settings())


def _check(call: ApiCall) -> LdapSettings:
    """Return the settings in a call. Raises as `DirectoryManagement.check`."""
    return call.use(DirectoryManagement).check(call.body)


@operations.add("PUT", "/admin/settings/ldap", check=_check)
def put_ldap_settings(call: ApiCall, body: LdapSettings) -> LdapSettings:
    """Change the LDAP directory's settings. `(hidden)` keeps the password, for the same servers."""
    document = call.use(DirectoryManagement).check(body)
    write_settings(call, document, "ldap")
    return settings.hidden(document)


class LdapTest(LdapSettings, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Settings to try, which need not be saved. With a `username`, its sign-in is tried, too."""

    username: Annotated[str, Meta(max_length=255)] = ""
    password: Annotated[str, Meta(max_length=256)] = ""


@operations.add("POST", "/admin/settings/ldap/test")
def try_ldap_settings(call: ApiCall, body: LdapTest) -> objects.LdapTestReport:
    """Try settings before they are saved: with a dry run, and with the sign-in of a user."""
    call.use(Checks).require_admin()
    ldap = call.use(DirectoryManagement).check(body)
    call.note("ldap.test", "", {"servers": " ".join(ldap.server_urls)[:_SERVERS_NOTED_MAX]})
    tried = _try(call, ldap, body.username, body.password) if body.username else None
    found = call.use(DirectoryManagement).preview(ldap)
    synchronised = views.show(objects.LdapSyncReport, found)
    return objects.LdapTestReport(synchronised=synchronised, tried=tried)


@operations.add("DELETE", "/admin/settings/ldap", refusals=(404,))
def delete_ldap_settings(call: ApiCall) -> None:
    """Remove the directory. Its accounts stay, and cannot sign in with a password."""
    call.use(DirectoryManagement).remove()
    call.note("settings", "ldap", {"removed": True})


@operations.add("POST", "/admin/ldap/sync", refusals=(404, 409))
def sync_ldap(call: ApiCall, body: objects.LdapSyncRequest) -> objects.LdapSyncReport:
    """Synchronize accounts and teams with the directory; `dryRun` only shows the changes."""
    report = call.use(DirectoryManagement).synchronize(
        call.identity.events, call.remote, dry_run=body.dry_run, allow_removals=body.allow_removals
    )
    return views.show(objects.LdapSyncReport, report)


@operations.add("GET", "/admin/ldap/sync", refusals=(404,))
def get_last_sync(call: ApiCall) -> objects.LdapSyncReport:
    """Show the report of the last synchronization, and the time at which the next one is due."""
    report, next_at = call.use(DirectoryManagement).last_report()
    return views.show(objects.LdapSyncReport, report, next_at=rfc3339(next_at))


@operations.add("POST", "/admin/ldap/tryLogin", refusals=(404,))
def try_ldap_login(call: ApiCall, body: objects.LdapSignIn) -> objects.LdapTrial:
    """Try a user's sign-in with the directory. It opens no session."""
    ldap = call.use(DirectoryManagement).settings()
    return _try(call, ldap, body.username, body.password)


def _try(call: ApiCall, ldap: LdapSettings, username: str, password: str) -> objects.LdapTrial:
    """Try a sign-in. Each is an audit event, because the limits of sign-ins do not apply here."""
    trial = try_sign_in(ldap, call.identity.outgoing, username, password)
    call.note("ldap.try", username, {"right": trial.is_right, "message": trial.message})
    return views.show(objects.LdapTrial, trial, ok=trial.is_right)
