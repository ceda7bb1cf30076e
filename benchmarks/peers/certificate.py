"""A certificate for servers of one run; clients of the benchmarks take any."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.peers.peer import Certificate


class CertificateUnavailable(Exception):
    """There is nothing to make one with; the message says what to install."""


def certificate(folder: Path) -> Certificate:
    """Made in `folder`: an elliptic curve, as certificates are issued now, for all servers."""
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
