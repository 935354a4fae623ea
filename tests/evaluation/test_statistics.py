from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from evaluation import metrics
from evaluation.statistics import Figure, patient_figure


def pooled_dice(sums):  # type: ignore[no-untyped-def]
    return metrics.dice(sums[..., 0], sums[..., 1], sums[..., 2])


def test_interval_of_pooled_dice_agrees_with_scipy_bootstrap_over_patients() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(rng.gamma(1.0, [60, 20, 40], size=(40, 3))).astype(float)
    figure = patient_figure(counts, 40, pooled_dice)

    def of_patients(index, axis=-1):  # type: ignore[no-untyped-def]
        tp, fp, fn = np.moveaxis(counts[index].sum(axis=axis if axis >= 0 else index.ndim + axis), -1, 0)
        return 2 * tp / (2 * tp + fp + fn)

    oracle = bootstrap(
        (np.arange(40),), of_patients, n_resamples=20_000, method="BCa", vectorized=True, rng=np.random.default_rng(0)
    ).confidence_interval
    width = oracle.high - oracle.low
    assert figure.mean == pytest.approx(of_patients(np.arange(40)))
    assert figure.low == pytest.approx(oracle.low, abs=0.06 * width)
    assert figure.high == pytest.approx(oracle.high, abs=0.06 * width)


def test_interval_of_a_skewed_mean_is_shifted_as_bca_shifts_it() -> None:
    values = np.random.default_rng(1).exponential(size=25) ** 2
    figure = patient_figure(np.stack([values, np.ones(25)], axis=1), 25)
    oracle = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    plain = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    width = oracle.high - oracle.low
    assert figure.high == pytest.approx(oracle.high, abs=0.08 * width)
    assert figure.low == pytest.approx(oracle.low, abs=0.08 * width)
    assert oracle.high - plain.high > 0.09 * width  # what plain percentiles would have missed


def test_patients_are_drawn_whole() -> None:
    # Ten images of one patient say no more than one: the interval must not shrink when images are repeated.
    once = np.stack([np.array([0.2, 0.9, 0.4, 0.7, 0.5]), np.ones(5)], axis=1)
    single, tenfold = patient_figure(once, 5), patient_figure(10 * once, 50)
    assert (tenfold.mean, tenfold.low, tenfold.high) == pytest.approx((single.mean, single.low, single.high))


def test_undefined_figures_are_none_and_never_zero() -> None:
    assert patient_figure(np.zeros((5, 2)), 0) == Figure(None, None, None, 0)


def test_a_single_contributing_patient_has_no_interval() -> None:
    sums = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]])
    assert patient_figure(sums, 4) == Figure(0.75, None, None, 4)


def test_the_same_everywhere_gives_an_interval_without_width() -> None:
    assert patient_figure(np.ones((6, 2)), 6) == Figure(1.0, 1.0, 1.0, 6)


def test_resamples_without_any_lesion_are_left_out() -> None:
    sums = np.zeros((12, 2))
    sums[:2] = [[1, 2], [3, 3]]
    figure = patient_figure(sums, 5)
    assert figure.mean == pytest.approx(0.8)
    assert figure.low is not None
    assert figure.high is not None
    assert 0.5 <= figure.low <= 0.8 <= figure.high <= 1.0


def test_the_same_input_gives_the_same_interval() -> None:
    sums = np.random.default_rng(0).random((9, 3))
    assert patient_figure(sums, 9, pooled_dice) == patient_figure(sums.copy(), 9, pooled_dice)
