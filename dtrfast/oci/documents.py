"""Parses the JSON of a manifest as Go's encoding/json parses it into the structs of image-spec.

Most clients are Go programs, so this module follows their rules:

* The names of fields match in any case.
* A null is an absent value.
* Unknown fields are skipped.
* Integers have neither fraction nor exponent.
* Bytes that are not UTF-8 read as U+FFFD.
* If a name occurs twice, the last value counts.

`tests/oci/go_reading` compares the results with those of Go programs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dtrfast.errors import ManifestInvalid

# The deepest nesting of an accepted manifest. A later reader needs as many stack frames to skip an
# unknown field; CPython stops at 1000 frames, Go at 10,000 levels, serde_json at 128.
DEPTH_MAX = 500
# The most items of a list, or fields of an object, that a push may have if each item costs a step
# in Python.
ITEMS_MAX = 10_000

# The most fields of a pushed manifest that are read one by one: each takes 3 microseconds.
_FIELDS_MAX = 15_000
# Reading of a stored manifest continues after a fault, because the blobs that it names must be
# kept. 4 MiB can hold 37,000 descriptors with two faults each.
_STORED_FAULTS_MAX = 100_000
# In 4 MiB this many commas are less than 9 bytes apart, too close for descriptors. Only the first
# ITEMS_MAX items of such a list are decoded.
_STORED_COMMAS_MAX = 500_000
# Plain decoding makes an object of about 90 bytes for each brace.
_PLAIN_BRACES_MAX = 200_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAME_SHOWN_LENGTH_MAX = 80
_Text = str | None
_T = TypeVar("_T")


# The fields are named as in JSON. A null stands for an absent field, because Go programs write null
# for absent fields.
class PlatformDocument(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The platform of a descriptor. `features` occurs only in Docker's manifest lists."""

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
    """A manifest of any kind.

    containerd tells kinds apart by the presence of `config`, `layers` and `manifests`. So in these
    three fields UNSET (absent) and None (null) differ.
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


class ParsedDocument(msgspec.Struct, frozen=True):
    """A parsed document and its first fault.

    `fault` says why clients cannot read the manifest; it is empty if they can. Values with a fault
    are absent from `document`. `is_plain` is True if all fields are known and have the right types.
    """

    document: Document
    fault: str = ""
    is_plain: bool = True


def read(body: bytes) -> ParsedDocument:
    """Read a stored manifest as far as possible. Never raises."""
    try:
        return ParsedDocument(_plain.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        reader = _TolerantReader(_STORED_FAULTS_MAX, is_push=False)
        return ParsedDocument(reader.document(body), reader.fault, is_plain=False)


def read_pushed(body: bytes) -> ParsedDocument:
    """Read a pushed manifest up to its first fault. Never raises.

    Reading ends at the fault, because refusing a manifest must cost little: a client may send any
    number of them.
    """
    if body.count(b"{") <= _PLAIN_BRACES_MAX:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ParsedDocument(_plain.decode(body))
    reader = _TolerantReader(1, is_push=True)
    return ParsedDocument(reader.document(body), reader.fault, is_plain=False)


def check_depth(body: bytes) -> None:
    """Raise `ManifestInvalid` if the JSON is nested more deeply than DEPTH_MAX.

    A later reader, deeper in its stack, could not skip a deeper value.
    """
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    # In a run of backslashes each pair is one escape. A backslash that is left over escapes the
    # next character.
    escaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    # Removing two adjacent quotes moves no bracket from inside a string to the outside.
    bare = _strings(b"", escaped.translate(None, _ORDINARY).replace(b'""', b""))
    if max(accumulate(map(_STEPS.__getitem__, bare)), default=0) > DEPTH_MAX:
        raise ManifestInvalid(
            f"the manifest is nested too deeply: make it flatter, {DEPTH_MAX} levels at most"
        )


_strings = re.compile(rb'"[^"]*+"').sub
_ORDINARY = bytes(set(range(256)) - set(b'[{]}"'))
_STEPS = [1 if byte in b"[{" else -1 if byte in b"]}" else 0 for byte in range(256)]


# ---- the slow path: field by field ---------------------------------------------------------------
class _Key:
    """A name in an object. Keys compare by identity, so a dict keeps all values of a name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


_UNKNOWN = _Key("")


