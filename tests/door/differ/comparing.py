"""What a client can see of an answer, without what may differ between two equal servers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.door.wire import Answer

# The time, and the software's name, which only Hypercorn tells.
_IGNORED = {"date", "server"}
# How a message is framed, and whether its connection stays, is for each server to say.
FRAMING = {"connection", "transfer-encoding"}

_find_boundary = re.compile(r"multipart/byteranges; boundary=(\w+)").search
_find_ids = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").findall


@dataclass(frozen=True, slots=True)
class Sight:
    """An answer as it is compared."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def without(self, names: set[str]) -> Sight:
        headers = tuple(pair for pair in self.headers if pair[0] not in names)
        return Sight(self.status, headers, self.body)


def see(answer: Answer, uploads: Sequence[str]) -> Sight:
    """`uploads` are the ids that this server gave out, in order: they become their numbers."""
    headers, body = list(answer.headers), answer.body
    for key, value in answer.headers:
        if key == "allow":  # a set, which the framework's own routes give in any order
            headers = [(k, _sorted(v) if k == key else v) for k, v in headers]
        if key == "content-type" and (boundary := _find_boundary(value)):
            headers = [(k, v.replace(boundary[1], "BOUNDARY")) for k, v in headers]
            body = body.replace(boundary[1].encode(), b"BOUNDARY")
    for number, upload in enumerate(uploads):
        headers = [(k, v.replace(upload, f"UPLOAD-{number}")) for k, v in headers]
        body = body.replace(upload.encode(), b"UPLOAD-%d" % number)
    kept = sorted(pair for pair in headers if pair[0] not in _IGNORED)
    return Sight(answer.status, tuple(kept), body)


def _sorted(value: str) -> str:
    return ", ".join(sorted(value.split(", ")))


def begun_upload(answer: Answer) -> str | None:
    """The id of an upload that this answer tells of."""
    location = answer.get("location")
    ids = _find_ids(location) if location is not None and "/uploads/" in location else []
    return ids[0] if ids else None


def difference(sights: Mapping[str, Sequence[Sight]]) -> str | None:
    """The first thing in which a server's answers are not the first server's; None if all agree."""
    (first, expected), *others = sights.items()
    for name, found in others:
        if len(found) != len(expected):
            return f"{first}: {len(expected)} answers, {name}: {len(found)}"
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            what = _difference_of(one, other)
            if what is not None:
                return f"answer {number} of {first} and {name}: {what}"
    return None


def _difference_of(one: Sight, other: Sight) -> str | None:
    if one.status != other.status:
        return f"status {one.status} and {other.status}: {one.body[:200]!r}, {other.body[:200]!r}"
    if one.headers != other.headers:
        return f"headers {set(one.headers) ^ set(other.headers) or (one.headers, other.headers)}"
    if one.body != other.body:
        return f"bodies of {len(one.body)} and {len(other.body)} bytes: {one.body[:200]!r} …"
    return None
