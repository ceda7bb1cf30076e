"""The program of the load client: its build, and the arguments that it refuses."""

from __future__ import annotations

import ctypes
import random
import subprocess
from pathlib import Path

import pytest

from benchmarks import load
from tests.benchmarks.load.asking import ask, get
from tests.benchmarks.load.server import (
    OK,
    Serve,
)


def test_what_cannot_be_planned_is_refused() -> None:
    address = ("127.0.0.1", 1)
    with pytest.raises(ValueError, match="one to four statuses"):
        load.run(address, [get(expect=(1, 2, 3, 4, 5))], connections=1)
    with pytest.raises(ValueError, match="give seconds"):
        load.run(address, [get()], connections=1, repeat=True)


def test_a_broken_plan_is_refused(tmp_path: Path) -> None:
    plan = load._encode_plan([get()], "host")
    command = [str(load.build()), "run", "--address", "127.0.0.1", "--port", "1"]
    short_heap = bytearray(plan[:-1])
    short_heap[24:28] = (int.from_bytes(plan[24:28], "little") - 1).to_bytes(4, "little")
    for broken in (b"", plan[:-1], plan + b"x", b"X" + plan[1:], bytes(short_heap)):
        path = tmp_path / "plan"
        path.write_bytes(broken)
        with path.open("rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True)
        assert (done.returncode, done.stderr) == (1, b"load: standard input is no plan\n")


def test_without_a_compiler_there_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(load.LoadUnavailable, match="apt-get install gcc"):
        load.build()


@pytest.mark.slow
def test_without_openssl_there_is_no_tls(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setattr(load, "_has_tls_headers", lambda: False)
    server = serve(lambda asked: OK)
    assert ask(server, get()).total.count == 1
    with pytest.raises(load.LoadUnavailable, match="libssl-dev"):
        ask(server, get(), tls=True)


def test_quantiles_are_right_to_two_percent(tmp_path: Path) -> None:
    library = tmp_path / "measure.so"
    source = load.FOLDER / "measure.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True)
    measure = ctypes.CDLL(str(library))
    measure.histogram_quantile.restype = ctypes.c_uint64
    measure.histogram_quantile.argtypes = [ctypes.c_void_p, ctypes.c_double]
    measure.histogram_add.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    chance = random.Random(11)
    for _ in range(500):
        histogram = ctypes.create_string_buffer(1 << 15)
        values = sorted(int(10 ** chance.uniform(0, 18)) for _ in range(5))
        for value in values:
            measure.histogram_add(histogram, value)
        for rank, value in enumerate(values, start=1):
            found = measure.histogram_quantile(histogram, rank / 5)
            assert found == pytest.approx(value, rel=0.017)
