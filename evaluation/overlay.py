"""Pictures of a case: the view in inverse grey, and the same with the outlines of reference and prediction."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from evaluation.lesions import Connectivity, connected_components
from evaluation.matching import MatchRule, match_lesions

# From the colour-blind-safe palette of Okabe and Ito (2008); missed and spurious lesions differ in the marker's shape as well,
# so the pictures survive a grey printer.
REFERENCE_COLOUR = "#0072B2"
PREDICTION_COLOUR = "#E69F00"
MISSED_COLOUR = "#D55E00"
SPURIOUS_COLOUR = "#B04A8E"

# Upper end of the grey scale: above it lie bladder and injection site, which would leave the skeleton white.
WINDOW_PERCENTILE = 99.5

_PANEL_HEIGHT_IN = 8.0
_DPI = 140
# Width over height of a panel, so that neither a thin strip nor a panorama makes an unreadable figure.
_PANEL_ASPECT = (0.2, 1.6)


def pixel_outline(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Border of a 2-D mask along pixel edges: segments (n, 2 ends, (x, y) in mm), the image's upper left corner at 0."""
    padded = np.pad(mask, 1)
    row, col = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    horizontal = np.stack([np.stack([col, row], -1), np.stack([col + 1, row], -1)], axis=1)
    row, col = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    vertical = np.stack([np.stack([col, row], -1), np.stack([col, row + 1], -1)], axis=1)
    segments: NDArray[np.float64] = np.concatenate([horizontal, vertical]) * np.array([spacing_mm[1], spacing_mm[0]])
    return segments


def grey_window(image: NDArray[np.floating]) -> tuple[float, float]:
    """Lower and upper end of the grey scale: the minimum, and the 99.5th percentile of what lies above it."""
    low = float(image.min())
    above = image[image > low]
    return low, float(np.percentile(above, WINDOW_PERCENTILE)) if above.size else low + 1


def overlay_png(
    image: NDArray[np.floating],
    reference: NDArray[np.bool_] | None,
    prediction: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    *,
    title: str,
    match: MatchRule = "overlap",
    connectivity: Connectivity = 8,
) -> bytes:
    """Draw one case as PNG: left the image, right the image with outlines, missed and spurious lesions marked.

    Without a reference only the prediction is outlined, and nothing is judged.

    All arrays (H, W) or (D, H, W); of a volume the slice where reference and prediction differ most is shown.
    """
    judged = reference is not None
    if reference is None:
        reference = prediction
    labels = [connected_components(mask, connectivity)[0] for mask in (reference, prediction)]
    matched = match_lesions(labels[0], labels[1], match)
    missed = np.append(False, ~matched.found)[labels[0]]
    spurious = np.append(False, matched.spurious)[labels[1]]
    if image.ndim == 3:
        disagreement = (reference != prediction).sum(axis=(1, 2)) + 1e-6 * (reference | prediction).sum(axis=(1, 2))
        plane = int(disagreement.argmax())
        title += f", slice {plane}"
        image, reference, prediction, missed, spurious = (a[plane] for a in (image, reference, prediction, missed, spurious))
    row_mm, col_mm = spacing_mm[-2:]
    height, width = image.shape[0] * row_mm, image.shape[1] * col_mm
    panel_width = _PANEL_HEIGHT_IN * float(np.clip(width / height, *_PANEL_ASPECT))
    figure = Figure(figsize=(2 * panel_width + 1.1, _PANEL_HEIGHT_IN + 1.35), dpi=_DPI, layout="constrained")
    plain, overlay = figure.subplots(1, 2, sharex=True, sharey=True)
    low, high = grey_window(image)
    for axes in (plain, overlay):
        axes.imshow(image, cmap="gray_r", vmin=low, vmax=high, extent=(0, width, height, 0), interpolation="antialiased")
        axes.set_xlabel("mm")
        axes.tick_params(labelsize=8)
    plain.set_ylabel("mm")
    # The prediction lies below and is wider: where both outlines coincide, both are seen.
    for mask, colour, line_width in (
        (prediction & ~spurious, PREDICTION_COLOUR, 2.2),
        (reference & ~missed & judged, REFERENCE_COLOUR, 0.9),
        (missed, MISSED_COLOUR, 1.0),
        (spurious, SPURIOUS_COLOUR, 1.0),
    ):
        overlay.add_collection(
            LineCollection(list(pixel_outline(mask, (row_mm, col_mm))), colors=colour, linewidths=line_width)
        )
    ring = 0.02 * max(height, width)
    for mask, colour, marker in ((missed, MISSED_COLOUR, "o"), (spurious, SPURIOUS_COLOUR, "s")):
        centres, sizes = _markers(mask, (row_mm, col_mm), connectivity)
        for (x, y), size in zip(centres, sizes, strict=True):
            radius_points = (ring / 2 + size / 2) * _PANEL_HEIGHT_IN * 72 / height
            overlay.plot(x, y, marker, markersize=2 * radius_points, mfc="none", mec=colour, mew=1.3)
    overlay.set_xlim(0, width)
    overlay.set_ylim(height, 0)
    figure.suptitle(title, fontsize=10)
    handles = [
        Line2D([], [], color=PREDICTION_COLOUR, lw=2.2, label="prediction"),
        Line2D([], [], color=REFERENCE_COLOUR, lw=0.9, label="reference"),
        Line2D([], [], color=MISSED_COLOUR, marker="o", ms=9, mfc="none", ls="", label="missed"),
        Line2D([], [], color=SPURIOUS_COLOUR, marker="s", ms=8, mfc="none", ls="", label="spurious"),
    ]
    figure.legend(
        handles=handles if judged else handles[:1],
        loc="outside lower center",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _markers(
    mask: NDArray[np.bool_], spacing_mm: tuple[float, float], connectivity: Connectivity
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle (x, y) and longer side, in mm, of the bounding box of every component of a 2-D mask."""
    labels, number = connected_components(mask, connectivity)
    centres, sides = np.empty((number, 2)), np.empty(number)
    for index in range(number):
        row, col = np.nonzero(labels == index + 1)
        top, bottom, left, right = row.min(), row.max() + 1, col.min(), col.max() + 1
        centres[index] = (left + right) / 2 * spacing_mm[1], (top + bottom) / 2 * spacing_mm[0]
        sides[index] = max((right - left) * spacing_mm[1], (bottom - top) * spacing_mm[0])
    return centres, sides
