"""Where the lesions of preprocessed training cases lie and how big they are: what sampling and transplant draw from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.lesions import equivalent_diameter_mm
from evaluation.strata import CUTS_MM

ANCHORS = 5  # px remembered of each lesion, spread over it: a patch smaller than the lesion is laid over one of them


@dataclass(frozen=True)
class Lesions:
    """Lesions of one case in the preprocessed array's axes, which always are three: (slice, row, column).

    first, beyond: (n, 3) px, the bounding boxes, `beyond` exclusive. anchors: (n, ANCHORS, 3) px, each within its lesion.
    stratum: (n,) the size stratum, from 0 for the smallest.
    """

    first: NDArray[np.int32]
    beyond: NDArray[np.int32]
    anchors: NDArray[np.int32]
    stratum: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stratum)


def find_lesions(segmentation: NDArray[np.integer], labels: Sequence[int], spacing_mm: Sequence[float]) -> Lesions:
    """The connected components of any of `labels` in (slices, H, W), of all classes joined.

    spacing_mm: of the plan's configuration. With two numbers lesions are found slice by slice (8-connected; strata by area),
    because that is what a 2-D patch shows; with three in the volume (26-connected; by volume). Size strata are those that
    `msa evaluate` reports by default: equivalent diameters below 10, 20, 40 mm and above.
    """
    structure = np.ones((3, 3, 3), bool)
    if len(spacing_mm) == 2:
        structure[[0, 2]] = False
    numbered, number = ndimage.label(np.isin(segmentation, labels), structure)
    boxes = ndimage.find_objects(numbered)
    inside = np.flatnonzero(numbered)
    inside = inside[np.argsort(numbered.ravel()[inside], kind="stable")]  # one lesion after the other
    sizes = np.bincount(numbered.ravel(), minlength=number + 1)[1:]
    begins = np.cumsum(sizes) - sizes
    chosen = inside[(begins[:, None] + np.linspace(0, sizes - 1, ANCHORS).T.round().astype(int)).ravel()]
    anchors = np.stack(np.unravel_index(chosen, numbered.shape), axis=-1).reshape(number, ANCHORS, 3)
    diameters = equivalent_diameter_mm((sizes * np.prod(spacing_mm)).astype(np.float64), len(spacing_mm))
    return Lesions(
        np.array([[side.start for side in box] for box in boxes], np.int32).reshape(number, 3),
        np.array([[side.stop for side in box] for box in boxes], np.int32).reshape(number, 3),
        anchors.astype(np.int32),
        np.digitize(diameters, CUTS_MM),
    )


def draw_by_stratum(stratum: NDArray[np.int64]) -> int:
    """Index of one lesion: first a size stratum, all that are there alike, then a lesion of it. Draws from np.random."""
    drawn = np.random.choice(np.unique(stratum))  # noqa: NPY002  nnU-Net's loader draws from the global generator
    return int(np.random.choice(np.flatnonzero(stratum == drawn)))  # noqa: NPY002


class LesionIndex(Mapping[str, Lesions]):
    """Identifier -> `Lesions` of nnU-Net's dataset, found when first asked for and kept: about 100 bytes a lesion.

    dataset: nnU-Net's, of the training cases. labels: what counts as lesion; nnU-Net's -1 (outside), 0 and the ignore label
    must not be among them.
    """

    def __init__(self, dataset: Any, labels: Sequence[int], spacing_mm: Sequence[float]) -> None:
        self.dataset, self.labels, self.spacing_mm = dataset, tuple(labels), tuple(float(mm) for mm in spacing_mm)
        self._found: dict[str, Lesions] = {}

    def __getitem__(self, identifier: str) -> Lesions:
        if identifier not in self._found:
            _, segmentation, _, _ = self.dataset.load_case(identifier)
            self._found[identifier] = self.find(segmentation[:])
        return self._found[identifier]

    def __iter__(self) -> Any:
        return iter(self.dataset.identifiers)

    def __len__(self) -> int:
        return len(self.dataset.identifiers)

    def find(self, segmentation: NDArray[np.integer]) -> Lesions:
        """Lesions of a segmentation (1, slices, H, W) as nnU-Net stores it."""
        return find_lesions(segmentation[0], self.labels, self.spacing_mm)
