"""MSAGenerator: encoder, decoder and deep-supervision heads, built from any plan nnU-Net makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.helper import convert_dim_to_conv_op, get_matching_convtransp
from torch import nn

from msa_trainer.blocks import LEAKY_SLOPE, CascadedDilatedConv, ConvNormAct, MultiScaleModule
from msa_trainer.checkpoint import refuse_other_architecture

# Coarser maps than this see less context than the dilated cascade that takes their place (15 px).
SMALLEST_SIDE = 12
# Quarter-splits of the 8-16 channels of the two finest stages are memory-bound: measured slower than a plain 3x3.
FIRST_MULTI_SCALE_STAGE = 2
CASCADE_STAGES = 2  # the two coarsest stages; the finest stage never gets one


@dataclass(frozen=True)
class Stages:
    """What the generator takes from a plan, stage by stage from the finest: widths, kernels (px) and strides."""

    widths: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.widths)


def stages_from_plan(architecture: Mapping[str, Any], patch_size: Sequence[int]) -> Stages:
    """Take a plan's stages until the next one would bring a side that it halves under 12 px.

    architecture: nnU-Net's `architecture.arch_kwargs`; patch_size in px, one value an axis.
    Raises ValueError, with a sentence, for a plan this network cannot be built from.
    """
    for key in ("features_per_stage", "kernel_sizes", "strides"):
        if key not in architecture:
            raise ValueError(
                f"The plan's architecture has no '{key}' (found: {', '.join(sorted(architecture)) or 'nothing'}). "
                "Plan again with nnUNetv2_plan_experiment, or with a planner that writes this key."
            )
    widths = [int(w) for w in architecture["features_per_stage"]]
    kernels = [_per_axis(k, len(patch_size)) for k in architecture["kernel_sizes"]]
    strides = [_per_axis(s, len(patch_size)) for s in architecture["strides"]]
    if not len(widths) == len(kernels) == len(strides):
        raise ValueError(
            f"The plan's architecture has {len(widths)} widths, {len(kernels)} kernels and {len(strides)} strides; "
            "expected one of each for every stage. Plan again with nnUNetv2_plan_experiment."
        )
    even = [k for kernel in kernels for k in kernel if k % 2 == 0]
    if even:
        raise ValueError(f"The plan asks for a kernel of {even[0]} px; only odd kernels keep a map's size.")
    kept, size = 1, [float(side) for side in patch_size]
    for stride in strides[1:]:
        size = [side / step for side, step in zip(size, stride, strict=True)]
        if any(side < SMALLEST_SIDE for side, step in zip(size, stride, strict=True) if step > 1):
            break
        kept += 1
    if kept < 2:
        raise ValueError(
            f"The patch {list(patch_size)} px is smaller than the reduction: after the plan's first stride no side may be "
            f"under {SMALLEST_SIDE} px, so the sides that it halves need at least {2 * SMALLEST_SIDE} px. Use larger images "
            "or a larger patch_size in the plan."
        )
    reduction = [1] * len(patch_size)
    for stride in strides[:kept]:
        reduction = [r * step for r, step in zip(reduction, stride, strict=True)]
    if any(side % r for side, r in zip(patch_size, reduction, strict=True)):
        raise ValueError(
            f"The patch {list(patch_size)} px is not a multiple of the network's reduction {reduction}. "
            "Change patch_size in the plan to such a multiple."
        )
    return Stages(tuple(widths[:kept]), tuple(kernels[:kept]), tuple(strides[:kept]))


def _per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(int(v) for v in value)


class Encoder(nn.Module):
    """One feature map a stage, finest first: a strided convolution, then a plain or a multi-scale one, then the cascade."""

    def __init__(self, conv_op: type[nn.Module], in_channels: int, stages: Stages) -> None:
        super().__init__()
        first_cascade = max(1, len(stages) - CASCADE_STAGES)
        self.stages = nn.ModuleList()
        channels = in_channels
        for index, (width, kernel, stride) in enumerate(zip(stages.widths, stages.kernels, stages.strides, strict=True)):
            blocks = [ConvNormAct(conv_op, channels, width, kernel, stride), _second(conv_op, width, kernel, index)]
            if index >= first_cascade:
                blocks.append(CascadedDilatedConv(conv_op, width, kernel))
            self.stages.append(nn.Sequential(*blocks))
            channels = width

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        return skips


class Decoder(nn.Module):
    """Up-sampling with skips; a segmentation head on every stage, so that parameters do not depend on deep supervision.

    `deep_supervision` and `seg_layers` are the names by which nnU-Net switches and recognises heads.
    """

    def __init__(self, conv_op: type[nn.Module], stages: Stages, out_channels: int, deep_supervision: bool) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        transposed = get_matching_convtransp(conv_op)
        self.ups, self.stages, self.seg_layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for index in reversed(range(len(stages) - 1)):  # coarse to fine
            below, width, kernel = stages.widths[index + 1], stages.widths[index], stages.kernels[index]
            stride = stages.strides[index + 1]
            self.ups.append(transposed(below, width, stride, stride, bias=True))
            self.stages.append(
                nn.Sequential(ConvNormAct(conv_op, 2 * width, width, kernel), _second(conv_op, width, kernel, index))
            )
            self.seg_layers.append(conv_op(width, out_channels, 1, bias=True))

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        x, *finer = reversed(skips)
        logits = []
        for index, (up, stage, skip) in enumerate(zip(self.ups, self.stages, finer, strict=True)):
            x = stage(torch.cat((up(x), skip), dim=1))
            if self.deep_supervision or index == len(finer) - 1:
                logits.append(self.seg_layers[index](x))
        return logits[::-1] if self.deep_supervision else logits[-1]


def _second(conv_op: type[nn.Module], width: int, kernel: Sequence[int], stage: int) -> nn.Module:
    """A stage's second block: multi-scale from the third resolution down."""
    if stage >= FIRST_MULTI_SCALE_STAGE:
        return MultiScaleModule(conv_op, width, kernel)
    return ConvNormAct(conv_op, width, width, kernel)


class MSAGenerator(nn.Module):
    """The MSA-Net-style segmentation network: (B, in, *patch) -> raw logits (B, out, *patch).

    With `deep_supervision` the forward returns one map a decoder stage, finest first; the parameters are the same either
    way. Layout: cascaded dilated convolutions at the two coarsest stages, multi-scale modules from the third resolution
    down, both in encoder and decoder; the paper names these parts, where they stand is ours. stem: a layer without
    parameters that the data passes first (`counts_stem.first_layer`).
    """

    def __init__(
        self,
        stages: Stages,
        in_channels: int,
        out_channels: int,
        deep_supervision: bool = True,
        stem: nn.Module | None = None,
    ) -> None:
        super().__init__()
        conv_op = convert_dim_to_conv_op(len(stages.kernels[0]))
        self.stem = nn.Identity() if stem is None else stem
        self.encoder = Encoder(conv_op, in_channels, stages)
        self.decoder = Decoder(conv_op, stages, out_channels, deep_supervision)
        for module in self.modules():
            if isinstance(module, conv_op | get_matching_convtransp(conv_op)):
                nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        out: torch.Tensor | list[torch.Tensor] = self.decoder(self.encoder(self.stem(x)))
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As torch's, but another architecture's weights end in one sentence; nnU-Net's predictor loads them here."""
        refuse_other_architecture(state_dict, self, "The checkpoint")
        return super().load_state_dict(state_dict, *args, **kwargs)