def _key(_: type, text: str) -> _Key:
    # Go compares names by simple case folding. Two letters outside ASCII fold to ASCII: U+017F to
    # s, and U+212A to k, which `lower` does.
    name = _NAMES.get(text) or _NAMES.get(text.replace("\u017f", "s").lower())
    return _UNKNOWN if name is None else _Key(name)


_plain = msgspec.json.Decoder(Document)
_pairs: msgspec.json.Decoder[dict[_Key, Raw] | None] = msgspec.json.Decoder(
    dict[_Key, Raw] | None, dec_hook=_key
)
_entries = msgspec.json.Decoder(dict[str, Raw] | None)
_items: msgspec.json.Decoder[list[Raw] | None] = msgspec.json.Decoder(list[Raw] | None)
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


@cache
def _first_items() -> msgspec.json.Decoder[Any]:
    """Return a decoder of the first ITEMS_MAX + 1 items of a list.

    It skips the other items, of which a `list[Raw]` would take about 100 bytes each.
    """
    fields = [(f"item{index}", Raw, _NO_ITEM) for index in range(ITEMS_MAX + 1)]
    kind = msgspec.defstruct("FirstItems", fields, array_like=True)
    return msgspec.json.Decoder(kind | None)


_NO_ITEM = Raw(b"")


def _decode_first_items(raw: Raw) -> list[Raw] | None:
    found = _first_items().decode(raw)
    if found is None:
        return None
    return [item for item in msgspec.structs.astuple(found) if item is not _NO_ITEM]


class _TooManyFields(Exception):
    """Stops a decoder. Never leaves this module."""


def _decode_few_pairs(raw: Raw) -> dict[_Key, Raw] | None:
    """Decode an object. Raises `_TooManyFields` at the first field above ITEMS_MAX."""
    count = 0

    def key(kind: type, text: str) -> _Key:
        nonlocal count
        count += 1
        if count > ITEMS_MAX:
            raise _TooManyFields
        return _key(kind, text)

    decoder: msgspec.json.Decoder[dict[_Key, Raw] | None] = msgspec.json.Decoder(
        dict[_Key, Raw] | None, dec_hook=key
    )
    return decoder.decode(raw)


def _first_wrong_text(raw: Raw) -> tuple[str, str]:
    """Return the name and the JSON type of an object's first value that is not a string.

    Raises `_TooManyFields` if ITEMS_MAX fields come before it.
    """
    last, got, count = "", None, 0

    def key(_: type, text: str) -> _Key:
        nonlocal last, count
        last, count = text, count + 1
        if count > ITEMS_MAX:
            raise _TooManyFields
        return _UNKNOWN

    try:
        msgspec.json.Decoder(dict[_Key, _Text] | None, dec_hook=key).decode(raw)
    except msgspec.ValidationError as error:
        got = _find_got(str(error))
    return last, _KINDS_GOT.get(got[1] if got else "", "a number")


_find_got = re.compile(r"got `(\w+)`").search
_KINDS_GOT = {"array": "a list", "object": "an object", "bool": "true or false"}


