from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from msa_trainer.prediction import archive_zip
from msa_trainer.prediction.archive_zip import ArchiveZip
from msa_trainer.prediction.errors import PredictionError


def archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def test_members_are_read_by_name_and_folders_are_none(tmp_path: Path) -> None:
    found = ArchiveZip(archive(tmp_path / "a.zip", ("D/", b""), ("D/plans.json", b"{}"), ("D/fold_0/a.pth", b"weights")))
    assert set(found.members) == {"D/plans.json", "D/fold_0/a.pth"}
    assert found.read("D/fold_0/a.pth") == b"weights"


@pytest.mark.parametrize(
    ("member", "found"),
    [
        ("../../evil.pth", "a path that leads out"),
        ("D/../../evil.pth", "a path that leads out"),
        ("/etc/evil", "a path that leads out"),
        ("\\evil", "a path that leads out"),
        ("D\\..\\..\\evil", "a path that leads out"),
        ("C:\\evil", "a path that leads out"),
        (link("D/fold_0"), "a link"),
    ],
)
def test_a_hostile_member_refuses_the_whole_archive_and_nothing_is_written(
    tmp_path: Path, member: str | zipfile.ZipInfo, found: str
) -> None:
    file = archive(tmp_path / "a.zip", (member, b"x"))
    with pytest.raises(PredictionError, match=f"{found}.*nothing of the archive is used"):
        ArchiveZip(file)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "a.zip", ("D/fold_0/checkpoint_final.pth", bytes(20 * 2**20)))
    assert bomb.stat().st_size < 2**15
    with pytest.raises(PredictionError, match=r"unpacks to \d+ times its size"):
        ArchiveZip(bomb)


def test_more_or_larger_members_than_a_model_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = bytes(range(256)) * 8
    file = archive(tmp_path / "a.zip", ("a.pth", noise), ("plans.json", noise), compression=zipfile.ZIP_STORED)
    ArchiveZip(file)
    monkeypatch.setattr(archive_zip, "LARGEST_TEXT", 2047)
    with pytest.raises(PredictionError, match=r"'plans\.json' in it is a file of 0 MiB, more than"):
        ArchiveZip(file)
    monkeypatch.setattr(archive_zip, "MOST_MEMBERS", 1)
    with pytest.raises(PredictionError, match="holds 2 files; an exported model has at most 1"):
        ArchiveZip(file)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + b"\0" * 10])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(PredictionError, match=r"a\.zip: is no zip archive or not a whole one"):
        ArchiveZip(tmp_path / "a.zip")


def test_a_damaged_member_is_named(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.zip", ("D/a.pth", b"weights" * 100), compression=zipfile.ZIP_STORED)
    file.write_bytes(file.read_bytes().replace(b"weightsweights", b"weightsWEIGHTS", 1))
    with pytest.raises(PredictionError, match=r"a\.zip: D/a\.pth in it is damaged"):
        ArchiveZip(file).read("D/a.pth")
