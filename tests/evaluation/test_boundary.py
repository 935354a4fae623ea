from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import directed_hausdorff
from skimage.measure import find_contours

from evaluation.boundary import boundary_measures, directed_averages, outline


def looped_outline(mask: NDArray, spacing: tuple[float, float]) -> Iterator[tuple[tuple[float, float], float]]:
    """Corners of pixels whose four pixels are not alike, looked up one by one, with marching squares' length there."""
    inside = {tuple(map(int, p)) for p in np.argwhere(mask)}
    row_mm, col_mm = spacing
    for row, col in product(range(-1, mask.shape[0]), range(-1, mask.shape[1])):
        a, b, c, d = ((row + i, col + j) in inside for i, j in product((0, 1), repeat=2))
        # Middles of the sides of the square between the four pixel centres where the outline passes.
        sides = (((0, 0.5), a, b), ((1, 0.5), c, d), ((0.5, 0), a, c), ((0.5, 1), b, d))
        crossings = [point for point, one, other in sides if one != other]
        if len(crossings) == 2:
            (y0, x0), (y1, x1) = crossings
            yield ((row + 0.5) * row_mm, (col + 0.5) * col_mm), float(np.hypot((y1 - y0) * row_mm, (x1 - x0) * col_mm))
        elif crossings:
            yield ((row + 0.5) * row_mm, (col + 0.5) * col_mm), float(np.hypot(row_mm, col_mm))


def weighted_percentile(distances: list[float], weights: list[float], share: float) -> float:
    """Smallest distance that `share` of the weight does not exceed, by trying every one."""
    total = sum(weights)
    within = (
        d for d in sorted(distances) if sum(w for e, w in zip(distances, weights, strict=True) if e <= d) >= share * total
    )
    return next(within)


