"""A certificate for the servers of one run. The load client accepts any certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.peers.peer import Certificate


class CertificateUnavailable(Exception):
    """No certificate can be made. The message says what to install."""


def certificate(folder: Path) -> Certificate:
    """Make a certificate in `folder` for all servers, with an elliptic-curve key as is common."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    options += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    options += ["-keyout", str(made.key), "-out", str(made.chain)]
    try:
        subprocess.run(["openssl", "req", "-x509", *options], check=True, capture_output=True)
    except FileNotFoundError:
        raise CertificateUnavailable(
            "no openssl for a certificate: apt-get install openssl"
        ) from None
    except subprocess.CalledProcessError as error:
        raise CertificateUnavailable(f"openssl: {error.stderr.decode().strip()}") from error
    return made
