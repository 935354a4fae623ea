"""A dataset of plain counts trains and predicts: the network's first layer, not nnU-Net, makes them comparable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

pytestmark = pytest.mark.e2e

DATASET = "Dataset914_Counts"


@pytest.fixture(scope="module")
def counts(empty_nnunet: Any, write_raw_dataset: Any) -> Any:
    """The dataset, planned by nnU-Net; of its two test images the second is 4 n + 9/8 of the first."""
    folder = write_raw_dataset(empty_nnunet.raw, DATASET, (64, 64), 4, counts_channel=True)
    first = sitk.ReadImage(str(folder / "imagesTs" / "test_0_0000.nii.gz"))
    sitk.WriteImage(first * 4 + 9 / 8, str(folder / "imagesTs" / "test_1_0000.nii.gz"))
    empty_nnunet.do("nnUNetv2_plan_and_preprocess -d 914 -c 2d --verify_dataset_integrity -np 1 -npfp 1")
    return empty_nnunet


def test_nnunet_neither_normalises_nor_crops_the_counts(counts: Any) -> None:
    plans = json.loads((counts.preprocessed / DATASET / "nnUNetPlans.json").read_text())
    planned = plans["configurations"]["2d"]
    assert planned["normalization_schemes"] == ["NoNormalization"]
    assert planned["use_mask_for_norm"] == [False]
    assert planned["median_image_size_in_voxels"] == [64, 64]


@pytest.mark.parametrize("trainer", ["MSATrainerTiny", "MSATrainerTinyStock"])
def test_it_trains_and_predicts_the_same_for_counts_that_the_square_root_and_standardisation_make_equal(
    counts: Any, trainer: str, tmp_path: Path
) -> None:
    counts.do(f"nnUNetv2_train 914 2d 0 -tr {trainer} -device cpu")
    saved = torch.load(counts.fold(DATASET, 0, trainer) / "checkpoint_final.pth", weights_only=True)
    assert all(0 < value <= 2 for value in saved["logging"]["msa_adversarial"])
    assert not [name for name in saved["network_weights"] if "stem" in name]
    counts.do(
        f"nnUNetv2_predict -d 914 -c 2d -tr {trainer} -f 0 -device cpu -npp 0 -nps 0 --save_probabilities "
        f"-i {counts.raw / DATASET / 'imagesTs'} -o {tmp_path}"
    )
    first, second = (np.load(tmp_path / f"test_{index}.npz")["probabilities"] for index in (0, 1))
    assert first[1].std() > 0.01, "a constant prediction would prove nothing"
    assert np.allclose(first, second, atol=0.01)


def test_values_that_nobody_declared_as_counts_are_refused(counts: Any) -> None:
    file = counts.preprocessed / DATASET / "dataset.json"
    before = file.read_text()
    file.write_text(json.dumps({name: value for name, value in json.loads(before).items() if name != "msa"}))
    done = counts.run("nnUNetv2_train 914 2d 1 -tr MSATrainerTiny -device cpu")
    file.write_text(before)
    assert done.returncode != 0
    assert 'expected "counts"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not counts.fold(DATASET, 1).exists()
