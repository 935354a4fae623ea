"""The generator is built from any plan nnU-Net makes, and costs less than nnU-Net's own network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from msa_trainer.generator import MSAGenerator, stages_from_plan
from msa_trainer.refusal import Refusal


def plan(stages: int, dimensions: int = 2, widest: int = 512, first: int = 32) -> dict[str, Any]:
    """nnU-Net's architecture for isotropic halving."""
    return {
        "n_stages": stages,
        "features_per_stage": [min(first * 2**i, widest) for i in range(stages)],
        "kernel_sizes": [[3] * dimensions] * stages,
        "strides": [[1] * dimensions] + [[2] * dimensions] * (stages - 1),
    }


def flops(network: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 256, 256))
    return int(counter.get_total_flops())


def test_for_nnunets_256_plan_it_needs_a_quarter_of_the_parameters_and_fewer_flops() -> None:
    kwargs = plan(7)
    ours = MSAGenerator(stages_from_plan(kwargs, (256, 256)), 1, 2)
    stock = PlainConvUNet(
        1, 7, kwargs["features_per_stage"], nn.Conv2d, 3, kwargs["strides"], 2, 2, 2, conv_bias=True,
        norm_op=nn.InstanceNorm2d, norm_op_kwargs={"affine": True}, nonlin=nn.LeakyReLU, deep_supervision=True,
    )  # fmt: skip
    parameters = [sum(p.numel() for p in network.parameters()) for network in (ours, stock)]
    assert parameters[0] < 0.25 * parameters[1]
    assert flops(ours) < 0.8 * flops(stock)


@pytest.mark.parametrize(
    ("patch", "planned", "kept"),
    [((256, 256), 7, 5), ((1024, 256), 8, 5), ((64, 64), 5, 3), ((24, 24), 3, 2), ((448, 96), 7, 4), ((32, 40, 40), 4, 2)],
)
def test_stages_are_dropped_before_a_side_falls_under_12_px(patch: tuple[int, ...], planned: int, kept: int) -> None:
    assert len(stages_from_plan(plan(planned, len(patch)), patch)) == kept


def test_an_axis_that_is_not_halved_may_be_short() -> None:
    kwargs = plan(3, 3)
    kwargs["strides"] = [[1, 1, 1], [1, 2, 2], [1, 2, 2]]
    kwargs["kernel_sizes"] = [[1, 3, 3], [1, 3, 3], [3, 3, 3]]
    stages = stages_from_plan(kwargs, (8, 64, 64))
    assert len(stages) == 3
    maps = MSAGenerator(stages, 1, 2)(torch.zeros(1, 1, 8, 64, 64))
    assert [tuple(m.shape) for m in maps] == [(1, 2, 8, 64, 64), (1, 2, 8, 32, 32)]


def kinds(stage: nn.Sequential) -> list[str]:
    return [type(block).__name__ for block in stage]


def test_multi_scale_modules_begin_at_the_third_resolution_and_cascades_stand_at_the_two_coarsest_stages() -> None:
    network = MSAGenerator(stages_from_plan(plan(7), (256, 256)), 1, 2)
    fine, multi, cascade = ["ConvNormAct"] * 2, ["ConvNormAct", "MultiScaleModule"], "CascadedDilatedConv"
    assert [kinds(s) for s in network.encoder.stages] == [fine, fine, multi, [*multi, cascade], [*multi, cascade]]
    assert [kinds(s) for s in network.decoder.stages] == [multi, multi, fine, fine]  # coarse to fine
    two = MSAGenerator(stages_from_plan(plan(3), (24, 24)), 1, 2)
    assert [kinds(s) for s in two.encoder.stages] == [fine, [*fine, cascade]]


@pytest.mark.parametrize("patch", [(64, 64), (128, 32), (32, 48, 40)])
def test_every_decoder_stage_has_a_head_at_its_own_resolution(patch: tuple[int, ...]) -> None:
    stages = stages_from_plan(plan(5, len(patch), widest=32, first=8), patch)
    maps = MSAGenerator(stages, 2, 3)(torch.zeros(1, 2, *patch))
    assert len(maps) == len(stages) - 1
    assert [m.shape[2:] for m in maps] == [tuple(side // 2**i for side in patch) for i in range(len(maps))]


def test_parameters_do_not_depend_on_deep_supervision_and_heads_are_recognised() -> None:
    stages = stages_from_plan(plan(5), (64, 64))
    on, off = (MSAGenerator(stages, 1, 2, deep_supervision) for deep_supervision in (True, False))
    assert list(on.state_dict()) == list(off.state_dict())
    heads = [name for name in on.state_dict() if ".seg_layers." in name]
    assert len(heads) == 2 * (len(stages) - 1)
    assert all(on.state_dict()[name].shape[0] == 2 for name in heads)


def test_it_is_built_on_the_meta_device_from_a_residual_encoder_plan() -> None:
    kwargs = plan(8) | {"n_blocks_per_stage": [1, 3, 4, 6, 6, 6, 6, 6]}
    with torch.device("meta"):
        network = MSAGenerator(stages_from_plan(kwargs, (1024, 256)), 2, 2)
        maps = network(torch.empty(12, 2, 1024, 256))
    assert tuple(maps[0].shape) == (12, 2, 1024, 256)


def test_half_precision_stays_finite() -> None:
    network = MSAGenerator(stages_from_plan(plan(5), (64, 64)), 1, 2, deep_supervision=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(network(100 * torch.randn(1, 1, 64, 64))).all()


@pytest.mark.parametrize(
    ("change", "patch", "says"),
    [
        ({"strides": None}, (64, 64), "no 'strides'"),
        ({"features_per_stage": [8, 16]}, (64, 64), "2 widths, 5 kernels and 5 strides"),
        ({"kernel_sizes": [[4, 4]] * 5}, (64, 64), "kernel of 4 px"),
        ({}, (22, 22), "smaller than the reduction"),
        ({}, (66, 64), "not a multiple of the network's reduction"),
    ],
)
def test_a_plan_that_cannot_be_built_is_refused_with_the_remedy(change: dict, patch: tuple[int, int], says: str) -> None:
    kwargs = {key: value for key, value in (plan(5) | change).items() if value is not None}
    with pytest.raises(ValueError, match=says):
        stages_from_plan(kwargs, patch)


def test_weights_of_another_architecture_are_refused_by_name() -> None:
    narrow, wide = (MSAGenerator(stages_from_plan(plan(5, first=first), (64, 64)), 1, 2) for first in (8, 16))
    with pytest.raises(Refusal, match=r"encoder\.stages\.0.*expected \[8, 1, 3, 3\]"):
        narrow.load_state_dict(wide.state_dict())
