"""A storm against a real server whose processes are killed at random, again and again.

    python -m tests.crash.storm --kills 1000 [--seed N] [--data DIR] [--engine one|two]

Clients push, push again, mount, move tags, delete, and pull. A program converts, evicts and expands
layers meanwhile. The storm sends SIGKILL to a worker, the housekeeper, this program, or the whole
server, and they start again. Acknowledged content must exist,
bit for bit. Content that was not acknowledged may exist or not. Each client owns a repository, so
it knows the repository's content. Graces last seconds, so that the storm includes reclaim.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from dtrfast.config import Config, StoreConfig
from dtrfast.index.tables import FILES, FILES_UNOWNED, SETTINGS
from dtrfast.jobs.tasks import content_tasks
from dtrfast.registry import policies
from dtrfast.registry.holdings_index import index_holdings
from dtrfast.store.store import Store
from tests import assembly, tiering, verifying
from tests.two_environments import ENGINES

CLIENTS = 4
_GRACE_SECONDS = 2
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_SETTINGS = {
    "DTRFAST_STORE_GRACE_SECONDS": str(_GRACE_SECONDS),
    "DTRFAST_STORE_UPLOAD_EXPIRY_SECONDS": "5",
    "DTRFAST_LOG_ACCESS": "false",
}
# The assembly of a server's store, by its engine.
_ASSEMBLIES = {"one": assembly.SCOPED, "two": assembly.TWO_ENVIRONMENTS}
_START_SECONDS_MAX = 90.0
_TRIES = 4  # of a body without an answer
_LARGE_SIZE = 3 << 20


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


class AnswerMissing(Exception):
    """The connection broke, or the server was not ready. The request may have been executed."""


@dataclass(slots=True)
class Figures:
    """Counts of the operations, and the problems found. `lost` and `wrong` must be 0."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def line(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))


