"""A real slapd on a loopback port, with 5,000 users and nested groups."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ldap3

from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from tests.e2e.certificates import Certificate, make

BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
STAFF = f"ou=staff,{BASE}"
GROUPS = f"ou=groups,{BASE}"
ODD = f"ou=odd,{BASE}"
ROOT_DN = f"cn=root,{BASE}"
ROOT_PASSWORD = "root password"
USERS = 5000
SIZE_LIMIT = 1000
_START_SECONDS = 10.0

_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {chain}
TLSCertificateKeyFile {key}
sizelimit size.soft={limit} size.hard={limit} size.prtotal=unlimited
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{password}"
directory {folder}/db
maxsize 268435456
index objectClass,uid,mail eq
access to attrs=userPassword by self write by anonymous auth by * none
access to dn.exact="cn=unseen,ou=groups,{base}" by * none
access to dn.exact="cn=veiled,ou=groups,{base}" attrs=member by * none
access to dn.exact="cn=shapeless,ou=groups,{base}" attrs=objectClass by * none
access to filter=(sn=user2) attrs=uid by dn.exact="cn=blind,{base}" none by * read
access to filter=(sn=user3) attrs=entryUUID by dn.exact="cn=blind,{base}" none by * read
access to * by dn.exact="cn=reader,{base}" read by dn.exact="cn=blind,{base}" read by * auth
limits dn.exact="cn=reader,{base}" size.soft={limit} size.hard={limit} size.prtotal=unlimited
"""


@dataclass
class Slapd:
    """A running server, with its address."""

    port: int
    tls_port: int
    authority: str
    process: subprocess.Popen[bytes]
    start: list[str]

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def settings(self, **changes: object) -> LdapSettings:
        """Return settings with all users below `PEOPLE`."""
        given: dict[str, object] = {
            "server_urls": (self.url,),
            "user_sets": (UserSet(base_dn=PEOPLE),),
            "search_dn": f"cn=reader,{BASE}",
            "search_password": "reader",
            "timeout_seconds": 2,
        }
        return LdapSettings(**{**given, **changes})  # type: ignore[arg-type]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def start_again(self) -> None:
        self.process = subprocess.Popen(self.start, stdout=subprocess.DEVNULL, stderr=None)
        _wait(self.port)

    @contextmanager
    def admin(self) -> Iterator[ldap3.Connection]:
        """Open a connection that may change everything."""
        server = ldap3.Server(self.url, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server, ROOT_DN, ROOT_PASSWORD, auto_bind=True, raise_exceptions=True
        )
        try:
            yield connection
        finally:
            connection.unbind()


@contextmanager
def running(folder: Path) -> Iterator[Slapd]:
    """Run a server with its data in `folder`."""
    (folder / "db").mkdir(parents=True)
    (folder / "tls").mkdir()
    certificate = make(folder / "tls")
    configuration = folder / "slapd.conf"
    configuration.write_text(_configure(folder, certificate))
    ldif = folder / "people.ldif"
    ldif.write_text("\n".join(_entries()))
    add = ["slapadd", "-q", "-f", str(configuration), "-l", str(ldif)]
    subprocess.run([shutil.which("slapadd") or "/usr/sbin/slapadd", *add[1:]], check=True)
    port, tls_port = _free_port(), _free_port()
    start = [
        shutil.which("slapd") or "/usr/sbin/slapd",
        "-f",
        str(configuration),
        "-h",
        f"ldap://127.0.0.1:{port} ldaps://127.0.0.1:{tls_port}",
        "-d",
        "0",
    ]
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL)
    server = Slapd(port, tls_port, certificate.authority.read_text(), process, start)
    try:
        _wait(port)
        yield server
    finally:
        server.stop()


def user_dn(number: int) -> str:
    return f"uid=user{number},{PEOPLE}"


def password_of(number: int) -> str:
    return f"secret {number}"


def _configure(folder: Path, certificate: Certificate) -> str:
    return _CONFIGURATION.format(
        folder=folder,
        chain=certificate.chain,
        key=certificate.key,
        base=BASE,
        root=ROOT_DN,
        password=ROOT_PASSWORD,
        limit=SIZE_LIMIT,
    )


