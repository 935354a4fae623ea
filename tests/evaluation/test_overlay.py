from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from evaluation.overlay import (
    MISSED_COLOUR,
    PREDICTION_COLOUR,
    REFERENCE_COLOUR,
    SPURIOUS_COLOUR,
    grey_window,
    overlay_png,
    pixel_outline,
)


def drawn(reference: NDArray, prediction: NDArray) -> dict[str, int]:
    """Pixels near each colour (thin lines blend with what is below) in the picture, the legend's included."""
    image = np.ones(reference.shape, np.float32)
    png = matplotlib.image.imread(io.BytesIO(overlay_png(image, reference, prediction, (2.0, 2.0), title="x")))[..., :3]
    colours = {
        "reference": REFERENCE_COLOUR,
        "prediction": PREDICTION_COLOUR,
        "missed": MISSED_COLOUR,
        "spurious": SPURIOUS_COLOUR,
    }
    return {name: int((np.abs(png - to_rgb(colour)).max(axis=-1) < 0.12).sum()) for name, colour in colours.items()}


def test_found_missed_and_spurious_lesions_have_their_own_colours() -> None:
    empty, square, other = np.zeros((3, 60, 40), bool)
    square[10:30, 10:30] = True
    other[40:50, 10:30] = True
    legend = drawn(empty, empty)
    found, missed, spurious = drawn(square, square), drawn(square, empty), drawn(empty, other)
    for name, picture in (("reference", found), ("prediction", found), ("missed", missed), ("spurious", spurious)):
        assert picture[name] > legend[name] + 100, name
    for name in ("missed", "spurious"):
        assert found[name] == legend[name]
    assert missed["reference"] == legend["reference"]


def test_the_outline_of_a_missed_lesion_is_drawn_inside_its_ring() -> None:
    empty, square, comb = np.zeros((3, 60, 40), bool)
    square[10:30, 10:30] = True
    comb[10:30, 10:30:2] = comb[10, 10:30] = comb[10:30, 29] = True  # the same box and ring, a longer outline
    assert drawn(comb, empty)["missed"] > 1.5 * drawn(square, empty)["missed"]


def test_the_outline_follows_pixel_edges_in_mm() -> None:
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    segments = pixel_outline(mask, (2.0, 3.0))
    assert len(segments) == 2 * (2 + 3)
    assert (segments[..., 0].min(), segments[..., 0].max()) == (6.0, 15.0)
    assert (segments[..., 1].min(), segments[..., 1].max()) == (2.0, 6.0)
    assert np.linalg.norm(segments[:, 0] - segments[:, 1], axis=-1).sum() == pytest.approx(2 * (4.0 + 9.0))


def test_the_grey_window_leaves_the_hottest_pixels_above_it() -> None:
    image = np.zeros((100, 100), np.float32)
    image[:50] = np.arange(5000).reshape(50, 100) + 1
    low, high = grey_window(image)
    assert low == 0
    assert high == pytest.approx(0.995 * 5000, rel=0.001)
    assert grey_window(image + 1) == (1, high + 1)
    assert grey_window(np.full((3, 3), 4.0)) == (4.0, 5.0)
