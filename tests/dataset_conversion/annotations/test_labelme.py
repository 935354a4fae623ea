from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.outline import AnnotatedView, LesionOutline, LesionRegion
from dataset_conversion.errors import ConversionError
from dataset_conversion.rasterise import rasterise

TRIANGLE = [[1.0, 2.0], [5.5, 2.0], [3.0, 8.25]]


def _file(tmp_path: Path, *shapes: Any, **changes: Any) -> Path:
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    path = tmp_path / "scan_anterior.json"
    path.write_text(json.dumps({**content, "imageHeight": 40, "imageWidth": 20, **changes}))
    return path


def _shape(kind: str = "polygon", points: Any = TRIANGLE, **changes: Any) -> dict[str, Any]:
    return {"label": "metastasis", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **changes}


def _read(path: Path) -> AnnotatedView:
    (annotation,) = labelme.read(path)
    return annotation.content


def test_a_polygon_keeps_label_group_and_unshifted_points(tmp_path: Path) -> None:
    view = _read(_file(tmp_path, _shape(group_id=3)))
    assert (view.height, view.width) == (40, 20)
    assert (view.outlines[0].label, view.outlines[0].group) == ("metastasis", 3)
    assert view.outlines[0].points.tolist() == TRIANGLE


def test_no_shapes_are_a_lesion_free_view(tmp_path: Path) -> None:
    assert _read(_file(tmp_path)).outlines == ()


def test_a_rectangle_of_two_corners_becomes_four_in_order_round_it(tmp_path: Path) -> None:
    view = _read(_file(tmp_path, _shape("rectangle", [[9, 4], [3, 6]])))
    assert view.outlines[0].points.tolist() == [[9, 4], [3, 4], [3, 6], [9, 6]]
    corners = [[9, 4], [3, 4], [3, 6], [9, 6]]
    assert _read(_file(tmp_path, _shape("rectangle", corners))).outlines[0].points.tolist() == corners


def test_a_circle_has_the_area_and_centre_of_centre_and_rim(tmp_path: Path) -> None:
    points = _read(_file(tmp_path, _shape("circle", [[10, 12], [13, 16]]))).outlines[0].points
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(np.pi * 25, rel=1e-3)
    assert points.mean(axis=0) == pytest.approx([10, 12])


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (_shape("linestrip"), "shape 2 ('metastasis') is of type 'linestrip'"),
        (_shape("points"), "is of type 'points'"),
        (_shape("point", TRIANGLE[:1]), "redraw it as a polygon"),
        (_shape("line", TRIANGLE[:2]), "is of type 'line'"),
        (_shape(["polygon"]), "is of type ['polygon']"),
        (_shape("oriented_rectangle"), "a oriented_rectangle needs 4 points, found 3"),
        (_shape(points=TRIANGLE[:2]), "at least 3 points, found 2"),
        (_shape("circle"), "a circle needs 2 points, found 3"),
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


def _png(pixels: np.ndarray) -> str:
    picture = io.BytesIO()
    Image.fromarray(pixels).save(picture, format="PNG")
    return base64.b64encode(picture.getvalue()).decode()


BLOB = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 1, 1]], np.uint8)


@pytest.mark.parametrize("pixels", [BLOB, BLOB * 255, BLOB.astype(bool)])
@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_a_mask_is_a_region_whose_points_are_its_first_and_last_pixel(tmp_path: Path, pixels: np.ndarray, shift: float) -> None:
    points = [[7.0 + shift, 30.0 + shift], [10.0 + shift, 32.0 + shift]]
    (region,) = _read(_file(tmp_path, _shape("mask", points, mask=_png(pixels), group_id=4))).outlines
    assert isinstance(region, LesionRegion)
    assert (region.top, region.left, region.group, region.label) == (30, 7, 4, "metastasis")
    assert np.array_equal(region.mask, BLOB.astype(bool))


def test_a_mask_whose_corners_were_cut_off_one_pixel_apart_is_read_from_the_first(tmp_path: Path) -> None:
    shape = _shape("mask", [[6.9999999, 30.0], [10.0, 32.0]], mask=_png(BLOB))
    (region,) = _read(_file(tmp_path, shape)).outlines
    assert isinstance(region, LesionRegion)
    assert (region.top, region.left) == (30, 6)


CORNERS = [[7.0, 30.0], [10.0, 32.0]]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (_shape("mask", CORNERS), '"mask" must be a PNG picture as base64 text, found None'),
        (_shape("mask", CORNERS, mask="%%%"), "is no PNG or TIFF mask"),
        (_shape("mask", CORNERS, mask="A"), "is not base64 text"),
        (_shape("mask", CORNERS, mask=_png(BLOB * 0)), "holds no pixel"),
        (_shape("mask", CORNERS, mask=_png(np.ones((9, 9), np.uint8))), "has 9 x 9 px but its points span 3 x 4"),
        (_shape("mask", CORNERS, mask=_png(np.ones((5000, 5000), np.uint8))), "is a mask of 5000 x 5000 px"),
        (_shape("mask", [[0, 0], [1e12, 5]], mask=_png(BLOB)), "far outside any image"),
        (_shape("mask", CORNERS[:1], mask=_png(BLOB)), "a mask needs 2 points, found 1"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused_with_file_index_and_label(tmp_path: Path, shape: Any, words: str) -> None:
    path = _file(tmp_path, _shape(), shape)
    with pytest.raises(ConversionError) as raised:
        labelme.read(path)
    assert str(raised.value).startswith(f"{path}: shape 2 ('metastasis')")
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("image_path", "name"),
    [
        ("scan_ant.png", "scan_ant.png"),
        ("../png/scan_ant.png", "scan_ant.png"),
        ("/data/Müller/scan_ant.png", "scan_ant.png"),
        ("..\\png\\scan_ant.png", "scan_ant.png"),
        ("C:\\Daten\\scan ant.png", "scan ant.png"),
        ("\\\\server\\share\\scan_ant.png", "scan_ant.png"),
        ("", None),
        (None, None),
    ],
)
def test_the_image_is_known_by_its_bare_name_whatever_the_system(tmp_path: Path, image_path: Any, name: str | None) -> None:
    (annotation,) = labelme.read(_file(tmp_path, imagePath=image_path))
    assert annotation.image_name == name


