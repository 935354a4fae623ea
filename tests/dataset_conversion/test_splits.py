from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_conversion.errors import ConversionError
from dataset_conversion.splits import SplitCase, draw_test_patients, patient_folds

# Each patient is a list of the lesion areas of its cases.
patients = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 5.1, 40.0]) | st.floats(0, 1e4), min_size=1, max_size=4), min_size=2, max_size=40
)


def _cases(areas: list[list[float]]) -> list[SplitCase]:
    return [SplitCase(f"P{p}_{n:02d}", f"P{p}", area) for p, mine in enumerate(areas) for n, area in enumerate(mine)]


@given(patients, st.integers(2, 6), st.integers(0, 3))
def test_every_case_is_validated_once_and_no_patient_is_on_both_sides(areas: list[list[float]], k: int, seed: int) -> None:
    cases = _cases(areas)
    k = min(k, len(areas))
    folds = patient_folds(cases, k, seed)
    everything = sorted(case.case for case in cases)
    assert sorted(name for fold in folds for name in fold["val"]) == everything
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == everything
        assert not {name.split("_")[0] for name in fold["train"]} & {name.split("_")[0] for name in fold["val"]}
        assert fold["val"]


@given(patients, st.integers(2, 6), st.integers(0, 3))
def test_folds_differ_by_one_patient_at_most_with_and_without_lesions(areas: list[list[float]], k: int, seed: int) -> None:
    k = min(k, len(areas))
    diseased = {f"P{p}" for p, mine in enumerate(areas) if sum(mine) > 0}
    folds = [{name.split("_")[0] for name in fold["val"]} for fold in patient_folds(_cases(areas), k, seed)]
    for wanted, slack in ((lambda p: True, 1), (lambda p: p not in diseased, 1), (lambda p: p in diseased, 3)):
        sizes = [sum(wanted(patient) for patient in fold) for fold in folds]
        assert max(sizes) - min(sizes) <= slack


def test_folds_share_the_burden() -> None:
    """Fifty patients over four decades of lesion area: no fold may get all the heavy ones."""
    areas = [[10 ** (n / 12)] for n in range(50)]
    burden: dict[int, float] = defaultdict(float)
    for number, fold in enumerate(patient_folds(_cases(areas), 5, 0)):
        burden[number] = sum(areas[int(name[1:].split("_")[0])][0] for name in fold["val"])
    assert max(burden.values()) / min(burden.values()) < 1.5


@given(patients, st.integers(0, 3))
def test_folds_depend_on_patients_and_seed_not_on_the_order_of_cases(areas: list[list[float]], seed: int) -> None:
    cases = _cases(areas)
    assert patient_folds(cases, 2, seed) == patient_folds(cases[::-1], 2, seed)


def test_another_seed_gives_other_folds() -> None:
    cases = _cases([[float(n)] for n in range(20)])
    assert len({str(patient_folds(cases, 4, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize(("k", "words"), [(1, "at least 2"), (4, "only 3 patients"), (-1, "at least 2")])
def test_impossible_numbers_of_folds_are_refused(k: int, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        patient_folds(_cases([[1.0], [2.0, 3.0], [0.0]]), k, 0)


@given(patients, st.floats(0.01, 0.6), st.integers(0, 3))
def test_a_test_set_has_its_share_of_patients(areas: list[list[float]], fraction: float, seed: int) -> None:
    drawn = draw_test_patients(_cases(areas), fraction, seed)
    assert len(drawn) == max(1, round(fraction * len(areas)))
    assert drawn <= {f"P{p}" for p in range(len(areas))}
    assert drawn == draw_test_patients(_cases(areas)[::-1], fraction, seed)


def test_a_test_set_spans_light_and_heavy_disease() -> None:
    drawn = draw_test_patients(_cases([[float(n)] for n in range(40)]), 0.25, 0)
    for low in (0, 10, 20, 30):
        assert 2 <= sum(low <= int(name[1:]) < low + 10 for name in drawn) <= 3


def test_no_fraction_draws_nobody_and_an_impossible_one_is_refused() -> None:
    assert draw_test_patients(_cases([[1.0]]), 0, 0) == set()
    for fraction in (-0.1, 1.0, float("nan")):
        with pytest.raises(ConversionError, match="test fraction"):
            draw_test_patients(_cases([[1.0]]), fraction, 0)
