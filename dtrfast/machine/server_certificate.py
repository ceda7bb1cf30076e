"""The certificate that a server shows to its clients: the operator's, or the registry's own."""

from __future__ import annotations

from pathlib import Path

from dtrfast.errors import Conflict, CredentialUnknown
from dtrfast.machine import certificates
from dtrfast.machine.certificates import CertificateDescription
from dtrfast.machine.paths import Layout


class ServerCertificate:
    """The certificate of a server. `given` is the setting `server.tls_cert`; it may be empty."""

    def __init__(self, data: Path, given: str) -> None:
        own = Layout(data).certificate_pair
        self._data = data
        self._path = Path(given) if given else own
        self._is_own = self._path.absolute() == own.absolute()

    @property
    def replaceable(self) -> bool:
        """True if the registry may replace it: operators replace their own files."""
        return self._is_own

    def describe(self) -> CertificateDescription:
        """Return the description of the certificate. Raises `CredentialUnknown` without one."""
        try:
            return certificates.describe(self._path)
        except (OSError, ValueError) as error:
            raise CredentialUnknown(
                "there is no certificate: connections are plain HTTP"
            ) from error

    def check(self, certificate: str, key: str) -> CertificateDescription:
        """Return the description of a certificate in PEM that may replace this one. Raises
        `Conflict`, `SettingsInvalid`.
        """
        if not self.replaceable:
            raise Conflict("the certificate is that of server.tls_cert: replace those files")
        return certificates.inspect(certificate.encode(), key.encode())

    def replace(self, certificate: str, key: str) -> CertificateDescription:
        """Replace the certificate: each worker uses the new one within seconds. Returns its
        description. Raises as `check`.
        """
        self.check(certificate, key)
        certificates.replace(self._data, certificate.encode(), key.encode())
        return self.describe()
