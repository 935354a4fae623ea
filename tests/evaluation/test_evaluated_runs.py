from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.errors import UnusableInputError
from evaluation.evaluate import evaluate
from evaluation.evaluated_runs import evaluate_run, evaluate_runs
from evaluation.model_runs import Model, Run
from evaluation.options import EvaluationOptions


@pytest.fixture
def options(study: Path) -> EvaluationOptions:
    return EvaluationOptions(study / "reference", study / "prediction", study / "out", cases=study / "manifest.csv")


@pytest.fixture
def folds(study: Path) -> Run:
    """The predictions dealt into two folders, as nnU-Net's folds leave them."""
    masks = sorted((study / "prediction").glob("*.nii.gz"))
    for number, own in enumerate((masks[:2], masks[2:])):
        (study / f"fold_{number}").mkdir()
        for path in own:
            shutil.copy(path, study / f"fold_{number}" / path.name)
    return Run((study / "fold_0", study / "fold_1"))


def test_folds_put_together_are_the_folder_they_came_from(options: EvaluationOptions, folds: Run) -> None:
    together, whole = evaluate_run(folds, options), evaluate_run(Run((options.prediction,)), options)
    pd.testing.assert_frame_equal(together.sums, whole.sums)
    assert together.missing == []
    assert together.reference.equals(whole.reference)


def test_the_sums_are_those_of_the_evaluation(options: EvaluationOptions) -> None:
    run, images = evaluate_run(Run((options.prediction,)), options), evaluate(options).images
    assert list(run.sums.index) == ["P0", "P1", "P2"]
    assert run.sums["tp"].sum() == images["tp"].sum()
    assert run.sums["images"].tolist() == [2, 2, 2]


def test_a_case_of_no_fold_is_missing(options: EvaluationOptions, folds: Run) -> None:
    (folds.folders[1] / "P2_01_ant.nii.gz").unlink()
    assert evaluate_run(folds, options).missing == ["P2_01_ant"]


def test_a_bad_mask_in_a_fold_is_named_where_it_stands(options: EvaluationOptions, folds: Run, write_image) -> None:  # type: ignore[no-untyped-def]
    bad = write_image(folds.folders[1] / "P2_01_ant.nii.gz", np.zeros((3, 3), np.uint8))
    with pytest.raises(UnusableInputError, match="shape") as error:
        evaluate_run(folds, options)
    assert str(error.value).startswith(f"{bad}: ")


def test_several_processes_give_what_one_gives_in_order(options: EvaluationOptions, folds: Run) -> None:
    models = [Model("A", (Run((options.prediction,)), folds)), Model("B", (Run((options.reference,)),))]
    alone, parallel = (evaluate_runs(models, options, jobs) for jobs in (1, 3))
    assert [len(runs) for runs in parallel] == [2, 1]
    for one, other in zip(alone, parallel, strict=True):
        for run, same in zip(one, other, strict=True):
            pd.testing.assert_frame_equal(run.sums, same.sums)
    assert alone[1][0].sums["fp"].sum() == 0
    assert alone[0][0].sums["fp"].sum() > 0


def test_a_reference_that_changes_meanwhile_is_refused(  # type: ignore[no-untyped-def]
    options: EvaluationOptions, monkeypatch: pytest.MonkeyPatch, write_image
) -> None:
    import evaluation.evaluated_runs as module

    real = module.evaluate

    def evaluate_and_draw_again(options: EvaluationOptions):  # type: ignore[no-untyped-def]
        result = real(options)
        write_image(options.reference / "P0_01_ant.nii.gz", np.ones((48, 32), np.uint8))
        return result

    monkeypatch.setattr(module, "evaluate", evaluate_and_draw_again)
    models = [Model("A", (Run((options.prediction,)),)), Model("B", (Run((options.prediction,)),))]
    with pytest.raises(UnusableInputError, match="its masks changed between the evaluation of"):
        evaluate_runs(models, options, jobs=1)
