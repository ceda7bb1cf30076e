"""Every setting, and every field of every document of settings, changes the behavior."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from dtrfast.config import NAMES
from dtrfast.identity import settings
from tests.settings import access, directory, issuers, outgoing, registry, server, storage
from tests.settings.proof import PROOFS, Bench

# Modules that register proofs when they are imported.
_PARTS = (access, directory, issuers, outgoing, registry, server, storage)


def fields_of(kind: type, prefix: str) -> Iterator[str]:
    """Yield the fields of a document as dotted names, with those of its inner documents."""
    hints = get_type_hints(kind)
    for one in msgspec.structs.fields(kind):
        name = f"{prefix}.{one.encode_name}"
        yield name
        for inner in (hints[one.name], *get_args(hints[one.name])):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from fields_of(inner, name)


def documents() -> set[str]:
    kinds = settings._NAMES.items()
    return {name for kind, key in kinds for name in fields_of(kind, key.decode())}


def test_every_setting_has_a_proof() -> None:
    assert set(PROOFS) == set(NAMES) | documents()


@pytest.mark.long
@pytest.mark.parametrize("name", PROOFS)
def test_a_setting_changes_what_happens(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    proof = PROOFS[name]
    seen = []
    for number, (value, _) in enumerate(proof.seen):
        folder = tmp_path / str(number)
        folder.mkdir()
        with ExitStack() as stack:
            bench = Bench(folder, monkeypatch, stack, request.getfixturevalue)
            seen.append((value, proof.observe(bench, value)))
    assert tuple(seen) == proof.seen
