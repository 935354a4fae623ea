"""Ablations, schedules and others' recipes: MSATrainer with what their names say changed. `-tr` takes any of these names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msa_trainer.counts_stem import begin_with, first_layer
from msa_trainer.levers import Levers
from msa_trainer.recipe import AdversaryRecipe
from msa_trainer.trainer import MSATrainer

__all__ = [
    "MSATrainer",
    "MSATrainerAdamW",
    "MSATrainerFrozenDiscriminator",
    "MSATrainerNoAdversary",
    "MSATrainerNoLesionLoss",
    "MSATrainerPaper",
    "MSATrainerSegAN",
    "MSATrainerStockNetwork",
    "MSATrainer_50epochs",
    "MSATrainer_100epochs",
    "MSATrainer_250epochs",
    "MSATrainer_demo",
]


class MSATrainerAdamW(MSATrainer):
    """AdamW with warm-up instead of SGD with momentum 0.99: the benchmark's recipe, for a few thousand steps at most."""

    levers = replace(MSATrainer.levers, optimizer="adamw")


class MSATrainerNoAdversary(MSATrainer):
    """The generator without a discriminator."""

    recipe = replace(MSATrainer.recipe, mode="off")


class MSATrainerFrozenDiscriminator(MSATrainer):
    """The discriminator keeps its random weights: the control that tells whether adversarial training itself helps."""

    recipe = replace(MSATrainer.recipe, mode="frozen")


class MSATrainerNoLesionLoss(MSATrainer):
    """Without the per-lesion Dice: what it does for small lesions."""

    levers = replace(MSATrainer.levers, lesion_loss=0.0)


class MSATrainerPaper(MSATrainer):
    """The paper's abstract taken plainly: multi-scale L1 on image-mask pairs from the first epoch, no ramp, no governor,
    no per-lesion Dice.

    What the abstract leaves open is ours: pairs as products (SegAN's, whose loss it names), the weight, the optimisers.
    """

    recipe = AdversaryRecipe(pair="product", start=0.0, ramp=0.0, ratio_limit=None)
    levers = Levers()


class MSATrainerSegAN(MSATrainer):
    """SegAN's loss as its authors' code has it (Xue et al. 2018): products, batch norm, one mean, clipped weights.

    In the place of our adversarial term; segmentation loss and per-lesion Dice stay.
    """

    recipe = AdversaryRecipe(
        pair="product", loss="segan", norm="batch", clip=0.05, weight=1.0, start=0.0, ramp=0.0, learning_rate=2e-4,
        ratio_limit=None,
    )  # fmt: skip


class MSATrainerStockNetwork(MSATrainer):
    """nnU-Net's own network in the generator's place, all else as it is."""

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        network: nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return begin_with(first_layer(configuration_manager.normalization_schemes), network)

    @classmethod
    def _strides(cls, configuration: ConfigurationManager) -> list[tuple[int, ...]]:
        return [tuple(stride) for stride in configuration.pool_op_kernel_sizes]


class _ShortSchedule(MSATrainer):
    """A schedule of `epochs` in the place of nnU-Net's 1,000."""

    epochs = 1000

    def __init__(self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any],
                 device: torch.device = torch.device("cuda")) -> None:  # noqa: B008  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs


class MSATrainer_50epochs(_ShortSchedule):  # noqa: N801  nnU-Net's way of naming schedules
    epochs = 50


class MSATrainer_100epochs(_ShortSchedule):  # noqa: N801
    epochs = 100


class MSATrainer_250epochs(_ShortSchedule):  # noqa: N801
    epochs = 250


class MSATrainer_demo(_ShortSchedule):  # noqa: N801
    """A few minutes on two CPU cores: shows that everything runs, not what the method can do.

    AdamW, because SGD with momentum 0.99 has hardly started after a few hundred steps (trials: Dice 0.22 against 0.38 at
    800 steps).
    """

    epochs, iterations, validation_iterations = 10, 25, 5
    levers = MSATrainerAdamW.levers

    def __init__(self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any],
                 device: torch.device = torch.device("cuda")) -> None:  # noqa: B008  # fmt: skip
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = self.iterations
        self.num_val_iterations_per_epoch = self.validation_iterations
        self.save_every = 1
