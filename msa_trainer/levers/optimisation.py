"""AdamW with linear warm-up and nnU-Net's polynomial decay, for schedules too short for SGD with momentum 0.99."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from msa_trainer.levers import Levers

# Decoupled from the gradient (Loshchilov & Hutter 2019); at a rate of 2e-3 it shrinks weights by 1 % in 500 steps.
WEIGHT_DECAY = 1e-2
# Share of the epochs over which the rate rises: Adam's second moments come from too few gradients at first. Schedules of
# ten epochs and fewer have none, the first epoch would be a tenth of them.
WARM_UP = 0.05


class WarmedUpPoly(PolyLRScheduler):  # type: ignore[misc]
    """rate(epoch) = peak * min(1, (epoch + 1) / (warm_up + 1)) * (1 - epoch / epochs) ** 0.9.

    A function of the epoch alone, so a resumed run goes on as if it had not been interrupted.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, peak: float, epochs: int, warm_up: int) -> None:
        self.warm_up = warm_up  # first: the parent's constructor takes the first step
        super().__init__(optimizer, peak, epochs)

    def step(self, current_step: int | None = None) -> None:
        epoch = self.ctr if current_step in (None, -1) else current_step
        super().step(current_step)
        for group in self.optimizer.param_groups:
            group["lr"] *= min(1.0, (epoch + 1) / (self.warm_up + 1))
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


def optimizer_and_schedule(levers: Levers, network: nn.Module, epochs: int) -> tuple[torch.optim.Optimizer, Any] | None:
    """What nnU-Net's `configure_optimizers` returns, or None where the lever is "sgd": nnU-Net's own then stays."""
    if levers.optimizer == "sgd":
        return None
    optimizer = torch.optim.AdamW(network.parameters(), levers.learning_rate, weight_decay=WEIGHT_DECAY)
    return optimizer, WarmedUpPoly(optimizer, levers.learning_rate, epochs, round(WARM_UP * epochs))
