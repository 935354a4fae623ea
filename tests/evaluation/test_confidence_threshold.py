"""Probabilities from folder to FROC, operating point and thresholded evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from scipy import ndimage

from evaluation.evaluate import EvaluationOptions, evaluate, run


@pytest.fixture
def options(study: Path) -> EvaluationOptions:
    """The study with probabilities: every predicted lesion has one value, noise below one half elsewhere."""
    rng = np.random.default_rng(11)
    (study / "npz").mkdir()
    for path in sorted((study / "prediction").glob("*.nii.gz")):
        labels, number = ndimage.label(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), np.ones((3, 3)))
        lesion = np.append(0.0, np.round(rng.uniform(0.5, 1.0, number), 2))[labels] + 0.4 * rng.random(labels.shape) * (
            labels == 0
        )
        probability = lesion.astype(np.float32)
        np.savez_compressed(
            study / "npz" / path.name.replace(".nii.gz", ".npz"),
            probabilities=np.stack([1 - probability, probability])[:, None],
        )
    return EvaluationOptions(
        study / "reference", study / "prediction", study / "out", cases=study / "manifest.csv", probabilities=study / "npz"
    )


def test_without_probabilities_there_is_no_confidence_and_no_froc(options: EvaluationOptions) -> None:
    evaluation = evaluate(replace(options, probabilities=None))
    assert evaluation.froc is None
    assert evaluation.summary["froc"] is None
    assert evaluation.lesions["confidence"].isna().all()
    assert evaluation.summary["patients"]["auc"]["mean"] is None


def test_probabilities_give_confidence_froc_and_auc(options: EvaluationOptions) -> None:
    assert run(options) == 0
    lesions, froc = (pd.read_csv(options.output / f"{name}.csv") for name in ("lesions", "froc"))
    predicted = lesions[lesions["source"] == "prediction"]
    assert predicted["confidence"].between(0.5, 1).all()
    assert lesions.loc[lesions["source"] == "reference", "confidence"].isna().all()
    assert froc["threshold"].tolist() == pytest.approx(sorted(set(predicted["confidence"]), reverse=True))
    summary = json.loads((options.output / "summary.json").read_text())
    assert froc["sensitivity"].iloc[-1] == pytest.approx(summary["lesion"]["sensitivity"]["mean"])
    assert froc["fp_per_image"].iloc[-1] == pytest.approx(summary["lesion"]["fp_per_image"]["mean"])
    assert froc["f1"].iloc[-1] == pytest.approx(summary["lesion"]["f1"]["mean"])
    assert [row["fp_per_image"] for row in summary["froc"]["at"]] == [0.125, 0.25, 0.5, 1, 2, 4, 8]
    assert summary["patients"]["auc"]["n"] == 3
    patients = pd.read_csv(options.output / "patients.csv").set_index("patient")
    best = predicted.groupby("patient")["confidence"].max()
    assert patients["confidence"].dropna().to_dict() == pytest.approx(best.to_dict())


@pytest.mark.parametrize("rule", ["f1", "fp=0.5"])
def test_the_threshold_chosen_on_validation_cases_gives_its_own_froc_point_when_applied(
    options: EvaluationOptions, tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "threshold.json"
    assert run(replace(options, choose_threshold=file, threshold_rule=rule)) == 0
    said = capsys.readouterr().out
    assert "Threshold chosen here and not applied here" in said
    point = json.loads(file.read_text())
    chosen = evaluate(options).froc
    assert chosen is not None
    row = chosen[chosen["threshold"] == point["threshold"]].iloc[0]
    if rule == "f1":
        assert row["f1"] == chosen["f1"].max()
    else:
        assert row["sensitivity"] == chosen.loc[chosen["fp_per_image"] <= 0.5, "sensitivity"].max()

    applied = evaluate(replace(options, threshold=file))
    lesion = applied.summary["lesion"]
    assert lesion["sensitivity"]["mean"] == pytest.approx(row["sensitivity"])
    assert lesion["fp_per_image"]["mean"] == pytest.approx(row["fp_per_image"])
    assert lesion["f1"]["mean"] == pytest.approx(row["f1"])
    kept = applied.lesions.loc[applied.lesions["source"] == "prediction", "confidence"]
    assert kept.min() >= point["threshold"]
    before = evaluate(options)
    removed = applied.summary["lesion_counts"]["removed_below_threshold"]
    assert removed == (before.lesions["confidence"] < point["threshold"]).sum() > 0
    assert applied.images["fp"].sum() < before.images["fp"].sum()
    assert applied.froc is not None
    pd.testing.assert_frame_equal(applied.froc, chosen)  # the whole curve, not what is left of it
    notes = " ".join(applied.summary["notes"])
    assert f"{removed} predicted lesions below it were removed" in notes
    assert "picked on 6 of these very cases" in notes


def test_a_low_binarisation_gives_more_candidates_and_says_so(options: EvaluationOptions) -> None:
    usual, lower = evaluate(options), evaluate(replace(options, binarise_at=0.35))
    assert usual.summary["froc"]["candidates"] < lower.summary["froc"]["candidates"]
    assert lower.images["fp"].sum() > usual.images["fp"].sum()
    assert lower.lesions.loc[lower.lesions["source"] == "prediction", "confidence"].min() >= 0.35
    assert "Predicted masks are where the lesion probability reaches 0.35" in lower.summary["notes"][0]
    same = evaluate(replace(options, binarise_at=0.5))
    assert same.images["dice"].tolist() == pytest.approx(usual.images["dice"].tolist(), nan_ok=True)


def test_a_missing_prediction_needs_no_probabilities_and_a_present_one_does(
    options: EvaluationOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert options.probabilities is not None
    (options.probabilities / "P0_01_ant.npz").unlink()
    assert run(options) == 2
    assert "P0_01_ant.npz: no probabilities for case P0_01_ant, which has a predicted mask" in capsys.readouterr().err
    assert not options.output.exists()
    (options.prediction / "P0_01_ant.nii.gz").unlink()
    assert run(options) == 1
    assert "1 of 6 predictions are missing, counted as empty" in capsys.readouterr().out


def test_nan_among_the_probabilities_is_refused_and_nothing_written(
    options: EvaluationOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert options.probabilities is not None
    with np.load(options.probabilities / "P1_01_post.npz") as content:
        probabilities = content["probabilities"].copy()
    probabilities[1, 0, 7, 9] = np.nan
    np.savez(options.probabilities / "P1_01_post.npz", probabilities=probabilities)
    assert run(replace(options, choose_threshold=tmp_path / "t.json")) == 2
    assert "P1_01_post.npz: found NaN at index (1, 0, 7, 9)" in capsys.readouterr().err
    assert not options.output.exists()
    assert not (tmp_path / "t.json").exists()
