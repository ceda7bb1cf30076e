"""From an empty registry to an image that another user pulls, with the console's own commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.console.browser import Person, person
from tests.e2e.console.conftest import build
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed
from tests.e2e.registry import Registry

PASSWORD = "a new user's password"


def test_a_new_user_gets_along_with_the_console_s_own_words(
    browser: Browser,
    new_folder: Callable[[str], Path],
    docker_daemons: tuple[Program, Program],
) -> None:
    docker, others_docker = (one.with_environment(DOCKER_BUILDKIT="0") for one in docker_daemons)
    registry = Registry(new_folder("first"), auth="managed")
    try:
        found = re.search(r"password +(\S+)", registry.log())
        assert found is not None
        managed = ManagedRegistry(registry, {"admin": found[1]})
        # There is no network here, so the test makes the image that the page pulls.
        build(docker, new_folder("hello"), "hello-world", "hello")
        with person(browser, managed, "admin") as admin:
            assert admin.page.url.endswith("/welcome")
            assert admin.violations() == []
            admin.see("Waiting for your push")
            _login(docker, _command(admin, "docker login"), found[1])
            for line in _command(admin, "docker pull hello-world").splitlines()[1:]:
                docker.run(*shlex.split(line)[1:])
            admin.see("pushed by admin")
            # The page shows the effects of the push without a reload, and no command repeats it.
            assert admin.page.locator(".copy code", has_text="docker push").count() == 0
            expect(admin.page.get_by_text("of 7 steps done")).to_have_text("5 of 7 steps done")
            layers = admin.page.get_by_role("link", name="The layers of")
            place = layers.inner_text().split()[-1].rpartition(":")[0]
            _run(docker, _command(admin, "docker rmi"))
            admin.see("It was pulled.")
            admin.shoot("first-steps")
            layers.click()
            admin.see("COPY file:")

            admin.go("/welcome")
            admin.page.get_by_label("User name").fill("alice")
            admin.page.get_by_label("Password").fill(PASSWORD)
            admin.press("Create the user")
            expect(admin.page.get_by_label("Who may pull")).to_have_value("alice")
            admin.press("Give read-only access")
            admin.see("alice may pull it now")
            login, pull = _command(admin, f"docker login {registry.host} -u alice").splitlines()
            assert admin.page.locator(".steps > li:not(.finished)").count() == 0
            admin.press("Close")
            admin.page.wait_for_url("**/dashboard")

        _login(others_docker, login, PASSWORD)
        _run(others_docker, pull)
        others_docker.run("tag", f"{registry.host}/{place}:v1", f"{registry.host}/{place}:v2")
        with pytest.raises(ProgramFailed, match="denied"):
            others_docker.run("push", f"{registry.host}/{place}:v2")

        managed.secrets["alice"] = PASSWORD
        with person(browser, managed, "alice") as alice:
            alice.page.get_by_role("link", name=place).click()
            alice.page.get_by_role("link", name="Tags", exact=True).click()
            alice.page.get_by_role("link", name="v1", exact=True).click()
            alice.see("COPY file:")
            assert alice.page.get_by_text("Delete").count() == 0
    finally:
        registry.stop()


def _command(visitor: Person, begin: str) -> str:
    """Return the page's command that begins with this text."""
    texts = visitor.page.locator(".copy code").all_inner_texts()
    return next(text for text in texts if text.startswith(begin))


def _login(docker: Program, command: str, password: str) -> None:
    docker.run(*shlex.split(command)[1:], "--password-stdin", text=password)


def _run(docker: Program, commands: str) -> None:
    for line in commands.splitlines():
        docker.run(*shlex.split(line)[1:])
