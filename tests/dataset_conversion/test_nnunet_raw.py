from __future__ import annotations

import csv
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.errors import ConversionError
from dataset_conversion.nnunet_raw import CHANNELS, Channels, ManifestRow, RawDataset, network_input, write_image

ROW = ManifestRow("P1_01_ant", "P1", 1, "anterior", "train", 4, 3, 2.26, 2.5, 99, 1, 5.65, 0, "ab")


def _staged(dataset: RawDataset, value: int = 1) -> None:
    for is_label in (False, True):
        path = dataset.staged / f"{is_label}.nii.gz"
        write_image(path, np.full((4, 3), value, np.uint8), (2.26, 2.5))
        dataset.place(path, "P1_01_ant", split="train", is_label=is_label)


def _finish(dataset: RawDataset) -> None:
    dataset.finish([ROW], [{"train": [], "val": ["P1_01_ant"]}], "zscore", "centre", {"note": 1})


def _build(raw: Path, value: int = 1) -> RawDataset:
    dataset = RawDataset(raw, 7, "Bone")
    dataset.start()
    _staged(dataset, value)
    _finish(dataset)
    return dataset


def _value(dataset: RawDataset) -> int:
    return int(sitk.GetArrayFromImage(sitk.ReadImage(str(dataset.folder / "labelsTr/P1_01_ant.nii.gz"))).max())


@pytest.mark.parametrize("channels", CHANNELS)
def test_what_the_network_sees_is_positive_monotonic_and_keeps_counts(channels: Channels) -> None:
    counts = np.array([[0, 1, 2, 278, 65_535]], np.uint16)
    values = network_input(counts, channels)
    assert values.dtype == np.float32
    assert (values > 0).all()
    restored = values - 1 if channels == "zscore" else (values / 2) ** 2 - 0.375
    assert np.allclose(restored, counts, atol=0.02)


def test_anscombe_makes_the_noise_one_at_every_level() -> None:
    rng = np.random.default_rng(0)
    for level in (5, 30, 300):
        assert network_input(rng.poisson(level, 20_000), "anscombe").std() == pytest.approx(1, abs=0.05)


def test_images_are_two_dimensional_with_spacing_in_the_right_order_and_no_clock(tmp_path: Path) -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_image(tmp_path / "a.nii.gz", pixels, (2.26, 2.5))
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert image.GetDimension() == 2
    assert image.GetSize() == (3, 4)
    assert image.GetSpacing() == pytest.approx((2.5, 2.26))
    assert np.array_equal(sitk.GetArrayFromImage(image), pixels)
    assert (tmp_path / "a.nii.gz").read_bytes()[4:8] == bytes(4)  # the time stamp of gzip
    with pytest.raises(OSError, match="cannot be written"):
        write_image(tmp_path / "absent" / "a.nii.gz", pixels, (1, 1))


def test_a_dataset_has_the_layout_nnunet_reads(tmp_path: Path) -> None:
    folder = _build(tmp_path).folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "dataset.json",
        "imagesTr/P1_01_ant_0000.nii.gz",
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
    (tmp_path / ".Dataset007_Bone.partial").mkdir()
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
    with pytest.raises(OSError, match="blocked"):
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
