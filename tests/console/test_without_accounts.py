"""A registry without accounts: no page mentions signing in or rights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from dtrfast.cli.api_client import connect
from dtrfast.cli.api_refusal import ApiRefused
from dtrfast.cli.options import RegistryOptions
from dtrfast.config import AuthConfig, Config
from tests.api.managed.test_deletion import put
from tests.api.managed.town import Town, in_memory
from tests.console.browser import Browser, forms_of
from tests.fakes.client import image_manifest
from tests.settings.application import open_application
from tests.settings.proof import Bench

APP = "/repositories/acme/app"
# All pages without accounts but /settings/auth, which tells how to switch accounts on.
PAGES = (
    "/",
    "/repositories",
    "/repositories?filter=none",
    "/search?q=app",
    "/welcome",
    "/trash",
    "/dashboard",
    "/settings/security",
    "/settings/storage",
    "/settings/jobs",
    "/logs",
    APP,
    f"{APP}/-/tags",
    f"{APP}/-/tags/v1",
    f"{APP}/-/tags/chart",
    f"{APP}/-/tags/thing",
    f"{APP}/-/compare?from=v1&to=v1",
    f"{APP}/-/untagged",
    f"{APP}/-/usage",
    f"{APP}/-/activity",
    f"{APP}/-/trash",
    f"{APP}/-/settings",
    f"{APP}/-/delete",
    f"{APP}/-/delete-tags?tag=v1",
    "/repositories/acme/empty",
    "/repositories/acme/empty/-/tags",
    "/repositories/acme/none",
)
_SIGN_IN = re.compile(
    r"sign(ed)?[ -]?in\b|log ?in\b|secret|credential|--creds|TOKEN|/tokens|Your access"
    r"|who was given access|Permissions",
    re.IGNORECASE,
)


@pytest.fixture
def open_town() -> Iterator[Town]:
    with in_memory(config=Config(auth=AuthConfig(mode="none"))) as town:
        yield town


def push_artifact(town: Town, tag: str, config_type: str) -> None:
    manifest = json.loads(image_manifest(b"app"))
    manifest["config"]["mediaType"] = config_type
    put(town, json.dumps(manifest).encode(), tag)


@pytest.mark.long
def test_no_page_speaks_of_signing_in(open_town: Town) -> None:
    push_artifact(open_town, "chart", "application/vnd.cncf.helm.config.v1+json")
    push_artifact(open_town, "thing", "application/vnd.example.config+json")
    open_town.api("owen", "POST", "repositories/acme", {"name": "empty"}, 201)
    visitor = Browser(open_town)
    found = {}
    for path in PAGES:
        answer = visitor.get(path)
        assert answer.status_code in (200, 303, 404), f"{path}: {answer.status_code}"
        # Names in this town do not count as words of a page.
        shown = re.sub(r"acme/(app|open|secret|empty)", "", answer.text)
        if words := sorted({match[0] for match in _SIGN_IN.finditer(shown)}):
            found[path] = words
    assert found == {}
    assert "docker push registry/acme/empty:TAG" in visitor.get("/repositories/acme/empty").text


def test_there_is_nothing_to_sign_in_to(open_town: Town) -> None:
    visitor = Browser(open_town)
    assert visitor.get("/sign-in?next=/logs").headers["location"] == "/"
    text = visitor.get(f"{APP}/-/tags/v1").text
    assert "docker pull registry/acme/app:v1" in text
    assert "docker login" not in text


@pytest.mark.long
def test_the_management_api_says_that_it_is_off(tmp_path: Path) -> None:
    """The API needs accounts, so no page links to it. Commands are told the reason, too."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        bench = Bench(tmp_path, patch, stack, lambda name: name)
        visitor = open_application(bench, Config(auth=AuthConfig(mode="none")))
        for path in ("/api/v0", "/api/v0/repositories", "/api/docs"):
            answer = visitor.get(path)
            assert answer.status_code == 404
            assert answer.json()["errors"][0]["message"].startswith("accounts are off"), path
        assert "/api/docs" not in visitor.get("/repositories").text
        patch.setattr(httpx, "get", lambda url, **options: visitor.get(urlsplit(url).path))
        with (
            pytest.raises(ApiRefused, match="accounts are off"),
            connect(RegistryOptions(url="http://x")),
        ):
            pass


def test_rights_that_count_later_are_not_offered(open_town: Town) -> None:
    visitor = Browser(open_town)
    for path in ("/settings/general", f"{APP}/-/permissions"):
        text = visitor.get(path).text
        assert "Accounts are off" in text
        assert [form.operation for form in forms_of(text)] == [], path
    assert "Rights count once accounts are on" in visitor.get(f"{APP}/-/settings").text


@pytest.mark.long
def test_with_accounts_commands_sign_in_and_rights_are_shown(town: Town) -> None:
    """The pages above do show these texts if accounts are on."""
    owen = Browser(town, "owen")
    assert "Sign in first" in owen.get(f"{APP}/-/tags/v1").text
    assert "docker login registry" in owen.get(APP).text
    assert "Your access" in owen.get(APP).text
    assert "/-/permissions" in owen.get(APP).text
    assert "private" in owen.get("/repositories").text
