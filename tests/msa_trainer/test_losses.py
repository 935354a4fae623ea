"""The relative multi-scale L1 and what it compares, against their definitions spelt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msa_trainer.losses import (
    GradientScale,
    foreground_probabilities,
    image_mask_pair,
    pair_channels,
    reference_masks,
    relative_l1,
    segan_l1,
)


def maps(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, channels, side, side, generator=generator) for channels, side in ((2, 16), (4, 8), (8, 4), (8, 2))]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_it_is_bounded_symmetric_and_unchanged_by_a_common_factor(seed: int, factor: float) -> None:
    first, second = maps(seed), maps(seed + 1)
    values = relative_l1(first, second)
    assert ((values >= 0) & (values <= 2)).all()
    assert torch.equal(values, relative_l1(second, first))
    scaled = relative_l1([factor * f for f in first], [factor * f for f in second])
    assert torch.allclose(scaled, values, rtol=0.1 if factor < 0.01 else 1e-3)


def test_it_is_zero_for_equals_and_two_for_an_empty_prediction() -> None:
    features = maps(0)
    assert torch.equal(relative_l1(features, features), torch.zeros(4))
    assert torch.allclose(relative_l1([torch.zeros_like(f) for f in features], features), torch.full((4,), 2.0), atol=1e-3)


def test_it_is_the_definition_spelt_out_in_numpy() -> None:
    first, second = maps(3), maps(4)
    for value, f, r in zip(relative_l1(first, second), first, second, strict=True):
        a, b = f.numpy().astype(float), r.numpy().astype(float)
        assert float(value) == pytest.approx(np.abs(a - b).sum() / (0.5 * (np.abs(a).sum() + np.abs(b).sum())), rel=1e-4)


def test_segans_loss_is_the_mean_over_one_concatenated_weighted_vector() -> None:
    first, second = maps(1), maps(2)
    weights = (1, 1, 2, 4)
    vectors = [torch.cat([(w * f).flatten() for w, f in zip(weights, side, strict=True)]) for side in (first, second)]
    assert float(segan_l1(first, second).sum()) == pytest.approx(float((vectors[0] - vectors[1]).abs().mean()), rel=1e-5)


@pytest.mark.parametrize(("kind", "channels"), [("masked", 9), ("product", 6), ("concat", 5)])
def test_a_pair_has_the_channels_it_says(kind: str, channels: int) -> None:
    assert pair_channels(kind, classes=3, channels=2) == channels  # type: ignore[arg-type]
    pair = image_mask_pair(torch.rand(2, 3, 8, 8), torch.randn(2, 2, 8, 8), kind)  # type: ignore[arg-type]
    assert pair.shape == (2, channels, 8, 8)


def test_the_masked_pair_is_the_mask_and_a_bounded_image_under_it() -> None:
    m, z = torch.tensor([[[[1.0, 0.0], [0.5, 1.0]]]]), torch.tensor([[[[40.0, 40.0], [0.0, -40.0]]]])
    pair = image_mask_pair(m, z, "masked")
    assert torch.equal(pair[:, :1], m)
    assert torch.allclose(pair[0, 1], torch.tensor([[1.0, 0.0], [0.25, 0.0]]), atol=1e-6)


def test_masks_of_labels_and_of_regions_and_where_they_count() -> None:
    labels = torch.tensor([[[[0, 1], [2, 3]]]], dtype=torch.int16)
    masks, valid = reference_masks(labels, 2, regions=False, ignore_label=3)
    assert masks[0].tolist() == [[[0, 1], [0, 0]], [[0, 0], [1, 0]]]
    assert valid is not None
    assert valid[0, 0].tolist() == [[1, 1], [1, 0]]
    regions = torch.tensor([[[[1, 1]], [[0, 1]], [[1, 0]]]], dtype=torch.bool)
    masks, valid = reference_masks(regions, 2, regions=True, ignore_label=9)
    assert masks[0].tolist() == [[[1, 1]], [[0, 1]]]
    assert valid is not None
    assert valid.tolist() == [[[[0, 1]]]]


def test_probabilities_leave_the_background_out_and_are_fp32() -> None:
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float16)
    labels = foreground_probabilities(logits, regions=False)
    assert labels.shape == (2, 2, 4, 4)
    assert labels.dtype == torch.float32
    assert torch.allclose(labels, torch.softmax(logits.float(), 1)[:, 1:])
    assert torch.equal(foreground_probabilities(logits, regions=True), torch.sigmoid(logits.float()))


def test_the_gradient_scale_is_the_identity_with_a_weighted_gradient() -> None:
    x = torch.randn(5, requires_grad=True)
    y = GradientScale.apply(x, 0.25)
    assert torch.equal(y, x)
    y.pow(2).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, 0.25 * 2 * x.detach())
