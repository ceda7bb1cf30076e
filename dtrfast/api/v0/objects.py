"""What the management API sends and takes: Docker Trusted Registry's objects, and ours."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AccessLevel = Literal["read-only", "read-write", "admin"]
Visibility = Literal["public", "private"]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
# `texts.check` sees to it that it is one line which a terminal can show.
Text = Annotated[str, Meta(max_length=1024)]
Readme = Annotated[str, Meta(max_length=65_536)]


class Sent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What goes out."""


class Taken(msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """What comes in. A field that is not known is refused: it would be taken for done."""


# ---- accounts --------------------------------------------------------------------------------
class Account(Sent, frozen=True, kw_only=True):
    """A user or an organization. `isActive` and `isAdmin` of a user are for system administrators
    and the user itself; others get neither.
    """

    id: str
    type: Literal["user", "organization"]
    name: str
    is_active: bool | msgspec.UnsetType = msgspec.UNSET
    is_admin: bool | msgspec.UnsetType = msgspec.UNSET
    full_name: str = ""
    # The stable id in the LDAP directory of a user who comes from there.
    ldap_login: str = ""
    created_at: str


class Accounts(Sent, frozen=True, kw_only=True):
    accounts: list[Account]
    next_page_start: str = ""


class NewAccount(Taken, frozen=True, kw_only=True):
    """`password` is for users; without one a user signs in once a password is set."""

    type: Literal["user", "organization"] = "user"
    name: Name
    password: Annotated[str, Meta(max_length=256)] = ""
    full_name: Text = ""
    is_admin: bool = False
    is_active: bool = True


class AccountChange(Taken, frozen=True, kw_only=True):
    """What is left out stays."""

    full_name: Text | msgspec.UnsetType = msgspec.UNSET
    is_admin: bool | msgspec.UnsetType = msgspec.UNSET


class AccountsImport(Taken, frozen=True, kw_only=True):
    """Lines of `username,password,fullName,isAdmin`; a first line may name the columns."""

    csv: Annotated[str, Meta(max_length=262_144)]


class AccountsImported(Sent, frozen=True, kw_only=True):
    """Names of the users that were made, and of those that were there already."""

    made: list[str]
    taken: list[str]


class PasswordChange(Taken, frozen=True, kw_only=True):
    """Users give their old password; administrators need not, but for their own."""

    old_password: Annotated[str, Meta(max_length=256)] = ""
    new_password: Annotated[str, Meta(max_length=256)]


class NewPassword(Sent, frozen=True, kw_only=True):
    """A password that was made, shown once."""

    password: str


class Organizations(Sent, frozen=True, kw_only=True):
    organizations: list[Account]


class Member(Sent, frozen=True, kw_only=True):
    """A user in an organization or a team."""

    member: Account
    is_owner: bool = False


class Members(Sent, frozen=True, kw_only=True):
    members: list[Account]
    next_page_start: str = ""


class OrganizationMember(Account, frozen=True, kw_only=True):
    """A user in an organization, with the names of the teams there."""

    teams: list[str] = []


class OrganizationMembers(Sent, frozen=True, kw_only=True):
    members: list[OrganizationMember]
    next_page_start: str = ""


# ---- teams -----------------------------------------------------------------------------------
class Team(Sent, frozen=True, kw_only=True):
    id: str
    org_id: str
    name: str
    description: str = ""
    type: Literal["managed", "ldap"] = "managed"
    ldap_dn: str = msgspec.field(default="", name="ldapDN")
    ldap_group_member_attribute: str = ""
    # Whether whoever asks is in it.
    client_user_is_member: bool = False


class Teams(Sent, frozen=True, kw_only=True):
    teams: list[Team]
    next_page_start: str = ""


class NewTeam(Taken, frozen=True, kw_only=True):
    """A team of type `ldap` has the members of the group `ldapDN`."""

    name: Name
    description: Text = ""
    type: Literal["managed", "ldap"] = "managed"
    ldap_dn: Text = msgspec.field(default="", name="ldapDN")
    ldap_group_member_attribute: Text = ""


class TeamChange(Taken, frozen=True, kw_only=True):
    """What is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Text | msgspec.UnsetType = msgspec.UNSET
    type: Literal["managed", "ldap"] | msgspec.UnsetType = msgspec.UNSET
    ldap_dn: Text | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="ldapDN")
    ldap_group_member_attribute: Text | msgspec.UnsetType = msgspec.UNSET


# ---- repositories ----------------------------------------------------------------------------
class Repository(Sent, frozen=True, kw_only=True):
    """`namespace` is empty for a name of one part, such as `alpine`: in addresses it is `_` then.
    `namespaceType` is of the account that the repository belongs to, be it by its whole name;
    empty for the registry's own.
    """

    id: str
    namespace: str
    namespace_type: Literal["user", "organization", ""]
    name: str
    short_description: str = ""
    long_description: str = ""
    # Only where it was asked for.
    long_description_html: str = ""
    visibility: Visibility
    status: str = "ok"
    created_at: str
    # What whoever asks may do.
    access_level: str = ""


class Repositories(Sent, frozen=True, kw_only=True):
    """`isExact`: false where there are more than one request sorts: later names are missing."""

    repositories: list[Repository]
    next_page_start: str = ""
    is_exact: bool = True


class NewRepository(Taken, frozen=True, kw_only=True):
    """A repository below a namespace; its name may have slashes."""

    name: Name
    short_description: Text = ""
    long_description: Readme = ""
    visibility: Visibility = "private"


class RepositoryChange(Taken, frozen=True, kw_only=True):
    """What is left out stays."""

    short_description: Text | msgspec.UnsetType = msgspec.UNSET
    long_description: Readme | msgspec.UnsetType = msgspec.UNSET
    visibility: Visibility | msgspec.UnsetType = msgspec.UNSET


class Tag(Sent, frozen=True, kw_only=True):
    """A tag. Nothing here is signed by Notary; signatures are referrers."""

    name: str
    in_registry: bool = True
    in_notary: bool = False
    hash_mismatch: bool = False
    digest: str = ""
    set_at: str = ""
    set_by: str = ""


class Tags(Sent, frozen=True, kw_only=True):
    name: str
    tags: list[Tag]
    next_page_start: str = ""


class Trusted(Sent, frozen=True, kw_only=True):
    """Which manifests vouch for a tag: those that have it as their subject."""

    name: str
    digest: str
    in_notary: bool = False
    referrers: list[str]


# ---- access ----------------------------------------------------------------------------------
class LevelGiven(Taken, frozen=True, kw_only=True):
    access_level: AccessLevel


class UserAccess(Sent, frozen=True, kw_only=True):
    """What a user may do; `accessLevel` is `none` where it is nothing."""

    access_level: str
    user: Account
    repository: Repository | None = None


class UserAccessList(Sent, frozen=True, kw_only=True):
    repository: Repository
    user_access_list: list[UserAccess]
    next_page_start: str = ""


class TeamAccess(Sent, frozen=True, kw_only=True):
    access_level: str
    team: Team
    repository: Repository | None = None


class TeamAccessList(Sent, frozen=True, kw_only=True):
    repository: Repository
    team_access_list: list[TeamAccess]
    next_page_start: str = ""


class RepositoryAccess(Sent, frozen=True, kw_only=True):
    access_level: str
    repository: Repository


class TeamRepositoryAccess(Sent, frozen=True, kw_only=True):
    team: Team
    repository_access_list: list[RepositoryAccess]
    next_page_start: str = ""


class NamespaceAccess(Sent, frozen=True, kw_only=True):
    """What a user may do with all repositories of a namespace."""

    access_level: str
    user: Account
    namespace: Account


class NamespaceTeamAccess(Sent, frozen=True, kw_only=True):
    access_level: str
    namespace: Account
    team: Team


class NamespaceTeamAccessList(Sent, frozen=True, kw_only=True):
    namespace: Account
    team_access_list: list[NamespaceTeamAccess]


class TagResult(Sent, frozen=True, kw_only=True):
    repository: str
    tag: str


class SearchResults(Sent, frozen=True, kw_only=True):
    """`isExact`: false where there are more names than one request looks at."""

    account_results: list[Account]
    repository_results: list[Repository]
    tag_results: list[TagResult] = []
    is_exact: bool = True


# ---- credentials -----------------------------------------------------------------------------
class Scope(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Repositories (`acme/app`, `acme/*` or `*`), and what may be done there."""

    repository: Name
    actions: list[Annotated[str, Meta(max_length=16)]]


class Credential(Sent, frozen=True, kw_only=True):
    """A personal token or a robot. `token` is there once: when it was made."""

    id: str
    name: str
    # What to sign in as.
    user: str
    scopes: list[Scope]
    created_at: str
    created_by: str
    expires_at: str = ""
    last_used_at: str = ""
    last_used_from: str = ""
    token: str = ""


class Credentials(Sent, frozen=True, kw_only=True):
    credentials: list[Credential]
    next_page_start: str = ""


class NewCredential(Taken, frozen=True, kw_only=True):
    """`expiresInDays` 0: never; left out: what the settings say."""

    name: Name
    scopes: Annotated[list[Scope], Meta(max_length=100)] = []
    expires_in_days: Annotated[int, Meta(ge=0, le=36_500)] | msgspec.UnsetType = msgspec.UNSET


class Trust(Sent, frozen=True, kw_only=True):
    """The jobs that may use a repository without a secret. It is in force while its issuer's name
    is that of the issuer for which it was made.
    """

    name: str
    issuer: str
    claims: dict[str, str]
    actions: list[str]
    is_in_force: bool = True


class Trusts(Sent, frozen=True, kw_only=True):
    trusts: list[Trust]
    next_page_start: str = ""


class NewTrust(Taken, frozen=True, kw_only=True):
    issuer: Name
    claims: dict[str, Text]
    actions: tuple[Literal["pull", "push", "delete"], ...] = ("pull", "push")


class SignInForm(Taken, frozen=True, kw_only=True):
    """`next` is where the browser wants to go afterwards, a path of this server."""

    username: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=256)]
    next: Annotated[str, Meta(max_length=2048)] = "/"


