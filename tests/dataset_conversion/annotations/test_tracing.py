from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline, LesionRegion
from dataset_conversion.annotations.tracing import trace
from dataset_conversion.rasterise import rasterise


def _rows(*rows: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in rows])


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    return np.array(bits).reshape(height, width)


CHECKERBOARD = np.indices((9, 8)).sum(axis=0) % 2 == 0


@settings(max_examples=200)
@given(masks())
@example(np.zeros((3, 4), bool))
@example(np.ones((3, 4), bool))
@example(CHECKERBOARD)
def test_any_mask_comes_back_pixel_for_pixel_through_a_labelme_file(
    tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray
) -> None:
    path = tmp_path_factory.getbasetemp() / "traced.json"
    labelme.write(path, AnnotatedView(trace(mask, "metastasis"), *mask.shape), "scan.png")
    (annotation,) = labelme.read(path)
    assert (annotation.content.height, annotation.content.width) == mask.shape
    drawn, grown = rasterise(annotation.content.outlines, mask.shape)
    assert np.array_equal(drawn.astype(bool), mask)
    assert grown == 0


@given(masks())
def test_each_lesion_keeps_its_own_shapes_and_parts_of_one_share_a_group(mask: np.ndarray) -> None:
    """A lesion is one outline, several outlines of one group, or one region: as many as there are 8-connected components."""
    numbered, n_lesions = ndimage.label(mask, np.ones((3, 3)))
    lesions: dict[object, set[int]] = {}
    for number, outline in enumerate(trace(mask, "lesion")):
        drawn = rasterise([outline], mask.shape)[0].astype(bool)
        name = outline.group if outline.group is not None else ("alone", number)
        lesions.setdefault(name, set()).update(np.unique(numbered[drawn]).tolist())
    assert sorted(lesion for found in lesions.values() for lesion in found) == list(range(1, n_lesions + 1))


def test_a_rectangle_has_the_fewest_corners_that_leave_its_pixel_centres_inside() -> None:
    (outline,) = trace(np.pad(np.ones((5, 7), bool), 2), "lesion")
    assert isinstance(outline, LesionOutline)
    assert len(outline.points) == 8


def test_a_lesion_with_a_hole_is_a_region_and_one_without_is_not() -> None:
    ring, blob = trace(_rows("###....", "#.#..##", "###..##"), "lesion")
    assert isinstance(ring, LesionRegion)
    assert (ring.top, ring.left, ring.mask.tolist()) == (0, 0, _rows("###", "#.#", "###").tolist())
    assert isinstance(blob, LesionOutline)


def test_pixels_that_touch_at_corners_round_a_gap_are_outlines_of_one_group() -> None:
    outlines = trace(_rows(".#.", "#.#", ".#."), "lesion")
    assert len(outlines) == 4
    assert len({outline.group for outline in outlines}) == 1
    assert outlines[0].group is not None


def test_an_outline_runs_half_way_between_lesion_and_background() -> None:
    (outline,) = trace(_rows("...", ".#.", "..."), "lesion")
    assert isinstance(outline, LesionOutline)
    assert sorted(map(tuple, outline.points.tolist())) == [(1.0, 1.5), (1.5, 1.0), (1.5, 2.0), (2.0, 1.5)]
    assert outline.group is None
