"""What a patient lying straight allows: left-right mirroring, small rotations, and targets that keep tiny lesions."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from batchgeneratorsv2.transforms.base.basic_transform import SegOnlyTransform
from torch.nn import functional

# Patients lie within a few degrees of straight; nnU-Net itself takes 15 degrees for elongated images, 180 for square ones.
ROTATION_RADIANS = (-math.radians(15), math.radians(15))


def left_right_axes(transpose_forward: Sequence[int], dimensions: int) -> tuple[int, ...] | None:
    """Patch axes along which mirroring swaps left and right and nothing else; None where no patch axis does.

    nnU-Net reads images as (z, row, column), left-right being the column axis (2), and permutes them by the plan's
    `transpose_forward`; a 2-D patch holds the last two. None and not (): nnU-Net's predictor takes the maximum of a tuple.
    """
    axis = list(transpose_forward).index(2) - (3 - dimensions)
    return None if axis < 0 else (axis,)


class LesionKeepingTargets(SegOnlyTransform):  # type: ignore[misc]
    """Deep-supervision targets by maximum over each coarse pixel, where nnU-Net takes the nearest one.

    Nearest down-sampling leaves 19 of 200 3x3 px lesions at 1/8 resolution; the maximum leaves all. Segmentation (C, *patch)
    -> list of (C, *patch * scale), one a scale. Where classes meet, the higher label wins; the ignore label only wins where
    nothing else is annotated. `regions` says that channels are regions with, if there is an ignore label, its mask last.
    """

    def __init__(self, scales: Sequence[Sequence[float]], regions: bool = False, ignore_label: int | None = None) -> None:
        super().__init__()
        self.scales, self.regions, self.ignore_label = [tuple(s) for s in scales], regions, ignore_label

    def _apply_to_segmentation(self, segmentation: torch.Tensor, **_: object) -> list[torch.Tensor]:
        targets, values = [], self._ordered(segmentation)
        last = values
        for scale in self.scales:
            if all(s == 1 for s in scale):
                targets.append(segmentation)
                continue
            shape = [round(side * s) for side, s in zip(segmentation.shape[1:], scale, strict=True)]
            last = _maxima(last if _divide(last, shape) else values, shape)
            targets.append(self._labels(last).to(segmentation.dtype))
        return targets

    def _ordered(self, segmentation: torch.Tensor) -> torch.Tensor:
        """Values whose maximum is the target: ignored pixels below all others."""
        values = segmentation.to(torch.int16)
        if self.ignore_label is not None and self.regions:
            values = torch.cat((values[:-1], -values[-1:]))  # ignored only where every pixel is
        elif self.ignore_label is not None:
            values = torch.where(values == self.ignore_label, -1, values)
        return values

    def _labels(self, values: torch.Tensor) -> torch.Tensor:
        if self.ignore_label is not None and self.regions:
            return torch.cat((values[:-1], -values[-1:]))
        if self.ignore_label is not None:
            return torch.where(values == -1, self.ignore_label, values)
        return values


def _divide(values: torch.Tensor, shape: Sequence[int]) -> bool:
    return all(side % coarse == 0 for side, coarse in zip(values.shape[1:], shape, strict=True))


def _maxima(values: torch.Tensor, shape: list[int]) -> torch.Tensor:
    """Maximum over each pixel of the coarser `shape`; maxima of maxima are maxima, so `values` may be a finer target.

    Axis by axis where the sides divide: torch's pooling needs floats and takes five times as long.
    """
    if not _divide(values, shape):
        pool = functional.adaptive_max_pool2d if len(shape) == 2 else functional.adaptive_max_pool3d
        return pool(values.float(), shape)
    for axis, coarse in enumerate(shape, start=1):
        step = values.shape[axis] // coarse
        before = (slice(None),) * axis
        values = functools.reduce(torch.maximum, [values[(*before, slice(first, None, step))] for first in range(step)])
    return values
