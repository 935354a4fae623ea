from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import permutation_test as scipy_permutation_test
from scipy.stats import wilcoxon

from evaluation import metrics
from evaluation.paired_tests import (
    cohen_dz,
    holm,
    patient_differences,
    permutation_test,
    rank_biserial,
    smallest_p,
    wilcoxon_p,
)

# statsmodels.stats.multitest.multipletests(RECORDED_P, method="holm")[1], statsmodels 0.15.0, run once in an environment
# of its own.
RECORDED_P = [0.01, 0.04, 0.03, 0.005, 0.5, 0.04, 0.8]
RECORDED_HOLM = [0.06, 0.16, 0.15, 0.035, 1.0, 0.16, 1.0]


def means(values: NDArray) -> NDArray[np.float64]:
    """Contributions of patients with one value each."""
    return np.stack([values, np.ones(len(values))], axis=1)


def pooled_dice(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return metrics.dice(sums[..., 0], sums[..., 1], sums[..., 2])


def test_few_patients_are_tested_exactly_as_scipy_does() -> None:
    first, second = np.random.default_rng(3).random((2, 9))
    test = permutation_test(means(first), means(second))
    oracle = scipy_permutation_test((second - first,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert test.exact
    assert test.p == pytest.approx(oracle.pvalue, abs=1e-12)


def test_many_patients_agree_with_scipy_within_monte_carlo_error() -> None:
    rng = np.random.default_rng(4)
    first = rng.random(40)
    second = first + rng.normal(0.03, 0.1, size=40)
    test = permutation_test(means(first), means(second))
    oracle = scipy_permutation_test(
        (second - first,),
        np.mean,
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    assert not test.exact
    assert 0.005 < oracle.pvalue < 0.5
    assert test.p == pytest.approx(oracle.pvalue, abs=4 * np.sqrt(oracle.pvalue / 9999 + oracle.pvalue / 20_000))


def test_a_pooled_figure_is_tested_by_exchanging_whole_patients() -> None:
    first, second = np.random.default_rng(5).poisson(4, size=(2, 7, 3)).astype(float)

    def difference(index_first, index_second, axis=-1):  # type: ignore[no-untyped-def]
        both = np.concatenate([first, second])
        return float(pooled_dice(both[index_second].sum(axis=0)) - pooled_dice(both[index_first].sum(axis=0)))

    oracle = scipy_permutation_test(
        (np.arange(7), np.arange(7, 14)), difference, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    assert permutation_test(first, second, pooled_dice).p == pytest.approx(oracle.pvalue, abs=1e-12)


def test_patients_without_a_difference_do_not_cost_exactness() -> None:
    first = np.random.default_rng(6).random(200)
    second = first.copy()
    second[:5] += 0.1
    test = permutation_test(means(first), means(second))
    assert (test.p, test.exact) == (2 / 2**5, True)


def test_identical_models_have_p_one_and_no_effect() -> None:
    sums = np.random.default_rng(1).poisson(5, size=(30, 3)).astype(float)
    differences = patient_differences(pooled_dice(sums), pooled_dice(sums))
    assert permutation_test(sums, sums, pooled_dice).p == 1
    assert wilcoxon_p(differences) == 1
    assert rank_biserial(differences) == 0
    assert cohen_dz(differences) is None


def test_a_constant_shift_is_found_by_both_tests() -> None:
    first = np.random.default_rng(2).random(40)
    test = permutation_test(means(first), means(first + 0.01))
    differences = patient_differences(first, first + 0.01)
    assert test.p == 1e-4
    assert wilcoxon_p(differences) is not None
    assert wilcoxon_p(differences) < 1e-6  # type: ignore[operator]
    assert rank_biserial(differences) == 1


def test_undefined_is_none_and_an_undefined_exchange_counts_against_a_difference() -> None:
    nothing, something = np.zeros((4, 2)), np.ones((4, 2))
    assert permutation_test(nothing, something).p is None
    assert wilcoxon_p([]) is None
    assert rank_biserial([]) is None
    assert cohen_dz([0.3]) is None
    # Patients 1 to 3 have lesions under the first model alone, patient 4 under the second: exchanged, a model has none.
    first, second = np.zeros((4, 2)), np.zeros((4, 2))
    first[:3], second[3] = [0, 1], [1, 1]
    # Of 16 exchanges 2 are as large as observed, in 2 a model has no lesion, 12 are smaller.
    assert permutation_test(first, second).p == 4 / 16


def naive_wilcoxon(differences: list[float]) -> float:
    """All assignments of signs to the ranks of the absolute values, counted one by one (no ties, no zeros)."""
    order = sorted(range(len(differences)), key=lambda i: abs(differences[i]))
    ranks = {index: rank for rank, index in enumerate(order, 1)}
    observed = sum(ranks[i] for i, value in enumerate(differences) if value > 0)
    total = sum(ranks.values())
    sums = [
        sum(rank for sign, rank in zip(signs, ranks.values(), strict=True) if sign)
        for signs in product((0, 1), repeat=len(differences))
    ]
    return sum(abs(s - total / 2) >= abs(observed - total / 2) - 1e-9 for s in sums) / len(sums)


def test_wilcoxon_agrees_with_counting_all_signs() -> None:
    differences = [0.3, -0.1, 0.7, 0.22, -0.05, 0.9, 0.41, -0.6]
    assert wilcoxon_p(differences) == pytest.approx(naive_wilcoxon(differences), abs=1e-12)
    assert wilcoxon_p([*differences, 0.0, 0.0]) == pytest.approx(naive_wilcoxon(differences), abs=1e-12)  # zeros are dropped


def test_wilcoxon_of_many_patients_is_scipys() -> None:
    differences = np.random.default_rng(9).normal(0.2, 1, size=60)
    assert wilcoxon_p(differences) == pytest.approx(wilcoxon(differences, method="asymptotic").pvalue)
    assert wilcoxon_p(differences[:20]) == pytest.approx(wilcoxon(differences[:20], method="exact").pvalue)


def test_wilcoxon_is_exact_with_ties() -> None:
    # Ranks 2 2 2 4 with signs + + - + sum to 6; of 16 sums 4 are 6 or more, and 4 are -6 or less.
    assert wilcoxon_p([0.1, 0.1, -0.1, 0.5]) == 8 / 16


def test_effect_sizes_of_a_worked_example() -> None:
    differences = [1.0, 2.0, -3.0, 4.0, 0.0]  # ranks 1, 2, 3, 4: W+ = 7, W- = 3
    assert rank_biserial(differences) == pytest.approx(0.4)
    assert cohen_dz(differences) == pytest.approx(0.8 / np.sqrt((0.04 + 1.44 + 14.44 + 10.24 + 0.64) / 4))


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=2, max_size=10))
def test_swapping_the_models_turns_effects_round_and_keeps_p_values(values: list[float]) -> None:
    first, second = means(np.zeros(len(values))), means(np.array(values))
    there, back = patient_differences(first[:, 0], second[:, 0]), patient_differences(second[:, 0], first[:, 0])
    assert permutation_test(first, second).p == permutation_test(second, first).p
    assert wilcoxon_p(there) == pytest.approx(wilcoxon_p(back))
    assert rank_biserial(there) == pytest.approx(-rank_biserial(back))  # type: ignore[operator]
    one, other = cohen_dz(there), cohen_dz(back)
    assert (one is None and other is None) or one == pytest.approx(-other)  # type: ignore[operator]


def naive_holm(p_values: list[float]) -> list[float]:
    """A test is rejected at level a when it and all smaller p values pass a / (tests left): the smallest such a."""
    adjusted = []
    for own in p_values:
        smaller_or_own = sorted(p for p in p_values if p <= own)
        adjusted.append(min(1.0, max(p * (len(p_values) - rank) for rank, p in enumerate(smaller_or_own))))
    return adjusted


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12, unique=True))
def test_holm_agrees_with_its_definition_and_is_monotone(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert adjusted == pytest.approx(naive_holm(p_values))
    assert (adjusted >= p_values).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
    assert (adjusted <= 1).all()


def test_holm_agrees_with_statsmodels() -> None:
    assert holm(RECORDED_P) == pytest.approx(RECORDED_HOLM)


def test_an_undefined_p_value_is_no_member_of_the_family() -> None:
    adjusted = holm([0.01, np.nan, 0.02])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(adjusted[1])
    assert holm([]).size == 0


def test_the_smallest_possible_p_value_is_reached_by_a_shift_of_all() -> None:
    for patients in (1, 4, 13, 40):
        first = np.arange(patients, dtype=float)
        assert permutation_test(means(first), means(first + 1)).p == pytest.approx(smallest_p(patients))
