from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from evaluation.errors import UnusableInputError
from evaluation.operating_point import as_json, choose, describe_rule, parse_rule, read_operating_point
from evaluation.options import EvaluationOptions

FROC = pd.DataFrame(
    {
        "threshold": [0.9, 0.8, 0.6, 0.5, 0.2],
        "fp_per_image": [0.0, 0.5, 0.5, 1.0, 3.0],
        "sensitivity": [0.2, 0.5, 0.7, 0.7, 0.9],
        "precision": [1.0, 0.8, 0.7, 0.6, 0.4],
        "f1": [0.33, 0.6, 0.7, 0.65, 0.55],
        "found_lesions": [2, 5, 7, 7, 9],
    }
)


@pytest.fixture
def options(tmp_path: Path) -> EvaluationOptions:
    return EvaluationOptions(
        tmp_path / "r", tmp_path / "p", tmp_path / "o", probabilities=tmp_path, choose_threshold=tmp_path / "t.json"
    )


@pytest.mark.parametrize(
    ("rule", "threshold"), [("f1", 0.6), ("fp=1", 0.6), ("fp=0.5", 0.6), ("fp=0", 0.9), ("fp=8", 0.2), ("fp=.7", 0.6)]
)
def test_each_rule_picks_its_threshold_the_highest_of_equals(options: EvaluationOptions, rule: str, threshold: float) -> None:
    point = choose(FROC, rule, options, ["a", "b"], 10)
    assert point.threshold == threshold
    assert point.on["reference_lesions"] == 10
    assert point.on["sensitivity"] == FROC.set_index("threshold").loc[threshold, "sensitivity"]


def test_rules_read_as_words_and_others_are_refused() -> None:
    assert describe_rule("f1") == "highest lesion F1"
    assert describe_rule("fp=0.5") == "highest sensitivity at no more than 0.5 false positives an image"
    for text in ("fp", "fp=", "fp=-1", "f2", "fp=nan", "fp=1e3"):
        with pytest.raises(UnusableInputError, match="--threshold-rule: expected f1 or fp=N"):
            parse_rule(text)


def test_nothing_to_pick_from_is_said(options: EvaluationOptions) -> None:
    with pytest.raises(UnusableInputError, match="hold no predicted lesion"):
        choose(FROC.iloc[:0], "f1", options, ["a"], 3)
    with pytest.raises(UnusableInputError, match="hold no reference lesion"):
        choose(FROC, "f1", options, ["a"], 0)
    with pytest.raises(
        UnusableInputError, match=r"no threshold has at most 0\.4 false positives an image \(the fewest are 0\.5\)"
    ):
        choose(FROC.iloc[1:], "fp=0.4", options, ["a"], 3)


def test_what_is_written_is_what_is_read(options: EvaluationOptions, tmp_path: Path) -> None:
    point = choose(FROC.assign(threshold=FROC["threshold"] + 1e-13), "f1", options, ["a", "b"], 10)
    (tmp_path / "t.json").write_bytes(as_json(point))
    read = read_operating_point(tmp_path / "t.json", options)
    assert read == point
    assert "highest lesion F1" in read.sentence()
    assert "2 images with 10 lesions" in read.sentence()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"confidence": "mean"}, "--confidence max, this run has mean"),
        ({"binarise_at": 0.1}, r"--binarise-at left out, this run has 0\.1"),
        ({"connectivity": 4}, "--connectivity 8, this run has 4"),
        ({"min_lesion_mm2": 20.0}, "--min-lesion-mm2 0, this run has 20"),
    ],
)
def test_a_threshold_of_other_lesions_is_refused(
    options: EvaluationOptions, tmp_path: Path, change: dict, sentence: str
) -> None:
    (tmp_path / "t.json").write_bytes(as_json(choose(FROC, "f1", options, ["a"], 10)))
    with pytest.raises(UnusableInputError, match=rf"t\.json: was picked with {sentence}"):
        read_operating_point(tmp_path / "t.json", replace(options, **change))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"threshold": "high"}', "\x00"])
def test_another_file_is_no_operating_point(options: EvaluationOptions, tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(UnusableInputError, match=r"t\.json: expected an operating point as --choose-threshold writes it"):
        read_operating_point(tmp_path / "t.json", options)


def test_a_file_with_a_missing_figure_is_no_operating_point(options: EvaluationOptions, tmp_path: Path) -> None:
    content = json.loads(as_json(choose(FROC, "f1", options, ["a"], 10)))
    content["on"]["sensitivity"] = None
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(UnusableInputError, match="expected an operating point"):
        read_operating_point(tmp_path / "t.json", options)
