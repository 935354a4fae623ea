"""One seed for a run: every epoch draws its randomness from (seed, fold, epoch), so a resumed run repeats it."""

from __future__ import annotations

import os
import random
import zlib

import numpy as np
import torch

from msa_trainer.refusal import Refusal

VARIABLE = "MSA_SEED"
INITIALISATION = 2**32 - 1  # in the place of the epoch: the stream from which the first weights are drawn
DISCRIMINATOR = 2**32 - 2


def configured_seed() -> int | None:
    """The seed in MSA_SEED, None where it is unset (nnU-Net's own behaviour: unseeded loaders). Raises Refusal."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    if not text.isdecimal():
        raise Refusal(f"{VARIABLE} is '{text}'; expected a whole number from 0. Set it to one, or unset it.")
    return int(text)


def derive(seed: int, fold: int | str, epoch: int) -> int:
    """A 32-bit seed for one epoch of one fold; `fold` may be nnU-Net's "all"."""
    number = fold if isinstance(fold, int) else zlib.crc32(str(fold).encode())
    return int(np.random.SeedSequence([seed, number, epoch]).generate_state(1)[0])


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch (all devices): nnU-Net's loaders and transforms draw from all three."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  nnU-Net's loader draws from the global generator
    torch.manual_seed(seed)
