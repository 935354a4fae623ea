from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from dataset_conversion.annotations.outline import LesionOutline, LesionRegion
from dataset_conversion.errors import ConversionError
from dataset_conversion.rasterise import PIXEL_RULES, PixelRule, rasterise

SHAPE = (24, 20)


def _outline(points: object, label: str = "metastasis") -> LesionOutline:
    return LesionOutline(label, np.array(points, float))


def _inside_even_odd(x: float, y: float, points: np.ndarray) -> bool:
    """Count crossings of the ray to the right, one edge after another."""
    inside = False
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def _distance_to_line(x: float, y: float, points: np.ndarray) -> float:
    distances = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        length2 = float(((b - a) ** 2).sum())
        t = 0.0 if length2 == 0 else float(np.clip(np.dot((x, y) - a, b - a) / length2, 0, 1))
        distances.append(float(np.hypot(*(a + t * (b - a) - (x, y)))))
    return min(distances)


def _shoelace(points: np.ndarray) -> tuple[float, float]:
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    return float(area), float(np.hypot(*(np.roll(points, -1, axis=0) - points).T).sum())


within = st.floats(0, 20, allow_nan=False)
any_polygon = st.lists(st.tuples(within, within), min_size=3, max_size=7).map(lambda points: np.array(points, float))
star = st.tuples(st.tuples(st.floats(8, 12), st.floats(8, 16)), st.lists(st.floats(0.05, 7.5), min_size=5, max_size=16)).map(
    lambda drawn: (
        np.array(drawn[0])
        + np.array(drawn[1])[:, None]
        * np.array([(np.cos(a), np.sin(a)) for a in np.arange(len(drawn[1])) * 2 * np.pi / len(drawn[1])])
    )
)


@settings(max_examples=60)
@given(any_polygon)
def test_a_pixel_belongs_when_its_centre_is_inside_by_the_even_odd_rule(points: np.ndarray) -> None:
    mask, grown = rasterise([_outline(points)], SHAPE)
    if grown:
        mask = np.zeros(SHAPE, np.uint8)
    for row, column in np.ndindex(SHAPE):
        x, y = column + 0.5, row + 0.5
        if _distance_to_line(x, y, points) > 1e-6:  # on the line itself either answer is right
            assert mask[row, column] == _inside_even_odd(x, y, points), (row, column)


@given(star)
def test_the_mask_has_the_area_of_the_outline_within_its_perimeter(points: np.ndarray) -> None:
    """Jarnik: a simple closed curve of length L >= 1 holds its area in lattice points, within L."""
    mask, grown = rasterise([_outline(points)], SHAPE)
    area, perimeter = _shoelace(points)
    assume(perimeter >= 1 and not grown)
    assert abs(int(mask.sum()) - area) < perimeter


@given(st.floats(8, 12), st.floats(8, 16), st.floats(0.1, 7.5), st.floats(0.1, 7.5))
def test_a_convex_outline_is_right_within_half_its_perimeter(x: float, y: float, a: float, b: float) -> None:
    """Nosarzewska: for a convex region -L/2 < lattice points - area <= L/2 + 1."""
    angle = np.arange(40) * 2 * np.pi / 40
    points = np.stack([x + a * np.cos(angle), y + b * np.sin(angle)], axis=1)
    mask, grown = rasterise([_outline(points)], SHAPE)
    area, perimeter = _shoelace(points)
    difference = int(mask.sum()) - grown - area
    assert -perimeter / 2 < difference <= perimeter / 2 + 1


@given(
    st.lists(st.tuples(st.integers(8, 80), st.integers(8, 80)), min_size=3, max_size=7), st.integers(0, 6), st.integers(0, 6)
)
def test_shifting_the_outline_by_whole_pixels_shifts_the_mask(eighths: list[tuple[int, int]], right: int, down: int) -> None:
    points = np.array(eighths) / 8  # exact in binary, so that nothing is lost by shifting
    mask, _ = rasterise([_outline(points)], SHAPE)
    shifted, _ = rasterise([_outline(points + np.array([right, down]))], SHAPE)
    assert np.array_equal(np.roll(mask, (down, right), axis=(0, 1)), shifted)


