"""A trial of a directory's settings: a password check that starts no session."""

from __future__ import annotations

from dataclasses import dataclass

from dtrfast.errors import DtrfastError
from dtrfast.identity.ldap.client import LdapDirectory
from dtrfast.identity.ldap.people import SkippedEntry
from dtrfast.identity.ldap.settings import LdapSettings, is_encrypted
from dtrfast.oci import characters
from dtrfast.outgoing.permit import OutgoingPolicy


@dataclass(frozen=True, slots=True)
class SignInTrial:
    """The result of a trial. `dn` and `name` are the user's; empty if no user was found."""

    is_right: bool
    message: str
    dn: str = ""
    name: str = ""


def try_sign_in(
    ldap: LdapSettings, outgoing: OutgoingPolicy, username: str, password: str
) -> SignInTrial:
    """Look a user up in the directory, and check its password. Never raises `DtrfastError`."""
    directory = LdapDirectory(ldap, outgoing)
    try:
        found = directory.look(username)
        if found is None:
            return SignInTrial(False, "no user set has this login")
        dn = characters.shown(found.dn)
        if isinstance(found, SkippedEntry):
            message = f"the entry with this login cannot be a user: {found.reason}"
            return SignInTrial(False, message, dn)
        is_right = directory.verify(username, password)
    except DtrfastError as error:
        return SignInTrial(False, error.message)
    message = "the password is right" if is_right else "the password is wrong"
    if is_right and not is_encrypted(ldap):
        message += ", and went over the network unencrypted: use ldaps:// or StartTLS"
    return SignInTrial(is_right, message, dn, found.login)
