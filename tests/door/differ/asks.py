"""The generator: requests of all kinds, well-formed, odd and broken, as Hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.door.differ.asking import (
    KINDS,
    SPACE,
    UPLOAD,
    Framing,
    Hostile,
    Mutation,
    RequestTemplate,
)
from tests.door.differ.content import BLOBS, BODIES, DIGESTS, MANIFESTS, digest_of

_NAMES = st.sampled_from(
    [
        *[f"{SPACE}/a"] * 8,
        f"{SPACE}/b",
        f"{SPACE}/a/b",
        f"{SPACE}/missing",
        f"{SPACE}/UPPER",
        f"{SPACE}//a",
        f"{SPACE}/a..b",
        f"{SPACE}/%61",
        f"{SPACE}%2fa",
        f"{SPACE}%2Fa",
        f"{SPACE}/a%00",
        f"{SPACE}/a%0d%0aX:y",
        f"{SPACE}/%c3%bc",
        f"{SPACE}/%ff",
        f"{SPACE}/a/manifests/a",
        f"{SPACE}/a/blobs/uploads",
        f"{SPACE}/../a",
        f"{SPACE}/a/",
        f"{SPACE}/" + "a" * 300,
        "",
    ]
)
_TAGS = ["latest", "v1", "missing", "bad!tag", ".hidden", "%6catest", "latest/", "a" * 129, ""]
_ODD_DIGESTS = [
    f"sha256:{'0' * 64}",
    f"sha256:{'0' * 63}",
    f"sha256:{'A' * 64}",
    f"sha512:{'0' * 128}",
    digest_of(b"x", "sha512"),
    f"md5:{'0' * 32}",
    "sha256:",
    ":",
    digest_of(b"x").replace(":", "%3a"),
]
_digests = st.sampled_from(DIGESTS * 2 + _ODD_DIGESTS)
_references = st.sampled_from(_TAGS * 3 + DIGESTS + _ODD_DIGESTS)

_TAG_OF_X = f'"{digest_of(b"x")}"'
_CONDITIONS = [
    "If-None-Match: *",
    f"If-None-Match: {_TAG_OF_X}",
    f'If-None-Match: "y", W/{_TAG_OF_X}',
    *[f'If-None-Match: "{digest_of(body)}"' for _, body in list(MANIFESTS.values())[:4]],
    *[f'If-None-Match: "{digest_of(body)}"' for body in BLOBS.values()],
    "If-None-Match: nonsense",
    "If-Match: *",
    'If-Match: "y"',
    f"If-Match: W/{_TAG_OF_X}",
    *[f'If-Match: "{digest_of(body)}"' for _, body in list(MANIFESTS.values())[:2]],
    *[f'If-Match: "{digest_of(body)}"' for body in BLOBS.values()],
    "If-Modified-Since: Tue, 24 Nov 2026 00:00:00 GMT",
    f"If-Range: {_TAG_OF_X}",
    'If-Range: "y"',
]
_HEADERS = [
    "Accept: */*",
    "Accept: application/vnd.oci.image.index.v1+json",
    "Accept-Encoding: gzip, zstd",
    "Authorization: Basic eDp5",
    "Authorization: Bearer x.y.z",
    "Connection: keep-alive",
    "Cookie: a=b",
    "Content-Type: application/octet-stream",
    "Content-Encoding: gzip",
    "Docker-Distribution-Api-Version: registry/2.0",
    *_CONDITIONS,
    "TE: trailers",
    "X-Forwarded-Proto: https",
    "X-Forwarded-For: 203.0.113.9, unknown",
    "X-Forwarded-Host: elsewhere.example:8443",
    'Forwarded: for="[2001:db8::1]";proto=https;host=elsewhere.example',
    "X: caf\xe9",
]
_RANGES = [
    "Range: bytes=0-0",
    "Range: bytes=1-",
    "Range: bytes=-1",
    "Range: bytes=-0",
    "Range: bytes=3999-4000",
    "Range: bytes=4000-",
    "Range: bytes=100-70000",
    "Range: bytes=299999-",
    "Range: bytes=0-0,2-3",
    "Range: bytes=5-6,0-9,-2",
    "Range: bytes=9-5",
    "Range: bytes=a-b",
    "Range: bytes=",
    "Range: bytes=0-0, ,1-1,",
    "Range: items=0-1",
    "Range: BYTES=0-1",
    f"Range: bytes={'9' * 30}-",
    "Range: bytes=0-" + "9" * 30,
    "Range: bytes=" + ",".join(["0-9"] * 1025),
]
_headers = st.lists(st.sampled_from(_HEADERS), max_size=2, unique=True).map(tuple)
_reading_headers = st.lists(
    st.sampled_from(_HEADERS + _RANGES), max_size=3, unique_by=lambda header: header.split(":")[0]
).map(tuple)

_QUERIES = st.sampled_from(
    [
        *[""] * 6,
        "?",
        "?n=1",
        "?n=0",
        "?n=-1",
        "?n=1.5",
        "?n=9999999999999999999999",
        "?n=2&n=1",
        "?n=%31",
        "?n=",
        "?last=latest",
        "?last=%ff",
        "?last=a%00b",
        "?n=1&last=a",
        f"?n=1&last={SPACE}",
        "?artifactType=application/x.signature",
        "?artifactType=",
        "?ns=docker.io",
        "?q=a",
        f"?q={SPACE}/a&n=1",
        "?a=b&&=&;c",
        "?[]{}|\\^`",
        "?%zz".replace("zz", "7a"),
    ]
)
_PATHS = st.sampled_from(
    [
        "/",
        "/v2",
        "/v2/",
        "/v2//",
        "/v2/.",
        "/V2/",
        "/v2/_catalog",
        "/v2/_catalog/",
        "/v2/tags/list",
        "/v2/uploads/",
        "/v1/_ping",
        "/v1/search",
        "/healthz",
        "/healthz/",
        "/favicon.ico",
        "/v2/%2e%2e/healthz",
        "//v2/",
        "http://a//v2/",
        f"HTTPS://b:80/v2/{SPACE}%2Fa/tags/list/",
        f"http://b/v2/{SPACE}/a/manifests/latest",
        f"/v2/{SPACE}/a//tags/list",
        "/%76%32/",
        f"/v2/{SPACE}/a",
        f"/v2/{SPACE}/a/tags",
        f"/v2/{SPACE}/a/manifests",
        f"/v2/{SPACE}/a/blobs/",
    ]
)
_methods = st.sampled_from(
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "Q" * 30]
)
_reading = st.sampled_from(["GET", "GET", "HEAD"])
_LENGTH = Framing.LENGTH
_framing = st.sampled_from([Framing.LENGTH, Framing.CHUNKED])
_upload = st.sampled_from([UPLOAD] * 6 + [f"{UPLOAD}1", f"{UPLOAD}2", "x", "", "%00"])
_blobs = st.sampled_from([*BLOBS])

pulls = st.one_of(
    st.builds(
        lambda method, name, reference, query, headers: RequestTemplate(
            method, f"/v2/{name}/manifests/{reference}{query}", headers
        ),
        _reading,
        _NAMES,
        _references,
        _QUERIES,
        _reading_headers,
    ),
    st.builds(
        lambda method, name, digest, headers: RequestTemplate(
            method, f"/v2/{name}/blobs/{digest}", headers
        ),
        _reading,
        _NAMES,
        _digests,
        _reading_headers,
    ),
)
# Existing content, in the requests that lanes answer themselves or leave to the application.
hits = st.builds(
    lambda method, path, condition, headers: RequestTemplate(
        method, f"/v2/{path}", condition + headers
    ),
    _reading,
    st.sampled_from(
        [
            "",
            *[f"{SPACE}/a/manifests/latest", f"{SPACE}/a/manifests/v1"] * 3,
            *[f"{SPACE}/a/manifests/{digest_of(body)}" for _, body in [*MANIFESTS.values()][:2]],
            *[f"{SPACE}/a/blobs/{digest_of(body)}" for body in BLOBS.values()],
        ]
    ),
    st.sampled_from([(), *((header,) for header in _CONDITIONS + _RANGES)]),
    _headers,
)
lists = st.one_of(
    st.builds(
        lambda name, query: RequestTemplate("GET", f"/v2/{name}/tags/list{query}"), _NAMES, _QUERIES
    ),
    st.builds(
        lambda name, digest, query: RequestTemplate("GET", f"/v2/{name}/referrers/{digest}{query}"),
        _NAMES,
        _digests,
        _QUERIES,
    ),
    st.builds(
        lambda method, path, query, headers: RequestTemplate(method, path + query, headers),
        _methods,
        _PATHS,
        _QUERIES,
        _headers,
    ),
)
deletes = st.one_of(
    st.builds(
        lambda name, reference: RequestTemplate("DELETE", f"/v2/{name}/manifests/{reference}"),
        _NAMES,
        _references,
    ),
    st.builds(
        lambda name, digest: RequestTemplate("DELETE", f"/v2/{name}/blobs/{digest}"),
        _NAMES,
        _digests,
    ),
)


def _put_manifest(
    name: str, reference: str, manifest: str, query: str, framing: Framing
) -> RequestTemplate:
    media_type, body = MANIFESTS[manifest]
    headers = (f"Content-Type: {media_type}",) if media_type else ()
    target = f"/v2/{name}/manifests/{reference or digest_of(body)}{query}"
    return RequestTemplate("PUT", target, headers, manifest, framing)


manifest_pushes = st.builds(
    _put_manifest,
    _NAMES,
    st.sampled_from(["latest", "v1", "", "", "bad!tag", *DIGESTS[-3:]]),
    st.sampled_from([*MANIFESTS]),
    st.sampled_from(["", "", "?tag=v1&tag=v2", "?tag=bad!tag", "?tag=" + "&tag=x" * 101]),
    _framing,
)

_begin_queries = st.one_of(
    st.sampled_from(["", "", "", "?digest-algorithm=sha512", "?digest-algorithm=md5", "?mount="]),
    st.builds(lambda digest: f"?mount={digest}&from={SPACE}/a", _digests),
    st.builds(lambda digest: f"?mount={digest}&from={SPACE}/UPPER", _digests),
    st.builds(lambda digest: f"?mount={digest}", _digests),
)
_content_ranges = st.sampled_from(
    [
        *[()] * 5,
        ("Content-Range: 0-0",),
        ("Content-Range: 0-3999",),
        ("Content-Range: bytes 0-3999/4000",),
        ("Content-Range: 1-4000",),
        ("Content-Range: 4000-7999",),
        ("Content-Range: 5-3",),
        ("Content-Range: x",),
    ]
)
uploads = st.one_of(
    st.builds(
        lambda name, query, headers: RequestTemplate(
            "POST", f"/v2/{name}/blobs/uploads/{query}", headers
        ),
        _NAMES,
        _begin_queries,
        _headers,
    ),
    st.builds(
        lambda name, blob, wrong, framing: RequestTemplate(
            "POST",
            f"/v2/{name}/blobs/uploads/?digest={wrong or digest_of(BODIES[blob])}",
            (),
            blob,
            framing,
        ),
        _NAMES,
        _blobs,
        st.sampled_from(["", "", "", *_ODD_DIGESTS]),
        _framing,
    ),
    st.builds(
        lambda upload, blob, headers, framing: RequestTemplate(
            "PATCH", f"/v2/{SPACE}/a/blobs/uploads/{upload}", headers, blob, framing
        ),
        _upload,
        _blobs,
        _content_ranges,
        _framing,
    ),
    st.builds(
        lambda upload, digest, blob, headers, framing: RequestTemplate(
            "PUT",
            f"/v2/{SPACE}/a/blobs/uploads/{upload}?digest={digest}",
            headers,
            blob,
            framing,
        ),
        _upload,
        _digests,
        st.sampled_from(["nothing", *BLOBS]),
        _content_ranges,
        _framing,
    ),
    st.builds(
        lambda method, name, upload: RequestTemplate(method, f"/v2/{name}/blobs/uploads/{upload}"),
        st.sampled_from(["GET", "GET", "DELETE", "HEAD"]),
        _NAMES,
        _upload,
    ),
)

# Bodies in requests that need none.
unwanted = st.builds(
    lambda ask, body, framing: RequestTemplate(ask.method, ask.target, ask.headers, body, framing),
    st.one_of(pulls, hits, lists, deletes),
    _blobs,
    _framing,
)

asks: st.SearchStrategy[RequestTemplate] = st.one_of(
    pulls, hits, hits, lists, deletes, manifest_pushes, uploads, uploads, unwanted
)

_OCTETS = [
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\x7f",
    b"\xff",
    b"%",
    b"/",
    b"0",
    b"9",
]
mutations = st.builds(
    Mutation,
    st.lists(asks.filter(lambda ask: ask.method != "HEAD"), min_size=1, max_size=2).map(tuple),
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from([b"", *_OCTETS])),
        min_size=1,
        max_size=3,
    ).map(tuple),
)

hostile = st.builds(Hostile, st.sampled_from(KINDS).flatmap(st.sampled_from))

# The possible beginnings of an example, which make content to read and uploads to append to.
FIRST = (
    {"upload": RequestTemplate("POST", f"/v2/{SPACE}/a/blobs/uploads/")}
    | {
        name: RequestTemplate(
            "POST", f"/v2/{SPACE}/a/blobs/uploads/?digest={digest_of(body)}", (), name, _LENGTH
        )
        for name, body in BLOBS.items()
    }
    | {
        name: _put_manifest(f"{SPACE}/a", reference, name, "", _LENGTH)
        for name, reference in (("index", "latest"), ("image", "v1"), ("signature", ""))
    }
)
