"""What the results must not be read without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.evaluate import EvaluationOptions, evaluate

WARNING = "share less than a tenth of their union with what was predicted there"


@pytest.fixture
def options(study: Path) -> EvaluationOptions:
    return EvaluationOptions(study / "reference", study / "prediction", study / "out", cases=study / "manifest.csv", jobs=1)


def test_a_blob_over_the_whole_image_finds_every_lesion_by_overlap_and_the_results_say_what_that_is_worth(
    options: EvaluationOptions, write_image: Callable[..., Path]
) -> None:
    for file in options.reference.glob("*.nii.gz"):
        write_image(options.prediction / file.name, np.ones((48, 32), np.uint8))
    by_overlap = evaluate(options).summary
    assert by_overlap["lesion"]["sensitivity"]["mean"] == 1
    lesions = by_overlap["lesion"]["sensitivity"]["n"]
    assert f"Warning: {lesions} of the {lesions} lesions called found {WARNING}" in " ".join(by_overlap["notes"])
    by_fit = evaluate(replace(options, match="iou", iou_threshold=0.1)).summary
    assert by_fit["lesion"]["sensitivity"]["mean"] == 0
    assert WARNING not in " ".join(by_fit["notes"])


def test_predictions_of_the_lesions_size_raise_no_such_warning(options: EvaluationOptions) -> None:
    summary = evaluate(options).summary
    assert summary["lesion_counts"]["reference_barely_found"] < 0.25 * summary["lesion"]["sensitivity"]["n"]
    assert WARNING not in " ".join(summary["notes"])