def _entries() -> Iterator[str]:
    yield f"dn: {BASE}\nobjectClass: domain\ndc: example\n"
    for unit in (PEOPLE, STAFF, GROUPS):
        yield f"dn: {unit}\nobjectClass: organizationalUnit\n"
    for name in ("reader", "blind"):
        yield f"dn: cn={name},{BASE}\nobjectClass: person\nsn: {name}\nuserPassword: {name}\n"
    for number in range(USERS):
        yield _person(user_dn(number), f"user{number}", f"User {number}", password_of(number))
    yield _person(f"uid=BigBoss,{STAFF}", "BigBoss", "The Boss", "boss password", "big.boss@x.org")
    yield _person(f"uid=odd one,{STAFF}", "odd one", "An Odd One", "odd password")
    yield from _groups()


def _person(dn: str, login: str, full_name: str, password: str, mail: str = "") -> str:
    return (
        f"dn: {dn}\nobjectClass: inetOrgPerson\nuid: {login}\ncn: {full_name}\n"
        f"sn: {login}\nmail: {mail or login.replace(' ', '.') + '@example.org'}\n"
        f"userPassword: {password}\n"
    )


def _groups() -> Iterator[str]:
    yield _group("all", [user_dn(number) for number in range(USERS)])
    yield _group("few", [user_dn(number) for number in range(10)])
    # Nested groups, also in a cycle.
    yield _group("outer", [user_dn(10), f"cn=inner,{GROUPS}"])
    yield _group("inner", [user_dn(11), f"cn=innermost,{GROUPS}"])
    yield _group("innermost", [user_dn(12), f"cn=outer,{GROUPS}", f"cn=gone,{GROUPS}"])
    yield (
        f"dn: cn=unix,{GROUPS}\nobjectClass: posixGroup\ngidNumber: 100\n"
        "memberUid: user1\nmemberUid: user2\nmemberUid: missing\n"
    )
    yield _group("bosses", [user_dn(0)])
    # The search account may not read all of these, or they lack something.
    for name in ("unseen", "veiled", "shapeless"):
        yield _group(name, [user_dn(1)])
    yield f"dn: cn=void,{GROUPS}\nobjectClass: posixGroup\ngidNumber: 101\n"
    yield _group("placeholder", [f"cn=placeholder,{GROUPS}"])
    yield _group("strangers", [f"cn=reader,{BASE}", f"uid=left,{PEOPLE}"])
    for name, target in (("alias", "few"), ("dangling", "nowhere")):
        yield (
            f"dn: cn={name},{GROUPS}\nobjectClass: alias\nobjectClass: extensibleObject\n"
            f"aliasedObjectName: cn={target},{GROUPS}\n"
        )
    yield (
        f"dn: cn=elsewhere,{GROUPS}\nobjectClass: referral\nobjectClass: extensibleObject\n"
        f"ref: ldap://127.0.0.1:1/cn=elsewhere,{GROUPS}\n"
    )
    yield from _odd_names()


def _odd_names() -> Iterator[str]:
    """Yield users with DNs in many spellings, and a group that spells them differently."""
    yield f"dn: {ODD}\nobjectClass: organizationalUnit\n"
    yield _person(f"cn=Doe\\, Jane+uid=jane,{ODD}", "jane", "Doe, Jane", "-")
    yield _person(f"uid=juergen,{ODD}", "juergen", "Jürgen", "-")
    yield _person(f"cn=Müller  \\#1,{ODD}", "mueller", "Müller  #1", "-")
    yield _group(
        "spelled",
        [
            f"UID=Jane + CN=DOE\\2c Jane, OU=Odd, {BASE}",
            f"0.9.2342.19200300.100.1.1=JUERGEN , {ODD}",
            f"cn=M\\C3\\BCLLER \\231,{ODD}",
        ],
    )


def _group(name: str, members: Sequence[str]) -> str:
    lines = "\n".join(f"member: {dn}" for dn in members)
    return f"dn: cn={name},{GROUPS}\nobjectClass: groupOfNames\n{lines}\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "slapd does not answer"
            time.sleep(0.02)