class Session(Sent, frozen=True, kw_only=True):
    """`csrfToken` goes into the header `x-csrf-token` of every request that changes something."""

    account: Account
    csrf_token: str = ""
    expires_at: str = ""
    next: str = "/"


class OpenSession(Sent, frozen=True, kw_only=True):
    """A browser's sign-in. `isCurrent`: the one that asks."""

    id: str
    created_at: str
    expires_at: str
    remote: str
    is_current: bool


class Sessions(Sent, frozen=True, kw_only=True):
    sessions: list[OpenSession]
    next_page_start: str = ""


# ---- administration --------------------------------------------------------------------------
class LdapTry(Taken, frozen=True, kw_only=True):
    username: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=256)]


class LdapTried(Sent, frozen=True, kw_only=True):
    """What a sign-in with these would do."""

    ok: bool
    message: str
    dn: str = ""
    name: str = ""


class LdapSyncWish(Taken, frozen=True, kw_only=True):
    """`dryRun` changes nothing; `allowRemovals` removes more than `removalShareMax`, and takes what
    is there and empty for true.
    """

    dry_run: bool = False
    allow_removals: bool = False


class LdapProblem(Sent, frozen=True, kw_only=True):
    """Something that is missing in the directory. `subject` depends on it and stayed as it was."""

    subject: str
    dn: str
    reason: str


