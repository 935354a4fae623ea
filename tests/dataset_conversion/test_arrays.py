from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from PIL import Image

from dataset_conversion.arrays import read_array
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.readers.options import ReadOptions

TOLD = ReadOptions(spacing_mm=(2.4, 2.2))
COUNTS = np.random.default_rng(0).poisson(20, (48, 16)).astype(np.uint16)
SUFFIXES = (".png", ".tif", ".tiff", ".nii", ".nii.gz", ".mha", ".npy")
NAME_TAKEN = pytest.mark.filterwarnings("ignore:.*its name is taken for the patient")


def _write(path: Path, pixels: np.ndarray, spacing_mm: tuple[float, float] | None = (2.26, 2.5)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix in (".png", ".tif", ".tiff"):
        Image.fromarray(pixels).save(path)
    else:
        image = SimpleITK.GetImageFromArray(pixels)
        if spacing_mm is not None:
            image.SetSpacing((spacing_mm[1], spacing_mm[0], *[1.0] * (pixels.ndim - 2)))
        SimpleITK.WriteImage(image, str(path))
    return path


def _state(path: Path, **content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


@NAME_TAKEN
@pytest.mark.filterwarnings("ignore:.*all that 16 bits can hold")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_counts_come_back_from_every_format(tmp_path: Path, suffix: str) -> None:
    shapes = numpy_strategies.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=20)
    arrays = numpy_strategies.arrays(np.uint16, shapes, elements=st.integers(0, 65535), fill=st.nothing())

    @settings(max_examples=15, deadline=None)
    @given(arrays.filter(lambda array: array.min() < array.max()))
    def check(pixels: np.ndarray) -> None:
        view = read_array(_write(tmp_path / f"scan_ant{suffix}", pixels), TOLD)
        assert np.array_equal(view.counts, pixels)
        assert view.counts.dtype == np.uint16

    check()


@NAME_TAKEN
@pytest.mark.parametrize(
    ("pixels", "suffix", "dtype"),
    [
        (COUNTS.astype(np.float32), ".tif", np.uint16),
        (COUNTS.astype(np.float64), ".nii.gz", np.uint16),
        (COUNTS.astype(np.int32), ".mha", np.uint16),
        (COUNTS.astype(np.uint32) + 70_000, ".npy", np.uint32),
        (COUNTS.astype(">i8"), ".npy", np.uint16),
        (COUNTS[None], ".nii", np.uint16),
        (COUNTS[None], ".npy", np.uint16),
    ],
)
def test_whole_numbers_of_any_type_are_counts(tmp_path: Path, pixels: np.ndarray, suffix: str, dtype: type) -> None:
    view = read_array(_write(tmp_path / f"scan_ant{suffix}", pixels), TOLD)
    assert view.counts.dtype == dtype
    assert np.array_equal(view.counts, pixels.reshape(48, 16))


@NAME_TAKEN
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha"])
def test_the_file_s_own_pixel_size_comes_first(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"scan_ant{suffix}", COUNTS)
    _state(tmp_path / "scan_ant.scan.json", spacing_mm=[9, 9])
    assert read_array(path, TOLD).spacing_mm == pytest.approx((2.26, 2.5))


@NAME_TAKEN
@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_the_side_car_s_pixel_size_comes_before_the_option_s(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"scan_ant{suffix}", COUNTS)
    assert read_array(path, TOLD).spacing_mm == (2.4, 2.2)
    _state(tmp_path / "scan_ant.scan.json", spacing_mm=[2.26, 2.5])
    assert read_array(path, TOLD).spacing_mm == (2.26, 2.5)


@NAME_TAKEN
def test_a_pixel_size_that_nobody_states_names_the_three_ways(tmp_path: Path) -> None:
    path = _write(tmp_path / "scan_ant.png", COUNTS)
    with pytest.raises(ConversionError, match=r"scan_ant.png: has no pixel size; .*NIfTI.*scan_ant.scan.json.*--spacing"):
        read_array(path, ReadOptions())


@NAME_TAKEN
def test_one_millimetre_is_doubted_and_overruled(tmp_path: Path) -> None:
    path = _write(tmp_path / "scan_ant.mha", COUNTS, spacing_mm=None)
    with pytest.warns(UserWarning, match="states 1 x 1 mm, which writers also put where they know of no"):
        assert read_array(path, ReadOptions()).spacing_mm == (1, 1)
    assert read_array(path, TOLD).spacing_mm == (2.4, 2.2)


def test_the_name_says_view_and_patient_with_a_warning(tmp_path: Path) -> None:
    for ending, view in (("_anterior", "anterior"), ("_POST", "posterior"), ("_ant", "anterior"), ("_posterior", "posterior")):
        path = _write(tmp_path / f"ward 7{ending}.png", COUNTS)
        with pytest.warns(UserWarning, match=r"its name is taken for the patient \(ward 7\)") as caught:
            read = read_array(path, TOLD)
        assert (read.view, read.patient, read.frame, read.source) == (view, "ward 7", 1, path)
        assert len(caught) == 1


@NAME_TAKEN
def test_views_of_a_visit_share_a_study_and_no_instance(tmp_path: Path) -> None:
    anterior, posterior, other = (
        read_array(_write(tmp_path / name, COUNTS), TOLD) for name in ("a_ant.png", "a_post.npy", "b_ant.png")
    )
    assert anterior.study == posterior.study != other.study
    assert len({anterior.instance, posterior.instance, other.instance}) == 3
    moved = read_array(_write(tmp_path / "elsewhere" / "a_ant.nii", COUNTS), TOLD)
    assert moved.instance == anterior.instance


@pytest.mark.filterwarnings("error")
def test_a_side_car_says_what_the_name_does_not(tmp_path: Path) -> None:
    path = _write(tmp_path / "IMG0001.png", COUNTS)
    _state(tmp_path / "IMG0001.scan.json", spacing_mm=[2.26, 2.5], patient="17", study="2020", view="posterior")
    view = read_array(path, ReadOptions())
    assert (view.view, view.patient, view.spacing_mm) == ("posterior", "17", (2.26, 2.5))
    second = _write(tmp_path / "IMG0002.png", COUNTS)
    _state(tmp_path / "IMG0002.scan.json", spacing_mm=[2.26, 2.5], patient="17", study="2020", view="anterior")
    assert read_array(second, ReadOptions()).study == view.study


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON|bytes"),
        ("[]", "expected an object .*found a list"),
        ('{"spacing": [1, 1]}', "unknown key 'spacing', expected spacing_mm"),
        ('{"spacing_mm": [1]}', r"spacing_mm is \[1\], expected \[row, column\]"),
        ('{"spacing_mm": [1, 0]}', "both positive"),
        ('{"spacing_mm": [1, NaN]}', "both positive"),
        ('{"spacing_mm": [1, true]}', "both positive"),
        ('{"spacing_mm": "2.4"}', "both positive"),
        ('{"view": "left"}', "view is 'left', expected anterior or posterior"),
        ('{"view": ["anterior"]}', "expected anterior or posterior"),
        ('{"patient": 17}', "patient is '17', expected a text in quotes"),
        ('{"study": " "}', "study is ' ', expected a text in quotes"),
    ],
)
def test_a_side_car_that_is_wrong_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = _write(tmp_path / "scan_ant.png", COUNTS)
    (tmp_path / "scan_ant.scan.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConversionError, match=f"scan_ant.scan.json: .*({words})"):
        read_array(path, TOLD)


def test_a_view_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"scan.png: does not say which view .*_anterior.*scan.scan.json"):
        read_array(_write(tmp_path / "scan.png", COUNTS), TOLD)


