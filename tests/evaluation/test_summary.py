from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.summary import summarise

IMAGES = pd.DataFrame(
    {
        "patient": ["A", "A", "B", "C"],
        "missing_prediction": [False, True, False, False],
        "tp": [6, 0, 2, 0],
        "fp": [2, 0, 0, 4],
        "fn": [0, 4, 2, 0],
        "dice": [6 / 7, 0.0, 2 / 3, 0.0],
        "iou": [6 / 8, 0.0, 1 / 2, 0.0],
        "precision": [6 / 8, np.nan, 1.0, 0.0],
        "recall": [1.0, 0.0, 1 / 2, np.nan],
        "hd95_mm": [2.0, 100.0, 4.0, 100.0],
        "nsd": [1.0, 0.0, 0.5, 0.0],
        "reference_lesions": [2, 1, 1, 0],
        "found_lesions": [2, 0, 1, 0],
        "predicted_lesions": [2, 0, 1, 3],
        "matched_lesions": [1, 0, 1, 0],
        "spurious_lesions": [1, 0, 0, 3],
    }
)
LESIONS = pd.DataFrame(
    {
        "patient": ["A", "A", "A", "B", "C"],
        "source": ["reference"] * 4 + ["prediction"],
        "diameter_mm": [5.0, 15.0, 5.0, 15.0, 5.0],
        "clustered": [True, True, False, False, False],
        "status": ["found", "found", "missed", "found", "spurious"],
        "dice": [0.4, 0.8, np.nan, 0.6, np.nan],
    }
)


def test_figures_equal_those_worked_out_by_hand() -> None:
    summary = summarise(IMAGES, LESIONS, (10.0,))
    assert summary["pixel"]["pooled"] == pytest.approx({"dice": 16 / 28, "precision": 8 / 14, "recall": 8 / 14, "iou": 8 / 20})
    assert summary["pixel"]["per_image"]["precision"]["mean"] == pytest.approx((0.75 + 1 + 0) / 3)
    assert summary["boundary"]["hd95_mm"]["mean"] == pytest.approx(51.5)
    lesion = {name: (figure["mean"], figure["n"]) for name, figure in summary["lesion"].items()}
    assert lesion["sensitivity"] == (0.75, 4)
    assert lesion["precision"] == (pytest.approx(2 / 6), 6)
    assert lesion["f1"] == (pytest.approx(2 * 0.75 * (2 / 6) / (0.75 + 2 / 6)), 10)
    assert lesion["fp_per_image"] == (1.0, 4)
    assert lesion["fp_per_lesion_free_image"] == (3.0, 1)
    assert summary["images"] == {"n": 4, "patients": 3, "lesion_free": 1, "dice_undefined": 0, "missing_prediction": 1}


def test_strata_hold_reference_lesions_only() -> None:
    strata = {row["name"]: row for row in summarise(IMAGES, LESIONS, (10.0,))["strata"]}
    shown = {name: (row["n"], row["sensitivity"]["mean"], row["dice_matched"]["mean"]) for name, row in strata.items()}
    assert shown == {
        "diameter < 10 mm": (2, 0.5, pytest.approx(0.4)),
        "diameter >= 10 mm": (2, 1.0, pytest.approx(0.7)),
        "clustered": (2, 1.0, pytest.approx(0.6)),
        "solitary": (2, 0.5, pytest.approx(0.6)),
    }
    assert strata["clustered"]["sensitivity"]["low"] is None  # both lie in one patient


def test_without_any_lesion_lesion_figures_are_null() -> None:
    images = IMAGES.iloc[[3]].assign(fp=0, dice=np.nan, predicted_lesions=0, spurious_lesions=0)
    summary = summarise(images, LESIONS.iloc[:0], (10.0,))
    assert summary["pixel"]["pooled"]["dice"] is None
    assert summary["lesion"]["sensitivity"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert summary["lesion"]["fp_per_lesion_free_image"]["mean"] == 0.0
    assert [row["n"] for row in summary["strata"]] == [0, 0, 0, 0]
