"""AdamW's rates epoch by epoch, and that the lever "sgd" is nnU-Net's own optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from msa_trainer import variants
from msa_trainer.levers import Levers
from msa_trainer.levers.optimisation import optimizer_and_schedule
from msa_trainer.variants import MSATrainer


class WithAdamW(MSATrainer):
    levers = replace(MSATrainer.levers, optimizer="adamw", learning_rate=1e-3)


def rates(epochs: int, order: list[int]) -> list[float]:
    """Learning rates of the given epochs, asked for in that order."""
    optimizer, schedule = optimizer_and_schedule(Levers(optimizer="adamw"), nn.Linear(2, 2), epochs)  # type: ignore[misc]
    found = {}
    for epoch in order:
        schedule.step(epoch)
        found[epoch] = optimizer.param_groups[0]["lr"]
        assert schedule.get_last_lr() == [found[epoch]]
    return [found[epoch] for epoch in sorted(found)]


def test_the_rate_rises_linearly_and_then_decays_as_nnunets() -> None:
    found = rates(100, list(range(100)))
    decay = [2e-3 * (1 - epoch / 100) ** 0.9 for epoch in range(100)]
    shares = [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, *[1] * 95]
    assert found == pytest.approx([share * rate for share, rate in zip(shares, decay, strict=True)])


def test_the_rate_depends_on_the_epoch_alone() -> None:
    forwards = rates(40, list(range(40)))
    assert rates(40, list(range(39, -1, -1))) == forwards
    assert rates(40, [3, 3, 17]) == [forwards[3], forwards[17]]


def test_a_schedule_of_ten_epochs_has_no_warm_up() -> None:
    assert rates(10, [0, 1]) == pytest.approx([2e-3, 2e-3 * 0.9**0.9])


def test_sgd_is_nnunets_own(make_trainer: Callable[..., Any]) -> None:
    assert optimizer_and_schedule(Levers(), nn.Linear(2, 2), 100) is None
    trainer = make_trainer(MSATrainer)
    trainer.initialize()
    assert type(trainer.optimizer) is torch.optim.SGD
    assert trainer.initial_lr == 1e-2


def test_a_trainer_with_the_lever_trains_with_adamw_at_its_rate(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(WithAdamW, epochs=40, steps=1)
    trainer.initialize()
    trainer.on_train_epoch_start()
    (group,) = trainer.optimizer.param_groups
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert {id(p) for p in group["params"]} == {id(p) for p in trainer.network.parameters()}
    assert (group["lr"], group["weight_decay"]) == (pytest.approx(1e-3 / 3), 1e-2)
    assert (trainer.initial_lr, trainer.weight_decay) == (1e-3, 1e-2), "nnU-Net's loggers are told other rates"


def test_the_demo_has_adamw_as_the_trials_had(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(variants.MSATrainer_demo, epochs=10)
    trainer.initialize()
    trainer.lr_scheduler.step(0)
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert trainer.optimizer.param_groups[0]["lr"] == 2e-3
