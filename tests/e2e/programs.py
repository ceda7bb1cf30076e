"""Other projects' programs that the tests run: their paths, and the results of their calls.

Every program runs with a home folder of its own, so neither the user's configuration nor an earlier
run can change a result.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Self

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# The output of .ci/cache.
CACHE = Path(os.environ.get("TEST_CACHE", PROJECT / ".cache"))

_GO_CLIENTS = (
    *("crane", "oras", "regctl", "helm", "cosign", "dockerd-next", "notation"),
    *("containerd", "ctr", "buildkitd", "buildctl", "ollama-server"),
    *("manifest_check", "caddy", "helm3", "registry"),
)
_RUST_CLIENTS = ("oci-client-test",)
_FOLDERS = (os.environ.get("PATH", ""), "/usr/sbin", "/sbin")

# Podman asks for more open files than the machine may allow, even for root, and then starts
# nothing.
_CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
[network]
network_backend = "netavark"
"""


class ProgramFailed(Exception):
    """A program ended with an error. The message has its whole output."""


@dataclass(frozen=True, slots=True)
class Program:
    """An executable, with the arguments and the environment of each of its calls."""

    path: str
    environment: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    folder: Path | None = None

    def called_with(self, *arguments: str) -> Self:
        """Return the same program with arguments before those of each call."""
        return replace(self, arguments=self.arguments + arguments)

    def in_folder(self, folder: Path) -> Self:
        """Return the same program with this working directory."""
        return replace(self, folder=folder)

    def with_environment(self, **variables: str) -> Self:
        """Return the same program with additional environment variables."""
        return replace(self, environment={**self.environment, **variables})

    def run(self, *arguments: str | Path, seconds: float = 120, text: str = "") -> str:
        """Run to the end and return stdout. Raises ProgramFailed when the program fails."""
        return self.run_raw(*arguments, seconds=seconds, text=text).decode().strip()

    def run_raw(self, *arguments: str | Path, seconds: float = 120, text: str = "") -> bytes:
        """As `run`, for a program that writes bytes."""
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            input=text.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise ProgramFailed(_account(done))
        return done.stdout

    def start(
        self, *arguments: str | Path, source: int | IO[bytes] = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start the program and return at once.

        It reads `source`, and writes stdout and stderr to one pipe. The caller ends it.
        """
        return subprocess.Popen(
            self._command(arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextmanager
    def serving(self, log: Path, is_ready: Callable[[], object]) -> Iterator[None]:
        """Run the program until the block ends, with its output in `log`.

        The block begins once `is_ready` runs without a program that fails.
        """

        def answers() -> bool:
            try:
                is_ready()
            except ProgramFailed:
                return False
            return True

        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(()),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            wait_until(answers, process, f"answer from {Path(self.path).name}")
            yield
        finally:
            process.terminate()
            process.wait(30)

    def _command(self, arguments: tuple[str | Path, ...]) -> list[str]:
        return [self.path, *self.arguments, *map(str, arguments)]


def find(name: str, environment: Mapping[str, str]) -> Program:
    """Find the program of that name. If it is missing, skip the test and say how to install it."""
    path = shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if path is None:
        recipe = "install all"
        if name in _GO_CLIENTS:
            recipe = f"go_programs {name}, on PATH"
        elif name in _RUST_CLIENTS:
            recipe = "rust_programs, on PATH"
        pytest.skip(f"no {name}: get it with .ci/{recipe}")
    return Program(path, environment)


def require_root(why: str) -> None:
    """Skip the test when this is not root."""
    if os.geteuid() != 0:
        pytest.skip(f"not root: {why}; run the tests as root")


def make_environment(home: Path) -> dict[str, str]:
    """Return the environment of all programs. `home` has all files that they keep or find."""
    config = home / "containers.conf"
    config.write_text(_CONTAINERS_CONF)
    credentials = home / "auth.json"
    credentials.write_text("{}")
    kept = ("PATH", "TMPDIR", "LANG")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "DOCKER_CONFIG": str(home / "docker"),
        "REGISTRY_AUTH_FILE": str(credentials),
        "CONTAINERS_CONF": str(config),
        "BUILDAH_ISOLATION": "chroot",
    }


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[str], what: str, seconds: float = 30
) -> None:
    """Return as soon as `ready` is true; fail when the process ends first or the time is up.

    Between two checks it waits for the process, because its end is the other possible event.
    """
    tick_seconds = 0.02
    for _ in range(int(seconds / tick_seconds)):
        if ready():
            return
        try:
            code = process.wait(tick_seconds)
        except subprocess.TimeoutExpired:
            continue
        raise ProgramFailed(f"ended with {code} before {what}")
    raise ProgramFailed(f"no {what} in {seconds} seconds")


def _account(done: subprocess.CompletedProcess[bytes]) -> str:
    command = " ".join(done.args)
    said = (done.stdout + done.stderr).decode(errors="replace")
    return f"{command}\nended with {done.returncode}\n{said}"
