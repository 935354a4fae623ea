"""Lesions copied between training cases: the counts that a lesion adds to the bone around it, drawn anew elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.lesions import SURROUNDINGS_MM
from msa_trainer.levers.lesion_index import LesionIndex, draw_by_stratum

MOST_COPIES = 5
TRIES = 20  # places tried for a lesion before it is left out: a body full of lesions has none
# Beyond its outline a lesion's counts still fade for about half the resolution of a planar bone scan; cut off at the outline,
# copies would show an edge that no lesion has.
FADING_MM = 4.0
SMOOTHING_PX = 1.0  # the donor's own noise would otherwise be copied beside the noise of the new draw
HOTTEST = 0.98  # of the body: bladder, kidneys and the injection site are no bone
BODY = 0.5  # of the image's mean counts, smoothed: below is air
REMEMBERED_PLACES = 2000  # px on bone kept for each case


@dataclass(frozen=True)
class Excess:
    """What a lesion adds. inside: (slices, h, w) its own pixels in a window that holds its surroundings too; expected:
    (C, slices, h, w) counts above the background, 0 beyond where it fades; label: its class; level: of the donor's bone."""

    inside: NDArray[np.bool_]
    expected: NDArray[np.float64]
    label: int
    level: float


@dataclass(frozen=True)
class Bone:
    """Places on bone. flat: (n,) positions in (slices, H, W); level: the median counts there in the first channel."""

    flat: NDArray[np.int64]
    level: float


class LesionTransplant:
    """Copies 1 to 5 lesions of other training cases onto a case, with `probability`; the labels follow.

    dataset: nnU-Net's, of the fold's training cases, so that nothing crosses folds. index: the lesions of the same. Needs
    counts. A donor is drawn by size stratum, its excess over the median of its surroundings (10 mm) scaled by the two cases'
    counts in bone, and a Poisson draw of it added where the surroundings hold no lesion, outside or ignored pixel. Bone is what
    counts more than the body's median and less than its hottest 2 %. A lesion that is not brighter than its surroundings is
    not copied. Draws from np.random.
    """

    def __init__(self, dataset: Any, index: LesionIndex, probability: float) -> None:
        self.dataset, self.index, self.probability = dataset, index, probability
        in_plane = index.spacing_mm[-2:]
        self.spacing_mm = (index.spacing_mm[0] if len(index.spacing_mm) == 3 else math.inf, *in_plane)
        self._excess: dict[tuple[str, int], Excess | None] = {}
        self._bone: dict[str, Bone] = {}
        owners = [(identifier, number) for identifier in index for number in range(len(index[identifier]))]
        self._owners = owners
        self._strata = np.array([index[identifier].stratum[number] for identifier, number in owners], np.int64)
        self._identifiers = np.array([identifier for identifier, _ in owners])

    def __call__(self, identifier: str, image: Any, segmentation: Any) -> tuple[Any, Any]:
        """Image (C, slices, H, W) counts and segmentation (1, slices, H, W) with copies, or both as they are."""
        if self.probability == 0 or np.random.uniform() >= self.probability:  # noqa: NPY002  nnU-Net seeds this generator
            return image, segmentation
        counts, labels = np.array(image[:], np.float32), np.array(segmentation[:])
        bone = self._bone_of(identifier, counts)
        others = np.flatnonzero(self._identifiers != identifier)
        if len(others) and len(bone.flat):
            for _ in range(np.random.randint(1, MOST_COPIES + 1)):  # noqa: NPY002
                excess = self._excess_of(*self._owners[others[draw_by_stratum(self._strata[others])]])
                if excess is not None:
                    self._place(excess, bone, counts, labels)
        return counts, labels

    def _place(self, excess: Excess, bone: Bone, counts: NDArray[np.float32], labels: NDArray[np.integer]) -> None:
        shape = np.array(excess.inside.shape)
        for flat in np.random.choice(bone.flat, TRIES):  # noqa: NPY002
            first = np.array(np.unravel_index(flat, counts.shape[1:])) - shape // 2
            if (first < 0).any() or (first + shape > counts.shape[1:]).any():
                continue
            window = tuple(slice(low, low + side) for low, side in zip(first, shape, strict=True))
            there = labels[0][window]
            if (there != 0).any():
                continue
            expected = excess.expected * (bone.level / excess.level)
            counts[(slice(None), *window)] += np.random.poisson(expected)  # noqa: NPY002
            there[excess.inside] = excess.label
            return

    def _excess_of(self, identifier: str, number: int) -> Excess | None:
        if (identifier, number) not in self._excess:
            image, segmentation, _, _ = self.dataset.load_case(identifier)
            counts = np.array(image[:], np.float32)
            bone = self._bone_of(identifier, counts)
            lesions = self.index[identifier]
            found = None
            if bone.level > 0:
                found = excess_over_surroundings(
                    counts, segmentation[:][0], lesions.first[number], lesions.beyond[number], lesions.anchors[number, 0],
                    self.index.labels, self.spacing_mm, bone.level,
                )  # fmt: skip
            self._excess[identifier, number] = found
        return self._excess[identifier, number]

    def _bone_of(self, identifier: str, counts: NDArray[np.float32]) -> Bone:
        if identifier not in self._bone:
            self._bone[identifier] = find_bone(counts[0])
        return self._bone[identifier]


