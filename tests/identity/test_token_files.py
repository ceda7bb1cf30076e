"""Files with a token: the files that may be read, and the addresses to which a token is sent."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtrfast.config import AuthConfig, Config
from dtrfast.errors import IssuerUnavailable, SettingsInvalid
from dtrfast.identity.issuer_documents import IssuerDocuments, fetch_keys
from dtrfast.identity.oidc import Issuer, check_issuer
from dtrfast.identity.token_files import TokenFiles
from dtrfast.outgoing.permit import DIRECT
from tests.api.managed.town import in_memory
from tests.e2e import certificates
from tests.identity.issuer import AUDIENCE, LocalIssuer, running


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A directory as Kubernetes mounts it: the token is a link to a link."""
    directory = tmp_path / "serviceaccount"
    (directory / "..2026_01").mkdir(parents=True)
    (directory / "..2026_01" / "token").write_text("from.the.cluster\n")
    (directory / "..data").symlink_to("..2026_01")
    (directory / "token").symlink_to("..data/token")
    (tmp_path / "secret").write_text("host-secret\n")
    return directory


def test_a_token_is_read_through_the_links_of_its_mount(allowed: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(allowed.parent)
    for directory, path in (
        (allowed, allowed / "token"),
        (tmp_path / "run" / "serviceaccount", allowed / "token"),
        (allowed, tmp_path / "run" / "serviceaccount" / "token"),
        (f"{allowed}/", allowed / "..data" / "token"),
    ):
        assert TokenFiles([str(directory)]).read(str(path)) == "from.the.cluster"
    (allowed / "..2027_01").mkdir()
    (allowed / "..2027_01" / "token").write_text("rotated")
    (allowed / "..data").unlink()
    (allowed / "..data").symlink_to("..2027_01")
    assert TokenFiles([str(allowed)]).read(str(allowed / "token")) == "rotated"


def _make_wrong_files(allowed: Path) -> None:
    """Create files, links and a pipe that must not be read."""
    outside = allowed.parent / "secret"
    (allowed / "link").symlink_to(outside)
    (allowed / "up").symlink_to("..")
    (allowed / "loop").symlink_to("loop")
    (allowed / "large").write_text("x" * 16_385)
    (allowed / "lines").write_text("one\ntwo\n")
    (allowed / "blank").write_text("\n")
    (allowed / "bytes").write_bytes(b"\xff\xfe")
    (allowed / "secretive").write_text("host-secret")
    os.mkfifo(allowed / "pipe")
    sibling = allowed.parent / "serviceaccount-2"
    sibling.mkdir()
    (sibling / "token").write_text("host-secret")


def _wrong_paths(allowed: Path) -> dict[str, str]:
    """Return paths that must not be read, by their kind."""
    outside, sibling = allowed.parent / "secret", allowed.parent / "serviceaccount-2"
    return {
        "another file": str(outside),
        "a link to it": str(allowed / "link"),
        "by a link to a directory": str(allowed / "up" / "secret"),
        "by dots": f"{allowed}/../secret",
        "a directory that begins alike": str(sibling / "token"),
        "a relative path": os.path.relpath(outside),
        "the directory itself": str(allowed),
        "a directory in it": str(allowed / "..data"),
        "a pipe": str(allowed / "pipe"),
        "a device": "/dev/zero",
        "a process's file": "/proc/self/environ",
        "through a descriptor": "/proc/self/fd/0",
        "no file": str(allowed / "none"),
        "a circle of links": str(allowed / "loop"),
        "too much": str(allowed / "large"),
        "two lines": str(allowed / "lines"),
        "an empty line": str(allowed / "blank"),
        "no text": str(allowed / "bytes"),
        "a zero": f"{allowed}/token\0",
        "nothing": "",
    }


def test_no_other_file_is_read(allowed: Path) -> None:
    files = TokenFiles([str(allowed)])
    wrong = []
    _make_wrong_files(allowed)
    for kind, path in _wrong_paths(allowed).items():
        try:
            files.read(path)
        except SettingsInvalid as refusal:
            if "host-secret" in refusal.message or (path and path in refusal.message):
                wrong.append((kind, refusal.message))
        else:
            wrong.append((kind, "was read"))
    assert wrong == []


def test_files_outside_are_refused_alike_whether_they_are_there_or_not(allowed: Path) -> None:
    files = TokenFiles([str(allowed)])
    said = set()
    for path in (
        "/etc/shadow",
        "/etc/passwd",
        "/etc/none",
        "/none/at/all",
        "/etc",
        "/root/.ssh/id",
    ):
        with pytest.raises(SettingsInvalid) as refused:
            files.read(path)
        said.add(refused.value.message)
    assert len(said) == 1


def test_without_a_directory_no_file_is_read(allowed: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"auth\.token_file_directories"):
        TokenFiles(()).read(str(allowed / "token"))


def test_a_link_that_changes_while_the_file_is_located_is_followed_anew(
    allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library finds a link, and then a directory or nothing in its place."""
    errors: list[OSError] = [FileNotFoundError(2, "gone"), FileNotFoundError(2, "gone")]
    resolve = os.path.realpath

    def changing(path: str) -> str:
        if errors:
            raise errors.pop()
        return resolve(path)

    monkeypatch.setattr(os.path, "realpath", changing)
    files = TokenFiles([str(allowed)])
    assert files.read(str(allowed / "token")) == "from.the.cluster"
    errors.append(OSError(22, "Invalid argument"))
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        files.read(str(allowed / "token"))


@pytest.mark.long
def test_a_link_that_changes_while_the_file_is_opened_leads_nowhere_else(
    allowed: Path, tmp_path: Path
) -> None:
    """Another process swaps a directory and a link to a different directory, all the time."""
    inside, outside = allowed / "inside", tmp_path / "outside"
    for folder, text in ((inside, "good"), (outside, "host-secret")):
        folder.mkdir()
        (folder / "token").write_text(text)
    aside, link = allowed / "aside", allowed / "link-to-outside"
    link.symlink_to(outside)
    ending = threading.Event()

    def swap() -> None:
        while not ending.is_set():
            inside.rename(aside)
            link.rename(inside)
            inside.rename(link)
            aside.rename(inside)

    thread = threading.Thread(target=swap)
    thread.start()
    files, read = TokenFiles([str(allowed)]), set()
    try:
        for _ in range(400):
            try:
                read.add(files.read(str(inside / "token")))
            except SettingsInvalid:
                continue
    finally:
        ending.set()
        thread.join()
    assert read <= {"good"}


# ---- by the API --------------------------------------------------------------------------------
def _issuer(path: str, **changes: str) -> dict[str, Any]:
    issuer = {"name": "ci", "url": "https://127.0.0.1:1", "audience": AUDIENCE}
    return {"issuers": [{**issuer, "bearerTokenFile": path, **changes}]}


def test_an_issuer_is_set_only_with_a_file_that_may_be_read(allowed: Path) -> None:
    config = Config(auth=AuthConfig(token_file_directories=(str(allowed),)))
    with in_memory(config=config) as town:
        for path, status in (
            (allowed / "token", 200),
            (allowed.parent / "secret", 400),
            (allowed / "none", 400),
        ):
            answer = town.ask("admin", "PUT", "admin/settings/oidc", _issuer(str(path)))
            assert answer.status_code == status, (path, answer.text)
            assert "host-secret" not in answer.text
            assert "bearerTokenFile" in answer.text
            refused = town.ask("owen", "PUT", "admin/settings/oidc", _issuer(str(path)))
            assert refused.status_code == 403


def test_a_token_is_not_sent_without_tls() -> None:
    for changes in ({"url": "http://127.0.0.1"}, {"jwks_url": "http://localhost/keys"}):
        issuer = {"name": "ci", "url": "https://issuer.example", "audience": "x"}
        with pytest.raises(SettingsInvalid, match="over https only"):
            check_issuer(Issuer(**{**issuer, **changes, "bearer_token_file": "/x/token"}))


# ---- on the wire -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalIssuer, str]]:
    """An issuer over TLS, and the certificate of its authority."""
    made = certificates.make(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    with running(context) as issuer:
        yield issuer, made.authority.read_text()


def test_the_token_is_shown_at_the_address_that_an_administrator_gave(
    secure: tuple[LocalIssuer, str], allowed: Path
) -> None:
    local, authority = secure
    documents = IssuerDocuments(DIRECT, TokenFiles([str(allowed)]))
    file = str(allowed / "token")
    for changes in ({}, {"jwks_url": f"{local.url}/keys"}):
        local.authorization = None
        issuer = local.issuer(ca_pem=authority, bearer_token_file=file, **changes)
        fetch_keys(documents, issuer)
        assert local.authorization == "Bearer from.the.cluster"


def test_keys_at_another_origin_are_asked_for_without_the_token(
    secure: tuple[LocalIssuer, str], allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, authority = secure
    documents = IssuerDocuments(DIRECT, TokenFiles([str(allowed)]))
    issuer = local.issuer(ca_pem=authority, bearer_token_file=str(allowed / "token"))
    elsewhere = local.url.replace("127.0.0.1", "localhost")
    document = json.dumps({"issuer": local.url, "jwks_uri": f"{elsewhere}/keys"}).encode()
    answer = local.document

    def moved(path: str) -> bytes:
        return document if path.startswith("/.well-known") else answer(path)

    monkeypatch.setattr(local, "document", moved)
    fetch_keys(documents, issuer)
    assert local.authorization is None


def test_a_file_that_is_not_allowed_any_more_is_refused_when_it_is_used(
    secure: tuple[LocalIssuer, str], allowed: Path
) -> None:
    local, authority = secure
    local.requests.clear()
    issuer = local.issuer(ca_pem=authority, bearer_token_file=str(allowed / "token"))
    with pytest.raises(IssuerUnavailable, match=r"auth\.token_file_directories") as refused:
        fetch_keys(IssuerDocuments(DIRECT, TokenFiles(())), issuer)
    assert "ask its operator" in refused.value.message
    assert local.requests.total() == 0
