"""Requests that no honest client sends: each part of a request is as large as it can be."""

from __future__ import annotations

import base64
import json

from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from tests.api.managed.town import PASSWORD, basic
from tests.walks.city import City
from tests.walks.distribution import PullOrPush

_APP = "/v2/acme/app"
_V0 = "/api/v0/repositories/acme/app"
_JSON = {"content-type": "application/json"}
_README = 65_536


def requests_of(city: City) -> tuple[PullOrPush, ...]:
    """Return hostile requests, with the status that refuses or serves each."""
    facts = city.scene.facts
    return (
        *_heads(facts["blob"], facts["image"]),
        *_bodies(),
        *_readmes(),
        *_manifests(),
        *_of_a_reader(),
        *_pages(city),
    )


def _heads(blob: str, image: str) -> tuple[PullOrPush, ...]:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(5_000))
    many = "bytes=" + ",".join(["0-0"] * 1_000)
    tags = ", ".join(f'"sha256:{n:064x}"' for n in range(700))
    accept = ", ".join(f"application/x.{n}+json;q=0.{n % 9}" for n in range(1_500))
    scopes = "&".join(f"scope=repository:acme/app{n}:pull,push,delete" for n in range(600))
    token = f"/auth/token?service=registry&{scopes}"
    cookies = "; ".join(f"c{n}=x" for n in range(3_000))
    query = "&".join(f"q{n}=x" for n in range(5_000))
    return (
        PullOrPush("hostile ranges", "GET", f"{_APP}/blobs/{blob}", 400, {"range": ranges}),
        PullOrPush("many ranges", "GET", f"{_APP}/blobs/{blob}", 206, {"range": many}),
        PullOrPush(
            "hostile etags", "GET", f"{_APP}/manifests/{image}", 200, {"if-none-match": tags}
        ),
        PullOrPush("hostile accept", "GET", f"{_APP}/manifests/v1", 200, {"accept": accept}),
        PullOrPush("hostile cookies", "GET", _V0, 200, {"cookie": cookies}),
        PullOrPush("hostile query", "GET", f"{_V0}?{query}", 400),
        PullOrPush("hostile v2 query", "GET", f"{_APP}/tags/list?{query}", 200),
        PullOrPush("hostile n", "GET", f"{_APP}/tags/list?n={'9' * 5000}", 200),
        PullOrPush("hostile last", "GET", f"{_APP}/tags/list?last={'z' * 5000}", 200),
        PullOrPush("hostile scopes", "GET", token, 200),
        PullOrPush("v1 search for nothing", "GET", "/v1/search?q=zzzz", 200),
        PullOrPush("v2 catalog from the middle", "GET", "/v2/_catalog?n=1000&last=acme/m", 200),
        PullOrPush(
            "referrers of a type that is not there",
            "GET",
            f"{_APP}/referrers/{image}?artifactType=none",
            200,
        ),
    )


def _bodies() -> tuple[PullOrPush, ...]:
    deep = b"[" * 500_000 + b"]" * 500_000
    nested = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    fields = json.dumps({f"x{n}": n for n in range(50_000)}).encode()
    return (
        PullOrPush("hostile depth", "PATCH", _V0, 400, _JSON, deep[:60_000]),
        PullOrPush("hostile nesting", "PATCH", _V0, 400, _JSON, nested[:60_000]),
        PullOrPush("hostile fields", "PATCH", _V0, 400, _JSON, fields[:60_000]),
        *(
            PullOrPush(f"manifest of {name}", "PUT", f"{_APP}/manifests/x", 400, kind, body)
            for name, body in (("lists", deep), ("objects", b'{"a":' * 700_000), ("fields", fields))
            for kind in ({"content-type": OCI_MANIFEST},)
        ),
    )


def _readmes() -> tuple[PullOrPush, ...]:
    parts = {
        "images": "![",
        "links": "[a](",
        "emphasis": "*a **b _c ",
        "lists": "1)\n",
        "quotes": "> - ",
        "tables": "a|b\n-|-\n",
        "entities": "&amp;",
        "references": "[a]: b\n",
        "addresses": "http://a ",
        "tasks": "- [ ] a\n",
        "names": "# a\n",
    }
    saved = tuple(
        PullOrPush(f"README of {name}", "PATCH", _V0, 200, _JSON, _readme(part))
        for name, part in parts.items()
    )
    seen = PullOrPush(
        "preview of links", "POST", f"{_V0}/readmePreview", 200, _JSON, _readme(parts["links"])
    )
    return (*saved, seen)


