"""Augmented counts could have been counted: whole numbers with the mean and the variance of Poisson noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from msa_trainer.levers.count_physics import (
    FURTHER_MM,
    REPLACED,
    AttenuationGradient,
    BinomialThinning,
    CollimatorBlur,
    added_sigma_mm,
    count_true,
)
from msa_trainer.seeding import seed_everything
from msa_trainer.trainer import MSATrainer

SPACING = (2.26, 2.26)
N = 400  # images of one expectation


def expectation() -> np.ndarray:
    """Smooth, with a hot spot of 16 px: (40, 48) counts."""
    rows, columns = np.mgrid[:40, :48]
    return 4 + 3 * np.sin(columns / 9) + 30 * np.exp(-((rows - 18) ** 2 + (columns - 25) ** 2) / 8)


def counted(expected: np.ndarray, number: int = N) -> torch.Tensor:
    """As many Poisson images of it as channels: (number, H, W)."""
    return torch.from_numpy(np.random.default_rng(0).poisson(expected, (number, *expected.shape)).astype(np.float32))


def assert_poisson(images: np.ndarray, expected: np.ndarray) -> None:
    """Mean and variance of every pixel are the expectation, within sampling error: z-scores are standard normal."""
    n = len(images)
    z_mean = (images.mean(0) - expected) / np.sqrt(expected / n)
    # The variance of a Poisson sample's variance: (mu4 - sigma4 (n - 3) / (n - 1)) / n, with mu4 = e + 3 e^2.
    z_variance = (images.var(0, ddof=1) - expected) / np.sqrt(
        (expected + 3 * expected**2 - expected**2 * (n - 3) / (n - 1)) / n
    )
    for z in (z_mean, z_variance):
        assert abs(z.mean()) < 0.12  # 1,920 pixels: 5 standard errors
        assert 0.85 < z.std() < 1.15
    assert np.array_equal(images, images.round())
    assert images.min() >= 0


@pytest.mark.parametrize("p", [0.3, 0.65, 1.0])
def test_thinned_counts_are_poisson_counts_of_a_shorter_acquisition(p: float) -> None:
    seed_everything(1)
    thinned = BinomialThinning(N, kept=(p, p))(image=counted(expectation()))["image"]
    assert_poisson(thinned.numpy(), expectation() * p)


def test_thinning_keeps_between_three_tenths_and_all_and_the_same_share_in_both_views() -> None:
    seed_everything(2)
    kept = [BinomialThinning(2)(image=torch.full((2, 100, 100), 50.0))["image"].mean((1, 2)) / 50 for _ in range(200)]
    shares = torch.stack(kept).numpy()
    assert np.abs(shares[:, 0] - shares[:, 1]).max() < 0.01
    assert stats.kstest(shares[:, 0], "uniform", (0.3, 0.7)).pvalue > 0.001


@pytest.mark.parametrize("further_mm", [20.0, FURTHER_MM])
def test_blurred_counts_are_poisson_counts_around_the_blurred_expectation(
    further_mm: float,
) -> None:
    seed_everything(3)
    sigma_mm = added_sigma_mm(further_mm)
    blur = CollimatorBlur(SPACING, N)
    blurred = blur._apply_to_image(counted(expectation()), sigma_mm=sigma_mm).numpy()
    kernel = np.diff(stats.norm.cdf(np.arange(-12, 14) - 0.5, scale=sigma_mm / 2.26))  # from a pixel's centre to whole pixels
    expected = ndimage.correlate1d(ndimage.correlate1d(expectation(), kernel, 0, mode="reflect"), kernel, 1, mode="reflect")
    assert_poisson(blurred, expected)


def test_blur_keeps_every_count_and_spreads_a_point_by_the_response_it_adds() -> None:
    seed_everything(4)
    point = torch.zeros(1, 61, 61)
    point[0, 30, 30] = 200_000
    sigma_px = added_sigma_mm(80.0) / 2.26
    spread = CollimatorBlur(SPACING, 1)._apply_to_image(point, sigma_mm=added_sigma_mm(80.0))[0].numpy()
    assert spread.sum() == 200_000
    offsets = np.arange(61) - 30
    for axis in (0, 1):
        profile = spread.sum(1 - axis) / 200_000
        assert abs((profile * offsets).sum()) < 0.02
        assert (profile * offsets**2).sum() == pytest.approx(sigma_px**2 + 1 / 12, rel=0.02)  # a pixel's width is 1/12


def test_the_response_of_the_collimator_is_the_one_of_the_text_book() -> None:
    """FWHM d (L + z) / L: 5.9 mm at 10 cm and 10.6 mm at 20 cm for the collimator named; variances of Gaussians add."""
    far_less_near = math.sqrt(10.638**2 - 5.874**2) / 2.3548
    assert added_sigma_mm(100.0) == pytest.approx(far_less_near, rel=1e-3)
    assert added_sigma_mm(0.0) == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 30), st.floats(0.2, 10), st.integers(0, 10**6))
def test_no_count_is_lost_at_any_border(height: int, width: int, sigma_mm: float, mm: float, seed: int) -> None:
    seed_everything(seed)
    image = torch.from_numpy(np.random.default_rng(seed).poisson(3, (2, height, width)).astype(np.float32))
    totals = image.sum((1, 2)).tolist()
    blurred = CollimatorBlur((mm, mm), 2)._apply_to_image(image.clone(), sigma_mm=sigma_mm)
    assert blurred.sum((1, 2)).tolist() == totals
    assert blurred.min() >= 0


@pytest.mark.parametrize("angle", [0.0, 1.0, 2.5, 4.0])
def test_a_gradient_leaves_poisson_counts_of_a_linearly_attenuated_expectation(angle: float) -> None:
    seed_everything(5)
    gradient = AttenuationGradient(N)
    flat = np.full((40, 48), 1e6)
    gain = gradient._apply_to_image(torch.from_numpy(flat)[None].float(), angle=angle, least=0.7)[0].numpy() / 1e6
    assert (gain.min(), gain.max()) == pytest.approx((0.7, 1.0), abs=0.003)
    rows, columns = np.mgrid[:40, :48]
    design = np.stack([np.ones(gain.size), rows.ravel(), columns.ravel()], 1)
    fitted, *_ = np.linalg.lstsq(design, gain.ravel(), rcond=None)
    assert np.abs(design @ fitted - gain.ravel()).max() < 0.003
    made = gradient._apply_to_image(counted(expectation()), angle=angle, least=0.7)
    assert_poisson(made.numpy(), expectation() * (design @ fitted).reshape(40, 48))


@pytest.mark.parametrize("transform", [BinomialThinning(1), AttenuationGradient(1), CollimatorBlur(SPACING, 1)])
def test_only_the_channels_of_counts_change_and_the_labels_never(transform: BasicTransform) -> None:
    seed_everything(6)
    image = torch.cat([counted(expectation(), 1), torch.rand(1, 40, 48)])  # a cascade's mask behind the counts
    labels = torch.randint(0, 2, (1, 40, 48), dtype=torch.int16)
    made = transform(image=image.clone(), segmentation=labels.clone())
    assert torch.equal(made["segmentation"], labels)
    assert torch.equal(made["image"][1], image[1])
    assert not torch.equal(made["image"][0], image[0])


@pytest.mark.parametrize("transform", [BinomialThinning(1), AttenuationGradient(1), CollimatorBlur(SPACING, 1)])
def test_what_is_no_whole_count_is_rounded_to_one(transform: BasicTransform) -> None:
    """As the converter raises 0, and as nnU-Net's resampling leaves counts."""
    seed_everything(7)
    assert not transform(image=torch.full((1, 50, 50), 2.0**-10))["image"].any()
    made = transform(image=torch.full((1, 50, 50), 6.7))["image"]
    assert torch.equal(made, made.round())
    assert made.sum() <= 7 * 2500
    assert not transform(image=torch.full((1, 50, 50), -3.0))["image"].any()


