"""Patches are laid over lesions by size stratum, cases drawn by burden, and all else is nnU-Net's loader bit for bit."""

from __future__ import annotations

import inspect
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msa_trainer.levers.lesion_index import LesionIndex, find_lesions
from msa_trainer.levers.sampling import LesionLoader, burden_probabilities
from msa_trainer.seeding import seed_everything

LABELS = LabelManager({"background": 0, "metastasis": 1}, None)
SHAPE = (128, 128)
SMALL = [(12 + 16 * (i % 3), 12 + 16 * (i // 3)) for i in range(9)]


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def one_big_and_nine_small() -> np.ndarray:
    labels = disc(SHAPE, 90, 90, 12).astype(np.uint8)  # 54 mm at 2.26 mm
    for row, column in SMALL:
        labels[row : row + 2, column : column + 2] = 1  # 5 mm
    return labels


def numbered(labels: np.ndarray) -> np.ndarray:
    """Images whose values tell the lesion, so that a patch tells what it holds: 1 to 9 small, 10 big."""
    image = np.zeros(SHAPE)
    image[disc(SHAPE, 90, 90, 12)] = 10
    for number, (row, column) in enumerate(SMALL, 1):
        image[row : row + 2, column : column + 2] = number
    return image * (labels > 0)


@pytest.fixture
def cases(store_cases: Callable[..., Any]) -> Any:
    labels = one_big_and_nine_small()
    return store_cases(
        {"ten": (numbered(labels)[None], labels), "none": (np.random.default_rng(0).random((1, *SHAPE)), np.zeros(SHAPE))}
    )


def loader(cases: Any, share: float, only: str | None = None, initial: int = 40, final: int = 32, **named: Any) -> LesionLoader:
    dataset = type(cases)(cases.source_folder, [only] if only else list(cases.identifiers))
    index = LesionIndex(dataset, [1], (2.26, 2.26))
    patches = ((initial, initial), (final, final))
    return LesionLoader(dataset, 4, *patches, LABELS, 1.0, index=index, lesion_patches=share, **named)


def drawn_lesions(patches: torch.Tensor) -> Counter[str]:
    """Of patches centred on a pixel or holding a lesion: which size the centre, or what is nearest to it, has."""
    found: Counter[str] = Counter()
    for patch in patches:
        places = np.argwhere(patch[0].numpy() > 0)
        nearest = places[np.argmin(np.abs(places - np.array(patch.shape[1:]) // 2).max(1))]
        found["big" if patch[0, nearest[0], nearest[1]] == 10 else "small"] += 1
    return found


def test_nnunet_draws_the_big_lesion_by_its_pixels_and_we_draw_every_size_alike(cases: Any) -> None:
    seed_everything(0)
    stock = nnUNetDataLoader(type(cases)(cases.source_folder, ["ten"]), 200, (40, 40), (32, 32), LABELS, 1.0)
    ours = loader(cases, 1.0, "ten", 26, 26)  # no room for the big lesion and a small one together
    ours.batch_size = 200
    by_pixel, by_stratum = drawn_lesions(next(stock)["data"]), drawn_lesions(next(ours)["data"])
    assert by_pixel["big"] / 200 > 0.85  # 441 of 477 pixels
    assert 0.4 < by_stratum["big"] / 200 < 0.6  # 3 standard errors of a half


def test_the_share_of_patches_that_is_not_laid_over_a_lesion_is_drawn_by_pixel(cases: Any) -> None:
    seed_everything(14)
    ours = loader(cases, 0.5, "ten", 26, 26)
    ours.batch_size = 400
    assert drawn_lesions(next(ours)["data"])["big"] / 400 == pytest.approx((441 / 477 + 0.5) / 2, abs=0.07)


def test_the_lesions_of_a_stratum_are_drawn_alike(cases: Any) -> None:
    seed_everything(1)
    ours = loader(cases, 1.0, "ten", 12, 12)  # no two small ones in one patch
    found = Counter(int(patch.max()) for _ in range(100) for patch in next(ours)["data"])
    small = np.array([found[number] for number in range(1, 10)])
    assert small.sum() + found[10] == 400
    expected = small.sum() / 9
    assert ((small - expected) ** 2 / expected).sum() < 26.1  # chi-squared, 8 degrees of freedom, p = 0.001


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 60), st.integers(0, 60), st.integers(1, 12), st.integers(1, 12), st.integers(12, 80), st.integers(0, 30),
    st.integers(0, 10**6),
)  # fmt: skip
def test_a_drawn_lesion_is_whole_in_what_the_centre_crop_leaves(
    row: int, column: int, height: int, width: int, final: int, more: int, seed: int
) -> None:
    labels = np.zeros((1, 72, 72), np.uint8)
    labels[0, row : row + height, column : column + width] = 1
    lesions = find_lesions(labels, [1], (1.0, 1.0))
    ours = object.__new__(LesionLoader)
    nnUNetDataLoader.__init__(ours, type("Named", (), {"identifiers": ["a"]}), 1, (final + more,) * 2, (final,) * 2, LABELS)
    seed_everything(seed)
    corner, beyond = ours._over_a_lesion((1, 72, 72), lesions)
    assert [high - low for low, high in zip(corner, beyond, strict=True)] == [1, final + more, final + more]
    padded = np.pad(labels[0], 200)
    patch = padded[corner[1] + 200 : beyond[1] + 200, corner[2] + 200 : beyond[2] + 200]
    crop = SpatialTransform((final, final), 0, False, p_rotation=0, p_scaling=0)
    seen = crop(image=torch.from_numpy(patch.copy())[None].float())["image"]
    for low in (corner[1] + more // 2, corner[2] + more // 2):  # no more padding than nnU-Net's random patches have
        assert min(0, 72 - final) - 1 <= low <= max(0, 72 - final) + 1
    assert seen.shape == (1, final, final)
    assert int(seen.sum()) == int(labels.sum())


def test_the_lesion_is_everywhere_in_the_patch_not_always_in_its_middle(cases: Any) -> None:
    seed_everything(2)
    labels = np.zeros((1, 200, 200), np.uint8)
    labels[0, 100, 100] = 1
    lesions = find_lesions(labels, [1], (1.0, 1.0))
    ours = loader(cases, 1.0, "ten", 32, 32)
    rows = {100 - ours._over_a_lesion((1, 200, 200), lesions)[0][1] for _ in range(1000)}
    assert rows == set(range(32))


def test_a_patch_smaller_than_the_lesion_is_laid_over_a_part_of_it(cases: Any) -> None:
    seed_everything(3)
    ours = loader(cases, 1.0, "ten", 16, 8)
    for _ in range(50):
        for target in next(ours)["target"]:
            assert (target == 1).any()


def test_patches_of_a_2d_plan_show_the_slice_of_a_volume_in_which_the_lesion_is(store_cases: Callable[..., Any]) -> None:
    seed_everything(4)
    labels = np.zeros((6, 64, 64))
    labels[4, 30:33, 30:33] = 1
    labels[3, 30:33, 30:33] = 1
    assert len(find_lesions(labels, [1], (1.0, 1.0))) == 2
    assert len(find_lesions(labels, [1], (1.0, 1.0, 1.0))) == 1
    cases = store_cases({"volume": (np.zeros((1, 6, 64, 64)), labels)})
    for _ in range(10):
        assert all((target == 1).sum() == 9 for target in next(loader(cases, 1.0))["target"])


def test_a_3d_plan_joins_a_lesion_through_its_slices_and_holds_it_whole(store_cases: Callable[..., Any]) -> None:
    seed_everything(5)
    labels = np.zeros((12, 24, 24))
    labels[4, 10:13, 10:13] = labels[5, 13:15, 13:15] = 1  # joined at a corner
    cases = store_cases({"volume": (np.zeros((1, 12, 24, 24)), labels)})
    index = LesionIndex(cases, [1], (2.0, 2.0, 2.0))
    assert len(index["volume"]) == 1
    ours = LesionLoader(cases, 8, (8, 16, 16), (6, 12, 12), LABELS, 1.0, index=index, lesion_patches=1.0)
    assert all((target == 1).sum() == 13 for target in next(ours)["target"])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_case_without_lesions_gets_nnunets_patches(cases: Any, share: float) -> None:
    alone = type(cases)(cases.source_folder, ["none"])
    batches = []
    for made in (loader(cases, share, "none"), nnUNetDataLoader(alone, 4, (40, 40), (32, 32), LABELS, 1.0)):
        seed_everything(6)
        batches.append(torch.cat([next(made)["data"] for _ in range(3)]))
    assert torch.equal(*batches)


def test_share_0_is_nnunets_loader_bit_for_bit(cases: Any) -> None:
    batches = []
    for made in (loader(cases, 0.0), nnUNetDataLoader(cases, 4, (40, 40), (32, 32), LABELS, 1.0)):
        seed_everything(7)
        batches.append([next(made) for _ in range(5)])
    for ours, stock in zip(*batches, strict=True):
        assert list(ours["keys"]) == list(stock["keys"])
        assert torch.equal(ours["data"], stock["data"])
        assert torch.equal(ours["target"], stock["target"])


def test_the_same_seed_draws_the_same_patches(cases: Any) -> None:
    batches = []
    for _ in range(2):
        seed_everything(8)
        batches.append(next(loader(cases, 0.5))["data"])
    assert torch.equal(*batches)


def test_only_the_patches_that_must_hold_foreground_are_laid_over_lesions(cases: Any) -> None:
    seed_everything(9)
    ours = loader(cases, 1.0, "ten", 12, 12)
    ours.batch_size, ours.oversample_foreground_percent = 8, 0.25
    held = np.array([[bool((target == 1).any()) for target in next(ours)["target"]] for _ in range(40)])
    assert held[:, 6:].all()
    assert held[:, :6].mean() < 0.5  # at random, a 12 px patch mostly misses


def test_the_ignore_label_is_no_lesion_and_its_random_patches_stay_nnunets(store_cases: Callable[..., Any]) -> None:
    labels = np.zeros(SHAPE)
    labels[:60] = 2  # ignored
    labels[100:103, 100:103] = 1
    cases = store_cases({"a": (np.zeros((1, *SHAPE)), labels)})
    with_ignore = LabelManager({"background": 0, "metastasis": 1, "ignore": 2}, None)
    index = LesionIndex(cases, [label for label in with_ignore.all_labels if label != 0], (2.26, 2.26))
    assert len(index["a"]) == 1
    locations = {
        (-1, *with_ignore.all_labels): np.argwhere(labels[None, None] != 2),
        1: np.argwhere(labels[None, None] == 1),
    }
    corners = []
    for made in (
        LesionLoader(cases, 4, (40, 40), (32, 32), with_ignore, 1.0, index=index, lesion_patches=1.0),
        nnUNetDataLoader(cases, 4, (40, 40), (32, 32), with_ignore, 1.0),
    ):
        seed_everything(10)
        corners.append([made.get_bbox((1, *SHAPE), False, locations)[0] for _ in range(5)])
    assert np.array_equal(*corners)


def test_cases_are_drawn_by_burden(cases: Any) -> None:
    index = LesionIndex(cases, [1], (2.26, 2.26))
    assert list(index) == ["none", "ten"]
    assert burden_probabilities(index, 0) is None
    assert burden_probabilities(index, 1) == pytest.approx([1 / 12, 11 / 12])
    assert burden_probabilities(index, 0.5) == pytest.approx([1 / (1 + 11**0.5), 11**0.5 / (1 + 11**0.5)])
    seed_everything(11)
    made = loader(cases, 0.0, sampling_probabilities=burden_probabilities(index, 1))
    drawn = Counter(key for _ in range(100) for key in made.get_indices())
    assert 0.85 < drawn["ten"] / 400 < 0.97


def test_size_strata_are_those_that_the_evaluation_reports() -> None:
    labels = np.zeros((1, 100, 100), np.uint8)
    for number, side in enumerate((4, 10, 20, 40)):  # equivalent diameters 4.5, 11.3, 22.6, 45.1 mm
        labels[0, 50 * (number // 2) :, 50 * (number % 2) :][:side, :side] = 1
    found = find_lesions(labels, [1], (1.0, 1.0))
    sides = (found.beyond - found.first)[:, 1]
    assert dict(zip(sides.tolist(), found.stratum.tolist(), strict=True)) == {4: 0, 10: 1, 20: 2, 40: 3}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_every_anchor_is_a_pixel_of_its_own_lesion(seed: int) -> None:
    from skimage.measure import label, regionprops  # another labelling than ours

    labels = (np.random.default_rng(seed).random((1, 24, 24)) > 0.8).astype(np.uint8)
    found = find_lesions(labels, [1], (1.0, 1.0))
    regions = regionprops(label(labels[0], connectivity=2))
    assert len(found) == len(regions)
    boxes = {(*low[1:], *high[1:]) for low, high in zip(found.first.tolist(), found.beyond.tolist(), strict=True)}
    assert boxes == {region.bbox for region in regions}
    names = label(labels, connectivity=3)
    for anchors in found.anchors:
        assert len({int(names[tuple(anchor)]) for anchor in anchors}) == 1
        assert names[tuple(anchors[0])] > 0


def test_the_loader_takes_what_nnunets_takes_and_travels_to_worker_processes(cases: Any) -> None:
    made = loader(cases, 0.5)
    next(made)
    copy = pickle.loads(pickle.dumps(made))
    seed_everything(12)
    ours = next(copy)["data"]
    seed_everything(12)
    assert torch.equal(ours, next(made)["data"])
    stock = list(inspect.signature(nnUNetDataLoader.get_bbox).parameters)
    assert list(inspect.signature(LesionLoader.get_bbox).parameters) == stock
