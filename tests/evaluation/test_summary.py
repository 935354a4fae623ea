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
        "asd_mm": [1.0, 100.0, 2.0, 100.0],
        "reference_area_mm2": [12.0, 8.0, 8.0, 0.0],
        "predicted_area_mm2": [16.0, 0.0, 4.0, 8.0],
        "area_difference_mm2": [4.0, -8.0, -4.0, 8.0],
        "relative_area_difference": [1 / 3, -1.0, -0.5, np.nan],
        "spurious_area_mm2": [2.0, 0.0, 0.0, 8.0],
        "merged_lesions": [0, 0, 1, 0],
        "split_lesions": [1, 0, 0, 0],
        "panoptic_matches": [1, 0, 1, 0],
        "panoptic_iou_sum": [0.8, 0.0, 0.6, 0.0],
        "reference_counts_share": np.nan,
        "predicted_counts_share": np.nan,
        "reference_fraction_of_body": np.nan,
        "predicted_fraction_of_body": np.nan,
        "reference_fraction_of_image": [0.012, 0.008, 0.008, 0.0],
        "predicted_fraction_of_image": [0.016, 0.0, 0.004, 0.008],
        "small_reference": [0, 1, 0, 0],
        "small_predicted": [2, 0, 0, 0],
        "below_threshold": [0, 0, 0, 5],
    }
)
LESIONS = pd.DataFrame(
    {
        "patient": ["A", "A", "A", "B", "C"],
        "source": ["reference"] * 4 + ["prediction"],
        "diameter_mm": [5.0, 15.0, 5.0, 15.0, 5.0],
        "clustered": [True, True, False, False, False],
        "status": ["matched", "split", "missed", "merged", "spurious"],
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


def test_areas_panoptic_quality_and_dice_of_found_lesions_equal_those_worked_out_by_hand() -> None:
    summary = summarise(IMAGES, LESIONS, (10.0,))
    lesion = {name: (figure["mean"], figure["n"]) for name, figure in summary["lesion"].items()}
    assert lesion["dice_matched"] == (pytest.approx(0.6), 3)
    assert lesion["fp_area_mm2_per_image"] == (2.5, 4)
    assert lesion["fp_area_mm2_per_lesion_free_image"] == (8.0, 1)
    assert lesion["panoptic_quality"] == (pytest.approx(1.4 / ((4 + 6) / 2)), 10)
    assert lesion["segmentation_quality"] == (pytest.approx(0.7), 2)
    assert lesion["recognition_quality"] == (pytest.approx(2 * 2 / 10), 10)
    assert summary["pixel"]["pooled_difference"]["mean"] == pytest.approx(0.0)
    assert summary["pixel"]["per_image_difference"]["mean"] == 0.0
    assert summary["pixel"]["per_image_relative_difference"]["n"] == 3
    assert summary["lesion_counts"] == {
        "reference": {"matched": 1, "split": 1, "merged": 1, "missed": 1},
        "predicted": {"matched": 0, "split": 0, "merged": 0, "spurious": 1},
        "predicted_over_several_reference": 1,
        "reference_under_several_predicted": 1,
        "reference_barely_found": 0,
        "removed_small_reference": 1,
        "removed_small_predicted": 2,
        "removed_below_threshold": 5,
    }
    assert summary["size"] == {"name": "area", "unit": "mm2"}


def test_what_lesion_free_images_and_the_empty_rule_do_is_shown() -> None:
    images = pd.concat([IMAGES, IMAGES.iloc[[3]].assign(fp=0, dice=np.nan, iou=np.nan, hd95_mm=np.nan, nsd=np.nan)])
    pixel, boundary = (summarise(images, LESIONS, (10.0,))[name] for name in ("pixel", "boundary"))
    assert (pixel["per_image"]["dice"]["mean"], pixel["per_image"]["dice"]["n"]) == (pytest.approx((6 / 7 + 2 / 3) / 4), 4)
    with_lesions = pixel["per_image_with_lesions"]["dice"]
    assert (with_lesions["mean"], with_lesions["n"]) == (pytest.approx((6 / 7 + 2 / 3) / 3), 3)
    as_one = pixel["per_image_empty_as_one"]["dice"]
    assert (as_one["mean"], as_one["n"]) == (pytest.approx((6 / 7 + 2 / 3 + 1) / 5), 5)
    assert pixel["pooled_with_lesions"]["precision"]["mean"] == pytest.approx(8 / 10)
    assert (boundary["both_present"]["hd95_mm"]["mean"], boundary["both_present"]["hd95_mm"]["n"]) == (3.0, 2)


def test_strata_hold_reference_lesions_and_count_the_predicted_ones_apart() -> None:
    strata = {row["name"]: row for row in summarise(IMAGES, LESIONS, (10.0,))["strata"]}
    shown = {name: (row["n"], row["sensitivity"]["mean"], row["dice_matched"]["mean"]) for name, row in strata.items()}
    assert shown == {
        "diameter < 10 mm": (2, 0.5, pytest.approx(0.4)),
        "diameter >= 10 mm": (2, 1.0, pytest.approx(0.7)),
        "clustered": (2, 1.0, pytest.approx(0.6)),
        "solitary": (2, 0.5, pytest.approx(0.6)),
    }
    assert strata["clustered"]["sensitivity"]["low"] is None  # both lie in one patient
    assert {name: (row["predicted"], row["spurious"]) for name, row in strata.items()} == {
        "diameter < 10 mm": (1, 1),
        "diameter >= 10 mm": (0, 0),
        "clustered": (0, 0),
        "solitary": (1, 1),
    }
    assert {row["kind"] for row in strata.values()} == {"size", "neighbourhood"}


def test_without_any_lesion_lesion_figures_are_null() -> None:
    images = IMAGES.iloc[[3]].assign(fp=0, dice=np.nan, predicted_lesions=0, spurious_lesions=0)
    summary = summarise(images, LESIONS.iloc[:0], (10.0,))
    assert summary["pixel"]["pooled"]["dice"] is None
    assert summary["lesion"]["sensitivity"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert summary["lesion"]["fp_per_lesion_free_image"]["mean"] == 0.0
    assert [row["n"] for row in summary["strata"]] == [0, 0, 0, 0]
