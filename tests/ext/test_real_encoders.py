"""The golden digests are those of the real encoders, made anew."""

import json
import shutil
from pathlib import Path

import pytest

from tests.ext.encoders_go import golden as go
from tests.ext.encoders_klauspost import golden as klauspost
from tests.ext.encoders_zlib import golden as zlib
from tests.ext.klauspost_streams import GOLDEN as KLAUSPOST_GOLDEN
from tests.ext.sanitized import SANITIZED
from tests.ext.zlib_streams import GOLDEN as ZLIB_GOLDEN

# These run with the part `go-clients` of .ci/long, which has Go.
pytestmark = [
    pytest.mark.client,
    pytest.mark.skipif(SANITIZED, reason="runs none of the sanitized code"),
]
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="not installed: go")
others = zlib.other_versions()


def stored(golden: Path) -> object:
    return json.loads(golden.read_text())


@needs_go
def test_go() -> None:
    assert go.make_rows() == stored(go.GOLDEN)


@needs_go
def test_klauspost() -> None:
    assert klauspost.make_rows() == stored(KLAUSPOST_GOLDEN)


@pytest.mark.skipif(bool(others), reason=f"not a verified version: {', '.join(others)}")
def test_zlib() -> None:
    assert zlib.make_rows() == stored(ZLIB_GOLDEN)