@NAME_TAKEN
@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii", ".npy"])
def test_eight_bits_are_read_with_a_warning(tmp_path: Path, suffix: str) -> None:
    with pytest.warns(UserWarning, match="has 8 bits a pixel: counts above 255 are gone"):
        view = read_array(_write(tmp_path / f"scan_ant{suffix}", COUNTS.astype(np.uint8)), TOLD)
    assert np.array_equal(view.counts, COUNTS)


@NAME_TAKEN
def test_sixteen_bits_that_are_used_up_are_told(tmp_path: Path) -> None:
    stretched = (COUNTS.astype(float) / COUNTS.max() * 65535).astype(np.uint16)
    with pytest.warns(UserWarning, match="its maximum is 65535, all that 16 bits can hold"):
        read_array(_write(tmp_path / "scan_ant.png", stretched), TOLD)


@pytest.mark.parametrize(
    ("pixels", "suffix", "words"),
    [
        (COUNTS + 0.5, ".npy", "values between whole numbers"),
        (-COUNTS.astype(np.int16), ".nii", r"negative counts \(down to -"),
        (np.where(COUNTS > 20, np.nan, 1.0), ".npy", "NaN or infinite"),
        (np.where(COUNTS > 20, np.inf, 1.0).astype(np.float32), ".tif", "NaN or infinite"),
        (np.full((4, 4), 3, np.uint16), ".png", "holds a single value"),
        (COUNTS.astype(float) * 1e9, ".npy", "expected counts below"),
        (COUNTS > 20, ".npy", "values of the type bool"),
        (COUNTS.astype(complex), ".npy", "values of the type complex128"),
        (COUNTS.astype("datetime64[s]"), ".npy", "values of the type datetime64"),
        (np.array([COUNTS, None], object), ".npy", "cannot be read as .npy"),
        (COUNTS.ravel(), ".npy", "an array of 1 dimensions"),
        (np.zeros((0, 5), np.uint16), ".npy", "states 0 x 5 pixels|cannot be read"),
        (np.zeros((1, 5000), np.uint16), ".npy", "states 1 x 5000 pixels"),
    ],
)
def test_what_cannot_be_counts_is_refused(tmp_path: Path, pixels: np.ndarray, suffix: str, words: str) -> None:
    path = _write(tmp_path / f"scan_ant{suffix}", pixels)
    with pytest.raises(ConversionError, match=words) as raised:
        read_array(path, TOLD)
    assert not isinstance(raised.value, SkippedFile)
    assert str(raised.value).startswith(f"{path}: ")


