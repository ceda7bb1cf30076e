"""The parts of an answer that a client can see, without those in which equal servers may differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.door.wire import Answer

# The time, and the name of the software, which only Hypercorn sends.
_IGNORED = {"date", "server"}
# Each server may choose how it frames a message, and whether it keeps the connection.
FRAMING = {"connection", "transfer-encoding"}

_find_boundary = re.compile(r"multipart/byteranges; boundary=(\w+)").search
_find_ids = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").findall


@dataclass(frozen=True, slots=True)
class ComparableAnswer:
    """An answer in the form for comparisons."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def without(self, names: set[str]) -> ComparableAnswer:
        headers = tuple(pair for pair in self.headers if pair[0] not in names)
        return ComparableAnswer(self.status, headers, self.body)


def see(answer: Answer, uploads: Sequence[str]) -> ComparableAnswer:
    """Return the answer for a comparison.

    `uploads` are the ids that this server gave out, in order. Their numbers replace them.
    """
    headers, body = list(answer.headers), answer.body
    for key, value in answer.headers:
        if key == "allow":  # a set: the framework's own routes send it in any order
            headers = [(k, _sorted(v) if k == key else v) for k, v in headers]
        if key == "content-type" and (boundary := _find_boundary(value)):
            headers = [(k, v.replace(boundary[1], "BOUNDARY")) for k, v in headers]
            body = body.replace(boundary[1].encode(), b"BOUNDARY")
    for number, upload in enumerate(uploads):
        headers = [(k, v.replace(upload, f"UPLOAD-{number}")) for k, v in headers]
        body = body.replace(upload.encode(), b"UPLOAD-%d" % number)
    kept = sorted(pair for pair in headers if pair[0] not in _IGNORED)
    return ComparableAnswer(answer.status, tuple(kept), body)


def _sorted(value: str) -> str:
    return ", ".join(sorted(value.split(", ")))


def begun_upload(answer: Answer) -> str | None:
    """Return the id of the upload in this answer's location; None if there is none."""
    location = answer.get("location")
    ids = _find_ids(location) if location is not None and "/uploads/" in location else []
    return ids[0] if ids else None


def difference(sights: Mapping[str, Sequence[ComparableAnswer]]) -> str | None:
    """Return the first difference from the first server's answers; None if all servers agree."""
    (first, expected), *others = sights.items()
    for name, found in others:
        if len(found) != len(expected):
            return f"{first}: {len(expected)} answers, {name}: {len(found)}"
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            what = _difference_of(one, other)
            if what is not None:
                return f"answer {number} of {first} and {name}: {what}"
    return None


def _difference_of(one: ComparableAnswer, other: ComparableAnswer) -> str | None:
    if one.status != other.status:
        return f"status {one.status} and {other.status}: {one.body[:200]!r}, {other.body[:200]!r}"
    if one.headers != other.headers:
        return f"headers {set(one.headers) ^ set(other.headers) or (one.headers, other.headers)}"
    if one.body != other.body:
        return f"bodies of {len(one.body)} and {len(other.body)} bytes: {one.body[:200]!r} …"
    return None
