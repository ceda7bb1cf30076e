"""The choice of the registry that a command works on: a data directory, or one behind a URL.

The command line decides first, then the environment, then the default profile. A profile never
replaces a data directory that the user named or stands in (docs/command-line.md).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dtrfast.cli.options import RegistryOptions
from dtrfast.cli.profiles import Profile, Profiles
from dtrfast.config import StoreConfig
from dtrfast.errors import StartRefused
from dtrfast.machine.paths import Layout

PROFILE_VARIABLE = "DTRFAST_PROFILE"
# Each of these names a data directory, by itself or in a file.
_LOCAL_VARIABLES = ("DTRFAST_CONFIG", "DTRFAST_STORE_DATA")


@dataclass(frozen=True, slots=True)
class RemoteRegistry:
    """A registry behind a URL. `profile` is empty if the options name the URL.

    `is_implied`: the command line does not name it.
    """

    url: str
    token: str
    trust: ssl.SSLContext | None = None
    profile: str = ""
    user: str = ""
    is_implied: bool = False


def choose(
    where: RegistryOptions, environ: Mapping[str, str], profiles: Profiles | None = None
) -> RemoteRegistry | None:
    """Return the remote registry to use; None for a data directory. Raises `StartRefused`.

    The default of `profiles` are those of the user.
    """
    _refuse_contradictions(where)
    found = _find(where, environ, profiles)
    if found is None:
        for option, value in (("--token-file", where.token_file), ("--ca-file", where.ca_file)):
            if value is not None:
                raise StartRefused(
                    f"{option} is for a registry behind a URL, and this command works on a data"
                    " directory: give --url or --profile too"
                )
    return found


def _find(
    where: RegistryOptions, environ: Mapping[str, str], profiles: Profiles | None
) -> RemoteRegistry | None:
    if where.url:
        trust = None if where.ca_file is None else authorities(where.ca_file)
        token = _token_in_file(where) or environ.get("DTRFAST_TOKEN", "").strip()
        return RemoteRegistry(where.url, token, trust)
    profiles = profiles or Profiles.of_user(environ)
    if where.profile:
        return _of_profile(where, where.profile, profiles, is_implied=False)
    if where.data is not None or where.config is not None:
        return None
    if variable := deciding_variable(environ):
        if variable != PROFILE_VARIABLE:
            return None
        return _of_profile(where, environ[variable], profiles, is_implied=True)
    name = profiles.default()
    if not name:
        return None
    here = StoreConfig().data
    if _may_be_data(here):
        raise StartRefused(
            f"this directory has a data directory, {here}, and your default profile is {name}:"
            f" choose one with --data {here} or --profile {name}"
        )
    return _of_profile(where, name, profiles, is_implied=True)


def _may_be_data(folder: Path) -> bool:
    """Return True for a data directory, and for one that the user may not open."""
    try:
        return Layout(folder).format.exists()
    except PermissionError:
        return True


def deciding_variable(environ: Mapping[str, str]) -> str:
    """Return the variable that decides before the default profile; empty if there is none."""
    variables = (PROFILE_VARIABLE, *_LOCAL_VARIABLES)
    return next((variable for variable in variables if environ.get(variable)), "")


def _refuse_contradictions(where: RegistryOptions) -> None:
    remote = [
        option
        for option, value in (("--url", where.url), ("--profile", where.profile))
        if value is not None
    ]
    local = [
        option
        for option, value in (("--data", where.data), ("--config", where.config))
        if value is not None
    ]
    given = [*remote, *local]
    if remote and len(given) > 1:
        raise StartRefused(f"{' and '.join(given)} name different registries: give one of them")
    for option, text in (("--url", where.url), ("--profile", where.profile)):
        if text is not None and not text.strip():
            raise StartRefused(f"{option} is empty: give a value, or leave the option out")


def _of_profile(
    where: RegistryOptions, name: str, profiles: Profiles, *, is_implied: bool
) -> RemoteRegistry:
    """Return the registry of a profile. DTRFAST_TOKEN is not used: it may be for another server."""
    found = profiles.get(name)
    trust = authorities(where.ca_file) if where.ca_file else trust_of(found)
    token = _token_in_file(where)
    user = "" if token else found.user
    return RemoteRegistry(found.url, token or found.token, trust, name, user, is_implied)


def trust_of(profile: Profile) -> ssl.SSLContext | None:
    """Return the trust in a profile's own authorities; None for those of the system."""
    if not profile.authorities:
        return None
    try:
        return ssl.create_default_context(cadata=profile.authorities)
    except ssl.SSLError as error:
        raise StartRefused(
            "the profile's certificates are damaged: sign in again with --ca-file FILE"
        ) from error


def authorities(path: Path) -> ssl.SSLContext:
    """Return the trust in the authorities of a PEM file. Raises `StartRefused`."""
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:  # also ssl.SSLError, for a file that is not PEM
        raise StartRefused(
            f"{path} is not a PEM file of certificate authorities ({error.strerror or error})"
        ) from error


def _token_in_file(where: RegistryOptions) -> str:
    path = where.token_file
    if path is None:
        return ""
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise StartRefused(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise StartRefused(f"{path} does not contain a token: write one line into it") from error
    if not token:
        raise StartRefused(f"{path} is empty: write the token into it")
    return token
