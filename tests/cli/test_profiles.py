"""Profiles on disk, and the choice of the registry that a command works on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dtrfast.cli.api_client import connect
from dtrfast.cli.options import RegistryOptions
from dtrfast.cli.profiles import Profile, Profiles
from dtrfast.cli.registry_choice import choose
from dtrfast.config import StoreConfig
from dtrfast.errors import NameInvalid, StartRefused, StorageFailed
from dtrfast.store.store import Store

PROD = Profile(url="https://prod.example", user="alice", token="dtrp_prod")
STAGING = Profile(url="https://staging.example", user="bob", token="dtrp_staging")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profiles:
    """Two profiles, none of them the default, in a directory without a data directory."""
    monkeypatch.chdir(tmp_path)
    profiles = Profiles(tmp_path / "config" / "dtrfast")
    profiles.put("prod", PROD)
    profiles.put("staging", STAGING)
    return profiles


# ---- the files ---------------------------------------------------------------------------------
def test_only_the_user_can_read_a_profile(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        profiles = Profiles(tmp_path / "config" / "dtrfast")
        profiles.put("prod", PROD)
        path = profiles.path("prod")
        path.chmod(0o644)
        path.parent.chmod(0o755)
        assert profiles.get("prod") == PROD
        assert stat.S_IMODE(path.stat().st_mode) == 0o600  # a copy made it readable for others
        profiles.put("prod", STAGING)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert profiles.get("prod") == STAGING
    assert [entry.name for entry in path.parent.iterdir()] == ["prod.json"]


def test_a_profile_is_replaced_at_once(kept: Profiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old profile, and no file with the new token."""

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageFailed, match="No space left"):
            kept.put("prod", STAGING)
    assert kept.get("prod") == PROD
    assert len(list(kept.path("prod").parent.iterdir())) == 2


def test_a_link_to_a_profile_stays_a_link(kept: Profiles, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles.json"
    kept.path("prod").rename(elsewhere)
    kept.path("prod").symlink_to(elsewhere)
    kept.put("prod", STAGING)
    assert kept.path("prod").is_symlink()
    assert kept.get("prod") == STAGING


def test_names_cannot_leave_the_directory(kept: Profiles) -> None:
    for name in ("", "..", "../x", "a/b", ".hidden", "-x", "a b", "a" * 65, "ä", "a\n"):
        with pytest.raises(NameInvalid, match="is not a name for a profile"):
            kept.path(name)
    assert kept.names() == ["prod", "staging"]


def test_what_is_no_profile_is_explained(kept: Profiles) -> None:
    kept.path("prod").write_text("{}")
    with pytest.raises(StartRefused, match=r"prod\.json is not a profile .* sign in again"):
        kept.get("prod")
    with pytest.raises(StartRefused, match=r"no profile 'x' \(there are: prod, staging\)"):
        kept.get("x")


def test_the_place_follows_the_specification(tmp_path: Path) -> None:
    for value, base in (("/x", "/x"), ("", "/h/.config"), ("relative", "/h/.config")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", "/h")
            found = Profiles.of_user({"XDG_CONFIG_HOME": value}).path("p")
        assert found == Path(base) / "dtrfast/profiles/p.json", value


# ---- the choice --------------------------------------------------------------------------------
def chosen(kept: Profiles, where: RegistryOptions, **variables: str) -> str:
    """Return the URL, the token and the profile that are chosen; `data` for a data directory."""
    found = choose(where, variables, kept)
    if found is None:
        return "data"
    implied = " implied" if found.is_implied else ""
    return f"{found.url} {found.token} {found.profile}{implied}"


def test_the_command_line_decides_then_the_environment_then_the_default(
    kept: Profiles, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("dtrp_file\n")
    prod, staging = "https://prod.example dtrp_prod prod", "https://staging.example dtrp_staging"
    url = RegistryOptions(url="https://x")
    for default in ("", "staging"):
        kept.set_default(default)
        assert chosen(kept, url, DTRFAST_TOKEN="t", DTRFAST_PROFILE="prod") == "https://x t "
        assert chosen(kept, url) == "https://x  "  # no token of a profile
        with_file = RegistryOptions(url="https://x", token_file=token)
        assert chosen(kept, with_file, DTRFAST_TOKEN="t") == "https://x dtrp_file "
        named = RegistryOptions(profile="prod")
        # A token in the environment may be one of another server.
        assert chosen(kept, named, DTRFAST_TOKEN="t", DTRFAST_STORE_DATA="/d") == prod
        assert chosen(kept, RegistryOptions(data="/d"), DTRFAST_PROFILE="prod") == "data"
        assert chosen(kept, RegistryOptions(config=Path("c")), DTRFAST_PROFILE="prod") == "data"
        here = RegistryOptions()
        assert chosen(kept, here, DTRFAST_PROFILE="prod", DTRFAST_TOKEN="t") == f"{prod} implied"
        for variable in ("DTRFAST_STORE_DATA", "DTRFAST_CONFIG"):
            assert chosen(kept, here, **{variable: "x"}) == "data"
            both = {variable: "x", "DTRFAST_PROFILE": "prod"}
            assert chosen(kept, here, **both) == f"{prod} implied"
        assert chosen(kept, here) == (f"{staging} staging implied" if default else "data")
    replaced = RegistryOptions(profile="prod", token_file=token)
    assert chosen(kept, replaced) == "https://prod.example dtrp_file prod"


def test_options_that_contradict_each_other_are_refused(kept: Profiles) -> None:
    for options in (
        RegistryOptions(url="https://x", data="d"),
        RegistryOptions(url="https://x", profile="prod"),
        RegistryOptions(profile="prod", data="d"),
        RegistryOptions(url="https://x", config=Path("c")),
        RegistryOptions(profile="prod", config=Path("c")),
    ):
        with pytest.raises(StartRefused, match="name different registries"):
            choose(options, {}, kept)
    assert choose(RegistryOptions(data="d", config=Path("c")), {}, kept) is None
    for options in (RegistryOptions(url=""), RegistryOptions(profile=" ")):
        with pytest.raises(StartRefused, match="is empty"):  # as from an unset variable
            choose(options, {}, kept)


def test_a_default_profile_never_replaces_a_data_directory(
    kept: Profiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a profile existed, the command changed ./data. It must not change a server instead."""
    Store.open(tmp_path / "data", StoreConfig()).close()
    assert chosen(kept, RegistryOptions()) == "data"
    kept.set_default("prod")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with (
        pytest.raises(StartRefused, match="choose one with --data data or --profile prod"),
        connect(RegistryOptions()),
    ):
        pass
    with connect(RegistryOptions(data="data")) as api:
        assert api.pages("accounts", "accounts") == []
