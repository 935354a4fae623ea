"""Our figures against those that published packages gave for the same 200 masks (benchmarks/results/oracle_*.csv)."""

from __future__ import annotations

from collections.abc import Iterator

import evaluation_oracles
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from evaluation import metrics
from evaluation.boundary import boundary_measures, directed_averages, outline
from evaluation.lesions import connected_components
from evaluation.matching import match_lesions, panoptic_matches


def recorded(package: str) -> pd.DataFrame:
    return pd.read_csv(evaluation_oracles.RESULTS / f"oracle_{package}.csv", comment="#")


def cases(package: str) -> Iterator[tuple[pd.Series, NDArray, NDArray, tuple[float, ...]]]:
    for _, row in recorded(package).iterrows():
        reference, prediction, spacing = evaluation_oracles.random_case(int(row["seed"]))
        assert (reference.sum(), prediction.sum()) == (row["reference_px"], row["predicted_px"])  # or it is another case
        yield row, reference, prediction, spacing


@pytest.mark.parametrize("package", sorted(evaluation_oracles.PACKAGES))
def test_the_recorded_tables_hold_200_cases_and_say_where_they_come_from(package: str) -> None:
    table = recorded(package)
    assert table["seed"].tolist() == list(range(200))
    first_line = (evaluation_oracles.RESULTS / f"oracle_{package}.csv").open().readline()
    assert first_line.startswith(f"# python benchmarks/evaluation_oracles.py {package}; Python 3.")
    empty = (table["reference_px"] == 0) | (table["predicted_px"] == 0)
    assert 20 <= empty.sum() <= 60


def test_outlines_and_distances_agree_with_surface_distance() -> None:
    compared = 0
    for row, reference, prediction, spacing in cases("surface_distance"):
        counts = metrics.pixel_counts(reference, prediction)
        if sum(counts):
            assert metrics.dice(*counts) == pytest.approx(row["dice"], abs=1e-6)
        if not (reference.any() and prediction.any()):
            assert np.isnan(row["hd95_mm"])
            continue
        measured = boundary_measures(reference, prediction, spacing, evaluation_oracles.TOLERANCE_MM)
        lengths = np.array([outline(mask, spacing).weights.sum() for mask in (reference, prediction)])
        directed = np.array([row["asd_from_reference_mm"], row["asd_from_prediction_mm"]])
        np.testing.assert_allclose(lengths, (row["reference_outline"], row["predicted_outline"]), rtol=1e-6)
        np.testing.assert_allclose(measured.hd95_mm, row["hd95_mm"], rtol=1e-6)
        np.testing.assert_allclose(measured.nsd, row["nsd"], atol=1e-6)
        np.testing.assert_allclose(directed_averages(reference, prediction, spacing), directed, rtol=1e-6)
        np.testing.assert_allclose(measured.asd_mm, np.average(directed, weights=lengths), rtol=1e-6)
        compared += 1
    assert compared > 140


def test_matched_lesions_and_panoptic_quality_agree_with_panoptica() -> None:
    matched = 0
    for row, reference, prediction, _ in cases("panoptica"):
        connectivity = 4 if reference.ndim == 2 else 8  # panoptica's own: 4 neighbours in 2-D, 26 in 3-D
        labels = [connected_components(mask, connectivity)[0] for mask in (reference, prediction)]  # type: ignore[arg-type]
        match = match_lesions(labels[0], labels[1], "iou", np.nextafter(0.5, 1))
        number, iou_sum = panoptic_matches(match)
        assert (number, match.spurious.sum(), (~match.found).sum()) == (row["matched"], row["spurious"], row["missed"])
        matched += number
        sizes = match.found.size, match.spurious.size
        ours = {
            "panoptic_quality": metrics.panoptic_quality(iou_sum, number, *sizes),
            "segmentation_quality": metrics.quotient(iou_sum, number),
            "recognition_quality": metrics.quotient(2 * number, sum(sizes)),
            "dice_matched": metrics.quotient(np.nansum(match.dice), number),
            "dice": metrics.dice(*metrics.pixel_counts(reference, prediction)),
        }
        for name, value in ours.items():
            if number or (
                name in ("panoptic_quality", "recognition_quality") and sum(sizes)
            ):  # panoptica says 0 where a mean is of nothing
                assert value == pytest.approx(row[name], abs=1e-6), name
    assert matched > 300
