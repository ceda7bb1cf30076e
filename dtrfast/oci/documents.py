"""The JSON of a manifest, read as Go's encoding/json reads it into the structs of image-spec.

Most clients are Go programs. Names of fields count in any case, a null is an absent value, unknown
fields are skipped, integers have neither fraction nor exponent, and bytes that are not UTF-8 read
as U+FFFD. Of a name that is there twice the last value counts. `tests/oci/go_reading` compares
this with what Go programs say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dtrfast.errors import ManifestInvalid

# A reader with this much of its stack left can skip an unknown field: CPython stops at 1000 frames.
# Go stops at 10,000 levels, serde_json at 128.
DEPTH_MAX = 500

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAME_SHOWN_LENGTH_MAX = 80
_Text = str | None
_T = TypeVar("_T")


# Fields are named as in JSON. A null stands for an absent field, because Go programs write it so.
class PlatformDocument(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The platform of a descriptor, with the field of Docker's lists."""

    architecture: str | None = None
    os: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[_Text] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None
    features: list[_Text] | None = None


class DescriptorDocument(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A descriptor. `data` is base64."""

    mediaType: str | None = None
    digest: str | None = None
    size: int | None = None
    urls: list[_Text] | None = None
    annotations: dict[str, _Text] | None = None
    data: str | None = None
    platform: PlatformDocument | None = None
    artifactType: str | None = None


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest of any kind. containerd tells kinds apart by the names of three fields, so an
    absent one is not the same as a null.
    """

    schemaVersion: int | None = None
    mediaType: str | None = None
    artifactType: str | None = None
    config: DescriptorDocument | UnsetType | None = UNSET
    layers: list[DescriptorDocument] | UnsetType | None = UNSET
    blobs: list[DescriptorDocument] | None = None
    manifests: list[DescriptorDocument] | UnsetType | None = UNSET
    subject: DescriptorDocument | None = None
    annotations: dict[str, _Text] | None = None


class Reading(msgspec.Struct, frozen=True):
    """A document, and the first fault that keeps clients from reading it; empty if there is none.

    Values with a fault are absent. `is_plain`: all fields are known ones, of the right types.
    """

    document: Document
    fault: str = ""
    is_plain: bool = True


def read(body: bytes) -> Reading:
    """Read a manifest. Never raises: bytes that are not JSON read as an empty document."""
    try:
        return Reading(_plain.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        walk = _Walk()
        document = walk.document(body)
        return Reading(document, walk.fault, is_plain=False)


def check_depth(body: bytes) -> None:
    """Refuse JSON that a later reader, deeper in its stack, could not skip."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    escaped = _escapes(b"", body) if b"\\" in body else body
    # Two quotes side by side go: what is inside a text stays inside.
    bare = _strings(b"", escaped.translate(None, _ORDINARY).replace(b'""', b""))
    if max(accumulate(map(_STEPS.__getitem__, bare)), default=0) > DEPTH_MAX:
        raise ManifestInvalid(
            f"the manifest is nested too deeply: make it flatter, {DEPTH_MAX} levels at most"
        )


_escapes = re.compile(rb"\\.", re.DOTALL).sub
_strings = re.compile(rb'"[^"]*+"').sub
_ORDINARY = bytes(set(range(256)) - set(b'[{]}"'))
_STEPS = [1 if byte in b"[{" else -1 if byte in b"]}" else 0 for byte in range(256)]


# ---- the slow way: field by field ----------------------------------------------------------------
class _Key:
    """A name in an object. Each equals only itself, so that a dict keeps all values of a name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_UNKNOWN = _Key("")


def _key(_: type, text: str) -> _Key:
    # Go compares names by simple case folding: two letters outside ASCII fold into it.
    name = _NAMES.get(text) or _NAMES.get(text.replace("\u017f", "s").lower())
    return _UNKNOWN if name is None else _Key(name)


_plain = msgspec.json.Decoder(Document)
_pairs = msgspec.json.Decoder(dict[_Key, Raw] | None, dec_hook=_key)
_entries = msgspec.json.Decoder(dict[str, Raw] | None)
_items = msgspec.json.Decoder(list[Raw] | None)
_text = msgspec.json.Decoder(str | None)
_integer = msgspec.json.Decoder(int | None)
_descriptor: msgspec.json.Decoder[DescriptorDocument | None] = msgspec.json.Decoder(
    DescriptorDocument | None
)
_descriptors: msgspec.json.Decoder[list[DescriptorDocument] | None] = msgspec.json.Decoder(
    list[DescriptorDocument] | None
)
_texts: msgspec.json.Decoder[list[_Text] | None] = msgspec.json.Decoder(list[_Text] | None)
_texts_by_name: msgspec.json.Decoder[dict[str, _Text] | None] = msgspec.json.Decoder(
    dict[str, _Text] | None
)


class _Walk:
    """Reads what is odd, value by value, and keeps the first fault with its place."""

    def __init__(self) -> None:
        self.fault = ""

    def document(self, body: bytes) -> Document:
        if body.startswith(_BYTE_ORDER_MARK):
            self._note("the manifest begins with a byte order mark: save it without one")
            body = body.removeprefix(_BYTE_ORDER_MARK)
        try:
            return Document(**self._fields(_whole_value(body), _DOCUMENT, "") or {})
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._note(f"the manifest is not JSON: {error}")
        except RecursionError:
            self._note("the manifest is nested too deeply: make it flatter")
        return Document()

    def descriptor(self, raw: Raw, path: str) -> DescriptorDocument | None:
        with suppress(msgspec.ValidationError):
            return _descriptor.decode(raw)
        fields = self._fields(raw, _DESCRIPTOR, path)
        return None if fields is None else DescriptorDocument(**fields)

    def descriptors(self, raw: Raw, path: str) -> list[DescriptorDocument] | None:
        with suppress(msgspec.ValidationError):
            return _descriptors.decode(raw)
        found = self._value(_items, raw, path, "a list")
        if found is None:
            return None
        # A null in a list is a descriptor without fields.
        return [
            self.descriptor(item, f"{path}[{index}]") or DescriptorDocument()
            for index, item in enumerate(found)
        ]

    def platform(self, raw: Raw, path: str) -> PlatformDocument | None:
        fields = self._fields(raw, _PLATFORM, path)
        if fields is None:
            return None
        return PlatformDocument(**{name.replace(".", "_"): fields[name] for name in fields})

    def text(self, raw: Raw, path: str) -> str | None:
        return self._value(_text, raw, path, "text")

    def integer(self, raw: Raw, path: str) -> int | None:
        return self._value(_integer, raw, path, "a number without fraction or exponent")

    def texts(self, raw: Raw, path: str) -> list[_Text] | None:
        with suppress(msgspec.ValidationError):
            return _texts.decode(raw)
        found = self._value(_items, raw, path, "a list") or ()
        return [self.text(item, f"{path}[{index}]") for index, item in enumerate(found)]

    def texts_by_name(self, raw: Raw, path: str) -> dict[str, _Text] | None:
        with suppress(msgspec.ValidationError):
            return _texts_by_name.decode(raw)
        found = self._value(_entries, raw, path, "an object") or {}
        kept = {name: self.text(found[name], _place(path, name)) for name in found}
        # A wrong value may hide behind a later one of the same name.
        self._note(f"{path} has a value that is not text: write texts only")
        return kept

    def schema1(self, raw: Raw, path: str) -> None:
        self._note(f"{path} is a field of schema 1, which clients refuse: remove it")

    def history(self, raw: Raw, path: str) -> None:
        if bytes(raw) != b"null":
            self.schema1(raw, path)

    def _fields(self, raw: Raw, readers: Mapping[str, _Reader], path: str) -> dict[str, Any] | None:
        """The known fields of an object by name; the last value of a name counts."""
        pairs = self._value(_pairs, raw, path or "the manifest", "an object")
        if pairs is None:
            return None
        found: dict[str, Any] = {}
        for key, value in pairs.items():
            reader = readers.get(key.name)
            if reader is not None:
                found[key.name] = reader(self, value, f"{path}.{key.name}" if path else key.name)
        return {name: value for name, value in found.items() if name not in _SCHEMA1}

    def _value(
        self, decoder: msgspec.json.Decoder[_T], raw: Raw, path: str, expected: str
    ) -> _T | None:
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError:
            self._note(f"{path} is {_kind(raw)}: clients can read only {expected} there")
            return None

    def _note(self, fault: str) -> None:
        self.fault = self.fault or fault


_Reader = Callable[[_Walk, Raw, str], Any]

_PLATFORM: Mapping[str, _Reader] = {
    "architecture": _Walk.text,
    "os": _Walk.text,
    "os.version": _Walk.text,
    "os.features": _Walk.texts,
    "variant": _Walk.text,
    "features": _Walk.texts,
}
_DESCRIPTOR: Mapping[str, _Reader] = {
    "mediaType": _Walk.text,
    "digest": _Walk.text,
    "size": _Walk.integer,
    "urls": _Walk.texts,
    "annotations": _Walk.texts_by_name,
    "data": _Walk.text,
    "platform": _Walk.platform,
    "artifactType": _Walk.text,
}
# containerd refuses fsLayers even as a null, skopeo both where they are not null.
_SCHEMA1: Mapping[str, _Reader] = {"fsLayers": _Walk.schema1, "history": _Walk.history}
_DOCUMENT: Mapping[str, _Reader] = {
    "schemaVersion": _Walk.integer,
    "mediaType": _Walk.text,
    "artifactType": _Walk.text,
    "config": _Walk.descriptor,
    "layers": _Walk.descriptors,
    "blobs": _Walk.descriptors,
    "manifests": _Walk.descriptors,
    "subject": _Walk.descriptor,
    "annotations": _Walk.texts_by_name,
    **_SCHEMA1,
}
_NAMES = {
    spelling: name
    for name in (*_PLATFORM, *_DESCRIPTOR, *_DOCUMENT)
    for spelling in (name, name.lower())
}


# ---- texts ---------------------------------------------------------------------------------------
_find_escapes = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
).sub
_LONE_SURROGATE_LENGTH = 6
_has_half = re.compile(rb"\\u[dD][89a-fA-F]").search


def _whole_value(body: bytes) -> Raw:
    return Raw(_as_unicode(body).lstrip(b" \t\r\n"))


def _as_unicode(body: bytes) -> bytes:
    """The body with U+FFFD for each byte that is not UTF-8, and for each half of a character."""
    try:
        body.decode()
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
        body = re.sub("[\udc80-\udcff]+", lambda run: "\ufffd" * len(run[0]), text).encode()
    return _find_escapes(_without_half, body) if _has_half(body) else body


def _without_half(match: re.Match[bytes]) -> bytes:
    is_lone = len(match[0]) == _LONE_SURROGATE_LENGTH
    return rb"\ufffd" if is_lone else match[0]


def _place(path: str, name: str) -> str:
    return f"{path}[{json.dumps(name[:_NAME_SHOWN_LENGTH_MAX], ensure_ascii=False)}]"


_KINDS = {"{": "an object", "[": "a list", '"': "text", "t": "true", "f": "false", "n": "null"}


def _kind(raw: Raw) -> str:
    return _KINDS.get(chr(memoryview(raw)[0]), "a number")
