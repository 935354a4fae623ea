from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evaluation.lesions import (
    clustered_lesions,
    connected_components,
    contrast,
    keep_lesions,
    lesion_columns,
    without_small,
)


def lesion_table(labels: NDArray, number: int, spacing: tuple[float, ...], **options) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    return pd.DataFrame(lesion_columns(labels, number, spacing, **options))


def flooded(mask: NDArray, diagonal: bool) -> set[frozenset[tuple[int, ...]]]:
    """Components by flooding pixel by pixel."""
    steps = [s for s in product((-1, 0, 1), repeat=mask.ndim) if any(s) and (diagonal or sum(map(abs, s)) == 1)]
    left = {tuple(map(int, p)) for p in np.argwhere(mask)}
    components = set()
    while left:
        queue = deque([left.pop()])
        component = set(queue)
        while queue:
            here = queue.popleft()
            for step in steps:
                there = tuple(a + b for a, b in zip(here, step, strict=True))
                if there in left:
                    left.remove(there)
                    component.add(there)
                    queue.append(there)
        components.add(frozenset(component))
    return components


def as_sets(labels: NDArray, number: int) -> set[frozenset[tuple[int, ...]]]:
    return {frozenset(tuple(map(int, p)) for p in np.argwhere(labels == i + 1)) for i in range(number)}


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("shape", [(11, 9), (5, 6, 4)])
def test_components_equal_a_pixel_by_pixel_flood(shape: tuple[int, ...], connectivity: int) -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.15, 0.4, 1.0):
        mask = rng.random(shape) < share
        assert as_sets(*connected_components(mask, connectivity)) == flooded(mask, connectivity == 8)


def test_pixels_that_touch_at_a_corner_are_one_lesion_unless_four_connected() -> None:
    corner = np.eye(2, dtype=bool)
    assert connected_components(corner, 8)[1] == 1
    assert connected_components(corner, 4)[1] == 2


def test_table_states_size_place_and_image_sum_of_a_drawn_lesion() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4:7, 10:14] = True
    image = np.full(mask.shape, 0.5)
    labels, number = connected_components(mask)
    row = lesion_table(labels, number, (2.0, 3.0), image=image).iloc[0]
    assert (row["lesion"], row["area_px"], row["area_mm2"]) == (1, 12, 72.0)
    assert row["diameter_mm"] == pytest.approx(9.5746, abs=1e-4)  # sqrt(4 * 72 / 3.14159)
    assert (row["centroid_row_px"], row["centroid_col_px"]) == (5.0, 11.5)
    assert row["image_sum"] == 6.0
    assert not row["clustered"]


def test_a_volume_has_the_diameter_of_a_ball_and_a_plane() -> None:
    grid = np.indices((21, 21, 21)) - 10
    labels, number = connected_components((grid**2).sum(axis=0) <= 81)
    row = lesion_table(labels, number, (1.0, 1.0, 1.0)).iloc[0]
    assert row["diameter_mm"] == pytest.approx(18, rel=0.03)
    assert row["volume_mm3"] == row["volume_px"]
    assert row["centroid_plane_px"] == pytest.approx(10)


def test_a_table_without_lesions_keeps_its_columns() -> None:
    labels, number = connected_components(np.zeros((5, 5), bool))
    table = lesion_table(labels, number, (1.0, 1.0))
    assert len(table) == 0
    assert {"lesion", "area_px", "diameter_mm", "clustered", "image_sum", "contrast"} <= set(table.columns)


@pytest.mark.parametrize("shape", [(40, 30), (12, 14, 10)])
def test_clustered_equals_all_pairs_of_pixels(blobs: Callable[..., NDArray], shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    spacing = (2.0, 3.0, 1.5)[: len(shape)]
    seen = set()
    for _ in range(5):
        labels, number = connected_components(blobs(rng, shape, 5))
        points = [np.argwhere(labels == i + 1) * spacing for i in range(number)]
        for within in (4.0, 9.0):
            near = [
                any(np.linalg.norm(a[:, None] - b[None], axis=-1).min() <= within for j, b in enumerate(points) if j != i)
                for i, a in enumerate(points)
            ]
            assert clustered_lesions(labels, number, spacing, within).tolist() == near
            seen.update(near)
    assert seen == {True, False}


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (10, 8)))
def test_flips_leave_sizes_and_clusters_as_they_are(mask: NDArray) -> None:
    def described(flipped: NDArray) -> list[tuple[float, bool]]:
        table = lesion_table(*connected_components(flipped), (2.0, 2.0), cluster_mm=5.0)
        return sorted(zip(table["area_mm2"], table["clustered"], strict=True))

    assert described(mask) == described(mask[::-1]) == described(mask[:, ::-1])


@pytest.mark.parametrize("shape", [(24, 30), (9, 10, 8)])
def test_contrast_equals_a_loop_over_lesions_and_pixels(blobs: Callable[..., NDArray], shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    spacing = (2.0, 3.0, 1.5)[: len(shape)]
    for _ in range(4):
        labels, number = connected_components(blobs(rng, shape, 4))
        image = rng.poisson(9, shape).astype(float)
        expected = []
        for lesion in range(1, number + 1):
            mine = np.argwhere(labels == lesion) * spacing
            ring = [p for p in np.argwhere(labels == 0) if np.linalg.norm(mine - p * spacing, axis=1).min() <= 5.0]
            expected.append(image[labels == lesion].mean() / np.mean([image[tuple(p)] for p in ring]))
        assert contrast(labels, number, spacing, image, 5.0) == pytest.approx(expected)


def test_contrast_is_undefined_where_nothing_lies_around() -> None:
    everywhere = np.ones((4, 4), np.int32)
    assert np.isnan(contrast(everywhere, 1, (1.0, 1.0), np.ones((4, 4)))).all()
    one = np.zeros((9, 9), np.int32)
    one[4, 4] = 1
    assert np.isnan(contrast(one, 1, (1.0, 1.0), one.astype(float))).all()  # and not infinite


def test_small_lesions_go_and_the_others_are_numbered_anew() -> None:
    mask = np.zeros((6, 12), bool)
    mask[1, 1], mask[1, 4:7], mask[4, 2:4], mask[4, 8:12] = True, True, True, True
    labels, number = without_small(*connected_components(mask), (2.0, 0.5), 2.0)
    assert number == 3  # a lesion of exactly 2 px = 2 mm2 stays
    assert [int((labels == i).sum()) for i in (1, 2, 3)] == [3, 2, 4]
    assert not labels[1, 1]
    again, number_again = connected_components(labels > 0)
    assert number_again == number
    assert (again == labels).all()  # numbers are those of the mask that is left
    assert without_small(labels, number, (1.0, 1.0), 0.0)[1] == 3
    assert keep_lesions(labels, np.array([False, True, False]))[0].tolist() == (labels == 2).astype(int).tolist()