def find_bone(counts: NDArray[np.float32]) -> Bone:
    """Places in (slices, H, W) counts that are brighter than the body's median and not among its hottest."""
    smooth = ndimage.uniform_filter(counts, (1, 3, 3))
    body = smooth > BODY * smooth.mean()
    if not body.any():
        return Bone(np.empty(0, np.int64), 0.0)
    median, hottest = np.quantile(smooth[body], (0.5, HOTTEST))
    flat = np.flatnonzero((smooth > median) & (smooth < hottest))
    level = float(np.median(smooth.ravel()[flat])) if len(flat) else 0.0
    return Bone(flat[:: max(1, len(flat) // REMEMBERED_PLACES)], level)


def excess_over_surroundings(
    counts: NDArray[np.float32],
    labels: NDArray[np.integer],
    first: NDArray[np.integer],
    beyond: NDArray[np.integer],
    anchor: NDArray[np.integer],
    classes: Sequence[int],
    spacing_mm: Sequence[float],
    level: float,
) -> Excess | None:
    """The lesion at pixel `anchor` in the box `first` to `beyond` of (C, slices, H, W) counts and (slices, H, W) labels.

    classes: the labels that are lesions. None where it has no surroundings of its own, or is not brighter than them in the
    first channel. Pixels of other lesions, ignored ones and those outside belong neither to it nor to its surroundings.
    spacing_mm: infinite between slices that stand alone.
    """
    reach = [math.ceil(SURROUNDINGS_MM / mm) for mm in spacing_mm]
    low = [max(0, int(start) - r) for start, r in zip(first, reach, strict=True)]
    high = [min(side, int(end) + r) for side, end, r in zip(labels.shape, beyond, reach, strict=True)]
    if math.isinf(spacing_mm[0]):  # slices stand alone
        low[0], high[0] = int(first[0]), int(beyond[0])
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here, marked = counts[(slice(None), *window)].astype(np.float64), labels[window]
    numbered, _ = ndimage.label(np.isin(marked, classes), np.ones((3, 3, 3)))
    inside = numbered == numbered[tuple(np.asarray(anchor) - low)]
    sampling = [1.0 if math.isinf(mm) else mm for mm in spacing_mm]
    distance = ndimage.distance_transform_edt(~inside, sampling=sampling)
    free = (marked == 0) & (distance <= SURROUNDINGS_MM)
    ring = free & (distance > FADING_MM)
    if not ring.any():
        return None
    background = np.median(here[:, ring], axis=1)[:, None, None, None]
    sigma = (0, 0 if math.isinf(spacing_mm[0]) else SMOOTHING_PX, SMOOTHING_PX, SMOOTHING_PX)
    above = ndimage.gaussian_filter(here, sigma) - background
    if above[0, inside].mean() <= 0:
        return None
    expected = np.where(inside | (free & ~ring), above.clip(0), 0)
    return Excess(inside, expected, int(marked[tuple(np.asarray(anchor) - low)]), level)
