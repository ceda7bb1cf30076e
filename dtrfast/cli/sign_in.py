"""`dtrfast login`, `logout`, `whoami` and `profile`: registries that commands work on by name."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

import cyclopts
import msgspec
from cyclopts import Parameter

from dtrfast.cli.accounts import At, read_password
from dtrfast.cli.api_client import Api, connect, open_remote
from dtrfast.cli.api_refusal import ApiRefused
from dtrfast.cli.figures import whole_seconds
from dtrfast.cli.options import HERE, WHOLE, Json, Wide
from dtrfast.cli.output import done, finish, remark, show_one, show_rows
from dtrfast.cli.profiles import Profile, Profiles
from dtrfast.cli.registry_choice import (
    PROFILE_VARIABLE,
    RemoteRegistry,
    choose,
    deciding_variable,
    trust_of,
)
from dtrfast.config import is_loopback_host
from dtrfast.errors import DtrfastError, NameInvalid, SettingsInvalid, StartRefused

profiles = cyclopts.App(name="profile", help="Manage profiles: registries that you signed in to.")

_PEM_SIZE_MAX = 1 << 20
_HOST_LENGTH_MAX = 24
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

Name = Annotated[str, Parameter(help="The profile's name.")]


# ---- login -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SignInOptions:
    """The options of `dtrfast login`."""

    user: Annotated[str, Parameter(help="The user to sign in as (else you are asked).")] = ""
    password_stdin: Annotated[
        bool, Parameter(help="Read the password from standard input.", negative="")
    ] = False
    token_stdin: Annotated[
        bool, Parameter(help="Read a token that you have from standard input.", negative="")
    ] = False
    profile: Annotated[
        str, Parameter(help="The profile's name (the registry's host and port).")
    ] = ""
    use: Annotated[
        bool, Parameter(help="Make the profile the default, as the first one is.", negative="")
    ] = False
    ca_file: Annotated[
        Path | None, Parameter(help="Certificate authorities to trust, a PEM file.")
    ] = None
    plain_http: Annotated[
        bool, Parameter(help="Allow http:// to another machine, without encryption.", negative="")
    ] = False


_PLAIN = SignInOptions()


def login(
    url: Annotated[
        str, Parameter(help="The registry's address (that of the profile, to sign in again).")
    ] = "",
    *,
    options: Annotated[SignInOptions, Parameter(name="*")] = _PLAIN,
    days: Annotated[
        int | None,
        WHOLE,
        Parameter(help="Days until the token expires; 0: never (else the registry's default)."),
    ] = None,
    json: Json = False,
) -> None:
    """Sign in to a registry, and keep a personal token for later commands in a profile."""
    kept = Profiles.of_user(os.environ)
    name, before = _target(kept, url, options)
    kept.prepare()  # before a token exists that could not be stored
    blank = msgspec.structs.replace(before, token="", token_id="", expires_at="")
    if options.ca_file is not None:
        blank = msgspec.structs.replace(blank, authorities=_read_pem(options.ca_file))
    if options.token_stdin:
        made = _with_token(blank, options, days)
    else:
        made = _with_password(blank, options, days)
    try:
        kept.put(name, made)
    except DtrfastError:
        _revoke(made)  # else a token would exist that no user knows
        raise
    if before.token != made.token:
        # The registry's certificate may have changed since.
        _revoke(msgspec.structs.replace(before, authorities=made.authorities))
    if options.use or not kept.default():
        kept.set_default(name)
    is_default = kept.default() == name
    document = {**_shown(name, made), "isDefault": is_default}
    finish(document, _greeting(name, made, is_default=is_default), is_json=json)
    if is_default:
        _remark_on_default(kept)


def _target(kept: Profiles, url: str, options: SignInOptions) -> tuple[str, Profile]:
    """Return the name of the profile to sign in to, and its content so far.

    Raises `StartRefused` if the profile is of another registry, and `SettingsInvalid` or
    `NameInvalid` for texts that are no address and no name.
    """
    if not url:
        name = options.profile or os.environ.get("DTRFAST_PROFILE", "") or kept.default()
        if not name:
            raise StartRefused("name the registry: dtrfast login https://registry.example")
        return name, kept.get(name)
    address = parse_address(url, plain_http=options.plain_http)
    name = options.profile or name_for(address)
    kept.path(name)  # checks the name
    if name not in kept.names():
        return name, Profile(url=address.geturl(), user="", token="")
    before = kept.get(name)
    if before.url != address.geturl():
        raise StartRefused(
            f"the profile {name} is for {before.url}: choose another name with --profile, or remove"
            f" it with `dtrfast logout {name}`"
        )
    return name, before


def parse_address(text: str, *, plain_http: bool) -> SplitResult:
    """Return a registry's address: scheme, host and port. Without a scheme it is https. Raises
    `SettingsInvalid`.
    """
    whole = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingsInvalid(f"{text!r} is not an address: {error}") from error
    if "@" in parts.netloc:
        raise SettingsInvalid(
            "an address must not contain a user or a password: use --user and --password-stdin"
        )
    is_plain = text.isascii() and text.isprintable() and " " not in text
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not host or not is_bare or not is_plain:
        raise SettingsInvalid(
            f"{text!r} is not the address of a registry: write https://HOST or https://HOST:PORT"
        )
    if parts.scheme == "http" and not plain_http and not is_loopback_host(host):
        raise SettingsInvalid(
            f"{text} is not encrypted, and others could read the password: use https://, or allow"
            " it with --plain-http"
        )
    shown_host = f"[{host}]" if ":" in host else host
    netloc = shown_host if port is None else f"{shown_host}:{port}"
    return SplitResult(parts.scheme, netloc, "", "", "")


def name_for(address: SplitResult) -> str:
    """Return the name of the profile for an address, such as registry.example-5000."""
    return _UNSAFE.sub("-", address.netloc).strip("-._")[:64] or "registry"


def _read_pem(path: Path) -> str:
    """Return the certificates in a file, as a profile keeps them. Raises `SettingsInvalid`."""
    try:
        with path.open("rb") as file:
            text = file.read(_PEM_SIZE_MAX).decode("ascii", "replace")
        trust_of(Profile(url="", user="", token="", authorities=text))
    except OSError as error:
        raise SettingsInvalid(f"{path} cannot be read ({error.strerror})") from error
    except StartRefused:
        text = ""
    if "BEGIN CERTIFICATE" not in text:
        raise SettingsInvalid(f"{path} is not a PEM file of certificate authorities")
    return text


def _with_token(blank: Profile, options: SignInOptions, days: int | None) -> Profile:
    """Return the profile with a token from standard input, after the registry accepted it."""
    if options.password_stdin or options.user or days is not None:
        raise SettingsInvalid("--token-stdin excludes --user, --password-stdin and --days")
    token = sys.stdin.readline().strip()
    if not token or not token.isascii() or not token.isprintable():
        raise SettingsInvalid("standard input has no token: write it as one line")
    made = msgspec.structs.replace(blank, token=token)
    with open_remote(_remote(made)) as api:
        found = _user_of(api)
    return msgspec.structs.replace(made, user=found.get("name", ""))


def _user_of(api: Api) -> dict[str, Any]:
    """Return the account of the caller; an empty one for a token with scopes, or of a robot."""
    try:
        answer: dict[str, Any] = api.call("GET", "sessions", "current")["account"]
    except ApiRefused as error:
        if error.status == 403:
            return {}
        raise
    return answer


def _with_password(blank: Profile, options: SignInOptions, days: int | None) -> Profile:
    """Return the profile with a token that the registry creates for a name and a password."""
    if options.password_stdin and not options.user:
        raise SettingsInvalid("--password-stdin needs --user NAME")
    name = options.user or _ask_name(blank.user)
    password = read_password() if options.password_stdin else _ask_password()
    body: dict[str, Any] = {"name": token_name(os.uname().nodename)}
    if days is not None:
        body["expiresInDays"] = days
    with open_remote(_remote(blank), password=(name, password)) as api:
        account = api.call("GET", "sessions", "current")["account"]
        made = api.call("POST", "accounts", account["name"], "tokens", body=body)
    return msgspec.structs.replace(
        blank,
        user=account["name"],
        token=made["token"],
        token_id=made["id"],
        expires_at=made["expiresAt"],
    )


def token_name(host: str) -> str:
    """Return a new name for a token of this machine, such as `dtrfast ci7 20260131-120000-1f2e`."""
    machine = _UNSAFE.sub("-", host).strip("-._")[:_HOST_LENGTH_MAX] or "machine"
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return f"dtrfast {machine} {moment}-{secrets.token_hex(2)}"


def _ask_name(former: str) -> str:
    _need_terminal()
    sys.stderr.write(f"User ({former}): " if former else "User: ")
    sys.stderr.flush()
    name = sys.stdin.readline().strip() or former
    if not name:
        raise SettingsInvalid("no user was given")
    return name


def _ask_password() -> str:
    _need_terminal()
    try:
        return getpass.getpass("Password: ", sys.stderr)
    except EOFError as error:  # Ctrl-D
        sys.stderr.write("\n")
        raise SettingsInvalid("no password was given") from error


def _need_terminal() -> None:
    if not sys.stdin.isatty():
        raise SettingsInvalid(
            "there is no terminal to ask for the password: use --user NAME --password-stdin, or"
            " --token-stdin"
        )


def _remote(profile: Profile) -> RemoteRegistry:
    return RemoteRegistry(profile.url, profile.token, trust_of(profile))


def _revoke(profile: Profile) -> None:
    """Revoke a token that a sign-in created. If that fails, say so: the token stays valid."""
    if not profile.token_id:
        return
    try:
        with open_remote(_remote(profile)) as api:
            api.call("DELETE", "accounts", profile.user, "tokens", profile.token_id)
    except ApiRefused as error:
        if error.status not in (401, 404):  # it has ended already
            remark(f"the former token with the id {profile.token_id} stays valid: {error}")


def _greeting(name: str, made: Profile, *, is_default: bool) -> list[str]:
    user = f" as {made.user}" if made.user else ""
    expiry = f"; the token expires at {whole_seconds(made.expires_at)}" if made.expires_at else ""
    use = (
        "commands use it by default"
        if is_default
        else f"use it with --profile {name}, or by default after `dtrfast profile use {name}`"
    )
    return [f"signed in to {made.url}{user}{expiry}", f"the profile is {name}: {use}"]


def _remark_on_default(kept: Profiles) -> None:
    """Say at once why commands that name no registry do not use the default profile, if so."""
    if variable := deciding_variable(os.environ):
        if (variable, os.environ[variable]) != (PROFILE_VARIABLE, kept.default()):
            remark(
                f"{variable} decides before the default profile: unset it, or use --profile"
                f" {kept.default()}"
            )
        return
    try:
        choose(HERE, os.environ, kept)
    except StartRefused as refusal:
        remark(f"commands here need an option: {refusal}")


# ---- logout ------------------------------------------------------------------------------------
def logout(
    profile: Annotated[
        str, Parameter(help="The profile (DTRFAST_PROFILE, else the default one).")
    ] = "",
    *,
    json: Json = False,
) -> None:
    """Revoke the token of a profile, and remove the profile."""
    kept = Profiles.of_user(os.environ)
    name = profile or os.environ.get("DTRFAST_PROFILE", "") or kept.default()
    if not name:
        raise StartRefused("there is no default profile: name one, see `dtrfast profile list`")
    found = kept.get(name)
    if found.token_id:
        try:
            with open_remote(_remote(found)) as api:
                api.call("DELETE", "accounts", found.user, "tokens", found.token_id)
        except ApiRefused as error:
            if error.status not in (401, 404):  # else the token has ended already
                raise ApiRefused(
                    f"the token was not revoked: {error}; `dtrfast profile remove {name}` removes"
                    " the profile alone",
                    status=error.status,
                    code=error.code,
                ) from error
    kept.remove(name)
    is_revoked = bool(found.token_id)
    rest = "" if is_revoked else "; its token came from you and stays valid"
    document = {"profile": name, "url": found.url, "isRevoked": is_revoked}
    finish(document, [f"signed out of {found.url}: removed the profile {name}{rest}"], is_json=json)


# ---- whoami ------------------------------------------------------------------------------------
def whoami(*, at: At = HERE) -> None:
    """Show the registry that commands work on, and the user that they act as."""
    remote = choose(at, os.environ)
    if remote is None:
        with connect(at):
            pass
        document = {"user": "system", "isAdmin": True, "dataDirectory": True}
        done(at, document, "the system's own account, on a data directory of this machine")
        return
    with open_remote(remote) as api:
        account = _user_of(api)
    found: dict[str, Any] = {
        "url": remote.url,
        "profile": remote.profile,
        "user": account.get("name", ""),
        "isAdmin": account.get("isAdmin", False),
    }
    if remote.profile and remote.user:
        found["expiresAt"] = Profiles.of_user(os.environ).get(remote.profile).expires_at
    if not account and not at.json:
        remark("the token belongs to a robot or has scopes: it is for repositories only")
    show_one(at, found)


# ---- profiles ----------------------------------------------------------------------------------
@profiles.command(name="list")
def list_profiles(*, json: Json = False, wide: Wide = False) -> None:
    """List the profiles. The default one is used if a command names no registry."""
    kept = Profiles.of_user(os.environ)
    default = kept.default()
    rows = []
    for name in kept.names():
        try:
            rows.append({**_shown(name, kept.get(name)), "isDefault": name == default})
        except StartRefused as error:
            remark(str(error))
    if json:
        finish(rows, [], is_json=True)
    else:
        show_rows(rows, ["profile", "isDefault", "url", "user", "expiresAt"], is_wide=wide)


@profiles.command(name="use")
def use_profile(profile: Name, *, json: Json = False) -> None:
    """Make a profile the default one."""
    kept = Profiles.of_user(os.environ)
    found = kept.get(profile)
    kept.set_default(profile)
    lines = [f"commands that name no registry work on {found.url} (profile {profile})"]
    finish({**_shown(profile, found), "isDefault": True}, lines, is_json=json)
    _remark_on_default(kept)


@profiles.command(name="show")
def show_profile(profile: str = "", *, json: Json = False) -> None:
    """Show a profile, or the default one. Never shows the token."""
    kept = Profiles.of_user(os.environ)
    name = profile or kept.default()
    if not name:
        raise StartRefused("there is no default profile: name one, see `dtrfast profile list`")
    found = kept.get(name)
    document = {
        **_shown(name, found),
        "isDefault": name == kept.default(),
        "tokenId": found.token_id,
        "hasAuthorities": bool(found.authorities),
        "file": str(kept.path(name)),
    }
    show_one(replace(HERE, json=json), document)


@profiles.command(name="remove")
def remove_profile(profile: Name, *, json: Json = False) -> None:
    """Remove a profile without asking the registry. Its token stays valid: `logout` revokes it."""
    kept = Profiles.of_user(os.environ)
    if profile not in kept.names():
        raise NameInvalid(f"there is no profile {profile!r}: see `dtrfast profile list`")
    kept.remove(profile)
    said = f"removed the profile {profile}; its token stays valid until it is revoked"
    finish({"profile": profile}, [said], is_json=json)


def _shown(name: str, profile: Profile) -> dict[str, Any]:
    """Return what may be shown of a profile."""
    return {
        "profile": name,
        "url": profile.url,
        "user": profile.user,
        "expiresAt": profile.expires_at,
    }
