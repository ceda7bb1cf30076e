"""Proofs of the settings of issuers of jobs' tokens, with a real issuer over HTTP."""

from __future__ import annotations

import ssl
import time
from functools import partial
from pathlib import Path

from dtrfast.config import AuthConfig, Config
from dtrfast.errors import IssuerUnavailable, TokenInvalid
from dtrfast.identity.issuer_documents import IssuerDocuments, fetch_keys
from dtrfast.identity.issuer_keys import IssuerKeys
from dtrfast.identity.oidc import Issuer, Verifier
from dtrfast.identity.token_files import TokenFiles
from dtrfast.outgoing.permit import DIRECT
from tests.api.managed.town import in_memory
from tests.e2e import certificates
from tests.identity.issuer import AUDIENCE, LocalIssuer, running
from tests.settings.proof import Bench, proves


def _local(bench: Bench) -> LocalIssuer:
    """Return the issuer of all these proofs, with no requests counted."""
    local = bench.fixture("local_issuer")
    assert isinstance(local, LocalIssuer)
    local.requests.clear()
    return local


def _verify(local: LocalIssuer, *issuers: Issuer) -> str:
    """Return the name of the token's issuer, or the class of the error."""
    return _verify_with(TokenFiles(()), local, *issuers)


def _verify_with(files: TokenFiles, local: LocalIssuer, *issuers: Issuer) -> str:
    keys = IssuerKeys(partial(fetch_keys, IssuerDocuments(DIRECT, files)))
    try:
        return Verifier(keys, time.time).verify(local.token(time.time()), list(issuers)).issuer
    except (TokenInvalid, IssuerUnavailable) as error:
        return type(error).__name__


@proves("oidc.issuers", (1, "ci"), (0, "TokenInvalid"))
def trusts_issuers(bench: Bench, value: object) -> object:
    local = _local(bench)
    return _verify(local, *[local.issuer()] * int(str(value)))


@proves("oidc.issuers.name", ("ci", "ci"), ("gitlab", "gitlab"))
def names_issuers(bench: Bench, value: object) -> object:
    local = _local(bench)
    return _verify(local, local.issuer(name=str(value)))


@proves("oidc.issuers.url", ("", "ci"), ("https://issuer.example", "TokenInvalid"))
def knows_issuers_by_address(bench: Bench, value: object) -> object:
    local = _local(bench)
    return _verify(local, local.issuer(url=str(value) or local.url))


@proves("oidc.issuers.audience", (AUDIENCE, "ci"), ("another", "TokenInvalid"))
def takes_tokens_for_itself(bench: Bench, value: object) -> object:
    local = _local(bench)
    return _verify(local, local.issuer(audience=str(value)))


@proves("oidc.issuers.jwksUrl", ("/keys", 1), ("", 2))
def finds_keys(bench: Bench, value: object) -> object:
    """Return the number of requests: without the keys' address the issuer is asked for it, too."""
    local = _local(bench)
    url = f"{local.url}{value}" if value else ""
    assert _verify(local, local.issuer(jwks_url=url)) == "ci"
    return local.requests.total()


def _secure(bench: Bench, folder: Path) -> tuple[LocalIssuer, str]:
    """Return an issuer over TLS, and its authority in PEM."""
    certificate = certificates.make(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return bench.stack.enter_context(running(context)), certificate.authority.read_text()


@proves("oidc.issuers.caPem", (True, "ci"), (False, "IssuerUnavailable"))
def trusts_authorities(bench: Bench, value: object) -> object:
    local, authority = _secure(bench, bench.folder)
    return _verify(local, local.issuer(ca_pem=authority if value else ""))


@proves("oidc.issuers.bearerTokenFile", ("token", "Bearer secret"), ("", None))
def shows_a_token(bench: Bench, value: object) -> object:
    local, authority = _secure(bench, bench.folder)
    path = bench.folder / "token"
    path.write_text("secret")
    issuer = local.issuer(ca_pem=authority, bearer_token_file=str(path) if value else "")
    assert _verify_with(TokenFiles([str(bench.folder)]), local, issuer) == "ci"
    return local.authorization


@proves("auth.token_file_directories", (True, 200), (False, 400))
def reads_token_files(bench: Bench, value: object) -> object:
    path = bench.folder / "token"
    path.write_text("secret")
    named = (str(bench.folder),) if value else ()
    config = Config(auth=AuthConfig(token_file_directories=named))
    town = bench.stack.enter_context(in_memory(config=config))
    issuer = {"name": "ci", "url": "https://127.0.0.1:1", "audience": AUDIENCE}
    issuers = [{**issuer, "bearerTokenFile": str(path)}]
    return town.ask("admin", "PUT", "admin/settings/oidc", {"issuers": issuers}).status_code
