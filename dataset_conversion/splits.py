"""Patient-grouped folds and test sets, balanced by how much disease a patient has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dataset_conversion.errors import ConversionError


@dataclass(frozen=True)
class SplitCase:
    """What splitting needs of a case: its name, its patient's pseudonym and the lesion area in mm2 in its mask."""

    case: str
    patient: str
    lesion_area_mm2: float


def patient_folds(cases: Sequence[SplitCase], k: int, seed: int) -> list[dict[str, list[str]]]:
    """Split cases into k folds, all cases of a patient in one, in the form of nnU-Net's `splits_final.json`.

    Patients are stratified into lesion-free and the tertiles of total lesion area; from the greatest area down each goes to
    the fold with the fewest patients of its stratum, then fewest patients, then least lesion area, then by the seed. Folds so
    differ by one patient at most, over all and in every stratum. Raises ConversionError if k < 2 or there are fewer patients.
    """
    burden = patient_burden(cases)
    if k < 2:
        raise ConversionError(f"{k} folds were asked for; cross-validation needs at least 2.")
    if k > len(burden):
        raise ConversionError(
            f"{k} folds were asked for but only {len(burden)} patients can be trained on; ask for fewer folds or add patients."
        )
    fold_of = _deal(burden, k, np.random.default_rng([seed, k]))
    names = sorted(cases, key=lambda case: case.case)
    return [
        {
            "train": [case.case for case in names if fold_of[case.patient] != fold],
            "val": [case.case for case in names if fold_of[case.patient] == fold],
        }
        for fold in range(k)
    ]


def draw_test_patients(cases: Sequence[SplitCase], fraction: float, seed: int) -> set[str]:
    """Draw the given fraction of patients (rounded, at least one) as a test set with the same spread of lesion area.

    Patients in order of total lesion area are cut into as many even blocks as are wanted, and one is drawn from each block.
    A fraction of 0 draws nobody. Raises ConversionError for a fraction outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ConversionError(f"the test fraction is {fraction:g}; expected 0 or more and less than 1.")
    burden = patient_burden(cases)
    if fraction == 0 or not burden:
        return set()
    rng = np.random.default_rng([seed, len(burden)])
    n_test = max(1, round(fraction * len(burden)))
    return {str(rng.choice(block)) for block in np.array_split(_by_burden(burden, rng), n_test)}


def patient_burden(cases: Sequence[SplitCase]) -> dict[str, float]:
    """Sum the lesion area in mm2 of each patient over all cases, in the order of the pseudonyms."""
    burden = dict.fromkeys(sorted({case.patient for case in cases}), 0.0)
    for case in cases:
        burden[case.patient] += case.lesion_area_mm2
    return burden


def _by_burden(burden: dict[str, float], rng: np.random.Generator) -> list[str]:
    """Patients from the greatest burden down; the generator orders equal ones."""
    patients = [str(patient) for patient in rng.permutation(list(burden))]
    return sorted(patients, key=lambda patient: -burden[patient])


def _deal(burden: dict[str, float], k: int, rng: np.random.Generator) -> dict[str, int]:
    ordered = _by_burden(burden, rng)
    diseased = [patient for patient in ordered if burden[patient] > 0]
    strata = [[str(p) for p in part] for part in np.array_split(diseased, 3)]
    strata.append([patient for patient in ordered if burden[patient] <= 0])
    patients, area = np.zeros(k, int), np.zeros(k)
    fold_of: dict[str, int] = {}
    for stratum in strata:
        here = np.zeros(k, int)
        for patient in stratum:
            fold = int(np.lexsort((rng.random(k), area, patients, here))[0])
            fold_of[patient] = fold
            here[fold] += 1
            patients[fold] += 1
            area[fold] += burden[patient]
    return fold_of
