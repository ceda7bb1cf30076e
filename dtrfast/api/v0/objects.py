"""Objects that the management API sends and takes: Docker Trusted Registry's, and more."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

AccessLevel = Literal["read-only", "read-write", "admin"]
Visibility = Literal["public", "private"]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
# `validation.check_texts` rejects line ends and control characters.
Text = Annotated[str, Meta(max_length=1024)]
Readme = Annotated[str, Meta(max_length=65_536)]
# There are four actions, and a client may repeat some.
_ACTIONS_LENGTH_MAX = 16
# A job's token has some 30 claims.
_CLAIMS_MAX = 100


class ApiObject(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An object in a response."""


class ListPage(ApiObject, frozen=True, kw_only=True):
    """A page of a list. `nextPageStart` is empty at the end of the list."""

    next_page_start: str = ""


class BodyObject(
    msgspec.Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True
):
    """The body of a request. Unknown fields are rejected: ignoring one would look like success."""


# ---- accounts --------------------------------------------------------------------------------
class Account(ApiObject, frozen=True, kw_only=True):
    """A user or an organization. Only the user and system administrators get `isActive` and
    `isAdmin` of a user. `ldapLogin` is the login of a user from the LDAP directory.
    """

    id: str
    type: Literal["user", "organization"]
    name: str
    is_active: bool | msgspec.UnsetType = msgspec.UNSET
    is_admin: bool | msgspec.UnsetType = msgspec.UNSET
    full_name: str = ""
    ldap_login: str = ""
    created_at: str


class Accounts(ListPage, frozen=True, kw_only=True):
    accounts: list[Account]


class NewAccount(BodyObject, frozen=True, kw_only=True):
    """A new account. A user without a password cannot sign in until a password is set."""

    type: Literal["user", "organization"] = "user"
    name: Name
    password: Annotated[str, Meta(max_length=256)] = ""
    full_name: Text = ""
    is_admin: bool = False
    is_active: bool = True


class AccountChange(BodyObject, frozen=True, kw_only=True):
    """A change of an account. Fields that are left out keep their values."""

    full_name: Text | msgspec.UnsetType = msgspec.UNSET
    is_admin: bool | msgspec.UnsetType = msgspec.UNSET


class AccountsImport(BodyObject, frozen=True, kw_only=True):
    """Lines of `username,password,fullName,isAdmin`. The first line may name the columns."""

    csv: Annotated[str, Meta(max_length=262_144)]


class ImportReport(ApiObject, frozen=True, kw_only=True):
    """The names of the created users (`made`), and of those that existed before (`taken`)."""

    made: list[str]
    taken: list[str]


class PasswordChange(BodyObject, frozen=True, kw_only=True):
    """A new password. The old one is required, except from an administrator for another user."""

    old_password: Annotated[str, Meta(max_length=256)] = ""
    new_password: Annotated[str, Meta(max_length=256)]


class NewPassword(ApiObject, frozen=True, kw_only=True):
    """A generated password. It is shown only once."""

    password: str


class Organizations(ApiObject, frozen=True, kw_only=True):
    organizations: list[Account]


class Member(ApiObject, frozen=True, kw_only=True):
    """A user in an organization or a team."""

    member: Account
    is_owner: bool = False


class Members(ListPage, frozen=True, kw_only=True):
    members: list[Account]


class OrganizationMember(Account, frozen=True, kw_only=True):
    """A user in an organization, with the names of the user's teams there."""

    teams: list[str] = []


class OrganizationMembers(ListPage, frozen=True, kw_only=True):
    members: list[OrganizationMember]


# ---- teams -----------------------------------------------------------------------------------
class Team(ApiObject, frozen=True, kw_only=True):
    """A team of an organization. `clientUserIsMember`: the caller is a member."""

    id: str
    org_id: str
    name: str
    description: str = ""
    type: Literal["managed", "ldap"] = "managed"
    ldap_dn: str = msgspec.field(default="", name="ldapDN")
    ldap_group_member_attribute: str = ""
    client_user_is_member: bool = False


class Teams(ListPage, frozen=True, kw_only=True):
    teams: list[Team]


class NewTeam(BodyObject, frozen=True, kw_only=True):
    """A new team. The members of a team of type `ldap` are those of the group `ldapDN`."""

    name: Name
    description: Text = ""
    type: Literal["managed", "ldap"] = "managed"
    ldap_dn: Text = msgspec.field(default="", name="ldapDN")
    ldap_group_member_attribute: Text = ""


