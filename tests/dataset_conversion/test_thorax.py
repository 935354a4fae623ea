from __future__ import annotations

import functools
import time
from typing import NamedTuple

import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dataset_conversion.errors import ConversionError
from dataset_conversion.phantom.anatomy import Body, Site
from dataset_conversion.phantom.parameters import DEFAULT
from dataset_conversion.phantom.study import simulate
from dataset_conversion.thorax import BOX_PX, ThoraxBox, crop, thorax_box, uncrop

SPACING = (2.26, 2.26)
PATIENTS = range(1, 9)


class _Chested(Body):
    """A phantom body that remembers which of its bones are ribs and breastbone."""

    chest: list[Site]

    def _draw_chest(self) -> None:
        before = len(self.sites)
        super()._draw_chest()
        self.chest = self.sites[before:]


class _Patient(NamedTuple):
    views: list[np.ndarray]
    chest_top: float
    chest_bottom: float
    crown: float


@functools.cache
def _patient(number: int) -> _Patient:
    body = _Chested(DEFAULT, np.random.default_rng(np.random.SeedSequence([0, number, 0])))
    rows = [(site.course[:, 1].min() - site.radius_px, site.course[:, 1].max() + site.radius_px) for site in body.chest]
    top, bottom = np.array(rows).T
    return _Patient([v.counts for v in simulate(number)], top.min(), bottom.max(), body.frame.to_px([(0, 6)])[0, 1])


def _nm1() -> np.ndarray:
    """The real scan, a short and stout patient whose arms leave the view."""
    pixels: np.ndarray = pydicom.dcmread(pydicom.data.get_testdata_file("JPEG-LL.dcm", download=False)).pixel_array
    return pixels.astype(np.uint16)


def _undoubted(counts: np.ndarray) -> ThoraxBox:
    box = thorax_box(counts, SPACING)
    assert box.doubt == ""
    assert (box.height, box.width) == (BOX_PX, BOX_PX)
    return box


@pytest.mark.parametrize("number", PATIENTS)
def test_the_box_holds_every_rib_of_both_views_but_not_the_top_of_the_head(number: int) -> None:
    patient = _patient(number)
    assert patient.chest_bottom - patient.chest_top > 100  # that the phantom was measured at all
    for counts in patient.views:
        box = _undoubted(counts)
        assert patient.crown + 60 < box.top < patient.chest_top - 10
        assert box.top + box.height > patient.chest_bottom + 20


def test_the_box_of_a_real_scan_hangs_from_its_neck() -> None:
    box = _undoubted(_nm1())
    assert 160 <= box.top <= 185  # by eye: chin at row 165, shoulders at row 190
    assert box.left == 0


def test_the_head_of_a_real_scan_may_be_cut_off_but_is_missed() -> None:
    whole = thorax_box(_nm1(), SPACING)
    cut = thorax_box(_nm1()[130:], SPACING)
    assert abs(cut.top + 130 - whole.top) <= 2
    assert "the head is cut off" in cut.doubt
    assert "head and neck are not in the view" in thorax_box(_nm1()[230:], SPACING).doubt


@given(st.integers(-40, 60), st.booleans())
def test_moving_the_body_moves_the_box_as_far(shift: int, is_posterior: bool) -> None:
    counts = _patient(2).views[is_posterior]
    assert _undoubted(np.roll(counts, shift, axis=0)).top == _undoubted(counts).top + shift


@given(st.integers(0, 256))
def test_in_a_wide_view_the_box_follows_the_body_sideways(shift: int) -> None:
    counts = _patient(3).views[0]
    wide = np.pad(counts, ((0, 0), (shift, 256 - shift)))
    box = _undoubted(wide)
    assert abs(box.left - shift) <= 6
    assert abs(box.top - _undoubted(counts).top) <= 2


@given(st.integers(2, 50))
def test_twice_the_counts_give_the_same_box(factor: int) -> None:
    counts = _patient(1).views[0]
    assert thorax_box(counts.astype(np.uint32) * factor, SPACING) == thorax_box(counts, SPACING)


@pytest.mark.parametrize("number", PATIENTS)
def test_a_view_upside_down_is_doubted(number: int) -> None:
    for counts in _patient(number).views:
        assert "upside down" in thorax_box(counts[::-1], SPACING).doubt


def test_the_real_scan_upside_down_is_doubted() -> None:
    assert "upside down" in thorax_box(_nm1()[::-1], SPACING).doubt


@pytest.mark.parametrize(
    ("row", "column", "radius", "counts"),
    [(470, 128, 30, 5_000), (400, 20, 10, 60_000), (100, 10, 0, 65_000), (8, 128, 5, 500), (110, 30, 8, 500)],
    ids=["bladder", "injection", "defect pixel", "marker above the head", "marker beside the head"],
)
def test_a_hot_spot_hardly_moves_the_box(row: int, column: int, radius: int, counts: int) -> None:
    y, x = np.mgrid[:1024, :256]
    spot = counts * ((y - row) ** 2 + (x - column) ** 2 <= radius**2)
    for number in PATIENTS:
        for view in _patient(number).views:
            assert abs(_undoubted(view + spot).top - _undoubted(view).top) <= 15  # there are 25 px of neck above the ribs


