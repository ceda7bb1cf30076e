"""Fields of forms and facts of pages, derived from the objects of the management API.

A field that the API adds to a repository, or to a document of settings, appears in the forms and
on the page of that object. `labels.FIELDS` may give it a better label and a help text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import inspect

from dtrfast.console import labels, quantities
from dtrfast.console.page import BY_ID

# Texts that may be longer are written in an area of several lines.
_LINE_LENGTH_MAX = 4096

Kind = Literal["line", "number", "quantity", "area", "select", "check"]


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form, for one field of an operation's request body.

    `name` is the field's name in the API. `value` is a text, or a bool for a check box. `options`
    are values and texts of a choice; those of a quantity are its units, and `unit` is that of
    `value`.
    """

    name: str
    kind: Kind
    label: str
    help: str
    value: str | bool
    is_required: bool
    options: tuple[tuple[str, str], ...] = ()
    needs_accounts: bool = False
    unit: str = ""


def form_fields(operation: str, current: msgspec.Struct | None = None) -> list[FormField]:
    """Return the fields of an operation's request body, areas last.

    `current` is the object that the form changes; without it, fields have their defaults. Fields
    of other types than texts, numbers, choices and booleans need a template of their own, so they
    are left out.
    """
    body = BY_ID[operation].body
    assert body is not None
    found = [_form_field(one, current) for one in _struct_fields(body)]
    return sorted((one for one in found if one is not None), key=lambda one: one.kind == "area")


@cache
def _struct_fields(kind: type) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _form_field(field: inspect.Field, current: msgspec.Struct | None) -> FormField | None:
    kind = _kind(field.type)
    if kind is None:
        return None
    value: Any = "" if field.default is msgspec.NODEFAULT else field.default
    if current is not None:
        value = getattr(current, field.name, value)
    text = labels.text_of(field.encode_name)
    values = field.type.values if isinstance(field.type, inspect.LiteralType) else ()
    made = FormField(
        name=field.encode_name,
        kind=kind,
        label=text.label,
        help=text.help,
        value=bool(value) if kind == "check" else _as_text(value),
        is_required=field.required,
        options=tuple((str(one), text.options.get(str(one), str(one))) for one in values),
        needs_accounts=text.needs_accounts,
    )
    scale = quantities.scale_of(made.name)
    if scale is None or not isinstance(field.type, inspect.IntType | inspect.FloatType):
        return made
    number, unit = quantities.split(str(made.value) or "0", scale)
    return replace(made, kind="quantity", value=number, unit=unit, options=tuple(scale.options))


def _kind(kind: inspect.Type) -> Kind | None:
    match kind:
        case inspect.StrType(max_length=length):
            return "area" if (length or 0) > _LINE_LENGTH_MAX else "line"
        case inspect.IntType():
            return "number"
        case inspect.FloatType():
            return "line"
        case inspect.BoolType():
            return "check"
        case inspect.LiteralType():
            return "select"
    return None


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def facts(shown: msgspec.Struct, besides: frozenset[str]) -> Mapping[str, str]:
    """Return labels and values of an object's fields that are not empty.

    `besides` are the fields, by their names in Python, that the page shows elsewhere.
    """
    return {
        labels.text_of(one.encode_name).label: _as_text(value)
        for one in msgspec.structs.fields(shown)
        if one.name not in besides and (value := getattr(shown, one.name)) not in ("", None, [])
    }
