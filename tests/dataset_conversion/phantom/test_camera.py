"""The camera blurs and weakens with depth, scatters a fixed share, and exchanges left and right behind the patient."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_conversion.phantom import camera
from dataset_conversion.phantom.parameters import DEFAULT


def point(row: int = 512, column: int = 100) -> np.ndarray:
    activity = np.zeros(DEFAULT.shape, np.float32)
    activity[row, column] = 1000
    return activity


def full_width_at_half_maximum_mm(image: np.ndarray) -> float:
    """By linear interpolation along the row of the maximum: no Gaussian is assumed."""
    row = image[np.unravel_index(image.argmax(), image.shape)[0]]
    fine = np.interp(np.arange(0, len(row), 0.01), np.arange(len(row)), row)
    return float((fine > row.max() / 2).sum() * 0.01 * DEFAULT.spacing_mm)


def test_a_point_is_blurred_to_the_stated_resolution_and_more_so_in_the_depth() -> None:
    widths = [full_width_at_half_maximum_mm(camera.seen(point(), depth, DEFAULT)) for depth in DEFAULT.plane_depth_mm]
    assert widths == pytest.approx([6.7, 9.6, 12.7], rel=0.08)


def test_attenuation_halves_the_counts_every_60_mm() -> None:
    near, far = (camera.seen(point(), depth, DEFAULT).sum() for depth in (30, 30 + np.log(2) / DEFAULT.attenuation_per_mm))
    assert far / near == pytest.approx(0.5, rel=1e-3)


def test_scatter_holds_its_share_of_the_counts_and_has_no_edges() -> None:
    primary = camera.seen(point(512, 128), 90, DEFAULT)
    pedestal = camera.scatter(primary, DEFAULT)
    assert pedestal.sum() / primary.sum() == pytest.approx(DEFAULT.scatter_fraction, rel=0.05)
    assert pedestal.max() < 0.02 * primary.max()


def test_what_lies_behind_is_seen_better_from_behind() -> None:
    empty = np.zeros(DEFAULT.shape, np.float32)
    planes = [empty, empty, point()]
    front, back = (camera.projection(planes, view, DEFAULT) for view in ("anterior", "posterior"))
    assert back.max() > 3 * front.max()


def test_the_posterior_camera_sees_left_and_right_exchanged() -> None:
    image = point(10, 20)
    assert camera.as_camera_sees(image, "anterior") is image
    assert camera.as_camera_sees(image, "posterior")[10, DEFAULT.shape[1] - 1 - 20] == 1000