class Tier:
    """A program that converts, evicts and expands layers beside the server."""

    def __init__(self, data: Path, engine: str, log: IO[bytes]) -> None:
        self._told = data.parent / "layers"
        self._told.touch()
        self._command = [sys.executable, "-m", "tests.crash.tier_program", str(data), engine]
        self._log = log
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def changed(self) -> int:
        """The number of layers that were converted, evicted or expanded."""
        return self._told.stat().st_size

    @property
    def has_failed(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        self._starts += 1
        arguments = [f"tier {self._starts}", str(self._told)]
        self._process = subprocess.Popen(
            [*self._command, *arguments], stdout=self._log, stderr=self._log
        )

    def kill(self) -> None:
        assert self._process is not None, "it was started"
        self._process.kill()
        self._process.wait()


class Server:
    """`dtrfast serve` on a data directory, across its restarts."""

    def __init__(self, data: Path, log: Path, engine: str) -> None:
        self._data = data
        self._environment = os.environ | _SETTINGS | assembly.variables(_ASSEMBLIES[engine])
        self._log = log.open("ab")
        self.tier = Tier(data, engine, self._log)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self.process = self._spawn()
        self.tier.start()

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = [sys.executable, "-m", "dtrfast", "serve", "--auth", "none", "--workers", "2"]
        process = subprocess.Popen(
            [*program, "--data", str(self._data), "--bind", f"127.0.0.1:{self.port}"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not self.is_ready():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"the server does not start; see {self._log.name}")
            time.sleep(0.05)
        return process

    def is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def kill(self, chance: random.Random) -> str:
        """Kill a worker, the housekeeper, the tier or the whole server; returns which.

        They start again.
        """
        kind = chance.choice(["worker", "worker", "housekeeper", "tier", "everything"])
        if kind == "tier":
            self.tier.kill()
            self.tier.start()
            return kind
        if kind == "everything":
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = self._spawn()
            return kind
        module = "dtrfast.server.worker" if kind == "worker" else "dtrfast.jobs"
        found = self._children(module)
        if found:
            chance.choice(found).kill()
        return kind

    def housekeepers(self) -> int:
        return len(self._children("dtrfast.jobs"))

    def _children(self, module: str) -> list[psutil.Process]:
        """Return the living processes that run the module."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                if module in child.cmdline():
                    found.append(child)
        return found

    def stop(self) -> int:
        self.tier.kill()
        self.process.terminate()
        status = self.process.wait(60)
        self._log.close()
        return status


class Client:
    """A client of one repository, with the images that must be or may be in it."""

    def __init__(self, server: Server, figures: Figures, seed: str, number: int) -> None:
        self._server = server
        self._figures = figures
        self._chance = random.Random(seed)
        self._name = f"storm/client{number}"
        self._other = f"storm/client{(number + 1) % CLIENTS}"
        shared = random.Random(seed.split()[0])
        self._blocks = [shared.randbytes(100_000) for _ in range(6)]
        # The server starts to write them back before their last byte arrives.
        large = shared.randbytes(_LARGE_SIZE)
        self._large = [b"\x1f\x8b" + large, large]
        # A PATCH of the blob may have arrived whole, lost its answer, and been sent again. Then its
        # bytes are in the upload twice (docs/uploads.md, "What can fail").
        self._is_doubled = False
        # Tag → the manifests that it may point at; None for a missing tag. One entry is certain.
        self._tags: dict[str, list[bytes | None]] = {}
        self._bodies: dict[str, bytes] = {}

    def step(self) -> None:
        action = self._chance.choices(
            [self._push_image, self._pull, self._delete, self._leave_upload], [4, 4, 1, 1]
        )[0]
        try:
            action()
        except AnswerMissing:
            self._figures.counts["unanswered"] += 1
            time.sleep(0.05)

    # ---- requests ------------------------------------------------------------------------------
    def _ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, names)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise AnswerMissing from error
        finally:
            connection.close()
        if response.status >= 500:
            raise AnswerMissing(response.status)
        return response.status, found, content

    def _insist(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a body until it is answered. Sometimes break it off first, on purpose."""
        if self._chance.random() < 0.3:
            self._break_off(method, path, body)
        for _ in range(_TRIES - 1):
            with suppress(AnswerMissing):
                return self._ask(method, path, body)
            self._figures.counts["bodies sent again"] += 1
            self._is_doubled |= method == "PATCH"
            time.sleep(0.3)
        return self._ask(method, path, body)

    def _break_off(self, method: str, path: str, body: bytes) -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: storm\r\nContent-Length: {len(body)}\r\n\r\n"
        part = body[: self._chance.randrange(len(body) + 1)]
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._server.port)) as wire:
            wire.sendall(head.encode() + part)
            time.sleep(self._chance.choice([0, 0.05, 0.3]))
        self._is_doubled |= method == "PATCH" and part == body != b""
        self._figures.counts["bodies broken off"] += 1

    def _push_blob(self, body: bytes) -> None:
        digest = digest_of(body)
        self._bodies[digest] = body
        if self._chance.random() < 0.3:
            path = f"/v2/{self._name}/blobs/uploads/?mount={digest}&from={self._other}"
            status, headers, _ = self._ask("POST", path)
            if status == 201:
                self._figures.counts["mounts"] += 1
                return
        else:
            status, headers, _ = self._ask("POST", f"/v2/{self._name}/blobs/uploads/")
        location = headers.get("location", "")
        self._is_doubled = False
        cut = self._chance.randrange(len(body) + 1)
        status, headers, _ = self._insist("PATCH", location, body[:cut])
        if status != 202:
            raise AnswerMissing(status)
        location = headers["location"]
        path = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        status, _, content = self._insist("PUT", path, body[cut:])
        if status == 404:
            raise AnswerMissing(status)  # the upload ended with the process that held it
        if status == 400 and b"DIGEST_INVALID" in content and self._is_doubled:
            self._figures.counts["begun anew"] += 1
            raise AnswerMissing(status)
        if status != 201:
            self._problem(f"PUT of {digest} answered {status} {content!r}")
        self._figures.counts["pushes"] += 1

    def _push_image(self) -> None:
        chance = self._chance
        bodies = [b"{}%d" % chance.randrange(50), b"\x1f\x8b" + chance.randbytes(15_000)]
        if chance.random() < 0.6:
            files = [*chance.sample(self._blocks, 2), chance.randbytes(3_000)]
            bodies[1] = tiering.gzip_layer(files, chance.randrange(9))
        bodies.append(b"".join(chance.sample(self._blocks, 3)) + chance.randbytes(20_000))
        if chance.random() < 0.1:
            bodies.append(chance.choice(self._large))
        parts = []
        for body in bodies:
            self._push_blob(body)
            parts.append({"mediaType": "x/y", "digest": digest_of(body), "size": len(body)})
        document = {"schemaVersion": 2, "mediaType": _MANIFEST}
        manifest = json.dumps({**document, "config": parts[0], "layers": parts[1:]}).encode()
        tag = f"t{chance.randrange(5)}"
        self._tags.setdefault(tag, [None]).append(manifest)
        path = f"/v2/{self._name}/manifests/{tag}"
        status, _, content = self._ask("PUT", path, manifest, content_type=_MANIFEST)
        if status == 400 and b"BLOB_UNKNOWN" in content:
            self._tags[tag].pop()  # the grace of a blob ended while a process was down
            return
        if status != 201:
            self._problem(f"PUT of {tag} answered {status} {content!r}")
        self._tags[tag] = [manifest]
        self._figures.counts["images"] += 1

    def _leave_upload(self) -> None:
        """Begin an upload and leave it unfinished, so that it expires."""
        _, headers, _ = self._ask("POST", f"/v2/{self._name}/blobs/uploads/")
        body = self._chance.choice(self._blocks)
        self._ask("PATCH", headers.get("location", ""), body)
        self._figures.counts["uploads left"] += 1

    def _delete(self) -> None:
        certain = [tag for tag, images in self._tags.items() if len(images) == 1 and images[0]]
        if not certain:
            return
        tag = self._chance.choice(certain)
        manifest = self._tags[tag][0]
        assert manifest is not None
        for other, images in self._tags.items():
            if manifest in images:
                self._tags[other] = [*images, None]
        status, _, _ = self._ask("DELETE", f"/v2/{self._name}/manifests/{digest_of(manifest)}")
        if status not in (202, 404):
            self._problem(f"DELETE of {tag} answered {status}")
        for other, images in self._tags.items():
            if manifest in images:
                self._tags[other] = [image for image in images if image != manifest] or [None]
        self._figures.counts["deletes"] += 1

    # ---- checking ------------------------------------------------------------------------------
    def _pull(self) -> None:
        if self._tags:
            self.check(self._chance.choice(sorted(self._tags)))

    def check_all(self) -> None:
        for tag in sorted(self._tags):
            self.check(tag)

    def check(self, tag: str) -> None:
        """Check that the tag has one of its possible images, and that the image is whole."""
        images = self._tags[tag]
        status, _, manifest = self._ask("GET", f"/v2/{self._name}/manifests/{tag}")
        found = manifest if status == 200 else None
        self._figures.counts["checked"] += 1
        if found not in images:
            what = "lost" if found is None else "wrong"
            self._figures.counts[what] += 1
            self._problem(f"{tag} is {what}: {status} {manifest[:80]!r}")
            return
        self._tags[tag] = [found]
        if found is not None:
            self._check_image(json.loads(found))

    def _check_image(self, document: dict[str, Any]) -> None:
        for part in (document["config"], *document["layers"]):
            digest = part["digest"]
            status, _, body = self._ask("GET", f"/v2/{self._name}/blobs/{digest}")
            self._figures.counts["checked"] += 1
            if status != 200:
                self._figures.counts["lost"] += 1
                self._problem(f"the blob {digest} is lost: {status} {body[:80]!r}")
            elif body != self._bodies[digest]:
                self._figures.counts["wrong"] += 1
                self._problem(f"the blob {digest} is wrong")

    def _problem(self, text: str) -> None:
        self._figures.problems.append(f"{self._name}: {text}")


