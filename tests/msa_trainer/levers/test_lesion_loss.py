"""Per-lesion Dice against loops over lesions and pixels; the cells against a flood fill and all distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.nn.functional import max_pool2d

from msa_trainer import variants
from msa_trainer.augmentation import LesionKeepingTargets
from msa_trainer.epoch_log import LESION_DICE
from msa_trainer.levers import Levers
from msa_trainer.levers.lesion_loss import LesionAwareLoss, LesionCells, lesion_cells, target_transforms
from msa_trainer.losses import foreground_union, lesion_probability, per_lesion_dice

SMALL_IMAGES = st.one_of(
    hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([False, False, False, True])),
    hnp.arrays(bool, st.tuples(*[st.integers(1, 5)] * 3), elements=st.sampled_from([False] * 7 + [True])),
)


def flood_filled(foreground: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Components as sets of pixels, neighbours sharing at least a corner."""
    left = {tuple(int(i) for i in pixel) for pixel in np.argwhere(foreground)}
    found = []
    while left:
        lesion, edge = set(), [left.pop()]
        while edge:
            pixel = edge.pop()
            lesion.add(pixel)
            around = {tuple(p + s for p, s in zip(pixel, step, strict=True)) for step in product((-1, 0, 1), repeat=len(pixel))}
            edge += left & around
            left -= around
        found.append(lesion)
    return found


@settings(deadline=None, max_examples=80)
@given(SMALL_IMAGES)
def test_every_pixel_has_the_number_of_its_nearest_lesion_and_every_cell_holds_one_lesion(foreground: np.ndarray) -> None:
    cells, lesions = lesion_cells(foreground), flood_filled(foreground)
    assert cells.dtype == np.int16
    assert cells.shape == foreground.shape
    if not lesions:
        assert not cells.any()
        return
    assert set(np.unique(cells)) == set(range(1, len(lesions) + 1))
    by_number = {}
    for lesion in lesions:
        (number,) = {int(cells[pixel]) for pixel in lesion}
        by_number[number] = np.array(sorted(lesion))
    assert len(by_number) == len(lesions)
    for pixel in np.ndindex(*foreground.shape):
        squared = {number: ((lesion - pixel) ** 2).sum(1).min() for number, lesion in by_number.items()}
        assert squared[int(cells[pixel])] == min(squared.values())


def by_loops(probability: np.ndarray, reference: np.ndarray, cells: np.ndarray) -> float:
    """Image by image, lesion by lesion."""
    lost = []
    for p, r, c in zip(probability, reference, cells, strict=True):
        for number in range(1, c.max() + 1):
            there = c == number
            if not r[there].any():
                continue
            lost.append(1 - (2 * (p * r)[there].sum() + 1e-5) / (p[there].sum() + r[there].sum() + 1e-5))
    return float(np.mean(lost)) if lost else 0.0


