"""nnU-Net's trainer, as the benchmarks compare with it, differs from ours where it should and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from peer_trainers.stock import StockTrainer_demo

from msa_trainer.variants import MSATrainer_demo

SCHEDULE = (
    "num_epochs",
    "num_iterations_per_epoch",
    "num_val_iterations_per_epoch",
    "batch_size",
    "oversample_foreground_percent",
)


def test_it_has_our_optimiser_and_steps_and_nnunets_own_network_loss_and_mirroring(
    plans: Callable, dataset_json: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    kinds = (MSATrainer_demo, StockTrainer_demo, nnUNetTrainer)
    ours, stock, plain = (kind(plans(), "2d", 0, dataset_json, torch.device("cpu")) for kind in kinds)
    for trainer in (ours, stock, plain):
        trainer.initialize()
    assert [getattr(stock, name) for name in SCHEDULE] == [getattr(ours, name) for name in SCHEDULE]
    assert type(stock.optimizer) is type(ours.optimizer) is torch.optim.AdamW
    assert stock.optimizer.defaults == ours.optimizer.defaults
    assert type(stock.network) is type(plain.network) is not type(ours.network)
    assert type(stock.loss) is type(plain.loss)
    assert stock.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[-1] == (0, 1)


def test_its_weights_begin_with_the_seed(make_trainer: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def first_weight(seed: str) -> torch.Tensor:
        monkeypatch.setenv("MSA_SEED", seed)
        trainer = make_trainer(StockTrainer_demo)
        trainer.initialize()
        return next(trainer.network.parameters()).detach().clone()

    one = first_weight("1")
    assert torch.equal(one, first_weight("1"))
    assert not torch.equal(one, first_weight("2"))
