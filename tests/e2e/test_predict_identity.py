"""`msa predict` and `nnUNetv2_predict` on the same model and data: the same masks, pixel for pixel."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from dataset_conversion.network_input import network_input, write_image
from dataset_conversion.phantom import write_phantom
from msa_trainer.prediction.engine import Engine
from msa_trainer.prediction.model import load_model
from msa_trainer.trainer import MSATrainer

pytestmark = pytest.mark.e2e
FEW_PROCESSES = "-npp 1 -nps 1 -device cpu"
RECIPE = {
    "version": 1, "crop": "none", "views": "single", "channels": "zscore", "pixel_rule": "centre", "spacing_mm": [2.26, 2.26],
}  # fmt: skip


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_trained_ensemble_marks_the_same_pixels_in_one_tile_in_several_padded_and_resampled(
    trained: Any, tmp_path: Path
) -> None:
    model, images = tmp_path / "MSATrainerTiny__nnUNetPlans__2d", tmp_path / "images"
    shutil.copytree(trained.fold("Dataset911_Tiny", 0).parent, model)
    edit(model / "dataset.json", msa=RECIPE)
    images.mkdir()
    scans = {(64, 64): 2.26, (150, 100): 2.26, (50, 40): 2.26, (90, 80): 2.0}
    for number, (shape, mm) in enumerate(scans.items()):
        rng = np.random.default_rng(number)
        hot = np.zeros(shape)
        for row, column in rng.integers(8, np.array(shape) - 8, (4, 2)):
            hot[row - 3 : row + 3, column - 3 : column + 3] = 1
        pixels = network_input(rng.poisson(5 + 20 * hot), "zscore")
        write_image(images / f"P00000{number}_01_ant_0000.nii.gz", pixels, (mm, mm))
    trained.do(f"nnUNetv2_predict_from_modelfolder -i {images} -o {tmp_path}/nnunet -m {model} -f 0 1 {FEW_PROCESSES}")
    trained.do(f"msa predict -i {images} -o {tmp_path}/msa -m {model} -f 0 1 -device cpu --no-dicom-seg")
    theirs = sorted((tmp_path / "nnunet").glob("*.nii.gz"))
    assert len(theirs) == len(scans)
    for path in theirs:
        (ours,) = (tmp_path / "msa").rglob(path.name)
        np.testing.assert_array_equal(read(ours), read(path))
    assert any(0 < read(path).mean() < 0.9 for path in theirs)


def test_paired_dicom_scans_get_in_the_whole_body_the_masks_that_nnunet_gives_their_converted_thorax(
    nnunet: Any, empty_nnunet: Any, tmp_path: Path
) -> None:
    scans, key = tmp_path / "scans", tmp_path / "key"
    write_phantom(scans, 2, seed=5)
    recipe = "--crop thorax --views paired --channels counts --folds 2"
    empty_nnunet.do(f"msa convert -i {scans} -d 913 -n Pairs -o {empty_nnunet.raw} --key {key} {recipe}")
    raw = empty_nnunet.raw / "Dataset913_Pairs"
    model = random_model(nnunet, raw, tmp_path / "MSATrainer__nnUNetPlans__2d")
    empty_nnunet.do(f"nnUNetv2_predict_from_modelfolder -i {raw}/imagesTr -o {tmp_path}/nnunet -m {model} -f 0 {FEW_PROCESSES}")
    empty_nnunet.do(f"msa predict -i {scans} -o {tmp_path}/msa -m {model} -device cpu --no-dicom-seg --key {key}")
    manifest = pd.read_csv(raw / "manifest.csv")
    assert len(manifest) >= 4
    found = sorted((tmp_path / "msa").rglob("*.nii.gz"))
    assert len(found) == len(manifest)
    for row in manifest.itertuples():
        thorax = read(tmp_path / "nnunet" / f"{row.case}.nii.gz")
        expected = np.zeros((row.full_height, row.full_width), np.uint8)
        expected[row.crop_top : row.crop_top + row.height, row.crop_left : row.crop_left + row.width] = thorax
        assert 0 < thorax.mean() < 0.2
        assert any(np.array_equal(read(path), expected) for path in of_view(found, str(row.patient), str(row.view)))


def of_view(paths: Sequence[Path], patient: str, view: str) -> list[Path]:
    ending = {"anterior": "_ant.nii.gz", "posterior": "_post.nii.gz"}[view]
    return [path for path in paths if path.name.startswith(patient) and path.name.endswith(ending)]


def random_model(nnunet: Any, raw: Path, folder: Path) -> Path:
    """A model of a converted paired dataset with the tiny dataset's plans and random weights, which mark few pixels."""
    plans = json.loads((nnunet.preprocessed / "Dataset911_Tiny" / "nnUNetPlans.json").read_text())
    configuration = plans["configurations"]["2d"]
    configuration |= {"normalization_schemes": ["NoNormalization"] * 2, "use_mask_for_norm": [False] * 2}
    properties = plans["foreground_intensity_properties_per_channel"]
    plans["foreground_intensity_properties_per_channel"] = {"0": properties["0"], "1": properties["0"]}
    manager = PlansManager(plans)
    torch.manual_seed(0)
    network = MSATrainer.build_network_architecture(manager, manager.get_configuration("2d"), 2, 2, False)
    for name, parameter in network.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.uniform_(parameter, 0.5, 1)
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    shutil.copy(raw / "dataset.json", folder)
    checkpoint = {"network_weights": network.state_dict(), "trainer_name": "MSATrainer",
                  "init_args": {"configuration": "2d"}, "inference_allowed_mirroring_axes": (1,)}  # fmt: skip
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    images = sorted((raw / "imagesTr").glob("*.nii.gz"))[:2]
    (answer,) = Engine(load_model(folder)).predict([np.stack([read(path).astype(np.float32) for path in images])], (2.26, 2.26))
    odds = np.log(answer.probabilities[1] / answer.probabilities[0])
    heads = [name for name in network.state_dict() if "seg_layers" in name and name.endswith("bias")]
    for name in heads:
        checkpoint["network_weights"][name][0] += float(np.quantile(odds, 0.99))
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder
