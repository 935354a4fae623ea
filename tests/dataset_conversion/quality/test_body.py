from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import ellipse
from skimage.measure import block_reduce

from dataset_conversion.quality.body import find_body, mean_of_cells


@given(st.integers(1, 5), st.integers(1, 5), st.integers(6, 40), st.integers(6, 40))
def test_cells_hold_the_mean_of_their_pixels_and_an_incomplete_last_one_is_left_out(
    rows: int, columns: int, height: int, width: int
) -> None:
    pixels = np.random.default_rng(height * width).integers(0, 60000, (height, width)).astype(np.uint16)
    whole = pixels[: height // rows * rows, : width // columns * columns]
    expected = block_reduce(whole.astype(float), (rows, columns), np.mean)
    np.testing.assert_allclose(mean_of_cells(pixels, (rows, columns)), expected, rtol=1e-6)


def test_the_body_is_where_the_counts_are_whatever_the_pixel_size() -> None:
    rng = np.random.default_rng(0)
    for factor in (1, 2):
        expected = np.full((512 * factor, 256 * factor), 0.2)
        expected[ellipse(250 * factor, 130 * factor, 180 * factor, 60 * factor)] = 20
        body = find_body(rng.poisson(expected), (4.0 / factor, 4.0 / factor))
        assert body is not None
        in_cells = block_reduce(expected, body.cell_px, np.mean)[: body.inside.shape[0], : body.inside.shape[1]] > 10
        common = (in_cells & body.inside).sum() * 2 / (in_cells.sum() + body.inside.sum())
        assert common > 0.95
        assert body.cell_mm == (8.0, 8.0)
        assert body.top * body.cell_mm[0] == pytest.approx(70 * 4, abs=16)
        assert body.bottom * body.cell_mm[0] == pytest.approx(430 * 4, abs=16)


def test_letters_beside_the_patient_are_no_part_of_the_body(normal: list) -> None:
    counts = normal[0].view.counts.copy()
    counts[2:14, 2:60:3] = 400
    body = find_body(counts, normal[0].view.spacing_mm)
    assert body is not None
    assert not body.inside[:4, :16].any()


@pytest.mark.parametrize("counts", [np.zeros((256, 256), np.uint16), np.ones((31, 200), np.uint16)])
def test_without_counts_or_on_too_few_pixels_there_is_no_body(counts: np.ndarray) -> None:
    assert find_body(counts, (2.26, 2.26)) is None


def test_a_regional_view_is_no_whole_body(normal: list) -> None:
    view = normal[0].view
    whole, region = find_body(view.counts, view.spacing_mm), find_body(view.counts[200:456], view.spacing_mm)
    assert whole is not None
    assert region is not None
    assert whole.whole_body
    assert not region.whole_body
