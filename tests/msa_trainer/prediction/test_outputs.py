"""What is written lies where the network marked it, in every format, and comes back through conversion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from highdicom.seg import segread
from pydicom import dcmread
from scipy import ndimage

from dataset_conversion.convert import ConversionOptions
from dataset_conversion.convert import run as convert
from dataset_conversion.scans import read_scan
from msa_trainer.prediction.batch import run
from msa_trainer.prediction.network import Answer
from msa_trainer.prediction.options import PredictOptions


def _masks(output: Path) -> dict[str, np.ndarray]:
    """Masks of all studies by file name, whole frames."""
    return {path.name: sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(output.glob("*/*.nii.gz"))}


def _by_scan(output: Path) -> dict[str, list[np.ndarray]]:
    """Anterior and posterior mask by the stem of the scan's file, told by the LabelMe files' names."""
    found = {}
    for path in output.glob("*/labelme/*_anterior.json"):
        study = path.parents[1]
        sides = [study / f"{study.name}_{side}.nii.gz" for side in ("ant", "post")]
        found[path.name.removesuffix("_anterior.json")] = [sitk.GetArrayFromImage(sitk.ReadImage(str(side))) for side in sides]
    return found


@pytest.mark.parametrize("crop", ["none", "thorax"])
def test_labelme_beside_the_scans_gives_the_predicted_masks_back_pixel_for_pixel(
    phantoms: Path, network: Any, tmp_path: Path, crop: str
) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for number in (1, 2):
        shutil.copy(phantoms / f"phantom_000{number}.dcm", scans)
    network.recipe = replace(network.recipe, crop=crop)
    options = PredictOptions((scans,), tmp_path / "out", "m", labelme=True, dicom_seg=False)
    assert run(options, lambda _: network) == 0
    for written in (tmp_path / "out").glob("*/labelme/*"):
        shutil.copy(written, scans)
    assert convert(ConversionOptions(scans, 7, "Bone", tmp_path / "raw", folds=2)) == 0
    labels = [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in sorted((tmp_path / "raw").rglob("labelsTr/*.nii.gz"))]
    masks = [mask for pair in _by_scan(tmp_path / "out").values() for mask in pair]
    assert len(labels) == len(masks) == 4
    assert all(mask.any() for mask in masks)
    assert sorted(mask.tobytes() for mask in masks) == sorted(label.tobytes() for label in labels)


def test_the_seg_lies_on_the_hot_spots_of_the_frames_it_refers_to(small: PredictOptions, network: Any, scans: Path) -> None:
    assert run(small, lambda _: network) == 0
    segs = sorted(small.output.glob("*/*_seg.dcm"))
    assert len(segs) == 4
    by_instance = {str(dcmread(path).SOPInstanceUID): path for path in scans.glob("*.dcm")}
    for path in segs:
        seg = segread(path)
        (instance,) = {str(uid[2]) for uid in seg.get_source_image_uids()}
        pixels = seg.get_pixels_by_source_frame(instance, [1, 2], combine_segments=True)
        for mask, view in zip(pixels, read_scan(by_instance[instance]), strict=True):
            hottest = ndimage.center_of_mass(view.counts > 30)
            assert np.hypot(*np.subtract(ndimage.center_of_mass(mask), hottest)) < 0.5
        assert seg.PatientID.startswith("ZURICH")


def test_views_in_files_of_their_own_get_a_seg_each(tmp_path: Path, network: Any, write_scan: Callable[..., Path]) -> None:
    for view in ("anterior", "posterior"):
        write_scan(tmp_path / "in" / f"{view}.dcm", views=(view,))
    assert run(PredictOptions((tmp_path / "in",), tmp_path / "out", "m"), lambda _: network) == 0
    names = {path.name[17:] for path in (tmp_path / "out").glob("*/*_seg.dcm")}
    assert names == {"ant_seg.dcm", "post_seg.dcm"}


def test_probabilities_are_stored_as_nnunet_stores_them(small: PredictOptions, network: Any) -> None:
    assert run(replace(small, save_probabilities=True), lambda _: network) == 0
    masks = _masks(small.output)
    assert len(masks) == 8
    for path in small.output.glob("*/*.npz"):
        probabilities = np.load(path)["probabilities"]
        mask = masks[path.name.replace(".npz", ".nii.gz")]
        assert probabilities.shape == (2, 1, *mask.shape)
        np.testing.assert_array_equal(probabilities[1, 0] > 0.5, mask > 0)


def test_tables_state_every_lesion_once_and_link_the_views(small: PredictOptions, network: Any) -> None:
    assert run(small, lambda _: network) == 0
    for folder in small.output.glob("P*"):
        table = pd.read_csv(folder / "lesions.csv")
        content = json.loads((folder / "findings.json").read_text())
        marker = json.loads((folder / "complete.json").read_text())
        for view, side in zip(content["views"], ("ant", "post"), strict=True):
            mask = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"{folder.name}_{side}.nii.gz")))
            _, number = ndimage.label(mask, np.ones((3, 3)))
            mine = table[table["view"] == view["view"]]
            assert number == len(mine) == len(view["lesions"]) == next(
                one["lesions"] for one in marker["views"] if one["view"] == view["view"]
            )  # fmt: skip
            assert mine["area_mm2"].sum() == pytest.approx(np.count_nonzero(mask) * 2.26**2)
        assert marker["lesions"] == content["study"]["burden"][0]["lesions"]


def test_every_class_of_the_model_is_kept_apart(small: PredictOptions, network: Any) -> None:
    def two_classes(images: list[np.ndarray], spacing_mm: tuple[float, float]) -> list[Answer]:
        mask = np.zeros((96, 48), np.uint8)
        mask[10:14, 10:14], mask[14:18, 10:14] = 1, 2
        return [Answer(mask, np.stack([mask == value for value in range(3)]).astype(np.float32))] * len(images)

    network.labels, network.predict = {"background": 0, "metastasis": 1, "benign": 2}, two_classes
    assert run(replace(small, labelme=True), lambda _: network) == 0
    for folder in small.output.glob("P*"):
        assert pd.read_csv(folder / "lesions.csv")["label"].tolist() == ["metastasis", "benign"] * 2
        seg = segread(folder / f"{folder.name}_seg.dcm")
        assert [str(segment.SegmentLabel) for segment in seg.SegmentSequence] == ["metastasis", "benign"]
        for path in folder.glob("labelme/*.json"):
            assert {shape["label"] for shape in json.loads(path.read_text())["shapes"]} == {"metastasis", "benign"}


def test_where_nothing_is_found_that_is_what_is_written(small: PredictOptions, network: Any) -> None:
    def nothing(images: list[np.ndarray], spacing_mm: tuple[float, float]) -> list[Answer]:
        return [Answer(np.zeros((96, 48), np.uint8), np.stack([np.ones((96, 48)), np.zeros((96, 48))]))] * len(images)

    network.predict = nothing
    assert run(replace(small, labelme=True), lambda _: network) == 0
    assert not any(mask.any() for mask in _masks(small.output).values())
    for path in small.output.glob("*/labelme/*.json"):
        assert json.loads(path.read_text())["shapes"] == []
    assert len(list(small.output.glob("*/*_seg.dcm"))) == 4
    assert all(pd.read_csv(path).empty for path in small.output.glob("*/lesions.csv"))


def test_flags_of_counts_mask_and_pair_are_kept_with_the_study(phantoms: Path, tmp_path: Path, network: Any) -> None:
    def corner(images: list[np.ndarray], spacing_mm: tuple[float, float]) -> list[Answer]:
        mask = np.zeros((1024, 256), np.uint8)
        mask[:8, :8] = 1
        return [Answer(mask, np.stack([1 - mask, mask]).astype(np.float32))] * len(images)

    scan = tmp_path / "in" / "scan.dcm"
    scan.parent.mkdir()
    dataset = dcmread(phantoms / "phantom_0001.dcm")
    codes = [item.ViewCodeSequence for item in dataset.DetectorInformationSequence]
    for item, code in zip(dataset.DetectorInformationSequence, reversed(codes), strict=True):
        item.ViewCodeSequence = code
    dataset.save_as(scan)
    network.predict = corner
    assert run(PredictOptions((scan,), tmp_path / "out", "m"), lambda _: network) == 0
    (marker,) = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*/complete.json")]
    assert {(flag["view"], flag["code"]) for flag in marker["flags"]} >= {
        ("anterior", "lesion-outside"), ("posterior", "lesion-outside"), ("", "views-swapped")
    }  # fmt: skip
    assert not any("outline" in flag["sentence"] for flag in marker["flags"])
