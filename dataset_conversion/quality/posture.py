"""How the patient lies in a whole-body view: which end is up, and what the field of view cuts off."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from dataset_conversion.quality.body import Body

# Share of rows in which the body falls into parts (legs, or trunk and arms), below minus above: 0.84 to 1.0 in upright views,
# and with its counts' middle at 0.40 to 0.43 of its length. Both must be turned over; legs held together leave the second.
UPSIDE_DOWN_SPLIT = -0.3
UPSIDE_DOWN_MIDDLE = 0.5
SPLIT_REGION = 0.4
# A body that is cut off goes through the border at this share of bone's counts; one that ends at it, or elbows, mostly do not.
CUT_LEVEL = 0.2
# A skull or two legs cut across are wider than this at that level; crown and toes of scans cropped to the body reach 90 mm.
CUT_ACROSS_MM = 100.0
# Arms that leave the field of view are common in real scans (NM1: 590 mm at that level); this length takes the trunk.
CUT_ALONGSIDE_MM = 700.0
# A row or column of the acquired area holds counts nearly everywhere; the outline of a body set on zero background does not.
ACQUIRED_SHARE = 0.8


def is_upside_down(body: Body) -> bool:
    """Whether the legs are at the top: a statement about whole-body views, False for others."""
    if not body.whole_body:
        return False
    inside = body.inside[body.top : body.bottom]
    parts = (np.diff(np.pad(inside.astype(np.int8), ((0, 0), (1, 0))), axis=1) == 1).sum(axis=1)
    region = max(round(SPLIT_REGION * len(inside)), 1)
    split = float(np.mean(parts[-region:] > 1) - np.mean(parts[:region] > 1))
    # Clipped at the level of bone, so that a full bladder or the injection site does not move the middle.
    weight = (np.minimum(body.smooth, body.level) * body.inside).sum(axis=1)[body.top : body.bottom]
    middle = float((weight * (np.arange(len(weight)) + 0.5)).sum() / weight.sum() / len(weight))
    return split < UPSIDE_DOWN_SPLIT and middle > UPSIDE_DOWN_MIDDLE


def cut_sides(body: Body) -> dict[str, float]:
    """Sides of the acquired area (the image, or what is not zero padding in it) that cut the body off: length in mm by side.

    A statement about whole-body views; empty for others, which are cut off by design.
    """
    if not body.whole_body:
        return {}
    rows, columns = np.flatnonzero(body.mean.any(axis=1)), np.flatnonzero(body.mean.any(axis=0))
    area = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    # Letters at the border are no body; one cell more, because padding next door halves the smoothed counts of the last one.
    counts = np.where(ndimage.binary_dilation(body.inside), body.mean, 0)[area]
    padding = (rows[0], len(body.mean) - 1 - rows[-1], columns[0], body.mean.shape[1] - 1 - columns[-1])
    # The last cell may be part padding, so the one before it counts as well.
    borders = {"top": counts[:2], "bottom": counts[:-3:-1], "left": counts.T[:2], "right": counts.T[:-3:-1]}
    held = body.mean[area] > 0
    outermost = (held[0], held[-1], held[:, 0], held[:, -1])
    found = {}
    for (side, border), line, padded in zip(borders.items(), outermost, padding, strict=True):
        is_border = padded == 0 or line.mean() >= ACQUIRED_SHARE
        n_cells = int((border.max(axis=0) > CUT_LEVEL * body.level).sum())
        is_across = side in ("top", "bottom")
        length = n_cells * body.cell_mm[is_across]
        if is_border and length >= (CUT_ACROSS_MM if is_across else CUT_ALONGSIDE_MM):
            found[side] = length
    return found
