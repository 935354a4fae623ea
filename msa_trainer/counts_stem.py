"""CountsStem: the first layer where images hold counts, and how plans say that they do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

ANSCOMBE = 3 / 8
# Far below the spread of an image with a single count in 1024x256 px (2e-3), far above an empty one's rounding (1e-7).
SMALLEST_SPREAD = 1e-4
NOT_NORMALISED = "NoNormalization"  # nnU-Net's scheme for a channel named "noNorm"


class CountsStem(nn.Module):
    """Counts n -> 2 sqrt(n + 3/8), standardised for each image and channel: (B, C, *patch) -> (B, C, *patch) in fp32.

    The square root gives Poisson counts a variance close to 1 whatever their mean (Anscombe 1948), so noise in the bladder
    weighs no more than in a rib. An image is what the network sees at once: the patch, which for these scans is the whole
    view. What interpolation or augmentation brought below 0 counts as 0; an image without counts becomes 0. Channels beyond
    `channels` (a cascade's one-hot masks) pass as they are. No parameters and no buffers: a state_dict is the same with and
    without it. Autocast lowers none of these operations, so they stay in fp32 within it too.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float()
        roots = 2 * torch.sqrt(x[:, : self.channels].clamp_min(0) + ANSCOMBE)
        variance, mean = torch.var_mean(roots, dim=tuple(range(2, x.ndim)), correction=0, keepdim=True)
        z = (roots - mean) / variance.clamp_min(SMALLEST_SPREAD**2).sqrt()
        return z if x.shape[1] == self.channels else torch.cat((z, x[:, self.channels :]), dim=1)


def first_layer(normalization_schemes: Sequence[str]) -> nn.Module:
    """What stands between a plan's data and the network: `CountsStem` where no channel is normalised, else the identity."""
    if holds_counts(normalization_schemes):
        return CountsStem(len(normalization_schemes))
    return nn.Identity()


def holds_counts(normalization_schemes: Sequence[str]) -> bool:
    """Whether nnU-Net hands over the raw values of every channel, which are then taken for counts."""
    return bool(normalization_schemes) and all(scheme == NOT_NORMALISED for scheme in normalization_schemes)


def begin_with(layer: nn.Module, network: nn.Module) -> nn.Module:
    """Let a network that is not ours see `layer`'s output; a hook, so that its modules and weights keep their names."""
    if not isinstance(layer, nn.Identity):
        network.register_forward_pre_hook(partial(_pass_through, layer))
    return network


def _pass_through(layer: nn.Module, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer(inputs[0]), *inputs[1:])
