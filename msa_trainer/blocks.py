"""The three building blocks of the generator, in 2-D and 3-D through nnU-Net's operator look-up.

A residual branch ends in a normalisation whose scale starts at 0, so every `MultiScaleModule` and `CascadedDilatedConv` is
the identity when training starts and a fresh network is as deep as its plain convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.helper import get_matching_instancenorm
from torch import nn

LEAKY_SLOPE = 0.01  # nnU-Net's
DILATION_RATES = (1, 2, 4)  # ours (the paper's are not known): 3x3 in cascade sees 3, 7, 15 px, without gridding gaps
SCALES = 4  # ours, Res2Net's default: quarters that see 1x1, 3x3, 5x5, 7x7


def odd_padding(kernel_size: Sequence[int], dilation: int = 1) -> list[int]:
    """Padding in px that keeps the map's size for odd kernels."""
    return [dilation * (k - 1) // 2 for k in kernel_size]


def zero_scale(norm: nn.Module) -> None:
    """Let a residual branch start as identity: its last normalisation scales by 0."""
    nn.init.zeros_(norm.weight)  # type: ignore[arg-type]


class ConvNormAct(nn.Module):
    """Convolution, instance normalisation, leaky ReLU: (B, in, ...) -> (B, out, ...).

    kernel_size: odd, px, one value an axis. stride: one value an axis. `activation=False` leaves the ReLU out, for the end
    of a residual branch.
    """

    def __init__(
        self,
        conv_op: type[nn.Module],
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        stride: Sequence[int] | int = 1,
        dilation: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.conv = conv_op(
            in_channels,
            out_channels,
            tuple(kernel_size),
            stride=stride if isinstance(stride, int) else tuple(stride),
            padding=tuple(odd_padding(kernel_size, dilation)),
            dilation=dilation,
            bias=True,
        )
        self.norm: nn.Module = get_matching_instancenorm(conv_op)(out_channels, eps=1e-5, affine=True)
        self.act: nn.Module = nn.LeakyReLU(LEAKY_SLOPE, inplace=True) if activation else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.act(self.norm(self.conv(x)))
        return out


class MultiScaleModule(nn.Module):
    """Residual hierarchical split (Res2Net, Gao et al. 2019): one pass that sees four receptive fields.

    1x1, split into quarters, each quarter but the first through a 3x3 that also gets its neighbour's result, 1x1, add:
    (B, C, ...) -> (B, C, ...) at 4.3 C^2 multiply-adds a pixel, half of a plain 3x3. Which module the paper uses is not
    known; this one is ours.
    """

    def __init__(self, conv_op: type[nn.Module], channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        if channels < SCALES:
            raise ValueError(f"A multi-scale module needs at least {SCALES} channels, the plan gives {channels}.")
        quarter = channels // SCALES
        self.split_sizes = [channels - (SCALES - 1) * quarter] + [quarter] * (SCALES - 1)
        one = [1] * len(kernel_size)
        self.reduce = ConvNormAct(conv_op, channels, channels, one)
        self.scales = nn.ModuleList(ConvNormAct(conv_op, quarter, quarter, kernel_size) for _ in self.split_sizes[1:])
        self.merge = ConvNormAct(conv_op, channels, channels, one, activation=False)
        self.act = nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
        zero_scale(self.merge.norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *quarters = torch.split(self.reduce(x), self.split_sizes, dim=1)
        seen = [first]
        for scale, quarter in zip(self.scales, quarters, strict=True):
            seen.append(scale(quarter if len(seen) == 1 else quarter + seen[-1]))
        out: torch.Tensor = self.act(x + self.merge(torch.cat(seen, dim=1)))
        return out


class CascadedDilatedConv(nn.Module):
    """Residual cascade of dilated 3x3 convolutions, the sum of all its stages: (B, C, ...) -> (B, C, ...).

    1x1 to C/2, three dilated convolutions one after the other, sum of what each saw, 1x1 back, add; D-LinkNet's centre
    block (Zhou et al. 2018) with a bottleneck. The paper names "cascade dilated convolutions" and no rates: these are ours.
    """

    def __init__(self, conv_op: type[nn.Module], channels: int, kernel_size: Sequence[int]) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        one = [1] * len(kernel_size)
        self.reduce = ConvNormAct(conv_op, channels, inner, one)
        self.cascade = nn.ModuleList(ConvNormAct(conv_op, inner, inner, kernel_size, dilation=rate) for rate in DILATION_RATES)
        self.expand = ConvNormAct(conv_op, inner, channels, one, activation=False)
        self.act = nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
        zero_scale(self.expand.norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stage = total = self.reduce(x)
        for dilated in self.cascade:
            stage = dilated(stage)
            total = total + stage
        out: torch.Tensor = self.act(x + self.expand(total))
        return out
