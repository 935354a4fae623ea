"""FROC: lesion sensitivity against false positives an image, over all thresholds of a lesion's confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.candidates import ImageCandidates
from evaluation.statistics import Figure, Resampled, interval_figure, resampling_weights

# False positives an image at which sensitivity is read: those of the LUNA16 challenge (Setio et al. 2017).
FP_RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)

# Resampled events held in memory at once: 8 MiB a table.
_BLOCK = 1_000_000


def froc_table(candidates: Sequence[ImageCandidates]) -> pd.DataFrame:
    """The curve: one row a threshold, descending, of all confidences that occur.

    Columns: threshold (lesions of at least this confidence are kept), fp_per_image, sensitivity, precision, f1, and the
    counts found_lesions, matched_lesions, spurious_lesions. Sensitivity is NaN where there is no reference lesion.
    """
    columns = {
        name: np.concatenate([getattr(each, name) for each in candidates] or [np.empty(0)])
        for name in ("found", "matched", "spurious")
    }
    thresholds = np.unique(np.concatenate([columns["matched"], columns["spurious"]]))[::-1]
    above = {name: _at_least(values, thresholds) for name, values in columns.items()}
    reference = sum(each.reference_lesions for each in candidates)
    predicted = above["matched"] + above["spurious"]
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "fp_per_image": above["spurious"] / max(len(candidates), 1),
            "sensitivity": metrics.quotient(above["found"], reference),
            "precision": metrics.quotient(above["matched"], predicted),
            "f1": metrics.lesion_f1(above["found"], reference, above["matched"], predicted),
            **{f"{name}_lesions": values for name, values in above.items()},
        }
    )


def _at_least(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    return values.size - np.searchsorted(np.sort(values), thresholds, side="left")


def froc_figures(candidates: Sequence[ImageCandidates], patients: Sequence[str]) -> tuple[list[Figure], Figure]:
    """Sensitivity at every rate of FP_RATES, and the mean of them, with 95 % intervals over patients; n: reference lesions.

    Sensitivity at a rate is the highest that some threshold reaches with no more false positives an image: an operating point
    that exists, not one between two (LUNA16 interpolates). Where all candidates together have fewer false positives, it is
    the sensitivity of all of them. patients: whose every image is.
    """
    names, patient = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    images = np.bincount(patient, minlength=names.size).astype(float)
    lesions = np.bincount(patient, weights=[each.reference_lesions for each in candidates], minlength=names.size).astype(float)
    n = int(lesions.sum())
    events = _events(candidates, patient)

    def at_rates(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return _sensitivity_at_rates(weights, events, images, lesions)

    estimate = at_rates(np.ones((1, names.size)))[0]
    replicates = at_rates(resampling_weights(names.size))
    left_out = np.concatenate([at_rates(block) for block in all_but_one(names.size)])
    figures = [
        interval_figure(Resampled(float(estimate[i]), replicates[:, i], left_out[:, i], lesions > 0), n)
        for i in range(len(FP_RATES) + 1)
    ]
    return figures[:-1], figures[-1]


def all_but_one(patients: int, block: int = 256) -> Iterator[NDArray[np.float64]]:
    """Weights (some, patients) that leave out each patient in turn, for the jackknife, in blocks of bounded memory."""
    for start in range(0, patients, block):
        rows = min(block, patients - start)
        yield 1.0 - np.eye(rows, patients, start)


@dataclass(frozen=True)
class _Events:
    """Spurious predicted and found reference lesions by descending confidence; last: of those with one confidence."""

    patient: NDArray[np.int64]
    is_spurious: NDArray[np.bool_]
    last: NDArray[np.int64]


def _events(candidates: Sequence[ImageCandidates], patient: NDArray[np.int64]) -> _Events:
    score = np.concatenate([np.concatenate([each.spurious, each.found]) for each in candidates])
    spurious = np.concatenate([np.arange(each.spurious.size + each.found.size) < each.spurious.size for each in candidates])
    whose = np.repeat(patient, [each.spurious.size + each.found.size for each in candidates])
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True)) if score.size else np.empty(0, np.int64)
    return _Events(whose[order], spurious[order], last)


def _sensitivity_at_rates(
    weights: NDArray[np.float64], events: _Events, images: NDArray[np.float64], lesions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sensitivity at every rate and their mean, shape (resamples, rates + 1), for weights (resamples, patients)."""
    result = np.full((len(weights), len(FP_RATES) + 1), np.nan)
    step = max(1, _BLOCK // max(events.patient.size, 1))
    for start in range(0, len(weights), step):
        part = weights[start : start + step]
        drawn = part[:, events.patient]
        spurious = np.cumsum(drawn * events.is_spurious, axis=1)[:, events.last]
        found = np.cumsum(drawn * ~events.is_spurious, axis=1)[:, events.last]
        found = np.concatenate([np.zeros((len(part), 1)), found], axis=1)
        for index, rate in enumerate(FP_RATES):
            allowed = (spurious <= rate * (part @ images)[:, None]).sum(axis=1)
            result[start : start + step, index] = metrics.quotient(found[np.arange(len(part)), allowed], part @ lesions)
    result[:, -1] = result[:, :-1].mean(axis=1)
    return result