@given(any_polygon, st.floats(1e-6, 1), st.sampled_from(PIXEL_RULES))
def test_an_outline_in_the_image_never_vanishes(points: np.ndarray, scale: float, rule: PixelRule) -> None:
    centre = np.clip(points.mean(axis=0), 0.1, 19.9)
    mask, grown = rasterise([_outline(centre + scale * (points - points.mean(axis=0)))], SHAPE, rule)
    assert mask.any()
    assert set(np.unique(mask)) <= {0, 1}
    assert mask.dtype == np.uint8
    assert grown in (0, 1)


def test_an_outline_between_pixel_centres_becomes_the_pixel_it_lies_in() -> None:
    mask, grown = rasterise([_outline([[6.7, 3.6], [6.9, 3.6], [6.8, 3.9]]), _outline([[1, 1], [4, 1], [4, 4], [1, 4]])], SHAPE)
    assert grown == 1
    assert mask[3, 6] == 1
    assert mask.sum() == 1 + 9


def test_a_square_on_pixel_edges_covers_exactly_its_pixels() -> None:
    mask, grown = rasterise([_outline([[3, 5], [7, 5], [7, 8], [3, 8]])], SHAPE)
    expected = np.zeros(SHAPE, np.uint8)
    expected[5:8, 3:7] = 1
    assert np.array_equal(mask, expected)
    assert grown == 0


@pytest.mark.parametrize("rule", PIXEL_RULES)
def test_overlapping_outlines_are_united(rule: PixelRule) -> None:
    a, b = _outline([[2, 2], [8, 2], [8, 8], [2, 8]]), _outline([[5, 5], [12, 5], [12, 12], [5, 12]])
    both, _ = rasterise([a, b], SHAPE, rule)
    assert np.array_equal(both, rasterise([a], SHAPE, rule)[0] | rasterise([b], SHAPE, rule)[0])
    assert both.max() == 1


def test_parts_beyond_the_image_are_cut_off() -> None:
    mask, _ = rasterise([_outline([[-5, -5], [3, -5], [3, 2], [-5, 2]])], SHAPE)
    assert mask.sum() == 6
    assert mask[:2, :3].all()


@pytest.mark.parametrize("rule", PIXEL_RULES)
@pytest.mark.parametrize("offset", [(-9, 0), (25, 0), (0, -9), (0, 30), (1e9, 0)])
def test_an_outline_outside_the_image_is_named(rule: PixelRule, offset: tuple[float, float]) -> None:
    inside = _outline([[2, 2], [8, 2], [8, 8]])
    outside = _outline(inside.points + offset, "lesion")
    with pytest.raises(ConversionError, match=r"outline 2 \('lesion'\) lies outside the image"):
        rasterise([inside, outside], SHAPE, rule)


@pytest.mark.parametrize("rule", PIXEL_RULES)
@pytest.mark.parametrize("far", [1e7, 1e12, 1e300])
def test_an_outline_that_reaches_beyond_reason_is_refused_not_shrunk(rule: PixelRule, far: float) -> None:
    with pytest.raises(ConversionError, match="outside the image"):
        rasterise([_outline([[-far, -far], [far, -far], [far, far]])], SHAPE, rule)


@settings(max_examples=50)
@given(any_polygon)
def test_the_labelme_rule_draws_what_labelme_exports(points: np.ndarray) -> None:
    canvas = Image.fromarray(np.zeros(SHAPE, np.uint8))
    ImageDraw.Draw(canvas).polygon(xy=[tuple(point) for point in points.tolist()], outline=1, fill=1)
    expected = np.array(canvas)
    mask, grown = rasterise([_outline(points)], SHAPE, "labelme")
    assert np.array_equal(mask, expected) or (grown == 1 and not expected.any())


