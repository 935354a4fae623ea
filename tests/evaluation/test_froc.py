from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from evaluation.candidates import ImageCandidates, image_candidates
from evaluation.froc import FP_RATES, froc_figures, froc_table
from evaluation.lesions import connected_components, keep_lesions
from evaluation.matching import match_lesions

Scored = tuple[NDArray, NDArray, NDArray]

confidences = st.lists(st.integers(1, 9).map(lambda tenths: tenths / 10), max_size=5).map(np.array)
images = st.builds(
    lambda spurious, matched, found, missed: ImageCandidates(spurious, matched, found, len(found) + missed),
    confidences, confidences, confidences, st.integers(0, 3),
)  # fmt: skip


@pytest.fixture
def scored(blobs: Callable[..., NDArray]) -> list[Scored]:
    """Label images of reference and prediction with the confidence of every predicted lesion, some of them equal."""
    rng = np.random.default_rng(8)
    made = []
    for _ in range(12):
        reference = blobs(rng, (40, 30), 5)
        prediction = np.roll(reference, 1, axis=0) | blobs(rng, (40, 30), 3)
        labels, number = connected_components(prediction)
        made.append((connected_components(reference)[0], labels, np.round(rng.random(number), 1)))
    return made


def sensitivity_and_fp(scored: list[Scored], threshold: float, rule: str) -> tuple[int, int]:
    """Found lesions and false positives by matching again what is left above the threshold."""
    found = spurious = 0
    for reference, prediction, confidence in scored:
        match = match_lesions(reference, keep_lesions(prediction, confidence >= threshold)[0], rule)  # type: ignore[arg-type]
        found, spurious = found + int(match.found.sum()), spurious + int(match.spurious.sum())
    return found, spurious


@pytest.mark.parametrize("rule", ["overlap", "iou"])
def test_every_point_of_the_curve_equals_matching_again_above_its_threshold(scored: list[Scored], rule: str) -> None:
    candidates = [image_candidates(match_lesions(r, p, rule), c) for r, p, c in scored]  # type: ignore[arg-type]
    table = froc_table(candidates)
    total = sum(int(reference.max()) for reference, _, _ in scored)
    assert table["threshold"].tolist() == sorted({c for *_, each in scored for c in each}, reverse=True)
    for row in table.to_dict("records"):
        found, spurious = sensitivity_and_fp(scored, row["threshold"], rule)
        assert (row["found_lesions"], row["spurious_lesions"]) == (found, spurious)
        assert row["sensitivity"] == pytest.approx(found / total)
        assert row["fp_per_image"] == pytest.approx(spurious / len(scored))


def test_sensitivity_at_a_rate_is_the_best_of_all_thresholds_that_stay_within_it(scored: list[Scored]) -> None:
    candidates = [image_candidates(match_lesions(r, p), c) for r, p, c in scored]
    total = sum(each.reference_lesions for each in candidates)
    figures, average = froc_figures(candidates, [f"P{i // 2}" for i in range(len(scored))])
    thresholds = [1.1, *{c for *_, each in scored for c in each}]
    points = [sensitivity_and_fp(scored, threshold, "overlap") for threshold in thresholds]
    for rate, figure in zip(FP_RATES, figures, strict=True):
        best = max(found for found, spurious in points if spurious <= rate * len(scored))
        assert figure.mean == pytest.approx(best / total)
        assert figure.n == total
        assert figure.low <= figure.mean <= figure.high  # type: ignore[operator]
    assert average.mean == pytest.approx(np.mean([figure.mean for figure in figures]))


@settings(max_examples=40, deadline=None)
@given(st.lists(images, min_size=1, max_size=6))
def test_the_curve_rises_and_reaches_all_candidates(candidates: list[ImageCandidates]) -> None:
    table = froc_table(candidates)
    assert (table["threshold"].diff().dropna() < 0).all()
    for column in ("fp_per_image", "found_lesions", "matched_lesions", "spurious_lesions"):
        assert (table[column].diff().dropna() >= 0).all()
    if len(table):
        assert table["spurious_lesions"].iloc[-1] == sum(each.spurious.size for each in candidates)
    figures, _ = froc_figures(candidates, ["P"] * len(candidates))
    means = [figure.mean for figure in figures]
    if sum(each.reference_lesions for each in candidates):
        assert means == sorted(means)  # type: ignore[type-var]
    else:
        assert means == [None] * len(FP_RATES)


@settings(max_examples=20, deadline=None)
@given(st.lists(images, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_images_and_a_rising_rescaling_of_confidence_change_nothing(candidates: list, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(candidates, len(candidates))
    pd.testing.assert_frame_equal(froc_table(candidates), froc_table(shuffled))
    cubed = [ImageCandidates(c.spurious**3, c.matched**3, c.found**3, c.reference_lesions) for c in candidates]
    pd.testing.assert_frame_equal(froc_table(candidates).drop(columns="threshold"), froc_table(cubed).drop(columns="threshold"))


def test_a_rate_that_is_reached_exactly_is_within_it() -> None:
    nothing = np.empty(0)
    first = ImageCandidates(spurious=np.array([0.9]), matched=np.array([0.8]), found=np.array([0.8]), reference_lesions=1)
    figures, _ = froc_figures([first, ImageCandidates(nothing, nothing, nothing, 0)], ["A", "B"])
    assert [figure.mean for figure in figures] == [0, 0, 1, 1, 1, 1, 1]  # one false positive in two images is 1/2


def test_the_interval_is_that_of_resampled_patients() -> None:
    rng = np.random.default_rng(0)
    patients = [f"P{i}" for i in range(60)]
    candidates = []
    for _ in patients:
        found = rng.random(int(rng.integers(0, 5)))
        candidates.append(ImageCandidates(rng.random(int(rng.integers(0, 4))) * 0.8, found, found, found.size + 1))
    figures, _ = froc_figures(candidates, patients)

    def at_one_half(drawn: NDArray) -> float:
        table = froc_table([candidates[i] for i in drawn])
        return float(table.loc[table["fp_per_image"] <= 0.5, "sensitivity"].max())

    replicates = [at_one_half(rng.integers(0, 60, 60)) for _ in range(400)]
    figure = figures[FP_RATES.index(0.5)]
    assert figure.mean == pytest.approx(at_one_half(np.arange(60)))
    assert (figure.low, figure.high) == pytest.approx(np.quantile(replicates, [0.025, 0.975]), abs=0.04)
