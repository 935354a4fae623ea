"""Checkpoints are whole or absent, and hold nothing that must be executed to be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from msa_trainer.checkpoint import plain, refuse_other_architecture, write_atomically
from msa_trainer.refusal import Refusal


def test_numpy_scalars_become_plain_numbers_however_deep() -> None:
    tensor = torch.ones(2)
    made = plain({"a": [np.float32(0.5), (np.int64(3), "x")], np.int64(1): {"t": tensor}, "none": None})
    assert made == {"a": [0.5, (3, "x")], 1: {"t": tensor}, "none": None}
    assert type(made["a"][0]) is float
    assert type(made["a"][1][0]) is int
    assert made[1]["t"] is tensor


def test_what_is_written_loads_without_executing_anything(tmp_path: Path) -> None:
    write_atomically(plain({"w": torch.ones(3), "log": [np.float64(1)]}), tmp_path / "c.pth")
    assert torch.load(tmp_path / "c.pth", weights_only=True)["log"] == [1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]


def test_a_write_that_fails_half_way_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    write_atomically({"epoch": 1}, tmp_path / "c.pth")

    class Unwritable:
        def __reduce__(self) -> tuple:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically({"big": torch.ones(10_000), "then": Unwritable()}, tmp_path / "c.pth")
    assert torch.load(tmp_path / "c.pth", weights_only=True) == {"epoch": 1}


def test_other_weights_are_refused_by_name_shape_and_remedy() -> None:
    network = nn.Sequential(nn.Linear(2, 3))
    refuse_other_architecture({"module." + k: v for k, v in network.state_dict().items()}, network, "x.pth")
    for other in (
        nn.Sequential(nn.Linear(2, 4)),
        nn.Sequential(nn.Linear(2, 3, bias=False)),
        nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)),
    ):
        with pytest.raises(
            Refusal, match=r"x\.pth holds another architecture: [01]\.(weight|bias) is .* Use the trainer \(-tr\)"
        ):
            refuse_other_architecture(other.state_dict(), network, "x.pth")
