"""Every path below the data directory. No other module joins names there.

    DATA/
      format            which format this is, and whose store (JSON)
      restoring         there while a restore is not complete
      server.lock       held by the server that runs here
      housekeeper.lock  held by the one housekeeper
      .application-N.lock  held by a worker of another ASGI server
      index/            LMDB
      blobs/x/ID        loose blobs, byte for byte; x is the last hex digit of ID
      packs/x/ID        packs of chunks
      uploads/ID.*      state, tail and parts of uploads that are not committed
      locks/claims      ranges are locked while content of a digest is committed or freed
      locks/recalls     changes whenever a request wants an upload that another one holds
      locks/uploads/X   the open uploads of one owner
      pins/ID           held while files are read by name, by a backup
      log/N.log         the change log
      audit/N.jsonl     audit events
      tries             failed tries of passwords
      server-log/N.jsonl  the server's log
      metrics/NAME.*    samples of processes, and courses
      tls/server.*      the certificate that the registry keeps itself

A loose blob or a pack is written where it stays, under the id of the upload that makes it. Until
the index names it in FILES it belongs to `uploads/ID.state`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# A directory that holds others than these, and hidden ones, is not made a store of. With `format`:
# another process may make the store while this one is at it, and a restore ends by writing it.
FIRST_NAMES = frozenset(
    {
        "format",
        "server.lock",
        "housekeeper.lock",
        "index",
        "blobs",
        "packs",
        "uploads",
        "locks",
        "log",
        "audit",
        "pins",
        "restoring",
        "lost+found",
    }
)
_DIGITS = "0123456789abcdef"


@dataclass(frozen=True)
class Layout:
    """The data directory. Paths only: nothing is touched.

    A push asks for a dozen paths: putting them together took a tenth of its time, so directories
    are kept.
    """

    data: Path

    # ---- the store -----------------------------------------------------------------------------
    @cached_property
    def format(self) -> Path:
        return self.data / "format"

    @cached_property
    def restoring(self) -> Path:
        """There while a restore is not complete."""
        return self.data / "restoring"

    @cached_property
    def index(self) -> Path:
        return self.data / "index"

    @cached_property
    def blobs(self) -> Path:
        return self.data / "blobs"

    @cached_property
    def packs(self) -> Path:
        return self.data / "packs"

    @cached_property
    def blob_folders(self) -> dict[str, Path]:
        """The directories of loose blobs, by the last digit of their names."""
        return {digit: self.blobs / digit for digit in _DIGITS}

    @cached_property
    def pack_folders(self) -> dict[str, Path]:
        """The directories of packs, by the last digit of their names."""
        return {digit: self.packs / digit for digit in _DIGITS}

    def blob(self, file_id: bytes) -> Path:
        name = file_id.hex()
        return self.blob_folders[name[-1]] / name

    def pack(self, file_id: bytes) -> Path:
        name = file_id.hex()
        return self.pack_folders[name[-1]] / name

    @cached_property
    def uploads(self) -> Path:
        return self.data / "uploads"

    def upload(self, file_id: bytes, kind: str) -> Path:
        """`kind` is state, tail or parts."""
        return self.uploads / upload_name(file_id, kind)

    def upload_named(self, name: str, kind: str) -> Path:
        """`name` is the upload's id as text."""
        return self.uploads / f"{name}.{kind}"

    @cached_property
    def pins(self) -> Path:
        return self.data / "pins"

    def pin(self, name: str) -> Path:
        """A file in `pins`."""
        return self.pins / name

    # ---- locks ---------------------------------------------------------------------------------
    @cached_property
    def server_lock(self) -> Path:
        return self.data / "server.lock"

    @cached_property
    def housekeeper_lock(self) -> Path:
        return self.data / "housekeeper.lock"

    def application_lock(self, number: int) -> Path:
        """Hidden, since a directory that holds other files is not made a store of."""
        return self.data / f".application-{number}.lock"

    @cached_property
    def locks(self) -> Path:
        return self.data / "locks"

    @cached_property
    def claims(self) -> Path:
        """See `dtrfast.store.claims`."""
        return self.locks / "claims"

    @cached_property
    def recalls(self) -> Path:
        """See `dtrfast.store.recalls`."""
        return self.locks / "recalls"

    @cached_property
    def open_uploads(self) -> Path:
        """See `dtrfast.store.open_uploads`."""
        return self.locks / "uploads"

    def open_uploads_of(self, owner: str) -> Path:
        """`owner` is a hash, in hexadecimal digits."""
        return self.open_uploads / owner

    # ---- logs and metrics ----------------------------------------------------------------------
    @cached_property
    def log(self) -> Path:
        """The change log."""
        return self.data / "log"

    @cached_property
    def audit(self) -> Path:
        """Audit events."""
        return self.data / "audit"

    @cached_property
    def logs_kept(self) -> tuple[Path, ...]:
        """The directories of logs that a backup keeps."""
        return self.log, self.audit

    def log_kept(self, name: str) -> Path:
        """A file of `logs_kept` by its name in a backup: `log/N.log` or `audit/N.jsonl`."""
        return self.data / name

    @cached_property
    def server_log(self) -> Path:
        return self.data / "server-log"

    @cached_property
    def metrics(self) -> Path:
        """Samples of processes, and courses."""
        return self.data / "metrics"

    @cached_property
    def tries(self) -> Path:
        """The file in which the processes of a server count failed tries."""
        return self.data / "tries"

    # ---- the certificate -----------------------------------------------------------------------
    @cached_property
    def tls(self) -> Path:
        return self.data / "tls"

    @cached_property
    def certificate_pair(self) -> Path:
        """Certificate and key, in one file that only the server reads."""
        return self.tls / "server.pem"

    @cached_property
    def certificate(self) -> Path:
        """The certificate alone, for clients that are to trust it."""
        return self.tls / "server.crt"

    @cached_property
    def directories(self) -> tuple[Path, ...]:
        """Those that the store, the server and the audit log make in the data directory."""
        return (
            self.index,
            self.log,
            self.audit,
            self.blobs,
            self.packs,
            self.uploads,
            self.locks,
            self.pins,
            self.server_log,
            self.metrics,
            self.tls,
        )


def upload_name(file_id: bytes, kind: str) -> str:
    """The name of a file of an upload."""
    name = file_id.hex()  # as a UUID, which takes ten times as long to make
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}.{kind}"


def index_file(directory: Path) -> Path:
    """The file of an index, in its directory."""
    return directory / "data.mdb"


def spooled_file(spool: Path, name: str) -> Path:
    """A file that a backup keeps beside its pin, until the place has it."""
    return spool / name


def change_file(directory: Path, number: int) -> Path:
    """A file of the change log."""
    return directory / f"{number:08d}.log"


def line_file(directory: Path, number: int, series: str = "") -> Path:
    """A file of lines; see `dtrfast.machine.line_files`."""
    return directory / f"{series}{number:08d}.jsonl"


def sample_file(directory: Path, process: str) -> Path:
    """The sample of a process, in the directory of metrics."""
    return directory / f"{process}.json"


def course_file(directory: Path, name: str, tier: str) -> Path:
    """A course in one resolution, in the directory of metrics."""
    return directory / f"{name}.{tier}"
