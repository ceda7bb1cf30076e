"""Rights, tested with users' programs: sign in, push, pull, search, sign out."""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import managed as registries
from tests.e2e.managed import ROBOT, ManagedRegistry
from tests.e2e.programs import Program, ProgramFailed
from tests.e2e.stores import Store

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Rights:
    """The rights of an account: to push to acme/app, and to pull from acme's repositories."""

    push: bool
    app: bool
    secret: bool


PEOPLE = {
    "admin": Rights(push=True, app=True, secret=True),
    "owen": Rights(push=True, app=True, secret=True),
    "ada": Rights(push=True, app=True, secret=False),
    "will": Rights(push=True, app=True, secret=False),
    "rita": Rights(push=False, app=True, secret=False),
    "nora": Rights(push=False, app=False, secret=False),
    ROBOT: Rights(push=True, app=True, secret=True),
    "": Rights(push=False, app=False, secret=False),
}
everybody = pytest.mark.parametrize("who", PEOPLE, ids=lambda who: who or "anonymous")


@pytest.fixture(scope="module")
def managed(new_folder: Callable[[str], Path]) -> Iterator[ManagedRegistry]:
    with registries.running(new_folder("managed")) as server:
        yield server


@pytest.fixture(scope="module")
def rootfs(new_folder: Callable[[str], Path]) -> Path:
    """A layer of one small file."""
    path = new_folder("rootfs") / "rootfs.tar"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"hello"))
    return path


@pytest.fixture(scope="module")
def pushed(
    managed: ManagedRegistry, docker_daemons: tuple[Program, Program], rootfs: Path
) -> ManagedRegistry:
    """The registry, with an image in each of acme's repositories that docker pushed."""
    docker = _signed_in(docker_daemons[0], managed, "owen")
    for name in ("app", "secret", "open"):
        image = f"{managed.host}/acme/{name}:v1"
        docker.run("import", rootfs, image)
        docker.run("push", image)
    return managed


def _signed_in(docker: Program, managed: ManagedRegistry, who: str, secret: str = "") -> Program:
    """Return a docker with a configuration of its own, signed in as `who` unless that is empty."""
    mine = docker.called_with("--config", tempfile.mkdtemp(prefix="dtrfast-docker-"))
    if who:
        secret = secret or managed.secrets[who]
        mine.run("login", "-u", who, "--password-stdin", managed.host, text=secret)
    return mine


_REFUSALS = ("denied", "unauthorized", "name unknown")


def _works(program: Program, *arguments: str) -> bool:
    try:
        program.run(*arguments)
    except ProgramFailed as failure:
        told = str(failure).lower()
        if not any(word in told for word in _REFUSALS):
            raise
        assert "retrying" not in told, "a refused request is not retried"
        return False
    return True


@everybody
def test_docker(
    pushed: ManagedRegistry, docker_daemons: tuple[Program, Program], rootfs: Path, who: str
) -> None:
    rights = PEOPLE[who]
    docker = _signed_in(docker_daemons[1], pushed, who)
    images = {name: f"{pushed.host}/acme/{name}:v1" for name in ("app", "secret", "open")}
    for name, allowed in (("app", rights.app), ("secret", rights.secret), ("open", True)):
        assert _works(docker, "pull", images[name]) == allowed
    mine = f"{pushed.host}/acme/app:{who.replace('+', '-') or 'anonymous'}"
    docker.run("import", rootfs, mine)
    assert _works(docker, "push", mine) == rights.push
    if who:
        docker.run("logout", pushed.host)
        assert not _works(docker, "pull", images["secret"])
    docker.run("rmi", "--force", mine, *images.values())


def test_docker_shows_where_a_user_may_push(
    pushed: ManagedRegistry, docker_daemons: tuple[Program, Program], rootfs: Path
) -> None:
    scopes = [{"repository": "acme/app", "actions": ["pull"]}]
    made = pushed.api("POST", "accounts/owen/tokens", {"name": "ro", "scopes": scopes}, "owen")
    for who, secret, name, hint in (
        ("rita", "", "acme/app", "you may push to rita/*"),
        ("nora", "", "acme/secret", "you may push to nora/*"),
        ("admin", "", "acne/app", "there is no account acne"),
        (ROBOT, "", "nora/app", "you may push to acme/*"),
        ("owen", made["token"], "acme/app", "this token may not push in acme/app"),
    ):
        docker = _signed_in(docker_daemons[1], pushed, who, secret)
        image = f"{pushed.host}/{name}:refused"
        docker.run("import", rootfs, image)
        with pytest.raises(ProgramFailed, match=re.escape(hint)) as refused:
            docker.run("push", image)
        assert "retrying" not in str(refused.value).lower(), who
        docker.run("rmi", "--force", image)


