"""The documents that issuers of jobs' tokens publish: discovery (OpenID Connect Discovery 1.0) and
keys.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dtrfast.config import Config
from dtrfast.errors import AddressRefused, CallFailed, IssuerUnavailable, SettingsInvalid
from dtrfast.identity.issuer_keys import Fetch
from dtrfast.identity.oidc import Issuer, check_url
from dtrfast.identity.token_files import TokenFiles
from dtrfast.outgoing.permit import CallLimits, OutgoingPolicy, Setter

if TYPE_CHECKING:
    from dtrfast.outgoing.http import Reply

# Reads a document: its address and its issuer → JSON text. Raises `IssuerUnavailable`.
Read = Callable[[str, Issuer], bytes]


def fetching(config: Config, outgoing: OutgoingPolicy) -> Fetch:
    """Return a function that fetches an issuer's keys, by the configuration of this server."""
    files = TokenFiles(config.auth.token_file_directories)
    return partial(fetch_keys, IssuerDocuments(outgoing, files))


def fetch_keys(read: Read, issuer: Issuer) -> KeySet:
    """Return the keys that an issuer publishes. Raises `IssuerUnavailable`."""
    url = issuer.jwks_url
    if not url:
        address = issuer.url.rstrip("/") + "/.well-known/openid-configuration"
        document = _parse(read(address, issuer), issuer)
        if document.get("issuer") != issuer.url:
            raise IssuerUnavailable(f"{address} names another issuer than {issuer.url}")
        url = str(document.get("jwks_uri", ""))
        try:
            check_url(url)
        except SettingsInvalid as error:
            raise IssuerUnavailable(f"{address} names no https:// address of keys") from error
    return _import_keys(_parse(read(url, issuer), issuer), issuer)


class IssuerDocuments:
    """Reads documents of issuers over HTTP. It follows no redirects.

    `files` reads the token files of issuers that demand a token.
    """

    def __init__(
        self, outgoing: OutgoingPolicy, files: TokenFiles, limits: CallLimits | None = None
    ) -> None:
        self._outgoing = outgoing
        self._files = files
        self._limits = limits or CallLimits()

    def __call__(self, url: str, issuer: Issuer) -> bytes:
        """Return a document. Raises `IssuerUnavailable`.

        Only the origin that an administrator gave gets the issuer's token (`Issuer.own_url`).
        """
        try:
            is_shown = False
            if issuer.bearer_token_file:
                # The issuer's discovery document may name an address of another origin.
                there = self._outgoing.permit(url, Setter.ADMINISTRATOR)
                own = self._outgoing.permit(issuer.own_url, Setter.ADMINISTRATOR)
                is_shown = there.origin == own.origin and there.url.scheme == "https"
            reply = self._ask(url, issuer, is_shown=is_shown)
        except (CallFailed, AddressRefused) as error:
            raise IssuerUnavailable(f"the issuer {issuer.name}: {error.message}") from error
        except SettingsInvalid as error:
            reason = f"the settings of the issuer {issuer.name} are wrong: {error}"
            raise IssuerUnavailable(reason) from error
        if reply.status == 200:
            return reply.content
        reason = f"{url[:200]} answered with status {reply.status}"
        if reply.status in (401, 403) and issuer.bearer_token_file and not is_shown:
            reason += (
                "; the token of bearerTokenFile is sent over https to the origin of jwksUrl only,"
                " or of url without jwksUrl: an administrator may set jwksUrl"
            )
        raise IssuerUnavailable(reason)

    def _ask(self, url: str, issuer: Issuer, *, is_shown: bool) -> Reply:
        # Not at the top, so that other processes start without loading an HTTP client.
        from dtrfast.outgoing.http import OutgoingCall, ask

        headers = {"accept": "application/json"}
        if is_shown:
            headers["authorization"] = f"Bearer {self._files.read(issuer.bearer_token_file)}"
        try:
            context = ssl.create_default_context(cadata=issuer.ca_pem or None)
        except (OSError, ValueError) as error:  # `ssl.SSLError` is an OSError
            raise SettingsInvalid("caPem holds no certificates in PEM") from error
        call = OutgoingCall(headers=headers, context=context, limits=self._limits)
        return ask(self._outgoing, url, Setter.ADMINISTRATOR, call)


def _import_keys(document: Mapping[str, Any], issuer: Issuer) -> KeySet:
    """Return the keys that can verify a signature. A set may also have other and unknown keys."""
    published = document.get("keys")
    usable = [
        jwk
        for jwk in (published if isinstance(published, list) else ())
        if isinstance(jwk, dict)
        and jwk.get("kty") in ("RSA", "EC", "OKP")
        and jwk.get("use", "sig") == "sig"
    ]
    keys = []
    for jwk in usable:
        try:
            keys += KeySet.import_key_set({"keys": [jwk]}).keys
        except (JoseError, ValueError, KeyError, TypeError):
            continue
    if not keys:
        raise IssuerUnavailable(f"the issuer {issuer.name} publishes no usable key")
    return KeySet(keys)


def _parse(data: bytes, issuer: Issuer) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        refusal = f"the issuer {issuer.name} did not answer with a JSON object"
        raise IssuerUnavailable(refusal) from error