def test_an_embedded_image_is_not_looked_at(tmp_path: Path) -> None:
    assert _read(_file(tmp_path, _shape(), imageData="not even a picture")).outlines[0].label == "metastasis"


def test_half_a_character_in_a_label_is_refused_because_no_output_could_hold_it(tmp_path: Path) -> None:
    path = _file(tmp_path, _shape(label="\ud800"))
    with pytest.raises(ConversionError, match="is not valid JSON"):
        labelme.read(path)
    assert _read(_file(tmp_path, _shape(label="\U0001f480"))).outlines[0].label == "\U0001f480"


RECORDED = sorted((Path(__file__).parent / "labelme_files").glob("*.json"))


def test_versions_4_to_6_of_labelme_are_recorded() -> None:
    assert [path.stem.split("_")[1].split(".")[0] for path in RECORDED] == ["4", "5", "6"]


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_what_labelme_wrote_gives_the_masks_it_drew(path: Path) -> None:
    """With the rule "labelme", exactly; a circle, which LabelMe draws as PIL's ellipse, within one pixel of its rim."""
    (annotation,) = labelme.read(path)
    assert annotation.image_name == "0001_anterior.png"
    height, width = annotation.content.height, annotation.content.width
    drawn = np.array(Image.open(path.with_name(f"{path.stem}_masks.png"))).reshape(height, -1, width).transpose(1, 0, 2)
    kinds = [shape["shape_type"] for shape in json.loads(path.read_text(encoding="utf-8"))["shapes"]]
    for kind, outline, theirs in zip(kinds, annotation.content.outlines, drawn, strict=True):
        ours, grown = rasterise([outline], (height, width), "labelme")
        assert grown == 0
        if kind == "circle":
            centre, radius = (10.4, 26.7), np.hypot(4.5, 1.4)
            rows, columns = np.nonzero(ours != theirs)
            assert (np.abs(np.hypot(columns + 0.5 - centre[0], rows + 0.5 - centre[1]) - radius) < 1).all()
        else:
            assert np.array_equal(ours, theirs), kind


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_what_labelme_wrote_has_the_area_of_the_shapes_drawn(path: Path) -> None:
    """The areas of the shapes in record.py by hand: the rule "centre" has them within half a perimeter and a pixel."""
    (annotation,) = labelme.read(path)
    areas = {  # label and place in the file -> area and perimeter in px
        0: (70.27, 32.9), 1: (26.125, 20.5), 2: (16.96, 19.2), 3: (46.64, 28.2), 4: (69.77, 29.6), 5: (12, 0), 6: (60, 31.3),
    }  # fmt: skip
    for number, outline in enumerate(annotation.content.outlines):
        area, perimeter = areas[number]
        mask, _ = rasterise([outline], (annotation.content.height, annotation.content.width))
        assert abs(int(mask.sum()) - area) <= perimeter / 2 + 1


coordinate = st.floats(-10, 2000, allow_nan=False)
outline = st.builds(
    LesionOutline,
    st.text("abcß漢 ", min_size=1).filter(str.strip),
    st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8).map(lambda points: np.array(points, float)),
    st.none() | st.integers(0, 9),
)


def test_a_region_is_written_as_labelme_writes_masks(tmp_path: Path) -> None:
    """With the last row and column in the points, as in the recorded files: LabelMe fails on any other size."""
    (recorded,) = labelme.read(RECORDED[-1])
    labelme.write(tmp_path / "ours.json", recorded.content, "a.png")
    ours, theirs = (json.loads(path.read_text(encoding="utf-8"))["shapes"] for path in (tmp_path / "ours.json", RECORDED[-1]))
    (mask,) = [shape for shape in ours if shape["shape_type"] == "mask"]
    (expected,) = [shape for shape in theirs if shape["shape_type"] == "mask"]
    assert mask["points"] == expected["points"]
    assert mask.keys() == expected.keys()


region = st.builds(
    LesionRegion,
    st.sampled_from(["metastasis", "转移"]),
    st.lists(st.booleans(), min_size=12, max_size=12).filter(any).map(lambda bits: np.array(bits).reshape(3, 4)),
    st.integers(-3, 40),
    st.integers(-3, 40),
    st.none() | st.integers(0, 9),
)


@given(st.lists(outline | region, max_size=4))
def test_what_is_written_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, outlines: list[LesionOutline | LesionRegion]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    labelme.write(path, AnnotatedView(tuple(outlines), 30, 20), "scan.dcm")
    (annotation,) = labelme.read(path)
    view = annotation.content
    assert (view.height, view.width, len(view.outlines), annotation.image_name) == (30, 20, len(outlines), "scan.dcm")
    for ours, theirs in zip(view.outlines, outlines, strict=True):
        assert (ours.label, ours.group) == (theirs.label, theirs.group)
        if isinstance(theirs, LesionRegion):
            assert isinstance(ours, LesionRegion)
            assert (ours.top, ours.left) == (theirs.top, theirs.left)
            assert np.array_equal(ours.mask, theirs.mask)
        else:
            assert isinstance(ours, LesionOutline)
            assert np.array_equal(ours.points, theirs.points)
    assert not list(path.parent.glob(".*partial"))
