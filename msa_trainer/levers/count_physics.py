"""Augmentation that stays true to counting: every image it makes could have been counted, so noise stays Poisson noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform
from numpy.typing import NDArray
from scipy import special

# nnU-Net's intensity transforms, all of which make values that no camera counts.
REPLACED = (
    GaussianNoiseTransform, GaussianBlurTransform, MultiplicativeBrightnessTransform, ContrastTransform, GammaTransform,
)  # fmt: skip

KEPT = (0.3, 1.0)  # share of the counts that a shorter acquisition, or a smaller dose, leaves
TRANSMITTED = (0.7, 1.0)  # at one side of the patch: 2.4 cm more of soft tissue (0.15 / cm at 140 keV) lets 0.7 through

# A low-energy high-resolution collimator: hole diameter and effective length in mm. Its response at distance z has a full
# width at half maximum of d (L + z) / L (Cherry, Sorenson & Phelps, Physics in Nuclear Medicine, collimator resolution).
HOLE_MM, LENGTH_MM = 1.11, 23.3
NEAREST_MM = 100.0  # distance from the collimator at which the scan is taken to have been made
FURTHER_MM = 100.0  # and how much further away it is made to be, at most: a thick patient, or a camera that kept away
FEW = 64  # counts a pixel up to which a table is quicker than numpy's binomial
BINOMIAL_COEFFICIENTS = special.comb(np.arange(FEW)[:, None], np.arange(FEW))
SMALLEST_SIGMA_PX = 1e-3  # moves nothing
BLOCK = 100_000  # counts displaced at once
FWHM_TO_SIGMA = 1 / (2 * math.sqrt(2 * math.log(2)))


def count_true(
    stock: Sequence[BasicTransform], probability: float, spacing_mm: Sequence[float], channels: int
) -> list[BasicTransform]:
    """nnU-Net's training transforms with count physics in the place of noise, blur, brightness, contrast and gamma.

    With `probability` an image gets one of the three, all alike. The spatial transform, low resolution, mirroring and all else
    stay as they are. Physics comes first, because counts are whole numbers before the spatial transform interpolates; what
    nnU-Net had resampled already is rounded to the nearest count. spacing_mm: the last two are the pixel's. channels: how
    many hold counts, from the first.
    """
    physics = [BinomialThinning(channels), CollimatorBlur(spacing_mm, channels), AttenuationGradient(channels)]
    kept = [t for t in stock if not isinstance(t.transform if isinstance(t, RandomTransform) else t, REPLACED)]
    return [RandomTransform(OneOfTransform(physics), probability), *kept]


class _OfCounts(ImageOnlyTransform):  # type: ignore[misc]
    """Hands the counts of each channel, (..., H, W) whole numbers, to `_recount`. Draws from np.random."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def _apply_to_image(self, image: torch.Tensor, **parameters: Any) -> torch.Tensor:
        for channel in image[: self.channels]:
            counts = channel.clamp_min(0).round().numpy().astype(np.int64)
            channel.copy_(torch.from_numpy(self._recount(counts, **parameters)))
        return image

    def _recount(self, counts: NDArray[np.int64], **parameters: float) -> NDArray[np.int64]:
        raise NotImplementedError


class BinomialThinning(_OfCounts):
    """What a shorter acquisition would have counted: each count is kept with one probability p, drawn from `kept`.

    Counts (C, *patch) -> counts. A binomial share of a Poisson number is a Poisson number, so noise is what that acquisition
    would have had. p is the same for all channels: the views of a scan are taken at once.
    """

    def __init__(self, channels: int, kept: tuple[float, float] = KEPT) -> None:
        super().__init__(channels)
        self.kept = kept

    def get_parameters(self, **_: Any) -> dict[str, float]:
        return {"p": np.random.uniform(*self.kept)}  # noqa: NPY002  nnU-Net seeds the global generator

    def _recount(self, counts: NDArray[np.int64], **drawn: float) -> NDArray[np.int64]:
        return _thinned(counts, np.array(drawn["p"]))


