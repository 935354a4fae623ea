"""Per-lesion Dice beside nnU-Net's loss: cells from the loader's workers, the loss on the device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import SegOnlyTransform
from scipy import ndimage
from torch import nn

from msa_trainer.epoch_log import RecordedLoss
from msa_trainer.levers import Levers
from msa_trainer.losses import foreground_union, lesion_probability, per_lesion_dice

MOST_LESIONS = np.iinfo(np.int16).max  # what a cell's int16 can number; a patch with more is noise, not a patient


def target_transforms(levers: Levers, regions: bool, ignore_label: int | None) -> list[SegOnlyTransform]:
    """Transforms that follow the deep-supervision targets, in training and validation; none where the levers are off."""
    return [LesionCells(regions, ignore_label)] if levers.lesion_loss > 0 else []


def lesion_cells(foreground: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Voronoi cells of the lesions of a patch: for every pixel the number, from 1, of the nearest lesion (int16, as the patch).

    A lesion is a connected component of `foreground` (8-connected in 2-D, 26 in 3-D); distances are in px. 0 everywhere
    where there is no lesion, and where `ignored`.
    """
    components = np.zeros(foreground.shape, np.int16)
    box = _bounding_box(foreground)  # a few lesions in one part of the patch: a quarter of the time of numbering all of it
    numbered, lesions = ndimage.label(foreground[box], np.ones([3] * foreground.ndim))
    if lesions > MOST_LESIONS:
        numbered[numbered > MOST_LESIONS] = 0
    components[box] = numbered
    if lesions > 1:
        nearest = ndimage.distance_transform_edt(components == 0, return_distances=False, return_indices=True)
        flat = nearest[0]
        for side, axis in zip(foreground.shape[1:], nearest[1:], strict=True):
            flat = flat * side + axis
        cells: np.ndarray = np.take(components, flat)  # a third of the time of components[tuple(nearest)]
    else:  # no border to find
        cells = np.full(foreground.shape, lesions, np.int16)
    if ignored is not None:
        cells[ignored] = 0
    return cells


def _bounding_box(foreground: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all that is True; an empty one where nothing is. In a seventh of find_objects' time."""
    box = []
    for axis in range(foreground.ndim):
        there = np.flatnonzero(foreground.any(tuple(other for other in range(foreground.ndim) if other != axis)))
        box.append(slice(there[0], there[-1] + 1) if len(there) else slice(0))
    return tuple(box)


class LesionCells(SegOnlyTransform):  # type: ignore[misc]
    """Appends `lesion_cells` of the first target to the deep-supervision targets: one more tensor, (1, *patch) int16.

    The first target has full resolution: (1, *patch) labels, or (K [+ 1 ignore], *patch) regions. Lesions of all classes
    are joined, because a cell of one class would cut through the lesion of another.
    """

    def __init__(self, regions: bool = False, ignore_label: int | None = None) -> None:
        super().__init__()
        self.regions, self.ignore_label = regions, ignore_label

    def _apply_to_segmentation(self, segmentation: list[torch.Tensor], **_: object) -> list[torch.Tensor]:
        finest = segmentation[0]
        foreground = foreground_union(finest[None], self.regions, self.ignore_label)[0, 0].numpy()
        ignored = None
        if self.ignore_label is not None:
            ignored = (finest[-1] != 0 if self.regions else finest[0] == self.ignore_label).numpy()
        return [*segmentation, torch.from_numpy(lesion_cells(foreground, ignored))[None]]


class LesionAwareLoss(nn.Module):
    """base(outputs, targets) + weight * per-lesion Dice of the finest output, with the cells as one target more than outputs.

    It takes what nnU-Net's own steps hand over, so those stay as they are. `term` remembers the per-lesion Dice of each
    step. Raises ValueError where the loader brought no cells: the coarsest target would silently be taken for them.
    """

    def __init__(self, base: nn.Module, weight: float, regions: bool = False, ignore_label: int | None = None) -> None:
        super().__init__()
        self.base, self.weight = base, weight
        self.term = RecordedLoss(_PerLesionDice(regions, ignore_label), 1)

    def forward(self, outputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(targets) != len(outputs) + 1:
            raise ValueError(
                f"{len(targets)} targets for {len(outputs)} outputs; expected one more, the lesion cells. "
                "Append msa_trainer.levers.lesion_loss.target_transforms to the loader's transforms."
            )
        base: torch.Tensor = self.base(outputs, list(targets[:-1]))
        per_lesion: torch.Tensor = self.term(outputs[0], targets[0], targets[-1])
        return base + self.weight * per_lesion


class _PerLesionDice(nn.Module):
    def __init__(self, regions: bool, ignore_label: int | None) -> None:
        super().__init__()
        self.regions, self.ignore_label = regions, ignore_label

    def forward(self, logits: torch.Tensor, target: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        reference = foreground_union(target, self.regions, self.ignore_label)
        return per_lesion_dice(lesion_probability(logits, self.regions), reference, cells)
