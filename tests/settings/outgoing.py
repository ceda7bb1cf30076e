"""Proofs of the settings of calls to other services."""

from __future__ import annotations

from dtrfast.config import OutgoingConfig
from dtrfast.errors import DtrfastError
from dtrfast.outgoing.http import OutgoingCall, ask
from dtrfast.outgoing.permit import OutgoingPolicy, Setter
from tests.outgoing.servers import proxy_server, web_server
from tests.settings.proof import Bench, proves


@proves("outgoing.allow", (("127.0.0.0/8",), 200), ((), "AddressRefused"))
def lets_owners_name_private_networks(bench: Bench, value: object) -> object:
    web = bench.stack.enter_context(web_server())
    outgoing = OutgoingPolicy(OutgoingConfig(allow=value))  # type: ignore[arg-type]
    try:
        return ask(outgoing, f"http://127.0.0.1:{web.port}/", Setter.OWNER, OutgoingCall()).status
    except DtrfastError as refusal:
        return type(refusal).__name__


def _asked_of_proxy(bench: Bench, *, is_set: bool, no_proxy: tuple[str, ...] = ()) -> int:
    """Return the number of calls to the proxy, for a name that only this proxy knows."""
    web = bench.stack.enter_context(web_server())
    proxy = bench.stack.enter_context(proxy_server())
    named = f"http://127.0.0.1:{proxy.port}" if is_set else ""
    outgoing = OutgoingPolicy(OutgoingConfig(proxy=named, no_proxy=no_proxy))
    try:
        ask(outgoing, f"http://issuer.invalid:{web.port}/", Setter.ADMINISTRATOR, OutgoingCall())
    except DtrfastError:
        assert web.requests == []
    return len(proxy.asked)


@proves("outgoing.proxy", (True, 1), (False, 0))
def goes_through_a_proxy(bench: Bench, value: object) -> object:
    return _asked_of_proxy(bench, is_set=bool(value))


@proves("outgoing.no_proxy", ((), 1), (("invalid",), 0))
def goes_by_a_proxy(bench: Bench, value: object) -> object:
    return _asked_of_proxy(bench, is_set=True, no_proxy=value)  # type: ignore[arg-type]