def test_every_slice_of_a_volume_is_blurred_in_its_own_plane() -> None:
    seed_everything(8)
    volume = torch.zeros(1, 3, 20, 20)
    volume[0, 1, 10, 10] = 1000
    made = CollimatorBlur((4.0, *SPACING), 1)._apply_to_image(volume, sigma_mm=4.0)
    assert made[0, 1].sum() == 1000
    assert (made[0, 1] > 0).sum() > 20


def test_the_pipeline_begins_with_counts_and_loses_what_no_camera_does() -> None:
    stock = MSATrainer.get_training_transforms((64, 64), (-0.2, 0.2), [[1, 1], [0.5, 0.5]], (1,), False).transforms
    made = count_true(stock, 0.25, SPACING, 1)
    assert isinstance(made[0], RandomTransform)
    assert made[0].apply_probability == 0.25
    assert [type(t) for t in made[0].transform.list_of_transforms] == [BinomialThinning, CollimatorBlur, AttenuationGradient]
    left = [type(getattr(t, "transform", t)).__name__ for t in made[1:]]
    assert left == [
        "SpatialTransform", "SimulateLowResolutionTransform", "MirrorTransform", "RemoveLabelTransform", "LesionKeepingTargets",
    ]  # fmt: skip
    assert len(stock) == 11
    assert sum(isinstance(getattr(t, "transform", t), REPLACED) for t in stock) == 6


def test_the_same_seed_makes_the_same_counts() -> None:
    made = []
    for _ in range(2):
        seed_everything(9)
        image = counted(expectation(), 2)
        for transform in (AttenuationGradient(2), CollimatorBlur(SPACING, 2), BinomialThinning(2)):
            image = transform(image=image)["image"]
        made.append(image)
    assert torch.equal(*made)
