from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evaluation.patients import auc_figure, patient_figures, patient_table
from evaluation.statistics import Figure

IMAGES = pd.DataFrame(
    {
        "patient": ["B", "A", "A", "C", "D"],
        "tp": [4, 0, 6, 0, 0],
        "fp": [1, 2, 0, 0, 3],
        "fn": [0, 0, 2, 0, 0],
        "reference_lesions": [1, 0, 2, 0, 0],
        "found_lesions": [1, 0, 1, 0, 0],
        "predicted_lesions": [1, 1, 2, 0, 1],
        "matched_lesions": [1, 0, 2, 0, 0],
        "spurious_lesions": [0, 1, 0, 0, 1],
        "reference_area_mm2": [4.0, 0.0, 8.0, 0.0, 0.0],
        "predicted_area_mm2": [5.0, 2.0, 6.0, 0.0, 3.0],
        "confidence": [0.6, 0.7, 0.9, np.nan, 0.65],
    }
)


def test_one_row_a_patient_sums_the_images_and_keeps_the_surest_lesion() -> None:
    table = patient_table(IMAGES, "area_mm2").set_index("patient")
    assert table.index.tolist() == ["A", "B", "C", "D"]
    assert table.loc["A", ["images", "tp", "fp", "fn", "predicted_lesions", "confidence"]].tolist() == [2, 6, 2, 2, 3, 0.9]
    assert table.loc["A", "dice"] == pytest.approx(12 / 16)
    assert table["metastatic"].tolist() == [True, True, False, False]
    assert table["predicted_metastatic"].tolist() == [True, True, False, True]
    assert np.isnan(table.loc["C", "dice"])


def test_patient_figures_are_those_counted_by_hand() -> None:
    figures = patient_figures(patient_table(IMAGES, "area_mm2"), with_confidence=True)
    shown = {name: (figures[name]["mean"], figures[name]["n"]) for name in ("sensitivity", "specificity", "auc")}
    assert shown == {"sensitivity": (1.0, 2), "specificity": (0.5, 2), "auc": (0.75, 4)}  # of 4 pairs B < D alone is wrong
    assert (figures["n"], figures["metastatic"], figures["predicted_metastatic"]) == (4, 2, 3)


def test_an_empty_group_leaves_its_figures_undefined() -> None:
    ill = patient_figures(patient_table(IMAGES[IMAGES["patient"] < "C"], "area_mm2"), with_confidence=True)
    assert ill["specificity"] == {"mean": None, "low": None, "high": None, "n": 0}
    assert ill["auc"] == {"mean": None, "low": None, "high": None, "n": 2}
    assert patient_figures(patient_table(IMAGES, "area_mm2"), with_confidence=False)["auc"]["n"] == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=25))
def test_auc_equals_that_of_scikit_learn(patients: list[tuple[int, bool]]) -> None:
    score, diseased = np.array([s for s, _ in patients], float), np.array([d for _, d in patients])
    figure = auc_figure(np.where(score == 0, -np.inf, score), diseased)
    if diseased.all() or not diseased.any():
        assert figure == Figure(None, None, None, len(patients))
    else:
        assert figure.mean == pytest.approx(roc_auc_score(diseased, score))


def test_the_interval_of_auc_is_that_of_resampled_patients() -> None:
    rng = np.random.default_rng(0)
    diseased = rng.random(80) < 0.5
    score = rng.normal(1.0 * diseased, 1.0)
    figure = auc_figure(score, diseased)
    drawn = rng.integers(0, 80, (2000, 80))
    replicates = [roc_auc_score(diseased[row], score[row]) for row in drawn]
    assert figure.low == pytest.approx(np.quantile(replicates, 0.025), abs=0.02)
    assert figure.high == pytest.approx(np.quantile(replicates, 0.975), abs=0.02)
