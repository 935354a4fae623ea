from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import bootstrap

from evaluation import metrics
from evaluation.statistics import Figure, interval_figure, patient_figure, resample
from evaluation.training_variance import training_error_of_difference


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


def test_a_difference_of_pooled_dice_agrees_with_scipy_paired_bootstrap() -> None:
    rng = np.random.default_rng(8)
    difficulty = rng.gamma(1.0, 1.0, size=(50, 1))
    first = rng.poisson(difficulty * [60, 20, 40]).astype(float)
    second = np.maximum(first + rng.poisson(difficulty * [6, 3, 1]) - rng.poisson(difficulty * [1, 3, 6]), 0)
    figure = interval_figure(resample(second[None], pooled_dice) - resample(first[None], pooled_dice), 50)

    def difference(index, axis=-1):  # type: ignore[no-untyped-def]
        def dice(counts):  # type: ignore[no-untyped-def]
            tp, fp, fn = np.moveaxis(counts[index].sum(axis=axis if axis >= 0 else index.ndim + axis), -1, 0)
            return 2 * tp / (2 * tp + fp + fn)

        return dice(second) - dice(first)

    oracle = bootstrap(
        (np.arange(50),), difference, n_resamples=20_000, method="BCa", vectorized=True, rng=np.random.default_rng(0)
    ).confidence_interval
    width = oracle.high - oracle.low
    assert figure.mean == pytest.approx(difference(np.arange(50)))
    assert figure.low == pytest.approx(oracle.low, abs=0.06 * width)
    assert figure.high == pytest.approx(oracle.high, abs=0.06 * width)
    alone = patient_figure(second, 50, pooled_dice)
    assert alone.high is not None
    assert alone.low is not None
    assert width < 0.7 * (alone.high - alone.low)  # patients who are difficult for both models cancel


def test_swapping_the_models_turns_the_interval_round() -> None:
    first, second = np.random.default_rng(2).poisson(9, size=(2, 1, 31, 3)).astype(float)
    one = interval_figure(resample(second, pooled_dice) - resample(first, pooled_dice), 31)
    other = interval_figure(resample(first, pooled_dice) - resample(second, pooled_dice), 31)
    assert one.low is not None
    assert one.high is not None
    assert (other.mean, other.low, other.high) == pytest.approx((-one.mean, -one.high, -one.low), abs=2e-4)  # type: ignore[operator]


def test_a_shift_of_every_patient_is_the_difference_without_width() -> None:
    values = np.random.default_rng(0).random(20)
    first, shifted = (np.stack([v, np.ones(20)], axis=1)[None] for v in (values, values + 0.25))
    figure = interval_figure(resample(shifted) - resample(first), 20)
    assert (figure.mean, figure.low, figure.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_figure_over_runs_is_their_mean_and_runs_alone_do_not_widen_patients() -> None:
    runs = np.random.default_rng(5).poisson(9, size=(3, 25, 3)).astype(float)
    resampled = resample(runs, pooled_dice)
    assert resampled.estimate == pytest.approx(np.mean([patient_figure(run, 25, pooled_dice).mean for run in runs]))
    same = resample(np.stack([runs[0]] * 3), pooled_dice)
    assert astuple(interval_figure(same, 25)) == pytest.approx(astuple(patient_figure(runs[0], 25, pooled_dice)))


def test_a_run_without_any_prediction_is_left_out_of_the_mean_over_runs() -> None:
    runs = np.stack([np.array([[3.0, 4.0], [1.0, 4.0]]), np.zeros((2, 2))])
    assert resample(runs).estimate == 0.5
    assert np.isnan(resample(np.zeros((2, 3, 2))).estimate)


def test_a_further_error_widens_the_interval_as_student_t_does() -> None:
    alike = np.ones((1, 10, 2))
    for degrees, expected in ((2.0, 4.302653), (5.0, 2.570582), (np.inf, 1.959964)):  # printed tables of t
        figure = interval_figure(resample(alike), 10, standard_error=0.01, degrees=degrees)
        assert (figure.low, figure.high) == pytest.approx((1 - 0.01 * expected, 1 + 0.01 * expected), abs=4e-4)


@pytest.mark.parametrize("runs", [(1, 1), (2, 2), (3, 5)])
def test_the_nominal_interval_of_a_difference_covers_about_95_in_100(runs: tuple[int, int]) -> None:
    """Patients' difficulty, seeds, and both together vary; the true difference is 0.1 in every simulated study."""
    rng = np.random.default_rng(11)
    patients, studies, covered = 40, 400, 0
    for _ in range(studies):
        difficulty = rng.exponential(0.3, size=patients)
        seeds = [rng.normal(0, 0.05 if max(runs) > 1 else 0, size=(number, 1)) for number in runs]
        values = [difficulty + seed + rng.normal(0, 0.2, size=(len(seed), patients)) for seed in seeds]
        values[1] += 0.1
        first, second = (np.stack([v, np.ones(v.shape)], axis=-1) for v in values)
        error = training_error_of_difference(*(v.mean(axis=1) for v in values))
        known = {} if error is None else {"standard_error": error.standard_error, "degrees": error.degrees}
        figure = interval_figure(resample(second) - resample(first), patients, **known)
        assert figure.low is not None
        assert figure.high is not None
        covered += figure.low <= 0.1 <= figure.high
    # Few degrees of freedom make the interval of two runs a model wide; it must not be narrow.
    assert (0.92 if runs == (1, 1) else 0.93) <= covered / studies <= (0.975 if runs == (1, 1) else 1)


def test_a_large_symmetric_error_hides_the_skewness_of_the_patients() -> None:
    values = np.random.default_rng(1).exponential(size=25) ** 2
    resampled = resample(np.stack([values, np.ones(25)], axis=1)[None])
    alone, joined = (interval_figure(resampled, 25, standard_error=error) for error in (0.0, 5.0))

    def skewness(figure: Figure) -> float:
        assert figure.mean is not None
        assert figure.low is not None
        assert figure.high is not None
        return (figure.high - figure.mean) / (figure.mean - figure.low)

    assert skewness(alone) > 1.5
    assert skewness(joined) == pytest.approx(1, abs=0.06)
