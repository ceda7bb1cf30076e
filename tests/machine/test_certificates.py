"""The certificate that a registry makes itself is replaced only if clients need another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtrfast.errors import StartRefused
from dtrfast.machine import certificates
from dtrfast.machine.paths import Layout


def _names(data: Path) -> set[str]:
    return set(certificates.describe(Layout(data).certificate).names)


def test_only_a_configured_name_replaces_it(tmp_path: Path) -> None:
    assert certificates.ensure(tmp_path, [], ["localhost", "3f2a"])
    # A container made anew, and a laptop in another network: clients still trust the certificate.
    assert not certificates.ensure(tmp_path, [], ["localhost", "9b1c", "10.0.3.7"])
    assert _names(tmp_path) == {"localhost", "3f2a"}
    # Also an address that is not in its usual form, and a name that no certificate can have.
    names = ["registry.example", "2001:db8:0::1", "a/b"]
    assert certificates.ensure(tmp_path, names, ["localhost", "9b1c"])
    assert _names(tmp_path) == {"registry.example", "2001:db8::1", "localhost", "9b1c"}
    assert not certificates.ensure(tmp_path, names, ["localhost", "77aa"])
    assert not certificates.ensure(tmp_path, names[:1])


def test_it_is_replaced_before_it_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert certificates.ensure(tmp_path, ["registry.example"])
    monkeypatch.setattr(certificates, "_RENEW_DAYS", 821)
    assert certificates.ensure(tmp_path, ["registry.example"], ["10.0.3.7"])
    assert _names(tmp_path) == {"registry.example", "10.0.3.7"}


def test_a_pair_of_another_user_is_no_reason_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root, who may run this, may read any file
    with pytest.raises(
        StartRefused, match=f"chown -R USER {Layout(tmp_path).certificate_pair.parent}"
    ):
        certificates.ensure(tmp_path, ["registry.example"])
