"""The client of the management API that commands use: on a data directory, or over HTTP.

For a data directory the application runs in this process, on the same index as a server that may be
running. A user who can open the data directory is an administrator.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from dtrfast.cli import progress
from dtrfast.cli.api_refusal import ApiRefused
from dtrfast.cli.options import RegistryOptions
from dtrfast.cli.registry_choice import RemoteRegistry, choose
from dtrfast.config import load
from dtrfast.errors import DtrfastError, StartRefused
from dtrfast.oci import characters

_PREFIX = "/api/v0"
# A synchronization with an LDAP directory of many users takes minutes.
_TIMEOUT_SECONDS = 600.0
_LOOK_SECONDS = 20.0
_PAGE_SIZE = "1000"
# X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL.
_WRONG_HOST = 62
# The reasons that OpenSSL gives for an answer in plain HTTP.
_PLAIN_ANSWERS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")


class Api:
    """The management API of one registry.

    `announce` is called before the first request that may change something. `advice` is added to
    the refusal of the credential.
    """

    def __init__(
        self,
        send: Callable[[httpx.Request], httpx.Response],
        base_url: str,
        *,
        announce: Callable[[], None] | None = None,
        advice: str = "",
    ) -> None:
        self._send = send
        self._base_url = base_url.rstrip("/") + _PREFIX
        self._announce = announce
        self._advice = advice

    def call(
        self,
        method: str,
        *pieces: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Call an operation and return its answer. `pieces` of the path may contain slashes. Raises
        `ApiRefused`.
        """
        if method != "GET" and self._announce is not None:
            self._announce()
            self._announce = None
        path = "/".join(quote(piece, safe="") for piece in pieces)
        url = f"{self._base_url}/{path}"
        with progress.shown("wait for the registry"):
            response = self._send(httpx.Request(method, url, params=query, json=body))
        if response.is_success:
            return _document(response)
        raise _refusal(response, self._advice)

    def pages(self, key: str, *pieces: str, query: Mapping[str, str] | None = None) -> list[Any]:
        """Return all entries of a list that comes in pages. `key` is the field with the entries."""
        entries: list[Any] = []
        start = ""
        with progress.shown("read the list") as meter:
            while True:
                page = self.call(
                    "GET", *pieces, query={**(query or {}), "limit": _PAGE_SIZE, "start": start}
                )
                entries += page[key]
                meter("read the list", len(entries))
                start = page.get("nextPageStart", "")
                if not start:
                    return entries


def _document(response: httpx.Response) -> Any:
    """Return the JSON of an answer. Raises `ApiRefused` for the page of another server."""
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise ApiRefused(
            f"{response.request.url} did not answer with JSON: is this the address of dtrfast?"
        ) from error


def _refusal(response: httpx.Response, advice: str) -> ApiRefused:
    status = response.status_code
    try:
        errors = response.json()["errors"]
        # One for each field that is wrong.
        message = "; ".join(dict.fromkeys(str(one["message"]) for one in errors))
        code = str(errors[0]["code"])
    except (ValueError, LookupError, TypeError):
        message, code = f"{response.request.url} answered with the status {status}", "UNKNOWN"
        if response.has_redirect_location:
            message += f" and leads to {response.headers['location']}: give that address"
    if status == 401 and advice:
        message += f"; {advice}"
    return ApiRefused(message, status=status, code=code)


@contextmanager
def connect(where: RegistryOptions) -> Iterator[Api]:
    """Open the API of the registry that the options select."""
    remote = choose(where, os.environ)
    if remote is not None:
        with open_remote(remote) as api:
            yield api
    else:
        # Not at the top, so that commands on a remote registry start without loading a server.
        from dtrfast.cli.local_api import open_local

        with open_local(load(where.config, os.environ, {"store.data": where.data})) as api:
            yield api


@contextmanager
def open_remote(
    remote: RemoteRegistry, *, password: tuple[str, str] | None = None
) -> Iterator[Api]:
    """Open the API of a remote registry, with its token or with a name and password."""
    if not remote.token and password is None:
        raise _refusal_without_token(remote.url, remote.trust or True)
    headers = {} if password else {"authorization": f"Bearer {remote.token}"}
    with open_client(remote) as client:

        def send(request: httpx.Request) -> httpx.Response:
            request.headers.update(headers)
            try:
                return client.send(request, auth=password)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise _unreachable(remote.url, error) from error

        announce = partial(_announce, remote) if remote.is_implied else None
        advice = ""
        if remote.profile:
            advice = f"sign in again: dtrfast login --profile {remote.profile}"
        yield Api(send, remote.url, announce=announce, advice=advice)


def open_client(remote: RemoteRegistry) -> httpx.Client:
    """Return the client that calls a registry."""
    timeout = httpx.Timeout(_TIMEOUT_SECONDS, connect=_LOOK_SECONDS)
    return httpx.Client(verify=remote.trust or True, timeout=timeout)


def _announce(remote: RemoteRegistry) -> None:
    """Name the registry before a change, because the command line does not name it."""
    user = f" as {remote.user}" if remote.user else ""
    text = f"dtrfast: working on {remote.url}{user} (profile {remote.profile})"
    sys.stderr.write(characters.shown(text) + "\n")


def _refusal_without_token(url: str, verify: ssl.SSLContext | bool) -> DtrfastError:
    """Return the error for a user without a token. A registry without accounts explains that the
    API is off.
    """
    try:
        answer = httpx.get(url.rstrip("/") + _PREFIX, verify=verify, timeout=_LOOK_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _unreachable(url, error)
    refusal = _refusal(answer, "")
    if answer.status_code == 404 and refusal.message.startswith("accounts are off"):
        return refusal
    return StartRefused(
        f"give a token: sign in with `dtrfast login {url}` and use its profile, or --token-file"
        " FILE, or DTRFAST_TOKEN"
    )


def _unreachable(url: str, error: Exception) -> ApiRefused:
    """Return the refusal for a registry that does not answer, with the next step."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = (
            "use an address that the certificate names"
            if cause.verify_code == _WRONG_HOST
            else "if you trust it, give its authority with --ca-file FILE (a server that made its"
            " own certificate has the file DATA/tls/server.crt)"
        )
        reason = cause.verify_message
        return ApiRefused(f"the certificate of {url} is not trusted ({reason}): {advice}")
    if isinstance(cause, ssl.SSLError) and cause.reason in _PLAIN_ANSWERS:
        return ApiRefused(f"{url} does not speak TLS: does its address begin with http://?")
    return ApiRefused(f"{url} does not answer: {error}")
