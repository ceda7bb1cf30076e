"""Certificates for servers under test."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM. A client that trusts `authority` trusts the server."""

    chain: Path
    key: Path

    @property
    def authority(self) -> Path:
        """The issuer of the certificate, which is self-signed."""
        return self.chain


def make(folder: Path) -> Certificate:
    """Make a certificate for 127.0.0.1 and localhost."""
    made = Certificate(folder / "server.crt", folder / "server.key")
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command += ["-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run(command, check=True, capture_output=True)
    return made
