from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as cocomask

from dataset_conversion.annotations import coco
from dataset_conversion.annotations.outline import LesionOutline, LesionRegion
from dataset_conversion.errors import ConversionError
from dataset_conversion.rasterise import rasterise

HEIGHT, WIDTH = 24, 20
TRIANGLE = [1.0, 2.0, 5.5, 2.0, 3.0, 8.25]


def _content(*segmentations: Any, **changes: Any) -> dict[str, Any]:
    """What CVAT's "COCO 1.0" exports for a task of two pictures, the second without shapes."""
    image = {"width": WIDTH, "height": HEIGHT, "license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 2,
            "segmentation": segmentation,
            "area": 1.0,
            "bbox": [1.0, 2.0, 3.0, 4.0],
            "iscrowd": int(isinstance(segmentation, dict)),
            "attributes": {"occluded": False},
        }
        for number, segmentation in enumerate(segmentations, start=1)
    ]
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [
            {"id": 1, "name": "benign", "supercategory": ""},
            {"id": 2, "name": "转移", "supercategory": ""},
        ],
        "images": [
            {"id": 1, "file_name": "batch 1/0001_anterior.png", **image},
            {"id": 2, "file_name": "batch 1\\0001_posterior.png", **image},
        ],
        "annotations": annotations,
        **changes,
    }


def _file(tmp_path: Path, *segmentations: Any, **changes: Any) -> Path:
    path = tmp_path / "instances_default.json"
    path.write_text(json.dumps(_content(*segmentations, **changes)), encoding="utf-8")
    return path


def _outlines(*segmentations: Any) -> tuple[LesionOutline | LesionRegion, ...]:
    return coco.parse(_content(*segmentations), Path("c.json"))[0].content.outlines


def test_every_image_is_a_view_and_one_without_annotations_is_lesion_free(tmp_path: Path) -> None:
    anterior, posterior = coco.read(_file(tmp_path, [TRIANGLE]))
    assert (anterior.image_name, posterior.image_name) == ("0001_anterior.png", "0001_posterior.png")
    assert (posterior.content.height, posterior.content.width) == (HEIGHT, WIDTH)
    assert posterior.content.outlines == ()
    (outline,) = anterior.content.outlines
    assert isinstance(outline, LesionOutline)
    assert (outline.label, outline.group) == ("转移", None)
    assert outline.points.tolist() == [[1.0, 2.0], [5.5, 2.0], [3.0, 8.25]]


def test_the_parts_of_one_polygon_are_outlines_of_one_group() -> None:
    outlines = _outlines([TRIANGLE], [TRIANGLE, [10, 10, 15, 10, 15, 15]])
    assert [outline.group for outline in outlines] == [None, 2, 2]


def test_a_cocos_polygon_has_pixel_edges_at_integers_as_ours() -> None:
    square = [3, 5, 7, 5, 7, 8, 3, 8]
    theirs = cocomask.decode(cocomask.frPyObjects([square], HEIGHT, WIDTH))[..., 0]
    ours, _ = rasterise(_outlines([square]), (HEIGHT, WIDTH))
    assert np.array_equal(ours, theirs)
    assert ours.sum() == 12


def _round(rng: np.random.Generator) -> np.ndarray:
    """A closed, wavy outline at a random place between the pixels."""
    angle = np.arange(24) * 2 * np.pi / 24
    radius = rng.uniform(2, 8) * (1 + 0.3 * np.sin(rng.integers(1, 5) * angle + rng.uniform(0, 6)))
    return rng.uniform(9, 11, 2) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_our_mask_of_a_polygon_is_pycocotools_own_but_for_single_pixels_on_the_line() -> None:
    """Theirs rounds the line to fifths of a pixel: what differs lies within that of the line, and no side is favoured."""
    rng = np.random.default_rng(0)
    differing = inked = surplus = 0
    for _ in range(300):
        points = _round(rng)
        theirs = cocomask.decode(cocomask.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH))[..., 0]
        ours, _ = rasterise(_outlines([points.ravel().tolist()]), (HEIGHT, WIDTH))
        inked += int(theirs.sum())
        surplus += int(ours.sum()) - int(theirs.sum())
        for row, column in zip(*np.nonzero(ours != theirs), strict=True):
            differing += 1
            centre = np.array([column + 0.5, row + 0.5])
            a, b = points, np.roll(points, -1, axis=0)
            t = np.clip(((centre - a) * (b - a)).sum(axis=1) / ((b - a) ** 2).sum(axis=1), 0, 1)
            assert np.hypot(*(a + t[:, None] * (b - a) - centre).T).min() < 0.3
    assert differing < 0.04 * inked
    assert abs(surplus) < 0.02 * inked


