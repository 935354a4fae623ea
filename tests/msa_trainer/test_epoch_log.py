"""One plain float an epoch and key, also after a resume, also where nothing could be measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

from msa_trainer import epoch_log, progress


def test_a_recorded_loss_is_the_loss_and_remembers_its_mean_by_scale() -> None:
    recorded = epoch_log.RecordedLoss(nn.MSELoss(), 2)
    x, y = torch.randn(4), torch.randn(4)
    values = [recorded(x * factor, y) for factor in (1, 2, 3, 4)]  # two steps of two scales
    assert torch.equal(values[0], nn.functional.mse_loss(x, y))
    assert recorded.take_means() == pytest.approx([float(values[0] + values[2]) / 2, float(values[1] + values[3]) / 2])
    assert all(math.isnan(mean) for mean in recorded.take_means())


def test_rows_are_padded_and_cut_to_the_epochs_that_were_run() -> None:
    rows = {"a": [1.0, 2.0, 3.0], "other": [5.0]}
    epoch_log.pad(rows, ["a", "b"], 2)
    assert rows["a"] == [1.0, 2.0]
    assert all(map(math.isnan, rows["b"]))
    assert len(rows["b"]) == 2
    assert rows["other"] == [5.0]


def test_an_epoch_without_anything_to_score_repeats_the_last_dice_and_keeps_the_average_finite() -> None:
    rows = {
        "mean_fg_dice": [0.5, math.nan],
        "ema_fg_dice": [0.4, math.nan],
        "dice_per_class_or_region": [[np.float32(0.5)]] * 2,
    }
    epoch_log.settle(rows)
    assert rows["mean_fg_dice"] == [0.5, 0.5]
    assert rows["ema_fg_dice"] == pytest.approx([0.4, 0.41])
    assert type(rows["dice_per_class_or_region"][-1][0]) is float


def test_a_first_epoch_without_anything_to_score_counts_as_zero() -> None:
    rows = {"mean_fg_dice": [math.nan], "ema_fg_dice": [math.nan]}
    epoch_log.settle(rows)
    assert rows == {"mean_fg_dice": [0.0], "ema_fg_dice": [0.0]}


def test_every_key_has_a_value_with_and_without_an_adversary() -> None:
    assert set(epoch_log.epoch_values(None, [0.1, 0.2])) == set(epoch_log.keys(2, 0))


def test_the_progress_picture_has_three_readable_panels(tmp_path: Path) -> None:
    epochs = 20
    rows = {name: list(np.linspace(1, 0.2, epochs)) for name in epoch_log.keys(3, 4)}
    rows[epoch_log.RATIO][:5] = [math.nan] * 5
    progress.plot(rows, tmp_path / "progress.png")
    picture = imread(tmp_path / "progress.png")
    assert picture.shape[0] > 900
    assert [path.name for path in tmp_path.iterdir()] == ["progress.png"]
    thirds = np.array_split(picture[..., :3], 3)
    assert all((third.std(axis=-1) > 0.05).any() for third in thirds), "a panel without coloured lines"
