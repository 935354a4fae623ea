"""Whether the two views of a scan are swapped: figures of one view that workers return, and their comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from dataset_conversion.quality.body import Body, find_body
from dataset_conversion.quality.flag import Flag
from dataset_conversion.quality.posture import cut_sides, is_upside_down
from dataset_conversion.scintigram import Scintigram

# Rows in shares of the body's length from the crown; wide enough for bent necks and pointed feet, which move them by 7 %.
CHEST, LOINS, PELVIS, HEAD = (0.20, 0.33), (0.27, 0.40), (0.41, 0.56), (0.0, 0.14)
SKULL, FACE = (0.1, 0.45), (0.5, 0.9)  # of the head
# Distances from the mid-line in shares of the body's length: half a vertebra with room for scoliosis, kidneys, ribs, bladder.
SPINE_REACH, LOIN_REACH, RIBS_REACH, PELVIS_REACH = 0.02, 0.055, (0.026, 0.063), 0.034
# How far the logarithm of each figure differs between posterior and anterior, on the median over 100 phantom patients: spine,
# loins and ribs are nearer to the camera and brighter from behind, face and bladder from the front.
DIFFERENCES = {"spine": 0.44, "loins": 0.27, "ribs": 0.16, "face": -0.42, "bladder": -1.06}
# Mean over the five of difference / expected difference, each within -1 to 1; views as named give about 0.9, swapped -0.9.
SWAPPED = -0.5
# Bladder against sacrum can turn with a hot lesion, face against skull with a metastasis: most of the five must agree.
AGREEING = 4


@dataclass(frozen=True)
class ViewStatistics:
    """The few figures of a view that checks across views need; small enough to come back from every worker.

    pixels_sha256: of shape and counts, whatever their data type. figures: logarithms of ratios of counts, by the keys of
    `DIFFERENCES`; None where the view shows no upright body from crown to feet.
    """

    pixels_sha256: str
    figures: dict[str, float] | None


def view_statistics(scintigram: Scintigram) -> ViewStatistics:
    """Hash one view's counts and measure how bright its spine, loins, ribs, face and bladder are."""
    body = find_body(scintigram.counts, scintigram.spacing_mm)
    figures = _figures(body) if body is not None and _is_complete(body) else None
    return ViewStatistics(_sha256(scintigram.counts), figures)


def pair_flags(anterior: ViewStatistics, posterior: ViewStatistics) -> list[Flag]:
    """Flag the two views of one scan as swapped, only where most of their figures say so; the flag belongs to both."""
    if anterior.figures is None or posterior.figures is None:
        return []
    votes = np.array([(posterior.figures[k] - anterior.figures[k]) / expected for k, expected in DIFFERENCES.items()])
    if np.clip(votes, -1, 1).mean() > SWAPPED or np.count_nonzero(votes < 0) < AGREEING:
        return []
    sentence = (
        "Anterior and posterior seem to be swapped: spine and ribs are brighter in the view called anterior, face and bladder"
        " in the one called posterior; correct the view codes."
    )
    return [Flag("views-swapped", "error", sentence)]


def _is_complete(body: Body) -> bool:
    """Whether crown and feet are seen, between which the figures' regions are laid out."""
    return body.whole_body and not is_upside_down(body) and not {"top", "bottom"} & cut_sides(body).keys()


def _sha256(counts: np.ndarray) -> str:
    digest = hashlib.sha256(str(counts.shape).encode())
    digest.update(counts.astype("<u4").tobytes())
    return digest.hexdigest()


def _figures(body: Body) -> dict[str, float] | None:
    length = body.bottom - body.top
    clipped = np.minimum(body.smooth, 2 * body.level) * body.inside
    trunk = clipped[_rows(body, (CHEST[0], LOINS[1]))].sum(axis=0)
    columns = np.arange(len(trunk))
    middle = (trunk * columns).sum() / trunk.sum()
    off = np.abs(columns - middle) * body.cell_mm[1] / (length * body.cell_mm[0])
    head = clipped[_rows(body, HEAD)][:, off < PELVIS_REACH]
    skull, face = (head[int(a * len(head)) : int(b * len(head))] for a, b in (SKULL, FACE))
    loins = body.mean[_rows(body, LOINS)]
    values = {
        "spine": np.median(loins[:, off < SPINE_REACH].max(axis=1, initial=0)) / body.level,
        "loins": np.minimum(loins, 2 * body.level)[:, off < LOIN_REACH].sum() / clipped.sum(),
        "ribs": body.mean[_rows(body, CHEST)][:, (off >= RIBS_REACH[0]) & (off < RIBS_REACH[1])].mean() / body.level,
        "face": face.mean() / skull.mean(),
        "bladder": body.smooth[_rows(body, PELVIS)][:, off < PELVIS_REACH].max(initial=0) / body.level,
    }
    figures = {name: float(np.log(value)) for name, value in values.items() if np.isfinite(value) and value > 0}
    return figures if len(figures) == len(DIFFERENCES) else None


def _rows(body: Body, share: tuple[float, float]) -> slice:
    length = body.bottom - body.top
    return slice(body.top + int(share[0] * length), body.top + int(share[1] * length))