class TeamChange(BodyObject, frozen=True, kw_only=True):
    """A change of a team. Fields that are left out keep their values."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Text | msgspec.UnsetType = msgspec.UNSET
    type: Literal["managed", "ldap"] | msgspec.UnsetType = msgspec.UNSET
    ldap_dn: Text | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="ldapDN")
    ldap_group_member_attribute: Text | msgspec.UnsetType = msgspec.UNSET


# ---- repositories ----------------------------------------------------------------------------
class Repository(ApiObject, frozen=True, kw_only=True):
    """A repository. `namespace` is empty for a name of one part, such as `alpine`; addresses then
    have `_` for it. `namespaceType` is the type of the account that owns the repository; it is
    empty if no account does. `longDescriptionHtml` is sent on request. `accessLevel` is the
    caller's.
    """

    id: str
    namespace: str
    namespace_type: Literal["user", "organization", ""]
    name: str
    short_description: str = ""
    long_description: str = ""
    long_description_html: str = ""
    visibility: Visibility
    status: str = "ok"
    created_at: str
    access_level: str = ""


class Repositories(ListPage, frozen=True, kw_only=True):
    """Repositories. `isExact` is false if there are more than one request sorts: later names are
    missing.
    """

    repositories: list[Repository]
    is_exact: bool = True


class NewRepository(BodyObject, frozen=True, kw_only=True):
    """A new repository in a namespace. Its name may contain slashes."""

    name: Name
    short_description: Text = ""
    long_description: Readme = ""
    visibility: Visibility = "private"


class RepositoryChange(BodyObject, frozen=True, kw_only=True):
    """A change of a repository. Fields that are left out keep their values."""

    short_description: Text | msgspec.UnsetType = msgspec.UNSET
    long_description: Readme | msgspec.UnsetType = msgspec.UNSET
    visibility: Visibility | msgspec.UnsetType = msgspec.UNSET


class ReadmeText(BodyObject, frozen=True, kw_only=True):
    """The text of a README, as it would be saved."""

    long_description: Readme


class ReadmePreview(ApiObject, frozen=True, kw_only=True):
    """A README as safe HTML. It is empty for a text that takes too long to render."""

    long_description_html: str


class Tag(ApiObject, frozen=True, kw_only=True):
    """A tag. No tag is in Notary, because signatures are referrers."""

    name: str
    in_registry: bool = True
    in_notary: bool = False
    hash_mismatch: bool = False
    digest: str = ""
    set_at: str = ""
    set_by: str = ""


class Tags(ListPage, frozen=True, kw_only=True):
    name: str
    tags: list[Tag]


class TagTrust(ApiObject, frozen=True, kw_only=True):
    """The referrers of a tag's manifest: manifests that have it as their subject."""

    name: str
    digest: str
    in_notary: bool = False
    referrers: list[str]


# ---- access ----------------------------------------------------------------------------------
class NewGrant(BodyObject, frozen=True, kw_only=True):
    """The level of a grant."""

    access_level: AccessLevel


class UserAccess(ApiObject, frozen=True, kw_only=True):
    """A user's access to a repository. `accessLevel` is `none` for a user without access."""

    access_level: str
    user: Account
    repository: Repository | None = None


class UserAccessList(ListPage, frozen=True, kw_only=True):
    repository: Repository
    user_access_list: list[UserAccess]


class TeamAccess(ApiObject, frozen=True, kw_only=True):
    access_level: str
    team: Team
    repository: Repository | None = None


class TeamAccessList(ListPage, frozen=True, kw_only=True):
    repository: Repository
    team_access_list: list[TeamAccess]


class RepositoryAccess(ApiObject, frozen=True, kw_only=True):
    access_level: str
    repository: Repository


class TeamRepositoryAccess(ListPage, frozen=True, kw_only=True):
    team: Team
    repository_access_list: list[RepositoryAccess]


class NamespaceAccess(ApiObject, frozen=True, kw_only=True):
    """A user's access to all repositories of a namespace."""

    access_level: str
    user: Account
    namespace: Account


class NamespaceTeamAccess(ApiObject, frozen=True, kw_only=True):
    access_level: str
    namespace: Account
    team: Team


class NamespaceTeamAccessList(ApiObject, frozen=True, kw_only=True):
    namespace: Account
    team_access_list: list[NamespaceTeamAccess]


class TagResult(ApiObject, frozen=True, kw_only=True):
    repository: str
    tag: str


class SearchResults(ApiObject, frozen=True, kw_only=True):
    """Results of a search. `isExact` is false if there are more names than one request reads."""

    account_results: list[Account]
    repository_results: list[Repository]
    tag_results: list[TagResult] = []
    is_exact: bool = True