def _colour(path: Path) -> Path:
    Image.fromarray(np.stack([COUNTS.astype(np.uint8)] * 3, axis=-1)).save(path)
    return path


def _palette(path: Path) -> Path:
    Image.fromarray(COUNTS.astype(np.uint8)).convert("P").save(path)
    return path


def _pages(path: Path) -> Path:
    Image.fromarray(COUNTS).save(path, save_all=True, append_images=[Image.fromarray(COUNTS)])
    return path


def _vectors(path: Path) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.stack([COUNTS] * 3, axis=-1), isVector=True), str(path))
    return path


@pytest.mark.parametrize(
    ("write", "name", "words"),
    [
        (_colour, "scan_ant.png", "is a RGB picture"),
        (_colour, "scan_ant.tif", "is a RGB picture"),
        (_palette, "scan_ant.png", "is a P picture"),
        (_pages, "scan_ant.tif", "holds 2 pictures"),
        (_vectors, "scan_ant.mha", "holds 3 values a pixel"),
        (lambda path: _write(path, np.stack([COUNTS] * 2)), "scan_ant.nii", "has the shape 2 x 48 x 16, expected one view"),
        (lambda path: _write(path, np.stack([COUNTS] * 2)), "scan_ant.npy", "has the shape 2 x 48 x 16, expected one view"),
    ],
)
def test_colour_and_volumes_are_skipped(tmp_path: Path, write: Callable[[Path], Path], name: str, words: str) -> None:
    path = write(tmp_path / name)
    with pytest.raises(SkippedFile, match=words) as raised:
        read_array(path, TOLD)
    assert str(raised.value).startswith(f"{path}: ")


def _png_of(height: int, width: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    data = zlib.compress(bytes(1 << 26), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _npy_of(height: int, width: int) -> bytes:
    header = f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({height}, {width})}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def _mha_of(height: int, width: int) -> bytes:
    return (
        f"ObjectType = Image\nNDims = 2\nDimSize = {width} {height}\nElementType = MET_USHORT\nElementDataFile = LOCAL\n"
    ).encode()


@pytest.mark.parametrize(("suffix", "make"), [(".png", _png_of), (".npy", _npy_of), (".mha", _mha_of)])
@pytest.mark.parametrize("size", [(65535, 65535), (4096, 4096)])
def test_a_header_that_claims_more_than_the_file_has_is_refused(
    tmp_path: Path, suffix: str, make: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    (tmp_path / f"scan_ant{suffix}").write_bytes(make(*size))
    with pytest.raises(ConversionError, match=f"scan_ant{suffix}: .*(cannot be read as|states 65535 x|single value)"):
        read_array(tmp_path / f"scan_ant{suffix}", TOLD)


def test_a_meta_image_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.raw").write_bytes(COUNTS.tobytes())
    header = "ObjectType = Image\nNDims = 2\nDimSize = 16 48\nElementType = MET_USHORT\nElementDataFile = secret.raw\n"
    (tmp_path / "scan_ant.mha").write_text(header, encoding="ascii")
    with pytest.raises(ConversionError, match=r"scan_ant.mha: does not hold its pixels itself"):
        read_array(tmp_path / "scan_ant.mha", TOLD)


def test_a_missing_file_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / "scan_ant.png", TOLD)
