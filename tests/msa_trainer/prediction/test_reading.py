"""What becomes of a study's files: views by twos, faults as sentences, converted images with their counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.convert import ConversionOptions
from dataset_conversion.convert import run as convert
from dataset_conversion.network_input import CHANNELS
from dataset_conversion.scans import ReadOptions, read_scan
from dataset_conversion.scintigram import Scintigram
from msa_trainer.prediction.case import InputRecipe
from msa_trainer.prediction.reading import ReadStudy, acquisitions, read_study
from msa_trainer.prediction.studies import find_studies

KEY = bytes(range(32))
SINGLE = InputRecipe("none", "single", "zscore", (2.26, 2.26))
PAIRED = replace(SINGLE, views="paired")


def _read(folder: Path, recipe: InputRecipe = SINGLE, **options: Any) -> ReadStudy:
    (study,) = find_studies([folder], [], KEY).studies
    return read_study(study, recipe, ReadOptions(**options))


def _view(side: str, shape: tuple[int, int] = (4, 4), instance: str = "i") -> Scintigram:
    return Scintigram(np.zeros(shape, np.uint16), (2.0, 2.0), side, "p", "s", instance, 1, Path())


def test_views_are_paired_in_order_and_only_with_views_of_their_own_shape() -> None:
    whole = [_view("anterior", instance="1"), _view("posterior", (2, 2), "2"), _view("posterior", instance="3")]
    again = [_view("posterior", instance="4"), _view("anterior", instance="5"), _view("anterior", instance="5")]
    scans = acquisitions([*whole, *again])
    assert [[view.instance for view in scan] for scan in scans] == [["1", "3"], ["2"], ["5", "4"]]


def test_two_views_of_one_file_are_one_scan(tmp_path: Path, write_scan: Callable[..., Path]) -> None:
    write_scan(tmp_path / "scan.dcm")
    read = _read(tmp_path, PAIRED)
    assert [[case.view.view for case in scan] for scan in read.scans] == [["anterior", "posterior"]]
    assert [case.pixels.shape for case in read.scans[0]] == [(2, 96, 48)] * 2
    assert not read.faults + read.notes


def test_what_is_wrong_with_one_view_does_not_cost_the_other(tmp_path: Path, write_scan: Callable[..., Path]) -> None:
    write_scan(tmp_path / "a.dcm", views=("anterior",))
    whole = write_scan(tmp_path / "p.dcm", views=("posterior",)).read_bytes()
    (tmp_path / "p.dcm").write_bytes(whole[:-2000])
    read = _read(tmp_path)
    assert [[case.view.view for case in scan] for scan in read.scans] == [["anterior"]]
    (fault,) = read.faults
    assert fault.startswith(f"{tmp_path / 'p.dcm'}: ")
    paired = _read(tmp_path, PAIRED)
    assert not paired.scans
    assert [fault.split(": ")[0] for fault in paired.faults] == [str(tmp_path / "p.dcm"), str(tmp_path / "a.dcm")]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("views", ["single", "paired"])
def test_converted_images_are_given_to_the_network_as_they_are_and_their_counts_come_back(
    tmp_path: Path, write_scan: Callable[..., Path], channels: str, views: str
) -> None:
    scan = write_scan(tmp_path / "in" / "scan.dcm")
    options = ConversionOptions(
        scan.parent, 7, "Bone", tmp_path / "raw", views=views, channels=channels, unlabelled="test"
    )  # fmt: skip
    assert convert(options) == 0
    images = tmp_path / "raw" / "Dataset007_Bone" / "imagesTs"
    recipe = InputRecipe("none", views, channels, (2.26, 2.26))
    ((anterior, posterior),) = _read(images, recipe).scans
    for case, view in zip((anterior, posterior), read_scan(scan), strict=True):
        assert case.view.view == view.view
        np.testing.assert_array_equal(case.view.counts, view.counts)
        files = sorted(images.glob(f"{case.case}_*.nii.gz"))
        written = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files])
        np.testing.assert_array_equal(case.pixels, written.astype(np.float32))
    wrong = _read(images, replace(recipe, crop="thorax"))
    assert not wrong.scans
    assert all("was converted with crop 'none', the model was trained with 'thorax'" in fault for fault in wrong.faults)


def _image(path: Path, pixels: np.ndarray, spacing: float = 2.26) -> None:
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing((spacing, spacing))
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize(
    ("name", "pixels", "recipe", "says"),
    [
        ("a_0000", np.full((4, 4), 2.0), SINGLE, "does not say which view it shows"),
        ("a_ant_0000", np.arange(16.0).reshape(4, 4) - 3, SINGLE, "holds no counts in the form of the channels 'zscore'"),
        ("a_ant_0000", np.full((4, 4), 2.0), SINGLE, "holds no counts"),
        ("a_ant_0001", np.arange(16.0).reshape(4, 4), SINGLE, "has the channels 0001, the model expects 1 from 0000 on"),
        ("a_ant_0000", np.arange(16.0).reshape(4, 4), PAIRED, "has the channels 0000, the model expects 2 from 0000 on"),
    ],
)
def test_converted_images_that_do_not_fit_the_model_are_refused(
    tmp_path: Path, name: str, pixels: np.ndarray, recipe: InputRecipe, says: str
) -> None:
    _image(tmp_path / f"{name}.nii.gz", pixels)
    read = _read(tmp_path, recipe)
    assert not read.scans
    assert [says in fault and fault.startswith(str(tmp_path)) for fault in read.faults] == [True]


def test_a_converted_image_keeps_its_name_only_where_that_is_a_pseudonym(tmp_path: Path) -> None:
    for name in ("P0a1b2c_01_ant_0000", "Meier_post_0000"):
        folder = tmp_path / name
        folder.mkdir()
        _image(folder / f"{name}.nii.gz", np.arange(1.0, 17.0).reshape(4, 4))
        ((case,),) = _read(folder).scans
        assert case.case == ("P0a1b2c_01_ant" if name.startswith("P0") else "")


def test_arrays_are_read_as_conversion_reads_them(tmp_path: Path) -> None:
    np.save(tmp_path / "17_anterior.npy", np.arange(600, dtype=np.uint16).reshape(30, 20))
    (tmp_path / "17_anterior.scan.json").write_text(json.dumps({"spacing_mm": [2.3, 2.2], "patient": "17"}))
    ((case,),) = _read(tmp_path).scans
    assert case.view.spacing_mm == (2.3, 2.2)
    (tmp_path / "17_anterior.scan.json").unlink()
    assert "has no pixel size" in _read(tmp_path).faults[0]
    read = _read(tmp_path, spacing_mm=(2.26, 2.26))
    assert len(read.scans) == len(read.notes) == 1
