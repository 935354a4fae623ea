from __future__ import annotations

import numpy as np

from dataset_conversion.quality.body import find_body
from dataset_conversion.quality.posture import cut_sides, is_upside_down

SPACING_MM = (2.26, 2.26)


def _body(counts: np.ndarray):
    body = find_body(counts, SPACING_MM)
    assert body is not None
    return body


def test_upright_scans_are_left_alone_and_turned_ones_found(normal: list, nm1) -> None:
    for counts in [*(one.view.counts for one in normal), nm1.counts]:
        assert not is_upside_down(_body(counts))
        assert is_upside_down(_body(counts[::-1]))
        assert is_upside_down(_body(counts[::-1, ::-1]))


def test_a_scan_without_lower_legs_is_judged_as_well(normal: list) -> None:
    for one in normal:
        assert not is_upside_down(_body(one.view.counts[:768]))
        assert is_upside_down(_body(one.view.counts[:768][::-1]))


def test_which_end_is_up_is_not_asked_of_a_regional_view(normal: list) -> None:
    assert not any(is_upside_down(_body(one.view.counts[700:956][::-1])) for one in normal)


def test_complete_bodies_are_not_cut_off_even_where_background_was_removed(normal: list, nm1) -> None:
    for counts in [*(one.view.counts for one in normal), nm1.counts]:
        assert cut_sides(_body(counts)) == {}
        body = _body(counts)
        masked = counts * np.kron(body.inside, np.ones(body.cell_px, np.uint16))
        assert cut_sides(_body(masked)) == {}
        rows, columns = np.flatnonzero(masked.any(axis=1)), np.flatnonzero(masked.any(axis=0))
        cropped = masked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert cut_sides(_body(cropped)) == {}


def test_a_body_cut_through_the_pelvis_the_head_or_the_chest_is_reported_by_side(nm1) -> None:
    counts = nm1.counts
    assert list(cut_sides(_body(counts[:560]))) == ["bottom"]
    assert list(cut_sides(_body(counts[130:]))) == ["top"]
    assert list(cut_sides(_body(np.where(np.arange(256) < 100, 0, counts)))) == ["left"]


def test_zero_padding_around_a_short_acquisition_does_not_hide_that_it_was_short(nm1) -> None:
    short = np.where(np.arange(1024)[:, None] < 700, nm1.counts, 0)
    assert list(cut_sides(_body(short))) == ["bottom"]


def test_a_scan_without_background_is_cut_off_by_the_images_own_border(nm1) -> None:
    body = _body(nm1.counts)
    masked = nm1.counts * np.kron(body.inside, np.ones(body.cell_px, np.uint16))
    assert list(cut_sides(_body(masked[:700]))) == ["bottom"]


def test_letters_along_the_border_are_no_body_that_is_cut_off(normal: list) -> None:
    for one in normal:
        counts = one.view.counts.copy()
        counts[:12, 4:200:3] = 400
        assert cut_sides(_body(counts)) == {}
