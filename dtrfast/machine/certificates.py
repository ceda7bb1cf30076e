"""The certificate in the data directory: made at the first start, replaced on request.

Certificate and key are in one file, so no process reads a new certificate with an old key. A second
file has the certificate alone; an administrator gives it to clients, which then trust it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dtrfast.errors import SettingsInvalid, StartRefused
from dtrfast.machine.paths import Layout

# The organization in self-made certificates. It distinguishes them from given ones.
_OUR_NAME = "dtrfast self-signed"
# Apple's programs refuse certificates that are valid for longer than 825 days.
_LIFE_DAYS = 820
_RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class CertificateDescription:
    """The readable fields of a certificate. Times are in UTC; `sha256` is the fingerprint."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    sha256: str


def ensure(data: Path, names: Iterable[str], found: Iterable[str] = ()) -> bool:
    """Make a self-signed certificate if one is needed. Returns True if it made one.

    It is for the configured `names`, and for the names and addresses that were `found`. A self-made
    certificate is replaced if it lacks one of `names` or expires within 30 days: each replacement
    takes the trust of clients away. What is found changes often. A new container has a new name. A
    given certificate is never replaced. Raises `StartRefused` if the user may not read it.
    """
    wanted = [*names]
    required = {str(name.value) for name in map(_general_name, wanted) if name is not None}
    current = _current(Layout(data).certificate_pair)
    if current is not None:
        lives_on = current.not_valid_after_utc > datetime.now(UTC) + timedelta(days=_RENEW_DAYS)
        has_names = required <= set(_names(current))
        if not _is_ours(current) or (lives_on and has_names):
            return False
    certificate, key = _make(dict.fromkeys([*wanted, *found]))
    _write(data, certificate, key)
    return True


def _current(pair: Path) -> x509.Certificate | None:
    try:
        return _first_certificate(pair.read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StartRefused(
            f"{pair} belongs to another user: give it to the user of the server with"
            f" `chown -R USER {pair.parent}`"
        ) from error


def machine_names() -> list[str]:
    """Return the names and addresses by which clients may reach this machine."""
    host = socket.gethostname()
    names = ["localhost", "127.0.0.1", "::1", host, socket.getfqdn()]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    names += [str(entry[4][0]).partition("%")[0] for entry in found]
    # The source addresses of packets to other networks. `connect` of a datagram socket sends none.
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                names.append(str(probe.getsockname()[0]).partition("%")[0])
        except OSError:
            continue  # the machine has no such network
    return list(dict.fromkeys(name for name in names if _general_name(name) is not None))


def replace(data: Path, certificate: bytes, key: bytes) -> None:
    """Store a given certificate, its intermediate certificates and its private key, all in PEM.

    Raises `SettingsInvalid` with a message that names the fault.
    """
    chain, private = _pair(certificate, key)
    pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain)
    _write(data, pem, _private_pem(private))


def inspect(certificate: bytes, key: bytes) -> CertificateDescription:
    """Return the fields of a given certificate. Raises `SettingsInvalid` if it cannot be used."""
    return _describe(_pair(certificate, key)[0][0])


def _pair(certificate: bytes, key: bytes) -> tuple[list[x509.Certificate], PrivateKeyTypes]:
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except ValueError as error:
        raise SettingsInvalid("certificate: not a certificate in PEM format") from error
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError as error:
        raise SettingsInvalid("key: it has a passphrase; remove the passphrase first") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsInvalid("key: not a private key in PEM format") from error
    if private.public_key() != chain[0].public_key():
        raise SettingsInvalid("key: it does not belong to the first certificate")
    if chain[0].not_valid_after_utc <= datetime.now(UTC):
        raise SettingsInvalid("certificate: it has expired")
    return chain, private


def is_given(path: Path) -> bool:
    """Return True if the first certificate in a file is a given one, not a self-made one.

    Raises OSError or ValueError.
    """
    return not _is_ours(_first_certificate(path.read_bytes()))


def describe(path: Path) -> CertificateDescription:
    """Return the fields of the first certificate in a file. Raises OSError or ValueError."""
    return _describe(_first_certificate(path.read_bytes()))


def _describe(certificate: x509.Certificate) -> CertificateDescription:
    return CertificateDescription(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=tuple(_names(certificate)),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def _make(names: Iterable[str]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _OUR_NAME),
            x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64]),
        ]
    )
    general = [name for name in map(_general_name, names) if name is not None]
    now = datetime.now(UTC)
    # The certificate is an authority that signs only itself: Go and OpenSSL trust a self-signed
    # certificate only if it is an authority.
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_LIFE_DAYS))
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key)


def _private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName | None:
    """Return the certificate's form of an address or a host name; None if `text` is neither."""
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    usable = text.isascii() and 0 < len(text) <= 253
    return x509.DNSName(text) if usable and all(c.isalnum() or c in ".-*_" for c in text) else None


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _is_ours(certificate: x509.Certificate) -> bool:
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return [name.value for name in names] == [_OUR_NAME]


def _first_certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def _write(data: Path, certificate: bytes, key: bytes) -> None:
    folder = Layout(data).certificate_pair.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    _put(Layout(data).certificate_pair, certificate + key, 0o600)
    _put(Layout(data).certificate, certificate, 0o644)


def _put(path: Path, content: bytes, mode: int) -> None:
    """Replace a file atomically: write a temporary file, sync it, rename it."""
    fresh = path.with_suffix(f"{path.suffix}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
