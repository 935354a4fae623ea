from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dataset_conversion.quality import Flag, view_flags
from dataset_conversion.quality.flag import SEVERITIES
from dataset_conversion.scintigram import Scintigram


def _codes(view: Scintigram, mask: np.ndarray | None = None, grown: int = 0) -> list[str]:
    return [flag.code for flag in view_flags(view, mask, grown)]


def test_normal_scans_raise_no_flag(normal: list, nm1: Scintigram) -> None:
    for one in normal:
        assert view_flags(one.view, one.mask, one.grown) == []
    assert view_flags(nm1, None, 0) == []


def test_a_thorax_alone_raises_no_flag(normal: list) -> None:
    for one in normal:
        assert _codes(replace(one.view, counts=one.view.counts[160:416]), one.mask[160:416]) == []


FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "upside-down": lambda counts: counts[::-1],
    "clipped": lambda counts: np.minimum(counts, 50),
    "low-counts": lambda counts: np.random.default_rng(0).binomial(counts, 350_000 / counts.sum()),
    "empty": lambda counts: np.random.default_rng(0).binomial(counts, 10_000 / counts.sum()),
    "rescaled": lambda counts: (counts * (65535 / counts.max())).astype(np.uint16),
    "stretched": lambda counts: counts[(np.arange(1300) / 1.3).astype(int)],
    "degenerate": lambda counts: np.repeat(counts[:60:3], 51, axis=0),
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_the_one_flag_raised(normal: list, code: str) -> None:
    for one in normal:
        assert _codes(replace(one.view, counts=FAULTS[code](one.view.counts))) == [code]


def test_a_frame_of_one_value_is_degenerate_and_nothing_else(normal: list) -> None:
    assert _codes(replace(normal[0].view, counts=np.full((1024, 256), 7, np.uint16))) == ["degenerate"]


def test_a_body_cut_off_at_both_ends_is_flagged_once(nm1: Scintigram) -> None:
    flags = view_flags(replace(nm1, counts=nm1.counts[130:700]), None, 0)
    assert [flag.code for flag in flags] == ["cut-off"]
    assert "the top (over" in flags[0].sentence
    assert "the bottom (over" in flags[0].sentence


def test_lesions_beside_the_body_are_counted_and_those_in_it_are_not(normal: list) -> None:
    for one in normal:
        mask = np.zeros_like(one.mask)
        mask[420:424, 126:130] = 1
        assert view_flags(one.view, mask, 0) == []
        mask[20:24, 10:16] = 1
        mask[1000:1004, 120:126] = 2
        (flag,) = view_flags(one.view, mask, 0)
        assert (flag.code, flag.severity) == ("lesion-outside", "error")
        assert flag.sentence.startswith("2 of 3 lesions lie outside")


def test_outlines_grown_to_a_pixel_are_noted_with_their_number(normal: list) -> None:
    assert view_flags(normal[0].view, None, 0) == []
    (one,), (more,) = view_flags(normal[0].view, None, 1), view_flags(normal[0].view, None, 3)
    assert (one.code, one.severity) == (more.code, more.severity) == ("sub-pixel", "note")
    assert one.sentence.startswith("One outline holds")
    assert more.sentence.startswith("3 outlines hold")


def test_the_headers_word_on_burned_in_text_is_an_error_and_letters_alone_a_warning(normal: list) -> None:
    view = normal[0].view
    assert [(f.code, f.severity) for f in view_flags(replace(view, burned_in=True), None, 0)] == [("text", "error")]
    counts = view.counts.copy()
    for left in range(4, 60, 4):
        counts[6:16, left] = 900
    assert [(f.code, f.severity) for f in view_flags(replace(view, counts=counts), None, 0)] == [("text", "warning")]


def test_flags_come_worst_first_and_say_it_in_a_sentence(normal: list) -> None:
    view = replace(normal[0].view, counts=np.minimum(normal[0].view.counts, 50)[::-1], burned_in=True)
    flags = view_flags(view, None, 1)
    assert [flag.code for flag in flags] == ["text", "upside-down", "clipped", "sub-pixel"]
    order = [SEVERITIES.index(flag.severity) for flag in flags]
    assert order == sorted(order)
    assert all(isinstance(flag, Flag) and not flag.sentence[0].islower() and flag.sentence[-1] in ".?" for flag in flags)


def test_a_view_too_small_for_anatomy_is_judged_by_its_grey_values_alone(make_view: Callable[..., Scintigram]) -> None:
    counts = np.random.default_rng(0).poisson(40, (48, 16)).astype(np.uint16)
    mask = np.zeros((48, 16), np.uint8)
    mask[2, 2] = 1
    assert view_flags(make_view(counts), mask, 0) == []