# ---- credentials -----------------------------------------------------------------------------
class Scope(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Repositories (`acme/app`, `acme/*` or `*`), and the actions that are allowed there."""

    repository: Name
    actions: Annotated[
        list[Annotated[str, Meta(max_length=16)]], Meta(max_length=_ACTIONS_LENGTH_MAX)
    ]


class Credential(ApiObject, frozen=True, kw_only=True):
    """A personal token or a robot. `user` is the name to sign in with. `token` is the secret: only
    the answer to the creation has it.
    """

    id: str
    name: str
    user: str
    scopes: list[Scope]
    created_at: str
    created_by: str
    expires_at: str = ""
    last_used_at: str = ""
    last_used_from: str = ""
    token: str = ""


class Credentials(ListPage, frozen=True, kw_only=True):
    credentials: list[Credential]


class NewCredential(BodyObject, frozen=True, kw_only=True):
    """A new credential. With `expiresInDays` 0 it never expires; the default is in the settings."""

    name: Name
    scopes: Annotated[list[Scope], Meta(max_length=100)] = []
    expires_in_days: Annotated[int, Meta(ge=0, le=36_500)] | msgspec.UnsetType = msgspec.UNSET


class Trust(ApiObject, frozen=True, kw_only=True):
    """A trust in jobs, which may use a repository without a secret. It is in force while the name
    of its issuer belongs to the issuer that it was created for.
    """

    name: str
    issuer: str
    claims: dict[str, str]
    actions: list[str]
    is_in_force: bool = True


class Trusts(ListPage, frozen=True, kw_only=True):
    trusts: list[Trust]


class NewTrust(BodyObject, frozen=True, kw_only=True):
    issuer: Name
    claims: Annotated[dict[str, Text], Meta(max_length=_CLAIMS_MAX)]
    actions: Annotated[
        tuple[Literal["pull", "push", "delete"], ...], Meta(max_length=_ACTIONS_LENGTH_MAX)
    ] = ("pull", "push")


class SignInForm(BodyObject, frozen=True, kw_only=True):
    """A sign-in. `next` is the page to open afterwards, a path of this server."""

    username: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=256)]
    next: Annotated[str, Meta(max_length=2048)] = "/"


class Session(ApiObject, frozen=True, kw_only=True):
    """A session. Requests that change something send `csrfToken` in the header `x-csrf-token`."""

    account: Account
    csrf_token: str = ""
    expires_at: str = ""
    next: str = "/"


class OpenSession(ApiObject, frozen=True, kw_only=True):
    """A browser's sign-in. `isCurrent`: this request belongs to it."""

    id: str
    created_at: str
    expires_at: str
    remote: str
    is_current: bool


class Sessions(ListPage, frozen=True, kw_only=True):
    sessions: list[OpenSession]


# ---- administration --------------------------------------------------------------------------
class LdapSignIn(BodyObject, frozen=True, kw_only=True):
    """The sign-in to try with the directory."""

    username: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=256)]


class LdapTrial(ApiObject, frozen=True, kw_only=True):
    """The result of trying a sign-in with the directory. `ok`: the password is right."""

    ok: bool
    message: str
    dn: str = ""
    name: str = ""


class LdapSyncRequest(BodyObject, frozen=True, kw_only=True):
    """A synchronization to run. `dryRun` changes nothing. `allowRemovals` permits more removals
    than `removalShareMax`, and accepts empty groups and user sets.
    """

    dry_run: bool = False
    allow_removals: bool = False


class LdapProblem(ApiObject, frozen=True, kw_only=True):
    """An object that is missing in the directory. `subject` depends on it and stays as it is."""

    subject: str
    dn: str
    reason: str


class LdapSyncReport(ApiObject, frozen=True, kw_only=True):
    """The changes that a synchronization made, or would make with `dryRun`. With an `error` it
    changed nothing. The next one is due at `nextAt`.
    """

    dry_run: bool
    started_at: str
    seconds: float
    users: int
    changes: list[dict[str, str]]
    error: str = ""
    problems: list[LdapProblem] = []
    next_at: str = ""


class LdapTestReport(ApiObject, frozen=True, kw_only=True):
    """The effects of settings: a dry run, and the sign-in of the requested user."""

    synchronised: LdapSyncReport
    tried: LdapTrial | None = None


class Certificate(ApiObject, frozen=True, kw_only=True):
    """The certificate that the server presents to clients."""

    subject: str
    issuer: str
    names: list[str]
    not_before: str
    not_after: str
    sha256: str
    replaceable: bool


class NewCertificate(BodyObject, frozen=True, kw_only=True):
    """A certificate chain and its private key, in PEM."""

    certificate: Annotated[str, Meta(max_length=1 << 20)]
    key: Annotated[str, Meta(max_length=1 << 16)]


class AuditEvent(ApiObject, frozen=True, kw_only=True):
    time: str
    kind: str
    actor: str
    remote: str
    outcome: str
    subject: str
    detail: dict[str, str | int | bool | None]


class AuditEvents(ListPage, frozen=True, kw_only=True):
    """Audit events, newest first. A page may be empty without being the last one."""

    events: list[AuditEvent]
