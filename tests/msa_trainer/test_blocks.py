"""The blocks keep shapes, start as identity and see as far as their names say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from msa_trainer.blocks import CascadedDilatedConv, ConvNormAct, MultiScaleModule

RESIDUAL = [MultiScaleModule, CascadedDilatedConv]


@pytest.mark.parametrize("block", RESIDUAL)
@pytest.mark.parametrize(("conv_op", "size"), [(nn.Conv2d, (12, 20)), (nn.Conv3d, (6, 8, 10))])
def test_a_residual_block_starts_as_identity_up_to_its_activation(block: type, conv_op: type, size: tuple[int, ...]) -> None:
    x = torch.randn(2, 10, *size)
    fresh = block(conv_op, 10, [3] * len(size))
    assert torch.equal(fresh(x), nn.functional.leaky_relu(x, 0.01))


@pytest.mark.parametrize("block", RESIDUAL)
def test_a_residual_block_learns_although_it_starts_as_identity(block: type) -> None:
    module = block(nn.Conv2d, 8, [3, 3])
    module(torch.randn(2, 8, 12, 12)).square().sum().backward()
    last = module.merge.norm if block is MultiScaleModule else module.expand.norm
    assert last.weight.grad.abs().sum() > 0


def reach(module: nn.Module, channels: int) -> int:
    """How many pixels away an input still changes the output, measured with instance normalisation taken out."""
    for child in module.modules():
        if isinstance(child, ConvNormAct):
            child.norm = nn.Identity()
    x = torch.randn(1, channels, 41, 41, requires_grad=True)
    module(x)[0, :, 20, 20].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum((0, 1)).nonzero()
    return int((seen - 20).abs().max())


def test_the_multi_scale_module_sees_seven_and_the_cascade_fifteen_pixels() -> None:
    assert reach(MultiScaleModule(nn.Conv2d, 8, [3, 3]), 8) == 3
    assert reach(CascadedDilatedConv(nn.Conv2d, 8, [3, 3]), 8) == 7


def test_a_width_that_four_does_not_divide_is_split_all_the_same() -> None:
    module = MultiScaleModule(nn.Conv2d, 30, [3, 3])
    assert module.split_sizes == [9, 7, 7, 7]
    assert module(torch.randn(1, 30, 8, 8)).shape == (1, 30, 8, 8)


def test_fewer_channels_than_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 channels"):
        MultiScaleModule(nn.Conv2d, 3, [3, 3])
