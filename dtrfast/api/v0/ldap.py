"""The LDAP directory: its settings, a synchronisation, and a try to sign in."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dtrfast.api.v0 import objects
from dtrfast.api.v0.administration import read_settings, write_settings
from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.errors import CredentialUnknown, DtrfastError
from dtrfast.identity import settings, synchronise
from dtrfast.identity.ldap.client import Directory
from dtrfast.identity.ldap.people import Skipped
from dtrfast.identity.ldap.settings import LdapSettings, check, is_encrypted
from dtrfast.identity.synchronise import Synchronised
from dtrfast.index.engine import WriteTransaction
from dtrfast.oci import characters
from dtrfast.times import rfc3339

operations = Operations("ldap")

_SERVERS_NOTED_MAX = 200


def _settings(call: ApiCall) -> LdapSettings:
    found = read_settings(call, LdapSettings)
    if found is None:
        raise CredentialUnknown("no LDAP directory is set up: PUT its settings first")
    return found


@operations.add("GET", "/admin/settings/ldap", answer=LdapSettings, refusals=(404,))
def get_ldap_settings(call: ApiCall) -> LdapSettings:
    """Show the LDAP directory's settings, without the password."""
    return settings.hidden(_settings(call))


def _checked(call: ApiCall) -> LdapSettings:
    """The settings in a call, with the stored password where it is hidden, if they can be used.
    Raises `SettingsInvalid`.
    """
    given: LdapSettings = call.body
    document = LdapSettings(
        **{name: getattr(given, name) for name in LdapSettings.__struct_fields__}
    )
    document = settings.revealed(document, read_settings(call, LdapSettings))
    return check(document)


@operations.add(
    "PUT",
    "/admin/settings/ldap",
    answer=LdapSettings,
    body=LdapSettings,
    refusals=(400,),
    check=_checked,
)
def put_ldap_settings(call: ApiCall) -> LdapSettings:
    """Change the LDAP directory's settings. `(hidden)` keeps the password, for the same servers."""
    document = _checked(call)
    write_settings(call, document, "ldap")
    return settings.hidden(document)


class LdapTest(LdapSettings, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Settings that need not be saved, and whose sign-in to try with them."""

    username: Annotated[str, Meta(max_length=255)] = ""
    password: Annotated[str, Meta(max_length=256)] = ""


@operations.add(
    "POST",
    "/admin/settings/ldap/test",
    answer=objects.LdapTested,
    body=LdapTest,
    refusals=(400,),
)
def try_ldap_settings(call: ApiCall) -> objects.LdapTested:
    """Try settings before they are saved: who would be here, and whether somebody could sign in."""
    with call.identity.engine.read() as transaction:
        call.require_admin(transaction)
    ldap = _checked(call)
    call.note("ldap.test", "", detail={"servers": " ".join(ldap.server_urls)[:_SERVERS_NOTED_MAX]})
    tried = _tried(call, ldap) if call.body.username else None
    try:
        found = synchronise.synchronise(call.identity.engine, ldap, call.author, dry_run=True)
    except DtrfastError as error:
        found = Synchronised(call.author.now, 0.0, True, 0, [], error.message)
    return objects.LdapTested(synchronised=_synced(found), tried=tried)


@operations.add("DELETE", "/admin/settings/ldap", refusals=(404,))
def delete_ldap_settings(call: ApiCall) -> None:
    """Use no directory any more. Its accounts stay, and cannot sign in with a password."""
    _settings(call)

    def change(transaction: WriteTransaction) -> None:
        call.require_admin(transaction)
        settings.remove(transaction, call.author, LdapSettings)

    call.identity.engine.write(change)
    call.note("settings", "ldap", detail={"removed": True})


@operations.add(
    "POST",
    "/admin/ldap/sync",
    answer=objects.LdapSynced,
    body=objects.LdapSyncWish,
    refusals=(404, 409),
)
def sync_ldap(call: ApiCall) -> objects.LdapSynced:
    """Bring accounts and teams to what the directory says; `dryRun` only says what would change."""
    wish: objects.LdapSyncWish = call.body
    ldap = _settings(call)
    engine, allowed = call.identity.engine, wish.allow_removals
    if wish.dry_run:
        found = synchronise.synchronise(
            engine, ldap, call.author, dry_run=True, allow_removals=allowed
        )
        return _synced(found)
    events = call.identity.events
    done = synchronise.run(
        engine, ldap, events, call.author, remote=call.remote, allow_removals=allowed
    )
    return _synced(done)


@operations.add("GET", "/admin/ldap/sync", answer=objects.LdapSynced, refusals=(404,))
def get_last_sync(call: ApiCall) -> objects.LdapSynced:
    """Show what the last synchronisation did, and when the next one is due."""
    every = _settings(call).sync_interval_seconds
    done = synchronise.last(call.identity.engine)
    if done is None:
        raise CredentialUnknown("there was no synchronisation yet")
    next_at = rfc3339(done.started_at + int(every))
    return msgspec.structs.replace(_synced(done), next_at=next_at)


def _synced(done: Synchronised) -> objects.LdapSynced:
    return objects.LdapSynced(
        dry_run=done.dry_run,
        started_at=rfc3339(done.started_at),
        seconds=done.seconds,
        users=done.users,
        changes=done.changes,
        error=done.error,
        problems=[
            objects.LdapProblem(subject=one.subject, dn=one.dn, reason=one.reason)
            for one in done.problems
        ],
    )


@operations.add(
    "POST",
    "/admin/ldap/tryLogin",
    answer=objects.LdapTried,
    body=objects.LdapTry,
    refusals=(404,),
)
def try_ldap_login(call: ApiCall) -> objects.LdapTried:
    """Try whether somebody of the directory could sign in. Nobody is signed in by that."""
    return _tried(call, _settings(call))


def _tried(call: ApiCall, ldap: LdapSettings) -> objects.LdapTried:
    """Guesses of passwords go this way as well, past the limits of signing in: each is an event."""
    found = _try(call, ldap, call.body.username, call.body.password)
    call.note("ldap.try", call.body.username, detail={"right": found.ok, "message": found.message})
    return found


def _try(call: ApiCall, ldap: LdapSettings, username: str, password: str) -> objects.LdapTried:
    directory = Directory(ldap, call.identity.outgoing)
    try:
        found = directory.look(username)
        if found is None:
            return objects.LdapTried(ok=False, message="no user set has this login")
        if isinstance(found, Skipped):
            message = f"the entry with this login cannot be a user: {found.reason}"
            return objects.LdapTried(ok=False, message=message, dn=characters.shown(found.dn))
        right = directory.verify(username, password)
    except DtrfastError as error:
        return objects.LdapTried(ok=False, message=error.message)
    message = "the password is right" if right else "the password is wrong"
    if right and not is_encrypted(ldap):
        message += ", and went over the network unencrypted: use ldaps:// or StartTLS"
    return objects.LdapTried(
        ok=right, message=message, dn=characters.shown(found.dn), name=found.login
    )
