"""The load client: it runs jobs and returns measurements.

The client is a compiled program (`load/*.c`) in its own process. This module builds it,
writes a plan for it (the layout is in `load/plan.h`) and reads its report.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import msgspec

ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).with_name("load")
# Sources that the client shares with the registry: hashing, and decoding of chunked bodies.
KERNELS = ("chunked.c", "octets.c", "sha256.c", "sha256_armv8.c", "sha256_shani.c")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")

_MAGIC = b"dtrload\1"
_HEADER = struct.Struct("<8s5I4x")
_SPAN = struct.Struct("<2I")
_STEP = struct.Struct("<4B4HI2I2I2I2I2I2Q")
_JOB = struct.Struct("<3I")
_REQUEST, _PUSH = 0, 1
_BODILESS, _MOUNTS = 1, 2
_EXPECT_COUNT_MAX = 4
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")


class LoadUnavailable(Exception):
    """The client cannot be built, or lacks a feature. The message says what to install."""


class LoadFailed(Exception):
    """The client failed. Errors of the server do not raise this; they are counted."""


@dataclass(frozen=True, slots=True)
class Body:
    """A range of a file. Without a size it extends to the end of the file."""

    file: Path
    offset: int = 0
    size: int | None = None


class Framing(StrEnum):
    """The framing of a push: PATCH and PUT, chunked or with Content-Length, or one PUT."""

    CHUNKED = "chunked"
    LENGTH = "length"
    SINGLE = "single"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `expect` names at most four statuses; any other is an error.

    An empty label stands for the method. If the run verifies, the body of a 200 answer to GET is
    compared with `digest`. An empty one is taken from the path if that ends with a sha256 digest.
    """

    method: str
    path: str
    label: str = ""
    expect: tuple[int, ...] = (200,)
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """All requests that push a blob, measured as one step. An empty label stands for `push`.

    With `head_first` the step sends a HEAD first and ends if the blob exists. `mount_from` names a
    repository to mount it from; the push continues if the registry refuses. `chunk_size` is the
    chunk size of the chunked coding; Go clients use 32 KiB.
    """

    repository: str
    digest: str
    body: Body
    framing: Framing
    label: str = ""
    head_first: bool = False
    mount_from: str = ""
    chunk_size: int = 32768


Step = Request | Push


@dataclass(frozen=True, slots=True)
class Job:
    """Steps in order on one connection. The first failed step ends the job."""

    steps: tuple[Step, ...]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies of successes in seconds. Percentiles are exact to 2 %, the maximum is exact."""

    p50: float
    p90: float
    p99: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Measure:
    """The totals of one label. `count` excludes errors; bytes are those of bodies."""

    count: int
    errors: int
    bytes_in: int
    bytes_out: int
    latency: Latency


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run, from the first sent byte to the last received one.

    `connects` counts opened connections, `verified` the bodies that were compared with a digest.
    `errors` has the first few messages. `cipher` is the negotiated TLS cipher.
    """

    seconds: float
    cpu_seconds: float
    connects: int
    verified: int
    total: Measure
    steps: dict[str, Measure]
    jobs: dict[str, Measure]
    errors: tuple[str, ...] = ()
    cipher: str = ""


@dataclass(frozen=True, slots=True)
class HoldResult:
    """The result of holding connections. `lost` counts those that closed too early."""

    opened: int
    lost: int
    bytes_in: int
    bytes_out: int
    errors: tuple[str, ...] = ()


class HeldConnections:
    """Connections that stay open until they are released."""

    def __init__(self, process: subprocess.Popen[bytes], opened: HoldResult) -> None:
        """`opened` is the client's report when all connections were open."""
        self._process = process
        self._released: HoldResult | None = None
        self.opened = opened.opened
        self.errors = opened.errors

    def release(self) -> HoldResult:
        """Close all connections and return the result. A second call returns the same result."""
        if self._released is None:
            self._released = msgspec.json.decode(_output(self._process), type=HoldResult)
        return self._released


def build() -> Path:
    """Return the path of the client's program. Compiles it if a source is newer.

    CORE_WERROR and CORE_SANITIZE have the same meaning as in setup.py.
    """
    tls = _has_tls_headers()
    sanitize = os.environ.get("CORE_SANITIZE") == "1"
    name = "load" + ("-tls" if tls else "") + ("-sanitized" if sanitize else "")
    program = ROOT / "build" / "benchmarks" / name
    sources = [*sorted(FOLDER.glob("*.c")), *(ROOT / "ext" / name for name in KERNELS)]
    headers = [*FOLDER.glob("*.h"), *(ROOT / "ext").glob("*.h")]
    if program.exists():
        built_at = program.stat().st_mtime
        if all(source.stat().st_mtime < built_at for source in [*sources, *headers]):
            return program
    program.parent.mkdir(parents=True, exist_ok=True)
    # Under a temporary name first: another process may build or run the same program.
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        made = Path(folder) / name
        _compile([*map(str, sources), "-o", str(made)], tls=tls, sanitize=sanitize)
        made.replace(program)
    return program


