from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evaluation.viewer.contract import Panel
from evaluation.viewer.packing import PackedImage, pack_image, pack_layers, pack_panel


def unpacked(packed: PackedImage, shape: tuple[int, int]) -> NDArray[np.float64]:
    """As the page reads it: a plane of low bytes, a plane of high bytes."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), np.uint8).reshape(2, *shape).astype(int)
    return packed.offset + packed.scale * (planes[0] + 256 * planes[1])


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_sixteen_bit_counts_come_back_exactly(counts: NDArray[np.uint16]) -> None:
    packed = pack_image(counts)
    assert packed.exact
    np.testing.assert_array_equal(unpacked(packed, counts.shape), counts)


@given(arrays(np.int32, (3, 4), elements=st.integers(-30000, 35535)))
def test_whole_numbers_below_zero_come_back_exactly(values: NDArray[np.int32]) -> None:
    np.testing.assert_array_equal(unpacked(pack_image(values), (3, 4)), values)


@given(arrays(np.float32, (4, 5), elements=st.floats(-1e4, 1e4, width=32)))
def test_other_values_come_back_within_half_a_step(values: NDArray[np.float32]) -> None:
    packed = pack_image(values)
    assert np.abs(unpacked(packed, (4, 5)) - values).max() <= 0.5001 * np.ptp(values.astype(float)) / 65535 + 1e-9


def test_a_range_of_more_than_sixteen_bits_is_said_to_be_rounded() -> None:
    packed = pack_image(np.array([[0, 70000]]))
    assert not packed.exact
    assert unpacked(packed, (1, 2)).tolist() == [[0, 70000]]
    assert not pack_image(np.array([[np.nan, 1.0]])).exact


def test_every_layer_has_its_bit() -> None:
    first, second = np.array([[1, 0, 1]], bool), np.array([[0, 0, 1]], bool)
    packed = pack_layers({"b": second, "a": first}, ["a", "none", "b"], (1, 3))
    assert list(zlib.decompress(base64.b64decode(packed))) == [1, 0, 5]


def test_masks_that_do_not_fit_are_refused() -> None:
    mask = np.ones((2, 3), bool)
    with pytest.raises(ValueError, match="'other' is not one of the viewer's layers"):
        pack_layers({"other": mask}, ["a"], (2, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 3\), its panel \(3, 3\)"):
        pack_panel(Panel("view", (1, 1), {"a": mask}, np.zeros((3, 3))), ["a"])
    with pytest.raises(ValueError, match="at most 8"):
        pack_layers({}, list("abcdefghi"), (2, 3))
    with pytest.raises(ValueError, match="no \\(H, W\\) picture"):
        pack_panel(Panel("view", (1, 1), {}), ["a"])


def test_a_noisy_whole_body_view_takes_a_third_of_its_raw_size() -> None:
    rng = np.random.default_rng(0)
    body = np.zeros((1024, 256))
    body[40:900, 70:190] = 25.0
    counts = rng.poisson(body + 0.3).astype(np.uint16)
    assert len(pack_image(counts).data) < counts.nbytes / 3  # with base64; 300 views then take less than 53 MB
