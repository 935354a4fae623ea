"""Figures with intervals, by bootstrap over patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from evaluation.metrics import quotient

RESAMPLES = 2000
CONFIDENCE = 0.95
# Fixed, so that the same masks give the same intervals; its value has no meaning.
SEED = 20260101

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Figure:
    """A measure with its 95 % interval and the number of items behind it; None stands for undefined."""

    mean: float | None
    low: float | None
    high: float | None
    n: int


def ratio_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """First sum over second, for sums of shape (..., 2); a mean where the second counts items."""
    return quotient(sums[..., 0], sums[..., 1])


def patient_figure(per_patient: NDArray[np.float64], n: int, statistic: Statistic = ratio_of_sums) -> Figure:
    """Evaluate `statistic` on the sums over patients, with a 95 % bootstrap interval over patients.

    per_patient: (patients, k) each patient's contribution to k sums; patients are drawn with replacement, with all their
    images and lesions, and their contributions added. Pooled Dice, say, sums TP, FP and FN; a mean over images sums values
    and images. n: what is counted beside the figure (images, lesions), only passed on.

    The interval is bias-corrected and accelerated (Efron 1987) where that is defined, else from percentiles. Resamples in
    which the statistic is undefined are left out. No interval (None) where fewer than two patients contribute.
    """
    per_patient = np.asarray(per_patient, float)
    total = per_patient.sum(axis=0)
    estimate = float(statistic(total))
    if not np.isfinite(estimate):
        return Figure(None, None, None, n)
    if np.count_nonzero(per_patient.any(axis=1)) < 2:
        return Figure(estimate, None, None, n)
    replicates = statistic(_resampling_weights(len(per_patient)) @ per_patient)
    replicates = replicates[np.isfinite(replicates)]
    left_out = statistic(total - per_patient)
    low, high = np.quantile(replicates, _bca_levels(estimate, replicates, left_out))
    return Figure(estimate, float(low), float(high), n)


def _bca_levels(
    estimate: float, replicates: NDArray[np.float64], left_out: NDArray[np.float64]
) -> tuple[float, float] | NDArray[np.float64]:
    """Quantile levels of the BCa interval; the plain percentile levels where bias or acceleration is undefined.

    left_out: the statistic without each patient in turn (jackknife).
    """
    percentile = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    # Ties count half, as in scipy.stats.bootstrap: with few patients many resamples equal the estimate.
    below = np.mean(replicates < estimate) / 2 + np.mean(replicates <= estimate) / 2
    deviation = left_out.mean() - left_out
    spread = np.sum(deviation**2)
    if not 0 < below < 1 or not spread > 0:
        return percentile
    acceleration = np.sum(deviation**3) / (6 * spread**1.5)
    bias = ndtri(below)
    shifted = bias + ndtri(percentile)
    stretch = 1 - acceleration * shifted
    if not np.all(stretch > 0):
        return percentile
    levels: NDArray[np.float64] = ndtr(bias + shifted / stretch)
    return levels


@lru_cache(maxsize=4)
def _resampling_weights(patients: int) -> NDArray[np.float64]:
    """How often each resample draws each patient, shape (RESAMPLES, patients); the same for all figures of a run."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES).astype(float)