@everybody
def test_docker_search(
    pushed: ManagedRegistry, docker_daemons: tuple[Program, Program], who: str
) -> None:
    docker = _signed_in(docker_daemons[1], pushed, who)
    found = docker.run("search", "--format={{.Name}}", f"{pushed.host}/acme").split()
    rights = PEOPLE[who]
    expected = [("acme/app", rights.app), ("acme/open", True), ("acme/secret", rights.secret)]
    assert found == [name for name, seen in expected if seen]


@everybody
def test_podman(
    pushed: ManagedRegistry, stores: tuple[Store, Store], tmp_path: Path, who: str
) -> None:
    rights = PEOPLE[who]
    podman, insecure = stores[0].podman, "--tls-verify=false"
    auth = f"--authfile={tmp_path / 'auth.json'}"
    (tmp_path / "auth.json").write_text("{}")
    if who:
        secret = pushed.secrets[who]
        login = ("login", insecure, auth, "-u", who, "--password-stdin", pushed.host)
        podman.run(*login, text=secret)
    for name, allowed in (("app", rights.app), ("secret", rights.secret), ("open", True)):
        image = f"{pushed.host}/acme/{name}:v1"
        assert _works(podman, "pull", insecure, auth, image) == allowed
    target = f"{pushed.host}/acme/app:podman-{who.replace('+', '-') or 'anonymous'}"
    podman.run("tag", f"{pushed.host}/acme/open:v1", target)
    assert _works(podman, "push", insecure, auth, target) == rights.push
    if who:
        podman.run("logout", auth, pushed.host)
        podman.run("rmi", "--all", "--force")
        assert not _works(podman, "pull", insecure, auth, f"{pushed.host}/acme/secret:v1")


@everybody
def test_skopeo(pushed: ManagedRegistry, skopeo: Program, tmp_path: Path, who: str) -> None:
    rights = PEOPLE[who]
    creds = f"{who}:{pushed.secrets[who]}" if who else ""
    source = [f"--src-creds={creds}"] if creds else ["--src-no-creds"]
    target = [f"--dest-creds={creds}"] if creds else ["--dest-no-creds"]
    for name, allowed in (("app", rights.app), ("secret", rights.secret), ("open", True)):
        image = f"docker://{pushed.host}/acme/{name}:v1"
        folder = f"dir:{tmp_path / name}"
        copy = ("copy", "--src-tls-verify=false", *source, image, folder)
        assert _works(skopeo, *copy) == allowed
    image = f"docker://{pushed.host}/acme/app:skopeo-{who.replace('+', '-') or 'anonymous'}"
    push = ("copy", "--dest-tls-verify=false", *target, f"dir:{tmp_path / 'open'}", image)
    assert _works(skopeo, *push) == rights.push
    # The right to push includes deletion. The robot's scopes do not.
    if rights.push:
        own = [f"--creds={creds}"]
        delete = ("delete", "--tls-verify=false", *own, image)
        assert _works(skopeo, *delete) == (who != ROBOT)


def test_a_wrong_password_is_told(
    pushed: ManagedRegistry, docker_daemons: tuple[Program, Program]
) -> None:
    docker = _signed_in(docker_daemons[0], pushed, "")
    login = ("login", "-u", "rita", "--password-stdin", pushed.host)
    with pytest.raises(ProgramFailed, match=r"unauthorized|the name or the password is wrong"):
        docker.run(*login, text="wrong")


def test_a_revoked_grant_ends_on_every_worker(pushed: ManagedRegistry, skopeo: Program) -> None:
    """Each request may reach another worker, and none may still use the revoked grant."""
    inspect = ("inspect", "--tls-verify=false", f"--creds=nora:{pushed.secrets['nora']}")
    image = f"docker://{pushed.host}/acme/secret:v1"
    path = "repositories/acme/secret/userAccess/nora"
    for _ in range(3):
        pushed.api("PUT", path, {"accessLevel": "read-only"})
        assert all(_works(skopeo, *inspect, image) for _ in range(4))
        pushed.api("DELETE", path)
        assert not any(_works(skopeo, *inspect, image) for _ in range(4))


def test_no_secret_is_in_any_log(pushed: ManagedRegistry) -> None:
    logged = pushed.registry.log().split("\n", 12)[-1]
    audit = "".join(p.read_text() for p in (pushed.registry.data / "audit").iterdir())
    for who, secret in pushed.secrets.items():
        assert secret not in audit
        if who != "admin":  # the first start prints that password once
            assert secret not in logged
    assert "eyJ" not in logged + audit
