"""An LDAP directory as this registry reads it: users, members of groups, and whether a password is
somebody's.

Every call opens a connection of its own and closes it: a sign-in or a synchronisation is rare
beside what a connection that died silently would cost. What a user typed is escaped before it gets
into a filter (RFC 4515); an empty password is never sent, since a server takes it for a sign-in as
nobody, and accepts it (RFC 4513 section 5.1.2).
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
    Entry,
    IdOf,
    check,
    guarded,
    read_pages,
    reason_of,
)
from dtrfast.identity.ldap.groups import GroupMembers, GroupReader, KnownUsers
from dtrfast.identity.ldap.people import DirectoryUser, Gathering, People, Skipped, user_of
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet
from dtrfast.identity.names import fold
from dtrfast.outgoing.permit import DIRECT, Outgoing, Setter

_INVALID_CREDENTIALS = 49
# A connection is cut after this long, if it goes on answering a little at a time: one that signs a
# user in after so many of its steps, one that reads the whole directory after ten minutes.
_SIGN_IN_STEPS = 4
_READING_SECONDS = 600.0


class Directory:
    """One directory. Safe from many threads.

    Every method raises `DirectoryUnavailable` when no server answers in time, or one stops in the
    middle of an answer.
    """

    def __init__(self, settings: LdapSettings, outgoing: Outgoing = DIRECT) -> None:
        self._settings = settings
        self._outgoing = outgoing

    # ---- passwords ----------------------------------------------------------------------------
    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """Return True if it is this user's password. False for an empty one, whatever the server
        says, and for a user who has the login but another stable id.
        """
        found = self.authenticate(login, password) if password else None
        return found is not None and stable_id in (None, found.stable_id)

    def authenticate(self, login: str, password: str) -> DirectoryUser | None:
        """The user whose name and password these are."""
        found = self.find(login)
        if found is None or not password:
            return None
        with self._connected(found.dn, password, self._sign_in_seconds) as connection:
            return None if connection is None else found

    def find(self, login: str) -> DirectoryUser | None:
        """The user with this login, in the first user set that has one.

        A set that is not there ends the search: a user of a later one may have the same login.
        """
        found = self.look(login)
        return found if isinstance(found, DirectoryUser) else None

    def look(self, login: str) -> DirectoryUser | Skipped | None:
        """As `find`; where there is no user, an entry that is none, and why."""
        skipped: Skipped | None = None
        with self._searching(self._sign_in_seconds) as connection:
            for user_set in self._settings.user_sets:
                wanted = _filter_of_login(user_set, login)
                for entry in self._found(connection, user_set, wanted):
                    user = user_of(entry, user_set, self._id_of)
                    if user.login == fold(login):
                        if isinstance(user, DirectoryUser):
                            return user
                        skipped = skipped or user
        return skipped

    # ---- everybody ----------------------------------------------------------------------------
    def people(self) -> People:
        """The users in all user sets. What a set is missing is a problem of the result."""
        gathering = Gathering(self._id_of)
        with self._searching() as connection:
            for user_set in self._settings.user_sets:
                try:
                    entries = self._search(connection, user_set, user_set.filter)
                except DirectoryObjectMissing as error:
                    gathering.miss(user_set, error.message)
                else:
                    gathering.add(user_set, entries)
            for user_set in gathering.nameless:
                if not schema.read(connection).knows(user_set.full_name_attribute):
                    gathering.remark_full_names(user_set)
        return gathering.people()

    def members(
        self, groups: Sequence[GroupRef], people: People, known_groups: Iterable[str] = ()
    ) -> list[GroupMembers]:
        """The members of each of some groups. `known_groups` are the names of groups that were
        inside others when they were read before.
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

    # ---- the wire -----------------------------------------------------------------------------
    @property
    def _id_of(self) -> IdOf:
        return IdOf(self._settings.id_attribute)

    def _found(self, connection: Any, user_set: UserSet, wanted: str) -> list[Entry]:
        """As `_search`, and the message names the user set that is missing."""
        try:
            return self._search(connection, user_set, wanted)
        except DirectoryObjectMissing as error:
            message = f"the user set {user_set.base_dn} of the LDAP directory: {error.message}"
            raise DirectoryObjectMissing(message) from error

    def _search(self, connection: Any, user_set: UserSet, wanted: str) -> list[Entry]:
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
        """A connection that may search, for so long."""
        settings = self._settings
        with self._connected(settings.search_dn, settings.search_password, seconds) as connection:
            if connection is None:
                raise DirectoryUnavailable("the directory refuses searchDN and searchPassword")
            yield connection

    @contextmanager
    def _connected(self, dn: str, password: str, seconds: float) -> Iterator[Any]:
        """A connection that is signed in; None when the directory says that it may not be."""
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
        return float(self._settings.timeout_seconds * _SIGN_IN_STEPS)

    def _open(self, dn: str, password: str, seconds: float) -> tuple[Any, threading.Timer]:
        """A connection to the first server that answers, encrypted before anything is said, and
        the timer that will cut it.
        """
        reason = "no server is named"
        for url in self._settings.server_urls:
            try:
                connection = self._connection(url, dn, password)
                return connection, _opened(connection, seconds, start_tls=self._settings.start_tls)
            except (LDAPException, OSError, AddressRefused) as error:
                reason = f"{url}: {reason_of(error)}"
        raise DirectoryUnavailable(f"the LDAP directory does not answer ({reason})")

    def _connection(self, url: str, dn: str, password: str) -> Any:
        """A connection that is not open yet. Raises `AddressRefused`."""
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


def _opened(connection: Any, seconds: float, *, start_tls: bool) -> threading.Timer:
    """Open a connection and encrypt it. Returns the timer that cuts it after so many seconds."""
    cutting = threading.Timer(seconds, _cut, [connection])
    cutting.daemon = True
    cutting.start()
    try:
        connection.open()
        if start_tls and not connection.start_tls():
            raise OSError("it refuses to encrypt the connection")
    except BaseException:
        cutting.cancel()
        _close(connection)
        raise
    return cutting


def _cut(connection: Any) -> None:
    """On the timer's thread: whatever the other thread waits for ends with an error."""
    opened = connection.socket
    with suppress(OSError, AttributeError):
        opened.shutdown(socket.SHUT_RDWR)


def _filter_of_login(user_set: UserSet, login: str) -> str:
    """Who has this login. Of an e-mail address only the part before the @ is known."""
    value = escape_filter_chars(login) + ("@*" if user_set.login_is_email else "")
    return f"(&{user_set.filter}({user_set.login_attribute}={value}))"


def _close(connection: Any) -> None:
    """Say good-bye where somebody listens; the library leaves a socket open that was cut."""
    opened = connection.socket
    with suppress(LDAPException, OSError):
        connection.unbind()
    if opened is not None:
        with suppress(OSError):
            opened.close()
