"""Means over an epoch, summed on the device so that reading them costs one synchronisation an epoch."""

from __future__ import annotations

import math

import torch


class Meter:
    """Named running means and counts."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, torch.Tensor] = {}
        self.numbers: dict[str, int] = {}

    def reset(self) -> None:
        """Forget everything: a new epoch starts."""
        self.sums, self.numbers = {}, {}

    def add(self, name: str, value: torch.Tensor) -> None:
        """Take one scalar tensor into the mean of `name`."""
        value = value.detach().to(self.device, torch.float32)
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.numbers[name] = self.numbers.get(name, 0) + 1

    def count(self, name: str) -> None:
        """One more of `name`."""
        self.numbers[name] = self.numbers.get(name, 0) + 1

    def mean(self, name: str) -> float:
        """Mean of `name` since the last reset; NaN where nothing was added."""
        return float(self.sums[name]) / self.numbers[name] if name in self.sums else math.nan

    def number(self, name: str) -> int:
        """How often `name` was added or counted."""
        return self.numbers.get(name, 0)
