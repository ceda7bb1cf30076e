"""The catalog: valid requests of every management operation, for both walks.

Texts contain `$name` where a fact of the scene belongs (`scene.py`). `$self` is the account of the
caller. An operation has several requests where rights depend on what the request is about. Each
then has a case, such as `self`, `public` or `hidden`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from string import Template
from urllib.parse import quote, urlencode

from dtrfast.api.v0.operation import Operation
from dtrfast.api.v0.router import OPERATIONS, PREFIX
from tests.api.managed.town import PASSWORD

BY_ID: dict[str, Operation] = {operation.id: operation for operation in OPERATIONS}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as a client sends it. `body` becomes JSON; None sends no body."""

    method: str
    url: str
    body: object


@dataclass(frozen=True, slots=True)
class Request:
    """A request of an operation, before the facts of a scene are filled in."""

    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    case: str = ""

    @property
    def name(self) -> str:
        return f"{self.operation}.{self.case}" if self.case else self.operation

    @property
    def needs_self(self) -> bool:
        """True if only a caller with an account can send the request."""
        return "$self" in str((self.path, self.body))

    def fill_in(self, facts: Mapping[str, str]) -> HttpRequest:
        """Return the request with the facts of a scene in it."""
        operation = BY_ID[self.operation]
        path = {name: quote(_fill_in(text, facts), safe="") for name, text in self.path.items()}
        query = {name: _fill_in(text, facts) for name, text in self.query.items()}
        url = PREFIX + operation.path.format_map(path) + (f"?{urlencode(query)}" if query else "")
        return HttpRequest(operation.method, url, _filled_in(self.body, facts))


def _fill_in(text: str, facts: Mapping[str, str]) -> str:
    return Template(text).substitute(facts)


