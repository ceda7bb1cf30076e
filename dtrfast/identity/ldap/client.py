"""The LDAP client: it reads users and members of groups, and verifies passwords.

Each call opens its own connection and closes it. Calls are rare, and a shared connection that died
silently would cost more. The text that a user typed is escaped in a filter (RFC 4515). An empty
password is never sent: a server accepts it as an anonymous bind (RFC 4513 section 5.1.2).
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars

from dtrfast.errors import AddressRefused, DirectoryObjectMissing, DirectoryUnavailable
from dtrfast.identity.ldap import schema
from dtrfast.identity.ldap.dn import key_of
from dtrfast.identity.ldap.entries import (
    SUCCESS,
    IdOf,
    LdapEntry,
    check,
    guarded,
    read_pages,
    reason_of,
)
from dtrfast.identity.ldap.groups import GroupMembers, GroupReader, KnownUsers
from dtrfast.identity.ldap.people import (
    DirectoryUser,
    People,
    PeopleCollector,
    SkippedEntry,
    user_of,
)
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet
from dtrfast.identity.names import fold
from dtrfast.outgoing.permit import DIRECT, OutgoingPolicy, Setter

_INVALID_CREDENTIALS = 49
# A connection is cut after this time even if the server still answers. A sign-in has this many
# times `timeout_seconds`. A connection that reads the whole directory has ten minutes.
_SIGN_IN_STEPS = 4
_READING_SECONDS = 600.0


class LdapDirectory:
    """A client of one directory. Safe from many threads.

    Every method raises `DirectoryUnavailable` if no server answers in time, or if a server stops in
    the middle of an answer.
    """

    def __init__(self, settings: LdapSettings, outgoing: OutgoingPolicy = DIRECT) -> None:
        self._settings = settings
        self._outgoing = outgoing

    # ---- passwords ----------------------------------------------------------------------------
    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """Return True if this is the password of the user with this login.

        With `stable_id`, the user must also have that id. An empty password is always wrong.
        """
        found = self.authenticate(login, password) if password else None
        return found is not None and stable_id in (None, found.stable_id)

    def authenticate(self, login: str, password: str) -> DirectoryUser | None:
        """Return the user with this login and password; None if either is wrong."""
        found = self.find(login)
        if found is None or not password:
            return None
        with self._connected(found.dn, password, self._sign_in_seconds) as connection:
            return None if connection is None else found

    def find(self, login: str) -> DirectoryUser | None:
        """Return the user with this login, from the first user set that has one.

        Raises `DirectoryObjectMissing` if a user set before that one is missing. A user of a later
        set may have the same login, and must not pass for the user of the missing set.
        """
        found = self.look(login)
        return found if isinstance(found, DirectoryUser) else None

    def look(self, login: str) -> DirectoryUser | SkippedEntry | None:
        """Return the user as `find` does; else an entry with this login that cannot be a user."""
        skipped: SkippedEntry | None = None
        with self._searching(self._sign_in_seconds) as connection:
            for user_set in self._settings.user_sets:
                # Of an e-mail address, the login is the part before the @.
                value = escape_filter_chars(login) + ("@*" if user_set.login_is_email else "")
                wanted = f"(&{user_set.filter}({user_set.login_attribute}={value}))"
                try:
                    entries = self._search(connection, user_set, wanted)
                except DirectoryObjectMissing as error:
                    place = f"the user set {user_set.base_dn} of the LDAP directory"
                    raise DirectoryObjectMissing(f"{place}: {error.message}") from error
                for entry in entries:
                    user = user_of(entry, user_set, self._id_of)
                    if user.login == fold(login):
                        if isinstance(user, DirectoryUser):
                            return user
                        skipped = skipped or user
        return skipped

    # ---- synchronization ----------------------------------------------------------------------
    def people(self) -> People:
        """Return the users of all user sets. A missing user set is a problem in the result."""
        collector = PeopleCollector(self._id_of)
        with self._searching() as connection:
            for user_set in self._settings.user_sets:
                try:
                    entries = self._search(connection, user_set, user_set.filter)
                except DirectoryObjectMissing as error:
                    collector.miss(user_set, error.message)
                else:
                    collector.add(user_set, entries)
            for user_set in collector.nameless:
                if not schema.read(connection).knows(user_set.full_name_attribute):
                    collector.remark_full_names(user_set)
        return collector.people()

    def members(
        self, groups: Sequence[GroupRef], people: People, known_groups: Iterable[str] = ()
    ) -> list[GroupMembers]:
        """Return the members of each group, in the order of `groups`.

        `known_groups` are the names of nested groups that an earlier reading found.
        """
        users = KnownUsers.of(people, self._settings.user_sets)
        known = {key for key in map(key_of, known_groups) if key}
        with self._searching() as connection:
            reader = GroupReader(
                connection,
                users,
                self._id_of,
                is_nesting=self._settings.nested_groups,
                known_groups=known,
            )
            return [reader.read(group) for group in groups]

    # ---- connections --------------------------------------------------------------------------
    @property
    def _id_of(self) -> IdOf:
        return IdOf(self._settings.id_attribute)

    def _search(self, connection: Any, user_set: UserSet, wanted: str) -> list[LdapEntry]:
        """Return the entries of a user set that match a filter. Raises `DirectoryObjectMissing`."""
        names = {
            user_set.login_attribute,
            user_set.full_name_attribute,
            self._settings.id_attribute,
        }
        pages = read_pages(
            connection,
            user_set.base_dn,
            wanted,
            scope=ldap3.SUBTREE if user_set.scope == "subtree" else ldap3.LEVEL,
            attributes=sorted(names - {""}),
            page_size=self._settings.page_size,
        )
        return list(pages)

    @contextmanager
    def _searching(self, seconds: float = _READING_SECONDS) -> Iterator[Any]:
        """Open a connection as the search account. It is cut after `seconds`."""
        settings = self._settings
        with self._connected(settings.search_dn, settings.search_password, seconds) as connection:
            if connection is None:
                raise DirectoryUnavailable("the directory refuses searchDN and searchPassword")
            yield connection

    @contextmanager
    def _connected(self, dn: str, password: str, seconds: float) -> Iterator[Any]:
        """Open a connection and bind it. Gives None if the directory refuses the password."""
        connection, cutting = self._open(dn, password, seconds)
        try:
            guarded(connection.bind)()
            code = connection.result["result"]
            if code not in (SUCCESS, _INVALID_CREDENTIALS):
                check(connection)
            yield connection if code == SUCCESS else None
        finally:
            cutting.cancel()
            _close(connection)

    @property
    def _sign_in_seconds(self) -> float:
        """The time after which a connection for a sign-in is cut."""
        return float(self._settings.timeout_seconds * _SIGN_IN_STEPS)

    def _open(self, dn: str, password: str, seconds: float) -> tuple[Any, threading.Timer]:
        """Open a connection to the first server that answers. Return also the timer that cuts it.

        Encryption starts before anything else is sent.
        """
        reason = "the settings name no server"
        for url in self._settings.server_urls:
            try:
                connection = self._connection(url, dn, password)
                return connection, _start(connection, seconds, start_tls=self._settings.start_tls)
            except (LDAPException, OSError, AddressRefused) as error:
                reason = f"{url}: {reason_of(error)}"
        raise DirectoryUnavailable(f"the LDAP directory does not answer ({reason})")

    def _connection(self, url: str, dn: str, password: str) -> Any:
        """Return a connection that is not open yet. Raises `AddressRefused`."""
        settings = self._settings
        permit = self._outgoing.permit(url, Setter.ADMINISTRATOR)
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            version=ssl.PROTOCOL_TLS_CLIENT,
            ca_certs_data=settings.ca_pem or None,
        )
        server = ldap3.Server(
            permit.host,
            port=permit.port,
            use_ssl=permit.url.scheme == "ldaps",
            get_info=ldap3.NONE,
            connect_timeout=settings.timeout_seconds,
            tls=tls,
        )
        return ldap3.Connection(
            server,
            user=dn or None,
            password=password or None,
            receive_timeout=settings.timeout_seconds,
            auto_referrals=False,
            check_names=False,
            raise_exceptions=False,
            read_only=True,
        )


def _start(connection: Any, seconds: float, *, start_tls: bool) -> threading.Timer:
    """Open a connection and encrypt it. Return the running timer that cuts it after `seconds`."""
    cutting = threading.Timer(seconds, _cut, [connection])
    cutting.daemon = True
    cutting.start()
    try:
        connection.open()
        if start_tls and not connection.start_tls():
            raise OSError("the server refuses to encrypt the connection")
    except BaseException:
        cutting.cancel()
        _close(connection)
        raise
    return cutting


def _cut(connection: Any) -> None:
    """Shut the socket down, on the timer's thread. The thread that uses it gets an error."""
    opened = connection.socket
    with suppress(OSError, AttributeError):
        opened.shutdown(socket.SHUT_RDWR)


def _close(connection: Any) -> None:
    """Unbind and close a connection. The library leaves the socket of a cut connection open."""
    opened = connection.socket
    with suppress(LDAPException, OSError):
        connection.unbind()
    if opened is not None:
        with suppress(OSError):
            opened.close()
