from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from dataset_conversion.annotations import masks
from dataset_conversion.errors import ConversionError
from dataset_conversion.rasterise import rasterise


def _labels(dtype: Any = np.uint8) -> np.ndarray:
    labels = np.zeros((12, 7), dtype)
    labels[1:4, 2:5] = 1
    labels[4, 5] = 1  # touches the first lesion at a corner
    labels[9, 0:3] = 1
    labels[2, 5] = 2
    return labels


def _save(path: Path, labels: np.ndarray) -> Path:
    if path.name.endswith((".png", ".tif")):
        Image.fromarray(labels).save(path)
    elif path.name.endswith(".npy"):
        np.save(path, labels)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(path))
    return path


def _numbers(path: Path) -> np.ndarray:
    (annotation,) = masks.read(path)
    content = annotation.content
    numbers = np.zeros((content.height, content.width), int)
    for outline in content.outlines:
        numbers[rasterise([outline], numbers.shape)[0] > 0] = int(outline.label)
    return numbers


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.nii.gz", "M.NII.GZ", "m.nii", "m.mha", "m.npy"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_file_type_gives_the_values_as_labels(tmp_path: Path, name: str, dtype: Any) -> None:
    if name.isupper():
        _save(tmp_path / name.lower(), _labels(dtype)).rename(tmp_path / name)
    else:
        _save(tmp_path / name, _labels(dtype))
    assert np.array_equal(_numbers(tmp_path / name), _labels())


def test_each_connected_component_of_a_value_is_one_region(tmp_path: Path) -> None:
    (annotation,) = masks.read(_save(tmp_path / "m.png", _labels()))
    assert sorted(outline.label for outline in annotation.content.outlines) == ["1", "1", "2"]
    assert (annotation.image_name, annotation.instance, annotation.frame) == (None, None, None)


@given(st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_regions_are_the_components_scipy_finds_for_each_value(values: list[int]) -> None:
    labels = np.array(values).reshape(6, 5)
    regions = masks.components(labels)
    for value in (1, 2, 3):
        numbered, n = ndimage.label(labels == value, np.ones((3, 3)))
        ours = [rasterise([region], labels.shape)[0] > 0 for region in regions if region.label == str(value)]
        assert len(ours) == n
        assert {mask.tobytes() for mask in ours} == {(numbered == number).tobytes() for number in range(1, n + 1)}


def test_a_mask_of_zeros_is_a_lesion_free_view(tmp_path: Path) -> None:
    (annotation,) = masks.read(_save(tmp_path / "m.png", np.zeros((5, 9), np.uint8)))
    assert annotation.content.outlines == ()
    assert (annotation.content.height, annotation.content.width) == (5, 9)


@pytest.mark.parametrize("mode", ["P", "1", "RGB", "RGBA", "LA", "I", "F"])
def test_palette_bits_and_grey_in_any_guise_are_read_by_value(tmp_path: Path, mode: str) -> None:
    labels = _labels() if mode in ("P", "I", "F") else np.where(_labels() > 0, 255, 0).astype(np.uint8)
    picture = Image.fromarray(labels)
    if mode == "P":
        picture.putpalette([0, 0, 0, 200, 30, 30, 30, 30, 200])
    else:
        picture = picture.convert(mode)
    path = tmp_path / ("m.tif" if mode in ("I", "F") else "m.png")
    picture.save(path)
    expected = labels if mode != "1" else labels > 0
    assert np.array_equal(_numbers(path), expected)


def test_a_mask_of_0_and_255_keeps_its_value_as_label(tmp_path: Path) -> None:
    (annotation,) = masks.read(_save(tmp_path / "m.png", np.where(_labels() > 0, 255, 0).astype(np.uint8)))
    assert {outline.label for outline in annotation.content.outlines} == {"255"}


def test_whole_numbers_stored_as_float_are_read(tmp_path: Path) -> None:
    assert np.array_equal(_numbers(_save(tmp_path / "m.mha", _labels(np.float32))), _labels())


def _coloured() -> np.ndarray:
    picture = np.zeros((5, 5, 3), np.uint8)
    picture[2, 2] = (255, 0, 0)
    return picture


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("m.png", _coloured(), "is a colour mask (RGB)"),
        ("m.png", np.arange(256, dtype=np.uint8).reshape(16, 16), "holds 256 different values"),
        ("m.mha", _labels(np.float32) / 2, "expected whole numbers"),
        ("m.mha", np.full((3, 3), np.nan, np.float32), "expected whole numbers"),
        ("m.mha", -_labels(np.int16), "holds values from -2 to 0"),
        ("m.npy", np.full((3, 3), 70000), "holds values from 70000 to 70000"),
        ("m.npy", np.zeros((3, 3), complex), "expected whole numbers"),
        ("m.nii.gz", np.zeros((3, 4, 5), np.uint8), "expected one view"),
        ("m.npy", np.zeros(9, np.uint8), "array of 1 dimensions"),
    ],
)
def test_what_is_no_mask_of_labels_is_refused(tmp_path: Path, name: str, values: np.ndarray, words: str) -> None:
    path = _save(tmp_path / name, values)
    with pytest.raises(ConversionError) as raised:
        masks.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert words in str(raised.value)


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    pictures = [Image.fromarray(_labels()) for _ in range(2)]
    pictures[0].save(tmp_path / "m.tif", save_all=True, append_images=pictures[1:])
    with pytest.raises(ConversionError, match="holds 2 pictures"):
        masks.read(tmp_path / "m.tif")


@pytest.mark.parametrize(("side", "words"), [(5_000, "is a mask of 5000 x 5000 px"), (14_000, "DecompressionBombError")])
def test_a_picture_that_unpacks_beyond_reason_is_refused_packed(tmp_path: Path, side: int, words: str) -> None:
    Image.new("1", (side, side)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 1 << 17
    with pytest.raises(ConversionError, match=rf"bomb\.png: .*{words}"):
        masks.read(tmp_path / "bomb.png")


@pytest.mark.parametrize("name", ["m.png", "m.nii.gz", "m.npy", "m.bmp"])
def test_a_damaged_or_missing_mask_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises((ConversionError, FileNotFoundError)):
        masks.read(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ConversionError, match=name.replace(".", r"\.")):
        masks.read(path)
