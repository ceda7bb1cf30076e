"""The fuzzers' corpus, for machines without clang: kernels and their twins agree on each input."""

from pathlib import Path

import pytest

from tests.ext.test_chunked import decode, twin_decode
from tests.ext.test_head import outcome, twin_outcome

CORPUS = Path(__file__).parent / "corpus"
# tests/fuzz/chunked.c uses these octets of an input as its plan.
PLAN_SIZE = 3


def inputs(kind: str) -> list[Path]:
    return sorted((CORPUS / kind).iterdir())


def named(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", inputs("head"), ids=named)
def test_heads(path: Path) -> None:
    data = path.read_bytes()
    assert outcome(data) == twin_outcome(data)
    assert isinstance(outcome(data), dict) is not path.name.startswith("bad-")


@pytest.mark.parametrize("path", inputs("chunked"), ids=named)
def test_chunked_bodies(path: Path) -> None:
    data = path.read_bytes()[PLAN_SIZE:]
    body = twin_decode(data)
    assert decode(data, list(range(len(data))), 64) == body
    assert (body is not None and body.finished) is not path.name.startswith("bad-")
