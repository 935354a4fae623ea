"""The 256 x 256 px thorax box of a whole-body view: where it lies, how to cut it out, and how to put a prediction back.

The MSA-Net paper trains on 256 x 256 px of the thorax out of 256 x 1024; how it finds them is not known. This detector is ours:
it measures how wide the body is in every row, finds the shoulders as the first row that is nearly as wide as the trunk, the
neck as the narrowest row just above them, and hangs the box from the neck. Where the body does not look like that it still
returns a box, and says why it should be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from dataset_conversion.errors import ConversionError

BOX_PX = 256
# Counts are summed over 4 columns and 5 rows before a pixel is called body: enough to tell soft tissue from background noise
# at clinical counts, still half a vertebra high.
COLUMNS, ROWS = 4, 5
# A pixel is body above this share of the 90th percentile of the counts. The percentile lies in the trunk's soft tissue and
# bone, so a hot bladder or injection site hardly moves it; a share below some 5 % takes in the scatter around the body.
TRUNK_PERCENTILE, BODY_SHARE = 90, 0.09
WIDTH_SMOOTHING_MM = 20
SHOULDER_SHARE = 0.6  # of the trunk's width; a head is under half of it, arms at the sides or not
NECK_ABOVE_SHOULDERS_MM = 90
# Crown to neck: 235 mm at 1,740 mm of stature; children and a chin on the chest make it shorter, a pillow's glow longer.
CROWN_TO_NECK_MM, SHORTEST_HEAD_MM, LONGEST_HEAD_MM = 235, 130, 330
NARROWEST_BODY_MM = 30  # rows narrower than this are noise or a marker, not a body
# Neck to below the kidneys and the last rib is 430 mm at 1,740 mm of stature; 2 m need 500 mm.
THORAX_MM = 500


@dataclass(frozen=True)
class ThoraxBox:
    """Rows top to top + height, columns left to left + width of a view, in px; `doubt` is "" or the reasons to look at it."""

    top: int
    left: int
    height: int
    width: int
    doubt: str = ""


def thorax_box(counts: np.ndarray, spacing_mm: tuple[float, float]) -> ThoraxBox:
    """Find the box of 256 x 256 px from the neck to below the lower ribs in counts (H, W), head first, of either view.

    A view under 256 px high or wide gives a box as large as the view allows. The box always lies inside the view. Doubts are:
    no counts, head cut off, no neck, an implausible head (upside down?), a view or a pixel too small, a box moved up by the
    lower border. Without a neck the box hangs 235 mm below the top of the body.
    """
    height, width = counts.shape
    blurred = _blurred(counts)
    trunk = float(np.percentile(blurred[blurred > 0], TRUNK_PERCENTILE)) if blurred.any() else 0.0
    is_body = blurred > BODY_SHARE * trunk
    widths = _body_widths(is_body, spacing_mm)
    doubts = _size_doubts(counts.shape, spacing_mm)
    row, row_doubts = _neck(widths, spacing_mm[0])
    box_height, box_width = min(BOX_PX, height), min(BOX_PX, width)
    top = min(row, height - box_height)
    if top < row and height > BOX_PX:
        doubts.append(f"the neck is in row {row} and the view ends {height - row} rows below, so the box begins above it")
    columns = is_body[top : top + box_height].sum(0, dtype=np.float64)
    middle = COLUMNS * float(np.average(np.arange(columns.size) + 0.5, weights=columns)) if columns.any() else width / 2
    left = min(max(round(middle - box_width / 2), 0), width - box_width)
    return ThoraxBox(top, left, box_height, box_width, "; ".join(doubts + row_doubts))


def crop(array: np.ndarray, box: ThoraxBox) -> np.ndarray:
    """Cut the box out of (..., H, W), as a copy; raises ConversionError where the box does not lie inside."""
    _require_inside(box, array.shape[-2:])
    return array[..., box.top : box.top + box.height, box.left : box.left + box.width].copy()


def uncrop(array: np.ndarray, box: ThoraxBox, shape: tuple[int, int], fill: float) -> np.ndarray:
    """Put (..., box.height, box.width) back into (..., H, W) of `shape`, `fill` around it: the inverse of `crop`.

    Raises ConversionError where the box does not lie inside or the array is not of the box's size.
    """
    _require_inside(box, shape)
    if array.shape[-2:] != (box.height, box.width):
        raise ConversionError(
            f"the crop is {array.shape[-2]} x {array.shape[-1]} px, its box {box.height} x {box.width} px;"
            " they are not of the same case."
        )
    whole = np.full((*array.shape[:-2], *shape), fill, array.dtype)
    whole[..., box.top : box.top + box.height, box.left : box.left + box.width] = array
    return whole


def _blurred(counts: np.ndarray) -> np.ndarray:
    """Counts summed over 4 columns and averaged over 5 rows: (H, ceil(W / 4)) float32."""
    padded = np.pad(counts, ((0, 0), (0, -counts.shape[1] % COLUMNS))).astype(np.float32)
    summed: np.ndarray = sum((padded[:, first::COLUMNS] for first in range(1, COLUMNS)), padded[:, ::COLUMNS])
    # Without counts beyond the border the rows there would look narrower than they are.
    averaged: np.ndarray = uniform_filter1d(summed, ROWS, axis=0, mode="nearest")
    return averaged


def _body_widths(is_body: np.ndarray, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Width of the body in every row, mm, smoothed along the rows: (H,) float64."""
    widths = is_body.sum(1) * (COLUMNS * spacing_mm[1])
    size = 2 * round(WIDTH_SMOOTHING_MM / spacing_mm[0] / 2) + 1
    smooth: np.ndarray = uniform_filter1d(widths, size, mode="nearest")
    return smooth


