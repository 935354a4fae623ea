"""Exponential moving average of the generator's weights: it validates and is saved, the raw weights go on training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

WARM_UP = 9  # steps: the decay is t / (9 + t) at first, so that the average does not remember the first random weights


class WeightAverage:
    """average = d * average + (1 - d) * weights after each optimiser step t = 0, 1..., d = min(decay, t / (9 + t)).

    After the first step the average is that step's weights, whatever was loaded into the network before. The network's
    buffers are not averaged: the generator has none that change.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._weights = dict(network.named_parameters())
        self._other = {name: weight.detach().clone() for name, weight in self._weights.items()}  # raw while swapped

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Update after every step of `optimizer`; one that a GradScaler leaves out does not count."""
        optimizer.register_step_post_hook(lambda *_: self.update())

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network's weights."""
        decay = min(self.decay, self.steps / (WARM_UP + self.steps))
        torch._foreach_lerp_(list(self._other.values()), list(self._weights.values()), 1 - decay)
        self.steps += 1

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the network's weights with the average, in place and to the last bit; a second call undoes it."""
        for weight, other in zip(self._weights.values(), self._other.values(), strict=True):
            kept = weight.clone()
            weight.copy_(other)
            other.copy_(kept)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network has the average within, its raw weights again behind."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def restart(self) -> None:
        """Begin anew with the weights that the network has now."""
        torch._foreach_copy_(list(self._other.values()), list(self._weights.values()))
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Raw weights and number of steps; to be taken while the average is `shown`, which `network_weights` then holds."""
        return {"raw": self._other, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up `state_dict` where it was left, with the average loaded into the network before."""
        self.restart()
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(state["raw"][name])
        self.steps = state["steps"]