def run(  # noqa: PLR0913 - each is a condition of the measurement and named in the call
    address: tuple[str, int],
    jobs: Sequence[Job],
    *,
    connections: int,
    seconds: float | None = None,
    repeat: bool = False,
    tls: bool = False,
    timeout_seconds: float = 60.0,
    verify: bool = False,
    host: str | None = None,
) -> Result:
    """Run the jobs on `connections` connections, each with one job at a time.

    The list runs once, or repeatedly with `repeat`, which needs `seconds`. After that time no new
    job begins, and running jobs end. A step that moves no byte for `timeout_seconds` is an error.
    All connections are opened before the clock starts. A lost connection is opened again; one that
    cannot be opened is given up. With `verify` the client reads and hashes the bodies of answers,
    which costs CPU time; else the kernel drops them unread. `host` is the Host header. TLS accepts
    any certificate.
    """
    if repeat and seconds is None:
        raise ValueError("a run that repeats its jobs needs an end: give seconds")
    options = ["--connections", str(connections), "--timeout", str(timeout_seconds)]
    options += ["--seconds", str(seconds)] if seconds is not None else []
    options += ["--repeat"] if repeat else []
    options += ["--verify"] if verify else []
    with tempfile.TemporaryFile() as plan:
        plan.write(_encode_plan(jobs, host or _host(address)))
        plan.flush()
        process = _start("run", address, options, tls=tls, stdin=plan)
        return msgspec.json.decode(_output(process), type=Result)


