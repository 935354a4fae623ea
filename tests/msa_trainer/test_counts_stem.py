"""The first layer for counts is what the converter's Anscombe channel and nnU-Net's z-score make of them, and never NaN."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ZScoreNormalization
from nnunetv2.preprocessing.normalization.map_channel_name_to_normalization import get_normalization_scheme
from torch import nn

from dataset_conversion.convert import ConversionOptions, run
from dataset_conversion.network_input import network_input
from dataset_conversion.phantom import write_phantom
from msa_trainer.counts_stem import NOT_NORMALISED, CountsStem, begin_with, first_layer
from msa_trainer.generator import MSAGenerator, Stages
from msa_trainer.preflight import check_intensities

STAGES = Stages((4, 8, 8), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)))
COUNTS = [NOT_NORMALISED]


def poisson(mean: float, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).poisson(mean, shape).astype(np.float32))


def stock(deep_supervision: bool = True) -> nn.Module:
    torch.manual_seed(3)
    return PlainConvUNet(
        1, 3, [4, 8, 8], nn.Conv2d, 3, [1, 2, 2], 1, 2, 1, norm_op=nn.InstanceNorm2d, norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU, deep_supervision=deep_supervision,
    )  # fmt: skip


@pytest.mark.parametrize("mean", [0.02, 1.5, 40, 60_000])
def test_it_gives_what_the_anscombe_channel_and_nnunets_z_score_give(mean: float) -> None:
    counts = poisson(mean, 2, 1, 64, 48)
    normaliser = ZScoreNormalization(use_mask_for_norm=False, intensityproperties={})
    expected = np.stack([normaliser.run(network_input(image.numpy(), "anscombe")) for image in counts])
    assert np.allclose(CountsStem(1)(counts).numpy(), expected, atol=2e-3)
    written = torch.from_numpy(network_input(counts.numpy(), "counts"))  # zeros raised to a little above 0
    assert np.allclose(CountsStem(1)(written).numpy(), expected, atol=0.02)


def test_a_dataset_that_the_converter_writes_as_counts_begins_with_it(tmp_path: Path) -> None:
    write_phantom(tmp_path / "studies", 2)
    options = ConversionOptions(
        input=tmp_path / "studies", dataset_id=1, name="Counts", raw=tmp_path, folds=2, channels="counts"
    )
    assert run(options) == 0
    dataset = json.loads((tmp_path / "Dataset001_Counts" / "dataset.json").read_text())
    schemes = [get_normalization_scheme(name).__name__ for name in dataset["channel_names"].values()]
    assert isinstance(first_layer(schemes), CountsStem)
    check_intensities(schemes, dataset)


def test_noise_in_a_hot_organ_is_no_larger_than_in_a_faint_one() -> None:
    halves = torch.cat([poisson(5, 1, 1, 64, 64), poisson(500, 1, 1, 64, 64)], dim=3)
    faint, hot = CountsStem(1)(halves).chunk(2, dim=3)
    assert float(faint.std() / hot.std()) == pytest.approx(1, abs=0.1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.5, 20))
def test_each_image_and_each_channel_is_standardised_for_itself(seed: int, factor: float) -> None:
    images = poisson(4, 3, 2, 16, 16, seed=seed)
    alone = CountsStem(2)(images)
    changed = images.clone()
    changed[1] = factor * changed[1] + 3
    changed[0, 1] += 7
    together = CountsStem(2)(changed)
    assert torch.equal(alone[2], together[2])
    assert torch.equal(alone[0, 0], together[0, 0])
    assert torch.allclose(together.mean((2, 3)), torch.zeros(3, 2), atol=1e-5)
    assert torch.allclose(together.std((2, 3), correction=0), torch.ones(3, 2), atol=1e-4)


@pytest.mark.parametrize("shape", [(1024, 256), (9, 20, 20)])
def test_an_image_without_counts_becomes_zero_and_one_with_a_single_count_is_still_standardised(
    shape: tuple[int, ...],
) -> None:
    rounding = CountsStem(1)(1e-6 * torch.rand(1, 1, *shape))  # as resampling leaves it: not to be blown up to noise
    assert float(rounding.abs().max()) < 0.02
    empty = torch.zeros(1, 1, *shape, requires_grad=True)
    z = CountsStem(1)(empty)
    assert float(z.detach().abs().max()) < 0.01
    z.sum().backward()
    assert empty.grad is not None
    assert torch.isfinite(empty.grad).all()
    single = torch.zeros(1, 1, *shape)
    single.view(-1)[5] = 1
    assert float(CountsStem(1)(single).std()) == pytest.approx(1, abs=0.01)


def test_what_an_interpolation_brought_below_zero_counts_as_zero() -> None:
    counts = poisson(2, 1, 1, 16, 16)
    below = torch.where(counts == 0, torch.full_like(counts, -5.0), counts)
    assert torch.equal(CountsStem(1)(below), CountsStem(1)(counts))


def test_it_stays_in_fp32_under_autocast_and_for_half_precision_data() -> None:
    counts = poisson(3, 1, 1, 32, 32)
    plain = CountsStem(1)(counts)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(CountsStem(1)(counts), plain)
    assert CountsStem(1)(counts.half()).dtype == torch.float32
    assert torch.equal(CountsStem(1)(counts.half()), plain), "small counts are exact in fp16, sums of their squares are not"


def test_a_cascades_one_hot_masks_pass_as_they_are() -> None:
    data = torch.cat([poisson(3, 2, 1, 16, 16), torch.ones(2, 2, 16, 16)], dim=1)
    out = CountsStem(1)(data)
    assert torch.equal(out[:, 1:], data[:, 1:])
    assert torch.equal(out[:, :1], CountsStem(1)(data[:, :1]))


def test_only_plans_that_normalise_no_channel_begin_with_it() -> None:
    def layer(*channel_names: str) -> nn.Module:
        return first_layer([get_normalization_scheme(name).__name__ for name in channel_names])

    assert isinstance(layer("noNorm"), CountsStem)
    assert getattr(layer("noNorm", "noNorm"), "channels", None) == 2
    for names in (("zscore",), ("anscombe",), ("noNorm", "zscore"), ()):
        assert isinstance(layer(*names), nn.Identity), names


def test_the_generator_with_it_has_the_same_weights_by_name_and_sees_its_output() -> None:
    torch.manual_seed(0)
    plain, counting = (MSAGenerator(STAGES, 1, 2, False, stem) for stem in (None, first_layer(COUNTS)))
    assert list(counting.state_dict()) == list(plain.state_dict())
    counting.load_state_dict(plain.state_dict())
    counts = poisson(3, 1, 1, 48, 48)
    with torch.no_grad():
        assert torch.equal(counting(counts), plain(CountsStem(1)(counts)))
        assert not torch.allclose(counting(counts), plain(counts), atol=1e-2)


def copied(network: nn.Module) -> Any:
    return copy.deepcopy(network)


def pickled(network: nn.Module) -> Any:
    return pickle.loads(pickle.dumps(network))


def compiled(network: nn.Module) -> Any:
    return torch.compile(network, backend="eager")


@pytest.mark.parametrize("treated", [copied, pickled, compiled])
def test_a_stock_network_behind_it_keeps_its_names_and_its_switch(treated: Any) -> None:
    plain, counting = stock(), begin_with(first_layer(COUNTS), stock())
    assert list(counting.state_dict()) == list(plain.state_dict())
    counts = poisson(3, 1, 1, 48, 48)
    network = treated(counting)
    with torch.no_grad():
        expected = plain(CountsStem(1)(counts))
        found = network(counts)
        assert len(found) == len(expected) == 2
        assert all(torch.allclose(f, e, atol=1e-5) for f, e in zip(found, expected, strict=True))
        getattr(network, "_orig_mod", network).decoder.deep_supervision = False  # as nnU-Net switches it
        assert torch.allclose(network(counts), expected[0], atol=1e-5)
