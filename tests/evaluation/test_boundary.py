from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import directed_hausdorff

from evaluation.boundary import boundary_measures, surface_distances, surface_points


def looped_surface(mask: NDArray, spacing: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Pixels with a face neighbour that is outside the mask or the image, looked up one by one."""
    steps = [s for s in product((-1, 0, 1), repeat=mask.ndim) if sum(map(abs, s)) == 1]
    inside = {tuple(map(int, p)) for p in np.argwhere(mask)}
    border = [p for p in sorted(inside) if any(tuple(np.add(p, s).tolist()) not in inside for s in steps)]
    return [tuple(i * mm for i, mm in zip(p, spacing, strict=True)) for p in border]


@pytest.mark.parametrize(
    ("shape", "spacing"), [((30, 24), (2.26, 2.26)), ((30, 24), (1.0, 3.5)), ((9, 11, 8), (3.0, 1.0, 2.0))]
)
def test_hd95_and_nsd_equal_a_loop_over_all_surface_pixels(
    blobs: Callable[..., NDArray], shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(2)
    for _ in range(4):
        masks = blobs(rng, shape, 3), blobs(rng, shape, 3)
        a, b = (looped_surface(mask, spacing) for mask in masks)
        there = [min(float(np.hypot.reduce(np.subtract(p, q))) for q in b) for p in a]
        back = [min(float(np.hypot.reduce(np.subtract(p, q))) for q in a) for p in b]
        measured = boundary_measures(*masks, spacing, tolerance_mm=4.1)
        assert measured.hd95_mm == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert measured.nsd == pytest.approx(sum(d <= 4.1 for d in there + back) / len(there + back))
        ours = surface_distances(*masks, spacing)
        assert ours[0].max() == pytest.approx(directed_hausdorff(np.array(a), np.array(b))[0])
        assert ours[1].max() == pytest.approx(directed_hausdorff(np.array(b), np.array(a))[0])


def test_two_lines_ten_mm_apart_have_hd95_of_ten_mm() -> None:
    masks = np.zeros((2, 20, 20), bool)
    masks[0, 5], masks[1, 10] = True, True
    assert boundary_measures(*masks, (2.0, 1.0), tolerance_mm=9.9) == (10.0, 0.0)
    assert boundary_measures(*masks, (2.0, 1.0), tolerance_mm=10.0) == (10.0, 1.0)


def test_the_empty_case_rule_sets_diagonal_zero_and_undefined() -> None:
    empty, lesion = np.zeros((30, 40), bool), np.ones((30, 40), bool)
    assert boundary_measures(lesion, empty, (2.0, 2.0)) == (100.0, 0.0)
    assert boundary_measures(empty, lesion, (2.0, 2.0)) == (100.0, 0.0)
    assert np.isnan(boundary_measures(empty, empty, (2.0, 2.0))).all()
    assert surface_points(empty, (2.0, 2.0)).shape == (0, 2)


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (8, 9)), arrays(bool, (8, 9)))
def test_boundary_measures_are_symmetric_unmoved_by_flips_and_scale_with_the_pixel(a: NDArray, b: NDArray) -> None:
    measured = boundary_measures(a, b, (1.5, 2.0), 3.0)
    np.testing.assert_allclose(boundary_measures(b, a, (1.5, 2.0), 3.0), measured)
    np.testing.assert_allclose(boundary_measures(a[::-1, ::-1], b[::-1, ::-1], (1.5, 2.0), 3.0), measured)
    np.testing.assert_allclose(boundary_measures(a, b, (3.0, 4.0), 6.0), (2 * measured.hd95_mm, measured.nsd))
