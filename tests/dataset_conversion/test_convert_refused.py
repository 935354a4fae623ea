"""What stops a conversion: one sentence, exit code 2, and nothing of the dataset touched."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dataset_conversion.convert import ConversionOptions, run

WriteDicom = Callable[..., Path]
WriteOutlines = Callable[..., Path]


def _folder(options: ConversionOptions) -> Path:
    assert options.raw is not None
    return options.raw / "Dataset007_Bone"


def _rows(options: ConversionOptions) -> list[dict[str, str]]:
    with (_folder(options) / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _refused(options: ConversionOptions, capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must be refused, see that it left nothing, and return what it said."""
    assert run(options) == 2
    assert options.raw is None or not options.raw.exists()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("Nothing was written.\n")
    return printed.err


def test_a_key_inside_the_dataset_is_refused(options: ConversionOptions, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must not lie in the dataset" in _refused(replace(options, key=_folder(options) / "key"), capsys)


def test_outlines_without_scan_and_unknown_labels_stop_the_run(
    options: ConversionOptions, write_outlines: WriteOutlines, capsys: pytest.CaptureFixture[str]
) -> None:
    write_outlines(options.input / "nowhere_anterior.json", (8, 8, 2))
    write_outlines(options.input / "p1" / "scan1_anterior.json", (8, 8, 2), label="kidney")
    said = _refused(options, capsys)
    assert "there is no scan nowhere.dcm" in said
    assert "scan1_anterior.json: shape 1 has the label 'kidney'" in said


def test_outlines_of_another_image_size_stop_the_run(
    options: ConversionOptions, write_outlines: WriteOutlines, capsys: pytest.CaptureFixture[str]
) -> None:
    write_outlines(options.input / "p1" / "scan1_anterior.json", (8, 8, 2), shape=(96, 32))
    assert "was drawn on an image of 96 x 32 px, the anterior view of scan1.dcm has 48 x 16" in _refused(options, capsys)


def test_outlines_of_a_view_the_scan_lacks_stop_the_run(
    options: ConversionOptions, write_dicom: WriteDicom, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dicom(options.input / "p1" / "scan1.dcm", patient="ZURICH-1", views=("anterior",))
    assert "scan1.dcm has no posterior view" in _refused(options, capsys)


def test_outlines_that_do_not_say_which_of_two_views_stop_the_run(
    options: ConversionOptions, write_outlines: WriteOutlines, capsys: pytest.CaptureFixture[str]
) -> None:
    write_outlines(options.input / "p1" / "scan1.json", (8, 8, 2))
    assert "scan1.dcm has 2 views; name the outlines" in _refused(options, capsys)


def test_two_outline_files_for_one_view_stop_the_run(
    options: ConversionOptions, write_outlines: WriteOutlines, capsys: pytest.CaptureFixture[str]
) -> None:
    (options.input / "reader2").mkdir()
    write_outlines(options.input / "reader2" / "scan1_anterior.json", (8, 8, 2))
    assert "has outlines of 2 raters (reader2, scan1_anterior.json)" in _refused(options, capsys)
    (options.input / "p1" / "reader2").mkdir()
    write_outlines(options.input / "p1" / "scan1_ant.json", (8, 8, 2))
    (options.input / "reader2" / "scan1_anterior.json").unlink()
    assert "the anterior view already has scan1_ant.json; keep one of them" in _refused(options, capsys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": 7}, "only 6 patients"),
        ({"folds": 1}, "at least 2"),
        ({"test_fraction": 0.95}, "leaves none of 6 patients to train on"),
        ({"test_fraction": 1.5}, "test fraction is 1.5"),
        ({"input": Path("absent")}, "absent: is no folder"),
        ({"dataset_id": 0}, "1 to 999"),
        ({"name": "a/b"}, "expected letters"),
        ({"channels": "rgb"}, "--channels is 'rgb'"),
        ({"crop": "x"}, "--crop is 'x'"),
        ({"views": "x"}, "--views is 'x'"),
        ({"file_format": "x"}, "--format is 'x'"),
        ({"file_format": "png", "channels": "anscombe"}, "png holds whole numbers only"),
        ({"spacing": (2.0, -1.0)}, "--spacing is 2 -1"),
        ({"labels": Path("absent.yaml")}, "absent.yaml: the labels file cannot be read"),
        ({"pairs": Path("absent.csv")}, "absent.csv: cannot be read as a CSV table"),
        ({"pixel_rule": "x"}, "--pixel-rule is 'x'"),
        ({"unlabelled": "x"}, "--unlabelled is 'x'"),
        ({"jobs": 0}, "jobs is 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(
    options: ConversionOptions, changes: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in _refused(replace(options, **changes), capsys)  # type: ignore[arg-type]


def test_an_input_without_outlines_or_scans_writes_nothing(
    options: ConversionOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in options.input.rglob("*.json"):
        path.unlink()
    assert "6 files, of them 0 no planar NM scans and 0 damaged, 12 views without outlines" in _refused(options, capsys)
    (tmp_path / "empty").mkdir()
    assert "nothing to convert: 0 files" in _refused(replace(options, input=tmp_path / "empty"), capsys)


def test_a_refused_run_leaves_the_dataset_that_was_there(options: ConversionOptions, write_outlines: WriteOutlines) -> None:
    assert run(options) == 0
    before = _hashes(options.raw or Path())
    write_outlines(options.input / "p1" / "scan1_anterior.json", (8, 8, 2), shape=(96, 32))
    assert run(options) == 2
    assert _hashes(options.raw or Path()) == before


def test_the_place_is_nnunets_raw_folder_by_default(
    options: ConversionOptions, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert "set the environment variable nnUNet_raw" in _refused(replace(options, raw=None), capsys)
    monkeypatch.setenv("nnUNet_raw", str(options.raw))
    assert run(replace(options, raw=None)) == 0
    assert len(_rows(options)) == 12


def test_a_place_that_cannot_be_written_is_a_sentence(
    options: ConversionOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(replace(options, raw=tmp_path / "file" / "raw")) == 2
    assert "Not a directory" in capsys.readouterr().err
