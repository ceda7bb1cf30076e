"""An LDAP directory as this registry reads it: users, members of groups, and whether a password is
somebody's.

Every call opens a connection of its own and closes it: a sign-in or a synchronisation is rare
beside what a connection that died silently would cost. What a user typed is escaped before it gets
into a filter (RFC 4515); an empty password is never sent, since a server takes it for a sign-in as
nobody, and accepts it (RFC 4513 section 5.1.2).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars

from dtrfast.errors import DirectoryUnavailable
from dtrfast.identity.ldap.settings import GroupRef, LdapSettings, UserSet
from dtrfast.identity.names import fold, is_account_name

# Groups in groups: deeper is a cycle that was cut wrongly, or nobody's organisation.
_GROUPS_MAX = 1000
_INVALID_CREDENTIALS = 49
_NO_SUCH_OBJECT = 32
_SUCCESS = 0


@dataclass(frozen=True, slots=True)
class DirectoryUser:
    """Somebody in the directory. `login` is the name that an account would have."""

    stable_id: str
    dn: str
    login: str
    full_name: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """Somebody who gets no account, and why."""

    dn: str
    reason: str


@dataclass(frozen=True, slots=True)
class People:
    """Who is in the directory: each once, by stable id, in the order of the user sets."""

    users: tuple[DirectoryUser, ...]
    skipped: tuple[Skipped, ...]


class Directory:
    """One directory. Safe from many threads.

    Every method raises `DirectoryUnavailable` when no server answers in time, or one stops in the
    middle of an answer.
    """

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings

    @property
    def is_nesting(self) -> bool:
        """Whether members of a group in a group belong to both."""
        return self._settings.nested_groups

    # ---- passwords ----------------------------------------------------------------------------
    def verify(self, login: str, password: str, stable_id: str | None = None) -> bool:
        """Whether it is this user's password. False for an empty one, whatever the server says, and
        for a user who has the login but another stable id.
        """
        found = self.authenticate(login, password) if password else None
        return found is not None and stable_id in (None, found.stable_id)

    def authenticate(self, login: str, password: str) -> DirectoryUser | None:
        """The user whose name and password these are."""
        found = self.find(login)
        if found is None or not password:
            return None
        with self._connected(found.dn, password) as connection:
            return None if connection is None else found

    def find(self, login: str) -> DirectoryUser | None:
        """The user with this login, in the first user set that has one."""
        with self._searching() as connection:
            for user_set in self._settings.user_sets:
                wanted = _filter_of_login(user_set, login)
                for entry in self._search(connection, user_set, wanted):
                    user = _user(entry, user_set, self._settings.id_attribute)
                    if isinstance(user, DirectoryUser) and user.login == fold(login):
                        return user
        return None

    # ---- everybody ----------------------------------------------------------------------------
    def people(self) -> People:
        """Everybody in all user sets."""
        users: dict[str, DirectoryUser] = {}
        logins: dict[str, str] = {}
        skipped: list[Skipped] = []
        with self._searching() as connection:
            for user_set in self._settings.user_sets:
                for entry in self._search(connection, user_set, user_set.filter):
                    found = _user(entry, user_set, self._settings.id_attribute)
                    if isinstance(found, Skipped):
                        skipped.append(found)
                    elif found.stable_id not in users:
                        first = logins.setdefault(found.login, found.dn)
                        if first != found.dn:
                            reason = f"the login {found.login} is that of {first}"
                            skipped.append(Skipped(found.dn, reason))
                            continue
                        users[found.stable_id] = found
        return People(tuple(users.values()), tuple(skipped))

    def members(self, groups: Sequence[GroupRef], users: Iterable[DirectoryUser]) -> list[set[str]]:
        """The stable ids of the users in each of some groups, and in groups inside them."""
        by_dn = {_normal(user.dn): user.stable_id for user in users}
        by_login = {user.login: user.stable_id for user in users}
        with self._searching() as connection:
            return [_Members(self, connection, by_dn, by_login).of(group) for group in groups]

    # ---- the wire -----------------------------------------------------------------------------
    def group_values(self, connection: Any, dn: str, attribute: str) -> list[str]:
        """What a group holds; nothing if it is not there. Large ones come in ranges."""
        values: list[str] = []
        wanted = attribute
        while True:
            search = _guarded(connection.search)
            search(dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=[wanted])
            code = connection.result["result"]
            if code == _NO_SUCH_OBJECT:
                return []
            _check(connection)
            entries = [e for e in connection.response if e.get("type") == "searchResEntry"]
            attributes = entries[0]["raw_attributes"] if entries else {}
            values += _texts(attributes.get(attribute, ()))
            prefix = f"{attribute};range=".lower()
            ranged = next((name for name in attributes if name.lower().startswith(prefix)), "")
            if not ranged:
                return values
            values += _texts(attributes[ranged])
            end = ranged.rpartition("-")[2]
            if end == "*":
                return values
            wanted = f"{attribute};range={int(end) + 1}-*"

    def _search(self, connection: Any, user_set: UserSet, wanted: str) -> Iterator[dict[str, Any]]:
        """Entries in pages (RFC 2696), as servers answer with a few hundred at a time."""
        scope = ldap3.SUBTREE if user_set.scope == "subtree" else ldap3.LEVEL
        attributes = [
            user_set.login_attribute,
            user_set.full_name_attribute,
            self._settings.id_attribute,
        ]
        cookie = None
        while True:
            _guarded(connection.search)(
                user_set.base_dn,
                wanted,
                search_scope=scope,
                attributes=attributes,
                paged_size=self._settings.page_size,
                paged_cookie=cookie,
            )
            _check(connection)
            for entry in connection.response:
                if entry.get("type") == "searchResEntry":
                    yield entry
            controls = connection.result.get("controls") or {}
            paging = controls.get("1.2.840.113556.1.4.319", {})
            cookie = paging.get("value", {}).get("cookie")
            if not cookie:
                return

    @contextmanager
    def _searching(self) -> Iterator[Any]:
        """A connection that may search."""
        settings = self._settings
        with self._connected(settings.search_dn, settings.search_password) as connection:
            if connection is None:
                raise DirectoryUnavailable("the directory refuses searchDN and searchPassword")
            yield connection

    @contextmanager
    def _connected(self, dn: str, password: str) -> Iterator[Any]:
        """A connection that is signed in; None when the directory says that it may not be."""
        connection = self._open(dn, password)
        try:
            _guarded(connection.bind)()
            code = connection.result["result"]
            if code not in (_SUCCESS, _INVALID_CREDENTIALS):
                _check(connection)
            yield connection if code == _SUCCESS else None
        finally:
            _close(connection)

    def _open(self, dn: str, password: str) -> Any:
        """A connection to the first server that answers, encrypted before anything is said."""
        reason = "no server is named"
        for url in self._settings.server_urls:
            try:
                return self._open_one(url, dn, password)
            except (LDAPException, OSError, ssl.SSLError) as error:
                reason = f"{url}: {_reason(error)}"
        raise DirectoryUnavailable(f"the LDAP directory does not answer ({reason})")

    def _open_one(self, url: str, dn: str, password: str) -> Any:
        settings = self._settings
        tls = ldap3.Tls(
            validate=ssl.CERT_REQUIRED,
            version=ssl.PROTOCOL_TLS_CLIENT,
            ca_certs_data=settings.ca_pem or None,
        )
        server = ldap3.Server(
            url, get_info=ldap3.NONE, connect_timeout=settings.timeout_seconds, tls=tls
        )
        connection = ldap3.Connection(
            server,
            user=dn or None,
            password=password or None,
            receive_timeout=settings.timeout_seconds,
            auto_referrals=False,
            check_names=False,
            raise_exceptions=False,
            read_only=True,
        )
        try:
            connection.open()
            if settings.start_tls and not connection.start_tls():
                raise OSError("it refuses to encrypt the connection")
        except BaseException:
            _close(connection)
            raise
        return connection


class _Members:
    """Collects the users of a group and of the groups inside it."""

    def __init__(
        self, directory: Directory, connection: Any, by_dn: dict[str, str], by_login: dict[str, str]
    ) -> None:
        self._directory = directory
        self._connection = connection
        self._by_dn = by_dn
        self._by_login = by_login

    def of(self, group: GroupRef) -> set[str]:
        found: set[str] = set()
        waiting, seen = [group.dn], {_normal(group.dn)}
        while waiting and len(seen) <= _GROUPS_MAX:
            dn = waiting.pop()
            for value in self._directory.group_values(self._connection, dn, group.member_attribute):
                user = self._by_dn.get(_normal(value)) or self._by_login.get(fold(value))
                if user is not None:
                    found.add(user)
                elif self._directory.is_nesting and "=" in value and _normal(value) not in seen:
                    seen.add(_normal(value))
                    waiting.append(value)
        return found


def _user(entry: dict[str, Any], user_set: UserSet, id_attribute: str) -> DirectoryUser | Skipped:
    attributes = {name.lower(): values for name, values in entry["raw_attributes"].items()}
    dn = str(entry["dn"])
    logins = _texts(attributes.get(user_set.login_attribute.lower(), ()))
    stable = attributes.get(id_attribute.lower(), ())
    if not logins:
        return Skipped(dn, f"it has no {user_set.login_attribute}")
    if not stable:
        return Skipped(dn, f"it has no {id_attribute}")
    login = fold(logins[0].partition("@")[0] if user_set.login_is_email else logins[0])
    if not is_account_name(login):
        return Skipped(dn, f"{logins[0][:80]!r} cannot be the name of an account")
    names = _texts(attributes.get(user_set.full_name_attribute.lower(), ()))
    return DirectoryUser(_stable_text(stable[0]), dn, login, names[0][:255] if names else "")


def _stable_text(value: bytes) -> str:
    """An id as text: entryUUID is ASCII, objectGUID sixteen bytes."""
    text = value.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() else value.hex()


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def _filter_of_login(user_set: UserSet, login: str) -> str:
    """Who has this login. Of an e-mail address only the part before the @ is known."""
    value = escape_filter_chars(login) + ("@*" if user_set.login_is_email else "")
    return f"(&{user_set.filter}({user_set.login_attribute}={value}))"


def _normal(dn: str) -> str:
    """A DN to compare: servers differ in case and in blanks behind commas."""
    return ",".join(piece.strip() for piece in dn.lower().split(","))


def _close(connection: Any) -> None:
    """Say good-bye where somebody listens; the library leaves a socket open that was cut."""
    opened = connection.socket
    with suppress(LDAPException, OSError):
        connection.unbind()
    if opened is not None:
        with suppress(OSError):
            opened.close()


def _guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with what goes wrong on the wire as our exception."""

    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except (LDAPException, OSError) as error:
            message = f"the LDAP directory stopped answering ({_reason(error)})"
            raise DirectoryUnavailable(message) from error

    return guarded


def _check(connection: Any) -> None:
    """Anything but success ends what is being read: half of a directory is none."""
    result = connection.result
    if result["result"] not in (_SUCCESS,):
        description = f"{result.get('description', 'error')} {result.get('message', '')}".strip()
        raise DirectoryUnavailable(f"the LDAP directory answered: {description[:200]}")


def _reason(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__
