from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_ind

from evaluation.training_variance import run_sd, training_error, training_error_of_difference


def test_the_noise_limit_is_where_welchs_test_has_p_five_in_100() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, size=3), rng.normal(0, 2, size=5)
    error = training_error_of_difference(first, second)
    assert error is not None
    limit = error.noise_limit
    at_limit = first - first.mean(), second - second.mean() + limit
    assert ttest_ind(*at_limit, equal_var=False).pvalue == pytest.approx(0.05)
    assert error.hides(-0.999 * limit)
    assert not error.hides(1.001 * limit)


@pytest.mark.parametrize("runs", [(2, 2), (3, 3), (5, 2)])
def test_models_that_differ_by_seed_alone_are_called_inside_seed_noise_95_times_in_100(runs: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    inside = beyond = 0
    for _ in range(2000):
        first, second = (rng.normal(0.6, 0.01, size=number) for number in runs)
        error = training_error_of_difference(first, second)
        assert error is not None
        inside += error.hides(second.mean() - first.mean())
        beyond += not error.hides(second.mean() + 0.3 - first.mean())
    assert 0.93 < inside / 2000 <= 0.985
    assert beyond / 2000 > 0.8  # and a difference of 30 standard deviations is not


def test_twice_the_standard_error_would_call_18_in_100_seeds_a_difference() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 20_000, 2))
    error = np.sqrt(first.var(axis=1, ddof=1) / 2 + second.var(axis=1, ddof=1) / 2)
    assert np.mean(np.abs(second.mean(axis=1) - first.mean(axis=1)) > 2 * error) == pytest.approx(0.184, abs=0.01)


def test_a_single_run_has_no_training_variance_and_borrows_that_of_the_other_model() -> None:
    assert training_error_of_difference([0.6], [0.7]) is None
    assert training_error([0.6]) is None
    assert run_sd([0.6, np.nan]) is None
    several = [0.6, 0.62, 0.61]
    error = training_error_of_difference([0.7], several)
    assert error is not None
    assert (error.standard_error, error.degrees, error.assumed) == (pytest.approx(0.01 * np.sqrt(4 / 3)), 2, True)
    assert error == training_error_of_difference(several, [0.7])


def test_runs_in_which_the_figure_is_undefined_are_not_counted() -> None:
    assert training_error([0.6, np.nan, 0.8]) == training_error([0.6, 0.8])
    assert training_error_of_difference([np.nan, np.nan], [0.6, 0.8]) is None


def test_runs_that_agree_exactly_hide_no_difference() -> None:
    error = training_error_of_difference([0.5, 0.5], [0.6, 0.6])
    assert error is not None
    assert error.noise_limit == 0
    assert not error.hides(0.1)
