"""All paths below the data directory. No other module joins names there.

    DATA/
      format            the version of the format, and the store's id (JSON)
      restoring         exists while a restore is incomplete
      server.lock       locked by the running server
      housekeeper.lock  locked by the one housekeeper
      .application-N.lock  locked by a worker of another ASGI server
      index/            LMDB
      blobs/x/ID        loose blobs, byte for byte; x is the last hex digit of ID
      packs/x/ID        packs of chunks
      uploads/ID.*      state, tail and parts of uncommitted uploads
      locks/claims      ranges are locked while content of a digest is committed or freed
      locks/conversions  ranges are locked while a run of the tier works on a layer of a digest
      locks/recalls     changes when a request wants an upload that another request holds
      locks/uploads/X   the open uploads of one owner
      pins/ID           locked while a backup reads files by name
      log/N.log         the change log
      audit/N.jsonl     audit events
      tries             failed sign-ins with a password
      server-log/N.jsonl  the server's log
      metrics/NAME.*    samples of processes, and time series
      tls/server.*      the certificate of the registry

A loose blob or a pack is written to its final path, under the id of its upload. It belongs to
`uploads/ID.state` until the index lists it in FILES.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# A new store is made only in a directory that has no other names than these and hidden ones.
# `format` is among them, because another process may make the store at the same time, and a restore
# writes it last.
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
    """The paths of one data directory. Does no I/O.

    Directory paths are cached: a push needs a dozen paths, and joining them took a tenth of its
    time.
    """

    data: Path

    # ---- the store -----------------------------------------------------------------------------
    @cached_property
    def format(self) -> Path:
        return self.data / "format"

    @cached_property
    def restoring(self) -> Path:
        """The file that exists while a restore is incomplete."""
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
        """Return a file of an upload; `kind` is state, tail or parts."""
        return self.uploads / upload_name(file_id, kind)

    def upload_named(self, name: str, kind: str) -> Path:
        """Return a file of an upload; `name` is the upload's id as text."""
        return self.uploads / f"{name}.{kind}"

    @cached_property
    def pins(self) -> Path:
        return self.data / "pins"

    def pin(self, name: str) -> Path:
        """Return a file in `pins`."""
        return self.pins / name

    # ---- locks ---------------------------------------------------------------------------------
    @cached_property
    def server_lock(self) -> Path:
        return self.data / "server.lock"

    @cached_property
    def housekeeper_lock(self) -> Path:
        return self.data / "housekeeper.lock"

    def application_lock(self, number: int) -> Path:
        """Return the lock file of a worker of another ASGI server.

        The name is hidden, because no store is made in a directory with other visible names.
        """
        return self.data / f".application-{number}.lock"

    @cached_property
    def locks(self) -> Path:
        return self.data / "locks"

    @cached_property
    def claims(self) -> Path:
        """See `dtrfast.store.claims`."""
        return self.locks / "claims"

    @cached_property
    def conversions(self) -> Path:
        """Claims of the tier's runs. See `dtrfast.store.tier.run`."""
        return self.locks / "conversions"

    @cached_property
    def recalls(self) -> Path:
        """See `dtrfast.store.recalls`."""
        return self.locks / "recalls"

    @cached_property
    def open_uploads(self) -> Path:
        """See `dtrfast.store.open_uploads`."""
        return self.locks / "uploads"

    def open_uploads_of(self, owner: str) -> Path:
        """Return the file of one owner's open uploads; `owner` is a hash in hexadecimal digits."""
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
        """The log directories that a backup contains."""
        return self.log, self.audit

    def log_kept(self, name: str) -> Path:
        """Return a file of `logs_kept` by its name in a backup: `log/N.log` or `audit/N.jsonl`."""
        return self.data / name

    @cached_property
    def server_log(self) -> Path:
        return self.data / "server-log"

    @cached_property
    def metrics(self) -> Path:
        """The directory of samples and time series."""
        return self.data / "metrics"

    @cached_property
    def tries(self) -> Path:
        """The file in which all processes of a server count failed sign-ins."""
        return self.data / "tries"

    # ---- the certificate -----------------------------------------------------------------------
    @cached_property
    def tls(self) -> Path:
        return self.data / "tls"

    @cached_property
    def certificate_pair(self) -> Path:
        """The file with certificate and key, which only the server reads."""
        return self.tls / "server.pem"

    @cached_property
    def certificate(self) -> Path:
        """The file with the certificate alone, for clients that trust it."""
        return self.tls / "server.crt"

    @cached_property
    def directories(self) -> tuple[Path, ...]:
        """The directories that the store, the server and the audit log create."""
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
    """Return the name of a file of an upload."""
    name = file_id.hex()  # formatted as a UUID by hand: `uuid.UUID` takes ten times as long
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}.{kind}"


def index_file(directory: Path) -> Path:
    """Return the data file of an index in `directory`."""
    return directory / "data.mdb"


def spooled_file(spool: Path, name: str) -> Path:
    """Return a file that a backup keeps in its spool until the backup's destination has it."""
    return spool / name


def change_file(directory: Path, number: int) -> Path:
    """Return a file of the change log."""
    return directory / f"{number:08d}.log"


def line_file(directory: Path, number: int, series: str = "") -> Path:
    """Return a line file; see `dtrfast.machine.line_files`."""
    return directory / f"{series}{number:08d}.jsonl"


def sample_file(directory: Path, process: str) -> Path:
    """Return the file of a process's sample in the metrics directory."""
    return directory / f"{process}.json"


def series_file(directory: Path, name: str, tier: str) -> Path:
    """Return the file of a time series in one resolution, in the metrics directory."""
    return directory / f"{name}.{tier}"
