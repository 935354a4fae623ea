from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from msa_trainer import variants
from msa_trainer.prediction import architectures
from msa_trainer.prediction.architectures import build_network
from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.model import load_model

WriteModel = Callable[..., Path]


def test_every_trainer_of_ours_is_known_by_name() -> None:
    assert architectures.GENERATORS | {architectures.STOCK_NETWORK} == set(variants.__all__)


@pytest.mark.parametrize("trainer", [*variants.__all__, "nnUNetTrainer"])
@pytest.mark.parametrize("channels", ["zscore", "counts"])
def test_a_name_gives_the_network_that_its_trainer_builds(write_model: WriteModel, trainer: str, channels: str) -> None:
    folder = write_model(channels=channels)
    manager = PlansManager(json.loads((folder / "plans.json").read_text()))
    trainer_class = nnUNetTrainer if trainer == "nnUNetTrainer" else getattr(variants, trainer)
    expected = trainer_class.build_network_architecture(manager, manager.get_configuration("2d"), 1, 2, False)
    found = build_network(trainer, manager, manager.get_configuration("2d"), 1, 2, expected.state_dict(), "here")
    assert str(found) == str(expected)
    assert len(found._forward_pre_hooks) == len(expected._forward_pre_hooks)
    assert not any(parameter.is_meta for parameter in found.parameters())


@pytest.mark.parametrize(
    ("key", "value"),
    [("network_class_name", "os.system"), ("network_class_name", "msa_evil.Network"), ("nonlin", "subprocess.Popen")],
)
@pytest.mark.parametrize("trainer", ["MSATrainer", "nnUNetTrainer"])
def test_plans_that_name_foreign_code_are_refused_before_it_is_imported(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, trainer: str
) -> None:
    (tmp_path / "msa_evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = write_model(trainer=trainer)
    plans: dict[str, Any] = json.loads((folder / "plans.json").read_text())
    architecture = plans["configurations"]["2d"]["architecture"]
    (architecture if key == "network_class_name" else architecture["arch_kwargs"])[key] = value
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(
        PredictionError, match=rf"plans\.json: names '{value}' as a part of the network.*Nothing of it was imported"
    ):
        load_model(folder)
