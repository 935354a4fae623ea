from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.compared_figures import ComparedFigure, compared_figures, patient_sums

CUTS = (10.0, 20.0)


@pytest.fixture
def images() -> pd.DataFrame:
    """Three patients: two images, a lesion-free one with a false positive, and one where both masks are empty."""
    rows = [
        # patient, tp, fp, fn, dice, reference, found, predicted, matched, spurious
        ("B", 8, 2, 4, 16 / 22, 2, 1, 2, 1, 1),
        ("B", 0, 0, 6, 0.0, 1, 0, 0, 0, 0),
        ("A", 0, 5, 0, 0.0, 0, 0, 1, 0, 1),
        ("C", 0, 0, 0, np.nan, 0, 0, 0, 0, 0),
    ]
    columns = ["patient", "tp", "fp", "fn", "dice", "reference_lesions", "found_lesions", "predicted_lesions",
               "matched_lesions", "spurious_lesions"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def lesions() -> pd.DataFrame:
    rows = [
        ("B", "reference", "diameter < 10 mm", "missed", True),
        ("B", "reference", "diameter 10-20 mm", "merged", True),
        ("B", "reference", "diameter < 10 mm", "missed", False),
        ("B", "prediction", "diameter < 10 mm", "matched", False),
        ("A", "prediction", "diameter >= 20 mm", "spurious", False),
    ]
    return pd.DataFrame(rows, columns=["patient", "source", "stratum", "status", "clustered"])


def value(figure: ComparedFigure, sums: pd.DataFrame) -> float:
    return float(figure.statistic(sums[list(figure.columns)].to_numpy().sum(axis=0)))


def test_every_figure_is_what_counting_by_hand_gives(images: pd.DataFrame, lesions: pd.DataFrame) -> None:
    sums = patient_sums(images, lesions, CUTS)
    found = {figure.key: value(figure, sums) for figure in compared_figures(CUTS)}
    expected = {
        "pooled_dice": 16 / (16 + 7 + 10),
        "pooled_precision": 8 / 15,
        "pooled_recall": 8 / 18,
        "image_dice": (16 / 22 + 0 + 0) / 3,
        "lesion_image_dice": (16 / 22 + 0) / 2,
        "lesion_sensitivity": 1 / 3,
        "lesion_precision": 1 / 3,
        "lesion_f1": 1 / 3,
        "fp_per_image": 2 / 4,
        "fp_per_lesion_free_image": 1 / 2,
        "sensitivity diameter < 10 mm": 0.0,
        "sensitivity diameter 10-20 mm": 1.0,
        "sensitivity diameter >= 20 mm": np.nan,
        "sensitivity clustered": 0.5,
        "sensitivity solitary": 0.0,
        "patient_dice": (16 / 28 + 0) / 2,
        "patient_sensitivity": 1 / 3,
        "patient_f1": (2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2) + 0) / 2,
    }
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_number_behind_every_figure_is_counted(images: pd.DataFrame, lesions: pd.DataFrame) -> None:
    sums = patient_sums(images, lesions, CUTS)
    counted = {figure.key: int(sums[list(figure.n_columns)].to_numpy().sum()) for figure in compared_figures(CUTS)}
    assert counted["pooled_dice"] == 4
    assert counted["image_dice"] == 3
    assert counted["lesion_image_dice"] == 2
    assert (counted["lesion_sensitivity"], counted["lesion_precision"], counted["lesion_f1"]) == (3, 3, 6)
    assert (counted["fp_per_image"], counted["fp_per_lesion_free_image"]) == (4, 2)
    assert (counted["sensitivity diameter < 10 mm"], counted["sensitivity diameter >= 20 mm"]) == (2, 0)
    assert (counted["patient_dice"], counted["patient_sensitivity"], counted["patient_f1"]) == (2, 1, 2)


def test_patients_come_sorted_and_those_without_lesion_stay(images: pd.DataFrame, lesions: pd.DataFrame) -> None:
    sums = patient_sums(images, lesions, CUTS)
    assert list(sums.index) == ["A", "B", "C"]
    assert not sums.isna().any().any()
    pd.testing.assert_frame_equal(sums, patient_sums(images[::-1], lesions[::-1], CUTS))


def test_fewer_is_better_for_false_positives_alone() -> None:
    assert {figure.key for figure in compared_figures(CUTS) if not figure.higher_is_better} == {
        "fp_per_image",
        "fp_per_lesion_free_image",
    }