class AttenuationGradient(_OfCounts):
    """Unequal attenuation across the patient: each count is kept with a probability that rises linearly across the patch.

    Counts (C, *patch) -> counts. The direction in the plane of the last two axes is random; one end of the patch keeps all,
    the other `transmitted` at least. Thinning by a probability that differs from pixel to pixel leaves Poisson numbers too.
    """

    def __init__(self, channels: int, transmitted: tuple[float, float] = TRANSMITTED) -> None:
        super().__init__(channels)
        self.transmitted = transmitted

    def get_parameters(self, **_: Any) -> dict[str, float]:
        return {"angle": np.random.uniform(0, 2 * math.pi), "least": np.random.uniform(*self.transmitted)}  # noqa: NPY002

    def _recount(self, counts: NDArray[np.int64], **drawn: float) -> NDArray[np.int64]:
        return _thinned(counts, _ramp(counts.shape[-2:], drawn["angle"], drawn["least"]))


class CollimatorBlur(_OfCounts):
    """The patient further from the camera: each count is displaced by a random draw from the response that is added.

    Counts (C, *patch) -> counts, with the same total. The distance is up to `FURTHER_MM` more, drawn evenly; the Gaussian's
    variance is what the collimator's response gains over it. Displaced Poisson counts are Poisson counts around the blurred
    expectation; a Poisson draw from blurred counts would have their noise beside its own. What would leave the patch is
    mirrored back into it. About 7 ns a count.
    """

    def __init__(self, spacing_mm: Sequence[float], channels: int) -> None:
        super().__init__(channels)
        self.spacing_mm = tuple(float(mm) for mm in spacing_mm[-2:])

    def get_parameters(self, **_: Any) -> dict[str, float]:
        return {"sigma_mm": added_sigma_mm(np.random.uniform(0, FURTHER_MM))}  # noqa: NPY002

    def _recount(self, counts: NDArray[np.int64], **drawn: float) -> NDArray[np.int64]:
        planes = counts.reshape(-1, *counts.shape[-2:])
        moved = [_displaced(plane, [drawn["sigma_mm"] / mm for mm in self.spacing_mm]) for plane in planes]
        return np.stack(moved).reshape(counts.shape)


def added_sigma_mm(further_mm: float) -> float:
    """Sigma in mm of the Gaussian that takes the collimator's response from NEAREST_MM to that much further away."""
    near, far = (HOLE_MM * (LENGTH_MM + z) / LENGTH_MM for z in (NEAREST_MM, NEAREST_MM + further_mm))
    return FWHM_TO_SIGMA * math.sqrt(far**2 - near**2)


def _ramp(shape: Sequence[int], angle: float, least: float) -> NDArray[np.float64]:
    """Probabilities from `least` to 1 over (H, W), rising along `angle`."""
    rows = math.sin(angle) * np.linspace(-1, 1, shape[0])[:, None]
    height = rows + math.cos(angle) * np.linspace(-1, 1, shape[1])
    lowest, highest = height.min(), height.max()
    share = (height - lowest) / (highest - lowest) if highest > lowest else np.ones_like(height)
    return np.asarray(least + (1 - least) * share)


def _thinned(counts: NDArray[np.int64], p: NDArray[np.float64]) -> NDArray[np.int64]:
    """Binomial draws of `counts` (..., H, W) with probability p, of shape () or (H, W).

    numpy takes 70 ns a pixel for it, so small counts are looked up by a random number (6 to 20 ns): the table's probabilities
    are right to 1 in 4,096, and right on average over calls. Where p differs between pixels there are nine tables, and each
    pixel takes one of the two whose p enclose its own; that adds 3 % to the variance at most.
    """
    levels = np.linspace(p.min(), p.max(), 9) if p.ndim else p.reshape(1)
    draws = 1024 if p.ndim else 4096
    table = _binomial_table(levels, draws)
    few = counts < FEW
    place = np.where(few, counts, 0).astype(np.int32) * np.int32(draws)
    place += np.frombuffer(np.random.bytes(2 * counts.size), np.uint16).reshape(counts.shape) & (draws - 1)  # noqa: NPY002
    if p.ndim and levels[-1] > levels[0]:
        level = ((p - levels[0]) * (8 * 256 / (levels[-1] - levels[0]))).astype(np.int32)  # 256 to a step
        between = np.frombuffer(np.random.bytes(counts.size), np.uint8).reshape(counts.shape)  # noqa: NPY002
        place += ((level + between) >> 8) * np.int32(FEW * draws)
    kept: NDArray[np.int64] = table[place].astype(np.int64)
    many = ~few
    if many.any():
        kept[many] = np.random.binomial(counts[many], np.broadcast_to(p, counts.shape)[many])  # noqa: NPY002
    return kept