def _neck(widths: np.ndarray, row_mm: float) -> tuple[int, list[str]]:
    """Row that the box hangs from, and doubts about it."""
    is_row_of_body = widths >= NARROWEST_BODY_MM
    if not is_row_of_body.any():
        return 0, ["the view shows no body"]
    first, last = _longest_run(is_row_of_body)
    trunk = float(np.percentile(widths[first:last], TRUNK_PERCENTILE))
    shoulders = first + int(np.argmax(widths[first:last] >= SHOULDER_SHARE * trunk))
    above = max(first, shoulders - round(NECK_ABOVE_SHOULDERS_MM / row_mm))
    # Of equally narrow rows the lowest: the shoulders are what the box must hold.
    neck = shoulders - int(np.argmin(widths[above : shoulders + 1][::-1]))
    head_mm = (neck - first) * row_mm
    if first == 0:
        is_trunk = shoulders == 0 or head_mm < SHORTEST_HEAD_MM / 2
        cut = "the body touches the upper border: " + (
            "head and neck are not in the view" if is_trunk else "the head is cut off"
        )
        return (0 if is_trunk else neck), [cut]
    fallback = first + round(CROWN_TO_NECK_MM / row_mm)
    head = float(widths[first : neck + 1].max())
    if head_mm < SHORTEST_HEAD_MM or head_mm > LONGEST_HEAD_MM:
        return fallback, [
            f"the body widens to shoulders {(shoulders - first) * row_mm:.0f} mm below its top, where no head ends: the view"
            " may be upside down or no whole body"
        ]
    if widths[neck] >= head:
        return neck, ["no row above the shoulders is narrower than the head, so the neck is a guess"]
    return neck, []


def _longest_run(values: np.ndarray) -> tuple[int, int]:
    """First index and one past the last of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [False]])))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def _size_doubts(shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> list[str]:
    doubts = []
    if min(shape) < BOX_PX:
        doubts.append(f"the view is {shape[0]} x {shape[1]} px, too small for a box of {BOX_PX} x {BOX_PX} px")
    box_mm = BOX_PX * spacing_mm[0]
    if box_mm < THORAX_MM:
        doubts.append(f"the box is {box_mm:.0f} mm high, a tall patient's thorax up to {THORAX_MM} mm")
    return doubts


def _require_inside(box: ThoraxBox, shape: tuple[int, ...]) -> None:
    if not (0 <= box.top <= shape[0] - box.height and 0 <= box.left <= shape[1] - box.width):
        raise ConversionError(
            f"the box is rows {box.top} to {box.top + box.height}, columns {box.left} to {box.left + box.width}, the view"
            f" {shape[0]} x {shape[1]} px; they are not of the same case."
        )
