from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from evaluation.evaluate import EvaluationOptions, evaluate
from evaluation.nnunet_summary import compare_with_nnunet, read_nnunet_summary

IMAGES = pd.DataFrame({"case": ["a", "b", "c"], "dice": [0.5, np.nan, 1.0]})


def write(path: Path, dice: dict[str, float | None], labels: tuple[str, ...] = ("1",)) -> Path:
    cases = [
        {"prediction_file": f"C:\\p\\{case}.nii.gz", "metrics": {k: {"Dice": d, "TP": 1, "FP": 1, "FN": 1} for k in labels}}
        for case, d in dice.items()
    ]
    path.write_text(json.dumps({"metric_per_case": cases, "foreground_mean": {"Dice": 0.5}}))
    return path


def test_the_summary_that_nnunet_itself_wrote_equals_ours(study: Path) -> None:
    compute_metrics_on_folder(
        str(study / "reference"), str(study / "prediction"), str(study / "prediction" / "summary.json"), SimpleITKIO(),
        ".nii.gz", [1], num_processes=1,
    )  # fmt: skip
    options = EvaluationOptions(study / "reference", study / "prediction", study / "out")
    ours = evaluate(options)
    found = ours.summary["nnunet"]
    assert (found["cases"], found["differing"]) == (6, [])
    assert found["largest_difference"] <= 1e-9
    assert found["dice"] == pytest.approx(ours.summary["pixel"]["per_image"]["dice"]["mean"], abs=1e-9)
    table = read_nnunet_summary(study / "prediction" / "summary.json")
    assert table is not None
    assert table["case"].tolist() == ours.images["case"].tolist()


def test_a_summary_of_other_masks_is_a_warning(study: Path) -> None:
    write(study / "prediction" / "summary.json", {"P0_01_ant": 0.123, "P2_01_post": None})
    summary = evaluate(EvaluationOptions(study / "reference", study / "prediction", study / "out")).summary
    assert summary["nnunet"]["differing"] == ["P0_01_ant"]
    assert "states another Dice for 1 of 2 cases (P0_01_ant the first)" in " ".join(summary["notes"])


def test_undefined_and_defined_dice_differ(tmp_path: Path) -> None:
    found = compare_with_nnunet(write(tmp_path / "s.json", {"a": 0.5, "b": 0.0, "c": None, "z": 0.3}), IMAGES)
    assert found is not None
    assert (found["cases"], found["differing"]) == (3, ["b", "c"])


def test_files_that_say_nothing_of_our_foreground_are_passed_over(tmp_path: Path) -> None:
    assert compare_with_nnunet(tmp_path / "none.json", IMAGES) is None
    assert compare_with_nnunet(write(tmp_path / "s.json", {"z": 0.5}), IMAGES) is None
    assert compare_with_nnunet(write(tmp_path / "s.json", {"a": 0.5}, ("1", "2")), IMAGES) is None
    (tmp_path / "s.json").write_text('{"schema": 1}')  # our own summary.json
    assert compare_with_nnunet(tmp_path / "s.json", IMAGES) is None
