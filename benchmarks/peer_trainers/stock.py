"""nnU-Net's own trainer as the benchmarks run it: its optimiser for short schedules, and seeded as MSATrainer is.

nnU-Net finds it where nnUNet_extTrainer names this folder; nothing else may stand here.
"""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msa_trainer import seeding
from msa_trainer.levers import Levers
from msa_trainer.levers.optimisation import optimizer_and_schedule
from msa_trainer.variants import MSATrainer_demo


class StockTrainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's trainer with the optimiser that `levers` names, and MSA_SEED; all else is its own."""

    levers = Levers(optimizer="adamw")

    def initialize(self) -> None:
        self._seed(seeding.INITIALISATION)
        super().initialize()

    def configure_optimizers(self) -> Any:
        chosen = optimizer_and_schedule(self.levers, self.network, self.num_epochs)
        return super().configure_optimizers() if chosen is None else chosen

    def on_epoch_start(self) -> None:
        super().on_epoch_start()
        self._seed(self.current_epoch)

    def _seed(self, epoch: int) -> None:
        seed = seeding.configured_seed()
        if seed is not None:
            seeding.seed_everything(seeding.derive(seed, self.fold, epoch))


class StockTrainer_demo(StockTrainer):  # noqa: N801  nnU-Net's way of naming schedules
    """The optimiser, epochs and steps of MSATrainer_demo."""

    levers = MSATrainer_demo.levers

    def __init__(self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any],
                 device: torch.device = torch.device("cuda")) -> None:  # noqa: B008  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = MSATrainer_demo.epochs
        self.num_iterations_per_epoch = MSATrainer_demo.iterations
        self.num_val_iterations_per_epoch = MSATrainer_demo.validation_iterations
