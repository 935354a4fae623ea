"""A trainer's name -> its network, without importing the trainer where the network is known.

Importing nnU-Net's trainer takes two CPU-seconds (plotting, transforms, the compiler), and the first mask waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from msa_trainer.counts_stem import begin_with, first_layer
from msa_trainer.planned_network import planned_generator
from msa_trainer.prediction.errors import PredictionError
from msa_trainer.refusal import Refusal

STOCK = "nnUNetTrainer"
STOCK_NETWORK = "MSATrainerStockNetwork"  # ours, with nnU-Net's network
# Ours with the generator, whatever else they change in training.
GENERATORS = frozenset({
    "MSATrainer", "MSATrainerAdamW", "MSATrainerFrozenDiscriminator", "MSATrainerNoAdversary", "MSATrainerNoLesionLoss",
    "MSATrainerPaper", "MSATrainerSegAN",
    "MSATrainer_50epochs", "MSATrainer_100epochs", "MSATrainer_250epochs", "MSATrainer_demo",
})  # fmt: skip
# Plans name classes, which nnU-Net imports and calls: only these packages' are.
NETWORK_PACKAGES = ("dynamic_network_architectures.", "torch.nn.")


def build_network(
    trainer: str,
    plans: PlansManager,
    configuration: ConfigurationManager,
    channels: int,
    heads: int,
    weights: Mapping[str, torch.Tensor],
    place: str,
) -> nn.Module:
    """The network that a trainer builds for a plan, ready to be used, with `weights` in it.

    channels: of the images; heads: maps of logits. place: for messages. Raises PredictionError for a trainer that is not found,
    plans that name foreign code, and weights of another network.
    """
    _refuse_foreign_code(configuration, place)
    try:
        # Without memory at first: the weights take their place, so there is nothing to initialise.
        with torch.device("meta"):
            network = _network(trainer, plans, configuration, channels, heads)
        network.load_state_dict(weights, assign=True)
        if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
            network = _network(trainer, plans, configuration, channels, heads)
            network.load_state_dict(weights)
    except Refusal as refusal:
        raise PredictionError(f"{place}: {str(refusal).removeprefix('msa-trainer: ')}") from refusal
    except PredictionError:
        raise
    except Exception as error:  # whatever a network's constructor raises for plans it cannot be built from
        reason = " ".join(str(error).split())[:300]
        raise PredictionError(
            f"{place}: the network of {trainer} cannot be built from plans.json and the checkpoint ({reason}); they are not of"
            " one model."
        ) from error
    return network.eval()


def _network(trainer: str, plans: PlansManager, configuration: ConfigurationManager, channels: int, heads: int) -> nn.Module:
    if trainer in GENERATORS:
        return planned_generator(configuration, channels, heads, deep_supervision=False)
    if trainer not in (STOCK, STOCK_NETWORK):
        found: nn.Module = _trainer_class(trainer).build_network_architecture(plans, configuration, channels, heads, False)
        return found
    network: nn.Module = get_network_from_plans(
        configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import, channels, heads, allow_init=False, deep_supervision=False,
    )  # fmt: skip
    return begin_with(first_layer(configuration.normalization_schemes), network) if trainer == STOCK_NETWORK else network


def _trainer_class(name: str) -> Any:
    """One of ours by its name, else nnU-Net's own look-up, which knows its trainers and those of nnUNet_extTrainer."""
    from msa_trainer import variants

    if name in variants.__all__:
        return getattr(variants, name)
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        return recursive_find_trainer_class_by_name(name)
    except RuntimeError as error:
        raise PredictionError(
            f"the model's trainer {name!r} is neither nnU-Net's nor of this package; name the folder of its module in"
            " nnUNet_extTrainer."
        ) from error


def _refuse_foreign_code(configuration: ConfigurationManager, place: str) -> None:
    parts = [configuration.network_arch_init_kwargs.get(key) for key in configuration.network_arch_init_kwargs_req_import]
    named = [configuration.network_arch_class_name, *parts]
    foreign = [name for name in named if name is not None and not str(name).startswith(NETWORK_PACKAGES)]
    if foreign:
        raise PredictionError(
            f"{place}/plans.json: names {foreign[0]!r} as a part of the network; expected one of nnU-Net's"
            f" ({'* or '.join(NETWORK_PACKAGES)}*). Nothing of it was imported."
        )
