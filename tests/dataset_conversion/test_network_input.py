from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.io import imread

from dataset_conversion.errors import ConversionError
from dataset_conversion.network_input import (
    CHANNEL_NAMES,
    CHANNELS,
    FILE_FORMATS,
    Channels,
    FileFormat,
    network_input,
    require_format_holds,
    write_image,
)

COUNTS = np.array([[0, 1, 2, 278, 65_534]], np.uint16)
EXACT = {"zscore": lambda z: z - 1, "anscombe": lambda z: (z / 2) ** 2 - 0.375, "counts": lambda z: z}


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_what_the_network_sees_is_positive_and_rounds_back_to_the_counts(channels: Channels, dtype: type) -> None:
    counts = COUNTS[:, : 3 if dtype is np.uint8 else None].astype(dtype)
    values = network_input(counts, channels)
    assert values.dtype == np.float32
    assert (values > 0).all()
    assert (np.diff(values) > 0).all()
    assert np.array_equal(np.rint(EXACT[channels](values.astype(np.float64))), counts)


@given(arrays(np.uint16, (3, 5)), st.sampled_from(CHANNELS))
def test_no_pixel_is_ever_zero_for_nnunet_to_crop(counts: np.ndarray, channels: Channels) -> None:
    assert (network_input(counts, channels) > 0).all()


def test_anscombe_makes_the_noise_one_at_every_level() -> None:
    rng = np.random.default_rng(0)
    for level in (5, 30, 300):
        assert network_input(rng.poisson(level, 20_000), "anscombe").std() == pytest.approx(1, abs=0.05)


def test_counts_go_by_the_name_that_turns_nnunets_normalisation_off() -> None:
    assert CHANNEL_NAMES == {"zscore": "zscore", "anscombe": "anscombe", "counts": "noNorm"}


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_nifti_is_two_dimensional_with_spacing_in_the_right_order_and_the_same_values(
    tmp_path: Path, channels: Channels
) -> None:
    pixels = network_input(np.arange(12, dtype=np.uint16).reshape(4, 3), channels)
    write_image(tmp_path / "a.nii.gz", pixels, (2.26, 2.5))
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert image.GetDimension() == 2
    assert image.GetSize() == (3, 4)
    assert image.GetSpacing() == pytest.approx((2.5, 2.26))
    assert np.array_equal(sitk.GetArrayFromImage(image).astype(np.float32), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_the_same_pixels_give_the_same_bytes_without_a_clock_or_a_name(tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.float32).reshape(30, 20)
    for ending in FILE_FORMATS:
        for name in ("a", "another"):
            write_image(tmp_path / f"{name}.{ending}", pixels, (2.26, 2.26))
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"another.{ending}").read_bytes()
    header = (tmp_path / "a.nii.gz").read_bytes()[:10]
    assert header[3] == 0  # gzip flags: no name, no comment
    assert header[4:8] == bytes(4)  # the time stamp of gzip


def test_whole_numbers_are_stored_narrow_and_fractions_and_huge_counts_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    stored = {}
    for name, pixels in {
        "whole": np.array([[1, 65_535]], np.float32),
        "huge": np.array([[1, 65_536]], np.float32),
        "half": np.array([[0.5, 1]], np.float32),
        "below": np.array([[-1, 1]], np.float32),
        "label": np.array([[0, 1]], np.uint8),
    }.items():
        write_image(path, pixels, (1, 1))
        image = sitk.ReadImage(str(path))
        assert np.array_equal(sitk.GetArrayFromImage(image).astype(pixels.dtype), pixels)
        stored[name] = image.GetPixelIDTypeAsString()
    assert stored.pop("whole") == "16-bit unsigned integer"
    assert stored.pop("label") == "8-bit unsigned integer"
    assert set(stored.values()) == {"32-bit float"}


def test_a_nifti_of_noise_is_smaller_than_its_pixels(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(8, (256, 256)).astype(np.uint16)
    write_image(tmp_path / "a.nii.gz", network_input(counts, "zscore"), (1, 1))
    assert (tmp_path / "a.nii.gz").stat().st_size < 1.2 * len(zlib.compress((counts + 1).tobytes(), 6))


def test_a_png_holds_the_image_in_sixteen_and_the_label_in_eight_bits_of_grey(tmp_path: Path) -> None:
    image = network_input(COUNTS, "zscore")
    label = np.array([[0, 1, 2, 1, 0]], np.uint8)
    write_image(tmp_path / "image.png", image, (2.26, 2.26))
    write_image(tmp_path / "label.png", label, (2.26, 2.26))
    for path, pixels, mode in (("image.png", image, "I;16"), ("label.png", label, "L")):
        read = imread(tmp_path / path)  # what nnU-Net reads PNG with
        assert np.array_equal(read, pixels)
        assert read.dtype == (np.uint16 if mode == "I;16" else np.uint8)
        with Image.open(tmp_path / path) as opened:
            assert opened.mode == mode


@pytest.mark.parametrize("pixels", [network_input(COUNTS, "anscombe"), network_input(COUNTS, "counts"), COUNTS + 1.0e5])
def test_a_png_refuses_what_it_cannot_hold_and_writes_nothing(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ConversionError, match=r"a\.png: its pixels run from .* nii\.gz"):
        write_image(tmp_path / "a.png", pixels, (1, 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file_format", FILE_FORMATS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_formats_are_refused_before_the_run_where_writing_would_fail(
    tmp_path: Path, channels: Channels, file_format: FileFormat
) -> None:
    def refused(call: object) -> bool:
        try:
            call()  # type: ignore[operator]
        except ConversionError:
            return True
        return False

    pixels = network_input(COUNTS, channels)
    assert refused(lambda: require_format_holds(channels, file_format)) == refused(
        lambda: write_image(tmp_path / f"a.{file_format}", pixels, (1, 1))
    )


@pytest.mark.parametrize("ending", FILE_FORMATS)
def test_a_place_that_cannot_be_written_to_is_an_oserror(tmp_path: Path, ending: str) -> None:
    with pytest.raises(OSError, match=r"cannot be written|No such file"):
        write_image(tmp_path / "absent" / f"a.{ending}", np.ones((4, 3), np.uint8), (1, 1))