any_mask = st.lists(st.booleans(), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH).map(
    lambda bits: np.array(bits, np.uint8).reshape(HEIGHT, WIDTH)
)
blobs = st.tuples(*[st.integers(0, 19)] * 4).map(
    lambda box: np.pad(
        np.ones((1 + abs(box[0] - box[1]), 1 + abs(box[2] - box[3])), np.uint8),
        ((min(box[:2]), HEIGHT - 1 - max(box[:2])), (min(box[2:]), WIDTH - 1 - max(box[2:]))),
    )
)


@settings(max_examples=80)
@given((any_mask | blobs).filter(np.any))
def test_run_lengths_of_pycocotools_give_the_mask_back(mask: np.ndarray) -> None:
    encoded = cocomask.encode(np.asfortranarray(mask))
    compressed = {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}
    runs = np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=0, append=2)), prepend=0)
    for segmentation in (compressed, {"size": [HEIGHT, WIDTH], "counts": runs.tolist()}):
        (region,) = _outlines(segmentation)
        assert isinstance(region, LesionRegion)
        assert np.array_equal(rasterise([region], mask.shape)[0], mask)
        assert region.mask.any(axis=1)[[0, -1]].all()  # no more pixels than needed
        assert region.mask.any(axis=0)[[0, -1]].all()


@given(st.binary(min_size=1, max_size=40) | st.text("0123456789OPQo_`", max_size=40).map(str.encode))
def test_damaged_run_lengths_are_refused_not_decoded(counts: bytes) -> None:
    """pycocotools 2.0.11 ends the process or never returns on some of these."""
    message = ""
    try:
        (region,) = _outlines({"size": [HEIGHT, WIDTH], "counts": counts.decode("latin-1")})
    except ConversionError as error:
        message = str(error)
    if message:
        assert message.startswith("c.json: annotation 1 ('转移')")
    else:
        assert isinstance(region, LesionRegion)
        assert region.mask.any()


SIZE = [HEIGHT, WIDTH]


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ([], "at best a box"),
        (None, "at best a box"),
        (TRIANGLE, "must be a list x1, y1"),
        ([TRIANGLE[:4]], "3 points or more"),
        ([[*TRIANGLE[:5], 1, 2]], "must be a list"),
        ([[*TRIANGLE[:5], None]], "finite number, found None"),
        ([[*TRIANGLE[:5], float("inf")]], "finite number, found inf"),
        ([[*TRIANGLE[:5], True]], "finite number, found True"),
        ({"size": SIZE}, '"counts" must be'),
        ({"size": SIZE, "counts": [1.5]}, '"counts" must be'),
        ({"size": SIZE, "counts": [-1, 481]}, '"counts" must be'),
        ({"size": SIZE, "counts": [2**70]}, '"counts" must be'),
        ({"size": SIZE, "counts": []}, "do not add up"),
        ({"size": SIZE, "counts": [1, 2]}, "do not add up"),
        ({"size": SIZE, "counts": [480]}, "hold no pixel"),
        ({"size": SIZE, "counts": ""}, "are damaged"),
        ({"size": SIZE, "counts": "o"}, "are damaged"),
        ({"size": SIZE, "counts": "oooooooo0"}, "are damaged"),
        ({"size": SIZE, "counts": "é"}, '"counts" must be'),
        ({"size": [WIDTH, HEIGHT], "counts": [1, 479]}, "have the size [20, 24], the image [24, 20]"),
    ],
)
def test_a_bad_annotation_is_refused_with_file_index_and_label(tmp_path: Path, segmentation: Any, words: str) -> None:
    path = _file(tmp_path, [TRIANGLE], segmentation)
    with pytest.raises(ConversionError) as raised:
        coco.read(path)
    assert str(raised.value).startswith(f"{path}: annotation 2 ('转移')")
    assert words in str(raised.value)


IMAGE = {"id": 1, "width": WIDTH, "height": HEIGHT, "file_name": "a.png"}
BAD_ENTRIES: list[tuple[dict[str, Any], str]] = [
    ({"images": [IMAGE, IMAGE]}, "image 2 has the id 1 of an earlier one"),
    ({"images": [{**IMAGE, "width": 0}]}, "image 1: width must be the image size"),
    ({"images": [{**IMAGE, "id": None}]}, 'image 1: "id" must be'),
    ({"images": ["a.png"]}, "image 1 is str"),
    ({"images": []}, "annotation 1 belongs to image 1, which is not listed"),
    ({"categories": []}, "annotation 1 is of category 2, which is not listed"),
    ({"categories": None}, "annotation 1 is of category 2"),
    ({"categories": [{"id": 2, "name": " "}]}, "category 1 has no name"),
    ({"annotations": [7]}, "annotation 1 is int"),
    ({"annotations": [{"image_id": {}}]}, '"image_id" must be'),
    ({"annotations": {}}, "is not a COCO file"),
]


@pytest.mark.parametrize(("changes", "words"), BAD_ENTRIES, ids=[words for _, words in BAD_ENTRIES])
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = _file(tmp_path, [TRIANGLE], **changes)
    with pytest.raises(ConversionError) as raised:
        coco.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert words in str(raised.value)
