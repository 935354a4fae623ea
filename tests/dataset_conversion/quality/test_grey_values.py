from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from dataset_conversion.quality.grey_values import clipped_pixels, has_gaps, histogram, repeated_share, text_values


def with_text(counts: np.ndarray, value: int, at: tuple[int, int], words: str = "DOE JANE", size: int = 11) -> np.ndarray:
    canvas = Image.new("1", counts.shape[::-1])
    ImageDraw.Draw(canvas).text(at, words, fill=1, font=ImageFont.load_default(size))
    return np.where(np.asarray(canvas), value, counts)


@given(st.floats(1.12, 4), st.booleans())
@settings(max_examples=30)
def test_stretching_by_nearest_neighbour_repeats_one_row_in_the_share_that_the_factor_says(
    factor: float, sideways: bool
) -> None:
    counts = np.random.default_rng(1).poisson(3, (200, 60))
    stretched = counts[(np.arange(int(200 * factor)) / factor).astype(int)]
    found = repeated_share(stretched.T if sideways else stretched)
    assert found == pytest.approx(1 - 1 / factor, abs=0.01)


def test_empty_rows_above_the_head_are_no_repetition(normal: list) -> None:
    for one in normal:
        assert repeated_share(np.pad(one.view.counts, ((500, 500), (0, 0)))) < 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_the_histogram_is_numpys(dtype: type) -> None:
    counts = np.random.default_rng(2).poisson(9, (50, 40)).astype(dtype)
    if dtype is np.uint32:
        counts[0, 0] = 5_000_000
    values, number = np.unique(counts, return_counts=True)
    for found, expected in zip(histogram(counts), (values, number), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_clipping_is_seen_and_its_pixels_counted(normal: list) -> None:
    for one in normal:
        counts = one.view.counts
        assert clipped_pixels(*histogram(counts)) == 0
        limit = int(np.percentile(counts, 99.8))
        assert clipped_pixels(*histogram(np.minimum(counts, limit))) == np.count_nonzero(counts >= limit)


@pytest.mark.parametrize("limit", [255, 4095, 65535])
def test_at_the_limit_of_a_data_type_a_handful_of_clipped_pixels_is_enough(limit: int) -> None:
    counts = np.random.default_rng(0).poisson(9, (200, 100))
    counts[100] = np.linspace(40, limit - 40, 100)  # a bladder: few pixels a value
    counts[5, 5:11] = limit
    assert clipped_pixels(*histogram(counts)) == 6
    counts[5, 5:11] = limit - 1
    assert clipped_pixels(*histogram(counts)) == 0


def test_a_scan_with_few_counts_shares_its_maximum_honestly(normal: list) -> None:
    rng = np.random.default_rng(3)
    for one in normal:
        assert clipped_pixels(*histogram(rng.binomial(one.view.counts, 0.02))) == 0


def test_a_maximum_as_common_as_the_values_below_it_was_not_clipped() -> None:
    assert clipped_pixels(*histogram(np.random.default_rng(0).integers(0, 41, (100, 100)))) == 0


def test_counts_stretched_to_a_grey_range_leave_gaps(normal: list, nm1) -> None:
    for counts in [*(one.view.counts for one in normal), nm1.counts]:
        assert not has_gaps(*histogram(counts))
        assert has_gaps(*histogram((counts * (65535 / counts.max())).astype(np.uint16)))
        assert has_gaps(*histogram(counts * 2))


@pytest.mark.parametrize("at", [(5, 5), (150, 1000), (90, 300)])
def test_letters_are_found_in_every_corner_and_on_the_body(normal: list, at: tuple[int, int]) -> None:
    for one in normal:
        counts = one.view.counts
        value = int(counts.max())
        letters = with_text(np.zeros_like(counts), 1, at)
        assert letters.sum() > 100
        written = with_text(counts, value, at)
        found = text_values(written, *histogram(written))
        assert list(found) == [value]
        assert abs(found[value] - letters.sum()) <= 5


def test_neither_a_clipped_bladder_nor_a_rescaled_scan_reads_as_text(normal: list, nm1) -> None:
    for counts in [*(one.view.counts for one in normal), nm1.counts]:
        for changed in (counts, np.minimum(counts, 60), counts * 7, np.repeat(np.repeat(counts, 3, 0), 3, 1)):
            assert text_values(changed, *histogram(changed)) == {}
