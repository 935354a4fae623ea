from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import shift as scipy_shift

from dataset_conversion.errors import ConversionError
from dataset_conversion.opposite_view import LARGEST_SHIFT_PX, opposite_channel
from dataset_conversion.phantom.study import simulate

PATIENTS = range(1, 7)
_within_bound = st.integers(1 - LARGEST_SHIFT_PX, LARGEST_SHIFT_PX - 1)


@functools.cache
def _pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    anterior, posterior = simulate(number)
    return anterior.counts, posterior.counts


def _displaced(counts: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    moved: np.ndarray = scipy_shift(counts, shift, order=0, cval=0)  # the oracle; whole pixels, zeros from outside
    return moved


@pytest.mark.parametrize("number", PATIENTS)
def test_views_of_two_cameras_in_line_are_mirrored_and_not_moved(number: int) -> None:
    anterior, posterior = _pair(number)
    aligned, shift, doubt = opposite_channel(anterior, posterior)
    assert (shift, doubt) == ((0, 0), "")
    assert np.array_equal(aligned, posterior[:, ::-1])


@settings(max_examples=15)
@given(st.sampled_from(PATIENTS), _within_bound, _within_bound)
def test_a_displaced_opposite_view_is_moved_back(number: int, rows: int, columns: int) -> None:
    anterior, posterior = _pair(number)
    aligned, shift, doubt = opposite_channel(anterior, _displaced(posterior, (rows, columns)))
    assert doubt == ""
    # Columns run the other way in the mirrored frame.
    assert np.abs(np.add(shift, (rows, -columns))).max() <= 1
    assert np.array_equal(aligned, _displaced(_displaced(posterior, (rows, columns))[:, ::-1], shift))


@settings(max_examples=8)
@given(st.sampled_from(PATIENTS), st.integers(-12, 12), st.integers(-12, 12))
def test_both_directions_find_the_same_displacement(number: int, rows: int, columns: int) -> None:
    anterior, posterior = _pair(number)
    moved = _displaced(posterior, (rows, columns))
    _, forth, _ = opposite_channel(anterior, moved)
    _, back, _ = opposite_channel(moved, anterior)
    # If M mirrors and T moves, T M p = a means p = M T^-1 a = T' M a: rows change sign, columns twice.
    assert abs(back[0] + forth[0]) <= 1
    assert abs(back[1] - forth[1]) <= 1


@settings(max_examples=8)
@given(_within_bound, _within_bound)
def test_counts_are_moved_whole_and_only_lost_over_the_border(rows: int, columns: int) -> None:
    anterior, posterior = _pair(1)
    padded = [np.pad(view, 20) for view in (anterior, posterior)]
    aligned, _, _ = opposite_channel(padded[0], np.roll(padded[1], (rows, columns), axis=(0, 1)))
    assert aligned.dtype == posterior.dtype
    assert aligned.sum() == posterior.sum()
    assert np.array_equal(np.bincount(aligned.ravel())[1:], np.bincount(posterior.ravel())[1:])


def test_a_hot_bladder_or_injection_in_one_view_does_not_move_it() -> None:
    anterior, posterior = _pair(2)
    y, x = np.mgrid[:1024, :256]
    for row, column, radius in ((470, 120, 25), (400, 20, 8), (100, 10, 0)):
        spot = 20_000 * ((y - row) ** 2 + (x - column) ** 2 <= radius**2)
        _, shift, doubt = opposite_channel(anterior + spot, posterior)
        assert (shift, doubt) == ((0, 0), "")


def test_a_twentieth_of_the_counts_is_enough() -> None:
    rng = np.random.default_rng(0)
    for number in PATIENTS:
        anterior, posterior = (rng.binomial(view, 0.05) for view in _pair(number))
        _, shift, doubt = opposite_channel(anterior, _displaced(posterior, (5, -3)))
        assert np.abs(np.subtract(shift, (-5, -3))).max() <= 1
        assert doubt == ""


@pytest.mark.parametrize("displacement", [(30, 0), (0, -25), (-40, 20)])
def test_a_displacement_over_the_bound_is_doubted_and_not_corrected(displacement: tuple[int, int]) -> None:
    anterior, posterior = _pair(3)
    moved = _displaced(posterior, displacement)
    aligned, shift, doubt = opposite_channel(anterior, moved)
    assert shift == (0, 0)
    assert f"{-displacement[0]:+d} rows and {displacement[1]:+d} columns" in doubt
    assert np.array_equal(aligned, moved[:, ::-1])


@pytest.mark.parametrize("number", PATIENTS)
def test_an_opposite_view_stored_as_seen_from_the_front_is_doubted(number: int) -> None:
    anterior, posterior = _pair(number)
    _, shift, doubt = opposite_channel(anterior, posterior[:, ::-1])
    assert shift == (0, 0)
    assert "fits better unmirrored" in doubt


def test_views_of_nothing_are_doubted() -> None:
    anterior, _ = _pair(1)
    noise = np.random.default_rng(0).poisson(2, anterior.shape)
    for opposite in (np.zeros_like(anterior), noise):
        _, shift, doubt = opposite_channel(anterior, opposite)
        assert shift == (0, 0)
        assert "does not resemble" in doubt
    assert "does not resemble" in opposite_channel(np.zeros((3, 2), int), np.zeros((3, 2), int))[2]


def test_views_of_different_shape_are_refused() -> None:
    with pytest.raises(ConversionError, match="8 x 4 and 8 x 5 px"):
        opposite_channel(np.ones((8, 4), int), np.ones((8, 5), int))