@pytest.mark.parametrize("spacing", [(2.26, 2.26), (1.0, 3.5)])
def test_all_measures_equal_a_loop_over_all_elements(blobs: Callable[..., NDArray], spacing: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    for _ in range(3):
        masks = blobs(rng, (24, 20), 3), blobs(rng, (24, 20), 3)
        a, b = (list(looped_outline(mask, spacing)) for mask in masks)
        there = [min(float(np.hypot(*np.subtract(p, q))) for q, _ in b) for p, _ in a]
        back = [min(float(np.hypot(*np.subtract(p, q))) for q, _ in a) for p, _ in b]
        weight = [w for _, w in a], [w for _, w in b]
        measured = boundary_measures(*masks, spacing, tolerance_mm=4.1)
        both, lengths = there + back, weight[0] + weight[1]
        farthest = weighted_percentile(there, weight[0], 0.95), weighted_percentile(back, weight[1], 0.95)
        assert measured.hd95_mm == pytest.approx(max(farthest), abs=1e-6)
        assert measured.asd_mm == pytest.approx(np.dot(both, lengths) / sum(lengths), abs=1e-6)
        near = sum(w for d, w in zip(both, lengths, strict=True) if d <= 4.1)
        assert measured.nsd == pytest.approx(near / sum(lengths), abs=1e-6)
        averages = np.average(there, weights=weight[0]), np.average(back, weights=weight[1])
        assert directed_averages(*masks, spacing) == pytest.approx(averages, abs=1e-6)


def test_the_length_of_an_outline_is_that_of_scikit_images_contours() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        mask = rng.random((17, 12)) < 0.4
        contours = find_contours(np.pad(mask, 1).astype(float), 0.5)
        length = sum(np.hypot(*(np.diff(c, axis=0) * (2.0, 3.0)).T).sum() for c in contours)
        assert outline(mask, (2.0, 3.0)).weights.sum() == pytest.approx(length)


def test_a_balls_surface_has_the_area_of_a_sphere_and_that_of_a_hollow_is_the_same() -> None:
    ball = (((np.indices((31, 31, 31)) - 15) * np.array([2.0, 1.0, 1.0])[:, None, None, None]) ** 2).sum(axis=0) <= 12**2
    area = outline(ball, (2.0, 1.0, 1.0)).weights.sum()
    assert area == pytest.approx(4 * np.pi * 12**2, rel=0.12)  # stairs are longer than a slope
    hollow = np.pad(~ball, 1, constant_values=True)
    box = outline(np.ones_like(hollow), (2.0, 1.0, 1.0)).weights.sum()
    assert outline(hollow, (2.0, 1.0, 1.0)).weights.sum() == pytest.approx(area + box)


def test_distances_between_volumes_are_those_of_scipy(blobs: Callable[..., NDArray]) -> None:
    rng = np.random.default_rng(3)
    masks = blobs(rng, (9, 11, 8), 3), blobs(rng, (9, 11, 8), 3)
    points = [outline(mask, (3.0, 1.0, 2.0)).points_mm for mask in masks]
    largest = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    assert boundary_measures(*masks, (3.0, 1.0, 2.0), tolerance_mm=largest).nsd == 1
    assert boundary_measures(*masks, (3.0, 1.0, 2.0), tolerance_mm=largest - 1e-6).nsd < 1
    assert boundary_measures(*masks, (3.0, 1.0, 2.0)).hd95_mm <= largest


def test_two_bars_ten_mm_apart() -> None:
    masks = np.zeros((2, 40, 20), bool)
    masks[0, :10], masks[1, :15] = True, True
    measured = boundary_measures(*masks, (2.0, 1.0), tolerance_mm=9.9)
    assert measured.hd95_mm == 10.0
    # Outlines of 80 and 100 mm; only the lower edge of the longer bar lies farther than 9.9 mm.
    assert measured.nsd == pytest.approx((80 + 100 - 20) / 180, abs=0.02)
    assert boundary_measures(*masks, (2.0, 1.0), tolerance_mm=10.0).nsd == 1.0


def test_the_empty_case_rule_sets_diagonal_zero_and_undefined() -> None:
    empty, lesion = np.zeros((30, 40), bool), np.ones((30, 40), bool)
    assert boundary_measures(lesion, empty, (2.0, 2.0)) == (100.0, 100.0, 0.0)
    assert boundary_measures(empty, lesion, (2.0, 2.0)) == (100.0, 100.0, 0.0)
    assert np.isnan(boundary_measures(empty, empty, (2.0, 2.0))).all()
    assert outline(empty, (2.0, 2.0)).points_mm.shape == (0, 2)


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (8, 9)), arrays(bool, (8, 9)))
def test_boundary_measures_are_symmetric_unmoved_by_flips_and_scale_with_the_pixel(a: NDArray, b: NDArray) -> None:
    measured = boundary_measures(a, b, (1.5, 2.0), 3.0)
    np.testing.assert_allclose(boundary_measures(b, a, (1.5, 2.0), 3.0), measured)
    np.testing.assert_allclose(boundary_measures(a[::-1, ::-1], b[::-1, ::-1], (1.5, 2.0), 3.0), measured)
    np.testing.assert_allclose(boundary_measures(a.T, b.T, (2.0, 1.5), 3.0), measured)
    doubled = boundary_measures(a, b, (3.0, 4.0), 6.0)
    np.testing.assert_allclose(doubled, (2 * measured.hd95_mm, 2 * measured.asd_mm, measured.nsd))


@settings(max_examples=25, deadline=None)
@given(arrays(bool, (4, 5, 3)), arrays(bool, (4, 5, 3)))
def test_boundary_measures_of_volumes_are_symmetric_and_unmoved_by_flips(a: NDArray, b: NDArray) -> None:
    measured = boundary_measures(a, b, (1.5, 2.0, 1.0), 2.0)
    np.testing.assert_allclose(boundary_measures(b, a, (1.5, 2.0, 1.0), 2.0), measured)
    flipped = boundary_measures(a[::-1, :, ::-1], b[::-1, :, ::-1], (1.5, 2.0, 1.0), 2.0)
    np.testing.assert_allclose(flipped, measured)


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (7, 6)), arrays(bool, (7, 6)))
def test_a_wider_tolerance_never_lowers_the_surface_dice(a: NDArray, b: NDArray) -> None:
    if a.any() and b.any():
        shares = [boundary_measures(a, b, (1.0, 1.0), mm).nsd for mm in (0.1, 1.0, 2.0, 20.0)]
        assert shares == sorted(shares)
        assert shares[-1] == 1
        assert boundary_measures(a, a, (1.0, 1.0), 0.1) == (0, 0, 1)
