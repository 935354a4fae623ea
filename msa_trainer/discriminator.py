"""MultiScaleDiscriminator: the features of an image-mask pair at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from dynamic_network_architectures.building_blocks.helper import convert_dim_to_conv_op, get_matching_batchnorm
from torch import nn
from torch.nn.utils import parametrizations

Norm = Literal["spectral", "batch", "none"]

WIDTHS = (
    32,
    64,
    128,
)  # 0.16 M parameters, 3 % of the generator's FLOPs; four times wider showed no gain worth its step time
LEAKY_SLOPE = 0.2  # SegAN's
SMALLEST_SIDE = 8  # px; a shorter side is not halved any further (thin 3-D patches)


class MultiScaleDiscriminator(nn.Module):
    """(B, in, *patch) -> [the pair itself, then one map a layer], each half the size of the one before.

    4x4 convolutions with stride 2 and leaky ReLU, without biases: the features are positively homogeneous in the weights,
    and nothing in the pair gives nothing in the features. `norm` "spectral" bounds every layer's gain; "batch" is SegAN's;
    neither instance nor batch normalisation belongs in it otherwise (they make empty regions matter).
    """

    def __init__(
        self, in_channels: int, patch_size: Sequence[int], widths: Sequence[int] = WIDTHS, norm: Norm = "spectral"
    ) -> None:
        super().__init__()
        conv_op = convert_dim_to_conv_op(len(patch_size))
        size = list(patch_size)
        self.layers = nn.ModuleList()
        for index, width in enumerate(widths):
            halve = [side >= SMALLEST_SIDE for side in size]
            conv = conv_op(
                in_channels,
                width,
                kernel_size=tuple(4 if h else 3 for h in halve),
                stride=tuple(2 if h else 1 for h in halve),
                padding=1,
                bias=False,
            )
            nn.init.kaiming_normal_(conv.weight, a=LEAKY_SLOPE)
            layer = [parametrizations.spectral_norm(conv) if norm == "spectral" else conv]
            if norm == "batch" and index > 0:  # SegAN's first layer has none
                layer.append(get_matching_batchnorm(conv_op)(width))
            self.layers.append(nn.Sequential(*layer, nn.LeakyReLU(LEAKY_SLOPE, inplace=True)))
            size = [side // 2 if h else side for side, h in zip(size, halve, strict=True)]
            in_channels = width

    def forward(self, pair: torch.Tensor) -> list[torch.Tensor]:
        features = [pair]
        for layer in self.layers:
            features.append(layer(features[-1]))
        return features
