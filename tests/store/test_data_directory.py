"""A data directory is created once, and a directory with other files is refused."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from dtrfast.errors import FormatUnknown
from dtrfast.machine.paths import Layout
from dtrfast.store import data_directory
from dtrfast.store.data_directory import read_features, write_format


def prepare(layout: Layout) -> uuid.UUID:
    """Prepare the directory, and make it a store if it is not one; return its UUID."""
    if data_directory.prepare(layout) is None:
        write_format(layout, uuid.uuid4())
    store_id = data_directory.prepare(layout)
    assert store_id is not None
    return store_id


def test_a_store_keeps_its_identity(tmp_path: Path) -> None:
    first = prepare(Layout(tmp_path / "a" / "b"))
    assert prepare(Layout(tmp_path / "a" / "b")) == first
    assert prepare(Layout(tmp_path / "c")) != first


def test_a_half_made_store_is_made_anew(tmp_path: Path) -> None:
    prepare(Layout(tmp_path))
    (tmp_path / "format").unlink()
    assert isinstance(prepare(Layout(tmp_path)), uuid.UUID)


def test_who_comes_second_takes_the_store_that_the_first_one_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, first = data_directory.make_directories, uuid.uuid4()

    def overtaken(layout: Layout) -> None:
        make(layout)
        write_format(layout, first)
        make(layout)

    monkeypatch.setattr(data_directory, "make_directories", overtaken)
    assert prepare(Layout(tmp_path)) == first


def test_a_restore_that_was_cut_off_at_its_very_end_goes_on(tmp_path: Path) -> None:
    layout, store_id = Layout(tmp_path), uuid.uuid4()
    for _ in range(2):
        data_directory.begin_restore(layout)
        write_format(layout, store_id)
    data_directory.begin_restore(layout)
    data_directory.end_restore(layout, store_id)
    assert prepare(layout) == store_id


def test_a_restore_fills_a_new_file_system(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    data_directory.begin_restore(Layout(tmp_path))
    (tmp_path / "other" / "thesis").mkdir(parents=True)
    with pytest.raises(FormatUnknown, match=r"\(thesis\).*empty directory"):
        data_directory.begin_restore(Layout(tmp_path / "other"))


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(FormatUnknown, match=r"thesis\.tex.*empty directory"):
        prepare(Layout(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"features": {"compatible": [], "read_only_compatible": [], "incompatible": ["x"]}},
    ],
)
def test_a_newer_format_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    prepare(Layout(tmp_path))
    path = tmp_path / "format"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FormatUnknown, match="newer dtrfast"):
        prepare(Layout(tmp_path))


def test_a_compatible_feature_is_fine(tmp_path: Path) -> None:
    prepare(Layout(tmp_path))
    path = tmp_path / "format"
    features = {"compatible": ["new"], "read_only_compatible": [], "incompatible": []}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"features": features}))
    prepare(Layout(tmp_path))


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[1]", b'{"format": "x"}', b"\x00", b'{"format": "\xff"}', b"[" * 100_000, None],
)
def test_a_damaged_format_file_is_refused(tmp_path: Path, data: bytes | None) -> None:
    layout = Layout(tmp_path)
    prepare(layout)
    if data is None:
        layout.format.unlink()
        layout.format.mkdir()
    else:
        layout.format.write_bytes(data)
    for read in (prepare, read_features):
        with pytest.raises(FormatUnknown, match="damaged"):
            read(layout)


def test_what_is_no_data_directory_has_no_features(tmp_path: Path) -> None:
    with pytest.raises(FormatUnknown, match="no data directory"):
        read_features(Layout(tmp_path))


def test_content_that_was_restored_for_everybody_is_closed_to_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    prepare(layout)
    (tmp_path / "audit").mkdir()
    for name in ("audit", "blobs", "packs", "index", "log"):
        (tmp_path / name).chmod(0o755)
    prepare(layout)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("audit", "blobs", "log")}
    assert modes == {"audit": 0o700, "blobs": 0o700, "log": 0o700}


def test_what_has_secrets_is_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    prepare(layout)
    layout.index.chmod(0o755)  # as earlier versions created it
    prepare(layout)
    assert [p.stat().st_mode & 0o777 for p in (layout.index, layout.log)] == [0o700, 0o700]
