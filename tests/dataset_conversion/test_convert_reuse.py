"""What did not change since the last conversion is taken over; what did is made anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from dataset_conversion.convert import ConversionOptions, run


def _folder(options: ConversionOptions) -> Path:
    return (options.raw or Path()) / "Dataset007_Bone"


def _hashes(options: ConversionOptions) -> dict[str, str]:
    files = (path for path in sorted(_folder(options).rglob("*")) if path.is_file())
    return {str(p.relative_to(_folder(options))): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def _reused(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().out.splitlines() if "unchanged" in line]
    return lines[0].split(": ")[1] if lines else "none"


@pytest.mark.parametrize(
    "changes", [{}, {"views": "paired"}, {"crop": "thorax", "channels": "anscombe"}, {"file_format": "png"}]
)
def test_a_repeat_takes_over_every_file_and_is_byte_identical(
    options: ConversionOptions, changes: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(options, **changes)  # type: ignore[arg-type]
    assert run(options) == 0
    first = _hashes(options)
    assert _reused(capsys) == "none"
    for module in ("scan_files", "opposite_files"):
        monkeypatch.setattr(f"dataset_conversion.staging.{module}.read_scan", lambda *_: pytest.fail("a scan was read again"))
    assert run(options) == 0
    assert _reused(capsys) == "6 of 6 files"
    assert _hashes(options) == first


def test_only_the_changed_scan_is_made_anew(
    options: ConversionOptions, write_outlines: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options) == 0
    before = _hashes(options)
    write_outlines(options.input / "p1" / "scan1_anterior.json", (8, 8, 3))
    capsys.readouterr()
    assert run(options) == 0
    assert _reused(capsys) == "5 of 6 files"
    changed = {name for name, digest in _hashes(options).items() if before.get(name) != digest}
    assert sum(name.startswith("labelsTr") for name in changed) == 1
    assert not any(name.startswith("imagesTr") for name in changed)


def test_a_changed_scan_with_the_same_outlines_is_made_anew(
    options: ConversionOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options) == 0
    path = options.input / "p1" / "scan1.dcm"
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    pixels[0, 0, 0] += 1
    dataset.PixelData = pixels.tobytes()
    del dataset.CountsAccumulated
    dataset.save_as(path)
    capsys.readouterr()
    assert run(options) == 0
    assert _reused(capsys) == "5 of 6 files"


@pytest.mark.parametrize(
    "changes",
    [{"channels": "anscombe"}, {"pixel_rule": "labelme"}, {"crop": "thorax"}, {"file_format": "png"}, {"unlabelled": "test"}],
)
def test_other_options_take_nothing_over(
    options: ConversionOptions, changes: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options) == 0
    capsys.readouterr()
    assert run(replace(options, **changes)) == 0  # type: ignore[arg-type]
    assert _reused(capsys) == "none"
    changed = _hashes(options)
    raw = options.raw or Path()
    fresh = replace(options, raw=raw.parent / "fresh", key=raw / "msa_pseudonym.key")
    assert run(replace(fresh, **changes)) == 0  # type: ignore[arg-type]
    assert _hashes(fresh) == changed


@pytest.mark.parametrize("harm", ["changed", "gone", "no record"])
def test_files_that_are_no_longer_what_was_written_are_made_anew(
    options: ConversionOptions, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(options) == 0
    first = _hashes(options)
    folder = ".converted" if harm == "no record" else "labelsTr"
    victim = sorted((_folder(options) / folder).iterdir())[0]
    if harm == "changed":
        victim.write_bytes(victim.read_bytes() + b"x")
    elif harm == "gone":
        victim.unlink()
    else:
        victim.write_text("[]")
    capsys.readouterr()
    assert run(options) == 0
    assert _reused(capsys) == "5 of 6 files"
    assert _hashes(options) == first
