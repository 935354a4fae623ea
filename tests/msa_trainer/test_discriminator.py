"""The discriminator's features: halved a layer, homogeneous, bounded in gain, in 2-D and 3-D."""

from __future__ import annotations

import pytest
import torch

from msa_trainer.discriminator import WIDTHS, MultiScaleDiscriminator


def test_features_are_the_pair_and_one_map_a_layer_each_half_the_size() -> None:
    pair = torch.randn(2, 2, 64, 32)
    features = MultiScaleDiscriminator(2, (64, 32))(pair)
    assert features[0] is pair
    assert [tuple(f.shape[1:]) for f in features[1:]] == [(w, 64 >> i, 32 >> i) for i, w in enumerate(WIDTHS, 1)]


@pytest.mark.parametrize("patch", [(16, 16, 16), (5, 32, 32), (2, 64, 48), (12, 24)])
def test_thin_patches_keep_a_feature_map(patch: tuple[int, ...]) -> None:
    features = MultiScaleDiscriminator(1, patch)(torch.randn(1, 1, *patch))
    assert all(min(f.shape[2:]) >= 1 for f in features)


def test_nothing_in_the_pair_gives_nothing_in_the_features() -> None:
    assert all(not f.any() for f in MultiScaleDiscriminator(2, (32, 32))(torch.zeros(1, 2, 32, 32)))


def test_features_are_homogeneous_in_the_weights() -> None:
    network = MultiScaleDiscriminator(2, (32, 32), norm="none")
    pair = torch.randn(1, 2, 32, 32)
    before = network(pair)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(10)
    for depth, (old, new) in enumerate(zip(before, network(pair), strict=True)):
        assert torch.allclose(new, old * 10**depth, rtol=1e-4, atol=1e-5 * float(new.detach().abs().max()))


def test_spectral_normalisation_holds_every_layers_largest_singular_value_at_one() -> None:
    network = MultiScaleDiscriminator(2, (32, 32))
    for _ in range(50):
        network(torch.randn(1, 2, 32, 32))
    for layer in network.layers:
        weight = layer[0].weight.detach().flatten(1)
        assert float(torch.linalg.svdvals(weight)[0]) == pytest.approx(1, abs=0.02)


def test_only_segans_norm_has_batch_statistics_and_not_in_its_first_layer() -> None:
    kinds = {
        norm: [type(m).__name__ for m in MultiScaleDiscriminator(1, (32, 32), norm=norm).modules()]
        for norm in ("spectral", "batch", "none")
    }
    assert kinds["batch"].count("BatchNorm2d") == len(WIDTHS) - 1
    assert "BatchNorm2d" not in kinds["spectral"] + kinds["none"]
    assert not any("InstanceNorm" in name for names in kinds.values() for name in names)
