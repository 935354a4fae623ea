from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.errors import ConversionError
from dataset_conversion.network_input import write_image
from dataset_conversion.nnunet_raw import ManifestRow, RawDataset, Recipe

ROW = ManifestRow(
    case="P1_01_ant",
    patient="P1",
    study=1,
    view="anterior",
    split="train",
    height=4,
    width=3,
    spacing_row_mm=2.26,
    spacing_col_mm=2.5,
    counts=99,
    lesions=1,
    lesion_area_mm2=5.65,
    fold=0,
    crop_top=0,
    crop_left=0,
    full_height=4,
    full_width=3,
    shift_rows=None,
    shift_cols=None,
    flags="",
    source_sha256="ab",
)
KINDS: tuple[Literal["image", "label", "opposite"], ...] = ("image", "label", "opposite")
RECIPE = Recipe("none", "single", "zscore", "centre", "nii.gz", {"background": 0, "metastasis": 1})


def _staged(dataset: RawDataset, value: int = 1) -> None:
    for kind in KINDS:
        path = dataset.staged / f"{kind}.nii.gz"
        write_image(path, np.full((4, 3), value, np.uint8), (2.26, 2.5))
        placed = dataset.place(path, "P1_01_ant", split="train", kind=kind)
        assert placed.is_file()


def _finish(dataset: RawDataset) -> None:
    dataset.finish([ROW], [{"train": [], "val": ["P1_01_ant"]}], RECIPE, {"note": 1})


def _build(raw: Path, value: int = 1) -> RawDataset:
    dataset = RawDataset(raw, 7, "Bone")
    dataset.start()
    _staged(dataset, value)
    _finish(dataset)
    return dataset


def _value(dataset: RawDataset) -> int:
    return int(sitk.GetArrayFromImage(sitk.ReadImage(str(dataset.folder / "labelsTr/P1_01_ant.nii.gz"))).max())


def test_a_dataset_has_the_layout_nnunet_reads(tmp_path: Path) -> None:
    folder = _build(tmp_path).folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "dataset.json",
        "imagesTr/P1_01_ant_0000.nii.gz",
        "imagesTr/P1_01_ant_0001.nii.gz",
        "labelsTr/P1_01_ant.nii.gz",
        "manifest.csv",
        "manifest.json",
        "splits_final.json",
    ]
    dataset = json.loads((folder / "dataset.json").read_text())
    assert dataset["labels"] == {"background": 0, "metastasis": 1}
    assert (dataset["numTraining"], dataset["file_ending"], dataset["channel_names"]) == (1, ".nii.gz", {"0": "zscore"})
    assert dataset["msa"] == {
        "version": 1, "crop": "none", "views": "single", "channels": "zscore", "pixel_rule": "centre", "spacing_mm": [2.26, 2.5]
    }  # fmt: skip
    assert json.loads((folder / "splits_final.json").read_text()) == [{"train": [], "val": ["P1_01_ant"]}]
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [field.name for field in fields(ManifestRow)]
    assert (rows[0]["case"], rows[0]["spacing_row_mm"], rows[0]["fold"]) == ("P1_01_ant", "2.26", "0")


def test_a_new_dataset_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    _build(tmp_path, 1)
    dataset = _build(tmp_path, 2)
    assert _value(dataset) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset007_Bone"]


def test_the_old_dataset_stays_whole_until_the_new_one_is_complete(tmp_path: Path) -> None:
    _build(tmp_path, 1)
    dataset = RawDataset(tmp_path, 7, "Bone")
    dataset.start()
    _staged(dataset, 2)
    assert _value(dataset) == 1
    dataset.discard()
    assert _value(dataset) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset007_Bone"]


def test_a_run_killed_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    finished = _build(tmp_path, 1)
    finished.folder.rename(tmp_path / ".Dataset007_Bone.old")
    (tmp_path / ".Dataset007_Bone.partial-123").mkdir()
    dataset = RawDataset(tmp_path, 7, "Bone")
    dataset.start()
    assert _value(dataset) == 1
    dataset.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset007_Bone"]


def test_a_swap_that_fails_puts_the_old_dataset_back(tmp_path: Path) -> None:
    _build(tmp_path, 1)
    dataset = RawDataset(tmp_path, 7, "Bone")
    dataset.start()
    _staged(dataset, 2)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the new folder should go")
    original, dataset.folder = dataset.folder, blocked / "inside"
    with pytest.raises(ConversionError, match="cannot take its place"):
        _finish(dataset)
    dataset.folder = original
    dataset.discard()
    assert _value(dataset) == 1


@pytest.mark.parametrize(
    ("number", "name", "words"),
    [(0, "A", "1 to 999"), (1000, "A", "1 to 999"), (1, "a b", "letters"), (1, "", "letters"), (1, "../x", "letters")],
)
def test_names_nnunet_cannot_use_are_refused(tmp_path: Path, number: int, name: str, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        RawDataset(tmp_path, number, name)


def test_foreign_data_and_taken_ids_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Dataset007_Bone").mkdir()
    with pytest.raises(ConversionError, match="was not made by this command"):
        RawDataset(tmp_path, 7, "Bone")
    with pytest.raises(ConversionError, match="id 7 is taken by Dataset007_Bone"):
        RawDataset(tmp_path, 7, "Other")
