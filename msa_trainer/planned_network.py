"""The generator of a plan, for training and for prediction alike."""

from __future__ import annotations

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from msa_trainer.counts_stem import first_layer
from msa_trainer.generator import MSAGenerator
from msa_trainer.preflight import planned_stages


def planned_generator(configuration: ConfigurationManager, channels: int, heads: int, deep_supervision: bool) -> MSAGenerator:
    """MSAGenerator of a plan's configuration, with the first layer that its channels need.

    channels: of the images; heads: maps of logits. Raises Refusal for a plan that it cannot be built from.
    """
    stages = planned_stages(configuration.network_arch_init_kwargs, configuration.patch_size, "of these plans")
    return MSAGenerator(stages, channels, heads, deep_supervision, first_layer(configuration.normalization_schemes))