def drawn(seed: int, shape: tuple[int, ...], lesion_share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probabilities, reference and cells of a batch of three; the last image is empty."""
    rng = np.random.default_rng(seed)
    reference = rng.random((3, 1, *shape)) < lesion_share
    reference[2] = False
    cells = np.stack([lesion_cells(image[0])[None] for image in reference])
    probability = torch.from_numpy(rng.random((3, 1, *shape), np.float32))
    return probability, torch.from_numpy(reference), torch.from_numpy(cells)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([(16, 16), (5, 31), (6, 7, 8)]), st.sampled_from([0, 0.01, 0.1]))
def test_it_is_the_mean_of_a_loop_over_images_and_lesions(seed: int, shape: tuple[int, ...], lesion_share: float) -> None:
    probability, reference, cells = drawn(seed, shape, lesion_share)
    cells[..., :2] = 0  # counts nowhere, whatever is annotated there
    expected = by_loops(probability.numpy().astype(float), reference.numpy().astype(float), cells.numpy())
    assert float(per_lesion_dice(probability, reference, cells)) == pytest.approx(expected, abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_numbers_of_the_lesions_and_the_order_of_the_images_do_not_matter(seed: int) -> None:
    probability, reference, cells = drawn(seed, (16, 16), 0.05)
    numbers = int(cells.max())
    shuffled = torch.cat([torch.zeros(1), 1 + torch.randperm(numbers)]).to(torch.int16)[cells.long()]
    value = per_lesion_dice(probability, reference, cells)
    assert torch.allclose(per_lesion_dice(probability, reference, shuffled), value, atol=1e-6)
    assert torch.allclose(per_lesion_dice(probability.flip(0), reference.flip(0), cells.flip(0)), value, atol=1e-6)


def test_a_perfect_prediction_costs_exactly_nothing() -> None:
    _, reference, cells = drawn(1, (16, 16), 0.05)
    assert float(per_lesion_dice(reference.float(), reference, cells)) == 0


def two_lesions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A big lesion of 100 px, a small one of 4 px, and their cells."""
    big, small = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    big[..., 2:12, 2:12] = 1
    small[..., 25:27, 25:27] = 1
    return big, small, torch.from_numpy(lesion_cells((big + small)[0, 0].numpy() > 0))[None, None]


def test_missing_the_small_lesion_costs_as_much_as_missing_the_big_one() -> None:
    big, small, cells = two_lesions()
    without_small, without_big = (float(per_lesion_dice(kept, big + small, cells)) for kept in (big, small))
    assert without_small == pytest.approx(0.5, abs=1e-4)
    assert without_big == pytest.approx(without_small, abs=1e-4)


def test_a_false_positive_costs_in_the_cell_of_the_nearest_lesion_alone() -> None:
    big, small, cells = two_lesions()
    beside_small = torch.zeros_like(big)
    beside_small[..., 30, 30] = 1
    assert float(per_lesion_dice(big + small + beside_small, big + small, cells)) == pytest.approx((1 - 8 / 9) / 2, abs=1e-4)


def test_a_batch_without_lesions_is_exactly_zero_with_a_finite_gradient() -> None:
    logits = torch.randn(2, 2, 8, 8, requires_grad=True)
    nothing = torch.zeros(2, 1, 8, 8)
    loss = per_lesion_dice(lesion_probability(logits, regions=False), nothing, nothing.to(torch.int16))
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None, "DistributedDataParallel waits for a gradient"
    assert not logits.grad.any()


def test_a_pixel_of_a_small_lesion_pulls_as_much_harder_as_the_lesion_is_smaller() -> None:
    big, small, cells = two_lesions()
    probability = (0.5 * (big + small)).requires_grad_()
    (gradient,) = torch.autograd.grad(per_lesion_dice(probability, big + small, cells), probability)
    assert (gradient[big + small > 0] < 0).all()
    assert (gradient[big + small == 0] > 0).all()
    assert float(gradient[small > 0].mean() / gradient[big > 0].mean()) == pytest.approx(25, rel=1e-3)


def test_it_is_reckoned_in_fp32_under_autocast() -> None:
    probability, reference, cells = drawn(2, (16, 16), 0.05)
    logits = torch.cat((torch.zeros_like(probability), 8 * probability), 1).to(torch.bfloat16)
    expected = per_lesion_dice(lesion_probability(logits, regions=False), reference, cells)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = per_lesion_dice(lesion_probability(logits, regions=False), reference, cells)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)


