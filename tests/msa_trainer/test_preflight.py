"""What cannot be trained on is refused before anything is written."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest

from msa_trainer.levers import Levers
from msa_trainer.preflight import check_fold, check_foreground, check_intensities, check_levers, planned_stages
from msa_trainer.refusal import Refusal

LABELS = {"labels": {"background": 0, "metastasis": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ["a", "b"], "val": ["c"]}]))
    return tmp_path


def properties(folder: Path, case: str, pixels: int) -> None:
    (folder / f"{case}.pkl").write_bytes(pickle.dumps({"class_locations": {1: [[0, 1, 2]] * pixels}}))


def test_a_fold_of_the_split_gives_its_training_cases(folder: Path) -> None:
    assert check_fold(0, folder) == ["a", "b"]
    assert check_fold("all", folder) == []


@pytest.mark.parametrize("fold", [1, -1, 5])
def test_a_fold_outside_the_split_is_refused(folder: Path, fold: int) -> None:
    with pytest.raises(Refusal, match=f"fold {fold} is outside .*holds folds 0 to 0"):
        check_fold(fold, folder)


def test_without_a_split_file_nnunets_own_five_folds_exist(tmp_path: Path) -> None:
    assert check_fold(4, tmp_path) == []
    with pytest.raises(Refusal, match="folds 0 to 4"):
        check_fold(5, tmp_path)


def test_one_training_case_with_a_lesion_is_enough(tmp_path: Path) -> None:
    properties(tmp_path, "a", 0)
    properties(tmp_path, "b", 1)
    check_foreground(LABELS, tmp_path, ["a", "b"])
    check_foreground(LABELS, tmp_path, [])


def test_no_lesion_in_the_training_cases_is_refused_even_if_validation_has_one(tmp_path: Path) -> None:
    properties(tmp_path, "a", 0)
    properties(tmp_path, "c", 5)
    with pytest.raises(Refusal, match=r"none of the 1 training cases .* metastasis"):
        check_foreground(LABELS, tmp_path, ["a"])


def test_labels_without_a_foreground_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no foreground label"):
        check_foreground({"labels": {"background": 0, "ignore": 1}}, tmp_path, [])


def test_a_plans_fault_becomes_a_sentence_with_the_configurations_name() -> None:
    with pytest.raises(Refusal, match=r"msa-trainer: configuration '2d': The plan's architecture has no 'features_per_stage'"):
        planned_stages({}, [64, 64], "2d")


def test_values_that_nobody_normalises_must_be_declared_as_counts() -> None:
    with pytest.raises(Refusal, match=r'has None as msa\.channels; expected "counts"'):
        check_intensities(["NoNormalization"], {})
    with pytest.raises(Refusal, match=r"has 'anscombe' as msa\.channels"):
        check_intensities(["NoNormalization"] * 2, {"msa": {"channels": "anscombe"}})
    check_intensities(["NoNormalization"], {"msa": {"channels": "counts"}})
    check_intensities(["ZScoreNormalization", "NoNormalization"], {})


@pytest.mark.parametrize(
    ("levers", "words"),
    [
        (Levers(optimizer="AdamW"), "optimizer is 'AdamW'; expected one of sgd, adamw"),  # type: ignore[arg-type]
        (Levers(average=1.0), "average is 1.0; expected a decay from 0 to below 1"),
        (Levers(lesion_loss=-0.1), "lesion_loss is -0.1; expected 0"),
        (Levers(burden_exponent=-1), "burden_exponent is -1; expected 0"),
        (Levers(lesion_patches=2), "lesion_patches is 2; expected a probability"),
        (Levers(count_physics=0.3), "it needs counts: convert with --channels counts"),
    ],
)
def test_levers_without_meaning_or_without_what_they_need_are_refused(levers: Levers, words: str) -> None:
    check_levers(Levers(), ["ZScoreNormalization"], {})
    with pytest.raises(Refusal, match=re.escape(words)):
        check_levers(levers, ["ZScoreNormalization"], {})