def _readme(part: str) -> bytes:
    return json.dumps({"longDescription": part * (_README // len(part))}).encode()


def _manifests() -> tuple[PullOrPush, ...]:
    empty = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
    }
    data = base64.b64encode(b"x" * 3_000_000).decode()
    images = {
        "a long data": {**empty, "data": data},
        "urls": {**empty, "urls": ["https://a.example/"] * 9_000},
        "annotations": {**empty, "annotations": {f"a{n}": "x" for n in range(100_000)}},
    }
    typed = {"content-type": OCI_MANIFEST}
    absent = [
        {"mediaType": OCI_MANIFEST, "digest": f"sha256:{n:064x}", "size": 1} for n in range(10_000)
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": absent}
    # The parser reads unknown fields, and names in another case, one by one.
    odd = [{"DIGEST": one["digest"], "Size": 1, "x": 1, "platform": {"OS": "a"}} for one in absent]
    strange = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": odd}
    return (
        *(
            PullOrPush(f"manifest with {name}", "PUT", f"{_APP}/manifests/x", status, typed, body)
            for name, status, body in (
                (n, 400 if "data" in config else 201, _image(config))
                for n, config in images.items()
            )
        ),
        PullOrPush(
            "index of nothing that is there",
            "PUT",
            f"{_APP}/manifests/x",
            400,
            {"content-type": OCI_INDEX},
            json.dumps(index).encode(),
        ),
        PullOrPush(
            "index of odd fields",
            "PUT",
            f"{_APP}/manifests/x",
            400,
            {"content-type": OCI_INDEX},
            json.dumps(strange).encode(),
        ),
    )


def _of_a_reader() -> tuple[PullOrPush, ...]:
    """Return measurements for a reader: these omit what the caller may not see, and take longer."""
    large = ",".join(f"a{number}" for number in range(1, 24))
    many = ",".join(f"many{number}" for number in range(6))
    paths = {
        "usage": f"{_V0}/usage",
        "usage of an index": f"{_V0}/manifests/index/usage",
        "usage of a wide index": f"{_V0}/manifests/wide/usage",
        "deletion": f"{_V0}/deletion?references={large}",
        "usage of many layers": f"{_V0}/manifests/many0/usage",
        "deletion of many layers": f"{_V0}/deletion?references={many}",
        "deletion of an index": f"{_V0}/deletion?references=index",
        "repositories": "/api/v0/repositories?limit=1000&filter=zzzz",
        "newest repositories": "/api/v0/repositories?limit=1000&sort=-created",
        "catalog": "/v2/_catalog?n=1000",
        "search": "/api/v0/index/search?query=service&limit=1000&includeTags=true",
    }
    rita = basic("rita")
    return tuple(
        PullOrPush(f"reader: {name}", "GET", url, 200, rita) for name, url in paths.items()
    )


def _pages(city: City) -> tuple[PullOrPush, ...]:
    """Return the console's pages for a reader, and the trash, which readers do not see."""
    base = "/repositories/acme/app"
    paths = {
        "info": base,
        "tags": f"{base}/-/tags",
        "filtered tags": f"{base}/-/tags?filter=zzzz",
        "untagged": f"{base}/-/untagged",
        **{one: f"{base}/-/tags/{one}" for one in ("v1", "index", "wide", "told", "old", "many0")},
        "comparison": f"{base}/-/compare?from=v1&to=v2",
        "comparison of many layers": f"{base}/-/compare?from=many0&to=many1",
        "comparison of old": f"{base}/-/compare?from=old&to=told",
        "search": "/search?q=zzzz",
        "repositories": "/repositories?filter=zzzz",
    }
    rita, owen = _cookie(city, "rita"), _cookie(city, "owen")
    return (
        *(PullOrPush(f"page: {name}", "GET", url, 200, rita) for name, url in paths.items()),
        PullOrPush("page: trash", "GET", f"{base}/-/trash", 200, owen),
    )


def _cookie(city: City, name: str) -> dict[str, str]:
    """Sign in, and return the header of the session."""
    client = city.scene.town.client
    answer = client.post("/api/v0/sessions", json={"username": name, "password": PASSWORD})
    session = answer.cookies["dtrfast_session"]
    client.forget_cookies()
    return {"cookie": f"dtrfast_session={session}"}


def _image(config: dict[str, object]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []}
    return json.dumps(document).encode()
