"""Proofs of the settings of issuers of jobs' tokens: a real issuer, asked over HTTP."""

from __future__ import annotations

import ssl
import time

from dtrfast.errors import IssuerUnavailable, TokenInvalid
from dtrfast.identity.oidc import Issuer, Verifier
from tests.e2e import certificates
from tests.identity.issuer import AUDIENCE, LocalIssuer, running
from tests.settings.proof import Bench, proves


def _local(bench: Bench) -> LocalIssuer:
    """The issuer of all these proofs, as nobody asked it yet."""
    local = bench.fixture("local_issuer")
    assert isinstance(local, LocalIssuer)
    local.requests.clear()
    return local


def _verify(local: LocalIssuer, *issuers: Issuer) -> str:
    """The name of the issuer that vouches for a token, else how that failed."""
    try:
        return Verifier(time.time).verify(local.token(time.time()), list(issuers)).issuer
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
    """The number of requests: without an address of the keys their issuer is asked for it."""
    local = _local(bench)
    url = f"{local.url}{value}" if value else ""
    assert _verify(local, local.issuer(jwks_url=url)) == "ci"
    return local.requests.total()


@proves("oidc.issuers.caPem", (True, "ci"), (False, "IssuerUnavailable"))
def trusts_authorities(bench: Bench, value: object) -> object:
    certificate = certificates.make(bench.folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    local = bench.stack.enter_context(running(context))
    pem = certificate.authority.read_text() if value else ""
    return _verify(local, local.issuer(ca_pem=pem))


@proves("oidc.issuers.bearerTokenFile", ("token", "Bearer secret"), ("", None))
def shows_a_token(bench: Bench, value: object) -> object:
    local = _local(bench)
    path = bench.folder / "token"
    path.write_text("secret")
    assert _verify(local, local.issuer(bearer_token_file=str(path) if value else "")) == "ci"
    return local.authorization