def _filled_in(value: object, facts: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return _fill_in(value, facts)
    if isinstance(value, dict):
        return {name: _filled_in(inner, facts) for name, inner in value.items()}
    return [_filled_in(inner, facts) for inner in value] if isinstance(value, list) else value


_SELF = {"name": "$self"}
_RITA = {"name": "rita"}
_ACME = {"name": "acme"}
_TEAM = {**_ACME, "team": "readers"}
_TEAM_OF_RITA = {**_TEAM, "member": "rita"}
_APP = {"namespace": "acme", "repository": "app"}
_OPEN = {"namespace": "acme", "repository": "open"}
_SECRET = {"namespace": "acme", "repository": "secret"}
_NAMESPACE = {"namespace": "acme"}
_TAG = {"tag": "v1"}
_READ_ONLY = {"accessLevel": "read-only"}
_SCOPES = [{"repository": "acme/app", "actions": ["pull"]}]
_LDAP = {
    "serverUrls": ["$directory"],
    "userSets": [{"baseDn": "dc=example"}],
    "timeoutSeconds": 2,
}
_PASSWORDS = {"oldPassword": PASSWORD, "newPassword": "another battery staple"}
_CERTIFICATE = {"certificate": "$certificate", "key": "$key"}
_ISSUERS = {"issuers": [{"name": "ci", "url": "https://ci.example", "audience": "registry"}]}


def _in_app(operation: str, *, body: object = None, **path: str) -> Request:
    return Request(operation, {**_APP, **path}, body=body)


def _with_public(*requests: Request) -> tuple[Request, ...]:
    """Return each request, and the same one for a public repository, where all callers may pull."""
    twins = (replace(one, path={**one.path, **_OPEN}, case="public") for one in requests)
    return tuple(one for pair in zip(requests, twins, strict=True) for one in pair)


def _self_or_other(operation: str, *, body: object = None, **path: str) -> tuple[Request, ...]:
    """Return a request about the caller's own account, and one about another user's."""
    return (
        Request(operation, {**_SELF, **path}, body=body, case="self"),
        Request(operation, {**_RITA, **path}, body=body, case="other"),
    )


_ACCOUNTS = (
    Request("list_accounts"),
    Request("create_account", body={"name": "fresh"}),
    Request("get_account", _RITA),
    *_self_or_other("update_account", body={"fullName": "A Name"}),
    Request("update_account", _ACME, body={"fullName": "A Name"}, case="organization"),
    Request("update_account", _SELF, body={"isAdmin": True}, case="self_to_admin"),
    Request("delete_account", {"name": "spare"}),
    Request("delete_account", _SELF, case="self"),
    *_self_or_other("change_password", body=_PASSWORDS),
    Request("reset_password", _RITA),
    Request("activate", {"name": "former"}),
    Request("deactivate", _RITA),
    *_self_or_other("list_organizations"),
    Request("list_members", _ACME),
    Request("get_member", {**_ACME, "member": "rita"}),
    Request("delete_member", {**_ACME, "member": "rita"}),
    Request("list_teams_of_member", {**_ACME, "member": "rita"}),
    Request("import_accounts", body={"csv": "imported"}),
)
_TEAMS = (
    Request("list_teams", _ACME),
    Request("create_team", _ACME, body={"name": "fresh"}),
    Request("get_team", _TEAM),
    Request("update_team", _TEAM, body={"description": "who reads"}),
    Request("delete_team", _TEAM),
    Request("list_team_members", _TEAM),
    Request("get_team_member", _TEAM_OF_RITA),
    Request("add_team_member", {**_TEAM, "member": "spare"}),
    Request(
        "add_team_member", {**_ACME, "team": "owners", "member": "$self"}, case="self_as_owner"
    ),
    Request("delete_team_member", _TEAM_OF_RITA),
    Request("list_team_repository_access", _TEAM),
)
_REPOSITORIES = (
    Request("list_repositories"),
    Request("list_repositories_of_namespace", _NAMESPACE),
    Request("create_repository", _NAMESPACE, body={"name": "fresh"}),
    Request("create_repository", {"namespace": "$self"}, body={"name": "fresh"}, case="self"),
    Request("create_repository", {"namespace": "_"}, body={"name": "fresh"}, case="root"),
    Request("create_repository", {"namespace": "_"}, body={"name": "acme"}, case="whole_name"),
    Request("create_repository", {"namespace": "_"}, body={"name": "$self"}, case="own_name"),
    *_with_public(_in_app("get_repository")),
    Request("get_repository", _SECRET, case="hidden"),
    *_with_public(_in_app("update_repository", body={"visibility": "public"})),
    Request("update_repository", _SECRET, body={"visibility": "public"}, case="hidden"),
    *_with_public(_in_app("preview_readme", body={"longDescription": "*a*"})),
    Request("preview_readme", _SECRET, body={"longDescription": "*a*"}, case="hidden"),
    *_with_public(_in_app("delete_repository")),
    Request("delete_repository", _SECRET, case="hidden"),
    *_with_public(_in_app("list_tags"), _in_app("get_tag_trust", **_TAG)),
    *_self_or_other("list_shared_repositories"),
)
_ACCESS = (
    *_self_or_other("get_repository_access", **_APP),
    *_self_or_other("get_namespace_access", **_NAMESPACE),
    *_with_public(_in_app("list_user_access")),
    _in_app("grant_user_access", grantee="rita", body=_READ_ONLY),
    Request(
        "grant_user_access",
        {**_APP, "grantee": "$self"},
        body={"accessLevel": "admin"},
        case="self",
    ),
    _in_app("revoke_user_access", grantee="rita"),
    _in_app("list_team_access"),
    _in_app("grant_team_access", team="readers", body=_READ_ONLY),
    _in_app("revoke_team_access", team="readers"),
    Request("list_namespace_access", _NAMESPACE),
    Request("get_namespace_team_access", {**_NAMESPACE, "team": "managers"}),
    Request("grant_namespace_access", {**_NAMESPACE, "team": "readers"}, body=_READ_ONLY),
    Request("revoke_namespace_access", {**_NAMESPACE, "team": "managers"}),
)
_SEARCH = (
    Request("search", query={"query": "a"}),
    Request("search", query={"query": "a", "includeAccounts": "false"}, case="repositories"),
    Request("autocomplete", query={"query": "a"}),
    Request("reindex"),
)
_CREDENTIALS = (
    *_self_or_other("list_tokens"),
    *_self_or_other("create_token", body={"name": "fresh"}),
    *_self_or_other("delete_token", token="laptop"),
    Request("list_robots", _ACME),
    Request("create_robot", _ACME, body={"name": "fresh", "scopes": _SCOPES}),
    Request("delete_robot", {**_ACME, "robot": "ci"}),
    _in_app("list_trusts"),
    _in_app("put_trust", trust="fresh", body={"issuer": "ci", "claims": {"sub": "job"}}),
    _in_app("delete_trust", trust="main"),
)
_SESSIONS = (
    Request("sign_in", body={"username": "nora", "password": PASSWORD}),
    Request("get_session"),
    Request("sign_out"),
    *_self_or_other("list_sessions"),
    Request("delete_session", {**_SELF, "session": "$session_of_self"}, case="self"),
    Request("delete_session", {**_RITA, "session": "$session_of_rita"}, case="other"),
)
_ADMINISTRATION = (
    Request("get_access_settings"),
    Request("put_access_settings", body={"createOnPush": False}),
    Request("get_oidc_settings"),
    Request("put_oidc_settings", body=_ISSUERS),
    Request("list_events"),
    *_with_public(_in_app("list_repository_events")),
    Request("list_repository_events", _APP, {"remote": "127.0.0.1"}, case="by_address"),
    Request("get_certificate"),
    Request("put_certificate", body=_CERTIFICATE),
)
_DIRECTORY = (
    Request("get_ldap_settings"),
    Request("put_ldap_settings", body=_LDAP),
    Request("try_ldap_settings", body=_LDAP),
    Request("delete_ldap_settings"),
    Request("sync_ldap", body={"allowRemovals": True}),
    Request("get_last_sync"),
    Request("try_ldap_login", body={"username": "x", "password": "y"}),
)
_IMAGES = (
    *_with_public(
        _in_app("list_images"),
        _in_app("get_image", reference="v1"),
        replace(_in_app("compare_images"), query={"from": "v1", "to": "v2"}),
        _in_app("list_manifests"),
        _in_app("delete_manifest", reference="$image"),
        replace(_in_app("preview_deletion"), query={"references": "v1"}),
        _in_app("delete_references", body={"references": ["v1", "$image"]}),
    ),
    _in_app("restore_deletion", run="$run"),
)
_JOBS = (
    Request("list_jobs"),
    Request("run_job", {"job": "check"}),
    Request("cancel_job", {"job": "measure"}),
)
_SERVER = (
    Request("list_logs"),
    Request("get_metrics"),
    Request("get_metrics_history"),
    Request("get_diagnostics"),
)
_STORAGE = (
    Request("get_storage_settings"),
    Request("put_storage_settings", body={"trashDays": 7}),
    Request("get_storage"),
    Request("list_damages"),
    *_with_public(
        _in_app("get_repository_usage"),
        _in_app("get_manifest_usage", reference="v1"),
        _in_app("get_blob_usage", digest="$blob"),
    ),
    Request("get_namespace_usage", _NAMESPACE),
    Request("list_usages"),
)
_TRASH = (
    *_with_public(
        _in_app("get_tag_history", **_TAG),
        _in_app("restore_tag", tag="gone", body={}),
        _in_app("get_repository_trash"),
    ),
    _in_app("restore_manifest", reference="$trashed"),
    _in_app("restore_references", body={"references": ["gone@$other", "$trashed"]}),
    Request("restore_run", body={"run": "$run"}),
    Request("list_trashed_repositories"),
    Request("restore_repository", {"id": "$old"}, body={}),
)

REQUESTS: tuple[Request, ...] = (
    *_ACCOUNTS,
    *_TEAMS,
    *_REPOSITORIES,
    *_ACCESS,
    *_SEARCH,
    *_CREDENTIALS,
    *_SESSIONS,
    *_ADMINISTRATION,
    *_DIRECTORY,
    *_IMAGES,
    *_JOBS,
    *_SERVER,
    *_STORAGE,
    *_TRASH,
)
BY_NAME: dict[str, Request] = {request.name: request for request in REQUESTS}
