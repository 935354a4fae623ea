"""Tests and effect sizes of a difference between two models on the same patients."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, wilcoxon

from evaluation.statistics import SEED, Statistic, ratio_of_sums

# With so few patients all 2^n exchanges are enumerated (8192 at most) and the p value is exact.
EXACT_PATIENTS = 13
# Beyond, so many are drawn: a p of 0.05 is then known to about 0.002 (one standard error).
PERMUTATIONS = 9999

# Averaging over runs leaves rounding errors where patients are equal; measures differ by far more.
_EQUAL_DECIMALS = 12
_BLOCK = 1000


class PermutationTest(NamedTuple):
    """Two-sided p value (None where the difference is undefined), and whether all exchanges were enumerated."""

    p: float | None
    exact: bool


def patient_differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Difference second - first of every patient's own value, (patients,); those in whom either is undefined left out."""
    differences = np.asarray(second, float) - np.asarray(first, float)
    defined: NDArray[np.float64] = np.round(differences[np.isfinite(differences)], _EQUAL_DECIMALS)
    return defined


def permutation_test(
    first: NDArray[np.float64], second: NDArray[np.float64], statistic: Statistic = ratio_of_sums
) -> PermutationTest:
    """Permutation test of the difference statistic(second) - statistic(first), models exchanged patient by patient.

    Under the null hypothesis it makes no difference which model's contributions a patient is given: all patients'
    contributions are exchanged or not, and the p value is the share of exchanges whose difference is at least as large as
    the observed one. For a mean over patients this is the sign-flip test. With up to EXACT_PATIENTS patients who differ all
    exchanges are enumerated; beyond, PERMUTATIONS are drawn with a fixed seed and p is (b + 1) / (m + 1) (Phipson and Smyth,
    Stat Appl Genet Mol Biol 2010). An exchange that leaves the figure undefined counts as at least as large.

    first, second: (patients, k) contributions to k sums, as in patient_figure.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    totals = first.sum(axis=0), second.sum(axis=0)
    observed = float(statistic(totals[1]) - statistic(totals[0]))
    if not np.isfinite(observed):
        return PermutationTest(None, False)
    change = (second - first)[(np.round(second - first, _EQUAL_DECIMALS) != 0).any(axis=1)]
    exact = len(change) <= EXACT_PATIENTS
    exchanges = _all_exchanges(len(change)) if exact else _drawn_exchanges(len(change))
    # Sums in another order differ in their last digits; an equal difference has to count as equal.
    bound = abs(observed) * (1 - 1e-9) - 1e-12
    larger = 0
    for start in range(0, len(exchanges), _BLOCK):
        moved = exchanges[start : start + _BLOCK].astype(float) @ change
        difference = np.abs(statistic(totals[1] - moved) - statistic(totals[0] + moved))
        larger += int(np.count_nonzero(~(difference < bound)))
    return PermutationTest(larger / len(exchanges) if exact else (larger + 1) / (len(exchanges) + 1), exact)


def wilcoxon_p(differences: ArrayLike) -> float | None:
    """Two-sided p value of the Wilcoxon signed-rank test of patients' differences; zeros are dropped (Wilcoxon 1945).

    1 where all differences are zero, None without any. Exact with up to EXACT_PATIENTS patients who differ, ties or not;
    beyond, exact up to 50 without ties, else the normal approximation (scipy.stats.wilcoxon).
    """
    differences = np.asarray(differences, float)
    if not differences.size:
        return None
    changed = differences[differences != 0]
    if len(changed) > EXACT_PATIENTS:
        return float(wilcoxon(changed).pvalue)
    ranks = rankdata(np.abs(changed))
    sums = (1 - 2 * _all_exchanges(len(changed)).astype(float)) @ ranks
    return float(np.mean(np.abs(sums) >= abs(np.sign(changed) @ ranks) - 1e-9))


def rank_biserial(differences: ArrayLike) -> float | None:
    """Matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-), -1 to 1 (Kerby, Comprehensive Psychology 2014).

    W+ and W- are the Wilcoxon rank sums of positive and negative differences. 0 where all are zero, None without any.
    """
    differences = np.asarray(differences, float)
    if not differences.size:
        return None
    changed = differences[differences != 0]
    if not changed.size:
        return 0.0
    ranks = rankdata(np.abs(changed))
    return float((ranks[changed > 0].sum() - ranks[changed < 0].sum()) / ranks.sum())


def cohen_dz(differences: ArrayLike) -> float | None:
    """Cohen's d_z: mean over standard deviation of patients' differences (Cohen 1988; Lakens, Front Psychol 2013).

    None with fewer than two patients, or where all differ by the same amount.
    """
    differences = np.asarray(differences, float)
    if differences.size < 2 or np.ptp(differences) == 0:
        return None
    return float(differences.mean() / differences.std(ddof=1))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p values adjusted for the size of their family (Holm, Scand J Stat 1979), in the order given; NaN is no member."""
    p_values = np.asarray(p_values, float)
    adjusted = np.full(p_values.shape, np.nan)
    members = np.flatnonzero(np.isfinite(p_values))
    ascending = members[np.argsort(p_values[members], kind="stable")]
    factors = np.arange(len(members), 0, -1)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(factors * p_values[ascending]), 1)
    return adjusted


def smallest_p(patients: int) -> float:
    """Smallest two-sided p value that permutation_test can give with so many patients."""
    return float(min(1.0, 2.0 ** (1 - patients))) if patients <= EXACT_PATIENTS else 1 / (PERMUTATIONS + 1)


@lru_cache(maxsize=EXACT_PATIENTS + 1)
def _all_exchanges(patients: int) -> NDArray[np.uint8]:
    return ((np.arange(2**patients)[:, None] >> np.arange(patients)) & 1).astype(np.uint8)


@lru_cache(maxsize=4)
def _drawn_exchanges(patients: int) -> NDArray[np.uint8]:
    return np.random.default_rng(SEED).integers(0, 2, size=(PERMUTATIONS, patients), dtype=np.uint8)
