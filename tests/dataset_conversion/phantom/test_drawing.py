"""Drawn solids have the projection that geometry gives them."""

from __future__ import annotations

import numpy as np
import pytest

from dataset_conversion.phantom.drawing import Frame, Plane

FRAME = Frame((200, 100), 2.0, 1.0, 1.0, 0.0, (0.0, 0.0))


def test_body_coordinates_start_at_the_middle_of_the_top_edge() -> None:
    assert FRAME.to_px([(0, 0), (10, 40)]).tolist() == [[50, 0], [55, 20]]


def test_a_ball_projects_to_its_volume_over_its_radius() -> None:
    plane = Plane(FRAME)
    plane.ellipsoid((0, 200), (40, 40), 1.0)
    radius_px = 20
    assert plane.activity.sum() == pytest.approx(2 / 3 * np.pi * radius_px**2, rel=0.01)
    assert plane.activity.max() == pytest.approx(1, abs=0.01)


def test_a_straight_tube_has_a_quarter_circle_of_activity_on_either_side() -> None:
    plane = Plane(FRAME)
    plane.tube([(0, 50), (0, 350)], 20, 1.0)
    assert plane.activity[100].sum() == pytest.approx(np.pi / 4 * 20, rel=0.02)


def test_a_hollow_tube_is_weaker_in_the_middle_than_a_solid_one_and_never_negative() -> None:
    solid, hollow = Plane(FRAME), Plane(FRAME)
    solid.tube([(0, 50), (0, 350)], 20, 1.0)
    hollow.tube([(0, 50), (0, 350)], 20, 1.0, hollow=0.3)
    assert hollow.activity[100, 50] < solid.activity[100, 50]
    assert hollow.activity.min() >= 0


def test_a_polygon_covers_its_area_and_what_lies_outside_the_image_is_cut_off() -> None:
    plane = Plane(FRAME)
    plane.polygon([(-20, 100), (20, 100), (20, 160), (-20, 160)], 1.0)
    assert plane.activity.sum() == pytest.approx(20 * 30, rel=0.06)
    plane.ellipsoid((500, 500), (10, 10), 1.0)
    plane.ellipsoid((-100, 0), (30, 30), 1.0)
    assert np.isfinite(plane.activity).all()