def storm(
    data: Path, seed: int, kills: int, pause_seconds: float = 0.5, engine: str = "one"
) -> Figures:
    """Run a storm; the figures count its operations and list its problems."""
    figures = Figures()
    _empty_trash_at_once(data, engine)
    server = Server(data, data.parent / "server.log", engine)
    clients = [Client(server, figures, f"{seed} {n}", n) for n in range(CLIENTS)]
    stop = threading.Event()

    def work(client: Client) -> None:
        while not stop.is_set():
            client.step()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    chance = random.Random(seed)
    try:
        for number in range(kills):
            time.sleep(chance.random() * 2 * pause_seconds)
            if server.tier.has_failed:
                figures.problems.append("the tier ended with an error")
            figures.counts[f"kills: {server.kill(chance)}"] += 1
            if number % 50 == 49:
                sys.stderr.write(f"{number + 1} kills: {figures.line()}\n")
            if figures.problems:
                break
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    _end(server, data, clients, figures)
    _check_data(data, engine, figures)
    return figures


def _empty_trash_at_once(data: Path, engine: str) -> None:
    """Set a short time in the trash. Otherwise the storm would end before anything is freed."""
    store = Store.open(data, StoreConfig(), open_index=ENGINES[engine])
    settings = b'{"trashDays": 0.00001}'
    store.engine.write(lambda transaction: transaction.put(SETTINGS, policies.NAME, settings))
    store.close()