def test_foreground_is_every_class_or_region_that_is_not_ignored() -> None:
    logits = torch.randn(2, 4, 5, 5)
    assert torch.allclose(lesion_probability(logits, regions=False)[:, 0], 1 - torch.softmax(logits, 1)[:, 0], atol=1e-6)
    assert torch.equal(lesion_probability(logits, regions=True)[:, 0], torch.sigmoid(logits).max(1).values)
    labels = torch.tensor([[[[0, 1, 2, 3]]]])
    assert foreground_union(labels, False, 3).flatten().tolist() == [False, True, True, False]
    assert foreground_union(labels, False, None).flatten().tolist() == [False, True, True, True]
    regions = torch.tensor([[[1, 0, 0]], [[0, 1, 0]], [[0, 0, 1]]])[None]
    assert foreground_union(regions, True, 9).flatten().tolist() == [True, True, False]
    assert foreground_union(regions.bool(), True, None).flatten().tolist() == [True, True, True]


@pytest.mark.parametrize("as_regions", [False, True])
def test_ignored_pixels_are_no_lesions_and_count_in_no_cell(as_regions: bool) -> None:
    label = torch.zeros(1, 12, 12, dtype=torch.int16)
    label[:, 1, 1], label[:, 10, 10], label[:, 5:8, :] = 1, 2, 3  # 3 is the ignore label
    target = torch.cat([label == 1, (label == 1) | (label == 2), label == 3]) if as_regions else label
    *_, cells = LesionCells(as_regions, 3)(segmentation=[target])["segmentation"]
    assert set(cells.unique().tolist()) == {0, 1, 2}
    assert torch.equal(cells == 0, label == 3)
    reference = foreground_union(target[None], as_regions, 3)
    prediction = reference | (label == 3)[None]
    assert float(per_lesion_dice(prediction.float(), reference, cells[None])) == 0


def test_the_cells_are_one_more_target_behind_the_others() -> None:
    label = torch.zeros(1, 64, 64, dtype=torch.int16)
    label[0, 5, 5] = label[0, 50:53, 50:53] = 1
    transforms = target_transforms(Levers(lesion_loss=0.3), regions=False, ignore_label=None)
    targets = LesionKeepingTargets([[1, 1], [0.5, 0.5]])(segmentation=label)["segmentation"]
    made = targets
    for transform in transforms:
        made = transform(segmentation=made)["segmentation"]
    assert all(ours is theirs for ours, theirs in zip(made, targets, strict=False))
    assert len(made) == 3
    assert made[2].dtype == torch.int16
    assert np.array_equal(made[2][0].numpy(), lesion_cells(label[0].numpy() > 0))
    assert target_transforms(Levers(), regions=False, ignore_label=None) == []


def test_more_lesions_than_int16_can_number_are_left_out_not_wrapped() -> None:
    foreground = np.zeros((400, 400), bool)
    foreground[::2, ::2] = True  # 40,000 single pixels
    cells = lesion_cells(foreground)
    assert cells.min() == 1
    assert cells.max() == 32_767


# ---------------------------------------------------------------------- in the trainer


class WithLesions(variants.MSATrainer):
    levers = replace(variants.MSATrainer.levers, lesion_loss=0.3)
    recipe = replace(variants.MSATrainer.recipe, start=0.0, ramp=0.0)


class WithLesionsAlone(WithLesions):
    recipe = variants.MSATrainerNoAdversary.recipe


