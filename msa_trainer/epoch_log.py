"""The adversarial part's rows in nnU-Net's logger: one plain float an epoch and key, also after a resume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from msa_trainer.checkpoint import plain

if TYPE_CHECKING:
    from msa_trainer.adversary import Adversary

WEIGHT, ADVERSARIAL, RATIO = "msa_weight", "msa_adversarial", "msa_gradient_ratio"
DISCRIMINATOR, DROPPED = "msa_discriminator_gradient", "msa_dropped_steps"
LESION_DICE = "msa_lesion_dice"
PAIR_SCALE, SEGMENTATION_SCALE = "msa_l1_scale_{}", "msa_segmentation_scale_{}"


class RecordedLoss(nn.Module):
    """A loss whose values at each deep-supervision scale are remembered; it changes none of them."""

    def __init__(self, loss: nn.Module, scales: int) -> None:
        super().__init__()
        self.loss, self.scales = loss, scales
        self.values: list[torch.Tensor] = []

    def forward(self, *args: Any) -> torch.Tensor:
        value: torch.Tensor = self.loss(*args)
        self.values.append(value.detach())
        return value

    def take_means(self) -> list[float]:
        """Mean a scale, finest first, of all steps since the last call; NaN where there were none."""
        values, self.values = self.values, []
        if not values:
            return [math.nan] * self.scales
        means: list[float] = torch.stack(values).float().view(-1, self.scales).mean(0).tolist()
        return means


def keys(segmentation_scales: int, pair_scales: int, lesion_loss: bool = False) -> list[str]:
    """All rows: weight, terms, gradients, dropped steps, then one a scale (segmentation: finest first; L1: pair first).

    The per-lesion Dice has a row where the loss has the term.
    """
    return [
        WEIGHT,
        ADVERSARIAL,
        RATIO,
        DISCRIMINATOR,
        DROPPED,
        *[SEGMENTATION_SCALE.format(i) for i in range(segmentation_scales)],
        *[PAIR_SCALE.format(i) for i in range(pair_scales)],
        *[LESION_DICE] * lesion_loss,
    ]


def epoch_values(adversary: Adversary | None, segmentation: list[float], lesion: float | None = None) -> dict[str, float]:
    """One epoch's rows; NaN where a quantity was not measured (weight 0, no governor step). `lesion`: per-lesion Dice term."""
    values = {SEGMENTATION_SCALE.format(i): value for i, value in enumerate(segmentation)}
    if lesion is not None:
        values[LESION_DICE] = lesion
    if adversary is None:
        return values | {WEIGHT: 0.0, ADVERSARIAL: math.nan, RATIO: math.nan, DISCRIMINATOR: math.nan, DROPPED: 0.0}
    meter = adversary.meter
    return values | {
        WEIGHT: adversary.weight,
        ADVERSARIAL: meter.mean("adversarial"),
        RATIO: meter.mean("gradient_ratio"),
        DISCRIMINATOR: meter.mean("discriminator_gradient"),
        DROPPED: float(meter.number("dropped_steps")),
        **{PAIR_SCALE.format(i): meter.mean(f"scale_{i}") for i in range(adversary.scales)},
    }


def pad(rows: dict[str, list[Any]], names: list[str], epochs: int) -> None:
    """Give every row exactly `epochs` entries: a checkpoint of a stock trainer has none of ours (nnU-Net asserts on that)."""
    for name in names:
        rows[name] = (rows.get(name, []) + [math.nan] * epochs)[:epochs]


def settle(rows: dict[str, list[Any]]) -> None:
    """Make the epoch's last entries plain floats and repeat the last pseudo-Dice where there was nothing to score.

    Where an epoch's validation batches hold no lesion and no prediction, nnU-Net's moving average becomes NaN for ever and
    checkpoint_best is never written again. Plain floats, because a resumed run reads them back as such and must go on with
    the same arithmetic as one that was not interrupted.
    """
    dice, average = rows["mean_fg_dice"], rows["ema_fg_dice"]
    if math.isnan(dice[-1]):
        dice[-1] = dice[-2] if len(dice) > 1 else 0.0
        average[-1] = 0.9 * average[-2] + 0.1 * dice[-1] if len(average) > 1 else dice[-1]
    for row in rows.values():
        if row:
            row[-1] = plain(row[-1])