def _end(server: Server, data: Path, clients: list[Client], figures: Figures) -> None:
    """Check everything once more, then stop the server."""
    time.sleep(2)
    for client in clients:
        client.check_all()
    if server.housekeepers() != 1:
        figures.problems.append(f"there are {server.housekeepers()} housekeepers")
    time.sleep(6 + _GRACE_SECONDS)  # unfinished uploads expire
    figures.counts["layers changed"] = server.tier.changed
    if server.stop():
        figures.problems.append("the server ended with an error")


def _check_data(data: Path, engine: str, figures: Figures) -> None:
    """Check that nothing is left over after the housekeeper's last round."""
    settings = StoreConfig(upload_expiry_seconds=1.0, grace_seconds=1.0)
    store = Store.open(data, settings, open_index=ENGINES[engine])
    try:
        config = Config(store=StoreConfig(data=data, grace_seconds=1.0))
        holdings = index_holdings(store.engine, store.blobs, config, lambda: int(time.time()))
        for _ in range(4):
            for task in content_tasks(store, holdings):
                if task.name != "scrub":
                    task.run()
        _check_store(store, data, figures)
    finally:
        store.close()


def _check_store(store: Store, data: Path, figures: Figures) -> None:
    figures.problems += verifying.findings(store)[:20]
    figures.counts["bytes verified"] = sum(store.check_contents())
    if store.statistics().damaged_blobs:
        figures.problems.append("there are damaged blobs")
    with store.engine.read() as transaction:
        owned = {
            key.hex() for table in (FILES, FILES_UNOWNED) for key, _ in transaction.scan(table)
        }
    left = {path.name for path in data.glob("[bp][la]*/*/*")} - owned
    if left:
        figures.problems.append(f"files without an owner: {sorted(left)[:5]}")
    if os.listdir(data / "uploads"):
        figures.problems.append("uploads were left over")
    figures.counts["freed bytes"] = store.statistics().freed_bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--engine", choices=ENGINES, default="one")
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}\n")
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "data"
        figures = storm(data, options.seed, options.kills, engine=options.engine)
    for problem in figures.problems:
        sys.stdout.write(f"{problem}\n")
    lost = {"lost": figures.counts["lost"], "wrong": figures.counts["wrong"]}
    sys.stdout.write(f"seed {options.seed}: {figures.line()}, {lost}\n")
    return 1 if figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
