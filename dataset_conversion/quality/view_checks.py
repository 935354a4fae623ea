"""What looks wrong with one view, its counts and its mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dataset_conversion.quality.body import BODY_SHARE, Body, find_body
from dataset_conversion.quality.flag import Flag, worst_first
from dataset_conversion.quality.grey_values import clipped_pixels, has_gaps, histogram, repeated_share, text_values
from dataset_conversion.quality.posture import cut_sides, is_upside_down
from dataset_conversion.scintigram import Scintigram

# A frame of so few distinct values, or with so many repeated rows, is no image of a patient.
DEGENERATE_VALUES = 2
DEGENERATE_SHARE = 0.9
# Real rows hardly repeat (under 0.01 in 201 views); this share is a stretch by a ninth.
STRETCHED_SHARE = 0.1
# Whole-body views should hold some 1.5 million counts (SNMMI and EANM guidelines on bone scintigraphy), 112 a cm2 of an image
# of 2.31 x 0.58 m, regional views more. A quarter of that (0.4 million) is unusual, a fiftieth (30,000) shows no skeleton;
# the two shares are our choice.
LOW_COUNTS_PER_CM2 = 28.0
EMPTY_COUNTS_PER_CM2 = 2.2
# Pixels that touch at a corner are one lesion, as in the manifest.
LESION_CONNECTIVITY = np.ones((3, 3), int)


def view_flags(scintigram: Scintigram, mask: np.ndarray | None, grown: int) -> list[Flag]:
    """Check one view; worst flags first, none for a view that looks right.

    mask: (H, W) uint8, above 0 in lesions, or None for a view without label. grown: outlines that held no pixel centre.
    """
    counts = scintigram.counts
    flags = [*_outline_flags(grown), *_header_flags(scintigram)]
    degenerate, grey_flags = _grey_flags(counts)
    flags += grey_flags
    if not degenerate:
        flags += _count_flags(scintigram)
        body = find_body(counts, scintigram.spacing_mm)
        if body is not None and not any(flag.code == "empty" for flag in flags):
            flags += _position_flags(body)
            flags += _lesion_flags(body, mask)
    return worst_first(flags)


def _outline_flags(grown: int) -> list[Flag]:
    if not grown:
        return []
    what = "One outline holds" if grown == 1 else f"{grown} outlines hold"
    return [Flag("sub-pixel", "note", f"{what} no pixel centre and became one pixel; check that nothing was drawn by a slip.")]


def _header_flags(scintigram: Scintigram) -> list[Flag]:
    if not scintigram.burned_in:
        return []
    return [Flag("text", "error", "The header says that text is burned into the pixels; make sure that it names nobody.")]


def _grey_flags(counts: np.ndarray) -> tuple[bool, list[Flag]]:
    """Flags of the grey values, and whether the frame is degenerate, which makes all others pointless."""
    values, number = histogram(counts)
    if len(values) <= DEGENERATE_VALUES:
        return True, [Flag("degenerate", "error", f"All pixels have {len(values)} grey value(s): no scan; leave it out.")]
    repeated = repeated_share(counts)
    if repeated >= DEGENERATE_SHARE:
        sentence = f"{repeated:.0%} of the rows or columns repeat the one before: no scan; export it again or leave it out."
        return True, [Flag("degenerate", "error", sentence)]
    flags = []
    if repeated >= STRETCHED_SHARE:
        sentence = (
            f"{repeated:.0%} of the rows or columns repeat the one before: it was stretched by nearest neighbour and its pixel"
            " size is false; use the original scan."
        )
        flags.append(Flag("stretched", "warning", sentence))
    letters = text_values(counts, values, number)
    if letters:
        sentence = (
            f"{sum(letters.values())} pixels of one grey value with sharp edges look like burned-in text;"
            " make sure that it names nobody."
        )
        flags.append(Flag("text", "warning", sentence))
    highest = int(values[-1])
    clipped = clipped_pixels(values, number)
    if clipped and highest not in letters:
        sentence = f"{clipped} pixels share the maximum of {highest}: higher counts were cut off; use the original scan."
        flags.append(Flag("clipped", "warning", sentence))
    if has_gaps(values, number):
        sentence = "Grey values are missing in between: the counts were rescaled, and noise no longer tells how sure they are."
        flags.append(Flag("rescaled", "warning", sentence))
    return False, flags


def _count_flags(scintigram: Scintigram) -> list[Flag]:
    counts, (row_mm, column_mm) = scintigram.counts, scintigram.spacing_mm
    total = int(counts.sum(dtype=np.int64))
    density = total / (counts.size * row_mm * column_mm / 100)
    found = f"{total:,} counts, {density:.1f} a cm²"
    if density < EMPTY_COUNTS_PER_CM2:
        return [Flag("empty", "error", f"Nearly empty: {found}, expected over {LOW_COUNTS_PER_CM2:g}; leave it out.")]
    if density < LOW_COUNTS_PER_CM2:
        sentence = f"Few counts: {found}, expected over {LOW_COUNTS_PER_CM2:g}; is it a whole acquisition?"
        return [Flag("low-counts", "warning", sentence)]
    return []


def _position_flags(body: Body) -> list[Flag]:
    flags = []
    if is_upside_down(body):
        flags.append(
            Flag("upside-down", "error", "The head seems to be at the bottom; turn the scan and draw its outlines anew.")
        )
    cuts = cut_sides(body)
    if cuts:
        where = " and ".join(f"the {side} (over {length:.0f} mm)" for side, length in cuts.items())
        sentence = f"The body is cut off at {where} of the field of view; lesions may be missing."
        flags.append(Flag("cut-off", "warning", sentence))
    return flags


def _lesion_flags(body: Body, mask: np.ndarray | None) -> list[Flag]:
    if mask is None or not mask.any():
        return []
    labels, number = ndimage.label(mask, LESION_CONNECTIVITY)
    row, column = np.nonzero(labels)
    last = np.array(body.smooth.shape) - 1
    cell_row, cell_column = np.minimum(row // body.cell_px[0], last[0]), np.minimum(column // body.cell_px[1], last[1])
    is_out = body.smooth[cell_row, cell_column] < BODY_SHARE * body.level
    lesion = labels[row, column]
    share_out = np.bincount(lesion, is_out, number + 1)[1:] / np.bincount(lesion, minlength=number + 1)[1:]
    outside = int((share_out > 0.5).sum())
    if not outside:
        return []
    one = "The only lesion lies" if number == 1 else f"One of {number} lesions lies"
    found = one if outside == 1 else f"{outside} of {number} lesions lie"
    return [Flag("lesion-outside", "error", f"{found} outside the body; do the outlines belong to this view?")]
