"""Which cases and which patches a batch draws: by lesion, where nnU-Net draws by pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from numpy.typing import NDArray

from msa_trainer.levers.lesion_index import LesionIndex, Lesions, draw_by_stratum

# Takes an identifier, its image (C, slices, H, W) and segmentation (1, slices, H, W); returns both, changed or not.
Change = Callable[[str, Any, Any], tuple[Any, Any]]


def burden_probabilities(index: LesionIndex, exponent: float) -> NDArray[np.float64] | None:
    """nnU-Net's `sampling_probabilities`: (1 + lesions) ** exponent for each case of the dataset, of sum 1; None at 0."""
    if exponent == 0:
        return None
    weights = (1.0 + np.array([len(index[identifier]) for identifier in index])) ** exponent
    return np.asarray(weights / weights.sum())


class LesionLoader(nnUNetDataLoader):  # type: ignore[misc]
    """nnU-Net's loader, in which the share `lesion_patches` of the patches that must hold foreground is laid over a lesion.

    nnU-Net centres such a patch on a random foreground pixel, so that a lesion of 40 mm is drawn 16 times as often as one of
    10 mm. Here a size stratum is drawn first, all that the case has alike, then a lesion of it; the patch lies anywhere where
    it holds that lesion whole, in what the spatial transform's centre crop leaves (rotation and zoom may push it over the
    edge), over one of its pixels where it is bigger than the patch. Cases without lesions, and the patches that are not
    forced, are nnU-Net's. With share 0 every batch is nnU-Net's, bit for bit.

    index: of the same cases as `data`. change: what is done to a case before its patch is drawn, e.g. a `LesionTransplant`.
    All else as nnUNetDataLoader has it; draws from np.random alone, as that does.
    """

    def __init__(
        self,
        data: Any,
        *stock: Any,
        index: LesionIndex,
        lesion_patches: float = 0.0,
        change: Change | None = None,
        **named: Any,
    ) -> None:
        super().__init__(_Cases(data, index if lesion_patches > 0 else None, change), *stock, **named)
        self.lesion_patches = lesion_patches

    def get_bbox(
        self, data_shape: Any, force_fg: bool, class_locations: Any, overwrite_class: Any = None, verbose: bool = False
    ) -> tuple[list[int], list[int]]:
        lesions = getattr(class_locations, "lesions", None)
        if force_fg and lesions is not None and len(lesions) > 0 and np.random.uniform() < self.lesion_patches:  # noqa: NPY002
            return self._over_a_lesion(data_shape, lesions)
        found: tuple[list[int], list[int]] = super().get_bbox(data_shape, force_fg, class_locations, overwrite_class, verbose)
        return found

    def _over_a_lesion(self, data_shape: Any, lesions: Lesions) -> tuple[list[int], list[int]]:
        drawn = draw_by_stratum(lesions.stratum)
        anchor = lesions.anchors[drawn, np.random.randint(lesions.anchors.shape[1])]  # noqa: NPY002
        corner = []
        for axis, (side, patch, seen) in enumerate(zip(data_shape, self.patch_size, self.final_patch_size, strict=True)):
            margin = patch // 2 - seen // 2  # what the spatial transform's centre crop takes off before the patch
            first, beyond = lesions.first[drawn, axis], lesions.beyond[drawn, axis]
            if beyond - first <= seen:
                low, high = beyond - seen, first
            else:
                low, high = max(first, anchor[axis] - seen + 1), min(beyond - seen, anchor[axis])
            # The corners that nnU-Net draws a random patch from: beyond them is nothing but padding.
            spare = max(int(self.need_to_pad[axis]), patch - side)
            lowest, highest = -spare // 2, side + spare // 2 + spare % 2 - patch
            low, high = max(low - margin, lowest), min(high - margin, highest)
            corner.append(int(np.random.randint(low, high + 1)) if low <= high else int(np.clip(low, lowest, highest)))  # noqa: NPY002
        return corner, [low + int(side) for low, side in zip(corner, self.patch_size, strict=True)]


class _Cases:
    """nnU-Net's dataset whose cases know their lesions: nnUNetDataLoader hands `class_locations` on to get_bbox."""

    def __init__(self, dataset: Any, index: LesionIndex | None, change: Change | None) -> None:
        self.dataset, self.index, self.change = dataset, index, change
        self.identifiers = dataset.identifiers

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        image, segmentation, previous, properties = self.dataset.load_case(identifier)
        untouched = segmentation
        if self.change is not None:
            image, segmentation = self.change(identifier, image, segmentation)
        if self.index is not None:
            lesions = self.index[identifier] if segmentation is untouched else self.index.find(segmentation)
            properties = properties | {"class_locations": _Locations(properties["class_locations"], lesions)}
        return image, segmentation, previous, properties


class _Locations(dict[Any, Any]):
    """nnU-Net's foreground pixels by class, with the case's lesions beside them."""

    def __init__(self, locations: dict[Any, Any], lesions: Lesions) -> None:
        super().__init__(locations)
        self.lesions = lesions
