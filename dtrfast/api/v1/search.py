"""`docker search`: the two endpoints of the first registry protocol that Docker still asks."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dtrfast.api import visits
from dtrfast.api.types import ApiContext
from dtrfast.oci import characters
from dtrfast.oci.pages import parse_count
from dtrfast.registry.search import Match

_COUNT_DEFAULT = 25
_COUNT_MAX = 100  # both are Docker's
_JSON = {"content-type": "application/json"}

_encoder = msgspec.json.Encoder()


class _Result(msgspec.Struct):
    name: str
    description: str
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct):
    query: str
    num_results: int
    results: list[_Result]


def routes(context: ApiContext) -> list[Route]:
    async def ping(request: Request) -> Response:
        headers = {"x-docker-registry-standalone": "true", **_JSON}
        return Response(b"true", headers=headers)

    async def search(request: Request) -> Response:
        term = request.query_params.get("q", "")
        count = parse_count(request.query_params.get("n"), _COUNT_DEFAULT, _COUNT_MAX)
        visit = await visits.of_request(context, request.scope)
        matches = await context.hop.run(visit.registry.search.find, term, count)
        return Response(_encoder.encode(_results(term, matches)), headers=_JSON)

    return [Route("/v1/_ping", ping), Route("/v1/search", search)]


def _results(term: str, matches: list[Match]) -> _Results:
    results = [_Result(match.name, characters.shown(match.description)) for match in matches]
    return _Results(term, len(results), results)
