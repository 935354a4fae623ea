"""Every stock command of nnU-Net works on our trainer's folds and checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.e2e

DATASET = "Dataset911_Tiny"
PREDICT = "-d 911 -c 2d -tr MSATrainerTiny -device cpu -npp 0 -nps 0"
Masks = Callable[[Path], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def predicted(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("predicted") / "ensembled"
    trained.do(f"nnUNetv2_predict {PREDICT} -f 0 1 -i {trained.raw / DATASET / 'imagesTs'} -o {output} --save_probabilities")
    return output


def test_training_leaves_everything_a_user_of_nnunet_expects(trained: Any) -> None:
    for fold in (0, 1):
        folder = trained.fold(DATASET, fold)
        names = {path.name for path in folder.iterdir()}
        assert {
            "checkpoint_final.pth",
            "checkpoint_best.pth",
            "progress.png",
            "progress_adversarial.png",
            "validation",
        } <= names
        assert not [name for name in names if name.endswith(".part") or name == "checkpoint_latest.pth"]
        rows = torch.load(folder / "checkpoint_final.pth", weights_only=True)["logging"]
        assert all(0 < value <= 2 for value in rows["msa_adversarial"])


def test_a_finished_run_takes_c_and_val(trained: Any) -> None:
    summary = trained.fold(DATASET, 0) / "validation" / "summary.json"
    for flag in ("--c", "--val"):
        summary.unlink()
        trained.do(f"nnUNetv2_train 911 2d 0 -tr MSATrainerTiny -device cpu --npz {flag}")
        assert summary.is_file(), flag


def test_predictions_are_masks_and_probabilities_in_the_images_geometry(predicted: Path, masks: Masks) -> None:
    found = masks(predicted)
    assert set(found) == {"test_0.nii.gz", "test_1.nii.gz"}
    assert all(mask.shape == (64, 64) and set(np.unique(mask)) <= {0, 1} for mask in found.values())
    assert len(list(predicted.glob("*.npz"))) == 2


def test_ensembling_two_folds_is_predicting_with_both(trained: Any, predicted: Path, masks: Masks, tmp_path: Path) -> None:
    images = trained.raw / DATASET / "imagesTs"
    for fold in (0, 1):
        trained.do(f"nnUNetv2_predict {PREDICT} -f {fold} -i {images} -o {tmp_path / str(fold)} --save_probabilities")
    trained.do(f"nnUNetv2_ensemble -i {tmp_path / '0'} {tmp_path / '1'} -o {tmp_path / 'both'} -np 1")
    ensembled, together = masks(tmp_path / "both"), masks(predicted)
    for name, mask in together.items():  # nnU-Net averages probabilities in the one, logits in the other
        assert (ensembled[name] != mask).mean() < 0.02, name


def test_the_best_configuration_is_found(trained: Any) -> None:
    trained.do("nnUNetv2_find_best_configuration 911 -c 2d -tr MSATrainerTiny -f 0 1 -np 1")
    instructions = trained.results / DATASET / "inference_instructions.txt"
    assert "MSATrainerTiny" in instructions.read_text()


def test_an_exported_model_installed_elsewhere_predicts_the_same_masks(
    trained: Any, predicted: Path, masks: Masks, tmp_path: Path
) -> None:
    trained.do(f"nnUNetv2_export_model_to_zip -d 911 -o {tmp_path / 'model.zip'} -c 2d -tr MSATrainerTiny -f 0 1")
    other = type(trained)(tmp_path / "other")
    shutil.copytree(trained.root / "trainers", other.root / "trainers")
    other.do(f"nnUNetv2_install_pretrained_model_from_zip {tmp_path / 'model.zip'}")
    (other.raw / DATASET).mkdir(parents=True, exist_ok=True)
    other.do(f"nnUNetv2_predict {PREDICT} -f 0 1 -i {trained.raw / DATASET / 'imagesTs'} -o {tmp_path / 'again'}")
    before, after = masks(predicted), masks(tmp_path / "again")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_nnunets_evaluation_and_ours_agree_on_the_validation_cases(trained: Any, tmp_path: Path) -> None:
    predictions, reference = trained.fold(DATASET, 0) / "validation", tmp_path / "reference"
    reference.mkdir()
    for mask in predictions.glob("*.nii.gz"):
        shutil.copyfile(trained.raw / DATASET / "labelsTr" / mask.name, reference / mask.name)
    shutil.copyfile(trained.raw / DATASET / "dataset.json", reference / "dataset.json")
    model = predictions.parents[1]
    trained.do(
        f"nnUNetv2_evaluate_folder {reference} {predictions} -djfile {model / 'dataset.json'} -pfile {model / 'plans.json'} "
        f"-o {tmp_path / 'stock.json'} -np 1"
    )
    done = trained.run(f"msa evaluate -r {reference} -p {predictions} -o {tmp_path / 'ours'}")
    assert done.returncode == 0, done.stderr
    stock = json.loads((tmp_path / "stock.json").read_text())["foreground_mean"]["Dice"]
    ours = json.loads((tmp_path / "ours" / "summary.json").read_text())["pixel"]["per_image"]["dice"]["mean"]
    assert ours == pytest.approx(stock, abs=1e-9)


def test_a_checkpoint_loads_as_pretrained_weights(trained: Any) -> None:
    weights = trained.fold(DATASET, 0) / "checkpoint_final.pth"
    output = trained.do(
        f"nnUNetv2_train 911 2d all -tr MSATrainerTiny -device cpu -pretrained_weights {weights} --disable_checkpointing"
    )
    assert "Loading pretrained weights" in output


def test_msa_env_runs_one_command_in_nnunets_environment(trained: Any) -> None:
    output = trained.do(f"msa env --root {trained.root} -- nnUNetv2_train -h")
    assert "-tr" in output
    assert trained.run("msa env -- no-such-command").returncode == 127
