"""One seed, and every epoch of every fold draws its own stream from it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from msa_trainer import seeding
from msa_trainer.refusal import Refusal


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(1))  # noqa: NPY002


def test_the_same_epoch_repeats_its_draws_and_any_other_does_not() -> None:
    seen = {}
    for seed, fold, epoch in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, "all", 0), (0, 0, seeding.INITIALISATION)]:
        derived = seeding.derive(seed, fold, epoch)
        for _ in range(2):
            seeding.seed_everything(derived)
            seen.setdefault((seed, fold, epoch), set()).add(draws())
    assert all(len(repeated) == 1 for repeated in seen.values())
    columns = list(zip(*[next(iter(repeated)) for repeated in seen.values()], strict=True))
    assert all(len(set(column)) == len(seen) for column in columns)


def test_the_seed_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seeding.VARIABLE, raising=False)
    assert seeding.configured_seed() is None
    monkeypatch.setenv(seeding.VARIABLE, "17")
    assert seeding.configured_seed() == 17
    for wrong in ("-1", "one", "1.5"):
        monkeypatch.setenv(seeding.VARIABLE, wrong)
        with pytest.raises(Refusal, match=f"MSA_SEED is '{wrong}'; expected a whole number"):
            seeding.configured_seed()
