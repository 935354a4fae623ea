"""Figures with intervals, by bootstrap over patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

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


@dataclass(frozen=True)
class Resampled:
    """A measure under resampling of patients; two of them over the same patients subtract to their paired difference.

    estimate: of all patients. replicates: (RESAMPLES,) of every resample, the same resamples for all measures of the same
    number of patients. left_out: (patients,) without each patient in turn. contributes: (patients,) whether the patient has
    any item of the measure. NaN where undefined.
    """

    estimate: float
    replicates: NDArray[np.float64]
    left_out: NDArray[np.float64]
    contributes: NDArray[np.bool_]

    def __sub__(self, other: Resampled) -> Resampled:
        """Difference to `other` resample by resample, so that what is difficult in a patient cancels."""
        return Resampled(
            self.estimate - other.estimate,
            self.replicates - other.replicates,
            self.left_out - other.left_out,
            self.contributes | other.contributes,
        )


def ratio_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """First sum over second, for sums of shape (..., 2); a mean where the second counts items."""
    return quotient(sums[..., 0], sums[..., 1])


def defined_mean(values: ArrayLike, axis: int = 0) -> NDArray[np.float64]:
    """Mean of the defined values along an axis; NaN where none is defined."""
    values = np.asarray(values, float)
    return quotient(np.nansum(values, axis=axis), np.isfinite(values).sum(axis=axis))


def patient_figure(per_patient: NDArray[np.float64], n: int, statistic: Statistic = ratio_of_sums) -> Figure:
    """Evaluate `statistic` on the sums over patients, with a 95 % bootstrap interval over patients.

    per_patient: (patients, k) each patient's contribution to k sums; patients are drawn with replacement, with all their
    images and lesions, and their contributions added. Pooled Dice, say, sums TP, FP and FN; a mean over images sums values
    and images. n: what is counted beside the figure (images, lesions), only passed on.

    The interval is bias-corrected and accelerated (Efron 1987) where that is defined, else from percentiles. Resamples in
    which the statistic is undefined are left out. No interval (None) where fewer than two patients contribute.
    """
    return interval_figure(resample(np.asarray(per_patient, float)[None], statistic), n)


def resample(runs: NDArray[np.float64], statistic: Statistic = ratio_of_sums) -> Resampled:
    """Evaluate `statistic` under resampling of patients, averaged over training runs.

    runs: (runs, patients, k) each patient's contribution to k sums in every run. A resample draws the same patients in all
    runs; the statistic is evaluated run by run, and its mean over the runs in which it is defined is taken.
    """
    runs = np.asarray(runs, float)
    weights = resampling_weights(runs.shape[1])
    totals = runs.sum(axis=1)
    return Resampled(
        estimate=float(defined_mean(statistic(totals))),
        replicates=defined_mean([statistic(weights @ per_patient) for per_patient in runs]),
        left_out=defined_mean(statistic(totals[:, None] - runs)),
        contributes=np.asarray(runs.any(axis=(0, 2))),
    )


def interval_figure(resampled: Resampled, n: int, *, standard_error: float = 0.0, degrees: float = np.inf) -> Figure:
    """Give a resampled measure its 95 % interval, as patient_figure does.

    standard_error, degrees: of a further source of error that is independent of the patients (the training), which joins
    every resample as a draw from Student's t distribution with so many degrees of freedom. Drawing the few runs themselves
    with replacement would make the interval too narrow: two runs that happen to agree would pass as no variance.
    """
    estimate, left_out = resampled.estimate, resampled.left_out
    if not np.isfinite(estimate):
        return Figure(None, None, None, n)
    if np.count_nonzero(resampled.contributes) < 2:
        return Figure(estimate, None, None, n)
    replicates = resampled.replicates
    if standard_error > 0:
        replicates = replicates + standard_error * _student_draws(len(replicates), degrees)
    replicates = replicates[np.isfinite(replicates)]
    if not replicates.size:
        return Figure(estimate, None, None, n)
    low, high = np.quantile(replicates, _bca_levels(estimate, replicates, left_out, standard_error**2))
    return Figure(estimate, float(low), float(high), n)


def _bca_levels(
    estimate: float, replicates: NDArray[np.float64], left_out: NDArray[np.float64], further_variance: float
) -> tuple[float, float] | NDArray[np.float64]:
    """Quantile levels of the BCa interval; the plain percentile levels where bias or acceleration is undefined.

    left_out: the statistic without each patient in turn (jackknife). further_variance: of a symmetric error that is
    independent of the patients; as in the interval of several samples it lowers the acceleration, which skewness causes.
    """
    percentile = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    # Ties count half, as in scipy.stats.bootstrap: with few patients many resamples equal the estimate.
    below = np.mean(replicates < estimate) / 2 + np.mean(replicates <= estimate) / 2
    deviation = (left_out.mean() - left_out) * (1 - 1 / len(left_out))
    spread = np.sum(deviation**2) + further_variance
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
def resampling_weights(patients: int) -> NDArray[np.float64]:
    """How often each resample draws each patient, shape (RESAMPLES, patients); the same for all figures of a run."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES).astype(float)


def _student_draws(number: int, degrees: float) -> NDArray[np.float64]:
    """Draws from Student's t in random order, one from each of `number` equally probable parts: random ones would let
    the tails of few degrees of freedom decide the interval by chance."""
    levels = (np.arange(number) + 0.5) / number
    draws: NDArray[np.float64] = stdtrit(degrees, levels) if np.isfinite(degrees) else ndtri(levels)
    return np.random.default_rng(SEED + 1).permutation(draws)
