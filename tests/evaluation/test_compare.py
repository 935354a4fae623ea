"""`msa compare` from folders of masks to its results."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from numpy.typing import NDArray

from evaluation.compare import CompareOptions, compare, run
from evaluation.evaluate import evaluate
from evaluation.figure_of_model import verdict
from evaluation.options import EvaluationOptions

RESULTS = {"comparison.json", "comparison.csv", "comparison.md", "comparison.html", "comparison.svg"}
PATIENTS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """reference/ of 12 patients with two views, and predictions: three seeds of a model that misses most small lesions
    (plain0..2), three of one that finds them all (better0..2), three of one that is as good as plain (alike0..2)."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    rows = ["case,patient"]
    for number in range(2 * PATIENTS):
        case = f"P{number // 2:02d}_{number % 2}"
        rows.append(f"{case},P{number // 2:02d}")
        reference = np.zeros((64, 40), np.uint8)
        small = [(4 + 12 * index, int(rng.integers(2, 16))) for index in range(5)] if number % 8 else []
        for row, column in small:
            reference[row : row + 2, column : column + 2] = 1
        if small:
            reference[20:32, 24:36] = 1
        save(folder / "reference" / f"{case}.mha", reference)
        for name, missed in (("plain", 0.7), ("alike", 0.7), ("better", 0.0)):
            for seed in range(3):
                prediction = reference.copy()
                for row, column in small:
                    if rng.random() < missed + 0.02 * (seed - 1) * (missed > 0):
                        prediction[row : row + 2, column : column + 2] = 0
                save(folder / f"{name}{seed}" / f"{case}.mha", prediction)
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def save(path: Path, pixels: NDArray) -> None:
    path.parent.mkdir(exist_ok=True)
    image = SimpleITK.GetImageFromArray(pixels)
    image.SetSpacing((3.0, 2.0))
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def models(made: Path, tmp_path: Path) -> Path:
    """A copy of the study that a test may change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def options(models: Path) -> CompareOptions:
    return CompareOptions(
        models / "reference", (f"Plain={models / 'plain1'}", f"Better={models / 'better1'}"), models / "out",
        cases=models / "manifest.csv", jobs=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def single(made: Path) -> dict[str, Any]:
    """Better against Plain, one run each."""
    prediction = (f"Plain={made / 'plain1'}", f"Better={made / 'better1'}")
    return compare(CompareOptions(made / "reference", prediction, made / "out", cases=made / "manifest.csv", jobs=1))


@pytest.fixture(scope="module")
def several(made: Path) -> dict[str, Any]:
    """alike and better against plain, three runs of each."""
    prediction = tuple(seeds(made, name) for name in ("plain", "alike", "better"))
    return compare(CompareOptions(made / "reference", prediction, made / "out", cases=made / "manifest.csv", jobs=1))


def seeds(models: Path, name: str, number: int = 3) -> str:
    return f"{name}=" + ",".join(str(models / f"{name}{seed}") for seed in range(number))


def rows(comparison: dict[str, Any], model: str) -> dict[str, dict[str, Any]]:
    return {row["figure"]: row for row in comparison["differences"] if row["model"] == model}


def test_a_comparison_writes_all_results_and_returns_zero(options: CompareOptions, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options) == 0
    assert {path.name for path in options.output.iterdir()} == RESULTS
    out = capsys.readouterr().out
    assert out.startswith("Warning: one run a model: training variance unknown")
    assert "Better (1 run) against Plain (1 run): 24 images of 12 patients, 3 lesion-free" in out


def test_the_json_is_schema_1_with_null_for_undefined(options: CompareOptions) -> None:
    run(replace(options, cuts_mm=(1.0, 10.0)))  # no lesion is smaller than 1 mm
    text = (options.output / "comparison.json").read_text()
    comparison = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in comparison.json"))
    assert comparison["schema"] == 1
    assert [model["name"] for model in comparison["models"]] == ["Plain", "Better"]
    row = rows(comparison, "Better")["sensitivity diameter < 1 mm"]
    assert (row["difference"], row["low"], row["permutation"]["p"], row["verdict"]) == (None, None, None, "undefined")
    assert row["training"] is None
    defined = [row for row in comparison["differences"] if row["difference"] is not None]
    assert comparison["family"]["tests"] == len(defined) < len(comparison["differences"])
    for row in comparison["differences"]:
        if row["difference"] is not None:
            assert row["low"] <= row["difference"] <= row["high"]
            assert row["permutation"]["p_holm"] >= row["permutation"]["p"]


def test_the_figures_are_those_of_evaluate_and_the_difference_is_theirs(
    options: CompareOptions, models: Path, single: dict[str, Any]
) -> None:
    summaries = {
        name: evaluate(
            EvaluationOptions(options.reference, models / folder, options.output, cases=options.cases, jobs=1)
        ).summary
        for name, folder in (("Plain", "plain1"), ("Better", "better1"))
    }
    for key, path in (
        ("pooled_dice", ("pixel", "pooled_interval", "dice")),
        ("image_dice", ("pixel", "per_image", "dice")),
        ("lesion_sensitivity", ("lesion", "sensitivity")),
        ("lesion_f1", ("lesion", "f1")),
        ("fp_per_image", ("lesion", "fp_per_image")),
    ):
        figure = next(figure for figure in single["figures"] if figure["key"] == key)
        for entry in figure["models"]:
            expected = summaries[entry["name"]]
            for part in path:
                expected = expected[part]
            for name in ("mean", "low", "high", "n"):
                assert entry[name] == pytest.approx(expected[name]), (key, name)
        means = {entry["name"]: entry["mean"] for entry in figure["models"]}
        assert rows(single, "Better")[key]["difference"] == pytest.approx(means["Better"] - means["Plain"])


def test_a_model_that_finds_the_small_lesions_is_better_there_and_not_elsewhere(single: dict[str, Any]) -> None:
    found = rows(single, "Better")
    assert found["sensitivity diameter < 10 mm"]["verdict"] == "better"
    assert found["sensitivity diameter < 10 mm"]["difference"] == pytest.approx(0.7, abs=0.1)
    assert found["sensitivity diameter 20-40 mm"]["verdict"] == "no difference"
    assert found["fp_per_image"]["verdict"] == "no difference"
    assert found["sensitivity diameter >= 40 mm"]["verdict"] == "undefined"


def test_swapping_the_models_turns_signs_and_verdicts_round(options: CompareOptions, single: dict[str, Any]) -> None:
    there = rows(single, "Better")
    back = rows(compare(replace(options, prediction=options.prediction[::-1])), "Plain")
    for key, row in there.items():
        other = back[key]
        assert other["permutation"] == row["permutation"]
        assert other["wilcoxon"] == row["wilcoxon"]
        if row["difference"] is not None:
            assert other["difference"] == pytest.approx(-row["difference"])
            assert other["rank_biserial"] == pytest.approx(-row["rank_biserial"])
    assert back["lesion_sensitivity"]["verdict"] == "worse"


def test_identical_models_differ_by_nothing(options: CompareOptions, models: Path) -> None:
    shutil.copytree(models / "plain1", models / "copy")
    found = rows(compare(replace(options, prediction=(options.prediction[0], f"Copy={models / 'copy'}"))), "Copy")
    for row in found.values():
        if row["difference"] is not None:
            assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
            assert row["permutation"]["p"] == row["permutation"]["p_holm"] == row["wilcoxon"]["p"] == 1
            assert row["verdict"] == "no difference"


def test_models_that_differ_by_seed_alone_are_inside_seed_noise_and_a_better_one_is_not(
    several: dict[str, Any],
) -> None:
    alike, better = rows(several, "alike"), rows(several, "better")
    assert alike["lesion_sensitivity"]["training"]["inside_seed_noise"]
    assert "inside seed noise" in alike["lesion_sensitivity"]["verdict"]
    assert not better["lesion_sensitivity"]["training"]["inside_seed_noise"]
    assert better["lesion_sensitivity"]["verdict"] == "better"
    entry = next(f for f in several["figures"] if f["key"] == "lesion_sensitivity")["models"][0]
    values = [one["value"] for one in entry["runs"]]
    assert entry["mean"] == pytest.approx(np.mean(values))
    assert entry["sd_runs"] == pytest.approx(np.std(values, ddof=1))
    # Both sources of error stand side by side, and the interval holds both.
    row = better["lesion_sensitivity"]
    assert row["patient"]["standard_error"] > 0
    assert row["training"]["standard_error"] > 0
    assert row["high"] - row["low"] > row["patient"]["high"] - row["patient"]["low"]


def test_unequal_numbers_of_runs_are_compared_and_a_single_run_says_so(
    options: CompareOptions, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction = (seeds(models, "plain", 3), seeds(models, "better", 2), f"Once={models / 'better2'}")
    assert run(replace(options, prediction=prediction)) == 0
    comparison = json.loads((options.output / "comparison.json").read_text())
    training = rows(comparison, "better")["lesion_sensitivity"]["training"]
    assert not training["assumed_of_single_run"]
    assert 1 <= training["degrees_of_freedom"] <= 3
    assert rows(comparison, "Once")["lesion_sensitivity"]["training"]["assumed_of_single_run"]
    first_line = capsys.readouterr().out.splitlines()[0]
    assert first_line.startswith("Warning: one run of Once: training variance unknown there and taken to be that")


def test_the_first_line_says_both_what_is_unknown_of_training_and_of_patients(
    options: CompareOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(replace(options, cases=None)) == 0
    first_line = capsys.readouterr().out.splitlines()[0]
    assert "one run a model: training variance unknown" in first_line
    assert "cases were taken as patients" in first_line
    for name in ("comparison.md", "comparison.html"):
        assert "cases were taken as patients" in (options.output / name).read_text()


def test_several_runs_and_a_manifest_leave_nothing_to_warn_of(
    options: CompareOptions, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(replace(options, prediction=(seeds(models, "plain"), seeds(models, "better")))) == 0
    assert capsys.readouterr().out.startswith("better (3 runs) against plain (3 runs)")


def test_a_missing_prediction_counts_as_empty_is_said_and_gives_exit_code_one(
    options: CompareOptions, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models / "better1" / "P03_1.mha").unlink()
    assert run(options) == 1
    assert "1 of 24 predictions are missing, counted as empty: P03_1" in capsys.readouterr().out
    comparison = json.loads((options.output / "comparison.json").read_text())
    assert comparison["models"][1]["runs"][0]["missing"] == ["P03_1"]
    assert comparison["figures"][0]["models"][1]["n"] == 24


def test_folds_are_put_together_as_one_run_and_said(
    options: CompareOptions, models: Path, single: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    masks = sorted((models / "better1").iterdir())
    for fold in range(2):
        (models / f"fold_{fold}").mkdir()
        for path in masks[fold::2]:
            path.rename(models / f"fold_{fold}" / path.name)
    in_folds = replace(options, prediction=(options.prediction[0], f"Better={models / 'fold_0'},{models / 'fold_1'}"))
    assert run(in_folds) == 0
    folded = json.loads((options.output / "comparison.json").read_text())
    assert folded["differences"] == single["differences"]
    assert folded["models"][1]["folds"] == 2
    assert "Better: folders without a case in common were put together as 2 folds of one run." in capsys.readouterr().out


def test_too_few_patients_for_any_adjusted_p_below_five_in_100_are_said(
    options: CompareOptions, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("reference", "plain1", "better1"):
        for path in (models / folder).iterdir():
            if not path.name.startswith(("P01", "P02", "P03")):
                path.unlink()
    assert run(options) == 0
    assert re.search(r"with 3 patients and \d+ tests no permutation test can fall below 0.05", capsys.readouterr().out)


def test_the_same_folders_give_the_same_files_with_any_number_of_processes(options: CompareOptions) -> None:
    def results(jobs: int) -> dict[str, bytes]:
        run(replace(options, jobs=jobs))
        return {path.name: path.read_bytes() for path in options.output.iterdir()}

    assert results(1) == results(2)


def test_lesion_options_and_tertiles_of_the_training_set_reach_the_result(options: CompareOptions, models: Path) -> None:
    table = pd.DataFrame({"source": "reference", "diameter_mm": [1.0, 2.0, 3.0, 4.0, 30.0, 40.0]})
    table.to_csv(models / "lesions.csv", index=False)
    comparison = compare(replace(options, strata_from=models / "lesions.csv", match="iou", iou_threshold=0.9))
    assert comparison["options"]["cuts_mm"] == [2.7, 12.7]
    assert "sensitivity diameter 2.7-12.7 mm" in rows(comparison, "Better")
    assert comparison["options"]["iou_threshold"] == 0.9
    without_small = compare(replace(options, min_lesion_mm2=30.0))  # 2 x 2 px of 3 x 2 mm are 24 mm2
    assert rows(without_small, "Better")["lesion_sensitivity"]["verdict"] == "no difference"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prediction": ("plain1", "B=x")}, "-p plain1: expected NAME=DIR"),
        ({"prediction": ("A=missing", "B=missing")}, "missing: expected the folder of masks predicted by A"),
        ({"reference": Path("missing")}, "missing: expected the folder of reference masks"),
        ({"cases": Path("missing.csv")}, "missing.csv: expected a CSV table"),
        ({"cuts_mm": (20.0, 10.0)}, "--cuts-mm: expected ascending"),
        ({"jobs": 0}, "--jobs: expected a number of processes from 1, found 0"),
    ],
)
def test_bad_input_is_one_sentence_exit_code_two_and_nothing_written(
    options: CompareOptions, change: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(replace(options, **change)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("msa compare: nothing was written.\n")
    assert sentence in captured.err
    assert captured.out == ""
    assert not options.output.exists()


def test_an_extra_prediction_and_a_bad_shape_are_named(
    options: CompareOptions, models: Path, write_image: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extra = write_image(models / "better1" / "stranger.mha", np.zeros((64, 40), np.uint8))
    assert run(options) == 2
    assert f"{extra}: predicted case stranger has no reference" in capsys.readouterr().err
    extra.unlink()
    wrong = write_image(models / "better1" / "P00_0.mha", np.zeros((64, 41), np.uint8))
    assert run(options) == 2
    assert f"{wrong}: shape" in capsys.readouterr().err


def test_results_never_land_among_predictions(
    options: CompareOptions, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(replace(options, output=models / "better1")) == 2
    assert "is a folder of predictions" in capsys.readouterr().err
    assert run(replace(options, output=models / "manifest.csv" / "out")) == 2
    assert "could not be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("difference", "width", "p", "inside", "higher_is_better", "expected"),
    [
        (0.1, 0.05, 0.01, None, True, "better"),
        (-0.1, 0.05, 0.01, False, True, "worse"),
        (-0.1, 0.05, 0.01, False, False, "better"),
        (0.1, 0.05, 0.01, True, True, "inside seed noise"),
        (0.1, 0.11, 0.01, False, True, "no difference shown"),
        (0.1, None, 0.01, None, True, "no difference shown"),
        (0.1, 0.05, 0.05, False, True, "no difference shown"),
        (0.1, 0.05, 0.2, True, True, "no difference shown, inside seed noise"),
        (0.0, 0.0, 1.0, None, True, "no difference"),
        (0.0, 0.1, 1.0, None, True, "no difference shown"),
        (None, None, None, None, True, "undefined"),
    ],
)
def test_the_verdict_needs_an_adjusted_p_an_interval_without_zero_and_a_difference_beyond_seed_noise(
    difference: float | None,
    width: float | None,
    p: float | None,
    inside: bool | None,
    higher_is_better: bool,
    expected: str,
) -> None:
    low, high = (None, None) if difference is None or width is None else (difference - width, difference + width)
    row = {
        "difference": difference, "low": low, "high": high, "higher_is_better": higher_is_better,
        "permutation": {"p": p, "p_holm": p}, "training": None if inside is None else {"inside_seed_noise": inside},
    }  # fmt: skip
    assert verdict(row) == expected


def test_the_csv_has_a_row_a_figure_and_pair(options: CompareOptions, models: Path) -> None:
    run(replace(options, prediction=(*options.prediction, f"Alike={models / 'alike1'}")))
    table = pd.read_csv(options.output / "comparison.csv")
    comparison = json.loads((options.output / "comparison.json").read_text())
    assert len(table) == len(comparison["differences"]) == 2 * len(comparison["figures"])
    assert set(table["model"]) == {"Better", "Alike"}
    difference: NDArray = (table["model_mean"] - table["against_mean"]).to_numpy()
    assert table["difference"].to_numpy() == pytest.approx(difference, nan_ok=True)
    assert {path.name for path in options.output.iterdir()} == RESULTS - {"comparison.svg"} | {
        "comparison_1.svg",
        "comparison_2.svg",
    }
