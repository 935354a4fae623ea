"""A thousand damaged files among good ones: every bad one is named, the good ones convert, nothing crashes or hangs."""

from __future__ import annotations

import csv
import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset_conversion.annotations import formats
from dataset_conversion.convert import ConversionOptions, run
from dataset_conversion.errors import ConversionError
from dataset_conversion.labels import LabelMap

DAMAGED, GOOD = 500, 20  # of each kind
SHAPE = (48, 16)


def _damage(content: bytes, chance: random.Random) -> bytes:
    """Truncate, flip, overwrite, move or repeat bytes, once or several times."""
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 40))):
        if len(damaged) < 8:
            break
        start, length = chance.randrange(len(damaged)), chance.choice((1, 2, 4, 16, 300))
        kind = chance.randrange(6)
        if kind == 0:
            del damaged[start:]
        elif kind == 1:
            damaged[start] ^= 1 << chance.randrange(8)
        elif kind == 2:
            damaged[start : start + length] = chance.randbytes(length)
        elif kind == 3:
            damaged[start:start] = damaged[start // 2 : start // 2 + length]
        elif kind == 4:
            damaged[start : start + 4] = chance.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", b"99999999"))
        else:
            del damaged[start : start + length]
    return bytes(damaged)


def _is_another_valid_file(path: Path) -> bool:
    """Damage may leave a valid file that says something else, a class or an image size that stops the run as it should."""
    try:
        records = formats.read(path)
    except ConversionError:
        return False
    return any((r.content.height, r.content.width) != SHAPE or LabelMap().unknown(r.content) for r in records)


@pytest.fixture
def archive(tmp_path: Path, write_dicom: Callable[..., Path], write_outlines: Callable[..., Path]) -> Path:
    """Good scans with outlines; damaged scans without; good scans with damaged outlines of one view and good of the other."""
    chance = random.Random(20261125)
    folder = tmp_path / "archive"
    for number in range(GOOD):
        scan = write_dicom(folder / "good" / f"good{number:03d}.dcm", patient=f"good{number}")
        for view in ("anterior", "posterior"):
            write_outlines(scan.with_name(f"good{number:03d}_{view}.json"), (8, 20, 3))
    for number in range(DAMAGED):
        scan = write_dicom(folder / "scans" / f"scan{number:03d}.dcm", patient=f"scan{number}")
        scan.write_bytes(_damage(scan.read_bytes(), chance))
        other = write_dicom(folder / "outlines" / f"drawn{number:03d}.dcm", patient=f"drawn{number}", views=("anterior",))
        path = write_outlines(other.with_name(f"drawn{number:03d}_anterior.json"), (8, 20, 3), (8, 40, 2))
        whole = path.read_bytes()
        path.write_bytes(_damage(whole, chance))
        while _is_another_valid_file(path):
            path.write_bytes(_damage(whole, chance))
    return folder


def test_a_thousand_damaged_files_are_named_and_the_good_ones_convert(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ConversionOptions(archive, 7, "Bone", tmp_path / "raw", unlabelled="test", jobs=2)
    began = time.monotonic()
    assert run(options) == 1
    assert time.monotonic() - began < 120  # a thousand files that take 5 s each would need 40 minutes
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    with (tmp_path / "raw/Dataset007_Bone/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    converted = {row["source_sha256"] for row in rows}
    n_named = 0
    for path in sorted(archive.rglob("*")):
        if not path.is_file() or path.suffix == ".json":
            continue
        outlines = path.with_name(f"{path.stem}_anterior.json")
        is_named = str(path) in said.err or str(outlines) in said.err
        assert is_named or hashlib.sha256(path.read_bytes()).hexdigest() in converted, path
        assert not is_named or path.parent.name != "good", path
        n_named += is_named
    assert n_named > DAMAGED
