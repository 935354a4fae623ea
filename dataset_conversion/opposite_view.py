"""The opposite view of a scan as a second channel: mirrored and moved so that both show the patient in one frame."""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter

from dataset_conversion.errors import ConversionError

# Two heads record both views at once and differ by a few px of adjustment; 16 px are 36 mm at 2.26 mm. What lies farther is
# another position of the patient, or no match, and nothing to be moved silently.
LARGEST_SHIFT_PX = 16
# Shifts up to here are looked at, so that one beyond the bound is noticed instead of the best within it being taken.
FARTHEST_SEARCHED_PX = 64
FINE_PX, COARSE_PX = 5, 31  # detail between these box widths (11 to 70 mm) is compared: bones and edges, neither noise nor glow
# sqrt(counts) is cut off at twice its 90th percentile, which lies in the trunk: four times the trunk's counts.
TRUNK_PERCENTILE, HOTTEST = 90, 2
# Correlation of that detail: 0.74 to 0.82 for the two views of 120 phantom patients, near 0 for noise. It cannot tell patients
# from each other (0.10 to 0.72), and real pairs are less alike than the phantom's, so only what resembles nothing is doubted.
LOWEST_CORRELATION = 0.2
# How much better an unmirrored opposite view must fit to be doubted: bodies are nearly symmetric. On those phantoms the
# mirrored view fits better by 0.05 to 0.45.
SYMMETRY_MARGIN = 0.02


def opposite_channel(view_counts: np.ndarray, opposite_counts: np.ndarray) -> tuple[np.ndarray, tuple[int, int], str]:
    """Bring the opposite view's counts (H, W) into the frame of a view of the same scan.

    Each camera sees the patient from its own side, so the opposite view is mirrored left-right (axis 1), then moved by whole
    pixels to where it correlates best with the view. Returns the moved counts, of the opposite view's own type and with 0 where
    nothing was recorded, the shift (rows, columns) that was applied after mirroring, and a doubt or "". Counts are moved, never
    interpolated. Where the best shift is over 16 px, the views do not correlate, or the opposite view fits better unmirrored,
    the doubt says so and the shift is (0, 0). Raises ConversionError where the views differ in shape.
    """
    if view_counts.shape != opposite_counts.shape:
        raise ConversionError(
            "the views of one scan have {} x {} and {} x {} px, expected the same; convert them as single views.".format(
                *view_counts.shape, *opposite_counts.shape
            )
        )
    mirrored = opposite_counts[:, ::-1]
    view, opposite = _detail(view_counts), _detail(mirrored)
    correlation, shift = _best_shift(view, opposite)
    unmirrored, _ = _best_shift(view, opposite[:, ::-1])
    doubt = ""
    if max(correlation, unmirrored) < LOWEST_CORRELATION:
        doubt = f"the opposite view does not resemble the view (correlation {correlation:.2f})"
    elif unmirrored > correlation + SYMMETRY_MARGIN:
        doubt = "the opposite view fits better unmirrored: one of the two may be stored as seen from the other side"
    elif max(map(abs, shift)) > LARGEST_SHIFT_PX:
        rows, columns = shift
        doubt = (
            f"the opposite view fits best {rows:+d} rows and {columns:+d} columns away, expected up to {LARGEST_SHIFT_PX} px"
        )
    if doubt:
        shift, doubt = (0, 0), f"{doubt}; it is mirrored but not moved"
    return _moved(mirrored, shift), shift, doubt


def _detail(counts: np.ndarray) -> np.ndarray:
    """Band-passed sqrt(counts), (H, W) float32: noise weighs the same everywhere, and a hot bladder little."""
    root = np.sqrt(uniform_filter(counts.astype(np.float32), FINE_PX, mode="constant"))
    if root.any():
        root = np.minimum(root, HOTTEST * np.percentile(root[root > 0], TRUNK_PERCENTILE))
    detail: np.ndarray = root - uniform_filter(root, COARSE_PX, mode="constant")
    return detail


def _best_shift(still: np.ndarray, moving: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Highest correlation over all shifts searched, and the shift that `moving` needs for it."""
    size = [fft.next_fast_len(length + FARTHEST_SEARCHED_PX, real=True) for length in still.shape]
    products = fft.irfft2(fft.rfft2(still, size) * fft.rfft2(moving, size).conj(), size)
    reach = [min(FARTHEST_SEARCHED_PX, length - 1) for length in still.shape]
    offsets = [np.arange(-r, r + 1) for r in reach]
    searched = products[np.ix_(*offsets)]  # negative shifts stand at the end, where negative indices find them
    row, column = np.unravel_index(int(np.argmax(searched)), searched.shape)
    norm = float(np.linalg.norm(still)) * float(np.linalg.norm(moving))
    shift = (int(offsets[0][row]), int(offsets[1][column]))
    return (float(searched[row, column]) / norm, shift) if norm else (0.0, (0, 0))


def _moved(counts: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    moved = np.zeros_like(counts)
    to = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, counts.shape, strict=True))
    source = tuple(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(shift, counts.shape, strict=True))
    moved[to] = counts[source]
    return moved
