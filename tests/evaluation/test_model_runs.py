from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from evaluation.errors import UnusableInputError
from evaluation.model_runs import read_models


@pytest.fixture
def folder(tmp_path: Path):  # type: ignore[no-untyped-def]
    def make(name: str, cases: Iterable[int]) -> Path:
        (tmp_path / name).mkdir()
        for case in cases:
            (tmp_path / name / f"c{case}.nii.gz").touch()
        return tmp_path / name

    return make


def names(models):  # type: ignore[no-untyped-def]
    return {model.name: [[folder.name for folder in run.folders] for run in model.runs] for model in models}


def test_folders_of_the_same_cases_are_runs_and_models_keep_their_order(folder) -> None:  # type: ignore[no-untyped-def]
    a, b, c = (folder(name, range(4)) for name in "abc")
    assert names(read_models([f"Plain={a}", f"MSA={b},{c}"])) == {"Plain": [["a"]], "MSA": [["b"], ["c"]]}


def test_folders_without_a_case_in_common_are_the_folds_of_one_run(folder) -> None:  # type: ignore[no-untyped-def]
    whole = folder("whole", range(6))
    folds = [folder(f"f{k}", range(2 * k, 2 * k + 2)) for k in range(3)]
    models = read_models([f"A={whole}", "B=" + ",".join(map(str, folds))])
    assert names(models) == {"A": [["whole"]], "B": [["f0", "f1", "f2"]]}
    assert [model.folds for model in models] == [1, 3]


def test_two_cross_validations_are_two_runs(folder) -> None:  # type: ignore[no-untyped-def]
    whole = folder("whole", range(4))
    given = [folder(f"s{seed}f{fold}", range(2 * fold, 2 * fold + 2)) for seed in range(2) for fold in range(2)]
    assert names(read_models([f"A={whole}", "B=" + ",".join(map(str, given))]))["B"] == [["s0f0", "s0f1"], ["s1f0", "s1f1"]]


def test_a_run_that_lacks_some_predictions_is_still_a_run(folder) -> None:  # type: ignore[no-untyped-def]
    a, b, c = folder("a", range(10)), folder("b", range(9)), folder("c", range(10))
    assert names(read_models([f"A={a}", f"B={b},{c}"]))["B"] == [["b"], ["c"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["A"], "-p A: expected NAME=DIR"),
        (["=x"], "-p =x: expected NAME=DIR"),
        (["A=x,,y"], "-p A=x,,y: expected NAME=DIR"),
        (["A\tB=x"], "expected NAME=DIR"),
        (["A=all", "A=all"], "the name A is given twice; list all runs of it as A=DIR,DIR"),
        (["A=all"], "expected two models or more, found only A"),
        ([], "expected two models or more, found none"),
        (["A=all", "B=all,./all"], "-p B: the folder all is given twice"),
        (["A=all", "B=missing"], "missing: expected the folder of masks predicted by B; it is not a folder"),
        (["A=all", "B=empty"], "empty: no predicted mask found; expected those of B"),
        (["A=all", "B=low,middle"], "middle shares 1 of its cases with low; expected the same cases"),
        (["A=all", "B=low,high,overlap"], "high shares 2 of its cases with overlap; expected the same cases"),
        (["A=all", "B=low,high,low2"], "high is predicted by 1 folders and low by 2; expected every fold as often"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_in_a_sentence(  # type: ignore[no-untyped-def]
    folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    for name, cases in {
        "all": range(6), "empty": (), "low": range(3), "low2": range(3), "high": range(3, 6), "middle": range(2, 5),
        "overlap": (0, 1, 2, 4, 5),
    }.items():  # fmt: skip
        folder(name, cases)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnusableInputError) as error:
        read_models(arguments)
    assert sentence in str(error.value)