def test_the_labelme_rule_makes_a_disc_of_two_pixels_radius_much_too_large() -> None:
    """63 % over many positions; the centre rule has the right area on average."""
    rng = np.random.default_rng(0)
    angle = np.arange(64) * 2 * np.pi / 64
    sums = dict.fromkeys(PIXEL_RULES, 0)
    for x, y in rng.uniform(8, 12, (400, 2)):
        disc = _outline(np.stack([x + 2 * np.cos(angle), y + 2 * np.sin(angle)], axis=1))
        for rule in PIXEL_RULES:
            sums[rule] += int(rasterise([disc], SHAPE, rule)[0].sum())
    assert sums["centre"] / 400 == pytest.approx(np.pi * 4, rel=0.03)
    assert sums["labelme"] / 400 == pytest.approx(1.63 * np.pi * 4, rel=0.05)


def _inside_winding(x: float, y: float, points: np.ndarray) -> float:
    """How often the line runs round a point: the angles its corners are seen under, added up."""
    angles = np.arctan2(points[:, 1] - y, points[:, 0] - x)
    turns = np.diff(angles, append=angles[0])
    return float(np.round(((turns + np.pi) % (2 * np.pi) - np.pi).sum() / (2 * np.pi)))


def test_the_core_of_a_star_drawn_in_one_stroke_is_outside() -> None:
    """A pentagram encloses its core twice, its points once."""
    angle = np.arange(5) * 4 * np.pi / 5
    points = np.stack([10.2 + 9 * np.sin(angle), 12.1 - 9 * np.cos(angle)], axis=1)
    mask, _ = rasterise([_outline(points)], SHAPE)
    assert mask[12, 10] == 0
    turns = np.array([[_inside_winding(column + 0.5, row + 0.5, points) for column in range(20)] for row in range(24)])
    assert np.array_equal(mask, (turns % 2).astype(np.uint8))
    assert (turns == 2).any()


def test_a_hole_is_drawn_by_running_to_an_inner_ring_and_back() -> None:
    keyhole = [[2, 2], [12, 2], [12, 12], [2, 12], [2, 2], [5, 5], [5, 9], [9, 9], [9, 5], [5, 5]]
    mask, _ = rasterise([_outline(keyhole)], SHAPE)
    expected = np.zeros(SHAPE, np.uint8)
    expected[2:12, 2:12] = 1
    expected[5:9, 5:9] = 0
    differing = np.argwhere(mask != expected)
    assert all(row == column for row, column in differing), "only pixels whose centre lies on the way in may differ"
    assert not mask[6:9, 5].any()
    assert mask.sum() == pytest.approx(100 - 16, abs=1)


def _region(mask: object, top: int, left: int, label: str = "metastasis") -> LesionRegion:
    return LesionRegion(label, np.array(mask, bool), top, left)


@pytest.mark.parametrize("rule", PIXEL_RULES)
@given(
    st.lists(st.booleans(), min_size=12, max_size=12).filter(any),
    st.integers(-5, 26),
    st.integers(-6, 22),
)
def test_a_region_is_its_own_pixels_under_every_rule(rule: PixelRule, bits: list[bool], top: int, left: int) -> None:
    region = _region(np.array(bits).reshape(3, 4), top, left)
    inside = {
        (top + row, left + column)
        for row, column in np.argwhere(region.mask).tolist()
        if 0 <= top + row < SHAPE[0] and 0 <= left + column < SHAPE[1]
    }
    if not inside:
        with pytest.raises(ConversionError, match=r"region 1 \('metastasis'\) has no pixel inside the image"):
            rasterise([region], SHAPE, rule)
        return
    mask, grown = rasterise([region], SHAPE, rule)
    assert {tuple(pixel) for pixel in np.argwhere(mask).tolist()} == inside
    assert (grown, mask.dtype) == (0, np.uint8)


def test_regions_and_outlines_are_united() -> None:
    mask, grown = rasterise([_region([[1, 0, 1]], 3, 2), _outline([[3, 3], [4, 3], [4, 4], [3, 4]])], SHAPE)
    assert np.argwhere(mask).tolist() == [[3, 2], [3, 3], [3, 4]]
    assert grown == 0


def test_an_empty_region_is_refused_not_lost() -> None:
    with pytest.raises(ConversionError, match=r"region 2 .* no pixel inside"):
        rasterise([_region([[1]], 0, 0), _region([[0]], 0, 0)], SHAPE)
