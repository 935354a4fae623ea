"""Preprocessed cases kept in memory, because opening and unpacking a small one takes longer than its augmentation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

BUDGET_BYTES = 96 * 2**20  # a process: 254 of our 256 x 256 px phantom views; 229 train in a fold of 286
LARGEST_BYTES = 4 * 2**20  # a case: of a volume, the patch alone is unpacked, which is nnU-Net's strength


class CaseMemory:
    """nnU-Net's dataset with its smaller cases in memory, the first ones asked for, up to a budget; all else from the disk.

    `load_case` returns the same values as the dataset's, kept cases as copies: transforms write into what they are given.
    Workers that are forked share what was kept before; a pickled one starts empty.
    """

    def __init__(self, dataset: Any, budget_bytes: int = BUDGET_BYTES, largest_bytes: int = LARGEST_BYTES) -> None:
        self.dataset, self.largest_bytes = dataset, largest_bytes
        self.identifiers = dataset.identifiers
        self._left = self._budget = budget_bytes
        self._kept: dict[str, tuple[Any, ...]] = {}

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """(image, segmentation, the previous stage's or None, properties), as nnU-Net's dataset has it."""
        kept = self._kept.get(identifier)
        if kept is None:
            loaded = self.dataset.load_case(identifier)
            arrays, properties = loaded[:3], loaded[3]
            found = [array for array in arrays if array is not None]
            found += [np.asarray(places) for places in properties.get("class_locations", {}).values()]
            size = sum(math.prod(array.shape) * np.dtype(array.dtype).itemsize for array in found)
            if size > min(self.largest_bytes, self._left):
                return (*arrays, properties)
            self._left -= size
            kept = (*(None if array is None else np.array(array[:]) for array in arrays), properties)
            self._kept[identifier] = kept
        image, segmentation, previous, properties = kept
        return image.copy(), segmentation.copy(), None if previous is None else previous.copy(), dict(properties)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_left": self._budget}
