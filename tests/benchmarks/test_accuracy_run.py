"""What one run of the accuracy benchmark measures, by hand on masks of a few pixels, and the plan it trains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import accuracy
import accuracy_sets
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from accuracy_arms import ARMS, run_name
from accuracy_figures import figures
from accuracy_training import plan_of

MM = 2.0
SHAPE = (40, 40)
SMALL, BIG = (slice(4, 6), slice(4, 6)), (slice(20, 30), slice(20, 30))  # 4.5 and 22.6 mm
EMPTY_PLACES = [(slice(row, row + 2), slice(34, 36)) for row in (2, 8, 14)]


def write(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing((MM, MM))
    sitk.WriteImage(image, str(path))


@pytest.fixture
def run_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two views of two patients, one with a small and a big lesion, and what a network made of them.

    It is sure of the big lesion and of one false positive (0.9), doubtful of the small one (0.4), more doubtful of two more
    false positives (0.3).
    """
    raw, predicted = tmp_path / "raw", tmp_path / "predicted"
    predicted.mkdir()
    reference = np.zeros(SHAPE, bool)
    reference[SMALL] = reference[BIG] = True
    sure, doubtful, more = EMPTY_PLACES
    probability = {"P1_01_ant": np.zeros(SHAPE), "P2_01_ant": np.zeros(SHAPE)}
    probability["P1_01_ant"][SMALL], probability["P1_01_ant"][BIG] = 0.4, 0.95
    for place, value in ((sure, 0.9), (doubtful, 0.3), (more, 0.3)):
        probability["P2_01_ant"][place] = value
    for case, mask in (("P1_01_ant", reference), ("P2_01_ant", np.zeros(SHAPE, bool))):
        write(raw / "labelsTr" / f"{case}.nii.gz", mask)
        write(predicted / f"{case}.nii.gz", probability[case] > 0.5)
        both = np.stack([1 - probability[case], probability[case]]).astype(np.float16)[:, None]
        np.savez_compressed(predicted / f"{case}.npz", probabilities=both)
    (raw / "manifest.csv").write_text("case,patient,view\nP1_01_ant,P1,anterior\nP2_01_ant,P2,anterior\n")
    return raw, predicted


def test_figures_at_one_half_are_those_of_the_masks(run_folders: tuple[Path, Path]) -> None:
    found = figures(*run_folders)
    assert found["pooled_dice"] == pytest.approx(2 * 100 / (104 + 104))
    assert (found["sensitivity"], found["fp_per_image"], found["fp_per_lesion_free_image"]) == (0.5, 0.5, 1)
    assert found["lesion_f1"] == pytest.approx(0.5)
    assert (found["images"], found["lesions"], found["small_lesions"]) == (2, 2, 1)


def test_recall_at_one_false_positive_an_image_is_read_off_the_curve(run_folders: tuple[Path, Path]) -> None:
    found = figures(*run_folders)
    assert found["recall_at_1_fp"] == 1  # down to 0.4: both lesions, one false positive in two images
    assert found["small_recall_at_1_fp"] == 1
    assert found["fp_at_that_point"] == 0.5
    assert found["froc"] == pytest.approx((2 * 0.5 + 5 * 1) / 7)  # at 1/8 and 1/4 only what is above 0.9: the big one


def test_a_body_marked_as_one_candidate_is_no_lesion_found(run_folders: tuple[Path, Path]) -> None:
    raw, predicted = run_folders
    for file in predicted.glob("*.npz"):
        probability = np.maximum(np.load(file)["probabilities"].astype(float)[1], 0.2)  # the background: over a cut of 0.1
        np.savez_compressed(file, probabilities=np.stack([1 - probability, probability]).astype(np.float16))
    assert figures(raw, predicted)["froc"] == pytest.approx((2 * 0.5 + 5 * 1) / 7)  # the cut of 0.3 still tells them apart
    (empty,) = predicted.glob("P1*.npz")
    one_blob = np.full((1, *SHAPE), 0.99)
    np.savez_compressed(empty, probabilities=np.stack([1 - one_blob, one_blob]).astype(np.float16))
    assert figures(raw, predicted)["recall_at_1_fp"] == 0


def test_kept_masks_are_measured_again_and_those_that_are_gone_are_named(
    run_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, predicted = run_folders
    row = {"set": "test", "width": "quarter", "steps": "1000", "arm": "msa", "seed": "0", "froc": "0.9", "commit": "c"}
    kept = tmp_path / "predictions" / run_name(row)
    shutil.copytree(predicted, kept)
    monkeypatch.setattr(accuracy_sets, "converted", lambda *_: raw)
    (again,) = accuracy.measure_again([row], tmp_path)
    assert again["froc"] == pytest.approx((2 * 0.5 + 5 * 1) / 7, abs=1e-5)
    assert (again["commit"], again["seed"]) == ("c", "0")
    with pytest.raises(SystemExit, match="the masks of test_quarter_1000_msa_1 are gone"):
        accuracy.measure_again([row, row | {"seed": "1"}], tmp_path)


@pytest.mark.parametrize(("name", "patch", "batch"), [("msa + small patches", 128, 8), ("msa", 256, 2)])
def test_a_plan_has_the_arms_patch_the_same_pixels_a_batch_and_a_quarter_of_the_widths(
    tmp_path: Path, name: str, patch: int, batch: int
) -> None:
    configuration = {"spacing": [2.26, 2.26], "patch_size": [256, 256], "batch_size": 14, "architecture": {"arch_kwargs": {}}}
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps({"configurations": {"2d": configuration}}))
    planned = plan_of(ARMS[name], tmp_path, full=False)["configurations"]["2d"]
    assert (planned["patch_size"], planned["batch_size"]) == ([patch, patch], batch)
    widths = planned["architecture"]["arch_kwargs"]["features_per_stage"]
    assert widths[:3] == [8, 16, 32]
    assert max(widths) == 128
    full = plan_of(ARMS[name], tmp_path, full=True)["configurations"]["2d"]
    assert full["batch_size"] == 7 * batch
    assert full["architecture"]["arch_kwargs"]["features_per_stage"] == [4 * width for width in widths]
