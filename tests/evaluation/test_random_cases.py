"""200 random 2-D and 3-D cases with spacing: our figures against nnU-Net's evaluator, scikit-learn and loops, to 1e-6.

The same cases stand against surface-distance and panoptica in tests/benchmarks/test_evaluation_oracles.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from evaluation_oracles import CASES, random_case
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from evaluation.cases import find_cases, load_case
from evaluation.measure import MeasuredCase, Measuring, measure_file
from evaluation.options import EvaluationOptions

WriteImage = Callable[..., Path]
Lesion = frozenset[tuple[int, ...]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference and prediction files of all cases."""
    import SimpleITK

    root = tmp_path_factory.mktemp("random")
    for name in ("r", "p"):
        (root / name).mkdir()
    for seed in range(CASES):
        *masks, spacing = random_case(seed)
        for name, mask in zip("rp", masks, strict=True):
            image = SimpleITK.GetImageFromArray(mask.astype(np.uint8))
            image.SetSpacing(spacing[::-1])
            SimpleITK.WriteImage(image, str(root / name / f"{seed:03d}.nii.gz"))
    return root


@pytest.fixture(scope="module")
def measured(folder: Path) -> list[MeasuredCase]:
    measuring = Measuring(EvaluationOptions(folder / "r", folder / "p", folder / "o"))
    results = [measure_file(case, measuring) for case in find_cases(folder / "r", folder / "p")]
    assert [result.error for result in results] == [None] * CASES
    assert {result.dimensions for result in results} == {2, 3}
    return results


def test_pixels_agree_with_nnunets_evaluator(folder: Path, measured: list[MeasuredCase]) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    for seed, ours in enumerate(measured):
        files = [str(folder / name / f"{seed:03d}.nii.gz") for name in "rp"]
        theirs = compute_metrics(*files, SimpleITKIO(), [1])["metrics"][1]
        assert ours.row["dice"] == pytest.approx(theirs["Dice"], abs=1e-9, nan_ok=True)
        assert ours.row["iou"] == pytest.approx(theirs["IoU"], abs=1e-9, nan_ok=True)
        assert (ours.row["tp"], ours.row["fp"], ours.row["fn"]) == (theirs["TP"], theirs["FP"], theirs["FN"])


def test_pixels_agree_with_scikit_learn(measured: list[MeasuredCase]) -> None:
    for seed, ours in enumerate(measured):
        reference, prediction, _ = random_case(seed)
        pair = reference.ravel(), prediction.ravel()
        for name, oracle in (("dice", f1_score), ("precision", precision_score), ("recall", recall_score)):
            assert ours.row[name] == pytest.approx(oracle(*pair, zero_division=np.nan), abs=1e-6, nan_ok=True)
        if reference.any() or prediction.any():
            assert ours.row["iou"] == pytest.approx(jaccard_score(*pair), abs=1e-6)


def flooded(mask: NDArray) -> list[Lesion]:
    """Components by flooding pixel by pixel, corners included, in reading order of their first pixel."""
    steps = [step for step in product((-1, 0, 1), repeat=mask.ndim) if any(step)]
    left = {tuple(map(int, p)) for p in np.argwhere(mask)}
    components = []
    while left:
        queue = deque([min(left)])
        component = {queue[0]}
        left.remove(queue[0])
        while queue:
            here = queue.popleft()
            for step in steps:
                there = tuple(a + b for a, b in zip(here, step, strict=True))
                if there in left:
                    left.remove(there)
                    component.add(there)
                    queue.append(there)
        components.append(frozenset(component))
    return components


def test_lesions_sizes_places_and_matches_agree_with_loops(measured: list[MeasuredCase]) -> None:
    for seed, ours in enumerate(measured):
        *masks, spacing = random_case(seed)
        reference, prediction = (flooded(mask) for mask in masks)
        pixel = float(np.prod(spacing))
        size, unit = ("area", "mm2") if len(spacing) == 2 else ("volume", "mm3")
        both = reference + prediction
        assert list(ours.lesions[f"{size}_px"]) == [len(lesion) for lesion in both]
        np.testing.assert_allclose(ours.lesions[f"{size}_{unit}"], [len(lesion) * pixel for lesion in both], rtol=1e-6)
        sizes = np.array([len(lesion) * pixel for lesion in both])
        diameters = 2 * (3 * sizes / 4 / np.pi) ** (1 / 3) if unit == "mm3" else 2 * (sizes / np.pi) ** 0.5
        np.testing.assert_allclose(ours.lesions["diameter_mm"], diameters, rtol=1e-6)
        centres = [np.mean(list(lesion), axis=0) for lesion in both]
        for axis, name in enumerate(("plane", "row", "col")[-len(spacing) :]):
            np.testing.assert_allclose(ours.lesions[f"centroid_{name}_px"], [c[axis] for c in centres], rtol=1e-6)
        hits = [[bool(a & b) for b in prediction] for a in reference]
        found, matched = [any(row) for row in hits], [any(row[j] for row in hits) for j in range(len(prediction))]
        assert [word != "missed" for word in ours.lesions["status"][: len(reference)]] == found
        assert [word != "spurious" for word in ours.lesions["status"][len(reference) :]] == matched
        spurious = sum(len(b) for b, is_matched in zip(prediction, matched, strict=True) if not is_matched)
        assert ours.row[f"spurious_{size}_{unit}"] == pytest.approx(spurious * pixel, rel=1e-6)
        difference = (masks[1].sum() - masks[0].sum()) * pixel
        assert ours.row[f"{size}_difference_{unit}"] == pytest.approx(difference, rel=1e-6, abs=1e-6)
        dice = []
        for a, row in zip(reference, hits, strict=True):
            partners = frozenset().union(*[b for b, hit in zip(prediction, row, strict=True) if hit])
            dice.append(2 * len(a & partners) / (len(a) + len(partners)) if partners else np.nan)
        np.testing.assert_allclose(ours.lesions["dice"][: len(reference)], dice, atol=1e-6)


def test_spacing_and_pixel_order_are_those_of_the_files(folder: Path) -> None:
    for case in find_cases(folder / "r", folder / "p")[:20]:
        *masks, spacing = random_case(int(case.case))
        loaded = load_case(case)
        np.testing.assert_allclose(loaded.spacing_mm, spacing, rtol=1e-6)
        assert (loaded.reference == masks[0]).all()
        assert (loaded.prediction == masks[1]).all()
