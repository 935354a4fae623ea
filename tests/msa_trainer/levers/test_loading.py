"""The loaders are nnU-Net's but for what a lever changes; levers that the dataset does not allow are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msa_trainer.levers import Levers
from msa_trainer.levers.loading import dataloaders
from msa_trainer.levers.sampling import LesionLoader
from msa_trainer.refusal import Refusal
from msa_trainer.seeding import seed_everything
from msa_trainer.trainer import MSATrainer
from msa_trainer.variants import MSATrainerNoLesionLoss

ALL_OF_COUNTS = Levers(
    lesion_loss=0.2, lesion_patches=0.5, burden_exponent=0.5, keep_tiny_targets=False, count_physics=0.5, transplant=1.0
)


def with_levers(levers: Levers) -> type[MSATrainer]:
    return type("WithLevers", (MSATrainer,), {"levers": levers, "recipe": replace(MSATrainer.recipe, mode="off")})


def batches(pair: tuple[Any, Any], number: int = 3) -> list[dict[str, Any]]:
    return [next(iterator) for iterator in pair for _ in range(number)]


def assert_same(left: list[dict[str, Any]], right: list[dict[str, Any]], rounding: float = 0.0) -> None:
    for ours, theirs in zip(left, right, strict=True):
        assert list(ours["keys"]) == list(theirs["keys"])
        assert torch.allclose(ours["data"], theirs["data"], rtol=0, atol=rounding)
        for a, b in zip(ours["target"], theirs["target"], strict=True):
            assert torch.equal(a, b)


def test_without_levers_the_loaders_are_nnunets_own(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainerNoLesionLoss)
    trainer.initialize()
    assert [type(iterator.data_loader) for iterator in trainer.get_dataloaders()] == [nnUNetDataLoader] * 2


def test_ours_with_every_lever_off_brings_nnunets_batches(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(MSATrainerNoLesionLoss)
    trainer.initialize()
    brought = []
    for make in (trainer.get_dataloaders, lambda: dataloaders(trainer, Levers())):
        seed_everything(0)
        brought.append(batches(make()))
    assert_same(*brought, rounding=1e-4)  # nnU-Net's blur takes the Fourier transform where that was faster just now


@pytest.mark.parametrize(
    "lever",
    [
        {"lesion_loss": 0.2}, {"lesion_patches": 0.5}, {"burden_exponent": -0.5}, {"keep_tiny_targets": False},
        {"count_physics": 0.5}, {"transplant": 0.5}, {"opposite_dropout": 0.5},
    ],
)  # fmt: skip
def test_every_lever_of_the_loaders_brings_ours(lever: dict[str, Any]) -> None:
    assert Levers(**lever).in_loader


@pytest.mark.parametrize("lever", [{}, {"optimizer": "adamw"}, {"average": 0.99}])
def test_a_lever_that_does_not_concern_loading_leaves_nnunets(lever: dict[str, Any]) -> None:
    assert not Levers(**lever).in_loader


def test_training_draws_by_lesion_and_validation_as_nnunet_does(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(with_levers(Levers(lesion_patches=0.5, burden_exponent=1.0)))
    trainer.initialize()
    training, validation = (iterator.data_loader for iterator in trainer.get_dataloaders())
    assert (type(training), type(validation)) == (LesionLoader, nnUNetDataLoader)
    assert training.lesion_patches == 0.5
    assert np.isclose(sum(training.sampling_probabilities), 1)
    assert len(training.sampling_probabilities) == len(training.indices) == 6
    assert validation.sampling_probabilities is None
    assert not set(training.indices) & set(validation.indices)


def test_nearest_targets_are_nnunets(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(with_levers(Levers(keep_tiny_targets=False)))
    trainer.initialize()
    for batch in batches(trainer.get_dataloaders(), 1):
        finest = batch["target"][0]
        assert len(batch["target"]) == len(trainer._get_deep_supervision_scales())
        for target in batch["target"][1:]:
            nearest = torch.nn.functional.interpolate(finest.float(), target.shape[2:], mode="nearest-exact")
            assert torch.equal(target.float(), nearest)


def test_the_lesion_cells_follow_the_targets_of_training_and_validation(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(with_levers(Levers(lesion_loss=0.2)))
    trainer.initialize()
    for batch in batches(trainer.get_dataloaders(), 1):
        assert len(batch["target"]) == len(trainer._get_deep_supervision_scales()) + 1
        assert batch["target"][-1].shape == batch["target"][0].shape


def test_a_network_trains_and_validates_with_every_lever_of_counts_at_once(
    make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSA_SEED", "0")
    trainer = make_trainer(with_levers(ALL_OF_COUNTS), counts=True, epochs=1, steps=2)
    trainer.run_training()
    assert np.isfinite(trainer.logger.local_logger.my_fantastic_logging["train_losses"]).all()


def test_the_same_seed_repeats_every_lever(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(with_levers(ALL_OF_COUNTS), counts=True)
    trainer.initialize()
    brought = []
    for _ in range(2):
        seed_everything(3)
        brought.append(batches(trainer.get_dataloaders()))
    assert_same(*brought)


def test_worker_processes_bring_batches_too(make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    trainer = make_trainer(with_levers(ALL_OF_COUNTS), counts=True)
    trainer.initialize()
    pair = trainer.get_dataloaders()
    try:
        assert all(torch.isfinite(batch["data"]).all() for batch in batches(pair, 1))
    finally:
        for iterator in pair:
            iterator._finish()


@pytest.mark.parametrize("lever", ["count_physics", "transplant"])
def test_a_lever_that_needs_counts_is_refused_where_the_plans_normalise(make_trainer: Callable[..., Any], lever: str) -> None:
    with pytest.raises(Refusal, match=rf"{lever} is 0.5 .*ZScoreNormalization.*--channels counts"):
        make_trainer(with_levers(Levers(**{lever: 0.5})))
    trainer = make_trainer(MSATrainer)
    trainer.initialize()
    with pytest.raises(Refusal, match=lever):  # a trainer that is not ours
        dataloaders(trainer, Levers(**{lever: 0.5}))


def test_dropout_of_the_opposite_view_is_refused_where_there_is_none(make_trainer: Callable[..., Any]) -> None:
    with pytest.raises(Refusal, match=r"None as msa.views and 1 channel.*--views paired"):
        make_trainer(with_levers(Levers(opposite_dropout=0.5)))


@pytest.mark.parametrize("lever", ["lesion_patches", "count_physics", "transplant", "opposite_dropout"])
def test_a_lever_that_is_no_probability_is_refused(make_trainer: Callable[..., Any], lever: str) -> None:
    with pytest.raises(Refusal, match=f"{lever} is 1.5; expected a probability"):
        make_trainer(with_levers(Levers(**{lever: 1.5})), counts=True)


def test_the_loaders_parameters_are_those_that_nnunet_gives_its_own(make_trainer: Callable[..., Any]) -> None:
    theirs, ours = make_trainer(nnUNetTrainer), make_trainer(MSATrainer)
    ours.initialize()
    theirs.initialize()
    pairs = zip(theirs.get_dataloaders(), dataloaders(ours, Levers()), strict=True)
    told = ("batch_size", "oversample_foreground_percent", "final_patch_size", "pad_sides", "has_ignore", "infinite")
    for left, right in pairs:
        for name in told:
            assert getattr(left.data_loader, name) == getattr(right.data_loader, name), name
