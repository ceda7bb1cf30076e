"""`dtrfast login`, `logout`, `whoami` and `profile`, on a registry in this process."""

from __future__ import annotations

import base64
import getpass
import io
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import httpx
import msgspec
import pytest

from dtrfast.cli import api_client
from dtrfast.cli.app import run
from dtrfast.cli.options import HERE
from dtrfast.cli.profiles import Profiles
from dtrfast.cli.registry_choice import RemoteRegistry, choose
from dtrfast.cli.sign_in import name_for, parse_address, token_name
from dtrfast.config import StoreConfig
from dtrfast.errors import SettingsInvalid, StartRefused, StorageFailed
from dtrfast.identity.names import check_title
from dtrfast.store.store import Store
from tests.api.managed.town import PASSWORD, Town, in_memory
from tests.cli import terminal
from tests.e2e import certificates

URL = "https://registry.example"


class _Road(httpx.BaseTransport):
    """Carries the requests of commands to the town, and keeps them."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.requests: list[httpx.Request] = []
        self.trusts: list[ssl.SSLContext | None] = []  # of each connection
        self.failure: Callable[[httpx.Request], None] = lambda request: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.failure(request)
        answer = self._town.client.request(
            request.method,
            request.url.raw_path.decode(),
            headers=dict(request.headers),
            content=request.read(),
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def town() -> Iterator[Town]:
    with in_memory() as town:
        yield town


@pytest.fixture
def road(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Road:
    road = _Road(town)

    def open_client(remote: RemoteRegistry) -> httpx.Client:
        road.trusts.append(remote.trust)
        return httpx.Client(transport=road)

    monkeypatch.setattr(api_client, "open_client", open_client)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return road


@pytest.fixture
def kept(road: _Road, tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "config" / "dtrfast")


def login(
    patch: pytest.MonkeyPatch, *arguments: str, text: str = PASSWORD, who: str = "owen"
) -> int:
    patch.setattr(sys, "stdin", io.StringIO(text + "\n"))
    return run(["login", *arguments, "--user", who, "--password-stdin"])


def names_of_tokens(town: Town, who: str = "owen") -> list[str]:
    found = town.api(who, "GET", f"accounts/{who}/tokens")["credentials"]
    return [one["name"] for one in found]


def test_from_sign_in_to_sign_out(
    town: Town,
    road: _Road,
    kept: Profiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert login(monkeypatch, "registry.example") == 0
    shown = capsys.readouterr()
    assert "signed in to https://registry.example as owen; the token expires at" in shown.out
    assert "the profile is registry.example: commands use it by default" in shown.out
    profile = kept.get("registry.example")
    assert (profile.url, profile.user) == (URL, "owen")
    assert profile.token not in shown.out + shown.err
    (name,) = names_of_tokens(town)
    assert name.startswith("dtrfast ")
    # The password went to the registry alone, and only while signing in.
    assert PASSWORD not in json.dumps([str(r.url) for r in road.requests])
    assert PASSWORD not in kept.path("registry.example").read_text()

    road.requests.clear()
    assert run(["repo", "list"]) == 0
    assert "acme\tsecret" in capsys.readouterr().out
    assert [r.headers["authorization"] for r in road.requests] == [f"Bearer {profile.token}"]
    assert run(["whoami", "--json"]) == 0
    who = json.loads(capsys.readouterr().out)
    assert (who["user"], who["profile"], who["isAdmin"]) == ("owen", "registry.example", False)
    assert who["expiresAt"] == profile.expires_at

    assert run(["logout"]) == 0
    assert "signed out of https://registry.example" in capsys.readouterr().out
    assert names_of_tokens(town) == []
    assert (kept.names(), kept.default()) == ([], "")


def test_a_change_names_the_registry_that_the_command_line_does_not(
    kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod")
    capsys.readouterr()
    said = f"dtrfast: working on {URL} as owen (profile prod)\n"
    make = ["repo", "update", "acme/app", "--description"]
    assert run([*make, "x", "--json"]) == 0
    out, errors = capsys.readouterr()
    assert errors == said
    assert json.loads(out)["shortDescription"] == "x"
    monkeypatch.setenv("DTRFAST_PROFILE", "prod")
    run([*make, "y"])
    assert capsys.readouterr().err == said
    run([*make, "z", "--profile", "prod"])
    assert capsys.readouterr().err == ""
    run(["repo", "show", "acme/app"])
    assert capsys.readouterr().err == ""


def test_a_data_directory_beside_the_default_profile_is_told_at_once(
    kept: Profiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "choose one with --data data or --profile prod"
    login(monkeypatch, URL, "--profile", "prod")
    assert said not in capsys.readouterr().err
    Store.open(tmp_path / "data", StoreConfig()).close()
    login(monkeypatch, URL, "--profile", "prod")
    assert said in capsys.readouterr().err
    assert run(["repo", "list"]) == 1
    assert said in capsys.readouterr().err
    login(monkeypatch, URL, "--profile", "other")  # not the default one
    assert capsys.readouterr().err == ""
    run(["profile", "use", "prod"])
    assert said in capsys.readouterr().err
    monkeypatch.setenv("DTRFAST_PROFILE", "prod")  # decides before the directory
    login(monkeypatch, URL, "--profile", "prod")
    assert capsys.readouterr().err == ""


def test_the_maker_of_an_organization_is_its_first_owner(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod", who="admin")
    capsys.readouterr()
    assert run(["org", "create", "tools", "--profile", "prod"]) == 0
    assert capsys.readouterr().err == ""
    found = town.api("admin", "GET", "accounts/tools/teams/owners/members")["members"]
    assert [one["name"] for one in found] == ["admin"]


def test_grants_on_a_repository_are_listed_with_those_on_its_namespace(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(place: str) -> set[str]:
        assert run(["access", "list", place]) == 0
        return set(capsys.readouterr().out.splitlines()[1:])

    login(monkeypatch, URL)
    assert run(["access", "grant-namespace", "acme", "writers", "read-only"]) == 0
    assert run(["access", "grant", "acme/app", "admin", "--user", "nora"]) == 0
    capsys.readouterr()
    whole = "team\twriters\tread-only\tacme/*"
    on_app = {
        "user\tnora\tadmin\tacme/app",
        "team\treaders\tread-only\tacme/app",
        "team\twriters\tread-write\tacme/app",
        "team\tadmins\tadmin\tacme/app",
    }
    assert listed("acme/app") == {whole, *on_app}
    assert listed("acme") == {whole}
    assert run(["repo", "create", "acme"]) == 0  # with a name of one part
    assert run(["access", "grant", "acme", "read-only", "--user", "rita"]) == 0
    capsys.readouterr()
    assert listed("acme") == {whole, "user\trita\tread-only\tacme"}
    for place, message in (
        ("acme/none", "there is no repository acme/none"),
        ("none", "there is no organization 'none'"),
    ):
        assert run(["access", "list", place]) == 1
        assert message in capsys.readouterr().err
    # An administrator of the repository alone may not read the grants on the namespace.
    login(monkeypatch, URL, "--profile", "nora", "--use", who="nora")
    capsys.readouterr()
    assert run(["access", "list", "acme/app"]) == 0
    out, errors = capsys.readouterr()
    assert set(out.splitlines()[1:]) == on_app
    assert "the grants on acme/* are missing here: only administrators of acme" in errors
    assert run(["access", "list", "acme"]) == 1
    # The namespace of a user has no grants.
    assert run(["repo", "create", "nora/app"]) == 0
    assert run(["access", "grant", "nora/app", "read-only", "--user", "rita"]) == 0
    capsys.readouterr()
    assert listed("nora/app") == {"user\trita\tread-only\tnora/app"}


def test_tags_are_listed_newest_first_and_those_of_a_second_by_version(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL)
    town.push("acme/app", b"old", tag="v2.0.0")
    town.clock.advance(60)
    for tag in ("v1.10.0", "v1.2.0", "v1.9.0"):
        town.push("acme/app", tag.encode(), tag=tag)
    capsys.readouterr()
    assert run(["repo", "tags", "acme/app"]) == 0
    names = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names == ["v1.10.0", "v1.9.0", "v1.2.0", "v2.0.0", "v1"]


def test_a_variable_that_decides_before_the_default_profile_is_told(
    kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod")
    login(monkeypatch, URL, "--profile", "other")
    assert capsys.readouterr().err == ""
    for variable, value in (
        ("DTRFAST_STORE_DATA", "/srv/registry"),
        ("DTRFAST_PROFILE", "other"),
        ("DTRFAST_PROFILE", "no profile"),
    ):
        monkeypatch.setenv(variable, value)
        login(monkeypatch, URL, "--profile", "prod")
        said = f"{variable} decides before the default profile: unset it, or use --profile prod"
        assert said in capsys.readouterr().err
        monkeypatch.delenv(variable)


def test_a_data_directory_of_another_user_asks_for_a_choice(
    kept: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(monkeypatch, URL, "--profile", "prod")

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)  # the tests may run as root, who is never refused
    with pytest.raises(StartRefused, match="choose one with --data data or --profile prod"):
        choose(HERE, {}, kept)


def test_signing_in_again_replaces_the_token(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(monkeypatch, URL, "--profile", "prod")
    first = kept.get("prod")
    login(monkeypatch, "--profile", "prod", "--days", "1")  # the profile has the address
    second = kept.get("prod")
    assert (second.url, second.token != first.token) == (first.url, True)
    assert second.expires_at < first.expires_at
    assert len(names_of_tokens(town)) == 1
    login(monkeypatch, "--profile", "prod", who="nora")  # as another user
    assert names_of_tokens(town) == []
    assert len(names_of_tokens(town, "nora")) == 1


def test_a_token_that_the_user_has(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = town.api("owen", "POST", "accounts/owen/tokens", {"name": "mine"}, 201)
    scopes = [{"repository": "acme/*", "actions": ["pull"]}]
    body = {"name": "ci", "scopes": scopes}
    robot = town.api("owen", "POST", "accounts/acme/robots", body, 201)
    for name, token, user in (("own", made["token"], "owen"), ("ci", robot["token"], "")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{token}\n"))
        assert run(["login", URL, "--profile", name, "--token-stdin"]) == 0
        assert kept.get(name).user == user
    assert run(["logout", "own"]) == 0
    assert "its token came from you and stays valid" in capsys.readouterr().out
    assert names_of_tokens(town) == ["mine"]
    assert run(["whoami", "--profile", "ci"]) == 0
    assert "for repositories only" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{made['token']}\n"))
    assert run(["login", URL, "--profile", "no", "--token-stdin", "--days", "7"]) == 1
    assert "--token-stdin excludes --user, --password-stdin and --days" in capsys.readouterr().err
    for text, message in (("dtrp_x", "not known, or was revoked"), ("", "has no token")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{text}\n"))
        assert run(["login", URL, "--profile", "no", "--token-stdin"]) == 1
        assert message in capsys.readouterr().err
    assert kept.names() == ["ci"]


def test_a_wrong_password_leaves_nothing(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert login(monkeypatch, URL, text="wrong") == 1
    assert capsys.readouterr().err.startswith("dtrfast: ")
    assert (kept.names(), names_of_tokens(town)) == ([], [])


def test_a_password_that_is_not_text_is_explained(
    kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for errors in ("strict", "surrogateescape"):  # of most locales, and of C
        text = io.TextIOWrapper(io.BytesIO(b"p\xe4ss\n"), "utf-8", errors)
        monkeypatch.setattr(sys, "stdin", text)
        assert run(["login", URL, "--user", "owen", "--password-stdin"]) == 1, errors
        assert "is not UTF-8 text" in capsys.readouterr().err, errors


def test_a_token_that_cannot_be_stored_is_revoked(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _full)
        assert login(patch, URL) == 1
    assert "No space left" in capsys.readouterr().err
    assert names_of_tokens(town) == []


def test_a_default_that_cannot_be_stored_leaves_one_valid_token_in_the_profile(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(profiles: Profiles, name: str) -> None:
        raise StorageFailed("default-profile cannot be written (No space left on device)")

    tokens = set()
    with monkeypatch.context() as patch:
        patch.setattr(Profiles, "set_default", fail)
        for _ in range(2):
            assert login(patch, URL, "--profile", "prod") == 1
            assert "default-profile cannot be written" in capsys.readouterr().err
            tokens.add(kept.get("prod").token)
            assert len(names_of_tokens(town)) == 1
            assert run(["repo", "list", "--profile", "prod"]) == 0
    assert len(tokens) == 2


def _full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_first_profile_is_the_default_and_others_only_on_request(
    kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod")
    login(monkeypatch, "https://staging.example", "--profile", "staging")
    assert kept.default() == "prod"
    assert "use it with --profile staging, or by default after `dtrfast profile use staging`" in (
        capsys.readouterr().out
    )
    login(monkeypatch, "https://third.example", "--use")
    assert kept.default() == "third.example"
    assert run(["profile", "use", "staging"]) == 0
    capsys.readouterr()
    assert run(["profile", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["profile"], one["isDefault"]) for one in listed] == [
        ("prod", False),
        ("staging", True),
        ("third.example", False),
    ]
    assert run(["profile", "show", "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["url"] == "https://staging.example"
    assert kept.get("staging").token not in text
    assert run(["profile", "remove", "staging"]) == 0
    assert "its token stays valid until it is revoked" in capsys.readouterr().out
    assert kept.default() == ""
    assert run(["profile", "remove", "staging"]) == 1
    assert login(monkeypatch, "https://other.example", "--profile", "prod") == 1
    assert "the profile prod is for https://registry.example" in capsys.readouterr().err


def test_a_token_that_ended_is_explained_and_signed_out(
    town: Town, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod")
    town.api("owen", "DELETE", f"accounts/owen/tokens/{kept.get('prod').token_id}", status=204)
    assert run(["repo", "create", "acme/new"]) == 1
    assert "sign in again: dtrfast login --profile prod" in capsys.readouterr().err
    assert run(["logout"]) == 0
    assert kept.names() == []


def test_a_registry_that_does_not_answer_keeps_the_profile(
    road: _Road, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod")

    def fail(request: httpx.Request) -> None:
        raise httpx.ConnectError("refused", request=request)

    road.failure = fail
    assert run(["logout"]) == 1
    assert "`dtrfast profile remove prod` removes the profile alone" in capsys.readouterr().err
    assert kept.names() == ["prod"]


def test_the_password_is_asked_for_without_echo(
    road: _Road, kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = terminal.Terminal("owen\n")
    monkeypatch.setattr(sys, "stdin", asked)
    monkeypatch.setattr(getpass, "getpass", lambda prompt, stream: PASSWORD)
    assert run(["login", URL, "--json"]) == 0
    out, errors = capsys.readouterr()
    assert json.loads(out)["user"] == "owen"
    assert errors == "User: "
    basic = base64.b64encode(f"owen:{PASSWORD}".encode()).decode()
    assert road.requests[0].headers["authorization"] == f"Basic {basic}"
    # Ctrl-D at either question ends the command.
    monkeypatch.setattr(sys, "stdin", terminal.Terminal(""))
    assert run(["login", "https://other.example"]) == 1
    assert capsys.readouterr().err == "User: dtrfast: no user was given\n"

    def end(prompt: str, stream: TextIO) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", end)
    assert run(["login", URL, "--user", "owen"]) == 1
    assert capsys.readouterr().err == "\ndtrfast: no password was given\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("owen\n"))  # a pipe
    assert run(["login", URL]) == 1
    assert "there is no terminal to ask" in capsys.readouterr().err


def test_addresses() -> None:
    for text, url, name in (
        ("registry.example", "https://registry.example", "registry.example"),
        (
            "https://Registry.Example:5000/",
            "https://registry.example:5000",
            "registry.example-5000",
        ),
        ("http://localhost:5000", "http://localhost:5000", "localhost-5000"),
        ("http://[::1]:5000", "http://[::1]:5000", "1-5000"),
    ):
        address = parse_address(text, plain_http=False)
        assert (address.geturl(), name_for(address)) == (url, name)
    for text, message in (
        ("http://registry.example", "--plain-http"),
        ("https://alice:secret@registry.example", "--password-stdin"),
        ("https://registry.example/repositories", "is not the address"),
        ("https://registry.example?x", "is not the address"),
        ("ftp://registry.example", "is not the address"),
        ("https://", "is not the address"),
        ("https://a:b", "is not an address"),
        ("https://a b", "is not the address"),
    ):
        with pytest.raises(SettingsInvalid, match=message):
            parse_address(text, plain_http=False)
    assert parse_address("http://registry.example", plain_http=True).scheme == "http"


def test_names_of_tokens_are_valid_for_every_host() -> None:
    for host in ("build7", "", "-x-", "a" * 300, "größe.example", "a_b c"):
        assert check_title(token_name(host)).startswith("dtrfast ")
    assert token_name("a") != token_name("a")


def test_certificates_are_explained(road: _Road, capsys: pytest.CaptureFixture[str]) -> None:
    causes: list[tuple[ssl.SSLError, str]] = []
    for code, reason, advice in (
        (18, "self-signed certificate", "give its authority with --ca-file"),
        (62, "Hostname mismatch", "use an address that the certificate names"),
    ):
        refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
        refused.verify_code, refused.verify_message = code, reason
        causes.append((refused, f"is not trusted ({reason}): if you" if code == 18 else advice))
    plain = ssl.SSLError(1, "wrong version number")
    plain.reason = "WRONG_VERSION_NUMBER"
    causes.append((plain, "does not speak TLS: does its address begin with http://?"))
    for cause, advice in causes:

        def fail(request: httpx.Request, cause: ssl.SSLError = cause) -> None:
            raise httpx.ConnectError(str(cause), request=request) from cause

        road.failure = fail
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DTRFAST_TOKEN", "t")
            assert run(["repo", "list", "--url", URL]) == 1
        assert advice in capsys.readouterr().err


def test_authorities_are_kept_in_the_profile(
    town: Town,
    road: _Road,
    kept: Profiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "ca.pem"
    for text in ("", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        file.write_text(text)
        assert login(monkeypatch, URL, "--ca-file", str(file)) == 1
        assert "is not a PEM file" in capsys.readouterr().err, text
    assert login(monkeypatch, URL, "--ca-file", str(tmp_path / "none")) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert kept.names() == []
    # A new certificate revokes the former token on the connection that trusts it.
    authority = certificates.make(tmp_path).authority
    login(monkeypatch, URL, "--profile", "prod")
    damaged = msgspec.structs.replace(kept.get("prod"), authorities="no PEM")
    kept.put("prod", damaged)
    capsys.readouterr()
    assert login(monkeypatch, "--profile", "prod") == 1
    assert "sign in again with --ca-file FILE" in capsys.readouterr().err
    road.trusts.clear()
    assert login(monkeypatch, "--profile", "prod", "--ca-file", str(authority)) == 0
    assert kept.get("prod").authorities == authority.read_text()
    assert len(names_of_tokens(town)) == 1
    assert [trust is None for trust in road.trusts] == [False, False]


def test_a_profile_that_cannot_be_read_hides_no_other(
    kept: Profiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    login(monkeypatch, URL, "--profile", "prod")
    kept.path("bad").write_text("{")
    capsys.readouterr()
    assert run(["profile", "list", "--json"]) == 0
    out, errors = capsys.readouterr()
    assert [one["profile"] for one in json.loads(out)] == ["prod"]
    assert f"{kept.path('bad')} is not a profile" in errors
