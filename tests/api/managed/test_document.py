"""The OpenAPI document: its contents, and that the API behaves as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dtrfast.api.v0.openapi import make_document
from tests.api.managed.town import Town, basic, in_memory

# Swagger 1.4.0 of Docker Trusted Registry; the names in `{…}` are those of dtrfast.
_REPOSITORY = "repositories/{namespace}/{repository}"
DTR = {
    "accounts": "GET POST",
    "accounts/{name}": "GET DELETE",
    "accounts/{name}/changePassword": "POST",
    "accounts/{name}/activate": "PUT",
    "accounts/{name}/deactivate": "PUT",
    "accounts/{name}/organizations": "GET",
    "accounts/{name}/members": "GET",
    "accounts/{name}/members/{member}": "GET DELETE",
    "accounts/{name}/members/{member}/teams": "GET",
    "accounts/{name}/teams": "GET POST",
    "accounts/{name}/teams/{team}": "GET PATCH DELETE",
    "accounts/{name}/teams/{team}/members": "GET",
    "accounts/{name}/teams/{team}/members/{member}": "GET PUT DELETE",
    "accounts/{name}/teams/{team}/repositoryAccess": "GET",
    "accounts/{name}/repositoryAccess/{namespace}/{repository}": "GET",
    "accounts/{name}/repositoryNamespaceAccess/{namespace}": "GET",
    "accounts/{name}/sharedRepositories": "GET",
    "index/search": "GET",
    "index/autocomplete": "GET",
    "index/reindex": "POST",
    "repositories": "GET",
    "repositories/{namespace}": "GET POST",
    _REPOSITORY: "GET PATCH DELETE",
    f"{_REPOSITORY}/userAccess": "GET",
    f"{_REPOSITORY}/userAccess/{{grantee}}": "PUT DELETE",
    f"{_REPOSITORY}/teamAccess": "GET",
    f"{_REPOSITORY}/teamAccess/{{team}}": "PUT DELETE",
    f"{_REPOSITORY}/tags": "GET",
    f"{_REPOSITORY}/tags/{{tag}}/trust": "GET",
    f"{_REPOSITORY}/manifests/{{reference}}": "DELETE",
    "repositoryNamespaces/{namespace}/teamAccess": "GET",
    "repositoryNamespaces/{namespace}/teamAccess/{team}": "GET PUT DELETE",
}
# Values for the paths' parameters. They make a good part of the requests find something.
PIECES = {
    "name": ["acme", "rita", "missing"],
    "member": ["rita", "missing"],
    "grantee": ["rita", "missing"],
    "team": ["readers", "missing"],
    "namespace": ["acme", "_", "missing"],
    "repository": ["app", "open", "no%2Fbody"],
    "tag": ["v1", "none"],
    "run": ["1700000000-0000", "none"],
    "reference": ["v1", "none", "sha256:x"],
    "digest": ["sha256:x", "sha256:" + "0" * 64],
    "id": ["1", "none"],
    "token": ["ci"],
    "robot": ["ci"],
    "trust": ["ci"],
    "session": ["0" * 32],
    "job": ["check"],
}
DOCUMENT = make_document()
pytest_plugins = ("schemathesis.pytest.plugin",)
schema = schemathesis.openapi.from_dict(DOCUMENT)


def test_it_has_the_operations_of_docker_trusted_registry() -> None:
    assert sum(len(methods.split()) for methods in DTR.values()) == 47
    for path, methods in DTR.items():
        for method in methods.split():
            assert method.lower() in DOCUMENT["paths"][f"/api/v0/{path}"], (method, path)


def test_every_operation_has_an_id_of_its_own() -> None:
    found = [
        operation["operationId"]
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
    ]
    assert len(found) == len(set(found))


@pytest.fixture(scope="module")
def shared_town() -> Iterator[Town]:
    """One town for all requests, since changes by earlier requests are part of the test."""
    with in_memory() as town:
        yield town


@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_does_what_it_says(case: Any, shared_town: Town) -> None:
    _fill(case)
    for who in ("admin", "rita", ""):
        response = shared_town.client.request(
            case.method,
            case.formatted_path,
            params=case.query or None,
            headers={**basic(who), **(case.headers or {})},
            **_body(case),
        )
        shared_town.client.forget_cookies()
        case.validate_response(
            response,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )


def _fill(case: Any) -> None:
    """Fill in names that exist, and in turns those that the example made up."""
    for number, name in enumerate(case.path_parameters or {}):
        choices = PIECES[name]
        made_up = str(case.path_parameters[name])
        candidates = [*choices, made_up]
        case.path_parameters[name] = candidates[(len(made_up) + number) % len(candidates)]


def _body(case: Any) -> dict[str, Any]:
    if case.media_type is None:
        return {}
    return {"json": case.body} if _is_json(case.body) else {"content": b"{"}


def _is_json(body: object) -> bool:
    return isinstance(body, dict | list | str | int | float | bool | None)
