from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline
from dataset_conversion.errors import ConversionError

TRIANGLE = [[1.0, 2.0], [5.5, 2.0], [3.0, 8.25]]


def _file(tmp_path: Path, *shapes: Any, **changes: Any) -> Path:
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    path = tmp_path / "scan_anterior.json"
    path.write_text(json.dumps({**content, "imageHeight": 40, "imageWidth": 20, **changes}))
    return path


def _shape(kind: str = "polygon", points: Any = TRIANGLE, **changes: Any) -> dict[str, Any]:
    return {"label": "metastasis", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **changes}


def test_a_polygon_keeps_label_group_and_unshifted_points(tmp_path: Path) -> None:
    view = labelme.read(_file(tmp_path, _shape(group_id=3)))
    assert (view.height, view.width) == (40, 20)
    assert (view.outlines[0].label, view.outlines[0].group) == ("metastasis", 3)
    assert view.outlines[0].points.tolist() == TRIANGLE


def test_no_shapes_are_a_lesion_free_view(tmp_path: Path) -> None:
    assert labelme.read(_file(tmp_path)).outlines == ()


def test_a_rectangle_of_two_corners_becomes_four_in_order_round_it(tmp_path: Path) -> None:
    view = labelme.read(_file(tmp_path, _shape("rectangle", [[9, 4], [3, 6]])))
    assert view.outlines[0].points.tolist() == [[9, 4], [3, 4], [3, 6], [9, 6]]
    corners = [[9, 4], [3, 4], [3, 6], [9, 6]]
    assert labelme.read(_file(tmp_path, _shape("rectangle", corners))).outlines[0].points.tolist() == corners


def test_a_circle_has_the_area_and_centre_of_centre_and_rim(tmp_path: Path) -> None:
    points = labelme.read(_file(tmp_path, _shape("circle", [[10, 12], [13, 16]]))).outlines[0].points
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(np.pi * 25, rel=1e-3)
    assert points.mean(axis=0) == pytest.approx([10, 12])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (_shape("linestrip"), "shape 2 ('metastasis') is of type 'linestrip'"),
        (_shape("mask"), "is of type 'mask'"),
        (_shape(points=TRIANGLE[:2]), "at least 3 points, found 2"),
        (_shape("circle"), "2 points (centre and rim), found 3"),
        (_shape("rectangle"), "2 or 4 points, found 3"),
        (_shape(points=[[1, 2], [3, float("nan")], [5, 6]]), "point 2 must be two finite numbers"),
        (_shape(points=[[1, 2], [3, "4"], [5, 6]]), "point 2 must be"),
        (_shape(points=[[1, 2], [3, True], [5, 6]]), "point 2 must be"),
        (_shape(points=[[1, 2], [10**400, 4], [5, 6]]), "point 2 must be"),
        (_shape(points=None), 'no list of "points"'),
        (_shape(label=" "), "shape 2 has no label"),
        (_shape(group_id="1"), '"group_id" must be'),
        ("polygon", "shape 2 is str"),
    ],
)
def test_a_bad_shape_is_refused_with_file_index_and_label(tmp_path: Path, shape: Any, words: str) -> None:
    path = _file(tmp_path, _shape(), shape)
    with pytest.raises(ConversionError) as raised:
        labelme.read(path)
    assert str(raised.value).startswith(f"{path}: shape 2")
    assert words in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"shapes": {}}', "[" * 100_000])
def test_what_is_no_labelme_file_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConversionError, match=r"bad\.json: is not"):
        labelme.read(path)


@pytest.mark.parametrize("changes", [{"imageHeight": None}, {"imageWidth": 0}, {"imageHeight": "40"}, {"imageWidth": True}])
def test_an_image_size_that_is_none_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match="must be the image size"):
        labelme.read(_file(tmp_path, **changes))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot be read"):
        labelme.read(tmp_path / "absent.json")
    (tmp_path / "b.json").write_bytes(bytes(range(256)))
    with pytest.raises(ConversionError, match="not valid JSON"):
        labelme.read(tmp_path / "b.json")


coordinate = st.floats(-10, 2000, allow_nan=False)
outline = st.builds(
    LesionOutline,
    st.text("abcß漢 ", min_size=1).filter(str.strip),
    st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8).map(lambda points: np.array(points, float)),
    st.none() | st.integers(0, 9),
)


@given(st.lists(outline, max_size=4))
def test_what_is_written_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, outlines: list[LesionOutline]) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    labelme.write(path, AnnotatedView(tuple(outlines), 30, 20), "scan.dcm")
    view = labelme.read(path)
    assert (view.height, view.width, len(view.outlines)) == (30, 20, len(outlines))
    for ours, theirs in zip(view.outlines, outlines, strict=True):
        assert (ours.label, ours.group) == (theirs.label, theirs.group)
        assert np.array_equal(ours.points, theirs.points)
    assert not list(path.parent.glob(".*partial"))
