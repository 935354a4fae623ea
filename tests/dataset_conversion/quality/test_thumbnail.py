from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataset_conversion.quality import thumbnail
from dataset_conversion.scintigram import Scintigram


def _pixels(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)


def _is_coloured(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0] - pixels[..., 2] > 60


@given(st.integers(8, 300), st.integers(8, 300), st.floats(0.5, 8), st.floats(0.5, 8))
@settings(max_examples=20)
def test_the_picture_has_the_proportions_of_the_scan_in_millimetres(
    height: int, width: int, row_mm: float, column_mm: float
) -> None:
    counts = np.random.default_rng(0).poisson(3, (height, width))
    pixels = _pixels(thumbnail(counts, None, (row_mm, column_mm)))
    assert max(pixels.shape[:2]) == 512
    expected = height * row_mm / (width * column_mm)
    assert abs(pixels.shape[0] - pixels.shape[1] * expected) <= max(expected, 1)


def test_more_counts_are_darker_and_no_counts_white(nm1: Scintigram) -> None:
    pixels = _pixels(thumbnail(nm1.counts, None, nm1.spacing_mm)).mean(axis=2)
    counts = nm1.counts.reshape(512, 2, 128, 2).mean(axis=(1, 3))
    assert np.corrcoef(pixels.ravel(), counts.ravel())[0, 1] < -0.75
    assert pixels[counts > np.percentile(counts, 99.8)].mean() < 40
    assert pixels[:, :4].min() > 245


def test_a_hot_bladder_leaves_the_skeleton_dark(nm1: Scintigram) -> None:
    hot = nm1.counts.astype(np.uint32)
    bladder = hot > 0.8 * hot.max()
    hot[bladder] *= 100
    plain, with_hot = (_pixels(thumbnail(c, None, nm1.spacing_mm)).mean(axis=2) for c in (nm1.counts, hot))
    away = ~bladder.reshape(512, 2, 128, 2).any(axis=(1, 3))
    assert abs(plain[away] - with_hot[away]).mean() < 3


@pytest.mark.parametrize("size", [1, 3, 20])
def test_a_lesion_of_any_size_is_ringed_in_colour_and_stays_free_itself(nm1: Scintigram, size: int) -> None:
    mask = np.zeros(nm1.counts.shape, np.uint8)
    mask[300 : 300 + size, 120 : 120 + size] = 1
    coloured = _is_coloured(_pixels(thumbnail(nm1.counts, mask, nm1.spacing_mm)))
    rows, columns = np.nonzero(coloured)
    assert coloured.sum() >= 12
    assert (rows.min(), columns.min()) >= (146, 56)
    assert rows.max() <= (300 + size) / 2 + 4
    assert columns.max() <= (120 + size) / 2 + 4
    if size == 20:
        assert not coloured[152:158, 62:68].any()
    assert not _is_coloured(_pixels(thumbnail(nm1.counts, mask * 0, nm1.spacing_mm))).any()


def test_pictures_are_small_and_the_same_every_time(normal: list) -> None:
    pictures = [thumbnail(one.view.counts, one.mask, one.view.spacing_mm) for one in normal]
    assert np.mean([len(picture) for picture in pictures]) < 4096
    assert pictures[0] == thumbnail(normal[0].view.counts, normal[0].mask, normal[0].view.spacing_mm)


def test_an_empty_frame_has_a_white_picture() -> None:
    assert _pixels(thumbnail(np.zeros((64, 32), np.uint16), None, (1.0, 1.0))).min() > 250