class _TolerantReader:
    """Reads a document that the plain decoder refused, value by value.

    It keeps the first fault with its place. It stops after `faults_max` faults; values not read by
    then are absent.
    """

    def __init__(self, faults_max: int, *, is_push: bool) -> None:
        self.fault = ""
        self._faults_left = faults_max
        self._is_push = is_push
        self._fields_left = _FIELDS_MAX

    def document(self, body: bytes) -> Document:
        if body.startswith(_BYTE_ORDER_MARK):
            self._note("the manifest begins with a byte order mark: save it without one")
            body = body.removeprefix(_BYTE_ORDER_MARK)
        try:
            value = Raw(_as_unicode(body).lstrip(b" \t\r\n"))
            return Document(**self._fields(value, _DOCUMENT, "") or {})
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._note(f"the manifest is not JSON: {error}")
        except _TooManyFields:
            self._note(f"the manifest has an object of more than {ITEMS_MAX} fields: remove some")
        except RecursionError:
            self._note("the manifest is nested too deeply: make it flatter")
        return Document()

    def descriptor(self, raw: Raw, path: str) -> DescriptorDocument | None:
        with suppress(msgspec.ValidationError):
            return _descriptor.decode(raw)
        fields = self._fields(raw, _DESCRIPTOR, path)
        return None if fields is None else DescriptorDocument(**fields)

    def descriptors(self, raw: Raw, path: str) -> list[DescriptorDocument] | None:
        if self._is_push and bytes(raw).count(b",") >= ITEMS_MAX:
            with suppress(msgspec.ValidationError):
                if len(_decode_first_items(raw) or ()) > ITEMS_MAX:
                    self._note(
                        f"the manifest has more than {ITEMS_MAX} descriptors in {path}: split it"
                        " into several"
                    )
                    return None
        with suppress(msgspec.ValidationError):
            return _descriptors.decode(raw)
        few = bytes(raw).count(b",") <= _STORED_COMMAS_MAX
        items = self._value(_items.decode if few else _decode_first_items, raw, path, "a list")
        found: list[DescriptorDocument] = []
        for index, item in enumerate(items or ()):
            if self._is_over:
                break
            # Go reads a null in a list as a descriptor without fields.
            one = self.descriptor(item, f"{path}[{index}]") or DescriptorDocument()
            if one.digest is None or one.size is None:
                name = "digest" if one.digest is None else "size"
                self._note(f"{path}[{index}].{name} is missing: a descriptor needs digest and size")
            found.append(one)
        return None if items is None else found

    def platform(self, raw: Raw, path: str) -> PlatformDocument | None:
        fields = self._fields(raw, _PLATFORM, path)
        if fields is None:
            return None
        return PlatformDocument(**{name.replace(".", "_"): fields[name] for name in fields})

    def text(self, raw: Raw, path: str) -> str | None:
        return self._value(_text.decode, raw, path, "text")

    def integer(self, raw: Raw, path: str) -> int | None:
        return self._value(_integer.decode, raw, path, "a number without fraction or exponent")

    def texts(self, raw: Raw, path: str) -> list[_Text] | None:
        with suppress(msgspec.ValidationError):
            return _texts.decode(raw)
        kept: list[_Text] = []
        few = bytes(raw).count(b",") < ITEMS_MAX
        items = self._value(_items.decode if few else _decode_first_items, raw, path, "a list")
        for index, item in enumerate(items or ()):
            if self._is_over:
                break
            kept.append(self.text(item, f"{path}[{index}]"))
        # The wrong item may come after ITEMS_MAX.
        if not self.fault:
            self._note(f"{path} has an item that is not text: write texts only")
        return kept

    def texts_by_name(self, raw: Raw, path: str) -> dict[str, _Text] | None:
        with suppress(msgspec.ValidationError):
            return _texts_by_name.decode(raw)
        if self._is_push and bytes(raw)[:1] == b"{":
            with suppress(_TooManyFields):
                name, kind = _first_wrong_text(raw)
                self._note(f"{_place(path, name)} is {kind}: clients can read only text there")
                return None
            self._note(f"{path} has a value that is not text: write texts only")
            return None
        kept: dict[str, _Text] = {}
        found = self._value(_entries.decode, raw, path, "an object") or {}
        for name, value in found.items():
            if self._is_over:
                break
            kept[name] = self.text(value, _place(path, name))
        # A later value of the same name may have replaced the wrong one in `found`.
        self._note(f"{path} has a value that is not text: write texts only")
        return kept

    def schema1(self, raw: Raw, path: str) -> None:
        # Reading goes on: a later schemaVersion of 1 gives a clearer message.
        self.fault = self.fault or (
            f"{path} is a field of schema 1, which clients refuse: remove it"
        )

    def history(self, raw: Raw, path: str) -> None:
        if bytes(raw) != b"null":
            self.schema1(raw, path)

    def _fields(self, raw: Raw, readers: Mapping[str, _Reader], path: str) -> dict[str, Any] | None:
        """Return the known fields of an object by name. The last value of a name counts."""
        pairs = self._value(self._pairs, raw, path or "the manifest", "an object")
        if pairs is None:
            return None
        found: dict[str, Any] = {}
        for key, value in pairs.items():
            if self._is_over:
                break
            reader = readers.get(key.name)
            if reader is not None:
                found[key.name] = reader(self, value, f"{path}.{key.name}" if path else key.name)
        return {name: value for name, value in found.items() if name not in _SCHEMA1}

    def _pairs(self, raw: Raw) -> dict[_Key, Raw] | None:
        if not self._is_push:
            return _pairs.decode(raw)
        few = bytes(raw).count(b":") <= ITEMS_MAX
        found = _pairs.decode(raw) if few else _decode_few_pairs(raw)
        self._fields_left -= len(found or ())
        if self._fields_left < 0:
            self._note(f"the manifest has more than {_FIELDS_MAX} fields: split it into several")
        return found

    def _value(self, decode: Callable[[Raw], _T], raw: Raw, path: str, expected: str) -> _T | None:
        try:
            return decode(raw)
        except msgspec.ValidationError:
            kind = _KINDS.get(chr(memoryview(raw)[0]), "a number")
            self._note(f"{path} is {kind}: clients can read only {expected} there")
            return None

    @property
    def _is_over(self) -> bool:
        return self._faults_left <= 0

    def _note(self, fault: str) -> None:
        self.fault = self.fault or fault
        self._faults_left -= 1