@contextmanager
def hold(
    address: tuple[str, int],
    *,
    kind: Literal["idle", "slow-upload", "stalled-pull"],
    count: int,
    path: str,
    prefix_size: int = 0,
    tls: bool = False,
) -> Iterator[HeldConnections]:
    """Keep `count` connections open while the block runs. It begins when all are open.

    idle: each connection has made one GET of `path`. slow-upload: each has begun an upload by POST
    to `path`, has sent `prefix_size` bytes of it, and sends one byte a second. stalled-pull: each
    has received the head of the answer to a GET of `path`, and reads no more.
    """
    options = ["--kind", kind, "--connections", str(count), "--path", path]
    options += ["--prefix-size", str(prefix_size), "--host", _host(address)]
    with _start("hold", address, options, tls=tls, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise LoadFailed(_complaint(process))
            holding = HeldConnections(process, msgspec.json.decode(line, type=HoldResult))
            yield holding
            holding.release()
        finally:
            process.kill()


def _has_tls_headers() -> bool:
    probe = "#include <openssl/ssl.h>"
    try:
        done = subprocess.run(
            ["cc", "-E", "-x", "c", "-", "-o", os.devnull],
            input=probe.encode(),
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise LoadUnavailable("no C compiler: apt-get install gcc libc6-dev libssl-dev") from None
    return done.returncode == 0


def _compile(arguments: Sequence[str], *, tls: bool, sanitize: bool) -> None:
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", f"-I{ROOT / 'ext'}"]
    flags += ["-Werror"] if os.environ.get("CORE_WERROR") == "1" else []
    flags += SANITIZERS if sanitize else []
    flags += ["-DLOAD_TLS"] if tls else []
    libraries = ["-lm", *(["-lssl", "-lcrypto"] if tls else [])]
    done = subprocess.run(
        ["cc", *flags, *arguments, *libraries], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode != 0:
        raise LoadUnavailable(f"cc could not build the load client:\n{done.stderr.decode()}")


def _start(
    mode: str,
    address: tuple[str, int],
    options: Sequence[str],
    *,
    tls: bool,
    stdin: IO[bytes] | int,
) -> subprocess.Popen[bytes]:
    program = build()
    if tls and "-tls" not in program.name:
        raise LoadUnavailable("no headers of OpenSSL, so no TLS: apt-get install libssl-dev")
    where = ["--address", address[0], "--port", str(address[1]), *(["--tls"] if tls else [])]
    return subprocess.Popen(
        [str(program), mode, *where, *options],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _output(process: subprocess.Popen[bytes]) -> bytes:
    """Return the client's output after its end. An exception here kills the client."""
    with process:
        try:
            output, complaint = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise LoadFailed(complaint.decode(errors="replace").strip() or f"{process.returncode}")
    return output


def _complaint(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr is not None
    return process.stderr.read().decode(errors="replace").strip()


def _host(address: tuple[str, int]) -> str:
    name = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{name}:{address[1]}"


class _Plan:
    """A plan under construction: its tables and heap. Equal strings and steps are stored once."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.step_labels: dict[str, int] = {}
        self.job_labels: dict[str, int] = {}
        self.steps: list[bytes] = []
        self.jobs: list[bytes] = []
        self.heap = bytearray()
        self._spans: dict[bytes, tuple[int, int]] = {}
        self._records: dict[Step, bytes] = {}

    def add_job(self, job: Job) -> None:
        """Append a job and its steps."""
        label = self.job_labels.setdefault(job.label or "job", len(self.job_labels))
        self.jobs.append(_JOB.pack(len(self.steps), len(job.steps), label))
        for step in job.steps:
            record = self._records.get(step)
            if record is None:
                record = self._records[step] = self._add_step(step)
            self.steps.append(record)

    def _add_step(self, step: Step) -> bytes:
        return self._add_request(step) if isinstance(step, Request) else self._add_push(step)

    def _add_request(self, request: Request) -> bytes:
        if not 0 < len(request.expect) <= _EXPECT_COUNT_MAX:
            raise ValueError(f"expect names one to four statuses: {request.expect}")
        headers = [*request.headers]
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers.append(("Content-Length", str(len(request.body))))
        found = _DIGEST.search(request.path)
        digest = request.digest or (found[0] if found else "")
        label = self.step_labels.setdefault(request.label or request.method, len(self.step_labels))
        expect = request.expect + (0,) * (_EXPECT_COUNT_MAX - len(request.expect))
        return _STEP.pack(
            *(_REQUEST, 0, _BODILESS if request.method == "HEAD" else 0, len(request.expect)),
            *(*expect, label),
            *self._span(self._head(request.method, request.path, headers) + request.body),
            *(len(request.body), 0),
            *self._span(b""),
            *self._span((digest if request.method == "GET" else "").encode()),
            *self._span(b""),
            *(0, 0),
        )

    def _add_push(self, push: Push) -> bytes:
        if push.chunk_size < 1:
            raise ValueError(f"chunk_size is {push.chunk_size}")
        base = f"/v2/{push.repository}/blobs"
        mount = f"?mount={quote(push.digest, safe='')}&from={quote(push.mount_from, safe='')}"
        start = f"{base}/uploads/" + (mount if push.mount_from else "")
        probe = self._head("HEAD", f"{base}/{push.digest}", []) if push.head_first else b""
        size = push.body.size
        if size is None:
            size = push.body.file.stat().st_size - push.body.offset
        label = self.step_labels.setdefault(push.label or "push", len(self.step_labels))
        return _STEP.pack(
            *(_PUSH, list(Framing).index(push.framing), _MOUNTS if push.mount_from else 0, 0),
            *(0, 0, 0, 0, label),
            *self._span(self._head("POST", start, [("Content-Length", "0")])),
            *(0, push.chunk_size),
            *self._span(probe),
            *self._span(quote(push.digest, safe="").encode()),
            *self._span(os.fsencode(push.body.file) + b"\0"),
            *(push.body.offset, size),
        )

    def _head(self, method: str, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _span(self, data: bytes) -> tuple[int, int]:
        span = self._spans.get(data)
        if span is None:
            span = self._spans[data] = (len(self.heap), len(data))
            self.heap += data
        return span

    def encode(self) -> bytes:
        """Return the bytes of the plan, in the layout of `load/plan.h`."""
        labels = [*self.step_labels, *self.job_labels]
        spans = b"".join(_SPAN.pack(*self._span(label.encode())) for label in labels)
        host = self._span(self.host.encode())
        counts = (len(self.step_labels), len(self.job_labels), len(self.steps), len(self.jobs))
        header = _HEADER.pack(_MAGIC, *counts, len(self.heap))
        tables = [header, _SPAN.pack(*host), spans, *self.steps, *self.jobs]
        return b"".join([*tables, self.heap])


def _encode_plan(jobs: Sequence[Job], host: str) -> bytes:
    plan = _Plan(host)
    for job in jobs:
        plan.add_job(job)
    return plan.encode()
