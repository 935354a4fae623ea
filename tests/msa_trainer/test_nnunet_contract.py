"""What this package relies on in nnU-Net 2.8: an upstream change fails here, loudly and by name."""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from msa_trainer import variants
from msa_trainer.checkpoint import KEY
from msa_trainer.environment import EXTERNAL_TRAINERS, TRAINER_FOLDER
from msa_trainer.variants import MSATrainer

OURS_ALONE = {
    "_strides", "_both_players_step", "_mean_over_ranks", "_stop_if_weights_are_lost", "_take_recorded", "_average_shown",
}  # fmt: skip


def overridden() -> list[str]:
    """Functions of MSATrainer that are meant to be nnU-Net's hooks."""
    own = [name for name, value in vars(MSATrainer).items() if callable(value) or isinstance(value, staticmethod | classmethod)]
    return [name for name in own if name not in OURS_ALONE]


def parameters(owner: type, name: str) -> list[str]:
    return list(inspect.signature(getattr(owner, name)).parameters)


def test_the_installed_nnunet_is_one_this_package_was_written_for() -> None:
    assert metadata.version("nnunetv2").startswith("2.8."), "check every hook against the new version, then widen the pin"


@pytest.mark.parametrize("name", overridden())
def test_every_hook_exists_with_the_same_parameters(name: str) -> None:
    assert hasattr(nnUNetTrainer, name), f"nnU-Net no longer calls {name}"
    assert parameters(MSATrainer, name) == parameters(nnUNetTrainer, name), f"nnU-Net changed the parameters of {name}"


def test_the_constructor_repeats_nnunets_parameter_names_in_every_variant() -> None:
    expected = ["self", "plans", "configuration", "fold", "dataset_json", "device"]
    assert list(inspect.signature(nnUNetTrainer.__init__).parameters) == expected
    for name in variants.__all__:
        assert list(inspect.signature(getattr(variants, name).__init__).parameters) == expected, name
        built = parameters(getattr(variants, name), "build_network_architecture")  # prediction calls it on the class
        assert built == parameters(nnUNetTrainer, "build_network_architecture"), name
        assert "__" not in name, "nnU-Net splits folder names at a double underscore"


def test_nnunets_loaders_are_those_that_ours_repeat() -> None:
    read = {  # what msa_trainer.levers.loading and msa_trainer.levers.sampling were written beside
        nnUNetTrainer.get_dataloaders: "5f59e2b907cfa2d1",
        nnUNetDataLoader.__init__: "301499eed493c9fd",
        nnUNetDataLoader.get_bbox: "25263f7173ae246b",
        nnUNetDataLoader.generate_train_batch: "0a430703c66ec9b8",
    }
    for function, digest in read.items():
        found = hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
        assert found == digest, f"nnU-Net changed {function.__qualname__}: compare it with ours, then put {found} here"


def test_the_training_transforms_that_count_physics_replaces_are_still_nnunets() -> None:
    stock = nnUNetTrainer.get_training_transforms((64, 64), (-0.2, 0.2), None, (1,), False)
    inner = [type(getattr(transform, "transform", transform)).__name__ for transform in stock.transforms]
    assert inner == [
        "SpatialTransform", "GaussianNoiseTransform", "GaussianBlurTransform", "MultiplicativeBrightnessTransform",
        "ContrastTransform", "SimulateLowResolutionTransform", "GammaTransform", "GammaTransform", "MirrorTransform",
        "RemoveLabelTransform",
    ], "nnU-Net changed its intensity transforms: look at count_physics.REPLACED"  # fmt: skip


def test_a_checkpoint_is_a_stock_one_with_one_more_key(make_trainer: Callable[..., Any], tmp_path: Path) -> None:
    keys = []
    for trainer_class in (nnUNetTrainer, MSATrainer):
        trainer = make_trainer(trainer_class)
        trainer.initialize()
        trainer.save_checkpoint(str(tmp_path / "c.pth"))
        keys.append(set(torch.load(tmp_path / "c.pth", weights_only=False)))
    assert keys[1] == keys[0] | {KEY}, "nnU-Net changed what a checkpoint holds"


def test_the_network_weights_hold_the_generator_alone(make_trainer: Callable[..., Any], tmp_path: Path) -> None:
    trainer = make_trainer(MSATrainer)
    trainer.initialize()
    trainer.save_checkpoint(str(tmp_path / "c.pth"))
    saved = torch.load(tmp_path / "c.pth", weights_only=True)
    assert set(saved["network_weights"]) == set(trainer.network.state_dict())
    assert set(saved[KEY]["adversary"]) == {"discriminator", "optimizer", "ceiling", "dropped_in_a_row"}


def test_the_names_that_our_hooks_touch_are_still_there(make_trainer: Callable[..., Any]) -> None:
    trainer = make_trainer(nnUNetTrainer)
    trainer.initialize()
    assert isinstance(trainer.logger.local_logger.my_fantastic_logging, dict)
    assert {"mean_fg_dice", "ema_fg_dice"} <= set(trainer.logger.local_logger.my_fantastic_logging)
    assert isinstance(trainer.loss, DeepSupervisionWrapper)
    assert isinstance(trainer.loss.weight_factors, tuple)
    assert hasattr(trainer.loss, "loss")
    for name in ("save_every", "label_manager", "plans_manager", "configuration_manager", "inference_allowed_mirroring_axes"):
        assert hasattr(trainer, name), name


def test_nnunets_own_look_up_finds_every_trainer_as_one_picklable_class() -> None:
    code = (
        "import pickle, sys; from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
        f"for name in {variants.__all__!r}:\n"
        "    found = find(name); assert found is find(name); assert pickle.loads(pickle.dumps(found)) is found\n"
        "print(found.__module__)"
    )
    environment = os.environ | {EXTERNAL_TRAINERS: str(TRAINER_FOLDER)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "msa_trainer.variants"
    assert pickle.loads(pickle.dumps(MSATrainer)) is MSATrainer


def test_the_folder_nnunet_searches_holds_one_module_of_one_line_and_is_no_package() -> None:
    assert [path.name for path in TRAINER_FOLDER.glob("*.py")] == ["msa_trainer_classes.py"]
    assert len((TRAINER_FOLDER / "msa_trainer_classes.py").read_text().splitlines()) == 1