def batches(number: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(7)
    made = []
    for _ in range(number):
        label = torch.from_numpy((rng.random((2, 1, 64, 64)) > 0.99).astype(np.int16))
        cells = torch.stack([torch.from_numpy(lesion_cells(image[0].numpy() > 0))[None] for image in label])
        data = torch.from_numpy(rng.standard_normal((2, 1, 64, 64), np.float32)) + 3 * label
        made.append({"data": data, "target": [label, max_pool2d(label.float(), 2).to(torch.int16), cells]})
    return made


@pytest.mark.parametrize("trainer_class", [WithLesions, WithLesionsAlone])
def test_a_step_is_trained_on_the_base_loss_plus_the_weighted_term(
    make_trainer: Callable[..., Any], trainer_class: type
) -> None:
    torch.manual_seed(3)
    trainer = make_trainer(trainer_class)
    trainer.initialize()
    trainer.set_deep_supervision_enabled(True)
    trainer.on_epoch_start()
    terms = []
    for batch in batches(3):
        label, coarse, cells = batch["target"]
        with torch.no_grad():
            outputs = trainer.network(batch["data"])
            stock = trainer.loss.base(outputs, [label, coarse])
        probability = torch.softmax(outputs[0], 1)[:, 1:].numpy().astype(float)
        terms.append(by_loops(probability, (label > 0).numpy(), cells.numpy()))
        before = [p.detach().clone() for p in trainer.network.parameters()]
        loss = float(trainer.train_step(batch)["loss"])
        assert loss == pytest.approx(float(stock) + 0.3 * terms[-1], abs=1e-5)
        assert terms[-1] > 0.5
        assert any(not torch.equal(b, p) for b, p in zip(before, trainer.network.parameters(), strict=True))
    trainer._take_recorded()
    trainer.network.eval()
    with torch.no_grad():
        validated = trainer.validation_step(batches(1)[0])
    assert np.isfinite(validated["loss"])
    assert trainer._take_recorded()[1] > 0


def test_the_term_has_a_row_of_its_own_only_where_it_is_on(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(WithLesionsAlone)
    trainer.initialize()
    trainer.on_epoch_start()
    steps = [trainer.train_step(batch) for batch in batches(3)]
    trainer.on_train_epoch_end(steps)
    (row,) = trainer.logger.get_checkpoint()[LESION_DICE]
    assert type(row) is float
    assert 0.5 < row <= 1
    segmentation = trainer.logger.get_checkpoint()["msa_segmentation_scale_0"][0]
    assert np.mean([step["loss"] for step in steps]) == pytest.approx(
        segmentation + 0.3 * row, abs=1e-5
    )  # one scale counts here
    off = make_trainer(variants.MSATrainerNoLesionLoss)
    off.initialize()
    assert LESION_DICE not in off._log_keys
    assert not isinstance(off.loss, LesionAwareLoss)


def test_nnunets_own_loop_trains_and_validates_with_the_cells_that_the_loader_makes(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(WithLesions, epochs=1, steps=2)
    trainer.run_training()
    batch = next(trainer.dataloader_train)
    *targets, cells = batch["target"]
    assert len(targets) == len(trainer._get_deep_supervision_scales())
    for label, found in zip(targets[0], cells, strict=True):
        assert np.array_equal(found[0].numpy(), lesion_cells(label[0].numpy() > 0))
    rows = trainer.logger.get_checkpoint()
    assert np.isfinite(rows["train_losses"] + rows["val_losses"] + rows[LESION_DICE]).all()


def test_a_loader_without_cells_is_an_error_not_another_loss() -> None:
    loss = LesionAwareLoss(nn.MSELoss(), 0.3)
    maps = [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)]
    with pytest.raises(ValueError, match=r"2 targets for 2 outputs; expected one more.*target_transforms"):
        loss(maps, maps)


class WithoutDeepSupervision(WithLesions):
    """As nnU-Net's own nnUNetTrainerNoDeepSupervision switches it off."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):  # noqa: B008
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False


@pytest.mark.parametrize(("trainer_class", "side"), [(WithLesions, 32), (WithoutDeepSupervision, 64)])
def test_a_network_with_a_single_output_trains_without_it_and_says_so(
    make_trainer: Callable[..., Any],
    plans: Callable[[], dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    trainer_class: type,
    side: int,
) -> None:
    content = plans()
    content["configurations"]["2d"]["patch_size"] = [side, side]
    dataset = make_trainer(variants.MSATrainer).dataset_json
    trainer = trainer_class(content, "2d", 0, dataset, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 2, 1
    trainer.run_training()
    assert "goes without the per-lesion Dice" in capsys.readouterr().out
    assert LESION_DICE not in trainer._log_keys
    assert trainer_class.levers.lesion_loss == 0.3