def test_a_twentieth_of_the_counts_gives_nearly_the_same_box() -> None:
    rng = np.random.default_rng(0)
    for number in PATIENTS:
        for view in _patient(number).views:
            thinned = rng.binomial(view, 0.05).astype(np.uint16)  # what is left of Poisson counts is Poisson again
            assert abs(_undoubted(thinned).top - _undoubted(view).top) <= 15


def test_an_empty_view_and_one_of_noise_are_doubted() -> None:
    assert thorax_box(np.zeros((1024, 256), np.uint16), SPACING).doubt == "the view shows no body"
    noise = np.random.default_rng(0).poisson(3, (1024, 256))
    assert thorax_box(noise, SPACING).doubt != ""


def test_a_rectangle_has_no_neck() -> None:
    counts = np.zeros((1024, 256), np.uint16)
    counts[100:900, 60:200] = 9
    assert "no head ends" in thorax_box(counts, SPACING).doubt


def test_a_head_as_narrow_as_its_neck_makes_the_neck_a_guess() -> None:
    counts = np.zeros((1024, 256), np.uint16)
    counts[100:220, 100:156] = 9
    counts[220:500, 30:226] = 9
    counts[500:900, 80:176] = 9
    box = thorax_box(counts, SPACING)
    assert "the neck is a guess" in box.doubt
    assert 180 < box.top <= 220


def test_a_box_that_reaches_beyond_the_view_is_moved_up_and_doubted() -> None:
    counts = _patient(1).views[0][:380]
    box = thorax_box(counts, SPACING)
    assert (box.top, box.height) == (380 - BOX_PX, BOX_PX)
    assert "the view ends" in box.doubt


@pytest.mark.parametrize("shape", [(200, 256), (1024, 128), (1, 1), (3, 700)])
def test_a_view_too_small_gives_what_there_is_with_a_doubt(shape: tuple[int, int]) -> None:
    box = thorax_box(np.ones(shape, np.uint16), SPACING)
    assert (box.height, box.width) == (min(shape[0], BOX_PX), min(shape[1], BOX_PX))
    assert "too small" in box.doubt


def test_pixels_too_fine_for_a_thorax_are_doubted() -> None:
    counts = _patient(1).views[0]
    assert "mm high" in thorax_box(counts, (1.9, 1.9)).doubt
    assert "mm high" not in thorax_box(counts, (2.0, 2.0)).doubt


def test_a_box_takes_a_few_milliseconds() -> None:
    counts = _patient(1).views[0]
    times = []
    for _ in range(10):
        start = time.perf_counter()
        thorax_box(counts, SPACING)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # measured 2.5 ms; the rest is for a busy machine


@st.composite
def _cases(draw: st.DrawFn) -> tuple[np.ndarray, ThoraxBox]:
    channels, height, width = draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    box = ThoraxBox(top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))
    shape = draw(st.sampled_from([(height, width), (channels, height, width)]))
    return draw(arrays(np.uint8, shape, elements=st.integers(0, 9))), box


@given(_cases())
def test_what_was_cropped_goes_back_to_its_place_with_fill_around_it(case: tuple[np.ndarray, ThoraxBox]) -> None:
    array, box = case
    cut = crop(array, box)
    whole = uncrop(cut, box, array.shape[-2:], 255)
    assert whole.dtype == array.dtype
    assert np.array_equal(crop(whole, box), cut)
    is_inside = np.zeros(array.shape, bool)
    for row in range(box.top, box.top + box.height):
        for column in range(box.left, box.left + box.width):
            is_inside[..., row, column] = True
    assert np.array_equal(whole, np.where(is_inside, array, 255))


def test_a_crop_does_not_share_memory_with_the_view() -> None:
    view = np.zeros((300, 300), np.uint16)
    crop(view, ThoraxBox(0, 0, 256, 256))[:] = 1
    assert not view.any()


@pytest.mark.parametrize("box", [ThoraxBox(-1, 0, 4, 4), ThoraxBox(0, 1, 4, 4), ThoraxBox(3, 0, 4, 4)])
def test_a_box_that_does_not_fit_is_refused_with_both_sizes(box: ThoraxBox) -> None:
    view = np.zeros((6, 4), np.uint8)
    with pytest.raises(ConversionError, match="not of the same case"):
        crop(view, box)
    with pytest.raises(ConversionError, match="6 x 4 px"):
        uncrop(np.zeros((4, 4), np.uint8), box, (6, 4), 0)


def test_a_prediction_of_another_size_than_its_box_is_refused() -> None:
    with pytest.raises(ConversionError, match="3 x 4 px, its box 4 x 4 px"):
        uncrop(np.zeros((3, 4), np.uint8), ThoraxBox(0, 0, 4, 4), (6, 4), 0)
