"""A registry with users and with images that docker pushed, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e import managed
from tests.e2e.console import browser as browsers
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import Program

# A text that a hostile user might enter in any field. The browser must show it as text.
HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\'"{{7*7}}'

_DOCKERFILE = """\
FROM scratch
LABEL org.example.hostile="{label}"
ENV PATH=/usr/bin APP_MODE={mode}
COPY base /base
COPY {mode} /app
EXPOSE 8080/tcp
WORKDIR /srv
ENTRYPOINT ["/app"]
CMD ["--serve"]
"""


@dataclass(frozen=True)
class Town:
    """The registry with its users, and a docker that is signed in as owen."""

    managed: ManagedRegistry
    docker: Program


# Only for this package: while playwright runs, this thread can have no other event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def town(
    new_folder: Callable[[str], Path], docker_daemons: tuple[Program, Program]
) -> Iterator[Town]:
    docker = docker_daemons[0].with_environment(DOCKER_BUILDKIT="0")
    with managed.running(new_folder("console")) as people:
        sign_in(docker, people, "owen")
        for mode in ("production", "staging"):
            folder = new_folder("image")
            build(docker, folder, f"{people.host}/acme/app:{mode}", mode)
            docker.run("push", f"{people.host}/acme/app:{mode}")
        docker.run("tag", f"{people.host}/acme/app:production", f"{people.host}/acme/open:v1")
        docker.run("push", f"{people.host}/acme/open:v1")
        docker.run("pull", f"{people.host}/acme/app:production")
        yield Town(people, docker)


def sign_in(docker: Program, people: ManagedRegistry, name: str) -> None:
    docker.run(
        "login", people.host, "--username", name, "--password-stdin", text=people.secrets[name]
    )


def build(docker: Program, folder: Path, name: str, mode: str) -> None:
    """Build an image of a few layers, whose label tries to run a script."""
    (folder / "base").write_bytes(bytes(range(256)) * 4096)
    (folder / mode).write_text(mode)
    label = HOSTILE.replace("\\", "").replace('"', '\\"')
    (folder / "Dockerfile").write_text(_DOCKERFILE.format(label=label, mode=mode))
    docker.run("build", "--quiet", "--tag", name, folder)
