"""Every fault ends in one sentence that names the file and the remedy; the other studies are done, nothing is half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from msa_trainer.prediction.batch import run
from msa_trainer.prediction.options import PredictOptions

WriteScan = Callable[..., Path]
Damage = Callable[[Path, WriteScan], Any]


def _cut(path: Path, bytes_left: int) -> None:
    path.write_bytes(path.read_bytes()[:bytes_left])


def _truncated(path: Path, write: WriteScan) -> None:
    write(path, "bad")
    _cut(path, path.stat().st_size - 5000)


def _header_alone(path: Path, write: WriteScan) -> None:
    write(path, "bad")
    _cut(path, 600)


def _edited(change: Callable[[Any], None], **made: Any) -> Damage:
    return lambda path, write: write(path, "bad", edit=change, **made)


def _no_counts(dataset: Any) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.CountsAccumulated = 0


def _one_pixel(dataset: Any) -> None:
    dataset.Rows, dataset.Columns, dataset.PixelData, dataset.CountsAccumulated = 1, 1, b"\5\0\5\0", 10


def _altered_counts(dataset: Any) -> None:
    dataset.CountsAccumulated *= 2


def _lateral(dataset: Any) -> None:
    for item in dataset.DetectorInformationSequence:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399198007", "SCT", "Right lateral projection"
        item.ViewCodeSequence = [code]


def _without_patient(dataset: Any) -> None:
    dataset.PatientID = dataset.PatientName = ""


def _without_spacing(dataset: Any) -> None:
    del dataset.PixelSpacing


def _lossy(dataset: Any) -> None:
    dataset.LossyImageCompression = "01"


FAULTS: dict[str, tuple[Damage, str]] = {
    "truncated pixels": (_truncated, r"bad\.dcm: .*export it again"),
    "truncated header": (_header_alone, r"bad\.dcm: .*export it again"),
    "empty file": (lambda path, write: path.write_bytes(b""), r"bad\.dcm: is named like a DICOM file but holds none"),
    "text named as DICOM": (
        lambda path, write: path.write_text("hello"),
        r"bad\.dcm: is named like a DICOM file but holds none",
    ),
    "no counts": (_edited(_no_counts), r"bad\.dcm: frame 1 holds a single value \(0\), no scan"),
    "one pixel": (_edited(_one_pixel), r"bad\.dcm: frame 1 holds a single value \(5\), no scan"),
    "altered counts": (_edited(_altered_counts), r"bad\.dcm: its pixels sum to \d+ counts, Counts Accumulated is \d+"),
    "lossy compression": (_edited(_lossy), r"bad\.dcm: is compressed with loss .*--allow-lossy"),
    "no patient": (_edited(_without_patient), r"bad\.dcm: has neither Patient ID nor Patient's Name"),
    "no pixel size": (_edited(_without_spacing), r"bad\.dcm: has no usable Pixel Spacing.*--spacing"),
    "half the pixel size": (
        _edited(lambda _: None, spacing=(1.13, 1.13)),
        r"bad\.dcm: its pixels are 1\.13 x 1\.13 mm, the model",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_and_costs_the_other_study_nothing(
    fault: str, tmp_path: Path, network: Any, write_scan: WriteScan, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, says = FAULTS[fault]
    folder = tmp_path / "in"
    write_scan(folder / "good.dcm", "good")
    damage(folder / "bad.dcm", write_scan)
    options = PredictOptions((folder,), tmp_path / "out", "m", jobs=1)
    assert run(options, lambda _: network) == 1
    said = capsys.readouterr()
    (sentence,) = {line for line in said.err.splitlines() if line.startswith("msa predict: ") and "bad.dcm" in line}
    assert re.search(says, sentence), sentence
    assert "Traceback" not in said.err
    assert "1 written, 1 failed" in said.out
    assert [path.name for path in options.output.glob("*/complete.json")] == ["complete.json"]
    assert len(network.seen) == 2
    assert not list(options.output.glob(".*"))


def test_a_view_that_is_neither_anterior_nor_posterior_is_skipped_with_the_reason(
    tmp_path: Path, network: Any, write_scan: WriteScan, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "in" / "good.dcm", "good")
    write_scan(tmp_path / "in" / "side.dcm", "side", edit=_lateral)
    assert run(PredictOptions((tmp_path / "in",), tmp_path / "out", "m", jobs=1), lambda _: network) == 0
    said = capsys.readouterr()
    assert (
        "side.dcm: skipped: shows neither an anterior nor a posterior view but frame 1 (Right lateral projection)" in said.err
    )
    assert "1 written, 1 no planar bone scan" in said.out


def test_lossy_scans_and_stated_pixel_sizes_are_taken_where_the_user_says_so(
    tmp_path: Path, network: Any, write_scan: WriteScan, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "in" / "lossy.dcm", "a", edit=_lossy)
    write_scan(tmp_path / "in" / "bare.dcm", "b", edit=_without_spacing)
    options = PredictOptions((tmp_path / "in",), tmp_path / "out", "m", allow_lossy=True, spacing=(2.3, 2.2), jobs=1)
    assert run(options, lambda _: network) == 0
    said = capsys.readouterr().err
    assert "lossy.dcm: is compressed with loss" in said
    assert "bare.dcm: has no usable Pixel Spacing, taken as 2.3 x 2.2 mm as told" in said
    report = (options.output / "report.html").read_text(encoding="utf-8")
    assert "Has no usable Pixel Spacing, taken as 2.3 x 2.2 mm as told." in report
    assert "Is compressed with loss" in report


def test_a_paired_model_names_the_view_that_has_no_opposite(
    tmp_path: Path, network: Any, write_scan: WriteScan, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "in" / "good.dcm", "good")
    write_scan(tmp_path / "in" / "bad.dcm", "bad", views=("posterior",))
    network.recipe = replace(network.recipe, views="paired")
    assert run(PredictOptions((tmp_path / "in",), tmp_path / "out", "m", jobs=1), lambda _: network) == 1
    assert "bad.dcm: its posterior view has no opposite view in the study" in capsys.readouterr().err
    assert [image.shape for image in network.seen] == [(2, 96, 48)] * 2


def test_a_study_that_is_alone_and_bad_is_nothing_done(tmp_path: Path, network: Any, write_scan: WriteScan) -> None:
    _truncated(tmp_path / "bad.dcm", write_scan)
    assert run(PredictOptions((tmp_path / "bad.dcm",), tmp_path / "out", "m", jobs=1), lambda _: network) == 2
    assert not list((tmp_path / "out").glob("*/"))


def test_pictures_of_noise_and_other_sizes_do_not_end_the_run(tmp_path: Path, network: Any) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number, shape in enumerate([(1, 7), (7, 1), (2, 2), (3, 900)]):
        np.save(tmp_path / "in" / f"{number}_anterior.npy", rng.poisson(3, shape).astype(np.uint16))
    options = PredictOptions((tmp_path / "in",), tmp_path / "out", "m", spacing=(2.26, 2.26), jobs=1)
    assert run(options, lambda _: network) == 0
    assert len(list(options.output.glob("*/complete.json"))) == 4
