"""Adversary: discriminator, its optimiser, weight schedule, guards and state."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from msa_trainer.discriminator import MultiScaleDiscriminator
from msa_trainer.losses import (
    GradientScale,
    foreground_probabilities,
    image_mask_pair,
    pair_channels,
    reference_masks,
    relative_l1,
    segan_l1,
)
from msa_trainer.meter import Meter
from msa_trainer.recipe import AdversaryRecipe

GOVERNOR_INTERVAL = 50  # steps between two measurements of the gradient ratio: it drifts over epochs, not over steps
GIVE_UP_AFTER = 20  # dropped steps in a row: chance no longer explains them, training goes on without the adversary


class Adversary:
    """The second player. A step is `term` (added to the segmentation loss), backward, `step`.

    One forward of cat([prediction, reference]) and one backward serve both players: the loss reaches the discriminator
    with weight 1 and the generator, through `GradientScale`, with the scheduled weight; the discriminator's gradients are
    negated before its step. Everything here runs in fp32 outside autocast.
    """

    def __init__(
        self,
        recipe: AdversaryRecipe,
        input_channels: int,
        classes: int,
        patch_size: tuple[int, ...],
        device: torch.device,
        regions: bool = False,
        ignore_label: int | None = None,
        seed: int = 0,
    ) -> None:
        self.recipe, self.classes, self.device = recipe, classes, device
        self.regions, self.ignore_label = regions, ignore_label
        with torch.random.fork_rng(devices=[]):  # the generator's random stream must not notice that there is an adversary
            torch.manual_seed(seed)
            self.discriminator = MultiScaleDiscriminator(
                pair_channels(recipe.pair, classes, input_channels), patch_size, norm=recipe.norm
            )
        self.discriminator.to(device).train(recipe.mode == "trained").requires_grad_(recipe.mode == "trained")
        self.optimizer = (
            torch.optim.Adam(self.discriminator.parameters(), recipe.learning_rate, betas=recipe.betas)
            if recipe.mode == "trained"
            else None
        )
        self.scales = len(self.discriminator.layers) + 1
        self.scheduled_weight = 0.0
        self.ceiling = math.inf  # the governor's; a weight above it would break the ratio limit
        self.dropped_in_a_row = 0
        self.meter = Meter(device)
        self._steps = 0
        self._active = self._lost = False  # this step's term counts / was not finite
        self._ratio: torch.Tensor | None = None
        if dist.is_available() and dist.is_initialized():
            for tensor in self.discriminator.state_dict().values():
                dist.broadcast(tensor, src=0)

    @property
    def weight(self) -> float:
        """The weight in force: scheduled, held down by the governor, 0 once it was given up."""
        return 0.0 if self.dropped_in_a_row >= GIVE_UP_AFTER else min(self.scheduled_weight, self.ceiling)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Set the scheduled weight and the discriminator's learning rate (polynomial, nnU-Net's exponent 0.9)."""
        self.scheduled_weight = self.recipe.weight_at(epoch, epochs)
        self.meter.reset()
        self._steps = 0
        if self.optimizer is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.recipe.learning_rate * (1 - epoch / epochs) ** 0.9

    def term(self, logits: torch.Tensor, target: torch.Tensor, data: torch.Tensor) -> torch.Tensor | None:
        """The adversarial term of one batch, or None where it must not count.

        logits: (B, heads, *patch) of the finest head; target: nnU-Net's at full resolution; data: the network's input.
        None for a batch without lesions (its loss would be noise divided by noise) and for a non-finite value (counted).
        """
        reference, valid = reference_masks(target, self.classes, self.regions, self.ignore_label)
        if valid is not None:
            reference = reference * valid
        self._active = self._lost = False
        if self.optimizer is not None:  # also where there is no term: other ranks may have one, and would average what is left
            self.optimizer.zero_grad(set_to_none=True)
        if not bool(reference.any()):
            return None
        branch = GradientScale.apply(logits, self.weight)
        if self.recipe.ratio_limit is not None and self._steps % GOVERNOR_INTERVAL == 0 and logits.requires_grad:
            self._measure_ratio(logits, branch)
        self._steps += 1
        prediction = foreground_probabilities(branch, self.regions)
        if valid is not None:
            prediction = prediction * valid
        data = data.float()
        pairs = torch.cat([image_mask_pair(m, data, self.recipe.pair) for m in (prediction, reference)])
        per_scale = self.distance(pairs)
        total = per_scale.mean() if self.recipe.loss == "relative" else per_scale.sum()
        if not bool(torch.isfinite(total)):
            self._lost = True
            return None
        self.meter.add("adversarial", total)
        for index, value in enumerate(per_scale):
            self.meter.add(f"scale_{index}", value)
        self._active = True
        return total

    def distance(self, pairs: torch.Tensor) -> torch.Tensor:
        """Loss of every scale between the first and second half of the batch, from one forward of both.

        One forward, because spectral normalisation takes a power iteration and batch normalisation new statistics at each:
        two would tell even identical pairs apart.
        """
        halves = [feature.chunk(2) for feature in self.discriminator(pairs)]
        compare = relative_l1 if self.recipe.loss == "relative" else segan_l1
        return compare([f for f, _ in halves], [r for _, r in halves])

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """After backward: average over ranks, negate, clip and step the discriminator; read the governor.

        `scaler`: the one GradScaler of both players; its `update` stays with the trainer.
        """
        ratio, active, dropped = self._agree()
        self._govern(ratio)
        if dropped:
            self.drop()
            return
        if self.optimizer is None or not active:
            return
        parameters = list(self.discriminator.parameters())
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.neg_()
        _average_over_ranks(parameters)
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(parameters, self.recipe.gradient_norm)
        if bool(torch.isfinite(norm)):
            self.dropped_in_a_row = 0
            self.meter.add("discriminator_gradient", norm)
        if scaler is not None:
            scaler.step(self.optimizer)  # leaves the weights alone where it found infinities
        elif bool(torch.isfinite(norm)):
            self.optimizer.step()
        if not bool(torch.isfinite(norm)):
            self.drop()
        if self.recipe.clip is not None:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.clamp_(-self.recipe.clip, self.recipe.clip)

    def drop(self) -> None:
        """Count a step whose adversarial part was not finite and forget it."""
        self.dropped_in_a_row += 1
        self.meter.count("dropped_steps")
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)

    def _agree(self) -> tuple[float | None, bool, bool]:
        """Mean gradient ratio, whether any rank has a term, whether any rank lost one.

        Ranks must draw the same conclusions, or one waits for a collective that another never calls. One small all-reduce.
        """
        ratio, self._ratio = self._ratio, None
        state = torch.stack(
            [
                torch.zeros((), device=self.device) if ratio is None else ratio,
                *torch.tensor([ratio is not None, self._active, self._lost], dtype=torch.float32, device=self.device),
            ]
        )
        if _distributed():
            dist.all_reduce(state)
        total, measured, active, lost = state.tolist()
        return (total / measured if measured else None), active > 0, lost > 0

    def _measure_ratio(self, logits: torch.Tensor, branch: torch.Tensor) -> None:
        """Catch both gradients on their way through the one backward; costs no second one."""
        caught: dict[str, torch.Tensor] = {}
        weight = self.weight

        def adversarial(gradient: torch.Tensor) -> None:
            caught["adversarial"] = gradient.float() * weight

        def both(gradient: torch.Tensor) -> None:
            if "adversarial" not in caught:  # the term was dropped
                return
            segmentation = gradient.float() - caught["adversarial"]
            self._ratio = caught["adversarial"].norm() / segmentation.norm().clamp_min(torch.finfo(torch.float32).tiny)

        branch.register_hook(adversarial)
        logits.register_hook(both)

    def _govern(self, ratio: float | None) -> None:
        """Hold the weight so low that the last measured gradient ratio stays under the limit."""
        if ratio is None or self.weight == 0 or not math.isfinite(ratio) or self.recipe.ratio_limit is None:
            return
        self.meter.add("gradient_ratio", torch.tensor(ratio))
        self.ceiling = self.recipe.ratio_limit * self.weight / ratio if ratio > 0 else math.inf

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers: what a resumed run needs to go on bit for bit."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "ceiling": self.ceiling,
            "dropped_in_a_row": self.dropped_in_a_row,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up `state_dict` where it was left. Raises RuntimeError when it is another discriminator's."""
        self.discriminator.load_state_dict(state["discriminator"])
        if self.optimizer is not None and state["optimizer"] is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.ceiling, self.dropped_in_a_row = state["ceiling"], state["dropped_in_a_row"]


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _average_over_ranks(parameters: list[nn.Parameter]) -> None:
    """One all-reduce of all gradients: the discriminator is not wrapped in DDP, it is called outside the generator's graph."""
    if not _distributed():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))
