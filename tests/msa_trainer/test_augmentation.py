"""Mirroring swaps left and right only, through nnU-Net's transpose; targets keep the smallest lesion."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from msa_trainer.augmentation import LesionKeepingTargets, left_right_axes

SCALES = [[1, 1], [0.5, 0.5], [0.25, 0.25], [0.125, 0.125], [0.0625, 0.0625]]


@pytest.mark.parametrize("transpose", list(permutations(range(3))))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_mirroring_along_the_returned_axes_exchanges_left_and_right(transpose: tuple[int, ...], dimensions: int) -> None:
    volume = np.random.default_rng(0).random((3, 4, 5))  # slice, row, column
    patch, mirrored = (np.transpose(v, transpose) for v in (volume, volume[:, :, ::-1]))
    axes = left_right_axes(transpose, dimensions)
    if dimensions == 2:
        if axes is None:
            assert transpose[0] == 2, "left-right is the slicing axis only then"
            return
        patch, mirrored = patch[0], mirrored[0]
    assert axes is not None
    assert np.array_equal(np.flip(patch, axes), mirrored)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 63), st.integers(0, 63), st.sampled_from([1, 2, 3]))
def test_a_lesion_of_any_size_anywhere_is_in_every_target(row: int, column: int, size: int) -> None:
    label = torch.zeros(1, 64, 64, dtype=torch.int16)
    label[:, row : row + size, column : column + size] = 1
    targets = LesionKeepingTargets(SCALES)(segmentation=label)["segmentation"]
    assert targets[0] is label
    assert [tuple(t.shape) for t in targets] == [(1, 64 >> i, 64 >> i) for i in range(5)]
    assert all(int(t.max()) == 1 and t.dtype == torch.int16 for t in targets)
    assert all(bool(t[0, row >> i, column >> i]) for i, t in enumerate(targets))


def block_maximum(label: np.ndarray, factor: int, ignore: int | None) -> np.ndarray:
    """A loop over blocks: highest label, the ignore label only where there is nothing else."""
    coarse = np.zeros([side // factor for side in label.shape], label.dtype)
    for row, column in np.ndindex(*coarse.shape):
        block = label[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        counted = block[block != ignore]
        coarse[row, column] = counted.max() if counted.size else ignore
    return coarse


@pytest.mark.parametrize("ignore", [None, 3])
def test_targets_are_block_maxima_and_ignore_wins_only_where_nothing_else_is(ignore: int | None) -> None:
    label = np.random.default_rng(1).choice([0, 1, 2, 3 if ignore else 0], (32, 32), p=[0.5, 0.1, 0.1, 0.3]).astype(np.int16)
    label[:8, :8] = 3 if ignore else 0
    targets = LesionKeepingTargets(SCALES[:4], ignore_label=ignore)(segmentation=torch.from_numpy(label)[None])["segmentation"]
    for index, target in enumerate(targets):
        assert np.array_equal(target[0].numpy(), block_maximum(label, 2**index, ignore))


@pytest.mark.parametrize(("shape", "coarse"), [((9, 30), (4, 15)), ((3, 8, 12), (3, 4, 6)), ((5, 8, 10), (2, 4, 5))])
def test_targets_of_sides_that_do_not_divide_and_of_volumes_are_maxima_too(
    shape: tuple[int, ...], coarse: tuple[int, ...]
) -> None:
    label = np.random.default_rng(2).choice([0, 1, 3], shape, p=[0.6, 0.1, 0.3]).astype(np.int16)
    scales = [[small / side for small, side in zip(coarse, shape, strict=True)]]
    (target,) = LesionKeepingTargets(scales, ignore_label=3)(segmentation=torch.from_numpy(label)[None])["segmentation"]
    for index in np.ndindex(*coarse):  # a coarse pixel covers every fine one that it touches
        bounds = [(i * side // small, -(-(i + 1) * side // small)) for i, side, small in zip(index, shape, coarse, strict=True)]
        block = label[tuple(slice(*bound) for bound in bounds)]
        counted = block[block != 3]
        assert int(target[0][index]) == (counted.max() if counted.size else 3)
    assert target.dtype == torch.int16


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_regions_are_pooled_one_by_one_and_ignored_only_where_every_pixel_is(dtype: torch.dtype) -> None:
    regions = torch.zeros(2, 4, 4, dtype=dtype)
    regions[0, 0, 1] = regions[1, 0, 0] = 1  # a lesion pixel, and one ignored pixel beside it
    regions[1, 2:, 2:] = 1
    coarse = LesionKeepingTargets([[0.5, 0.5]], regions=True, ignore_label=9)(segmentation=regions)["segmentation"][0]
    assert coarse.dtype == dtype
    assert coarse.float().tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]]]


def test_volumes_are_pooled_with_the_plans_anisotropic_scales() -> None:
    label = torch.zeros(1, 8, 32, 32)
    label[0, 3, 17, 5] = 1
    (coarse,) = LesionKeepingTargets([[1, 0.25, 0.25]])(segmentation=label)["segmentation"]
    assert coarse.shape == (1, 8, 8, 8)
    assert coarse[0, 3, 4, 1] == 1
    assert coarse.sum() == 1