def _binomial_table(levels: NDArray[np.float64], draws: int) -> NDArray[np.uint8]:
    """Flat (levels, FEW, draws): for each p and n below FEW as many k, out of `draws`, as Binomial(n, p) has of them."""
    k = np.arange(FEW)
    p = levels[:, None, None]
    shares = BINOMIAL_COEFFICIENTS * p**k * (1 - p) ** np.maximum(k[:, None] - k, 0)
    bounds = np.minimum(np.cumsum(shares, axis=-1) * draws + np.random.uniform(), draws).astype(np.int64)  # noqa: NPY002
    bounds[..., -1] = draws
    times = np.concatenate([bounds[..., :1], bounds[..., 1:] - bounds[..., :-1]], axis=-1)
    return np.repeat(np.broadcast_to(k.astype(np.uint8), bounds.shape).ravel(), times.ravel())


def _displaced(counts: NDArray[np.int64], sigma_px: Sequence[float]) -> NDArray[np.int64]:
    """Move each count of (H, W) by a Gaussian draw, rounded to whole pixels as the camera's matrix does."""
    height, width = counts.shape
    # No further than the image is wide: what is mirrored back must land inside.
    down, right = (min(math.ceil(4 * sigma) + 1, side) for sigma, side in zip(sigma_px, counts.shape, strict=True))
    wide = width + 2 * right
    # 65,536 moves, as frequent as a Gaussian has them: a 16-bit random number picks one.
    shares = np.outer(_gaussian_shares(sigma_px[0], down), _gaussian_shares(sigma_px[1], right)).ravel()
    moves = (np.arange(2 * down + 1)[:, None] * wide + np.arange(2 * right + 1)).ravel()
    bounds = np.round(np.cumsum(shares) * 65536).astype(np.int64)
    moves = np.repeat(moves, np.concatenate([bounds[:1], bounds[1:] - bounds[:-1]]))
    moved = np.zeros((height + 2 * down, wide), np.int64)
    until = np.cumsum(counts.sum(axis=1))
    first = 0
    while first < height:  # rows of about BLOCK counts, so that memory does not grow with the counts
        beyond = max(first + 1, int(np.searchsorted(until, (until[first - 1] if first else 0) + BLOCK)))
        inside = np.arange(beyond - first)[:, None] * wide + np.arange(width)
        place = np.repeat(inside.ravel(), counts[first:beyond].ravel())
        place += moves[np.frombuffer(np.random.bytes(2 * place.size), np.uint16)]  # noqa: NPY002
        rows = beyond - first + 2 * down
        moved[first : first + rows] += np.bincount(place, minlength=rows * wide).reshape(rows, wide)
        first = beyond
    return _mirrored_back(_mirrored_back(moved, down).T, right).T


def _gaussian_shares(sigma_px: float, most: int) -> NDArray[np.float64]:
    """Share of counts that a Gaussian moves by -most to most whole pixels; the tails go to the ends."""
    edges = np.arange(-most, most) + 0.5
    below = [
        0.5 * (1 + math.erf(edge / (sigma_px * math.sqrt(2)))) if sigma_px > SMALLEST_SIGMA_PX else float(edge > 0)
        for edge in edges
    ]
    return np.diff(np.array([0, *below, 1]))


def _mirrored_back(counts: NDArray[np.int64], margin: int) -> NDArray[np.int64]:
    """Fold the margins before and after the first axis inwards."""
    inner = counts[margin:-margin].copy()
    inner[:margin] += counts[:margin][::-1]
    inner[-margin:] += counts[-margin:][::-1]
    return inner
