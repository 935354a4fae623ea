"""One preprocessed image through the networks, in nnU-Net's own order of operations, so that every bit is nnU-Net's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

from msa_trainer.prediction.errors import PredictionError

# nnU-Net's: tiles overlap by half and weigh most in their middle; HEIGHT keeps these weights within half precision.
STEP, SIGMA, HEIGHT = 0.5, 1 / 8, 10

Forward = Callable[[torch.Tensor], torch.Tensor]


def ensembled_logits(
    image: torch.Tensor, networks: Sequence[Forward], patch: tuple[int, int], heads: int, mirror_axes: Sequence[int]
) -> torch.Tensor:
    """Half-precision logits (heads, 1, H, W) of a preprocessed image (C, 1, H, W): the mean over networks, tiles and mirrors.

    nnU-Net sums and divides in half precision; so do we, for a rounding at a lesion's edge decides a pixel. Raises
    PredictionError where a logit is beyond its range.
    """
    mean = _logits(image, networks[0], patch, heads, mirror_axes)
    for network in networks[1:]:
        mean += _logits(image, network, patch, heads, mirror_axes)
    if len(networks) > 1:
        mean /= len(networks)
    return mean


def _logits(
    image: torch.Tensor, network: Forward, patch: tuple[int, int], heads: int, mirror_axes: Sequence[int]
) -> torch.Tensor:
    padded, unpad = pad_nd_image(image, patch, "constant", {"value": 0}, True, None)
    gaussian = compute_gaussian(patch, sigma_scale=SIGMA, value_scaling_factor=HEIGHT, device=padded.device)
    total = torch.zeros((heads, *padded.shape[1:]), dtype=torch.half, device=padded.device)
    weight = torch.zeros(padded.shape[1:], dtype=torch.half, device=padded.device)
    for tile in _tiles(padded.shape[-2:], patch):
        prediction = mirrored(padded[tile][None].contiguous(), network, mirror_axes)[0]
        prediction *= gaussian
        total[tile] += prediction
        weight[tile[1:]] += gaussian
    total /= weight
    if torch.isinf(total).any():
        raise PredictionError("the network's logits are too large for nnU-Net's half precision; its training diverged.")
    logits: torch.Tensor = total[(slice(None), *unpad[1:])]
    return logits.cpu()


def mirrored(x: torch.Tensor, network: Forward, mirror_axes: Sequence[int]) -> torch.Tensor:
    """The mean of the network's answers to (1, C, h, w) and all its mirror images along `mirror_axes` (0 rows, 1 columns).

    One pass a mirror image: in one batch they took as long on a CPU and 400 MB more, and nnU-Net does so.
    """
    total = network(x)
    axes = [axis + 2 for axis in mirror_axes]
    flips = [chosen for n in range(1, len(axes) + 1) for chosen in itertools.combinations(axes, n)]
    for flip in flips:
        total += torch.flip(network(torch.flip(x, flip)), flip)
    return total / (len(flips) + 1) if flips else total


def _tiles(shape: Sequence[int], patch: tuple[int, int]) -> Iterator[tuple[Any, ...]]:
    rows, columns = compute_steps_for_sliding_window(tuple(shape), patch, STEP)
    for row, column in itertools.product(rows, columns):
        yield slice(None), 0, slice(row, row + patch[0]), slice(column, column + patch[1])
