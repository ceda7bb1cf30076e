"""The scene: a town with one of everything that a management request can be about.

- former: was a system administrator, and is deactivated.
- spare: has no rights. It is for operations that need a user that may change.
- member: in acme's team guests, which has no grants.
- reader: read-only on acme/app and acme/open, as a user.
- writer: read-write on acme/app and acme/open, as a user.
- keeper: admin on acme/app and acme/open, as a user.
- manager: in acme's team managers, which is admin on all of acme.

acme/app and acme/open have the same content: tags v1 and v2, and a tag and an image in the trash.
acme/old itself is in the trash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dtrfast.oci.digests import Digest
from tests.api.managed.town import PASSWORD, Town
from tests.e2e import certificates
from tests.fakes.client import image_manifest
from tests.walks import directory
from tests.walks.requests import HttpRequest, Request

USERS = ("former", "spare", "member", "reader", "writer", "keeper", "manager")
_LEVELS = {"reader": "read-only", "writer": "read-write", "keeper": "admin"}
_TEAMS = {"guests": "member", "managers": "manager"}
_REPOSITORIES = ("acme/app", "acme/open")
_LAYERS = {"v1": b"one", "v2": b"two", "gone": b"two", "trashed": b"three", "deleted": b"four"}


@dataclass(frozen=True, slots=True)
class Scene:
    """A prepared town, and the facts that requests refer to."""

    town: Town
    facts: dict[str, str]

    def fill_in(self, request: Request, account: str) -> HttpRequest:
        """Return a request as a caller with this account sends it."""
        sessions = {"session_of_self": self.facts.get(f"session_of_{account}", "")}
        return request.fill_in({**self.facts, **sessions, "self": account})


@contextmanager
def prepared(town: Town, folder: Path) -> Iterator[Scene]:
    """Yield the scene while its LDAP directory answers. `folder` is for scratch files."""
    with ExitStack() as stack:
        facts = {"directory": stack.enter_context(directory.running())}
        _add_people(town)
        facts |= _add_images(town)
        facts |= _add_credentials(town)
        facts |= _add_settings(town, facts["directory"], folder)
        town.api("admin", "PUT", "accounts/former/deactivate")
        yield Scene(town, facts)


def _add_people(town: Town) -> None:
    town.add_users(*USERS)
    town.api("admin", "PATCH", "accounts/former", {"isAdmin": True})
    for team, member in _TEAMS.items():
        town.api("owen", "POST", "accounts/acme/teams", {"name": team}, 201)
        town.api("owen", "PUT", f"accounts/acme/teams/{team}/members/{member}")
    everywhere = {"accessLevel": "admin"}
    town.api("owen", "PUT", "repositoryNamespaces/acme/teamAccess/managers", everywhere)
    for repository in _REPOSITORIES:
        for user, level in {**_LEVELS, "rita": "read-only"}.items():
            path = f"repositories/{repository}/userAccess/{user}"
            town.api("owen", "PUT", path, {"accessLevel": level})


def _add_images(town: Town) -> dict[str, str]:
    digests = {tag: str(Digest.of_bytes(image_manifest(layer))) for tag, layer in _LAYERS.items()}
    runs = []
    for repository in _REPOSITORIES:
        for tag, layer in _LAYERS.items():
            town.push(repository, layer, tag=tag)
        path = f"repositories/{repository}"
        town.api("owen", "DELETE", f"{path}/manifests/gone", status=204)
        town.api("owen", "DELETE", f"{path}/manifests/{digests['trashed']}", status=204)
        body = {"references": [digests["deleted"]]}
        runs.append(town.api("owen", "POST", f"{path}/deletion", body)["run"])
    town.api("owen", "POST", "repositories/acme", {"name": "old"}, 201)
    town.api("owen", "DELETE", "repositories/acme/old", status=204)
    (old,) = town.api("owen", "GET", "trash")["repositories"]
    return {
        "image": digests["v1"],
        "other": digests["v2"],
        "blob": str(Digest.of_bytes(_LAYERS["v1"])),
        "trashed": digests["trashed"],
        "run": runs[0],
        "old": old["id"],
    }


def _add_credentials(town: Town) -> dict[str, str]:
    facts: dict[str, str] = {}
    for user in ("admin", "owen", "rita", "nora", *USERS):
        form = {"username": user, "password": PASSWORD}
        town.api("", "POST", "sessions", form, 201)
        (session,) = town.api(user, "GET", f"accounts/{user}/sessions")["sessions"]
        facts[f"session_of_{user}"] = session["id"]
        made = town.api(user, "POST", f"accounts/{user}/tokens", {"name": "laptop"}, 201)
        facts[f"token_of_{user}"] = made["token"]
    scopes = [{"repository": "acme/app", "actions": ["pull", "push", "delete"]}]
    robot = town.api("owen", "POST", "accounts/acme/robots", {"name": "ci", "scopes": scopes}, 201)
    return {**facts, "robot": robot["token"]}


def _add_settings(town: Town, directory_url: str, folder: Path) -> dict[str, str]:
    issuer = {"name": "ci", "url": "https://ci.example", "audience": "registry"}
    town.api("admin", "PUT", "admin/settings/oidc", {"issuers": [issuer]})
    trust = {"issuer": "ci", "claims": {"sub": "job"}, "actions": ["pull", "push", "delete"]}
    town.api("owen", "PUT", "repositories/acme/app/trusts/main", trust)
    sets = [{"baseDn": "dc=example"}]
    ldap = {"serverUrls": [directory_url], "userSets": sets, "timeoutSeconds": 2}
    town.api("admin", "PUT", "admin/settings/ldap", ldap)
    town.api("admin", "POST", "admin/ldap/sync", {"allowRemovals": True})
    town.api("admin", "POST", "admin/jobs/measure/run", status=202)
    made = certificates.make(folder)
    pair = {"certificate": made.chain.read_text(), "key": made.key.read_text()}
    town.api("admin", "PUT", "admin/settings/certificate", pair)
    return pair
