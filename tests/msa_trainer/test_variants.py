"""Each variant differs from MSATrainer in what its name says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from msa_trainer import variants
from msa_trainer.generator import MSAGenerator
from msa_trainer.levers import Levers
from msa_trainer.recipe import AdversaryRecipe

PLAIN = AdversaryRecipe()


def differences(name: str) -> dict[str, Any]:
    """The fields of a variant's recipe that are not MSATrainer's."""
    recipe = asdict(getattr(variants, name).recipe)
    return {field: value for field, value in recipe.items() if value != asdict(PLAIN)[field]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MSATrainer", {}),
        ("MSATrainerNoAdversary", {"mode": "off"}),
        ("MSATrainerFrozenDiscriminator", {"mode": "frozen"}),
        ("MSATrainerAdamW", {}),
        ("MSATrainerNoLesionLoss", {}),
        ("MSATrainerStockNetwork", {}),
        ("MSATrainerPaper", {"pair": "product", "start": 0.0, "ramp": 0.0, "ratio_limit": None}),
        (
            "MSATrainerSegAN",
            {"pair": "product", "loss": "segan", "norm": "batch", "clip": 0.05, "weight": 1.0, "start": 0.0, "ramp": 0.0,
             "learning_rate": 2e-4, "ratio_limit": None},
        ),
        ("MSATrainer_50epochs", {}),
        ("MSATrainer_demo", {}),
    ],
)  # fmt: skip
def test_a_variants_recipe_differs_in_what_its_name_says(name: str, expected: dict[str, Any]) -> None:
    assert differences(name) == expected
    assert PLAIN.mode == "trained"
    assert PLAIN.weight > 0


@pytest.mark.parametrize("name", variants.__all__)
def test_the_per_lesion_dice_is_in_all_but_the_papers_recipe_and_its_own_ablation(name: str) -> None:
    plain = name in ("MSATrainerPaper", "MSATrainerNoLesionLoss")
    schedule = {"optimizer": "adamw"} if name in ("MSATrainerAdamW", "MSATrainer_demo") else {}
    assert getattr(variants, name).levers == Levers(lesion_loss=0.0 if plain else 0.2, **schedule)


def test_nnunets_look_up_is_offered_every_trainer_of_the_module() -> None:
    assert {name for name in vars(variants) if name.startswith("MSATrainer")} == set(variants.__all__)


@pytest.mark.parametrize("name", variants.__all__)
def test_the_network_and_the_schedule_are_those_of_the_name(make_trainer: Callable[..., Any], name: str) -> None:
    trainer_class = getattr(variants, name)
    trainer = make_trainer(trainer_class)
    trainer.initialize()
    assert type(trainer.network) is (PlainConvUNet if name == "MSATrainerStockNetwork" else MSAGenerator)
    planned = trainer_class(
        trainer.plans_manager.plans | {"continue_training": False}, "2d", 0, trainer.dataset_json, torch.device("cpu")
    )
    digits = "".join(character for character in name if character.isdigit())
    assert planned.num_epochs == (int(digits) if digits else 10 if name == "MSATrainer_demo" else 1000)
    discriminator = None if trainer.adversary is None else trainer.adversary.discriminator
    trainable = discriminator is not None and any(p.requires_grad for p in discriminator.parameters())
    assert trainable == (name not in ("MSATrainerNoAdversary", "MSATrainerFrozenDiscriminator"))
