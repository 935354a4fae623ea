"""Patients: metastatic or not, by reference and by prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.froc import all_but_one
from evaluation.statistics import Figure, Resampled, interval_figure, patient_figure, resampling_weights

_SUMMED = ("tp", "fp", "fn", "reference_lesions", "found_lesions", "predicted_lesions", "matched_lesions", "spurious_lesions")

# Resampled patients held in memory at once: 8 MiB a table.
_BLOCK = 1_000_000


def patient_table(images: pd.DataFrame, size: str) -> pd.DataFrame:
    """One row a patient, in sorted order, from the table of images; size: name of the columns of area, as in "area_mm2".

    Columns: patient, images, metastatic (any image has a reference lesion), predicted_metastatic (any has a predicted one),
    confidence (of the surest predicted lesion; NaN without probabilities or lesion), sums over the images of pixels, lesions
    and areas (a lesion seen from both sides counts twice), and dice, precision and recall of the summed pixels.
    """
    summed = [*_SUMMED, f"reference_{size}", f"predicted_{size}"]
    grouped = images.groupby("patient", sort=True)
    table = grouped[summed].sum()
    table.insert(0, "images", grouped.size())
    table.insert(1, "metastatic", table["reference_lesions"] > 0)
    table.insert(2, "predicted_metastatic", table["predicted_lesions"] > 0)
    table.insert(3, "confidence", grouped["confidence"].max())
    table["dice"] = metrics.dice(table["tp"], table["fp"], table["fn"])
    table["precision"] = metrics.precision(table["tp"], table["fp"])
    table["recall"] = metrics.recall(table["tp"], table["fn"])
    return table.reset_index()


def patient_figures(table: pd.DataFrame, *, with_confidence: bool) -> dict[str, Any]:
    """Sensitivity, specificity and AUC over patients, each with n; undefined (None) where one group is empty.

    A patient counts as predicted metastatic as soon as one lesion is predicted. AUC (None with n 0 without probabilities)
    ranks patients by their surest lesion, those without any below all others.
    """
    diseased, called = table["metastatic"].to_numpy(bool), table["predicted_metastatic"].to_numpy(bool)
    auc = Figure(None, None, None, 0)
    if with_confidence:
        auc = auc_figure(table["confidence"].fillna(-np.inf).to_numpy(float), diseased)
    return {
        "n": len(table),
        "metastatic": int(diseased.sum()),
        "predicted_metastatic": int(called.sum()),
        "sensitivity": asdict(patient_figure(np.stack([diseased & called, diseased], axis=1), int(diseased.sum()))),
        "specificity": asdict(patient_figure(np.stack([~diseased & ~called, ~diseased], axis=1), int((~diseased).sum()))),
        "auc": asdict(auc),
    }


def auc_figure(score: NDArray[np.float64], diseased: NDArray[np.bool_]) -> Figure:
    """Area under the ROC curve of `score` with its interval over patients: the chance that a diseased patient scores higher
    than another one, ties counting half. Undefined where all patients or none are diseased."""
    if diseased.all() or not diseased.any():
        return Figure(None, None, None, diseased.size)
    rank = np.unique(score, return_inverse=True)[1]
    estimate = float(_auc(np.ones((1, score.size)), rank, diseased)[0])
    replicates = _auc(resampling_weights(score.size), rank, diseased)
    left_out = np.concatenate([_auc(block, rank, diseased) for block in all_but_one(score.size)])
    return interval_figure(Resampled(estimate, replicates, left_out, np.ones(score.size, bool)), score.size)


def _auc(weights: NDArray[np.float64], rank: NDArray[np.int64], diseased: NDArray[np.bool_]) -> NDArray[np.float64]:
    """AUC for weights (resamples, patients) and ranks by ascending score, equal ones for equal scores."""
    order = np.argsort(rank, kind="stable")
    first = np.flatnonzero(np.diff(rank[order], prepend=-1))
    ill = diseased[order]
    return np.concatenate([_auc_block(part[:, order], first, ill) for part in _blocks(weights)])


def _auc_block(drawn: NDArray[np.float64], first: NDArray[np.int64], ill: NDArray[np.bool_]) -> NDArray[np.float64]:
    diseased = np.add.reduceat(drawn * ill, first, axis=1)
    healthy = np.add.reduceat(drawn * ~ill, first, axis=1)
    below = np.cumsum(healthy, axis=1) - healthy / 2
    return metrics.quotient((diseased * below).sum(axis=1), diseased.sum(axis=1) * healthy.sum(axis=1))


def _blocks(weights: NDArray[np.float64]) -> Sequence[NDArray[np.float64]]:
    step = max(1, _BLOCK // weights.shape[1])
    return [weights[start : start + step] for start in range(0, len(weights), step)]
