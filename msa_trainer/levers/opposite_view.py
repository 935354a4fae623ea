"""Dropout of the opposite view, so that a model of both views does not lean on the second one alone."""

from __future__ import annotations

from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform


class OppositeDropout(ImageOnlyTransform):  # type: ignore[misc]
    """Empties the second half of an image's `channels` with a probability: (C, *patch) -> (C, *patch).

    `msa convert --views paired` writes the view first and the opposite view second. Emptied is 0: the mean after a z-score,
    and no counts where the plan holds counts; there the network's first layer turns an empty channel into 0, its mean, too.
    Channels beyond `channels` (a cascade's one-hot masks) stay. Draws from torch's generator.
    """

    def __init__(self, probability: float, channels: int) -> None:
        super().__init__()
        self.probability, self.channels = probability, channels

    def get_parameters(self, **_: Any) -> dict[str, bool]:
        return {"empty": torch.rand(1).item() < self.probability}

    def _apply_to_image(self, image: torch.Tensor, *, empty: bool) -> torch.Tensor:
        if empty:
            image[self.channels // 2 : self.channels] = 0
        return image
