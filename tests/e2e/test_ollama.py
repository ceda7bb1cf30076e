"""Ollama pushes and pulls models: in parts of 100 MB, and as many small tensors."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e import http_client, images, traffic
from tests.e2e.managed import ManagedRegistry
from tests.e2e.programs import find, wait_until
from tests.e2e.registry import Registry, free_port

pytestmark = pytest.mark.client

# Two parts: ollama sends and fetches 100 MB at a time.
TENSOR = images.noise(120_000_000, seed=90)
SMALL = [images.noise(5_000 * n, seed=900 + n) for n in range(1, 31)]
MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


class Ollama:
    """An ollama server, with a folder of models of its own."""

    def __init__(self, folder: Path, client: httpx.Client) -> None:
        self._folder = folder
        self._client = client
        self._log = folder / "ollama.log"

    def retries(self) -> list[str]:
        """Return its retries, which only its log shows. It retries each part for a minute."""
        return [line for line in self._log.read_text().splitlines() if "attempt" in line]

    def answers(self) -> bool:
        try:
            return self._client.get("/api/version").is_success
        except httpx.HTTPError:
            return False

    def create(self, model: str, content: bytes) -> None:
        """Make a model from a file in GGUF format."""
        digest = http_client.digest_of(content)
        self._client.post(f"/api/blobs/{digest}", content=content).raise_for_status()
        self._ask("create", {"model": model, "files": {"model.gguf": digest}})

    def push(self, model: str) -> None:
        self._ask("push", {"model": model, "insecure": True})

    def pull(self, model: str) -> None:
        self._ask("pull", {"model": model, "insecure": True})

    def write(self, model: str, manifest: Mapping[str, object], blobs: list[bytes]) -> None:
        """Write a model into ollama's folder."""
        for blob in blobs:
            path = self._blob(http_client.digest_of(blob))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob)
        path = self._manifest(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(manifest))

    def read(self, model: str) -> tuple[dict[str, object], dict[str, bytes]]:
        """Return a model's manifest, and its blobs by digest, after checking the digests."""
        manifest = json.loads(self._manifest(model).read_text())
        named = [entry["digest"] for entry in (manifest["config"], *manifest["layers"])]
        blobs = {digest: self._blob(digest).read_bytes() for digest in named}
        assert all(http_client.digest_of(blob) == digest for digest, blob in blobs.items())
        return manifest, blobs

    def _ask(self, operation: str, body: dict[str, object]) -> None:
        answer = self._client.post(f"/api/{operation}", json={**body, "stream": False})
        assert answer.is_success, answer.text
        assert answer.json() == {"status": "success"}

    def _blob(self, digest: str) -> Path:
        return self._folder / "models" / "blobs" / digest.replace(":", "-")

    def _manifest(self, model: str) -> Path:
        return self._folder / "models" / "manifests" / model.rpartition(":")[0] / "1"


@contextmanager
def _running(folder: Path, environment: Mapping[str, str]) -> Iterator[Ollama]:
    port = free_port()
    settings = {"HOME": str(folder), "OLLAMA_MODELS": str(folder / "models")}
    with (folder / "ollama.log").open("wb") as log:
        process = subprocess.Popen(
            [find("ollama-server", environment).path],
            env={**environment, **settings, "OLLAMA_HOST": f"127.0.0.1:{port}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            server = Ollama(folder, client)
            wait_until(server.answers, process, "answer from ollama")
            yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def machines(
    new_folder: Callable[[str], Path], environment: Mapping[str, str]
) -> Iterator[tuple[Ollama, Ollama]]:
    """Two machines that share nothing."""
    with (
        _running(new_folder("ollama"), environment) as first,
        _running(new_folder("ollama"), environment) as second,
    ):
        yield first, second


def test_model_in_large_parts(machines: tuple[Ollama, Ollama], registry: Registry) -> None:
    first, second = machines
    model = f"{registry.host}/ollama/large:1"
    first.create(model, _gguf(TENSOR))
    with traffic.watched(registry) as seen:
        first.push(model)
        second.pull(model)
    assert first.retries() == second.retries() == []
    assert second.read(model) == first.read(model)
    # It opens each blob once to learn its place, and reads nothing of that answer.
    assert seen.surprises(hangs_up=True) == []
    assert len(seen.of("PATCH", "/v2/ollama/large/blobs/", status=202)) >= 2
    with traffic.watched(registry) as again:
        first.push(model)
    assert [request.method for request in again.requests if request.method == "POST"] == []


def test_model_of_many_tensors(machines: tuple[Ollama, Ollama], registry: Registry) -> None:
    first, second = machines
    model = f"{registry.host}/ollama/tensors:1"
    config = json.dumps({"model_format": "safetensors"}).encode()
    first.write(model, _tensor_manifest(config), [config, *SMALL])
    with traffic.watched(registry) as seen:
        first.push(model)
        second.pull(model)
    assert first.retries() == second.retries() == []
    assert second.read(model) == first.read(model)
    assert seen.surprises(hangs_up=True) == []
    assert len(seen.of("PUT", "/v2/ollama/tensors/blobs/", status=201)) == len(SMALL) + 1


def test_public_model_is_pulled_without_an_account(
    machines: tuple[Ollama, Ollama], accounts: ManagedRegistry
) -> None:
    """Ollama has no passwords: it would sign its requests with a key of ollama.com."""
    _, machine = machines
    model = f"{accounts.host}/acme/open:1"
    config = json.dumps({"model_format": "gguf"}).encode()
    content = _gguf(images.noise(1_000_000, seed=91))
    manifest = _manifest(config, {"application/vnd.ollama.image.model": [content]})
    auth = ("owen", accounts.secrets["owen"])
    with httpx.Client(base_url=accounts.registry.url, auth=auth) as client:
        for blob in (config, content):
            http_client.push(client, "acme/open", blob, http_client.digest_of(blob))
        headers = {"content-type": MEDIA_TYPE}
        client.put("/v2/acme/open/manifests/1", json=manifest, headers=headers).raise_for_status()
    with traffic.watched(accounts.registry) as seen:
        machine.pull(model)
    assert seen.surprises(hangs_up=True) == []
    assert content in machine.read(model)[1].values()


def _tensor_manifest(config: bytes) -> dict[str, object]:
    return _manifest(config, {"application/vnd.ollama.image.tensor": SMALL})


def _manifest(config: bytes, layers: Mapping[str, list[bytes]]) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPE,
        "config": http_client.descriptor("application/vnd.docker.container.image.v1+json", config),
        "layers": [
            http_client.descriptor(media_type, blob)
            for media_type, blobs in layers.items()
            for blob in blobs
        ],
    }


def _gguf(tensor: bytes) -> bytes:
    """Return a file with one tensor of 32-bit numbers."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    string, float32 = 8, 0
    values = {"general.architecture": "llama", "general.name": hashlib.md5(tensor).hexdigest()}
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(values))
    for key, value in values.items():
        head += text(key) + struct.pack("<I", string) + text(value)
    head += text("token_embd.weight") + struct.pack("<IQIQ", 1, len(tensor) // 4, float32, 0)
    return head + bytes(-len(head) % 32) + tensor