_Reader = Callable[[_TolerantReader, Raw, str], Any]

_PLATFORM: Mapping[str, _Reader] = {
    "architecture": _TolerantReader.text,
    "os": _TolerantReader.text,
    "os.version": _TolerantReader.text,
    "os.features": _TolerantReader.texts,
    "variant": _TolerantReader.text,
    "features": _TolerantReader.texts,
}
_DESCRIPTOR: Mapping[str, _Reader] = {
    "mediaType": _TolerantReader.text,
    "digest": _TolerantReader.text,
    "size": _TolerantReader.integer,
    "urls": _TolerantReader.texts,
    "annotations": _TolerantReader.texts_by_name,
    "data": _TolerantReader.text,
    "platform": _TolerantReader.platform,
    "artifactType": _TolerantReader.text,
}
# containerd refuses fsLayers even if it is null; skopeo refuses both fields if they are not null.
_SCHEMA1: Mapping[str, _Reader] = {
    "fsLayers": _TolerantReader.schema1,
    "history": _TolerantReader.history,
}
_DOCUMENT: Mapping[str, _Reader] = {
    "schemaVersion": _TolerantReader.integer,
    "mediaType": _TolerantReader.text,
    "artifactType": _TolerantReader.text,
    "config": _TolerantReader.descriptor,
    "layers": _TolerantReader.descriptors,
    "blobs": _TolerantReader.descriptors,
    "manifests": _TolerantReader.descriptors,
    "subject": _TolerantReader.descriptor,
    "annotations": _TolerantReader.texts_by_name,
    **_SCHEMA1,
}
_NAMES = {
    spelling: name
    for name in (*_PLATFORM, *_DESCRIPTOR, *_DOCUMENT)
    for spelling in (name, name.lower())
}


# ---- texts ---------------------------------------------------------------------------------------
_ESCAPED_BACKSLASH = rb"\\"
_NOT_UTF8 = b"\xff"
_find_halves = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
).finditer
_has_half = re.compile(rb"\\u[dD][89a-fA-F]").search
# The characters to which "surrogateescape" decodes invalid bytes. 128 calls of `replace` are faster
# than one pattern.
_STRANGE = [chr(0xDC00 + byte) for byte in range(0x80, 0x100)]


def _as_unicode(body: bytes) -> bytes:
    """Return the body with U+FFFD for each byte that is not UTF-8, and for each escape of a lone
    surrogate.
    """
    try:
        body.decode()
    except UnicodeDecodeError:
        text = body.decode("utf-8", "surrogateescape")
        for strange in _STRANGE:
            text = text.replace(strange, "\ufffd")
        body = text.encode()
    if not _has_half(body):
        return body
    # Escaped backslashes are hidden, so that each backslash begins an escape.
    marked = body.replace(_ESCAPED_BACKSLASH, _NOT_UTF8)
    # Both escapes have 6 bytes, so they are replaced in place. `re.sub` would make an object for
    # each match and for each text between two matches.
    changed = bytearray(marked)
    for half in _find_halves(marked):
        changed[half.start() : half.end()] = rb"\ufffd"
    return bytes(changed.replace(_NOT_UTF8, _ESCAPED_BACKSLASH))


def _place(path: str, name: str) -> str:
    return f"{path}[{json.dumps(name[:_NAME_SHOWN_LENGTH_MAX], ensure_ascii=False)}]"


_KINDS = {"{": "an object", "[": "a list", '"': "text", "t": "true", "f": "false", "n": "null"}
