"""Checkpoints that survive a kill and load without executing pickled code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from msa_trainer.refusal import Refusal

KEY = "msa"  # the one key this package adds to nnU-Net's


def plain(value: Any) -> Any:
    """Numpy scalars as Python numbers, deep inside lists, tuples and dictionaries; tensors and the rest as they are."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value


def write_atomically(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write beside, flush to the disk, rename: at every moment `path` is the old or the new complete checkpoint."""
    beside = path.with_name(path.name + ".part")
    with beside.open("wb") as file:
        torch.save(dict(checkpoint), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def refuse_other_architecture(weights: Mapping[str, torch.Tensor], network: torch.nn.Module, source: str) -> None:
    """Raise Refusal when `weights` are not this network's: by name, then by shape."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name.removeprefix("module."): tuple(tensor.shape) for name, tensor in weights.items()}
    if expected == found:
        return
    differing = next((name for name in expected if expected[name] != found.get(name)), None) or next(
        name for name in found if name not in expected
    )
    raise Refusal(
        f"{source} holds another architecture: {differing} is {list(found[differing]) if differing in found else 'absent'}, "
        f"expected {list(expected[differing]) if differing in expected else 'no such weight'}. "
        "Use the trainer (-tr) and plans (-p) it was trained with."
    )