class LdapSynced(Sent, frozen=True, kw_only=True):
    """The changes that a synchronization made, or would make; the next one is due at `nextAt`.

    With an `error` it changed nothing.
    """

    dry_run: bool
    started_at: str
    seconds: float
    users: int
    changes: list[dict[str, str]]
    error: str = ""
    problems: list[LdapProblem] = []
    next_at: str = ""


class LdapTested(Sent, frozen=True, kw_only=True):
    """What settings would do: a synchronisation, and the sign-in of who was named."""

    synchronised: LdapSynced
    tried: LdapTried | None = None


class Certificate(Sent, frozen=True, kw_only=True):
    """The certificate that is shown to clients."""

    subject: str
    issuer: str
    names: list[str]
    not_before: str
    not_after: str
    sha256: str
    replaceable: bool


class NewCertificate(Taken, frozen=True, kw_only=True):
    """Both in PEM."""

    certificate: Annotated[str, Meta(max_length=1 << 20)]
    key: Annotated[str, Meta(max_length=1 << 16)]


class AuditEvent(Sent, frozen=True, kw_only=True):
    time: str
    kind: str
    actor: str
    remote: str
    outcome: str
    subject: str
    detail: dict[str, str | int | bool | None]


class AuditEvents(Sent, frozen=True, kw_only=True):
    """`nextPageStart` goes on with older ones; a page may be empty and not be the last."""

    events: list[AuditEvent]
    next_page_start: str = ""
